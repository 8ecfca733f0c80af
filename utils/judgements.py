"""One score of a model on a test set, in a form that two models can be compared in, whatever their task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from utils.intervals import bootstrap_difference


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
    """How much higher the first model scores on the same test images, with its 95 % interval (`bootstrap_difference`).

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
    """
    if list(one.groups) != list(other.groups) or one.headline["name"] != other.headline["name"]:
        raise ValueError("two models can only be compared by the same score on the same test images")
    low, high = bootstrap_difference(one.per_image, other.per_image, one.statistic, one.groups, n, seed)
    return one.value - other.value, float(low), float(high)
