"""One bad file stops nothing but itself, and every file of a folder is predicted or named with what to do."""

import errno
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from tests.tasks.thresholds.task import Otsu, ThresholdResults
from tests.test_locks import another
from utils.errors import DataError
from utils.files import write_json
from utils.images.image import write_tiff
from utils.tasks.objects.measure import Objects
from utils.tasks.objects.predict import ObjectResults
from utils.tasks.page import whereabouts
from utils.tasks.pixels.predict import PixelResults
from utils.tasks.results import LEFT, REMARK_FILE, distinct_names, predict_folder, set_others_aside
from utils.training.model_folder import NO_RESULT, PARAMETERS, no_result

CLASSES = [{"id": i, "name": str(i), "value": i, "group": None} for i in range(2)]
RNG = np.random.default_rng(0)


class Fails(Otsu):
    """Fails in its own way on each image whose first pixel is not 0."""

    error: BaseException = ValueError("odd")

    def class_ids(self, array):
        if array.flat[0]:
            raise self.error
        return super().class_ids(array)


@pytest.fixture
def images(tmp_path):
    for name in "abcd":
        image = RNG.integers(0, 200, (12, 10)).astype(np.uint8)
        image[0, 0] = name == "b"
        write_tiff(tmp_path / "images" / f"{name}.tif", image)
    return tmp_path / "images"


def predict(images, error=None, folder="out"):
    model = Fails({"channels": ["one"], "classes": CLASSES})
    model.error = error or model.error
    return predict_folder(ThresholdResults(model, images, images, images.parent / folder))


def files(predicted):
    return predicted.table["file"].tolist()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("odd"), "could not be worked on (ValueError: odd). Open it in Fiji"),
        (IndexError("x"), "could not be worked on"),
        (type("ResourceExhaustedError", (Exception,), {})("OOM " * 99), "needs more memory than there is"),
        (RuntimeError("x " * 999), f"(RuntimeError: {'x ' * 50})"),
        (MemoryError(), "needs more memory than there is"),
    ],
)
def test_an_image_that_fails_is_named_and_the_others_are_predicted(images, error, words):
    predicted = predict(images, error)
    assert files(predicted) == ["a.tif", "c.tif", "d.tif"]
    [warning] = predicted.warnings
    assert str(images / "b.tif") in warning
    assert words in warning


@pytest.mark.parametrize("error", [DataError("the disk is full"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_is_no_matter_of_one_file_stops(images, error):
    with pytest.raises(type(error)):
        predict(images, error)


def test_a_folder_of_results_that_another_page_writes_into_is_left_alone(images):
    with another(images.parent / "out") as process:
        sentence = (
            rf"Results are being written into .*out at the moment, by the page the_other \(process {process.pid} "
        )
        with pytest.raises(DataError, match=sentence + ".*choose another folder in the field result_folder"):
            predict(images)
        assert not (images.parent / "out").exists()
        assert files(predict(images, folder="other")) == ["a.tif", "c.tif", "d.tif"]
        process.kill()
        process.wait()
        assert files(predict(images)) == ["a.tif", "c.tif", "d.tif"]
    assert sorted(path.name for path in images.parent.iterdir()) == ["images", "other", "out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")])
def test_a_prediction_that_is_stopped_gives_its_folder_back(images, error):
    with pytest.raises(BaseException):  # noqa: B017 - whichever
        predict(images, error)
    with another(images.parent / "out"):
        pass


def test_the_longest_name_of_a_file_is_long_enough_for_its_results(images):
    longest = f"{'x' * 251}.tif"
    (images / "a.tif").rename(images / longest)
    assert files(predict(images)) == ["c.tif", "d.tif", longest]


def test_a_name_that_is_too_long_for_the_disk_of_the_results_stops_nothing(images):
    predicted = predict(images, OSError(errno.ENAMETOOLONG, "too long"))
    assert files(predicted) == ["a.tif", "c.tif", "d.tif"]
    assert "Give it a shorter name" in predicted.warnings[0]


def test_every_file_is_predicted_or_named(images):
    (images / "old").mkdir()
    write_tiff(images / "old" / "z.tif", np.zeros((4, 4), np.uint8))
    for name in ("1.czi", "2.lif", "3.nd2", "4.webp", "notes.txt", "table.xlsx", "Thumbs.db", "5.avi", "scan", "6.zip"):
        (images / name).write_bytes(b"x")
    predicted = predict(images)
    text = "\n".join(predicted.warnings)
    for name in ("1.czi, 2.lif, 3.nd2", "4.webp", "notes.txt, table.xlsx", "5.avi", "scan", "6.zip", "images/old"):
        assert text.count(name) == 1
    assert "Thumbs" not in text
    assert "tick Read images using Bio-Formats" in text
    assert len(predicted.warnings) == 8  # b.tif, and one for each kind


def test_results_are_not_told_of_as_files_that_are_not_read(images):
    predict(images, folder="images")
    (images / "1.czi").write_bytes(b"x")
    predicted = predict(images, folder="images")
    assert files(predicted) == ["a.tif", "c.tif", "d.tif"]
    assert ["1.czi" in one for one in predicted.warnings] == [False, True]
    assert len(predict(images, folder="images/results").warnings) == 4  # masks/ and overlays/, shares.csv, 1.czi, b.tif


def test_a_folder_of_microscope_files_says_how_to_export_them(tmp_path):
    for name in ("1.czi", "2.CZI"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"holds no image .* 2 files of a microscope .*1\.czi, 2\.CZI.*Process > Batch"):
        predict(tmp_path)


def test_names_that_would_overwrite_each_other(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "a.tif", "B.tif", "b.png", "c.ome.tif", "c.tif", "d.tif")]
    left, told = distinct_names(paths)
    assert [path.name for path in left] == ["c.ome.tif", "c.tif", "d.tif"]
    assert len(told) == 2
    with pytest.raises(DataError, match="All images share their names"):
        distinct_names(paths[:4])


