"""What is said of a classifier's probabilities is what the test images show, before and after the temperature."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import softmax

from utils.metrics.calibration import (
    FEWEST_IMAGES,
    apply,
    brier,
    error_by_chance,
    expected_calibration_error,
    fit_temperature,
    undone,
)
from utils.metrics.classes import class_scores
from utils.tasks.classes.calibration import calibration_errors, calibration_in_words

CLASSES = [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate("abc")]


def evaluated(logits, y, temperature, fitted_on=None, share=1.0, forest=None):
    """The evaluation of a model that answers with softmax(logits / temperature)."""
    names = [f"{i}.tif" for i in range(len(y))]

    def scores(p):
        return class_scores(names, names, y, p, CLASSES[: p.shape[1]])

    network = apply(logits, temperature)
    p = network if share == 1 else share * network + (1 - share) * forest
    known = {} if fitted_on is None else {"validation_images": fitted_on, "fitted": fitted_on >= FEWEST_IMAGES}
    description = {"temperature": temperature} | ({"calibration": known} if known else {})
    others = {} if share == 1 else {"network": scores(network), "forest": scores(forest)}
    others["test_set"] = SimpleNamespace(folds=None)
    return SimpleNamespace(scores=scores(p), predictor=SimpleNamespace(description=description, share=share), **others)


def too_sure(n, seed=0, factor=3.0, classes=3):
    """Logits three times what they should be, and the classes."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (n, classes))
    y = (softmax(honest, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return factor * honest, np.minimum(y, classes - 1)


def test_what_a_temperature_made_worse_is_not_called_honest():
    """The mistake: 23.0 points off before and 25.6 after a temperature of 0.79 that "makes them honest"."""
    logits, y = too_sure(400)
    result = evaluated(logits, y, 0.5, fitted_on=40)
    before, after = (100 * expected_calibration_error(y, apply(logits, temperature)) for temperature in (1.0, 0.5))
    text = calibration_in_words(result)
    assert after > before
    assert f"from {before:.0f} to {after:.0f} percentage points: they are worse for it" in text
    assert "surer than it should be" in text
    assert "fitted on 40 validation images" in text
    assert "honest" not in text


def test_a_temperature_that_helps_is_said_to():
    logits, y = too_sure(400)
    text = calibration_in_words(evaluated(logits, y, 3.0, fitted_on=100))
    assert "they are better for it" in text
    assert "do not show that the probabilities are wrong" in text


def test_of_twelve_test_images_nothing_can_be_told():
    logits, y = too_sure(12, seed=1)
    assert "no difference that these test images can tell" in calibration_in_words(
        evaluated(logits, y, 1.1, fitted_on=30)
    )


def test_few_validation_images_are_not_called_calibrated_and_how_many_would_do_is_said():
    logits, y = too_sure(50)
    text = calibration_in_words(evaluated(logits, y, 1.0, fitted_on=8))
    assert "not calibrated: 8 validation images are too few for that, 30 would do" in text
    assert "temperature" not in text


def test_models_of_earlier_with_a_temperature():
    logits, y = too_sure(50)
    text = calibration_in_words(evaluated(logits, y, 2.0))
    assert "A temperature of 2.00, fitted on validation images, changed this difference from" in text
    assert "not calibrated" not in calibration_in_words(evaluated(logits, y, 1.0))


def test_network_and_forest_together_and_the_forest_alone():
    logits, y = too_sure(60)
    forest = np.full((60, 3), 1 / 3)
    both = evaluated(logits, y, 2.0, fitted_on=50, share=0.5, forest=forest)
    expected = expected_calibration_error(y, (apply(logits, 1.0) + forest) / 2)
    assert calibration_errors(both)["expected_calibration_error_without_temperature"] == pytest.approx(expected)
    alone = evaluated(logits, y, 2.0, fitted_on=8, share=0.0, forest=forest)
    assert calibration_errors(alone)["expected_calibration_error_without_temperature"] is None
    assert "temperature" not in calibration_in_words(alone)
    assert "not calibrated" not in calibration_in_words(alone)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_temperature_can_be_taken_back(temperature):
    logits = np.random.default_rng(2).normal(0, 2, (30, 4))
    np.testing.assert_allclose(undone(apply(logits, temperature), temperature), apply(logits, 1.0), atol=1e-5)


def test_the_brier_score_worked_by_hand():
    assert brier(np.array([0, 1, 1]), np.array([[1, 0], [1, 0], [0.5, 0.5]])).tolist() == [0, 1, 0.25]


def test_the_error_by_chance_is_that_of_answers_drawn_from_the_probabilities():
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.5, 1, 25)
    p = np.column_stack([sure, 1 - sure])
    errors = [expected_calibration_error((rng.random(25) >= sure).astype(int), p) for _ in range(400)]
    mean, passed = error_by_chance(p)
    assert mean == pytest.approx(np.mean(errors), abs=0.01)
    assert passed == pytest.approx(np.quantile(errors, 0.95), abs=0.02)
    assert np.isnan(error_by_chance(p[:0])).all()


def test_from_thirty_validation_images_a_temperature_helps_more_than_it_harms():
    """As in tests/benchmarks/calibration.py, with a few draws: a model that is too sure, and one that is right."""

    def off(factor, n):
        fresh, truth = too_sure(3000, seed=9, factor=factor)
        fitted = [fit_temperature(*too_sure(n, seed=seed, factor=factor)) for seed in range(20)]
        errors = [100 * expected_calibration_error(truth, apply(fresh, one)) for one in (1.0, *fitted)]
        return errors[0], np.mean(errors[1:])

    before, after = off(2.5, FEWEST_IMAGES)
    assert after < before / 2
    before, after = off(1.0, FEWEST_IMAGES)
    assert after < 6
    assert off(1.0, 6)[1] > 6
