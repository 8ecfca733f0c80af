"""Masks that may mean something else than they seem: what is told of them, and what is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.data.problems import Problem, problem_of
from utils.errors import DataError
from utils.images.image import Image, read_image, read_mask
from utils.images.mask_types import (
    MASKS_LOOKED_AT,
    Doubt,
    Reading,
    look_inverted,
    looks_like_mask,
    looks_like_photograph,
)
from utils.images.masks import MaskError, counted, evenly_chosen

SWAPPED = "the two folders seem to be swapped"
MOST_NAMED = 3  # files in one message
SHOWN = 3  # examples in a picture
MOST_MARKED = {True: 0.5, False: 0.95}  # share of the area, by whether the kind of mask was recognised or was written


@dataclass(frozen=True)
class Stored:
    """An image and its mask, (Y, X), with the values that the file holds."""

    name: str
    image: Image
    mask: np.ndarray


class MasksInDoubt(DataError):
    """What is wrong with the data, with some `examples` to look at and the `readings` that their masks may have."""

    def __init__(self, text: str, examples: Sequence[Stored], readings: Sequence[Reading]):
        super().__init__(text)
        self.examples, self.readings = list(examples), list(readings)


def told(chosen: Sequence[int], paths: Sequence[Path]) -> str:
    """How many of the files it is, and the names of the first: "2 of 24 masks: a.tif, b.tif"."""
    names = [paths[i].name for i in chosen[:MOST_NAMED]] + ["..."] * (len(chosen) > MOST_NAMED)
    return f"{len(chosen)} of {len(paths)} masks: {', '.join(names)}"


def mask_problem(folder: str, error: DataError, paths: Sequence[Path]) -> Problem:
    """Problem of the folder of masks in the words of `error`, with the names of the files that it is about."""
    problem = problem_of(folder, error)
    if not isinstance(error, MaskError) or not error.masks:
        return problem
    return Problem(problem.severity, folder, f"{problem.what} ({told(error.masks, paths)})", problem.remedy)


def chosen_examples(
    read: Sequence[tuple[Image, np.ndarray, Path]], chosen: Sequence[int] = ()
) -> list[tuple[Image, np.ndarray, Path]]:
    """Three of the images with their masks to look at, of the `chosen` ones if there are any."""
    candidates = [read[i] for i in chosen] or list(read)
    return evenly_chosen(candidates, SHOWN)


def stored(image: Image, mask_path: Path) -> Stored:
    """The image with its mask as it is stored."""
    return Stored(image.path.name, image, read_mask(mask_path))


def readings_of(error: DataError) -> list[Reading]:
    """Readings among which a `Doubt` asks; none of another error."""
    return error.readings if isinstance(error, Doubt) else []


def check_contents(
    read: Sequence[tuple[Image, np.ndarray, Path]], source: Path, target: Path, mask_type: str
) -> Problem | None:
    """Problem of a folder of masks that are photographs, or the images themselves, and of images that are masks.

    Masks are taken for photographs where most of them hold more than 12 values that change from pixel to pixel, see
    `looks_like_photograph`.
    """
    may_be_soft, paths = mask_type in ("automatic", "soft edges"), [path for _, _, path in read]
    photographs = _most(read, lambda image, mask: looks_like_photograph(mask, may_be_soft))
    like_masks = _most(read, lambda image, mask: looks_like_mask(image.array))
    if photographs and like_masks:
        return swapped(source, target, told(photographs, paths))
    if photographs:
        what = f"the files look like images, not like masks: neighbouring pixels differ ({told(photographs, paths)})"
        remedy = "Name the folder of masks in training_target: one value for each class or object, 0 = background."
        return Problem("error", str(target), what, remedy)
    if not like_masks:
        return None
    images = told(like_masks, [image.path for image, _, _ in read]).replace(" masks: ", " images: ")
    if _most(read, lambda image, mask: np.array_equal(image.array[..., 0] > 0, mask > 0)):
        return Problem("error", str(source), f"the images are the masks themselves ({images})", "Name the images.")
    what = f"the images look like masks: neighbours hold one value ({images})"
    return Problem("warning", str(source), what, "Check in the pictures that these are the images.")


def _most(read: Sequence[tuple[Image, np.ndarray, Path]], holds: Callable[[Image, np.ndarray], bool]) -> list[int]:
    """Indices of the images with masks for which `holds` is true, where it is for most of those looked at."""
    some = evenly_chosen(range(len(read)), MASKS_LOOKED_AT)
    if sum(holds(*read[i][:2]) for i in some) <= len(some) / 2:
        return []
    return [i for i, (image, mask, _) in enumerate(read) if holds(image, mask)]


def swapped(source: Path, target: Path, files: str) -> Problem:
    """Problem of the folders of images and masks that stand in each other's field."""
    what = f"{SWAPPED}: what is named as masks are images ({files})"
    return Problem("error", str(target), what, f"Name {target} as folder of images and {source} as folder of masks.")


