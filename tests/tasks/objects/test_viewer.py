"""The viewer: the right picture for each plane, steps that stop at the ends, and a picture where no widget is drawn."""

import io
import shutil
from base64 import b64decode
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import tifffile
from IPython.core.formatters import DisplayFormatter
from nbconvert import HTMLExporter
from PIL import Image as PillowImage
from skimage.measure import label

from utils.errors import DataError
from utils.images.image import write_tiff
from utils.pages.pictures import label_overlay, result_image
from utils.tasks.objects.predict import ObjectResults
from utils.tasks.objects.viewer import add_bar, viewer
from utils.tasks.results import predict_folder

WIDGET = "application/vnd.jupyter.widget-view+json"
CLASSES = [{"id": 0, "name": "background"}, {"id": 1, "name": "dim"}, {"id": 2, "name": "bright"}]


class Bright:
    """Stands for a model: objects are the connected pixels above 100; large ones are of the second class."""

    def __init__(self, with_classes=False):
        self.classes, self.with_classes = CLASSES if with_classes else CLASSES[:2], with_classes
        self.description = {"channels": ["DNA"], "network": {"channels": 1}, "pixel_size_um": None}

    def find(self, array):
        labels = label(np.asarray(array)[..., 0] > 100).astype(np.int32)
        n = int(labels.max())
        outlines = np.full((n, 2, 8), 3, np.float32)
        class_ids = 1 + (np.bincount(labels.ravel())[1:] > 30) if self.with_classes else None
        return Found(labels, outlines, np.ones(n, np.float32), class_ids)


class Found(SimpleNamespace):
    def __init__(self, labels, outlines, probability, class_ids):
        super().__init__(labels=labels, outlines=outlines, probability=probability, class_ids=class_ids)


def picture_of(seed, shape=(40, 60)):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 50, shape).astype(np.uint8)
    for y, x in rng.integers(2, np.array(shape) - 12, (4, 2)):
        image[y : y + rng.integers(3, 9), x : x + rng.integers(3, 9)] = 200
    return image


def predicted(folder, with_classes=False):
    """Predict a folder of two images and a time series of three frames."""
    data, results = folder / "data", folder / "results"
    data.mkdir()
    for seed, name in enumerate(("a", "c")):
        tifffile.imwrite(data / f"{name}.tif", picture_of(seed))
    frames = np.stack([picture_of(seed) for seed in (5, 6, 7)])
    tifffile.imwrite(data / "b.tif", frames, imagej=True, metadata={"axes": "TYX"})
    predict_folder(ObjectResults(Bright(with_classes), folder / "model", data, results))
    return results


@pytest.fixture
def results(tmp_path):
    return predicted(tmp_path)


def shown(one):
    return np.asarray(PillowImage.open(io.BytesIO(one.picture.value)))


def test_each_plane_is_drawn_with_its_own_objects(results):
    one = viewer(results)
    frames = [picture_of(seed)[..., None] for seed in (0, 5, 6, 7, 1)]  # a, the frames of b, c
    assert one.position.max == 5
    for number, image in enumerate(frames, start=1):
        one.position.value = number
        labels = Bright().find(image).labels
        for kind in ("outlines", "filled"):
            one.shown.value = kind
            np.testing.assert_array_equal(
                shown(one), label_overlay(image, labels, contours=kind == "outlines", brighten=True, shown=60)
            )
        one.shown.value = "image only"
        np.testing.assert_array_equal(shown(one), np.round(255 * result_image(image)))
        assert f"{labels.max()} objects" in one.title.value
    assert [name in one.title.value for name in ("5 of 5", "c.tif", "plane")] == [True, True, False]
    one.position.value = 3
    assert "3 of 5: b.tif, plane 2." in one.title.value


def test_buttons_step_and_stop_at_the_ends(results):
    one = viewer(results)
    assert (one.back.disabled, one.forward.disabled) == (True, False)
    seen = [one.position.value]
    for button in [one.forward] * 6 + [one.back] * 2:
        button.click()
        seen.append(one.position.value)
    assert seen == [1, 2, 3, 4, 5, 5, 5, 4, 3]
    one.position.value = 5
    assert (one.back.disabled, one.forward.disabled) == (False, True)


