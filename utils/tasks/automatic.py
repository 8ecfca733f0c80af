"""What is chosen from the data where a form says "automatic"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from utils.forms.fields import AUTOMATIC
from utils.training.checkpoints import chosen_before

COLUMNS = ["form", "field", "value", "reason"]
FOR_TRIALS = 0.2  # of the training's epochs that all trials together may take
FEWEST_ROUNDS = 5  # of training: a curve of fewer says nothing
FEWEST_BATCHES = 10  # of a round where time is short; these, in those rounds, are trained for in any case
LOSS = "loss"  # of a trial
TRIALS = "Short trials on the training images"  # caption of a table


@dataclass(frozen=True)
class Choice:
    """A value for a field, and why, in a sentence.

    Attributes
    ----------
    candidates
        Values between which short trials on the training images decide; `value` then is the one to begin with.
    trials
        What they gave: for each of them a value of every field that was in doubt, and the loss.
    warning
        What is to be said aloud before the training, not only beside the field.
    """

    form: str
    field: str
    value: Any
    reason: str
    candidates: Sequence = ()
    trials: Sequence[Mapping] = ()
    warning: str = ""


@dataclass(frozen=True)
class Effort:
    """What all trainings take of which a model needs several, see `utils.tasks.cross_validation`.

    Attributes
    ----------
    pace
        Seconds of a step.
    beside
        Seconds that each training takes besides: the network is compiled, thresholds are chosen, a part is tested.
    parts, share
        Models that are trained to test a part each, and their rounds, by those of the model that is kept.
    """

    pace: float
    beside: float = 0.0
    parts: int = 0
    share: float = 1.0

    def of_parts(self, rounds: int, steps: int) -> float:
        """Seconds that the models for the parts take, where the model that is kept has so many rounds and batches."""
        return self.parts * (self.beside + max(1, round(self.share * rounds)) * steps * self.pace)

    def of_one(self, rounds: int, steps: int) -> float:
        """Seconds that the model takes that is kept."""
        return self.beside + rounds * steps * self.pace

    def batches(self, minutes: float) -> float:
        """Batches of the model that is kept for which there is time; the time that is given is that of everything."""
        left = 60 * minutes - (1 + self.parts) * self.beside
        fitting = left / ((1 + FOR_TRIALS) * self.pace * (1 + self.parts * self.share))
        return max(fitting, FEWEST_ROUNDS * FEWEST_BATCHES)


class Progressively(dict):
    """Values of the form training, in which each choice that is added takes the place of `AUTOMATIC`."""

    def __init__(self, training: Mapping):
        super().__init__(training)
        self.choices: list[Choice] = []

    def add(self, *choices: Choice) -> None:
        """Add choices; values that a person gave stay."""
        self.choices += choices
        self.update({one.field: one.value for one in choices if self.get(one.field) == AUTOMATIC})

    def add_patch(self, side: int, why: str) -> None:
        """Add a square patch."""
        self.add(*(Choice("training", field, side, why) for field in ("patch_height", "patch_width")))


def number(value: Any) -> Any:
    """A number that a person gave; 0 where a field says `AUTOMATIC`."""
    return 0 if value == AUTOMATIC else value


def leave_open(forms: Mapping[str, Mapping]) -> bool:
    """Whether any field of `forms` says `AUTOMATIC`, but for `axes` and what else is understood when data are read."""
    return any(value == AUTOMATIC for form in ("augmentation", "training") for value in forms.get(form, {}).values())


def asked_for(forms: Mapping[str, Mapping], choices: Sequence[Choice]) -> list[Choice]:
    """Those of the `choices` whose field says `AUTOMATIC` in `forms`, {form: {field: value}}."""
    return [one for one in choices if forms.get(one.form, {}).get(one.field) == AUTOMATIC]


def settled(forms: Mapping[str, Mapping], choices: Sequence[Choice]) -> dict[str, dict]:
    """Values of `forms` with the chosen ones in place of `AUTOMATIC`."""
    chosen = {(one.form, one.field): one.value for one in asked_for(forms, choices)}
    return {
        form: {field: chosen.get((form, field), value) for field, value in values.items()}
        for form, values in forms.items()
    }


def rows(choices: Sequence[Choice]) -> list[dict]:
    """A dictionary for each choice for JSON: form, field, value, reason, and trials where there were any."""
    return [
        {name: getattr(one, name) for name in COLUMNS} | ({"trials": list(one.trials)} if one.trials else {})
        for one in choices
    ]


def kept_choices(folder: Path) -> list[Choice]:
    """What was chosen before the training in `folder` was interrupted; empty where nothing was yet."""
    return [Choice(**row) for row in chosen_before(folder)]


def complete(kept: Sequence[Choice], choices: Sequence[Choice]) -> list[Choice]:
    """The choices of an interrupted training, and 0 for fields that the version which began it did not have."""
    known = {(one.form, one.field) for one in kept}
    added = [one for one in choices if (one.form, one.field) not in known]
    return [*kept, *(replace(one, value=0, candidates=(), reason="The training began without it.") for one in added)]


def trial_table(folder: Path) -> pd.DataFrame:
    """What short trials gave before the training in `folder`, for the page: a row for each; empty without any."""
    kept = [one for one in kept_choices(folder) if one.trials]
    if not kept:
        return pd.DataFrame()
    table, chosen = pd.DataFrame(kept[0].trials), {one.field: one.value for one in kept}
    taken = [all(row[field] == value for field, value in chosen.items()) for row in kept[0].trials]
    shown = table.replace("", "none").rename(columns={LOSS: "loss on images kept apart"})
    return shown.assign(taken=["yes" if one else "" for one in taken])
