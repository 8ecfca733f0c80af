"""Where the project lies, and how a path typed by the user is read."""

import os
from pathlib import Path

from utils.errors import DataError

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
