"""Power law of the learning curve: exact where it can be, honest where it cannot."""

import numpy as np
import pytest

from utils.fine_tuning.power_law import Needed, PowerLaw, fit_law, images_needed, sentence

SIZES = np.array([2, 5, 10, 20, 40])
UNIT = "labelled images"


def random_law(rng):
    """Parameters a, b, c of a law whose score at 2 images is above 0."""
    b, c = rng.uniform(0.1, 2.5), rng.uniform(0, 0.4)
    return rng.uniform(0.2, 0.95) * (1 - c) * 2**b, b, c


def law_of(a, b, c, spread=0.0, smallest=2, largest=40):
    draws = np.array([a, b, c]) * (1 + spread * np.linspace(-1, 1, 41))[:, None] ** [1, 0, 0]
    return PowerLaw(a, b, c, draws, smallest, largest)


def noisy_scores(rng, a, b, c, repeats=3, correlation=0.0):
    """Scores (sizes, repeats) that spread as binomial ones of fewer and fewer images do."""
    z = rng.normal(size=(len(SIZES), repeats)) * np.sqrt(1 - correlation)
    z += rng.normal(size=repeats) * np.sqrt(correlation)
    return np.clip((1 - c - a * SIZES**-b)[:, None] + 0.12 * SIZES[:, None] ** -0.5 * z, 0, 1)


def fit_repeats(scores, **options):
    return fit_law(np.repeat(SIZES, scores.shape[1]), scores.ravel(), **options)


@pytest.mark.parametrize("seed", range(20))
def test_the_law_is_found_again_where_there_is_no_noise(seed):
    a, b, c = random_law(np.random.default_rng(seed))
    scores = 1 - c - a * SIZES**-b
    law = fit_law(np.repeat(SIZES, 2), np.repeat(scores, 2), draws=20)
    assert np.allclose([law.a, law.b, law.c], [a, b, c], rtol=1e-3, atol=1e-4)
    assert np.allclose(law.score(SIZES), scores, atol=1e-6)
    assert np.allclose(law.interval(SIZES), scores, atol=0.003)  # draws lie on the grid of exponents
    assert (law.smallest, law.largest) == (2, 40)


