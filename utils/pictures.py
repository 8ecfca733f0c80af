"""Microscopy images and masks -> RGB pictures for the screen. For looking only: nothing here feeds a network."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image as PillowImage
from scipy.ndimage import grey_dilation, maximum_filter, minimum_filter
from skimage.segmentation import find_boundaries, relabel_sequential

from utils.colours import class_colours, label_colours
from utils.display import display_image, display_limits, thin
from utils.files import atomic

STRIP = 128  # rows of an overlay that are painted at a time, which bounds the memory


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


def label_outlines(labels: np.ndarray) -> np.ndarray:
    """Border of each object, inside of it, so that of two touching objects both are seen; thicker on large pictures.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)
        0 = background.

    Returns
    -------
    ndarray of bool, shape (Y, X)
    """
    size = 1 + 2 * int(np.clip(round(max(labels.shape) / 500), 1, 3))
    return (labels > 0) & (maximum_filter(labels, size) != minimum_filter(labels, size))


def paint_labels(
    picture: np.ndarray, labels: np.ndarray, lines: np.ndarray, colours: np.ndarray, opacity: float
) -> np.ndarray:
    """Tint and outline objects.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, 3)
        0 to 1; left as it is.
    labels : ndarray of integers, shape (Y, X)
        0 = background, which is left as it is.
    lines : ndarray of bool, shape (Y, X)
        Where outlines are drawn, in full colour.
    colours : ndarray, shape (n + 1, 3)
        Red, green and blue, 0 to 1, by label.
    opacity : float
        Of the tint, 0 to 1.

    Returns
    -------
    ndarray of float32, shape (Y, X, 3)
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
) -> np.ndarray:
    """Paint objects over an image, neighbours in different colours: a light tint and a contour.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Any dtype.
    labels : ndarray of integers, shape (Y, X)
        0 = background, which is left as it is.
    contours : bool
        Draw the border of each object in full colour; False: a stronger tint.
    max_side : int
        A larger image is thinned out to sides of at most this many pixels, which also bounds the memory taken.
    limits : ndarray, shape (2, C), optional
        Intensities shown as black and as brightest, as in display_image.
    class_ids : mapping of int to int, optional
        Class id of each label: then each object gets the colour of its class, as in class_colours.

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)

    Raises
    ------
    ValueError
        If image and labels differ in size, or labels are negative.
    KeyError
        If a label has no class id.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, the labels {labels.shape}")
    image = thin(image, max_side)
    labels, _, numbers = relabel_sequential(np.asarray(thin(labels, max_side)))
    limits = display_limits(image) if limits is None else limits
    lines = label_outlines(labels) if contours else np.zeros(labels.shape, bool)
    if class_ids is None:
        colours = label_colours(labels)
    else:
        ids = [class_ids[int(number)] for number in np.asarray(numbers)[1:]]
        by_class = class_colours([{"id": one} for one in set(ids)])
        colours = np.array([by_class[one] for one in (0, *ids)])
    painted = np.empty((*labels.shape, 3), np.uint8)
    for y in range(0, len(labels), STRIP):
        rows = slice(y, y + STRIP)
        picture = display_image(image[rows], limits)
        opacity = 0.2 if contours else 0.45
        painted[rows] = np.round(255 * paint_labels(picture, labels[rows], lines[rows], colours, opacity))
    return painted


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
