"""Brightness brought to a common range: by percentiles of each image, or by one range for all images."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import median_filter

CHUNK = 1 << 20  # pixels worked on at a time
NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}
SIGNAL = "signal percentile"  # a kind of normalisation, see `signal_range`
EACH_IMAGE, TOGETHER, BOTH = "each image", "all images together", "both"  # as in the forms
PER = {EACH_IMAGE: "image", TOGETHER: "training set", BOTH: "both"}  # the same in model.json
POOLED = 1 << 16  # pixels of each image that count where all images have one range
BACKGROUND = 25  # percentile that is background wherever background covers more than that
STANDS_OUT = 5  # standard deviations of the noise above the background from which a pixel is signal
DENSE = 0.1  # share of signal from which on the percentile of all pixels is well inside the signal
LEAST_RANGE = 15  # standard deviations of the noise: less is never stretched to the full range
QUANTISATION = 12**-0.5  # standard deviation of rounding to whole numbers


def normalise(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Patch or tile (Y, X, C) of any dtype as float32 in which `low` (C,) is 0 and `high` (C,) is 1."""
    return (array.astype(np.float32) - low) / (high - low)


def denormalise(array: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Undo `normalise`: a patch (Y, X, C) as float32 in the image's own values, for pictures that a person sees."""
    return array * (high - low) + low


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
    values = np.array([_Values(array[..., c]).at((low, high, 100)) for c in range(array.shape[-1])])
    bottom, top, maximum = values.T
    top = np.where(top > bottom, top, maximum)
    return bottom.astype(np.float32), np.where(top > bottom, top, bottom + 1).astype(np.float32)


class _Values:
    """All values of one channel (Y, X) in order: a histogram for 8 and 16 bits, else a sorted copy.

    With `smooth`, those of the channel after a median filter of 3 x 3 pixels, which removes single hot pixels.
    """

    def __init__(self, channel: np.ndarray, smooth: bool = False):
        self.size, rows = channel.size, max(1, CHUNK // channel.shape[1])
        bands = (_band(channel, y, rows, smooth) for y in range(0, len(channel), rows))
        if channel.dtype.kind != "u" or channel.size < np.iinfo(channel.dtype).max:  # fewer pixels than bins
            self.values, self.below = np.sort(np.concatenate([band.ravel() for band in bands])), None
            return
        counts = np.zeros(np.iinfo(channel.dtype).max + 1, np.int64)
        for band in bands:
            counts += np.bincount(band.ravel(), minlength=len(counts))
        self.values, self.below = np.arange(len(counts)), counts.cumsum()

    def at(self, q: Sequence[float]) -> np.ndarray:
        """Percentiles `q`, 0 to 100, with linear interpolation, float64."""
        position = np.asarray(q) / 100 * (self.size - 1)
        below, above = (self._ranked(rank.astype(np.int64)) for rank in (np.floor(position), np.ceil(position)))
        return below + (above - below) * (position % 1)

    def share_above(self, value: float) -> float:
        """Share of the pixels that are larger than `value`."""
        place = np.searchsorted(self.values, value, "right")
        below = place if self.below is None else self.below[place - 1] if place else 0
        return 1 - below / self.size

    def _ranked(self, rank: np.ndarray) -> np.ndarray:
        place = rank if self.below is None else np.searchsorted(self.below, rank, "right")
        return self.values[place].astype(np.float64)


def _band(channel: np.ndarray, y: int, rows: int, smooth: bool) -> np.ndarray:
    """Rows y .. y + rows of a channel, filtered with their neighbours where that is asked for."""
    if not smooth:
        return np.asarray(channel[y : y + rows])
    top = max(0, y - 1)
    return median_filter(channel[top : y + rows + 1], 3, mode="nearest")[y - top :][:rows]


def noise_level(channel: np.ndarray) -> float:
    """Standard deviation of the noise of one channel (Y, X), from differences between neighbours in a row.

    The median of the differences is robust against edges of objects; whole numbers have at least the noise of their
    rounding. At most `CHUNK` pixels, in rows spread over the image, are looked at.
    """
    every = -(-channel.size // CHUNK)
    differences = np.abs(np.diff(channel[::every].astype(np.float64), axis=1))
    rounding = 0.0 if channel.dtype.kind == "f" else QUANTISATION
    return max(rounding, float(np.median(differences)) / 0.6745 / 2**0.5 if differences.size else 0.0)


def signal_range(array: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Range of an image in which few bright objects keep their contrast and noise alone stays faint.

    The upper percentile is counted among what stands out from the background: where objects cover less than a tenth of
    the image, it moves towards the maximum in proportion, so that it lies inside the objects however few they are. The
    range is never less than `LEAST_RANGE` times the noise. Arguments and result are those of `percentiles`.
    """
    ranges = [_channel_range(array[..., c], low, high) for c in range(array.shape[-1])]
    return tuple(np.array(values, np.float32) for values in zip(*ranges, strict=True))


def _channel_range(channel: np.ndarray, low: float, high: float) -> tuple[float, float]:
    values, noise = _Values(channel, smooth=True), noise_level(channel)
    bottom, background = values.at((low, BACKGROUND))
    share = values.share_above(background + STANDS_OUT * noise)
    (top,) = values.at([100 - (100 - high) * min(1, share / DENSE)])
    top = max(top, bottom + LEAST_RANGE * noise)
    return bottom, top if top > bottom else bottom + 1


def normalisation_of(arrays: Sequence[np.ndarray], per: str, joint: bool = False) -> dict:
    """What model.json says of the normalisation.

    Parameters
    ----------
    arrays
        Training images (Y, X, C).
    per
        `EACH_IMAGE`: every image has its own `signal_range`. `TOGETHER`: one range serves all images, the percentiles
        of their pixels put together, of which each image gives equally many.
    joint
        Whether that one range is the same for all channels, as colours are better left as they are.
    """
    if per == EACH_IMAGE:
        return NORMALISATION | {"kind": SIGNAL}
    rng = np.random.default_rng(0)
    flat = [array.reshape(-1, 1, array.shape[-1]) for array in arrays]
    pixels = [one[rng.integers(0, len(one), POOLED)] if len(one) > POOLED else one for one in flat]
    return common_range(pixels, TOGETHER, joint)


def common_range(pixels: Sequence[np.ndarray], per: str, joint: bool = False) -> dict:
    """What model.json says where pixels, (n, 1, C) of each image, have one range; `per` is `TOGETHER` or `BOTH`."""
    low, high = percentiles(np.concatenate(pixels), NORMALISATION["low"], NORMALISATION["high"])
    if joint:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    channels = "joint" if joint else "separate"
    return NORMALISATION | {"per": PER[per], "channels": channels, "range": [low.tolist(), high.tolist()]}


def asked_by(normalisation: Mapping) -> str:
    """What a form says of the `normalisation` of model.json."""
    return {told: per for per, told in PER.items()}[normalisation["per"]]


def normalisation_range(array: np.ndarray, normalisation: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Values (C,) of an image that become 0 and 1: the one preprocessing of training, evaluation and prediction.

    `array` (Y, X, C) is the whole image as read; `normalisation` is that of model.json, see `NORMALISATION`.
    """
    if normalisation["per"] != "image":
        return tuple(np.asarray(values, np.float32) for values in normalisation["range"])
    ranges = signal_range if normalisation["kind"] == SIGNAL else percentiles
    if normalisation.get("channels") == "joint" and array.shape[-1] > 1:  # only models of others
        low, high = ranges(array.reshape(len(array), -1, 1), normalisation["low"], normalisation["high"])
        return np.repeat(low, array.shape[-1]), np.repeat(high, array.shape[-1])
    return ranges(array, normalisation["low"], normalisation["high"])


def normalised(array: np.ndarray, normalisation: Mapping) -> np.ndarray:
    """A whole image (Y, X, C) as read, as float32 in the range that `normalisation` gives it."""
    return normalise(array, *normalisation_range(array, normalisation))
