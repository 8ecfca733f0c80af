"""What kind of masks these are, and where they may mean something else than they seem: the rules.

Each rule looks at the masks of a whole folder. Where two readings are possible nothing is guessed: `Doubt` says what
was seen and which value of which field stands for which reading.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from skimage.measure import label

from utils.errors import DataError, how_many
from utils.images.masks import (
    IGNORED,
    NO_FOREGROUND,
    MaskError,
    counted,
    evenly_chosen,
    listed,
    pixels_per_value,
    values_of,
)

MOST_CLASSES = 12  # more values than this are taken for objects unless the user says otherwise
MASKS_LOOKED_AT = 20  # counting regions is slow: this many masks, evenly chosen, tell enough
IGNORED_TOPS = (255, 65535)  # the highest values of 8 and 16 bits, by which other programs mark what is not to count
RARE = 1e-3  # share of the marked pixels, below which a value of a single mask may be a slip of the pen
SEVERAL = 3  # masks, of fewer none is odd
NEAR = 0.25  # share of the highest value within which a value is near 0, or near the highest
APART = 0.25  # share of the highest value, below which the others are apart from it
RIM, SOLID = 0.05, 0.3  # share of the pixels that is left when lines of two pixels, or areas, lose their border
LINE = 3  # pixels: half the width of the widest line
ENCLOSED = 2.0  # times the area of the lines that they and what they enclose make up
RESTLESS = 0.2  # share of neighbours that differ: photographs have 0.29 to 0.98, masks 0.00 to 0.03
CALM = 0.05
ANY_NUMBER = "each object has a number of its own"
EACH_CLASS = "each value is a class"


@dataclass(frozen=True)
class Reading:
    """What masks may mean, `when`, and the `value` of the form's `field` that says so."""

    field: str
    value: str
    when: str

    def __str__(self) -> str:
        return f"write {self.value} in the field {self.field} if {self.when}"


class Doubt(MaskError):
    """The masks can be read in several ways: `readings`; `masks` are the indices of those that it is about."""

    def __init__(self, what: str, readings: Sequence[Reading], masks: Sequence[int] = ()):
        text = "; ".join(str(one) for one in readings) or "save the masks again with a number for each object, 0 = none"
        super().__init__(f"{what}. {text[0].upper()}{text[1:]}.", masks)
        self.what, self.readings = what, list(readings)

    def of_objects(self) -> "Doubt":
        """The same without the reading that they are classes, for a task that wants objects."""
        return Doubt(self.what, [one for one in self.readings if one.value != "classes"], self.masks)


@dataclass
class _Values:
    """What was seen of the values: in how many masks each is, how many pixels it has, how many regions it forms."""

    masks: int = 0
    occurrence: Counter = field(default_factory=Counter)
    pixels: Counter = field(default_factory=Counter)
    per_mask: list[int] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)

    def add(self, mask: np.ndarray, regions: bool) -> None:
        """Count the values of one more mask, and the regions that they form if asked for."""
        values, pixels = pixels_per_value(mask)
        marked = values > 0
        if marked.any() and regions:
            self.regions += list(_regions_per_value(mask))
        self.masks += 1
        self.per_mask.append(int(marked.sum()))
        self.occurrence.update(values.tolist())
        self.pixels.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))

    @property
    def above(self) -> list[int]:
        """Values above 0 in rising order."""
        return sorted(value for value in self.occurrence if value > 0)

    @property
    def recurrence(self) -> float:
        """Mean share of masks (0 to 1) in which a value above 0 is found."""
        return float(np.mean([self.occurrence[value] for value in self.above])) / self.masks

    @property
    def single(self) -> float:
        """Share (0 to 1) of the pairs of mask and value in which the value is one connected region."""
        return float(np.mean(np.array(self.regions) == 1))


