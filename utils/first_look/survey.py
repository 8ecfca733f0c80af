"""Which images, masks, classes or models a folder holds, found by names alone: quick, also for many files."""

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from utils.data.crop_files import ROLE_FOLDERS
from utils.data.folders import in_sub_folders
from utils.data.problems import Problem
from utils.data.sample_makers import make_missing
from utils.data.unread import FOLDERS_OF_DATA, is_read, unread
from utils.errors import DataError, how_many
from utils.files import read_entries
from utils.first_look.headers import CROP, read_header
from utils.forms.folders import ANNOTATIONS, MODEL, Listing, annotations_beside, contents, list_folder
from utils.names import name_key
from utils.paths import MASK_ENDING, resolve

IMAGES = ("images", "image", "img", "imgs", "raw", "originals")  # what a folder of images is called beside its masks
TRAINING, TEST = ("train", "training"), ("test", "testing")
RESULTS = {"measurements.csv", "objects.csv", "counts.csv", "predictions.csv", "object_classes.csv"}
DEEPEST, MOST_FOLDERS, SECONDS = 3, 200, 1.5  # that are looked into for images
MOST_INSIDE, MOST_NEW = 20, 3  # that are listed
MOST_TABLES, LARGEST_TABLE = 5, 5e6  # CSV files that are looked into, and their bytes


@dataclass(frozen=True)
class Found:
    """Images that a notebook could work on.

    Attributes
    ----------
    kind
        "pairs" of images and masks, "images" without, or "classes": a folder of images for each, or a table.
    source, target
        What the forms call training_source (a folder, or the table of classes) and training_target.
    images, masks
        Files, in the order of people.
    classes
        Number of images of each class.
    test
        Images of the same kind in a folder that is called test.
    new
        A folder of further images, which nobody has annotated.
    """

    kind: Literal["pairs", "images", "classes"]
    source: Path
    images: list[Path]
    target: Path | None = None
    masks: list[Path] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    test: "Found | None" = None
    new: Path | None = None


@dataclass
class Survey:
    """What `look` found in `folder`.

    Attributes
    ----------
    found
        None where there are no images, or where one of several folders must be chosen.
    inside
        Sub-folders that look like data, or are taken for classes, and what they hold in words.
    model
        Folder of a model, where `folder` is one.
    notes, problems
        Sentences on how it was understood; what is wrong.
    """

    folder: Path
    found: Found | None = None
    inside: list[tuple[Path, str]] = field(default_factory=list)
    model: Path | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def look(text: str) -> Survey:
    """Find out what lies in the folder (or file) that a path field says; no pixel is read.

    Nothing is raised: a folder that is missing or cannot be read is one of the problems.
    """
    path = resolve(text)
    survey = Survey(path)
    try:
        make_missing(path)
        if os.path.isfile(path):
            survey.found = _of_table(path) if path.suffix.lower() == ".csv" else None
            survey.folder = path.parent
        if survey.found is None:
            survey.notes += [f"{path.name} is a file: this is about the folder that it lies in."] * (
                path != survey.folder
            )
            survey.found = _found_in(survey.folder, survey)
        if survey.found and survey.found.kind != "images":
            survey.found = _with_new_images(survey.found, survey)
        if not (survey.found or survey.inside or survey.model):
            survey.problems += unread(survey.folder, notes=False)
    except (DataError, OSError, ValueError) as error:  # ValueError: a character that no path can hold
        survey.problems.append(_unreachable(path, error))
    return survey


def _unreachable(path: Path, error: Exception) -> Problem:
    if isinstance(error, DataError):
        return Problem("error", str(path), str(error).removeprefix(f"{path} ").rstrip("."), "")
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return Problem("error", str(path), "there is no such folder", "Check its name for a typing error.")
    if isinstance(error, PermissionError):
        remedy = "Ask for the right to, or copy the images to a folder of your own."
        return Problem("error", str(path), "you have no right to look into this folder", remedy)
    what = f"this folder cannot be read ({error.strerror or error})"
    return Problem("error", str(path), what, "Check the disk, its cable or the network, then choose it again.")


def _found_in(folder: Path, survey: Survey) -> Found | None:
    """Images in `folder`; notes, models and sub-folders to choose from are added to the survey."""
    listing = list_folder(folder)
    if not any(listing):
        survey.notes.append("The folder is empty.")
    if MODEL in listing.files:
        survey.model = folder
        return None
    if RESULTS & set(listing.files) and "overlays" in listing.folders:
        survey.notes.append("This folder holds results that one of the notebooks has written.")
        return None
    if any(is_read(Path(name), masks=False) for name in listing.files):
        return _of_table_among(folder, listing) or _plain(folder, listing, survey)
    if named := _named(listing, IMAGES):
        if beside := _in_sub_folders(folder / named):
            return beside
        return _found_in(folder / named, survey)
    return (
        _of_roles(folder, listing, survey) or _of_table_among(folder, listing) or _of_folders(folder, listing, survey)
    )


