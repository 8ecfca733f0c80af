"""Pixel metrics by hand on 4x4 arrays and against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from utils.errors import DataError
from utils.metrics.confusion import (
    best_threshold,
    confusion_matrix,
    foreground_iou,
    offsets_for_shares,
    scores_from_confusion,
)
from utils.metrics.intervals import interval_note
from utils.metrics.pixels import pixel_headline, pixel_score_table, pixel_scores, readable_pixel_scores

BINARY = [{"id": 0, "name": "background"}, {"id": 1, "name": "nucleus"}]
TISSUE = [{"id": 0, "name": "glass"}, {"id": 1, "name": "tissue"}, {"id": 2, "name": "fibrosis"}]

TRUE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [2, 2, 0, 0]], np.uint8)
PRED = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0], [2, 1, 0, 0]], np.uint8)
EMPTY = np.zeros((4, 4), np.uint8)


def tissue_images(seed, n, classes=3):
    """Images of random classes whose prediction is right in about 7 of 10 pixels."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        y_true = rng.integers(0, classes, rng.integers(3, 12, 2))
        y_pred = np.where(rng.random(y_true.shape) < 0.7, y_true, rng.integers(0, classes, y_true.shape))
        yield f"{i}.tif", f"patient{i % 4}", y_true, y_pred


def test_confusion_matrix_by_hand():
    # truth 0: nine found, one called 1; truth 1: three found, one called 0; truth 2: one found, one called 1
    np.testing.assert_array_equal(confusion_matrix(TRUE, PRED, 3), [[9, 1, 0], [1, 3, 0], [0, 1, 1]])


def test_class_scores_by_hand():
    scores = scores_from_confusion(confusion_matrix(TRUE, PRED, 3))
    np.testing.assert_allclose(scores.iou, [9 / 11, 3 / 6, 1 / 2])
    np.testing.assert_allclose(scores.dice, [18 / 20, 6 / 9, 2 / 3])
    np.testing.assert_allclose(scores.precision, [9 / 10, 3 / 5, 1])
    np.testing.assert_allclose(scores.recall, [9 / 10, 3 / 4, 1 / 2])


def test_foreground_iou_by_hand():
    assert foreground_iou(TRUE, PRED) == pytest.approx(5 / 7)  # 5 pixels are foreground in both, 7 in either
    assert foreground_iou(TRUE, EMPTY) == 0
    assert np.isnan(foreground_iou(EMPTY, EMPTY))


def test_scores_agree_with_scikit_learn():
    for seed in range(20):
        for n_classes in (2, 3, 5):
            *_, y_true, y_pred = next(tissue_images(seed, 1, n_classes))
            truth, labels = (y_true.ravel(), y_pred.ravel()), list(range(n_classes))
            cm = confusion_matrix(y_true, y_pred, n_classes)
            np.testing.assert_array_equal(cm, sklearn.metrics.confusion_matrix(*truth, labels=labels))
            scores = scores_from_confusion(cm)
            for mine, name in zip(scores, ("jaccard", "f1", "precision", "recall"), strict=True):
                score = getattr(sklearn.metrics, f"{name}_score")
                theirs = score(*truth, labels=labels, average=None, zero_division=0)
                np.testing.assert_allclose(np.nan_to_num(mine), theirs)


def test_confusion_matrices_may_be_stacked():
    stack = np.stack([confusion_matrix(y_true, y_pred, 3) for *_, y_true, y_pred in tissue_images(0, 5)])
    for together, *alone in zip(scores_from_confusion(stack), *map(scores_from_confusion, stack), strict=True):
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        (TRUE, PRED[:3]),
        (TRUE, PRED.astype(float)),
        (np.full((4, 4), 3), PRED),
        (TRUE, PRED.astype(int) - 1),
    ],
)
def test_what_is_no_pair_of_class_masks_is_refused(y_true, y_pred):
    with pytest.raises(ValueError, match=r"shape|class ids"):
        confusion_matrix(y_true, y_pred, 3)


