"""Pixel metrics of a segmentation: how well predicted classes agree with annotated ones.

Formulas and their pitfalls: Taha AA, Hanbury A (2015) Metrics for evaluating 3D medical image segmentation,
BMC Medical Imaging 15:29, doi:10.1186/s12880-015-0068-x.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

NOT_COUNTED = -1  # in true masks; `utils.images.masks.IGNORED`, which this room may not import
OFFSET_ROUNDS = 30  # of an iteration that is done after ten, as a rule
LARGEST_OFFSET = 1  # e times as likely: a class that a network does not know must not be strewn about at random
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))


class OverlapScores(NamedTuple):
    """Scores per class, each of shape (..., n_classes), 0 to 1, NaN where the score is not defined."""

    iou: np.ndarray
    dice: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """Count pixels by true (row) and predicted class (column): int64 (n_classes, n_classes).

    scikit-learn's function of this name sorts all pixels; counting takes about a tenth of its time.

    Parameters
    ----------
    y_true, y_pred
        Class ids, 0 .. n_classes - 1, in any shape, the same for both. Pixels whose true class is -1
        (`utils.images.masks.IGNORED`) are not counted.
    n_classes
        Number of classes, background included.

    Raises
    ------
    ValueError
        If the shapes differ, or an array holds something that is no class id.
    """
    if y_true.shape != y_pred.shape:
        raise ValueError(f"the true mask has shape {y_true.shape}, the predicted one {y_pred.shape}")
    if y_true.dtype.kind == "i":
        y_true, y_pred = y_true[y_true != NOT_COUNTED], y_pred[y_true != NOT_COUNTED]
    for ids in (y_true, y_pred):
        if ids.dtype.kind not in "biu" or (ids.size and (ids.min() < 0 or ids.max() >= n_classes)):
            raise ValueError(f"class ids must be whole numbers from 0 to {n_classes - 1}")
    cells = np.multiply(y_true, n_classes, dtype=np.int64)
    cells += y_pred
    return np.bincount(cells.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, float64, of counts or sums that are not negative; NaN without a warning where one divides by 0."""
    missing = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=missing, where=np.asarray(denominator) > 0)


def scores_from_confusion(cm: np.ndarray) -> OverlapScores:
    """Scores per class from confusion matrices (..., n_classes, n_classes), rows = truth.

    With TP, FP and FN the pixels of a class that were found, found wrongly, and missed: IoU = TP / (TP + FP + FN)
    (Jaccard P (1912) New Phytologist 11:37, doi:10.1111/j.1469-8137.1912.tb05611.x), Dice = F1 = 2 TP / (2 TP + FP +
    FN) (Dice LR (1945) Ecology 26:297, doi:10.2307/1932409), precision = TP / (TP + FP), recall = TP / (TP + FN). IoU
    and Dice are NaN for a class that is absent from truth and prediction alike, precision for one never predicted,
    recall for one absent from the truth.
    """
    found = np.diagonal(cm, axis1=-2, axis2=-1)
    true, predicted = cm.sum(axis=-1), cm.sum(axis=-2)
    return OverlapScores(
        iou=ratio(found, true + predicted - found),
        dice=ratio(2 * found, true + predicted),
        precision=ratio(found, predicted),
        recall=ratio(found, true),
    )


def foreground_iou_from_confusion(cm: np.ndarray) -> np.ndarray:
    """IoU (...) of "any class but background" from confusion matrices (..., n, n), rows = truth, background first.

    0 to 1; NaN where neither truth nor prediction has foreground.
    """
    return ratio(cm[..., 1:, 1:].sum(axis=(-2, -1)), cm.sum(axis=(-2, -1)) - cm[..., 0, 0])


