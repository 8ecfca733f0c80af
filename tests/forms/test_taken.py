"""A name for a model that is taken is told in the form: by what, and what will happen."""

import json
import os
import re
import shutil

import pytest
from traitlets import Enum, Float, Unicode

from tests.test_locks import another
from utils.errors import FormError
from utils.forms import Automatic, FolderName, Form, IfTaken
from utils.forms import state as forms_state
from utils.forms.fields import AUTOMATIC, RENAME, STOP
from utils.forms.view import as_table, notes_on
from utils.paths import ROOT

WHEN = 1769863200  # 31 January 2026, about noon in Europe
SAVED = {
    "data": {
        "training_source": "my/images",
        "model_name": "elsewhere",
        "if_model_exists": "ask",
        "axes": "YX",
        "percentage": 20,
        "starting_model": "",
    },
    "training": {"number_of_epochs": 12},
}


class Data(Form):
    training_source = Unicode("my/images", help="images").tag(path=True)
    axes = Enum(["automatic", "YX", "YXC"])
    percentage = Automatic(Float(10))
    starting_model = Unicode("")
    model_name = FolderName("m", help="name")
    model_path = Unicode("", help="place").tag(path=True)
    if_model_exists = IfTaken(help="if")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(forms_state, "_typed", {})


def note(path, **typed):
    form = Data(model_path=str(path), **typed)
    (said,) = [one for one in notes_on(form, "model_name") if one != "set by overrides"] or [""]
    assert (said in as_table(form).replace("&quot;", '"').replace("&#x27;", "'")) or not said
    return said


def write(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    os.utime(path, (WHEN, WHEN))
    return path


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "m"
    write(folder / "parameters.json", {"overrides": SAVED})
    write(folder / "split.csv", "file,role\n" + "".join(f"{i}.tif,training\n" for i in range(52)))
    return folder


@pytest.fixture
def finished(model):
    write(model / "model.json", {"task": "unet", "notebook": "unet_segmentation"})
    return model


@pytest.fixture
def unfinished(model):
    write(model / "training" / "state.json", {"epoch": 3})
    write(model / "training" / "trials" / "0" / "state.json", {"epoch": 9})
    return model


def test_a_free_name_has_no_note(tmp_path):
    assert note(tmp_path) == ""
    (tmp_path / "m").mkdir()
    assert note(tmp_path) == ""
    assert note(tmp_path / "none") == ""


def test_a_finished_model(finished):
    said = note(finished.parent, axes="YX", percentage=20)
    about = r"taken: a model trained on my/images \(52 images\) by the page unet_segmentation, finished on 31 Jan"
    assert re.match(about, said)
    follows = "With the same data and settings it is used as it is; with others nothing is trained. For a new model"
    assert follows in said
    assert f'another name, or "{RENAME}"' in said


def test_an_unfinished_model_goes_on(unfinished):
    said = note(unfinished.parent, axes="YX", percentage=20)
    assert "a model trained on my/images (52 images), stopped in epoch 4 of 12, on 31 January 2026" in said
    assert "With the same data and settings the training goes on; with others nothing is trained" in said


def test_the_epochs_of_all_stages_are_counted(model):
    for name, epoch in (("head", 2), ("everything", 3), ("rates", 100)):
        write(model / "training" / name / "state.json", {"epoch": epoch})
    assert "stopped in epoch 6 of 12" in note(model.parent)
    (model / "training" / "head" / "state.json").write_text("{")
    assert "stopped, on " in note(model.parent)


def test_the_test_on_all_images_in_turn_is_no_part_of_the_epochs(unfinished):
    write(unfinished / "split.csv", "file,role,fold\n" + "".join(f"{i}.tif,training,{i % 5 + 1}\n" for i in range(9)))
    write(unfinished / "training" / "cross_validation" / "3" / "training" / "state.json", {"epoch": 7})
    for part in (1, 2):
        write(unfinished / "cross_validation" / f"part_{part}.npz", "")
    assert "stopped in part 3 of 5 of the test on all images in turn, on " in note(unfinished.parent)
    for part in (3, 4, 5):
        write(unfinished / "cross_validation" / f"part_{part}.npz", "")
    assert "stopped in epoch 4 of 12" in note(unfinished.parent)


def test_stopped_at_once(model):
    (model / "training").mkdir()
    assert "stopped in epoch 1 of 12, on " in note(model.parent)


@pytest.mark.parametrize("fields", [["axes"], ["percentage"], ["starting_model"], ["axes", "percentage"]])
def test_other_values_are_named(fields, finished):
    other = {"axes": "YXC", "percentage": 30, "starting_model": "models/x"}
    typed = {"axes": "YX", "percentage": 20} | {name: other[name] for name in fields}
    labels = {"axes": '"Axes"', "percentage": '"Percentage"', "starting_model": '"Starting model"'}
    expected = f"It was made with other values of {', '.join(labels[name] for name in fields)}: nothing is trained. For"
    assert expected in note(finished.parent, **typed)
    renamed = note(finished.parent, if_model_exists=RENAME, **typed)
    assert renamed.endswith("it is renamed, and a new one is trained")


def test_what_is_chosen_from_the_data_is_no_other_value(finished):
    assert "other values" not in note(finished.parent, axes="automatic", percentage=AUTOMATIC)


def test_one_that_is_being_trained_is_told_with_the_page(unfinished):
    with another(unfinished) as process:
        said = note(unfinished.parent)
        assert f"being written at the moment by the page the_other (process {process.pid} on the computer" in said
    assert "stopped in epoch 4" in note(unfinished.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"overrides": 3}', '{"overrides": {"data": 3}}', "\x00", "null"])
def test_a_folder_of_something_else(text, tmp_path):
    write(tmp_path / "m" / "parameters.json", text)
    assert note(tmp_path) == "taken by a folder that holds no model: choose another name"


def test_odd_contents_are_in_nobodys_way(finished):
    write(finished / "split.csv", "\x00")
    write(finished / "model.json", "[")
    write(finished / "parameters.json", {"overrides": {"data": {}}})
    assert "a model trained on unknown images" in note(finished.parent)
    (finished / "model.json").unlink()
    assert "incomplete" in note(finished.parent)
    (finished / "thesis.docx").touch()
    shutil.rmtree(finished)
    finished.write_text("mine")
    assert note(finished.parent) == f"{finished} is a file: choose another name"


@pytest.mark.parametrize("name", ["unet/unfinished", "stardist/unfinished", "classification/unfinished"])
def test_models_of_earlier_versions(name):
    folder = ROOT / "tests" / "old_models" / name
    said = note(folder.parent, model_name="unfinished")
    assert "stopped in epoch" in said


def test_what_programs_said_before_is_understood_and_wrong_words_are_refused():
    assert Data().if_model_exists == STOP
    for text, meant in {"ask": STOP, "replace": RENAME, STOP: STOP, RENAME: RENAME}.items():
        assert Data(if_model_exists=text).asked()["if_model_exists"] == meant
    with pytest.raises(FormError, match="must be one of: stop and tell me, rename"):
        Data(if_model_exists="delete")


def test_old_parameters_fill_the_form(tmp_path):
    assert Data.fitting({"if_model_exists": "replace"}) == ({"if_model_exists": RENAME}, "")
