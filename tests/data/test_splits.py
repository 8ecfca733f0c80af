"""Splits go by whole groups, keep to the percentages as well as groups allow, and can be repeated."""

from pathlib import Path

import numpy as np
import pytest

from utils.data.splits import read_split, split, split_table, write_split
from utils.errors import DataError
from utils.groups import group_of

RNG = np.random.default_rng(0)


def random_groups(n_groups):
    return [f"g{i}" for i in range(n_groups) for _ in range(RNG.integers(1, 9))]


def test_no_group_is_on_two_sides_and_every_role_is_filled():
    for seed in range(60):
        groups = np.array(random_groups(RNG.integers(3, 30)))
        roles = split(groups, RNG.uniform(0.1, 99), RNG.uniform(0, 99), seed)
        assert len(roles) == len(groups)
        assert set(roles) == {"training", "validation", "test"}
        for group in set(groups):
            assert len(set(roles[groups == group])) == 1


def test_percentages_are_kept():
    for seed in range(30):
        groups = np.array(random_groups(40))
        test, validation = RNG.uniform(5, 40, 2)
        roles = split(groups, test, validation, seed)
        assert abs(np.mean(roles == "test") - test / 100) <= 4 / len(groups)  # half the largest group
        rest = roles[roles != "test"]
        assert abs(np.mean(rest == "validation") - validation / 100) <= 4 / len(rest)


def test_single_images_by_hand():
    roles = split([f"i{i}" for i in range(10)], 20, 10, 0)
    assert [np.sum(roles == role) for role in ("test", "validation", "training")] == [2, 1, 7]


def test_a_huge_group_does_not_become_the_test_set():
    groups = ["huge"] * 90 + list("abcdefghij")
    for seed in range(20):
        assert np.mean(split(groups, 10, 5, seed) == "test") < 0.2


def test_zero_percent_test_means_none():
    for seed in range(10):
        assert set(split(["a", "b", "c"], 0, 10, seed)) == {"training", "validation"}


def test_same_seed_same_split_in_any_order():
    groups = np.array(random_groups(15))
    roles = split(groups, 20, 10, 3)
    order = RNG.permutation(len(groups))
    np.testing.assert_array_equal(split(groups[order], 20, 10, 3), roles[order])
    assert any((split(groups, 20, 10, seed) != roles).any() for seed in range(4, 9))


@pytest.mark.parametrize(("groups", "test"), [(["a"] * 9, 0), (["a", "a", "b"], 1)])
def test_too_few_groups(groups, test):
    needed = 3 if test else 2
    with pytest.raises(DataError, match=f"{len(groups)} images in {len(set(groups))} groups?, .* at least {needed}"):
        split(groups, test, 10, 0)


@pytest.mark.parametrize(("groups", "test", "words"), [(["a"], 0, "is 1 image"), (["a", "b"], 20, "are 2 images")])
def test_nobody_is_told_of_groups_who_has_none(groups, test, words):
    with pytest.raises(DataError, match=f"There {words}, but .* at least {3 if test else 2}. Add images") as told:
        split(groups, test, 10, 0)
    assert "group" not in str(told.value)


def random_amounts(n_images, n_things):
    """Some things are in nearly all images, some in a few; the first is there where any other is."""
    rare = RNG.choice([0.03, 0.1, 0.3, 0.9], n_things - 1)
    others = RNG.integers(1, 1000, (n_images, n_things - 1)) * (RNG.random((n_images, n_things - 1)) < rare)
    return np.column_stack([others.sum(axis=1), others])


