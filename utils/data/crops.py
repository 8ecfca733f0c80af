"""Images that show one class each, read and checked: every problem is found before training starts."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unicodedata import normalize

from utils.data.crop_files import Listed, list_crops
from utils.data.problems import Problem, group_question, inconsistencies, problem_of
from utils.errors import DataError
from utils.groups import ASK, named_groups
from utils.images.image import Image, read_image

ARROWS = ("->", "→")
TOKEN = re.compile(r'"(?:[^"]|"")*"|->|→|[,;\n]|(?:(?!->)[^",;\n→])+|"')
COLON = ":"
EXAMPLE = "Write it like this: dividing: prophase, metaphase; resting: G1, S."


@dataclass(frozen=True)
class Crop:
    """An image (Y, X, C), of the dtype stored, and what it shows: `class_id` of the class table.

    `name` is the path below the folder of all images (or of the CSV file), with "/". Images of one `group` (patient,
    slide, day) never end up on both sides of a split.
    """

    name: str
    image: Image
    class_id: int
    group: str


@dataclass
class CropSet:
    """What `load_crops` found. Without errors among `problems`, `crops` (sorted by name) is complete.

    `classes` is the class table: {"id", "name", "value", "group"} for ids 0 to n - 1, in the order of the names; the
    value is the name, and the group is the broad class that it belongs to, None where there are none.
    """

    crops: list[Crop] = field(default_factory=list)
    classes: list[dict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def examples(self) -> list[Crop]:
        """The crops, under the name that `utils.data.examples.Dataset` has for its images."""
        return self.crops

    def only(self, chosen: Sequence[int]) -> "CropSet":
        """The same with some of the crops."""
        return replace(self, crops=[self.crops[i] for i in chosen])


def load_crops(
    training_source: Path,
    axes: str = "automatic",
    group_rule: str = "",
    class_groups: str = "",
    classes: Sequence[dict] | None = None,
    pixel_size_um: float = 0,
) -> CropSet:
    """Read images of which each shows one class, and gather every problem; see `utils.data.problems.raise_errors`.

    Nothing is raised for bad data: it is in `problems`, and images that are bad are left out.

    Parameters
    ----------
    training_source, group_rule
        A folder with one sub-folder for each class, or a CSV file, and how the group of an image is found; see
        `utils.data.crop_files.list_crops`.
    axes, pixel_size_um
        See `utils.images.image.read_image`.
    class_groups
        See `parse_class_groups`. Not looked at where `classes` are given: they have their broad classes.
    classes
        The class table that must be kept to (test images, fine-tuning): other classes are errors, classes without an
        image are not. None: made from the data, and then at least two classes of two images each are needed.
    """
    crop_set = CropSet()
    listed = list_crops(training_source, group_rule, crop_set.problems, strict=classes is None)
    counts = Counter(one.class_name for one in listed)
    if classes is not None:
        crop_set.classes = [dict(entry) for entry in classes]
        crop_set.problems += _unknown_classes(counts, crop_set.classes, training_source)
    elif listed:
        crop_set.problems += _too_few(counts, training_source)
        crop_set.classes = _class_table(sorted(counts), class_groups, crop_set.problems)
    ids = {entry["name"]: entry["id"] for entry in crop_set.classes}
    read = partial(read_image, axes=axes, pixel_size_um=pixel_size_um)
    crops = (_read(one, ids[one.class_name], read, crop_set.problems) for one in listed if one.class_name in ids)
    crop_set.crops = [crop for crop in crops if crop is not None]
    crop_set.problems += inconsistencies([crop.image for crop in crop_set.crops], masks=False)
    names, groups = [one.name for one in listed], [one.group for one in listed]
    if group_rule == ASK and classes is None and not named_groups(names, groups):
        crop_set.problems += group_question(names, [one.class_name for one in listed])
    return crop_set


def _class_table(names: Sequence[str], class_groups: str, problems: list[Problem]) -> list[dict]:
    """Class table of sorted names; without broad classes, and the problem added, where these are not understood."""
    try:
        groups = parse_class_groups(class_groups, names)
    except DataError as error:
        problems.append(problem_of("The form", error))
        groups = {}
    return [{"id": i, "name": name, "value": name, "group": groups.get(name)} for i, name in enumerate(names)]


def _too_few(counts: Counter[str], source: Path) -> list[Problem]:
    """Errors about data with one class only, or classes with one image."""
    if len(counts) == 1:
        what = f"there is one class only ({next(iter(counts))})"
        return [Problem("error", str(source), what, "Add images of at least one other class.")]
    remedy = "Add images (at least one must be left for validation), or take the class out."
    return [
        Problem("error", str(source), f"the class {name} has one image only", remedy)
        for name, count in sorted(counts.items())
        if count == 1
    ]


def _unknown_classes(counts: Counter[str], classes: Sequence[dict], source: Path) -> list[Problem]:
    """Errors about classes that are not in the class table."""
    known = [entry["name"] for entry in classes]
    remedy = f"Known are {', '.join(known)}: use these names, or take the images out."
    return [
        Problem("error", str(source), f"the model never saw the class {name} ({count} images)", remedy)
        for name, count in sorted(counts.items())
        if name not in known
    ]


def _read(one: Listed, class_id: int, read: Callable[[Path], Image], problems: list[Problem]) -> Crop | None:
    """The image of a listed file; None, with the problem added, where it is unusable."""
    try:
        return Crop(one.name, read(one.path), class_id, one.group)
    except DataError as error:
        problems.append(problem_of(str(one.path), error))
        return None


def parse_class_groups(text: str, class_names: Sequence[str]) -> dict[str, str]:
    """Read the field class_groups: broad class of each class, in the order of `class_names`; empty where there is none.

    Parts of the text have a semicolon (or a new line) between them; each is a broad class, a colon and its classes, or
    these, an arrow (``->``) and their broad class. A name that holds a comma, a semicolon, a colon or an arrow stands
    in double quotes, and a double quote in it is doubled. A class that is not named stays one of its own. DataError:
    unknown class, class with two broad classes, missing colon or name.

    >>> parse_class_groups('X: a, "b, c"; d -> Y', ["a", "b, c", "d", "e"])
    {'a': 'X', 'b, c': 'X', 'd': 'Y', 'e': 'e'}
    """
    groups: dict[str, str] = {}
    for part in _parted(TOKEN.findall(text), (";", "\n")):
        names, group = _part(part)
        for name in names:
            _check(name, groups, class_names)
            groups[name] = group
    return {name: groups.get(name, name) for name in class_names if groups}


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
    """Class names and broad class of one part."""
    arrows = [i for i, token in enumerate(tokens) if token in ARROWS]
    if not arrows:
        broad, names = _around_colon(tokens)
    elif len(arrows) == 1:
        names, broad = tokens[: arrows[0]], tokens[arrows[0] + 1 :]
    else:
        raise DataError(f"The field class_groups has {len(arrows)} arrows (->) in {' '.join(tokens)!r}. {EXAMPLE}")
    listed = [_name(one) for one in _parted(names, [","])]
    if not listed or not broad:
        missing = "name of the broad class" if listed else "classes"
        raise DataError(f"The field class_groups lacks the {missing} in {' '.join(tokens)!r}. {EXAMPLE}")
    return listed, _name(broad)


def _around_colon(tokens: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tokens before and after the first colon that stands in no quotes."""
    for i, token in enumerate(tokens):
        if COLON in token and not token.startswith('"'):
            before, _, after = token.partition(COLON)
            sides = [*tokens[:i], before], [after, *tokens[i + 1 :]]
            return tuple([one.strip() for one in side if one.strip()] for side in sides)
    raise DataError(
        f"The field class_groups has no colon in {' '.join(tokens)!r}, but needs one between a broad class and its "
        f"classes. {EXAMPLE}"
    )


def _name(tokens: Sequence[str]) -> str:
    """The one name that tokens stand for, without its quotes."""
    if len(tokens) != 1 or tokens[0] == '"':
        raise DataError(
            f"The field class_groups has {' '.join(tokens)} where one name is needed. Put a name that holds a "
            "comma, a colon or a semicolon in double quotes, as a whole."
        )
    quoted = tokens[0].startswith('"')
    return normalize("NFC", tokens[0][1:-1].replace('""', '"').strip() if quoted else tokens[0])


def _check(name: str, groups: dict[str, str], class_names: Sequence[str]) -> None:
    """Refuse a class that is unknown or has a broad class already."""
    if name not in class_names:
        raise DataError(
            f"The field class_groups names the class {name!r}, which there is not. The classes are "
            f"{_listed(class_names)}. Correct the name."
        )
    if name in groups:
        raise DataError(f"The field class_groups names the class {name!r} twice. Keep one of the two.")


def _listed(names: Sequence[str]) -> str:
    """Names as they would have to be written in the field."""
    special = re.compile(r'[",;:\n→]|->')
    return ", ".join('"' + name.replace('"', '""') + '"' if special.search(name) else name for name in names)
