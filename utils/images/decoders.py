"""Bytes of an image file to what it says about itself: pixels, the meaning of its axes, the size of a pixel."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import PIL.ImageOps
import tifffile

from utils.errors import DataError
from utils.images import photometric
from utils.images.cellpose import read_npy
from utils.images.kinds import BMP, GIF, JPEG, NPY, PNG, TIFF, kind_of
from utils.images.parts import own_series
from utils.images.pixel_size import REMEDY, pixel_size
from utils.paths import JPEG_SUFFIXES

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said in a DataError


class Pixels(NamedTuple):
    """What a file holds: `array` as stored, a letter of `axes` for each of its dimensions, width of a pixel.

    `remarks` are what is to be said of it though it is read: pairs of what, and remedy.
    """

    array: np.ndarray
    axes: str
    pixel_size_um: float | None = None
    remarks: tuple[tuple[str, str], ...] = ()


def read_pixels(path: Path, memory_map: bool = False, mask: bool = False) -> Pixels:
    """Read the pixels of a file that is TIFF, PNG, JPEG, BMP or GIF by its first bytes, or of a mask also of NumPy.

    The pixels are as stored, but without transparency, colours as red, green and blue, and a JPEG turned upright as its
    EXIF data say; see `utils.images.photometric`. The axes are one letter of tifffile's per dimension, such as "YX",
    "YXS" (colours), "CYX"; "Q" and "I" mean: not known. The width is in micrometres, None where unknown. DataError:
    missing, damaged or truncated file; several images in one; colours that stand for nothing.

    With `memory_map` the pixels of an uncompressed TIFF are left on the disk, as a read-only `numpy.memmap`. With
    `mask` the numbers are the values of a mask; a picture that is none is refused.
    """
    with reading(path):
        kind = kind_of(path)
        if kind == TIFF:
            return _read_tiff(path, memory_map, mask)
        if kind in (BMP, GIF):
            array = _read_picture(path, kind, mask)
        elif mask and kind != PNG:
            return Pixels(_read_labels(path, kind), "YX")
        elif kind == NPY:
            raise DataError(f"{path} is an array of NumPy, not an image. Save it as TIFF.")
        else:
            array = _read_jpeg(path) if kind == JPEG else _read_png_mask(path) if mask else _read_png(path)[0]
    return Pixels(array, "YXS"[: array.ndim])


def is_tiff(path: Path) -> bool:
    """Whether a file is a TIFF by its first bytes; DataError where it is missing or nothing that is read."""
    with reading(path):
        return kind_of(path) == TIFF


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell whatever goes wrong while a file is read as a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its name for a typing error.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read{_reason(error)}") from error
    except MemoryError as error:
        raise DataError(f"{path} is too large for the memory. Cut it into smaller pieces.") from error
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        raise DataError(f"{path} cannot be read: {DAMAGED}") from error


DAMAGED = "damaged, truncated or no image. Copy or export it again."


def _reason(error: OSError) -> str:
    """End of a sentence: what the operating system says; decoders raise such errors without saying anything."""
    if isinstance(error, PermissionError):
        return ": you have no right to. Ask for it, or copy the file to a folder of your own."
    return f" ({error.strerror}). Check the disk or the network." if error.errno else f": {DAMAGED}"


@contextmanager
def open_tiff(path: Path, mask: bool = False) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries, list]]:
    """Open a TIFF file that is whole and holds one image (or one stack), with remarks on it; see `read_pixels`."""
    with tifffile.TiffFile(path, _multifile=False) as tif:
        _check_complete(tif, path)
        found, remarks = own_series(tif, path)
        series = [s for s in found if not s.keyframe.is_reduced]
        if not series:
            raise DataError(f"{path} cannot be read: it holds no image. Copy or export it again.")
        if len(series) != 1:
            raise DataError(f"{path} holds {len(series)} images. Save each as a file of its own.")
        (photometric.check_mask if mask else photometric.check_image)(series[0].keyframe, path)
        yield tif, series[0], remarks


def _read_tiff(path: Path, memory_map: bool, mask: bool) -> Pixels:
    """The one image of a TIFF file; see `read_pixels`."""
    with open_tiff(path, mask) as (tif, series, remarks):
        array = mapped(series) if memory_map else None
        array = series.asarray().reshape(series.shape) if array is None else array
        if mask:
            return Pixels(mask_of(array, series, path), series.axes)
        return Pixels(colours(array, series), series.axes, *about(tif, series, remarks))


def about(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, remarks: list) -> tuple[float | None, tuple]:
    """Pixel size and remarks of `Pixels`; those given come first."""
    size = pixel_size(tif, series)
    unsaid = [(size.refused, REMEDY)] if size.refused else []
    return size.um, (*remarks, *photometric.remarks(series.keyframe), *unsaid)


def mapped(series: tifffile.TiffPageSeries) -> np.memmap | None:
    """The pixels of a series on the disk, read-only; None where they are not there one after the other."""
    if series.dataoffset is None or series.transform is not None:
        return None
    dtype = series.dtype.newbyteorder(series.parent.byteorder)
    return series.parent.filehandle.memmap_array(dtype, series.shape, series.dataoffset)


def colours(array: np.ndarray, series: tifffile.TiffPageSeries) -> np.ndarray:
    """`array`, whose last dimensions are those of the series, without transparency, and as red, green and blue."""
    return photometric.to_rgb(photometric.split_alpha(array, series)[0], series)


def mask_of(array: np.ndarray, series: tifffile.TiffPageSeries, path: Path) -> np.ndarray:
    """Values of a mask as it is shown."""
    page = series.keyframe
    values, alpha = photometric.split_alpha(array, series)
    if page.photometric == photometric.PHOTOMETRIC.RGB and series.axes.endswith("S"):
        values = values[..., :3]  # what comes after red, green and blue is not shown
    if alpha is not None:
        last = np.moveaxis(values, series.axes.index("S"), -1)
        photometric.check_hidden(last, alpha, np.iinfo(alpha.dtype).max, path)
    if page.photometric == photometric.PHOTOMETRIC.MINISWHITE:
        return photometric.white_is_zero(values, page.bitspersample, path)
    if page.photometric == photometric.PHOTOMETRIC.PALETTE:
        return photometric.of_table(values, page.colormap.T, 65535, path)
    return values


def _check_complete(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file that ends before its last page or before the data of a page does."""
    ends = [offset + length for page in tif.pages for offset, length in _segments(page)]
    tif.filehandle.seek(tif.pages.next_page_offset)
    end_of_chain = tif.filehandle.read(tif.tiff.offsetsize)  # where the next page would start; zeros after the last
    if any(end_of_chain) or max(ends, default=0) > tif.filehandle.size:
        raise DataError(f"{path} is truncated: its end is missing. Copy or export it again.")


