"""What only the StarDist notebook shows and archives."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from utils.data.problems import Problem
from utils.data.project import Project, describe_images
from utils.metrics.objects import count_error
from utils.pages.score_figures import confusion_figure
from utils.patching.batches import PREVIEWS, drawn_before_and_after
from utils.tasks.objects.checks import object_problems, object_sizes, size_problems
from utils.tasks.objects.evaluate import ObjectEvaluation
from utils.tasks.objects.figures import ap_curve, count_agreement, object_errors, show_augmented_objects, show_objects
from utils.tasks.objects.train import describe, field_of_view, object_sources, padded, patch_size
from utils.tasks.report import archive
from utils.training import model_folder


def problems(project: Project, training: Mapping) -> list[Problem]:
    """Everything odd about the images, the label images, and their sizes against the network's."""
    examples, patch = project.dataset.examples, patch_size(project, training)
    view = field_of_view(describe(project, training, patch))
    return [
        *project.dataset.problems,
        *object_problems(examples),
        *size_problems(examples, patch, view, training["grid"]),
        *(
            Problem(
                "warning",
                name,
                f"the image is smaller than the patch of {patch[0]} x {patch[1]} pixels",
                "It is mirrored at its border up to that size. Choose smaller patches if most images are like this.",
            )
            for name in padded(project, patch)
        ),
    ]


def sizes_by_role(project: Project) -> pd.DataFrame:
    """Number and size of the objects that training, validation and test images hold."""
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
        for role, own in table.groupby("role", sort=False)
    ]
    return pd.DataFrame(rows)


def augmentation_preview(project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
    """Training patches as cut from the images and as changed; see `segmentation_pages.augmentation_preview`."""
    patch = patch_size(project, training)
    chosen = object_sources(project.examples("training")[:PREVIEWS], patch)
    drawn = drawn_before_and_after(chosen, patch, training["min_fraction"], augmentation, seed)
    return show_augmented_objects(*drawn, describe_images(project)["pixel_size_um"])


def readable_table(table: pd.DataFrame) -> pd.DataFrame:
    """Table of `object_scores.score_table` with the interval in one column."""
    shown = table.rename(columns={"iou_threshold": "IoU at least"})
    interval = [
        "-" if low != low else f"{low:.2f} to {high:.2f}"
        for low, high in zip(shown["AP low"], shown["AP high"], strict=True)
    ]
    shown.insert(2, "AP, 95 % interval", interval)
    return shown.drop(columns=["AP low", "AP high"])


def count_sentence(evaluation: ObjectEvaluation) -> str:
    """How well the objects are counted, in words."""
    error = count_error(evaluation.scores.per_image)
    relative = "" if error["relative"] != error["relative"] else f", {100 * error['relative']:.0f} % of their number"
    return (
        f"The number of objects per image is off by {error['mean_absolute']:.1f} on average{relative} "
        "(too many in one place and too few in another cancel out)."
    )


def evaluation_figures(evaluation: ObjectEvaluation) -> dict[str, Figure]:
    """Caption -> figure of an evaluation: the worst images, score against overlap, counts, classes."""
    figures = {}
    for example in evaluation.worst():
        found = evaluation.segmenter.find(example.image.array)
        figures[f"Errors in {example.name}"] = object_errors(
            example.image.array, example.mask, found.labels, example.image.pixel_size_um
        )
    figures["Score and how exactly the outlines must fit"] = ap_curve(evaluation.table)
    figures["Number of objects, true and predicted"] = count_agreement(evaluation.scores.per_image)
    if evaluation.scores.class_confusion is not None:
        names = [one["name"] for one in evaluation.segmenter.classes if one["id"] > 0]
        figures["Which class is taken for which (objects that were found)"] = confusion_figure(
            evaluation.scores.class_confusion, names
        )
    return figures


def report(folder: Path, evaluation: ObjectEvaluation, warnings: list[str], more: Mapping | None = None) -> Path:
    """Write report.html into the model folder; see `pages.archive`."""
    description, history = model_folder.read_model(folder, "stardist"), pd.read_csv(folder / model_folder.HISTORY)
    names = ", ".join(one["name"] for one in description["classes"] if one["id"] > 0)
    summary = (
        f"A StarDist model that finds and outlines single objects ({names}), trained for {len(history)} epochs. "
        f"A pixel can start an object from a probability of {description['threshold']:.2f}; of two outlines that "
        f"share more than {100 * description['nms_threshold']:.0f} % of their area one is dropped: thresholds chosen "
        f"on validation images. {count_sentence(evaluation)}"
    )
    return archive(
        folder,
        evaluation,
        f"StarDist model {folder.name}",
        summary,
        {
            "Scores on the test images, all objects together": readable_table(evaluation.table),
            "Scores of each test image at IoU 0.5": evaluation.scores.per_image,
        },
        {
            "Test images and their annotation": show_objects(evaluation.test_set.examples),
            **evaluation_figures(evaluation),
        },
        warnings,
        more,
    )
