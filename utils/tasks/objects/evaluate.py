"""How good a StarDist model is on images that neither its training nor its thresholds have seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.examples import Example
from utils.metrics.objects import ObjectScores, count_error, headline, object_scores, score_table
from utils.tasks.held_out import TestSet, write_scores
from utils.tasks.objects.measure import Objects
from utils.tasks.objects.predict import ObjectSegmenter, load_segmenter


@dataclass(frozen=True)
class ObjectEvaluation:
    """Scores of a StarDist model on its test set."""

    test_set: TestSet
    scores: ObjectScores
    table: pd.DataFrame
    headline: dict
    segmenter: ObjectSegmenter

    def worst(self, n: int = 3) -> list[Example]:
        """Test images with the lowest AP at IoU 0.5, lowest first; those without any object come last."""
        order = np.argsort(self.scores.per_image["AP"].to_numpy(), kind="stable")
        return [self.test_set.examples[i] for i in order[:n]]


def class_of_labels(found: Objects) -> dict[int, int] | None:
    """Label -> class id of predicted objects; None where the model knows no classes."""
    if found.class_ids is None:
        return None
    return {label: int(class_id) for label, class_id in enumerate(found.class_ids, start=1)}


def compared(segmenter: ObjectSegmenter, examples: Sequence[Example]) -> Iterator[tuple]:
    """For each image what `object_scores` wants: its objects as annotated and as the model finds them."""
    for one in examples:
        found = segmenter.find(one.image.array)
        yield one.name, one.group, one.mask, found.labels, one.object_classes, class_of_labels(found)


def object_classes(segmenter: ObjectSegmenter) -> Sequence[Mapping] | None:
    """Class table of a model that tells classes of objects apart, else None."""
    return segmenter.classes if segmenter.description["network"]["n_classes"] else None


def evaluate(folder: Path, test_set: TestSet) -> ObjectEvaluation:
    """Score a model and write evaluation.csv and scores.json into its folder.

    Parameters
    ----------
    folder
        Model folder.
    test_set
        From `held_out.find_test_set`.
    """
    segmenter = load_segmenter(folder)
    scores = object_scores(compared(segmenter, test_set.examples), object_classes(segmenter))
    table = score_table(scores)
    best = headline(table)
    write_scores(
        folder,
        test_set,
        best,
        scores.per_image,
        threshold=segmenter.model.thresholds.prob,
        nms_threshold=segmenter.model.thresholds.nms,
        scores=table.to_dict("records"),
        count=count_error(scores.per_image),
        class_confusion=scores.class_confusion,
    )
    return ObjectEvaluation(test_set, scores, table, best, segmenter)


def disagreement(folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
    """Images whose annotation disagrees most with the model: candidates for a faulty annotation.

    Parameters
    ----------
    folder
        Model folder.
    examples, roles
        Annotated images and what each was used for; the model has seen training images, so that a disagreement there
        is the stronger hint.

    Returns
    -------
    pandas.DataFrame
        file, role, AP at IoU 0.5, annotated, predicted, missed (annotated, not found), added (found, not annotated).
        Lowest AP first.
    """
    scores = object_scores(compared(load_segmenter(folder), examples))
    missed, added = scores.counts[:, 0, 2].astype(int), scores.counts[:, 0, 1].astype(int)
    table = scores.per_image[["file"]].assign(
        role=list(roles),
        AP=scores.per_image["AP"],
        annotated=scores.per_image["true objects"],
        predicted=scores.per_image["predicted objects"],
        missed=missed,
        added=added,
    )
    return table.sort_values("AP", kind="stable", ignore_index=True)