def test_absent_class_is_nan_and_left_out_of_means():
    scores = pixel_scores([("a.tif", "a", np.minimum(TRUE, 1), np.minimum(PRED, 1))], TISSUE)
    assert np.isnan(scores.totals["dice_fibrosis"])
    assert np.isnan(scores.totals["iou_fibrosis"])
    assert np.isnan(scores.totals["share_mae_fibrosis"])
    assert scores.totals["mean_dice"] == scores.totals["dice_tissue"]
    assert np.isnan(scores.per_image["dice_fibrosis"]).all()


def test_class_never_found_scores_zero_not_nan():
    scores = scores_from_confusion(confusion_matrix(TRUE, np.minimum(PRED, 1), 3))
    assert (scores.dice[2], scores.iou[2], scores.recall[2]) == (0, 0, 0)
    assert np.isnan(scores.precision[2])


def test_totals_by_hand():
    pairs = [("a.tif", "p1", TRUE, PRED), ("b.tif", "p1", EMPTY, EMPTY), ("c.tif", "p2", TRUE, TRUE)]
    totals = pixel_scores(iter(pairs), TISSUE).totals
    assert totals["mean_foreground_iou"] == pytest.approx((5 / 7 + 1) / 2)  # the empty image is left out
    assert totals["dice_tissue"] == pytest.approx(2 * 7 / (8 + 9))  # pooled: 3 + 4 found, 8 true, 5 + 4 predicted
    assert totals["iou_tissue"] == pytest.approx(7 / (8 + 9 - 7))
    assert totals["dice_fibrosis"] == pytest.approx(2 * 3 / (4 + 3))
    assert totals["mean_dice"] == pytest.approx((14 / 17 + 6 / 7) / 2)  # background does not count
    assert totals["share_mae_fibrosis"] == pytest.approx((100 / 16 + 0 + 0) / 3)  # one pixel of 16 too few, in one of 3


def test_pooled_dice_is_that_of_all_pixels_together():
    pairs = list(tissue_images(1, 6))
    y_true, y_pred = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (2, 3))
    expected = sklearn.metrics.f1_score(y_true, y_pred, average=None)
    totals = pixel_scores(pairs, TISSUE).totals
    np.testing.assert_allclose([totals[f"dice_{one['name']}"] for one in TISSUE], expected)


def test_table_per_image():
    scores = pixel_scores(tissue_images(2, 7), TISSUE)
    assert scores.per_image["file"].tolist() == [f"{i}.tif" for i in range(7)]
    for kind in ("true", "predicted"):
        np.testing.assert_allclose(scores.per_image.filter(like=f"{kind}_share").sum(axis=1), 1)
    for row, (*_, y_true, y_pred) in zip(scores.per_image.itertuples(), tissue_images(2, 7), strict=True):
        assert row.foreground_iou == pytest.approx(foreground_iou(y_true, y_pred))
        assert row.true_share_fibrosis == pytest.approx((y_true == 2).mean())
        assert row.predicted_share_fibrosis == pytest.approx((y_pred == 2).mean())


def test_nothing_to_score_and_equal_names_are_refused():
    with pytest.raises(DataError, match="no test image"):
        pixel_scores([], TISSUE)
    with pytest.raises(DataError, match="same name"):
        pixel_scores(tissue_images(0, 2), [*TISSUE[:2], {"id": 2, "name": "tissue"}])


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_images_give_no_interval(n):
    table = pixel_score_table(pixel_scores(tissue_images(8, n), TISSUE))
    assert table["value"].notna().all()
    assert table[["low", "high"]].isna().all(axis=None)
    assert interval_note(["a", "b"][:n]).startswith("No intervals")


def test_many_images_of_two_patients_give_no_interval():
    pairs = [(name, f"patient{i % 2}", *masks) for i, (name, _, *masks) in enumerate(tissue_images(9, 10))]
    assert pixel_score_table(pixel_scores(pairs, TISSUE))["low"].isna().all()
    assert "3 groups" in interval_note([pair[1] for pair in pairs])


