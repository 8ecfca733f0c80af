"""What the values of a mask mean: classes, one foreground, or objects."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from skimage.measure import label
from skimage.segmentation import relabel_sequential

from utils.errors import DataError

MASK_TYPES = ("binary", "classes", "instance labels")
MOST_CLASSES = 12  # more values than this are taken for objects unless the user says otherwise
LARGEST_CLASS_VALUE = 65535  # masks of classes are written as 8-bit or 16-bit
MASKS_LABELLED = 20  # counting regions is slow: this many masks tell enough
LARGEST_LABEL = 65535  # StarDist keeps labels in 16 bits
NO_FOREGROUND = "No mask has any foreground: all values are 0. Check that these are the masks."
ASK = "Write binary, classes or instance labels in the field mask_type."


@dataclass
class _Values:
    """What was seen of the values above 0: in how many masks each is, how many regions it forms, values per mask."""

    masks: int = 0
    occurrence: Counter = field(default_factory=Counter)
    per_mask: list[int] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)

    def add(self, mask: np.ndarray) -> None:
        """Count the values of one more mask; only the regions of the first `MASKS_LABELLED` are counted."""
        values = values_of(mask)
        values = values[values > 0]
        if len(values) and self.masks < MASKS_LABELLED:
            self.regions += list(_regions_per_value(mask))
        self.masks += 1
        self.per_mask.append(len(values))
        self.occurrence.update(values.tolist())

    @property
    def recurrence(self) -> float:
        """Mean share of masks (0 to 1) in which a value is found."""
        return float(np.mean(list(self.occurrence.values()))) / self.masks

    @property
    def single(self) -> float:
        """Share (0 to 1) of the pairs of mask and value in which the value is one connected region."""
        return float(np.mean(np.array(self.regions) == 1))


def values_of(mask: np.ndarray) -> np.ndarray:
    """Values of a mask (Y, X) of unsigned integers, in rising order."""
    if mask.dtype.itemsize > 2:
        return np.unique(mask)
    return np.flatnonzero(np.bincount(mask.ravel()))


def _regions_per_value(mask: np.ndarray) -> np.ndarray:
    """Number of 8-connected regions of equal value, for each value above 0."""
    regions, count = label(mask, background=0, connectivity=2, return_num=True)
    value_of_region = np.zeros(count + 1, mask.dtype)
    value_of_region[regions] = mask
    return np.unique(value_of_region[1:], return_counts=True)[1]


def recognise_mask_type(masks: Iterable[np.ndarray]) -> tuple[str, str]:
    """Tell binary masks, masks of classes and instance labels apart: the type, and why, in one sentence for the user.

    One value above 0 is binary. Objects are many values, each (in 80 % of cases) one connected region. Classes are few
    values that recur from mask to mask, and either form several regions each or are far apart (0, 128, 255). Each mask
    is (Y, X), unsigned integers. DataError, which asks for the field mask_type, where it cannot be told.
    """
    seen = _Values()
    for mask in masks:
        seen.add(mask)
    values = sorted(seen.occurrence)
    if not values:
        raise DataError(NO_FOREGROUND)
    if len(values) == 1:
        return "binary", f"The only value besides 0 is {values[0]}."
    few = len(values) <= MOST_CLASSES
    dense = values[-1] <= 2 * len(values)
    stray = seen.masks > 2 and min(seen.occurrence.values()) == 1  # a slip of the pen, or a class that is really rare?
    if (
        few
        and not stray
        and seen.recurrence >= 0.5
        and max(seen.per_mask) > 1
        and (np.mean(seen.regions) >= 2 or not dense)
    ):
        return (
            "classes",
            f"The same few values ({_listed(values)}) recur in most masks, mostly in several regions each.",
        )
    varied = max(seen.per_mask) >= 4 and len(set(seen.per_mask)) > 1
    if seen.single >= 0.8 and (not few or (dense and varied)):
        return "instance labels", f"There are up to {max(seen.per_mask)} values in a mask, each mostly one region."
    raise DataError(f"The masks hold the values {_listed(values)}, which may be classes or single objects. {ASK}")


def _listed(values: Sequence[int]) -> str:
    """First ten of `values` as text."""
    return ", ".join(str(value) for value in values[:10]) + (f" ... {values[-1]}" if len(values) > 10 else "")


def table_of_classes(masks: Iterable[np.ndarray], mask_type: str) -> list[dict]:
    """List the classes that occur in any of the masks: id, name, value, group (None) of each.

    Ids are 0 to n - 1 in order of value, id 0 is background.

    Parameters
    ----------
    masks
        All masks of the training data, each (Y, X), unsigned integers.
    mask_type
        One of `MASK_TYPES`.

    Raises
    ------
    DataError
        Binary masks with different values, no foreground at all, over 256 classes, or a value above 65535.
    """
    values = sorted({0}.union(*(values_of(mask).tolist() for mask in masks)))
    if len(values) < 2:
        raise DataError(NO_FOREGROUND)
    if mask_type == "binary" and len(values) > 2:
        raise DataError(
            f"Binary masks hold 0 and one other value, but these hold {_listed(values)}. "
            "Save them alike, or write classes or instance labels in the field mask_type."
        )
    if mask_type == "classes" and (len(values) > 256 or values[-1] > LARGEST_CLASS_VALUE):
        raise DataError(
            f"The masks hold {len(values)} values up to {values[-1]}, too many for classes. "
            "Write instance labels in the field mask_type if each object has a number of its own."
        )
    if mask_type != "classes":
        values = [0, values[1] if mask_type == "binary" else 1]
    names = (
        ["background", "foreground"] if mask_type != "classes" else ["background", *(f"class {v}" for v in values[1:])]
    )
    return [{"id": i, "name": names[i], "value": value, "group": None} for i, value in enumerate(values)]


def to_class_ids(mask: np.ndarray, classes: Sequence[dict], mask_type: str) -> np.ndarray:
    """Class of each pixel: uint8 (Y, X).

    Parameters
    ----------
    mask
        (Y, X), unsigned integers as stored.
    classes
        See `table_of_classes`.
    mask_type
        One of `MASK_TYPES`; with binary and instance labels, every pixel above 0 is foreground.

    Raises
    ------
    DataError
        A value that is not in the table; more than one value above 0 in a binary mask.
    """
    values = values_of(mask)
    _check_binary(values, mask_type)
    if mask_type != "classes":
        return (mask > 0).astype(np.uint8)
    known = [entry["value"] for entry in classes]
    unexpected = np.setdiff1d(values, known)
    if len(unexpected):
        raise DataError(
            f"The mask holds the unexpected values {_listed(unexpected.tolist())}; known are {_listed(known)}. "
            "Give each class the value that it has in the training masks."
        )
    lookup = np.zeros(max(known) + 1, np.uint8)
    lookup[known] = [entry["id"] for entry in classes]
    return lookup[mask]


def _check_binary(values: np.ndarray, mask_type: str) -> None:
    """Refuse a binary mask with more than one value above 0; `values` (n,) as of `values_of`."""
    if mask_type == "binary" and len(values[values > 0]) > 1:
        raise DataError(
            f"The mask holds the values {_listed(values.tolist())}, but a binary mask holds 0 and one other value. "
            "Save it again, or write classes or instance labels in the field mask_type."
        )


def to_values(ids: np.ndarray, classes: Sequence[dict]) -> np.ndarray:
    """Mask values of the training masks for class ids (any shape); uint8, or uint16 where a value is above 255."""
    values = np.array([entry["value"] for entry in classes])
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)[ids]


def to_labels(mask: np.ndarray) -> np.ndarray:
    """Number the 8-connected regions of mask > 0 (Y, X) from 1; uint16, or uint32 where there are over 65535."""
    labels, count = label(mask > 0, connectivity=2, return_num=True)
    return labels.astype(np.uint16 if count <= 65535 else np.uint32)


def to_objects(mask: np.ndarray, mask_type: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the objects of a mask, numbered from 1 without gaps in the order of their values.

    Parameters
    ----------
    mask
        (Y, X), unsigned integers as stored.
    mask_type
        "binary": each connected region is an object (`to_labels`), so that objects that touch become one; or "instance
        labels".

    Returns
    -------
    labels
        (Y, X), uint16; 0 is background.
    values
        (n,): the value that label i had in the mask is values[i - 1]; of a binary mask, 1 to n.

    Raises
    ------
    DataError
        More than one value above 0 in a binary mask; more than 65535 objects.
    """
    _check_binary(values_of(mask), mask_type)
    mask = to_labels(mask) if mask_type == "binary" else mask
    values = values_of(mask)
    values = values[values > 0]
    if len(values) > LARGEST_LABEL:
        raise DataError(
            f"The mask holds {len(values)} objects, but StarDist can tell no more than {LARGEST_LABEL} apart. "
            "Cut image and mask into smaller pieces."
        )
    return relabel_sequential(mask)[0].astype(np.uint16), values
