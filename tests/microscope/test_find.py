"""From a survey image to a table of cells."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from tests.microscope.fake_finder import CLASSES, HERE, NAMES
from utils.errors import DataError, ModelError
from utils.microscope.find import Finder, crops_at, find_nuclei, places, wanted_classes
from utils.microscope.protocol import Survey
from utils.tasks.classes.cells import crops_of_objects

DIAMETER = 20


def dish(rng, shape=(300, 400), bright=(50, 800), tilt=0.0, step=50):
    """Image uint16 and places (n, 2) of round nuclei of any brightness, on a background that may be tilted."""
    y, x = np.mgrid[25 : shape[0] - 20 : step, 25 : shape[1] - 20 : step]
    at = np.stack([y.ravel(), x.ravel()], axis=1) + rng.uniform(-5, 5, (y.size, 2))
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    image = np.full(shape, 200.0) + tilt * columns
    for i, (cy, cx) in enumerate(at):
        light = bright[0] * (bright[1] / bright[0]) ** (i / max(1, len(at) - 1))
        image += light * (np.hypot(rows - cy, columns - cx) < DIAMETER / 2)
    return np.clip(gaussian_filter(image, 1) + rng.normal(0, 4, shape), 0, 65535).astype(np.uint16), at


def near(at, found):
    """Share of places that have a cell within 3 pixels."""
    distance = np.hypot(*(at[:, None] - found[["y_px", "x_px"]].to_numpy()[None]).transpose(2, 0, 1))
    return (distance.min(axis=1) < 3).mean()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_bright_and_dim_nuclei_are_found_on_an_uneven_background(seed, tilt):
    image, at = dish(np.random.default_rng(seed), tilt=tilt)
    found = places(find_nuclei(image, DIAMETER), 1.0)
    assert len(found) == len(at)
    assert near(at, found) == 1
    np.testing.assert_allclose(found["area_um2"], np.pi * DIAMETER**2 / 4, rtol=0.6)


@pytest.mark.parametrize("shape", [(64, 64), (97, 131), (60, 256)])
def test_images_of_any_size(shape):
    image, at = dish(np.random.default_rng(1), shape)
    labels = find_nuclei(image, DIAMETER)
    assert labels.shape == shape
    assert len(places(labels, 1.0)) == len(at)


def test_nothing_is_found_where_nothing_is():
    rng = np.random.default_rng(0)
    for image in (
        np.zeros((200, 200), np.uint16),
        np.full((200, 200), 65535, np.uint16),
        rng.normal(500, 20, (200, 200)).astype(np.uint16),
        (np.arange(200)[:, None] * np.ones(200)).astype(np.uint16),
    ):
        assert find_nuclei(image, DIAMETER).max() == 0


def test_nuclei_that_touch_are_parted():
    rows, columns = np.ogrid[:100, :100]
    image = np.full((100, 100), 100.0)
    for x in (41, 59):
        image[np.hypot(rows - 50, columns - x) < 10] = 900
    assert len(places(find_nuclei(gaussian_filter(image, 1).astype(np.uint16), DIAMETER), 1.0)) == 2


def test_places_in_pixels_and_um():
    labels = np.zeros((20, 30), int)
    labels[4:7, 10:15] = 1
    row = places(labels, 0.5).iloc[0]
    assert row[["y_px", "x_px", "y_um", "x_um", "area_um2", "edge_um"]].tolist() == [5, 12, 2.5, 6, 3.75, 2.5]
    assert len(places(np.zeros((5, 5), int), 0.5)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_crops_are_those_of_the_classification_notebook(seed):
    """Where the middle of the box is that of the mass, a classifier sees here what it sees there."""
    rng = np.random.default_rng(seed)
    image, labels = rng.integers(0, 9999, (60, 70, 2)).astype(np.uint16), np.zeros((60, 70), int)
    for i in range(5):
        y, x = rng.integers(1, 50), rng.integers(1, 60)
        labels[y : y + 3, x : x + 5] = i + 1
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    cells = places(labels, 1.0)
    whole = cells[(cells["area_um2"] == 15)]
    expected = dict(crops_of_objects(image, labels, (32, 24)))
    for label, crop in zip(whole["label"], crops_at(image, whole, (32, 24)), strict=True):
        np.testing.assert_array_equal(crop, expected[label])


def test_crops_are_shrunk_to_the_pixels_of_the_classifier():
    image = np.random.default_rng(0).integers(0, 9999, (60, 70, 1)).astype(np.uint16)
    (crop,) = crops_at(image, pd.DataFrame({"y_px": [30.0], "x_px": [2.0]}), (16, 16), scale=1.5)
    assert crop.shape == (16, 16, 1)
    assert crops_at(image, pd.DataFrame({"y_px": [], "x_px": []}), (16, 16), scale=1.5) == []


class FakeClassifier:
    """Calls bright cells metaphase, the others interphase."""

    classes = CLASSES

    def __init__(self, pixel_size_um=0.5, channels=1):
        names = [f"channel {i + 1}" for i in range(channels)]
        self.description = {
            "channels": names,
            "input": {"size": [12, 12], "fit": "pad"},
            "pixel_size_um": pixel_size_um,
        }

    def probabilities(self, crops):
        p = np.zeros((len(crops), len(NAMES)), np.float32)
        for i, crop in enumerate(crops):
            p[i, NAMES.index("metaphase" if crop[6, 6, 0] > 600 else "interphase")] = 1
        return p


def looked_at(image, pixel_size_um=0.5, **given) -> Survey:
    return Survey(0, 0.0, HERE, pixel_size_um, {"H2B": image, **given})


def test_each_cell_is_asked_for_its_class():
    image, at = dish(np.random.default_rng(0))
    cells, labels = Finder("H2B", FakeClassifier(), diameter_um=10)(looked_at(image))
    assert len(cells) == labels.max() == len(at)
    assert set(cells["class"]) == {"metaphase", "interphase"}
    assert [name for name in cells if name.startswith("p_")] == [f"p_{name}" for name in NAMES]
    np.testing.assert_array_equal(cells["class"] == "metaphase", cells["p_metaphase"] == 1)
    np.testing.assert_allclose(cells["y_um"], cells["y_px"] / 2)


def test_no_cell_at_all_keeps_the_columns():
    cells, labels = Finder("H2B", FakeClassifier())(looked_at(np.full((64, 64), 99, np.uint16)))
    assert len(cells) == labels.max() == 0
    assert {"class", "p_metaphase", "area_um2"} <= set(cells)


def test_without_a_classifier_cells_are_only_found():
    finder = Finder("H2B", diameter_um=10)
    cells, _ = finder(looked_at(dish(np.random.default_rng(0))[0]))
    assert len(cells) > 10
    assert "class" not in cells
    assert finder.classes == []


def test_a_classifier_for_other_pixels_or_channels_is_refused():
    image = dish(np.random.default_rng(0))[0]
    with pytest.raises(ModelError, match="pixels of 0.1 um.*0.5 um"):
        Finder("H2B", FakeClassifier(pixel_size_um=0.1))(looked_at(image))
    with pytest.raises(ModelError, match="2 channels.*shows it 1"):
        Finder("H2B", FakeClassifier(channels=2))
    cells, _ = Finder("H2B", FakeClassifier(pixel_size_um=0.36), diameter_um=10)(looked_at(image))
    assert len(cells) > 10
    assert len(Finder("H2B", FakeClassifier(pixel_size_um=None))(looked_at(image))[0]) > 10


def test_a_channel_that_the_survey_lacks():
    with pytest.raises(DataError, match="no channel 'GFP', only H2B"):
        Finder("GFP")(looked_at(np.zeros((64, 64), np.uint16)))


class FakeDetector:
    """Finds what is bright; remembers what it was shown."""

    def __init__(self, pixel_size_um=0.5, channels=1):
        self.description = {"channels": ["red", "green", "blue"][:channels], "pixel_size_um": pixel_size_um}

    def find(self, array):
        self.shape = array.shape
        return type("Objects", (), {"labels": 7 * (array[..., 0] > 400).astype(np.int32)})


@pytest.mark.parametrize("known", [None, 0.25, 0.36, 0.5, 0.7, 1.0])
def test_a_model_of_nuclei_finds_them_in_pixels_of_its_own(known):
    image, detector = np.full((80, 100), 100, np.uint16), FakeDetector(known)
    image[20:40, 50:80] = 700
    cells, labels = Finder("H2B", detector=detector)(looked_at(image))
    scale = (known or 0.5) / 0.5
    assert detector.shape == (round(80 / scale), round(100 / scale), 1)
    assert labels.shape == image.shape
    assert np.abs(cells[["label", "y_px", "x_px"]].to_numpy() - [[1, 29.5, 64.5]]).max() <= 1
    assert cells.loc[0, "area_um2"] == pytest.approx(600 / 4, rel=0.12)


def test_a_detector_for_other_pixels_or_for_colours_is_refused():
    with pytest.raises(ModelError, match="detector learned from pixels of 0.2 um.*0.5 um"):
        Finder("H2B", detector=FakeDetector(0.2))(looked_at(np.zeros((64, 64), np.uint16)))
    with pytest.raises(ModelError, match="detector was trained on 3 channels.*grey"):
        Finder("H2B", detector=FakeDetector(channels=3))


def test_what_is_rescaled_and_what_nobody_knows_is_said():
    assert Finder("H2B").remarks(0.5) == []
    assert Finder("H2B", FakeClassifier(0.5), FakeDetector(0.51)).remarks(0.5) == []
    first, second = Finder("H2B", FakeClassifier(0.36), FakeDetector(None)).remarks(0.5)
    assert "classifier learned from pixels of 0.36 um, those of the microscope are 0.5 um" in first
    assert "how wide the pixels were that the detector learned from" in second
    with pytest.raises(ModelError, match="The detector learned from pixels of 0.1 um"):
        Finder("H2B", FakeClassifier(), FakeDetector(0.1)).remarks(0.5)


def test_names_of_classes_and_of_broad_classes():
    assert wanted_classes(CLASSES, ["BA", "metaphase"]) == ["metaphase", "prometaphase", "prophase"]
    assert wanted_classes(CLASSES, []) == []
    with pytest.raises(ModelError, match="'mitosis'.*AA, BA"):
        wanted_classes(CLASSES, ["mitosis"])
