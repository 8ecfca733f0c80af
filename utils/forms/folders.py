"""Folders as a person sees them: their names in order, what they hold, and the text of a path."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from traitlets import Unicode

from utils.errors import DataError
from utils.files import read_entries
from utils.forms.fields import parse
from utils.groups import Grouping, groupings
from utils.names import match, name_key
from utils.paths import IMAGE_SUFFIXES, MASK_SUFFIXES, ROOT, is_system, resolve
from utils.samples import annotations_of, can_be_made

MODEL = "model.json"
IMAGES = "images"
ANNOTATIONS = ("masks", "mask", "labels", "label", "annotations", "annotation", "ground_truth", "targets")
FOLDERS = 200  # that are looked into for names which look like groups; deeper ones than `DEPTH` are not
DEPTH = 3
COMPARED = 2000  # names of images: enough to see that two folders belong together


class Listing(NamedTuple):
    """Names in a folder, in the order of people (a2 before a10); hidden and system ones are left out."""

    folders: list[str]
    files: list[str]


def list_folder(folder: Path) -> Listing:
    """Read the names in `folder`; OSError where it cannot be read."""
    with os.scandir(folder) as scan:
        entries = [(entry.name, _is_folder(entry)) for entry in scan if _is_shown(entry.name)]
    entries.sort(key=lambda entry: natural_key(entry[0]))
    return Listing([name for name, folder in entries if folder], [name for name, folder in entries if not folder])


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def _is_shown(name: str) -> bool:
    """Whether a person may want `name`; one that is not UTF-8 cannot be sent to a browser."""
    return not is_system(name) and name != "__pycache__" and name == name.encode(errors="ignore").decode()


def natural_key(name: str) -> list:
    """Sort key in which numbers count as numbers and upper case as lower case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [[int(part) if part.isdecimal() else part for part in parts], name]


def contents(listing: Listing) -> str:
    """What a folder holds, in a few words: "12 images, 2 folders"."""
    images = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in listing.files)
    counts = {
        "image": images,
        "folder": len(listing.folders),
        "other file" if images else "file": len(listing.files) - images,
    }
    found = [f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count]
    return ", ".join(["a model"] * (MODEL in listing.files) + found) or "nothing in it"


def path_text(path: Path) -> str | None:
    """Text that means `path` in a path field: relative with "/" below the project's folder, else absolute.

    None where no text does: spaces and quotes around what is typed do not count, so a name cannot end in them.
    """
    texts = [path.relative_to(ROOT).as_posix()] if path.is_relative_to(ROOT) else []
    return next((text for text in [*texts, str(path)] if meant(text) == path), None)


def meant(text: str) -> Path | None:
    """Path that a path field reads in `text`."""
    read = parse(Unicode().tag(path=True), text)
    return resolve(read) if read else None


def image_folder(text: str) -> str:
    """Text of the folder of images that is meant by `text`.

    Its sub-folder ``images`` where it has one, or is that of a sample, and no image itself; otherwise `text` as it is.
    """
    if not text.strip():
        return text
    folder = resolve(text)
    listing = _listing(folder)
    if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in listing.files):
        return text
    named = _named(listing, (IMAGES,)) or [IMAGES] * can_be_made(folder / IMAGES)
    return (path_text(folder / named[0]) if named else None) or text


def annotations_beside(text: str) -> str:
    """Text of the folder of annotations beside the folder of images `text`; empty where there is none.

    Its name is one of `ANNOTATIONS`, in this order and in any case, and a file in it belongs to an image by its
    name. Those of a sample need not be there, because it is made when it is needed.
    """
    if not text.strip():
        return ""
    images = resolve(text)
    if sample := annotations_of(images):
        return sample
    if not os.path.isdir(images):
        return ""
    listing = _listing(images.parent)
    listing.folders[:] = [name for name in listing.folders if name != images.name]
    known = _keys(_listing(images), COMPARED)

    def fits(folder: Path) -> bool:
        masks = _keys(_listing(folder))  # names that are the same need no rule, whose search takes seconds for many
        return not known or not known.isdisjoint(masks) or bool(match(known, masks).image_of)

    beside = (images.parent / name for name in _named(listing, ANNOTATIONS))
    return next((path_text(folder) or "" for folder in beside if fits(folder)), "")


def groupings_in(text: str, in_classes: bool) -> list[Grouping]:
    """Groups that the names of images look like.

    Parameters
    ----------
    text
        Of the folder of images, or of a CSV file that names image files.
    in_classes
        Whether the folder has a sub-folder for each class; else the images lie in it, or all in its sub-folders.
    """
    path = resolve(text) if text.strip() else None
    if path is None or not os.path.exists(path):
        return []
    try:
        return _groupings(path, in_classes, os.stat(path).st_mtime_ns)
    except (OSError, ValueError, DataError):  # told when the images are read
        return []


@lru_cache(maxsize=16)
def _groupings(path: Path, in_classes: bool, changed: int) -> list[Grouping]:
    """See `groupings_in`; `changed` is when the folder or file was."""
    if path.is_file():
        entries = [one for _, one in read_entries(path, ("file", "class"), ("table", "image"), optional=("group",))]
        if any(one.get("group") for one in entries):
            return []
        return groupings([one["file"].replace("\\", "/") for one in entries], [one["class"] for one in entries])
    names = _names_below(path, DEPTH if in_classes else 1)
    if in_classes:
        names = [name for name in names if "/" in name]
        return groupings(names, [name.partition("/")[0] for name in names])
    return groupings([name for name in names if "/" not in name] or names)


def _names_below(folder: Path, depth: int) -> list[str]:
    """Paths of the image files in `folder` and, so deep, in its sub-folders, with "/"."""
    names, left = [], [("", 0)]
    for _ in range(FOLDERS):
        if not left:
            break
        place, level = left.pop(0)
        listing = _listing(folder / place)
        names += [place + name for name in listing.files if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        left += [(f"{place}{name}/", level + 1) for name in listing.folders if level < depth]
    return names


def _keys(listing: Listing, most: int | None = None) -> set[str]:
    """What counts of the names of images and masks, and the names of sub-folders, of the first `most` each."""
    endings = tuple(IMAGE_SUFFIXES | MASK_SUFFIXES)
    files = (name for name in listing.files[:most] if name.lower().endswith(endings))
    return {name_key(name) for name in files} | set(listing.folders[:most])


def _listing(folder: Path) -> Listing:
    try:
        return list_folder(folder)
    except (OSError, ValueError):  # missing, not allowed, or a character that no path can hold
        return Listing([], [])


def _named(listing: Listing, names: tuple[str, ...]) -> list[str]:
    """Those of the sub-folders that are called as one of `names`, in the order of `names`."""
    found = {name.casefold(): name for name in reversed(listing.folders)}
    return [found[name] for name in names if name in found]