def _regions_per_value(mask: np.ndarray) -> np.ndarray:
    """Number of 8-connected regions of equal value, for each value above 0."""
    regions, count = label(np.maximum(mask, 0), background=0, connectivity=2, return_num=True)
    value_of_region = np.zeros(count + 1, mask.dtype)
    value_of_region[regions] = np.maximum(mask, 0)
    return np.unique(value_of_region[1:], return_counts=True)[1]


def recognise_mask_type(masks: Iterable[np.ndarray]) -> tuple[str, str]:
    """Tell the kinds of masks apart: the type, and why, in one sentence for the user.

    One value above 0 is binary. Objects are many values, each (in 80 % of cases) one connected region. Classes are few
    values that recur from mask to mask, and either form several regions each or are far apart (0, 128, 255). Many
    values of which those in between are mere rims are binary with soft edges, as after a JPEG.

    Parameters
    ----------
    masks
        Each (Y, X), integers; pixels below 0 do not count.

    Raises
    ------
    Doubt
        Two readings are possible: no 0 anywhere, 255 beside few small values, few values whose middle ones are rims, a
        value with a handful of pixels, lines that enclose areas, islands of 0 in what is marked, or few values that may
        be classes or objects.
    DataError
        There is nothing but 0.
    """
    masks = list(masks)
    seen, chosen = _Values(), set(evenly_chosen(range(len(masks)), MASKS_LOOKED_AT))
    for i, mask in enumerate(masks):
        seen.add(mask, i in chosen)
    if not seen.above:
        raise DataError(NO_FOREGROUND)
    if len(seen.occurrence) == 1:
        raise DataError(f"All pixels that count have the value {seen.above[0]}. Check that these are the masks.")
    some = [masks[i] for i in sorted(chosen)]
    if len(seen.above) == 1:
        _ask_about_two_values(some, masks)
        return "binary", f"The only value besides 0 is {seen.above[0]}."
    few = len(seen.above) <= MOST_CLASSES
    classes = few and _are_classes(seen)
    objects = not classes and _are_objects(seen, few)
    if few and not objects:
        _ask_where_each_has_its_own(seen)
        _ask_about_a_stray_value(seen, masks)
    _ask_about_the_highest(seen, masks)
    if few:
        _ask_where_nothing_is_0(seen)
    if has_soft_edges(some, seen.above[-1]):
        return _soft(seen, masks, some, few)
    if classes:
        why = f"The same few values ({listed(seen.above)}) recur in most masks, mostly in several regions each."
        return "classes", why + ("" if 0 in seen.occurrence else f" None is 0: {seen.above[0]} is the background.")
    if objects:
        refuse_a_background_that_is_not_0(masks)
        return "instance labels", f"There are up to {max(seen.per_mask)} values in a mask, each mostly one region."
    raise _any_of(f"The masks hold the values {listed(seen.above)}", seen)


def _any_of(what: str, seen: _Values) -> Doubt:
    """Doubt between classes (of many values: one foreground with wide soft edges) and objects."""
    readings = [Reading("mask_type", "classes", EACH_CLASS), Reading("mask_type", "instance labels", ANY_NUMBER)]
    if 1 < len(seen.above) <= MOST_CLASSES and 0 in seen.occurrence:
        readings.append(Reading("ignore_value", "0", "0 is what nobody has annotated"))
    if len(seen.above) > MOST_CLASSES:
        top = seen.above[-1]
        readings[0] = Reading(
            "mask_type", "soft edges", f"all up to {top // 2} is background, all above is to be found"
        )
    kinds = "classes" if readings[0].value == "classes" else "one foreground with soft edges"
    return Doubt(f"{what}, which may be {kinds} or single objects", readings, range(seen.masks))


def _are_objects(seen: _Values, few: bool) -> bool:
    """Whether nearly every value is one region: many values, or some that are numbered without gaps."""
    dense = seen.above[-1] <= 2 * len(seen.above)
    varied = max(seen.per_mask) >= 4 and len(set(seen.per_mask)) > 1
    return bool(seen.regions) and seen.single >= 0.8 and (not few or (dense and varied))


