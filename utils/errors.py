"""Errors meant for the person at the notebook: what happened, which file, what to do; no traceback on the page."""

import logging.handlers
import textwrap
import traceback
from pathlib import Path

WIDTH = 90  # characters that fit into a window of 1,300 pixels
LOG_FILE = Path(__file__).resolve().parent.parent / "logs" / "nocodedl4bio.log"


class UserError(Exception):
    """A problem that the user can mend; its text is one or two plain sentences: what, which file, what to do.

    IPython and Jupyter show only that text; the traceback goes to `LOG_FILE`, which the text names.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython (7 and later) shows in place of the traceback."""
        lines = wrapped(f"{self.title}: {self}")
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
