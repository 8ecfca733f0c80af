"""Classes are counted as they are, and the small ones are told."""

import numpy as np
import pandas as pd
import pytest

from utils.data.crops import Crop, CropSet
from utils.data.splits import ROLES
from utils.tasks.classes.checks import amount_problems, class_counts, shared_groups, size_note, usual_size

RNG = np.random.default_rng(0)


def crop_set(ids, classes=3, groups=None, grouped=True):
    names = [f"{class_id}/{i}.x.tif" for i, class_id in enumerate(ids)]
    groups = [name.removesuffix(".tif") for name in names] if groups is None else groups
    crops = [Crop(*one, group) for *one, group in zip(names, [None] * len(ids), ids, groups, strict=True)]
    table = [
        {"id": i, "name": f"c{i}", "value": f"c{i}", "group": f"G{i % 2}" if grouped else None} for i in range(classes)
    ]
    return CropSet(crops, table)


def test_counts_against_pandas():
    for _ in range(10):
        ids, test_ids = RNG.integers(0, 3, RNG.integers(1, 60)), RNG.integers(0, 3, RNG.integers(0, 20))
        roles = RNG.choice(ROLES, len(ids))
        table = class_counts(crop_set(ids), roles, crop_set(test_ids)).set_index("class")
        expected = pd.crosstab([*ids, *test_ids], [*roles, *["test"] * len(test_ids)])
        expected = expected.reindex(index=range(3), columns=ROLES, fill_value=0)
        np.testing.assert_array_equal(table.iloc[:-1][list(ROLES)], expected)
        np.testing.assert_array_equal(table.loc["all", list(ROLES)].astype(int), expected.sum())
        np.testing.assert_array_equal(table["total"], [*expected.sum(axis=1), len(ids) + len(test_ids)])
        assert table.index.tolist() == ["c0", "c1", "c2", "all"]
        assert table["broad class"].tolist() == ["G0", "G1", "G0", ""]
    assert class_counts(crop_set(ids, grouped=False), roles)["broad class"].tolist() == [""] * 4


def roles_of(training, validation, test):
    """Class ids and roles for the given numbers of images of each class."""
    ids, roles = [], []
    for role, numbers in zip(ROLES, (training, validation, test), strict=True):
        ids += np.repeat(range(3), numbers).tolist()
        roles += [role] * sum(numbers)
    return crop_set(ids), roles


def test_enough_of_each_is_no_problem():
    assert amount_problems(*roles_of([10, 10, 10], [1, 1, 1], [10, 10, 10])) == []
    assert amount_problems(*roles_of([10, 10, 10], [1, 1, 1], [0, 0, 0])) == []  # there is no test at all


def test_what_is_small_is_told():
    problems = amount_problems(*roles_of([9, 10, 80], [1, 0, 1], [10, 9, 0]))
    assert {problem.severity for problem in problems} == {"warning"}
    told = {(problem.file, problem.what[:18]) for problem in problems}
    assert told == {
        ("class c0", "9 training images "),
        ("class c1", "no validation imag"),
        ("class c1", "9 test images are "),
        ("class c2", "no test image, so "),
    }


def test_the_interval_of_five_by_hand():
    """Wilson (1927): 4 of 5 is (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), from 0.376 to 0.964."""
    problems = amount_problems(*roles_of([10, 10, 10], [1, 1, 1], [5, 10, 10]))
    assert [problem.what.count("4 of 5 found") for problem in problems] == [1]
    assert "from 38 to 96 %" in problems[0].what


def test_a_test_folder_counts():
    data, roles = roles_of([10, 10, 10], [1, 1, 1], [0, 0, 0])
    assert amount_problems(data, roles, crop_set([0, 1, 2] * 10)) == []
    assert len(amount_problems(data, roles, crop_set([0, 1] * 10))) == 1


def test_shared_groups():
    ids = [0, 1, 2]
    training = crop_set(ids, groups=["day 1", "day 2", "day 3"])
    assert shared_groups(training, crop_set(ids, groups=["a", "b", "c"])) == []
    assert shared_groups(crop_set(ids), crop_set(ids)) == []  # files of one name are not one group
    [problem] = shared_groups(training, crop_set(ids, groups=["day 3", "b", "day 2"]))
    assert "day 2, day 3 " in problem.what


def test_sizes():
    assert usual_size([(4, 6), (4, 6), (9, 9)]) == (4, 6)
    assert usual_size([(4, 6), (9, 9), (8, 10)]) == (9, 9)
    assert size_note([(4, 6)] * 3) == "All 3 images are 4 x 6 pixels (height x width)."
    note = size_note([(4, 6), (4, 6), (9, 3), (2, 5)])
    assert "4 x 6 pixels (height x width), 2 of 4" in note
    assert "heights from 2 to 9, widths from 3 to 6" in note


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_intervals_hold_for_any_number(n):
    [problem] = amount_problems(*roles_of([10, 10, 10], [1, 1, 1], [n, 10, 10]))
    low, high = (int(word) for word in problem.what.split("from ")[1].split(" %")[0].split(" to "))
    assert 0 <= low < 100 * round(0.8 * n) / n <= high <= 100
