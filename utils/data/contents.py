"""What each image holds of what is to be learned, and whether every role of the split has its part of it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.errors import DataError

SCALE = 1000  # amounts are whole numbers, so that sums are exact
MOST_LISTED = 3
SO_THAT = {
    "validation": "so that the choice of the best weights does not look at it",
    "test": "so that how well it is found stays unknown",
}


def contents(examples: Sequence[Example], classes: Sequence[dict], annotation: str) -> pd.DataFrame:
    """How much each image holds of what is to be learned.

    Parameters
    ----------
    examples, classes
        Annotated images and their class table.
    annotation
        "classes" or "objects", see `utils.data.examples.load_examples`.

    Returns
    -------
    DataFrame
        One row for each image. First column "foreground" or "objects", then the classes by name (of objects only where
        there are several). Whole numbers, 0 where there is none: square roots of share of the area or of the number of
        objects, so that an image full of a class does not outweigh all others, nor a few stray pixels stand for one.
    """
    found = np.stack([_amounts(one, len(classes), annotation) for one in examples])
    names = [str(one["name"]) for one in classes]
    shown = range(int(annotation == "objects"), len(names) if len(names) > 2 else 1)  # one class is all foreground
    columns = [found[:, 1:].sum(axis=1), *(found[:, i] for i in shown)]
    named = ["objects" if annotation == "objects" else "foreground", *(names[i] for i in shown)]
    return pd.DataFrame(np.ceil(SCALE * np.sqrt(np.stack(columns, axis=1))).astype(int), columns=named)


def _amounts(example: Example, n_classes: int, annotation: str) -> list[float]:
    """Share of the area (0 to 1), or number of objects, of each class, background first."""
    mask, others = example.mask, range(1, n_classes)
    if annotation == "classes":
        shares = [np.count_nonzero(mask == i) / mask.size for i in others]
        return [np.count_nonzero(mask == 0) / mask.size, *shares]
    if example.object_classes is None:
        return [0, int(mask.max()), *[0] * (n_classes - 2)]
    of_class = list(example.object_classes.values())
    return [0, *(of_class.count(i) for i in others)]


def check_roles(table: pd.DataFrame, groups: Sequence[str], roles: Sequence[str], names: Sequence[str]) -> None:
    """Refuse, by a DataError, a split from which nothing could be learned, or not every class.

    Parameters
    ----------
    table
        From `contents`.
    groups, roles, names
        Group, role and file name of each image.
    """
    held, groups, roles = table.to_numpy() > 0, np.asarray(groups, str), np.asarray(roles, str)
    if len(set(groups[held[:, 0]])) < 2:
        raise DataError(_too_few(table.columns[0], held[:, 0], groups, names))
    untrained = _missing(table, roles == "training")
    if untrained or not held[roles == "validation", 0].any():
        rare = [name for name in table if len(set(groups[table[name] > 0])) == 1]
        spared = ", or set percentage_test to 0" if (roles == "test").any() else ""
        raise DataError(
            f"{' and '.join(rare or untrained)} must be learned from, but only one {_unit(groups)} each holds "
            f"{'them' if len(rare) > 1 else 'it'}: nothing is left to watch over the training or for the test. "
            f"Add images that hold more of them{spared}."
        )


def _missing(table: pd.DataFrame, chosen: np.ndarray) -> list[str]:
    """What some image holds, but none of the `chosen` ones (n,)."""
    return [name for name in table if table[name].any() and not table.loc[chosen, name].any()]


def _unit(groups: np.ndarray) -> str:
    """What is shared out: images, where every image is a group of its own, else groups."""
    return "image" if len(set(groups)) == len(groups) else "group"


def _too_few(what: str, holding: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> str:
    """Message that too few images hold what is to be found; `holding` (n,) says which do."""
    n, images = len(holding), [name for name, one in zip(names, holding, strict=True) if one]
    if not images:
        return (
            f"None of the {n} masks marks any {what}: there is nothing to learn. Check that they are the right masks."
        )
    shown = ", ".join(images[:MOST_LISTED]) + (" ..." if len(images) > MOST_LISTED else "")
    hold = "holds" if len(images) == 1 else "hold"
    one_group = "" if len(images) == 1 else f", all of one group ({groups[holding][0]})"
    return (
        f"Only {len(images)} of the {n} images ({shown}) {hold} {what}{one_group}, but at least two {_unit(groups)}s "
        f"must: one to learn from, and one to watch over the training. Add images with {what}, or annotate more."
    )


def lacking(table: pd.DataFrame, roles: Sequence[str]) -> list[Problem]:
    """Warn of what no validation image, or no test image, holds; `table` is that of `contents`."""
    roles, problems = np.asarray(roles, str), []
    for role, so_that in SO_THAT.items():
        missing = _missing(table, roles == role)
        if (roles == role).any() and missing:
            what = f"none holds {' or '.join(missing[:1] if missing[0] == table.columns[0] else missing)}, {so_that}"
            remedy = "Add images that hold it, of several groups if there are groups, or annotate more."
            problems.append(Problem("warning", f"{role} images", what, remedy))
    return problems
