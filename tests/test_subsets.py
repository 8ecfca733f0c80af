"""Subsets of the learning curve: nested, the same number of each class, spread over groups; sizes that are refused."""

import numpy as np
import pytest

from utils.errors import DataError, FormError
from utils.subsets import check_sizes, nested_orders, parse_sizes, subset


def random_images(seed):
    """Groups and class ids (None for every third seed: segmentation) of 8 to 80 images, at least two of each class."""
    rng = np.random.default_rng(seed)
    n, n_classes = int(rng.integers(8, 80)), int(rng.integers(2, 5))
    ids = rng.permutation(np.r_[np.repeat(np.arange(n_classes), 2), rng.integers(n_classes, size=n - 2 * n_classes)])
    groups = [f"patient {i}" for i in rng.integers(rng.integers(1, 2 * n), size=n)]
    return groups, None if seed % 3 == 0 else ids.tolist()


def of_each_class(groups, class_ids):
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    return [np.flatnonzero(ids == one) for one in sorted(set(ids.tolist()))]


@pytest.mark.parametrize("seed", range(30))
def test_subsets_are_nested_and_hold_n_different_images_of_every_class_from_as_many_groups_as_can_be(seed):
    groups, class_ids = random_images(seed)
    classes, orders = of_each_class(groups, class_ids), nested_orders(groups, class_ids, seed)
    assert [sorted(order) for order in orders] == [images.tolist() for images in classes]
    for n in range(1, min(map(len, classes)) + 1):
        chosen = subset(orders, n)
        assert chosen.tolist() == sorted(set(chosen))
        assert set(chosen) < set(subset(orders, n + 1)) or n == max(map(len, classes))
        for images in classes:
            of_class = [groups[i] for i in chosen if i in images]
            assert len(of_class) == n
            assert len(set(of_class)) == min(n, len({groups[i] for i in images}))


@pytest.mark.parametrize("seed", range(10))
def test_no_group_gives_two_images_more_than_another_that_has_more(seed):
    groups, class_ids = random_images(3 * seed)
    order = nested_orders(groups, class_ids, seed)[0]
    for n in range(1, len(order)):
        given, left = [groups[i] for i in order[:n]], {groups[i] for i in order[n:]}
        assert all(given.count(one) + 1 >= max(map(given.count, given)) for one in left)


def test_the_seed_decides_the_order_which_is_random_over_groups_and_within_them():
    groups, ids = [f"g{i // 4}" for i in range(40)], [i % 2 for i in range(40)]
    runs = [nested_orders(groups, ids, seed) for seed in (*range(200), 0)]
    assert all(np.array_equal(one, other) for one, other in zip(runs[0], runs[-1], strict=True))
    firsts = [int(run[0][0]) for run in runs[:-1]]
    assert set(firsts) == set(range(0, 40, 2))  # every image of the class can be the first
    assert max(map(firsts.count, firsts)) < 30  # 10 expected


def test_worked_by_hand_two_patients_of_unequal_size():
    order = nested_orders(["a", "a", "a", "b"], None, seed=1)[0]
    assert {"aaab"[i] for i in order[:2]} == {"a", "b"}
    assert ["aaab"[i] for i in order[2:]] == ["a", "a"]
    assert subset([np.array([3, 1, 0]), np.array([5, 2])], 2).tolist() == [1, 2, 3, 5]


def test_sizes_as_people_write_them():
    assert parse_sizes("2, 5,10,20,40") == [2, 5, 10, 20, 40]
    assert parse_sizes(" 40;2 , 5,5") == [2, 5, 40]
    assert parse_sizes("3") == [3]


@pytest.mark.parametrize(
    "text", ["", "1, 5", "0", "-2", "2.5", "2, five", "2,,5", "2,", "2 5", "1_0", "1e2", "²", "5%"]
)
def test_anything_else_is_refused_with_the_field_what_was_written_and_an_example(text):
    with pytest.raises(FormError) as error:
        parse_sizes(text)
    assert all(words in str(error.value) for words in ("field sizes", f'"{text}"', "at least 2", "2, 5, 10"))


def test_sizes_that_suffice_are_accepted():
    check_sizes([2, 3], list("abcdef"), [0, 1, 0, 1, 0, 1], ["G2", "other"])
    check_sizes([6], list("abcdef"), None, None)


@pytest.mark.parametrize(
    ("sizes", "groups", "ids", "names", "words"),
    [
        ([2, 4], "abcdefg", [0, 0, 0, 0, 1, 1, 1], ["G2", "other"], ["asks for 4", "only 3", '"other"', "up to 3"]),
        ([2, 9], "abcd", None, None, ["asks for 9", "only 4 labelled images besides", "up to 4", "add images"]),
        ([2], "abc", [0, 0, 1], ["G2", "other"], ['"other"', "only one", "at least two"]),
        ([2], "ab", [0, 0], ["G2", "other"], ['"other"', "none", "add"]),
        ([2], "a", None, None, ["labelled images", "only one", "at least two"]),
        ([2], "abcc", [0, 0, 1, 1], ["G2", "other"], ['"other"', "one group (c)", "group_rule"]),
        ([2], "aaa", None, None, ["All 3 labelled images", "one group (a)", "another group"]),
    ],
)
def test_what_does_not_suffice_is_told_with_class_number_and_remedy(sizes, groups, ids, names, words):
    with pytest.raises(DataError) as error:
        check_sizes(sizes, list(groups), ids, names)
    assert all(one in str(error.value) for one in words), str(error.value)