def _with_new_images(found: Found, survey: Survey) -> Found:
    """What was found with the folder of further images without annotation, if there is one; of all, a note is made."""
    test = found.test or found
    known = {path.parent for path in (*found.images, *found.masks, *test.images, *test.masks)}
    known |= {found.source, found.target, test.source, test.target}
    within = found.kind == "pairs" and survey.folder in (found.source, found.target)
    root = survey.folder.parent if within else survey.folder
    new = [path for path, what in _search(root) if what == "images" and not _is_annotation(path, known)]
    if not new:
        return found
    counts = [(path, len(_files_below(path, depth=0))) for path in new]
    told = [f"{path.relative_to(root)} ({how_many(n, 'image')})" for path, n in counts[:MOST_NEW]]
    others = f" and {len(new) - MOST_NEW} more" if len(new) > MOST_NEW else ""
    survey.notes.append(
        f"Further images, without annotation, lie in {', '.join(told)}{others}: they are for section 6, where "
        f"{'it' if len(new) == 1 else 'the first of these'} is filled in as the folder to predict."
    )
    return replace(found, new=new[0])


def _is_annotation(path: Path, known: set[Path | None]) -> bool:
    """Whether a folder belongs to what was found already, holds annotations, or what a program has written."""
    listing = list_folder(path.parent)
    if path in known or path.name.casefold() in ANNOTATIONS or RESULTS & set(listing.files) or MODEL in listing.files:
        return True
    beside = annotations_beside(str(path))
    return bool(beside) and resolve(beside) not in known


def _named(listing: Listing, names: tuple[str, ...]) -> str:
    """The first of the sub-folders called as one of `names`, in any case; "" where there is none."""
    found = {name.casefold(): name for name in listing.folders}
    return next((found[name] for name in names if name in found), "")


def _plain(folder: Path, listing: Listing, survey: Survey) -> Found | None:
    """Images that lie in `folder` itself, with the masks beside it."""
    if folder.name.casefold() in ANNOTATIONS and (images := _named(list_folder(folder.parent), IMAGES)):
        survey.notes.append(f"These are masks or labels; their images lie beside them, in {images}.")
        return _found_in(folder.parent / images, survey)
    names = [name for name in listing.files if is_read(Path(name), masks=False)]
    images = [folder / name for name in names]
    if beside := annotations_beside(str(folder)):
        target = resolve(beside)
        make_missing(target)
        masks = [target / name for name in list_folder(target).files if is_read(Path(name), masks=True)]
        return Found("pairs", folder, images, target, masks)
    survey.problems += _mixed(folder, names) + _strangers(folder)
    return Found("images", folder, images)


def _mixed(folder: Path, names: list[str]) -> list[Problem]:
    """Problem of masks that lie among their images."""
    stems = {name_key(name): name for name in names}
    masks = [name for stem, name in stems.items() if (plain := MASK_ENDING.sub("", stem)) != stem and plain in stems]
    if not masks:
        return []
    what = f"{len(masks)} of {len(names)} files look like masks of others ({masks[0]})"
    remedy = "Move the masks into a folder masks, and the images into a folder images beside it."
    return [Problem("warning", str(folder), what, remedy)]


def _strangers(folder: Path) -> list[Problem]:
    """Problem of a folder of masks beside the images, none of which has the name of an image."""
    name = _named(list_folder(folder.parent), ANNOTATIONS)
    if not name or name == folder.name:
        return []
    what = f"no file in it has the name of an image in {folder.name}, so that they were not taken for their masks"
    return [Problem("warning", str(folder.parent / name), what, "Give each mask the name of its image.")]


def _in_sub_folders(source: Path) -> Found | None:
    """Images and masks that lie in sub-folders of the same names, such as one for each patient."""
    beside = annotations_beside(str(source))
    if not beside or not in_sub_folders(source, target := resolve(beside)):
        return None
    images, masks = (_files_below(folder, masks=folder == target) for folder in (source, target))
    return Found("pairs", source, images, target, masks)


def _files_below(folder: Path, masks: bool = False, depth: int = DEEPEST) -> list[Path]:
    """Image files in `folder` and, so deep, in its sub-folders; no links are followed, as the notebooks do not."""
    listing = list_folder(folder)
    own = [folder / name for name in listing.files if is_read(Path(name), masks)]
    inside = [name for name in listing.folders if depth and not os.path.islink(folder / name)]
    return own + [path for name in inside for path in _files_below(folder / name, masks, depth - 1)]


