"""Bytes of an image file to what it says about itself: pixels, the meaning of its axes, the size of a pixel."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import PIL.ImageOps
import tifffile

from utils.errors import DataError

# Micrometres per unit, for the spellings that OME-XML and ImageJ use.
MICROMETRES = {
    **dict.fromkeys(["µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"], 1.0),
    **dict.fromkeys(["nm", "nanometer", "nanometre"], 1e-3),
    **dict.fromkeys(["å", "angstrom"], 1e-4),
    **dict.fromkeys(["mm", "millimeter", "millimetre"], 1e3),
    **dict.fromkeys(["cm", "centimeter", "centimetre"], 1e4),
    **dict.fromkeys(["m", "meter", "metre"], 1e6),
}
# Resolution tags without a microscope behind them hold printing defaults (72, 96, 300, 600 dpi = 42 um and more).
LARGEST_PIXEL_FROM_TAGS_UM = 20.0
ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)


logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said in a DataError


def read_pixels(path: Path, memory_map: bool = False, palette: bool = False) -> tuple[np.ndarray, str, float | None]:
    """Read the pixels of any supported file (TIFF, PNG, JPEG, BMP or GIF, told by its name), axes and width.

    The pixels are as stored, but without alpha, and a JPEG turned upright as its EXIF data say. The axes are one letter
    of tifffile's per dimension, such as "YX", "YXS" (colours), "CYX"; "Q" and "I" mean: not known. The width is in
    micrometres, None where unknown. DataError: missing, damaged or truncated file; several images in one; colours that
    stand for nothing.

    With `memory_map` the pixels of an uncompressed TIFF are left on the disk, as a read-only `numpy.memmap`. With
    `palette` an image with a colour table gives its indices (right for masks). Without it a picture becomes RGB, a TIFF
    is accepted only if its table is a brightness scale (a Fiji lookup table such as Greens), whose indices are the
    measured intensities.
    """
    with reading(path):
        if is_tiff(path):
            return _read_tiff(path, memory_map, palette)
        suffix = path.suffix.lower()
        if suffix in (".bmp", ".gif"):
            array = _read_picture(path, palette)
        else:
            array = _read_png(path, palette) if suffix == ".png" else _read_jpeg(path)
    return array, "YXS"[: array.ndim], None


def is_tiff(path: Path) -> bool:
    """Whether the name says that the file is a TIFF."""
    return path.suffix.lower() in {".tif", ".tiff"}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell whatever goes wrong while a file is read as a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its name for a typing error.") from error
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        raise DataError(f"{path} cannot be read: damaged, truncated or no image. Copy or export it again.") from error


@contextmanager
def open_tiff(path: Path, palette: bool = False) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPageSeries]]:
    """Open a TIFF file that is whole and holds one image (or one stack); see `read_pixels`."""
    with tifffile.TiffFile(path) as tif:
        _check_complete(tif, path)
        series = [s for s in tif.series if not s.keyframe.is_reduced]
        if len(series) != 1:
            raise DataError(f"{path} holds {len(series)} images. Save each as a file of its own.")
        page = series[0].keyframe
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not palette:
            _check_brightness_scale(page.colormap, path)
        yield tif, series[0]


def _read_tiff(path: Path, memory_map: bool, palette: bool) -> tuple[np.ndarray, str, float | None]:
    """The one image of a TIFF file; see `read_pixels`."""
    with open_tiff(path, palette) as (tif, series):
        mapped = memory_map and series.dataoffset is not None
        array = tifffile.memmap(path, mode="r") if mapped else series.asarray()
        return without_alpha(array.reshape(series.shape), series), series.axes, pixel_size_um(tif, series)


def without_alpha(array: np.ndarray, series: tifffile.TiffPageSeries) -> np.ndarray:
    """View of `array`, whose last dimension is that of the series, without its transparency."""
    extra = series.keyframe.extrasamples
    return array[..., : -len(extra)] if set(extra) & set(ALPHA) and series.axes.endswith("S") else array


def _check_complete(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file that ends before its last page or before the data of a page does."""
    ends = [offset + length for page in tif.pages for offset, length in _segments(page)]
    tif.filehandle.seek(tif.pages.next_page_offset)
    end_of_chain = tif.filehandle.read(tif.tiff.offsetsize)  # where the next page would start; zeros after the last
    if any(end_of_chain) or max(ends, default=0) > path.stat().st_size:
        raise DataError(f"{path} is truncated: its end is missing. Copy or export it again.")


