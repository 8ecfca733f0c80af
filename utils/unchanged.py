"""How good the starting model is before anything is trained: on its old test images and on the new ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from utils.errors import DataError, ModelError
from utils.files import file_sha256
from utils.fine_tuning import Tuning
from utils.held_out import TestSet, find_test_set
from utils.judgements import Judgement


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


def before_training(tuning: Tuning) -> Before:
    """Score the starting model, unchanged, on its old and on the new test images."""
    old, why_not = old_test_set(tuning)
    known = tuning.source.description["classes"]
    return Before(old, why_not, judge_on_old(tuning, tuning.source.predictor, known, old), tuning.judge_unchanged())


def old_test_set(tuning: Tuning) -> tuple[TestSet | None, str]:
    """The test images of the starting model, without any that the new training uses; else None and why, in words."""
    source = tuning.source
    if source.folder is None:
        return None, f"The test images of the published model {source.name} are not here."
    try:
        found = find_test_set(source.folder)
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
    asked = tuning.source.description["classes"]
    if old is None or not tuning.task.can_answer(classes, asked):
        return None
    return tuning.task.judge(predictor, old.examples, asked)
