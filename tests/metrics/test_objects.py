"""Scores of objects: hand-worked cases, an independent short reference, intervals, and the mistakes to be avoided."""

import weakref

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from utils.errors import DataError
from utils.metrics.objects import (
    IOU_THRESHOLDS,
    ObjectScores,
    count_error,
    object_headline,
    object_score_table,
    object_scores,
    scores_from_counts,
)

CLASSES = [{"id": 0, "name": "background"}, {"id": 1, "name": "round"}, {"id": 2, "name": "long"}]


def random_labels(rng, shape=(40, 50), n=12, dtype=np.uint16):
    """Boxes over each other, numbered with gaps."""
    labels = np.zeros(shape, dtype)
    for label in rng.permutation(np.arange(1, 3 * n))[:n]:
        y, x = rng.integers(0, shape[0] - 3), rng.integers(0, shape[1] - 3)
        labels[y : y + rng.integers(2, 12), x : x + rng.integers(2, 12)] = label
    return labels


def disturbed(rng, labels):
    """A prediction of about the quality of a network: shifted, some objects lost, others new."""
    changed = np.roll(labels, rng.integers(-1, 2, 2), axis=(0, 1))
    for label in np.unique(labels):
        if rng.random() < 0.2:
            changed[changed == label] = 0
    new = random_labels(rng, labels.shape, 3)
    return np.where(changed == 0, new, changed).astype(np.int32)


def reference_counts(y_true, y_pred, threshold):
    """TP, FP, FN and summed IoU straight from the definition, object by object."""
    true, pred = ([y == i for i in np.unique(y) if i > 0] for y in (y_true, y_pred))
    iou = np.array([[(t & p).sum() / (t | p).sum() for p in pred] for t in true]).reshape(len(true), len(pred))
    allowed = iou >= threshold
    rows, columns = linear_sum_assignment(np.where(allowed, 1000 + iou, 0), maximize=True)
    matched = [iou[i, j] for i, j in zip(rows, columns, strict=True) if allowed[i, j]]
    return len(matched), len(pred) - len(matched), len(true) - len(matched), sum(matched)


def pairs_of(rng, n, groups=None):
    for i in range(n):
        y_true = random_labels(rng)
        yield f"{i}.tif", groups[i] if groups else f"{i}.tif", y_true, disturbed(rng, y_true), None, None


def boxes(*columns, width=40):
    """One row of pixels with label i + 1 at the columns given."""
    labels = np.zeros((1, width), np.uint16)
    for label, (start, stop) in enumerate(columns, start=1):
        labels[0, start:stop] = label
    return labels


def scored(y_true, y_pred, *classes):
    return object_scores([("a", "a", y_true, y_pred, *(classes or (None, None)))], CLASSES if classes else None)


def test_counts_are_those_of_the_definition():
    pairs = list(pairs_of(np.random.default_rng(0), 8))
    scores = object_scores(pairs)
    assert scores.counts.shape == (8, len(IOU_THRESHOLDS), 4)
    expected = [[reference_counts(one[2], one[3], t) for t in IOU_THRESHOLDS] for one in pairs]
    np.testing.assert_allclose(scores.counts, expected, rtol=1e-5)
    assert (np.sum(expected, axis=(0, 1)) > 0).all()


def test_worked_by_hand():
    y_true = boxes((0, 10), (12, 22), (24, 34))
    y_pred = boxes((0, 10), (12, 18), (36, 40))  # IoU 1, IoU 0.6, found wrongly; the third is missed
    table = object_score_table(scored(y_true, y_pred)).set_index("iou_threshold")
    low, high = table.loc[0.6], table.loc[0.65]  # 0.6 itself is enough
    assert low[["TP", "FP", "FN"]].tolist() == [2, 1, 1]
    assert low[["AP", "precision", "recall", "F1"]].tolist() == pytest.approx([2 / 4, 2 / 3, 2 / 3, 2 / 3])
    assert low["PQ"] == pytest.approx(1.6 / 3)
    assert high[["TP", "FP", "FN"]].tolist() == [1, 2, 2]
    assert high[["AP", "precision", "recall", "F1", "PQ"]].tolist() == pytest.approx([1 / 5, *[1 / 3] * 4])


def test_merged_and_split_objects_count_as_errors():
    one, two = boxes((0, 20)), boxes((0, 10), (10, 20))
    assert scored(two, one).counts[0, 0].tolist() == [1, 0, 1, 0.5]  # IoU exactly 0.5 with one of the two
    assert scored(two, one).counts[0, 1].tolist() == [0, 1, 2, 0]
    assert scored(one, two).counts[0, 1].tolist() == [0, 2, 1, 0]


