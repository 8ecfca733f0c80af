"""The class of each object, from a table (file, label, class) that the user has written."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from utils.data.problems import Problem
from utils.files import read_entries
from utils.names import by_words, name_key

COLUMNS = ("file", "label", "class")
MOST_LISTED = 10


@dataclass(frozen=True)
class Row:
    """One `line` of a class table: object `label` of `file` (name or path, without ending) has the class `name`."""

    line: int
    file: str
    label: int
    name: str


def read_class_table(path: Path, problems: list[Problem]) -> list[Row]:
    """Read the lines of a class table that make sense; an error is added to `problems` for each other line.

    It is a CSV file in UTF-8 with the columns file, label and class in any order, parted by commas or semicolons; other
    columns and empty lines are passed over. file is the name of the image or of its mask, with or without ending.
    DataError: no such file, not readable as text, a column is missing, or no lines.
    """
    entries = read_entries(path, COLUMNS, ("class table", "object"))
    found = (_row(line, *(fields[name] for name in COLUMNS), path, problems) for line, fields in entries)
    return [row for row in found if row is not None]


def _row(line: int, file: str, label: str, name: str, path: Path, problems: list[Problem]) -> Row | None:
    """One line of the table; None, with the problem added, where it makes no sense."""
    wrong = ""
    if not label.isdecimal() or int(label) == 0:
        wrong = f"the label {label!r} is no whole number above 0"
    elif not file or not name:
        wrong = f"object {label} has no {'class' if file else 'file'}"
    elif name.lower() == "background":
        wrong = f"object {label} has the class background, which is what no object covers"
    if wrong:
        problems.append(Problem("error", str(path), f"line {line}: {wrong}", "Correct the line."))
        return None
    return Row(line, name_key(file), int(label), name)


def assign_classes(
    rows: Iterable[Row],
    files: Sequence[tuple[Path, Path]],
    labels: Sequence[Iterable[int]],
    table: Path,
    known: Sequence[str],
    problems: list[Problem],
) -> list[dict[int, str]]:
    """Find the class name of each label, for each of `files` (image and mask).

    `labels` are those in each mask, without 0; `table` is where `rows` come from, for the messages; `known` are the
    class names that are allowed, empty: any. Errors are added to `problems`: a file that is not clear, a label that is
    not in its mask, two classes for one object, an object without class, a class that is not known. Files that are none
    of `files` are a warning: a table may tell of more images.
    """
    found: list[dict[int, Row]] = [{} for _ in files]
    located = _located(list(rows), files, table, problems)
    problems += _unknown_classes([row for row, _ in located], known, table) if known else []
    for row, i in located:
        earlier = found[i].setdefault(row.label, row)
        if earlier.name != row.name:
            what = f"line {row.line}: object {row.label} is {row.name}, but {earlier.name} in line {earlier.line}"
            problems.append(Problem("error", str(table), what, "Keep one of the two lines."))
    for (_, mask), present, own in zip(files, labels, found, strict=True):
        problems += _unmatched(set(present), own, mask, table)
    return [{label: row.name for label, row in own.items()} for own in found]


def _located(
    rows: Sequence[Row], files: Sequence[tuple[Path, Path]], table: Path, problems: list[Problem]
) -> list[tuple[Row, int]]:
    """Rows with the index of the image and mask that they tell of; a path may be given by its last parts only."""
    owners = defaultdict(set)
    for i, pair in enumerate(files):
        for parts in (PurePosixPath(name_key(path)).parts for path in pair):
            for start in range(len(parts)):
                owners["/".join(parts[start:])].add(i)
    lines = {}
    for row in rows:
        lines.setdefault(row.file, row.line)
    named = {i for file in lines for i in owners.get(file, ())}
    others = [pair for i, pair in enumerate(files) if i not in named]
    called = _by_rule([file for file in lines if file not in owners], others, table, problems)
    located = []
    for row in rows:
        owner = owners.get(called.get(row.file, row.file), ())
        if len(owner) > 1:
            what = f"line {row.line}: there are {len(owner)} images of the name {row.file}"
            problems.append(Problem("error", str(table), what, "Write the sub-folder too: folder/name."))
        elif owner:
            located.append((row, *owner))
    unknown = [f"{file} (line {line})" for file, line in lines.items() if called.get(file, file) not in owners]
    if unknown:
        what = f"no image for {_listed(unknown)}"
        problems.append(Problem("warning", str(table), what, "Check the file names if these images belong here."))
    return located


def _by_rule(
    names: Sequence[str], files: Sequence[tuple[Path, Path]], table: Path, problems: list[Problem]
) -> dict[str, str]:
    """Name of the image for each of those names in the table that are called otherwise, by one rule, which is told."""
    images = {name_key(image.name) for image, _ in files}
    found = by_words(images, names, "names in the table") if names and len(images) == len(files) else None
    if found is None or not found.sure:
        return {}
    problems.append(Problem("warning", str(table), found.rule.rstrip("."), "Check the file names if this is wrong."))
    return found.image_of


def _unmatched(present: set[int], rows: Mapping[int, Row], mask: Path, table: Path) -> list[Problem]:
    """Errors about labels that are in the table only or in the mask only."""
    problems = []
    absent = [f"{label} (line {row.line})" for label, row in rows.items() if label not in present]
    if absent:
        what = f"{mask.name} holds no object {_listed(absent)}"
        problems.append(Problem("error", str(table), what, "Correct the lines, or the label image."))
    without = sorted(present - set(rows))
    if without:
        what = f"no class for object {_listed(map(str, without))}"
        problems.append(Problem("error", str(mask), what, f"Add a line for each to {table}."))
    return problems


def _unknown_classes(rows: Iterable[Row], known: Sequence[str], table: Path) -> list[Problem]:
    """Errors about class names that are not `known`; the first line of each is told."""
    first = {}
    for row in rows:
        if row.name not in known:
            first.setdefault(row.name, row.line)
    remedy = f"Known are {', '.join(known)}: use one of these."
    return [
        Problem("error", str(table), f"line {line}: the class {name} is unknown", remedy)
        for name, line in first.items()
    ]


def _listed(items: Iterable[str]) -> str:
    """Items as text, the first ten in full."""
    items = list(items)
    return ", ".join(items[:MOST_LISTED]) + (f" and {len(items) - MOST_LISTED} more" if items[MOST_LISTED:] else "")


def object_class_table(names: Iterable[str] = ("object",)) -> list[dict]:
    """Class table (id, name, value, group) of objects: background, then the classes in the order of the alphabet."""
    return [
        {"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(["background", *sorted(set(names))])
    ]
