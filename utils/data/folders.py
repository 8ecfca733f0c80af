"""Which mask belongs to which image, by file name."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from utils.data.problems import Problem
from utils.data.sample_makers import make_missing
from utils.errors import DataError
from utils.paths import IMAGE_SUFFIXES, MASK_ENDING, is_system


def pair(
    images: Sequence[Path], masks: Sequence[Path], image_folder: Path, mask_folder: Path
) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """Find the mask of each image: same sub-folder and name without ending; the mask's may end in _mask, -label ...

    Parameters
    ----------
    images, masks, image_folder, mask_folder
        Files that were found, and the folders that were searched.

    Returns
    -------
    pairs
        Image and mask, in the order of `images`.
    problems
        Image without mask, mask without image, several files of the same name.
    """
    image_of = _by_key(images, image_folder)
    mask_of = _by_key(masks, mask_folder)
    for key in [key for key in mask_of if key not in image_of and MASK_ENDING.sub("", key) in image_of]:
        mask_of[MASK_ENDING.sub("", key)] += mask_of.pop(key)
    problems = [_ambiguous(files) for of in (image_of, mask_of) for files in of.values() if len(files) > 1]
    problems += [_lonely(image_of[key][0], "image", "mask", mask_folder) for key in image_of if not mask_of.get(key)]
    problems += [_lonely(mask_of[key][0], "mask", "image", image_folder) for key in mask_of if key not in image_of]
    pairs = [
        (files[0], mask_of[key][0]) for key, files in image_of.items() if len(files) == len(mask_of.get(key, ())) == 1
    ]
    return pairs, problems


def _by_key(files: Sequence[Path], folder: Path) -> defaultdict[str, list[Path]]:
    """Files by their path in `folder` without ending (.ome.tif is one ending)."""
    keys = defaultdict(list)
    for file in files:
        keys[file.relative_to(folder).with_suffix("").as_posix().removesuffix(".ome")].append(file)
    return keys


def _ambiguous(files: Sequence[Path]) -> Problem:
    """Problem of several files that have one name."""
    names = " and ".join(file.name for file in files)
    return Problem("error", str(files[0]), f"{names} have the same name", "Keep one and move the others away.")


def _lonely(file: Path, kind: str, other: str, folder: Path) -> Problem:
    """Problem of an image without mask or a mask without image."""
    remedy = f"Add a file of the same name to {folder}, or move this one away."
    return Problem("error", str(file), f"there is no {other} for this {kind}", remedy)


def find_images(folder: Path, recursive: bool = False) -> list[Path]:
    """List the image files of a folder, sorted; hidden and system files are left out.

    Their names end, in any case, in one of `IMAGE_SUFFIXES`. With `recursive`, sub-folders are looked into too.
    DataError where the folder is missing or holds no image.
    """
    make_missing(folder)
    found = sorted(_listed(folder, recursive))
    shown = [path for path in found if not any(is_system(part) for part in path.relative_to(folder).parts)]
    images = [path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        hint = " It has sub-folders: name one of those." if any(path.is_dir() for path in shown) else ""
        raise DataError(f"The folder {folder} holds no image (TIFF, PNG or JPEG file).{hint}")
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