def _segments(page: tifffile.TiffPage | tifffile.TiffFrame) -> zip:
    """Offset and length of each strip or tile of a page."""
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _check_brightness_scale(colormap: np.ndarray, path: Path) -> None:
    """Refuse a colour table (3, n) in which a higher index is not at least as bright in red, green and blue."""
    if (np.diff(colormap.astype(np.int64), axis=1) < 0).any():
        raise DataError(
            f"{path} is stored with a table of colours, so that its numbers are no intensities. In Fiji choose "
            "Image > Lookup Tables > Grays (fluorescence) or Image > Type > RGB Color (colours) and save it again."
        )


def pixel_size_um(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> float | None:
    """Pixel width in micrometres from OME-XML, else ImageJ metadata, else the resolution tags."""
    page = series.keyframe
    if tif.ome_metadata:
        size = _ome_pixel_size(tif.ome_metadata)
    elif tif.is_imagej:
        unit = str((tif.imagej_metadata or {}).get("unit", "")).strip().lower()
        size = _square(*(_per_pixel(page, axis, MICROMETRES.get(unit)) for axis in "XY"))
    else:
        unit = {tifffile.RESUNIT.CENTIMETER: 1e4, tifffile.RESUNIT.INCH: 2.54e4}.get(page.resolutionunit)
        size = _square(*(_per_pixel(page, axis, unit) for axis in "XY"))
        size = size if size and size <= LARGEST_PIXEL_FROM_TAGS_UM else None
    return size


def _ome_pixel_size(xml: str) -> float | None:
    """Pixel width in micrometres from the first <Pixels> of OME-XML; the unit is micrometre where none is named."""
    try:
        pixels = ElementTree.fromstring(re.sub(r'\sxmlns="[^"]+"', "", xml, count=1)).find(".//Pixels")
        sizes = [
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * MICROMETRES[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm").lower()]
            for axis in ("XY" if "PhysicalSizeY" in pixels.attrib else "XX")
        ]
    except (ElementTree.ParseError, AttributeError, KeyError, ValueError):
        return None
    return _square(*sizes)


def _per_pixel(page: tifffile.TiffPage, axis: str, unit_um: float | None) -> float | None:
    """Micrometres per pixel from the resolution tag (pixels per unit, a fraction) of `axis`."""
    tag = page.tags.get(f"{axis}Resolution")
    if unit_um is None or tag is None or not tag.value[0]:
        return None
    pixels, units = tag.value
    return unit_um * units / pixels


def _square(x: float | None, y: float | None) -> float | None:
    """The common size of a square pixel; None where unknown, not positive, or over 1 % different between the axes."""
    if not x or not y or x < 0 or not np.isfinite([x, y]).all() or abs(x - y) > 0.01 * x:
        return None
    return float(x)


def _read_png(path: Path, palette: bool) -> np.ndarray:
    """Pixels (Y, X) or (Y, X, S) without alpha. Pillow would cut 16-bit colour to 8 bits, so it reads only indices."""
    with PIL.Image.open(path) as image:
        if palette and image.mode == "P":
            return np.asarray(image)
    array = imagecodecs.png_decode(path.read_bytes())
    if array.ndim == 3 and array.shape[-1] in (2, 4):
        array = array[..., :-1].squeeze(-1) if array.shape[-1] == 2 else array[..., :3]
    return array


def _read_jpeg(path: Path) -> np.ndarray:
    """Pixels (Y, X) or (Y, X, 3), turned upright as the EXIF data say."""
    with PIL.Image.open(path) as image:
        upright = PIL.ImageOps.exif_transpose(image)
        return np.asarray(upright if upright.mode == "L" else upright.convert("RGB"))


def _read_picture(path: Path, palette: bool) -> np.ndarray:
    """Pixels (Y, X) or (Y, X, 3) of a BMP or GIF, indices for colours with `palette`; a film is refused."""
    with PIL.Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise DataError(f"{path} holds {frames} pictures. Save each as a file of its own (Fiji: TIFF).")
        if image.mode in ("L", "1"):
            return np.asarray(image)
        colours = np.asarray(image.convert("RGB"))
    if image.mode == "P" and (colours == colours[..., :1]).all():
        return colours[..., 0]  # shades of grey are numbered in any order
    return np.asarray(image) if image.mode == "P" and palette else colours
