"""Outlines made of bands of a map are those of the whole map."""

import numpy as np
import pytest
import shapely
from scipy.ndimage import gaussian_filter

from tests.images.test_annotations import IDS, drawing, read
from tests.tasks.slides.test_tiles import filled
from utils.images.annotations import class_mask, read_annotations
from utils.images.geojson import ANNOTATION, feature, inside, outline, write_geojson
from utils.images.masks import IGNORED
from utils.tasks.slides import outlines
from utils.tasks.slides.outlines import class_outline
from utils.tasks.slides.tiles import NOT_TISSUE


def blobs(seed):
    """A map of blobs, specks and large areas that reach over many tiles."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(40, 160, 2)
    smooth = gaussian_filter(rng.normal(size=shape), rng.uniform(0.4, 4))
    return np.digitize(smooth, np.quantile(smooth, [0.3, 0.8])).astype(np.uint8), 16 * int(rng.integers(1, 5))


@pytest.fixture(autouse=True)
def _several_bands(monkeypatch):
    monkeypatch.setattr(outlines, "HIGHEST", 13)


@pytest.mark.parametrize("seed", range(12))
def test_bands_of_a_map_give_the_outlines_of_the_whole(tmp_path, seed):
    ids, side = blobs(seed)
    store = filled(tmp_path, ids, side)
    for step in (1, 4):
        small = ids[::step, ::step]
        for number in range(3):
            found = class_outline(store, number, step)
            assert found.is_valid
            np.testing.assert_array_equal(inside(found, small.shape), small == number)
            whole = outline(small == number)
            assert len(shapely.get_parts(found)) == len(shapely.get_parts(whole))
            assert found.boundary.is_empty or found.hausdorff_distance(whole) < 0.75


@pytest.mark.parametrize("highest", [1, 5, 60])
@pytest.mark.parametrize("seed", range(6))
def test_simpler_lines_stay_near_do_not_cross_and_are_the_same_for_all_tiles(tmp_path, monkeypatch, seed, highest):
    monkeypatch.setattr(outlines, "HIGHEST", highest)
    ids, side = blobs(seed)
    found = [class_outline(filled(tmp_path / str(one), ids, one), 1, 1, 2.0) for one in (side, 512)]
    assert found[0].is_valid
    assert found[0].equals_exact(found[1], 0)
    drawn = outline(ids == 1).boundary
    shapely.prepare(drawn)
    points = shapely.points(shapely.get_coordinates(shapely.segmentize(found[0].boundary, 0.25)))
    assert shapely.dwithin(drawn, points, 2.0 + 1e-6).all()
    y, x = np.nonzero(inside(found[0], ids.shape) != (ids == 1))
    assert shapely.dwithin(drawn, shapely.points(x + 0.5, y + 0.5), 2 * 2.0).all()


def seen(annotations):
    """Geometry of each class once later annotations lie over earlier ones."""
    found = dict.fromkeys(IDS, shapely.Polygon())
    for area in annotations.areas:
        found = {name: geometry.difference(area.geometry) for name, geometry in found.items()}
        found[area.class_name] = found[area.class_name].union(area.geometry)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("downsample", [1, 4, 16])
def test_annotations_to_a_class_map_and_back_keep_every_class(tmp_path, seed, downsample):
    scale = downsample / 4  # structures as large as people draw at that size
    drawn = read(tmp_path, drawing(seed, scale))
    mask = class_mask(drawn, IDS, (1500, 2000), downsample)
    store = filled(tmp_path / "tiles", np.where(mask == IGNORED, NOT_TISSUE, mask).astype(np.uint8), 256)
    found = {name: class_outline(store, number) for name, number in IDS.items()}
    parts = [(name, shapely.transform(one, lambda points: points * downsample)) for name, one in found.items()]
    write_geojson(tmp_path / "b.geojson", [feature(one, ANNOTATION, name, name, (0, 0, 1)) for name, one in parts])
    again = read_annotations(tmp_path / "b.geojson")

    slide = shapely.box(0, 0, 8000 * scale, 6000 * scale)
    before, after = seen(drawn), seen(again)
    for name in IDS:
        a, b = before[name].intersection(slide), after[name]
        assert a.intersection(b).area >= 0.98 * a.union(b).area, name
    assert np.array_equal(class_mask(again, IDS, mask.shape, downsample), mask)


def test_specks_and_pinholes_go_and_the_rest_stays(tmp_path):
    ids = np.zeros((64, 64), np.uint8)
    ids[10:40, 10:40] = 1
    ids[20, 20] = ids[31:33, 15] = 0  # holes of one and two pixels, one of them where bands meet
    ids[50, 50] = ids[47:49, 5] = 1  # specks, one of them where bands meet
    ids[25:30, 30:35] = 0
    found = class_outline(filled(tmp_path, ids, 16), 1, 1, 1.0)
    assert found.area == pytest.approx(900 - 25, abs=40)
    assert not inside(found, ids.shape)[50, 50]
    assert inside(found, ids.shape)[20, 20]


def test_a_class_that_is_not_there_has_no_outline(tmp_path):
    assert class_outline(filled(tmp_path, np.zeros((20, 20), np.uint8), 16), 1, 1, 1.0).is_empty
