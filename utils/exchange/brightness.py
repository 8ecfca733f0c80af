"""The normalisation of a model as a part of its network, so that no program can do it differently or leave it out.

No program knows the preprocessing that keeps noise faint and few bright objects in range (`utils.images.normalise`).
Here it is made of operations that Keras and TensorFlow, from 1.15 on, have, and gives what the notebooks compute. Such
a network must be given a whole image: parts of one would each be brightened for themselves.
"""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from utils.images.normalise import BACKGROUND, CHUNK, DENSE, LEAST_RANGE, QUANTISATION, SIGNAL, STANDS_OUT

PRECISE = "float64"  # of ranks and ranges: in float32 the rank of a pixel among a million is off by a twentieth


def brightened(image: keras.KerasTensor, normalisation: Mapping) -> keras.KerasTensor:
    """What a network is given for an image.

    Parameters
    ----------
    image
        (batch, Y, X, C), float32, as read. The batch holds one image where images have a range of their own.
    normalisation
        That of model.json.

    Returns
    -------
    KerasTensor
        (batch, Y, X, C), float32; of images with a range of their own and a common one (batch, Y, X, 2 C).
    """
    ranges = []
    if normalisation["per"] != "training set":
        of = _signal_range if normalisation["kind"] == SIGNAL else _percentiles
        own = of(ops.transpose(image, (0, 3, 1, 2)), normalisation["low"], normalisation["high"])
        ranges.append([ops.reshape(ops.cast(one, "float32"), (1, 1, 1, image.shape[-1])) for one in own])
    if normalisation["per"] != "image":
        ranges.append([np.asarray(one, np.float32) for one in normalisation["range"]])
    seen = [(image - low) / (high - low) for low, high in ranges]
    return seen[0] if len(seen) == 1 else ops.concatenate(seen, axis=-1)


def _percentiles(image: keras.KerasTensor, low: float, high: float) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """As `utils.images.normalise.percentiles`, of an image (1, C, Y, X); (C, 1) each."""
    bottom, top, maximum = (_in_order(image)(q) for q in (low, high, 100))
    return bottom, _above(bottom, _above(bottom, top, maximum), bottom + 1)


def _signal_range(image: keras.KerasTensor, low: float, high: float) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """As `utils.images.normalise.signal_range`, of an image (1, C, Y, X); (C, 1) each."""
    smooth, noise = _smooth(image), _noise(image)
    at = _in_order(smooth)
    bottom, background = at(low), at(BACKGROUND)
    signal = ops.greater(_precise(_flat(smooth)), background + STANDS_OUT * noise)
    share = ops.mean(_precise(signal), axis=-1, keepdims=True)
    top = at(100 - (100 - high) * ops.minimum(share / DENSE, 1.0))
    top = ops.maximum(top, bottom + LEAST_RANGE * noise)
    return bottom, _above(bottom, top, bottom + 1)


def _above(bottom, top, otherwise):
    return ops.where(ops.greater(top, bottom), top, otherwise)


def _precise(values):
    return ops.cast(values, PRECISE)


def _flat(image):
    return ops.reshape(image, (image.shape[1], -1))


def _smooth(image: keras.KerasTensor) -> keras.KerasTensor:
    """Median of 3 x 3 pixels; those at the border are repeated beyond it."""
    padded = ops.pad(image, [[0, 0], [0, 0], [1, 1], [1, 1]], "symmetric")
    places: Sequence[slice] = [slice(0, -2), slice(1, -1), slice(2, None)]
    return ops.sort(ops.stack([padded[:, :, y, x] for y in places for x in places], axis=-1), axis=-1)[..., 4]


def _counted(values: keras.KerasTensor, axis: int = -1) -> keras.KerasTensor:
    """0, 1, 2 ... along an axis."""
    return ops.cumsum(ops.ones_like(values, dtype=PRECISE), axis=axis) - 1


def _in_order(image: keras.KerasTensor) -> Callable:
    """Function that gives a percentile (C, 1) of each channel of an image (1, C, Y, X), by linear interpolation."""
    values = ops.sort(_flat(image), axis=-1)
    last = ops.max(_counted(values), axis=-1, keepdims=True)
    return lambda q: _ranked(values, last * (q / 100))


def _ranked(values: keras.KerasTensor, position: keras.KerasTensor) -> keras.KerasTensor:
    """Values (C, n) in order -> those at a position (C, 1) between ranks, by linear interpolation; (C, 1)."""
    rank = _counted(values)
    below, above = (
        ops.sum(ops.where(ops.equal(rank, one), _precise(values), 0.0), axis=-1, keepdims=True)
        for one in (ops.floor(position), ops.ceil(position))
    )
    return below + (above - below) * (position - ops.floor(position))


def _noise(image: keras.KerasTensor) -> keras.KerasTensor:
    """As `utils.images.normalise.noise_level`, of an image (1, C, Y, X); (C, 1). Whole numbers count as such."""
    differences = ops.abs(image[:, :, :, 1:] - image[:, :, :, :-1])
    pixels = ops.sum(ops.ones_like(image[0, 0], dtype=PRECISE))
    looked_at = ops.equal(_counted(differences, axis=2) % ops.ceil(pixels / CHUNK), 0.0)
    in_order = ops.sort(_flat(ops.where(looked_at, differences, np.float32(np.inf))), axis=-1)
    number = ops.sum(_precise(_flat(looked_at)), axis=-1, keepdims=True)
    found = _ranked(in_order, (number - 1) / 2) / 0.6745 / 2**0.5
    whole = _precise(ops.all(ops.equal(image, ops.floor(image))))
    return ops.maximum(found, whole * QUANTISATION)
