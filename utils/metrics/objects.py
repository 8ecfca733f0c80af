"""Scores of separate objects: matched by their overlap, pooled over a test set, with intervals.

The matching is StarDist's (stardist.matching). TP are annotated objects that have a predicted partner with an
intersection over union (IoU) of at least the threshold, FN those without, FP predicted objects without:

    AP = TP / (TP + FP + FN), precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN),
    PQ = sum of the IoU of the matched pairs / (TP + FP / 2 + FN / 2)

References: AP as in Caicedo JC et al. (2019) Nucleus segmentation across imaging experiments: the 2018 Data Science
Bowl, Nature Methods 16:1247, doi:10.1038/s41592-019-0612-7; PQ (panoptic quality): Kirillov A et al. (2019) Panoptic
segmentation, CVPR, doi:10.1109/CVPR.2019.00963.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from skimage.segmentation import relabel_sequential
from stardist.matching import label_overlap, matching

from utils.errors import DataError
from utils.metrics.confusion import NOT_COUNTED, confusion_matrix, ratio
from utils.metrics.intervals import estimate

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SCORES = ("AP", "precision", "recall", "F1", "PQ")
COUNTS = ("TP", "FP", "FN")
Classes = Mapping[int, int]
Pair = tuple[str, str, np.ndarray, np.ndarray, Classes | None, Classes | None]
IOU_THRESHOLD = 0.5
HALF = 0.5  # an object lies in another where that one holds more than this share of its area: at most one does


@dataclass(frozen=True)
class ObjectScores:
    """Scores of a test set.

    Attributes
    ----------
    per_image
        One row per image: file, group, true objects, predicted objects, and AP, precision, recall, F1 and PQ at IoU 0.5
        (0 to 1, NaN where there is nothing to divide by: nothing to find and nothing found).
    counts
        float64 (n_images, n_thresholds, 4): TP, FP, FN and sum of the IoU of the matched pairs, for each of
        IOU_THRESHOLDS.
    class_confusion
        int64 (n_classes, n_classes): classes of the objects matched at IoU 0.5, rows = truth, in the order of the class
        ids, counted over the images whose annotated and predicted objects have classes; None where there is no such
        image.
    """

    per_image: pd.DataFrame
    counts: np.ndarray
    class_confusion: np.ndarray | None = None


def where_counted(labels_true: np.ndarray, labels_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both label images without what does not count: pixels whose true label is -1 (`utils.images.masks.IGNORED`).

    A predicted object more than half of which lies there is taken away, as it may be right or wrong; the others are
    compared by the pixels that count.
    """
    if labels_true.dtype.kind != "i" or labels_true.shape != labels_pred.shape:
        return labels_true, labels_pred
    ignored = labels_true == NOT_COUNTED
    if not ignored.any():
        return labels_true, labels_pred
    n = int(labels_pred.max()) + 1
    area, hidden = (np.bincount(part, minlength=n) for part in (labels_pred.ravel(), labels_pred[ignored]))
    away = hidden > HALF * area
    return np.where(ignored, 0, labels_true), np.where(ignored | away[labels_pred], 0, labels_pred)


