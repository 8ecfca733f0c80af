"""Many small pictures in one, to see at a glance what a class holds."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import PIL.Image
from skimage.util import montage as grid

from utils.display import display_image, thin

SIDE = 96  # pixels that a picture in a montage may be high and wide
LONGEST_NAME = 60
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)  # names that Windows keeps for devices


def thumbnail(array: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Small picture of an image, in a contrast of its own.

    Parameters
    ----------
    array : ndarray, shape (Y, X, C)
        Any dtype.
    side : int
        Height and width that are not exceeded; a small image keeps its size.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
    """
    picture = PIL.Image.fromarray(np.round(255 * display_image(thin(array, 4 * side))).astype(np.uint8))
    picture.thumbnail((side, side))
    return np.asarray(picture)


def montage(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Grid of pictures, row by row, each in the middle of its cell.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shape (y, x, 3)
        At least one.

    Returns
    -------
    ndarray of uint8, shape (Y, X, 3)
        Grey between the pictures, black around smaller ones.
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
