"""One training from the forms' values to a finished model folder: what all networks have in common."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from utils import runtime
from utils.errors import how_many
from utils.pages.bar import doing, stretch
from utils.training import model_folder
from utils.training.checkpoints import TrainingState, load_weights, mend
from utils.training.fit import TrainingStopped, fit, joined
from utils.training.stages import Stage

if TYPE_CHECKING:
    from utils.data.project import Project

WENT_ON = " It went on where it had been stopped."
LEARNED = 0.97  # of the whole, once all epochs are done: thresholds are chosen then
DAMAGED = " What was saved of it before had lost files, so that it was trained anew."


@dataclass(frozen=True)
class Ingredients:
    """What a training needs.

    Attributes
    ----------
    model, compile
        A model that is not compiled, and what compiles it, anew for each stage.
    training_data, validation_data
        Batches.
    publish
        Writes the model folder; called with the best weights loaded.
    """

    model: keras.Model
    compile: Callable[[], None]
    training_data: keras.utils.PyDataset
    validation_data: keras.utils.PyDataset
    publish: Callable[[TrainingState], None]


def run(
    project: "Project",
    parameters: Mapping,
    prepare: Callable[[], Ingredients],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stages: Callable[[], Sequence[Stage] | None] | None = None,
    settle: Callable[[], tuple[Mapping, Sequence[Mapping]]] | None = None,
    first: Callable[[], None] | None = None,
) -> str:
    """Train, or go on with it, or say that it is done, in one sentence; afterwards the model folder is complete.

    Parameters
    ----------
    project
        From `utils.data.project`.
    parameters
        {"overrides": {form: {field: value}}} with the forms data, augmentation and training.
    prepare, stages, settle, first
        Called only if there is something to train: `settle` returns the forms with a value for every field that says
        "automatic", and rows on what was chosen (form, field, value, reason); then `first`, what comes before this
        training; `prepare` last, after the seed was set. Without `stages`, or where it returns None, all layers learn
        for the epochs and with the learning rate of the form.
    callbacks
        For display.

    Raises
    ------
    ModelError
        Something else is in the folder, or another page is at work in it.
    TrainingStopped
        The user stopped it; the best weights so far are in the model folder, and the checkpoint to go on from.
    """
    with model_folder.alone(project.folder):
        return _run(project, parameters, prepare, callbacks, stages, settle, first)


def _run(project, parameters, prepare, callbacks, stages, settle, first) -> str:
    """See `run`; nobody else writes the folder."""
    existing = parameters["overrides"]["data"]["if_model_exists"]
    found = model_folder.open_folder(project.folder, parameters, project.split, existing)
    if found == "finished":
        return (
            f"The model {project.folder.name} is already trained with these data and parameters: it is used as it is."
        )
    damaged = found == "unfinished" and mend(project.folder / model_folder.UNFINISHED)
    forms = parameters["overrides"]
    if settle:
        forms, chosen = settle()
        model_folder.keep_choices(project.folder, {"overrides": forms}, chosen)
    if first:
        first()
    training = forms["training"]
    whole = [Stage("", training["number_of_epochs"], training["initial_learning_rate"])]
    own = stages() if stages else None
    planned = own or whole
    doing("Preparing: network and images")
    keras.utils.set_random_seed(training["seed"])
    ready = prepare()
    # Where the rate falls to zero, a few validation images choose worse than the end of the training.
    keep_last = own is None and training["learning_rate_schedule"] == "cosine"
    try:
        with stretch(0, LEARNED):
            state = _fit(ready, planned, project.folder / model_folder.UNFINISHED, training, callbacks, keep_last)
    except TrainingStopped as stopped:
        if stopped.state.epoch:
            _publish(project.folder, ready, planned, stopped.state, stopped.state.best_epoch)
        raise
    kept = state.epoch if keep_last and state.epoch >= training["number_of_epochs"] else state.best_epoch
    doing("Choosing thresholds and writing the model")
    with stretch(LEARNED, 1):
        _publish(project.folder, ready, planned, state, kept)
    model_folder.finish(project.folder)
    epochs = how_many(state.epoch, "epoch")
    done = f"Trained for {epochs}; the best weights, of epoch {state.best_epoch}, are in {project.folder}."
    if keep_last and state.epoch >= training["number_of_epochs"]:
        done = f"Trained for {epochs}; the weights of the last are in {project.folder}."
    return done + ((DAMAGED if damaged else WENT_ON) if found == "unfinished" else "")


def _publish(folder: Path, ready: Ingredients, stages: Sequence[Stage], state: TrainingState, kept: int) -> None:
    """Write the model folder, and in model.json how the training went; `kept` is the epoch whose weights these are."""
    ready.publish(state)
    run = {
        "parameters": ready.model.count_params(),
        "epochs": state.epoch,
        "kept_epoch": kept,
        "stages": [{"epochs": one.epochs, "rate": one.rate, "last_layer": one.head is not None} for one in stages],
        "steps": len(ready.training_data),
        "batch_size": getattr(ready.training_data, "batch_size", None),
        "seconds": round(state.seconds, 1),
        "processor": runtime.processor(),
        "graphics_card": _graphics_card(),
    }
    model_folder.note_run(folder, run)


def _graphics_card() -> str:
    """Name of the graphics card that TensorFlow computes on; "" where it is the processor."""
    cards = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(cards[0]).get("device_name", "graphics card")) if cards else ""


def _fit(
    ready: Ingredients, stages: Sequence[Stage], folder: Path, training: Mapping, callbacks, keep_last
) -> TrainingState:
    """Fit stage by stage, each from the best weights of the one before; the best weights of all are loaded at the end.

    A stage that was finished in an earlier session is only loaded.
    """
    states: list[TrainingState] = []
    ends = np.cumsum([0, *(stage.epochs for stage in stages)]) / sum(stage.epochs for stage in stages)
    for stage, begin, end in zip(stages, ends[:-1], ends[1:], strict=True):
        stage.prepare(ready.model)
        ready.compile()
        try:
            with stretch(begin, end):
                state = fit(
                    ready.model,
                    ready.training_data,
                    ready.validation_data,
                    folder / stage.name,
                    number_of_epochs=stage.epochs,
                    initial_learning_rate=stage.rate,
                    learning_rate_schedule=training["learning_rate_schedule"],
                    patience=training["patience"],
                    callbacks=callbacks,
                    keep_last=keep_last,
                )
        except TrainingStopped as stopped:
            states += [stopped.state] if stopped.state.epoch else []
            if states:
                _load_best(ready.model, states, stages, folder)
            raise TrainingStopped(sum(one.epochs for one in stages), joined(states)) from None
        states.append(state)
    if len(stages) > 1:
        _load_best(ready.model, states, stages, folder)
    return joined(states)


def _load_best(model: keras.Model, states: Sequence[TrainingState], stages: Sequence[Stage], folder: Path) -> None:
    """Load the weights with the smallest validation loss of all stages: a later stage may do harm."""
    best = min(range(len(states)), key=lambda i: states[i].best_score)
    load_weights(model, folder / stages[best].name / states[best].files["best"])


@contextmanager
def training_precision():
    """Build networks for mixed float16 and float32 while a GPU is there: faster on it, slower on a CPU."""
    before = keras.config.dtype_policy()
    if tf.config.list_physical_devices("GPU"):
        keras.config.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
