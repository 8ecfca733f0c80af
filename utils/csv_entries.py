"""Tables that a user has written or saved from a spreadsheet, as CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from utils.errors import DataError


def read_entries(
    path: Path, columns: Sequence[str], words: tuple[str, str], optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read the lines of a CSV file.

    Parameters
    ----------
    path : Path
        UTF-8 with or without byte order mark, parted by commas or semicolons (as the first line is). Other columns and
        empty lines are passed over.
    columns : sequence of str
        Names of the columns that are needed, in lower case; the file may have them in any case and order.
    words : (str, str)
        What such a file is, and what one line of it stands for, for the messages: ("class table", "object").
    optional : sequence of str
        Columns that are read where they are there.

    Returns
    -------
    list of (int, dict)
        Number of the line in the file, and the text of each column without spaces around it.

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