def foreground_iou(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """IoU (Jaccard index, 0 to 1) of the foreground, mask > 0, whatever its classes; NaN if both masks are empty."""
    return float(foreground_iou_from_confusion(confusion_matrix(np.asarray(y_true) > 0, np.asarray(y_pred) > 0, 2)))


def _iou_by_threshold(y_true: np.ndarray, p1: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Foreground IoU of p1 > threshold for every threshold of the ascending grid, in one pass over the pixels."""
    if y_true.shape != p1.shape:
        raise ValueError(f"the mask has shape {y_true.shape}, the probabilities {p1.shape}")
    if y_true.dtype.kind == "i":
        y_true, p1 = y_true[y_true != NOT_COUNTED], p1[y_true != NOT_COUNTED]
    exceeded = np.searchsorted(grid.astype(p1.dtype), p1.ravel())  # number of thresholds below each probability
    truth = y_true.ravel() > 0
    n_bins = len(grid) + 1
    true, false = np.bincount(exceeded + n_bins * truth, minlength=2 * n_bins).reshape(2, n_bins)[::-1]
    found, wrong = (np.cumsum(counts[::-1])[::-1][1:] for counts in (true, false))
    return ratio(found, true.sum() + wrong)


def best_threshold(
    probabilities: Iterable[tuple[np.ndarray, np.ndarray]],
    grid: Sequence[float] = THRESHOLDS,
) -> float:
    """Choose the threshold on the foreground probability with the best mean foreground IoU.

    Give it validation images only: a threshold chosen on the images that are scored makes the score optimistic.
    Foreground is where ``p1 > threshold``. Of equally good thresholds the one nearest to 0.5 is taken; 0.5 if no image
    has any foreground to judge by.

    Parameters
    ----------
    probabilities
        (y_true, p1): class ids and probability of class 1 of one image each, both (Y, X). Images are not kept; pixels
        whose class is -1 are not counted.
    grid
        Thresholds to try; 0.5 is always tried too.

    Raises
    ------
    ValueError
        If a threshold lies outside 0 to 1 or the two arrays of an image differ in shape.
    """
    grid = np.unique(np.round([*grid, 0.5], 6))
    if grid[0] < 0 or grid[-1] > 1:
        raise ValueError("thresholds must lie between 0 and 1")
    rows = [_iou_by_threshold(np.asarray(y_true), np.asarray(p1), grid) for y_true, p1 in probabilities]
    iou = np.reshape(rows, (-1, len(grid)))  # no image at all gives a table without rows
    exists = np.isfinite(iou)  # two empty masks are left out, as in pixel_scores
    mean = np.where(exists, iou, 0).sum(axis=0) / np.maximum(exists.sum(axis=0), 1)
    best = grid[np.isclose(mean, np.max(mean), rtol=0, atol=1e-12)]
    return float(best[np.argmin(np.abs(best - 0.5))])


def offsets_for_shares(y_true: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    """What to add to each class's log-probability so that the most probable classes cover the shares of the true ones.

    A loss that gives rare classes more weight makes them be predicted too large, and with them the shares that are read
    off; with two classes a threshold puts this right.

    Parameters
    ----------
    y_true
        (n,) class ids; pixels whose class is -1 are not counted.
    log_p
        (n, classes) logarithms of probabilities, up to a number for each pixel: logits will do.

    Returns
    -------
    (classes,) float64, -1 to 1; 0 for classes that occur nowhere in `y_true`.
    """
    log_p, y_true = log_p[y_true != NOT_COUNTED].astype(float), y_true[y_true != NOT_COUNTED]
    n_classes = log_p.shape[1]
    wanted = np.bincount(y_true, minlength=n_classes) / max(len(y_true), 1)
    there, smallest = wanted > 0, 0.5 / max(len(y_true), 1)
    if not there.any():
        return np.zeros(n_classes)
    offsets, best, least = np.zeros(n_classes), np.zeros(n_classes), np.inf
    for _ in range(OFFSET_ROUNDS):
        found = np.bincount((log_p + offsets).argmax(axis=1), minlength=n_classes) / len(y_true)
        wrong = np.abs(found - wanted).sum()
        if wrong < least:
            best, least = offsets.copy(), wrong
        offsets[there] -= np.log(np.maximum(found[there], smallest) / wanted[there])
        offsets[there] -= offsets[there].mean()
        offsets = offsets.clip(-LARGEST_OFFSET, LARGEST_OFFSET)
    return best
