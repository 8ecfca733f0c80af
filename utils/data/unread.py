"""The files of a folder that are not read: named with the reason and with what to do, one row for each kind."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.data.problems import Problem
from utils.paths import IMAGE_SUFFIXES, MASK_SUFFIXES, MICROSCOPE_SUFFIXES, is_system

FOLDERS_OF_DATA = {".zarr", ".n5"}
NAMED = 10  # files of one kind, the others are counted
EXPORT = (
    "Export as TIFF with Fiji: Process > Batch > Convert for a whole folder (tick Read images using Bio-Formats), "
    "Plugins > Bio-Formats > Bio-Formats Importer for a file that holds many images."
)


QUPATH = (
    "Open in QuPath, draw a box around what you want to know about, and choose File > Export images > Original pixels, "
    "as TIFF, with a downsample that gives about 0.5 um per pixel."
)


class Kind(NamedTuple):
    """Endings of files of one kind, what one and several of them are called, and what to do."""

    endings: set[str]
    one: str
    several: str
    remedy: str


PICTURES = ".webp .heic .heif .avif .jp2 .j2k .jxl .psd .xcf .svg .eps .pdf .ppm .pgm .pbm .tga .dng .cr2 .nef .arw"
VOLUMES = ".npy .npz .h5 .hdf5 .mat .zarr .n5 .nii .nrrd .mha .mhd .raw .dcm .fits .fit .klb .hdr .img"
SLIDES = set([".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vsi", ".qptiff"])
KINDS = [
    Kind(
        SLIDES,
        "whole slide",
        "whole slides",
        QUPATH,
    ),
    Kind(MICROSCOPE_SUFFIXES, "file of a microscope", "files of a microscope", EXPORT),
    Kind(
        set(PICTURES.split()),
        "picture of a format that is not read",
        "pictures of a format that is not read",
        "Open in the program that it comes from, or in Fiji, and save as TIFF or PNG.",
    ),
    Kind(
        set(VOLUMES.split()),
        "file of data that is no TIFF, PNG or JPEG",
        "files of data that are no TIFF, PNG or JPEG",
        "Open in Fiji, or in the program that it comes from, and save each image as TIFF.",
    ),
    Kind(
        {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"},
        "packed file",
        "packed files",
        "Unpack into the folder if images are inside.",
    ),
    Kind(
        {".avi", ".mp4", ".mov", ".mkv", ".wmv", ".mpg"},
        "film",
        "films",
        "Open in Fiji and choose File > Save As > Image Sequence, in the format TIFF.",
    ),
    Kind(
        {".part", ".crdownload", ".partial", ".download", ".filepart"},
        "file that was not downloaded to its end",
        "files that were not downloaded to their end",
        "Download again.",
    ),
    Kind({""}, "file without an ending", "files without an ending", "Add the ending, such as .tif, to an image."),
]
LABELS = Kind(
    set(),
    "file of labels among images",
    "files of labels among images",
    "Move into the folder of masks to use as masks.",
)
BROKEN = Kind(set(), "link to a file that is gone", "links to files that are gone", "Copy the file itself to here.")
OTHER = Kind(set(), "other file", "other files", "Nothing is to be done for notes and tables.")
FOLDERS = Kind(set(), "sub-folder with images", "sub-folders with images", "Name it as the folder to read it.")


def unread(
    folder: Path, recursive: bool = False, masks: bool = False, apart: Sequence[Path] = (), notes: bool = True
) -> list[Problem]:
    """Warnings about files in `folder` that are not read, those of one kind together; hidden ones are not told of.

    Parameters
    ----------
    folder
        Folder that was searched for images, with its sub-folders where it is searched `recursive`. Else those that
        hold images are told of too.
    masks
        Whether it was searched for masks (`utils.data.folders.find_images`).
    apart
        Files and folders in `folder` that are known to be something else, such as results or masks.
    notes
        Whether files that look like no image at all, such as texts and tables, and sub-folders are told of.
    """
    known = {os.path.realpath(one) for one in apart}
    found = defaultdict(list)
    for path in sorted(_entries(folder, recursive, known)):
        kind = _kind(path, masks)
        if kind and os.path.realpath(path) not in known and (notes or kind not in (OTHER, FOLDERS)):
            found[kind.one].append(path)
    return [
        _problem(kind, folder, found[kind.one]) for kind in (*KINDS, LABELS, BROKEN, FOLDERS, OTHER) if found[kind.one]
    ]


def instead(folder: Path, recursive: bool = False) -> str:
    """What a folder without images holds and what to do, as sentences that follow another one; "" if nothing."""
    return "".join(f" {one.what[0].upper()}{one.what[1:]}. {one.remedy}" for one in unread(folder, recursive))


def _entries(folder: Path, recursive: bool, apart: set[str]) -> Iterator[Path]:
    """Files, and the folders that are not looked into."""
    for path in entries_of(folder):
        if is_system(path.name):
            continue
        if recursive and path.is_dir() and path.suffix.lower() not in FOLDERS_OF_DATA:
            if os.path.realpath(path) not in apart:
                yield from _entries(path, recursive, apart | {os.path.realpath(folder)})  # links may go in a circle
        else:
            yield path


def entries_of(folder: Path) -> list[Path]:
    """What a folder holds; nothing where it cannot be looked into."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def is_read(path: Path, masks: bool) -> bool:
    """Whether the name of a file is that of an image that is read, or, with `masks`, of a file of labels."""
    return path.suffix.lower() in IMAGE_SUFFIXES or (masks and path.name.lower().endswith(tuple(MASK_SUFFIXES)))


def _kind(path: Path, masks: bool) -> Kind | None:
    """Kind of a file or folder; None where it is read, or where there is nothing to tell."""
    ending = path.suffix.lower()
    if is_read(path, masks) and path.is_file():
        return None
    if path.is_dir() and ending not in FOLDERS_OF_DATA:
        return FOLDERS if any(one.suffix.lower() in IMAGE_SUFFIXES for one in entries_of(path)) else None
    if path.name.lower().endswith(tuple(MASK_SUFFIXES)):
        return LABELS
    if path.is_symlink() and not path.exists():
        return BROKEN
    return next((kind for kind in KINDS if ending in kind.endings), OTHER)


def _problem(kind: Kind, folder: Path, paths: Sequence[Path]) -> Problem:
    """Warning about one file by its path, about several by their number and names."""
    if len(paths) == 1:
        return Problem("warning", str(paths[0]), f"this {kind.one} is not read", kind.remedy)
    names = [path.relative_to(folder).as_posix() for path in paths[:NAMED]]
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    what = f"{len(paths)} {kind.several} are not read ({', '.join(names)}{more})"
    return Problem("warning", str(folder), what, kind.remedy)
