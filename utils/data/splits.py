"""Which images train, which validate and which test: whole images, whole groups, written down."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from utils.errors import DataError, how_many
from utils.files import file_sha256, write_csv

FEW, MANY = 10, 30  # images, between which the share that watches over a training falls
ROLES = ("training", "validation", "test")
FOLD = "fold"  # column of a split table: in which part an image is tested, where all images are tested in turn
FOLDS = 5  # such parts, at most
DRAWS = 100  # random orders of the groups, of which the one closest to the percentages is taken
ALLOCATIONS = 20  # beginnings of which the best result is taken; fewer where there are many groups
GROUPS_SEEN = 20_000  # in all draws together
MOVES = 50  # of single groups, at most
FAIR = 0.25  # part of the usual amount that each role's images hold at least, else they are shared out anew
IMAGES_FIRST = 10  # how much more the number of images weighs than all that they hold
FEW_GROUPS = 100  # so few are also moved to come closer to the percentages; more are close to them anyway
# Weights far enough apart that no amount of the later outweighs one of the earlier.
UNTRAINED, EMPTY, ABSENT = 1e9, 1e6, 1e3


def split(
    groups: Sequence[str],
    percentage_test: float,
    percentage_validation: float,
    seed: int,
    amounts: np.ndarray | None = None,
) -> np.ndarray:
    """Share out images by whole groups: "training", "validation" or "test" for each image.

    Groups are drawn at random. Where a role gets much less than its part of what the images hold, such as no image of a
    rare class, they are shared out anew by what they hold, see `allocate`.

    Parameters
    ----------
    groups
        Group of each image.
    percentage_test, percentage_validation
        Of all images, 0 to 100, above 0 at least one group; of the images that remain, at least one group.
    seed
        The same groups and seed give the same roles, in whatever order the images come.
    amounts
        (n, things), whole numbers: how much of each thing to be learned an image holds. Where two groups hold the first
        of them, foreground as a whole, it is in training and in validation, where three do also in the test. Of every
        other, training is served first, then the test, then validation. None: images are alike.

    Raises
    ------
    DataError
        Where there are too few groups to fill each role.
    """
    names, inverse, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    _check_number_of_groups(len(groups), len(names), percentage_test)
    rng = np.random.default_rng(seed)
    filled = ["training", "test", "validation"] if percentage_test > 0 else ["training", "validation"]
    roles = np.zeros(len(names), int)
    if percentage_test > 0:
        roles[_draw(sizes, percentage_test, len(names) - 2, rng)] = 1
    rest = np.flatnonzero(roles == 0)
    roles[rest[_draw(sizes[rest], percentage_validation, len(rest) - 1, rng)]] = len(filled) - 1
    if amounts is not None:
        held = _held_by_groups(inverse, len(names), amounts)
        if not _is_fair(_held(roles, held, len(filled))):
            shares = [part / 100 for part in (percentage_test, percentage_validation)][1 - len(filled) :]
            roles = _shared_out(held, shares, rng)
    return np.array(filled)[roles][inverse]


def _is_fair(held: np.ndarray) -> bool:
    """Whether each role has its part, or `FAIR` of it, of what all images hold; `held` (roles, images and things)."""
    per_image = held[:, 1:] / held[:, :1]
    return bool((per_image >= FAIR * held[:, 1:].sum(axis=0) / held[:, 0].sum()).all())


def _shared_out(held: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Roles by `allocate`, above all by the number of images; `held` (groups, images and things)."""
    there = held.sum(axis=0) > 0
    vital = [1] if there[1:2].any() else []
    weights = np.where(np.arange(there.sum()) == 0, IMAGES_FIRST * there.sum(), 1.0)
    return allocate(held[:, there], shares, rng, vital, weights)


