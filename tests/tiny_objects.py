"""Label images and forms small enough to train StarDist on within seconds."""

from pathlib import Path

import numpy as np
from skimage.measure import label

from tests.notebook_forms import default_values
from utils.data.project import Project
from utils.images.image import write_tiff
from utils.tasks.registry import STARDIST

SMALL = {
    "number_of_epochs": 2,
    "number_of_steps": 3,
    "batch_size": 2,
    "patch_height": 32,
    "patch_width": 32,
    "n_rays": 8,
    "grid": 2,
    "normalisation": "each image",
    "filters": 4,
    "initial_learning_rate": 0.003,
    "learning_rate_schedule": "constant",
    "patience": 0,
}


def discs(rng: np.random.Generator, side: int = 64, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """An image (Y, X, C) uint16 of noisy bright discs that do not touch, and its labels (Y, X) uint16 from 1."""
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), bool)
    for corner in np.ndindex(side // 16, side // 16):
        if rng.random() < 0.7:
            centre = 16 * np.array(corner) + rng.uniform(6, 10, 2)
            mask |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.uniform(3, 5.5) ** 2
    labels = label(mask).astype(np.uint16)
    image = 1000.0 + 6000.0 * np.repeat(mask[..., None], channels, axis=-1) + rng.normal(0, 300, (side, side, channels))
    return image.clip(0, 65535).astype(np.uint16), labels


def write_objects(folder: Path, n: int = 6, seed: int = 0, side: int = 64, channels: int = 1) -> Path:
    """Write n pairs below folder/images and folder/masks; returns `folder`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        image, labels = discs(rng, side, channels)
        write_tiff(folder / "images" / f"image_{i}.tif", image[..., 0] if channels == 1 else image, pixel_size_um=0.5)
        write_tiff(folder / "masks" / f"image_{i}.tif", labels)
    return folder


def parameters(source: Path, models: Path, **overrides) -> dict:
    """{"overrides": ...} of a small training of the data in `source`; overrides are {form: {field: value}}."""
    data = {
        "training_source": str(source / "images"),
        "training_target": str(source / "masks"),
        "model_path": str(models),
        "model_name": "model",
    }
    given = {
        "data": data | overrides.pop("data", {}),
        "training": SMALL | overrides.pop("training", {}),
        **overrides,
    }
    values = default_values("stardist_segmentation", given)
    return {"overrides": {form: values[form] for form in ("data", "augmentation", "training")}}


def open_and_train(given: dict, callbacks=()) -> tuple[Project, str]:
    """What sections 3 and 4 of the notebook do."""
    forms = given["overrides"]
    project = STARDIST.open(forms["data"], forms["training"]["seed"])
    return project, STARDIST.train(project, given, callbacks)
