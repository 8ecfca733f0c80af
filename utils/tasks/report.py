"""What every report says of a model: overview, cautions, verdict, methods; and what to cite."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from utils.data.splits import read_split
from utils.errors import how_many
from utils.files import write_text
from utils.groups import named_groups
from utils.metrics.intervals import in_words, interval_note
from utils.pages.report import write_report
from utils.pages.score_figures import learning_curves
from utils.tasks.automatic import TRIALS, trial_table
from utils.tasks.bibliography import bibtex, gathered, in_one_line
from utils.tasks.cross_validation import fold_tables
from utils.tasks.methods import origins, paragraphs, read_run, references
from utils.tasks.task import Evaluation, Task, TestSet
from utils.training import origin
from utils.training.model_folder import CITE, HISTORY, NO_RESULT, PARAMETERS, REPORT, SPLIT, no_result, read_model


def cautions(folder: Path, test_set: TestSet) -> list[str]:
    """Sentences on why the score of a model must not be taken for a result; usually none."""
    doubts = "" if test_set.independent else test_set.doubt or f"Tested on {test_set.origin}."
    return [one for one in (doubts, no_result(folder)) if one]


def verdict(evaluation: Evaluation, folder: Path) -> str:
    """Markdown with the headline score, its interval, where the test images come from, and what to be wary of."""
    best, test_set = evaluation.headline, evaluation.test_set
    interval = f" (95 % interval {best['low']:.2f} to {best['high']:.2f})" if best["low"] == best["low"] else ""
    warnings = "".join(f"\n\n**Warning:** {caution}" for caution in cautions(folder, test_set))
    return (
        f"## {best['name']}: {in_words(best['value'])}{interval}\n\n{best['meaning']}\n\n"
        f"Scored on {how_many(len(test_set.examples), 'image')}: {test_set.origin}. {evaluation.whose} "
        f"{interval_note([one.group for one in test_set.examples])}{warnings}"
    )


def score_tables(task: Task, evaluation: Evaluation) -> dict[str, pd.DataFrame]:
    """Caption -> table of the scores, those of each part included where images are tested in turn."""
    return task.score_tables(evaluation) | fold_tables(evaluation)


def write(
    task: Task,
    folder: Path,
    evaluation: Evaluation,
    warnings: Sequence[str],
    more: Mapping[str, pd.DataFrame | Figure] | None = None,
) -> Path:
    """Write report.html and cite.bib into a model folder.

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
    split = read_split(folder / SPLIT)
    groups = {"groups": ("group", "nunique")} if named_groups(split["file"], split["group"]) else {}
    counts = split.groupby("role").agg(images=("file", "size"), **groups)
    test_set, path = evaluation.test_set, folder / REPORT
    added = {caption: shown for caption, shown in (more or {}).items() if isinstance(shown, Figure)}
    listed = {caption: shown for caption, shown in (more or {}).items() if caption not in added}
    scores = {caption: table for caption, table in score_tables(task, evaluation).items() if len(table)}
    trials = {TRIALS: table} if len(table := trial_table(folder)) else {}
    about = " ".join([task.summary(description, len(history)), *task.remarks(evaluation)]).replace("**", "")
    methods, cite = _methods(task, folder, description)
    write_report(
        path,
        title=f"{task.title} {folder.name}",
        summary=f"{about}\n\nThe scores are from {how_many(len(test_set.examples), 'image')}: {test_set.origin}. "
        f"{evaluation.whose}",
        tables={**listed, "Images the model was made from": counts.reset_index(), **trials, **scores},
        figures={
            **added,
            "Loss during training": learning_curves(history),
            "Test images and their annotation": task.show_examples(test_set.examples, description["classes"]),
            **task.evaluation_figures(evaluation),
        },
        parameters=parameters,
        warnings=[*cautions(folder, test_set), *task.cautions(evaluation), *warnings],
        versions=description["versions"],
        headline={**evaluation.headline, "remark": NO_RESULT if no_result(folder) else ""},
        methods=methods,
        cite=cite,
    )
    return path


def _methods(task: Task, folder: Path, description: Mapping) -> tuple[list[str], list[str]]:
    """Paragraphs of the methods, and the references, which are also written as BibTeX."""
    run = read_run(folder, description)
    words = task.methods(run)
    entries = gathered(references(run, words), origins(run))
    write_text(folder / CITE, bibtex(entries))
    told = [*paragraphs(run, words), origin.clash(description.get(origin.ABOUT, {}))]
    return [text for text in told if text], [in_one_line(entries[key]) for key in sorted(entries)]
