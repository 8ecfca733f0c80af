"""A tiny untrained model folder, for tests of everything that uses models but does not train them."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from utils.training import model_folder, networks

NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


def model_description(
    channels=1, values=(0, 255), filters=2, pooling_steps=1, half_resolution=False, threshold=0.5, pixel_size_um=None
) -> dict:
    """Content of model.json for a U-Net, as utils.tasks.pixels.train.describe makes it; `values` are those of the
    masks."""
    depth = {"pooling_steps": pooling_steps, "half_resolution": half_resolution}
    multiple = networks.input_multiple(**depth)
    names = ["background", "foreground"] if len(values) == 2 else ["background", *(f"class {v}" for v in values[1:])]
    return {
        "task": "unet",
        "network": {"channels": channels, "classes": len(values), "filters": filters, **depth},
        "axes": "YXC",
        "channels": [f"channel {i + 1}" for i in range(channels)],
        "classes": [{"id": i, "name": names[i], "value": value, "group": None} for i, value in enumerate(values)],
        "mask_type": "binary" if len(values) == 2 else "classes",
        "normalisation": NORMALISATION,
        "threshold": threshold,
        "input": {"patch": [4 * multiple, 4 * multiple], "multiple_of": multiple},
        "pixel_size_um": pixel_size_um,
    }


def untrained_network(description: dict, seed: int = 0) -> keras.Model:
    """U-Net with random weights, the last layer's enlarged so that the classes are not all equally probable."""
    keras.utils.set_random_seed(seed)
    network = networks.unet(**description["network"])
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([20 * kernel, bias])
    return network


def save_untrained(folder: Path, seed: int = 0, **settings) -> tuple[keras.Model, dict]:
    """Write a complete model folder of an untrained network; `settings` as `model_description`."""
    description = model_description(**settings)
    network = untrained_network(description, seed)
    history = pd.DataFrame({"epoch": [1], "loss": [np.log(2)], "val_loss": [np.log(2)], "learning_rate": [1e-3]})
    model_folder.save_model(folder, network, description, history)
    return network, description


@pytest.fixture
def untrained_model(tmp_path):
    """Return a function: settings of `model_description` -> folder of an untrained model, its network, description."""

    def make(name: str = "model", seed: int = 0, **settings) -> tuple[Path, keras.Model, dict]:
        folder = tmp_path / name
        return folder, *save_untrained(folder, seed, **settings)

    return make


@pytest.fixture(scope="session")
def finder(tmp_path_factory):
    """Project of a StarDist model that has learned to find discs (`tests.tiny_objects`)."""
    from tests.tiny_objects import open_and_train, parameters, write_objects

    folder = tmp_path_factory.mktemp("finder")
    quick = {"number_of_epochs": 4, "number_of_steps": 60, "filters": 8}
    return open_and_train(parameters(write_objects(folder / "data"), folder, training=quick))[0]


@pytest.fixture(scope="session")
def sorter(tmp_path_factory):
    """Project, sentence and parameters of a classifier that has learned the shapes of `tests.tiny_crops`."""
    from tests.tiny_crops import open_and_train, parameters, write_crops

    folder = tmp_path_factory.mktemp("sorter")
    given = parameters(
        write_crops(folder / "data"),
        folder,
        data={"class_groups": "dot, ring -> round; stripe -> long"},
        training={"number_of_epochs": 4, "number_of_steps": 25},
    )
    return *open_and_train(given), given
