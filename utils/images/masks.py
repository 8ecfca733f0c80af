"""What the values of a mask mean: classes, one foreground, or objects; and which pixels do not count.

The whole house knows pixels that do not count (a value that the form's field ignore_value names; pixels that nobody
annotated) as `IGNORED` in the array of class ids or labels itself, so that they follow every cut, turn and zoom. It is
negative: `mask > 0` is what is marked and `mask == 0` the background whether or not pixels are ignored, StarDist's
losses know it, and code that does not is refused a negative number rather than counting it as a class. Only arrays in
which pixels may be ignored are of a signed type (class ids int16, labels int32); the others stay uint8 and uint16.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.segmentation import expand_labels, relabel_sequential

from utils.errors import DataError, FormError

IGNORED = -1  # in masks: the pixel counts in no loss, score or share
TWO_VALUES = ("binary", "inverted", "soft edges", "outlines")  # kinds of masks with one foreground
MASK_TYPES = (*TWO_VALUES, "classes", "instance labels")
LARGEST_CLASS_VALUE = 65535  # masks of classes are written as 8-bit or 16-bit
LARGEST_LABEL = 65535  # StarDist keeps labels in 16 bits
LARGEST_SPECK = 16  # pixels: what is larger may be an object, however large those are that were annotated
BAND = 256  # rows that are looked at together: labels of a whole slide would take four times its memory
NO_FOREGROUND = "No mask has any foreground: all values are 0. Check that these are the masks."


class MaskError(DataError):
    """A fault of the masks of a folder; `masks` are the indices of those that it is about."""

    def __init__(self, text: str, masks: Sequence[int] = ()):
        super().__init__(text)
        self.masks = list(masks)


def ignored_values(text: str | int) -> tuple[int, ...]:
    """Numbers in the field ignore_value, "" = none; FormError where something else is written there."""
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise FormError(
            f"The field ignore_value is {text!r}. Write the number that the pixels have in the masks which are not to "
            "count, such as 255 (several with commas between), or leave it empty."
        )
    return tuple(int(part) for part in parts)


def mark_ignored(mask: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Mask (Y, X) with `IGNORED` in place of `values`, of the signed type that holds all others; as it is without any.

    The type follows from the type of the mask and whether there are `values`, not from what this mask holds, so that
    all masks of a folder are alike.
    """
    if not len(values):
        return mask
    wide = mask.astype(np.promote_types(mask.dtype, np.int8) if mask.dtype.itemsize < 4 else np.int64)
    wide[np.isin(mask, values)] = IGNORED
    return wide


def counted(mask: np.ndarray) -> np.ndarray:
    """Which pixels of a mask count, bool of the same shape."""
    return mask >= 0


