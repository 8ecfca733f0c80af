"""The folder of annotations is found beside the folder of images, so that naming one's own data is one field."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from utils.form_fields import parse
from utils.form_folders import Listing, list_folder, path_text
from utils.form_memory import remembered
from utils.images import IMAGE_SUFFIXES
from utils.pairs import MASK_ENDING
from utils.paths import resolve
from utils.samples import annotations_of, can_be_made

if TYPE_CHECKING:
    from utils.forms import Form

IMAGES = "images"
ANNOTATIONS = ("masks", "mask", "labels", "label", "annotations", "annotation", "ground_truth", "targets")
COMPARED = 2000  # names of images: enough to see that two folders belong together


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


def found_again(form: "Form", texts: dict[str, str]) -> dict[str, str]:
    """Texts of the fields that the form once found or emptied, looked for again beside the folders in `texts`."""
    beside = {name: form.beside(name) for name in form.fields if form.beside(name) and name not in form.overridden}
    found = [name for name, typed in remembered(form).items() if typed.found and name in beside]
    return {name: annotations_beside(texts[beside[name]]) for name in found}


def note_beside(form: "Form", name: str) -> list[str]:
    """What is to be noted below the field `name`, whose folder lies beside the images, or does not."""
    images, text = form.shown.get(form.beside(name), ""), form.shown[name]
    if not images.strip():
        return []
    if not form.found(name):
        return _not_beside(images, text) if text and _outlived(form, name) else []
    if not text:
        return ["emptied: no folder such as masks or labels, with files of the same names, lies beside the images"]
    return ["found beside the images"] if os.path.isdir(resolve(text)) or can_be_made(resolve(text)) else []


def _outlived(form: "Form", name: str) -> bool:
    """Whether the text of the field `name` was typed before that of the images and stayed."""
    order = [field for field in remembered(form) if field in (name, form.beside(name))]
    return name not in form.overridden and order == [name, form.beside(name)]


def _not_beside(images: str, text: str) -> list[str]:
    if resolve(text).parent == resolve(images).parent:
        return []
    beside = annotations_beside(images)
    return ["not beside the images" + f"; beside them lies {Path(beside).name}" * bool(beside)]


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

    Its name is one of `ANNOTATIONS`, in this order and in any case, and a file in it is called as one of the images.
    Those of a sample need not be there, because it is made when it is needed.
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
    beside = (images.parent / name for name in _named(listing, ANNOTATIONS))
    return next((path_text(folder) or "" for folder in beside if not known or known & _keys(_listing(folder))), "")


def _keys(listing: Listing, most: int | None = None) -> set[str]:
    """Names by which `utils.pairs` finds the mask of an image, and those of sub-folders, of the first `most` each."""
    files = (name for name in listing.files[:most] if Path(name).suffix.lower() in IMAGE_SUFFIXES)
    stems = {Path(name).stem.removesuffix(".ome") for name in files}
    return stems | {MASK_ENDING.sub("", stem) for stem in stems} | set(listing.folders[:most])


def _listing(folder: Path) -> Listing:
    try:
        return list_folder(folder)
    except (OSError, ValueError):  # missing, not allowed, or a character that no path can hold
        return Listing([], [])


def _named(listing: Listing, names: tuple[str, ...]) -> list[str]:
    """Those of the sub-folders that are called as one of `names`, in the order of `names`."""
    found = {name.casefold(): name for name in reversed(listing.folders)}
    return [found[name] for name in names if name in found]
