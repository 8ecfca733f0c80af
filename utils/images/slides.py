"""Whole slides: regions of pyramidal TIFF files (.svs, .ndpi, .scn, OME-TIFF, generic) at any size of a pixel.

A slide is never in memory whole. Places are in pixels of the full image, x then y, whose upper left corner is (0, 0),
as in QuPath and in `utils.images.geojson`; they may be fractions.
"""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image
from scipy.sparse import csr_array

from utils import runtime
from utils.errors import DataError
from utils.images.decoders import reading
from utils.images.kinds import TIFF, kind_of
from utils.images.pixel_size import credible, pixel_size

NEEDED = {"tiffslide": "tiffslide"}  # module -> package
SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".btf")
WHITE = 255  # what lies beside the slide
AT_ONCE = 1 << 21  # pixels of a level that are decoded at a time
LARGEST_PIECE = 1 << 26  # pixels that have to be decoded for any one of them
PARTS = 64  # of a pixel: then sums are exact, and do not depend on where a region begins
ENOUGH = 1.001  # a level this much coarser than what is asked for is as good: sizes of levels are rounded
TELLS_ITSELF = ("aperio", "leica")  # their own notes know the size of a pixel, not the tags of TIFF
REMEDY = "Write the width of its pixels in um (the scanner or QuPath knows it) into the field slide_pixel_size."


class Level(NamedTuple):
    """One image of the pyramid: its size in pixels, and full pixels per pixel of it, across and down."""

    width: int
    height: int
    downsample_x: float
    downsample_y: float


