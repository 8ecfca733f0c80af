"""How good a classifier is on images that neither its training nor its calibration has seen, and what is worth it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.data.crops import Crop
from utils.metrics.classes import (
    CLASSES,
    GROUPS,
    PER_CLASS,
    TOTALS,
    ClassScores,
    class_headline,
    class_scores,
    estimates,
    group_names,
    groups_of_classes,
    one_hot_confusions,
    recalls,
    roll_up,
)
from utils.metrics.intervals import UNKNOWN, Judgement, difference
from utils.tasks.classes.batches import seen_by_forest
from utils.tasks.classes.calibration import calibration_errors, has_temperature, without_temperature
from utils.tasks.classes.decision import trained_forest
from utils.tasks.classes.predict import Classifier
from utils.tasks.opponents import difference_verdict
from utils.tasks.task import Evaluation, TestSet
from utils.training.stages import kept_classes

if TYPE_CHECKING:
    from utils.data.project import Project

READABLE = {
    "accuracy": "Accuracy (share of images with the right class)",
    "balanced_accuracy": "Balanced accuracy (mean recall of the classes)",
    "macro_f1": "Macro-F1 (mean F1 of the classes)",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
OVER = {
    "accuracy": "all images, each counts alike",
    "balanced_accuracy": "the classes, each counts alike",
    "macro_f1": "the classes, each counts alike",
}
FEW_TEST_IMAGES = 10


@dataclass(frozen=True)
class ClassEvaluation(Evaluation):
    """Scores of a classifier, beside those of its network and of a random forest where that was asked for."""

    network: ClassScores | None = None
    forest: ClassScores | None = None
    comparison: pd.DataFrame | None = None


MODEL, NETWORK, FOREST = "model", "network", "random forest"  # that answer, where images are tested in turn
UNCALIBRATED = "uncalibrated"  # the answers of the model without its temperature


class Recalled:
    """Probabilities that were found for images before, in place of a `Classifier`.

    Parameters
    ----------
    predictor
        The model that is kept: its classes and description are told, and what it looks at can be shown.
    known
        `id` of an image's array -> method -> probabilities (n_classes,).
    method
        Whose probabilities are those of the model.
    """

    forest = True

    def __init__(self, predictor: Classifier, known: Mapping[int, Mapping[str, np.ndarray]], method: str = MODEL):
        self.known, self.method = known, method
        self.classes, self.description = predictor.classes, predictor.description
        self.network, self.prepare, self.share = predictor.network, predictor.prepare, predictor.share

    def probabilities(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n, n_classes) of images that are known."""
        return self._of(self.method, arrays)

    def of_network(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The same by the network alone."""
        return self._of(NETWORK, arrays)

    def of_forest(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The same by the forest alone."""
        return self._of(FOREST, arrays)

    def uncalibrated(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The same by the model that answered, without its temperature."""
        return self._of(UNCALIBRATED, arrays)

    def _of(self, method: str, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.known[id(one)][method] for one in arrays])


class ClassScoring:
    """How a classifier is judged: a part of `utils.tasks.classes.task.Classification`."""

    headline = staticmethod(class_headline)

    def scores(self, predictor: Classifier, examples: Sequence[Crop], classes: Sequence[dict] | None = None):
        """See `Task`; a model of more classes answers among the given ones."""
        classes = classes or predictor.classes
        return scores_of(examples, self.probabilities(predictor, examples, classes), classes)

    def probabilities(self, predictor: Classifier, crops: Sequence[Crop], classes: Sequence[dict]) -> np.ndarray:
        """Probabilities (n, classes) of the given classes among those that the model knows."""
        p = predictor.probabilities([one.image.array for one in crops])
        if predictor.classes is classes:
            return p
        p = p[:, kept_classes(predictor.classes, classes)]
        return p / np.maximum(p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny)

    def score_table(self, scores: ClassScores) -> pd.DataFrame:
        """See `Task`."""
        return scores.table

    def evaluation(
        self, predictor: Classifier, test_set: TestSet, training: Sequence[Crop] = (), seed: int = 0
    ) -> ClassEvaluation:
        """See `Task`.

        Parameters
        ----------
        predictor, test_set
            As in `Task`.
        training
            The images that the network was trained on: where the model has no random forest, one learns from the same
            images and is scored on the same test images. Empty: no such forest.
        seed
            Of that forest.
        """
        plain, crops = super().evaluation(predictor, test_set), test_set.examples
        network = forest = comparison = None
        if predictor.forest or len(training):
            p = self._of_forest(predictor, crops, training, seed)
            forest = scores_of(crops, p, predictor.classes)
            p = predictor.of_network([one.image.array for one in crops])
            network = scores_of(crops, p, predictor.classes)
            comparison = compare_classifiers(network, forest)
        return ClassEvaluation(**vars(plain), network=network, forest=forest, comparison=comparison)

    def _of_forest(self, predictor: Classifier, crops, training: Sequence[Crop], seed: int) -> np.ndarray:
        """Probabilities (n, classes) of the model's forest, or of one that is trained now."""
        if predictor.forest:
            return predictor.of_forest([one.image.array for one in crops])
        how = {"class_weights": "balanced", "seed": seed}
        forest = trained_forest(training, predictor.description, how)
        return forest.probabilities([seen_by_forest(one.image.array, predictor.description) for one in crops])

    def held(self, project: "Project") -> np.ndarray:
        """See `NetworkTask`."""
        ids = [one.class_id for one in project.dataset.examples]
        return np.eye(len(project.dataset.classes), dtype=int)[ids]

    def answers(
        self, predictor: Classifier, examples: Sequence[Crop], training: Sequence[Crop], seed: int
    ) -> dict[str, list[dict]]:
        """See `NetworkTask`."""
        arrays = [one.image.array for one in examples]
        p = {MODEL: predictor.probabilities(arrays), NETWORK: predictor.of_network(arrays)}
        p[FOREST] = self._of_forest(predictor, examples, training, seed)
        found = {method: [{"p": row} for row in rows] for method, rows in p.items()}
        before = without_temperature(predictor, p[NETWORK], p[FOREST]) if has_temperature(predictor) else p[MODEL]
        for answer, row in zip(found[MODEL], before, strict=True):
            answer[UNCALIBRATED] = row
        return found

    def recalled(
        self, predictor: Classifier, examples: Sequence[Crop], found: Mapping[str, Sequence[Mapping]]
    ) -> dict[str, Recalled]:
        """See `NetworkTask`."""
        known = {
            id(one.image.array): {method: answers[i]["p"] for method, answers in found.items()}
            | {UNCALIBRATED: found[MODEL][i][UNCALIBRATED]}
            for i, one in enumerate(examples)
        }
        return {method: Recalled(predictor, known, method) for method in found}

    def evaluation_of(self, recalled: Mapping[str, Recalled], test_set: TestSet) -> ClassEvaluation:
        """See `NetworkTask`."""
        return self.evaluation(recalled[MODEL], test_set)

    def further_scores(self, evaluation: ClassEvaluation) -> dict:
        """See `Task`."""
        scores, comparison = evaluation.scores, evaluation.comparison
        return {
            **calibration_errors(evaluation),
            "scores": scores.table.to_dict("records"),
            "confusion_matrix": scores.confusion,
            "group_confusion": scores.group_confusion,
            "decides": evaluation.predictor.description.get("decides"),
            "random_forest": None if comparison is None else comparison.to_dict("records"),
        }

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `NetworkTask`."""
        return "Balanced accuracy"

    def judgement(self, scores: ClassScores) -> Judgement:
        """See `NetworkTask`: balanced accuracy."""
        confusions = one_hot_confusions(scores.y_true, scores.p.argmax(axis=1), len(scores.classes))
        groups = scores.per_image["group"].tolist()
        return Judgement(class_headline(scores.table), confusions, recalls, groups)


def scores_of(crops: Sequence[Crop], p: np.ndarray, classes: Sequence[dict]) -> ClassScores:
    """Scores of probabilities (n, classes) of n images."""
    ids = np.array([one.class_id for one in crops])
    return class_scores([one.name for one in crops], [one.group for one in crops], ids, p, classes)


def with_interval(value: float, low: float, high: float) -> str:
    """Score and interval in one cell, such as "0.92 (0.80 to 0.98)"; "unknown" where it is not defined."""
    if np.isnan(value):
        return UNKNOWN
    return f"{value:.2f}" + ("" if np.isnan(low) else f" ({low:.2f} to {high:.2f})")


def totals_table(table: pd.DataFrame) -> pd.DataFrame:
    """Scores of all classes together, and where there are broad classes of these, as text "value (low to high)"."""
    shown = pd.DataFrame({"score": [READABLE[score] for score in TOTALS], "over": [OVER[score] for score in TOTALS]})
    for level in (CLASSES, GROUPS):
        rows = table[(table["level"] == level) & (table["class"] == "")].set_index("score")
        if len(rows):
            shown[level] = [with_interval(*rows.loc[score, ["value", "low", "high"]]) for score in TOTALS]
    return shown


def per_class_table(table: pd.DataFrame, level: str = CLASSES) -> pd.DataFrame:
    """Scores of each class, or broad class (no row where there are none), as text "value (low to high)"."""
    rows = table[(table["level"] == level) & (table["class"] != "")].set_index(["score", "class"])
    names = list(dict.fromkeys(rows.index.get_level_values("class")))
    images = [int(rows.loc[("images", name), "value"]) for name in names]
    shown = pd.DataFrame({"class" if level == CLASSES else "broad class": names, "test images": images})
    for score in PER_CLASS:
        cells = (rows.loc[(score, name), ["value", "low", "high"]] for name in names)
        shown[READABLE[score]] = [with_interval(*cell) for cell in cells]
    return shown


def interval_caution(table: pd.DataFrame) -> str:
    """Say which classes have too few test images to judge by; empty where none has."""
    images = table[(table["level"] == CLASSES) & (table["class"] != "") & (table["score"] == "images")]
    few = images[images["value"] < FEW_TEST_IMAGES]
    if not len(few):
        return ""
    named = ", ".join(f"{name}: {n:.0f}" for name, n in zip(few["class"], few["value"], strict=True))
    return f"Classes with fewer than {FEW_TEST_IMAGES} test images ({named}) are too small to judge by."


def compare_classifiers(
    one: ClassScores, other: ClassScores, names: Sequence[str] = ("network", "random forest")
) -> pd.DataFrame:
    """Two classifiers on the same test images, with the interval of the difference between them.

    What makes an image hard for one mostly makes it hard for the other, so that their difference is known better than
    either score. Columns: level, score (of TOTALS), one for each of `names`, difference (first minus second), low, high
    (95 % interval of the difference, NaN for fewer than three groups of images). ValueError if the two were not scored
    on the same images.
    """
    if one.per_image["file"].tolist() != other.per_image["file"].tolist() or (one.y_true != other.y_true).any():
        raise ValueError("the two classifiers were not scored on the same images")
    groups, tables = one.per_image["group"].tolist(), []
    for level in (CLASSES, GROUPS) if group_names(one.classes) else (CLASSES,):
        totals = [estimates(_confusions(scores, level), groups)[0] for scores in (one, other)]
        first, second = (np.concatenate([each.value for each in found]) for found in totals)
        ends = [difference(*pair) for pair in zip(*totals, strict=True)]
        low, high = (np.concatenate(end) for end in zip(*ends, strict=True))
        columns = {"level": level, "score": TOTALS, names[0]: first, names[1]: second}
        tables.append(pd.DataFrame(columns | {"difference": first - second, "low": low, "high": high}))
    return pd.concat(tables, ignore_index=True)


def _confusions(scores: ClassScores, level: str) -> np.ndarray:
    """Confusion matrix of each image, float32 (n, n_classes, n_classes) or the same for broad classes."""
    if level == CLASSES:
        return one_hot_confusions(scores.y_true, scores.p.argmax(axis=1), len(scores.classes))
    true, p = groups_of_classes(scores.classes)[scores.y_true], roll_up(scores.p, scores.classes)
    return one_hot_confusions(true, p.argmax(axis=1), p.shape[1])


def classifier_verdict(comparison: pd.DataFrame) -> str:
    """Say in plain words whether the first of two classifiers is worth it, by the balanced accuracy of classes."""
    one, other = comparison.columns[2:4]
    row = comparison[comparison["score"] == "balanced_accuracy"].iloc[0]
    difference = [row[name] for name in ("difference", "low", "high")]
    return difference_verdict("Balanced accuracy", (one, other), (row[one], row[other]), difference)
