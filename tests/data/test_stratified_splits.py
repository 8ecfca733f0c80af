"""Stratified splits go by whole groups, train every class, and keep to the percentages within every class."""

import itertools

import numpy as np
import pytest

from utils.data.splits import _cost, _held, _wanted, allocate, is_complete, stratified_split
from utils.errors import DataError

RNG = np.random.default_rng(0)


def random_table(n_groups, n_classes, mixed):
    """Groups and class ids of images; each group has one class, or several."""
    groups, ids = [], []
    for group in range(n_groups):
        size = int(RNG.integers(1, 9))
        classes = RNG.choice(n_classes, RNG.integers(1, n_classes + 1) if mixed else 1, replace=False)
        groups += [f"g{group}"] * size
        ids += RNG.choice(classes, size).tolist()
    return np.array(groups), np.array(ids)


def number_of_groups(groups, ids, class_id):
    return len(set(groups[ids == class_id]))


def test_no_group_is_on_two_sides_and_every_class_is_trained():
    refused = 0
    for seed in range(30):
        mixed = seed % 2 == 1
        groups, ids = random_table(RNG.integers(3, 40), RNG.integers(2, 6), mixed)
        test = RNG.choice([0, RNG.uniform(0.1, 99)])
        try:
            roles = stratified_split(groups, ids, test, RNG.uniform(0, 99), seed)
        except DataError:
            refused += 1
            assert min(number_of_groups(groups, ids, i) for i in set(ids)) < 3  # else two groups can always be spared
            continue
        assert set(roles) == ({"training", "validation", "test"} if test else {"training", "validation"})
        assert all(len(set(roles[groups == group])) == 1 for group in set(groups))
        assert set(ids[roles == "training"]) == set(ids)
    assert refused < 6


def test_each_class_is_in_each_role_that_its_groups_suffice_for():
    """Where no group has two classes, nothing stands in the way."""
    for seed in range(20):
        groups, ids = random_table(RNG.integers(8, 40), RNG.integers(2, 6), mixed=False)
        roles = stratified_split(groups, ids, 20 if seed % 2 else 0.1, 10 if seed % 3 else 0, seed)
        for class_id in set(ids):
            present = set(roles[ids == class_id])
            assert present == set(["training", "test", "validation"][: number_of_groups(groups, ids, class_id)])


def test_percentages_within_each_class():
    """Images that stand alone: the numbers are right to within one image, and at least one."""
    for seed in range(15):
        ids = RNG.choice(4, RNG.integers(40, 300), p=[0.6, 0.25, 0.1, 0.05])
        ids = np.array([*ids, *range(4), *range(4), *range(4)])
        test, validation = RNG.uniform(0, 40, 2)
        roles = stratified_split([f"i{i}" for i in range(len(ids))], ids, max(test, 1e-6), validation, seed)
        for class_id in range(4):
            own, n = roles[ids == class_id], np.sum(ids == class_id)
            wanted_test = max(1, n * test / 100)
            wanted_validation = max(1, (n - wanted_test) * validation / 100)
            assert abs(np.sum(own == "test") - wanted_test) <= 1
            assert abs(np.sum(own == "validation") - wanted_validation) <= 1


def test_by_hand():
    ids = np.repeat([0, 1, 2, 3, 4], [20, 10, 3, 2, 1])
    roles = stratified_split([str(i) for i in range(36)], ids, 20, 25, 0)
    counts = [[int(np.sum(roles[ids == i] == role)) for role in ("training", "validation", "test")] for i in range(5)]
    assert counts == [[12, 4, 4], [6, 2, 2], [1, 1, 1], [1, 0, 1], [1, 0, 0]]
    roles = stratified_split([str(i) for i in range(36)], ids, 0, 25, 0)
    counts = [[int(np.sum(roles[ids == i] == role)) for role in ("training", "validation", "test")] for i in range(5)]
    assert [row[2] for row in counts] == [0] * 5
    assert counts[3:] == [[1, 1, 0], [1, 0, 0]]


def test_patients_with_all_classes_are_shared_out_by_patient():
    for seed in range(10):
        groups = np.repeat([f"p{i}" for i in range(10)], 12)
        ids = np.tile([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2], 10)
        roles = stratified_split(groups, ids, 20, 12.5, seed)
        for class_id, n in zip(range(3), (6, 4, 2), strict=True):
            own = roles[ids == class_id]
            assert [np.sum(own == role) for role in ("training", "validation", "test")] == [7 * n, n, 2 * n]


def test_images_count_not_groups():
    groups = [f"{class_id}{max(0, i - 49)}" for class_id in "ab" for i in range(100)]  # one of 50 and 50 of 1, twice
    for seed in range(10):
        roles = stratified_split(groups, [0] * 100 + [1] * 100, 20, 12.5, seed)
        assert [np.sum(roles[:100] == role) for role in ("training", "validation", "test")] == [70, 10, 20]


def test_a_huge_group_does_not_become_the_test_set():
    groups = np.array(["huge"] * 90 + list("abcdefghij"))
    ids = np.array([0, 1] * 50)
    for seed in range(10):
        assert np.mean(stratified_split(groups, ids, 10, 5, seed) == "test") < 0.2


def test_nothing_is_missing_that_could_be_there():
    """Against all ways to share out a few groups."""
    for _ in range(40):
        counts = RNG.integers(1, 9, (RNG.integers(3, 7), RNG.integers(1, 5)))
        counts *= RNG.random(counts.shape) < RNG.choice([0.3, 0.5, 0.8])
        counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
        if len(counts) < 3:
            continue
        vital = [0] if RNG.random() < 0.5 else []
        wanted = _wanted(counts, RNG.uniform(0, 0.5, 2), vital)
        np.testing.assert_allclose(wanted.sum(axis=0), counts.sum(axis=0))
        ways = [np.array(way) for way in itertools.product(range(3), repeat=len(counts))]
        best = min(_cost(_held(way, counts, 3), wanted, vital) for way in ways)
        shares = [wanted[1].sum() / wanted.sum(), wanted[2].sum() / wanted[[0, 2]].sum()]
        wanted = _wanted(counts, shares, vital)
        roles = allocate(counts, shares, RNG, vital)
        assert _cost(_held(roles, counts, 3), wanted, vital) // 1000 <= best // 1000
        assert is_complete(roles, counts, 3) == any(is_complete(way, counts, 3) for way in ways)


def test_same_seed_same_split_in_any_order():
    groups, ids = random_table(20, 4, mixed=False)
    roles = stratified_split(groups, ids, 20, 10, 3)
    order = RNG.permutation(len(groups))
    np.testing.assert_array_equal(stratified_split(groups[order], ids[order], 20, 10, 3), roles[order])
    np.testing.assert_array_equal(stratified_split(groups, 5 * ids + 2, 20, 10, 3), roles)
    assert any((stratified_split(groups, ids, 20, 10, seed) != roles).any() for seed in range(4, 9))


def test_too_few_groups():
    with pytest.raises(DataError, match="4 images in 2 groups.* at least 3"):
        stratified_split(list("aabb"), [0, 1, 0, 1], 20, 10, 0)
    assert set(stratified_split(list("aabb"), [0, 1, 0, 1], 0, 10, 0)) == {"training", "validation"}
    with pytest.raises(DataError, match="The 4 images cannot be split: .* in one image only"):
        stratified_split(list("abcd"), [0, 1, 2, 3], 20, 10, 0)
    with pytest.raises(DataError, match="The 8 images cannot be split by their 4 groups.*change group_rule"):
        stratified_split(list("aabbccdd"), [0, 0, 1, 1, 2, 2, 3, 3], 20, 10, 0)
