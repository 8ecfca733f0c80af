"""What the notebooks of segmentation have in common on the page and in the report."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.image import imread

from utils import models
from utils.decoders import open_tiff, pixel_size_um
from utils.held_out import TestSet
from utils.intervals import interval_note
from utils.plot_scores import learning_curves
from utils.plots import add_picture, as_image, picture_grid
from utils.problems import Problem
from utils.projects import Project
from utils.quality import duplicates
from utils.report import write_report
from utils.splits import read_split

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
        f"{roles['test']} set aside for testing"
        f"{in_groups(project.split['group'].nunique(), len(dataset.examples))}.",
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


def verdict(evaluation, folder: Path) -> str:
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
    """A table as the page shows it: no row numbers, few digits, a dash for what is missing, no empty columns.

    Headings are in words and in the signs of units that the names in the files leave out; texts begin at the left.
    """
    shown = table.dropna(axis="columns", how="all") if len(table) else table
    texts = [name for name in shown.columns if not pd.api.types.is_numeric_dtype(shown[name])]
    styled = shown.style.format(precision=precision, na_rep="-", thousands="\u202f").hide(axis="index")
    return styled.format_index(heading, axis="columns").set_properties(subset=texts, **{"text-align": "left"})


def heading(name: object) -> str:
    """Name of a column in words: ``foreground_iou`` -> ``foreground IoU``, ``area [um2]`` -> ``area [µm²]``."""
    text = str(name).replace("_", " ")
    for plain, shown in (("um2", "µm²"), ("um", "µm"), ("mm2", "mm²"), ("iou", "IoU"), ("percent", "%")):
        text = re.sub(rf"\b{plain}\b", shown, text)
    return text


def in_groups(groups: int, images: int) -> str:
    """Words on groups to end a sentence with, none where every image is a group of its own."""
    return f", in {groups} groups" if groups < images else ""


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


def overlays(result_folder: Path, predicted: Iterable[str], n: int = 4, folder: str = "overlays") -> Figure:
    """The first overlay pictures of a prediction, side by side, with a scale bar where the pixel size is known.

    `predicted` are the names of the images: the folder may hold pictures of an earlier prediction, too.
    """
    stems = {Path(name).stem for name in predicted}
    files = [path for path in sorted((result_folder / folder).glob("*.png")) if path.stem in stems][:n]
    if not files:
        figure = Figure((PICTURE_WIDTH, 1))
        figure.text(0, 0.5, "There are no pictures, because nothing was found in these images.")
        return figure
    figure, axes = picture_grid(1, len(files), (PICTURE_WIDTH / len(files), PICTURE_WIDTH / len(files)))
    for axis, path in zip(axes[0], files, strict=True):
        picture = imread(path)
        add_picture(axis, picture, path.stem, _overlay_pixel_size(result_folder, path.stem, picture.shape[1]))
    return figure


def _overlay_pixel_size(result_folder: Path, name: str, n_columns: int) -> float | None:
    """Micrometres per pixel of an overlay, which may be thinned, from the mask or label image that lies beside it."""
    found = (result_folder / kind / f"{name}.tif" for kind in ("masks", "labels"))
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        return None
    with open_tiff(path, palette=True) as (tif, series):
        size = pixel_size_um(tif, series)
        return size and size * series.keyframe.imagewidth / n_columns


def warnings_of(problems: Sequence[Problem], uneven: pd.DataFrame, copies: pd.DataFrame) -> list[str]:
    """Sentences for the report from what the check of the data found."""
    found = [f"{one.file}: {one.what}. {one.remedy}" for one in problems]
    found += [f"{row.file} differs from the other images in {row.feature}." for row in uneven.itertuples()]
    return found + [f"{row.file_a} and {row.file_b} look like copies of each other." for row in copies.itertuples()]


def archive(
    folder: Path,
    evaluation,
    title: str,
    summary: str,
    tables: Mapping,
    figures: Mapping,
    warnings: Sequence[str],
    more: Mapping[str, pd.DataFrame | Figure] | None = None,
) -> Path:
    """Write report.html into a model folder.

    Parameters
    ----------
    folder
        Model folder.
    evaluation
        With headline and test_set.
    title, summary
        What the model is; where the test images come from is added.
    tables, figures
        Caption -> table or figure, about the scores.
    warnings
        Sentences that a reader must know before believing the figures.
    more
        Caption -> table or figure of what else was found, shown first.
    """
    parameters = json.loads((folder / models.PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    split, history = read_split(folder / models.SPLIT), pd.read_csv(folder / models.HISTORY)
    counts = split.groupby("role").agg(images=("file", "size"), groups=("group", "nunique")).reset_index()
    test_set, path = evaluation.test_set, folder / "report.html"
    added = {caption: shown for caption, shown in (more or {}).items() if isinstance(shown, Figure)}
    listed = {caption: shown for caption, shown in (more or {}).items() if caption not in added}
    write_report(
        path,
        title=title,
        summary=f"{summary}\n\nThe scores are from {len(test_set.examples)} images: {test_set.origin}.",
        tables={**listed, "Images the model was made from": counts, **tables},
        figures={**added, "Loss during training": learning_curves(history), **figures},
        parameters=parameters,
        warnings=[*cautions(folder, test_set), *warnings],
        versions=models.read_model(folder)["versions"],
        headline=evaluation.headline,
    )
    return path
