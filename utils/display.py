"""Intensities of microscopy images -> brightness and colour on the screen. For looking only."""

import numpy as np

CHANNEL_COLOURS = {
    1: ((1, 1, 1),),
    2: ((0, 1, 0), (1, 0, 1)),  # green and magenta: the pair that red-green blind readers see
    3: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
# Any two are told apart by red-blind and green-blind readers, too (no green beside yellow, no blue beside magenta).
MANY_CHANNEL_COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0.3, 0), (0.6, 1, 0.8), (1, 0, 0.5))


def thin(array: np.ndarray, max_side: int) -> np.ndarray:
    """Take every k-th row and column so that no side is longer than wanted; a view, also of a file mapped to memory.

    Parameters
    ----------
    array : ndarray, shape (Y, X, ...)
        Image or mask.
    max_side : int
        Longest side wanted.

    Returns
    -------
    ndarray, shape (Y / k, X / k, ...)
        The array itself if it is small enough.
    """
    step = -(-max(array.shape[:2]) // max_side)
    return array[::step, ::step]


def display_limits(image: np.ndarray, together: bool | None = None, low: float = 1, high: float = 99.8) -> np.ndarray:
    """Intensities shown as black and as brightest, per channel.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Any numeric dtype.
    together : bool, optional
        Whether all channels share their limits, so that colours stay what they are; by default those of an 8-bit image
        of three channels (a photograph) do.
    low, high : float
        Percentiles, 0 to 100.

    Returns
    -------
    ndarray of float64, shape (2, C)
        Where the percentiles coincide (a few bright spots on black), smallest and largest value; where these coincide
        too (a constant image), the range of the dtype, or 0 to 1 for floats.
    """
    pixels = thin(image, 1024).reshape(-1, image.shape[-1])
    if together is None:
        together = image.shape[-1] == 3 and image.dtype == np.uint8
    limits = np.percentile(pixels, [low, high], axis=None if together else 0).reshape(2, -1)
    limits = np.repeat(limits, image.shape[-1] // limits.shape[1], axis=1)
    for channel in np.flatnonzero(limits[0] >= limits[1]):
        values = image[..., channel]
        limits[:, channel] = values.min(), values.max()
        if limits[0, channel] == limits[1, channel]:
            limits[:, channel] = 0, np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1
    return limits


def display_image(image: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
    """Turn an image of any kind into an RGB picture; brighter stays brighter.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C) or (Y, X)
        One channel is shown in grey, two in green and magenta, three as red, green and blue, more in a colour each.
    limits : ndarray, shape (2, C), optional
        Intensities shown as black and as brightest; by default those of display_limits. Give the same limits to
        pictures that are to be compared.

    Returns
    -------
    ndarray of float32, shape (Y, X, 3)
        0 to 1.
    """
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    limits = display_limits(image) if limits is None else limits
    n_channels = image.shape[-1]
    picture = np.zeros((*image.shape[:2], 3), np.float32)
    for i in range(n_channels):
        low, high = limits[:, i]
        stretched = np.clip((image[..., i].astype(np.float32) - low) / (high - low), 0, 1)
        colours = CHANNEL_COLOURS.get(n_channels, MANY_CHANNEL_COLOURS)
        picture += stretched[..., None] * np.asarray(colours[i % len(colours)], np.float32)
    return np.clip(picture, 0, 1, out=picture)
