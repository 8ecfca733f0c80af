"""A prediction folder: the loop over images, tables that grow image by image, and what must never be lost of it."""

import errno
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unicodedata import normalize

import numpy as np
import pandas as pd

from utils.data.problems import remarked
from utils.data.unread import unread
from utils.errors import DataError, UserError, how_many, log_exception
from utils.files import atomic, meaningful, write_text
from utils.forms.fields import AUTOMATIC
from utils.images.geojson import write_geojson
from utils.locks import Holder, hold
from utils.paths import set_aside, shown_path
from utils.training.model_folder import NO_RESULT, no_result

OBJECTS = "objects.csv"
COUNTS = "counts.csv"
FIRST_COLUMNS = ["file", "plane"]
DIGITS = "%.7g"  # of a number with a fraction: more than is measured, and a third of the size
ORIGIN = "prediction.json"
MEASUREMENTS = "measurements.csv"
# What predictions leave in a folder, by kind: the table that says so comes first; and the first columns of that table.
LEFT = {"masks": (MEASUREMENTS, "masks", "probabilities"), "objects": (COUNTS, OBJECTS, ORIGIN, "labels", "rois")}
FIRST_LEFT = {"masks": ["file", "width [px]"], "objects": FIRST_COLUMNS}
SHARED = ("overlays", "qupath")  # of whichever came last
REMARK_FILE = "this_is_no_result.txt"
NAME_ERRORS = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}  # of a system that has no file of such a name
OUT_OF_MEMORY = "ResourceExhaustedError"  # TensorFlow's
LONGEST_REASON = 100  # characters of an error that nobody foresaw; all of it is in the log
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
        rows = "".join(meaningful(one).to_csv(header=False, **form) for one in frames)
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


def is_own_table(path: Path, columns: Sequence[str] = FIRST_COLUMNS, maybe: Sequence[str] = ()) -> bool:
    """Whether a CSV file was written by a prediction, as its first `columns` (those of objects) say.

    Columns that are there sometimes, `maybe`, do not count.
    """
    try:
        found = [name for name in pd.read_csv(path, nrows=0).columns if name not in maybe]
        return found[: len(columns)] == list(columns)
    except (ValueError, OSError):  # empty, or no text
        return False


def keep_earlier(folder: Path, files: Iterable[str], tables: Sequence[str] = (COUNTS, OBJECTS)) -> list[str]:
    """Rename the tables of an earlier prediction that hold images which the one to come does not predict.

    The first of `tables` names all images in its column file; `files` are the names of those predicted now. Returns a
    sentence that says so, or nothing where all rows will be written anew.
    """
    if not (folder / tables[0]).exists():
        return []
    earlier = pd.read_csv(folder / tables[0], usecols=["file"], dtype=str, keep_default_na=False)["file"]
    others = sorted(set(earlier) - set(files))
    if not others:
        return []
    kept = [set_aside(folder / name).name for name in tables if (folder / name).exists()]
    return [
        f"{folder} also holds the results of {how_many(len(others), 'image')} of an earlier prediction "
        f"({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}). Nothing was removed: their "
        f"rows are in {' and '.join(kept)}."
    ]


def set_others_aside(folder: Path, kind: str) -> list[str]:
    """Rename what a prediction of another kind left in a folder; a sentence that says so, or nothing.

    `kind` is of `LEFT`; a prediction of no such kind lies beside others.
    """
    others = others_in(folder, kind)
    names = [*(name for one in others for name in LEFT[one]), *SHARED] if others else []
    kept = [set_aside(folder / name).name for name in names if (folder / name).exists()]
    return [
        f"{folder} held the {one} of an earlier prediction, which could be taken for results of this one. Nothing was "
        f"removed: they were renamed to {', '.join(kept)}."
        for one in others[:1]
    ]


def others_in(folder: Path, kind: str) -> list[str]:
    """Kinds of `LEFT` other than `kind` whose predictions are in a folder."""
    others = [one for one in LEFT if kind and one != kind]
    return [one for one in others if is_own_table(folder / LEFT[one][0], FIRST_LEFT[one])]


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
    """Table of what was found in a folder, what went wrong or looks doubtful (one sentence each), and `summary`.

    That is caption -> table, to be shown above the other. `remark`: a sentence on why all of it is no result; usually
    empty.
    """

    table: pd.DataFrame
    warnings: list[str] = field(default_factory=list)
    remark: str = ""
    summary: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass
class Found:
    """What is told of one file: rows of the table (dicts or frames), pixel size in um where it is known.

    `path` and `remarks`: the file, and what is to be said of it; see `utils.images.decoders.Pixels`.
    """

    rows: list = field(default_factory=list)
    pixel_size_um: float | None = None
    path: Path | None = None
    remarks: Sequence[tuple[str, str]] = ()


