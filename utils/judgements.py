"""One score of a model on a test set, in a form that two models can be compared in, whatever their task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.intervals import bootstrap


@dataclass(frozen=True)
class Judgement:
    """The headline score of a model on a test set.

    Attributes
    ----------
    headline : dict
        name, value, low, high, meaning.
    per_image : ndarray, shape (n_images, ...)
        What is summed over the images to get the score, for instance confusion matrices.
    statistic : callable
        Maps sums (n, ...) to scores (n,).
    groups : sequence of str
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


def paired_difference(one: Judgement, other: Judgement, n: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """How much higher the first model scores on the same test images, with its 95 % bootstrap interval.

    Both models are scored on the images of each draw: what makes an image hard is hard for both and cancels out, so
    that the interval is narrower, and nearer the truth, than that of two scores side by side.

    Parameters
    ----------
    one, other
        Of the same test images in the same order.
    n, seed
        Number of bootstrap draws, and their seed.

    Returns
    -------
    difference, low, high : float
        The interval is NaN for fewer than three images or groups.

    Raises
    ------
    ValueError
        The test sets differ.

    References
    ----------
    Efron B, Tibshirani RJ (1993) An Introduction to the Bootstrap, chapter 13.
    """
    if list(one.groups) != list(other.groups) or one.headline["name"] != other.headline["name"]:
        raise ValueError("two models can only be compared by the same score on the same test images")
    pairs = np.stack([one.per_image, other.per_image], axis=1)

    def difference(sums: np.ndarray) -> np.ndarray:
        return one.statistic(sums[:, 0]) - other.statistic(sums[:, 1])

    low, high = bootstrap(pairs, difference, groups=one.groups, n=n, seed=seed)
    return one.value - other.value, float(low), float(high)
