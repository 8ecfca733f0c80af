"""One model over many folders from the command line."""

import sys

import numpy as np
import pandas as pd
import pytest

from notebooks import predict
from utils.errors import ModelError
from utils.images.image import write_tiff
from utils.tasks import choices
from utils.tasks.registry import UNET


@pytest.fixture
def slides(tmp_path):
    """Two folders of the same name with other images, and one without."""
    for day, number in (("monday", 1), ("tuesday", 2)):
        for i in range(number):
            image = np.random.default_rng(i).integers(0, 255, (40, 40)).astype("uint8")
            write_tiff(tmp_path / "slides" / day / "images" / f"{i}.tif", image)
    (tmp_path / "slides" / "empty").mkdir()
    return [tmp_path / "slides" / "monday" / "images", tmp_path / "slides" / "tuesday" / "images"]


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["x"], ["x"]),
        (["x/images", "y/images"], ["x_images", "y_images"]),
        (["a/b_c", "a_b/c", "a/b/c"], ["a_b_c", "a_b_c.2", "a_b_c.3"]),
        (["/other/images", "images"], ["other_images", "images"]),
    ],
)
def test_results_of_different_folders_do_not_meet(folders, names, tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "ROOT", tmp_path)
    assert predict.result_names([tmp_path / folder for folder in folders]) == names


def test_each_folder_gets_what_section_6_writes(untrained_model, slides, tmp_path):
    model, *_ = untrained_model()
    table = predict.predict_all(model, slides, tmp_path / "batch")
    assert table["rows"].tolist() == [1, 2]
    assert table["problem"].tolist() == ["", ""]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "batch" / "summary.csv", keep_default_na=False), table)
    for folder, name in zip(slides, table["results"], strict=True):
        UNET.predict(model, folder, tmp_path / "alone" / name)
        both = [(tmp_path / one / name / "measurements.csv").read_text() for one in ("batch", "alone")]
        assert both[0] == both[1]


def test_a_folder_that_cannot_be_read_does_not_stop_the_others(untrained_model, slides, tmp_path, monkeypatch, capsys):
    model, *_ = untrained_model()
    given = [str(slides[0].parents[1] / "empty"), *map(str, slides)]
    monkeypatch.setattr(sys, "argv", ["predict", str(model), *given, "--results", str(tmp_path / "batch")])
    assert predict.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert "holds no image" in said[0]
    assert said[2].endswith("tuesday_images")
    assert "2 rows" in said[2]


def test_a_second_command_adds_to_the_summary_and_a_folder_given_twice_counts_once(
    untrained_model, slides, tmp_path, monkeypatch
):
    model, *_ = untrained_model()
    for given in ([slides[0]], [slides[1], slides[1]], [slides[0]]):
        arguments = ["predict", str(model), *map(str, given), "--results", str(tmp_path / "batch")]
        monkeypatch.setattr(sys, "argv", arguments)
        assert predict.main() == 0
    summary = pd.read_csv(tmp_path / "batch" / "summary.csv")
    assert sorted(summary["folder"]) == sorted(map(str, slides))
    assert summary["results"].nunique() == 2


def test_no_model_is_one_sentence(slides, tmp_path, monkeypatch, capsys):
    with pytest.raises(ModelError):
        predict.predict_all(tmp_path / "none", slides, tmp_path / "batch")
    monkeypatch.setattr(sys, "argv", ["predict", str(tmp_path / "none"), str(slides[0])])
    assert predict.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("Please check the model: ")
    assert "Traceback" not in error


def test_paths_of_the_command_line_are_worked_out(tmp_path, monkeypatch):
    """A folder of results within that of the images is known as such, however it is written."""
    given = []
    monkeypatch.setattr(predict, "predict_all", lambda *paths: given.append(paths) or pd.DataFrame({"problem": []}))
    monkeypatch.setattr("sys.argv", ["predict", "../model", "../images", "--results", "../images/out"])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert predict.main() == 0
    assert given == [(tmp_path / "model", [tmp_path / "images"], tmp_path / "images" / "out", "")]