def _are_classes(seen: _Values) -> bool:
    """Whether few values recur, in several regions each or far apart."""
    stray = seen.masks >= SEVERAL and min(seen.occurrence[value] for value in seen.above) == 1
    dense = seen.above[-1] <= 2 * len(seen.above)
    scattered = np.mean(seen.regions) >= 2 or not dense
    return bool(not stray and seen.recurrence >= 0.5 and max(seen.per_mask) > 1 and scattered)


def holding(masks: Sequence[np.ndarray], values: Sequence[int]) -> list[int]:
    """Indices of the masks that hold one of the values."""
    return [i for i, mask in enumerate(masks) if np.isin(values, pixels_per_value(mask)[0]).any()]


def _ask_about_the_highest(seen: _Values, masks: Sequence[np.ndarray]) -> None:
    """Doubt where 255 (65535) stands apart from the other values: many programs mark by it what is not to count."""
    values = sorted(seen.occurrence)
    if len(values) < 3 or values[-1] not in IGNORED_TOPS or values[-2] > APART * values[-1]:
        return
    if values[-2] <= 2 * len(values) or len(values) == 3:
        like = ("classes", "a class") if len(values) <= MOST_CLASSES else ("instance labels", "an object")
        readings = [
            Reading("ignore_value", str(values[-1]), "these pixels are not to count"),
            Reading("mask_type", like[0], f"{values[-1]} is {like[1]} like the others"),
        ]
        what = f"The masks hold the values {listed(values[:-1])} and, apart from these, {values[-1]}"
        raise Doubt(what, readings, holding(masks, values[-1:]))


def _ask_where_nothing_is_0(seen: _Values) -> None:
    """Doubt where the masks hold 1 and 2 but no 0, as those of ilastik do: one of them is the background."""
    if 0 in seen.occurrence or len(seen.above) == 1 or (len(seen.above) > 2 and _are_classes(seen)):
        return
    low, high = seen.above[0], seen.above[-1]
    what = f"No mask holds a 0, the values are {listed(seen.above)}"
    if len(seen.above) > 2:
        raise _any_of(what, seen)
    readings = [
        Reading("mask_type", "binary", f"{high} is to be found and {low} is the background"),
        Reading("mask_type", "inverted", f"{low} is to be found and {high} is the background"),
    ]
    raise Doubt(what, readings, range(seen.masks))


def _ask_where_each_has_its_own(seen: _Values) -> None:
    """Doubt where each mask holds one value besides 0, but not all the same one."""
    if 0 not in seen.occurrence or max(seen.per_mask) > 1:
        return
    counts = ", ".join(f"{value} in {seen.occurrence[value]}" for value in seen.above)
    readings = [
        Reading("mask_type", "binary", "all of these values mean the same"),
        Reading("mask_type", "classes", EACH_CLASS),
    ]
    raise Doubt(f"Each mask holds one value besides 0, but not all the same one ({counts})", readings)


def _ask_about_a_stray_value(seen: _Values, masks: Sequence[np.ndarray]) -> None:
    """Doubt where a value or two are in one mask of several only, with hardly a pixel."""
    marked = sum(seen.pixels[value] for value in seen.above)
    stray = [
        value for value in seen.above if seen.occurrence[value] == 1 and seen.pixels[value] < max(2, RARE * marked)
    ]
    if seen.masks < SEVERAL or not 0 < len(stray) <= 2 or len(stray) == len(seen.above):
        return
    number = sum(seen.pixels[value] for value in stray)
    values = " and ".join(map(str, stray))
    words = f"value {values} is" if len(stray) == 1 else f"values {values} are each"
    pixels = how_many(number, "pixel")
    what = f"The {words} found in a single mask only, {pixels} in all"
    readings = [
        Reading("ignore_value", ", ".join(map(str, stray)), "it is a slip of the pen (or mend the file)"),
        Reading("mask_type", "classes", "it is a class that is rare"),
    ]
    raise Doubt(what, readings, holding(masks, stray))


