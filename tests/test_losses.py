"""Losses against plain numpy and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from utils.losses import LOSSES, class_weights, segmentation_loss


def loss_value(name, weights, y_true, logits):
    return float(segmentation_loss(name, weights)(np.asarray(y_true), np.asarray(logits, np.float32)))


def plain_loss(name, weights, y_true, logits):
    """The formulas of the docstring, pixel by pixel."""
    probabilities, logarithms = softmax(logits.astype(float), axis=-1), log_softmax(logits.astype(float), axis=-1)
    total = 0.0
    if "entropy" in name:
        pixels = [
            -logarithms[(*place, label)] * (weights[label] if "weighted" in name else 1)
            for place, label in np.ndenumerate(y_true)
        ]
        total += np.mean(pixels)
    if "Dice" in name:
        scores = []
        for number in range(1, logits.shape[-1]):
            p, y = probabilities[..., number], y_true == number
            scores.append((2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))
        total += 1 - np.mean(scores)
    return total


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 5])
def test_losses_equal_plain_numpy(name, classes):
    rng = np.random.default_rng(0)
    for _ in range(5):
        shape = tuple(rng.integers(1, 8, 3))
        y_true, logits = rng.integers(0, classes, shape), rng.normal(0, 3, (*shape, classes))
        weights = rng.random(classes)
        for dtype in (np.uint8, np.int64, np.float32):  # Keras hands class ids over as floats
            value = loss_value(name, weights, y_true.astype(dtype), logits)
            assert value == pytest.approx(plain_loss(name, weights, y_true, logits), rel=1e-5)


def test_by_hand():
    # two pixels: a sure and right background, and an undecided foreground
    y_true, logits = [[[0, 1]]], [[[[100.0, 0.0], [0.0, 0.0]]]]
    entropy = np.log(2) / 2
    dice = 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)
    assert loss_value("cross-entropy", [1, 3], y_true, logits) == pytest.approx(entropy)
    assert loss_value("weighted cross-entropy", [1, 3], y_true, logits) == pytest.approx(3 * entropy)
    assert loss_value("Dice", [1, 3], y_true, logits) == pytest.approx(dice)
    assert loss_value("weighted cross-entropy + Dice", [1, 3], y_true, logits) == pytest.approx(3 * entropy + dice)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("present", [[0, 1, 2], [0, 1], [0], [2]])
def test_perfect_prediction_costs_nothing_and_the_opposite_much(name, present):
    y_true = np.resize(present, (2, 8, 8))  # classes that are absent must not count
    logits = 30 * np.eye(3)[y_true]
    assert loss_value(name, np.ones(3), y_true, logits) == pytest.approx(0, abs=1e-5)
    assert loss_value(name, np.ones(3), y_true, np.roll(logits, 1, axis=-1)) > 0.4


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0, 1, 1e4])
@pytest.mark.parametrize("present", [[0, 1, 2], [0]])
def test_gradients_are_finite_at_extreme_logits(name, scale, present):
    rng = np.random.default_rng(0)
    y_true = np.resize(present, (2, 6, 6))
    logits = tf.constant(scale * rng.choice([-1, 1], (2, 6, 6, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = segmentation_loss(name, class_weights(list(y_true), 3))(y_true, logits)
    assert np.isfinite(value.numpy())
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_into_a_model_the_loss_is_the_same(name):
    rng = np.random.default_rng(0)
    y_true, logits = rng.integers(0, 2, (3, 4, 4)).astype(np.uint8), rng.normal(0, 1, (3, 4, 4, 2)).astype(np.float32)
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Activation("linear")(image))
    model.compile(loss=segmentation_loss(name, [0.5, 2]))
    assert model.evaluate(logits, y_true, verbose=0) == pytest.approx(
        plain_loss(name, [0.5, 2], y_true, logits), rel=1e-5
    )


def test_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown loss 'dice'"):
        segmentation_loss("dice", [1, 1])


def test_class_weights_by_hand():
    # shares 3/4 and 1/4 -> 1/sqrt: 1.1547 and 2; mean over pixels 0.75 * 1.1547 + 0.25 * 2 = 1.3660
    masks = [np.array([[0, 0], [0, 1]], np.uint8)]
    np.testing.assert_allclose(class_weights(masks, 2), [1.1547 / 1.3660, 2 / 1.3660], rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_class_weights_have_mean_1_over_all_pixels_of_all_masks(seed):
    rng = np.random.default_rng(seed)
    masks = [rng.choice(4, rng.integers(5, 40, 2), p=[0.7, 0.2, 0.1, 0]).astype(np.uint8) for _ in range(4)]
    weights = class_weights(masks, 4)
    pixels = np.concatenate([mask.ravel() for mask in masks])
    assert weights.dtype == np.float32
    assert weights[pixels].mean() == pytest.approx(1, rel=1e-5)
    assert weights[3] == 0  # occurs nowhere
    counts = np.bincount(pixels, minlength=4)
    np.testing.assert_allclose(weights[1] / weights[0], np.sqrt(counts[0] / counts[1]), rtol=1e-5)
