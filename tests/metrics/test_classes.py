"""Scores of classifications against scikit-learn, calibration, Grad-CAM worked by hand, the forest."""

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics

from utils.errors import DataError
from utils.metrics import intervals
from utils.metrics.calibration import apply, calibration_curve, expected_calibration_error, fit_temperature
from utils.metrics.classes import class_headline, class_scores, groups_of_classes, roll_up
from utils.tasks.classes.evaluate import (
    classifier_verdict,
    compare_classifiers,
    interval_caution,
    per_class_table,
    totals_table,
)
from utils.tasks.classes.page import grad_cam
from utils.training import networks


def class_table(n, groups=None):
    return [{"id": i, "name": f"class {i}", "group": groups[i] if groups else None} for i in range(n)]


def random_case(rng, n=None, n_classes=None, accuracy=0.6):
    """True classes and probabilities of a classifier that is right more often than by chance."""
    n, n_classes = n or int(rng.integers(5, 80)), n_classes or int(rng.integers(2, 7))
    y = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + 2 * np.eye(n_classes)[y] * (rng.random((n, 1)) < accuracy)
    return y, softmax(logits, axis=1).astype(np.float32)


def score(y, p, classes=None, groups=None):
    files = [f"{i}.tif" for i in range(len(y))]
    return class_scores(files, groups or files, y, p, classes or class_table(p.shape[1]))


def value(scores, name, one="", level="classes", column="value"):
    rows = scores.table.set_index(["level", "score", "class"])
    return rows.loc[(level, name, one), column]


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(25):
        y, p = random_case(rng)
        scores, y_pred, present = score(y, p), p.argmax(axis=1), np.unique(y)
        assert value(scores, "accuracy") == pytest.approx(metrics.accuracy_score(y, y_pred))
        recall = metrics.recall_score(y, y_pred, labels=present, average="macro", zero_division=0)
        assert value(scores, "balanced_accuracy") == pytest.approx(recall)
        f1 = metrics.f1_score(y, y_pred, labels=present, average="macro", zero_division=0)
        assert value(scores, "macro_f1") == pytest.approx(f1)
        labels = np.arange(p.shape[1])
        np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(y, y_pred, labels=labels))
        expected = metrics.precision_recall_fscore_support(y, y_pred, labels=labels, zero_division=np.nan)
        for name, by_class in zip(("precision", "recall", "f1", "images"), expected, strict=True):
            for i in present:
                assert value(scores, name, f"class {i}") == pytest.approx(by_class[i], nan_ok=True), name


def test_worked_by_hand():
    y, y_pred = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    scores = score(y, np.eye(3, dtype=np.float32)[y_pred], class_table(3, ["a", "b", "a"]))
    assert value(scores, "accuracy") == pytest.approx(4 / 6)
    assert value(scores, "balanced_accuracy") == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert value(scores, "precision", "class 1") == pytest.approx(2 / 3)
    assert np.isnan(value(scores, "precision", "class 2"))  # nothing was called so
    assert value(scores, "f1", "class 2") == 0
    assert value(scores, "macro_f1") == pytest.approx((2 * 2 / (2 * 2 + 1 + 1) + 2 * 2 / (2 * 2 + 1) + 0) / 3)
    assert value(scores, "images", "class 0") == 3
    assert value(scores, "accuracy", level="broad classes") == pytest.approx(5 / 6)  # 2 taken for 0 stays in its group
    np.testing.assert_array_equal(scores.group_confusion, [[3, 1], [0, 2]])
    assert scores.per_image["correct"].tolist() == [True, True, False, True, True, False]
    assert scores.per_image["true broad class"].tolist() == ["a", "a", "a", "b", "b", "a"]


def test_a_class_absent_from_the_test_set_is_left_out():
    y, y_pred = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])  # class 2 has no image, class 3 appears nowhere
    scores = score(y, np.eye(4, dtype=np.float32)[y_pred])
    for name in ("precision", "recall", "f1"):
        assert np.isnan([value(scores, name, f"class {i}") for i in (2, 3)]).all()
        assert np.isnan([value(scores, name, "class 3", column=end) for end in ("low", "high")]).all()
    assert value(scores, "balanced_accuracy") == pytest.approx((0.5 + 1) / 2)
    assert value(scores, "macro_f1") == pytest.approx((2 / 3 + 1) / 2)
    assert value(scores, "images", "class 2") == 0
    assert "2 of the 4 classes have no test image" in class_headline(scores.table)["meaning"]


