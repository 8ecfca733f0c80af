"""Classes along the track of a cell, in the order in which they can follow each other: one odd frame changes nothing.

A hidden Markov model, as in CellCognition (Held M et al. (2010) CellCognition: time-resolved phenotype annotation in
high-throughput live cell imaging, Nat Methods 7:747, doi:10.1038/nmeth.1486): the phase is hidden, the classifier's
probabilities are what is seen of it, and between two frames a cell stays as it is or goes on to the next phase.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

CYCLE = {
    "interphase": ("interphase", "inter", "g1", "resting"),
    "prophase": ("prophase", "pro"),
    "prometaphase": ("prometaphase", "prometa"),
    "metaphase": ("metaphase", "meta"),
    "early anaphase": ("earlyanaphase", "earlyana", "anaphase", "ana"),
    "late anaphase": ("lateanaphase", "lateana"),
    "telophase": ("telophase", "telo"),
}  # phases in their order, and how else they are called, in small letters alone
MINUTES = {
    "interphase": 1000.0,
    "prophase": 12.0,
    "prometaphase": 15.0,
    "metaphase": 20.0,
    "early anaphase": 5.0,
    "late anaphase": 5.0,
    "telophase": 20.0,
}  # that a human cell spends in each; an order of magnitude is enough
SHORTEST_S = 180.0  # further apart than that two frames may have a phase between them
STAY = 0.8  # probability that a cell is in the same phase in the next frame
FLOOR = 0.01  # no class is less probable than that: a classifier is never so sure that it cannot be overruled
FEWEST = 3  # phases that make an order: of two each follows the other


def phase_of(name: str) -> str | None:
    """Phase of the cell cycle that a class is called after, None if it is none.

    >>> phase_of("Late_anaphase"), phase_of("apoptosis")
    ('late anaphase', None)
    """
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    return next((phase for phase, others in CYCLE.items() if plain in others), None)


def phase_order(names: Sequence[str]) -> list[str]:
    """Those of the classes `names` that are phases of the cell cycle, in its order; none where there are fewer than 3.

    >>> phase_order(["apoptosis", "metaphase", "interphase", "earlyana"])
    ['interphase', 'metaphase', 'earlyana']
    """
    phases = {name: phase_of(name) for name in names}
    cycle = list(CYCLE)
    known = sorted((name for name in names if phases[name]), key=lambda name: cycle.index(phases[name]))
    return known if len(known) >= FEWEST else []


def allowed_moves(names: Sequence[str], order: Sequence[str] | None = None) -> np.ndarray:
    """Whether a cell may go from one class to another between two frames, bool (classes, classes).

    Parameters
    ----------
    names
        Classes of the model, in its order.
    order
        Classes in the order in which they follow each other, after the last the first again; None: `phase_order`.
        A class that is not among them, such as apoptosis, may come and go at any time; without any all moves may be.

    Raises
    ------
    ValueError
        `order` has a class that is not among `names`.
    """
    order = phase_order(names) if order is None else list(order)
    if unknown := set(order) - set(names):
        raise ValueError(f"the order has the classes {sorted(unknown)}, which are not among {list(names)}")
    moves = np.ones((len(names), len(names)), bool)
    ids = [list(names).index(name) for name in order]
    moves[np.ix_(ids, ids)] = np.eye(len(ids), dtype=bool)
    for one, after in zip(ids, ids[1:] + ids[:1], strict=True):
        moves[one, after] = True
    return moves


def transitions(moves: np.ndarray, stay: float | Sequence[float] = STAY, steps: int = 1) -> np.ndarray:
    """Probability of each move between two frames, (classes, classes), rows sum to 1.

    Parameters
    ----------
    moves
        From `allowed_moves`.
    stay
        Probability that a cell stays as it is for one step, of all classes or of each; what is left beside it is shared
        by all others that are allowed.
    steps
        Between two frames, in each of which a cell may go on to the next phase: above 1 where frames are further apart
        than a short phase lasts.
    """
    n = len(moves)
    others = moves & ~np.eye(n, dtype=bool)
    count = others.sum(axis=1)
    stay = np.where(count > 0, np.broadcast_to(np.asarray(stay, float), n), 1.0)
    once = np.where(others, ((1 - stay) / np.maximum(count, 1))[:, None], 0) + np.diag(stay)
    return np.linalg.matrix_power(once, steps)


def moves_within(names: Sequence[str], interval_s: float) -> np.ndarray:
    """`transitions` between two frames that are `interval_s` apart, by how long each phase usually lasts.

    Classes that are no phases are left as rarely as usual (`STAY`).
    """
    order = phase_order(names)
    steps = 1 + int(interval_s // SHORTEST_S) if order else 1
    lasting = {name: 60 * MINUTES[phase_of(name)] for name in order}
    stay = [np.exp(-interval_s / steps / lasting[name]) if name in lasting else STAY ** (1 / steps) for name in names]
    return transitions(allowed_moves(names), stay, steps)


def usual_shares(names: Sequence[str]) -> np.ndarray:
    """Share of the cells of a growing culture that is in each class, (classes,): by how long each phase lasts.

    Classes that are no phases have the share of a short phase; where there is no order all have the same.
    """
    lasting = {name: MINUTES[phase_of(name)] for name in phase_order(names)}
    shares = np.array([lasting.get(name, MINUTES["prophase"]) for name in names])
    return shares / shares.sum()


def seen(p: np.ndarray) -> np.ndarray:
    """Probabilities (..., classes) of a classifier, none below `FLOOR`; where nothing is known all alike."""
    p = np.nan_to_num(np.asarray(p, float))
    raised = np.maximum(p, FLOOR)
    return raised / raised.sum(axis=-1, keepdims=True)


def next_belief(before: np.ndarray | None, p: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Probabilities (classes,) of the phases now, of all that was seen up to now: one step of the forward algorithm.

    Parameters
    ----------
    before
        The same of the frame before; None: this is the first, and nothing is known; or `usual_shares`.
    p
        What the classifier says of this frame, (classes,).
    moves
        From `transitions`.
    """
    belief = seen(p) * (1.0 if before is None else np.asarray(before) @ moves)
    return belief / belief.sum()


