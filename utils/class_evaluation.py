"""How good a classifier is on images that neither its training nor its calibration has seen, and what is worth it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.calibration import expected_calibration_error
from utils.class_score_tables import compare
from utils.class_scores import ClassScores, class_scores, headline
from utils.classifier import Classifier, load_classifier
from utils.crops import Crop
from utils.forest import fit_forest
from utils.held_out import TestSet, write_scores


@dataclass(frozen=True)
class ClassEvaluation:
    """Scores of a classifier on its test set, beside those of a random forest where that was asked for."""

    test_set: TestSet
    scores: ClassScores
    table: pd.DataFrame
    headline: dict
    classifier: Classifier
    forest: ClassScores | None
    comparison: pd.DataFrame | None


def evaluate(folder: Path, test_set: TestSet, training: Sequence[Crop] = (), seed: int = 0) -> ClassEvaluation:
    """Score a model and write evaluation.csv and scores.json into its folder.

    Parameters
    ----------
    folder
        Model folder.
    test_set
        From `held_out.find_test_set`.
    training
        The images that the network was trained on: a random forest on classical features learns from the same ones and
        is scored on the same test images. Empty: no forest.
    seed
        Of the forest.
    """
    classifier = load_classifier(folder)
    crops, classes = test_set.examples, classifier.classes
    scores = scores_of(crops, classifier.probabilities([one.image.array for one in crops]), classes)
    forest = comparison = None
    if len(training):
        forest = scores_of(crops, fit_forest(training, classes, seed).predict_proba(crops), classes)
        comparison = compare(scores, forest)
    best = headline(scores.table)
    write_scores(
        folder,
        test_set,
        best,
        scores.per_image,
        temperature=classifier.description["temperature"],
        expected_calibration_error=expected_calibration_error(scores.y_true, scores.p),
        scores=scores.table.to_dict("records"),
        confusion_matrix=scores.confusion,
        group_confusion=scores.group_confusion,
        random_forest=None if comparison is None else comparison.to_dict("records"),
    )
    return ClassEvaluation(test_set, scores, scores.table, best, classifier, forest, comparison)


def scores_of(crops: Sequence[Crop], p: np.ndarray, classes: Sequence[dict]) -> ClassScores:
    """Scores of probabilities (n, classes) of n images."""
    ids = np.array([one.class_id for one in crops])
    return class_scores([one.name for one in crops], [one.group for one in crops], ids, p, classes)
