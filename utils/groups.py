"""Which images belong together (one patient, slide or day): rules for their names, and the rules that names suggest."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from utils.errors import DataError

ASK, ALONE, FOLDER = "ask", "", "folder"  # not answered yet; every image stands alone; by sub-folder
NUMBER = "number"  # what stands before the first number, and that number
RULE = (
    "how the group is found in the file name, with {group} once, such as {group}_*; or number, folder, ask or nothing"
)
SEPARATORS = (" - ", "_", "-", " ", ".")
MOST_LISTED = 4
FITTING = 0.75  # share of the names that a rule must fit: an overview or a control beside patients hides none of them
WORD = r"[^\W\d_]+"
# What people call their groups, by the word that their names begin with; those that are most apart come first.
NOUNS = {
    "patients": {"p", "pt", "pat", "patient", "case", "donor", "subject"},
    "animals": {"m", "mouse", "animal", "rat", "fish"},
    "slides": {"slide", "sl"},
    "days": {"d", "day", "date"},
    "plates": {"plate"},
    "wells": {"well"},
}
OTHERS = "groups"
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)  # the patient, first of a name of TCGA
# What parts of one image are called, or one of many fields: these are no groups.
PIECES = {"tile", "crop", "patch", "field", "fov", "f", "x", "y", "z", "t", "row", "r", "col", "c", "ch", "channel"}
DATE = re.compile(r"(19|20)\d{6}|(19|20)\d\d-\d\d-\d\d")


def group_of(path: Path, rule: str, folder: Path, strict: bool = True) -> str:
    """Group (patient, slide, day) of an image; images of one group never end up on both sides of the split.

    The rules "" and "ask" make each image a group of its own, "folder" takes the sub-folder of `folder` (the one that
    was searched) it lies in, "number" the name up to and with its first number: "P1" of "P1a". Any other is a pattern
    for the file name without ending, in which {group} stands for the group (as short as possible) and * for anything:
    "{group}_*" finds "patient1" in "patient1_03.tif". DataError where the pattern does not fit, or the image lies in no
    sub-folder; unless `strict`, such an image stands alone.
    """
    below = path.relative_to(folder)
    own = below.with_suffix("").as_posix()
    if rule in (ALONE, ASK):
        return own
    group = _read(below, rule)
    if group is None and strict and rule == FOLDER:
        raise DataError(
            f"{path} lies in no sub-folder of {folder}, but the field group_rule is folder. "
            "Move it into the sub-folder of its group, or change the field."
        )
    if group is None and strict:
        raise DataError(
            f"The name {path.name} does not fit {rule!r} in the field group_rule. Rename it or change the field."
        )
    return own if group is None else group


def _read(below: PurePosixPath | Path, rule: str) -> str | None:
    """Group of the image at the path `below` the folder; None where the rule does not fit."""
    if rule == FOLDER:
        parents = below.parent.as_posix()
        return None if parents == "." else normalize("NFC", parents)
    match = _pattern(rule).fullmatch(normalize("NFC", below.stem))
    return match and match["group"]


def strays(paths: Sequence[tuple[Path, Path]], rule: str) -> list[Path]:
    """Images that a rule does not fit, where it fits most of them, as the rules do that are offered: they stand alone.

    `paths` are of the images, each with the folder that was searched. None where the rule fits too few to be right.
    """
    if rule in (ALONE, ASK):
        return []
    apart = [path for path, folder in paths if _read(path.relative_to(folder), rule) is None]
    return apart if len(paths) - len(apart) >= FITTING * len(paths) else []


def check_group_rule(rule: str) -> None:
    """Refuse, by a DataError, a rule of which `group_of` could make nothing for any file."""
    if rule not in (ALONE, ASK, FOLDER, NUMBER):
        _pattern(rule)


def _pattern(rule: str) -> re.Pattern:
    """Regular expression of a group rule; {group} is as short as possible."""
    if rule == NUMBER:
        return re.compile(r"(?P<group>\D*\d+)(?!\d).+")
    if rule.count("{group}") != 1:
        raise DataError(
            f"The field group_rule is {rule!r}. Leave it empty, write folder or number, or write how the group is "
            "found in the file name, with {group} once, such as {group}_*."
        )
    rule = normalize("NFC", rule)
    return re.compile(re.escape(rule).replace(r"\{group\}", "(?P<group>.+?)").replace(r"\*", ".*"))


@dataclass(frozen=True)
class Grouping:
    """Groups that the names of images look like.

    Attributes
    ----------
    rule
        As `group_of` reads it.
    group
        Of each image (n,).
    noun
        What they are, as far as the names tell: "patients", "days", ... or "groups".
    apart
        Those that are just one image, to which the rule does not fit.
    """

    rule: str
    group: tuple[str, ...]
    noun: str = OTHERS
    apart: frozenset[str] = frozenset()

    def __str__(self) -> str:
        names = sorted(set(self.group) - self.apart, key=_natural)
        listed = ", ".join(names) if len(names) <= MOST_LISTED else f"{names[0]}, {names[1]} ... {names[-1]}"
        return f"{len(names)} {self.noun}: {listed}"


def groupings(names: Sequence[str], classes: Sequence[str] | None = None) -> list[Grouping]:
    """Groups that the names of images look like, patients first; none where a beginning is shared by all or by none.

    A sub-folder or a part of the name is taken for a group where at least half of the images share theirs with another,
    but not all with each other. A number that is another one for each image ends the search: what follows it says
    something of that image only.

    Parameters
    ----------
    names
        Paths below the folder of all images, with "/" and the ending.
    classes
        Class of each image: the folder of the class is no group, nor is anything of which each class has only one.
    """
    below = [PurePosixPath(normalize("NFC", name)) for name in names]  # macOS spells accents otherwise
    if classes is not None and all(path.parts[0] == one for path, one in zip(below, classes, strict=True)):
        below = [PurePosixPath(*path.parts[1:]) for path in below]
    found: dict[tuple[int, ...], Grouping] = {}
    for rule in (FOLDER, *_rules([path.stem for path in below])):
        read = [_read(path, rule) for path in below]
        known = [name for name in read if name is not None]
        if len(known) < FITTING * len(read) or _words(rule, known, -1) <= PIECES:
            continue
        apart = {path.as_posix() for path, name in zip(below, read, strict=True) if name is None}
        group = tuple(path.as_posix() if name is None else name for path, name in zip(below, read, strict=True))
        if _is_plausible(group, classes):
            first = {name: i for i, name in reversed(list(enumerate(group)))}
            one = Grouping(rule, group, _noun(rule, known), frozenset(apart))
            found.setdefault(tuple(first[name] for name in group), one)
    return sorted(found.values(), key=lambda one: [*NOUNS, OTHERS].index(one.noun))


def alike(name: str) -> str:
    """Name of a group without what people write in two ways: capital letters, zeros before numbers."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold())


