"""The simulated culture: the same for the same seed, a truth that adds up, light that bleaches and harms."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import laplace

from data_samples import culture_training
from data_samples.culture import HOUR, MINUTES, PHASES, STEP_S, TRUTH, Culture
from data_samples.culture_pictures import FIELD_UM, PIXEL_SIZE_UM

FIELD = {"size_um": 250.0, "density": 900.0}


@pytest.fixture(scope="module")
def divided():
    """A small dish in which every cell divided within some hours."""
    culture = Culture(5, synchronised=True, **FIELD)
    culture.advance(6 * HOUR)
    return culture


def test_the_same_seed_is_the_same_culture_however_often_it_is_asked():
    one, other = Culture(2, **FIELD), Culture(2, **FIELD)
    one.advance(HOUR)
    for seconds in np.arange(7.0, HOUR + 7, 61.0):
        other.advance(seconds)
    other.advance(HOUR)
    pd.testing.assert_frame_equal(one.truth(), other.truth())
    assert np.array_equal(one.image(0, 0, 0, "H2B", 50), other.image(0, 0, 0, "H2B", 50))
    different = Culture(3, **FIELD)
    assert not np.array_equal(one.cells["x"], different.cells["x"])


def test_cells_divide_through_the_phases_in_order(divided):
    truth = divided.truth()
    assert list(truth) == TRUTH
    starts = truth.drop_duplicates(["cell", "phase"])
    order = {name: i for i, name in enumerate(PHASES)}
    ranks = starts.phase.map(order).groupby(starts.cell)
    assert ranks.apply(lambda one: one.is_monotonic_increasing).all()
    whole = starts.groupby("cell").filter(lambda one: {"prophase", "telophase"} <= set(one.phase))
    assert whole.cell.nunique() > 20
    steps = whole[whole.phase.isin(MINUTES)]
    assert set(steps.groupby("cell").phase.apply(tuple)) == {tuple(MINUTES)}


def test_each_division_gives_two_daughters_near_the_mother(divided):
    truth = divided.truth()
    first, last = truth.drop_duplicates("cell"), truth.drop_duplicates("cell", keep="last").set_index("cell")
    daughters = first[first.parent >= 0]
    assert (daughters.groupby("parent").size() == 2).all()
    assert len(daughters) > 40
    mothers = last.loc[daughters.parent]
    assert (mothers.phase == "telophase").all()
    away = np.hypot(daughters.x_um - mothers.x_um.to_numpy(), daughters.y_um - mothers.y_um.to_numpy())
    assert away.between(2, 25).all()


def test_mitosis_takes_about_an_hour_and_interphase_hours(divided):
    starts = divided.truth().drop_duplicates(["cell", "phase"]).pivot(index="cell", columns="phase", values="time_s")
    began = starts.prophase[starts.prophase > 0]  # those of the start were in the middle of it
    minutes = (starts.telophase - began).dropna() / 60
    assert minutes.mean() == pytest.approx(sum(MINUTES.values()) - MINUTES["telophase"], rel=0.15)
    cells = Culture(6, **FIELD).cells
    assert np.mean(cells["until"] - cells["born"])[()] / HOUR > 10


def test_an_unsynchronised_culture_has_some_cells_in_mitosis():
    culture = Culture(1)
    share = culture.now().phase.isin(MINUTES).mean()
    assert 0.02 < share < 0.12


def test_what_is_seen_is_where_the_truth_says():
    culture = Culture(4, size_um=FIELD_UM, density=300)
    image = culture.image(0, 0, 0, "H2B", 200).astype(float)
    assert image.shape == (1024, 1024)
    now = culture.now()
    pixels = (now[["y_um", "x_um"]].to_numpy() / PIXEL_SIZE_UM + 511.5).round().astype(int)
    inside = pixels[((pixels > 20) & (pixels < 1003)).all(axis=1)]
    around = np.array([image[y - 8 : y + 9, x - 8 : x + 9].max() for y, x in inside])
    assert (around > np.median(image) + 150).all()
    away = culture.image(50 * PIXEL_SIZE_UM, 0, 0, "H2B", 200).astype(float)
    shifted = np.corrcoef(image[:, 50:].ravel(), away[:, :-50].ravel())[0, 1]
    assert shifted > 0.9 > np.corrcoef(image.ravel(), away.ravel())[0, 1]


def test_images_are_16_bit_brighter_when_exposed_longer_and_full_at_most():
    culture = Culture(4, **FIELD)
    short, long, too_long = (culture.image(0, 0, 0, "H2B", ms) for ms in (50, 200, 100_000))
    assert short.dtype == np.uint16
    assert long.mean() - 100 == pytest.approx(4 * (short.mean() - 100), rel=0.05)
    assert too_long.max() == 65_535
    assert culture.image(0, 0, 0, "Cytoplasm", 50).std() > 5


def test_focus_wanders_and_the_stage_brings_it_back():
    culture = Culture(8, **FIELD)
    culture.advance(4 * HOUR)
    focus = culture.camera.focus_um(culture.time_s)
    sharp, blurred = (culture.image(0, 0, z, "H2B", 200).astype(float)[300:700, 300:700] for z in (focus, focus + 6))
    assert sharp.max() > 1.3 * blurred.max()
    assert laplace(sharp).std() > laplace(blurred).std()
    drifts = [abs(Culture(seed, size_um=50).camera.focus_um(t * HOUR)) for seed in range(4) for t in range(1, 9)]
    assert 0.3 < np.max(drifts) < 5


def test_light_bleaches_only_the_field_it_falls_on():
    culture = Culture(4, size_um=700, density=300)
    before = [culture.image(x, 0, 0, "H2B", 100).astype(float).mean() for x in (-190, 190)]
    culture.light(-190, 0, "H2B", 60_000)
    after = [culture.image(x, 0, 0, "H2B", 100).astype(float).mean() for x in (-190, 190)]
    assert after[0] < before[0] - 3
    assert after[1] == pytest.approx(before[1], abs=1)


def test_a_gentle_survey_harms_nothing_and_filming_everything_does():
    def entries_and_deaths(ms):
        culture = Culture(7, size_um=FIELD_UM)
        for minute in range(0, 8 * 60, 5):
            culture.advance(minute * 60)
            culture.light(0, 0, "H2B", ms)
        starts = culture.truth().drop_duplicates(["cell", "phase"])
        return [(starts[starts.time_s > 0].phase == name).sum() for name in ("prophase", "apoptosis")]

    dark, gentle, filmed = (entries_and_deaths(ms) for ms in (0, 100, 5000))
    assert gentle == dark
    assert filmed[0] < 0.7 * dark[0]
    assert filmed[1] > 5 + dark[1]


def test_a_saved_culture_goes_on_as_if_it_had_never_been_away(tmp_path):
    stayed = Culture(9, **FIELD)
    stayed.advance(3 * HOUR)
    stayed.light(0, 0, "H2B", 50_000)
    stayed.image(0, 0, 0, "H2B", 50)
    stayed.save(tmp_path / "culture.npz")
    back = Culture.load(tmp_path / "culture.npz")
    for one in (stayed, back):
        one.advance(6 * HOUR)
    pd.testing.assert_frame_equal(stayed.truth(), back.truth())
    assert np.array_equal(stayed.image(0, 0, 1, "H2B", 50), back.image(0, 0, 1, "H2B", 50))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_empty_dish_and_a_lone_cell(count):
    culture = Culture(1, size_um=100, density=count * 100)
    culture.advance(20 * STEP_S)
    assert len(culture.now()) == count
    assert culture.image(0, 0, 0, "H2B", 50).shape == (1024, 1024)
    assert list(culture.truth()) == TRUTH


def test_a_crowded_dish_stops_growing():
    culture = Culture(1, size_um=120, density=7000)
    culture.advance(30 * HOUR)
    assert len(culture.cells) < 250


def test_halves_of_a_dividing_cell_are_two_objects_a_dead_one_is_one(divided):
    seen = {name: [] for name in PHASES}
    for cell in divided.cells:
        name = PHASES[cell["phase"]]
        seen[name].append(len(culture_training.outlines(divided.camera.drawing(cell, divided.time_s), name)))
    assert set(seen["interphase"]) == {1}
    labels, objects = culture_training.labelled(divided)
    assert labels.max() >= len(objects) > 50
    wrong = [
        phase for phase, y, x in objects if not labels[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].any()
    ]
    assert len(wrong) < 0.02 * len(objects) + 1


def test_training_images_have_the_layout_of_the_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(culture_training, "ROLES", {"train": (0, 5, 1), "test": (50, 2, 1)})
    monkeypatch.setattr(culture_training, "TIMES_H", (2.0,))
    monkeypatch.setattr(culture_training, "PART", 256)
    culture_training.write_training(tmp_path, 1000)
    crops = sorted((tmp_path / "cells" / "train" / "metaphase").iterdir())
    assert len(crops) == 5
    assert tifffile.imread(crops[0]).shape == (64, 64)
    assert set(pd.read_csv(tmp_path / "cells" / "classes.csv")["class"]) == set(PHASES)
    image, mask = (next((tmp_path / "nuclei" / "test" / kind).iterdir()) for kind in ("images", "masks"))
    assert image.name == mask.name
    assert tifffile.imread(image).shape == tifffile.imread(mask).shape == (256, 256)
    assert tifffile.imread(mask).max() > 3
