"""Share out whole groups so that each role gets its part of every class."""

from collections.abc import Sequence

import numpy as np

DRAWS = 20  # beginnings of which the best result is taken; fewer where there are many groups
GROUPS_SEEN = 20_000  # in all draws together
MOVES = 50  # of single groups, at most
FEW_GROUPS = 100  # so few are also moved to come closer to the percentages; more are close to them anyway
# Weights far enough apart that no amount of the later outweighs one of the earlier.
UNTRAINED, EMPTY, ABSENT = 1e9, 1e6, 1e3


def allocate(counts: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Give each group a role.

    Groups are taken from the largest to the smallest, each for the role that lacks most of its classes (the greedy step
    of iterative stratification [1]_); then single groups are moved while that mends what is missing. Of many random
    orders, and random roles to begin with, the best result is taken.

    Parameters
    ----------
    counts : ndarray of int, shape (groups, classes)
        Images of each class in each group; no class and no group is empty.
    shares : sequence of float
        Part (0 to 1) of each role after the first, of what the roles before it in this sequence left over. The first
        role, training, gets the rest.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (groups,)
        0 for training, i + 1 for ``shares[i]``. Where that can be had at all: every class is in training, no role is
        empty, and a class in two groups or more is also in role 1, in three or more also in role 2.

    References
    ----------
    .. [1] Sechidis K, Tsoumakas G, Vlahavas I (2011) On the stratification of multi-label data, ECML PKDD,
       doi:10.1007/978-3-642-23808-6_10
    """
    wanted = _wanted(counts, shares)
    starts = [_greedy(counts, wanted, rng)]
    for _ in range(min(DRAWS, GROUPS_SEEN // len(counts)) // 2):
        starts += [_greedy(counts, wanted, rng), rng.integers(len(wanted), size=len(counts))]
    draws = [_mend(roles, counts, wanted) for roles in starts]
    return min(draws, key=lambda roles: _cost(_held(roles, counts, len(wanted)), wanted))


def _wanted(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Images of each class (roles, classes) that each role is to get: at least a group of each, if there are enough."""
    groups, left = (counts > 0).sum(axis=0), counts.sum(axis=0).astype(float)
    unit, wanted = left / groups, []
    for i, share in enumerate(shares):
        others = 1 + np.clip(groups - i - 2, 0, len(shares) - i - 1)  # groups needed by training and the later roles
        amount = np.clip(share * left, unit, np.maximum(left - others * unit, unit))
        wanted.append(np.where(groups >= i + 2, amount, 0.0))
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


def _cost(held: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How bad it is that the roles hold `held` (..., roles, classes) images; below `ABSENT` nothing is missing."""
    absent = (held == 0) & (wanted > 0)
    empty = (held.sum(axis=-1) == 0).sum(axis=-1)
    off = (((held - wanted) / wanted.sum(axis=0)) ** 2).sum(axis=(-1, -2))
    return UNTRAINED * absent[..., 0, :].sum(axis=-1) + EMPTY * empty + ABSENT * absent.sum(axis=(-1, -2)) + off


def _mend(roles: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Move one group after the other, each time the best move of all; many groups only while something is missing."""
    for _ in range(MOVES):
        held = _held(roles, counts, len(wanted))
        cost = _cost(held, wanted)
        if cost < ABSENT and len(counts) > FEW_GROUPS:
            break
        switch = np.eye(len(wanted))[None] - np.eye(len(wanted))[roles][:, None]  # (groups, new role, role)
        costs = _cost(held + switch[..., None] * counts[:, None, None], wanted)
        if costs.min() > cost - 1e-9:  # rounding: the same roles must not count as better
            break
        group, role = np.unravel_index(costs.argmin(), costs.shape)
        roles[group] = role
    return roles


def is_complete(roles: np.ndarray, counts: np.ndarray, n_roles: int) -> bool:
    """Whether every class is in training and no role is empty; arguments as in `allocate`."""
    held = _held(roles, counts, n_roles)
    return bool((held[0] > 0).all() and held.any(axis=1).all())
