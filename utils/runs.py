"""One training from the forms' values to a finished model folder: what all networks have in common."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf

from utils import models
from utils.checkpoints import TrainingState
from utils.projects import Project
from utils.training import TrainingStopped, fit

FIT_FIELDS = ("number_of_epochs", "initial_learning_rate", "learning_rate_schedule", "patience")


@dataclass(frozen=True)
class Ingredients:
    """What a training needs.

    Attributes
    ----------
    model
        Compiled.
    training_data, validation_data
        Batches.
    publish
        Writes the model folder; called with the best weights loaded.
    """

    model: keras.Model
    training_data: keras.utils.PyDataset
    validation_data: keras.utils.PyDataset
    publish: Callable[[TrainingState], None]


def run(
    project: Project,
    parameters: Mapping,
    prepare: Callable[[], Ingredients],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> str:
    """Train, or go on with it, or say that it is done; afterwards the model folder is complete.

    Parameters
    ----------
    project
        From `projects.open_project`.
    parameters
        {"overrides": {form: {field: value}}} with the forms data, augmentation and training.
    prepare
        Called only if there is something to train, after the seed was set.
    callbacks
        For display.

    Returns
    -------
    str
        One sentence on what was done.

    Raises
    ------
    ModelError
        Something else is in the folder.
    TrainingStopped
        The user stopped it; the best weights so far are in the model folder, and the checkpoint to go on from.
    """
    data, training = parameters["overrides"]["data"], parameters["overrides"]["training"]
    if models.open_folder(project.folder, parameters, project.split, data["if_model_exists"]) == "finished":
        return (
            f"The model {project.folder.name} is already trained with these data and parameters: it is used as it is."
        )
    keras.utils.set_random_seed(training["seed"])
    ready = prepare()
    try:
        state = fit(
            ready.model,
            ready.training_data,
            ready.validation_data,
            project.folder / models.UNFINISHED,
            callbacks=callbacks,
            **{name: training[name] for name in FIT_FIELDS},
        )
    except TrainingStopped as stopped:
        if stopped.state.epoch:
            ready.publish(stopped.state)
        raise
    ready.publish(state)
    models.finish(project.folder)
    return f"Trained for {state.epoch} epochs; the best weights, of epoch {state.best_epoch}, are in {project.folder}."


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