def test_every_role_gets_a_part_of_everything_that_enough_groups_hold():
    for seed in range(40):
        groups = np.array(
            random_groups(RNG.integers(4, 30)) if seed % 2 else [f"i{i}" for i in range(RNG.integers(4, 60))]
        )
        amounts = random_amounts(len(groups), RNG.integers(2, 5))
        test = RNG.choice([0, 20])
        roles = split(groups, test, RNG.uniform(5, 30), seed, amounts)
        assert all(len(set(roles[groups == group])) == 1 for group in set(groups))
        held_by = [set(groups[thing > 0]) for thing in amounts.T]
        for number, (thing, holders) in enumerate(zip(amounts.T, held_by, strict=True)):
            order = ["training", "validation", "test"] if number == 0 else ["training", "test", "validation"]
            order = [role for role in order if test or role != "test"]
            # One image that holds two rare things may stand in the way of one of them; three or more groups do not.
            if holders and (number == 0 or len(holders) > len(order) + 2):
                assert {role for role in order[: len(holders)]} <= set(roles[thing > 0]), (seed, number)
            if holders:
                assert "training" in roles[thing > 0]


def test_percentages_are_kept_to_within_a_group_while_things_are_shared_out():
    for seed in range(20):
        groups = np.array(random_groups(40))
        amounts = random_amounts(len(groups), 3)
        test, validation = RNG.uniform(5, 30, 2)
        roles = split(groups, test, validation, seed, amounts)
        assert abs(np.sum(roles == "test") - test / 100 * len(groups)) <= 8  # the largest group
        rest = np.sum(roles != "test")
        assert abs(np.sum(roles == "validation") - validation / 100 * rest) <= 8


def test_a_split_in_which_nothing_is_missing_is_the_one_that_was_always_drawn():
    groups = [f"i{i}" for i in range(24)]
    np.testing.assert_array_equal(split(groups, 20, 10, 5, np.full((24, 2), 700)), split(groups, 20, 10, 5))


def test_things_are_shared_out_alike_in_any_order_and_by_the_seed():
    groups = np.array([f"i{i}" for i in range(30)])
    amounts = np.where(np.arange(30)[:, None] < 4, 500, 0)
    roles = split(groups, 20, 10, 3, amounts)
    order = RNG.permutation(30)
    np.testing.assert_array_equal(split(groups[order], 20, 10, 3, amounts[order]), roles[order])
    assert set(roles[:4]) == {"training", "validation", "test"}
    assert any((split(groups, 20, 10, seed, amounts) != roles).any() for seed in range(4, 9))


def test_a_few_stray_pixels_are_not_the_part_of_a_role():
    for seed in range(10):
        amounts = np.where(np.arange(24)[:, None] < 6, 600, 4)
        roles = split([f"i{i}" for i in range(24)], 20, 10, seed, amounts)
        assert set(roles[:6]) == {"training", "validation", "test"}


def test_group_of():
    folder = Path("/data")
    path = folder / "day 1" / "patient1_03.x.tif"
    assert group_of(path, "folder", folder) == "day 1"
    assert group_of(path, "{group}_*", folder) == "patient1"
    assert group_of(path, "patient{group}_*", folder) == "1"
    assert group_of(path, "*_{group}.x", folder) == "03"
    assert group_of(folder / "a.tif", "", folder) == "a"
    assert group_of(path, "", folder) != group_of(folder / "day 2" / path.name, "", folder)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{group}-*", "a_1.tif .*group_rule"),
        ("folder", "a_1.tif .*sub-folder"),
        ("*_", "group_rule"),
        ("{group}{group}", "once"),
    ],
)
def test_rules_that_do_not_fit(rule, message):
    with pytest.raises(DataError, match=message):
        group_of(Path("/data/a_1.tif"), rule, Path("/data"))


def test_split_table_comes_back(tmp_path):
    paths = [tmp_path / f"{i}.tif" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]))
    table = split_table(paths, ["1", "01", "NA", ""], ["training", "training", "validation", "test"])
    assert table["sha256"][0] == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"  # of one zero byte
    write_split(tmp_path / "model" / "split.csv", table)
    assert read_split(tmp_path / "model" / "split.csv").equals(table.astype(str))


def test_files_of_one_name_stay_apart(tmp_path):
    paths = [tmp_path / folder / "0.tif" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"x")
    assert split_table(paths, ["a", "b"], ["training", "test"])["file"].tolist() == ["a/0.tif", "b/0.tif"]


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "file,sha256,group,role\na,b,c,nothing\n"])
def test_other_tables_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match="split.csv"):
        read_split(tmp_path / "split.csv")
