"""OME-TIFF files that name others: what this one holds, not what the whole set would."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

from utils.errors import DataError

KINDS = ("ome", "mmstack", "ndtiff")  # those whose metadata may tell of planes that are not in the file
SET = "part of a set of files, each of which is read as an image of its own"
SAVE_SET = "To have all channels or slices of a set in one image, open it in Fiji (Bio-Formats) and save it as TIFF."


class _Plane(NamedTuple):
    """Where a plane is: number of the image in the metadata, place in it by axis, page of the file, the file."""

    image: int
    place: dict[str, int]
    page: int
    file: str
    uuid: str


def own_series(tif: tifffile.TiffFile, path: Path) -> tuple[list[tifffile.TiffPageSeries], list[tuple[str, str]]]:
    """What a file itself holds, and remarks (what, remedy) on the set that it belongs to.

    `tif` must be opened with ``_multifile=False``: tifffile would read the whole set from each of its files, with zeros
    for what is missing. DataError where planes are missing that the file says are its own.
    """
    if not (tif.is_ndtiff or _names_others(tif)):
        return _without_partners(tif, path)
    planes = list(_planes(tif)) if tif.is_ome else []
    own = _own(planes, tif, path)
    others = sorted({one.file for one in planes} - {one.file for one in own} - {path.name})
    found = [_series(tif, [one for one in own if one.image == i]) for i in sorted({one.image for one in own})]
    return found or [_unordered(tif)], _remarks(others, path)


def _without_partners(
    tif: tifffile.TiffFile, path: Path
) -> tuple[list[tifffile.TiffPageSeries], list[tuple[str, str]]]:
    """What tifffile finds in a file that names no others, unless it has found others by their names."""
    series = tif.series
    pages = [page for one in series if one.kind in KINDS for page in one.pages]
    if any(page is not None and page.parent is not tif for page in pages):
        return [_unordered(tif)], [(SET, SAVE_SET)]
    if any(page is None for page in pages):
        raise DataError(
            f"{path} says that it has more planes than it holds: the recording was stopped, or the file was cut. "
            "Open it in Fiji and save the planes that are there."
        )
    return series, []


def _names_others(tif: tifffile.TiffFile) -> bool:
    """Whether the metadata name files; of a renamed file that is its earlier name."""
    return bool(tif.is_ome and tif.ome_metadata and "FileName=" in tif.ome_metadata)


def _remarks(others: list[str], path: Path) -> list[tuple[str, str]]:
    if not others:
        return []
    missing = [name for name in others if not (path.parent / name).is_file()]
    return [(SET, SAVE_SET)] + [
        (f"the file {name} of this set is missing", "Copy it beside the others if you need it.") for name in missing
    ]


def _planes(tif: tifffile.TiffFile) -> Iterator[_Plane]:
    """All planes that the OME-XML tells of, in this file and in others."""
    try:
        root = ElementTree.fromstring(tif.ome_metadata)
    except ElementTree.ParseError:
        return
    for number, pixels in enumerate(root.iterfind("./{*}Image/{*}Pixels")):
        order = pixels.attrib["DimensionOrder"][2:]  # fastest first, such as CZT
        channel = pixels.find("{*}Channel")
        samples = int(channel.attrib.get("SamplesPerPixel", 1)) if channel is not None else 1
        lengths = [int(pixels.attrib[f"Size{axis}"]) // (samples if axis == "C" else 1) for axis in order]
        for data in pixels.iterfind("{*}TiffData"):
            one = data.attrib
            uuid = data.find("{*}UUID")
            named = ("", "") if uuid is None else (uuid.attrib.get("FileName", ""), uuid.text or "")
            count = int(one.get("PlaneCount", one.get("NumPlanes", 1 if "IFD" in one else len(tif.pages))))
            first = np.ravel_multi_index([int(one.get(f"First{axis}", 0)) for axis in order], lengths, order="F")
            for i in range(min(count, int(np.prod(lengths)) - int(first))):
                place = np.unravel_index(int(first) + i, lengths, order="F")
                yield _Plane(number, dict(zip(order, map(int, place), strict=True)), int(one.get("IFD", 0)) + i, *named)


def _own(planes: list[_Plane], tif: tifffile.TiffFile, path: Path) -> list[_Plane]:
    """Planes that are in this file: by its identifier, else by its name, else all where only one file is named."""
    try:
        identifier = ElementTree.fromstring(tif.ome_metadata or "<x/>").attrib.get("UUID")
    except ElementTree.ParseError:
        identifier = None
    files = {one.file for one in planes}
    own = [one for one in planes if identifier and one.uuid == identifier]
    own = own or [one for one in planes if one.file.lower() == path.name.lower()]
    own = own or (planes if len(files) == 1 else [])
    fits = {one.page for one in own} == set(range(len(tif.pages)))
    return own if fits else []


def _series(tif: tifffile.TiffFile, planes: list[_Plane]) -> tifffile.TiffPageSeries:
    """The planes of one image in the order T, Z, C; without an order where they fill no rectangle."""
    used = {axis: sorted({one.place[axis] for one in planes}) for axis in "TZC"}
    lengths = tuple(len(values) for values in used.values())
    if np.prod(lengths) != len(planes):
        return _unordered(tif)
    ordered = sorted(planes, key=lambda one: [one.place[axis] for axis in used])
    return _joined(tif, [one.page for one in ordered], lengths, "TZC")


def _unordered(tif: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """All pages of a file that does not say what they are: one is a plane."""
    return _joined(tif, list(range(len(tif.pages))), (len(tif.pages),), "I")


def _joined(tif: tifffile.TiffFile, numbers: list[int], lengths: tuple[int, ...], axes: str) -> tifffile.TiffPageSeries:
    pages = [tif.pages[number] for number in numbers]
    first = pages[0]
    if any((page.shape, page.dtype) != (first.shape, first.dtype) for page in pages):
        raise DataError(f"{tif.filename} holds images of different sizes. Save each as a file of its own.")
    kept = [i for i, length in enumerate(lengths) if length > 1]
    return tifffile.TiffPageSeries(
        pages,
        tuple(lengths[i] for i in kept) + first.shape,
        first.dtype,
        "".join(axes[i] for i in kept) + first.axes,
        parent=tif,
        kind="generic",
    )
