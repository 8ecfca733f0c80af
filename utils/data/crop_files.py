"""Which images there are and which class each shows: from a folder for each class, or from a CSV file."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from unicodedata import normalize

from utils.data.folders import find_images, unreadable
from utils.data.problems import Problem, problem_of, stray_images
from utils.data.sample_makers import make_missing
from utils.data.unread import entries_of, instead, unread
from utils.errors import DataError
from utils.files import read_entries
from utils.groups import ALONE, ASK, check_group_rule, group_of, strays
from utils.names import name_key
from utils.paths import EMPTY, IMAGE_SUFFIXES, is_system, resolve

ROLE_FOLDERS = {"train", "training", "test", "testing", "val", "valid", "validation"}
MOST_LISTED = 5
SHORTEST_WORD = 5  # letters of a name that differs from another one by a slip rather than by intention
# Columns of tables of other people that may mean what is called group here.
OTHER_WORDS = (
    *("patient", "patient_id", "donor", "subject", "case", "animal", "mouse", "slide", "day", "date", "plate", "well"),
)


@dataclass(frozen=True)
class Listed:
    """An image file: `name` is its path below the source with "/"; `class_name` and `group` as `list_crops` says."""

    path: Path
    name: str
    class_name: str
    group: str


def list_crops(source: Path | None, group_rule: str, problems: list[Problem], strict: bool = True) -> list[Listed]:
    """Find image files with their classes, sorted by name; what is wrong is added to `problems`.

    Class names have no spaces around them and spell accents in one way (Unicode NFC): a folder named on macOS spells
    them otherwise than a table. Files with an error are left out.

    Parameters
    ----------
    source
        A folder with one sub-folder for each class (and any folders below those), or a CSV file with the columns file
        (from the folder of the CSV file), class and, if wanted, group; see `utils.files.read_entries`.
    group_rule
        See `utils.groups.group_of`; "folder" is the sub-folder within the folder of the class. A column group
        comes first.
    strict
        Whether a name that does not fit the rule is an error; else that image is a group of its own.
    """
    try:
        if source is None:
            raise DataError(EMPTY)
        check_group_rule(group_rule)
        find = _from_table if source.is_file() else _from_folders
        listed = find(source, (group_rule, strict), problems)
    except DataError as error:
        problems.append(problem_of(str(source or ""), error))
        return []
    problems += _alike({one.class_name for one in listed}, source)
    return sorted(listed, key=lambda one: one.name)


def _from_folders(source: Path | None, group_rule: tuple[str, bool], problems: list[Problem]) -> list[Listed]:
    """Images of each sub-folder of `source`; `group_rule` with its strictness."""
    found = {folder: _images(folder, problems) for folder in _class_folders(source, problems)}
    if not any(found.values()):
        what = f"{source} has sub-folders, but no image (TIFF, PNG or JPEG) in them."
        raise DataError(what + (instead(source, recursive=True) or " Choose another folder."))
    pairs = [(path, folder) for folder, paths in found.items() for path in paths]
    group_rule = _forgiving(pairs, group_rule, problems)
    return [
        Listed(path, _name(path, source), _plain(folder.name), _group(path, group_rule, source, folder, problems))
        for path, folder in pairs
    ]


def _forgiving(pairs: Sequence[tuple[Path, Path]], rule: tuple[str, bool], problems: list[Problem]) -> tuple[str, bool]:
    """The rule with its strictness, which ends, with a warning, where only a few images do not fit."""
    apart = strays(pairs, rule[0])
    problems += stray_images(apart)
    return rule[0], rule[1] and not apart


def _images(folder: Path, problems: list[Problem]) -> list[Path]:
    """Image files of a class; none, and a warning, where its folder is empty."""
    try:
        return find_images(folder, recursive=True)
    except DataError:
        what = "the folder of this class holds no image (TIFF, PNG or JPEG file)"
        problems.append(Problem("warning", str(folder), what, "Add images, or remove the folder."))
        return []


def _class_folders(source: Path | None, problems: list[Problem]) -> list[Path]:
    """Sub-folders of `source`; a DataError where they are no classes, a warning for images outside of them."""
    make_missing(source)
    if not os.path.isdir(source):
        raise DataError(f"There is no folder and no CSV file {source}. Check its name for a typing error.")
    try:
        shown = [path for path in sorted(source.iterdir()) if not is_system(path.name)]
    except OSError as error:
        raise unreadable(source, error) from error
    folders = [path for path in shown if path.is_dir()]
    loose = [path.name for path in shown if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not folders:
        raise DataError(
            f"{source} has no sub-folders. Put the images of each class into a sub-folder with the name of the class, "
            "or name a CSV file with the columns file and class."
        )
    if {folder.name.lower() for folder in folders} <= ROLE_FOLDERS:
        names = " and ".join(folder.name for folder in folders)
        raise DataError(
            f"{source} has the sub-folders {names}, which are no classes. "
            f"Name the one to train on: {source / folders[-1].name}"
        )
    problems += unread(source, recursive=True)
    if loose:
        what = f"{len(loose)} images lie in no folder of a class ({listing(loose)}) and are left out"
        problems.append(Problem("warning", str(source), what, "Move them into the folder of their class."))
    return folders


def _name(path: Path, source: Path) -> str:
    """Path below the source with "/"; the whole path where it lies elsewhere."""
    return (path.relative_to(source) if path.is_relative_to(source) else path).as_posix()


def _plain(text: str) -> str:
    """Text without spaces around it, its accents spelt in one way."""
    return normalize("NFC", text.strip())


def _group(path: Path, rule: tuple[str, bool], source: Path | None, folder: Path, problems: list[Problem]) -> str:
    """Group by the rule, within the folder of the class; the problem is added where it does not fit."""
    try:
        if rule[0] in (ALONE, ASK):
            return Path(_name(path, source)).with_suffix("").as_posix()
        return group_of(path, rule[0], folder, rule[1])
    except DataError as error:
        problems.append(problem_of(str(path), error))
        return ""


def _from_table(source: Path | None, group_rule: tuple[str, bool], problems: list[Problem]) -> list[Listed]:
    """Images that a CSV file names; `group_rule` with its strictness."""
    if source.suffix.lower() != ".csv":
        raise DataError(f"{source} is no CSV file. Name one, or a folder with one sub-folder for each class.")
    entries = read_entries(source, ("file", "class"), ("table of images", "image"), optional=("group", *OTHER_WORDS))
    grouped = any(fields.get("group") for _, fields in entries)
    problems += [] if grouped or group_rule[0] != ASK else _unused(entries, source)
    if grouped and group_rule[0] not in (ALONE, ASK):
        what = "the column group says the groups, so that the field group_rule is not used"
        problems.append(Problem("warning", str(source), what, "Empty the field, or take the column out."))
    listed_once = cache(entries_of)
    lines: dict[Path, tuple[int, dict[str, str]]] = {}
    named = set()
    for line, fields in entries:
        path = _find(source.parent, fields["file"], listed_once)
        named.add(path)
        problem = _wrong(line, fields, path, grouped, source) or _repeated(line, fields, lines.get(path), source)
        if problem:
            problems.append(problem)
        else:
            lines[path] = line, fields
    problems += _unlisted(named, source, listed_once)
    listed, roots = [], {path: _root(path, source) for path in lines}
    group_rule = group_rule if grouped else _forgiving(list(roots.items()), group_rule, problems)
    for path, (_, fields) in lines.items():
        root = roots[path]
        group = _plain(fields["group"]) if grouped else _group(path, group_rule, source.parent, root, problems)
        listed.append(Listed(path, _name(path, source.parent), _plain(fields["class"]), group))
    return listed


def _root(path: Path, source: Path) -> Path:
    """Folder that the sub-folders of an image of a table count from."""
    return source.parent if path.is_relative_to(source.parent) else Path(path.anchor)


def _unused(entries: Sequence[tuple[int, dict[str, str]]], source: Path) -> list[Problem]:
    """Warning about columns that may mean groups but are not called so, as a list."""
    filled = [name for name in OTHER_WORDS if 1 < len({one.get(name, "") for _, one in entries}) < len(entries)]
    if not filled:
        return []
    what = f"the column {' and the column '.join(filled)} is not used"
    remedy = f"If images with the same {filled[0]} belong together, call that column group."
    return [Problem("warning", str(source), what, remedy)]


def _find(folder: Path, file: str, listed: Callable[[Path], list[Path]]) -> Path:
    """Path of a file named in a table, which may be from Windows, spell accents otherwise, or leave out the ending.

    `listed` gives the files and folders in a folder. Where there is no such file, or more than one, the path as it is
    written.
    """
    path = resolve(folder / file.replace("\\", "/"))
    if path.is_file():
        return path
    present = next(parent for parent in path.parents if parent.is_dir())
    places = [present]
    *folders, name = path.relative_to(present).parts
    for part in folders:
        places = [one for place in places for one in listed(place) if _same(one.name, part) and one.is_dir()]
    files = [one for place in places for one in listed(place) if one.is_file()]
    for same in (_same, lambda a, b: _same(a.casefold(), b.casefold())):
        found = [one for one in files if same(name_key(one.name), name_key(name))]
        if len(found) == 1:
            return found[0]
    return path


def _unlisted(paths: Collection[Path], source: Path, listed: Callable[[Path], list[Path]]) -> list[Problem]:
    """Warning about images that lie beside those of the table but are not in it, as a list."""
    beside = [one for folder in sorted({path.parent for path in paths}) for one in listed(folder)]
    names = [
        _name(one, source.parent)
        for one in sorted(beside)
        if one.suffix.lower() in IMAGE_SUFFIXES and not is_system(one.name) and one not in paths and one.is_file()
    ]
    if not names:
        return []
    what = f"{len(names)} images beside those of the table are not in it ({listing(names)}) and are left out"
    return [Problem("warning", str(source), what, "Add a line for each that is wanted.")]


def _same(a: str, b: str) -> bool:
    """Whether two names differ at most in the spelling of their accents."""
    return normalize("NFC", a) == normalize("NFC", b)


def _wrong(line: int, fields: dict[str, str], path: Path, grouped: bool, source: Path) -> Problem | None:
    """What is wrong with one line of a table."""
    empty = [name for name in ("file", "class", "group") if not fields.get(name) and (grouped or name != "group")]
    if empty:
        return Problem("error", str(source), f"line {line} has no {' and no '.join(empty)}", "Fill it in.")
    if not path.is_file():
        what = f"line {line} names the file {fields['file']}, but there is no {path}"
        return Problem("error", str(source), what, "Correct the name, which counts from the folder of the table.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        what = f"line {line} names the file {fields['file']}, which is no TIFF, PNG or JPEG file"
        return Problem("error", str(source), what, "Open it in Fiji and save it as TIFF, or remove the line.")
    return None


def _repeated(
    line: int, fields: dict[str, str], earlier: tuple[int, dict[str, str]] | None, source: Path
) -> Problem | None:
    """A problem where a file was named before: an error if its class or group is another one now."""
    if earlier is None:
        return None
    before, old = earlier
    what = f"{fields['file']} is in line {before} and in line {line}"
    for name in ("class", "group"):
        if _plain(fields.get(name, "")) != _plain(old.get(name, "")):
            what += f", with the {name} {old[name]} and the {name} {fields[name]}"
            return Problem("error", str(source), what, "Keep one of the two lines.")
    return Problem("warning", str(source), what, "It is used once; remove one of the two lines.")


def _alike(names: Iterable[str], source: Path) -> list[Problem]:
    """Warnings about classes whose names differ in spaces, in capital letters or in one letter only."""
    spellings = defaultdict(list)
    for name in sorted(names):
        spellings[re.sub(r"[\s_]+", "", name.casefold())].append(name)
    alike = [same for same in spellings.values() if len(same) > 1]
    alike += [spellings[one] + spellings[other] for one, other in combinations(spellings, 2) if one_typo(one, other)]
    return [
        Problem("warning", str(source), f"{' and '.join(same)} are different classes", "Write the names alike if not.")
        for same in alike
    ]


def one_typo(one: str, other: str) -> bool:
    """Whether two words differ as by one slip: a letter too many, another one, or two exchanged.

    Short words differ so by intention, and so do words of which a digit or only the last letter is another one.
    """
    short, long = sorted((one, other), key=len)
    if len(short) < SHORTEST_WORD or len(long) - len(short) > 1:
        return False
    same = len(os.path.commonprefix([short, long]))
    rest = short[same:], long[same:]
    if len(short) < len(long):
        return rest[0] == rest[1][1:] and rest[1][0].isalpha()
    exchanged = rest[0][:2] == rest[1][:2][::-1] and rest[0][2:] == rest[1][2:]
    replaced = rest[0][1:] == rest[1][1:] != "" and (rest[0][0] + rest[1][0]).isalpha()
    return (exchanged and rest[0][:2].isalpha()) or replaced


def listing(names: Sequence[str]) -> str:
    """Names as text: the first five, then how many more."""
    return ", ".join(names[:MOST_LISTED]) + (f" and {len(names) - MOST_LISTED} more" if names[MOST_LISTED:] else "")
