"""Tables of a prediction folder that grow image by image and never lose a row of an earlier prediction."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.files import atomic
from utils.paths import set_aside, shown_path

OBJECTS = "objects.csv"
COUNTS = "counts.csv"
FIRST_COLUMNS = ["file", "plane"]
DIGITS = "%.7g"  # of a number with a fraction: more than is measured, and a third of the size
ORIGIN = "prediction.json"
PIXEL_SIZE_TOLERANCE = 0.2  # a network trained at one magnification is not trusted at another


class GrowingTable:
    """CSV file to which rows are added, so that neither memory nor a crash is a matter of its length.

    Parameters
    ----------
    path : Path
        An earlier file of that name is replaced by the first rows.
    """

    def __init__(self, path: Path):
        self.path, self._begun = path, False

    def append(self, frames: Sequence[pd.DataFrame]) -> None:
        """Add the rows of at least one frame, all or none; the columns must always be the same.

        Raises
        ------
        DataError
            Where the disk is full or the folder cannot be written to; the rows added before are kept.
        """
        form = {"index": False, "float_format": DIGITS, "lineterminator": "\n"}
        rows = "".join(one.to_csv(header=False, **form) for one in frames)
        if self._begun:
            self._add(rows.encode())
        else:
            with atomic(self.path) as temporary:
                temporary.write_bytes((frames[0].iloc[:0].to_csv(**form) + rows).encode())
        self._begun = True

    def _add(self, data: bytes) -> None:
        """Write to the end of the file; what a failure left of it is cut off again."""
        try:
            with self.path.open("r+b", buffering=0) as stream:
                end = stream.seek(0, os.SEEK_END)
                try:
                    while data:
                        data = data[stream.write(data) :]
                except BaseException:
                    stream.truncate(end)
                    raise
        except OSError as error:
            raise DataError(
                f"{self.path} could not be written ({error.strerror or error}). Close it in other programs, free some "
                "space or choose another folder, then run the cell again."
            ) from error


def is_own_table(path: Path, columns: Sequence[str] = FIRST_COLUMNS) -> bool:
    """Whether a CSV file was written by a prediction, as its first `columns` (those of objects) say."""
    try:
        return list(pd.read_csv(path, nrows=0).columns[: len(columns)]) == list(columns)
    except (ValueError, OSError):  # empty, or no text
        return False


def keep_earlier(folder: Path, files: Iterable[str], tables: Sequence[str] = (COUNTS, OBJECTS)) -> list[str]:
    """Rename the tables of an earlier prediction that hold images which the one to come does not predict.

    Parameters
    ----------
    folder : Path
        Prediction folder.
    files : iterable of str
        Names of the images that are predicted now.
    tables : sequence of str
        Names of the tables; the first names all images in its column file.

    Returns
    -------
    list of str
        A sentence that says so, or nothing where all rows will be written anew.
    """
    if not (folder / tables[0]).exists():
        return []
    earlier = pd.read_csv(folder / tables[0], usecols=["file"], dtype=str, keep_default_na=False)["file"]
    others = sorted(set(earlier) - set(files))
    if not others:
        return []
    kept = [set_aside(folder / name).name for name in tables if (folder / name).exists()]
    return [
        f"{folder} also holds the results of {len(others)} images of an earlier prediction ({', '.join(others[:3])}"
        f"{', ...' if len(others) > 3 else ''}). Nothing was removed: their rows are in {' and '.join(kept)}."
    ]


def check_channels(array: np.ndarray, path: Path, description: dict) -> None:
    """Refuse an image (Y, X, C) whose number of channels is not the model's."""
    needed = len(description["channels"])
    if array.shape[-1] != needed:
        raise DataError(
            f"{path} has {array.shape[-1]} channels, the model was trained on {needed}. Export it with the same "
            "channels as the training images."
        )


@dataclass
class Predicted:
    """Measurements of a folder, one row per image, and what went wrong or looks doubtful, one sentence each."""

    measurements: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def check_names(files: Sequence[Path]) -> None:
    """Refuse images whose results would have one name."""
    stems = Counter(path.stem for path in files)
    doubled = sorted(stem for stem, count in stems.items() if count > 1)
    if doubled:
        raise DataError(
            f"Several images are called {doubled[0]} (with different endings), their results would overwrite each "
            "other. Rename them or move all but one away."
        )


def foreign_file(path: Path) -> DataError:
    """Error that `path` would be overwritten although no prediction has written it."""
    return DataError(
        f"{path} exists and was not written by a prediction; it would be overwritten. Choose an empty or new "
        "folder in the field result_folder."
    )


def origin(model_folder: Path, data_folder: str | Path, axes: str, classes: list[dict]) -> dict:
    """What a prediction was made from, to be kept beside it; folders inside the project are given relative to it."""
    return {
        "model_folder": shown_path(model_folder),
        "data_folder": shown_path(data_folder),
        "axes": axes,
        "classes": classes,
    }


def pixel_size_doubts(sizes: list[float | None], trained: float | None) -> list[str]:
    """Warning where images have another pixel size (um, None where unknown) than the training images, as a list."""
    off = [size for size in sizes if size and trained and abs(np.log(size / trained)) > PIXEL_SIZE_TOLERANCE]
    if not off:
        return []
    return [
        f"{len(off)} images have another pixel size (for example {off[0]:.3g} um) than the training images "
        f"({trained:.3g} um). Objects look larger or smaller than the model has learned: rescale the images or check."
    ]
