"""What images and masks hold, looked up in some of them: facts, what the masks mean, what looks wrong, pictures."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.data.folders import pair
from utils.data.mask_checks import check_contents
from utils.data.problems import Problem, problem_of
from utils.data.unread import QUPATH, unread
from utils.errors import DataError
from utils.first_look.headers import SLIDE, Header, read_headers
from utils.first_look.survey import Found
from utils.images.image import Image, read_image, read_mask
from utils.images.mask_types import recognise_mask_type
from utils.images.masks import evenly_chosen
from utils.images.stacks import read_planes
from utils.pages.pictures import label_outlines, thumbnail

MASKS, PICTURES = 8, 4  # that are read
CLASSES = 8  # of which one image is shown
SECONDS = 1.5  # after which no more masks, and no more pictures, are read
LARGEST = 25e6  # pixels of an image that is read
MOST_FILES = 3000  # in a folder that is looked through for files of other kinds
SIDE = 220  # pixels of a picture
OUTLINE = (25, 255, 50)  # stands out from grey images and from stained tissue
MOSTLY = 0.5  # share of what is marked that lies on outlines, above which it is tinted instead
MOST_PROBLEMS = 3  # of one kind that are told


@dataclass
class Content:
    """What some of the images hold.

    Attributes
    ----------
    headers
        Of the images that were looked at.
    mask_type, why
        As `utils.images.mask_types.recognise_mask_type` says; "" where there are no masks, or in doubt.
    problems
        What looks wrong.
    pictures
        Title and picture uint8 (Y, X, 3), some with the outlines of their masks.
    """

    headers: list[Header] = field(default_factory=list)
    mask_type: str = ""
    why: str = ""
    problems: list[Problem] = field(default_factory=list)
    pictures: list[tuple[str, np.ndarray]] = field(default_factory=list)

    @property
    def side(self) -> int:
        """Median of the longer sides in pixels; 0 where no image could be read."""
        return int(np.median([max(one.height, one.width) for one in self.headers])) if self.headers else 0

    @property
    def are_stacks(self) -> bool:
        """Whether there are stacks among the images."""
        return any(one.planes for one in self.headers)


def read_content(found: Found) -> Content:
    """Look into some of the images and masks; nothing is raised, what is wrong is among the problems."""
    headers, wrong = read_headers(found.images)
    content = Content(headers)
    content.problems += [problem_of(str(path), error) for path, error in wrong[:MOST_PROBLEMS]]
    content.problems += _differences(headers) + _not_read(found)
    pairs = _pairs(found, content.problems)
    _read_masks(found, pairs, content)
    content.pictures = _pictures(found, dict(pairs))
    return content


def _differences(headers: Sequence[Header]) -> list[Problem]:
    """Warnings about images that are not all of one kind, or are stacks."""
    found, folder = [], str(headers[0].path.parent) if headers else ""
    for name, values, remedy in (
        (
            "channels",
            [one.channels for one in headers],
            "Images with other channels belong into a folder of their own.",
        ),
        ("bit", [one.bits for one in headers], "Check that all come from the same microscope settings and export."),
    ):
        counts = Counter(values).most_common()
        if len(counts) > 1:
            told = ", ".join(f"{value} {name} in {count}" for value, count in counts)
            found.append(Problem("warning", folder, f"the images differ: {told} of those looked at", remedy))
    if stacks := sum(bool(one.planes) for one in headers):
        what = f"{stacks} of {len(headers)} files looked at are stacks"
        remedy = "To train, save each plane as a file of its own (Fiji: Image > Stacks > Stack to Images)."
        found.append(Problem("warning", folder, what, remedy))
    if slides := sum(one.height * one.width > SLIDE for one in headers):
        what = f"{slides} of {len(headers)} images looked at have more than {SLIDE / 1e6:.0f} megapixels"
        found.append(Problem("warning", folder, what, f"To train, cut pieces out of them. {QUPATH}"))
    return found


def _not_read(found: Found) -> list[Problem]:
    """What else lies in the folder of images, unless it has so many files that asking for each takes long."""
    if found.source.is_file() or len(found.images) > MOST_FILES:
        return []
    return unread(found.source, recursive=found.kind == "classes", notes=False)


def _pairs(found: Found, problems: list[Problem]) -> list[tuple[Path, Path]]:
    """Images with their masks; what is wrong with their names is added to the problems."""
    if found.target is None:
        return []
    pairing = pair(found.images, found.masks, found.source, found.target)
    problems += pairing.problems[:MOST_PROBLEMS]
    return pairing.pairs


def _read_masks(found: Found, pairs: Sequence[tuple[Path, Path]], content: Content) -> None:
    """Fill in what the masks of some images mean, and what is wrong with them."""
    read, wrong, start = [], [], time.monotonic()
    for image_path, mask_path in evenly_chosen(pairs, MASKS):
        if time.monotonic() - start > SECONDS:
            break
        try:
            if one := _read(image_path):
                read.append((one, read_mask(mask_path), mask_path))
        except DataError as error:
            wrong.append(problem_of(str(mask_path), error))
    content.problems += wrong[:MOST_PROBLEMS]
    content.problems += [_sizes(*one) for one in read if one[0].array.shape[:2] != one[1].shape][:MOST_PROBLEMS]
    problem = check_contents(read, found.source, found.target, "automatic") if read else None
    content.problems += [problem] if problem else []
    if not read or (problem and problem.severity == "error"):
        return
    try:
        content.mask_type, content.why = recognise_mask_type([mask for _, mask, _ in read])
    except DataError as error:  # also where there are several readings: section 3.2 shows the masks and asks
        content.problems.append(problem_of(str(found.target), error))


def _sizes(image: Image, mask: np.ndarray, path: Path) -> Problem:
    (height, width), (rows, columns) = image.array.shape[:2], mask.shape
    what = f"the mask has {columns} x {rows} pixels (width x height), its image {width} x {height}"
    return Problem("error", str(path), what, "Export the mask in the size of its image.")


def _read(path: Path) -> Image | None:
    """An image, or the middle plane of a stack; None where it is too large to be read for a look."""
    planes = read_planes(path)
    if path.stat().st_size > LARGEST * 4 * max(1, len(planes)):
        return None
    return planes.read(len(planes) // 2) if planes.axes else read_image(path)


def _pictures(found: Found, mask_of: dict[Path, Path]) -> list[tuple[str, np.ndarray]]:
    """Some images, of classes one of each, with the outlines of their masks."""
    pictures, start = [], time.monotonic()
    for title, path in _shown(found):
        if time.monotonic() - start > SECONDS:
            break
        try:
            image = _read(path)
            mask = read_mask(mask_of[path]) if path in mask_of else None
        except DataError:  # told already
            continue
        if image is not None:
            pictures.append((title, _picture(image.array, mask)))
    return pictures


def _shown(found: Found) -> list[tuple[str, Path]]:
    """Title and file of the images to show."""
    if found.kind != "classes" or not found.source.is_dir():
        return [(path.name, path) for path in evenly_chosen(found.images, PICTURES)]
    of_class = {
        name: [one for one in found.images if one.is_relative_to(found.source / name)] for name in found.classes
    }
    return [(name, paths[len(paths) // 2]) for name, paths in of_class.items() if paths][:CLASSES]


def _picture(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Small picture uint8 (Y, X, 3), with outlines (thin things: tinted) where there is a mask of the same size."""
    picture = thumbnail(array, SIDE)
    if mask is None or mask.shape != array.shape[:2]:
        return picture
    rows, columns = (np.arange(n) * total // n for n, total in zip(picture.shape, mask.shape, strict=False))
    shown = mask[np.ix_(rows, columns)].astype(np.int64)
    lines = label_outlines(shown)
    if lines.sum() > MOSTLY * np.count_nonzero(shown):  # fibres, or objects of few pixels
        return np.where((shown > 0)[..., None], (picture // 2 + np.uint8(OUTLINE) // 2), picture)
    return np.where(lines[..., None], np.uint8(OUTLINE), picture)
