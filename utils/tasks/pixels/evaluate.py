"""How good a segmentation model is on images that neither its training nor its threshold has seen."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.examples import Example
from utils.images.masks import counted
from utils.metrics.confusion import confusion_matrix, foreground_iou_from_confusion
from utils.metrics.intervals import Judgement
from utils.metrics.pixels import (
    READABLE,
    PixelScores,
    dices,
    mean_iou,
    pixel_headline,
    pixel_score_table,
    pixel_scores,
    summands,
    totals_of_sums,
)
from utils.tasks.pixels.classical import PixelForest, classical_segmenters
from utils.tasks.pixels.predict import Segmenter
from utils.tasks.task import Evaluation

AT_ONCE = 2  # images that a network looks at: small ones leave some of the processor idle


def pixel_pairs(segmenter: Segmenter, examples: Sequence[Example]) -> Iterator[tuple]:
    """For each image what `pixel_scores` wants: its classes as annotated and as the model finds them."""
    for one in examples:
        yield one.name, one.group, one.mask, segmenter.class_ids(one.image.array)


@dataclass(frozen=True)
class Recalled:
    """Class ids that were found in images before, in place of a `Segmenter`; `known`: see `Masks.recall`."""

    description: Mapping
    known: Mapping[int, Mapping[str, np.ndarray]]

    @property
    def classes(self) -> Sequence[dict]:
        """Class table."""
        return self.description["classes"]

    @property
    def threshold(self) -> float:
        """Probability of class 1 above which a pixel is called so."""
        return self.description["threshold"]

    def class_ids(self, array: np.ndarray) -> np.ndarray:
        """Class of each pixel (Y, X) of an image that is known."""
        return self.known[id(array)]["class_ids"]


class PixelScoring:
    """How a U-Net is judged: a part of `utils.tasks.pixels.task.UNet`."""

    score_table, headline = staticmethod(pixel_score_table), staticmethod(pixel_headline)
    opponents = staticmethod(classical_segmenters)

    def scores(
        self, predictor: Segmenter, examples: Sequence[Example], classes: Sequence[dict] | None = None
    ) -> PixelScores:
        """See `Task`."""
        return pixel_scores(pixel_pairs(predictor, examples), classes or predictor.classes)

    def answer(self, predictor: Any, example: Example) -> dict[str, np.ndarray]:
        """See `Masks`; a forest takes its time for each pixel."""
        where = (counted(example.mask),) if isinstance(predictor, PixelForest) else ()
        return {"class_ids": predictor.class_ids(example.image.array, *where)}

    def recall(self, predictor: Segmenter, known: Mapping[int, Mapping]) -> Recalled:
        """See `Masks`."""
        return Recalled(predictor.description, known)

    def further_scores(self, evaluation: Evaluation) -> dict:
        """See `Task`."""
        return {
            "threshold": evaluation.predictor.threshold,
            "scores": evaluation.table.to_dict("records"),
            "confusion_matrix": evaluation.scores.confusion,
        }

    def quality(self, scores: PixelScores) -> np.ndarray:
        """See `Task`: IoU, averaged over the classes other than background."""
        return mean_iou(scores.confusions)

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `Task`."""
        return READABLE["mean_foreground_iou" if len(classes) == 2 else "mean_dice"]

    def judgement(self, scores: PixelScores) -> Judgement:
        """See `Task`: mean foreground IoU of two classes, mean Dice of more."""
        n = scores.confusions.shape[-1]
        return Judgement(
            pixel_headline(pixel_score_table(scores)),
            summands(scores.confusions),
            lambda sums: totals_of_sums(sums, n)[..., 0] if n == 2 else dices(sums, n),
            scores.per_image["group"].tolist(),
        )

    def disagreement(self, folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
        """See `Task`.

        Columns file, role, foreground_iou, mean_iou (over the classes in the image), and shares of the image's area:
        missed_percent and added_percent (only the annotation or only the model marks it), other_class_percent (both
        mark it, as different classes). Lowest mean_iou first. Two classes have no mean_iou, which is the foreground's,
        and no other class.
        """
        segmenter = self.load(folder)
        n = len(segmenter.classes)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(segmenter.class_ids, [one.image.array for one in examples])
            rows = [
                {"file": one.name, "role": role} | _disagreement(one.mask, ids, n)
                for one, role, ids in zip(examples, roles, found, strict=True)
            ]
        table = pd.DataFrame(rows).sort_values("mean_iou").reset_index(drop=True)
        return table.drop(columns=["mean_iou", "other_class_percent"]) if n == 2 else table


def _disagreement(annotated: np.ndarray, predicted: np.ndarray, n_classes: int) -> Mapping[str, float]:
    cm = confusion_matrix(annotated, predicted, n_classes)
    area = cm.sum()
    return {
        "foreground_iou": float(foreground_iou_from_confusion(cm)),
        "mean_iou": float(mean_iou(cm)),
        "missed_percent": 100 * cm[1:, 0].sum() / area,
        "added_percent": 100 * cm[0, 1:].sum() / area,
        "other_class_percent": 100 * (cm[1:, 1:].sum() - np.trace(cm[1:, 1:])) / area,
    }
