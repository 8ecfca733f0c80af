"""Scores of a classification: per image, per class, rolled up to broad classes, with intervals.

With TP, FP and FN the images of a class that were found, found wrongly, and missed:
recall = TP / (TP + FN), precision = TP / (TP + FP), F1 = 2 TP / (2 TP + FP + FN); balanced accuracy is the mean recall
and macro-F1 the mean F1 of the classes, each class counting alike. A class without a test image has no score, whatever
was called so by mistake, and is left out of the means.

Reference: Sokolova M, Lapalme G (2009) A systematic analysis of performance measures for classification tasks,
Information Processing & Management 45:427, doi:10.1016/j.ipm.2009.03.002.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.metrics.confusion import confusion_matrix, ratio, scores_from_confusion
from utils.metrics.intervals import Estimate, estimate, mean_of

TOTALS = ("accuracy", "balanced_accuracy", "macro_f1")
PER_CLASS = ("precision", "recall", "f1")
CLASSES, GROUPS = "classes", "broad classes"  # levels of a score table


@dataclass(frozen=True)
class ClassScores:
    """Scores of a test set of n images.

    Attributes
    ----------
    per_image
        One row per image: file, group (of images, such as the patient), true class, predicted class, probability (of
        the predicted class, 0 to 1), correct; where there are broad classes also true and predicted broad class.
    confusion, group_confusion
        Images by true (row) and predicted class, int64 (n_classes, n_classes), in the order of the class ids; the same
        for broad classes, in the order of `group_names`, or None.
    table
        level ("classes" or "broad classes"), class ("" for scores of all classes), score (of TOTALS; of PER_CLASS; or
        "images", the number of test images), value, low, high (95 % interval, NaN where there is none).
    y_true, p, classes
        Class ids (n,), probabilities, float32 (n, n_classes), and the class table as in model.json.
    """

    per_image: pd.DataFrame
    confusion: np.ndarray
    group_confusion: np.ndarray | None
    table: pd.DataFrame
    y_true: np.ndarray
    p: np.ndarray
    classes: Sequence[dict]


def group_names(classes: Sequence[dict]) -> list[str]:
    """Names of the broad classes that the classes of a class table fall into, sorted; none where there are none."""
    return sorted({one["group"] for one in classes if one.get("group")})


def groups_of_classes(classes: Sequence[dict]) -> np.ndarray:
    """Number of the broad class of each class, int64 (n_classes,), counting as `group_names`; every class needs one."""
    names = group_names(classes)
    return np.array([names.index(one["group"]) for one in classes], dtype=np.int64)


def roll_up(p: np.ndarray, classes: Sequence[dict]) -> np.ndarray:
    """Probabilities (n, n_groups) of the broad classes: those of their classes, `p` (n, n_classes), added up.

    In the order of `group_names`, with the dtype of `p`. Every class of the class table needs a broad class.
    """
    number = groups_of_classes(classes)
    return np.stack([p[:, number == i].sum(axis=1) for i in range(number.max() + 1)], axis=1)


def one_hot_confusions(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """Confusion matrix of each image, float32 (n, n_classes, n_classes), rows = truth: what scores sum up."""
    confusions = np.zeros((len(y_true), n_classes, n_classes), np.float32)
    confusions[np.arange(len(y_true)), y_true, y_pred] = 1
    return confusions


def scores_of_confusion(cm: np.ndarray) -> np.ndarray:
    """All scores of confusion matrices (..., n_classes, n_classes), rows = truth; formulas at the top of this module.

    float64 (..., 3 + 3 * n_classes), 0 to 1, in the order of TOTALS, then precision, recall and F1 of each class. NaN
    for a class without a true image, and for the precision of a class that nothing was called.
    """
    by_class, images = scores_from_confusion(cm), cm.sum(axis=-1)
    tested = images > 0
    precision, recall, f1 = (
        np.where(tested, one, np.nan) for one in (by_class.precision, by_class.recall, by_class.dice)
    )
    right = np.trace(cm, axis1=-2, axis2=-1)
    means = [ratio(np.nansum(one, axis=-1), tested.sum(axis=-1)) for one in (recall, f1)]
    totals = np.stack([ratio(right, images.sum(axis=-1)), *means], axis=-1)
    return np.concatenate([totals, precision, recall, f1], axis=-1)


def recalls(cm: np.ndarray) -> np.ndarray:
    """Recall of each class, whose mean is the balanced accuracy, of confusion matrices: (..., n_classes)."""
    n_classes = cm.shape[-1]
    return scores_of_confusion(cm)[..., len(TOTALS) + n_classes : len(TOTALS) + 2 * n_classes]


def estimates(confusions: np.ndarray, groups: Sequence[str]) -> tuple[list[Estimate], Estimate]:
    """Each of TOTALS, then precision, recall and F1 of each class, with what their intervals need.

    From the confusion matrix of each image (n, n_classes, n_classes) and its group (of images).
    """
    scores, n_classes = estimate(confusions, scores_of_confusion, groups), confusions.shape[-1]
    recall, f1 = (len(TOTALS) + PER_CLASS.index(name) * n_classes for name in ("recall", "f1"))
    return [
        scores.of([TOTALS.index("accuracy")]),
        mean_of(scores.of(range(recall, f1))),
        mean_of(scores.of(range(f1, f1 + n_classes))),
    ], scores.of(range(len(TOTALS), f1 + n_classes))


def _level_table(level: str, names: Sequence[str], confusions: np.ndarray, groups: Sequence[str]) -> pd.DataFrame:
    """Score table of one level, classes or broad classes, from the confusion matrix of each image."""
    cm = confusions.sum(axis=0, dtype=np.float64)
    totals, by_class = estimates(confusions, groups)
    low, high = (np.concatenate(ends) for ends in zip(*(one.ends for one in (*totals, by_class)), strict=True))
    rows = [("", score) for score in TOTALS] + [(name, score) for score in PER_CLASS for name in names]
    scores = pd.DataFrame(rows, columns=["class", "score"])
    scores = scores.assign(value=scores_of_confusion(cm), low=low, high=high)
    counts = pd.DataFrame({"class": ["", *names], "score": "images", "value": [cm.sum(), *cm.sum(axis=1)]})
    table = pd.concat([scores, counts], ignore_index=True)
    table.insert(0, "level", level)
    return table


def _checked(names: Sequence[str], groups: Sequence[str], y_true: np.ndarray, p: np.ndarray, n_classes: int) -> None:
    if not len(names):
        raise DataError("There is no test image to score. Check the folder of test images.")
    if not len(names) == len(groups) == len(y_true) == len(p):
        raise ValueError("there must be one name, group, true class and row of probabilities per image")
    if p.shape[1:] != (n_classes,) or not np.isfinite(p).all():
        raise ValueError(f"probabilities must be finite numbers of shape (n, {n_classes}), not {p.shape}")


def class_scores(
    names: Sequence[str],
    groups: Sequence[str],
    y_true: np.ndarray,
    p: np.ndarray,
    classes: Sequence[dict],
) -> ClassScores:
    """Score the probabilities that a classifier gives to the images of a test set.

    A broad class's probability is the sum over its classes, so that the predicted one need not be that of the predicted
    class.

    Parameters
    ----------
    names, groups
        File and group of each image (patient, slide, day), which counts as one where it has several images.
    y_true, p
        Class ids (n,), 0 .. n_classes - 1, and probabilities (n, n_classes), the largest of which makes the predicted
        class.
    classes
        Class table as in model.json, without background, in the order of the ids; either all classes have a broad
        class ("group") or none.

    Raises
    ------
    DataError
        If there is no image.
    ValueError
        If lengths do not fit, a probability is not finite, or something is no class id.
    """
    y_true, p = np.asarray(y_true), np.asarray(p, dtype=np.float32)
    _checked(names, groups, y_true, p, len(classes))
    y_pred, class_names = p.argmax(axis=1), [str(one["name"]) for one in classes]
    confusion, group_confusion = confusion_matrix(y_true, y_pred, len(classes)), None
    per_image = pd.DataFrame({"file": list(names), "group": list(groups)}).assign(
        **{"true class": np.take(class_names, y_true), "predicted class": np.take(class_names, y_pred)},
        probability=p.max(axis=1),
        correct=y_true == y_pred,
    )
    tables = [_level_table(CLASSES, class_names, one_hot_confusions(y_true, y_pred, len(classes)), groups)]
    if rolled_up := group_names(classes):
        true, predicted = groups_of_classes(classes)[y_true], roll_up(p, classes).argmax(axis=1)
        group_confusion = confusion_matrix(true, predicted, len(rolled_up))
        per_image["true broad class"] = np.take(rolled_up, true)
        per_image["predicted broad class"] = np.take(rolled_up, predicted)
        one_hot = one_hot_confusions(true, predicted, len(rolled_up))
        tables.append(_level_table(GROUPS, rolled_up, one_hot, groups))
    table = pd.concat(tables, ignore_index=True)
    return ClassScores(per_image, confusion, group_confusion, table, y_true, p, classes)


def class_headline(table: pd.DataFrame) -> dict[str, float | str]:
    """The one score shown big: balanced accuracy of the classes.

    From the table of ClassScores: name, value, low, high, meaning, for write_report and for scores.json.
    """
    rows = table[table["level"] == CLASSES].set_index(["score", "class"])
    row, recall = rows.loc[("balanced_accuracy", "")], rows.loc["recall", "value"]
    n_tested, n_classes = int(recall.notna().sum()), len(recall)
    untested = f" {n_classes - n_tested} of the {n_classes} classes have no test image and are left out."
    meaning = (
        f"Of the test images of a class, {100 * row['value']:.0f} % are given their right class, on average over the "
        f"{n_tested} classes: a rare class counts as much as a frequent one. 100 % is perfect, guessing gives "
        f"{100 / n_classes:.0f} %.{untested if n_tested < n_classes else ''}"
    )
    return {"name": "Balanced accuracy", **row[["value", "low", "high"]].astype(float).to_dict(), "meaning": meaning}
