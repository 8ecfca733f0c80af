"""Amounts of stain, and collagen by colour."""

import numpy as np
import pytest

from utils.images.stains import H_AND_E, STAINS, amounts, by_colour, collagen_mask, optical_density


def stained(stain, collagen, other, white=255.0):
    """Picture of known amounts, by the law of Beer and Lambert, (Y, X, 3) uint8."""
    density = collagen[..., None] * STAINS[stain].collagen + other[..., None] * STAINS[stain].other
    return np.clip(np.rint(white * 10.0**-density), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("white", [255.0, (243, 240, 246)])
def test_amounts_come_back(stain, white):
    rng = np.random.default_rng(0)
    collagen, other = rng.uniform(0, 0.7, (2, 30, 40))
    found = amounts(stained(stain, collagen, other, np.array(white)), stain, white)
    assert found.dtype == np.float32
    assert np.abs(found - np.stack([collagen, other], axis=-1)).max() < 0.06  # of 8 bits
    assert np.abs(found - np.stack([collagen, other], axis=-1)).mean() < 0.005


@pytest.mark.parametrize("stain", STAINS)
def test_stains_are_unit_vectors_apart(stain):
    one = STAINS[stain]
    assert np.linalg.norm(one.collagen) == pytest.approx(1)
    assert np.linalg.norm(one.other) == pytest.approx(1)
    assert one.collagen @ one.other < 0.93


@pytest.mark.parametrize("stain", STAINS)
def test_collagen_is_where_its_stain_is(stain):
    collagen, other = np.zeros((10, 20)), np.zeros((10, 20))
    collagen[:, :5], other[:, :5] = 0.5, 0.1  # collagen; then cells; the rest is empty
    collagen[:, 5:10], other[:, 5:10] = 0.1, 0.5
    rgb = stained(stain, collagen, other)
    assert np.array_equal(collagen_mask(rgb, stain), collagen == 0.5)
    assert not collagen_mask(rgb, stain, threshold=0.6).any()
    assert np.bincount(by_colour(rgb, stain).ravel()).tolist() == [100, 50, 50]


def test_black_and_brighter_than_white_are_finite():
    rgb = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    density = optical_density(rgb, (200, 200, 200))
    assert np.isfinite(density).all()
    assert (density[0, 1] == 0).all()
    assert np.isfinite(amounts(rgb, H_AND_E)).all()