class Slide:
    """One slide; open it with `open_slide`. It may be sent to another process, which opens the file again.

    Attributes
    ----------
    path
        Of the file.
    width, height
        Of the full image, in pixels.
    um_per_pixel
        Width of a full pixel in micrometres, None where the file does not say and nobody told.
    levels
        The full image and its smaller copies, as far as there are any.
    remarks
        Pairs of what is to be said of the file though it is read, and remedy.
    """

    def __init__(self, path: Path, um_per_pixel: float = 0):
        self.path = Path(path)
        self._told = um_per_pixel
        with reading(self.path):
            self._tiff = _opened(self.path)
            self.levels = _levels(self._tiff.level_dimensions)
            _check(self._tiff, self.path)
            self.um_per_pixel, self.remarks = (um_per_pixel, ()) if um_per_pixel else _um_per_pixel(self._tiff)
        self.width, self.height = self.levels[0][:2]

    def __reduce__(self):
        return Slide, (self.path, self._told)

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    @cached_property
    def um(self) -> float:
        """Width of a full pixel in micrometres; DataError, which asks for it, where it is not known."""
        if self.um_per_pixel is None:
            why = f" ({self.remarks[0][0]})" if self.remarks else ""
            raise DataError(f"{self.path} does not say how large its pixels are{why}. {REMEDY}")
        return self.um_per_pixel

    def read(self, x: float, y: float, width: int, height: int, um_per_pixel: float) -> np.ndarray:
        """Read a region with pixels of a given size.

        Pixel (row i, column j) of the result is the mean colour of the square of the slide whose corner is x + j x d,
        y + i x d and whose side d = um_per_pixel / um_per_pixel of the slide, both in full pixels. It is computed from
        the coarsest level that is not coarser than asked for. What lies beside the slide is white.

        Parameters
        ----------
        x, y
            Upper left corner, in full pixels; may be negative.
        width, height
            Of the result, in pixels.
        um_per_pixel
            Of the result. Smaller than that of the slide: its pixels are repeated.

        Returns
        -------
        numpy.ndarray
            (height, width, 3), uint8; red, green, blue.

        Raises
        ------
        DataError
            A part of the file is damaged, or its size of a pixel is not known.
        """
        return self.read_downsampled(x, y, width, height, um_per_pixel / self.um)

    def read_downsampled(self, x: float, y: float, width: int, height: int, downsample: float) -> np.ndarray:
        """Read as `read` does, with `downsample` full pixels per pixel in place of micrometres."""
        number = self.level_for(downsample)
        level = self.levels[number]
        result = np.empty((height, width, 3), np.uint8)
        across = max(1.0, downsample / level.downsample_x) * (width + 2)
        rows = max(1, int(AT_ONCE / across / max(1.0, downsample / level.downsample_y)))
        for top in range(0, height, rows):
            part = result[top : top + rows]
            edges_y = (y + (top + np.arange(len(part) + 1)) * downsample) / level.downsample_y
            edges_x = (x + np.arange(width + 1) * downsample) / level.downsample_x
            part[:] = self._means(number, edges_x, edges_y)
        return result

    def level_for(self, downsample: float) -> int:
        """Number of the coarsest level that is not coarser than `downsample`; 0 where all are."""
        coarseness = [max(one.downsample_x, one.downsample_y) for one in self.levels]
        fine = [i for i, one in enumerate(coarseness) if one <= downsample * ENOUGH]
        return max(fine, key=coarseness.__getitem__, default=0)

    def thumbnail(self, longest_side: int = 1024) -> np.ndarray:
        """The whole slide (Y, X, 3), uint8, whose longer side has about as many pixels; never enlarged.

        Its pixels are `downsample_of(longest_side)` full pixels wide.
        """
        downsample = self.downsample_of(longest_side)
        width, height = (math.ceil(side / downsample - 1e-9) for side in (self.width, self.height))
        return self.read_downsampled(0, 0, width, height, downsample)

    def downsample_of(self, longest_side: int) -> float:
        """Full pixels per pixel of `thumbnail`."""
        return max(1.0, max(self.width, self.height) / longest_side)

    def _means(self, number: int, edges_x: np.ndarray, edges_y: np.ndarray) -> np.ndarray:
        """Mean colours between edges (n + 1,), in pixels of a level, of columns and rows."""
        left, top = (math.floor(edges[0] + 1e-6) for edges in (edges_x, edges_y))
        right, bottom = (math.ceil(edges[-1] - 1e-6) for edges in (edges_x, edges_y))
        pixels = self._pixels(number, left, top, max(right, left + 1), max(bottom, top + 1))
        across, down = _whole(edges_x - left), _whole(edges_y - top)
        if across and down:  # several times as fast
            whole = pixels[: down * (len(edges_y) - 1), : across * (len(edges_x) - 1)]
            return np.asarray(Image.fromarray(whole).reduce((across, down)))
        return _averaged(_averaged(pixels, edges_y - top, 0), edges_x - left, 1)

    def _pixels(self, number: int, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Pixels (Y, X, 3) of a level, white where it has none."""
        level = self.levels[number]
        x0, x1 = (min(max(0, one), level.width) for one in (left, right))
        y0, y1 = (min(max(0, one), level.height) for one in (top, bottom))
        result = np.full((bottom - top, right - left, 3), WHITE, np.uint8)
        if x0 < x1 and y0 < y1:
            with reading(self.path):
                place = tuple(_full(one, self._tiff.level_downsamples[number]) for one in (x0, y0))
                part = self._tiff.read_region(place, number, (x1 - x0, y1 - y0), as_array=True)
            result[y0 - top : y1 - top, x0 - left : x1 - left] = part[..., :3]
        return result


def open_slide(path: Path, um_per_pixel: float = 0) -> Slide:
    """Open a slide; only its head is read.

    Parameters
    ----------
    path
        Pyramidal or tiled TIFF of 8-bit colours: .svs, OME-TIFF, generic .tif, .ndpi, .scn; what it is, its bytes say.
    um_per_pixel
        Width of a full pixel in micrometres, whatever the file says; 0: as the file says.

    Raises
    ------
    DataError
        Missing, damaged or truncated file; not a TIFF; not 8-bit colours; so large without tiles that it could only be
        read whole.
    """
    return Slide(path, um_per_pixel)


def _opened(path: Path):
    """The file as tiffslide shows it; its warnings on makers that it knows less well are no help to a reader."""
    kind = kind_of(path)
    if kind != TIFF:
        raise DataError(f"{path} is not a slide but a {kind} picture. Export it as pyramidal TIFF (QuPath: OME-TIFF).")
    runtime.ensure(NEEDED)
    from tiffslide import TiffSlide  # brings zarr, which only slides need

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slide = TiffSlide(path)
        _check_complete(slide.ts_tifffile, path)
        try:
            slide.properties  # noqa: B018 - what it cannot read, it says here
        except (NotImplementedError, AssertionError, ValueError, KeyError, IndexError) as error:
            slide.close()
            raise DataError(
                f"{path} is no slide that is read here: one plane of colours is needed, not a stack, a film or a set "
                "of channels. Export it as pyramidal TIFF (QuPath: File > Export images > OME-TIFF)."
            ) from error
    return slide


def _check(slide, path: Path) -> None:
    """DataError for what is not 8-bit colours, or cannot be read in pieces."""
    page = slide.ts_tifffile.series[slide.properties["tiffslide.series-index"]].keyframe
    colours = page.samplesperpixel >= 3 and slide.properties["tiffslide.series-axes"].endswith("S")
    if page.dtype != np.uint8 or not colours:
        raise DataError(
            f"{path} is not a slide in 8-bit colours (red, green, blue). Export it as RGB (QuPath: File > Export "
            "images > OME-TIFF, rendered RGB)."
        )
    if math.prod(page.chunks[:2]) > LARGEST_PIECE:
        raise DataError(
            f"{path} is stored in one piece of {page.imagewidth} x {page.imagelength} pixels, which would have to be "
            "read whole. Export it as pyramidal TIFF with tiles (QuPath: File > Export images > OME-TIFF)."
        )


def _check_complete(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse a file that ends before its last page or before the pixels of a page do."""
    ends = [
        offset + length
        for page in _every_page(tif)
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False)
    ]
    tif.filehandle.seek(tif.pages.next_page_offset)
    end_of_chain = tif.filehandle.read(tif.tiff.offsetsize)  # where the next page would start; zeros after the last
    if any(end_of_chain) or max(ends, default=0) > os.path.getsize(path):
        tif.close()
        raise DataError(f"{path} is truncated: its end is missing. Copy or export it again.")


