"""What the sections of a notebook show, whatever the task."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import Markdown, display

from utils.data.mask_checks import MasksInDoubt
from utils.errors import with_labels
from utils.forms.state import typed
from utils.pages.bar import progress_bar
from utils.pages.figures import show
from utils.pages.notes import note
from utils.pages.page import show_tables, tidy
from utils.pages.pdf import print_page
from utils.tasks import report
from utils.tasks.automatic import TRIALS, asked_for, trial_table
from utils.tasks.cross_validation import in_turn, turn_note
from utils.tasks.task import Checks, Evaluation, NetworkTask, Task, TestSet, alike
from utils.training.model_folder import REPORT_PDF

if TYPE_CHECKING:
    from utils.data.project import Project
    from utils.forms.form import Form
    from utils.tasks.choices import Chosen

LOOKALIKES = "Test images that look like a copy of a training image"  # caption of a table
MOST_ROWS = 20  # of a table of scores or results
DOUBTFUL = 10  # images whose annotation is doubted


def settle(task: NetworkTask, project: "Project", *forms: "Form") -> None:
    """Choose from the data what fields of `forms` leave to them, and show value and reason beside each such field.

    What is to be said of a choice before the training is said here, too.
    """

    def choose() -> None:
        if any(form.wrong for form in forms):
            return
        choices = task.choices(project, {form.form_name: form.asked() for form in forms})
        for form in forms:
            form.settle({one.field: (one.value, one.reason) for one in choices if one.form == form.form_name})
        said[:] = [one.warning for one in asked_for({form.form_name: form.asked() for form in forms}, choices)]

    said: list[str] = []
    choose()
    for warning in filter(None, said):
        display(Markdown(f"**Warning:** {with_labels(warning)}"))
    for form in forms:
        form.on_change(choose)


def open_project(
    task: Task, data: dict, seed: int = 0, preset: str = "", evaluation: Mapping[str, Any] = MappingProxyType({})
) -> "Project":
    """Section 3.2: `Task.open`; where masks can be read in several ways they are shown before that is said.

    Few images are divided to be tested in turn (`utils.tasks.cross_validation`), by the values of the form `data`, the
    preset, and whether test images are named: in the values given to the form `evaluation`, or typed there before.
    """
    try:
        project = task.open(data, seed)
    except MasksInDoubt as doubt:
        show(task.show_doubt(doubt, data.get("ignore_value", "")))
        raise
    if not isinstance(task, NetworkTask):
        return project
    named = {**evaluation, **typed("evaluation")}.get("test_source", "")
    return in_turn(task, project, data, seed, preset, named)


def show_project(task: Task, project: "Project", training: dict, test_set: TestSet | None = None) -> None:
    """Section 3.2: what was found, as text, table and figure; `training` are values of that form."""
    display(Markdown(task.overview(project, training)))
    if told := turn_note(project, training.get("preset", "")):
        display(Markdown(with_labels(told)))
    if isinstance(task, NetworkTask) and len(table := task.fingerprint_table(project)):
        show_tables({"What the images are like": table})
    display(tidy(task.counts(project, test_set)))
    show(task.show_data(project))
    if figure := task.show_understood(project):
        display(Markdown("**The masks, as they are stored and as they were understood:**"))
        show(figure)


def show_trials(project: "Project") -> None:
    """End of section 4: the short trials that settled what the data left in doubt, if there were any."""
    show_tables({TRIALS: trial_table(project.folder)})


def with_lookalikes(checks: Checks, task: Task, project: "Project", test_set: TestSet) -> Checks:
    """Checks with the pairs of `Task.lookalikes` added."""
    if test_set.folds is not None:  # compared with each other in `Task.checks`
        return Checks({**checks.tables, LOOKALIKES: pd.DataFrame()}, checks.warnings)
    pairs = task.lookalikes(project, test_set)
    return Checks({**checks.tables, LOOKALIKES: pairs}, checks.warnings + alike(pairs))


def show_scores(task: Task, evaluation: Evaluation, folder: Path) -> None:
    """Section 5: verdict, tables and remarks of an evaluation of the model in `folder`."""
    display(Markdown(report.verdict(evaluation, folder)))
    for caption, table in report.score_tables(task, evaluation).items():
        show_tables({caption: table}, most=MOST_ROWS if "file" in table else None)
    for sentence in (*task.cautions(evaluation), *task.remarks(evaluation)):
        display(Markdown(with_labels(sentence)))


def conclude(task: Task, evaluation: Evaluation, folder: Path, project: "Project", checks: Checks) -> None:
    """End of section 5: doubtful annotation and copies, if it is the model of `project`, and the report."""
    warnings = []
    if folder == project.folder:
        doubtful = task.disagreement(folder, project.dataset.examples, project.roles)
        if doubtful is not None:
            display(tidy(doubtful.head(DOUBTFUL)))
        checks = with_lookalikes(checks, task, project, evaluation.test_set)
        if evaluation.test_set.folds is None:
            display(Markdown(f"**{LOOKALIKES}: {len(checks.tables[LOOKALIKES]) or 'none'}**"))
        warnings = checks.warnings
    elif task.needs_masks:
        note("This list is made for the model of section 4 only; here you evaluated another one.")
    show_report(report.write(task, folder, evaluation, warnings))


def show_report(written: Path) -> None:
    """Say where the report lies, which is also printed to a PDF where a browser can do that."""
    note(f"A page to keep or send: {written}", written)
    note(print_page(written, written.with_name(REPORT_PDF)))


def show_prediction(task: Task, chosen: "Chosen", figure: bool = True, **options: Any) -> None:
    """Section 6: predict what was chosen and show the first rows and pictures; `options` as in `Task.predict`."""
    note(chosen.about)
    predicted = task.predict(*chosen[:3], progress=progress_bar, **options)
    for warning in predicted.warnings:
        note(warning)
    _remark(predicted.remark)
    show_tables(predicted.summary)
    if len(predicted.table):
        display(tidy(task.result_rows(predicted.table.head(MOST_ROWS))))
    if figure:
        show(task.result_figure(chosen.results, predicted.table))
    note(whereabouts(chosen.results, len(predicted.table), figure), chosen.results)
    _remark(predicted.remark)


def whereabouts(folder: Path, rows: int, figure: bool) -> str:
    """Sentence on where all results lie, and what the page shows of `rows` rows and, with a `figure`, of pictures."""
    first = " and ".join(["rows"] * (rows > MOST_ROWS) + ["pictures"] * figure)
    return f"Everything is in {folder}{f'; above are the first {first}' * bool(first)}."


def _remark(remark: str) -> None:
    """Say above and below what a model to try out predicted that it is no result."""
    if remark:
        display(Markdown(f"**{remark}**"))
