"""Settings between which the data leave doubt are tried, briefly, on a part of the training images."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
import pandas as pd

from utils.data.project import Project
from utils.tasks.automatic import Choice
from utils.tasks.task import NetworkTask
from utils.training.model_folder import UNFINISHED
from utils.training.trials import run_trials, share_of_each, short_training

TRIED = ("augmentation", "training")  # forms that a trial depends on
LEAD = 0.1  # of the loss, by which an alternative must be better than what the rules say
PERCENTAGE_VALIDATION = 20  # of the training images, in trials


def settle_doubt(
    task: NetworkTask,
    project: Project,
    forms: Mapping,
    choices: Sequence[Choice],
    progress: Callable[[Iterable], Iterator] = iter,
) -> tuple[dict, list[Choice], pd.DataFrame | None]:
    """Try the alternatives of choices in doubt, each alone, all together in a fifth of the time of the training.

    Parameters
    ----------
    task, project
        Validation and test images of the project are not looked at.
    forms
        Values in which nothing is automatic any more.
    choices
        What was chosen; only those with candidates are tried.
    progress
        Wraps the list of trials, for a progress bar.

    Returns
    -------
    forms, choices, table
        With the candidate that is clearly better than the chosen one, if any; table is that of `run_trials`, None where
        nothing was in doubt.
    """
    doubtful = [one for one in choices if one.candidates]
    if not doubtful:
        return dict(forms), list(choices), None
    chosen = {_name(one): one.value for one in doubtful}
    others = [{_name(one): value} for one in doubtful for value in one.candidates if value != one.value]
    candidates = [chosen, *(chosen | other for other in others)]
    share = share_of_each(len(candidates))

    def attempt(candidate: Mapping, seed: int) -> float:
        return _attempt(task, project, changed(forms, candidate), seed, share)

    folder = project.folder / UNFINISHED
    tried = run_trials(folder, candidates, attempt, forms["training"]["seed"], progress, LEAD)
    return changed(forms, tried.best), [_decided(one, tried.best) for one in choices], tried.table


def changed(forms: Mapping, candidate: Mapping) -> dict:
    """Forms with the changed fields {"form.field": value} of a candidate."""
    values = {form: dict(fields) for form, fields in forms.items()}
    for name, value in candidate.items():
        form, _, field = name.partition(".")
        values[form][field] = value
    return values


def inner(task: NetworkTask, project: Project, seed: int) -> Project:
    """The training images as a project of their own, a fifth of them (whole groups) for validation, no others."""
    own = np.flatnonzero(np.asarray(project.roles) == "training")
    roles = np.full(len(project.roles), "left out", dtype=object)
    roles[own] = task.split(project, own, PERCENTAGE_VALIDATION, seed)
    return replace(project, roles=roles)


def _attempt(task: NetworkTask, project: Project, forms: Mapping, seed: int, share: float) -> float:
    part = inner(task, project, seed)
    keras.utils.set_random_seed(seed)
    ready = task.ingredients(part, forms, task.describe(part, forms["training"]))
    told = hashlib.sha256(repr(sorted((form, sorted(forms[form].items())) for form in TRIED)).encode()).hexdigest()
    folder = project.folder / UNFINISHED / f"trial_{told[:12]}"
    score = short_training(ready, folder, forms["training"], share)
    shutil.rmtree(folder, ignore_errors=True)
    return score


def _name(choice: Choice) -> str:
    return f"{choice.form}.{choice.field}"


def _decided(choice: Choice, best: Mapping) -> Choice:
    """A choice with what the trials found."""
    if _name(choice) not in best:
        return choice
    value = best[_name(choice)]
    return replace(choice, value=value, reason=f"{choice.reason} After short trials: {value}.", candidates=())
