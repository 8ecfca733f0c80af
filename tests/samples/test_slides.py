"""The sample `slides`: what is drawn, that readers read it, and that neither colour nor chance solves it."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import false_discovery_control, spearmanr
from sklearn.ensemble import RandomForestClassifier

from data_samples import slides
from data_samples.lobules import COARSE
from data_samples.slide_artefacts import colours
from data_samples.slide_expression import BATCH, EMPTY, FALLING, RISING, draw_expression
from data_samples.slide_tissue import ARTEFACT, BACKGROUND, FIBROSIS, FULL, TISSUE, VESSEL, enlarged
from data_samples.staining import draw_patient
from utils.images.annotations import check_place, class_mask, read_annotations
from utils.images.masks import IGNORED
from utils.images.slides import open_slide

SMALL = (1600, 2000)
IDS = {"Background": BACKGROUND, "Tissue": TISSUE, "Fibrosis": FIBROSIS, "Vessel": VESSEL, "Ignore*": ARTEFACT}


@pytest.fixture(scope="module")
def first():
    return next(slides.draw_slides(size=SMALL))


def test_patients_slides_and_shares():
    shares = slides.shares()
    assert len(shares) >= 12
    assert len({patient for patient, _ in shares}) == 8
    assert min(shares.values()) == pytest.approx(0.023)
    assert max(shares.values()) == pytest.approx(0.41)
    assert set(slides.SPOILT) <= set(shares)
    kinds = {one for spoilt in slides.SPOILT.values() for one in spoilt}
    assert kinds == {"blue", "green", "black", "red", "fold", "blur"}


def test_a_slide_holds_what_was_asked_for(first):
    assert first.rgb.shape == (*SMALL, 3)
    assert first.classes.shape == SMALL
    assert set(np.unique(first.classes)) == set(IDS.values())
    assert first.fibrosis_percent == pytest.approx(100 * slides.shares()[1, 1], abs=10)
    means = {kind: first.rgb[first.classes == kind].mean() for kind in IDS.values()}
    assert means[BACKGROUND] > 235
    assert means[VESSEL] > means[TISSUE]
    assert abs(means[TISSUE] - means[FIBROSIS]) < 30  # colour alone does not tell


def test_the_same_seed_draws_the_same(first):
    again = next(slides.draw_slides(size=SMALL))
    assert np.array_equal(again.rgb, first.rgb)
    assert again.annotations == first.annotations


@pytest.mark.parametrize("seed", range(8))
def test_a_part_of_a_map_is_enlarged_as_in_the_whole(seed):
    rng = np.random.default_rng(seed)
    field = rng.normal(size=rng.integers(40, 120, 2))
    ends = [np.sort(rng.choice(side + 1, 2, replace=False)) * COARSE for side in field.shape]
    place = tuple(slice(*one) for one in ends)
    whole = enlarged(field, tuple(slice(0, COARSE * side) for side in field.shape))
    np.testing.assert_array_equal(enlarged(field, place), whole[place])
    assert np.ptp(whole[place]) > 0


def test_colours_are_those_of_the_law_of_beer_and_lambert():
    """Of a slide of several blocks."""
    rng, size = np.random.default_rng(0), (1100, 1030)
    painting = SimpleNamespace(size=size, blue=rng.integers(0, 256, size, np.uint8), pink=rng.integers(0, 256, size))
    patient = draw_patient(rng, slides.PROTOCOL)
    density = np.stack([painting.blue, painting.pink], axis=-1) / FULL @ patient.stains[:2]
    expected = patient.glass * 10.0**-density
    np.testing.assert_allclose(colours(patient, painting), expected, atol=0.51)


def test_a_slide_is_read_as_a_slide(first, tmp_path):
    slides.write_slide(tmp_path / "a.svs", first.rgb)
    with open_slide(tmp_path / "a.svs") as slide:
        assert slide.um_per_pixel == 0.5
        assert (slide.width, slide.height) == SMALL[::-1]
        assert [level.downsample_x for level in slide.levels] == [1, 4, 16]
        found = slide.read(0, 0, *SMALL[::-1], 0.5)
    assert np.abs(found.astype(int) - first.rgb).mean() < 5


def test_annotations_are_those_of_a_person(first, tmp_path):
    (tmp_path / "a.geojson").write_text(json.dumps(first.annotations))
    annotations = read_annotations(tmp_path / "a.geojson")
    assert len(annotations.remarks) == 3  # a locked region, a box without a class, a point
    assert check_place(annotations, *SMALL[::-1]) == ()
    assert {"Tissue", "Fibrosis"} <= set(annotations.class_names) <= set(IDS)
    mask = class_mask(annotations, IDS, SMALL)
    drawn = mask != IGNORED
    assert 0.02 < drawn.mean() < 0.6  # not everything
    right = (mask == first.classes)[drawn].mean()
    assert 0.88 < right < 0.999  # borders are off by some pixels
    assert first.annotations["features"][0]["properties"]["isLocked"] is True


# --- expression ---


def discoveries(seed):
    """Genes that follow fibrosis by rank, 5 % false discoveries allowed."""
    shares = pd.Series(np.random.default_rng(seed).permutation(list(slides.shares().values())[:8]))
    table = draw_expression(np.random.default_rng(seed), shares)
    genes = list(table.columns[2:])
    p = [spearmanr(shares, table[gene]).pvalue for gene in genes]
    return {gene for gene, one in zip(genes, false_discovery_control(p), strict=True) if one <= 0.05}


def test_genes_follow_what_they_are_said_to_follow():
    found = [discoveries(seed) for seed in range(10)]
    planted, empty = {*RISING, *FALLING}, set(EMPTY)
    assert len(empty) == 20
    assert np.mean([len(planted & genes) / len(planted) for genes in found]) > 0.95
    assert np.mean([len(empty & genes) for genes in found]) <= 1
    assert max(len(empty & genes) for genes in found) <= 3


def test_a_batch_moves_some_genes():
    shares = pd.Series(np.linspace(0.02, 0.4, 8), [f"p{number}" for number in range(8)])
    table = draw_expression(np.random.default_rng(0), shares)
    assert list(table["patient"]) == list(shares.index)
    by_site = table.drop(columns="patient").groupby("site").mean()
    assert (by_site[list(BATCH)].diff().abs().iloc[-1] > 1).all()


# --- the whole sample ---


@pytest.mark.slow
def test_the_sample_is_written(tmp_path):
    slides.make_slides(tmp_path, size=SMALL)
    truth = pd.read_csv(tmp_path / "truth.csv")
    names = sorted(path.stem for path in (tmp_path / "slides").iterdir())
    assert names == [name.removesuffix(".svs") for name in truth["slide"]]
    assert names == sorted(path.stem for path in (tmp_path / "truth").iterdir())
    assert len(list((tmp_path / "annotations").iterdir())) == 8
    expression = pd.read_csv(tmp_path / "expression.csv")
    assert set(truth["patient"]) == set(expression["patient"]) - {"patient09"}
    assert set(pd.read_csv(tmp_path / "expression_truth.csv")["gene"]) == set(expression.columns) - {"patient", "site"}


def features(rgb):
    """RGB smoothed at three scales, of every fourth pixel: (pixels, 9)."""
    scales = [gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0))[::4, ::4] for sigma in (2, 6, 18)]
    return np.concatenate(scales, axis=-1).reshape(-1, 9)


@pytest.mark.slow
def test_pixel_colours_do_not_solve_the_slides():
    """A random forest learns the colours of some patients' pixels and is asked about the others."""
    drawn = [one for one in slides.draw_slides(size=SMALL) if one.annotations]
    kept = [np.isin(one.classes[::4, ::4].ravel(), (TISSUE, FIBROSIS)) for one in drawn]
    x = [features(one.rgb)[here] for one, here in zip(drawn, kept, strict=True)]
    y = [one.classes[::4, ::4].ravel()[here] == FIBROSIS for one, here in zip(drawn, kept, strict=True)]
    rng = np.random.default_rng(0)
    train_x, train_y = np.concatenate(x[:5]), np.concatenate(y[:5])
    chosen = rng.choice(len(train_y), 12_000, replace=False)
    forest = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(train_x[chosen], train_y[chosen])
    found, true = forest.predict(np.concatenate(x[5:])), np.concatenate(y[5:])
    dice = 2 * (found & true).sum() / (found.sum() + true.sum())
    print(f"Dice of fibrosis by colour: {dice:.3f}")
    assert dice < 0.6