@pytest.mark.parametrize("seed", range(20))
def test_images_needed_is_the_inverse_of_the_score(seed):
    rng = np.random.default_rng(seed)
    law = law_of(*random_law(rng))
    for n in rng.uniform(2, 200, 10):
        needed = images_needed(law, law.score(n))
        assert needed.n == pytest.approx(n, rel=1e-6)
        assert needed.beyond == (n > 40)
        assert needed.low == pytest.approx(n, rel=1e-6)
        assert needed.high == pytest.approx(n, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_scores_rise_with_images_and_needs_with_the_score_asked_for(seed):
    rng = np.random.default_rng(seed)
    law = fit_repeats(noisy_scores(rng, *random_law(rng)), seed=seed)
    n = np.geomspace(2, 1000, 60)
    low, high = law.interval(n)
    assert (np.diff(law.score(n)) >= 0).all()
    assert (low <= high).all()
    assert (low <= law.score(n) + 0.02).all()
    assert (law.score(n) <= high + 0.02).all()
    needs = [images_needed(law, target).n for target in np.linspace(0.01, 1, 50)]
    reached = [need for need in needs if need is not None]
    assert reached == sorted(reached)
    assert needs[: len(reached)] == reached  # once out of reach, out of reach for more


def test_worked_by_hand():
    law = law_of(0.8, 1.0, 0.1)  # errors 0.5, 0.26, 0.18, 0.14, 0.12
    assert law.score(SIZES) == pytest.approx([0.5, 0.74, 0.82, 0.86, 0.88])
    assert images_needed(law, 0.82).n == pytest.approx(10)
    assert images_needed(law, 0.89) == Needed(*[pytest.approx(80)] * 3, True)
    assert images_needed(law, 0.9) == Needed(None, None, None, False)
    found = fit_law(SIZES, [0.5, 0.74, 0.82, 0.86, 0.88])
    assert [found.a, found.b, found.c] == pytest.approx([0.8, 1.0, 0.1], abs=1e-4)


def test_the_interval_is_that_of_the_draws():
    law = law_of(0.8, 1.0, 0.1, spread=0.5)  # a between 0.4 and 1.2: at 10 images, errors 0.14 to 0.22
    low, high = law.interval(10, level=1)
    assert [low, high] == pytest.approx([0.78, 0.86])
    assert law.interval(SIZES)[0].shape == SIZES.shape
    needed = images_needed(law, 0.82)
    assert (needed.low, needed.high) == (pytest.approx(5.25, abs=0.3), pytest.approx(14.75, abs=0.3))


@pytest.mark.parametrize("scores", [[0.8] * 5, [1.0] * 5, [0.0] * 5, [0.9, 0.85, 0.8, 0.7, 0.6]])
def test_flat_perfect_worthless_and_falling_scores_give_a_flat_law(scores):
    law = fit_law(np.tile(SIZES, 2), scores * 2)
    assert law.a == pytest.approx(0, abs=1e-9)
    assert law.score(SIZES) == pytest.approx(np.full(5, np.mean(scores)))
    assert np.isfinite(law.draws).all()
    if np.mean(scores) > 0:
        assert images_needed(law, np.mean(scores)).n == 0
    assert images_needed(law, 1.0).n == (0 if scores[0] == 1 else None)


def test_any_scores_at_all_give_a_law_within_its_bounds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = np.repeat(rng.choice(np.arange(2, 200), 3 + rng.integers(5), replace=False), rng.integers(1, 4))
        law = fit_law(sizes, rng.choice([rng.random(len(sizes)), rng.integers(0, 2, len(sizes))]), draws=30)
        parameters = np.vstack([[law.a, law.b, law.c], law.draws[~np.isnan(law.draws[:, 0])]])
        assert (parameters >= [0, 0.04, 0]).all()
        assert (parameters[:, 1:] <= [3.01, 1]).all()


def test_fewer_than_three_sizes_give_no_law_and_missing_scores_do_not_count():
    assert fit_law([], []) is None
    assert fit_law([2, 2, 5, 5], [0.1, 0.2, 0.3, 0.4]) is None
    assert fit_law([2, 5, 10], [0.1, 0.5, np.nan]) is None
    with_gap, without = fit_law([2, 5, 10, 10], [0.1, 0.5, 0.6, np.nan]), fit_law([2, 5, 10], [0.1, 0.5, 0.6])
    assert (with_gap.a, with_gap.b, with_gap.c) == (without.a, without.b, without.c)


def test_three_models_leave_the_uncertainty_unknown_and_say_so():
    law = fit_law([2, 5, 10], [0.5, 0.7, 0.8])
    assert np.isnan(law.interval(5)).all()
    needed = images_needed(law, 0.75)
    assert (needed.low, needed.high) == (None, None)
    assert "could not be told" in sentence(needed, law, 0.75, UNIT)


def test_the_seed_decides_the_draws_and_more_repeats_narrow_the_interval():
    rng = np.random.default_rng(0)
    scores = noisy_scores(rng, 0.6, 0.5, 0.1, repeats=30)
    few, many = fit_repeats(scores[:, :3]), fit_repeats(scores)
    assert np.array_equal(few.draws, fit_repeats(scores[:, :3]).draws)
    assert not np.array_equal(few.draws, fit_repeats(scores[:, :3], seed=1).draws)
    assert (np.subtract(*many.interval(SIZES)) > np.subtract(*few.interval(SIZES)) / 1.5).all()


@pytest.mark.parametrize(("repeats", "correlation", "least"), [(3, 0.0, 0.86), (3, 0.5, 0.83), (1, 0.0, 0.77)])
def test_intervals_hold_the_true_score_about_as_often_as_they_say(repeats, correlation, least):
    """150 curves: the standard error of a share of 0.95 is 0.02. The plain bootstrap holds it in 0.66 to 0.83."""
    rng, n, held = np.random.default_rng(0), np.r_[SIZES, 80], []
    for a, b, c in ((0.5, 0.5, 0.1), (0.6, 1.0, 0.2), (0.3, 0.7, 0.05)):
        for seed in range(50):
            law = fit_repeats(noisy_scores(rng, a, b, c, repeats, correlation), draws=100, seed=seed)
            low, high = law.interval(n)
            true = 1 - c - a * n**-b
            held.append((low <= true) & (true <= high))
    share = np.mean(held, axis=0)
    assert (share >= least).all(), share
    assert share[-2:].min() >= 0.92, share


def test_each_sentence_says_what_is_known():
    law = law_of(0.8, 1.0, 0.1, spread=0.1)
    within, beyond, never, already = (sentence(images_needed(law, t), law, t, UNIT) for t in (0.82, 0.89, 0.95, 0.45))
    assert "about 10 labelled images (95 % interval: 10 to 11)" in within
    assert "within what was measured (2 to 40)" in within
    assert "rely" not in within
    assert "about 80 " in beyond
    assert "beyond what was measured (40 at most), an extrapolation: do not rely on it" in beyond
    assert "not in sight" in never
    assert "levels off at 0.9," in never
    assert "already reached with the fewest that were tried, 2 labelled images." in already


def test_sentences_of_far_and_doubtful_numbers():
    far = law_of(0.8, 0.2, 0.0)  # 0.95 needs 16^5 = 1,048,576
    assert "needs more than 4,000 labelled images" in sentence(images_needed(far, 0.95), far, 0.95, UNIT)
    draws = np.array([[0.8, 1.0, 0.1], [0.8, 1.0, 0.2]] * 20)
    doubtful = PowerLaw(0.8, 1.0, 0.1, draws, 2, 40)
    assert "(95 % interval: 10 or more, without an upper bound)" in _said(doubtful, 0.82)
    unsure = PowerLaw(0.8, 1.0, 0.2, draws, 2, 40)
    assert "from 10 on it cannot be excluded" in _said(unsure, 0.82)
    assert "about 40 " in _said(far, far.score(40))  # rounding makes no 41 and no extrapolation of it
    assert "within" in _said(far, far.score(40))
    three_digits = law_of(0.8, 1.0, 0.1)
    assert "about 130 " in _said(three_digits, three_digits.score(123.4))


def _said(law, target):
    return sentence(images_needed(law, target), law, target, UNIT)


@pytest.mark.parametrize("target", [0, -0.1, 1.01, float("nan")])
def test_a_score_that_cannot_be_asked_for_is_refused(target):
    with pytest.raises(ValueError, match="at most 1"):
        images_needed(law_of(0.8, 1.0, 0.1), target)