def stratified_split(
    groups: Sequence[str],
    class_ids: Sequence[int],
    percentage_test: float,
    percentage_validation: float,
    seed: int,
) -> np.ndarray:
    """Share out images that show one class each by whole groups, with the percentages kept within every class.

    Every class is in training; one in two groups also in test (validation where there is no test), one in three in all
    three, unless classes that share groups stand in each other's way; see `allocate`.

    Parameters
    ----------
    groups, class_ids
        Group and class of each image.
    percentage_test, percentage_validation, seed
        As in `split`.

    Raises
    ------
    DataError
        Where there are too few groups to fill each role with every class in training.
    """
    names, inverse = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    _check_number_of_groups(len(groups), len(names), percentage_test)
    ids, columns = np.unique(class_ids, return_inverse=True)
    counts = np.zeros((len(names), len(ids)), int)
    np.add.at(counts, (inverse, columns), 1)
    filled = ["training", "test", "validation"] if percentage_test > 0 else ["training", "validation"]
    shares = {"test": percentage_test / 100, "validation": percentage_validation / 100}
    roles = allocate(counts, [shares[role] for role in filled[1:]], np.random.default_rng(seed))
    if not is_complete(roles, counts, len(filled)):
        by, unit, change = f" by their {len(names)} groups", "group", "change group_rule, or "
        if len(names) == len(groups):
            by, unit, change = "", "image", ""
        raise DataError(
            f"The {how_many(len(groups), 'image')} cannot be split{by}: training needs every class, and "
            f"too many classes are in one {unit} only to leave one for {' and '.join(filled[1:])}. "
            f"Add images, or {change}set percentage_test to 0."
        )
    return np.array(filled)[roles][inverse]


