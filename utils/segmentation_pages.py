"""What the segmentation notebook shows and archives: previews, pictures of the evaluation, the report."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.image import imread

from utils import models
from utils.augmentation import Augmentation, draw_patch
from utils.evaluation import Evaluation, TestSet
from utils.intervals import interval_note
from utils.plot_scores import confusion_figure, error_map, learning_curves, share_agreement
from utils.plots import add_picture, as_image, picture_grid, show_augmented, show_pairs
from utils.projects import Project
from utils.quality import duplicates
from utils.report import write_report
from utils.scores import readable_table
from utils.segmentation import patch_size, sources
from utils.splits import read_split

PREVIEWS = 4
LARGE_PATCH = 512  # pixels
FEW_IMAGES = 10
PICTURE_WIDTH = 11  # inches


def live(form, draw: Callable[[], Figure]) -> None:
    """Show the figure that `draw` makes, and make it anew whenever a value of `form` changes."""
    handle = display(as_image(draw()), display_id=True)
    form.on_change(lambda: handle and handle.update(as_image(draw())))


def overview(project: Project, patch: tuple[int, int]) -> str:
    """Markdown on what was found: how many images for what, which classes and patches, and whether that is enough."""
    roles = {role: int((project.roles == role).sum()) for role in ("training", "validation", "test")}
    dataset = project.dataset
    lines = [
        f"**{len(dataset.examples)} images**: {roles['training']} for training, {roles['validation']} for validation, "
        f"{roles['test']} set aside for testing, in {len(set(project.split['group']))} groups.",
        f"**Masks: {dataset.mask_type}.** {dataset.why} Classes: {', '.join(one['name'] for one in dataset.classes)}.",
        f"**Patches** of {patch[0]} x {patch[1]} pixels (height x width) are cut from the images at random.",
    ]
    if max(patch) > LARGE_PATCH:
        lines.append(
            f"**Warning:** patches above {LARGE_PATCH} pixels are slow and need much memory; 128 to 512 do as well."
        )
    if roles["training"] < FEW_IMAGES:
        lines.append(
            f"**Warning:** {roles['training']} training images are few. Expect a score that depends on chance; "
            "annotate more images, those that differ most from each other first."
        )
    return "\n\n".join(lines)


def cautions(folder: Path, test_set: TestSet) -> list[str]:
    """Sentences on why the score of a model must not be taken for a result; usually none."""
    found = [] if test_set.independent else [f"Tested on {test_set.origin}."]
    parameters = json.loads((folder / models.PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    if parameters.get("training", {}).get("preset") == "Try out":
        found.append(
            'Made with the preset "Try out", to see how everything works: this is no result. Train with another preset.'
        )
    return found


def per_image(evaluation: Evaluation) -> pd.DataFrame:
    """Scores of each test image, short enough for the page: without background, shares in percent."""
    table, names = evaluation.scores.per_image, [one["name"] for one in evaluation.segmenter.classes[1:]]
    shown = table[["file", "foreground_iou"]].rename(columns={"foreground_iou": "foreground IoU"})
    for name in names:
        shown[f"Dice {name}"] = table[f"dice_{name}"]
        shown[f"{name}, true [%]"] = 100 * table[f"true_share_{name}"]
        shown[f"{name}, predicted [%]"] = 100 * table[f"predicted_share_{name}"]
    return shown


def verdict(evaluation: Evaluation, folder: Path) -> str:
    """Markdown with the headline score, its interval, where the test images come from, and what to be wary of."""
    best, test_set = evaluation.headline, evaluation.test_set
    interval = f" (95 % interval {best['low']:.2f} to {best['high']:.2f})" if best["low"] == best["low"] else ""
    warnings = "".join(f"\n\n**Warning:** {caution}" for caution in cautions(folder, test_set))
    return (
        f"## {best['name']}: {best['value']:.2f}{interval}\n\n{best['meaning']}\n\n"
        f"Scored on {len(test_set.examples)} images: {test_set.origin}. "
        f"{interval_note([one.group for one in test_set.examples])}{warnings}"
    )


def tidy(table: pd.DataFrame, precision: int = 2):
    """A table as the page shows it: no row numbers, few digits, a dash for what is missing, no empty columns."""
    shown = table.dropna(axis="columns", how="all") if len(table) else table
    return shown.style.format(precision=precision, na_rep="-", thousands="\u202f").hide(axis="index")


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Table of `quality.class_shares` with the share in percent."""
    return table.assign(share=100 * table["share"]).rename(columns={"share": "share [% of area]"})


