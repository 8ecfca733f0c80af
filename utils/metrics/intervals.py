"""How sure a score is: intervals over the images or patients of the test set that hold for few images, too.

Every score here is a function of sums over images. An interval follows from how much each image (or each group of
images, which are not independent) moves the score: its influence. From the influences comes the number of independent
images, each right or wrong, that would tell as much: five images that are each right or wrong are five, five images
with an IoU of 0.88 to 0.92 are hundreds. That number goes into Wilson's interval for shares, which has a width even
where nothing was wrong. Where a few images carry most of what is lost, there may be more such images than were met: the
more it is by few, the more each image counts as one that is right or wrong, whatever its degree.
`tests/benchmarks/intervals.py` shows how often the intervals hold the true score.

References
----------
Wilson EB (1927) J Am Stat Assoc 22:209, doi:10.1080/01621459.1927.10502953; effective numbers for clustered shares,
with Student's t: Korn EL, Graubard BI (1998) Surv Methodol 24:193; influences (the infinitesimal jackknife): Efron B
(1981) Biometrika 68:589, doi:10.1093/biomet/68.3.589; differences: Newcombe RG (1998) Stat Med 17:2635,
doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t

FEWEST_UNITS = 3
FEW_UNITS = 20
MOST_COUNTS = 1 << 22  # held at once: numbers of the images whose influence is found
STEP = 1e-4  # of an image, taken in or out to see what it moves
NOTHING = 1e-9  # below this an influence is rounding
LEVEL = 0.95
Z = float(norm.ppf((1 + LEVEL) / 2))
BORROWED = 3  # images by which the part of a mean is drawn to the mean: see `mean_of`


def resampling_units(groups: Sequence[str] | None, n_images: int) -> np.ndarray:
    """Number the units, from 0, that belong together: groups where a group has several images, else images.

    `groups` is the group (patient, slide, day) of each image; None means that each image stands alone. ValueError where
    there is not one group per image.
    """
    if groups is None:
        return np.arange(n_images)
    if len(groups) != n_images:
        raise ValueError(f"{len(groups)} groups were given for {n_images} images")
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]


@dataclass(frozen=True)
class Estimate:
    """Scores of one model on n_units images or groups of images, and what their intervals need.

    Attributes
    ----------
    value
        Scores (n_scores,), 0 to `most`; NaN where a score is not defined.
    influence
        What each unit moves the scores by, (n_units, n_scores), in parts of `most`.
    counted
        Whether the unit takes part in a score, bool (n_units, n_scores).
    number
        As how many independent images that are right or wrong the units count, (n_scores,); NaN for fewer than three
        units.
    graded
        0 where units are right or wrong, near 1 where they are much alike in how right they are, (n_scores,).
    most
        Largest value of each score, () or (n_scores,).
    """

    value: np.ndarray
    influence: np.ndarray
    counted: np.ndarray
    number: np.ndarray
    graded: np.ndarray
    most: np.ndarray | float = 1.0

    def of(self, places: Sequence[int]) -> "Estimate":
        """Some of the scores, by their places."""
        places, most = list(places), np.broadcast_to(self.most, self.value.shape)
        parts = (self.value, self.influence, self.counted, self.number, self.graded, most)
        return Estimate(*(part[..., places] for part in parts))

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high end of the 95 % interval, each (n_scores,); NaN where there is none."""
        share = self.value / self.most
        inside = share * (1 - share) > NOTHING
        alike = np.where(inside, self.graded, 0.0)
        half = Z / np.sqrt(self.number * np.where(inside, share * (1 - share), 1.0))
        middle = logit(np.where(inside, share, 0.5))
        pairs = zip(wilson(share, self.number), (expit(middle - half), expit(middle + half)), strict=True)
        low, high = ((1 - alike) * wrong_or_right + alike * by_degrees for wrong_or_right, by_degrees in pairs)
        widest = wilson(share, np.minimum(self.number, self._units))
        lost, right = self._by_few(1 - share), self._by_few(share)
        low, high = (1 - lost) * low + lost * widest[0], (1 - right) * high + right * widest[1]
        return low * self.most, high * self.most

    @property
    def _units(self) -> np.ndarray:
        return np.maximum(self.counted.sum(axis=0), 1)

    def _by_few(self, part: np.ndarray) -> np.ndarray:
        """Whether few units carry a part of the score, what is lost or what is right: 0 all of them alike, 1 only one.

        It is the squared coefficient of variation of the mean of what each unit has of it: 1 where one has all.
        """
        variance = self._units / np.maximum(self._units - 1, 1) * (self.influence**2).sum(axis=0)
        return np.minimum(variance / np.where(part > NOTHING, part, np.inf) ** 2, 1.0)