@pytest.mark.parametrize(
    ("n_images", "n_groups", "few"), [(40, 40, False), (40, 5, True), (6, 6, True), (90, 30, False)]
)
def test_note_says_what_the_intervals_are_from_and_warns_of_few(n_images, n_groups, few):
    note = interval_note([f"patient{i % n_groups}" for i in range(n_images)])
    assert f"the {n_groups} {'images' if n_images == n_groups else 'groups'} of" in note
    assert ("may be missing" in note) == few
    assert "uncertainty is larger" not in note


def test_score_table_has_every_total_within_its_interval():
    scores = pixel_scores(tissue_images(10, 16), TISSUE)
    table = pixel_score_table(scores)
    assert dict(zip(table["score"], table["value"], strict=True)) == scores.totals
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()


def test_score_table_where_a_class_is_in_one_image_only():
    pairs = [("a.tif", "a", TRUE, PRED)] + [
        (f"{i}.tif", str(i), np.minimum(TRUE, 1), np.minimum(PRED, 1)) for i in range(5)
    ]
    table = pixel_score_table(pixel_scores(pairs, TISSUE)).set_index("score")
    # One image tells as much as one that is right or wrong: Wilson's interval of 2/3 of 1, with z = 1.96.
    middle, half = (2 / 3 + 3.8415 / 2) / 4.8415, 1.95996 / 4.8415 * (2 / 9 + 3.8415 / 4) ** 0.5
    assert table.loc["dice_fibrosis", ["low", "high"]].tolist() == pytest.approx(
        [middle - half, middle + half], abs=1e-4
    )
    absent = pixel_score_table(pixel_scores(pairs[1:], TISSUE)).set_index("score").loc["dice_fibrosis"]
    assert absent.isna().all()


def test_headline_and_readable_table():
    table = pixel_score_table(pixel_scores(tissue_images(11, 8), TISSUE))
    best = pixel_headline(table)
    assert best["value"] == table["value"][1], "mean Dice: with several classes foreground IoU would say little"
    binary = pixel_score_table(pixel_scores([("a", "a", np.eye(4, dtype=int), np.ones((4, 4), int))], BINARY))
    assert pixel_headline(binary)["value"] == 4 / 16
    assert f"{100 * best['value']:.0f} %" in best["meaning"]
    nothing = pixel_score_table(pixel_scores([("a", "a", EMPTY, EMPTY)], BINARY))
    assert "nothing to score" in pixel_headline(nothing)["meaning"]
    words = readable_pixel_scores(table)
    assert not words[["score", "of", "over"]].duplicated().any()
    rows = words.set_index(["score", "of"])
    assert rows.loc[("Dice", "fibrosis"), "over"] == "all pixels of all images together"
    assert rows.loc[("Error of the area share in percentage points", "tissue"), "over"].startswith("mean of the images")
    (mean,) = words.loc[words["score"] == "Mean Dice of the classes"].to_dict("records")
    assert mean["of"] == f"all classes but {TISSUE[0]['name']}"
    assert mean["value"] == f"{best['value']:.3f}"


def test_two_classes_are_told_once_each_and_what_they_are_over():
    images = [
        ("a", "a", np.eye(4, dtype=int), np.ones((4, 4), int)),
        ("b", "b", np.eye(4, dtype=int), np.eye(4, dtype=int)),
    ]
    words = readable_pixel_scores(pixel_score_table(pixel_scores(images, BINARY)))
    assert set(words["of"]) == {BINARY[1]["name"]}
    values = words.set_index(["score", "over"])["value"]
    assert values["Mean foreground IoU"].tolist() == ["0.625"]  # (4 / 16 + 1) / 2
    assert values["IoU"].tolist() == ["0.400"]  # (4 + 4) / (16 + 4)
    assert len(words) == 4


