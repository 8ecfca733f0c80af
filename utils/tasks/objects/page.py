"""What only the StarDist notebook shows and archives."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.data.project import Project, describe_images
from utils.data.splits import ROLES
from utils.errors import how_many
from utils.metrics.intervals import UNKNOWN
from utils.metrics.objects import count_error
from utils.pages.score_figures import confusion_figure
from utils.patching.batches import PREVIEWS, drawn_before_and_after
from utils.tasks.objects.checks import object_problems, object_sizes, size_problems
from utils.tasks.objects.figures import (
    ap_curve,
    count_agreement,
    object_errors,
    objects_before_after,
    show_augmented_objects,
    show_objects,
)
from utils.tasks.objects.network import field_of_view, object_sources
from utils.tasks.opponents import COMPARED, shown_methods, worth_it
from utils.tasks.task import Evaluation, TestSet


class ObjectPage:
    """What a StarDist model shows: a part of `utils.tasks.objects.task.StarDist`."""

    def counts(self, project: Project, test_set: TestSet | None = None) -> pd.DataFrame:
        """See `Task`: number and size of the objects."""
        table = object_sizes(project.dataset.examples).assign(role=project.roles)
        rows = [
            {
                "role": role,
                "images": len(own),
                "objects": int(own["objects"].sum()),
                "objects per image": own["objects"].mean(),
                "cut by the border": int(own["cut by the border"].sum()),
                "median diameter [px]": own["median diameter [px]"].median(),
                "largest extent [px]": own["largest extent [px]"].max(),
            }
            for role, own in table.groupby(pd.Categorical(table["role"], ROLES), observed=True)
        ]
        return pd.DataFrame(rows)

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return self.show_examples(project.examples("training"))

    def show_examples(self, examples: Sequence[Example], classes: Sequence[dict] = ()) -> Figure:
        """See `Task`."""
        return show_objects(examples)

    def problems(self, project: Project, training: Mapping) -> list[Problem]:
        """See `Masks`; also where sizes do not suit the network."""
        examples, description = project.dataset.examples, self.describe(project, training)
        patch = tuple(description["input"]["patch"])
        remedy = "It is mirrored at its border up to that size. Choose smaller patches if most images are like this."
        smaller = f"the image is smaller than the patch of {patch[0]} x {patch[1]} pixels"
        return [
            *project.dataset.problems,
            *object_problems(examples),
            *size_problems(examples, patch, field_of_view(description), training["grid"]),
            *(Problem("warning", name, smaller, remedy) for name in _smaller(project, patch)),
        ]

    def augmentation_preview(self, project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
        """See `Task`; training patches."""
        patch = self.patch_size(project, training)
        normalisation = self.normalisation(project, training)
        chosen = object_sources(project.examples("training")[:PREVIEWS], patch, normalisation)
        drawn = drawn_before_and_after(chosen, patch, training["min_fraction"], augmentation, seed)
        size, images = describe_images(project)["pixel_size_um"], [one.image for one in chosen]
        return show_augmented_objects(*drawn, size, images)

    def score_tables(self, evaluation: Evaluation) -> dict[str, pd.DataFrame]:
        """See `Task`."""
        return {
            "Scores on the test images, over all objects of all images together": _with_interval(evaluation.table),
            COMPARED: shown_methods(evaluation.classical),
            "Scores of each test image at IoU 0.5": evaluation.scores.per_image,
        }

    def remarks(self, evaluation: Evaluation) -> list[str]:
        """See `Task`: whether the network is worth it, and how well the objects are counted."""
        error = count_error(evaluation.scores.per_image)
        known = error["relative"] == error["relative"]
        relative = f", {100 * error['relative']:.0f} % of their number" if known else ""
        return [
            *worth_it(evaluation.classical),
            f"The number of objects per image is off by {error['mean_absolute']:.1f} on average{relative} "
            "(too many in one place and too few in another cancel out).",
        ]

    def evaluation_figures(self, evaluation: Evaluation) -> dict[str, Figure]:
        """See `Task`: the worst images, score against overlap, counts, classes."""
        figures, scores = {}, evaluation.scores
        for one in self.worst(evaluation):
            found = evaluation.predictor.find(one.image.array)
            figures[f"Errors in {one.name}"] = object_errors(
                one.image.array, one.mask, found.labels, one.image.pixel_size_um
            )
        figures["Score and how exactly the outlines must fit"] = ap_curve(evaluation.table)
        figures["Number of objects, true and predicted"] = count_agreement(scores.per_image)
        if scores.class_confusion is not None:
            names = [one["name"] for one in evaluation.predictor.classes if one["id"] > 0]
            caption = "Which class is taken for which (objects that were found)"
            figures[caption] = confusion_figure(scores.class_confusion, names)
        return figures

    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """See `NetworkTask`."""
        found = {
            name: [model.find(one.image.array).labels for one in test_set.examples]
            for name, model in predictors.items()
        }
        return {"The same test images, outlined by each model": objects_before_after(test_set.examples, found)}

    def summary(self, description: Mapping, number_of_epochs: int) -> str:
        """See `Task`."""
        names = ", ".join(one["name"] for one in description["classes"] if one["id"] > 0)
        return (
            f"A StarDist model that finds and outlines single objects ({names}), trained for "
            f"{how_many(number_of_epochs, 'epoch')}. A pixel can start an object from a "
            f"probability of {description['threshold']:.2f}; of two "
            f"outlines that share more than {100 * description['nms_threshold']:.0f} % of their area one is dropped: "
            "thresholds chosen on validation images."
        )


def _with_interval(table: pd.DataFrame) -> pd.DataFrame:
    """Table of `object_score_table` with the interval in one column."""
    shown = table.rename(columns={"iou_threshold": "IoU at least"})
    interval = [
        UNKNOWN if low != low else f"{low:.2f} to {high:.2f}"
        for low, high in zip(shown["AP low"], shown["AP high"], strict=True)
    ]
    shown.insert(2, "AP, 95 % interval", interval)
    return shown.drop(columns=["AP low", "AP high"])


def _smaller(project: Project, patch: tuple[int, int]) -> list[str]:
    """Names of the training and validation images that are smaller than the patch and will be padded."""
    used = project.examples("training") + project.examples("validation")
    return [one.name for one in used if (np.array(one.mask.shape) < patch).any()]
