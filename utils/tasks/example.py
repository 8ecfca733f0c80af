"""A classifier of the phases of mitosis for those who have no model yet, trained on the sample in half a minute."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from utils.forms.fields import AUTOMATIC, STOP
from utils.groups import ASK
from utils.samples import CLASSIFICATION
from utils.tasks.task import NetworkTask

EXAMPLE, EXAMPLE_SAMPLE = "mitosis_try_out", "mitosis"  # name of the model that is trained where none is given


def train_example(
    task: NetworkTask, values: Mapping[str, Mapping], callbacks: Sequence[keras.callbacks.Callback] = ()
) -> Path:
    """Folder of the model of `example_values`, trained now unless that was done before; `task` is classification."""
    project = task.open(values["data"], values["training"]["seed"])
    task.train(project, {"overrides": values}, callbacks)
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