def test_numbering_does_not_matter():
    rng = np.random.default_rng(1)
    y_true = random_labels(rng)
    y_pred = disturbed(rng, y_true)
    names = np.concatenate([[0], rng.permutation(np.arange(1, 60_000))])
    renamed = scored(names[y_true], names[y_pred]).counts
    np.testing.assert_allclose(scored(y_true, y_pred).counts, renamed, rtol=1e-5)  # IoU is summed in float32


def test_objects_past_255_and_65535_stay_apart():
    labels = np.arange(40_000).reshape(200, 200) // 25  # 1600 objects
    assert scored(labels, labels).counts[0, 0, :3].tolist() == [1599, 0, 0]
    large = np.where(labels, labels + 65_000, 0)  # 65 536 and 131 072 would become background in 16 bits
    assert scored(large, labels).counts[0, -1, :3].tolist() == [1599, 0, 0]


def test_nothing_to_find_and_nothing_found_is_no_score():
    empty, some = boxes(), boxes((0, 5), (7, 9))
    pairs = [("0", "0", empty, empty), ("1", "1", empty, some), ("2", "2", some, empty), ("3", "3", some, some)]
    scores = object_scores((*pair, None, None) for pair in pairs)
    table = scores.per_image.set_index("file")
    assert table[["true objects", "predicted objects"]].to_numpy().tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]
    np.testing.assert_array_equal(table["AP"], [np.nan, 0, 0, 1])
    np.testing.assert_array_equal(table["precision"], [np.nan, 0, np.nan, 1])
    np.testing.assert_array_equal(table["recall"], [np.nan, np.nan, 0, 1])
    assert object_score_table(scores)["AP"].tolist() == pytest.approx([2 / 6] * 10)
    nothing = object_score_table(object_scores([(*pairs[0], None, None)]))
    assert nothing[["AP", "precision", "recall", "F1", "PQ"]].isna().all(axis=None)
    assert "nothing to score" in object_headline(nothing)["meaning"]


def test_per_image_scores_are_those_of_the_image_alone_and_the_headline_is_pooled():
    pairs = list(pairs_of(np.random.default_rng(2), 5))
    scores = object_scores(pairs)
    for i, pair in enumerate(pairs):
        alone = object_scores([pair])
        pd.testing.assert_frame_equal(alone.per_image, scores.per_image.iloc[[i]].reset_index(drop=True))
        row = object_score_table(alone).iloc[0]
        assert row[["AP", "F1", "PQ"]].tolist() == scores.per_image.loc[i, ["AP", "F1", "PQ"]].tolist()
    table, pooled = object_score_table(scores), scores.counts[:, 0].sum(axis=0)
    best = object_headline(table)
    assert best["name"] == "AP at IoU 0.5"
    assert best["value"] == pytest.approx(pooled[0] / pooled[:3].sum())
    assert best["value"] != pytest.approx(scores.per_image["AP"].mean())  # not the mean over images
    assert "TP / (TP + FP + FN)" in best["meaning"]
    assert best["low"] < best["value"] < best["high"]
    assert set(best) == {"name", "value", "low", "high", "meaning"}


def test_scores_fall_with_the_threshold_and_keep_their_order():
    table = object_score_table(object_scores(pairs_of(np.random.default_rng(3), 6)))
    assert table["iou_threshold"].tolist() == list(IOU_THRESHOLDS)
    assert list(table) == [
        *("iou_threshold", "AP", "AP low", "AP high", "precision", "recall", "F1", "PQ", "TP", "FP", "FN")
    ]
    for score in ("AP", "precision", "recall", "F1", "PQ", "TP"):
        assert (np.diff(table[score]) <= 0).all()
    assert (table["AP"] <= table["F1"]).all()
    assert (table["PQ"] <= table["F1"]).all()
    np.testing.assert_allclose(table["AP"], table["F1"] / (2 - table["F1"]))
    assert (table["AP low"] <= table["AP"]).all()
    assert (table["AP"] <= table["AP high"]).all()
    assert (table["TP"] + table["FN"]).nunique() == 1