def test_a_single_image_cannot_be_stepped(tmp_path):
    results = predicted(tmp_path)
    table = pd.read_csv(results / "counts.csv")
    table[:1].to_csv(results / "counts.csv", index=False)
    one = viewer(results)
    assert (one.position.max, one.back.disabled, one.forward.disabled) == (1, True, True)


def test_classes_have_their_colours(tmp_path):
    one = viewer(predicted(tmp_path, with_classes=True))
    seen = set()
    for number, seed in enumerate((0, 5, 6, 7, 1), start=1):
        image = picture_of(seed)[..., None]
        found = Bright(with_classes=True).find(image)
        class_ids = dict(enumerate(found.class_ids.tolist(), start=1))
        one.position.value = number
        np.testing.assert_array_equal(
            shown(one), label_overlay(image, found.labels, class_ids=class_ids, brighten=True, shown=60)
        )
        seen.add(tuple(class_ids.values()))
    assert len(seen) > 2


def test_a_file_that_is_gone_is_told_and_the_others_are_shown(results):
    (results.parent / "data" / "a.tif").unlink()
    (results / "labels" / "c.tif").write_bytes(b"II*\0")
    one = viewer(results)
    assert one.picture.value == b""
    assert "a.tif is no longer there" in one.title.value
    assert "image/png" not in one._repr_mimebundle_()
    one.position.value = 5
    assert "cannot be read: damaged" in one.title.value
    one.shown.value = "image only"
    assert shown(one).shape == (40, 60, 3)
    tifffile.imwrite(results / "labels" / "c.tif", np.zeros((4, 4), np.uint16))
    one.shown.value = "outlines"
    assert "differ in size" in one.title.value


def test_a_folder_without_a_prediction_is_refused(tmp_path, results):
    with pytest.raises(DataError, match="holds no prediction"):
        viewer(tmp_path / "nothing")
    (results / "prediction.json").unlink()
    with pytest.raises(DataError, match="holds no prediction"):
        viewer(results)


def test_names_are_no_html(tmp_path):
    results = predicted(tmp_path)
    name = "a <b>&.tif"
    shutil.move(results.parent / "data" / "a.tif", results.parent / "data" / name)
    table = pd.read_csv(results / "counts.csv").replace({"file": {"a.tif": name}})
    table.to_csv(results / "counts.csv", index=False)
    shutil.move(results / "labels" / "a.tif", results / "labels" / "a <b>&.tif")
    one = viewer(results)
    assert "a &lt;b&gt;&amp;.tif" in one.title.value
    assert name in one._repr_mimebundle_()["text/plain"]


def test_a_page_made_without_widgets_shows_the_picture(results):
    one = viewer(results)
    data, metadata = DisplayFormatter().format(one)  # what a notebook keeps as the output of a cell
    assert data[WIDGET]["model_id"] == one.box.model_id
    cell = nbformat.v4.new_code_cell("viewer(result_folder)")
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert data["image/png"] in page
    np.testing.assert_array_equal(np.asarray(PillowImage.open(io.BytesIO(b64decode(data["image/png"])))), shown(one))


def test_a_scale_bar_is_as_long_as_its_words_say():
    for width, size in ((100, 0.5), (1024, 0.1), (333, 3.7), (60, 1.0)):
        picture, length = add_bar(np.full((width // 2, width, 3), 128, np.uint8), size)
        columns = np.flatnonzero((picture == 255).all(axis=(2)).any(axis=0))
        assert len(columns) == round(length / size)
        assert (np.diff(columns) == 1).all()
        assert 0.1 < len(columns) / width < 0.4
        assert ((picture == 255) | (picture == 0) | (picture == 128)).all()


def test_the_bar_is_there_where_the_pixel_size_is_known(tmp_path):
    for pixel_size, told in ((None, False), (0.5, True)):
        folder = tmp_path / str(told)
        write_tiff(folder / "data" / "a.tif", picture_of(1, (80, 100)), pixel_size)
        predict_folder(ObjectResults(Bright(), folder, folder / "data", folder / "results"))
        assert ("white bar: 10 µm" in viewer(folder / "results").title.value) is told
    predict_folder(ObjectResults(Bright(), folder, folder / "data", folder / "results", pixel_size=5))
    assert "white bar: 100 µm" in viewer(folder / "results").title.value