def _segments(page: tifffile.TiffPage | tifffile.TiffFrame) -> zip:
    """Offset and length of each strip or tile of a page."""
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _read_png(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels (Y, X) or (Y, X, S), and transparency (Y, X); not by Pillow, which would cut 16-bit colour to 8 bits."""
    data = path.read_bytes()
    if b"acTL" in data[: data.find(b"IDAT")]:
        raise DataError(f"{path} holds a film of several pictures. Save each as a file of its own.")
    array = imagecodecs.png_decode(data)
    if array.ndim == 2 or array.shape[-1] not in (2, 4):
        return array, None
    return (array[..., 0] if array.shape[-1] == 2 else array[..., :3]), array[..., -1]


def _read_png_mask(path: Path) -> np.ndarray:
    """Values of a mask: (Y, X), or (Y, X, 3) where it is a colour picture."""
    with PIL.Image.open(path, formats=("PNG",)) as image:
        if image.mode == "P":
            table = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            return photometric.of_table(np.asarray(image), table, 255, path)
    array, alpha = _read_png(path)
    if alpha is not None:
        photometric.check_hidden(array, alpha, np.iinfo(alpha.dtype).max, path)
    return array


def _read_labels(path: Path, kind: str) -> np.ndarray:
    """Labels of NumPy or Cellpose; DataError for a JPEG."""
    if kind == JPEG:
        named = "" if path.suffix.lower() in JPEG_SUFFIXES else f" (though it is called {path.suffix})"
        raise DataError(f"{path} is a JPEG{named}, which smears the values of a mask. Export it again as TIFF or PNG.")
    return read_npy(path)


def _read_jpeg(path: Path) -> np.ndarray:
    """Pixels (Y, X) or (Y, X, 3), turned upright as the EXIF data say."""
    with PIL.Image.open(path, formats=("JPEG", "MPO")) as image:
        upright = PIL.ImageOps.exif_transpose(image)
        return np.asarray(upright if upright.mode == "L" else upright.convert("RGB"))


def _read_picture(path: Path, kind: str, mask: bool) -> np.ndarray:
    """Pixels (Y, X) or (Y, X, 3) of a BMP or GIF, of a mask the values of its colour table; a film is refused."""
    with PIL.Image.open(path, formats=(kind,)) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise DataError(f"{path} holds {frames} pictures. Save each as a file of its own (Fiji: TIFF).")
        if image.mode != "P":
            return np.asarray(image if image.mode in ("L", "1") else image.convert("RGB"))
        table = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        if photometric.is_grey(table):
            return np.asarray(image.convert("RGB"))[..., 0]  # shades of grey are numbered in any order
        return photometric.of_table(np.asarray(image), table, 255, path) if mask else np.asarray(image.convert("RGB"))
