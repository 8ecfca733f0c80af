"""The work on the tiles of a slide: read and computed, here or on the workers of a cluster.

While one tile is computed the next ones are read. A worker needs the files of the slide and of the model, nothing else,
and what it answers does not depend on who else works.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from utils.errors import ModelError
from utils.images.normalise import TOGETHER, asked_by, normalisation_range, normalise
from utils.images.slides import Slide, open_slide
from utils.images.stains import EMPTY, collagen_mask, optical_density
from utils.tasks.slides.tiles import NOT_TISSUE, Grid
from utils.training.networks import input_multiple, reach

LARGEST = 1024  # pixels of the side of what the network is given
STEP = 32  # sides of tiles are multiples of it: smaller copies of the map are made of tiles, too
AHEAD = 2  # tiles that are read while one is computed
SURE = 0.7  # probability of the most probable class below which a pixel is uncertain


@dataclass(frozen=True)
class Where:
    """Where a slide is measured.

    Attributes
    ----------
    mask
        Bool (Y, X), of a thumbnail.
    downsample
        Full pixels of the slide per pixel of it.
    """

    mask: np.ndarray
    downsample: float

    def window(self, corner: tuple[int, int], side: int, downsample: float) -> np.ndarray:
        """Which pixels (side, side), each of `downsample` full pixels, of a window are tissue; `corner` in the same."""
        factor = downsample / self.downsample
        places = [np.floor((start + np.arange(side) + 0.5) * factor).astype(int) for start in corner]
        (rows, inside_y), (columns, inside_x) = (
            (np.minimum(one, size - 1), one < size) for one, size in zip(places, self.mask.shape, strict=True)
        )
        return self.mask[np.ix_(rows, columns)] & inside_y[:, np.newaxis] & inside_x


class Engine(ABC):
    """What sorts the pixels of a tile into classes.

    Attributes
    ----------
    names
        Of the classes, by their ids.
    margin
        Pixels around a tile that it looks at.
    n_features
        How many numbers say what a tile looks like to it.
    """

    names: Sequence[str]
    margin: int
    n_features: int

    @abstractmethod
    def look(self, region: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Look at a region.

        Parameters
        ----------
        region
            Colours (Y, X, 3), uint8, the margin included.
        tissue
            What of it is looked at for the features, bool (Y, X).

        Returns
        -------
        ids, uncertain, features
            Class of each pixel without the margin, uint8; whether it is uncertain; what the region looks like (n,), NaN
            where there is no tissue.
        """


