"""Batches of patches as Keras data sets: random and augmented for training, on a grid and unchanged for validation."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from utils.images.masks import counted, evenly_chosen
from utils.images.normalise import denormalise, normalisation_range, normalise
from utils.patching.augmentation import Augmentation, draw_patch
from utils.patching.patches import grid_positions

VALIDATION_PATCHES = 64  # enough for a steady validation loss, a few percent of the training's cost
PREVIEWS = 4


@dataclass(frozen=True)
class Source:
    """An image that patches are drawn from: (Y, X, C) as read, (Y, X) class ids, (C,) values that become 0 and 1.

    Pixels of the mask that are `utils.images.masks.IGNORED` stay so in the patches.
    """

    image: np.ndarray
    mask: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Batches(keras.utils.PyDataset):
    """Batches that are made by several threads, whatever their number, in order.

    A graphics card would wait for one thread. Without one, too, training takes a quarter less: Keras leaves a single
    thread to the autotuning of tf.data, and waits at the end of each epoch until that looks up, which it does after
    0.01, 0.02, 0.04 ... 5, 10 seconds.
    """

    def __init__(self):
        super().__init__(workers=max(2, os.cpu_count()))


class TrainingPatches(Batches):
    """Random augmented patches, drawn when they are needed; those of epoch e depend only on (seed, e).

    Parameters
    ----------
    sources
        Training images. One is drawn with probability proportional to the square root of its number of pixels that
        count: large images give more patches, but do not drown the small ones.
    patch
        (height, width) in pixels.
    batch_size, steps
        Patches per batch and batches per epoch.
    min_fraction
        Smallest share of foreground of a patch.
    augmentation, seed
        Random changes, and the seed of everything that is drawn.
    balanced
        Whether the patches of a batch lie around pixels of all classes in turn, however few pixels a class has;
        `min_fraction` then does not matter. Batches that are alike also keep batch normalisation steady: patches of
        glass, tissue and ink, a few of them drawn at random, have nothing in common.
    """

    def __init__(
        self, sources: Sequence[Source], patch, batch_size, steps, min_fraction, augmentation, seed, balanced=False
    ):
        super().__init__()
        self.sources, self.patch, self.batch_size, self.steps = list(sources), patch, batch_size, steps
        self.min_fraction, self.augmentation, self.seed, self.balanced = min_fraction, augmentation, seed, balanced
        known = [source.mask[counted(source.mask)] for source in self.sources]
        parts = _pixels_of_classes(known) if balanced else {None: [one.size for one in known]}
        self.probability = {part: np.sqrt(pixels) / np.sqrt(pixels).sum() for part, pixels in parts.items()}
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `step`: float32 (batch, Y, X, C) and class ids (batch, Y, X)."""
        return self.draw(step)[1:]

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the sources of batch `step` (batch,), their patches (batch, Y, X, C) and masks (batch, Y, X)."""
        rng = np.random.default_rng((self.seed, self.epoch, step))
        chosen, around = self._choose(rng)
        patches = [self._draw(self.sources[i], rng, part) for i, part in zip(chosen, around, strict=True)]
        return chosen, np.stack([image for image, _ in patches]), np.stack([mask for _, mask in patches])

    def _choose(self, rng) -> tuple[np.ndarray, list]:
        """Sources of a batch, and the class that each patch lies around, None for any."""
        parts, n = list(self.probability), len(self.sources)
        if parts == [None]:
            return rng.choice(n, self.batch_size, p=self.probability[None]), parts * self.batch_size
        around = [parts[i % len(parts)] for i in rng.integers(len(parts)) + np.arange(self.batch_size)]
        return np.array([rng.choice(n, p=self.probability[part]) for part in around]), around

    def _draw(self, source, rng, around):
        ranges, how = (source.low, source.high), (self.patch, self.min_fraction, self.augmentation)
        return draw_patch(source.image, source.mask, *ranges, *how, rng, around)


def _pixels_of_classes(known: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Pixels of each class that occurs (n_masks,), of masks of which the pixels that count are given."""
    n = 1 + max(int(one.max(initial=0)) for one in known)
    table = np.stack([np.bincount(one, minlength=n) for one in known])
    return {part: pixels for part, pixels in enumerate(table.T) if pixels.any()}


class ValidationPatches(Batches):
    """Patches on a grid over the validation images, never augmented; at most `VALIDATION_PATCHES`, evenly chosen.

    Patches in which no pixel counts are left out.
    """

    def __init__(self, sources: Sequence[Source], patch: tuple[int, int], batch_size: int):
        super().__init__()
        places = [
            (i, y, x)
            for i, source in enumerate(sources)
            for y, x in grid_positions(source.mask.shape, patch)
            if counted(source.mask[y : y + patch[0], x : x + patch[1]]).any()
        ]
        self.sources, self.patch, self.batch_size = list(sources), patch, batch_size
        self.places = evenly_chosen(places, VALIDATION_PATCHES)  # index of the source, y, x

    def __len__(self) -> int:
        return math.ceil(len(self.places) / self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `step`, like `TrainingPatches`."""
        return self.draw(step)[1:]

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, patches and masks of batch `step`, like `TrainingPatches.draw`."""
        places = self.places[step * self.batch_size : (step + 1) * self.batch_size]
        patches = [self._cut(*place) for place in places]
        chosen = np.array([index for index, _, _ in places])
        return chosen, np.stack([image for image, _ in patches]), np.stack([mask for _, mask in patches])

    def _cut(self, index, y, x):
        source = self.sources[index]
        window = np.s_[y : y + self.patch[0], x : x + self.patch[1]]
        return normalise(source.image[window], source.low, source.high), source.mask[window]


def automatic_steps(sources: Sequence[Source], patch: tuple[int, int], batch_size: int) -> int:
    """Steps per epoch with which an epoch sees about as many pixels as count in the training images, 50 to 200.

    Few images need no fewer steps to learn from, and a large set must not make a round of training endless.
    """
    pixels = sum(np.count_nonzero(counted(source.mask)) for source in sources)
    return min(max(50, math.ceil(pixels / (patch[0] * patch[1] * batch_size))), 200)


def sources(examples: Sequence, normalisation: Mapping) -> list[Source]:
    """Arrays of annotated images with the values that become 0 and 1 by the `normalisation` of model.json."""
    return [Source(one.image.array, one.mask, *normalisation_range(one.image.array, normalisation)) for one in examples]


def drawn_before_and_after(
    sources: Sequence[Source], patch: tuple[int, int], min_fraction: float, augmentation: Mapping, seed: int
) -> list[np.ndarray]:
    """One patch of each source as cut from the image and as changed: patches and masks before, patches and masks after.

    float32 (n, Y, X, C) in the values of the images, masks (n, Y, X), and the same again. `augmentation` are values of
    the form; the others as for `TrainingPatches`.
    """
    drawn = [
        [
            draw_patch(
                one.image,
                one.mask,
                one.low,
                one.high,
                patch,
                min_fraction,
                changes,
                np.random.default_rng((seed, i)),
            )
            for i, one in enumerate(sources)
        ]
        for changes in (Augmentation(), Augmentation(**{**augmentation, "empty": 0}))
    ]
    own = [
        [(denormalise(patch, one.low, one.high), mask) for one, (patch, mask) in zip(sources, pairs, strict=True)]
        for pairs in drawn
    ]
    return [np.stack(parts) for pairs in own for parts in zip(*pairs, strict=True)]
