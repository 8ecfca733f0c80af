"""Rank correlations: against scipy, by hand, and under chance."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, linregress, rankdata, spearmanr

from utils.metrics.correlation import interval, rank_correlations


def table_of(values, measured=None):
    values = np.asarray(values, float)
    return pd.DataFrame(values, columns=[f"g{i}" for i in range(values.shape[1])])


@pytest.mark.parametrize("seed", range(10))
def test_coefficients_and_p_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    n, n_columns = rng.integers(10, 60), 30
    measured, values = rng.random(n), rng.normal(size=(n, n_columns)).round(rng.integers(0, 3))
    values[rng.random(values.shape) < 0.1] = np.nan
    found = rank_correlations(pd.Series(measured), table_of(values))
    for i, row in enumerate(found.itertuples()):
        known = np.isfinite(values[:, i])
        assert row.n == known.sum()
        if row.n <= 9:
            continue
        expected = spearmanr(measured[known], values[known, i])
        assert row.rho == pytest.approx(expected.statistic, abs=1e-12)
        assert row.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert row.low <= row.rho <= row.high
    tested = found["p"].notna()
    np.testing.assert_allclose(found["q"][tested], false_discovery_control(found["p"][tested]))


@pytest.mark.parametrize("seed", range(6))
def test_few_patients_are_counted_in_all_orders(seed):
    rng = np.random.default_rng(seed)
    n = 5 + seed % 3
    measured, values = rng.random(n), rng.integers(0, 4, (n, 8))
    values[:, 0] = np.argsort(measured)  # no ties
    found = rank_correlations(pd.Series(measured), table_of(values))
    for i, row in enumerate(found.itertuples()):
        if np.ptp(values[:, i]) == 0:
            assert np.isnan(row.p)
            continue
        seen = abs(spearmanr(measured, values[:, i]).statistic)
        chance = [abs(np.corrcoef(one, rankdata(values[:, i]))[0, 1]) for one in permutations(rankdata(measured))]
        assert row.p == pytest.approx(np.mean(np.array(chance) >= seen - 1e-9))


def test_a_perfect_order_of_eight_patients_by_hand():
    found = rank_correlations(pd.Series(range(8)), table_of(np.arange(8)[:, np.newaxis] ** 3))
    row = found.iloc[0]
    assert (row["n"], row["rho"]) == (8, 1)
    assert row["p"] == pytest.approx(2 / 40320)  # two of 8! orders are perfect, up or down
    assert (row["low"], row["high"]) == (pytest.approx(0.9033, abs=1e-4), 1)  # around arctanh(1 - 6 / 504)


def test_the_interval_of_a_coefficient_by_hand():
    low, high = interval(np.array([0.5]), 28)  # half width 1.96 * sqrt(1.125 / 25) = 0.41577 around arctanh 0.54931
    np.testing.assert_allclose([low[0], high[0]], [np.tanh(0.54931 - 0.41577), np.tanh(0.54931 + 0.41577)], atol=1e-4)


def test_what_cannot_be_told_is_nan():
    values = np.ones((12, 3))
    values[:4, 1] = range(4)
    values[4:, 1] = np.nan
    values[:, 2] = range(12)
    found = rank_correlations(pd.Series(np.arange(12.0)), table_of(values))
    assert found["n"].tolist() == [12, 4, 12]
    assert np.isnan(found["rho"][:2]).all()  # the same for all; four patients
    assert np.isnan(found["q"][:2]).all()
    assert found["q"][2] == found["p"][2] < 1e-6
    assert np.isnan(rank_correlations(pd.Series(np.arange(4.0)), table_of(values[:4]))["q"]).all()


def test_a_hospital_is_held_constant():
    rng = np.random.default_rng(1)
    hospital = pd.Series(["A", "B"] * 30)
    shift = 10.0 * (hospital == "B")
    measured = pd.Series(rng.random(60) + shift)
    follows = measured.to_numpy() + rng.normal(0, 0.1, 60)
    only_hospital = rng.random(60) + shift
    table = table_of(np.stack([follows, only_hospital], 1))
    assert (rank_correlations(measured, table)["p"] < 1e-6).all()
    found = rank_correlations(measured, table, hospital)
    assert found["p"][0] < 1e-6
    assert found["p"][1] > 0.01
    x, y = rankdata(measured), rankdata(only_hospital)  # by hand: what is left of the ranks beside the hospital
    left = [one - np.where(hospital == "A", one[hospital == "A"].mean(), one[hospital == "B"].mean()) for one in (x, y)]
    assert found["rho"][1] == pytest.approx(np.corrcoef(*left)[0, 1])


def test_a_number_is_held_constant_by_its_ranks():
    rng = np.random.default_rng(2)
    age = pd.Series(rng.normal(60, 10, 50))
    measured, value = age + rng.normal(0, 3, 50), age + rng.normal(0, 3, 50)
    found = rank_correlations(measured, pd.DataFrame({"g": value}), age).iloc[0]
    ranks = [rankdata(one) for one in (age, measured, value)]
    fits = [linregress(ranks[0], one) for one in ranks[1:]]
    left = [one - fit.intercept - fit.slope * ranks[0] for one, fit in zip(ranks[1:], fits, strict=True)]
    assert found["rho"] == pytest.approx(np.corrcoef(*left)[0, 1])


def test_by_chance_one_in_twenty_is_below_5_percent():
    rng = np.random.default_rng(3)
    for n in (8, 20):
        found = rank_correlations(pd.Series(rng.random(n)), table_of(rng.random((n, 4000))))
        assert 0.035 < (found["p"] < 0.05).mean() < 0.065
        assert (found["q"] < 0.05).sum() <= 2
