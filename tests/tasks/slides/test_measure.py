"""Areas and shares of slides and patients, by hand and under repetition."""

import numpy as np
import pytest

from utils.tasks.slides.measure import Share, blocks, measured, tables
from utils.tasks.slides.tiles import Grid

FIBROSIS = Share("fibrosis", (2,), (1, 2))
NAMES = ["vessel", "tissue", "fibrosis"]


def test_a_slide_by_hand():
    counts = np.array([[10, 30, 10, 4], [0, 50, 0, 0], [0, 10, 40, 6]])
    row = measured(counts, ["a", "b", "c"], NAMES, FIBROSIS, um_per_pixel=2)
    assert row["fibrosis [% of tissue]"] == pytest.approx(100 * 50 / 140)
    assert row["fibrosis [mm2]"] == pytest.approx(50 * 4e-6)
    assert row["vessel [mm2]"] == pytest.approx(10 * 4e-6)
    assert row["uncertain [% of what was measured]"] == pytest.approx(100 * 10 / 150)  # the vessel was measured, too
    assert row["tiles"] == 3
    assert 0 <= row["low [%]"] < row["fibrosis [% of tissue]"] < row["high [%]"] <= 100


def test_a_slide_without_tissue_has_no_share():
    row = measured(np.zeros((3, 4)), ["a", "b", "c"], NAMES, FIBROSIS, 1)
    assert np.isnan(row["fibrosis [% of tissue]"])
    assert np.isnan(row["uncertain [% of what was measured]"])


def test_tiles_of_one_square_count_as_one():
    grid = Grid((4000, 6000), 500)
    names = blocks(grid, range(len(grid)), um_per_pixel=1.0)  # tiles of 0.5 mm: four make a square of 1 mm
    assert names[0] == names[1] == names[12] == "0 0"
    assert names[2] == "0 1"
    assert len(set(names)) == 4 * 6
    assert len(set(blocks(grid, range(len(grid)), um_per_pixel=4.0))) == len(grid)


def test_a_patient_is_the_sum_of_its_slides():
    rng = np.random.default_rng(0)
    rows = [(f"s{i}", f"P{i // 2}", rng.integers(0, 100, (6, 4)), [str(j) for j in range(6)]) for i in range(4)]
    slides, patients = tables(rows, NAMES, FIBROSIS, 1)
    assert patients["slides"].tolist() == [2, 2]
    for name in ("fibrosis [mm2]", "tiles"):
        assert patients[name].tolist() == pytest.approx([slides[name][:2].sum(), slides[name][2:].sum()])
    share = slides["fibrosis [mm2]"] / (slides["fibrosis [mm2]"] + slides["tissue [mm2]"])
    np.testing.assert_allclose(slides["fibrosis [% of tissue]"], 100 * share)


def test_intervals_hold_the_share_of_the_tissue_that_was_not_cut():
    """Where whose squares differ, of which 12 are seen, four tiles of each alike."""
    rng, held = np.random.default_rng(1), []
    for _ in range(300):
        own = rng.beta(2, 6, 12)  # 25 % on average
        shares = np.repeat(own, 4)
        counts = np.stack([np.zeros(48), 100 * (1 - shares), 100 * shares, np.zeros(48)], 1)
        row = measured(counts, [str(i // 4) for i in range(48)], NAMES, FIBROSIS, 1)
        held.append(row["low [%]"] <= 25 <= row["high [%]"])
    assert 0.9 <= np.mean(held) <= 0.99
