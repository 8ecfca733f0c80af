"""The work on the tiles of a slide: read and computed, here or on the workers of a cluster.

While one tile is computed the next ones are read. A worker needs the files of the slide and of the model, nothing else,
and what it answers does not depend on who else works.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, reduce
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from utils.errors import ModelError
from utils.images.normalise import TOGETHER, asked_by, normalisation_range
from utils.images.slides import Slide, open_slide
from utils.images.stains import by_colour, optical_density
from utils.tasks.slides.tiles import NOT_TISSUE, Grid
from utils.training.networks import compiled, input_multiple, reach, without_margin

PART = 256  # pixels: what is computed of a tile are the rows and columns with tissue, in multiples of it: few shapes
LARGEST = 4 * PART  # side of a tile
MEMORY = 400e6  # bytes that a network may need for a tile and its margin
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
    side
        Of a tile that suits it, in pixels, without the margin.
    """

    names: Sequence[str]
    margin: int
    n_features: int
    side: int

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
        settings = predictor.description["network"]
        levels = settings["pooling_steps"], settings["half_resolution"]
        multiple = input_multiple(*levels)
        self.margin = -(-reach(*levels) // multiple) * multiple
        side = int((MEMORY / memory_per_pixel(settings)) ** 0.5) - 2 * self.margin
        self.side = min(max(side // PART, 1) * PART, LARGEST)
        self._network = without_margin(predictor.network, self.margin)
        _, bottom = self._network.outputs
        self.n_features = 2 * self._network.input_shape[-1] + bottom.shape[-1]

    @cached_property
    def _classify(self) -> Callable:
        """Classes, whether they are uncertain, and the features of the bottom."""

        def answer(images: tf.Tensor) -> list[tf.Tensor]:
            scores, bottom = self._network(images, training=False)
            return [*sorted_by(scores, self.threshold if len(self.names) == 2 else None), bottom]

        return self._quick(answer)

    @cached_property
    def _descend(self) -> Callable:
        """The features of the bottom alone, for which the network need not come up again."""
        down = keras.Model(self._network.input, self._network.outputs[1])
        return self._quick(lambda images: [down(images, training=False)])

    def _quick(self, answer: Callable[[tf.Tensor], list[tf.Tensor]]) -> Callable:
        """What `answer` says of normalised images, of an image as read (Y, X, C) uint8.

        Normalised without a copy that has to be handed over, a row at a time: three times as fast as pixel by pixel.
        """
        low, high = normalisation_range(np.empty((1, 1, 1)), self.normalisation)
        channels = self._network.input_shape[-1]

        def of_image(image: tf.Tensor) -> list[tf.Tensor]:
            height, width = tf.unstack(tf.shape(image)[:2])
            rows = tf.reshape(tf.cast(image, tf.float32), (height, width * channels))
            seen = (rows - tf.tile(low, [width])) / tf.tile(high - low, [width])
            return answer(tf.reshape(seen, (1, height, width, channels)))

        quick = compiled(of_image, tf.TensorSpec((None, None, channels), tf.uint8))
        return lambda image: [one[0].numpy() for one in quick(tf.constant(image))]

    def look(self, region: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Engine`."""
        ids, uncertain, bottom = self._classify(region)
        return ids, uncertain, features(region, bottom, tissue)

    def features(self, region: np.ndarray, tissue: np.ndarray) -> np.ndarray:
        """As `look`, but of a region without a margin, whose features only are wanted."""
        return features(region, *self._descend(region), tissue)


def sorted_by(scores: tf.Tensor, threshold: float | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Class of each pixel, uint8, and whether it is uncertain, from scores before softmax (..., classes).

    The class that is most probable, or of two the second where its probability is above a `threshold`. Class by class,
    without the probabilities: softmax and argmax over the last axis, in one thread each, took a sixth of a tile's time.
    """
    each = tf.unstack(scores, axis=-1)
    best = reduce(tf.maximum, each)
    total = tf.add_n([tf.exp(one - best) for one in each])  # 1 / probability of the most probable class
    if threshold is not None:
        return tf.cast(tf.exp(each[1] - best) > threshold * total, tf.uint8), total > 1 / SURE
    ids = tf.zeros_like(best, tf.uint8)
    for number in reversed(range(len(each))):  # of several that are as probable, the first
        ids = tf.where(each[number] >= best, tf.constant(number, tf.uint8), ids)
    return ids, total > 1 / SURE


def memory_per_pixel(network: Mapping[str, Any]) -> float:
    """About how many bytes `without_margin` of a `utils.training.networks.unet` needs for a pixel it is given.

    Measured for 16 and 32 filters and 2 and 3 pooling steps, which hardly matter: most is needed at the highest
    resolution.
    """
    return 4 * network["filters"] * (2.5 if network["half_resolution"] else 9)


def features(region: np.ndarray, deepest: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a piece of tissue looks like: (n,) float64; NaN where the mask is empty.

    Mean and standard deviation of the optical density of each colour, and the means of the network's deepest features
    (y, x, n), where `mask` (Y, X) says so.
    """
    if not mask.any():
        return np.full(2 * region.shape[-1] + deepest.shape[-1], np.nan)
    step = len(mask) // len(deepest)
    shares = mask.reshape(len(deepest), step, -1, step).mean(axis=(1, 3), dtype=np.float32)
    deep = np.tensordot(shares, deepest, 2) / shares.sum()
    return np.concatenate([*density_of(region, mask), deep.astype(np.float64)])


def density_of(region: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (3,) of the optical density of each colour where `mask` says so, float64."""
    levels = optical_density(np.arange(256, dtype=np.uint8)).astype(np.float64)
    counts = np.stack([np.bincount(one[mask], minlength=256) for one in np.moveaxis(region, -1, 0)])
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    return mean, np.sqrt(np.einsum("ij,ij->i", shares, (levels - mean[:, np.newaxis]) ** 2))


class Colour(Engine):
    """A threshold on the stain of collagen, without any network: glass, tissue, collagen."""

    names, margin, n_features, side = ("glass", "tissue", "collagen"), 0, 6, LARGEST

    def __init__(self, stain: str, threshold: float | None):
        self.stain, self.threshold = stain, threshold

    def look(self, region: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Engine`; a threshold is never uncertain."""
        ids = by_colour(region, self.stain, self.threshold)
        known = np.concatenate(density_of(region, tissue)) if tissue.any() else np.full(self.n_features, np.nan)
        return ids, np.zeros(ids.shape, bool), known


@dataclass(frozen=True)
class FromModel:
    """An engine that each process makes for itself: the U-Net in a model folder, which `load` reads."""

    load: Callable[[Path], Any] = field(repr=False)  # where it lies in memory is another place in each session
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
        Of a tile in pixels of the map, a multiple of 32: smaller copies of the map are made of tiles, too. 0: as large
        as suits the engine.
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
        return Grid(shape, self.side or self.engine.side)

    def tissue_of(self, number: int) -> np.ndarray:
        """Which pixels (side, side) of a tile are tissue."""
        return self.tissue.window(self.grid.corner(number), self.grid.side, self.downsample)


def _part(wanted: np.ndarray) -> slice:
    """The smallest piece of a line, in multiples of `PART`, that holds all that is wanted (n,) bool; one at least."""
    places = np.flatnonzero(wanted)
    first, last = (places[0], places[-1]) if len(places) else (0, 0)
    return slice(first // PART * PART, min((last // PART + 1) * PART, len(wanted)))


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


class _Piece(NamedTuple):
    """What is computed of a tile: its rows and columns that hold tissue, which pixels of these do, and their colours.

    The colours (height, width, 3), uint8, are also those of what the engine sees around it.
    """

    number: int
    place: tuple[slice, slice]
    tissue: np.ndarray
    region: np.ndarray


def answers(job: Job, numbers: Sequence[int]) -> Iterator[Answer]:
    """Compute tiles, one after the other."""
    waiting, following = deque(), iter(numbers)
    with ThreadPoolExecutor(1) as reader:  # one: a file is read by one at a time anyway
        while True:
            waiting += [reader.submit(_read, job, number) for number in islice(following, AHEAD + 1 - len(waiting))]
            if not waiting:
                return
            yield _answer(job, waiting.popleft().result())


def _read(job: Job, number: int) -> _Piece:
    tissue, margin = job.tissue_of(number), job.engine.margin
    place = tuple(_part(tissue.any(axis=axis)) for axis in (1, 0))
    corner = job.grid.corner(number)
    y, x = ((start + part.start - margin) * job.downsample for start, part in zip(corner, place, strict=True))
    height, width = (part.stop - part.start + 2 * margin for part in place)
    return _Piece(number, place, tissue[place], job.opened.read(x, y, width, height, job.um_per_pixel))


def _answer(job: Job, piece: _Piece) -> Answer:
    engine, tissue = job.engine, piece.tissue
    ids, uncertain, looks = engine.look(piece.region, np.pad(tissue, engine.margin))
    counts = np.bincount(ids[tissue], minlength=len(engine.names))
    whole = np.full((job.grid.side,) * 2, NOT_TISSUE, np.uint8)
    whole[piece.place] = np.where(tissue, ids, NOT_TISSUE)
    return Answer(piece.number, whole, np.concatenate([counts, [np.count_nonzero(uncertain & tissue)], looks]))