def wilson(share: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of Wilson's 95 % interval of a share (0 to 1) of a number of images, which need not be whole."""
    k = Z**2 / number
    middle, half = (share + k / 2) / (1 + k), np.sqrt(k * (np.maximum(share * (1 - share), 0.0) + k / 4)) / (1 + k)
    low, high = np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
    return np.where(share <= 0, 0.0 * low, low), np.where(share >= 1, 1.0 + 0.0 * high, high)  # exactly, or NaN


def estimate(
    per_unit: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    groups: Sequence[str] | None = None,
    most: np.ndarray | float = 1.0,
) -> Estimate:
    """Scores that are functions of sums over images, and what their intervals need.

    Parameters
    ----------
    per_unit
        (n_images, ...): what is summed over images, for instance confusion matrices (n_images, n_classes, n_classes).
    statistic
        Maps sums (n, ...) to scores (n,) or (n, n_scores).
    groups
        Group of each image; None means that each image stands alone. Images of one patient resemble each other: such a
        group counts as one.
    most
        Largest value of the scores, () or (n_scores,).
    """
    per_unit = np.asarray(per_unit, dtype=np.float64)
    units = resampling_units(groups, len(per_unit))
    sums = np.zeros((int(units.max(initial=-1)) + 1, *per_unit.shape[1:]))
    np.add.at(sums, units, per_unit)
    total = sums.sum(axis=0, keepdims=True)

    def scores(of: np.ndarray) -> np.ndarray:
        return np.reshape(statistic(of), (len(of), -1)) / most

    at_once = max(1, MOST_COUNTS // max(1, total.size))
    parts = [sums[i : i + at_once] for i in range(0, len(sums), at_once)]
    moved = [(scores(total + STEP * one) - scores(total - STEP * one)) / (2 * STEP) for one in parts]
    influence = np.nan_to_num(np.concatenate(moved))
    counted = np.concatenate([np.isfinite(scores(one)) for one in parts]) | (np.abs(influence) > NOTHING)
    share = scores(total)[0]
    number, graded = _effective(share, influence, counted)
    return Estimate(share * most, influence, counted, number, graded, most)


def _effective(share: np.ndarray, influence: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`number` and `graded` of `Estimate`.

    n units that are each right or wrong have the variance share (1 - share) / n, and count as n. With a smaller
    variance they count as more; but then it was estimated, from n - 1 differences, which Student's t makes up for.
    Where no unit moves the score (all are right, or all are wrong) each counts as one.
    """
    variance, n = (influence**2).sum(axis=0), np.maximum(counted.sum(axis=0), 1)
    seen = (variance > NOTHING**2) & (share * (1 - share) > NOTHING)
    spread = np.where(seen, variance * n / np.where(seen, share * (1 - share), 1.0), 1.0)
    graded = np.clip(1 - spread, 0.0, 1.0)
    spread *= 1 + graded / np.maximum(n - 1, 1)
    freedom = np.maximum(n - 1, 1) / np.maximum(graded, NOTHING)
    number = n / spread * (Z / t.ppf((1 + LEVEL) / 2, freedom)) ** 2
    return np.where((len(influence) >= FEWEST_UNITS) & np.isfinite(share), number, np.nan), graded


def mean_of(parts: Estimate) -> Estimate:
    """The mean of scores from 0 to 1 (the recalls of classes, say), those without a value left out, as one score.

    The influences tell how the parts go together: recalls of classes not at all where images stand alone, but where
    patients have images of all classes. The variance of each part is that at a value drawn to the mean by three
    images: a class with two images, both right, is not certain.
    """
    known = np.flatnonzero(np.isfinite(parts.value))
    if not len(known):
        return parts.of([0])
    parts, mean = parts.of(known), parts.value[known].mean()
    drawn = (parts.number * parts.value + BORROWED * mean) / (parts.number + BORROWED)
    inside = mean * (1 - mean) > NOTHING
    error = np.sqrt((drawn * (1 - drawn) / (mean * (1 - mean)) if inside else 1.0) / parts.number)
    together = _correlations(parts.influence, parts.counted)
    return Estimate(
        np.array([mean]),
        parts.influence.mean(axis=1, keepdims=True),
        parts.counted.any(axis=1, keepdims=True),
        np.array([len(known) ** 2 / (error @ together @ error)]),
        parts.graded.mean(keepdims=True),
    )


def _correlations(influence: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Correlations (n_scores, n_scores) of scores; of those that no unit moves, the share of units in common.

    Never below 0: of three patients some cancel out by chance.
    """
    size = np.sqrt((influence**2).sum(axis=0))
    moved = size > NOTHING
    unit = influence / np.where(moved, size, 1.0)
    common = counted / np.sqrt(np.maximum(counted.sum(axis=0), 1))
    return np.where(moved[:, None] & moved, np.maximum(unit.T @ unit, 0.0), common.T @ common)


def difference(one: Estimate, other: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval, low and high (n_scores,), of the differences of the scores of two models on the same images.

    What makes an image hard is hard for both and cancels out, so that the interval is narrower than that of two scores
    side by side: Newcombe's method, from the interval of each score and the correlation of their influences. Of images
    that are right or wrong, few may by chance be so for both models alike: one in n is taken off the correlation.
    """
    sizes = [np.sqrt((each.influence**2).sum(axis=0)) for each in (one, other)]
    moved = (sizes[0] > NOTHING) & (sizes[1] > NOTHING)
    product = (one.influence * other.influence).sum(axis=0)
    alike, n = np.minimum(one.graded, other.graded), np.maximum((one.counted | other.counted).sum(axis=0), 1)
    together = np.where(moved, product / np.where(moved, sizes[0] * sizes[1], 1.0), 0.0) * (1 - (1 - alike) / n)
    (low, high), (other_low, other_high) = one.ends, other.ends

    def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(first**2 - 2 * together * first * second + second**2, 0.0))

    found = one.value - other.value
    below = distance(one.value - low, other_high - other.value)
    return found - below, found + distance(high - one.value, other.value - other_low)


def interval_note(groups: Sequence[str]) -> str:
    """Say in a report what the intervals are from (`groups`: of each test image), and what they cannot know.

    In simulations they held the true score in 90 to 98 % of test sets of 5, 12 and 30 images
    (`tests/benchmarks/README.md`), also where one image in ten fails altogether.
    """
    n_units = len(set(map(str, groups)))
    unit = "images" if n_units == len(groups) else "groups"
    if n_units < FEWEST_UNITS:
        verb = "is" if n_units == 1 else "are"
        return (
            f"No intervals: they need at least {FEWEST_UNITS} {unit} in the test set, and there {verb} only {n_units}."
        )
    note = f"{100 * LEVEL:.0f} % intervals from the {n_units} {unit} of the test set."
    rare = f" Among so few, a rare kind of {unit.rstrip('s')} on which the model fails may be missing."
    return note + (rare if n_units < FEW_UNITS else "")


UNKNOWN = "unknown"  # where nothing could be measured


def in_words(value: float) -> str:
    """A score with two digits, or that it is unknown."""
    return UNKNOWN if np.isnan(value) else f"{value:.2f}"


@dataclass(frozen=True)
class Judgement:
    """The headline score of a model on a test set.

    Attributes
    ----------
    headline
        name, value, low, high, meaning.
    per_image, statistic
        What is summed over the images to get the score (n_images, ...), for instance confusion matrices, and what maps
        sums (n, ...) to the score (n,), or to the parts that it is the mean of (n, n_parts), as the recalls of classes.
    groups
        Group of each image (patient, slide, day).
    """

    headline: dict
    per_image: np.ndarray
    statistic: Callable[[np.ndarray], np.ndarray]
    groups: Sequence[str]

    @property
    def value(self) -> float:
        """The score, 0 to 1; NaN where there is nothing to score."""
        return float(self.headline["value"])

    @property
    def estimate(self) -> Estimate:
        """What the interval of the score needs."""
        parts = estimate(self.per_image, self.statistic, self.groups)
        return mean_of(parts) if len(parts.value) > 1 else parts


def paired_difference(one: Judgement, other: Judgement) -> tuple[float, float, float]:
    """How much higher the first model scores on the same test images, and its 95 % interval (`difference`).

    Both are of the same test images in the same order; ValueError where their groups, the names of their scores or the
    number of classes differ. The interval is NaN for fewer than three images or groups.
    """
    if list(one.groups) != list(other.groups) or one.headline["name"] != other.headline["name"]:
        raise ValueError("two models can only be compared by the same score on the same test images")
    if np.shape(one.per_image) != np.shape(other.per_image):
        raise ValueError("two models can only be compared on the same classes")
    low, high = difference(one.estimate, other.estimate)
    return one.value - other.value, float(low[0]), float(high[0])
