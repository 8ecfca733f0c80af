"""What every report says of a model: overview, cautions, verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from utils.data.copies import duplicates
from utils.data.problems import Problem
from utils.data.project import Project
from utils.data.splits import read_split
from utils.metrics.intervals import interval_note
from utils.pages.page import in_groups
from utils.pages.report import write_report
from utils.pages.score_figures import learning_curves
from utils.tasks.held_out import TestSet
from utils.training import model_folder

LARGE_PATCH = 512  # pixels
FEW_IMAGES = 10


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
    parameters = json.loads((folder / model_folder.PARAMETERS).read_text(encoding="utf-8"))["overrides"]
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
    parameters = json.loads((folder / model_folder.PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    split, history = read_split(folder / model_folder.SPLIT), pd.read_csv(folder / model_folder.HISTORY)
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
        versions=model_folder.read_model(folder)["versions"],
        headline=evaluation.headline,
    )
    return path
