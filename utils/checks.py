"""Images and masks of a folder, read and checked: every problem is found before training starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils import masks as mask_values
from utils.consistency import compare, not_read
from utils.errors import DataError
from utils.images import Image, find_images, read_image, read_mask
from utils.pairs import pair
from utils.paths import resolve
from utils.problems import Problem, problem_table, raise_errors
from utils.splits import group_of

__all__ = [
    "Dataset",
    "Example",
    "Problem",
    "automatic_patch",
    "check_patch",
    "load_examples",
    "problem_table",
    "raise_errors",
]
LARGEST_AUTOMATIC_PATCH = 512


@dataclass(frozen=True)
class Example:
    """An image and its mask: `mask` (Y, X) uint8 class ids; `name` is the image's file name, with sub-folder if any."""

    name: str
    image: Image
    mask: np.ndarray
    group: str
    mask_path: Path


@dataclass
class Dataset:
    """What `load_examples` found; `why` says how `mask_type` was recognised. Without errors, `examples` is complete."""

    examples: list[Example] = field(default_factory=list)
    classes: list[dict] = field(default_factory=list)
    mask_type: str = "automatic"
    why: str = ""
    problems: list[Problem] = field(default_factory=list)


def load_examples(
    training_source: str | Path,
    training_target: str | Path,
    axes: str = "automatic",
    mask_type: str = "automatic",
    group_rule: str = "",
    classes: Sequence[dict] | None = None,
) -> Dataset:
    """Read a folder of images and a folder of masks, and gather every problem; see `raise_errors`.

    Parameters
    ----------
    training_source, training_target : str or Path
        Folders of images and of masks, paired by file name (`utils.pairs.pair`).
    axes : str
        See `utils.images.read_image`.
    mask_type : {"automatic", "binary", "classes", "instance labels"}
        See `utils.masks.recognise_mask_type`.
    group_rule : str
        See `utils.splits.group_of`; with "folder", sub-folders are searched too.
    classes : sequence of dict, optional
        The class table that must be kept to (test images, fine-tuning); None: made from the masks, and then at least
        two images are needed, since one must be left for validation.

    Returns
    -------
    Dataset
        Nothing is raised for bad data: it is in `problems`, and examples that are bad are left out.
    """
    dataset = Dataset(mask_type=mask_type, classes=list(classes or []))
    pairs = _find_pairs(training_source, training_target, group_rule == "folder", dataset.problems)
    if len(pairs) == 1 and classes is None:
        remedy = "Add images: at least one must be left for validation."
        dataset.problems.append(Problem("error", str(pairs[0][0]), "there is one image only", remedy))
    read = [one for one in (_read_pair(*files, axes, dataset.problems) for files in pairs) if one is not None]
    if read and _settle_classes(dataset, [mask for _, mask, _ in read], str(resolve(training_target))):
        found = (_example(*one, resolve(training_source), group_rule, dataset) for one in read)
        dataset.examples = [example for example in found if example is not None]
    dataset.problems += compare([image for image, _, _ in read])
    return dataset


def _find_pairs(
    source: str | Path, target: str | Path, recursive: bool, problems: list[Problem]
) -> list[tuple[Path, Path]]:
    """Pairs of image and mask files; problems are added to `problems`."""
    found = []
    for folder, content in ((source, "images"), (target, "masks")):
        try:
            found.append(find_images(folder, recursive))
            problems += not_read(resolve(folder))
        except DataError as error:
            problems.append(_problem(f"folder of {content}", error))
    if len(found) < 2:
        return []
    if resolve(source).samefile(resolve(target)):
        what = "images and masks are in the same folder"
        problems.append(Problem("error", str(resolve(source)), what, "Put them into two folders, with equal names."))
        return []
    pairs, unpaired = pair(*found, resolve(source), resolve(target))
    problems += unpaired
    return pairs


def _problem(file: str, error: DataError) -> Problem:
    """Problem with the words of `error`: its first sentence is what is wrong (of `file`), the others are the remedy."""
    what, _, remedy = str(error).removeprefix(f"{file} ").partition(". ")
    return Problem("error", file, what.rstrip("."), remedy)


