"""Errors meant for the person at the notebook: what happened, which file, what to do; no traceback on the page.

Messages are written with the names of fields that programs use; `with_labels` puts in what the form shows,
``Model name`` for ``model_name``, wherever a message is shown.
"""

import logging.handlers
import re
import textwrap
import traceback
from functools import lru_cache
from pathlib import Path

WIDTH = 90  # characters that fit into a window of 1,300 pixels
LOG_FILE = Path(__file__).resolve().parent.parent / "logs" / "nocodedl4bio.log"
# Where the name that scripts use would mislead on the page, or is a name that is written in another way.
OTHER_WORDS = {"class_groups": "Broad classes", "qupath": "QuPath", "onnx": "ONNX", "zoo": "Model Zoo"}
_known: dict[str, frozenset[str]] = {}  # fields by form, of all forms that this session has declared


class UserError(Exception):
    """A problem that the user can mend; its text is one or two plain sentences: what, which file, what to do.

    IPython and Jupyter show only that text, with fields named as the form does; the traceback goes to `LOG_FILE`, which
    the text names.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython (7 and later) shows in place of the traceback."""
        lines = wrapped(with_labels(f"{self.title}: {self}"))
        if log_exception(self):
            lines.append(f"(Details for a programmer: {LOG_FILE})")
        return lines

    title = "Please check"


class DataError(UserError):
    """Something about the images, masks or tables."""

    title = "Please check your data"


class FormError(UserError):
    """Something about a value typed into a form or given headless."""

    title = "Please check the form"


class ModelError(UserError):
    """Something about a model folder."""

    title = "Please check the model"


class SetupError(UserError):
    """Something about the software of the machine."""

    title = "Please check the set-up"


class MicroscopeError(UserError):
    """Something about a microscope: a part that is missing, does not answer or refuses."""

    title = "Please check the microscope"


class Interrupted(UserError):
    """The person stopped it: nothing went wrong, so there is nothing for the log."""

    title = "Stopped"

    def _render_traceback_(self) -> list[str]:
        return wrapped(with_labels(f"{self.title}: {self}"))


class NotYet(UserError):
    """Nothing went wrong, but something has to be done first; the page shows it as one plain line.

    `section` is the heading of a section in the text, which the page makes a link; `name` is what another cell would
    have made: where that went wrong the page says so instead. Both are empty where there is none.
    """

    title = "First"

    def __init__(self, text: str, section: str = "", name: str = ""):
        super().__init__(text)
        self.section, self.name = section, name

    def _render_traceback_(self) -> list[str]:
        return wrapped(with_labels(str(self)))


def declare(form: str, fields: list[str]) -> None:
    """Make the fields of a form known."""
    _known[form] = _known.get(form, frozenset()) | frozenset(fields)


def label(name: str) -> str:
    """Name of a field as the form shows it: ``batch_size`` -> ``Batch size``, ``length_um`` -> ``Length [µm]``."""
    if name in OTHER_WORDS:
        return OTHER_WORDS[name]
    text = re.sub(r"_um$", "_[µm]", name)
    return text[:1].upper() + text[1:].replace("_", " ")


def how_many(number: int, noun: str) -> str:
    """Number with its noun: "0 images", "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def with_labels(text: str) -> str:
    """`text` with the fields that it names as the form shows them, in quotation marks.

    A name counts where it stands alone as a word with an underscore, after "field", or after its form and a point;
    where it is a part of a path or stands in quotation marks already it is left as it is.

    Examples
    --------
    >>> declare("data", ["model_name", "axes"])
    >>> with_labels("Change the field model_name, or write YX in the field axes of models/model_name.")
    'Change the field "Model name", or write YX in the field "Axes" of models/model_name.'
    """
    if not _known:
        return text
    return _pattern(tuple(sorted(_known.items()))).sub(_labelled, text)


def _labelled(found: re.Match) -> str:
    name = found["named"] or found["of_form"] or found["alone"]
    return f'{found["field"] or ""}"{label(name)}"'


@lru_cache(maxsize=8)
def _pattern(known: tuple[tuple[str, frozenset[str]], ...]) -> re.Pattern:
    every = sorted({name for _, names in known for name in names}, key=len, reverse=True)
    names, forms = "|".join(every), "|".join(form for form, _ in known)
    long = "|".join(name for name in every if "_" in name) or "(?!)"
    before, after = r"(?<![\w/\\.:\"'`=-])", r"(?![\w/\\\"'`=-]|\.\w)"
    named = rf"(?P<field>[Ff]ields? )(?P<named>{names})"
    return re.compile(rf"{before}(?:{named}|(?:{forms})\.(?P<of_form>{names})|(?P<alone>{long})){after}")


def wrapped(text: str) -> list[str]:
    """Lines of at most `WIDTH` characters, broken between words: the page would break them anywhere."""
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    ]


def log_exception(error: BaseException) -> bool:
    """Append the traceback of `error` to `LOG_FILE`; False where the folder cannot be written to."""
    try:
        LOG_FILE.parent.mkdir(exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(LOG_FILE, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    except OSError:
        return False
    record = logging.makeLogRecord({"msg": "".join(traceback.format_exception(error)), "levelname": "ERROR"})
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handler.emit(record)
    handler.close()
    return True