def folds(groups: Sequence[str], amounts: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Divide images into parts of about the same size, by whole groups: number of the part of each image, from 1.

    Where n groups hold a thing, it is in about n parts, or in all of them; the search is that of `allocate`.

    Parameters
    ----------
    groups
        Group of each image.
    amounts
        (n, things), whole numbers: how much an image holds of each thing to be learned; parts hold about as much.
    n_folds
        Number of parts, at most as many as groups.
    seed
        The same groups and seed give the same parts, in whatever order the images come.
    """
    names, inverse = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    held = _held_by_groups(inverse, len(names), amounts)
    held = held[:, held.sum(axis=0) > 0]
    weights = np.where(np.arange(held.shape[1]) == 0, IMAGES_FIRST * held.shape[1], 1.0)
    wanted = np.tile(held.sum(axis=0) / n_folds, (n_folds, 1))
    return _best(held, wanted, np.random.default_rng(seed), weights, untrained=0.0)[inverse] + 1


def with_copies(groups: Sequence[str], sha256: Sequence[str]) -> np.ndarray:
    """Groups in which images of the same content are together, too: the first name of those joined, for each image."""
    names, numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    _, contents = np.unique(np.asarray(sha256, dtype=str), return_inverse=True)
    links = coo_array((np.ones(len(numbers)), (numbers, len(names) + contents)), shape=[len(names) + len(numbers)] * 2)
    joined = connected_components(links, directed=False)[1][: len(names)]
    first = {number: name for number, name in zip(joined[::-1], names[::-1], strict=True)}
    return np.array([first[number] for number in joined])[numbers]


def _held_by_groups(inverse: np.ndarray, n_groups: int, amounts: np.ndarray) -> np.ndarray:
    """Number of images and amount of each thing (groups, 1 + things); `inverse` (n,): number of each image's group."""
    held = np.zeros((n_groups, 1 + amounts.shape[1]), int)
    np.add.at(held, inverse, np.column_stack([np.ones(len(amounts), int), amounts]))
    return held


def automatic_percentage(n: int) -> int:
    """Percentage of `n` images that watches over a training: of few images a tenth would say little."""
    return 25 if n < FEW else 15 if n < MANY else 10


def percentage_of_validation(data: Mapping, n: int) -> int:
    """Percentage of `n` images that watches over a training, by the values of the form `data`."""
    asked = data["percentage_validation"]
    return automatic_percentage(n) if asked == "automatic" else asked


def _check_number_of_groups(n_images: int, n_groups: int, percentage_test: float) -> None:
    """Refuse, by a DataError, to split images in too few groups to fill each role."""
    roles = ("training", "validation", "test") if percentage_test > 0 else ("training", "validation")
    if n_groups >= len(roles):
        return
    needed = f"{', '.join(roles[:-1])} and {roles[-1]} need at least {len(roles)}"
    less = ", or set percentage_test to 0" if percentage_test > 0 else ""
    if n_groups == n_images:
        raise DataError(
            f"There {'is 1 image' if n_images == 1 else f'are {n_images} images'}, but {needed}. Add images{less}."
        )
    in_groups = "1 group" if n_groups == 1 else f"{n_groups} groups"
    raise DataError(
        f"There are {n_images} images in {in_groups}, but {needed}: each takes whole groups. "
        f"Add images of other groups, or change what says the groups (group_rule, or the column group of a table)"
        f"{less if n_groups > 1 else ''}."
    )


def _draw(sizes: np.ndarray, percentage: float, most: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of 1 to `most` random groups holding about `percentage` of the images; `sizes` (n,): images per group."""
    target = percentage / 100 * sizes.sum()
    best, smallest = np.array([0]), np.inf
    for _ in range(DRAWS):
        order = rng.permutation(len(sizes))
        off = np.abs(sizes[order].cumsum()[:most] - target)
        if off.min() < smallest:
            best, smallest = order[: off.argmin() + 1], off.min()
    return best


def split_table(paths: Sequence[Path], groups: Sequence[str], roles: Sequence[str]) -> pd.DataFrame:
    """Table of the split: file (below the folder of all), sha256 (of its bytes), group, role; one row per image."""
    folder = os.path.commonpath([Path(path).parent for path in paths])
    return pd.DataFrame(
        {
            "file": [Path(path).relative_to(folder).as_posix() for path in paths],
            "sha256": [file_sha256(path) for path in paths],
            "group": list(groups),
            "role": list(roles),
        }
    )


def write_split(path: Path, table: pd.DataFrame) -> None:
    """Write the table of a split as CSV, whole or not at all."""
    write_csv(path, table)


def read_split(path: Path) -> pd.DataFrame:
    """Read the table of a split as `write_split` left it; all columns are text.

    DataError where the file is missing or not such a table.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or damaged. Copy the whole model folder again, or train again.") from error
    if not {"file", "sha256", "group", "role"} <= set(table) or not set(table["role"]) <= set(ROLES):
        raise DataError(
            f"{path} has not the columns file, sha256, group and role of a split. Copy the whole model folder again."
        )
    return table


def allocate(
    counts: np.ndarray,
    shares: Sequence[float],
    rng: np.random.Generator,
    vital: Sequence[int] = (),
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Give each group a role (groups,): 0 for training, i + 1 for ``shares[i]``.

    Groups are taken from the largest to the smallest, each for the role that lacks most of its classes (the greedy step
    of iterative stratification: Sechidis K, Tsoumakas G, Vlahavas I (2011) On the stratification of multi-label data,
    ECML PKDD, doi:10.1007/978-3-642-23808-6_10); then single groups are moved while that mends what is missing. Of many
    random orders, and random roles to begin with, the best result is taken. Where that can be had at all: every class
    is in training, no role is empty, and a class in two groups or more is also in role 1, in three or more also in role
    2.

    Parameters
    ----------
    counts
        (groups, classes), whole numbers: images of each class in each group, or how much of it they hold; no class and
        no group is empty.
    shares
        Part (0 to 1) of each role after training, of what the roles before it in this sequence left over; training gets
        the rest.
    rng
        Random numbers.
    vital
        Classes of which the last role, which watches over the training, is served before the others.
    weights
        (classes,): how much each matters for the shares; None: all alike.
    """
    weights = np.ones(counts.shape[1]) if weights is None else weights
    return _best(counts, _wanted(counts, shares, vital), rng, weights, vital)


def _best(
    counts: np.ndarray,
    wanted: np.ndarray,
    rng: np.random.Generator,
    weights: np.ndarray,
    vital: Sequence[int] = (),
    untrained: float = UNTRAINED,
) -> np.ndarray:
    """Roles (groups,) that hold about what is `wanted` (roles, classes); the rest as in `allocate` and `_cost`."""
    starts = [_greedy(counts, wanted, rng)]
    for _ in range(min(ALLOCATIONS, GROUPS_SEEN // len(counts)) // 2):
        starts += [_greedy(counts, wanted, rng), rng.integers(len(wanted), size=len(counts))]
    draws = [_mend(roles, counts, wanted, vital, weights, untrained) for roles in starts]
    return min(draws, key=lambda roles: _cost(_held(roles, counts, len(wanted)), wanted, vital, weights, untrained))


def _wanted(counts: np.ndarray, shares: Sequence[float], vital: Sequence[int] = ()) -> np.ndarray:
    """Images of each class (roles, classes) that each role is to get: at least a group of each, if there are enough."""
    groups, left = (counts > 0).sum(axis=0), counts.sum(axis=0).astype(float)
    needed = np.tile(np.arange(1, len(shares) + 2)[:, None], len(groups))  # groups with which each role has its part
    needed[1:, list(vital)] = np.roll(needed[1:, list(vital)], -1, axis=0)
    unit, wanted = left / groups, []
    for role, share in enumerate(shares, 1):
        others = 1 + (groups >= needed[role + 1 :]).sum(axis=0)  # groups needed by training and the later roles
        amount = np.clip(share * left, unit, np.maximum(left - others * unit, unit))
        wanted.append(np.where(groups >= needed[role], amount, 0.0))
        left = left - wanted[-1]
    return np.array([left, *wanted])


def _greedy(counts: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Role of each group: those that alone hold a class are for training, the others go where they are lacking most."""
    only = counts[:, (counts > 0).sum(axis=0) == 1].any(axis=1)
    roles, lacking, size = np.zeros(len(counts), int), wanted.copy(), counts.sum(axis=0)
    lacking[0] -= counts[only].sum(axis=0)
    order = rng.permutation(np.flatnonzero(~only))
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        roles[group] = (lacking @ (counts[group] / size)).argmax()
        lacking[roles[group]] -= counts[group]
    return roles


def _held(roles: np.ndarray, counts: np.ndarray, n_roles: int) -> np.ndarray:
    """Images of each class (roles, classes) that each role has."""
    return np.array([counts[roles == role].sum(axis=0) for role in range(n_roles)])


def _cost(
    held: np.ndarray,
    wanted: np.ndarray,
    vital: Sequence[int] = (),
    weights: np.ndarray | float = 1,
    untrained: float = UNTRAINED,
) -> np.ndarray:
    """How bad it is that the roles hold `held` (..., roles, classes) images; below `ABSENT` nothing is missing.

    `untrained` is for each class that the first role lacks.
    """
    absent = (held == 0) & (wanted > 0)
    empty = (held.sum(axis=-1) == 0).sum(axis=-1) + absent[..., -1, list(vital)].sum(axis=-1)
    off = (((held - wanted) / wanted.sum(axis=0)) ** 2 * weights).sum(axis=(-1, -2))
    return untrained * absent[..., 0, :].sum(axis=-1) + EMPTY * empty + ABSENT * absent.sum(axis=(-1, -2)) + off


def _mend(
    roles: np.ndarray,
    counts: np.ndarray,
    wanted: np.ndarray,
    vital: Sequence[int],
    weights: np.ndarray,
    untrained: float = UNTRAINED,
) -> np.ndarray:
    """Move one group after the other, each time the best move of all; many groups only while something is missing."""
    for _ in range(MOVES):
        held = _held(roles, counts, len(wanted))
        cost = _cost(held, wanted, vital, weights, untrained)
        if cost < ABSENT and len(counts) > FEW_GROUPS:
            break
        switch = np.eye(len(wanted))[None] - np.eye(len(wanted))[roles][:, None]  # (groups, new role, role)
        costs = _cost(held + switch[..., None] * counts[:, None, None], wanted, vital, weights, untrained)
        if costs.min() > cost - 1e-9:  # rounding: the same roles must not count as better
            break
        group, role = np.unravel_index(costs.argmin(), costs.shape)
        roles[group] = role
    return roles


def is_complete(roles: np.ndarray, counts: np.ndarray, n_roles: int) -> bool:
    """Whether every class is in training and no role is empty; arguments as in `allocate`."""
    held = _held(roles, counts, n_roles)
    return bool((held[0] > 0).all() and held.any(axis=1).all())
