"""Annotations of QuPath to masks of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from utils.errors import DataError
from utils.images.annotations import (
    Annotations,
    Area,
    check_place,
    class_mask,
    class_table,
    is_ignored_class,
    paired,
    read_annotations,
)
from utils.images.masks import IGNORED

CLASSES = [
    {"id": 0, "name": "Background", "colour": (1, 1, 1)},
    {"id": 1, "name": "Tissue", "colour": (1, 0.5, 0)},
    {"id": 2, "name": "Fibrosis", "colour": (0, 0, 1)},
]
IDS = {one["name"]: one["id"] for one in CLASSES}
SQUARE = [[[2, 3], [8, 3], [8, 9], [2, 9], [2, 3]]]


def one(geometry, classification="Tissue", **properties):
    if classification is not None:
        properties["classification"] = classification
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation"} | properties}


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [np.asarray(ring).tolist() for ring in rings]}


def square(x=2, y=3, side=6):
    return polygon([[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]])


def written(tmp_path, data, name="a.geojson"):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def read(tmp_path, data):
    return read_annotations(written(tmp_path, data))


# --- laws ---


def blob(rng, x, y, radius):
    """Star-shaped polygon of 80 points with a wavy outline."""
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    waves = sum(rng.normal(0, 0.08) * np.cos(k * angles + rng.uniform(0, 6)) for k in (2, 3, 5))
    radii = radius * (1 + waves)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


def drawing(seed, scale=1):
    """Overlapping annotations of three classes: polygons with holes, MultiPolygons; `scale` x 8,000 x 6,000 pixels."""
    rng = np.random.default_rng(seed)
    features = []
    for name in rng.permutation(["Background", "Tissue", "Fibrosis"] * 2):
        x, y, radius = rng.uniform(1500, 6500), rng.uniform(1500, 4500), rng.uniform(900, 1400)
        outer, hole = blob(rng, x, y, radius), blob(rng, x, y, radius / 2)[::-1]
        near = blob(rng, rng.uniform(500, 7500), rng.uniform(500, 5500), 400)
        parts = shapely.union_all([shapely.Polygon(scale * outer, [scale * hole]), shapely.Polygon(scale * near)])
        features.append(one(json.loads(shapely.to_geojson(parts)), {"name": str(name), "color": [1, 2, 3]}))
    return {"type": "FeatureCollection", "features": features}


@pytest.mark.parametrize("seed", range(6))
def test_a_window_is_a_part_of_the_whole(tmp_path, seed):
    rng = np.random.default_rng(seed)
    drawn, downsample = read(tmp_path, drawing(seed)), int(rng.integers(7, 20))
    whole = class_mask(drawn, IDS, (6000 // downsample, 8000 // downsample), downsample)
    top, left = rng.integers(0, whole.shape) - 20
    window = class_mask(drawn, IDS, (70, 90), downsample, (left * downsample, top * downsample))
    padded = np.pad(whole, 200, constant_values=IGNORED)
    inner = (slice(max(0, -top), whole.shape[0] - top), slice(max(0, -left), whole.shape[1] - left))
    assert np.array_equal(window[inner], padded[200 + top :, 200 + left :][:70, :90][inner])


# --- what QuPath writes ---


def test_pixels_have_the_class_of_their_centre(tmp_path):
    mask = class_mask(read(tmp_path, one(square())), IDS, (12, 12))
    expected = np.full((12, 12), IGNORED)
    expected[3:9, 2:8] = 1  # the pixel of column 2 reaches from x = 2 to 3
    assert mask.dtype == np.int16
    assert np.array_equal(mask, expected)
    assert (class_mask(read(tmp_path, one(square(2.6, 2.6, 1))), IDS, (5, 5)) == 1).sum() == 1


FORMS = {
    "collection": lambda feature: {"type": "FeatureCollection", "features": [feature]},
    "bare array": lambda feature: [feature],
    "one feature": lambda feature: feature,
    "nested": lambda feature: [one(square(0, 0, 1), "Fibrosis") | {"childObjects": [feature]}],
    "nested in properties": lambda feature: [one(square(0, 0, 1), "Fibrosis", childObjects=[feature])],
    "metadata": lambda f: [f | {"properties": f["properties"] | {"metadata": {"a": "b"}, "name": "x", "isMissing": 0}}],
    "NaN as text": lambda f: [f | {"properties": f["properties"] | {"measurements": {"a": "NaN", "b": "-Infinity"}}}],
    "no objectType": lambda f: [f | {"properties": {"classification": "Tissue"}}],
    "QuPath 0.2": lambda f: [f | {"id": "PathAnnotationObject", "properties": {"classification": {"name": "Tissue"}}}],
    "name and colour": lambda f: [f | {"properties": {"classification": {"name": "Tissue", "color": [200, 0, 0]}}}],
    "names": lambda f: [f | {"properties": {"classification": {"names": ["Tissue"], "colorRGB": -3670016}}}],
    "with a plane": lambda f: [f | {"geometry": f["geometry"] | {"plane": {"c": -1, "z": 0, "t": 0}}}],
    "three coordinates": lambda f: [f | {"geometry": polygon([(*point, 0) for point in SQUARE[0]])}],
    "not closed": lambda f: [f | {"geometry": polygon(SQUARE[0][:-1])}],
    "collection of geometries": lambda f: [
        f | {"geometry": {"type": "GeometryCollection", "geometries": [f["geometry"], {"type": "Point"}]}}
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_what_qupath_writes_is_read(tmp_path, form):
    annotations = read(tmp_path, FORMS[form](one(square())))
    assert annotations.areas[-1].class_name == "Tissue"
    assert annotations.areas[-1].geometry.area == 36
    assert annotations.remarks == ()
    if form in ("name and colour", "names"):
        assert annotations.areas[0].colour == (200 / 255, 0, 0)


def test_bare_numbers_that_are_none_and_a_byte_order_mark(tmp_path):
    text = json.dumps([one(square(), measurements={"a": float("nan")})])
    assert "NaN" in text
    assert read(tmp_path, "\ufeff" + text).areas[0].class_name == "Tissue"


def test_derived_classes_have_the_names_of_both(tmp_path):
    areas = read(tmp_path, [one(square(), {"names": ["Tissue", "portal"]}), one(square(), "Tissue: portal")]).areas
    assert {area.class_name for area in areas} == {"Tissue: portal"}


def test_later_ones_lie_over_earlier_ones_and_children_over_parents(tmp_path):
    data = [one(square(0, 0, 9)), one(square(2, 2, 4), "Fibrosis"), one(square(3, 3, 1), "Tissue")]
    nested = [data[0] | {"childObjects": [data[1] | {"childObjects": [data[2]]}]}]
    for form in (data, nested):
        mask = class_mask(read(tmp_path, form), IDS, (9, 9))
        assert (mask == 2).sum() == 15
        assert mask[3, 3] == 1


def test_holes_and_islands(tmp_path):
    ring = shapely.box(0, 0, 9, 9).difference(shapely.box(2, 2, 7, 7)).union(shapely.box(4, 4, 5, 5))
    mask = class_mask(read(tmp_path, one(json.loads(shapely.to_geojson(ring)))), IDS, (9, 9))
    assert (mask == 1).sum() == 81 - 25 + 1
    assert mask[3, 3] == IGNORED


def test_a_class_may_be_ignored_on_purpose_and_others_are_not_drawn(tmp_path):
    data = [one(square(0, 0, 9)), one(square(2, 2, 4), "Ignore*"), one(square(6, 6, 2), "Other")]
    annotations = read(tmp_path, data)
    assert [name for name in annotations.class_names if is_ignored_class(name)] == ["Ignore*"]
    mask = class_mask(annotations, IDS | {"Ignore*": IGNORED}, (9, 9))
    assert (mask == IGNORED).sum() == 16
    assert mask[7, 7] == 1


# --- left out, and said ---

POINT = {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}
LINE = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
LEFT_OUT = {
    "a point": (one(POINT), "1 points or lines"),
    "a line": (one(LINE), "1 points or lines"),
    "no class": (one(square(), None), "1 without a class"),
    "class null": (one(square(), classification=None) | {"properties": {"classification": None}}, "without a class"),
    "locked": (one(square(), isLocked=True), "1 locked"),
    "a region": (one(square(), "Region*"), "Region"),
    "a detection": (one(square()) | {"properties": {"objectType": "detection", "classification": "Tissue"}}, "cells"),
    "an old cell": (one(square()) | {"id": "PathCellObject", "properties": {"classification": "Tissue"}}, "cells"),
    "no geometry": (one(None), "usable outline"),
    "no rings": (one(polygon()), "usable outline"),
    "two points": (one(polygon([[0, 0], [1, 1]])), "usable outline"),
    "all on a line": (one(polygon([[0, 0], [1, 1], [2, 2], [0, 0]])), "usable outline"),
    "NaN": (one({"type": "Polygon", "coordinates": [[["NaN", 0], [4, 0], [4, 4], ["NaN", 0]]]}), "usable outline"),
    "texts": (one({"type": "Polygon", "coordinates": "12"}), "usable outline"),
    "an unknown type": (one({"type": "Circle", "coordinates": [1, 2]}), "usable outline"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_cannot_be_used_is_left_out_and_said(tmp_path, kind):
    feature, word = LEFT_OUT[kind]
    annotations = read(tmp_path, [feature, one(square())])
    assert len(annotations.areas) == 1
    assert len(annotations.remarks) == 1
    assert word in annotations.remarks[0][0]
    with pytest.raises(DataError, match="no annotation that can be used"):
        read(tmp_path, [feature])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not GeoJSON"),
        ("{", "not GeoJSON"),
        ("<html></html>", "not GeoJSON"),
        ("[" * 100_000, "not GeoJSON"),
        ("[]", "holds no annotations"),
        ("{}", "holds no annotations"),
        ("3", "holds no annotations"),
        ('"text"', "holds no annotations"),
        ('{"type": "FeatureCollection", "features": []}', "holds no annotations"),
        ('{"a": [{"b": 1}]}', "holds no annotations"),
    ],
)
def test_what_is_no_geojson_is_told(tmp_path, text, word):
    with pytest.raises(DataError, match=word):
        read(tmp_path, text)
    (tmp_path / "b.geojson").write_bytes(b"\x93NUMPY\xff\xfe")
    with pytest.raises(DataError, match="not GeoJSON"):
        read_annotations(tmp_path / "b.geojson")
    with pytest.raises(DataError, match="There is no file"):
        read_annotations(tmp_path / "c.geojson")


def test_outlines_that_cross_themselves_are_repaired_and_said(tmp_path):
    bow = polygon([[0, 0], [8, 8], [8, 0], [0, 8], [0, 0]])
    twice = {"type": "MultiPolygon", "coordinates": [square()["coordinates"], square(4, 4, 6)["coordinates"]]}
    annotations = read(tmp_path, [one(bow), one(twice)])
    assert [area.geometry.is_valid for area in annotations.areas] == [True, True]
    assert [area.geometry.area for area in annotations.areas] == [32, 36 + 36 - 4 * 5]
    assert "2 outlines crossed themselves" in annotations.remarks[0][0]


def test_many_points_are_read_and_drawn(tmp_path):
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radii = 4000 + 300 * np.sin(40 * angles) + rng.normal(0, 0.1, len(angles))
    ring = np.stack([5000 + radii * np.cos(angles), 5000 + radii * np.sin(angles)], axis=1)
    annotations = read(tmp_path, one(polygon(ring)))
    (area,) = annotations.areas
    mask = class_mask(annotations, IDS, (625, 625), 16)
    assert abs((mask == 1).sum() * 256 / area.geometry.area - 1) < 1e-3
    assert class_mask(annotations, IDS, (64, 64), 1, (1000, 5000)).shape == (64, 64)


# --- beside slides ---


def test_annotations_of_another_slide_are_refused(tmp_path):
    annotations = read(tmp_path, [one(square(50, 50, 10)), one(square(95, 50, 10)), one(square(10, 10, 10))])
    assert check_place(annotations, 200, 200) == ()
    assert "1 annotation reaches beyond" in check_place(annotations, 100, 100)[0][0]
    with pytest.raises(DataError, match="another image"):
        check_place(annotations, 50, 50)


def test_areas_of_classes():
    box = shapely.MultiPolygon([shapely.box(0, 0, 1000, 1000)])
    annotations = Annotations(Path("a"), (Area(box, "Tissue"), Area(box, "Fibrosis"), Area(box, "Tissue")))
    assert class_table(annotations, 0.5).to_dict("list") == {
        "class": ["Tissue", "Fibrosis"],
        "annotations": [2, 1],
        "area [mm2]": [0.5, 0.25],
    }
    assert list(class_table(annotations, None)["area [px]"]) == [2e6, 1e6]


def test_slides_and_files_are_paired_by_name(tmp_path):
    slides = [tmp_path / name for name in ("a.svs", "B.ome.tif", "c.tif", "d.svs", "e.svs")]
    files = [tmp_path / name for name in ("a.geojson", "b.geojson", "c.tif.geojson", "d.txt", "f.json")]
    assert paired(slides, files) == dict(zip(slides, files[:3], strict=False))