def pixels_per_value(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of a mask (Y, X) of integers in rising order, `IGNORED` left out, and the number of pixels of each."""
    if mask.dtype.kind == "i":
        mask = mask[counted(mask)]
    if mask.dtype.itemsize > 2 and (not mask.size or mask.max() > LARGEST_LABEL):
        return np.unique(mask, return_counts=True)
    pixels = np.bincount(mask.ravel())
    values = np.flatnonzero(pixels)
    return values, pixels[values]


def values_of(mask: np.ndarray) -> np.ndarray:
    """Values of a mask (Y, X) of integers, in rising order, `IGNORED` left out."""
    return pixels_per_value(mask)[0]


def listed(values: Sequence[int]) -> str:
    """First ten of `values` as text, and the last; there is no end of a sentence within."""
    return ", ".join(str(value) for value in values[:10]) + (f", ..., {values[-1]}" if len(values) > 10 else "")


def table_of_classes(masks: Iterable[np.ndarray], mask_type: str) -> list[dict]:
    """List the classes that occur in any of the masks: id, name, value, group (None) of each.

    Ids are 0 to n - 1, id 0 is background: of two values the lower one (the higher one in inverted masks), else 0, or
    where there is no 0 the lowest value. The others follow in order of value.

    Parameters
    ----------
    masks
        All masks of the training data, each (Y, X), integers; pixels that are `IGNORED` have no class.
    mask_type
        One of `MASK_TYPES`.

    Raises
    ------
    MaskError
        Binary masks of which one holds several values above 0, no foreground at all, over 256 classes, or a value above
        65535.
    """
    masks = list(masks)
    found = [values_of(mask).tolist() for mask in masks]
    values = sorted(set().union(*found))
    if not any(values):
        raise MaskError(NO_FOREGROUND)
    values = values if len(values) > 1 else [0, *values]
    mixed = mask_type != "binary" or any(len([value for value in one if value]) > 1 for one in found)
    if mask_type in ("binary", "inverted", "outlines") and len(values) > 2 and mixed:
        _refuse_values(values, found, mask_type)
    if mask_type == "classes" and (len(values) > 256 or values[-1] > LARGEST_CLASS_VALUE):
        raise MaskError(
            f"The masks hold {len(values)} values up to {values[-1]}, too many for classes. "
            "Write instance labels in the field mask_type if each object has a number of its own.",
            range(len(masks)),
        )
    names = ["background", "foreground"]
    if mask_type == "classes":
        names = ["background", *(f"class {value}" for value in values[1:])]
    else:
        values = [0, 1] if mask_type == "instance labels" else two_values(values, mask_type)
    return [{"id": i, "name": names[i], "value": value, "group": None} for i, value in enumerate(values)]


def two_values(values: Sequence[int], mask_type: str) -> tuple[int, int]:
    """Which of the `values` of a folder of masks of one of `TWO_VALUES` stand for background and foreground."""
    low = min(values) if len(set(values)) > 1 and mask_type != "soft edges" else 0
    high = max([1, *values])
    return (high, low) if mask_type == "inverted" else (low, high)


def all_values(masks: Iterable[np.ndarray]) -> list[int]:
    """Values of all masks together, in rising order, `IGNORED` left out."""
    return sorted(set().union(*(values_of(mask).tolist() for mask in masks)))


def _refuse_values(values: list[int], found: Sequence[Sequence[int]], mask_type: str) -> None:
    """MaskError about masks that should hold two values, but hold more; told are those that hold an unusual one."""
    usual = sorted(values, key=lambda value: -sum(value in one for one in found))[:2]
    odd = [i for i, one in enumerate(found) if set(one) - set(usual)]
    kind = "Binary masks hold" if mask_type == "binary" else f"{mask_type.capitalize()} masks hold"
    raise MaskError(
        f"{kind} 0 and one other value, but these hold {listed(values)}. Save them alike, write soft edges, classes or "
        "instance labels in the field mask_type, or a value that is not to count in the field ignore_value.",
        odd,
    )


def to_class_ids(mask: np.ndarray, classes: Sequence[dict], mask_type: str) -> np.ndarray:
    """Class of each pixel (Y, X): uint8, or int16 with `IGNORED` where pixels may be ignored (also of outlines).

    Parameters
    ----------
    mask
        (Y, X), integers as stored, see `mark_ignored`.
    classes
        See `table_of_classes`.
    mask_type
        One of `MASK_TYPES`; with instance labels, every pixel above 0 is foreground.

    Raises
    ------
    DataError
        A value that is not in the table; more than two values in a binary mask.
    """
    if mask_type == "classes":
        return _with_ignored(_looked_up(mask, classes), mask)
    if mask_type == "instance labels":
        return _with_ignored(mask > 0, mask)
    background, foreground = (entry["value"] for entry in classes[:2])
    if mask_type == "outlines":
        mask = _open_ignored(mask)
    return _with_ignored(to_foreground(mask, mask_type, background, foreground), mask)


def _with_ignored(ids: np.ndarray, mask: np.ndarray, plain: type = np.uint8, signed: type = np.int16) -> np.ndarray:
    """`ids` as `plain` numbers, or, where the `mask` is of a signed type, as `signed` ones with what it ignores."""
    if mask.dtype.kind != "i":
        return ids.astype(plain)
    ids = ids.astype(signed)
    ids[~counted(mask)] = IGNORED
    return ids


def _looked_up(mask: np.ndarray, classes: Sequence[dict]) -> np.ndarray:
    """Class id of each pixel that counts, by its value; DataError for a value that is not in the table."""
    known = [entry["value"] for entry in classes]
    unexpected = np.setdiff1d(values_of(mask), known)
    if len(unexpected):
        raise DataError(
            f"The mask holds the unexpected values {listed(unexpected.tolist())}; known are {listed(known)}. "
            "Give each class the value that it has in the training masks."
        )
    lookup = np.zeros(max(known) + 1, np.uint8)
    lookup[known] = [entry["id"] for entry in classes]
    return lookup[np.maximum(mask, 0)]


def to_foreground(mask: np.ndarray, mask_type: str, background: int, foreground: int) -> np.ndarray:
    """Foreground of a mask of one of `TWO_VALUES`, bool (Y, X).

    Parameters
    ----------
    mask
        (Y, X), integers as stored, see `mark_ignored`.
    background, foreground
        The values that stand for these in the folder. Where one is 0, any value above 0 stands for the other.

    Raises
    ------
    DataError
        More than two values, but for soft edges.
    """
    if mask_type == "soft edges":
        return mask > foreground // 2
    values = values_of(mask)
    pair = {background, foreground}
    if len(values[values > 0]) > 1 and not set(values.tolist()) <= pair:
        raise DataError(
            f"The mask holds the values {listed(values.tolist())}, but a mask of this kind ({mask_type}) holds two. "
            "Save it again, or write classes or instance labels in the field mask_type."
        )
    if mask_type == "outlines":
        return ndimage.binary_fill_holes(mask > 0)
    if foreground == 0:
        return mask == 0
    return mask > 0 if background == 0 else mask == foreground


def to_values(ids: np.ndarray, classes: Sequence[dict]) -> np.ndarray:
    """Mask values of the training masks for class ids (any shape); uint8, or uint16 where a value is above 255."""
    values = np.array([entry["value"] for entry in classes])
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)[ids]


def to_labels(mask: np.ndarray) -> np.ndarray:
    """Number the 8-connected regions of mask > 0 (Y, X) from 1; uint16, or uint32 where there are over 65535."""
    labels, count = label(mask > 0, connectivity=2, return_num=True)
    return labels.astype(np.uint16 if count <= 65535 else np.uint32)


def smallest_part(masks: Iterable[np.ndarray]) -> int:
    """Pixels that a connected part must have to be no speck: half as many as the smallest that was annotated.

    Parameters
    ----------
    masks
        (Y, X) class ids of annotated images; parts are 8-connected regions above 0.

    Returns
    -------
    int
        1 to `LARGEST_SPECK`, 1 where nothing is annotated: then nothing is a speck.
    """
    sizes = [np.bincount(to_labels(mask).ravel())[1:].min() for mask in masks if (mask > 0).any()]
    return min((int(min(sizes, default=1)) + 1) // 2, LARGEST_SPECK)


def remove_specks(ids: np.ndarray, smallest: int) -> None:
    """Set the 8-connected parts of ids > 0 (Y, X) with fewer than `smallest` pixels to 0, in place.

    Band by band, with as many rows around it: no speck reaches further.
    """
    for top in range(0, len(ids) if smallest > 1 else 0, BAND):
        first = max(top - smallest, 0)
        window = ids[first : top + BAND + smallest]
        labels, _ = ndimage.label(window > 0, np.ones((3, 3)))
        small = np.bincount(labels.ravel()) < smallest
        small[0] = False
        band = slice(top - first, top - first + BAND)
        window[band][small[labels[band]]] = 0


def to_objects(
    mask: np.ndarray, mask_type: str, background: int = 0, foreground: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the objects of a mask, numbered from 1 without gaps in the order of their values.

    Parameters
    ----------
    mask
        (Y, X), integers as stored, see `mark_ignored`.
    mask_type
        "instance labels"; "outlines": each enclosed area is an object, with its half of the line; another of
        `TWO_VALUES`: each connected region is an object (`to_labels`), so that objects that touch become one.
    background, foreground
        See `to_foreground`.

    Returns
    -------
    labels
        (Y, X), uint16, or int32 with `IGNORED` where pixels of `mask` may be ignored; 0 is background.
    values
        (n,): the value that label i had in the mask is values[i - 1]; of masks of two values, 1 to n.

    Raises
    ------
    DataError
        More than two values in a binary mask; more than 65535 objects.
    """
    objects = without_ignored(mask)
    if mask_type == "outlines":
        to_foreground(mask, mask_type, background, foreground)
        objects, mask = enclosed_areas(mask > 0), _open_ignored(mask)
    elif mask_type in TWO_VALUES:
        objects = to_labels(to_foreground(mask, mask_type, background, foreground))
    values = values_of(objects)
    values = values[values > 0]
    if len(values) > LARGEST_LABEL:
        raise DataError(
            f"The mask holds {len(values)} objects, but StarDist can tell no more than {LARGEST_LABEL} apart. "
            "Cut image and mask into smaller pieces."
        )
    return _with_ignored(relabel_sequential(objects)[0], mask, np.uint16, np.int32), values


def enclosed_areas(lines: np.ndarray) -> np.ndarray:
    """Label of each area that lines (bool (Y, X)) enclose, each with the half of its line that is nearer to it."""
    areas = label(ndimage.binary_fill_holes(lines) & ~lines, connectivity=1)
    return np.where(lines | (areas > 0), expand_labels(areas, max(lines.shape)), 0)


def _open_ignored(mask: np.ndarray) -> np.ndarray:
    """Mask of outlines, int64, with `IGNORED` where it is not known whether lines and border enclose an object.

    Such areas reach the border and are of the size of objects: less than twice that of the largest enclosed one.
    """
    areas, n = label(mask <= 0, connectivity=1, return_num=True)
    sizes = np.bincount(areas.ravel(), minlength=n + 1)
    at_border = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    enclosed = np.setdiff1d(np.arange(1, n + 1), at_border)
    open_ones = at_border[(at_border > 0) & (sizes[at_border] < 2 * max(sizes[enclosed], default=0))]
    return np.where(np.isin(areas, open_ones), IGNORED, mask.astype(np.int64))


def without_ignored(labels: np.ndarray) -> np.ndarray:
    """Labels (Y, X) with 0 in place of `IGNORED`, for code that knows objects and background only."""
    return np.where(labels == IGNORED, 0, labels) if labels.dtype.kind == "i" else labels


def evenly_chosen(items: Sequence, most: int) -> list:
    """At most `most` of the items, evenly spread over all of them, in order; the first and the last are among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)
    return [items[i] for i in places]