def refuse_a_background_that_is_not_0(masks: Sequence[np.ndarray]) -> None:
    """MaskError where labels of objects have no 0, but a value that covers most of the area: it is no object."""
    if any((mask == 0).any() for mask in masks):
        return
    pixels: Counter = Counter()
    for mask in masks:
        pixels.update(dict(zip(*(part.tolist() for part in pixels_per_value(mask)), strict=True)))
    (value, most), area = pixels.most_common(1)[0], pixels.total()
    if most > 0.5 * area:
        raise MaskError(
            f"No mask holds a 0, but {value} covers {100 * most / area:.0f} % of the area: it is the background. Save "
            "the masks with 0 for it (Fiji: Process > Math > Subtract).",
            range(len(masks)),
        )


def has_soft_edges(masks: Sequence[np.ndarray], top: int) -> bool:
    """Whether all is near 0 or near the highest value `top` but for rims of one or two pixels around solid areas.

    More than half of the pixels that count are 0 or within 2 % of the highest value, as they are not in photographs.
    """
    middle = high = left = solid = plain = number = 0
    for mask in masks:
        between, above = (mask > NEAR / 2 * top) & (mask < (1 - NEAR) * top), mask >= (1 - NEAR) * top
        middle, high = middle + np.count_nonzero(between), high + np.count_nonzero(above)
        left += np.count_nonzero(ndimage.binary_erosion(between, np.ones((3, 3))))
        solid += np.count_nonzero(ndimage.binary_erosion(above, np.ones((3, 3))))
        plain, number = plain + _extremes(mask, top), number + np.count_nonzero(counted(mask))
    return plain > 0.5 * number and top >= 2 and left <= RIM * middle and middle < high and solid > SOLID * high


def _extremes(mask: np.ndarray, top: int) -> int:
    """Number of the pixels that are 0 or nearly the highest value `top`: most are in masks, hardly any in images."""
    return np.count_nonzero((mask == 0) | (mask >= 0.98 * top))


