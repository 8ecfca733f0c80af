"""Measurements of objects against hand-worked figures and against definitions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from utils.images.image import Image
from utils.tasks.objects.measure import column_names, count_objects, measure_objects, numbered, object_table

RNG = np.random.default_rng(0)


@dataclass
class Objects:
    """As utils.tasks.objects.measure.Objects, which imports tensorflow."""

    labels: np.ndarray
    outlines: np.ndarray
    probability: np.ndarray
    class_ids: np.ndarray | None


def random_labels(shape=(40, 50), n=9):
    """Labels of rectangles, which may cover each other; numbered 1 to n with gaps where one is covered."""
    labels = np.zeros(shape, np.int32)
    for number in range(1, n + 1):
        y, x = (int(RNG.integers(0, side - 3)) for side in shape)
        labels[y : y + RNG.integers(1, 12), x : x + RNG.integers(1, 12)] = number
    return labels


def objects_of(labels, n, class_ids=None):
    outlines = np.zeros((n, 2, 4), np.float32) + np.arange(1, n + 1)[:, None, None]
    return Objects(labels, outlines, outlines[:, 0, 0] / 100, class_ids)


def image_of(array, size=None):
    return Image(Path("x/a.tif"), array if array.ndim == 3 else array[..., None], size, "YX")


def test_a_rectangle_by_hand():
    labels, array = np.zeros((10, 20), np.uint16), np.zeros((10, 20, 2), np.uint16)
    labels[2:4, 5:11] = 1  # 2 rows, 6 columns
    array[2, 5] = 600, 1
    array[3, 10] = 1200, 2
    row = measure_objects(labels, array, ["DAPI", "GFP"], 0.5).iloc[0]
    expected = {
        "label": 1,
        "centroid_x [px]": 7.5,
        "centroid_x [um]": 3.75,
        "centroid_y [px]": 2.5,
        "centroid_y [um]": 1.25,
        "area [px]": 12,
        "area [um2]": 3.0,
        "equivalent diameter [px]": np.sqrt(4 * 12 / np.pi),
        "equivalent diameter [um]": np.sqrt(4 * 3 / np.pi),
        "eccentricity": np.sqrt(1 - (2**2 - 1) / (6**2 - 1)),  # variance of n whole numbers in a row: (n**2 - 1) / 12
        "solidity": 1.0,
        "orientation [deg]": 0.0,
        "touches border": False,
        "mean DAPI": 150.0,
        "min DAPI": 0,
        "max DAPI": 1200,
        "mean GFP": 0.25,
        "min GFP": 0,
        "max GFP": 2,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value), name
    assert row["perimeter [um]"] == row["perimeter [px]"] / 2
    assert set(row.index) == {*expected, "perimeter [px]", "perimeter [um]"}


def test_eccentricity_and_orientation_of_ellipses():
    y, x = np.mgrid[-100:101, -100:101]
    for degrees in (0, 30, 90, 135, 170):
        turn = np.deg2rad(degrees)
        along, across = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)  # y points down
        labels = ((along / 80) ** 2 + (across / 40) ** 2 <= 1).astype(np.uint16)
        row = measure_objects(labels, labels[..., None], ["c"]).iloc[0]
        assert row["eccentricity"] == pytest.approx(np.sqrt(1 - 0.25), abs=0.01)
        assert (row["orientation [deg]"] - degrees + 90) % 180 == pytest.approx(90, abs=0.5)
        assert row["area [px]"] == pytest.approx(np.pi * 80 * 40, rel=0.01)
        assert row["perimeter [px]"] == pytest.approx(387.5, rel=0.01)  # Ramanujan's formula


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", ">f4"])
def test_sums_agree_with_the_label_image(dtype):
    for channels in (1, 3):
        labels = random_labels().astype(np.uint16)
        array = RNG.integers(0, 250, (*labels.shape, channels)).astype(dtype)
        names = [f"c{i}" for i in range(channels)]
        table = measure_objects(labels, array, names, 2.0)
        assert list(table) == column_names(names)
        assert table["label"].tolist() == [one for one in np.unique(labels) if one]
        assert table["area [px]"].sum() == (labels > 0).sum()
        for _, row in table.iterrows():
            inside = labels == row["label"]
            ys, xs = np.nonzero(inside)
            assert (row["centroid_y [px]"], row["centroid_x [px]"]) == pytest.approx((ys.mean(), xs.mean()))
            assert row["area [um2]"] == 4 * inside.sum()
            edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
            assert row["touches border"] == (row["label"] in edges)
            for i, name in enumerate(names):
                values = array[inside][:, i].astype(float)
                found = [row[f"{what} {name}"] for what in ("mean", "min", "max")]
                assert found == pytest.approx([values.mean(), values.min(), values.max()])


def test_without_pixel_size_micrometres_are_empty_and_without_objects_the_table_is():
    labels = random_labels().astype(np.uint16)
    table = measure_objects(labels, labels[..., None], ["c"])
    assert table[[name for name in table if "um" in name]].isna().all(axis=None)
    assert table.drop(columns=[name for name in table if "um" in name]).notna().all(axis=None)
    empty = measure_objects(0 * labels, labels[..., None], ["c"])
    assert list(empty) == list(table)
    assert len(empty) == 0


def test_numbered_leaves_out_what_is_covered_and_keeps_the_rest_together():
    gaps = 0
    for _ in range(20):
        labels = random_labels(n=15)
        given = objects_of(labels, 15, np.arange(1, 16) % 3 + 1)
        before = labels.copy()
        found = numbered(given)
        np.testing.assert_array_equal(labels, before)
        seen = [one for one in np.unique(labels) if one]
        gaps += len(seen) < 15
        assert found.labels.dtype == np.uint16
        assert np.unique(found.labels).tolist() == list(range(len(seen) + 1))
        for row, old in enumerate(seen):
            np.testing.assert_array_equal(found.labels == row + 1, labels == old)
            assert (found.outlines[row] == old).all()
            assert found.probability[row] == pytest.approx(old / 100)
            assert found.class_ids[row] == old % 3 + 1
    assert gaps


def test_numbered_where_all_or_nothing_is_covered():
    full = numbered(objects_of(np.full((5, 5), 2, np.int32), 2))
    assert (full.labels == 1).all()
    assert full.outlines[:, 0, 0].tolist() == [2]
    nothing = numbered(objects_of(np.zeros((5, 5), np.int32), 0))
    assert nothing.labels.max() == 0
    assert nothing.outlines.shape == (0, 2, 4)
    assert nothing.class_ids is None


def test_more_than_65535_objects_are_kept_apart():
    n = 70000
    found = numbered(objects_of(np.arange(n + 2, dtype=np.int32).clip(0, n).reshape(-1, 2), n))
    assert found.labels.dtype == np.uint32
    assert found.labels.max() == n


def test_rows_have_probability_and_class():
    labels = np.array([[1, 0, 2], [1, 0, 2]], np.uint16)
    given = objects_of(labels, 2, np.array([2, 1]))
    names, place = {1: "round", 2: "long"}, {"file": "a.tif", "plane": 3, "T": 3}
    table = object_table(given, image_of(labels), ["c"], names, place)
    assert list(table)[:5] == ["file", "plane", "label", "class", "probability"]
    assert table.iloc[:, :4].to_numpy().tolist() == [["a.tif", 3, 1, "long"], ["a.tif", 3, 2, "round"]]
    assert table["probability"].tolist() == pytest.approx([0.01, 0.02])
    given.class_ids = None
    assert "class" not in object_table(given, image_of(labels), ["c"], names, place)


def test_counts_by_hand():
    labels = np.array([[1, 0, 2, 0], [1, 0, 2, 3]], np.uint16)
    given = objects_of(labels, 3, np.array([2, 1, 2]))
    row = count_objects(given, image_of(labels, 50.0), {1: "round", 2: "long", 3: "none"})
    assert row == {
        "width [px]": 4,
        "height [px]": 2,
        "pixel size [um]": 50.0,
        "objects": 3,
        "objects round": 1,
        "objects long": 2,
        "objects none": 0,
        "covered [% of image]": 62.5,
        "objects per mm2": 150.0,  # 3 in 200 um x 100 um
    }
    given.class_ids = None
    row = count_objects(given, image_of(labels), {1: "object"})
    assert "objects object" not in row
    assert np.isnan(row["objects per mm2"])
