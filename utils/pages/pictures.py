"""Microscopy images and masks -> RGB pictures for the screen. For looking only: nothing here feeds a network."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import PIL.Image
from PIL import Image as PillowImage
from scipy.ndimage import grey_dilation, maximum_filter, minimum_filter
from skimage.segmentation import find_boundaries, relabel_sequential
from skimage.util import montage as grid

from utils.files import atomic
from utils.images.masks import IGNORED, without_ignored
from utils.pages.colours import NOT_COUNTED, class_colours, label_colours, standing_out

LINE = 2.0  # pixels of the screen that an outline is wide
SHOWN = 300  # pixels of the screen that the longer side of a picture takes, four beside each other
SHOWN_ALONE = 400  # the same of a picture in a file, which is looked at alone, and small beside others
WIDEST = 0.12  # of the width of an object, so that its outline leaves it to be seen
SAMPLE = 64  # pixels a side of a picture that colours are chosen by
STRIP = 128  # rows of an overlay that are painted at a time, which bounds the memory
CHANNEL_COLOURS = {
    1: ((1, 1, 1),),
    2: ((0, 1, 0), (1, 0, 1)),  # green and magenta: the pair that red-green blind readers see
    3: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
# Any two are told apart by red-blind and green-blind readers, too (no green beside yellow, no blue beside magenta).
MANY_CHANNEL_COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0.3, 0), (0.6, 1, 0.8), (1, 0, 0.5))
DARK = 0.25  # brightness (0 to 1) that half of the pixels of a dark picture stay below
GAMMA = 0.5  # of dark pictures of results: an object a tenth as bright as the brightest is drawn a third as bright
BRIGHTENED = f"Dim parts are drawn brighter than they are (gamma {GAMMA:g}), so that faint objects are seen."
SIDE = 96  # pixels that a picture in a montage may be high and wide
LONGEST_NAME = 60
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)  # names that Windows keeps for devices


def line_width(shape: tuple[int, ...], shown: int = SHOWN) -> int:
    """Pixels of a picture (Y, X) that an outline is wide, so that it is seen at `shown` pixels of the longer side."""
    return max(1, round(LINE * max(shape) / max(1, shown)))


def _outlines(ids: np.ndarray, shown: int) -> np.ndarray:
    """Class id on the inner border of each region and 0 elsewhere, of `line_width`, less where regions are thin."""
    lines = ids * find_boundaries(ids, mode="inner", background=0)
    border, area = np.count_nonzero(lines), np.count_nonzero(ids > 0)
    width = min(line_width(ids.shape, shown), max(1, round(4 * WIDEST * area / max(1, border))))
    return grey_dilation(lines, size=(width, width)) if width > 1 else lines


def overlay(
    image: np.ndarray,
    ids: np.ndarray,
    classes: Sequence[dict],
    contours: bool = True,
    max_side: int = 2048,
    limits: np.ndarray | None = None,
    brighten: bool = False,
    colours: Mapping[int, tuple] | None = None,
    shown: int = SHOWN,
) -> np.ndarray:
    """Paint classes over an image, uint8 (Y, X, 3): a light tint and a contour; background is left as it is.

    Parameters
    ----------
    image, ids
        (Y, X, C) of any dtype, and class ids (Y, X); what is `IGNORED` is `greyed`.
    classes
        Class table as in model.json.
    contours
        Draw the borders of the classes in full colour; False: a stronger tint.
    max_side
        A larger image is thinned out to sides of at most this many pixels, which also bounds the memory taken.
    limits
        (2, C), as in `display_image`.
    brighten
        Draw the dim parts of a dark image brighter, see `gamma_of`.
    colours
        By class id; None: those of `class_colours` on this image.
    shown
        Pixels of the screen that the longer side will take, see `line_width`.

    Raises
    ------
    ValueError
        If image and ids differ in size.
    """
    if image.shape[:2] != ids.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, the mask {ids.shape}")
    image, ids = thin(image, max_side), thin(ids, max_side)
    limits = display_limits(image) if limits is None else limits
    gamma = gamma_of(image, limits) if brighten else 1.0
    lines = _outlines(ids, shown) if contours else np.zeros_like(ids)
    colours = class_colours(classes, seen(image, limits, gamma)) if colours is None else colours
    painted = np.empty((*ids.shape, 3), np.uint8)
    for y in range(0, len(ids), STRIP):
        rows = slice(y, y + STRIP)
        picture = greyed(display_image(image[rows], limits, gamma), ids[rows])
        painted[rows] = _paint(picture, ids[rows], lines[rows], colours, 0.3 if contours else 0.45)
    return painted


def _paint(picture: np.ndarray, ids: np.ndarray, lines: np.ndarray, colours: dict, opacity: float) -> np.ndarray:
    """Tint and outline a picture (Y, X, 3) of 0 to 1, which is changed; returns uint8."""
    for number, colour in colours.items():
        if number > 0:
            picture[ids == number] *= 1 - opacity
            picture[ids == number] += opacity * np.asarray(colour, np.float32)
            picture[lines == number] = colour
    return np.round(255 * picture).astype(np.uint8)


def greyed(picture: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Picture (Y, X, 3) of 0 to 1, changed in place: grey where class ids or labels (Y, X) are `IGNORED`."""
    ignored = ids == IGNORED
    picture[ignored] = 0.3 * picture[ignored] + 0.7 * np.asarray(NOT_COUNTED, np.float32)
    return picture