def test_perfect_at_half_overlap_is_as_sure_as_nearly_perfect_at_more():
    """Three images alone would leave open 44 to 100 %; but nearly all objects overlap by far more than half."""
    counts = np.zeros((3, 10, 4))
    counts[..., 0] = 50 - np.arange(10) // 2
    counts[..., 1:3] = (np.arange(10) // 2)[:, None]
    counts[0, 2:, 0] += 1
    counts[0, 2:, 1:3] -= 1
    per_image = pd.DataFrame({"group": list("abc")})
    table = object_score_table(ObjectScores(per_image, counts))
    assert table["AP"][0] == table["AP high"][0] == 1
    assert (np.diff(table["AP low"]) <= 0).all()
    assert (np.diff(table["AP high"]) <= 0).all()
    assert table["AP low"][0] > 0.8


def test_intervals_are_drawn_over_groups():
    rng = np.random.default_rng(4)
    # Two patients say nothing about others.
    assert object_score_table(object_scores(pairs_of(rng, 12, ["a", "b"] * 6)))["AP low"].isna().all()
    pairs = list(pairs_of(rng, 6))
    doubled = [(f"{pair[0]} {copy}", pair[0], *pair[2:]) for pair in pairs for copy in "xy"]
    once, twice = (object_score_table(object_scores(given)) for given in (pairs, doubled))
    np.testing.assert_allclose(twice[["AP low", "AP", "AP high"]], once[["AP low", "AP", "AP high"]])
    alone = object_score_table(object_scores((pair[0], pair[0], *pair[2:]) for pair in doubled))
    narrower = alone["AP high"] - alone["AP low"] < once["AP high"] - once["AP low"]
    assert narrower[once["AP"] > 0].all()


def test_classes_of_the_matched_objects():
    y_true = boxes((0, 5), (7, 12), (14, 19), (21, 26))
    y_pred = 10 * boxes((0, 5), (7, 12), (14, 18), (30, 35))
    scores = scored(y_true, y_pred, {1: 1, 2: 2, 3: 2, 4: 1}, {10: 1, 20: 1, 30: 2, 40: 2})
    assert scores.class_confusion.tolist() == [[1, 0], [1, 1]]  # missed and false objects are not in it
    assert scored(y_true, y_pred).class_confusion is None
    assert scored(y_true, y_pred, None, {10: 1, 20: 1, 30: 2, 40: 2}).class_confusion is None
    twice = [("a", "a", y_true, y_true, one, one) for one in ({1: 1, 2: 1, 3: 1, 4: 2}, {1: 2, 2: 2, 3: 2, 4: 2})]
    assert object_scores(twice, CLASSES).class_confusion.tolist() == [[3, 0], [0, 5]]
    assert object_scores(twice, CLASSES[1:]).class_confusion.tolist() == [[3, 0], [0, 5]]
    assert scored(boxes(), boxes(), {}, {}).class_confusion.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("true", "predicted"), [({1: 3}, {1: 1}), ({1: 1}, {1: 0}), ({}, {1: 1})])
def test_an_object_without_a_class_of_the_table_is_refused(true, predicted):
    with pytest.raises((ValueError, KeyError)):
        scored(boxes((0, 5)), boxes((0, 5)), true, predicted)


def test_bad_labels_are_refused():
    labels = boxes((0, 5))
    for wrong in (labels.astype(float), -labels.astype(int), labels[:, 1:]):
        with pytest.raises(ValueError):
            scored(labels, wrong)
    with pytest.raises(DataError, match="no test image"):
        object_scores([])


def test_error_of_the_number_of_objects():
    pairs = [(boxes((0, 5), (7, 9)), boxes((0, 5))), (boxes((0, 2)), boxes((0, 2), (4, 6), (8, 9))), (boxes(), boxes())]
    scores = object_scores((str(i), str(i), *pair, None, None) for i, pair in enumerate(pairs))
    assert count_error(scores.per_image) == pytest.approx({"mean_absolute": 1, "relative": 1})
    empty = object_scores([("a", "a", boxes(), boxes((0, 2)), None, None)])
    assert count_error(empty.per_image) == pytest.approx({"mean_absolute": 1, "relative": np.nan}, nan_ok=True)


def test_images_are_not_kept():
    kept = []

    def pairs():
        for i in range(3):
            labels = np.ones((5, 5), np.uint16)
            kept.append(weakref.ref(labels))
            yield str(i), str(i), labels, labels.copy(), None, None
            del labels

    scores = object_scores(pairs())
    assert len(scores.per_image) == 3
    assert [one() for one in kept] == [None] * 3


def test_scores_of_any_shape_of_counts():
    counts = np.random.default_rng(5).integers(1, 9, (2, 3, 4))
    assert all(score.shape == (2, 3) for score in scores_from_counts(counts).values())
    assert scores_from_counts(np.array([3, 1, 2, 2.4]))["PQ"] == pytest.approx(2.4 / 4.5)