def test_a_group_has_the_probability_of_all_its_classes():
    rng = np.random.default_rng(1)
    for _ in range(20):
        y, p = random_case(rng, n_classes=5)
        classes = class_table(5, [str(group) for group in rng.permutation(["x", "y", "x", "z", "y"])])
        rolled, number = roll_up(p, classes), groups_of_classes(classes)
        np.testing.assert_allclose(rolled.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(rolled[:, 1], p[:, [one["group"] == "y" for one in classes]].sum(axis=1), rtol=1e-5)
        scores = score(y, p, classes)
        expected = (rolled.argmax(axis=1) == number[y]).mean()
        assert value(scores, "accuracy", level="broad classes") == pytest.approx(expected)
        assert scores.group_confusion.sum() == len(y)
    two_halves = np.array([[0.4, 0.3, 0.3]], np.float32)  # neither b alone, both together
    scores = score(np.array([1]), two_halves, class_table(3, ["a", "b", "b"]))
    assert scores.per_image.loc[0, ["predicted class", "predicted broad class"]].tolist() == ["class 0", "b"]


def test_groups_of_one_class_each_score_as_the_classes():
    y, p = random_case(np.random.default_rng(2), n=50, n_classes=4)
    scores = score(y, p, class_table(4, list("abcd")))
    for column in ("value", "low", "high"):
        by_level = [scores.table.loc[scores.table["level"] == level, column] for level in ("classes", "broad classes")]
        np.testing.assert_allclose(*by_level)
    assert score(y, p).group_confusion is None
    assert set(score(y, p).table["level"]) == {"classes"}


def test_intervals_hold_the_score_and_respect_groups():
    rng = np.random.default_rng(3)
    y, p = random_case(rng, n=40, n_classes=3)
    alone, repeated = (
        score(y, p),
        score(np.repeat(y, 5), np.repeat(p, 5, axis=0), groups=[str(i // 5) for i in range(200)]),
    )
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, middle, high = (value(alone, name, column=column) for column in ("low", "value", "high"))
        assert low < middle < high
        # Five copies of each image of a patient tell nothing new.
        assert value(repeated, name, column="low") == pytest.approx(low, abs=0.02)
        assert value(repeated, name, column="high") == pytest.approx(high, abs=0.02)
    ungrouped = score(np.repeat(y, 5), np.repeat(p, 5, axis=0))
    assert value(ungrouped, "accuracy", column="low") > value(alone, "accuracy", column="low") + 0.03
    assert np.isnan(value(score(y[:2], p[:2]), "accuracy", column="low"))


def test_images_in_small_portions_give_the_same_intervals(monkeypatch):
    y, p = random_case(np.random.default_rng(4), n=50, n_classes=3)
    at_once = score(y, p).table
    monkeypatch.setattr(intervals, "MOST_COUNTS", 70)
    pd.testing.assert_frame_equal(score(y, p).table, at_once)


def test_what_cannot_be_scored_is_refused():
    y, p = random_case(np.random.default_rng(4), n=6, n_classes=3)
    with pytest.raises(DataError, match="no test image"):
        score(y[:0], p[:0], class_table(3))
    for wrong in (p[:, :2], p[:5], np.where(np.eye(6, 3), np.nan, p)):
        with pytest.raises(ValueError):
            score(y, wrong, class_table(3))
    with pytest.raises(ValueError, match="class ids"):
        score(y + 3, p)


def test_headline_is_the_balanced_accuracy_in_words():
    y, p = random_case(np.random.default_rng(5), n=60, n_classes=4)
    scores = score(y, p, class_table(4, list("aabb")))
    best = class_headline(scores.table)
    assert best["value"] == value(scores, "balanced_accuracy")
    assert best["low"] < best["value"] < best["high"]
    assert f"{100 * best['value']:.0f} %" in best["meaning"]
    assert "guessing gives 25 %" in best["meaning"]


def test_tables_for_the_page():
    y = np.repeat([0, 1, 2], [12, 12, 3])
    p = np.eye(4, dtype=np.float32)[np.where(np.arange(27) == 3, 1, y)]
    scores = score(y, p, class_table(4, ["a", "a", "b", "b"]))
    totals, by_class = totals_table(scores.table), per_class_table(scores.table)
    assert totals.columns.tolist() == ["score", "over", "classes", "broad classes"]
    assert totals.loc[0, "classes"].startswith("0.96 (")
    assert by_class["test images"].tolist() == [12, 12, 3, 0]
    assert by_class.loc[2, "recall"] == "1.00 (0.44 to 1.00)"  # Wilson's interval of 3 of 3
    assert by_class.loc[3, ["precision", "recall", "F1"]].tolist() == ["unknown"] * 3
    assert per_class_table(scores.table, "broad classes")["broad class"].tolist() == ["a", "b"]
    assert len(per_class_table(score(y, p).table, "broad classes")) == 0
    note = interval_caution(scores.table)
    assert "class 2: 3" in note
    assert "class 1" not in note
    y = np.repeat([0, 1], 20)
    assert interval_caution(score(y, np.eye(2, dtype=np.float32)[y ^ (np.arange(40) % 7 == 0)]).table) == ""


def test_two_classifiers_are_compared_on_the_same_images():
    rng = np.random.default_rng(6)
    y, good = random_case(rng, n=120, n_classes=3, accuracy=0.95)
    bad = softmax(rng.normal(size=(120, 3)), axis=1)
    classes = class_table(3, ["a", "a", "b"])
    better, worse = score(y, good, classes), score(y, bad, classes)
    table = compare_classifiers(better, worse)
    assert table["level"].tolist() == ["classes"] * 3 + ["broad classes"] * 3
    np.testing.assert_allclose(table["difference"], table["network"] - table["random forest"])
    for row in table.itertuples():
        assert row.network == pytest.approx(value(better, row.score, level=row.level))
        assert row.low < row.difference < row.high
    assert "The network is better" in classifier_verdict(table)
    assert "The random forest is better" in classifier_verdict(compare_classifiers(worse, better))
    same = compare_classifiers(better, better)
    assert (same["difference"] == 0).all()
    assert (same[["low", "high"]].abs() < 3 / 120).all(axis=None)  # two that differ on none of 120: the rule of three
    assert "may be chance" in classifier_verdict(same)
    assert "too few" in classifier_verdict(compare_classifiers(score(y[:2], good[:2]), score(y[:2], bad[:2])))
    with pytest.raises(ValueError, match="same images"):
        compare_classifiers(score(y[1:], good[1:]), worse)


def test_the_temperature_that_made_the_logits_is_found():
    rng = np.random.default_rng(7)
    for temperature in (0.4, 1.0, 3.0, 8.0):
        honest = rng.normal(0, 2, (4000, 5))
        y = (softmax(honest, axis=1).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
        fitted = fit_temperature(temperature * honest, y)
        assert fitted == pytest.approx(temperature, rel=0.1)
        p = apply(temperature * honest, fitted)
        assert p.dtype == np.float32
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        assert (p.argmax(axis=1) == honest.argmax(axis=1)).all()
        before = expected_calibration_error(y, softmax(temperature * honest, axis=1))
        after = expected_calibration_error(y, p)
        assert after < 0.03
        assert temperature == 1 or after < before


def test_few_validation_images_that_are_all_right_do_not_make_the_model_certain():
    y = np.arange(12) % 3
    logits = 3 * np.eye(3)[y]
    fitted = fit_temperature(logits, y)
    assert 0.3 < fitted < 1
    assert apply(logits, fitted).max() < 0.9999
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
    assert fit_temperature(1e6 * logits[:, ::-1], y) > 0
    for wrong in (logits[:5], np.full_like(logits, np.nan)):
        with pytest.raises(ValueError, match="logits"):
            fit_temperature(wrong, y)
    with pytest.raises(ValueError, match="above 0"):
        apply(logits, 0)


def test_calibration_worked_by_hand():
    p = np.array([[0.7, 0.3], [0.3, 0.7], [0.65, 0.35], [1.0, 0.0], [0.05, 0.95]])
    y = np.array([0, 0, 0, 0, 1])
    curve = calibration_curve(y, p, bins=10)
    np.testing.assert_allclose(curve["from"], [0.6, 0.9])  # 0.7 is the upper end of its bin
    assert curve["images"].tolist() == [3, 2]
    np.testing.assert_allclose(curve["probability"], [2.05 / 3, 0.975])
    np.testing.assert_allclose(curve["accuracy"], [2 / 3, 1])
    assert (curve["low"] < curve["accuracy"]).all()
    assert curve["high"].tolist()[1] == pytest.approx(1)
    assert 0.3 < curve["low"][1] < 0.4  # two images, both right
    expected = (3 * abs(2 / 3 - 2.05 / 3) + 2 * 0.025) / 5
    assert expected_calibration_error(y, p) == pytest.approx(expected)
    assert expected_calibration_error(np.array([0, 1]), np.eye(2)) == 0
    assert np.isnan(expected_calibration_error(y[:0], p[:0]))


def pooled_network(backbone=None, channels=1, classes=3):
    """Network of one convolution (or a backbone), average pooling and logits, with random weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, channels))
    maps = backbone(inputs) if backbone else keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    logits = keras.layers.Dense(classes, name="logits")(keras.layers.GlobalAveragePooling2D()(maps))
    return keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits)), keras.Model(inputs, maps)


def test_grad_cam_of_a_pooled_network_is_its_weighted_maps():
    network, maps_of = pooled_network()
    image = np.random.default_rng(0).normal(size=(12, 16, 1)).astype(np.float32)
    kernel = network.get_layer("logits").get_weights()[0]
    for class_id in range(3):
        expected = np.maximum(maps_of(image[None]).numpy()[0] @ kernel[:, class_id], 0)
        cam = grad_cam(network, image, class_id)
        assert cam.shape == (12, 16)
        assert cam.dtype == np.float32
        assert cam.max() == 1
        assert cam.min() >= 0
        # Blocks of 2 x 2 pixels average to the maps, but for the blur of enlarging: the order is kept.
        blocks = cam.reshape(6, 2, 8, 2).mean(axis=(1, 3))
        assert np.corrcoef(blocks.ravel(), expected.ravel())[0, 1] > 0.9


def test_grad_cam_shows_where_the_evidence_is():
    network, _ = pooled_network(classes=2)
    convolution, dense = network.layers[1], network.get_layer("logits")
    convolution.set_weights([np.ones((3, 3, 1, 4)) / 9, np.zeros(4)])
    dense.set_weights([np.column_stack([np.ones(4), -np.ones(4)]), np.zeros(2)])
    image = np.zeros((32, 48, 1), np.float32)
    image[20:26, 8:14] = 1
    cam = grad_cam(network, image, 0)
    y, x = np.unravel_index(cam.argmax(), cam.shape)
    assert 20 <= y < 26
    assert 8 <= x < 14
    assert cam[:10].max() == 0
    assert grad_cam(network, image, 1).max() == 0  # bright pixels only speak against the other class


@pytest.mark.parametrize("name", ["small CNN", "MobileNetV2"])
def test_grad_cam_of_the_networks_of_the_notebook(name):
    keras.utils.set_random_seed(1)
    network = networks.classifier(2, 2, network=name)
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([np.stack([abs(kernel[:, 0]), -abs(kernel[:, 0])], axis=1), bias])
    image = np.random.default_rng(0).random((100, 85, 2)).astype(np.float32)
    image[50:] = 0
    for_it, against_it = (grad_cam(network, image, class_id) for class_id in range(2))
    assert for_it.shape == against_it.shape == (100, 85)
    assert for_it.max() == 1
    assert for_it.min() < 0.9
    assert against_it.max() == 0
    for layer in network.layers:
        layer.trainable = False  # as in fine-tuning: what is frozen still has a gradient to look at
    np.testing.assert_allclose(grad_cam(network, image, 0), for_it, atol=1e-4)


def test_grad_cam_refuses_what_has_no_maps():
    inputs = keras.Input((8, 8, 1))
    inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.GlobalAveragePooling2D()])
    network = keras.Model(inputs, keras.layers.Dense(2, name="logits")(inner(inputs)))
    with pytest.raises(ValueError, match="Grad-CAM"):
        grad_cam(network, np.zeros((8, 8, 1), np.float32), 0)
