"""Time series and 3D stacks, one plane in memory at a time."""

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from utils.errors import DataError
from utils.files import atomic
from utils.images.axes import dimension_letters, plane_to_yxc
from utils.images.decoders import Pixels, about, colours, is_tiff, mapped, mask_of, open_tiff, reading
from utils.images.image import Image, checked_image, read_image, tiff_options, told_size

LARGEST_IMAGEJ = 2**32 - 2**25  # bytes: offsets in such a file have 32 bits; the rest is room for its tags


class Planes:
    """Planes of an image file, read one by one while they are iterated over.

    Attributes
    ----------
    axes, shape
        What is stacked, "T", "Z", "TZ" or "" for a single plane; how many planes along each of these axes.
    pixel_size_um, remarks
        Width of a pixel in micrometres; None where unknown. See `utils.images.decoders.Pixels`.
    """

    def __init__(
        self, path: Path, axes: str, letters: str, lengths: tuple[int, ...], given: Pixels, mask: bool = False
    ):
        self.path, self.pixel_size_um, self.remarks = path, given.pixel_size_um, given.remarks
        self._asked, self._letters, self._given, self._mask = axes, letters, given, mask
        self.axes = "".join(axis for axis in "TZ" if axis in letters)
        self.shape = tuple(lengths[letters.index(axis)] for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def position(self, number: int) -> dict[str, int]:
        """Frame "T" and slice "Z", counted from 1 as in Fiji, of a plane counted from 0; {} for a single plane."""
        place = np.unravel_index(number, self.shape) if self.axes else ()
        return {axis: int(i) + 1 for axis, i in zip(self.axes, place, strict=True)}

    def __iter__(self) -> Iterator[Image]:
        """Yield each plane (Y, X, C), frame by frame and in a frame slice by slice; errors as `read_image`."""
        return self._images(range(len(self)))

    def read(self, number: int) -> Image:
        """Plane with the given number, counted from 0; errors as `read_image`."""
        return next(self._images([number]))

    def _images(self, numbers: Iterable[int]) -> Iterator[Image]:
        if not self.axes:
            yield read_image(self.path, self._asked, memory_map=True, pixel_size_um=self.pixel_size_um or 0)
            return
        letters = "".join(letter for letter in self._letters if letter not in self.axes)
        with reading(self.path), open_tiff(self.path, self._mask) as (_, series, _):
            stored = mapped(series)
            for number in numbers:
                place = {axis: i - 1 for axis, i in self.position(number).items()}
                array = _read_plane(series, self._letters, place, stored)
                array = mask_of(array, series, self.path) if self._mask else colours(array, series)
                yield checked_image(
                    plane_to_yxc(array, letters, self.path), self.path, self._given._replace(axes=letters)
                )


def read_planes(path: Path, axes: str = "automatic", pixel_size_um: float = 0, mask: bool = False) -> Planes:
    """Look at what a file holds; its pixels are read later, plane by plane.

    Parameters
    ----------
    path
        TIFF, PNG or JPEG.
    axes
        One of `utils.images.axes.STACK_AXES`; "automatic" as in `utils.images.image.read_image`. A file of two
        dimensions is a plane whatever is given, and so is a stack with a single plane.
    pixel_size_um
        Width of a pixel in micrometres, whatever the file says; 0: as the file says.
    mask
        The numbers are labels, see `utils.images.decoders.read_pixels`.

    Raises
    ------
    DataError
        Missing, damaged or truncated TIFF, unknown axes. What is wrong with the pixels is told when they are read.
    """
    if not is_tiff(path):
        return Planes(path, axes, "", (), told_size(Pixels(None, ""), pixel_size_um))
    with reading(path), open_tiff(path, mask) as (tif, series, remarks):
        letters = dimension_letters(series.shape, series.axes, axes, path, stacks=True)
        given = told_size(Pixels(None, letters, *about(tif, series, remarks)), pixel_size_um)
        return Planes(path, axes, letters, series.shape, given, mask)


def _read_plane(
    series: tifffile.TiffPageSeries, letters: str, place: dict[str, int], stored: np.ndarray | None
) -> np.ndarray:
    """One plane with its channels as stored: a view of the mapped file `stored`, else decoded from the pages it has."""
    index = tuple(place.get(letter, slice(None)) for letter in letters)
    if stored is not None:
        return stored[index]
    lead = _page_dimensions(series)
    if any(letter in letters[lead:] for letter in place):
        raise DataError(f"{series.parent.filename} stores several planes as one page. Save it again as TIFF with Fiji.")
    pages = np.arange(len(series)).reshape(series.shape[:lead])[index[:lead]]
    data = np.stack([series[int(page)].asarray() for page in np.atleast_1d(pages).ravel()])
    return data.reshape(np.shape(pages) + series.shape[lead:])


def _page_dimensions(series: tifffile.TiffPageSeries) -> int:
    """Number of leading dimensions that count pages."""
    counts = [math.prod(series.shape[:lead]) for lead in range(len(series.shape))]
    return counts.index(len(series))


class LabelStack:
    """Label images on their way to one file, kept on the disk until all are known.

    Only then is it known whether 16 bits are enough and which labels Fiji is to show as white.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._planes, self.highest = file, [], 0

    def append(self, labels: np.ndarray) -> None:
        """Add labels (Y, X) of an unsigned integer dtype."""
        self._file.write(np.ascontiguousarray(labels))
        self._planes.append((labels.shape, labels.dtype))
        self.highest = max(self.highest, int(labels.max()))

    def write(self, path: Path, planes: Planes, software: str) -> None:
        """Write what was added, plane by plane; see `label_file`."""
        dtype = np.dtype(np.uint16 if self.highest <= 65535 else np.uint32)
        shape = (*planes.shape, *self._planes[0][0])
        imagej = dtype == np.uint16 and math.prod(shape) * dtype.itemsize < LARGEST_IMAGEJ
        options = tiff_options(planes.axes + "YX", imagej, planes.pixel_size_um, (0, max(1, self.highest)))
        tifffile.imwrite(path, self._read(dtype), shape=shape, dtype=dtype, software=software, **options)

    def _read(self, dtype: np.dtype) -> Iterator[np.ndarray]:
        self._file.seek(0)
        for shape, stored in self._planes:
            data = self._file.read(math.prod(shape) * stored.itemsize)
            yield np.frombuffer(data, stored).reshape(shape).astype(dtype, copy=False)


@contextmanager
def label_file(path: Path, planes: Planes, software: str) -> Iterator[LabelStack]:
    """Collect the labels of each of `planes` and write them to one TIFF, whole or not at all.

    It is uint16, or uint32 where a label is above 65535; ImageJ reads it with the axes and the pixel size of `planes`,
    and `software` is said in it to have written it.

    Yields
    ------
    LabelStack
        To append labels (Y, X) to, in the order of `planes`; they must have one size.

    Raises
    ------
    DataError
        Full disk, or no permission to write.
    """
    with atomic(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as file:
        stack = LabelStack(file)
        yield stack
        stack.write(temporary, planes, software)