class Network(Engine):
    """A U-Net, as `utils.tasks.pixels.predict.Segmenter` has it; ModelError where each image has a range of its own."""

    def __init__(self, predictor: Any, model: Path):
        self.normalisation, self.threshold = predictor.normalisation, predictor.threshold
        self.names = [str(one["name"]) for one in predictor.classes]
        if asked_by(self.normalisation) != TOGETHER:
            raise ModelError(
                f"{model} gives each image a brightness range of its own, which a piece of a slide does not have. "
                f'Train it with "{TOGETHER}" in the field normalisation.'
            )
        settings, whole = predictor.description["network"], predictor.network
        levels = settings["pooling_steps"], settings["half_resolution"]
        self.margin = -(-reach(*levels) // input_multiple(*levels)) * input_multiple(*levels)
        deepest = next(one.input for one in whole.layers if isinstance(one, keras.layers.UpSampling2D))
        both = keras.Model(whole.input, [whole.output, deepest])
        signature = [tf.TensorSpec((None, None, None, whole.input_shape[-1]), tf.float32)]
        self._call = tf.function(lambda x: both(x, training=False), input_signature=signature)
        self.n_features = 2 * whole.input_shape[-1] + deepest.shape[-1]

    def look(self, region: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Engine`."""
        given = normalise(region, *normalisation_range(region, self.normalisation))
        probabilities, deepest = (one[0].numpy() for one in self._call(given[np.newaxis]))
        inner = slice(self.margin, len(region) - self.margin)
        probabilities = probabilities[inner, inner]
        ids = probabilities.argmax(axis=-1).astype(np.uint8)
        if len(self.names) == 2:
            ids = (probabilities[..., 1] > self.threshold).astype(np.uint8)
        return ids, probabilities.max(axis=-1) < SURE, features(region, deepest, tissue)


def features(region: np.ndarray, deepest: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a piece of tissue looks like: (n,) float64; NaN where the mask is empty.

    Mean and standard deviation of the optical density of each colour, and the means of the network's deepest features
    (y, x, n), where `mask` (Y, X) says so.
    """
    if not mask.any():
        return np.full(2 * region.shape[-1] + deepest.shape[-1], np.nan)
    density, step = optical_density(region[mask]).astype(np.float64), len(mask) // len(deepest)
    shares = mask.reshape(len(deepest), step, -1, step).mean(axis=(1, 3))
    deep = np.average(deepest.reshape(-1, deepest.shape[-1]), axis=0, weights=shares.ravel())
    return np.concatenate([density.mean(axis=0), density.std(axis=0), deep])


class Colour(Engine):
    """A threshold on the stain of collagen, without any network: glass, tissue, collagen."""

    names, margin, n_features = ("glass", "tissue", "collagen"), 0, 6

    def __init__(self, stain: str, threshold: float | None):
        self.stain, self.threshold = stain, threshold

    def look(self, region: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Engine`; a threshold is never uncertain."""
        density = optical_density(region)
        collagen = collagen_mask(region, self.stain, self.threshold)
        ids = np.where(collagen, 2, density.mean(axis=-1) > EMPTY).astype(np.uint8)
        known = density[tissue] if tissue.any() else np.full((1, 3), np.nan)
        return ids, np.zeros(ids.shape, bool), np.concatenate([known.mean(axis=0), known.std(axis=0)])


@dataclass(frozen=True)
class FromModel:
    """An engine that each process makes for itself: the U-Net in a model folder, which `load` reads."""

    load: Callable[[Path], Any]
    model: Path

    def make(self) -> Engine:
        """The engine."""
        return Network(self.load(self.model), self.model)


@dataclass(frozen=True)
class FromStain:
    """An engine that each process makes for itself; see `Colour`."""

    stain: str
    threshold: float | None = None

    def make(self) -> Engine:
        """The engine."""
        return Colour(self.stain, self.threshold)


@dataclass(frozen=True)
class Job:
    """What is needed to compute any tile of a slide.

    Attributes
    ----------
    slide, pixel_size
        The file, and the width of its pixels in um where the form says it, else 0.
    source
        What makes the engine.
    um_per_pixel
        Of the map.
    tissue
        What of the slide is measured.
    side
        Of a tile in pixels of the map; 0: as large as suits the engine.
    """

    slide: Path
    pixel_size: float
    source: FromModel | FromStain
    um_per_pixel: float
    tissue: Where
    side: int = 0

    @property
    def engine(self) -> Engine:
        """Made once by each process."""
        return _engine(self.source)

    @property
    def opened(self) -> Slide:
        """The slide, opened once by each process."""
        return _slide(self.slide, self.pixel_size)

    @cached_property
    def downsample(self) -> float:
        """Full pixels of the slide per pixel of the map."""
        return self.um_per_pixel / self.opened.um

    @cached_property
    def grid(self) -> Grid:
        """Tiles of the whole slide."""
        shape = tuple(int(-(-length // self.downsample)) for length in (self.opened.height, self.opened.width))
        return Grid(shape, self.side or (LARGEST - 2 * self.engine.margin) // STEP * STEP)

    def tissue_of(self, number: int) -> np.ndarray:
        """Which pixels (side, side) of a tile are tissue."""
        return self.tissue.window(self.grid.corner(number), self.grid.side, self.downsample)


@lru_cache(maxsize=2)
def _engine(source: FromModel | FromStain) -> Engine:
    return source.make()


@lru_cache(maxsize=8)
def _slide(path: Path, pixel_size: float) -> Slide:
    return open_slide(path, pixel_size)


@dataclass(frozen=True)
class Answer:
    """What is known of a tile.

    Attributes
    ----------
    number
        Of the tile.
    ids
        Class of each pixel (side, side), uint8; `NOT_TISSUE` where it is not measured.
    numbers
        Pixels of each class, number of uncertain ones, then what the tile looks like.
    """

    number: int
    ids: np.ndarray
    numbers: np.ndarray


def answers(job: Job, numbers: Sequence[int]) -> Iterator[Answer]:
    """Compute tiles, one after the other."""
    waiting, following = deque(), iter(numbers)
    with ThreadPoolExecutor(1) as reader:  # one: a file is read by one at a time anyway
        while True:
            for number in islice(following, AHEAD + 1 - len(waiting)):
                waiting.append((number, reader.submit(_read, job, number)))
            if not waiting:
                return
            number, region = waiting.popleft()
            yield _answer(job, number, region.result())


def _read(job: Job, number: int) -> np.ndarray:
    """Colours (side + 2 margins, side + 2 margins, 3), uint8, of a tile and of what the engine sees around it."""
    margin = job.engine.margin
    y, x = ((place - margin) * job.downsample for place in job.grid.corner(number))
    side = job.grid.side + 2 * margin
    return job.opened.read(x, y, side, side, job.um_per_pixel)


def _answer(job: Job, number: int, region: np.ndarray) -> Answer:
    engine, tissue = job.engine, job.tissue_of(number)
    ids, uncertain, looks = engine.look(region, np.pad(tissue, engine.margin))
    counts = np.bincount(ids[tissue], minlength=len(engine.names))
    ids[~tissue] = NOT_TISSUE
    return Answer(number, ids, np.concatenate([counts, [np.count_nonzero(uncertain & tissue)], looks]))
