"""Classes along a track: laws over random sequences, and brute force on short ones."""

from itertools import product

import numpy as np
import pytest

from utils.tasks.phase_order import (
    allowed_moves,
    likeliest_path,
    moves_within,
    next_belief,
    phase_order,
    seen,
    transitions,
    usual_shares,
)

NAMES = ["apoptosis", "earlyana", "interphase", "lateana", "metaphase", "prometaphase", "prophase", "telophase"]
ORDER = ["interphase", "prophase", "prometaphase", "metaphase", "earlyana", "lateana", "telophase"]


def random_p(rng, frames, classes):
    return rng.dirichlet(np.full(classes, 0.3), frames)


def random_moves(rng, classes):
    return transitions(rng.random((classes, classes)) < 0.5, stay=rng.uniform(0.3, 0.95), steps=int(rng.integers(1, 3)))


def log_probability(path, p, moves):
    with np.errstate(divide="ignore"):
        steps = np.log(moves)[path[:-1], path[1:]]
    return np.log(seen(p))[np.arange(len(path)), path].sum() + steps.sum()


def test_phases_are_put_in_their_order():
    assert phase_order(NAMES) == ORDER
    assert phase_order(["Meta-phase", "INTERPHASE", "Early anaphase"]) == ["INTERPHASE", "Meta-phase", "Early anaphase"]
    assert phase_order(["G1", "metaphase", "cat"]) == []


def test_a_cell_stays_or_goes_on_and_dies_at_any_time():
    moves = allowed_moves(NAMES)
    at = {name: NAMES.index(name) for name in NAMES}
    for i, name in enumerate(ORDER):
        after = {other for other in NAMES if moves[at[name], at[other]]}
        assert after == {name, ORDER[(i + 1) % len(ORDER)], "apoptosis"}
    assert moves[at["apoptosis"]].all()


def test_an_unknown_order_allows_everything():
    assert allowed_moves(["cat", "dog"]).all()
    assert allowed_moves(["a", "b", "c"], order=[]).all()
    np.testing.assert_array_equal(allowed_moves(["a", "b", "c"], order=["c", "a", "b"])[0], [True, True, False])
    with pytest.raises(ValueError, match="cat"):
        allowed_moves(["a", "b"], order=["cat"])


@pytest.mark.parametrize("seed", range(20))
def test_the_path_is_the_likeliest_of_all(seed):
    rng = np.random.default_rng(seed)
    frames, classes = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    p, moves = random_p(rng, frames, classes), random_moves(rng, classes)
    best = max(log_probability(np.array(path), p, moves) for path in product(range(classes), repeat=frames))
    assert log_probability(likeliest_path(p, moves), p, moves) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(20))
def test_the_belief_is_the_sum_over_all_paths(seed):
    rng = np.random.default_rng(seed)
    frames, classes = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    p, moves = random_p(rng, frames, classes), random_moves(rng, classes)
    belief = None
    for row in p:
        belief = next_belief(belief, row, moves)
    every = np.zeros(classes)
    for path in product(range(classes), repeat=frames):
        every[path[-1]] += np.exp(log_probability(np.array(path), p, moves))
    np.testing.assert_allclose(belief, every / every.sum())


@pytest.mark.parametrize("seed", range(20))
def test_no_move_is_made_that_is_not_allowed(seed):
    rng = np.random.default_rng(seed)
    moves = transitions(allowed_moves(NAMES), steps=int(rng.integers(1, 4)))
    path = likeliest_path(random_p(rng, 200, len(NAMES)), moves)
    assert (moves[path[:-1], path[1:]] > 0).all()
    np.testing.assert_allclose(moves.sum(axis=1), 1)


def test_of_all_moves_alike_each_frame_stands_for_itself():
    p = random_p(np.random.default_rng(0), 100, 5)
    np.testing.assert_array_equal(likeliest_path(p, np.full((5, 5), 0.2)), p.argmax(axis=1))


def test_one_odd_frame_changes_nothing():
    """A nucleus that is called metaphase once is no metaphase."""
    sure = np.full((9, len(NAMES)), 0.02)
    sure[:, NAMES.index("interphase")] = 0.86
    sure[4] = 0.02
    sure[4, NAMES.index("metaphase")] = 0.86
    moves = transitions(allowed_moves(NAMES))
    assert set(likeliest_path(sure, moves)) == {NAMES.index("interphase")}
    belief = None
    for row in sure[:5]:
        belief = next_belief(belief, row, moves)
    assert belief[NAMES.index("metaphase")] < 0.1


def test_empty_tracks_and_frames_of_which_nothing_is_known():
    moves = transitions(allowed_moves(NAMES))
    assert likeliest_path(np.zeros((0, 8)), moves).shape == (0,)
    p = np.full((3, 8), np.nan)
    p[0], p[2] = np.eye(8)[2], np.eye(8)[2]
    np.testing.assert_array_equal(likeliest_path(p, moves), [2, 2, 2])


def test_a_rare_phase_needs_more_than_one_frame():
    """Of cells in interphase hardly one goes on within minutes: one frame that says so is rather a mistake."""
    moves, belief, believed = moves_within(NAMES, 300), None, []
    interphase, prophase = np.full((2, len(NAMES)), 0.02)
    interphase[NAMES.index("interphase")], prophase[NAMES.index("prophase")] = 0.86, 0.86
    for row in (interphase, interphase, prophase, prophase, prophase):
        belief = next_belief(belief, row, moves)
        believed.append(belief[NAMES.index("prophase")])
    assert believed[2] < 0.5 < believed[3] < believed[4]


@pytest.mark.parametrize("interval_s", [1, 60, 300, 1800])
def test_frames_far_apart_may_have_phases_between_them(interval_s):
    moves = moves_within(NAMES, interval_s)
    np.testing.assert_allclose(moves.sum(axis=1), 1)
    passed = moves[NAMES.index("metaphase"), NAMES.index("lateana")]
    assert (passed > 0) == (interval_s >= 180)
    assert moves_within(["cat", "dog"], interval_s)[0, 0] == pytest.approx(0.8)


def test_most_cells_are_in_interphase():
    shares = dict(zip(NAMES, usual_shares(NAMES), strict=True))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["interphase"] > 0.9 > 0.02 > shares["lateana"] > 0
    assert usual_shares(["cat", "dog"]).tolist() == [0.5, 0.5]
