"""What every report says of a model: overview, cautions, verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from utils.data.copies import duplicates
from utils.data.problems import Problem
from utils.data.project import Project
from utils.data.splits import read_split
from utils.metrics.intervals import interval_note
from utils.pages.page import in_groups, show_tables
from utils.pages.report import write_report
from utils.pages.score_figures import learning_curves
from utils.tasks.task import Checks, Evaluation, Task, TestSet
from utils.training.model_folder import HISTORY, PARAMETERS, SPLIT, read_model

LOOKALIKES = "Test images that look like a copy of a training image"  # caption of a table
LARGE_PATCH = 512  # pixels
FEW_IMAGES = 10
MOST_ROWS = 20  # of a table of scores, on the page


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
    parameters = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    if parameters.get("training", {}).get("preset") == "Try out":
        found.append(
            'Made with the preset "Try out", to see how everything works: this is no result. Train with another preset.'
        )
    return found


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


def warnings_of(problems: Sequence[Problem], uneven: pd.DataFrame, copies: pd.DataFrame | None = None) -> list[str]:
    """Sentences for the report from what the check of the data found."""
    found = [f"{one.file}: {one.what}. {one.remedy}" for one in problems]
    found += [f"{row.file} differs from the other images in {row.feature}." for row in uneven.itertuples()]
    return found + ([] if copies is None else _alike(copies))


def _alike(pairs: pd.DataFrame) -> list[str]:
    return [f"{row.file_a} and {row.file_b} look like copies of each other." for row in pairs.itertuples()]


def with_lookalikes(checks: Checks, pairs: pd.DataFrame) -> Checks:
    """Checks with the pairs of `Task.lookalikes` added."""
    return Checks({**checks.tables, LOOKALIKES: pairs}, checks.warnings + _alike(pairs))


def show_scores(task: Task, evaluation: Evaluation, folder: Path) -> None:
    """Show verdict, tables and remarks of an evaluation on the page."""
    display(Markdown(verdict(evaluation, folder)))
    show_tables(task.score_tables(evaluation), most=MOST_ROWS)
    for sentence in (*task.cautions(evaluation), *task.remarks(evaluation)):
        display(Markdown(sentence))


def write(
    task: Task,
    folder: Path,
    evaluation: Evaluation,
    warnings: Sequence[str],
    more: Mapping[str, pd.DataFrame | Figure] | None = None,
) -> Path:
    """Write report.html into a model folder.

    Parameters
    ----------
    task
        Of the model.
    folder
        Model folder.
    evaluation
        From `utils.tasks.held_out.evaluate`.
    warnings
        Sentences that a reader must know before believing the figures.
    more
        Caption -> table or figure of what else was found, shown first.
    """
    parameters = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"]
    description, history = read_model(folder), pd.read_csv(folder / HISTORY)
    counts = read_split(folder / SPLIT).groupby("role").agg(images=("file", "size"), groups=("group", "nunique"))
    test_set, path = evaluation.test_set, folder / "report.html"
    added = {caption: shown for caption, shown in (more or {}).items() if isinstance(shown, Figure)}
    listed = {caption: shown for caption, shown in (more or {}).items() if caption not in added}
    scores = {caption: table for caption, table in task.score_tables(evaluation).items() if len(table)}
    about = " ".join([task.summary(description, len(history)), *task.remarks(evaluation)]).replace("**", "")
    write_report(
        path,
        title=f"{task.title} {folder.name}",
        summary=f"{about}\n\nThe scores are from {len(test_set.examples)} images: {test_set.origin}.",
        tables={**listed, "Images the model was made from": counts.reset_index(), **scores},
        figures={
            **added,
            "Loss during training": learning_curves(history),
            "Test images and their annotation": task.show_examples(test_set.examples, description["classes"]),
            **task.evaluation_figures(evaluation),
        },
        parameters=parameters,
        warnings=[*cautions(folder, test_set), *task.cautions(evaluation), *warnings],
        versions=description["versions"],
        headline=evaluation.headline,
    )
    return path
