"""Which mask belongs to which image, by file name."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.data.problems import Problem
from utils.data.sample_makers import make_missing
from utils.data.unread import instead, is_read
from utils.errors import DataError, how_many
from utils.names import match, name_key
from utils.paths import IMAGE_SUFFIXES, is_system

MOST_LISTED = 5  # files without a partner


class Pairing(NamedTuple):
    """What `pair` found: images with their masks, what is wrong, and the rule by which the names were matched."""

    pairs: list[tuple[Path, Path]]
    problems: list[Problem]
    rule: str


def pair(images: Sequence[Path], masks: Sequence[Path], image_folder: Path, mask_folder: Path) -> Pairing:
    """Find the mask of each image: same sub-folder and a name that fits by one rule, see `utils.names.match`.

    Parameters
    ----------
    images, masks, image_folder, mask_folder
        Files that were found, and the folders that were searched.

    Returns
    -------
    Pairing
        Pairs are in the order of `images`. Problems: image without mask, mask without image, several files of the same
        name; a warning where the rule might be chance.
    """
    image_of, of_key = _by_key(images, image_folder), _by_key(masks, mask_folder)
    found = match(image_of, of_key)
    mask_of: dict[str, list[Path]] = {key: [] for key in image_of}
    for key, files in of_key.items():
        mask_of.setdefault(found.image_of.get(key, key), []).extend(files)
    problems = _prefer_pictures(mask_of, mask_folder)
    problems += [_ambiguous(files) for files in image_of.values() if len(files) > 1]
    problems += [_ambiguous(files) for files in mask_of.values() if len(files) > 1]
    alone = [image_of[key][0] for key in image_of if not mask_of[key]]
    several = _several(image_of, of_key, mask_folder) if len(alone) == len(image_of) < len(of_key) else []
    problems += several or [
        *_lonely(alone, "image", "mask", mask_folder),
        *_lonely([mask_of[key][0] for key in mask_of if key not in image_of], "mask", "image", image_folder),
    ]
    pairs = [(files[0], mask_of[key][0]) for key, files in image_of.items() if len(files) == len(mask_of[key]) == 1]
    if not found.sure:
        remedy = "Check in the pictures that each mask belongs to its image."
        problems.append(Problem("warning", str(mask_folder), found.rule.rstrip("."), remedy))
    return Pairing(pairs, problems, found.rule)


def _by_key(files: Sequence[Path], folder: Path) -> defaultdict[str, list[Path]]:
    """Files by what counts of their path in `folder`."""
    keys = defaultdict(list)
    for file in files:
        keys[name_key(file.relative_to(folder))].append(file)
    return keys


def _prefer_pictures(mask_of: dict[str, list[Path]], folder: Path) -> list[Problem]:
    """Leave out Cellpose's own file where the mask that it has saved as a picture is there too; a warning says so."""
    both = [files for files in mask_of.values() if len({file.suffix.lower() == ".npy" for file in files}) == 2]
    if not both:
        return []
    for files in both:
        files[:] = [file for file in files if file.suffix.lower() != ".npy"]
    what = (
        f"for {how_many(len(both), 'image')} there is a mask both as a picture and as _seg.npy; the pictures are used"
    )
    remedy = "If you have corrected masks in Cellpose since, save them as pictures again, or move the pictures away."
    return [Problem("warning", str(folder), what, remedy)]


def _ambiguous(files: Sequence[Path]) -> Problem:
    """Problem of several files that have one name."""
    names = " and ".join(file.name for file in files)
    return Problem("error", str(files[0]), f"{names} have the same name", "Keep one and move the others away.")


def _several(image_of: Iterable[str], mask_of: Mapping[str, list[Path]], folder: Path) -> list[Problem]:
    """Problem of masks of several kinds, or of single objects, whose names begin as those of their images do."""
    begun = {key: [its[0] for mask, its in mask_of.items() if _begins(mask, key)] for key in image_of}
    many = [files for files in begun.values() if len(files) > 1]
    if not many or len(many) < len(begun):
        return []
    what = f"there are several masks for each image, such as {many[0][0].name} and {many[0][1].name}"
    remedy = "Leave one for each image in the folder, and move the others to a folder of their own."
    return [Problem("error", str(folder), what, remedy)]


def _begins(mask: str, image: str) -> bool:
    return mask.startswith(image) and not mask[len(image) :][:1].isalnum()


def _lonely(files: Sequence[Path], kind: str, other: str, folder: Path) -> list[Problem]:
    """Problems of images without mask or masks without image: one for each, or one for all where they are many."""
    if len(files) <= MOST_LISTED:
        remedy = f"Add a file of the same name to {folder}, or move this one away."
        return [Problem("error", str(file), f"there is no {other} for this {kind}", remedy) for file in files]
    names = ", ".join(file.name for file in files[:MOST_LISTED])
    what = f"there is no {other} for {len(files)} {kind}s ({names} and {len(files) - MOST_LISTED} more)"
    remedy = f"Give each the name of its {other} in {folder}, or choose another folder."
    return [Problem("error", str(files[0].parent), what, remedy)]


def find_images(folder: Path, recursive: bool = False, masks: bool = False) -> list[Path]:
    """List the image files of a folder, sorted; hidden and system files are left out.

    Their names end, in any case, in one of `IMAGE_SUFFIXES`, those of `masks` also in one of `MASK_SUFFIXES`. With
    `recursive`, sub-folders are looked into too. DataError where the folder is missing or holds no image.
    """
    make_missing(folder)
    found = sorted(_listed(folder, recursive))
    shown = [path for path in found if not any(is_system(part) for part in path.relative_to(folder).parts)]
    images = [path for path in shown if is_read(path, masks) and path.is_file()]
    if not images:
        hint = " It has sub-folders: name one of those." if any(path.is_dir() for path in shown) else ""
        raise DataError(f"The folder {folder} holds no image (TIFF, PNG or JPEG file).{hint or instead(folder)}")
    return images


def in_sub_folders(source: Path, target: Path) -> bool:
    """Whether images and masks lie in sub-folders of the same names, such as one for each patient, and only there."""
    return len(_sub_folders(source) & _sub_folders(target)) > 1


def _sub_folders(folder: Path) -> set[str]:
    """Names of the sub-folders of a folder that holds no image itself."""
    shown = [path for path in _listed(folder, False) if not is_system(path.name)]
    if any(path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() for path in shown):
        return set()
    return {path.name for path in shown if path.is_dir()}


def _listed(folder: Path, recursive: bool) -> list[Path]:
    if not os.path.isdir(folder):  # is_dir() raises for a name that is too long
        raise DataError(f"There is no folder {folder}. Check its name for a typing error.")
    try:
        return list(folder.rglob("*") if recursive else folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error


def unreadable(folder: Path, error: OSError) -> DataError:
    """Error that a folder cannot be looked into."""
    return DataError(
        f"The folder {folder} cannot be read ({error.strerror}). Ask for the right to read it, or copy the images to a "
        "folder of your own."
    )