def with_roles(copies: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Table of duplicates with what each image is used for, those across roles first: they make the score too good."""
    role = dict(zip((one.name for one in project.dataset.examples), project.roles, strict=True))
    table = copies.assign(role_a=copies["file_a"].map(role), role_b=copies["file_b"].map(role))
    across = (table["role_a"] != table["role_b"]).sort_values(ascending=False, kind="stable").index
    return table.loc[across]


def lookalikes(project: Project, test_set: TestSet) -> pd.DataFrame:
    """Pairs of a test image and a training or validation image that look like copies of each other.

    Images set aside from the same folder are compared when the data are looked at; here it is about a folder of test
    images.
    """
    known = {one.image.path for one in project.dataset.examples}
    others = [one for one in test_set.examples if one.image.path not in known]
    names = {one.name: replace(one, name=f"{one.name} (test)") for one in others}
    pairs = duplicates([*project.dataset.examples, *names.values()])
    is_test = pairs[["file_a", "file_b"]].isin([one.name for one in names.values()])
    return pairs[is_test.sum(axis=1) == 1]


def overlays(result_folder: Path, n: int = 4) -> Figure:
    """The first overlay pictures of a prediction, side by side."""
    files = sorted((result_folder / "overlays").glob("*.png"))[:n]
    figure, axes = picture_grid(1, len(files), (PICTURE_WIDTH / len(files), PICTURE_WIDTH / len(files)))
    for axis, path in zip(axes[0], files, strict=True):
        add_picture(axis, imread(path), path.stem)
    return figure


def warnings_of(project: Project, uneven: pd.DataFrame, copies: pd.DataFrame) -> list[str]:
    """Sentences for the report from what the check of the data found."""
    found = [f"{one.file}: {one.what}. {one.remedy}" for one in project.dataset.problems]
    found += [f"{row.file} differs from the other images in {row.feature}." for row in uneven.itertuples()]
    return found + [f"{row.file_a} and {row.file_b} look like copies of each other." for row in copies.itertuples()]


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
    nothing, changes = Augmentation(), Augmentation(**augmentation)
    before, after = (
        [
            draw_patch(
                one.image,
                one.mask,
                one.low,
                one.high,
                patch,
                training["min_fraction"],
                change,
                np.random.default_rng((seed, i)),
            )
            for i, one in enumerate(chosen)
        ]
        for change in (nothing, changes)
    )
    stacks = [np.stack(parts) for drawn in (before, after) for parts in zip(*drawn, strict=True)]
    return show_augmented(*stacks, project.dataset.classes)


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


def report(folder: Path, evaluation: Evaluation, warnings: list[str]) -> Path:
    """Write report.html into the model folder.

    Parameters
    ----------
    folder
        Model folder.
    evaluation
        From `evaluation.evaluate`.
    warnings
        Sentences that a reader must know before believing the figures.
    """
    description = models.read_model(folder, "unet")
    parameters = json.loads((folder / models.PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    split, history = read_split(folder / models.SPLIT), pd.read_csv(folder / models.HISTORY)
    counts = split.groupby("role").agg(images=("file", "size"), groups=("group", "nunique")).reset_index()
    classes = description["classes"]
    examples = show_pairs(evaluation.test_set.examples, classes)
    path = folder / "report.html"
    write_report(
        path,
        title=f"U-Net model {folder.name}",
        summary=_summary(description, evaluation, history),
        tables={
            "Images the model was made from": counts,
            "Scores on the test images": readable_table(evaluation.table),
            "Scores of each test image": per_image(evaluation),
        },
        figures={
            "Learning curves": learning_curves(history),
            "Test images and their annotation": examples,
            **evaluation_figures(evaluation, classes),
        },
        parameters=parameters,
        warnings=[*cautions(folder, evaluation.test_set), *warnings],
        versions=description["versions"],
        headline=evaluation.headline,
    )
    return path


def _summary(description: Mapping, evaluation: Evaluation, history: pd.DataFrame) -> str:
    names = ", ".join(one["name"] for one in description["classes"])
    rule = (
        f"A pixel counts as {description['classes'][1]['name']} where the model gives it a probability above "
        f"{description['threshold']:.2f}, a threshold chosen on validation images."
        if len(description["classes"]) == 2
        else "Each pixel gets its most probable class."
    )
    return (
        f"A U-Net that sorts each pixel into {len(description['classes'])} classes ({names}), trained for "
        f"{len(history)} epochs. {rule}\n\nThe scores are from {len(evaluation.test_set.examples)} images: "
        f"{evaluation.test_set.origin}."
    )
