"""Suspected wrong classes go to a person and come back: a gallery to look at, a CSV file to correct."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import pandas as pd

from utils.data.problems import Problem
from utils.errors import DataError, how_many
from utils.files import read_entries, write_csv
from utils.paths import set_aside

if TYPE_CHECKING:
    from utils.data.crops import Crop, CropSet

REMOVE = "remove"  # written in place of a class
WORDS = ("review", "image")
COLUMNS = ["file", "class", "given class", "suggested class", "probability of the given class"]


def write_review(path: Path, table: pd.DataFrame) -> str:
    """Write the suspected images as a table for a person to correct, and say what to do with the file.

    A CSV file of that name is renamed, but for a review in which nothing was corrected. `table`: see
    `utils.tasks.classes.wrong_labels.suspects`. DataError where the file cannot be written.
    """
    if table.empty:
        return "No image is suspected to bear the wrong class: there is nothing to correct."
    kept = ""
    if path.exists() and not _is_untouched(path):
        kept = f" The file of that name was kept as {set_aside(path).name}."
    write_csv(path, table.assign(**{"given class": table["class"]})[COLUMNS])
    return (
        f"Look at the {how_many(len(table), 'image')} in {path}: correct the column class where it is wrong, or "
        f"write {REMOVE} to leave an image out, and save the file as CSV.{kept}"
    )


def _is_untouched(path: Path) -> bool:
    """Whether a file is a review in which no class was changed."""
    try:
        entries = read_entries(path, COLUMNS, WORDS)
    except DataError:
        return False
    return all(fields["class"] == fields["given class"] for _, fields in entries)


def read_review(path: Path, crop_set: "CropSet") -> "CropSet":
    """Read a corrected review, and put its classes in place of those of the images; `crop_set` is left as it is.

    The problems of the review are added to those there were: unknown classes, files without class, files named twice
    with two classes and classes of which fewer than two images are left are errors, files that are not among the images
    warnings.

    Parameters
    ----------
    path
        CSV file with the columns file and class; see `utils.files.read_entries`. The class "remove" leaves an image out
        (unless there is a class of that name).
    crop_set
        The images.

    Raises
    ------
    DataError
        The file cannot be read as such a table.
    """
    entries = read_entries(path, ("file", "class"), WORDS)
    problems: list[Problem] = []
    corrected = _corrected(entries, {one["name"] for one in crop_set.classes}, path, problems)
    problems += _not_found(corrected, crop_set, path)
    ids = {normalize("NFC", one["name"]): one["id"] for one in crop_set.classes}
    named = [(one, corrected.get(normalize("NFC", one.name))) for one in crop_set.crops]
    crops = [replace(one, class_id=ids.get(name, one.class_id)) for one, name in named if name in ids or name != REMOVE]
    problems += _too_few(crops, crop_set, path)
    return replace(crop_set, crops=crops, problems=[*crop_set.problems, *problems])


def _corrected(
    entries: Sequence[tuple[int, dict]], known: set[str], path: Path, problems: list[Problem]
) -> dict[str, str]:
    """Class name of each file; lines that make no sense are left out, with a problem added."""
    known = {normalize("NFC", name) for name in known}
    found: dict[str, tuple[int, str]] = {}
    for line, fields in entries:
        file, name = (normalize("NFC", fields[column]) for column in ("file", "class"))
        file = file.replace("\\", "/")
        earlier_line, earlier = found.get(file, (line, name))
        wrong = remedy = ""
        if not file or not name:
            wrong, remedy = f"line {line} has no {'class' if file else 'file'}", "Fill it in."
        elif name not in known | {REMOVE}:
            wrong = f"line {line}: the class {name} is unknown"
            remedy = f"Known are {', '.join(sorted(known))}; write {REMOVE} to leave the image out."
        elif earlier != name:
            wrong = f"{file} is {earlier} in line {earlier_line} and {name} in line {line}"
            remedy = "Keep one of the two lines."
        if wrong:
            problems.append(Problem("error", str(path), wrong, remedy))
        else:
            found[file] = line, name
    return {file: name for file, (_, name) in found.items()}


def _not_found(corrected: dict[str, str], crop_set: "CropSet", path: Path) -> list[Problem]:
    """Warnings about files that are not among the images."""
    present = {normalize("NFC", one.name) for one in crop_set.crops}
    remedy = "Check the name, if it belongs to these images."
    return [
        Problem("warning", str(path), f"there is no image {file}", remedy) for file in corrected if file not in present
    ]


def _too_few(crops: Sequence["Crop"], before: "CropSet", path: Path) -> list[Problem]:
    """Errors about classes of which the review left fewer than two images."""
    problems = []
    for one in before.classes:
        left, had = (sum(crop.class_id == one["id"] for crop in part) for part in (crops, before.crops))
        if left < min(2, had):
            what = f"after the corrections the class {one['name']} has {left} images"
            problems.append(Problem("error", str(path), what, "Add images of it, or remove the class from the data."))
    return problems
