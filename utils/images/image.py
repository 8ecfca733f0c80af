"""Image files to arrays and back, with nothing lost or guessed on the way."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.images import pixel_size
from utils.images.axes import mask_to_yxc, to_yxc
from utils.images.decoders import Pixels, read_pixels
from utils.images.normalise import CHUNK
from utils.images.writing import tiff_options, write_tiff

__all__ = ["Image", "checked_image", "read_image", "read_mask", "told_size", "whole_numbers"]
__all__ += ["tiff_options", "write_tiff"]  # an image that is read is written, too


@dataclass(frozen=True)
class Image:
    """One plane: `array` (Y, X, C) of dtype uint8, uint16 or float32; `axes` is what the file held, such as "CYX".

    `remarks`: see `utils.images.decoders.Pixels`.
    """

    path: Path
    array: np.ndarray
    pixel_size_um: float | None
    axes: str
    remarks: tuple[tuple[str, str], ...] = ()


def read_image(path: Path, axes: str = "automatic", memory_map: bool = False, pixel_size_um: float = 0) -> Image:
    """Read one plane with its channels.

    Transparency is dropped, colours become red, green and blue (`utils.images.photometric`), and a JPEG is turned
    upright as its EXIF data say, which is how browsers and annotation tools show it. Pixel values are never rescaled or
    inverted. What the file is, its first bytes say. A file of a set is read without the others. uint8, uint16
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
    pixel_size_um
        Width of a pixel in micrometres, whatever the file says; 0: as the file says.

    Raises
    ------
    DataError
        Unreadable or truncated file, stack or time series, unknown axes, NaN or infinite values, unsupported dtype.
    """
    read = told_size(read_pixels(path, memory_map), pixel_size_um)
    return checked_image(to_yxc(read.array, read.axes, axes, path), path, read)


def told_size(read: Pixels, pixel_size_um: float) -> Pixels:
    """What was read with the size of a pixel that the user gives, so that nothing is to be said of the file's own."""
    if not pixel_size_um:
        return read
    remarks = tuple(one for one in read.remarks if one[1] != pixel_size.REMEDY)
    return read._replace(pixel_size_um=pixel_size_um, remarks=remarks)


def checked_image(array: np.ndarray, path: Path, read: Pixels) -> Image:
    """Image of a plane (Y, X, C) as it was stored; dtypes and errors as `read_image`."""
    array = _standard_dtype(array, path)
    if not _is_finite(array):
        raise DataError(
            f"{path} has pixels without a number (NaN, infinite). Replace them (Fiji: Process > Math > NaN Background)."
        )
    return Image(Path(path), array, read.pixel_size_um, read.axes, read.remarks)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask (Y, X), of an unsigned integer dtype, with the values that are stored in it.

    TIFF, PNG, BMP or GIF: one channel, or three equal ones; or labels of Cellpose (_seg.npy). The indices of a colour
    table are the values, unless other programs show black and white the other way round (`utils.images.photometric`).
    DataError as `read_image`, and for a colour picture, a JPEG, negative or fractional values.
    """
    array, stored, *_ = read_pixels(path, mask=True)
    array = mask_to_yxc(array, stored, path)
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
    countable = mask.dtype.kind in "if" and np.isfinite(mask).all()
    lowest, highest = (mask.min(), mask.max()) if countable else (-1, -1)
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