def _every_page(tif: tifffile.TiffFile) -> Iterator[tifffile.TiffPage | tifffile.TiffFrame]:
    """Pages one after the other, and those that belong to one: smaller copies in OME-TIFF."""
    for page in tif.pages:
        yield page
        if isinstance(page, tifffile.TiffPage) and page.subifds:
            yield from page.pages


def _levels(sizes: tuple[tuple[int, int], ...]) -> tuple[Level, ...]:
    """Levels from their sizes (width, height), the full one first."""
    full = sizes[0]
    factors = [[_factor(*pair) for pair in zip(full, size, strict=True)] for size in sizes]
    return tuple(Level(*size, *factor) for size, factor in zip(sizes, factors, strict=True))


def _factor(full: int, side: int) -> float:
    """Full pixels per pixel of a level: a whole number where the rounding of the level's side explains the rest."""
    whole = round(full / side)
    return float(whole) if side in (full // whole, -(-full // whole)) else full / side


def _um_per_pixel(slide) -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """Width of a pixel as the file says it, None where it says nothing that can be true, with remarks."""
    properties = slide.properties
    told = [properties.get(f"tiffslide.mpp-{axis}") for axis in "xy"]
    vendor = str(properties.get("tiffslide.vendor")).lower()
    if all(told) and (vendor in TELLS_ITSELF or "philips" in vendor):
        with suppress(ValueError, TypeError):
            size = credible(*(float(one) for one in told))
            return size.um, (((size.refused, REMEDY),) if size.refused else ())
    tif = slide.ts_tifffile
    size = pixel_size(tif, tif.series[properties["tiffslide.series-index"]])
    return size.um, (((size.refused, REMEDY),) if size.refused else ())


def _full(place: int, downsample: float) -> int:
    """Full pixel that tiffslide rounds to pixel `place` of a level, which is `downsample` by its reckoning."""
    full = math.ceil(place * downsample)
    return full if int(full / downsample) == place else full + 1


def _whole(edges: np.ndarray) -> int:
    """How many whole pixels lie between each of the edges (n + 1,), of which the first is at 0; else 0."""
    step = int(edges[1])
    return step if (edges == step * np.arange(len(edges))).all() else 0


def _averaged(pixels: np.ndarray, edges: np.ndarray, axis: int) -> np.ndarray:
    """Means of `pixels` (uint8) between `edges` (n + 1,) along an axis, parts of pixels counted as such; uint8."""
    n, length = len(edges) - 1, pixels.shape[axis]
    if edges[-1] - edges[0] > n / 2:
        edges = np.rint(edges * PARTS) / PARTS
    edges = np.clip(edges, 0, length)
    first = np.minimum(np.floor(edges[:-1]).astype(int), length - 1)
    many = np.maximum(np.ceil(edges[1:]).astype(int) - first, 1)
    if many.max() == 1:
        return pixels.take(first, axis)
    rows, ends = np.repeat(np.arange(n), many), many.cumsum()
    columns = np.arange(ends[-1]) - np.repeat(ends - many - first, many)
    parts = np.minimum(columns + 1, edges[rows + 1]) - np.maximum(columns, edges[rows])
    weights = csr_array((parts.astype(np.float32), columns, np.append(0, ends)), shape=(n, length))
    pixels = np.moveaxis(pixels, axis, 0)
    sums = weights @ pixels.reshape(length, -1).astype(np.float32)
    means = np.rint(sums / np.diff(edges).astype(np.float32)[:, np.newaxis]).astype(np.uint8)
    return np.moveaxis(means.reshape(n, *pixels.shape[1:]), 0, axis)
