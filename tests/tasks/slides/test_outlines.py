"""Outlines made row by row of tiles are those of the whole map."""

import numpy as np
import pytest
import shapely
from scipy.ndimage import gaussian_filter

from tests.tasks.slides.test_tiles import filled
from utils.images.geojson import inside, outline
from utils.tasks.slides.outlines import class_outline


def blobs(seed):
    """A map of blobs, specks and large areas that reach over many tiles."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(40, 160, 2)
    smooth = gaussian_filter(rng.normal(size=shape), rng.uniform(0.4, 4))
    return np.digitize(smooth, np.quantile(smooth, [0.3, 0.8])).astype(np.uint8), 16 * int(rng.integers(1, 5))


@pytest.mark.parametrize("seed", range(12))
def test_rows_of_tiles_give_the_outlines_of_the_whole(tmp_path, seed):
    ids, side = blobs(seed)
    store = filled(tmp_path, ids, side)
    for step in (1, 4):
        small = ids[::step, ::step]
        for number in range(3):
            found = class_outline(store, number, step)
            assert found.is_valid
            np.testing.assert_array_equal(inside(found, small.shape), small == number)
            assert found.symmetric_difference(outline(small == number)).area < 1e-6
            assert len(shapely.get_parts(found)) == len(shapely.get_parts(outline(small == number)))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_smaller_than_the_tolerance_vanishes_wherever_tiles_end(tmp_path, seed):
    ids, side = blobs(seed)
    found = [class_outline(filled(tmp_path / str(one), ids, one), 1, 1, 2.0) for one in (side, 512)]
    assert all(one.is_valid for one in found)
    assert found[0].symmetric_difference(found[1]).area < 1e-6
    drawn = outline(ids == 1)
    changed = found[1].symmetric_difference(drawn)
    assert changed.difference(drawn.boundary.buffer(2 * 2.0)).area < 1e-6


def test_specks_and_pinholes_go_and_the_rest_stays(tmp_path):
    ids = np.zeros((64, 64), np.uint8)
    ids[10:40, 10:40] = 1
    ids[20, 20] = ids[31:33, 15] = 0  # holes of one and two pixels, one of them where tiles meet
    ids[50, 50] = ids[47:49, 5] = 1  # specks, one of them where tiles meet
    ids[25:30, 30:35] = 0
    found = class_outline(filled(tmp_path, ids, 16), 1, 1, 1.0)
    assert found.area == pytest.approx(900 - 25, abs=40)
    assert not inside(found, ids.shape)[50, 50]
    assert inside(found, ids.shape)[20, 20]


def test_a_class_that_is_not_there_has_no_outline(tmp_path):
    assert class_outline(filled(tmp_path, np.zeros((20, 20), np.uint8), 16), 1, 1, 1.0).is_empty
