"""Objects in images of any size with a trained StarDist model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from csbdeep.data import Normalizer
from stardist.models import StarDist2D

from utils import models, stardist_models
from utils.patching import normalise
from utils.prediction import normalisation_range

TILE_PIXELS = 1024**2  # of an image that the network sees at once; bounds the memory
WHOLE_PIXELS = 4096**2  # larger images are worked on in blocks, whose objects are put together afterwards
BLOCK = 2048  # side of such a block in pixels
SMALLEST_OVERLAP = 128  # pixels that blocks share at least; each object must fit into the overlap


@dataclass(frozen=True)
class Objects:
    """Objects found in one image.

    Attributes
    ----------
    labels
        (Y, X) int32, 0 is background; label i belongs to row i - 1 of the others. A label may be absent where other
        objects cover it.
    outlines
        float32 (n, 2, n_rays), y and x of the outline in pixels.
    probability
        float32 (n,).
    class_ids
        int (n,) from 1, None where the model knows no classes.
    """

    labels: np.ndarray
    outlines: np.ndarray
    probability: np.ndarray
    class_ids: np.ndarray | None


class ImageRange(Normalizer):
    """csbdeep normalizer with the range (C,) of a whole image, for the blocks it is read in."""

    def __init__(self, low: np.ndarray, high: np.ndarray):
        self.low, self.high = low, high

    def before(self, x: np.ndarray, axes: str) -> np.ndarray:
        """Normalise a block (Y, X, C)."""
        return normalise(x, self.low, self.high)

    def after(self, mean, scale, axes):
        """Not needed: objects have no intensity."""
        raise NotImplementedError

    @property
    def do_after(self) -> bool:
        """Objects have no intensity that would have to be scaled back."""
        return False


class ObjectSegmenter:
    """A trained StarDist model with the preprocessing that was saved with it.

    Parameters
    ----------
    model
        StarDist model with weights and thresholds.
    description
        Content of model.json; used are normalisation, classes and input.largest_object.
    """

    def __init__(self, model: StarDist2D, description: Mapping):
        self.model, self.description = model, description
        self.classes, self.normalisation = description["classes"], description["normalisation"]

    @property
    def network(self) -> keras.Model:
        """The Keras model within the StarDist model."""
        return self.model.keras_model

    def find(self, array: np.ndarray) -> Objects:
        """Find the objects of an image (Y, X, C) of any dtype and size, which may be memory-mapped."""
        whole = array.shape[0] * array.shape[1] <= WHOLE_PIXELS
        labels, found = (self._whole if whole else self._in_blocks)(array)
        class_ids = None
        if "class_prob" in found:  # the network may hold background for the likeliest, but here is an object
            class_ids = 1 + np.asarray(found["class_prob"])[:, 1:].argmax(axis=-1)
        return Objects(labels.astype(np.int32, copy=False), found["coord"], found["prob"], class_ids)

    def _normalizer(self, array: np.ndarray) -> ImageRange:
        return ImageRange(*normalisation_range(array, self.normalisation))

    def _whole(self, array: np.ndarray) -> tuple[np.ndarray, dict]:
        return self.model.predict_instances(
            np.asarray(array),
            axes="YXC",
            normalizer=self._normalizer(array),
            n_tiles=tiles(array.shape),
            show_tile_progress=False,
        )

    def _in_blocks(self, array: np.ndarray) -> tuple[np.ndarray, dict]:
        overlap = max(SMALLEST_OVERLAP, 2 * math.ceil(self.description["input"]["largest_object"]))
        with stardist_models.quiet():
            return self.model.predict_instances_big(
                array,
                axes="YXC",
                block_size=max(BLOCK, 4 * overlap),
                min_overlap=overlap,
                normalizer=self._normalizer(array),
                n_tiles=tiles((max(BLOCK, 4 * overlap), max(BLOCK, 4 * overlap), 1)),
                show_progress=False,
                show_tile_progress=False,
            )


def tiles(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Number of tiles along Y, X and C so that none has much more than `TILE_PIXELS`."""
    side = math.sqrt(TILE_PIXELS)
    return math.ceil(shape[0] / side), math.ceil(shape[1] / side), 1


def load_segmenter(folder: Path) -> ObjectSegmenter:
    """Read a StarDist model folder into an `ObjectSegmenter`."""
    description = models.read_model(folder, "stardist")
    return ObjectSegmenter(stardist_models.load(folder), description)