class LeftOut(Exception):
    """An image cannot be read, which stops nothing but this image, unlike a full disk."""


@contextmanager
def left_out() -> Iterator[None]:
    """Tell errors about an image from those about writing results: a DataError inside becomes a `LeftOut`."""
    try:
        yield
    except DataError as error:
        raise LeftOut(str(error)) from error


class Results(ABC):
    """What a task writes into a prediction folder; `predict_folder` goes through the images.

    Parameters
    ----------
    predictor
        Of `Task.load`; has `description`, the content of model.json.
    model
        Folder of the model, to be told beside the results.
    images, folder
        Folder of the images, and of the results.
    axes
        Order of the images' axes as in the form, see `utils.images.stacks.read_planes`.
    pixel_size
        Width of a pixel in micrometres as in the form; 0: as each file says.
    progress
        Wraps a list, for a progress bar.
    qupath
        Whether outlines are written for QuPath: "yes", "no", or "automatic", of images whose pixel size is known.
    """

    verb: ClassVar[str] = "predicted"
    kind: ClassVar[str] = ""  # of `LEFT`
    outlines: ClassVar[str] = "qupath"  # folder of files for QuPath
    recursive: ClassVar[bool] = False  # whether images are looked for in sub-folders

    def __init__(
        self,
        predictor: Any,
        model: Path,
        images: Path,
        folder: Path,
        axes: str = "automatic",
        progress: Callable[[Iterable], Iterable] = iter,
        pixel_size: float = 0,
        qupath: str = AUTOMATIC,
    ):
        self.qupath = qupath
        self.predictor, self.model, self.images, self.folder = predictor, model, images, folder
        self.axes, self.progress, self.pixel_size = axes, progress, pixel_size
        self.description: Mapping = predictor.description
        self.warnings: list[str] = []
        self.remark = no_result(model)

    def remarked(self, rows: Sequence) -> list:
        """Rows (dicts or frames) of a table, with a last column "remark" where they are of a model to try out."""
        told = {"remark": NO_RESULT} if self.remark else {}
        return [{**one, **told} if isinstance(one, dict) else one.assign(**told) for one in rows]

    @abstractmethod
    def files(self) -> list:
        """What to go through, image by image; DataError where a file would be overwritten that is no result."""

    @abstractmethod
    def predict_one(self, file: Any) -> Found:
        """Predict one image and write what it has for itself; `LeftOut` where it cannot be read (see `left_out`)."""

    @abstractmethod
    def begin(self, files: list) -> None:
        """Once, when the first image is done: set aside tables of an earlier prediction, say where results are from."""

    @abstractmethod
    def append(self, found: Found, rows: list) -> None:
        """Add what was found in an image to the tables; `rows` are those of all images so far."""

    def end(self, table: pd.DataFrame) -> None:  # noqa: B027
        """Write what needs the whole table: nothing for most tasks."""

    def refuse(self, holder: Holder) -> DataError:
        """Error that another writes into the folder of results."""
        return DataError(
            f"Results are being written into {self.folder} at the moment, by {holder}. Wait until that has ended and "
            "run this cell again, or choose another folder in the field result_folder."
        )

    def summary(self, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Caption -> table that sums up the whole: none for most tasks."""
        return {}

    def outlines_of(self, path: Path) -> Path:
        """File of the outlines of an image for QuPath."""
        return self.folder / self.outlines / f"{path.stem}.geojson"

    def wants_outlines(self, pixel_size_um: float | None) -> bool:
        """Whether the outlines of an image are written: who knows the size of a pixel may well use QuPath."""
        return self.qupath == "yes" or (self.qupath == AUTOMATIC and bool(pixel_size_um))

    def write_outlines(self, file: Path, pixel_size_um: float | None, features: Iterable[dict]) -> None:
        """Write the outlines of an image if they are wanted; else those of an earlier prediction are renamed."""
        path = self.outlines_of(file)
        if self.wants_outlines(pixel_size_um):
            write_geojson(path, features)
        elif path.exists():  # they would be taken for those of this prediction
            set_aside(path)

    def not_read(self) -> list[str]:
        """Sentences on files among the images that are not read; results and their tables are none of them."""
        others = self.folder.resolve() != self.images.resolve()
        return [str(one) for one in unread(self.images, self.recursive, apart=[self.folder], notes=others)]

    def told(self) -> dict:
        """What the prediction was made from, to be kept beside it; folders inside the project relative to it."""
        given = {"pixel_size_um": self.pixel_size} if self.pixel_size else {}
        return {
            "model_folder": shown_path(self.model),
            "data_folder": shown_path(self.images),
            "axes": self.axes,
            "classes": self.predictor.classes,
            **given,
            **({"remark": self.remark} if self.remark else {}),
        }

    def write_remark(self) -> None:
        """Write `remark` to a file beside the results; that of an earlier prediction goes where there is none."""
        path = self.folder / REMARK_FILE
        if self.remark:
            write_text(path, f"{self.remark}\nThe model is {shown_path(self.model)}.\n")
        else:
            path.unlink(missing_ok=True)


def predict_folder(results: Results) -> Predicted:
    """Predict all images of a folder, one in memory at a time.

    Returns
    -------
    Predicted
        An image that cannot be read or worked on, and a file that is none, is named among the warnings; the others are
        predicted all the same.

    Raises
    ------
    DataError
        No image could be predicted, a result would overwrite another or a file that is no result, or another page
        writes into the same folder.
    """
    with hold(results.folder, results.refuse):
        return _predict_all(results)


def _predict_all(results: Results) -> Predicted:
    """See `predict_folder`; nobody else writes into the folder of results."""
    files, rows, sizes, remarks = results.files(), [], [], []
    results.warnings += set_others_aside(results.folder, results.kind)
    for file in results.progress(files):
        try:
            found = results.predict_one(file)
        except Exception as error:
            results.warnings.append(f"Left out: {_why_left_out(error, file)}")
            continue
        if not rows:
            results.begin(files)
            results.write_remark()
        found.rows = results.remarked(found.rows)
        rows += found.rows
        sizes.append(found.pixel_size_um)
        remarks.append((found.path, found.remarks))
        results.append(found, rows)
    if not rows:
        raise DataError(f"No image could be {results.verb}. " + " ".join(results.warnings[:3]))
    table = pd.DataFrame(rows) if isinstance(rows[0], dict) else pd.concat(rows, ignore_index=True)
    results.end(table)
    doubts = pixel_size_doubts(sizes, results.description.get("pixel_size_um"))
    results.warnings += [*map(str, remarked(remarks)), *results.not_read()]
    return Predicted(table, results.warnings + doubts, results.remark, results.summary(table))


def _why_left_out(error: Exception, file: Path | Sequence[Path]) -> str:
    """Sentence on a file that was not worked on; raises the error again where it is not a matter of this file."""
    path = file if isinstance(file, Path) else file[0]
    if isinstance(error, LeftOut):
        return str(error)
    if isinstance(error, UserError | OSError):  # a full disk: the next file would fare no better
        if getattr(error.__cause__ or error, "errno", None) not in NAME_ERRORS:
            raise error
        return f"{path} has a name that is too long, or odd, for the files of its results. Give it a shorter name."
    log_exception(error)
    if isinstance(error, MemoryError) or type(error).__name__ == OUT_OF_MEMORY:
        return f"{path} needs more memory than there is. Cut it into smaller images."
    reason = " ".join(str(error).split())[:LONGEST_REASON]
    return (
        f"{path} could not be worked on ({type(error).__name__}: {reason}). Open it in Fiji, check that it looks as it "
        "should, and save it again as TIFF."
    )


def distinct_names(files: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Files whose results have names of their own, and sentences on the others; DataError where there are only others.

    Endings, capital letters and spellings of accents do not count, since there are systems for which they do not.
    """
    alike = defaultdict(list)
    for path in files:
        alike[_result_name(path)].append(path)
    doubled = [" and ".join(map(str, same)) for same in alike.values() if len(same) > 1]
    remedy = "whose results would overwrite each other. Rename them or move all but one away."
    if len(doubled) == len(alike):
        raise DataError(f"All images share their names, such as {doubled[0]}, {remedy}")
    told = [f"Left out: {same}, {remedy}" for same in doubled]
    return [path for path in files if len(alike[_result_name(path)]) == 1], told


def _result_name(path: Path) -> str:
    return normalize("NFC", path.stem).casefold()


def foreign_file(path: Path) -> DataError:
    """Error that `path` would be overwritten although no prediction has written it."""
    return DataError(
        f"{path} exists and was not written by a prediction; it would be overwritten. Choose an empty or new "
        "folder in the field result_folder."
    )


def pixel_size_doubts(sizes: list[float | None], trained: float | None) -> list[str]:
    """Warning where images have another pixel size (um, None where unknown) than the training images, as a list."""
    off = [size for size in sizes if size and trained and abs(np.log(size / trained)) > PIXEL_SIZE_TOLERANCE]
    if not off:
        return []
    return [
        f"{how_many(len(off), 'image')} {'has' if len(off) == 1 else 'have'} another pixel size "
        f"(for example {off[0]:.3g} um) than the training images "
        f"({trained:.3g} um). Objects look larger or smaller than the model has learned: rescale the images or check."
    ]
