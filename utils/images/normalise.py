"""Brightness brought to a common range by percentiles."""

from collections.abc import Mapping

import numpy as np

from utils.images.image import CHUNK

NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


def normalise(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Patch or tile (Y, X, C) of any dtype as float32 in which `low` (C,) is 0 and `high` (C,) is 1."""
    return (array.astype(np.float32) - low) / (high - low)


def percentiles(array: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Two percentiles of each channel over the whole image, as `numpy.percentile` defines them (linear interpolation).

    Parameters
    ----------
    array
        (Y, X, C). uint8 and uint16 are counted without a copy; other dtypes copy one channel at a time.
    low, high
        Between 0 and 100.

    Returns
    -------
    low, high
        (C,), float32, high > low: where the percentiles coincide, high is the maximum (a few bright spots on an even
        background), and low + 1 for a constant channel.
    """
    values = np.array([_channel_percentiles(array[..., c], (low, high, 100)) for c in range(array.shape[-1])])
    bottom, top, maximum = values.T
    top = np.where(top > bottom, top, maximum)
    return bottom.astype(np.float32), np.where(top > bottom, top, bottom + 1).astype(np.float32)


def _channel_percentiles(channel: np.ndarray, q: tuple[float, ...]) -> np.ndarray:
    """Percentiles `q` of one channel (Y, X): from a histogram for 8 and 16 bits, else from a copy."""
    if channel.dtype.kind != "u" or channel.size < np.iinfo(channel.dtype).max:  # fewer pixels than bins
        return np.percentile(channel.flatten(), q, overwrite_input=True)
    counts, rows = np.zeros(np.iinfo(channel.dtype).max + 1, np.int64), max(1, CHUNK // channel.shape[1])
    for y in range(0, len(channel), rows):
        counts += np.bincount(channel[y : y + rows].ravel(), minlength=len(counts))
    position = np.asarray(q) / 100 * (channel.size - 1)
    below, above = (np.searchsorted(counts.cumsum(), at, "right") for at in (np.floor(position), np.ceil(position)))
    return below + (above - below) * (position % 1)


def normalisation_range(array: np.ndarray, normalisation: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Values (C,) of an image that become 0 and 1: the one preprocessing of training, evaluation and prediction.

    `array` (Y, X, C) is the whole image as read; `normalisation` is that of model.json, see `NORMALISATION`.
    """
    return percentiles(array, normalisation["low"], normalisation["high"])
