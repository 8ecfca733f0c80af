"""What images are like, and the settings that follow from it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.notebook_forms import default_values
from utils.data.crops import Crop, CropSet
from utils.data.project import Project
from utils.images.image import Image
from utils.tasks.automatic import AUTOMATIC
from utils.tasks.classes.fingerprint import MEASURES, fingerprint, fingerprint_table, measures, told_by
from utils.tasks.classes.rules import class_choices
from utils.tasks.registry import CLASSIFIER

CLASSES = [{"id": i, "name": name, "value": name, "group": None} for i, name in enumerate(("one", "two"))]


def blob(rng, side=24, radius=5.0, bright=100.0, axis=(1.0, 1.0), floor=10.0) -> np.ndarray:
    """A disc or ellipse of half axes radius * axis on a noisy ground, uint8 (Y, X, 1)."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2 + rng.uniform(-2, 2, (2, 1, 1))
    inside = (y / axis[0]) ** 2 + (x / axis[1]) ** 2 < radius**2
    return (floor + bright * inside + rng.normal(0, 3, (side, side))).clip(0, 255).astype(np.uint8)[..., None]


def project_of(first: dict, second: dict, n: int = 30, ground=(10.0, 10.0)) -> Project:
    """Images of two classes of blobs that are made with other arguments, the ground drawn between two values."""
    rng = np.random.default_rng(0)
    crops = []
    for class_id, how in enumerate((first, second)):
        for i in range(n):
            array = blob(rng, floor=rng.uniform(*ground), **{k: v(rng) if callable(v) else v for k, v in how.items()})
            name = f"{class_id}_{i}.tif"
            crops.append(Crop(name, Image(Path(name), array, None, "YX"), class_id, name))
    return Project(CropSet(crops, CLASSES), np.array(["training"] * len(crops)), None, None)


def some(low: float, high: float):
    """A number between two."""
    return lambda rng: rng.uniform(low, high)


FORMS = default_values("classification", {"training": {"preset": "Quick on a CPU"}})


def chosen(project: Project, forms=FORMS) -> dict:
    return {one.field: one for one in class_choices(fingerprint(project), forms)}


class TestFingerprint:
    def test_it_is_plain_json_and_a_table(self):
        found = fingerprint(project_of({"radius": 4}, {"radius": 7}))
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["images"] == 60
        assert found["classes"] == {"one": 30, "two": 30}
        assert found["height"] == [24, 24, 24]
        table = fingerprint_table(found)
        assert list(table) == ["what", "value", "what it means"]
        assert sum(f"told by {name}" in text for name in MEASURES for text in table["what"]) == len(MEASURES)

    @pytest.mark.parametrize(
        ("name", "first", "second"),
        [
            ("size", {"radius": some(3, 4)}, {"radius": some(6, 8)}),
            ("brightness", {"bright": some(60, 90)}, {"bright": some(140, 180)}),
            ("direction", {"axis": (1.5, 0.6)}, {"axis": (0.6, 1.5)}),
        ],
    )
    def test_what_tells_the_classes_apart_is_seen(self, name, first, second):
        tells = fingerprint(project_of(first, second))["tells"]
        assert tells[name] > 0.8
        if name != "direction":
            assert tells["direction"] < 0.5

    def test_where_nothing_tells_them_apart_nothing_is_seen(self):
        tells = fingerprint(project_of({}, {}))["tells"]
        assert max(tells.values()) < 0.4

    def test_a_measure_that_knows_groups_only_tells_nothing(self):
        groups = np.repeat(np.arange(4), 15)
        x, y = groups[:, None].astype(float), groups % 2
        assert told_by(x, y, groups.tolist()) == 0
        assert told_by(x, y, [str(i) for i in range(60)]) == 1
        assert told_by(x, y, ["one"] * 60) == 0

    def test_measures_of_constant_images_are_finite(self):
        for image in (np.zeros((5, 9, 2), np.uint8), np.ones((1, 1, 1)), np.full((8, 8, 3), 1e4, np.float32)):
            assert all(np.isfinite(values).all() for values in measures(image).values())


class TestRules:
    def test_there_is_a_choice_with_a_reason_for_every_field(self):
        found = CLASSIFIER.choices(project_of({}, {}), FORMS)
        automatic = {(form, name) for form in FORMS for name, value in FORMS[form].items() if value == AUTOMATIC}
        named = {
            ("data", "axes"),
            ("prediction", "axes"),
            ("prediction", "qupath"),
            ("training", "decides"),
            ("training", "time_for_training"),
        }
        assert {(one.form, one.field) for one in found} == automatic - named
        for one in found:
            assert one.reason.endswith(".")
            assert not one.candidates or one.value in one.candidates
            assert one.field in FORMS[one.form]

    def test_brightness_that_tells_is_kept(self):
        found = chosen(project_of({"bright": some(60, 90)}, {"bright": some(140, 180)}))
        assert found["normalisation"].value == "all images together"
        assert found["intensity"].value == 5
        plain = chosen(project_of({"radius": 3}, {"radius": 7}, ground=(5, 100)))
        assert plain["normalisation"].value == "each image"
        assert plain["intensity"].value == 20

    def test_size_that_tells_is_kept(self):
        assert chosen(project_of({"radius": 5.0}, {"radius": 5.7}))["zoom"].value == 0

    def test_a_large_difference_in_size_bears_a_little_zoom(self):
        assert chosen(project_of({"radius": some(3, 4)}, {"radius": some(6, 8)}))["zoom"].value == 10
        assert chosen(project_of({}, {}))["zoom"].value == 10

    def test_direction_that_tells_is_kept(self):
        found = chosen(project_of({"axis": (1.5, 0.6)}, {"axis": (0.6, 1.5)}))
        assert (found["flip"].value, found["rotate_90"].value, found["rotation"].value) == (False, False, 10)
        assert chosen(project_of({}, {}))["rotation"].value == 180

    @pytest.mark.parametrize(("side", "size", "fit"), [(24, 24, "pad"), (100, 100, "pad"), (200, 128, "resize")])
    def test_large_images_are_shrunk(self, side, size, fit):
        found = chosen(project_of({"side": side}, {"side": side}, n=4))
        assert (found["patch_height"].value, found["patch_width"].value, found["fit"].value) == (size, size, fit)

    def test_the_work_is_bounded(self):
        few, many = (chosen(project_of({"side": 8}, {"side": 8}, n=n)) for n in (30, 400))
        assert few["number_of_steps"].value == many["number_of_steps"].value > 0
        pixels = [
            found["number_of_steps"].value * side**2
            for side in (64, 128)
            for found in [chosen(project_of({"side": side}, {"side": side}, n=4))]
        ]
        assert pixels[1] < 1.5 * pixels[0]