def with_preset(folder, preset):
    """A model folder that knows its preset, as far as a prediction looks at it."""
    write_json(folder / PARAMETERS, {"overrides": {"training": {"preset": preset}}})
    return folder


def test_what_a_model_to_try_out_predicts_is_said_to_be_no_result_in_every_file(images, tmp_path):
    def by(preset):
        model = Fails({"channels": ["one"], "classes": CLASSES})
        folder = with_preset(tmp_path / preset, preset)
        return predict_folder(ThresholdResults(model, folder, images, tmp_path / "out"))

    tried = by("Try out")
    assert "this is no result" in tried.remark
    assert (tried.table["remark"] == NO_RESULT).all()
    (written,) = (pd.read_csv(path) for path in (tmp_path / "out").glob("*.csv"))
    assert (written["remark"] == NO_RESULT).all()
    assert written.columns[-1] == "remark"  # programs that count columns find the others where they were
    assert "this is no result" in (tmp_path / "out" / REMARK_FILE).read_text()
    real = by("Default")
    assert real.remark == ""
    assert "remark" not in real.table
    assert not (tmp_path / "out" / REMARK_FILE).exists()


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", '{"overrides": {"training": {}}}', '{"overrides": []}'])
def test_a_model_whose_preset_is_not_known_has_no_remark(content, tmp_path):
    assert no_result(tmp_path / "missing") == ""
    (tmp_path / PARAMETERS).write_text(content)
    assert no_result(tmp_path) == ""


def test_rows_and_tables_of_a_model_to_try_out_get_the_same_column(tmp_path):
    results = ThresholdResults(Fails({"channels": ["one"], "classes": CLASSES}), tmp_path, tmp_path, tmp_path)
    rows = [{"file": "a.tif"}, pd.DataFrame({"file": ["a.tif", "b.tif"]})]
    assert results.remarked(rows)[0] == rows[0]
    results.remark = "because"
    row, table = results.remarked(rows)
    assert list(row) == list(table) == ["file", "remark"]
    assert list(table["remark"]) == [NO_RESULT] * 2


@pytest.mark.parametrize(
    ("rows", "figure", "said"),
    [
        (12, False, "Everything is in /r."),
        (12, True, "Everything is in /r; above are the first pictures."),
        (21, False, "Everything is in /r; above are the first rows."),
        (21, True, "Everything is in /r; above are the first rows and pictures."),
    ],
)
def test_the_page_says_what_of_the_results_it_shows(rows, figure, said):
    assert whereabouts(Path("/r"), rows, figure) == said


class Bright:
    """Stands for a network: objects, or a class, are what is brighter than 100."""

    classes = CLASSES
    description: ClassVar = {"channels": ["one"], "classes": CLASSES}

    def find(self, array):
        labels, n = ndimage.label(array[..., 0] > 100)
        return Objects(labels.astype(np.int32), np.ones((n, 2, 8), np.float32), np.ones(n, np.float32), None)

    def class_ids(self, array, on_probabilities=None):
        return (array[..., 0] > 100).astype(np.uint8)


ROOMS = {"masks": PixelResults, "objects": ObjectResults}


def written(images, kind):
    out = images.parent / "out"
    return predict_folder(ROOMS[kind](Bright(), images, images, out, qupath="yes")), out


@pytest.mark.parametrize(("first", "then"), [("masks", "objects"), ("objects", "masks")])
def test_results_of_another_kind_are_set_aside(images, first, then):
    _, out = written(images, first)
    before = {path.relative_to(out): path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    predicted, _ = written(images, then)
    (told,) = predicted.warnings
    assert f"held the {first} of an earlier prediction" in told
    assert "Nothing was removed" in told
    fresh = {path.name for path in out.iterdir()}
    assert not {*LEFT[first]} & fresh
    assert {LEFT[then][0], "overlays", "qupath"} <= fresh
    kept = [path for path in out.rglob("*.*") if path.is_file()]
    for path, content in before.items():  # under another name, with nothing lost
        assert any(
            one.name.partition(".")[0] == path.name.partition(".")[0] and one.read_bytes() == content for one in kept
        )
    again, _ = written(images, then)
    assert again.warnings == []  # they are its own


def test_files_of_a_person_beside_results_of_another_kind_are_not_overwritten(images):
    _, out = written(images, "masks")
    (out / "labels").mkdir()
    (out / "labels" / "a.tif").write_bytes(b"mine")
    with pytest.raises(DataError, match="was not written by a prediction"):
        written(images, "objects")
    assert (out / "measurements.csv").exists()
    (out / "labels" / "a.tif").unlink()
    (out / "measurements.csv").write_text("patient,age\n1,70\n")  # of a person, too
    with pytest.raises(DataError, match="was not written by a prediction"):
        written(images, "objects")
    assert not list(out.glob("*.20*"))


def test_predictions_of_crops_lie_beside_those_of_objects(images):
    _, out = written(images, "objects")
    assert set_others_aside(out, "") == []
    assert (out / "counts.csv").exists()
