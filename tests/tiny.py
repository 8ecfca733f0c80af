"""Data and forms small enough to train on within seconds."""

from pathlib import Path

import numpy as np

from tests.notebook_forms import default_values
from utils.data.project import Project
from utils.images.image import write_tiff
from utils.tasks.registry import UNET

SMALL = {
    "number_of_epochs": 2,
    "number_of_steps": 3,
    "batch_size": 2,
    "patch_height": 32,
    "patch_width": 32,
    "pooling_steps": 1,
    "half_resolution": False,
    "normalisation": "each image",
    "filters": 4,
    "initial_learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "patience": 0,
}


def blobs(rng: np.random.Generator, side: int = 64, classes: int = 2, channels: int = 1):
    """An image (Y, X, C) uint16 of noisy discs, brighter for higher classes, and its mask (Y, X) of class ids."""
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.uint8)
    for i in range(6):
        centre, radius = rng.uniform(0, side, 2), rng.uniform(side / 12, side / 6)
        mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = 1 + i % (classes - 1)
    image = 2000.0 + 4000.0 * np.repeat(mask[..., None], channels, axis=-1) + rng.normal(0, 500, (side, side, channels))
    return image.clip(0, 65535).astype(np.uint16), mask


def write_data(folder: Path, n: int = 6, seed: int = 0, side: int = 64, classes: int = 2, channels: int = 1) -> Path:
    """Write n pairs below folder/images and folder/masks (class values, 255 for two classes); returns `folder`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        image, mask = blobs(rng, side, classes, channels)
        write_tiff(folder / "images" / f"image_{i}.tif", image[..., 0] if channels == 1 else image)
        write_tiff(folder / "masks" / f"image_{i}.tif", mask * np.uint8(255 if classes == 2 else 100))
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
    values = default_values("unet_segmentation", given)
    return {"overrides": {form: values[form] for form in ("data", "augmentation", "training")}}


def open_and_train(given: dict, callbacks=()) -> tuple[Project, str]:
    """What sections 3 and 4 of the notebook do."""
    forms = given["overrides"]
    project = UNET.open(forms["data"], forms["training"]["seed"])
    return project, UNET.train(project, given, callbacks)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its content, and every folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }
