"""Where the project lies, and how a path typed by the user is read."""

import os
import re
from datetime import datetime
from pathlib import Path

from utils.errors import DataError

# Of one folder, on any system: Windows knows no such signs, and no point or space at an end.
FOLDER_NAME = re.compile(r"[^.\s/\\:*?\"<>|]([^/\\:*?\"<>|]*[^.\s/\\:*?\"<>|])?")
FOLDER_NAME_RULE = 'must be the name of a folder: letters, digits, spaces, - and _, but none of / \\ : * ? " < > |'
ROOT: Path = Path(__file__).resolve().parent.parent


def resolve(path: str | os.PathLike) -> Path:
    """Absolute path of what was typed; the working directory plays no part.

    Parameters
    ----------
    path : str or os.PathLike
        A relative path is taken from `ROOT`; ``~`` is the home folder; ``..`` is worked out. It need not exist.

    Returns
    -------
    pathlib.Path
        Absolute path, links not followed.

    Raises
    ------
    DataError
        If the text is empty.
    """
    text = os.fspath(path).strip()
    if not text:
        raise DataError("A path is empty: please fill in a folder or a file.")
    return Path(os.path.normpath(ROOT / os.path.expanduser(text)))


def dated_name(path: Path, keep_suffix: bool = False) -> Path:
    """Free name beside `path` with today's date, and a number where that is taken: ``m`` -> ``m.2026-01-31``.

    With `keep_suffix` the ending stays the last part, so that a table remains a table: ``t.2026-01-31.csv``.
    """
    suffix = path.suffix * keep_suffix
    name = f"{path.name.removesuffix(suffix)}.{datetime.now():%Y-%m-%d}"
    names = (path.with_name(name + (f".{i}" if i else "") + suffix) for i in range(10_000))
    return next(free for free in names if not free.exists())