def seen(image: np.ndarray, limits: np.ndarray | None = None, gamma: float = 1.0) -> np.ndarray:
    """Small picture (y, x, 3) of an image (Y, X, C), to choose colours by that stand out from it."""
    return display_image(thin(image, SAMPLE), display_limits(image) if limits is None else limits, gamma)


def _usual_width(labels: np.ndarray) -> float:
    """Side in pixels of a square as large as an object of `labels` (Y, X) is on average; 0 without any object."""
    some = thin(labels, 4 * SAMPLE)
    n = np.count_nonzero(np.unique(some))
    return np.sqrt(np.count_nonzero(some) / n) * len(labels) / len(some) if n else 0.0


def label_outlines(labels: np.ndarray, shown: int = SHOWN) -> np.ndarray:
    """Border of each object of `labels` (Y, X), bool (Y, X), of `line_width`, less where objects are small.

    It lies inside of the object, so that of two touching objects both are seen. 0 is background.
    """
    size = 1 + 2 * min(line_width(labels.shape, shown), max(1, round(WIDEST * _usual_width(labels))))
    return (labels > 0) & (maximum_filter(labels, size) != minimum_filter(labels, size))


def paint_labels(
    picture: np.ndarray, labels: np.ndarray, lines: np.ndarray, colours: np.ndarray, opacity: float
) -> np.ndarray:
    """Tint and outline objects; a new picture, float32 (Y, X, 3), 0 to 1.

    Parameters
    ----------
    picture, labels
        float32 (Y, X, 3), 0 to 1, and integers (Y, X); background (0) is left as it is.
    lines
        bool (Y, X), where outlines are drawn, in full colour.
    colours
        (n + 1, 3), red, green and blue, 0 to 1, by label.
    opacity
        Of the tint, 0 to 1.
    """
    weight = np.where(lines, 1, np.where(labels > 0, np.float32(opacity), 0))[..., None]
    return (1 - weight) * picture + weight * colours.astype(np.float32)[labels]


def label_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    contours: bool = True,
    max_side: int = 2048,
    limits: np.ndarray | None = None,
    class_ids: Mapping[int, int] | None = None,
    brighten: bool = False,
    shown: int = SHOWN,
) -> np.ndarray:
    """Paint objects over an image, uint8 (Y, X, 3), neighbours in different colours that stand out from the image.

    Parameters
    ----------
    image, labels
        (Y, X, C) of any dtype, and integers (Y, X); background (0) is left as it is, what is `IGNORED` is `greyed`.
    contours
        Draw outlines, and leave the image inside of them as it is; False: tint the objects.
    max_side, limits, brighten, shown
        As in `overlay`.
    class_ids
        Class id of each label: then each object gets the colour of its class, as in `class_colours`.

    Raises
    ------
    ValueError
        If image and labels differ in size, or labels are negative but for `IGNORED`.
    KeyError
        If a label has no class id.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, the labels {labels.shape}")
    image = thin(image, max_side)
    stored = np.asarray(thin(labels, max_side))
    labels, _, numbers = relabel_sequential(without_ignored(stored))
    limits = display_limits(image) if limits is None else limits
    gamma = gamma_of(image, limits) if brighten else 1.0
    lines = label_outlines(labels, shown) if contours else np.zeros(labels.shape, bool)
    if class_ids is None:
        colours = label_colours(labels, standing_out(seen(image, limits, gamma)))
    else:
        ids = [class_ids[int(number)] for number in np.asarray(numbers)[1:]]
        by_class = class_colours([{"id": one} for one in set(ids)])
        colours = np.array([by_class[one] for one in (0, *ids)])
    painted = np.empty((*labels.shape, 3), np.uint8)
    for y in range(0, len(labels), STRIP):
        rows = slice(y, y + STRIP)
        picture = greyed(display_image(image[rows], limits, gamma), stored[rows])
        opacity = 0.0 if contours else 0.45
        painted[rows] = np.round(255 * paint_labels(picture, labels[rows], lines[rows], colours, opacity))
    return painted


def write_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write `picture`, uint8 (Y, X, 3) or (Y, X), as a PNG file, whole or not at all.

    Raises
    ------
    DataError
        If the disk is full or the folder cannot be written to.
    """
    with atomic(path) as temporary:
        PillowImage.fromarray(picture).save(temporary, format="PNG")


