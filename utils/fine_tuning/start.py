"""The model that fine-tuning starts from: a model folder, a published StarDist model, or one trained on a sample."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras

from utils.forms.fields import AUTOMATIC, STOP
from utils.groups import ASK
from utils.paths import resolve, shown_path
from utils.samples import CLASSIFICATION
from utils.tasks.objects.network import PUBLISHED, described, published
from utils.tasks.objects.predict import ObjectSegmenter
from utils.tasks.registry import CLASSIFIER, STARDIST, read_task
from utils.tasks.task import NetworkTask, Start
from utils.training import model_folder

EXAMPLE, EXAMPLE_SAMPLE = "mitosis_try_out", "mitosis"  # name of the model that is trained where none is given


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
    values = example_values(model_path)
    project = CLASSIFIER.open(values["data"], values["training"]["seed"])
    CLASSIFIER.train(project, {"overrides": values}, callbacks)
    return project.folder


def example_values(model_path: str = "models") -> dict[str, dict]:
    """Values of the classification notebook: the preset "Try out" with the sample mitosis."""
    data = {
        "training_source": CLASSIFICATION[EXAMPLE_SAMPLE]["training_source"],
        "class_groups": "",
        "label_review": "",
        "model_name": EXAMPLE,
        "starting_model": "",
        "percentage_test": 20,
        "percentage_validation": AUTOMATIC,
        "test_in_turn": AUTOMATIC,
        "group_rule": ASK,
        "axes": "automatic",
        "pixel_size": 0.0,
        "data_origin": "",
        "data_licence": "",
        "model_path": model_path,
        "if_model_exists": STOP,
    }
    chosen = ("flip", "rotate_90", "rotation", "shift", "zoom", "intensity")
    augmentation = dict.fromkeys(chosen, AUTOMATIC) | {"blur": 0.0, "noise": 0}
    left = ("class_weights", "decides", "half_resolution", "levels", "time_for_training", "number_of_epochs")
    left += ("number_of_steps", "batch_size", "initial_learning_rate", "patch_height", "patch_width", "fit")
    training = dict.fromkeys((*left, "normalisation"), AUTOMATIC) | {
        "learning_rate_schedule": "cosine",
        "patience": 0,
        "filters": 16,
        "seed": 0,
        "preset": "Try out",
        "network": "small CNN",
    }
    return {"data": data, "augmentation": augmentation, "training": training}