def named_groups(files: Sequence[str], groups: Sequence[str]) -> set[str]:
    """Groups that somebody defined: the others are just the name of their image."""
    pairs = zip(files, groups, strict=True)
    return {group for file, group in pairs if not group.endswith(PurePosixPath(file).with_suffix("").as_posix())}


def _rules(stems: Sequence[str]) -> Iterator[str]:
    """Rules to try on names: each part between separators, from the left, then up to the first number (P1field2)."""
    for separator in SEPARATORS:
        parts = [stem.split(separator) for stem in stems if separator in stem]
        if len(parts) < FITTING * len(stems):
            continue
        fewest, most = (pick(map(len, parts), default=0) for pick in (min, max))
        fixed: list[str] = []  # parts on the left, * for those that differ
        only_counted = True  # nothing on the left could be a group: then the last part may be one
        for values in list(zip(*parts, strict=False))[: fewest - 1]:
            if len(set(values)) == 1:
                fixed.append("*" if set(values[0]) & set("*{}") or not values[0] else values[0])
                continue
            counts = len(set(values)) == len(values)
            if not counts:
                yield separator.join([*fixed, "{group}", *["*"] * (fewest - 1 - len(fixed) if "*" in fixed else 1)])
            words = {word.lower() for word in re.findall(WORD, values[0])}
            only_counted &= counts or bool(words and words <= PIECES)
            fixed.append("*")
            if counts:
                break
        if only_counted and "*" in fixed and fewest == most == len(fixed) + 1:
            yield separator.join([*fixed, "{group}"])
    yield NUMBER


def _is_plausible(group: Sequence[str], classes: Sequence[str] | None) -> bool:
    """Whether images share their group with others, but not all with each other."""
    counts = Counter(group)
    together = sum(count for count in counts.values() if count > 1)
    if len(counts) < 2 or 2 * together < len(group):
        return False
    return classes is None or len(set(zip(classes, group, strict=True))) > len(set(classes))


def _words(rule: str, group: Sequence[str], which: int) -> set[str]:
    """The first (0) or last (-1) word in the name of each group, or that before it where there is none."""
    before = ["", *re.findall(WORD, rule.partition("{group}")[0])][-1]
    return {([*re.findall(WORD, PurePosixPath(name).name)] or [before])[which].lower() for name in set(group)}


def _noun(rule: str, group: Sequence[str]) -> str:
    """What the groups are called."""
    words = _words(rule, group, 0)
    known = (noun for noun, known in NOUNS.items() if words <= known)
    return "days" if all(DATE.fullmatch(name) for name in group) else next(known, OTHERS)


def _natural(name: str) -> list:
    """Sort key in which numbers count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
