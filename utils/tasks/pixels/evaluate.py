"""How good a segmentation model is on images that neither its training nor its threshold has seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.examples import Example
from utils.metrics.confusion import confusion_matrix, foreground_iou_from_confusion
from utils.metrics.pixels import PixelScores, headline, mean_iou, pixel_scores, score_table
from utils.tasks.held_out import TestSet, write_scores
from utils.tasks.pixels.predict import Segmenter
from utils.training import model_folder
from utils.training.networks import load_network


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on its test set."""

    test_set: TestSet
    scores: PixelScores
    table: pd.DataFrame
    headline: dict
    segmenter: Segmenter

    def worst(self, n: int = 3) -> list[Example]:
        """Test images with the lowest IoU, averaged over the classes other than background, lowest first."""
        order = np.argsort(mean_iou(self.scores.confusions), kind="stable")  # NaN (nothing to find, nothing found) last
        return [self.test_set.examples[i] for i in order[:n]]


def load_segmenter(folder: Path) -> Segmenter:
    """Read a U-Net model folder into a `Segmenter`."""
    description = model_folder.read_model(folder, "unet")
    return Segmenter(load_network(folder, description), description)


def compared(segmenter: Segmenter, examples: Sequence[Example]) -> Iterator[tuple]:
    """For each image what `pixel_scores` wants: its classes as annotated and as the model finds them."""
    for one in examples:
        yield one.name, one.group, one.mask, segmenter.class_ids(one.image.array)


def evaluate(folder: Path, test_set: TestSet) -> Evaluation:
    """Score a model and write evaluation.csv and scores.json into its folder.

    Parameters
    ----------
    folder
        Model folder.
    test_set
        From `find_test_set`.
    """
    segmenter = load_segmenter(folder)

    scores = pixel_scores(compared(segmenter, test_set.examples), segmenter.classes)
    table = score_table(scores)
    best = headline(table)
    write_scores(
        folder,
        test_set,
        best,
        scores.per_image,
        threshold=segmenter.threshold,
        scores=table.to_dict("records"),
        confusion_matrix=scores.confusion,
    )
    return Evaluation(test_set, scores, table, best, segmenter)


def disagreement(folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
    """Images whose annotation disagrees most with the model: candidates for a faulty annotation.

    Parameters
    ----------
    folder
        Model folder.
    examples, roles
        Annotated images and what each was used for; the model has seen training images, so that a disagreement
        there is the stronger hint.

    Returns
    -------
    pandas.DataFrame
        file, role, foreground_iou, mean_iou (over the classes in the image), and shares of the image's area:
        missed_percent and added_percent (only the annotation or only the model marks it), other_class_percent (both
        mark it, as different classes). Lowest mean_iou first.
    """
    segmenter = load_segmenter(folder)
    rows = []
    for one, role in zip(examples, roles, strict=True):
        predicted = segmenter.class_ids(one.image.array)
        cm = confusion_matrix(one.mask, predicted, len(segmenter.classes))
        area = one.mask.size
        rows.append(
            {
                "file": one.name,
                "role": role,
                "foreground_iou": float(foreground_iou_from_confusion(cm)),
                "mean_iou": float(mean_iou(cm)),
                "missed_percent": 100 * cm[1:, 0].sum() / area,
                "added_percent": 100 * cm[0, 1:].sum() / area,
                "other_class_percent": 100 * (cm[1:, 1:].sum() - np.trace(cm[1:, 1:])) / area,
            }
        )
    return pd.DataFrame(rows).sort_values("mean_iou").reset_index(drop=True)
