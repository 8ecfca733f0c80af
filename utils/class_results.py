"""Classify a folder of images and write classes, probabilities, a list to review and a montage of each class."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.class_tables import (
    PREFIX,
    check_tables,
    class_table,
    earlier_classes,
    keep_corrected,
    review_table,
)
from utils.errors import DataError
from utils.files import write_csv, write_json
from utils.held_out import check_channels
from utils.images import Image, find_images, read_image
from utils.montages import file_stems, montage, thumbnail
from utils.object_tables import GrowingTable, keep_earlier
from utils.paths import resolve
from utils.pictures import write_png
from utils.results import foreign_file, origin, pixel_size_doubts

if TYPE_CHECKING:  # imports tensorflow
    from utils.classifier import Classifier

PREDICTIONS = "predictions.csv"
REVIEW = "review.csv"
MONTAGES = "montages"
ORIGIN = "classification.json"  # not prediction.json: results may lie beside those of StarDist
FIRST_COLUMNS = {PREDICTIONS: ("file", "class", "group", "uncertain"), REVIEW: ("file", "class", "uncertain")}
MOST_SHOWN = 100  # images in a montage


@dataclass
class Predicted:
    """Table of predictions, and what went wrong or looks doubtful, one sentence each."""

    table: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def classify_folder(
    classifier: "Classifier",
    model_folder: Path,
    description: Mapping,
    data_folder: str | Path,
    result_folder: Path,
    axes: str = "automatic",
    progress: Callable[[Iterable], Iterator] = iter,
) -> Predicted:
    """Classify all images of a folder and its sub-folders, one in memory at a time.

    Parameters
    ----------
    classifier
        Gives the probabilities.
    model_folder
        Where the classifier comes from, to be told in classification.json.
    description
        Content of model.json; used are channels and pixel_size_um.
    data_folder
        Images of one object each, of any size.
    result_folder
        Gets predictions.csv (see `utils.class_tables.class_table`), review.csv (the most uncertain images first),
        montages/<class>.png (at most 100 images each, from the most to the least probable) and classification.json.
    axes
        See `utils.images.read_image`.
    progress
        Wraps the list of files, for a progress bar.

    Returns
    -------
    Predicted
        An image that cannot be read is named among the warnings; the others are classified all the same.

    Raises
    ------
    DataError
        No image could be classified, or a file would be overwritten that is no result.
    """
    data_folder, result_folder = resolve(data_folder), resolve(result_folder)
    earlier = _check_files(result_folder, classifier.classes)
    files = _find(data_folder, result_folder)
    table, rows, sizes, warnings = GrowingTable(result_folder / PREDICTIONS), [], [], []
    for path in progress(files):
        try:
            image = _read(path, axes, description)
        except DataError as error:
            warnings.append(f"Left out: {error}")
            continue
        name = path.relative_to(data_folder).as_posix()
        row = class_table({"file": [name]}, classifier.probabilities([image.array]), classifier.classes)
        if not rows:
            warnings += _begin(result_folder, [one.relative_to(data_folder).as_posix() for one in files])
            write_json(result_folder / ORIGIN, origin(model_folder, data_folder, axes, classifier.classes))
        table.append([row])
        rows.append(row)
        sizes.append(image.pixel_size_um)
    if not rows:
        raise DataError("No image could be classified. " + " ".join(warnings[:3]))
    predictions = pd.concat(rows, ignore_index=True)
    write_csv(result_folder / REVIEW, review_table(predictions))
    for path in earlier:
        path.unlink(missing_ok=True)
    _write_montages(predictions, classifier.classes, data_folder, result_folder, axes)
    return Predicted(predictions, warnings + pixel_size_doubts(sizes, description.get("pixel_size_um")))


def _find(data_folder: Path, result_folder: Path) -> list[Path]:
    """Images of a folder and its sub-folders, without pictures that are results of earlier predictions."""
    results = result_folder if data_folder in result_folder.parents else result_folder / MONTAGES
    files = [path for path in find_images(data_folder, recursive=True) if not path.is_relative_to(results)]
    if not files:
        raise DataError(f"The folder {data_folder} holds no image but results. Check the field data_folder.")
    return files


def _read(path: Path, axes: str, description: Mapping) -> Image:
    image = read_image(path, axes)
    check_channels(image.array, path, description)
    return image


def _montage_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Montage of each class."""
    return [folder / MONTAGES / f"{stem}.png" for stem in file_stems(names)]


def _check_files(folder: Path, classes: Sequence[dict]) -> list[Path]:
    """Refuse to write over what no prediction has written; returns the montages of an earlier prediction."""
    check_tables(folder, FIRST_COLUMNS)
    earlier = _montage_files(folder, earlier_classes(folder / PREDICTIONS))
    for path in _montage_files(folder, [one["name"] for one in classes]):
        if path.exists() and path not in earlier:
            raise foreign_file(path)
    return earlier


def _begin(folder: Path, files: Sequence[str]) -> list[str]:
    """Set aside the tables of an earlier prediction that hold what will not be predicted again, or corrections."""
    return keep_earlier(folder, files, (PREDICTIONS, REVIEW)) + keep_corrected(folder, (PREDICTIONS, REVIEW))


def _write_montages(table: pd.DataFrame, classes: Sequence[dict], data: Path, folder: Path, axes: str) -> None:
    """Write a montage of each class that was found; the images are read again, as all of them may be too many."""
    for one, path in zip(classes, _montage_files(folder, [one["name"] for one in classes]), strict=True):
        mine = table[table["class"] == one["name"]].sort_values(PREFIX + one["name"], ascending=False, kind="stable")
        shown = np.linspace(0, len(mine) - 1, min(len(mine), MOST_SHOWN)).round().astype(int)
        pictures = [thumbnail(read_image(data / name, axes).array) for name in mine["file"].iloc[shown]]
        if pictures:
            write_png(path, montage(pictures))
