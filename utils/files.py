"""Files that are either whole or absent: written under a temporary name, then renamed."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import DataError

LONGEST_NAME = 255  # bytes that file systems take
FIGURES, EXACT_FIGURES = 4, 6  # significant digits in tables for people


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and rename it to `path` once all is written.

    An earlier file of that name survives until the new one is complete; missing folders are made. The temporary path
    has the suffix of `path`, because many writers choose the format by it. DataError where the operating system refuses
    (full disk, no permission); nothing half-written is left behind.
    """
    path = Path(path)
    own = f"{os.getpid()}{secrets.randbelow(10**6):06}"  # computers that share a drive may have a process of one number
    name = f".{own}.{path.name}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{own}.{path.name[-LONGEST_NAME // 8 :]}"  # a character has up to 4 bytes
    temporary = path.with_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path} could not be written ({_reason(error)}; nothing was changed.") from error
    finally:
        with suppress(OSError):  # where the folder itself could not be made there is nothing to remove
            temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    """What hinders the writing of a file, and what to do."""
    if error.errno == errno.ENAMETOOLONG or getattr(error, "winerror", None) in (206, 111):
        return "its name is too long). Shorten the name of the image or of the folder, then run the cell again"
    if isinstance(error, PermissionError):
        remedy = "Close it in other programs or choose another folder"
    else:
        remedy = "Free some space or choose another folder"
    return f"{error.strerror or error}). {remedy}, then run the cell again"


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


def meaningful(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers of a table for people with the decimals that mean something; not for what is read again as exact.

    Percentages, shares, areas, lengths and what else has a unit has `FIGURES` significant digits, and all digits before
    the point; positions (``centroid_x [um]``), intensities (``mean DAPI``), whose scale is unknown,
    and a pixel size, from which others are computed, have `EXACT_FIGURES`. Other fractions (scores, shares,
    probabilities) have 4 decimals. Whole numbers and texts stay.
    """
    fractions = [name for name in table.columns if table[name].dtype.kind == "f"]
    return table.assign(**{name: _rounded(name, table[name]) for name in fractions})


def _rounded(name: str, values: pd.Series) -> pd.Series:
    if re.search(r"\[%|_percent$|share", name):
        return _significant(values, FIGURES)  # a rare spot is a small share
    if re.search(r"^(pixel size|mean|min|max|centroid)", name):
        return _significant(values, EXACT_FIGURES)
    return _significant(values, FIGURES) if re.search(r"\[| per ", name) else values.round(4)


def _significant(values: pd.Series, figures: int) -> pd.Series:
    """Round to so many significant digits, but nothing before the point."""
    size = [math.floor(math.log10(abs(one))) if one and math.isfinite(one) else 0 for one in values.tolist()]
    rounded = [round(one, max(0, figures - 1 - order)) for one, order in zip(values.tolist(), size, strict=True)]
    return pd.Series(rounded, values.index, dtype=np.float64)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the bytes of the file `path`, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_entries(
    path: Path, columns: Sequence[str], words: tuple[str, str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read the lines of a CSV file: number of the line in the file, and text of each column without spaces around it.

    Parameters
    ----------
    path
        UTF-8 with or without byte order mark, parted by commas or semicolons (as the first line is). Other columns and
        empty lines are passed over.
    columns
        Names of the columns that are needed, in lower case; the file may have them in any case and order.
    words
        What such a file is, and what one line of it stands for, for the messages: ("class table", "object").
    optional
        Columns that are read where they are there.

    Raises
    ------
    DataError
        No such file, not readable as text, a column is missing, no lines, or a line with more fields than the header.
    """
    text = _text(path, words[0])
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    table = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=delimiter)
    table.fieldnames = [name.strip().lower() for name in table.fieldnames or []]
    missing = [name for name in columns if name not in table.fieldnames]
    if missing:
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}. A {words[0]} is a CSV file whose first line is "
            f"{','.join(columns)}."
        )
    read = [name for name in (*columns, *optional) if name in table.fieldnames]
    entries = [(table.line_num, {name: one[name].strip() for name in read}, one.get(None, ())) for one in table]
    _refuse_surplus([line for line, _, surplus in entries if "".join(surplus).strip()], path, delimiter)
    entries = [(line, fields) for line, fields, _ in entries if any(fields.values())]
    if not entries:
        raise DataError(f"{path} has no lines below its header. Write one line for each {words[1]}.")
    return entries


def _text(path: Path, kind: str) -> str:
    """Content of a text file in UTF-8, with or without byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no table of plain text (UTF-8). In Excel save it as CSV UTF-8.") from error
    except OSError as error:
        raise DataError(f"There is no {kind} {path}. Check its name for a typing error.") from error


def _refuse_surplus(lines: Sequence[int], path: Path, delimiter: str) -> None:
    """Refuse lines in which a name with an unquoted comma was taken for two fields."""
    if lines:
        raise DataError(
            f"{path} has more fields in line {lines[0]} than names of columns in its first line. Put a name that "
            f"holds {'a comma' if delimiter == ',' else 'a semicolon'} in double quotes."
        )
