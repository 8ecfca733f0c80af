"""Arrays to TIFF files that Fiji, QuPath and Python read alike."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from utils.files import atomic


def write_tiff(
    path: Path,
    array: np.ndarray,
    pixel_size_um: float | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    value_range: tuple[float, float] | None = None,
    software: str | None = None,
) -> None:
    """Write a TIFF that Fiji, QuPath and Python read alike; whole or not at all.

    Parameters
    ----------
    path
        An earlier file of that name is replaced once the new one is complete.
    array
        (Y, X) or (Y, X, C). bool, uint8, uint16, float32 (three of uint8 are colour), or labels of uint32.
    pixel_size_um
        Width of a pixel in micrometres.
    colours
        Colour 0 to 255 of each value of a uint8 mask; other values are black. The values are stored unchanged.
    value_range
        What Fiji shows as black and white, where there are no colours: it would stretch their table over the range.
    software
        Said in the file to have written it.

    Raises
    ------
    DataError
        Where the disk is full or the folder cannot be written to.
    """
    array = array.astype(np.uint8) if array.dtype == bool else array
    rgb = array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    axes = "YX" if array.ndim == 2 else "YXS" if rgb else "CYX"
    shown = (0, 255) if colours is not None else value_range  # value v is shown in colour v of the table
    options = tiff_options(axes, array.dtype != np.uint32, pixel_size_um, shown) | {"software": software}
    if rgb:
        options["photometric"] = "rgb"
    if colours is not None:
        options |= {"photometric": "palette", "colormap": _colour_table(colours)}
    pixels = np.moveaxis(array, -1, 0) if axes == "CYX" else array
    with atomic(path) as temporary:
        tifffile.imwrite(temporary, pixels, **options)


def tiff_options(
    axes: str, imagej: bool, pixel_size_um: float | None = None, value_range: tuple[float, float] | None = None
) -> dict:
    """Arguments of `tifffile.imwrite` that tell the meaning of a file.

    Parameters
    ----------
    axes
        Letter of each dimension.
    imagej
        In ImageJ's own format, which has neither uint32 nor more than 4 GB; a plain TIFF keeps such labels exact.
    pixel_size_um, value_range
        Width of a pixel in micrometres, and what Fiji shows as black and white.
    """
    metadata: dict = {"axes": axes}
    options: dict = {"photometric": "minisblack", "imagej": imagej, "metadata": metadata}
    if pixel_size_um:
        scale = 1 if imagej else 1e4  # pixels per micrometre, or per centimetre where the unit is a tag
        options |= {"resolution": (scale / pixel_size_um,) * 2, "resolutionunit": "NONE" if imagej else "CENTIMETER"}
        metadata["unit"] = "um"
    if value_range is not None:
        metadata |= {"min": float(value_range[0]), "max": float(value_range[1])}
    return options


def _colour_table(colours: Mapping[int, tuple[int, int, int]]) -> np.ndarray:
    """TIFF colour table (3, 256) uint16 from 8-bit colours."""
    table = np.zeros((3, 256), np.uint16)
    for value, colour in colours.items():
        table[:, value] = np.multiply(colour, 257)
    return table
