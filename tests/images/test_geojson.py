"""Outlines of masks and label images, as QuPath reads them."""

import json
import math
from uuid import UUID

import numpy as np
import pytest
import shapely
from scipy.ndimage import label
from shapely.affinity import translate

from utils.images.geojson import (
    ANNOTATION,
    DETECTION,
    borders,
    feature,
    inside,
    objects,
    outline,
    polygons,
    write_geojson,
)


def blobs(seed: int, share: float) -> np.ndarray:
    """Random mask of random size with holes, corners that touch, and pixels at the border."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 60, 2)
    return np.kron(rng.random(-(-shape // 2)) < share, np.ones((2, 2), bool))[: shape[0], : shape[1]] & (
        rng.random(shape) < 0.95
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_outline_of_a_mask_encloses_the_same_pixels(seed, share):
    mask = blobs(seed, share)

    geometry = outline(mask)

    assert geometry.is_valid
    assert np.array_equal(inside(geometry, mask.shape), mask)


def test_one_pixel_lies_round_its_centre():
    mask = np.zeros((5, 7), bool)
    mask[2, 4] = True

    geometry = outline(mask)

    assert geometry.bounds == (4, 2, 5, 3)  # QuPath: the pixel of column 4 and row 2 reaches from x = 4 to 5
    assert geometry.centroid.coords[0] == (4.5, 2.5)


def test_a_hole_stays_a_hole_and_an_island_in_it_is_kept():
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True

    parts = shapely.get_parts(outline(mask))

    assert sorted(len(part.interiors) for part in parts) == [0, 1]
    assert np.array_equal(inside(outline(mask), mask.shape), mask)


@pytest.mark.parametrize("seed", range(6))
def test_every_object_of_a_label_image_has_its_own_outline(seed):
    labels, n = label(blobs(seed, 0.4))
    labels[labels == 1] = 0  # a number that is missing
    labels[labels == 2] = 2**30

    found = dict(objects(labels))

    assert set(found) == set(np.unique(labels)) - {0}
    again = np.zeros_like(labels)
    for number, geometry in found.items():
        assert not again[inside(geometry, labels.shape)].any()
        again[inside(geometry, labels.shape)] = number
    assert np.array_equal(again, labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("downsample", [1, 3, 4.5])
def test_pixels_are_inside_where_their_centres_are(seed, downsample):
    rng = np.random.default_rng(seed)
    hull = shapely.MultiPoint(rng.uniform(-20, 120, (6, 2))).convex_hull
    geometry = hull.difference(shapely.Point(*hull.centroid.coords[0]).buffer(7))

    mask = inside(geometry, (30, 40), downsample)

    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    assert np.array_equal(mask, shapely.contains_xy(geometry, x * downsample, y * downsample))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_smooth_lines_cross_nowhere_and_enclose_the_same_pixels(seed, share):
    mask = blobs(seed, share)
    lines = [line - 1 for line in borders(np.pad(mask, 1), smooth=True)]
    found = polygons(lines)

    assert found.is_valid
    assert np.array_equal(inside(found, mask.shape), mask)
    drawn = shapely.union_all([shapely.LineString(line - 1) for line in borders(np.pad(mask, 1))])
    assert all(shapely.dwithin(drawn, shapely.points(line), 0.5).all() for line in lines)


def test_a_smooth_line_follows_a_circle():
    y, x = np.mgrid[:100, :100] - 49.5
    exact, (smooth,) = (borders(np.hypot(y, x) < 40, how) for how in (False, True))
    steps, rest = (np.ptp(np.hypot(*(line - 50).T)) for line in (exact[0], smooth))
    assert rest < 0.6 * steps
    assert polygons([smooth]).area == pytest.approx(np.pi * 40**2, rel=0.005)


def test_a_file_is_what_qupath_reads(tmp_path):
    square = translate(shapely.box(0, 0, 2, 2), 3, 4)
    measured = {"area [px]": 4, "mean": np.float32(0.5), "um": math.nan, "file": "a.tif", "touches border": True}
    one = feature(square, DETECTION, "a.tif 1", "cell", (1, 0.5, 0), measured)
    write_geojson(tmp_path / "a.geojson", [one, feature(square, ANNOTATION, "a.tif 2")])

    text = (tmp_path / "a.geojson").read_text()
    collection = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON

    first, second = collection["features"]
    assert collection["type"] == "FeatureCollection"
    assert first["properties"] == {
        "objectType": "detection",
        "classification": {"name": "cell", "color": [255, 128, 0]},
        "measurements": {"area [px]": 4.0, "mean": 0.5},
    }
    assert second["properties"] == {"objectType": "annotation"}
    assert UUID(first["id"]) != UUID(second["id"])
    assert first["id"] == feature(square, DETECTION, "a.tif 1")["id"]
    assert shapely.from_geojson(json.dumps(first["geometry"])).equals(square)


@pytest.mark.parametrize("plane", [None, {"Z": 3}])
def test_what_is_written_part_by_part_is_the_geometry(tmp_path, plane):
    holed = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 4.1, 1 / 3 + 3))
    several = [holed, shapely.MultiPolygon([holed]), shapely.MultiPolygon([holed, translate(holed, 20, 0)])]
    several.append(shapely.MultiPolygon())
    name = 'a "quoted" []}} name'
    write_geojson(tmp_path / "a.geojson", [feature(one, ANNOTATION, "a", name, plane=plane) for one in several])
    found = json.loads((tmp_path / "a.geojson").read_text())["features"]
    for one, expected in zip(found, several, strict=True):
        assert one["properties"]["classification"]["name"] == name
        assert one["geometry"].pop("plane", None) == ({"c": -1, "z": 2, "t": 0} if plane else None)
        assert one["geometry"] == json.loads(shapely.to_geojson(expected))


def test_an_image_without_objects_gives_an_empty_collection(tmp_path):
    write_geojson(tmp_path / "a.geojson", [])

    assert json.loads((tmp_path / "a.geojson").read_text()) == {"type": "FeatureCollection", "features": []}
    assert outline(np.zeros((4, 4), bool)).is_empty
    assert not inside(outline(np.zeros((4, 4), bool)), (4, 4)).any()
