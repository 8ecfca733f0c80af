"""Crops and forms small enough to train a classifier on within seconds."""

from pathlib import Path

import numpy as np

from tests.notebook_forms import default_values
from utils.data.project import Project
from utils.images.image import write_tiff
from utils.tasks.registry import CLASSIFIER

SMALL = {
    "number_of_epochs": 2,
    "number_of_steps": 3,
    "batch_size": 8,
    "filters": 4,
    "levels": 2,
    "initial_learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "patience": 0,
    "decides": "network",
    "half_resolution": False,
    "class_weights": "balanced",
    "fit": "pad",
    "normalisation": "each image",
}
CLASSES = ("dot", "ring", "stripe")


def crop(rng: np.random.Generator, name: str, side: int = 16, channels: int = 1) -> np.ndarray:
    """A noisy picture (Y, X, C) uint8 of a dot, a ring or a stripe."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2 + rng.uniform(-1, 1, (2, 1, 1))
    radius = np.hypot(y, x)
    shape = {"dot": radius < side / 5, "ring": abs(radius - side / 3) < side / 12, "stripe": abs(y) < side / 10}[name]
    image = 40 + 120 * shape[..., None] + rng.normal(0, 8, (side, side, channels))
    return image.clip(0, 255).astype(np.uint8)


def write_crops(folder: Path, n: int = 8, seed: int = 0, side: int = 16, channels: int = 1) -> Path:
    """Write n crops of each class below folder/<class>; returns `folder`."""
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        for i in range(n):
            image = crop(rng, name, side, channels)
            write_tiff(folder / name / f"{name}_{i}.tif", image[..., 0] if channels == 1 else image, pixel_size_um=0.5)
    return folder


def parameters(source: Path, models: Path, **overrides) -> dict:
    """{"overrides": ...} of a small training of the data in `source`; overrides are {form: {field: value}}."""
    data = {"training_source": str(source), "class_groups": "", "model_path": str(models), "model_name": "model"}
    given = {
        "data": data | overrides.pop("data", {}),
        "training": SMALL | overrides.pop("training", {}),
        **overrides,
    }
    values = default_values("classification", given)
    return {"overrides": {form: values[form] for form in ("data", "augmentation", "training")}}


def open_and_train(given: dict, callbacks=()) -> tuple[Project, str]:
    """What sections 3 and 4 of the notebook do."""
    forms = given["overrides"]
    project = CLASSIFIER.open(forms["data"], forms["training"]["seed"])
    return project, CLASSIFIER.train(project, given, callbacks)
