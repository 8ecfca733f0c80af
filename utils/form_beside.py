"""The folder of annotations is found beside the folder of images, so that naming one's own data is one field."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from utils.form_fields import parse
from utils.form_folders import Listing, list_folder, path_text
from utils.images import IMAGE_SUFFIXES
from utils.paths import resolve

if TYPE_CHECKING:
    from utils.forms import Form

IMAGES = "images"
ANNOTATIONS = ("masks", "mask", "labels", "label", "annotations", "annotation", "ground_truth", "targets")


def found_beside(form: "Form", name: str, text: str) -> tuple[str, dict[str, str]]:
    """What follows from `text` being typed into the field `name` of `form`.

    Returns
    -------
    text : str
        What the field shall show: another text where the folder typed has its images in a sub-folder.
    found : dict of str to str
        Texts of the fields whose annotations lie beside that folder; empty for those that had some and no longer do.
    """
    fields = [field for field in form.fields if form.beside(field) == name]
    if not fields or (value := parse(form.fields[name], text)) == parse(form.fields[name], form.shown[name]):
        return text, {}
    images = image_folder(value)
    annotations = annotations_beside(images)
    found = {field: annotations for field in fields if form.may_be_found(field) and form.shown[field] != annotations}
    return text if images == value else images, found


def image_folder(text: str) -> str:
    """Text of the folder of images that is meant by `text`.

    Its sub-folder ``images`` where it has one and no image itself; otherwise `text` as it is.
    """
    if not text.strip():
        return text
    folder = resolve(text)
    listing = _listing(folder)
    if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in listing.files):
        return text
    return _first(folder, listing, (IMAGES,)) or text


def annotations_beside(text: str) -> str:
    """Text of the folder of annotations beside the folder of images `text`, by its name; empty where there is none.

    The names, in this order and in any case, are `ANNOTATIONS`.
    """
    if not text.strip():
        return ""
    images = resolve(text)
    if not os.path.isdir(images):
        return ""
    listing = _listing(images.parent)
    listing.folders[:] = [name for name in listing.folders if name != images.name]
    return _first(images.parent, listing, ANNOTATIONS)


def _listing(folder: Path) -> Listing:
    try:
        return list_folder(folder)
    except (OSError, ValueError):  # missing, not allowed, or a character that no path can hold
        return Listing([], [])


def _first(folder: Path, listing: Listing, names: tuple[str, ...]) -> str:
    """Text of the first of the sub-folders called `names`, if any."""
    found = {name.casefold(): name for name in reversed(listing.folders)}
    return next((path_text(folder / found[name]) or "" for name in names if name in found), "")