def scores_from_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """AP, precision, recall, F1 and PQ (...), 0 to 1, of counts (..., 4): TP, FP, FN, sum of matched IoU.

    Formulas at the top of this module; NaN where there is nothing to divide by.
    """
    tp, fp, fn, iou = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return {
        "AP": ratio(tp, tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "F1": ratio(2 * tp, 2 * tp + fp + fn),
        "PQ": ratio(iou, tp + fp / 2 + fn / 2),
    }


def object_scores(pairs: Iterable[Pair], classes: Sequence[dict] | None = None) -> ObjectScores:
    """Score a test set image by image; only the counts of an image are kept.

    Parameters
    ----------
    pairs
        (file name, group, labels_true, labels_pred, classes_true, classes_pred) of each image. Labels are whole numbers
        of shape (Y, X), 0 = background, -1 in the true ones what does not count (`where_counted`); classes map each
        label to its class id, from 1, or are None.
    classes
        Class table as in model.json, needed where objects have classes. Background (id 0) may be in it or not.

    Raises
    ------
    DataError
        If there is no image.
    ValueError
        If shapes differ, labels are negative or no whole numbers, or a class id is not in the class table.
    KeyError
        If a matched object has no class id.
    """
    confusions, rows, counts = [], [], []
    for file, group, labels_true, labels_pred, *object_classes in pairs:
        labels_true, labels_pred = where_counted(labels_true, labels_pred)
        matches = matching(labels_true, labels_pred, thresh=IOU_THRESHOLDS, report_matches=True)
        counts.append([[one.tp, one.fp, one.fn, one.tp * one.mean_matched_score] for one in matches])
        number = {"true objects": int(matches[0].n_true), "predicted objects": int(matches[0].n_pred)}
        rows.append({"file": file, "group": group, **number})
        if classes and None not in object_classes:
            confusions.append(_class_confusion(matched_pairs(matches[0]), *object_classes, classes))
    if not rows:
        raise DataError("There is no test image to score. Check the folder of test images.")
    counts = np.array(counts, dtype=np.float64)
    per_image = pd.DataFrame(rows).assign(**scores_from_counts(counts[:, 0]))
    return ObjectScores(per_image, counts, np.sum(confusions, axis=0) if confusions else None)


def _class_confusion(
    pairs: Sequence[tuple[int, int]], true: Classes, predicted: Classes, classes: Sequence[dict]
) -> np.ndarray:
    """Classes of matched objects, (n_classes, n_classes), rows = truth."""
    y_true = np.array([true[label] for label, _ in pairs], dtype=np.int64)
    y_pred = np.array([predicted[label] for _, label in pairs], dtype=np.int64)
    if (y_true < 1).any():
        raise ValueError("an annotated object has the class id of the background")
    return confusion_matrix(y_true - 1, y_pred - 1, max(one["id"] for one in classes))


def object_score_table(scores: ObjectScores) -> pd.DataFrame:
    """Scores at each IoU threshold, pooled over the objects of all images, AP with its 95 % interval.

    One row per threshold: iou_threshold, AP, AP low, AP high, precision, recall, F1, PQ, TP, FP, FN. The interval is
    NaN where the test set has fewer than three images (or groups, where a group has several images).
    """
    groups, pooled = scores.per_image["group"].tolist(), scores.counts.sum(axis=0)
    low, high = estimate(scores.counts, lambda sums: scores_from_counts(sums)["AP"], groups).ends
    low, high = np.maximum.accumulate(low[::-1])[::-1], np.minimum.accumulate(high)  # AP falls with the threshold
    table = pd.DataFrame({"iou_threshold": IOU_THRESHOLDS, **scores_from_counts(pooled)})
    table.insert(2, "AP low", low)
    table.insert(3, "AP high", high)
    return table.assign(**dict(zip(COUNTS, pooled.T[:3].astype(np.int64), strict=True)))


def object_headline(table: pd.DataFrame) -> dict[str, float | str]:
    """The one score shown big: AP at IoU 0.5, pooled over the objects of all test images.

    From the table of `object_score_table`: name, value, low, high, meaning, for write_report and for scores.json.
    """
    row = table.iloc[0]
    value, low, high = (float(row[column]) for column in ("AP", "AP low", "AP high"))
    if np.isnan(value):
        meaning = "Neither the annotation nor the model has objects in the test images: there is nothing to score."
    else:
        meaning = (
            f"Of all objects that were annotated or found, {100 * value:.0f} % are in both and overlap by at least "
            "half (IoU 0.5): AP = TP / (TP + FP + FN), with TP objects found rightly, FP found wrongly and FN missed. "
            "100 % is perfect, 0 % none."
        )
    return {"name": f"AP at IoU {row['iou_threshold']:g}", "value": value, "low": low, "high": high, "meaning": meaning}


def count_error(per_image: pd.DataFrame) -> dict[str, float]:
    """How far the number of objects is off, whichever they are: objects missed and objects invented cancel out.

    mean_absolute: mean over the images of abs(predicted - true), in objects per image. relative: the same divided by
    the mean number of true objects (1 = off by as many as there are); NaN where no image has any.
    """
    true, predicted = (per_image[f"{kind} objects"].to_numpy(float) for kind in ("true", "predicted"))
    absolute = np.abs(predicted - true).mean()
    return {"mean_absolute": float(absolute), "relative": float(ratio(absolute, true.mean()))}


@dataclass(frozen=True)
class ObjectKinds:
    """What became of each object of an image, by its label.

    An annotated (`true`) object is "matched", "missed", "merged" or "split", a `predicted` one "matched", "false",
    "merging" or "splitting".
    """

    true: dict[int, str]
    predicted: dict[int, str]


def matched_pairs(match) -> list[tuple[int, int]]:
    """Labels (true, predicted) of the objects that match.

    `match` is a result of stardist.matching.matching with ``report_matches=True``, which also reports pairs that
    overlap too little to match.
    """
    return [match.matched_pairs[i] for i in match.matched_tps]


def kinds_of_objects(
    labels_true: np.ndarray, labels_pred: np.ndarray, iou_threshold: float = IOU_THRESHOLD
) -> ObjectKinds:
    """Tell for each object of an image whether it was found, and if not, what happened to it.

    An object lies in another where more than half of its area does, the rule of the Cell Tracking Challenge (Maska M et
    al. 2014, Bioinformatics 30:1609, doi:10.1093/bioinformatics/btu080). The kinds follow Caicedo JC et al. (2019)
    Evaluation of deep learning strategies for nucleus segmentation, Cytometry A 95:952, doi:10.1002/cyto.a.23863.

    - matched: one annotated and one predicted object whose intersection over union is at least `iou_threshold`, chosen
      one to one by stardist.matching, so that their number is the TP of the scores.
    - merging: a predicted object, not matched, in which two or more annotated objects lie that make up more than half
      of it. merged: an annotated object, not matched, that lies with others in one predicted object, which may match
      the largest of them.
    - splitting and split: the same with annotated and predicted exchanged. An annotated object in pieces is split; a
      predicted object that is a piece of an annotated one, which another piece may match, is splitting.
    - missed and false: the other annotated and the other predicted objects.

    An object to which two of these apply is called by the first of them in this list. Labels are whole numbers of shape
    (Y, X), 0 = background, and true ones -1 where nothing counts (`where_counted`); gaps in the numbering are allowed.
    ValueError where the shapes differ, or labels are negative or no whole numbers.
    """
    labels_true, labels_pred = where_counted(labels_true, labels_pred)
    pairs = matched_pairs(matching(labels_true, labels_pred, thresh=iou_threshold, report_matches=True))
    true, _, true_labels = relabel_sequential(labels_true)
    pred, _, pred_labels = relabel_sequential(labels_pred)
    overlap = label_overlap(true, pred, check=False).astype(np.int64)
    merging, merged = _together(overlap)
    split, splitting = _together(overlap.T)
    n_true, n_pred = np.array(overlap.shape) - 1
    true_labels, pred_labels = (np.asarray(labels)[1:].tolist() for labels in (true_labels, pred_labels))
    true_kinds = np.select([merged, split], ["merged", "split"], np.full(n_true, "missed")).tolist()
    pred_kinds = np.select([merging, splitting], ["merging", "splitting"], np.full(n_pred, "false")).tolist()
    return ObjectKinds(
        {**dict(zip(true_labels, true_kinds, strict=True)), **{label: "matched" for label, _ in pairs}},
        {**dict(zip(pred_labels, pred_kinds, strict=True)), **{label: "matched" for _, label in pairs}},
    )


def _together(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hosts (n_hosts,) in which two or more parts lie that make up more than half of them, and those parts (n_parts,).

    `overlap` (1 + n_parts, 1 + n_hosts) is the number of pixels shared; index 0 is the background.
    """
    shared = overlap[1:, 1:]
    lies_in = shared > HALF * overlap[1:].sum(axis=1, keepdims=True)
    covered = (shared * lies_in).sum(axis=0)
    is_host = (lies_in.sum(axis=0) >= 2) & (covered > HALF * overlap[:, 1:].sum(axis=0))
    return is_host, (lies_in & is_host).any(axis=1)
