"""Outlines for QuPath beside what a prediction writes: the same objects, classes and measurements."""

import json

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile

from tests.tasks.classes.test_cells import classify, write_scene
from tests.tasks.objects.test_predict import Stub, predict, squares, tables
from utils.errors import DataError
from utils.images.geojson import inside
from utils.images.image import read_mask, write_tiff
from utils.pages.colours import class_colours
from utils.tasks.registry import UNET


def features(path):
    """Geometry and properties of each feature of a file."""
    found = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [(shapely.from_geojson(json.dumps(one["geometry"])), one["properties"]) for one in found]


def drawn(path, shape):
    """Label image (Y, X) that the outlines in a file enclose, numbered in their order."""
    labels = np.zeros(shape, int)
    for number, (geometry, _) in enumerate(features(path), start=1):
        labels[inside(geometry, shape)] = number
    return labels


@pytest.fixture
def images(tmp_path):
    """Folder of three grey TIFFs; a.tif has a pixel size of 0.5 um, empty.tif holds nothing."""
    for name, array, size in (("a", squares(), 0.5), ("b", squares((37, 61)), None)):
        write_tiff(tmp_path / "images" / f"{name}.tif", array[..., 0], size)
    write_tiff(tmp_path / "images" / "empty.tif", np.zeros((20, 30), np.uint8))
    return tmp_path / "images"


def test_objects_have_their_outline_class_and_measurements(tmp_path, images):
    predict(images, tmp_path / "out", Stub(classes=2), qupath="yes")
    objects, _ = tables(tmp_path / "out")
    for name in ("a", "b", "empty"):
        labels, path = read_mask(tmp_path / "out" / "labels" / f"{name}.tif"), tmp_path / f"out/qupath/{name}.geojson"
        np.testing.assert_array_equal(drawn(path, labels.shape), labels)
        told, mine = [one for _, one in features(path)], objects[objects["file"] == f"{name}.tif"]
        assert [one["classification"]["name"] for one in told] == mine["class"].tolist()
        assert [one["measurements"]["area [px]"] for one in told] == mine["area [px]"].tolist()
        assert all(one["objectType"] == "detection" and "label" not in one["measurements"] for one in told)


@pytest.mark.parametrize(("asked", "written"), [("automatic", ["a.geojson"]), ("no", [])])
def test_they_are_written_where_the_pixel_size_is_known(tmp_path, images, asked, written):
    predict(images, tmp_path / "out", qupath=asked)
    assert [path.name for path in (tmp_path / "out").glob("qupath/*")] == written


def test_those_of_an_earlier_prediction_are_not_taken_for_those_of_this_one(tmp_path, images, untrained_model):
    folder, _, _ = untrained_model(values=(0, 50, 200))
    ways = {
        tmp_path / "out": lambda how: predict(images, tmp_path / "out", qupath=how),
        tmp_path / "areas": lambda how: UNET.predict(folder, images, tmp_path / "areas", qupath=how),
    }
    for place, again in ways.items():
        again("yes")
        before = (place / "qupath" / "a.geojson").read_bytes()
        again("no")
        assert not (place / "qupath" / "a.geojson").exists()
        assert before in [path.read_bytes() for path in (place / "qupath").iterdir()]


def test_those_of_a_stack_say_their_plane(tmp_path):
    (tmp_path / "images").mkdir()
    stack = np.stack([squares()[..., 0] for _ in range(6)]).reshape(2, 3, 40, 50)
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"axes": "TZYX", "unit": "um"}}
    tifffile.imwrite(tmp_path / "images" / "a.tif", stack, **options)
    predict(tmp_path / "images", tmp_path / "out")
    objects, _ = tables(tmp_path / "out")
    found = json.loads((tmp_path / "out" / "qupath" / "a.geojson").read_text())["features"]
    planes = [one["geometry"]["plane"] for one in found]
    assert [3 * one["t"] + one["z"] + 1 for one in planes] == objects["plane"].tolist()
    assert len({one["id"] for one in found}) == len(found)


def test_what_a_person_drew_in_qupath_is_never_overwritten(tmp_path, images):
    drawing = tmp_path / "out" / "qupath" / "a.geojson"
    drawing.parent.mkdir(parents=True)
    drawing.write_text("mine")
    with pytest.raises(DataError, match=r"a\.geojson exists and was not written by a prediction"):
        predict(images, tmp_path / "out")
    assert drawing.read_text() == "mine"


def test_areas_have_their_class_with_its_holes_and_measurements(tmp_path, images, untrained_model):
    folder, _, description = untrained_model(values=(0, 50, 200))
    UNET.predict(folder, images, tmp_path / "out", qupath="yes")
    measured = pd.read_csv(tmp_path / "out" / "measurements.csv").set_index("file")
    for name in ("a", "b"):
        mask = read_mask(tmp_path / "out" / "masks" / f"{name}.tif")
        again = np.zeros_like(mask)
        for geometry, told in features(tmp_path / "out" / "qupath" / f"{name}.geojson"):
            (one,) = (one for one in description["classes"] if one["name"] == told["classification"]["name"])
            again[inside(geometry, mask.shape)] = one["value"]
            colour = class_colours(description["classes"])[one["id"]]
            assert told["classification"]["color"] == [round(255 * part) for part in colour]
            assert told["objectType"] == "annotation"
            area = measured.loc[f"{name}.tif", f"{one['name']} [px]"]
            assert told["measurements"]["[px]"] == area == (mask == one["value"]).sum()
        np.testing.assert_array_equal(again, mask)


def test_classified_objects_have_their_class_beside_the_outlines_of_the_segmentation(tmp_path):
    _, labels, _ = write_scene(tmp_path, pixel_size_um=0.5)
    classify(tmp_path)
    table = pd.read_csv(tmp_path / "out" / "object_classes.csv")
    path = tmp_path / "out" / "qupath_classes" / "a.geojson"
    order = np.concatenate([[0], np.unique(labels[labels > 0])])
    np.testing.assert_array_equal(order[drawn(path, labels.shape)], labels)
    assert [one["classification"]["name"] for _, one in features(path)] == table["class"].tolist()
    first = features(path)[0][1]["measurements"]
    assert first == pytest.approx({name: table[name][0] for name in table if name.startswith("p_")}, abs=1e-4)