def thin(array: np.ndarray, max_side: int) -> np.ndarray:
    """Take every k-th row and column of (Y, X, ...) so that no side is longer than `max_side`.

    A view, also of a file mapped to memory; an array that is small enough stays as it is.
    """
    step = -(-max(array.shape[:2]) // max_side)
    return array[::step, ::step]


def display_limits(image: np.ndarray, together: bool | None = None, low: float = 1, high: float = 99.8) -> np.ndarray:
    """Intensities shown as black and as brightest, per channel of an image (Y, X, C): float64 (2, C).

    They are the percentiles `low` and `high` (0 to 100); where these coincide (a few bright spots on black), smallest
    and largest value, and where these do too (a constant image), the range of the dtype, or 0 to 1 for floats. With
    `together` all channels share their limits, so that colours stay what they are: the default for 8-bit images of
    three channels.
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


def gamma_of(image: np.ndarray, limits: np.ndarray) -> float:
    """Gamma with which faint objects of an image (Y, X, C) are seen: `GAMMA` for a mostly dark one, else 1."""
    return GAMMA if np.median(display_image(thin(image, 256), limits).max(axis=-1)) < DARK else 1.0


def is_brightened(picture: np.ndarray) -> bool:
    """Whether a picture of results (Y, X, 3), uint8 or 0 to 1, is so dark that its dim parts were drawn brighter."""
    white = 255 if picture.dtype == np.uint8 else 1
    return bool(np.median(picture[..., :3].max(axis=-1)) < white * DARK**GAMMA)


def result_image(image: np.ndarray) -> np.ndarray:
    """`display_image` of an image (Y, X, C) for a picture of results, in which missed faint objects must be seen."""
    limits = display_limits(image)
    return display_image(image, limits, gamma_of(image, limits))


def display_image(image: np.ndarray, limits: np.ndarray | None = None, gamma: float = 1.0) -> np.ndarray:
    """Turn an image of any kind into an RGB picture, float32 (Y, X, 3), 0 to 1; brighter stays brighter.

    Parameters
    ----------
    image
        (Y, X, C) or (Y, X). One channel is shown in grey, two in green and magenta, three as red, green and blue, more
        in a colour each.
    limits
        (2, C), intensities shown as black and as brightest; by default those of `display_limits`. Give the same limits
        to pictures that are to be compared.
    gamma
        Power that the brightness (0 to 1) is raised to; below 1 what is dim becomes brighter.
    """
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    limits = display_limits(image) if limits is None else limits
    n_channels = image.shape[-1]
    picture = np.zeros((*image.shape[:2], 3), np.float32)
    for i in range(n_channels):
        low, high = limits[:, i]
        stretched = np.clip((image[..., i].astype(np.float32) - low) / (high - low), 0, 1)
        stretched = stretched if gamma == 1 else stretched**gamma
        colours = CHANNEL_COLOURS.get(n_channels, MANY_CHANNEL_COLOURS)
        picture += stretched[..., None] * np.asarray(colours[i % len(colours)], np.float32)
    return np.clip(picture, 0, 1, out=picture)


def thumbnail(array: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Small picture, uint8 (y, x, 3), of an image (Y, X, C) of any dtype, in a contrast of its own.

    No side is longer than `side`; a small image keeps its size.
    """
    picture = PIL.Image.fromarray(np.round(255 * display_image(thin(array, 4 * side))).astype(np.uint8))
    picture.thumbnail((side, side))
    return np.asarray(picture)


def montage(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Grid of pictures, row by row, each in the middle of its cell: uint8 (Y, X, 3).

    It is grey between the pictures, black around smaller ones.

    Parameters
    ----------
    pictures
        At least one, each uint8 (y, x, 3).
    """
    height, width = np.max([one.shape[:2] for one in pictures], axis=0)
    cells = np.zeros((len(pictures), height, width, 3), np.uint8)
    for cell, one in zip(cells, pictures, strict=True):
        y, x = (height - one.shape[0]) // 2, (width - one.shape[1]) // 2
        cell[y : y + one.shape[0], x : x + one.shape[1]] = one
    columns = int(np.ceil(np.sqrt(len(cells) * height / width)))
    shape = -(-len(cells) // columns), columns
    return grid(cells, fill=(128, 128, 128), grid_shape=shape, padding_width=2, channel_axis=-1)


def file_stems(names: Sequence[str]) -> list[str]:
    """Names of files without ending, one for each of `names`, that every operating system takes and tells apart.

    Letters with accents are kept; what a file system refuses becomes "_".
    """
    stems = []
    for name in names:
        stem = re.sub(r"[^\w .+-]", "_", unicodedata.normalize("NFC", name))[:LONGEST_NAME].strip(" .") or "_"
        stem = f"{stem}_" if RESERVED.match(stem) else stem
        taken = {one.casefold() for one in stems}
        choices = (stem + (f"_{i}" if i else "") for i in range(len(names) + 1))
        stems.append(next(one for one in choices if one.casefold() not in taken))
    return stems
