"""What image files say about themselves, without their pixels: size, channels, depth, planes, size of a pixel."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from utils.errors import DataError
from utils.images.axes import dimension_letters
from utils.images.decoders import about, open_tiff, reading
from utils.images.kinds import JPEG, NPY, PNG, TIFF, kind_of
from utils.images.masks import evenly_chosen

LOOKED_AT = 24  # files of a folder, evenly chosen: more say little more
SECONDS = 2.0  # after which no more files are opened, on a slow network for example
BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I": 32, "F": 32}  # of Pillow's modes, where they are not 8
COLOURS = {"RGB": 3, "RGBA": 3, "CMYK": 3, "YCbCr": 3, "P": 3}
CROP = 300  # pixels: images of single cells are not larger
SLIDE = 100e6  # pixels: what is larger is a whole slide, or as large as one


class Header(NamedTuple):
    """One file: sides in pixels, channels, bits of a number, planes by axis ("T", "Z"), width of a pixel."""

    path: Path
    height: int
    width: int
    channels: int = 1
    bits: int = 8
    planes: dict[str, int] = {}
    pixel_size_um: float | None = None
    is_slide: bool = False


def read_headers(paths: Sequence[Path]) -> tuple[list[Header], list[tuple[Path, DataError]]]:
    """Headers of some of the files, evenly chosen, and those that cannot be read with what is wrong."""
    headers, wrong, start = [], [], time.monotonic()
    for path in evenly_chosen(paths, LOOKED_AT):
        if time.monotonic() - start > SECONDS:
            break
        try:
            headers.append(read_header(path))
        except DataError as error:
            wrong.append((path, error))
    return headers, wrong


def read_header(path: Path) -> Header:
    """Header of one file; DataError where it is missing, damaged, or holds what cannot be read."""
    with reading(path):
        kind = kind_of(path)
        if kind == TIFF:
            return _of_tiff(path)
        if kind == NPY:
            raise DataError(f"{path} is an array of NumPy, not an image. Save it as TIFF.")
        with PIL.Image.open(path, formats=("JPEG", "MPO") if kind == JPEG else (kind,)) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1 and kind != JPEG:
                raise DataError(f"{path} holds {frames} pictures. Save each as a file of its own (Fiji: TIFF).")
            bits = _bits_of_png(path) if kind == PNG else BITS.get(image.mode, 8)
            return Header(path, image.height, image.width, COLOURS.get(image.mode, 1), bits)


def _of_tiff(path: Path) -> Header:
    with open_tiff(path) as (tif, series, remarks):
        letters = dimension_letters(series.shape, series.axes, "automatic", path, stacks=True)
        length = dict(zip(letters, series.shape, strict=True))
        height, width, channels = length["Y"], length["X"], length.get("C", 1)
        channels = 3 if series.axes.endswith("S") and channels == 4 else channels  # the fourth is transparency
        planes = {axis: length[axis] for axis in "TZ" if axis in length}
        size, _ = about(tif, series, remarks)
        slide = len(series.levels) > 1 or height * width > SLIDE
        return Header(path, height, width, channels, 8 * series.dtype.itemsize, planes, size, slide)


def _bits_of_png(path: Path) -> int:
    """Bits of a number: Pillow does not tell 16 from 8 where there are colours."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def facts(headers: Sequence[Header]) -> list[tuple[str, str]]:
    """What and found, of the files that were looked at: "Size", "256 x 256 to 520 x 696 pixels"."""
    if not headers:
        return []
    sides = sorted({(one.height, one.width) for one in headers}, key=lambda side: side[0] * side[1])
    size = " to ".join(f"{width} x {height}" for height, width in dict.fromkeys((sides[0], sides[-1])))
    colours = all(one.channels == 3 and one.bits == 8 for one in headers)
    rows = [
        ("Width x height", f"{size} pixels"),
        ("Channels", _counted([one.channels for one in headers]) + " (colour)" * colours),
        ("Depth", _counted([f"{one.bits} bit" for one in headers])),
        ("Pixel size", _counted([_pixel_size(one.pixel_size_um) for one in headers])),
    ]
    if stacks := [one for one in headers if one.planes]:
        rows.append(("Stacks", f"{len(stacks)} of {len(headers)}: {_planes(stacks[0])}"))
    if slides := [one for one in headers if one.is_slide]:
        megapixels = max(one.height * one.width for one in slides) / 1e6
        rows.append(("Whole slides", f"{len(slides)} of {len(headers)}, up to {megapixels:,.0f} megapixels"))
    return rows


def _pixel_size(um: float | None) -> str:
    return f"{um:.3g} µm" if um else "not said by the files"


def _planes(one: Header) -> str:
    words = {"T": "time points", "Z": "slices in depth"}
    return " and ".join(f"{count} {words[axis]}" for axis, count in one.planes.items())


def _counted(values: Sequence) -> str:
    """The values, the most frequent first; with how often each is found where they differ."""
    counts = Counter(values).most_common()
    return str(counts[0][0]) if len(counts) == 1 else ", ".join(f"{value} in {count} files" for value, count in counts)
