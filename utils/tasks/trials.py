"""Short trials on the training images where rules leave doubt between settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from utils.errors import DataError
from utils.pages.bar import BAR, doing, progress_bar
from utils.tasks.automatic import AUTOMATIC, FOR_TRIALS, LOSS, Choice
from utils.training.fit import fit
from utils.training.model_folder import UNFINISHED

if TYPE_CHECKING:
    from utils.data.project import Project

FOLDER = "trials"  # within the checkpoints; a trial goes on after a crash like any training
MOST = 2  # times that share, at which trials of a single round are left out
WATCHED = 20  # percent of the training images that a trial is scored on
LEAD = 0.2  # share by which the loss must be smaller than with the first candidate: short trials are left to chance


def try_out(task: Any, project: "Project", forms: Mapping, choices: Sequence[Choice]) -> list[Choice]:
    """Settle the choices that have candidates: train with each of them for a short time and take the best.

    Parameters
    ----------
    task, project
        What is trained; only training images of the project are used, a part of them to score the trials.
    forms
        Values of the forms, with those of the choices.
    choices
        Those with candidates are tried in all combinations; the first candidates stay unless others are clearly better.

    Returns
    -------
    list of Choice
        The same choices without candidates; those that were in doubt hold what the trials gave.
    """
    doubtful = [one for one in choices if one.candidates]
    plans = list(product(*(one.candidates for one in doubtful)))
    if _too_short(forms["training"], len(plans)):
        return [_without(one) for one in choices]
    inner = _inner(task, project, forms) if len(plans) > 1 else None
    if inner is None:
        return [replace(one, candidates=()) for one in choices]
    losses = []
    epochs = max(1, round(FOR_TRIALS * forms["training"].get("number_of_epochs", 1) / len(plans)))
    with progress_bar(total=len(plans) * epochs, desc="Short trials: ", bar_format=BAR, smoothing=0) as bar:
        for number, plan in enumerate(plans):
            values = _with(forms, [replace(one, value=value) for one, value in zip(doubtful, plan, strict=True)])
            told = _Telling(bar, f"Short trial {number + 1} of {len(plans)}")
            losses.append(_loss(task, replace(inner, folder=inner.folder / str(number)), values, epochs, [told]))
            bar.update((number + 1) * epochs - bar.n)
    best = int(np.argmin([losses[0] * (1 - LEAD), *losses[1:]]))
    fields = [one.field for one in doubtful]
    told = [dict(zip(fields, plan, strict=True)) | {LOSS: loss} for plan, loss in zip(plans, losses, strict=True)]
    return [_decided(one, told, best) if one.candidates else one for one in choices]


class _Telling(keras.callbacks.Callback):
    """Moves a bar over all trials, and says which one it is."""

    def __init__(self, bar: Any, text: str):
        super().__init__()
        self.bar, self.text = bar, text

    def on_epoch_begin(self, epoch, logs=None):
        """Say it."""
        doing(f"{self.text}, round {epoch + 1} of {self.params['epochs']}")

    def on_epoch_end(self, epoch, logs=None):
        """Move the bar."""
        self.bar.update()


def _too_short(training: Mapping, plans: int) -> bool:
    """Whether trials of a round each would take longer than the time that a person gave allows."""
    if training.get("time_for_training", AUTOMATIC) == AUTOMATIC:
        return False
    return plans > MOST * FOR_TRIALS * training["number_of_epochs"]


def _without(choice: Choice) -> Choice:
    """A choice that is left as it is, for lack of time."""
    if not choice.candidates:
        return choice
    return replace(choice, candidates=(), reason=f"{choice.reason} The training is too short for trials.")


def _decided(choice: Choice, trials: Sequence[Mapping], best: int) -> Choice:
    """A choice with what the trials found."""
    reason = f"{choice.reason} Short trials decided (see the table in section 4)."
    return replace(choice, candidates=(), value=trials[best][choice.field], reason=reason, trials=trials)


def _inner(task: Any, project: "Project", forms: Mapping) -> "Project | None":
    """The training images as a project of their own, a fifth of them watching; None where there are too few.

    They are too few, too, where what is to be learned is not in at least two groups of them.
    """
    chosen = np.flatnonzero(project.roles == "training")
    if len({project.dataset.examples[i].group for i in chosen}) < 4:
        return None
    roles = np.full(len(project.roles), "unused", object)
    try:
        roles[chosen] = task.split(project, chosen, WATCHED, forms["training"]["seed"])
    except DataError:
        return None
    return replace(project, roles=roles, folder=project.folder / UNFINISHED / FOLDER, measured={})


def _with(forms: Mapping, choices: Sequence[Choice]) -> dict:
    values = {form: dict(fields) for form, fields in forms.items()}
    for one in choices:
        values[one.form][one.field] = one.value
    return values


def _loss(
    task: Any, project: "Project", forms: Mapping, epochs: int, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> float:
    """Smallest loss, on images that were kept apart, of a training of so many epochs."""
    training = forms["training"]
    keras.utils.set_random_seed(training["seed"])
    description = task.describe(project, training)
    starting = task.starting_network(forms["data"].get("starting_model", ""), description)
    ready = task.ingredients(project, forms, description, starting)
    ready.compile()
    state = fit(
        ready.model,
        ready.training_data,
        ready.validation_data,
        project.folder,
        number_of_epochs=epochs,
        initial_learning_rate=training["initial_learning_rate"],
        learning_rate_schedule="cosine",
        callbacks=callbacks,
    )
    return state.best_score
