"""What is typed or picked in a form of the U-Net notebook is what runs; what is wrong is said, and refused."""

import json
import re
from contextlib import contextmanager

import pandas as pd
import pytest

from tests.browser import looks
from tests.browser.lab import missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

OWN = {"training_source": "my_data/images", "training_target": "my_data/masks"}
SHORT = {"number_of_epochs": 2, "number_of_steps": 3, "patch_height": 32, "patch_width": 32, "pooling_steps": 1}


@contextmanager
def first_forms(visit):
    """The U-Net notebook with its first forms, in a fresh session."""
    with visit("unet_segmentation") as notebook:
        notebook.run_section("", "1", "2", "3.1")
        notebook.wait()
        yield notebook


@pytest.fixture
def notebook(visit):
    with first_forms(visit) as notebook:
        yield notebook


def used(project, name: str) -> dict:
    """Values that a model was trained with, by form."""
    return json.loads((project / "models" / name / "parameters.json").read_text(encoding="utf-8"))["overrides"]


def test_what_is_typed_is_what_runs_also_after_run_all(notebook, project):
    notebook.form("data").fill(**OWN, model_name="typed_once")
    notebook.form("training").fill(**SHORT, filters=4)
    for name, epochs in (("typed_once", 2), ("typed_again", 1)):
        notebook.form("data").fill(model_name=name)
        notebook.form("training").fill(number_of_epochs=epochs)
        notebook.run_all()
        notebook.wait()
        assert notebook.errors() == []
        assert notebook.form("training").shown("number_of_epochs") == {"number_of_epochs": str(epochs)}
        assert used(project, name)["training"].items() >= (SHORT | {"number_of_epochs": epochs, "filters": 4}).items()
        assert used(project, name)["data"].items() >= OWN.items()


def test_a_wrong_value_is_marked_stays_and_is_refused(notebook, project):
    notebook.form("data").fill(**OWN, model_name="refused")
    notebook.form("training").fill(**SHORT | {"number_of_epochs": "ten"})
    note = notebook.form("training").field("number_of_epochs").locator(".note")
    note.wait_for()
    assert "must be a whole number between 1 and 5000" in note.inner_text()
    red, green, blue = looks.colour(note)
    assert red > 150
    assert max(green, blue) < 100
    assert looks.faint(note) == []
    notebook.screenshot("error_in_a_form", notebook.form("training").box)
    notebook.run_all()
    notebook.wait()
    assert notebook.form("training").shown("number_of_epochs") == {"number_of_epochs": "ten"}
    assert note.is_visible()
    (error,) = notebook.errors()
    assert "ten" in error
    assert "must be a whole number between 1 and 5000" in error
    assert "Traceback" not in error
    assert not re.search(r"\.py\b", error)
    notebook.show("3.2")
    notebook.screenshot("error_on_the_page")
    assert not (project / "models" / "refused").exists()


def test_a_folder_is_picked_in_the_file_chooser(notebook, project):
    form = notebook.form("data")
    form.fill(model_name="picked")
    notebook.form("training").fill(**SHORT)
    form.open_chooser("training_source")
    notebook.screenshot("file_chooser", form.box)
    form.pick("my_data/images")
    form.field("training_target").get_by_text("my_data/masks").wait_for()
    assert form.shown(*OWN) == OWN
    notebook.run_section("3.2", "3.3", "3.4", "4")
    notebook.wait()
    assert notebook.errors() == []
    split = pd.read_csv(project / "models" / "picked" / "split.csv")
    files = {path.name for path in (project / "my_data" / "images").iterdir()}
    assert set(split["file"].str.split("/").str[-1]) == files


def stop(notebook):
    """Press the stop button, and again if the training goes on: Python loses a signal that comes while it tidies up."""
    for tenth in range(120):
        if tenth % 40 == 0:
            notebook.interrupt()
        notebook.page.wait_for_timeout(100)
        if notebook.errors():
            return


def test_a_stopped_training_goes_on_where_it_was(notebook, project):
    notebook.form("data").fill(**OWN, model_name="stopped", test_in_turn="no")
    notebook.form("training").fill(**SHORT | {"number_of_epochs": 40, "number_of_steps": 30})
    notebook.run_section("3.2", "3.3", "3.4", "4")
    notebook.wait_for_text(r"Epoch\s[3-9]", "4")
    notebook.screenshot("training_progress", notebook.output("4").last)
    stop(notebook)
    notebook.wait()
    (error,) = notebook.errors()
    assert "run this cell again to go on" in error
    assert "Traceback" not in error
    notebook.screenshot("training_stopped", notebook.output("4").last)
    unfinished = json.loads((project / "models" / "stopped" / "training" / "state.json").read_text(encoding="utf-8"))
    notebook.run_section("4")
    notebook.wait()
    assert notebook.errors() == []
    assert "went on" in notebook.text("4")
    notebook.screenshot("training_continued", notebook.output("4").last)
    assert 0 < unfinished["epoch"] < 40
    assert pd.read_csv(project / "models" / "stopped" / "history.csv")["epoch"].tolist() == list(range(1, 41))


def test_the_settings_of_a_model_are_loaded_back(visit):
    """Typed in one session, loaded from the model folder in the next, where the form shows its defaults."""
    training = SHORT | {"number_of_epochs": 1, "batch_size": 3}
    with first_forms(visit) as notebook:
        notebook.form("data").fill(**OWN, model_name="kept")
        notebook.form("training").fill(**training)
        notebook.run_section("3.2", "3.3", "3.4", "4")
        notebook.wait()
        assert notebook.errors() == []
    with first_forms(visit) as notebook:
        assert notebook.form("training").shown("batch_size") == {"batch_size": "4"}
        for name, expected in (("data", OWN), ("training", training)):
            form = notebook.form(name)
            form.load_model("models/kept")
            form.box.locator(".message", has_text="kept").wait_for()
            assert form.shown(*expected) == {field: str(value) for field, value in expected.items()}
        assert notebook.form("data").shown("model_name") == {"model_name": "my_unet"}  # else it would be trained again
        notebook.screenshot("settings_of_a_model_loaded", notebook.form("training").box)