def mean_iou(images, threshold):
    return np.nanmean([foreground_iou(y_true, p1 > threshold) for y_true, p1 in images])


def images_with_probabilities(seed, centre):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        y_true = rng.random((9, 11)) < 0.4
        yield y_true.astype(np.uint8), np.clip(rng.normal(centre + 0.2 * y_true, 0.15), 0, 1).astype(np.float32)


def test_best_threshold_is_that_of_a_plain_search():
    grid = np.round(np.linspace(0.05, 0.95, 19), 2)
    for seed in range(15):
        images = list(images_with_probabilities(seed, centre=0.15 + 0.04 * seed))
        images.append((np.zeros((5, 5), int), np.full((5, 5), 0.3, np.float32)))  # without foreground: NaN or 0
        scores = [mean_iou(images, float(threshold)) for threshold in grid]
        chosen = best_threshold(images)
        assert mean_iou(images, chosen) == pytest.approx(max(scores))
        assert mean_iou(images, chosen) >= mean_iou(images, 0.5)


def test_best_threshold_takes_0_5_where_nothing_speaks_against_it():
    perfect = [(TRUE, (TRUE > 0).astype(np.float32))]
    assert best_threshold(perfect) == 0.5
    assert best_threshold([(EMPTY, np.random.default_rng(0).random((4, 4)))]) == 0.5
    assert best_threshold([]) == 0.5
    assert best_threshold(perfect, grid=[0.1]) == 0.5


def test_best_threshold_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="between 0 and 1"):
        best_threshold([], grid=[50])
    with pytest.raises(ValueError, match="shape"):
        best_threshold([(TRUE, np.zeros((3, 3)))])


def shares(ids, n_classes):
    return np.bincount(ids, minlength=n_classes) / len(ids)


@pytest.mark.parametrize("seed", range(8))
def test_offsets_bring_the_classes_to_their_true_shares(seed):
    rng = np.random.default_rng(seed)
    n_classes = int(rng.integers(3, 6))
    y_true = rng.choice(n_classes, 4000, p=rng.dirichlet(np.full(n_classes, 3)))
    log_p = 2 * np.eye(n_classes)[y_true] + rng.normal(0, 1, (4000, n_classes)) + rng.uniform(-0.5, 0.5, n_classes)
    offsets = offsets_for_shares(y_true, log_p)
    before, after = ((log_p + more).argmax(axis=1) for more in (0, offsets))
    wrong = [np.abs(shares(found, n_classes) - shares(y_true, n_classes)).sum() for found in (before, after)]
    assert wrong[1] < min(0.01, wrong[0])
    assert (after == y_true).mean() > (before == y_true).mean() - 0.01


def test_offsets_by_hand():
    # of ten pixels two are class 1; the scores say 1 for four, of which two just so
    y_true = np.array([0] * 8 + [1] * 2)
    log_p = np.array([[1.0, 0.0, -9.0]] * 6 + [[0.0, 0.1, -9.0]] * 2 + [[0.0, 1.0, -9.0]] * 2)
    offsets = offsets_for_shares(y_true, log_p)
    assert ((log_p + offsets).argmax(axis=1) == y_true).all()
    assert offsets[2] == 0, "a class that occurs nowhere is left alone"
    assert (offsets_for_shares(y_true, 5 * np.eye(3)[y_true]) == 0).all(), "nothing to put right"
    ignored = np.append(y_true, [-1] * 50), np.concatenate([log_p, np.full((50, 3), [0.0, 0.05, 9.0])])
    np.testing.assert_array_equal(offsets_for_shares(*ignored), offsets)


@pytest.mark.parametrize("y_true", [[], [-1, -1], [0, 0], [0, 1]])
def test_offsets_without_anything_to_go_by(y_true):
    offsets = offsets_for_shares(np.array(y_true, int), np.zeros((len(y_true), 3)))
    assert np.abs(offsets).max() <= 1
