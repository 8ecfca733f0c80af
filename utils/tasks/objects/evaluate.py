"""How good a StarDist model is on images that neither its training nor its thresholds have seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.examples import Example
from utils.metrics.intervals import Judgement
from utils.metrics.objects import (
    IOU_THRESHOLDS,
    ObjectScores,
    count_error,
    object_headline,
    object_score_table,
    object_scores,
    scores_from_counts,
)
from utils.tasks.objects.classical import classical_finders
from utils.tasks.objects.measure import Objects
from utils.tasks.objects.predict import ObjectSegmenter
from utils.tasks.task import Evaluation


def class_of_labels(found: Objects) -> dict[int, int] | None:
    """Label -> class id of predicted objects; None where the model knows no classes."""
    if found.class_ids is None:
        return None
    return {label: int(class_id) for label, class_id in enumerate(found.class_ids, start=1)}


def object_pairs(segmenter: ObjectSegmenter, examples: Sequence[Example]) -> Iterator[tuple]:
    """For each image what `object_scores` wants: its objects as annotated and as the model finds them."""
    for one in examples:
        found = segmenter.find(one.image.array)
        yield one.name, one.group, one.mask, found.labels, one.object_classes, class_of_labels(found)


def known_object_classes(segmenter: ObjectSegmenter) -> Sequence[Mapping] | None:
    """Class table of a model that tells classes of objects apart, else None."""
    return segmenter.classes if segmenter.description["network"]["n_classes"] else None


@dataclass(frozen=True)
class Recalled:
    """Objects that were found in images before, in place of an `ObjectSegmenter`; `known`: see `Masks.recall`."""

    model: Any
    description: Mapping
    known: Mapping[int, Mapping[str, np.ndarray]]

    @property
    def classes(self) -> Sequence[dict]:
        """Class table."""
        return self.description["classes"]

    def find(self, array: np.ndarray) -> Objects:
        """Objects of an image that is known: labels and class ids, no outlines."""
        found = self.known[id(array)]
        n = int(found["labels"].max(initial=0))
        return Objects(found["labels"], np.zeros((n, 2, 0)), np.ones(n), found.get("class_ids"))


class ObjectScoring:
    """How a StarDist model is judged: a part of `utils.tasks.objects.task.StarDist`."""

    score_table, headline = staticmethod(object_score_table), staticmethod(object_headline)
    opponents = staticmethod(classical_finders)

    def scores(
        self, predictor: ObjectSegmenter, examples: Sequence[Example], classes: Sequence[dict] | None = None
    ) -> ObjectScores:
        """See `Task`; where objects are is asked of any model: with `classes` given, their classes do not count."""
        return object_scores(object_pairs(predictor, examples), None if classes else known_object_classes(predictor))

    def answer(self, predictor: Any, example: Example) -> dict[str, np.ndarray]:
        """See `Masks`."""
        found = predictor.find(example.image.array)
        return {"labels": found.labels} | ({} if found.class_ids is None else {"class_ids": found.class_ids})

    def recall(self, predictor: ObjectSegmenter, known: Mapping[int, Mapping]) -> Recalled:
        """See `Masks`."""
        return Recalled(predictor.model, predictor.description, known)

    def further_scores(self, evaluation: Evaluation) -> dict:
        """See `Task`."""
        thresholds = evaluation.predictor.model.thresholds
        return {
            "threshold": thresholds.prob,
            "nms_threshold": thresholds.nms,
            "scores": evaluation.table.to_dict("records"),
            "count": count_error(evaluation.scores.per_image),
            "class_confusion": evaluation.scores.class_confusion,
        }

    def quality(self, scores: ObjectScores) -> np.ndarray:
        """See `Masks`: AP at IoU 0.5."""
        return scores.per_image["AP"].to_numpy()

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `NetworkTask`."""
        return f"AP at IoU {IOU_THRESHOLDS[0]:g}"

    def judgement(self, scores: ObjectScores) -> Judgement:
        """See `NetworkTask`: AP at IoU 0.5."""
        return Judgement(
            object_headline(object_score_table(scores)),
            scores.counts[:, 0],
            lambda sums: scores_from_counts(sums)["AP"],
            scores.per_image["group"].tolist(),
        )

    def disagreement(self, folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
        """See `Task`.

        Columns file, role, AP at IoU 0.5, annotated, predicted, missed (annotated, not found), added (found, not
        annotated). Lowest AP first.
        """
        scores = object_scores(object_pairs(self.load(folder), examples))
        table = scores.per_image[["file"]].assign(
            role=list(roles),
            AP=scores.per_image["AP"],
            annotated=scores.per_image["true objects"],
            predicted=scores.per_image["predicted objects"],
            missed=scores.counts[:, 0, 2].astype(int),
            added=scores.counts[:, 0, 1].astype(int),
        )
        return table.sort_values("AP", kind="stable", ignore_index=True)
