"""What became of each object: hand-worked cases, and laws on random labels."""

import numpy as np
import pytest
from stardist.matching import matching

from tests.metrics.test_objects import boxes, disturbed, random_labels
from utils.metrics.objects import kinds_of_objects, matched_pairs

EXCHANGED = {"matched": "matched", "missed": "false", "merged": "splitting", "split": "merging"}


@pytest.mark.parametrize(
    ("true", "predicted", "true_kinds", "predicted_kinds"),
    [
        ([(0, 10)], [(1, 10)], ["matched"], ["matched"]),
        ([(0, 10)], [], ["missed"], []),
        ([], [(0, 10)], [], ["false"]),
        ([], [], [], []),
        ([(0, 10)], [(20, 30)], ["missed"], ["false"]),
        ([(0, 10)], [(0, 4)], ["missed"], ["false"]),  # too small, but not split
        ([(0, 10)], [(8, 20)], ["missed"], ["false"]),  # they overlap by a fifth
        ([(0, 9), (9, 18), (18, 20)], [(0, 20)], ["merged"] * 3, ["merging"]),
        ([(0, 14), (14, 20)], [(0, 20)], ["matched", "merged"], ["matched"]),  # IoU 0.7 with the larger
        ([(0, 20)], [(0, 8), (8, 16), (30, 34)], ["split"], ["splitting", "splitting", "false"]),
        ([(0, 20)], [(0, 14), (14, 20)], ["matched"], ["matched", "splitting"]),
        ([(0, 20)], [(0, 3), (5, 8)], ["missed"], ["false", "false"]),  # two specks that cover a third
        ([(2, 5), (7, 10)], [(0, 40)], ["missed", "missed"], ["false"]),  # a blob with two small objects in it
        ([(0, 4), (4, 12)], [(0, 2), (2, 12)], ["matched", "matched"], ["matched", "matched"]),  # IoU 0.5, 0.8
        ([(0, 8), (8, 16)], [(4, 16)], ["missed", "matched"], ["matched"]),  # half of an object does not lie in it
        ([(0, 4), (6, 14)], [(2, 40)], ["missed", "missed"], ["false"]),
    ],
)
def test_worked_by_hand(true, predicted, true_kinds, predicted_kinds):
    kinds = kinds_of_objects(boxes(*true), boxes(*predicted))
    assert [kinds.true[i + 1] for i in range(len(true))] == true_kinds
    assert [kinds.predicted[i + 1] for i in range(len(predicted))] == predicted_kinds
    opposite = kinds_of_objects(boxes(*predicted), boxes(*true))
    assert [EXCHANGED[one] for one in opposite.true.values()] == predicted_kinds
    assert [one for one in opposite.predicted.values()] == [EXCHANGED[one] for one in true_kinds]


def test_threshold_counts():
    y_true, y_pred = boxes((0, 10)), boxes((0, 7))
    assert kinds_of_objects(y_true, y_pred, 0.7).true == {1: "matched"}
    assert kinds_of_objects(y_true, y_pred, 0.75).true == {1: "missed"}


def test_an_object_both_merged_and_split_is_merged():
    y_true = boxes((0, 20), (20, 24))
    y_pred = boxes((0, 9), (9, 24))  # 2 holds most of both annotated ones; 1 and 2 lie in the first
    kinds = kinds_of_objects(y_true, y_pred, 0.6)
    assert kinds.true == {1: "merged", 2: "merged"}
    assert kinds.predicted == {1: "splitting", 2: "merging"}


def test_every_object_has_one_kind_and_the_matched_are_those_of_the_scores():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        y_true = random_labels(rng)
        y_pred = disturbed(rng, y_true)
        y_pred[np.isin(y_pred, rng.choice(np.unique(y_pred)[1:], 3))] = 99  # some are taken for one
        kinds = kinds_of_objects(y_true, y_pred)
        assert set(kinds.true) == set(np.unique(y_true).tolist()) - {0}
        assert set(kinds.predicted) == set(np.unique(y_pred).tolist()) - {0}
        match = matching(y_true, y_pred, thresh=0.5, report_matches=True)
        pairs = matched_pairs(match)
        assert len(pairs) == match.tp
        assert {label for label, _ in pairs} == {one for one, kind in kinds.true.items() if kind == "matched"}
        assert {label for _, label in pairs} == {one for one, kind in kinds.predicted.items() if kind == "matched"}
        opposite = kinds_of_objects(y_pred, y_true)
        for one in (kinds, opposite):
            seen |= set(one.true.values()) | set(one.predicted.values())
    assert seen == {"matched", "missed", "merged", "split", "false", "merging", "splitting"}


def test_matched_pairs_leave_out_what_overlaps_too_little():
    match = matching(boxes((0, 10), (20, 30)), boxes((0, 10), (27, 37)), thresh=0.5, report_matches=True)
    assert len(match.matched_pairs) == 2
    assert matched_pairs(match) == [(1, 1)]


def test_bad_labels_are_refused():
    with pytest.raises(ValueError):
        kinds_of_objects(boxes((0, 5)), boxes((0, 5))[:, 1:])
    with pytest.raises(ValueError):
        kinds_of_objects(boxes((0, 5)), -boxes((0, 5)).astype(int))
