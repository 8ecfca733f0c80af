"""Scores of a test set: per image, pooled, and with intervals.

Which mean is taken matters as much as which metric: mean foreground IoU weighs every image alike, Dice and IoU per
class are pooled over the pixels of the whole set. Formulas are in utils.metrics.confusion.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.metrics.confusion import confusion_matrix, foreground_iou_from_confusion, ratio, scores_from_confusion
from utils.metrics.intervals import UNKNOWN, estimate, mean_of

READABLE = {
    "mean_foreground_iou": "Mean foreground IoU",
    "mean_dice": "Mean Dice of the classes",
    "dice": "Dice",
    "iou": "IoU",
    "share_mae": "Error of the area share in percentage points",
}

OVER_IMAGES = "mean of the images, each counts alike"
OVER_PIXELS = "all pixels of all images together"
OVER_CLASSES = "mean of the classes, each over all pixels"


@dataclass(frozen=True)
class PixelScores:
    """Scores of a test set.

    Attributes
    ----------
    per_image
        One row per image: file, group, foreground_iou, then for each class iou_<class>, dice_<class>,
        true_share_<class> and predicted_share_<class> (shares of the area that counts, 0 to 1).
    totals
        mean_foreground_iou, mean_dice (over the classes that exist, background not counted), then for each class
        dice_<class> and iou_<class> (pooled over the test set) and share_mae_<class> (mean absolute error of the area
        share, in percentage points).
    confusions
        Confusion matrix of each image, int64 (n_images, n_classes, n_classes), rows = truth.
    """

    per_image: pd.DataFrame
    totals: dict[str, float]
    confusions: np.ndarray

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix of the whole test set, int64 (n_classes, n_classes), rows = truth."""
        return self.confusions.sum(axis=0)


def _share_errors(confusions: np.ndarray) -> np.ndarray:
    """|predicted - true| area share of each class in percentage points, (n_images, n_classes)."""
    difference = np.abs(confusions.sum(axis=-2) - confusions.sum(axis=-1))
    return 100 * difference / confusions.sum(axis=(-2, -1))[..., None]


def summands(confusions: np.ndarray) -> np.ndarray:
    """What is summed over images to get the totals, (n_images, 3 + n + n * n): see `totals_of_sums`."""
    iou = foreground_iou_from_confusion(confusions)
    counts = np.column_stack([np.nan_to_num(iou), np.isfinite(iou), np.ones(len(iou))])
    return np.hstack([counts, _share_errors(confusions), confusions.reshape(len(iou), -1)])


def totals_of_sums(sums: np.ndarray, n_classes: int) -> np.ndarray:
    """Totals in the order of `total_names` from sums (..., 3 + n + n * n); used alike for the set and its parts."""
    pooled = scores_from_confusion(sums[..., 3 + n_classes :].reshape(*sums.shape[:-1], n_classes, n_classes))
    share_mae = sums[..., 3 : 3 + n_classes] / sums[..., 2:3]
    foreground = pooled.dice[..., 1:]
    mean_dice = ratio(np.nansum(foreground, axis=-1), np.isfinite(foreground).sum(axis=-1))
    means = [ratio(sums[..., 0], sums[..., 1])[..., None], mean_dice[..., None]]
    exists = np.isfinite(pooled.dice)
    return np.concatenate([*means, pooled.dice, pooled.iou, np.where(exists, share_mae, np.nan)], axis=-1)


def total_names(names: Sequence[str]) -> list[str]:
    """Names of the totals for classes of these names."""
    per_class = [f"{score}_{name}" for score in ("dice", "iou", "share_mae") for name in names]
    return ["mean_foreground_iou", "mean_dice", *per_class]


def _class_names(classes: Sequence[dict]) -> list[str]:
    names = [str(one["name"]) for one in classes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f'Two classes have the same name "{repeated[0]}". Give each class a name of its own.')
    return names


