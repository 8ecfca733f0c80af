"""The unchanged, the fine-tuned and the model from scratch side by side, on the new and on the old test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from utils.errors import DataError, ModelError
from utils.files import file_sha256
from utils.metrics.intervals import Judgement
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.task import Evaluation, TestSet
from utils.training.stages import SCRATCH

if TYPE_CHECKING:
    from utils.fine_tuning.tuning import Tuning

UNCHANGED, TUNED = "unchanged", "fine-tuned"


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


def compare(tuning: "Tuning", before: Before) -> Comparison:
    """Score the starting model, the fine-tuned one and the one from scratch on the new and on the old test images.

    evaluation.csv and scores.json are written into the folders of the trained models.
    """
    task, test_set = tuning.task, tuning.test_set
    folders = {tuning.strategy if tuning.strategy == SCRATCH else TUNED: tuning.project.folder}
    if tuning.strategy != SCRATCH:
        folders[SCRATCH] = tuning.scratch.folder
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


def before_training(tuning: "Tuning") -> Before:
    """Score the starting model, unchanged, on its old and on the new test images."""
    old, why_not = old_test_set(tuning)
    known = tuning.start.description["classes"]
    return Before(old, why_not, judge_on_old(tuning, tuning.start.predictor, known, old), tuning.judge_unchanged())


def old_test_set(tuning: "Tuning") -> tuple[TestSet | None, str]:
    """The test images of the starting model, without any that the new training uses; else None and why, in words."""
    start = tuning.start
    if start.folder is None:
        return None, f"The test images of the published model {start.name} are not here."
    try:
        found = find_test_set(tuning.task, start.folder)
    except (DataError, ModelError, OSError) as error:
        return None, f"The old test images are not there any more: {error}"
    if found.folds is not None:
        return None, f"The starting model {start.name} was tested in turn: it has learned from all images of its test."
    split = tuning.project.split
    used = set(split.loc[split["role"] != "test", "sha256"])
    rest = [one for one in found.examples if file_sha256(one.image.path) not in used]
    if not rest:
        return None, "All old test images are among the new images."
    return replace(found, examples=rest), ""


def judge_on_old(tuning: "Tuning", predictor, classes: Sequence[dict], old: TestSet | None) -> Judgement | None:
    """Headline score of a predictor of `classes` on the old test images; None where it cannot be asked."""
    asked = tuning.start.description["classes"]
    if old is None or not tuning.task.can_answer(classes, asked):
        return None
    return tuning.task.judge(predictor, old.examples, asked)
