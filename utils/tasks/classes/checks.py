"""How many images there are of each class, whether they are enough to learn and judge it, and how large they are."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from utils.data.crop_files import listing
from utils.data.crops import Crop, CropSet
from utils.data.problems import Problem
from utils.data.splits import ROLES

FEWEST_TO_LEARN = 10
FEWEST_TO_JUDGE = 10


def class_counts(crop_set: CropSet, roles: Sequence[str], test: CropSet | None = None) -> pd.DataFrame:
    """Count the images of each class: class, broad class ("" for none), training, validation, test, total.

    One row per class in the order of the class table, then the row "all" of totals. `roles` has "training",
    "validation" or "test" for each crop; `test` are images from a folder of their own, read with the same classes.
    """
    crops = [*zip(crop_set.crops, roles, strict=True), *((crop, "test") for crop in (test.crops if test else ()))]
    counts = np.zeros((len(crop_set.classes), len(ROLES)), int)
    for crop, role in crops:
        counts[crop.class_id, ROLES.index(role)] += 1
    table = pd.DataFrame(counts, columns=list(ROLES))
    table.insert(0, "class", [entry["name"] for entry in crop_set.classes])
    table.insert(1, "broad class", [entry["group"] or "" for entry in crop_set.classes])
    table.loc[len(table)] = ["all", "", *counts.sum(axis=0)]
    return table.assign(total=table[list(ROLES)].sum(axis=1))


def amount_problems(crop_set: CropSet, roles: Sequence[str], test: CropSet | None = None) -> list[Problem]:
    """Warn of classes that have too few images; arguments as in `class_counts`.

    A class may have fewer than `FEWEST_TO_LEARN` training images, none for validation, or fewer than `FEWEST_TO_JUDGE`
    test images, told with the 95 % interval that its recall would have. Without any test image there is nothing to
    judge, and nothing is said about that.
    """
    counts = class_counts(crop_set, roles, test)
    judged = counts["test"].iloc[-1] > 0
    problems = []
    for row in counts.iloc[:-1].to_dict("records"):
        problems += [_too_few_to_learn(row)] if row["training"] < FEWEST_TO_LEARN else []
        problems += [_not_validated(row)] if row["validation"] == 0 else []
        problems += [_too_few_to_judge(row)] if judged and row["test"] < FEWEST_TO_JUDGE else []
    return problems


def _too_few_to_learn(row: dict) -> Problem:
    """Problem of a class with few training images."""
    what = f"{row['training']} training images are too few to learn it well"
    remedy = f"Add images (at least {FEWEST_TO_LEARN}, better 50 and more), or join it with a similar class."
    return Problem("warning", f"class {row['class']}", what, remedy)


def _not_validated(row: dict) -> Problem:
    """Problem of a class that plays no part when the best epoch is chosen."""
    what = "no validation image, so that the choice of the best weights does not look at it"
    return Problem("warning", f"class {row['class']}", what, "Add images of it, in groups other than those there are.")


def _too_few_to_judge(row: dict) -> Problem:
    """Problem of a class with few test images, with what can be said of its recall in words."""
    n = row["test"]
    if n == 0:
        return Problem("warning", f"class {row['class']}", "no test image, so that it is not judged", "Add some.")
    found, are = round(0.8 * n), "image is" if n == 1 else "images are"
    low, high = binomtest(found, n).proportion_ci(method="wilson")
    what = (
        f"{n} test {are} too few to judge it: with {found} of {n} found, the share that is found among all such "
        f"images may be anything from {100 * low:.0f} to {100 * high:.0f} % (95 % interval)"
    )
    return Problem("warning", f"class {row['class']}", what, "Add test images before trusting its scores.")


def shared_groups(crop_set: CropSet, test: CropSet) -> list[Problem]:
    """Tell which groups (patients, slides, days) have images both in a test folder and among those trained on.

    At most one warning: groups of one name may be different ones, which only the user knows. Images that stand alone do
    not count: their group is their own name.
    """
    shared = sorted(_named_groups(crop_set.crops) & _named_groups(test.crops))
    if not shared:
        return []
    what = f"the groups {listing(shared)} have test images and training images"
    remedy = "If they are the same patients, slides or days, the scores will be too good: take them out of one side."
    return [Problem("warning", "test images", what, remedy)]


def _named_groups(crops: Sequence[Crop]) -> set[str]:
    """Groups that are not just the name of their image."""
    return {crop.group for crop in crops if crop.group != PurePosixPath(crop.name).with_suffix("").as_posix()}


def usual_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Most frequent of the sizes (Y, X); the larger area among equally frequent ones."""
    counts = Counter((int(y), int(x)) for y, x in sizes)
    return max(counts, key=lambda size: (counts[size], size[0] * size[1], size))


def size_note(sizes: Sequence[tuple[int, int]]) -> str:
    """Say in a sentence or two which size (Y, X) in pixels is the most frequent, and how far the others are from it."""
    usual = usual_size(sizes)
    n = sum((y, x) == usual for y, x in sizes)
    if n == len(sizes):
        return f"All {n} images are {usual[0]} x {usual[1]} pixels (height x width)."
    (low_y, low_x), (high_y, high_x) = np.min(sizes, axis=0), np.max(sizes, axis=0)
    return (
        f"Most frequent size: {usual[0]} x {usual[1]} pixels (height x width), {n} of {len(sizes)} images; "
        f"heights from {low_y} to {high_y}, widths from {low_x} to {high_x} pixels."
    )
