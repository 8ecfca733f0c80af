"""Batches of whole small images for classification: random and augmented for training, unchanged for validation."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from skimage.transform import resize

from utils.images.normalise import denormalise, normalisation_range, normalise
from utils.patching.augmentation import Augmentation, draw_image
from utils.patching.batches import Batches


def fitted(array: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """Bring an image (Y, X, C) of any dtype to the `size` (height, width) that the network was trained with.

    `fit` is "pad": what is missing is filled with the median of the border, what is too much is cut off, evenly on both
    sides, so that a cell keeps its size; or "resize": stretched or shrunk, which gives float32.
    """
    if array.shape[:2] == tuple(size):
        return array
    if fit == "resize":
        return resize(array, size, order=1, preserve_range=True, anti_aliasing=True).astype(np.float32)
    start = [max(0, (have - want) // 2) for have, want in zip(array.shape, size, strict=False)]
    array = array[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    filled = np.empty((*size, array.shape[-1]), array.dtype)
    filled[:] = np.median(border, axis=0).astype(array.dtype)
    y, x = ((want - have) // 2 for want, have in zip(size, array.shape, strict=False))
    filled[y : y + array.shape[0], x : x + array.shape[1]] = array
    return filled


def prepared(array: np.ndarray, description: Mapping) -> np.ndarray:
    """An image (Y, X, C) as the network wants it, float32: the same in training, evaluation and prediction.

    Of the `description`, content of model.json, input and normalisation are used. Where the latter is per "both", the
    channels follow twice: in the range of the image, and in that of the training set.
    """
    shape, ranges = description["input"], _ranges(array, description["normalisation"])
    array = fitted(array, tuple(shape["size"]), shape["fit"])
    pictures = [normalise(array, *one) for one in ranges]
    return pictures[0] if len(pictures) == 1 else np.concatenate(pictures, axis=-1)


def _ranges(array: np.ndarray, normalisation: Mapping) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values (C,) of an image that become 0 and 1, once or, where the range is of both kinds, twice."""
    ranges = []
    if normalisation["per"] != "training set":
        ranges.append(normalisation_range(array, {**normalisation, "per": "image"}))
    if normalisation["per"] != "image":
        ranges.append(tuple(np.asarray(values, np.float32) for values in normalisation["range"]))
    return ranges


def in_own_values(seen: np.ndarray, array: np.ndarray, description: Mapping) -> np.ndarray:
    """What the network sees of an image (Y, X, C), also changed, as float32 in the values of that image, for a person.

    `seen` comes from `prepared` for the same image and `description`.
    """
    return denormalise(seen[..., : array.shape[-1]], *_ranges(array, description["normalisation"])[0])


def seen_by_forest(array: np.ndarray, description: Mapping) -> np.ndarray:
    """An image (Y, X, C) as a forest measures it: of the network's size where that pads, else of its own."""
    shape = description["input"]
    return fitted(array, tuple(shape["size"]), "pad") if shape["fit"] == "pad" else array


class TrainingCrops(Batches):
    """Random augmented images; those of epoch e, and their order, depend only on (seed, e).

    `images` are float32 (n, Y, X, C), prepared, `class_ids` int (n,), `weights` (classes,) those of the classes in the
    loss; `steps` are the batches per epoch.
    """

    def __init__(self, images, class_ids, weights, batch_size: int, steps: int, augmentation: Augmentation, seed: int):
        super().__init__()
        self.images, self.class_ids, self.weights = images, np.asarray(class_ids), np.asarray(weights, np.float32)
        self.batch_size, self.steps, self.augmentation, self.seed = batch_size, steps, augmentation, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def order(self) -> np.ndarray:
        """Index of each image of the epoch, (steps * batch_size,): every image equally often, up to one."""
        needed, n = self.steps * self.batch_size, len(self.images)
        rng = np.random.default_rng((self.seed, self.epoch))
        return np.concatenate([rng.permutation(n) for _ in range(-(-needed // n))])[:needed]

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Batch `step`: float32 (batch, Y, X, C), class ids (batch,), weights (batch,)."""
        chosen = self.order()[step * self.batch_size : (step + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, step))
        changed = np.stack([draw_image(self.images[i], self.augmentation, rng) for i in chosen])
        return changed, self.class_ids[chosen], self.weights[self.class_ids[chosen]]


class ValidationCrops(Batches):
    """Images as they are, in order, with the weights of their classes; see `TrainingCrops`."""

    def __init__(self, images, class_ids, weights, batch_size: int):
        super().__init__()
        self.images, self.class_ids, self.weights = images, np.asarray(class_ids), np.asarray(weights, np.float32)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Batch `step`, like `TrainingCrops`."""
        chosen = slice(step * self.batch_size, (step + 1) * self.batch_size)
        class_ids = self.class_ids[chosen]
        return self.images[chosen], class_ids, self.weights[class_ids]


def class_weights(class_ids: Sequence[int], n_classes: int, balance: str) -> np.ndarray:
    """Weight of each class in the loss, float32 (classes,), mean 1 over the training images that `class_ids` are of.

    `balance` is "balanced": every class counts alike in all; "square root": half-way; "none": every image counts alike.
    """
    power = {"balanced": 1.0, "square root": 0.5, "none": 0.0}[balance]
    counts = np.bincount(class_ids, minlength=n_classes)
    weights = np.maximum(counts, 1.0) ** -power
    return (weights * len(class_ids) / (weights * counts).sum()).astype(np.float32)
