"""Tables of a prediction folder that grow image by image and never lose a row of an earlier prediction."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from utils.errors import DataError
from utils.files import atomic
from utils.paths import dated_name

OBJECTS = "objects.csv"
COUNTS = "counts.csv"
FIRST_COLUMNS = ["file", "plane"]
DIGITS = "%.7g"  # of a number with a fraction: more than is measured, and a third of the size


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


def set_aside(path: Path) -> Path:
    """Rename a file to a free name with today's date, which is returned."""
    return path.rename(dated_name(path, keep_suffix=True))