def _image_row(cm: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Scores of one image from its confusion matrix."""
    scores, area = scores_from_confusion(cm), cm.sum()
    row = {"foreground_iou": float(foreground_iou_from_confusion(cm))}
    for i, name in enumerate(names):
        row |= {f"iou_{name}": scores.iou[i], f"dice_{name}": scores.dice[i]}
        row |= {f"true_share_{name}": cm[i].sum() / area, f"predicted_share_{name}": cm[:, i].sum() / area}
    return row


def pixel_scores(
    pairs: Iterable[tuple[str, str, np.ndarray, np.ndarray]],
    classes: Sequence[dict],
) -> PixelScores:
    """Score a test set image by image; only the counts of an image are kept.

    Mean foreground IoU is the unweighted mean over images, leaving out images whose two masks are empty; Dice and IoU
    per class are pooled over the pixels of all images, so that an image with a handful of pixels of a class does not
    weigh as much as one full of it.

    Parameters
    ----------
    pairs
        (file name, group, y_true, y_pred) of each image, the last two class ids of shape (Y, X); pixels whose true
        class is -1 are not counted.
    classes
        Class table as in model.json, background first.

    Raises
    ------
    DataError
        If there is no image, or two classes share a name.
    ValueError
        If an array holds something that is no class id.
    """
    names, rows, confusions = _class_names(classes), [], []
    for file, group, y_true, y_pred in pairs:
        confusions.append(confusion_matrix(y_true, y_pred, len(names)))
        rows.append({"file": file, "group": group, **_image_row(confusions[-1], names)})
    if not rows:
        raise DataError("There is no test image to score. Check the folder of test images.")
    stacked = np.stack(confusions)
    totals = totals_of_sums(summands(stacked).sum(axis=0), len(names))
    return PixelScores(pd.DataFrame(rows), dict(zip(total_names(names), totals.tolist(), strict=True)), stacked)


def dices(sums: np.ndarray, n_classes: int) -> np.ndarray:
    """Dice of the classes but background, whose mean is the mean Dice, of sums as in `totals_of_sums`."""
    return totals_of_sums(sums, n_classes)[..., 3 : 2 + n_classes]


def pixel_score_table(scores: PixelScores) -> pd.DataFrame:
    """Totals of a test set with their 95 % intervals.

    Columns score, value, low, high, in the order of ``scores.totals``; low and high are NaN where the test set has
    fewer than three images (or groups, where a group has several images).
    """
    n_classes, groups = scores.confusions.shape[-1], scores.per_image["group"].tolist()
    most = np.array([100.0 if name.startswith("share_mae_") else 1.0 for name in scores.totals])
    found = estimate(summands(scores.confusions), lambda sums: totals_of_sums(sums, n_classes), groups, most)
    low, high = found.ends
    low[1:2], high[1:2] = mean_of(found.of(range(3, 2 + n_classes))).ends
    columns = {"score": list(scores.totals), "value": list(scores.totals.values()), "low": low, "high": high}
    return pd.DataFrame(columns)


def pixel_headline(table: pd.DataFrame) -> dict[str, float | str]:
    """The one score shown big: mean foreground IoU, or mean Dice where there are several classes to tell apart.

    From the table of `pixel_score_table`: name, value, low, high, meaning, for write_report and for scores.json.
    """
    rows = table.set_index("score")
    several = sum(score.startswith("dice_") for score in rows.index) > 2
    row = rows.loc["mean_dice" if several else "mean_foreground_iou"]
    percent = f"{100 * row['value']:.0f} %"
    if np.isnan(row["value"]):
        meaning = "Neither the annotation nor the model marks anything in the test images: there is nothing to score."
    elif several:
        meaning = (
            f"Averaged over the classes, annotation and model overlap by {percent}: twice the area that both give a "
            "class, divided by the sum of the areas that each gives it. 100 % is perfect agreement, 0 % none."
        )
    else:
        meaning = (
            f"Of all the area that the annotation or the model marks in a test image, both agree on {percent} on "
            "average. 100 % is perfect agreement, 0 % none."
        )
    name = READABLE["mean_dice" if several else "mean_foreground_iou"]
    return {"name": name, **row[["value", "low", "high"]].astype(float).to_dict(), "meaning": meaning}


def readable_pixel_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Table of `pixel_score_table` for a page: in words, rounded, the interval in one column, each thing once.

    Columns score, of (which class), over (what it is a mean or a sum), value, 95 % interval, all text; "unknown" for
    what is not defined. Of two classes background is left out: its score of area is the same, and there is nothing to
    tell apart but the other.
    """
    names = [score.removeprefix("dice_") for score in table["score"] if score.startswith("dice_")]
    background, *others = names
    without = others[0] if len(others) == 1 else f"all classes but {background}"
    told = {"mean_foreground_iou": (without + ", as one" * (len(others) > 1), OVER_IMAGES)}
    if len(others) > 1:
        told["mean_dice"] = without, OVER_CLASSES
    for kind, over in (("dice", OVER_PIXELS), ("iou", OVER_PIXELS), ("share_mae", OVER_IMAGES)):
        told |= {f"{kind}_{name}": (name, over) for name in (others if len(others) == 1 else names)}
    rows = table.set_index("score").loc[list(told)]
    kinds = [next(kind for kind in READABLE if score.startswith(kind)) for score in told]
    return pd.DataFrame(
        {
            "score": [READABLE[kind] for kind in kinds],
            "of": [of for of, _ in told.values()],
            "over": [over for _, over in told.values()],
            "value": [UNKNOWN if np.isnan(value) else f"{value:.3f}" for value in rows["value"]],
            "95 % interval": [
                UNKNOWN if np.isnan(low) else f"{low:.3f} to {high:.3f}"
                for low, high in zip(rows["low"], rows["high"], strict=True)
            ],
        }
    )


def mean_iou(confusions: np.ndarray) -> np.ndarray:
    """Mean IoU of the classes other than background, of confusion matrices (..., n, n); NaN where none is there."""
    iou = scores_from_confusion(confusions).iou[..., 1:]
    return ratio(np.nansum(iou, axis=-1), np.isfinite(iou).sum(axis=-1))
