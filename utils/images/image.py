"""Image files to arrays and back, with nothing lost or guessed on the way."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from utils.errors import DataError
from utils.files import atomic
from utils.images.axes import to_yxc
from utils.images.decoders import read_pixels
from utils.paths import JPEG_SUFFIXES

CHUNK = 1 << 20  # pixels worked on at a time


@dataclass(frozen=True)
class Image:
    """One plane: `array` (Y, X, C) of dtype uint8, uint16 or float32; `axes` is what the file held, such as "CYX"."""

    path: Path
    array: np.ndarray
    pixel_size_um: float | None
    axes: str


def read_image(path: Path, axes: str = "automatic", memory_map: bool = False) -> Image:
    """Read one plane with its channels.

    An alpha channel is dropped, a PNG with a colour table becomes RGB, and a JPEG is turned upright as its EXIF data
    say, which is how browsers and annotation tools show it. Pixel values are never rescaled or inverted. uint8, uint16
    and float32 stay; bool becomes uint8 (0, 1), other floats float32, other integers float32 where that is exact.

    Parameters
    ----------
    path
        TIFF, PNG, JPEG, BMP or GIF.
    axes
        Meaning of the dimensions as stored, one of `utils.images.axes.AXES` (those of length 1 do not count).
        "automatic": from OME or ImageJ metadata; without it two dimensions are YX, and a last dimension of 3 or 4 is
        colour.
    memory_map
        Leave the pixels of an uncompressed TIFF on the disk (read-only; the byte order may be foreign).

    Raises
    ------
    DataError
        Unreadable or truncated file, stack or time series, unknown axes, NaN or infinite values, unsupported dtype.
    """
    array, stored, pixel_size = read_pixels(path, memory_map)
    return checked_image(to_yxc(array, stored, axes, path), path, pixel_size, stored)


def checked_image(array: np.ndarray, path: Path, pixel_size_um: float | None, axes: str) -> Image:
    """Image of a plane (Y, X, C) as it was stored; dtypes and errors as `read_image`."""
    array = _standard_dtype(array, path)
    if not _is_finite(array):
        raise DataError(
            f"{path} has pixels without a number (NaN, infinite). Replace them (Fiji: Process > Math > NaN Background)."
        )
    return Image(Path(path), array, pixel_size_um, axes)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask (Y, X), of an unsigned integer dtype, with the very values stored in it.

    TIFF, PNG, BMP or GIF: one channel, or three equal ones. A colour table is ignored: its indices are the values.
    DataError as `read_image`, and for a colour picture, a JPEG, negative or fractional values.
    """
    if path.suffix.lower() in JPEG_SUFFIXES:
        raise DataError(f"{path} is a JPEG, which smears the values of a mask. Export it again as TIFF or PNG.")
    array, stored, _ = read_pixels(path, palette=True)
    array = to_yxc(array, stored, "automatic", path)
    if array.shape[-1] > 1 and (array != array[..., :1]).any():
        raise DataError(
            f"{path} is a colour picture, not a mask. Export it with one channel in which each class has a value of "
            "its own (0 = background, 1, 2, ...)."
        )
    return whole_numbers(array[..., 0], path)


def whole_numbers(mask: np.ndarray, path: Path) -> np.ndarray:
    """Return `mask` as unsigned integers; DataError where that would change a value."""
    if mask.dtype.kind in "bu":
        return mask.astype(np.uint8 if mask.dtype.kind == "b" else mask.dtype.newbyteorder("="))
    lowest, highest = (mask.min(), mask.max()) if np.isfinite(mask).all() else (-1, -1)
    if lowest < 0 or highest >= 2**32 or (mask != np.floor(mask)).any():
        raise DataError(
            f"{path} has fractional, negative or infinite values, but a mask holds whole numbers. Save it as 8-bit or "
            "16-bit with 0 for background and 1, 2, ... for classes or objects."
        )
    return mask.astype(np.min_scalar_type(int(highest)))


def _standard_dtype(array: np.ndarray, path: Path) -> np.ndarray:
    """`array` as uint8, uint16 or float32 (those are kept, whatever their byte order) without losing a value."""
    dtype = array.dtype.newbyteorder("=")
    if dtype.str[1:] in ("u1", "u2", "f4"):
        return array if isinstance(array, np.memmap) else array.astype(dtype, copy=False)
    if dtype.kind == "b":
        return array.astype(np.uint8)
    if dtype.kind == "f":
        with warnings.catch_warnings():  # too large a number becomes infinite, which is refused just after
            warnings.simplefilter("ignore", RuntimeWarning)
            return array.astype(np.float32)
    if dtype.kind in "iu" and (array == array.astype(np.float32).astype(np.float64)).all():
        return array.astype(np.float32)
    raise DataError(f"{path} has pixels of the kind {dtype}. Save it as 8-bit, 16-bit or 32-bit float.")


def _is_finite(array: np.ndarray) -> bool:
    """Whether all values are finite, looked at a few rows at a time."""
    rows = max(1, CHUNK // array[0].size)
    return array.dtype.kind != "f" or all(np.isfinite(array[y : y + rows]).all() for y in range(0, len(array), rows))


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
