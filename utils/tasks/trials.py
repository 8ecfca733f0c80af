"""Short trials on the training images where rules leave doubt between settings."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.tasks.automatic import Choice
from utils.training.model_folder import UNFINISHED

if TYPE_CHECKING:
    from utils.data.project import Project

SHARE = 0.2  # of the training's epochs that all trials together may take
FOLDER = "trials"  # within the checkpoints: a trial is a model folder of its own, which goes on after a crash
SCORED = 25  # percent of the training images that a trial is scored on
CLEAR = 0.005  # a later candidate must score better than the first by this


def try_out(task: Any, project: "Project", forms: dict, choices: Sequence[Choice]) -> list[Choice]:
    """Settle the choices that have candidates: train with each of them for a short time and take the best.

    Parameters
    ----------
    task, project
        What is trained; images of the project other than those for training and validation are not used.
    forms
        Values of the forms, with those of the choices.
    choices
        Those with candidates are tried in all combinations; the first candidate stays unless another is clearly better.

    Returns
    -------
    list of Choice
        The same choices without candidates; the reason says what the trials gave.
    """
    doubtful = [one for one in choices if one.candidates]
    plans = list(product(*(one.candidates for one in doubtful)))
    inner = _inner(task, project, forms) if len(plans) > 1 else None
    if inner is None:
        return [replace(one, candidates=()) for one in choices]
    scores = [_score(task, inner, forms, doubtful, plan, number, len(plans)) for number, plan in enumerate(plans)]
    best = int(np.nanargmax([score - CLEAR * (number > 0) for number, score in enumerate(scores)]))
    tried = {one.field: value for one, value in zip(doubtful, plans[best], strict=True)}
    told = "; ".join(f"{' + '.join(map(str, plan))} {score:.3f}" for plan, score in zip(plans, scores, strict=True))
    return [
        replace(one, candidates=(), value=tried[one.field], reason=f"{one.reason} Short trials decided: {told}.")
        if one.candidates
        else one
        for one in choices
    ]


def _inner(task: Any, project: "Project", forms: dict) -> "Project | None":
    """The project with some of its training images set aside for the trials; None where there are too few."""
    chosen = np.flatnonzero(project.roles == "training")
    if len({project.dataset.examples[i].group for i in chosen}) < 4:
        return None
    roles = np.where(project.roles == "test", "unused", project.roles)
    inner = task.split(project, chosen, SCORED, forms["training"]["seed"])
    roles[chosen] = np.where(inner == "validation", "test", "training")
    return replace(project, roles=roles, folder=project.folder / UNFINISHED / FOLDER, measured={})


def _score(task, project, forms, doubtful, plan, number: int, n_plans: int) -> float:
    """Headline score of a short training with one plan, on images that it has not seen."""
    wanted = [replace(one, value=value, candidates=()) for one, value in zip(doubtful, plan, strict=True)]
    values = {form: dict(fields) for form, fields in forms.items()}
    for one in wanted:
        values[one.form][one.field] = one.value
    epochs = max(1, round(SHARE * values["training"]["number_of_epochs"] / n_plans))
    values["training"]["number_of_epochs"] = epochs
    values["data"] = values["data"] | {"if_model_exists": "replace"}
    own = replace(project, folder=project.folder / str(number))
    task.train(own, {"overrides": values})
    return task.judge(task.load(own.folder), own.examples("test"), own.dataset.classes).value
