"""Which classes are reported together: "earlyana, lateana -> AA; interphase -> I"."""

import re
from collections.abc import Sequence
from unicodedata import normalize

from utils.errors import DataError

ARROWS = ("->", "→")
TOKEN = re.compile(r'"(?:[^"]|"")*"|->|→|[,;\n]|(?:(?!->)[^",;\n→])+|"')
EXAMPLE = "Write it like this: earlyana, lateana -> AA; interphase -> I."


def parse_class_groups(text: str, class_names: Sequence[str]) -> dict[str, str]:
    """Read the field class_groups.

    Parameters
    ----------
    text : str
        Parts with a semicolon (or a new line) between them; each lists classes, an arrow (``->``) and their group. A
        name that holds a comma, a semicolon or an arrow stands in double quotes, and a double quote in it is doubled.
        "": no groups.
    class_names : sequence of str
        The classes that there are.

    Returns
    -------
    dict
        Group of each class, in the order of `class_names`; empty where there are no groups.

    Raises
    ------
    DataError
        Unknown class, class without group or with two, missing arrow or name.

    Examples
    --------
    >>> parse_class_groups('a, "b, c" -> X; d -> Y', ["a", "b, c", "d"])
    {'a': 'X', 'b, c': 'X', 'd': 'Y'}
    """
    groups: dict[str, str] = {}
    for part in _parted(TOKEN.findall(text), (";", "\n")):
        names, group = _part(part)
        for name in names:
            _check(name, groups, class_names)
            groups[name] = group
    missing = [name for name in class_names if name not in groups]
    if groups and missing:
        raise DataError(
            f"The field class_groups gives no group to {_listed(missing)}. Give every class a group (its own name will "
            "do), or leave the field empty."
        )
    return {name: groups[name] for name in class_names if groups}


def _parted(tokens: Sequence[str], separators: Sequence[str]) -> list[list[str]]:
    """Tokens between separators; blank ones, and parts without any, are left out."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token in separators:
            parts.append([])
        elif token.strip():
            parts[-1].append(token.strip())
    return [part for part in parts if part]


def _part(tokens: Sequence[str]) -> tuple[list[str], str]:
    """Class names and group of one part."""
    arrows = [i for i, token in enumerate(tokens) if token in ARROWS]
    if len(arrows) != 1:
        raise DataError(
            f"The field class_groups has {len(arrows) or 'no'} arrows (->) in {' '.join(tokens)!r}, but needs one "
            f"between the classes and their group. {EXAMPLE}"
        )
    names = [_name(one) for one in _parted(tokens[: arrows[0]], [","])]
    if not names or arrows[0] == len(tokens) - 1:
        side = "after" if names else "before"
        raise DataError(f"The field class_groups has nothing {side} the arrow in {' '.join(tokens)!r}. {EXAMPLE}")
    return names, _name(tokens[arrows[0] + 1 :])


def _name(tokens: Sequence[str]) -> str:
    """The one name that tokens stand for, without its quotes."""
    if len(tokens) != 1 or tokens[0] == '"':
        raise DataError(
            f"The field class_groups has {' '.join(tokens)} where one name is needed. Put a name that holds a comma "
            "or a semicolon in double quotes, as a whole."
        )
    quoted = tokens[0].startswith('"')
    return normalize("NFC", tokens[0][1:-1].replace('""', '"').strip() if quoted else tokens[0])


def _check(name: str, groups: dict[str, str], class_names: Sequence[str]) -> None:
    """Refuse a class that is unknown or has a group already."""
    if name not in class_names:
        raise DataError(
            f"The field class_groups names the class {name!r}, which there is not. The classes are "
            f"{_listed(class_names)}. Correct the name."
        )
    if name in groups:
        raise DataError(f"The field class_groups names the class {name!r} twice. Keep one of the two.")


def _listed(names: Sequence[str]) -> str:
    """Names as they would have to be written in the field."""
    special = re.compile(r'[",;\n→]|->')
    return ", ".join('"' + name.replace('"', '""') + '"' if special.search(name) else name for name in names)