def _of_roles(folder: Path, listing: Listing, survey: Survey) -> Found | None:
    """Images of the sub-folder for training, with those of the one for the test."""
    training, test = _named(listing, TRAINING), _named(listing, TEST)
    if not training:
        return None
    found = _found_in(folder / training, survey)
    held_out = _found_in(folder / test, Survey(folder / test)) if test and found else None
    if found is None or held_out is None or held_out.kind != found.kind:
        return found
    return Found(**{**vars(found), "test": held_out})


def _of_table_among(folder: Path, listing: Listing) -> Found | None:
    """Classes of the first table in `folder` that has the columns file and class."""
    tables = [name for name in listing.files if name.lower().endswith(".csv") and name not in RESULTS][:MOST_TABLES]
    return next(filter(None, (_of_table(folder / name) for name in tables)), None)


def _of_table(path: Path) -> Found | None:
    """Classes that a table names; None where it is none of that kind."""
    try:
        if os.path.getsize(path) > LARGEST_TABLE:
            return None
        words = ("table of images", "image")
        entries = [one for _, one in read_entries(path, ("file", "class"), words, optional=("label",))]
    except (DataError, OSError):
        return None
    if "label" in entries[0]:
        return None  # classes of objects
    names = [one["class"] for one in entries]
    images = [resolve(path.parent / one["file"].replace("\\", "/")) for one in entries]
    if not any(is_read(one, masks=False) and os.path.isfile(one) for one in images[:MOST_FOLDERS]):
        return None  # of results, for example
    return Found("classes", path, images, classes={name: names.count(name) for name in sorted(set(names))})


def _of_folders(folder: Path, listing: Listing, survey: Survey) -> Found | None:
    """Classes, where images lie in two or more sub-folders and nowhere else; else the one, or those to choose from."""
    inside = _search(folder)
    if len(inside) == 1:
        path = inside[0][0]
        survey.notes.append(f"The images lie further down, in {path.relative_to(folder)}.")
        return _found_in(path, survey)
    survey.inside = _in_words(inside[:MOST_INSIDE])
    if not _are_classes(folder, inside):
        return None
    names = dict.fromkeys(path.relative_to(folder).parts[0] for path, _ in inside)
    files = {name: _files_below(folder / name) for name in names}
    images = [path for paths in files.values() for path in paths]
    return Found("classes", folder, images, classes={name: len(paths) for name, paths in files.items()})


def _are_classes(folder: Path, inside: Sequence[tuple[Path, str]]) -> bool:
    """Whether sub-folders may be classes: they hold images and nothing else, in folders below them small ones."""
    names = {path.relative_to(folder).parts[0].lower() for path, _ in inside}
    if len(names) < 2 or names <= ROLE_FOLDERS or any(what != "images" for _, what in inside):
        return False
    return all(path.parent == folder for path, _ in inside) or _is_crop(_files_below(inside[0][0], depth=0)[0])


def _is_crop(path: Path) -> bool:
    """Whether an image is as small as one of a single cell."""
    try:
        header = read_header(path)
    except DataError:
        return False
    return max(header.height, header.width) <= CROP


def _search(folder: Path) -> list[tuple[Path, str]]:
    """Folders below `folder` that hold "images" themselves or are "data" in another way, so far as time allows."""
    found, left, start = [], deque([(folder, 0)]), time.monotonic()
    for _ in range(MOST_FOLDERS):
        if not left or time.monotonic() - start > SECONDS:
            break
        place, depth = left.popleft()
        try:
            listing = list_folder(place)
        except OSError:
            continue
        what = _what(place, listing) if depth else ""
        if what:
            found.append((place, what))
        elif depth < DEEPEST:
            names = [name for name in listing.folders if Path(name).suffix.lower() not in FOLDERS_OF_DATA]
            left += [(place / name, depth + 1) for name in names]
    return found


def _what(folder: Path, listing: Listing) -> str:
    if any(is_read(Path(name), masks=False) for name in listing.files):
        return "images"
    named = _named(listing, (*IMAGES, *TRAINING))
    return "data" if MODEL in listing.files or (named and _files_below(folder / named)) else ""


def _in_words(inside: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Folders with what they hold in words, such as "12 images with masks", so far as time allows."""
    start, told = time.monotonic(), []
    for path, what in inside:
        late = time.monotonic() - start > SECONDS
        told.append((path, what if late else contents(list_folder(path)) if what == "images" else _described(path)))
    return told


def _described(folder: Path) -> str:
    found = _found_in(folder, inner := Survey(folder))
    if found is None:
        return "a model" if inner.model else contents(list_folder(folder))
    return described(found) + (f", and {len(found.test.images)} for the test" if found.test else "")


def described(found: Found) -> str:
    """What was found, such as "12 images with masks", "40 images of 3 classes"."""
    images = "1 image" if len(found.images) == 1 else f"{len(found.images):,} images"
    more = {"pairs": " with masks", "classes": f" of {len(found.classes)} classes", "images": ""}
    return images + more[found.kind]
