"""Problems found in the data: gathered, shown as a table, and told all at once."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import PIL.Image

from utils.errors import DataError
from utils.groups import groupings
from utils.paths import JPEG_SUFFIXES

if TYPE_CHECKING:
    from utils.images.image import Image

MOST_TOLD = 10
NAMED = 3  # files of which the same is said
SHORT = 100  # letters of names that are all listed
NAMES = "file names"  # what the question for groups is about
ORIENTATION = 0x0112  # EXIF tag; 1 = upright
SENTENCE = re.compile(r"(?<=[^.])\. (?=[A-Z])")  # between two sentences: not in "9 ... 255", "a. b.tif", "e.g. this"


@dataclass(frozen=True)
class Problem:
    """One finding: `what` is wrong with `file` (or folder), and the `remedy`; only errors stop the notebook."""

    severity: Literal["error", "warning"]
    file: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.remedy}".rstrip()


def problem_of(file: str, error: DataError) -> Problem:
    """Problem with the words of `error`: its first sentence is what is wrong (of `file`), the others are the remedy."""
    what, *remedy = SENTENCE.split(str(error).removeprefix(f"{file} "), maxsplit=1)
    return Problem("error", file, what.rstrip("."), "".join(remedy))


def raise_errors(problems: Sequence[Problem]) -> None:
    """Raise one DataError that tells every error among `problems`: the first 10 in full, then how many more."""
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    if not errors:
        return
    told = errors[:MOST_TOLD] + ([f"... and {len(errors) - MOST_TOLD} more."] if len(errors) > MOST_TOLD else [])
    count = "One problem was" if len(errors) == 1 else f"{len(errors)} problems were"
    raise DataError("\n- ".join([f"{count} found; nothing was written.", *told]))


def each_once(problems: Sequence[Problem]) -> list[Problem]:
    """Problems with those of the same words made one, which names its files, or the first of them and how many."""
    files = defaultdict(list)
    for one in problems:
        files[one.severity, one.what, one.remedy].append(one.file)
    return [Problem(severity, _named(names), what, remedy) for (severity, what, remedy), names in files.items()]


def _named(names: Sequence[str]) -> str:
    """Names of files or classes in one cell of a table, which stays short."""
    names = list(dict.fromkeys(names))
    listed = ", ".join(names)
    if len(names) <= NAMED or len(listed) <= SHORT:
        return listed
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def problem_table(problems: Sequence[Problem]) -> pd.DataFrame:
    """Table of problems: severity, file, what, remedy; errors first, and see `each_once`."""
    rows = [asdict(problem) for problem in each_once(problems)]
    table = pd.DataFrame(rows, columns=[field.name for field in fields(Problem)])
    return table.sort_values("severity", kind="stable", ignore_index=True)


def inconsistencies(images: Sequence["Image"], masks: bool = True) -> list[Problem]:
    """Find what differs between images: channels, pixel types, pixel sizes; and images that show nothing.

    Errors for channels (one network takes one number of them), warnings for the rest.

    Parameters
    ----------
    images
        All images of a folder.
    masks
        Whether they have masks, on which a photograph that is turned may not lie.
    """
    remedy = "Check that all come from the same microscope settings and export."
    sizes = {image.path: image.pixel_size_um and round(image.pixel_size_um, 4) for image in images}
    return [
        *_odd({image.path: image.array.shape[-1] for image in images}, "number of channels", "error", remedy),
        *_odd({image.path: str(image.array.dtype) for image in images}, "pixel type", "warning", remedy),
        *_odd(
            sizes,
            "pixel size in um",
            "warning",
            "If all are alike, write their size in the field pixel_size; else rescale them to one.",
        ),
        *(_constant(image) for image in images if image.array.min() == image.array.max()),
        *(_turned(image.path) for image in images if masks and _is_turned(image.path)),
        *remarked((image.path, image.remarks) for image in images),
    ]


def remarked(remarks: Iterable[tuple[Path, Iterable[tuple[str, str]]]]) -> list[Problem]:
    """Warnings of what is to be said of files that are read: each once, however many files it is true of.

    `remarks` are files with pairs of what, and remedy; see `utils.images.decoders.Pixels`.
    """
    files = defaultdict(list)
    for path, its in remarks:
        for one in its:
            files[one].append(path)
    return [Problem("warning", _together(paths), what, remedy) for (what, remedy), paths in files.items()]


def _together(paths: Sequence[Path]) -> str:
    """One file by its path, several by their number and folder."""
    if len(paths) == 1:
        return str(paths[0])
    names = ", ".join(path.name for path in paths[:NAMED]) + (", ..." if len(paths) > NAMED else "")
    return f"{os.path.commonpath([path.parent for path in paths])} ({len(paths)} images: {names})"


def stray_images(paths: Sequence[Path]) -> list[Problem]:
    """Warning about images that the group rule does not fit, see `utils.groups.strays`, as a list."""
    if not paths:
        return []
    what = "the field group_rule does not fit the name, so that each such image counts as a group of its own"
    return [Problem("warning", _together(paths), what, "Rename what belongs to a group.")]


def group_question(names: Sequence[str], classes: Sequence[str] | None = None) -> list[Problem]:
    """Ask whether images belong together whose names look like it; see `utils.groups.groupings`."""
    found = groupings(names, classes)
    if not found:
        return []
    what = f"these look like {found[0]}"
    remedy = (
        "Say in the field group_rule whether these images belong together. Until then every image counts "
        "as a group of its own, and the test is not called independent."
    )
    return [Problem("warning", NAMES, what, remedy)]


def questions(problems: Sequence[Problem]) -> list[str]:
    """Markdown of what must be asked before anything is trained."""
    return [f"**{one.what[:1].upper()}{one.what[1:]}.** {one.remedy}" for one in problems if one.file == NAMES]


def _odd(values: Mapping[Path, object], name: str, severity: str, remedy: str) -> list[Problem]:
    """A problem for each file whose value is not the most frequent one."""
    usual = Counter(values.values()).most_common(1)[0][0] if values else None
    return [
        Problem(severity, str(path), f"{name}: {value or 'unknown'}, but {usual or 'unknown'} in most images", remedy)
        for path, value in values.items()
        if value != usual
    ]


def _constant(image: "Image") -> Problem:
    """Problem of an image that shows nothing."""
    what = f"all pixels have the value {image.array.flat[0]}"
    return Problem("warning", str(image.path), what, "Check the file; leave it out if it is empty.")


def _is_turned(path: Path) -> bool:
    """Whether a JPEG is shown turned or mirrored by viewers that heed its EXIF data."""
    if path.suffix.lower() not in JPEG_SUFFIXES:
        return False
    with PIL.Image.open(path) as picture:
        return picture.getexif().get(ORIENTATION, 1) not in (0, 1)


def _turned(path: Path) -> Problem:
    """Problem of a photograph that some programs show turned and some do not."""
    what = "the camera asks for this photograph to be turned, which is done here but not in Fiji"
    return Problem("warning", str(path), what, "Check in the overlays that its mask lies on it.")