def likeliest_path(p: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Likeliest class of each frame of a track, int (frames,), of all frames together: the algorithm of Viterbi.

    Viterbi AJ (1967) Error bounds for convolutional codes and an asymptotically optimum decoding algorithm, IEEE Trans
    Inf Theory 13:260, doi:10.1109/TIT.1967.1054010.

    Parameters
    ----------
    p
        What the classifier says of each frame, (frames, classes).
    moves
        From `transitions`; a move of probability 0 is never made.
    """
    if not len(p):
        return np.zeros(0, int)
    with np.errstate(divide="ignore"):
        moves = np.log(moves)
    seen_log = np.log(seen(p))
    score, came_from = seen_log[0], np.zeros(p.shape, int)
    for i in range(1, len(p)):
        ways = score[:, None] + moves
        came_from[i] = ways.argmax(axis=0)
        score = ways.max(axis=0) + seen_log[i]
    path = [int(score.argmax())]
    for row in came_from[:0:-1]:
        path.append(int(row[path[-1]]))
    return np.array(path[::-1])


def along_each_track(tracks: np.ndarray, p: np.ndarray, names: Sequence[str], moves: np.ndarray) -> np.ndarray:
    """Name of the likeliest class of each row by all rows of its track, str (rows,): `likeliest_path` of each track.

    Parameters
    ----------
    tracks
        Track of each row (rows,); the rows of a track are in the order of time.
    p
        What the classifier says of each row, (rows, classes).
    names
        Classes of the model, in its order.
    moves
        From `transitions`.
    """
    found = np.empty(len(p), object)
    for mine in pd.Series(tracks).groupby(tracks).indices.values():
        found[mine] = np.array(names, object)[likeliest_path(p[mine], moves)]
    return found
