"""The model that fine-tuning starts from: a model folder, a published StarDist model, or one trained on a sample."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras

from utils.paths import resolve, shown_path
from utils.tasks.example import example_values, train_example
from utils.tasks.objects.network import PUBLISHED, described, published
from utils.tasks.objects.predict import ObjectSegmenter
from utils.tasks.registry import CLASSIFIER, STARDIST, read_task
from utils.tasks.task import NetworkTask, Start
from utils.training import model_folder


def open_start(name: str) -> tuple[NetworkTask, Start]:
    """Read a starting model, whatever its task.

    Parameters
    ----------
    name
        A model folder or one of `utils.tasks.objects.network.PUBLISHED`.

    Raises
    ------
    ModelError
        There is no model, or it is damaged.
    """
    if name in PUBLISHED:
        return STARDIST, _published(name)
    folder = resolve(name)
    task, description = read_task(folder)
    return task, Start(shown_path(folder), folder, description, task.load(folder), _training_of(folder))


def _training_of(folder: Path) -> dict:
    """Values of the form training that a model was made with; none where they are not there any more."""
    try:
        return dict(json.loads((folder / model_folder.PARAMETERS).read_text(encoding="utf-8"))["overrides"]["training"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _published(name: str) -> Start:
    model = published(name)
    description = described(vars(model.config))
    return Start(name, None, description, ObjectSegmenter(model, description), {})


def example_model(model_path: str, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Path:
    """Folder of a classifier of the phases of mitosis, trained now unless that was done before.

    Parameters
    ----------
    model_path
        Folder that models are kept in.
    callbacks
        For display.
    """
    return train_example(CLASSIFIER, example_values(model_path), callbacks)
