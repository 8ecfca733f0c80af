"""Images and masks of a folder, read and checked: every problem is found before training starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from utils.data.folders import find_images, in_sub_folders, pair
from utils.data.object_classes import assign_classes, object_class_table, read_class_table
from utils.data.problems import Problem, group_question, inconsistencies, problem_of
from utils.data.unread import unread
from utils.errors import DataError
from utils.groups import ASK, FOLDER, group_of
from utils.images import masks as mask_values
from utils.images.image import Image, read_image, read_mask
from utils.images.masks import recognise_mask_type, to_class_ids, to_objects, values_of
from utils.paths import EMPTY


@dataclass(frozen=True)
class Example:
    """An image and its annotation.

    `name` is the image's file name, with sub-folder if any. `mask` (Y, X) holds class ids, uint8; or labels of objects,
    uint16: 0 is background, 1 to n are the objects. `group`: see `utils.groups.group_of`. `object_classes` is the
    class id of each label, where a class table was given.
    """

    name: str
    image: Image
    mask: np.ndarray
    group: str
    mask_path: Path
    object_classes: Mapping[int, int] | None = None


@dataclass
class Dataset:
    """What `load_examples` found; `why` says how `mask_type` was recognised. Without errors, `examples` is complete.

    `pairing` says by which rule masks were found for images, see `utils.data.folders.pair`.
    """

    examples: list[Example] = field(default_factory=list)
    classes: list[dict] = field(default_factory=list)
    mask_type: str = "automatic"
    why: str = ""
    pairing: str = ""
    problems: list[Problem] = field(default_factory=list)
    annotation: Literal["classes", "objects"] = "classes"

    def only(self, chosen: Sequence[int]) -> "Dataset":
        """The same with some of the examples."""
        return replace(self, examples=[self.examples[i] for i in chosen])


def load_examples(
    training_source: Path | None,
    training_target: Path | None,
    axes: str = "automatic",
    mask_type: str = "automatic",
    group_rule: str = "",
    classes: Sequence[dict] | None = None,
    annotation: Literal["classes", "objects"] = "classes",
    class_table: Path | None = None,
    pixel_size_um: float = 0,
) -> Dataset:
    """Read a folder of images and a folder of masks, and gather every problem; see `raise_errors`.

    Nothing is raised for bad data: it is in `problems`, and examples that are bad are left out.

    Parameters
    ----------
    training_source, training_target
        Folders of images and of masks, paired by file name (`utils.data.folders.pair`).
    axes
        See `utils.images.image.read_image`.
    mask_type
        "automatic" (see `utils.images.masks.recognise_mask_type`) or one of `utils.images.masks.MASK_TYPES`.
    group_rule
        See `utils.groups.group_of`; with "folder", or where images and masks lie in sub-folders of the same names only,
        sub-folders are searched too. "ask" is a warning where the names look like groups. With `classes`, an image
        whose name does not fit is a group of its own.
    classes
        The class table that must be kept to (test images, fine-tuning); None: made from the masks, and then at least
        two images are needed, since one must be left for validation.
    annotation
        What the masks are read as: a class of each pixel, or labels, one for each object. Binary masks become labels by
        connected components, with a warning; masks of classes are no labels and are refused.
    class_table
        CSV file that names the class of each object (`utils.data.object_classes.read_class_table`); "": objects are
        alike.
    pixel_size_um
        See `utils.images.image.read_image`.
    """
    dataset = Dataset(mask_type=mask_type, classes=list(classes or []), annotation=annotation)
    apart = [class_table] if class_table else []
    pairs, dataset.pairing = _find_pairs(
        training_source, training_target, group_rule == FOLDER, dataset.problems, apart
    )
    if len(pairs) == 1 and classes is None:
        remedy = "Add images: at least one must be left for validation."
        dataset.problems.append(Problem("error", str(pairs[0][0]), "there is one image only", remedy))
    found = (_read_pair(*files, axes, pixel_size_um, dataset.problems) for files in pairs)
    read = [one for one in found if one is not None]
    if read and _settle_classes(dataset, [mask for _, mask, _ in read], str(training_target), class_table):
        names = (
            _name_objects(dataset, read, class_table, bool(classes)) if annotation == "objects" else [None] * len(read)
        )
        found = (
            _example(*one, own, (training_source, group_rule, classes is None), dataset)
            for one, own in zip(read, names, strict=True)
        )
        dataset.examples = [example for example in found if example is not None]
    dataset.problems += inconsistencies([image for image, _, _ in read])
    if group_rule == ASK and classes is None:
        dataset.problems += group_question([one.name for one in dataset.examples])
    return dataset


def _find_pairs(
    source: Path | None, target: Path | None, recursive: bool, problems: list[Problem], apart: Sequence[Path] = ()
) -> tuple[list[tuple[Path, Path]], str]:
    """Pairs of image and mask files, and the rule that joins them; problems are added to `problems`.

    Files that are not read are told of, but not those in `apart`.
    """
    found = []
    recursive = recursive or _lie_below(source, target)
    for folder, content, other in ((source, "images", target), (target, "masks", source)):
        try:
            if folder is None:
                raise DataError(EMPTY)
            masks = content == "masks"
            found.append(find_images(folder, recursive, masks))
            problems += unread(folder, recursive, masks, [*apart, other] if other else apart)
        except DataError as error:
            problems.append(problem_of(f"folder of {content}", error))
    if len(found) < 2:
        return [], ""
    if source.samefile(target):
        what = "images and masks are in the same folder"
        problems.append(Problem("error", str(source), what, "Put them into two folders, with equal names."))
        return [], ""
    pairs, unpaired, rule = pair(*found, source, target)
    problems += unpaired
    return pairs, rule


def _lie_below(source: Path | None, target: Path | None) -> bool:
    """See `in_sub_folders`; what is wrong with the folders is told where they are searched."""
    try:
        return source is not None and target is not None and in_sub_folders(source, target)
    except DataError:
        return False


def _read_pair(
    image_path: Path, mask_path: Path, axes: str, pixel_size_um: float, problems: list[Problem]
) -> tuple[Image, np.ndarray, Path] | None:
    """Image, raw mask and path of the mask; None, with the problems added, where one of them is unusable."""
    pixels = []
    as_image = partial(read_image, axes=axes, pixel_size_um=pixel_size_um)
    for path, read in ((image_path, as_image), (mask_path, read_mask)):
        try:
            pixels.append(read(path))
        except DataError as error:
            problems.append(problem_of(str(path), error))
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


def _settle_classes(dataset: Dataset, masks: list[np.ndarray], folder: str, class_table: Path | None) -> bool:
    """Set mask type, reason and class table of `dataset` where they are not given; False where that is impossible."""
    try:
        if dataset.mask_type != "automatic":
            dataset.why = "As the field mask_type says."
        elif class_table:
            dataset.mask_type, dataset.why = "instance labels", "The class table tells of single objects."
        else:
            dataset.mask_type, dataset.why = recognise_mask_type(masks)
        if dataset.annotation == "objects":
            _check_objects(dataset, folder, class_table)
        dataset.classes = dataset.classes or mask_values.table_of_classes(masks, dataset.mask_type)
    except DataError as error:
        dataset.problems.append(problem_of(folder, error))
        return False
    return True


def _check_objects(dataset: Dataset, folder: str, class_table: Path | None) -> None:
    """Refuse masks that do not tell objects apart, by a DataError; warn of those that may not."""
    if dataset.mask_type == "classes":
        raise DataError(
            "The masks hold classes, not objects. Give each object a number of its own and write instance labels in "
            "the field mask_type, or train a U-Net on these masks"
        )
    if dataset.mask_type == "binary" and class_table:
        raise DataError(
            "The masks are binary, so that the class table cannot name their objects. "
            "Give each object a number of its own, or leave the class table out"
        )
    if dataset.mask_type == "binary":
        remedy = "Where objects touch, give each a number of its own: then they are learned as separate."
        dataset.problems.append(Problem("warning", folder, "binary masks: objects that touch become one", remedy))


def _name_objects(
    dataset: Dataset, read: Sequence[tuple[Image, np.ndarray, Path]], class_table: Path | None, given: bool
) -> list[dict[int, str] | None]:
    """Class name of each label of each mask, None without a class table; makes the classes unless given."""
    if not class_table:
        dataset.classes = dataset.classes if given else object_class_table()
        return [None] * len(read)
    known = [entry["name"] for entry in dataset.classes[1:]] if given else []
    try:
        rows = read_class_table(class_table, dataset.problems)
    except DataError as error:
        dataset.problems.append(problem_of(str(class_table), error))
        return [None] * len(read)
    labels = [values_of(mask) for _, mask, _ in read]
    labels = [values[values > 0].tolist() for values in labels]
    names = assign_classes(
        rows, [(image.path, path) for image, _, path in read], labels, class_table, known, dataset.problems
    )
    if not given:
        dataset.classes = object_class_table(name for one in names for name in one.values())
    return names


def _example(
    image: Image,
    mask: np.ndarray,
    mask_path: Path,
    names: Mapping[int, str] | None,
    grouped: tuple[Path, str, bool],
    dataset: Dataset,
) -> Example | None:
    """The finished example; None, with the problem added, where its mask or its name does not fit.

    `grouped` are folder, rule and strictness of `group_of`.
    """
    path, (folder, rule, strict) = mask_path, grouped
    try:
        annotation, object_classes = _annotation(mask, names, dataset)
        path = image.path
        group = group_of(path, rule, folder, strict)
    except DataError as error:
        dataset.problems.append(problem_of(str(path), error))
        return None
    return Example(path.relative_to(folder).as_posix(), image, annotation, group, mask_path, object_classes)


def _annotation(
    mask: np.ndarray, names: Mapping[int, str] | None, dataset: Dataset
) -> tuple[np.ndarray, dict[int, int] | None]:
    """Class ids, or labels with the class id of each where `names` are known (those without a class left out)."""
    if dataset.annotation == "classes":
        return to_class_ids(mask, dataset.classes, dataset.mask_type), None
    labels, values = to_objects(mask, dataset.mask_type)
    if names is None:
        return labels, None
    ids = {entry["name"]: entry["id"] for entry in dataset.classes}
    return labels, {i: ids[names[v]] for i, v in enumerate(values.tolist(), 1) if names.get(v) in ids}
