"""Files that are either whole or absent: written under a temporary name, then renamed."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from utils.errors import DataError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` once all is written.

    Parameters
    ----------
    path : str or Path
        The file to make; an earlier file of that name survives until the new one is complete. Missing folders are made.

    Yields
    ------
    Path
        Where to write. It has the suffix of `path`, because many writers choose the format by it.

    Raises
    ------
    DataError
        Where the operating system refuses (full disk, no permission); nothing half-written is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"{path} could not be written ({error.strerror or error}). "
            "Free some space or choose another folder, then run the cell again; nothing was changed."
        ) from error
    finally:
        with suppress(OSError):  # where the folder itself could not be made there is nothing to remove
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, whole or not at all; NaN and infinity become null, as JSON has none."""
    write_text(path, json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(data: Any) -> Any:
    """Turn numpy arrays and numbers into what JSON knows."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    return None if isinstance(data, float) and not math.isfinite(data) else data


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write `table` without its index as UTF-8 CSV, whole or not at all."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the bytes of the file `path`, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
