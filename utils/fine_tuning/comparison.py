"""The unchanged, the fine-tuned and the model from scratch side by side, on the new and on the old test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import DataError, ModelError
from utils.files import file_sha256
from utils.fine_tuning.tuning import Tuning, scratch_project
from utils.metrics.intervals import Judgement, paired_difference
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.task import Evaluation, TestSet
from utils.training.stages import SCRATCH

UNCHANGED, TUNED = "unchanged", "fine-tuned"
MUCH_LOWER = 0.05  # a loss of score that matters


@dataclass(frozen=True)
class Comparison:
    """Scores of the models side by side.

    Attributes
    ----------
    new, old
        Judgement of each model on the new and on the old test images; None where it cannot be asked.
    evaluations
        Evaluation of each trained model.
    predictors
        Each model that can be asked the new question.
    why_not_old
        Why there is no score on the old test images, in words; "" where there is.
    """

    new: Mapping[str, Judgement | None]
    old: Mapping[str, Judgement | None]
    evaluations: Mapping[str, Evaluation]
    predictors: Mapping[str, Any]
    why_not_old: str = ""

    @property
    def result(self) -> Evaluation:
        """Evaluation of the model that was made."""
        return next(iter(self.evaluations.values()))


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """Score of each model on the new and the old test images, and how much the fine-tuned one is better than it."""
    best = comparison.new.get(TUNED)
    rows = []
    for name, judged in comparison.new.items():
        row = {"model": name, "new test images": _value(judged), "95 % interval": _interval(judged)}
        if best is not None and judged is not None and name != TUNED:
            difference, low, high = paired_difference(best, judged)
            row["fine-tuned is better by"] = difference
            row["95 % interval of the difference"] = "-" if np.isnan(low) else f"{low:+.2f} to {high:+.2f}"
        rows.append(row | {"old test images": _value(comparison.old.get(name))})
    return pd.DataFrame(rows)


def _value(judged: Judgement | None) -> float:
    return np.nan if judged is None else judged.value


def _interval(judged: Judgement | None) -> str:
    if judged is None or np.isnan(judged.headline["low"]):
        return "-"
    return f"{judged.headline['low']:.2f} to {judged.headline['high']:.2f}"


def comparison_verdict(comparison: Comparison) -> str:
    """Whether fine-tuning was worth it, in words, from the paired differences."""
    best = comparison.new.get(TUNED)
    if best is None:
        return "This model was trained from scratch: there is nothing to compare it with."
    sentences = [
        _worth(best, comparison.new[name], what)
        for name, what in ((UNCHANGED, "the unchanged model"), (SCRATCH, "a model from scratch"))
        if comparison.new.get(name) is not None
    ]
    if comparison.new.get(UNCHANGED) is None:
        sentences.insert(0, "The unchanged model cannot answer the new question, so it has no score here.")
    return " ".join(sentences)


def _worth(best: Judgement, other: Judgement, what: str) -> str:
    difference, low, high = paired_difference(best, other)
    if np.isnan(low):
        return f"Compared with {what} the difference is {difference:+.2f}; there are too few test images to judge that."
    text = f"Compared with {what} the difference is {difference:+.2f} (95 % interval {low:+.2f} to {high:+.2f}):"
    if low > 0:
        return f"{text} fine-tuning is better."
    if high < 0:
        return f"{text} fine-tuning is worse; do not use it here."
    return f"{text} that may be chance."


def forgetting(comparison: Comparison) -> str:
    """How much of the old task the fine-tuned model has forgotten, in words."""
    before, after = comparison.old.get(UNCHANGED), comparison.old.get(TUNED)
    if before is None:
        return f"**Forgetting** cannot be measured. {comparison.why_not_old}"
    if after is None:
        return (
            "**Forgetting** cannot be measured: the fine-tuned model was given other classes. Keep the starting model."
        )
    lost = before.value - after.value
    text = (
        f"**Forgetting:** on the old test images the starting model scores {before.value:.2f}, the fine-tuned one "
        f"{after.value:.2f}."
    )
    if lost > MUCH_LOWER:
        return f"{text} It has forgotten part of what it knew: use the starting model for the old kind of images."
    return f"{text} It still knows the old kind of images."


@dataclass(frozen=True)
class Before:
    """What can be said before anything is trained.

    Attributes
    ----------
    old
        The test images of the starting model, without any that the new training uses; None where there are none.
    why_not
        Why there are none, in words.
    on_old, on_new
        Headline score of the starting model on the old and on the new test images; None where it cannot be asked.
    """

    old: TestSet | None
    why_not: str
    on_old: Judgement | None
    on_new: Judgement | None


def compare(tuning: Tuning, before: Before) -> Comparison:
    """Score the starting model, the fine-tuned one and the one from scratch on the new and on the old test images.

    evaluation.csv and scores.json are written into the folders of the trained models.
    """
    task, test_set = tuning.task, tuning.test_set
    folders = {tuning.strategy if tuning.strategy == SCRATCH else TUNED: tuning.project.folder}
    if tuning.strategy != SCRATCH:
        folders[SCRATCH] = scratch_project(tuning).folder
    evaluations = {name: evaluate(task, folder, test_set) for name, folder in folders.items()}
    new = {name: task.judgement(one.scores) for name, one in evaluations.items()}
    predictors = {name: task.load(folder) for name, folder in folders.items()}
    old = {name: judge_on_old(tuning, one, tuning.classes, before.old) for name, one in predictors.items()}
    if before.on_new is not None:
        predictors = {UNCHANGED: tuning.start.predictor, **predictors}
    return Comparison(
        {UNCHANGED: before.on_new, **new},
        {UNCHANGED: before.on_old, **old},
        evaluations,
        predictors,
        before.why_not,
    )


def before_training(tuning: Tuning) -> Before:
    """Score the starting model, unchanged, on its old and on the new test images."""
    old, why_not = old_test_set(tuning)
    known = tuning.start.description["classes"]
    return Before(old, why_not, judge_on_old(tuning, tuning.start.predictor, known, old), tuning.judge_unchanged())


def old_test_set(tuning: Tuning) -> tuple[TestSet | None, str]:
    """The test images of the starting model, without any that the new training uses; else None and why, in words."""
    start = tuning.start
    if start.folder is None:
        return None, f"The test images of the published model {start.name} are not here."
    try:
        found = find_test_set(tuning.task, start.folder)
    except (DataError, ModelError, OSError) as error:
        return None, f"The old test images are not there any more: {error}"
    split = tuning.project.split
    used = set(split.loc[split["role"] != "test", "sha256"])
    rest = [one for one in found.examples if file_sha256(one.image.path) not in used]
    if not rest:
        return None, "All old test images are among the new images."
    return replace(found, examples=rest), ""


def judge_on_old(tuning: Tuning, predictor, classes: Sequence[dict], old: TestSet | None) -> Judgement | None:
    """Headline score of a predictor of `classes` on the old test images; None where it cannot be asked."""
    asked = tuning.start.description["classes"]
    if old is None or not tuning.task.can_answer(classes, asked):
        return None
    return tuning.task.judge(predictor, old.examples, asked)
