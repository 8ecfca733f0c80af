"""Parts in which all images are tested in turn: each image once, groups whole, everything spread over the parts."""

import numpy as np
import pytest

from utils.data.splits import folds, with_copies


def random_table(rng, n_groups, n_things, largest=5):
    """Group of each image, and what each holds of things of which some are rare."""
    groups = np.repeat([f"g{i}" for i in range(n_groups)], rng.integers(1, largest + 1, n_groups))
    held = rng.integers(1, 1000, (len(groups), n_things)) * (rng.random((len(groups), n_things)) < rng.random(n_things))
    return groups, held


@pytest.mark.parametrize("seed", range(25))
def test_each_image_is_in_one_part_and_groups_are_whole(seed):
    rng = np.random.default_rng(seed)
    n_groups = int(rng.integers(3, 30))
    groups, held = random_table(rng, n_groups, int(rng.integers(1, 5)))
    k = int(rng.integers(2, min(5, n_groups) + 1))
    found = folds(groups, held, k, seed)
    assert found.shape == groups.shape
    assert set(found) == set(range(1, k + 1)), "no part is empty"
    assert all(len(set(found[groups == group])) == 1 for group in set(groups))


@pytest.mark.parametrize("seed", range(10))
def test_a_rare_thing_is_in_as_many_parts_as_hold_it(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 30))
    holding = int(rng.integers(2, 7))
    held = np.zeros((n, 2), int)
    held[:, 0] = 500
    held[rng.permutation(n)[:holding], 1] = 300
    found = folds([str(i) for i in range(n)], held, 5, seed)
    assert len(set(found[held[:, 1] > 0])) == min(5, holding)
    assert np.ptp(np.bincount(found)[1:]) <= 1, "parts are equally large"


def test_classes_are_spread_evenly():
    ids = np.repeat([0, 1, 2], [15, 10, 5])
    found = folds([str(i) for i in range(30)], np.eye(3, dtype=int)[ids], 5, 0)
    for class_id, each in enumerate((3, 2, 1)):
        assert np.bincount(found[ids == class_id], minlength=6)[1:].tolist() == [each] * 5


def test_parts_are_equal_where_no_class_suffices_for_all():
    ids = np.repeat(np.arange(7), 4)
    found = folds([str(i) for i in range(28)], np.eye(7, dtype=int)[ids], 5, 0)
    assert all(len(set(found[ids == i])) == 4 for i in range(7))
    assert sorted(np.bincount(found)[1:].tolist()) == [5, 5, 6, 6, 6]


def test_the_order_of_the_images_does_not_matter():
    rng = np.random.default_rng(1)
    groups, held = random_table(rng, 12, 3)
    order = rng.permutation(len(groups))
    assert folds(groups, held, 5, 3)[order].tolist() == folds(groups[order], held[order], 5, 3).tolist()
    alike = [str(i) for i in range(20)], np.ones((20, 1), int)
    assert folds(*alike, 5, 3).tolist() != folds(*alike, 5, 4).tolist()


def test_images_of_the_same_content_are_together_with_all_of_their_groups():
    groups, contents = ["a", "a", "b", "c", "d", "e"], ["1", "2", "2", "3", "3", "4"]
    assert with_copies(groups, contents).tolist() == ["a", "a", "a", "c", "c", "e"]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups, contents = rng.integers(0, 9, 20).astype(str), rng.integers(0, 15, 20).astype(str)
        joined = with_copies(groups, contents)
        for names in (groups, contents):
            assert all(len(set(joined[names == name])) == 1 for name in set(names))
        assert set(joined) <= set(groups)
