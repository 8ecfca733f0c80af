"""Microscopy images and masks -> RGB pictures for the screen. For looking only: nothing here feeds a network."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage
from scipy.ndimage import grey_dilation
from skimage.segmentation import find_boundaries

from utils.files import atomic

# Okabe M, Ito K (2008) Color Universal Design, https://jfly.uni-koeln.de/color: told apart by colour-blind readers.
ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    for code in ("E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7")
)
# Yellow and green first: seen on black fluorescence as well as on purple and pink stains.
CLASS_COLOURS = (YELLOW, GREEN, VERMILION, SKY_BLUE, PURPLE, BLUE, ORANGE)
CHANNEL_COLOURS = {
    1: ((1, 1, 1),),
    2: ((0, 1, 0), (1, 0, 1)),  # green and magenta: the pair that red-green blind readers see
    3: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
STRIP = 128  # rows of an overlay that are painted at a time, which bounds the memory
MANY_CHANNEL_COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 1, 0), (1, 0.4, 0), (0.3, 0.4, 1))


def class_colours(classes: Sequence[dict]) -> dict[int, tuple[float, float, float]]:
    """Colour of each class.

    Parameters
    ----------
    classes : list of dict
        Class table as in model.json.

    Returns
    -------
    dict of int to (red, green, blue)
        0 to 1 each, by class id. Background (id 0) is black here, and left transparent by `overlay`. Past seven
        classes the colours come again, lighter, then darker.
    """
    colours = {0: (0.0, 0.0, 0.0)}
    for one in classes:
        if one["id"] > 0:
            turn, i = divmod(one["id"] - 1, len(CLASS_COLOURS))
            weight, target = ((1.0, 0.0), (0.5, 0.5), (0.5, 0.0))[turn % 3]
            colours[one["id"]] = tuple(weight * value + target for value in CLASS_COLOURS[i])
    return colours


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


def _outlines(ids: np.ndarray) -> np.ndarray:
    """Class id on the inner border of each region and 0 elsewhere; thicker on pictures that will be shown smaller."""
    width = int(np.clip(round(max(ids.shape) / 250), 1, 3))
    lines = ids * find_boundaries(ids, mode="inner", background=0)
    return grey_dilation(lines, size=(width, width)) if width > 1 else lines


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    classes: Sequence[dict],
    contours: bool = True,
    max_side: int = 2048,
    limits: np.ndarray | None = None,
) -> np.ndarray:
    """Paint classes over an image: a light tint and a contour, background left as it is.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Any dtype.
    ids : ndarray of integers, shape (Y, X)
        Class ids.
    classes : list of dict
        Class table as in model.json.
    contours : bool
        Draw the borders of the classes in full colour.
    max_side : int
        A larger image is thinned out to sides of at most this many pixels, which also bounds the memory taken.
    limits : ndarray, shape (2, C), optional
        Intensities shown as black and as brightest, as in display_image.

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)

    Raises
    ------
    ValueError
        If image and ids differ in size.
    """
    if image.shape[:2] != ids.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, the mask {ids.shape}")
    image, ids = thin(image, max_side), thin(ids, max_side)
    limits = display_limits(image) if limits is None else limits
    lines = _outlines(ids) if contours else np.zeros_like(ids)
    painted = np.empty((*ids.shape, 3), np.uint8)
    for y in range(0, len(ids), STRIP):
        rows = slice(y, y + STRIP)
        picture = display_image(image[rows], limits)
        painted[rows] = _paint(picture, ids[rows], lines[rows], class_colours(classes), 0.3 if contours else 0.45)
    return painted


def _paint(picture: np.ndarray, ids: np.ndarray, lines: np.ndarray, colours: dict, opacity: float) -> np.ndarray:
    """Tint and outline a picture (Y, X, 3) of 0 to 1, which is changed; returns uint8."""
    for number, colour in colours.items():
        if number > 0:
            picture[ids == number] *= 1 - opacity
            picture[ids == number] += opacity * np.asarray(colour, np.float32)
            picture[lines == number] = colour
    return np.round(255 * picture).astype(np.uint8)


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a PNG file whole or not at all.

    Parameters
    ----------
    path : path
        Where to.
    picture : ndarray of uint8, shape (Y, X, 3) or (Y, X)
        Picture.

    Raises
    ------
    DataError
        If the disk is full or the folder cannot be written to.
    """
    with atomic(path) as temporary:
        PillowImage.fromarray(picture).save(temporary, format="PNG")
