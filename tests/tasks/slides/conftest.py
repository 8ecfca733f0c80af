"""Small slides and models for tests of whole slides."""

import json

import numpy as np
import pytest
import tifffile

from utils.files import write_json


def write_slide(path, array, um_per_pixel=0.5, tile=64, levels=2):
    """Pyramidal TIFF of colours (Y, X, 3) that says its pixel size."""
    form = {"photometric": "rgb", "tile": (tile, tile), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            step = 2**level
            file.write(
                np.ascontiguousarray(array[::step, ::step]),
                resolution=(1e4 / um_per_pixel / step,) * 2,
                subfiletype=1 if level else 0,
                metadata=None,
                **form,
            )
    return path


@pytest.fixture
def slide_of(tmp_path):
    """Function that writes a slide of given colours."""
    return lambda array, name="slide.tif", **more: write_slide(tmp_path / name, array, **more)


@pytest.fixture
def slide_model(untrained_model):
    """Function that gives the folder of a U-Net with random weights that has one range for all images."""

    def make(classes=3, **network):
        folder, *_ = untrained_model(channels=3, values=tuple(range(classes)), **network)
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        together = {"kind": "percentile", "low": 1, "high": 99.8, "per": "training set", "channels": "joint"}
        together["range"] = [[20.0] * 3, [230.0] * 3]
        write_json(folder / "model.json", description | {"normalisation": together})
        return folder

    return make