def _soft(seen: _Values, masks: Sequence[np.ndarray], some: Sequence[np.ndarray], few: bool) -> tuple[str, str]:
    """Masks with soft edges where only that can be, else a doubt."""
    values, top = sorted(seen.occurrence), seen.above[-1]
    near_top = sum(value >= (1 - NEAR) * top for value in values)
    near_zero = sum(value <= NEAR * top for value in values)
    if not few or (near_top > 1 and near_zero > 1 and len(values) > 4):
        why = f"Values between 0 and {top} are edges only (once a JPEG, or smoothed): above {top // 2} counts."
        clear = [np.where(counted(mask), mask > top // 2, IGNORED) for mask in some]
        if look_inverted(clear):
            what = (
                f"{why[:-1]}, but this covers {100 * marked_share(clear):.0f} % of the area, and the rest are islands"
            )
            reading = Reading("mask_type", "soft edges", "that is right, or invert the masks (Fiji: Edit > Invert)")
            raise Doubt(what, [reading], range(len(masks)))
        return "soft edges", why
    between = [value for value in values if 0 < value < top]
    what = f"Values between 0 and {top} ({listed(between)}) form rims of one or two pixels only"
    readings = [
        Reading("mask_type", "soft edges", f"they are edges: above {top // 2} then counts as foreground"),
        Reading("mask_type", "classes", EACH_CLASS),
    ]
    raise Doubt(what, readings, holding(masks, between))


def _ask_about_two_values(some: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> None:
    """Doubt where binary masks may be outlines, or have foreground and background swapped."""
    if are_outlines(some):
        what = "What is marked are lines of a few pixels, which enclose areas"
        readings = [
            Reading("mask_type", "outlines", "what the lines enclose is to be found"),
            Reading("mask_type", "binary", "the lines themselves are"),
        ]
        raise Doubt(what, readings, [i for i, mask in enumerate(masks) if (mask > 0).any()])
    if look_inverted(some):
        what = (
            f"What is marked covers {100 * marked_share(masks):.0f} % of the area and reaches the border all around, "
            "what is not (0) lies in islands"
        )
        readings = [
            Reading("mask_type", "inverted", "the islands are to be found"),
            Reading("mask_type", "binary", "what is marked is to be found"),
        ]
        raise Doubt(what, readings, [i for i, mask in enumerate(masks) if marked_share([mask]) > 0.5])


def marked_share(masks: Sequence[np.ndarray]) -> float:
    """Share (0 to 1) of the pixels that count which are above 0."""
    number = sum(np.count_nonzero(counted(mask)) for mask in masks)
    return sum(np.count_nonzero(mask > 0) for mask in masks) / max(1, number)


def are_outlines(masks: Sequence[np.ndarray]) -> bool:
    """Whether all that is above 0 are lines, at most six pixels wide, which enclose at least as much as they cover."""
    marked = [mask > 0 for mask in masks]
    lines = sum(np.count_nonzero(one) for one in marked)
    if not lines or sum(np.count_nonzero(_wide(one)) for one in marked) > RIM * lines:
        return False
    return sum(np.count_nonzero(ndimage.binary_fill_holes(one)) for one in marked) >= ENCLOSED * lines


def _wide(marked: np.ndarray) -> np.ndarray:
    """Pixels of a bool mask (Y, X), but for its border, from which it reaches `LINE` pixels in all four directions."""
    inner, n = slice(LINE, -LINE), 2 * LINE
    rows, columns = marked[:, inner], marked[inner]
    return marked[inner, inner] & rows[:-n] & rows[n:] & columns[:, :-n] & columns[:, n:]


def look_inverted(masks: Sequence[np.ndarray]) -> bool:
    """Whether what is above 0 covers most of the area and of the border, and most of what is 0 lies in islands."""
    masks = [mask for mask in masks if (mask > 0).any() and (mask == 0).any()]
    if not masks or marked_share(masks) <= 0.5:
        return False
    border = np.concatenate([np.concatenate([one[0], one[-1], one[:, 0], one[:, -1]]) for one in masks])
    islands = pieces = parts = zeros = 0
    for mask in masks:
        regions, n = label(mask == 0, connectivity=1, return_num=True)
        at_border = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
        zeros += np.count_nonzero(regions)
        islands += np.count_nonzero(~np.isin(regions, [0, *at_border]))
        pieces, parts = pieces + n, parts + label(mask > 0, connectivity=2, return_num=True)[1]
    return (border > 0).mean() > 0.5 and islands > 0.5 * zeros and pieces >= parts


def restlessness(plane: np.ndarray) -> float:
    """Share (0 to 1) of horizontal neighbours, both above 0, that differ; NaN without any. Of an integer (Y, X)."""
    one, other = plane[:, 1:], plane[:, :-1]
    both = (one > 0) & (other > 0)
    return float(((one != other) & both).sum() / both.sum()) if both.any() else float("nan")


def looks_like_photograph(mask: np.ndarray, may_be_soft: bool = False) -> bool:
    """Whether a mask (Y, X) holds many values that change from pixel to pixel, which areas do not.

    Areas that a JPEG has smeared do so at their rims; they are told by `has_soft_edges`. Masks that `may_be_soft`, with
    edges wider than these, need to be more than half of 0 and the highest value.
    """
    if len(values_of(mask)) <= MOST_CLASSES or not restlessness(mask) > RESTLESS:
        return False
    top, number = int(mask.max()), np.count_nonzero(counted(mask))
    return not (has_soft_edges([mask], top) or (may_be_soft and _extremes(mask, top) > 0.5 * number))


def looks_like_mask(array: np.ndarray) -> bool:
    """Whether an image (Y, X, C) is of whole numbers that are equal in all channels and in neighbouring pixels."""
    plane = array[..., 0]
    grey = array.dtype.kind == "u" and (array == array[..., :1]).all()
    return bool(grey and restlessness(plane) < CALM)
