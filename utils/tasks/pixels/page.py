"""What only the U-Net notebook shows and archives: previews, pictures of the evaluation, its report."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from utils.data.project import Project, describe_images
from utils.metrics.pixels import readable_table
from utils.pages.figures import show_augmented, show_pairs
from utils.pages.score_figures import confusion_figure
from utils.patching.batches import PREVIEWS, drawn_before_and_after, sources
from utils.tasks.pixels.evaluate import Evaluation
from utils.tasks.pixels.figures import error_map, share_agreement
from utils.tasks.pixels.train import patch_size
from utils.tasks.report import archive
from utils.training import model_folder


def per_image(evaluation: Evaluation) -> pd.DataFrame:
    """Scores of each test image, short enough for the page: without background, shares in percent."""
    table, names = evaluation.scores.per_image, [one["name"] for one in evaluation.segmenter.classes[1:]]
    shown = table[["file", "foreground_iou"]].rename(columns={"foreground_iou": "foreground IoU"})
    for name in names:
        shown[f"Dice {name}"] = table[f"dice_{name}"]
        shown[f"{name}, true [%]"] = 100 * table[f"true_share_{name}"]
        shown[f"{name}, predicted [%]"] = 100 * table[f"predicted_share_{name}"]
    return shown


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Table of `quality.class_shares` with the share in percent."""
    return table.assign(share=100 * table["share"]).rename(columns={"share": "share [% of area]"})


def augmentation_preview(project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
    """Training patches as cut from the images and as changed by the augmentation.

    Parameters
    ----------
    project
        From `projects.open_project`.
    training, augmentation
        Values of these forms.
    seed
        Of the choice of patches and changes.
    """
    patch, chosen = patch_size(project, training), sources(project.examples("training"))[:PREVIEWS]
    drawn = drawn_before_and_after(chosen, patch, training["min_fraction"], augmentation, seed)
    return show_augmented(*drawn, project.dataset.classes, describe_images(project)["pixel_size_um"])


def evaluation_figures(evaluation: Evaluation, classes: list[dict]) -> dict[str, Figure]:
    """Caption -> figure of an evaluation: the worst images, predicted against true shares, the confusion matrix."""
    figures = {}
    for example in evaluation.worst():
        predicted = evaluation.segmenter.class_ids(example.image.array)
        figures[f"Errors in {example.name}"] = error_map(
            example.image.array, example.mask, predicted, classes, example.image.pixel_size_um
        )
    names = [one["name"] for one in classes]
    figures["Share of the area, true and predicted"] = share_agreement(evaluation.scores.per_image, classes)
    figures["Which class is taken for which"] = confusion_figure(evaluation.scores.confusion, names)
    return figures


def report(folder: Path, evaluation: Evaluation, warnings: list[str], more: Mapping | None = None) -> Path:
    """Write report.html into the model folder; see `pages.archive`."""
    description, history = model_folder.read_model(folder, "unet"), pd.read_csv(folder / model_folder.HISTORY)
    classes = description["classes"]
    return archive(
        folder,
        evaluation,
        f"U-Net model {folder.name}",
        _summary(description, len(history)),
        {
            "Scores on the test images": readable_table(evaluation.table),
            "Scores of each test image": per_image(evaluation),
        },
        {
            "Test images and their annotation": show_pairs(evaluation.test_set.examples, classes),
            **evaluation_figures(evaluation, classes),
        },
        warnings,
        more,
    )


def _summary(description: Mapping, number_of_epochs: int) -> str:
    names = ", ".join(one["name"] for one in description["classes"])
    rule = (
        f"A pixel counts as {description['classes'][1]['name']} where the model gives it a probability above "
        f"{description['threshold']:.2f}, a threshold chosen on validation images."
        if len(description["classes"]) == 2
        else "Each pixel gets its most probable class."
    )
    return (
        f"A U-Net that sorts each pixel into {len(description['classes'])} classes ({names}), trained for "
        f"{number_of_epochs} epochs. {rule}"
    )
