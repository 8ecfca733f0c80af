"""A tiny untrained model folder, for tests of everything that uses models but does not train them.

What takes seconds to import is imported where it is used: pytest loads this file for every test, and once more in the
process that hands tests to others.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from utils import runtime

if TYPE_CHECKING:
    import keras

runtime.tell_libraries()
NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a process that was handed tests end in its own time.

    After five seconds execnet interrupts it: a traceback of what it was putting away would be the last that is read.
    """
    if hasattr(session.config, "workerinput"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def model_description(
    channels=1, values=(0, 255), filters=2, pooling_steps=1, half_resolution=False, threshold=0.5, pixel_size_um=None
) -> dict:
    """Content of model.json for a U-Net, as utils.tasks.pixels.train.describe makes it; `values` are those of the
    masks."""
    from utils.training import networks

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
    """U-Net with numpy's random weights, by which every class is the likeliest somewhere in an image of noise.

    What Keras draws may leave all filters of a level silent. The scores of all classes are then equal, and rounding,
    which differs between processors, decides on the class.
    """
    import keras

    from utils.training import networks

    rng = np.random.default_rng(seed)
    network = networks.unet(**description["network"])
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0  # one call in training mode sets it to the statistics of the noise
            layer.beta.assign(np.ones(layer.beta.shape))  # most pixels are above 0, where ReLU begins
        elif layer.weights:
            layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    noise = rng.random((1, 64, 64, description["network"]["channels"]), np.float32)
    network(noise, training=True)
    balance_classes(network, noise)
    return network


def balance_classes(network: keras.Model, images: np.ndarray) -> None:
    """Change the last layer: the median of the scores of each class is 0, those of one pixel differ by about 2."""
    import keras

    last = network.get_layer("logits")
    kernel, bias = last.get_weights()
    scores = keras.Model(network.input, last.output)(images).numpy()
    scale = 2 / (scores - scores.mean(axis=-1, keepdims=True)).std()
    medians = np.median(scores, axis=tuple(range(scores.ndim - 1)))
    last.set_weights([scale * kernel, scale * (bias - medians)])


def save_untrained(folder: Path, seed: int = 0, **settings) -> tuple[keras.Model, dict]:
    """Write a complete model folder of an untrained network; `settings` as `model_description`."""
    import pandas as pd

    from utils.training import model_folder

    description = model_description(**settings)
    network = untrained_network(description, seed)
    history = pd.DataFrame({"epoch": [1], "loss": [np.log(2)], "val_loss": [np.log(2)], "learning_rate": [1e-3]})
    model_folder.save_model(folder, network, description, history)
    return network, description


@pytest.fixture(autouse=True)
def _no_browser(request, monkeypatch):
    """No report is printed, which takes seconds, but where a test asks for the mark `prints`."""
    if "prints" not in request.keywords:
        monkeypatch.setattr("utils.pages.pdf.browser", lambda: None)


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
        training={"number_of_epochs": 4, "number_of_steps": 60},  # all test crops right with each of four seeds
    )
    return *open_and_train(given), given
