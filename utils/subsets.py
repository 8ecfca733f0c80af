"""Smaller and smaller parts of the labelled images, for the learning curve: nested, stratified, spread over groups."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.errors import DataError, FormError

FEWEST = 2  # one image cannot be both trained on and watched over
SIZES_RULE = f"must be whole numbers of at least {FEWEST} with commas between them, such as 2, 5, 10, 20, 40"


def parse_sizes(text: str) -> list[int]:
    """Read the field sizes: how many labelled images (of each class) the models of the learning curve get.

    Parameters
    ----------
    text : str
        Whole numbers of at least 2, with commas (or semicolons) between them, in any order.

    Returns
    -------
    list of int
        Ascending, each once.

    Raises
    ------
    FormError
        Where anything else is written. `SIZES_RULE` is the rule alone, for a form's own sentence.

    Examples
    --------
    >>> parse_sizes("10, 2,5, 5")
    [2, 5, 10]
    """
    parts = [part.strip() for part in re.split("[,;]", text)]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) >= FEWEST for part in parts):
        raise FormError(f'The field sizes is "{text}" but {SIZES_RULE}.')
    return sorted({int(part) for part in parts})


def nested_orders(groups: Sequence[str], class_ids: Sequence[int] | None, seed: int) -> list[np.ndarray]:
    """Random order of the images of each class, such that the first ones are of as many groups as possible.

    The subset of size n is the first n of every array (`subset`): it holds all smaller ones, n images of each class,
    and of each class min(n, number of groups) groups. So only the number of images changes along the learning curve,
    neither the share of the classes nor, more than must be, the patients or days.

    Parameters
    ----------
    groups : sequence of str
        Group (patient, slide, day) of each image.
    class_ids : sequence of int or None
        Class of each image; None (segmentation) takes all images as one class.
    seed : int
        Of the random order: the same seed gives the same orders.

    Returns
    -------
    list of ndarray of int
        Indices of the images, by ascending class id; one array where there are no classes.
    """
    rng, groups = np.random.default_rng(seed), np.asarray(groups, dtype=str)
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    return [_round_robin(np.flatnonzero(ids == one), groups, rng) for one in np.unique(ids)]


def _round_robin(images: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order of `images`: one of each group, then a second one of each that has two, and so on; groups in one order."""
    images = rng.permutation(images)
    group = np.unique(groups[images], return_inverse=True)[1]
    place = rng.permutation(group.max(initial=-1) + 1)[group]
    earlier = pd.Series(group).groupby(group).cumcount()  # images of the same group before it
    return images[np.lexsort((place, earlier))]


def subset(orders: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Images of the subset with `n` of each class.

    Parameters
    ----------
    orders : sequence of ndarray of int
        As from `nested_orders`.
    n : int
        Images of each class.

    Returns
    -------
    ndarray of int
        Ascending indices.
    """
    return np.sort(np.concatenate([order[:n] for order in orders]))


def check_sizes(
    sizes: Sequence[int], groups: Sequence[str], class_ids: Sequence[int] | None, names: Sequence[str] | None
) -> None:
    """Refuse sizes that the labelled images do not suffice for.

    Parameters
    ----------
    sizes : sequence of int
        Images of each class, as from `parse_sizes`.
    groups, class_ids
        As in `nested_orders`.
    names : sequence of str or None
        Names of the classes by id (0, 1, ...); None for segmentation, where there are only images.

    Raises
    ------
    DataError
        Where a class has no image, one image or images of one group only, or fewer images than the largest size.
    """
    groups = np.asarray(groups, dtype=str)
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    held = [groups[ids == i] for i in range(1 if names is None else len(names))]
    things = ["labelled images"] if names is None else [f'labelled images of the class "{name}"' for name in names]
    for images, of in zip(held, things, strict=True):
        _check_two(images, of)
    fewest = int(np.argmin([len(images) for images in held]))
    most, wanted = len(held[fewest]), max(sizes)
    if wanted > most:
        each = "" if names is None else " of each class"
        raise DataError(
            f"The field sizes asks for {wanted} labelled images{each}, but there are only {most} {things[fewest]} "
            f"besides those set aside for testing. Write sizes up to {most}, or add images."
        )


def _check_two(images: np.ndarray, of: str) -> None:
    """Refuse `images` (their groups) of which nothing is left to watch over training when one part is learned from."""
    remedy = "A learning curve needs at least two: one to learn from, and one to watch over training."
    if len(images) < FEWEST:
        count = "only one" if len(images) else "none"
        raise DataError(f"Of the {of} there is {count} besides those set aside for testing. {remedy} Please add some.")
    if len(set(images)) == 1:
        raise DataError(
            f"All {len(images)} {of} besides those set aside for testing are of one group ({images[0]}). {remedy} "
            "Whole groups are kept together, so please add images of another group, or change the field group_rule."
        )
