"""How far the probabilities of a classifier can be believed, in words and numbers that its test images bear out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from utils.metrics.calibration import FEWEST_IMAGES, brier, error_by_chance, expected_calibration_error, undone
from utils.metrics.confusion import ratio
from utils.metrics.intervals import difference, estimate
from utils.tasks.classes.forest import mixed

if TYPE_CHECKING:
    from utils.tasks.classes.predict import Classifier
    from utils.tasks.task import Evaluation

ASKED = "**Can the probabilities be believed?**"


def uncalibrated(evaluation: "Evaluation") -> np.ndarray | None:
    """Probabilities (n, classes) of the test images without the network's temperature; None where it has none.

    Of images tested in turn each has the temperature of the model that answered.
    """
    predictor, p = evaluation.predictor, evaluation.scores.p
    if evaluation.test_set.folds is not None:
        before = predictor.uncalibrated([one.image.array for one in evaluation.test_set.examples])
        return None if np.array_equal(before, p) else before
    if not has_temperature(predictor):
        return None
    if predictor.share == 1:
        return undone(p, predictor.description["temperature"])
    return without_temperature(predictor, evaluation.network.p, evaluation.forest.p)


def has_temperature(predictor: "Classifier") -> bool:
    """Whether the answers of a classifier would be others without its temperature."""
    return predictor.description["temperature"] != 1 and predictor.share > 0


def without_temperature(predictor: "Classifier", network: np.ndarray, forest: np.ndarray) -> np.ndarray:
    """What a classifier would answer without its temperature; `network`, `forest`: what these alone do with it."""
    return mixed(undone(network, predictor.description["temperature"]), forest, predictor.share)


def calibration_errors(evaluation: "Evaluation") -> dict:
    """For scores.json: the expected calibration error as the model answers, and without its temperature."""
    y, before = evaluation.scores.y_true, uncalibrated(evaluation)
    description = evaluation.predictor.description
    return {
        "temperature": description["temperature"],
        "calibration": description.get("calibration"),
        "expected_calibration_error": expected_calibration_error(y, evaluation.scores.p),
        "expected_calibration_error_without_temperature": (
            None if before is None else expected_calibration_error(y, before)
        ),
    }


def calibration_in_words(evaluation: "Evaluation") -> str:
    """Markdown: how far off the probabilities are on the test images, and what the temperature did, if there is one."""
    return " ".join([ASKED, _off(evaluation), *_temperature(evaluation)])


def _off(evaluation: "Evaluation") -> str:
    y, p = evaluation.scores.y_true, evaluation.scores.p
    error, (chance, passed) = expected_calibration_error(y, p), error_by_chance(p)
    sure, right = p.max(axis=1).mean(), (p.argmax(axis=1) == y).mean()
    text = (
        f"On the {len(y)} test images the model is {100 * sure:.0f} % sure on average, and right in {100 * right:.0f} "
        f"%. Its probabilities differ from the share that is right by {100 * error:.0f} percentage points on average "
        f"(expected calibration error); of so many images, probabilities that are right would by {100 * chance:.0f}."
    )
    if error <= passed:
        return f"{text} That may be chance: these images do not show that the probabilities are wrong."
    how = "surer" if sure > right else "less sure"
    return f"{text} That is more than chance: do not take them at their word, the model is {how} than it should be."


def _temperature(evaluation: "Evaluation") -> list[str]:
    """What the temperature did on the test images, or why there is none; nothing where a forest decides alone."""
    in_turn, before = evaluation.test_set.folds is not None, uncalibrated(evaluation)
    description = evaluation.predictor.description
    known = description.get("calibration")
    if before is None:
        if not known or evaluation.predictor.share == 0:
            return []
        return [_uncalibrated_parts(description) if in_turn and known["fitted"] else _too_few(known)]
    y, p = evaluation.scores.y_true, evaluation.scores.p
    errors = (100 * expected_calibration_error(y, one) for one in (before, p))
    images = f"{known['validation_images']} validation images" if known else "validation images"
    what = f"A temperature of {description['temperature']:.2f}, fitted on {images},"
    if in_turn:
        what = "Temperatures, fitted in each part on its own validation images where these were enough,"
    changed = "changed this difference from {:.0f} to {:.0f} percentage points: {}."
    return [f"{what} {changed}".format(*errors, _better(evaluation, before))]


def _too_few(known: Mapping) -> str:
    return (
        f"They are not calibrated: {known['validation_images']} validation images are too few for that, "
        f"{FEWEST_IMAGES} would do (add images, or raise percentage_validation)."
    )


def _uncalibrated_parts(description: Mapping) -> str:
    """Why a temperature was not tested: only the model that is kept had enough validation images."""
    return (
        f"The models that were tested are not calibrated: each had fewer than {FEWEST_IMAGES} validation images, too "
        f"few for that. The model that you keep has a temperature of {description['temperature']:.2f}, fitted on "
        f"{description['calibration']['validation_images']} validation images, which was not tested."
    )


def _better(evaluation: "Evaluation", before: np.ndarray) -> str:
    """Whether the test images show that the temperature made the probabilities better, by their Brier score."""
    y, groups = evaluation.scores.y_true, evaluation.scores.per_image["group"].tolist()
    off = [np.column_stack([brier(y, p), np.ones(len(y))]) for p in (before, evaluation.scores.p)]
    low, high = difference(*(estimate(one, lambda sums: ratio(sums[..., 0], sums[..., 1]), groups) for one in off))
    if low[0] > 0:
        return "they are better for it"
    return "they are worse for it" if high[0] < 0 else "no difference that these test images can tell"