def _read_pair(
    image_path: Path, mask_path: Path, axes: str, problems: list[Problem]
) -> tuple[Image, np.ndarray, Path] | None:
    """Image, raw mask and path of the mask; None, with the problems added, where one of them is unusable."""
    pixels = []
    for path, read in ((image_path, lambda path: read_image(path, axes)), (mask_path, read_mask)):
        try:
            pixels.append(read(path))
        except DataError as error:
            problems.append(_problem(str(path), error))
    if len(pixels) < 2:
        return None
    image, mask = pixels
    if image.array.shape[:2] != mask.shape:
        sizes = " x ".join(map(str, mask.shape)), " x ".join(map(str, image.array.shape[:2]))
        what = f"the mask has {sizes[0]} pixels (height x width), but its image {sizes[1]}"
        problems.append(Problem("error", str(mask_path), what, "Export the mask again at the size of the image."))
        return None
    if not mask.any():
        what = "the mask has only background"
        problems.append(Problem("warning", str(mask_path), what, "Check that nothing is to be found in this image."))
    return image, mask, mask_path


def _settle_classes(dataset: Dataset, masks: list[np.ndarray], folder: str) -> bool:
    """Set mask type, reason and class table of `dataset` where they are not given; False where that is impossible."""
    try:
        if dataset.mask_type == "automatic":
            dataset.mask_type, dataset.why = mask_values.recognise_mask_type(masks)
        else:
            dataset.why = "As the field mask_type says."
        dataset.classes = dataset.classes or mask_values.class_table(masks, dataset.mask_type)
    except DataError as error:
        dataset.problems.append(_problem(folder, error))
        return False
    return True


def _example(
    image: Image, mask: np.ndarray, mask_path: Path, folder: Path, group_rule: str, dataset: Dataset
) -> Example | None:
    """The finished example; None, with the problem added, where its mask or its name does not fit."""
    path = mask_path
    try:
        ids = mask_values.to_class_ids(mask, dataset.classes, dataset.mask_type)
        path = image.path
        group = group_of(path, group_rule, folder)
    except DataError as error:
        dataset.problems.append(_problem(str(path), error))
        return None
    return Example(path.relative_to(folder).as_posix(), image, ids, group, mask_path)


def check_patch(
    sizes: Sequence[tuple[int, int]],
    patch: tuple[int, int],
    multiple_of: int,
    names: Sequence[str] | None = None,
) -> None:
    """Refuse a patch that does not fit.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each image.
    patch : (int, int)
        Height and width of the patch.
    multiple_of : int
        2 ** pooling_steps.
    names : sequence of str, optional
        Name of each image, for the message.

    Raises
    ------
    DataError
        Patch larger than the smallest image, or a side that `multiple_of` does not divide.
    """
    small = [i for i, size in enumerate(sizes) if size[0] < patch[0] or size[1] < patch[1]]
    if small:
        least = min(small, key=lambda i: sizes[i][0] * sizes[i][1])
        name = f" {names[least]}" if names is not None else ""
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels (height x width) is larger than {len(small)} of the images; "
            f"the smallest,{name}, has {sizes[least][0]} x {sizes[least][1]}. "
            "Choose smaller patch_height and patch_width (0 = automatic), or leave the small images out."
        )
    if not all(side > 0 and side % multiple_of == 0 for side in patch):
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels cannot be halved pooling_steps times. "
            f"Choose multiples of {multiple_of} for patch_height and patch_width."
        )


def automatic_patch(sizes: Sequence[tuple[int, int]], multiple_of: int) -> tuple[int, int]:
    """Side of the largest square patch of 2**n pixels that fits the smallest image, at most 512.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each image.
    multiple_of : int
        2 ** pooling_steps.

    Returns
    -------
    (int, int)
        Height and width.

    Raises
    ------
    DataError
        Where the smallest image is smaller than `multiple_of`.
    """
    shortest = min(min(size) for size in sizes)
    side = min(LARGEST_AUTOMATIC_PATCH, 2 ** (int(shortest).bit_length() - 1))
    if side < multiple_of:
        raise DataError(
            f"The smallest image has a side of {shortest} pixels, too small to be halved pooling_steps times "
            f"(it needs {multiple_of}). Choose fewer pooling_steps, or leave the small images out."
        )
    return side, side