def swapped_back(pairs: Sequence[tuple[Path, Path]]) -> list[Stored]:
    """Three of the images with their masks to look at, as they are when the two folders are exchanged."""
    chosen = evenly_chosen(pairs, SHOWN)
    return [Stored(mask.name, read_image(mask), read_mask(image)) for image, mask in chosen]


def seem_swapped(pairs: Sequence[tuple[Path, Path]]) -> bool:
    """Whether what is named as images can be read as masks, and what is named as masks cannot, but as images."""
    chosen = evenly_chosen(pairs, SHOWN)
    return bool(chosen) and all(
        not _works(lambda mask=mask: read_mask(mask))
        and _works(lambda mask=mask: read_image(mask))
        and _works(lambda image=image: read_mask(image))
        and looks_like_mask(read_image(image).array)
        for image, mask in chosen
    )


def _works(read: Callable) -> bool:
    """Whether a file can be read so."""
    try:
        read()
    except DataError:
        return False
    return True


def odd_problems(
    masks: Sequence[np.ndarray],
    paths: Sequence[Path],
    mask_type: str,
    recognised: bool,
    ignore: Sequence[int],
    background: int = 0,
) -> list[Problem]:
    """Warnings about masks that were understood, but are not what they usually are; all are about their folder.

    `recognised`: not written in the field mask_type. `background` is the value of the background.
    """
    folder, found = str(paths[0].parent), []
    if mask_type == "soft edges" and recognised:
        soft = [i for i, mask in enumerate(masks) if len(np.unique(mask)) > 2]
        what = (
            f"values between 0 and the highest are read as edges, those above the half as marked ({told(soft, paths)})"
        )
        found.append((what, "Look at the pictures; write another mask_type if that is wrong."))
    shares = _marked_shares(masks, mask_type, background) if mask_type in ("binary", "soft edges") else [0.0]
    if np.mean(shares) > MOST_MARKED[recognised]:
        most = [i for i, share in enumerate(shares) if share > 0.5]
        what = f"what is marked covers {100 * np.mean(shares):.3g} % of the area ({told(most, paths)})"
        found.append((what, "Look at the pictures; write inverted in the field mask_type if that is the background."))
    elif mask_type == "binary" and not background:
        swapped_ones = [i for i, share in enumerate(shares) if share > 0.5 and look_inverted([masks[i]])]
        if 0 < len(swapped_ones) < len(masks) / 2:
            what = f"foreground and background seem to be swapped in some masks only ({told(swapped_ones, paths)})"
            found.append((what, "Look at these; invert them (Fiji: Edit > Invert) if so."))
    if ignore and all(counted(mask).all() for mask in masks):
        what = f"no mask holds {' or '.join(map(str, ignore))}, the value of the field ignore_value"
        found.append((what, "Check the value."))
    return [Problem("warning", folder, *one) for one in found]


def _marked_shares(masks: Sequence[np.ndarray], mask_type: str, background: int) -> list[float]:
    """Share (0 to 1) of the pixels of each mask that count which are marked."""
    half = max(mask.max() for mask in masks) // 2 if mask_type == "soft edges" else background
    return [np.count_nonzero(mask > half) / np.count_nonzero(counted(mask)) for mask in masks]


def ignored_note(masks: Sequence[np.ndarray], ignore: Sequence[int]) -> str:
    """Sentence on the pixels that do not count; "" where there are none."""
    if not ignore:
        return ""
    number, holding = (sum(f(~counted(mask)) for mask in masks) for f in (np.count_nonzero, np.any))
    share = 100 * number / sum(mask.size for mask in masks)
    values = " and ".join(map(str, ignore))
    return f" Pixels of the value {values} do not count: {share:.3g} % of all, in {holding} of {len(masks)} masks."
