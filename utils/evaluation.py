"""How good a segmentation model is on images that neither its training nor its threshold has seen."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils import models
from utils.checks import Dataset, Example, load_examples, raise_errors
from utils.errors import DataError, ModelError
from utils.files import file_sha256, write_csv, write_json
from utils.metrics import confusion_matrix, foreground_iou_from_confusion, ratio, scores_from_confusion
from utils.prediction import Segmenter
from utils.samples import SAMPLES, sample_of
from utils.scores import PixelScores, headline, pixel_scores, score_table
from utils.splits import read_split


@dataclass(frozen=True)
class TestSet:
    """Images to score a model on, and a sentence on where they come from (a warning where not independent)."""

    __test__ = False  # not a class of tests

    examples: list[Example]
    origin: str
    independent: bool


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


def mean_iou(confusions: np.ndarray) -> np.ndarray:
    """Mean IoU of the classes other than background, of confusion matrices (..., n, n); NaN where none is there."""
    iou = scores_from_confusion(confusions).iou[..., 1:]
    return ratio(np.nansum(iou, axis=-1), np.isfinite(iou).sum(axis=-1))


def load_segmenter(folder: Path) -> Segmenter:
    """Read a U-Net model folder into a `Segmenter`."""
    description = models.read_model(folder, "unet")
    return Segmenter(models.load_network(folder, description), description)


def find_test_set(folder: Path, test_source: str = "", test_target: str = "") -> TestSet:
    """Images to test a model on.

    Parameters
    ----------
    folder
        Model folder.
    test_source, test_target
        Folders of images and masks, both or neither. "" means: the test folder of the bundled sample that the model was
        trained on, else the images set aside before training, else the validation images, which is said.

    Raises
    ------
    DataError
        Bad test data, or a test image that the model was trained on.
    """
    if bool(test_source) != bool(test_target):
        raise DataError("Fill in both test_source and test_target, the folder of images and that of masks, or neither.")
    split = read_split(folder / models.SPLIT)
    data = _data_parameters(folder)
    sample = sample_of(data["training_source"])
    if test_source:
        given = load_test_examples(folder, test_source, test_target)
        return TestSet(_unseen(given.examples, split), f"the folder {test_source}", independent=True)
    if sample and SAMPLES[sample].get("test_source"):
        given = load_test_examples(folder, SAMPLES[sample]["test_source"], SAMPLES[sample]["test_target"])
        return TestSet(_unseen(given.examples, split), f"the test images of the sample {sample}", independent=True)
    role = "test" if (split["role"] == "test").any() else "validation"
    chosen = set(split.loc[split["role"] == role, "sha256"])
    given = load_test_examples(folder, data["training_source"], data["training_target"])
    examples = [one for one in given.examples if file_sha256(one.image.path) in chosen]
    if len(examples) < len(chosen):
        raise DataError(
            f"{len(chosen) - len(examples)} of the {role} images of {folder} are no longer in "
            f"{data['training_source']}, or were changed. Put them back, or name a test_source."
        )
    origin = (
        "images set aside before training"
        if role == "test"
        else "the validation images: there is no independent test, so these figures are optimistic"
    )
    return TestSet(_unseen(examples, split) if role == "test" else examples, origin, independent=role == "test")


def load_test_examples(folder: Path, source: str, target: str) -> Dataset:
    """Read images and masks with the classes of a model; DataError where they do not fit."""
    description, data = models.read_model(folder, "unet"), _data_parameters(folder)
    dataset = load_examples(
        source, target, data["axes"], description["mask_type"], data["group_rule"], description["classes"]
    )
    raise_errors(dataset.problems)
    for one in dataset.examples:
        check_channels(one.image.array, one.image.path, description)
    return dataset


def check_channels(array: np.ndarray, path: Path, description: dict) -> None:
    """Refuse an image (Y, X, C) whose number of channels is not the model's."""
    needed = description["network"]["channels"]
    if array.shape[-1] != needed:
        raise DataError(
            f"{path} has {array.shape[-1]} channels, the model was trained on {needed}. Export it with the same "
            "channels as the training images."
        )


def _data_parameters(folder: Path) -> dict:
    needed = ("training_source", "training_target", "axes", "group_rule")
    try:
        data = json.loads((folder / models.PARAMETERS).read_text(encoding="utf-8"))["overrides"]["data"]
        return {name: data[name] for name in needed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / models.PARAMETERS} is missing or damaged. Copy the model folder again.") from error


def _unseen(examples: Sequence[Example], split: pd.DataFrame) -> list[Example]:
    """Return the examples, none of which may be a training or validation image (same file content)."""
    seen = set(split.loc[split["role"] != "test", "sha256"])
    copies = [one.name for one in examples if file_sha256(one.image.path) in seen]
    if copies:
        raise DataError(
            f"The test images {', '.join(copies[:5])}, or exact copies of them, were used in training: their score "
            "would be meaningless. Take them out of the test folder; if they were set aside, remove the copies "
            "and train again."
        )
    return list(examples)


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

    def predicted() -> Iterator[tuple]:
        for one in test_set.examples:
            yield one.name, one.group, one.mask, segmenter.class_ids(one.image.array)

    scores = pixel_scores(predicted(), segmenter.classes)
    table = score_table(scores)
    best = headline(table)
    write_csv(folder / "evaluation.csv", scores.per_image)
    write_json(
        folder / "scores.json",
        {
            "headline": best,
            "test_images": test_set.origin,
            "independent": test_set.independent,
            "number_of_images": len(test_set.examples),
            "threshold": segmenter.threshold,
            "scores": table.to_dict("records"),
            "confusion_matrix": scores.confusion,
        },
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
