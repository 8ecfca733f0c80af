"""Unfinished trainings and settings of last time are offered in the first form, and fill all forms of the page."""

import json
import os
from datetime import datetime

import pytest
from traitlets import Enum, Float, Int, Unicode

from notebooks import run
from tests import notebook_forms
from utils.forms import Automatic, Form, going_on, parameters, settings, state
from utils.forms.going_on import in_words, models, offers
from utils.forms.state import fill_all

NOW = datetime(2026, 11, 26, 12, 0)
YESTERDAY = datetime(2026, 11, 25, 16, 40)


def forms():
    """The forms of a page, declared anew as a cell does; each is made when its cell is run."""

    class Data(Form):
        training_source = Unicode("sample", help="").tag(path=True)
        model_name = Unicode("my_unet", help="")
        model_path = Unicode("models", help="").tag(path=True)
        if_model_exists = Enum(["ask", "replace"], help="")

    class Training(Form):
        preset = Enum(["Default", "Try out"], help="")
        presets = {"Try out": {"batch_size": 8}}
        number_of_epochs = Automatic(Int(100, min=1), help="")
        batch_size = Int(4, min=1, max=256, help="")
        pooling_steps = Int(2, help="")
        rate = Float(0.1, min=0, help="")

    return Data, Training


@pytest.fixture(autouse=True)
def page(tmp_path, monkeypatch):
    """A fresh kernel of the U-Net notebook, whose models and settings lie below the folder returned."""
    monkeypatch.setattr(going_on, "MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "settings")
    monkeypatch.setitem(settings._notebook, "name", "unet_segmentation")
    for kept in (state._typed, state._newest, going_on._waiting):
        kept.clear()
    return tmp_path


def unfinished(page, name="HE_nuclei", epoch=2, total=12, when=YESTERDAY, training=None, **data):
    """Write what a training leaves that was stopped after `epoch` epochs."""
    folder = page / "models" / name
    (folder / "training").mkdir(parents=True)
    values = {
        "data": {"training_source": "my/images", "model_name": name, "if_model_exists": "replace"} | data,
        "training": {"number_of_epochs": total, "batch_size": 8, "pooling_steps": 3} | (training or {}),
    }
    (folder / "parameters.json").write_text(json.dumps({"overrides": values}))
    state_file = folder / "training" / "state.json"
    if epoch is not None:
        state_file.write_text(json.dumps({"epoch": epoch}))
    touch(when, folder / "training", *([state_file] if epoch is not None else []))
    return folder


def touch(when, *paths):
    for path in paths:
        os.utime(path, (when.timestamp(), when.timestamp()))


def last_settings(page, when=YESTERDAY, **forms):
    path = page / "settings" / "unet_segmentation.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(forms))
    touch(when, path)


def told():
    return [f"{one.title}, {one.about}" for one in offers(NOW)]


class TestOffers:
    def test_an_unfinished_training_is_told_in_one_line(self, page):
        unfinished(page)
        assert told() == ["Go on with HE_nuclei, stopped in epoch 3 of 12, yesterday 16:40"]

    @pytest.mark.parametrize(
        ("epoch", "total", "words"),
        [
            (0, 12, "in epoch 1 of 12"),
            (None, 12, "in epoch 1 of 12"),
            (1, "automatic", "in epoch 2"),
            (12, 12, "after its last epoch"),
        ],
    )
    def test_where_it_stopped(self, page, epoch, total, words):
        unfinished(page, epoch=epoch, total=total)
        assert told() == [f"Go on with HE_nuclei, stopped {words}, yesterday 16:40"]

    def test_stages_count_together(self, page):
        folder = unfinished(page, epoch=None)
        for stage, epoch in (("head", 3), ("everything", 4)):
            (folder / "training" / stage).mkdir()
            (folder / "training" / stage / "state.json").write_text(json.dumps({"epoch": epoch}))
        assert "in epoch 8 of 12" in told()[0]

    def test_trainings_before_the_real_one_do_not_count(self, page):
        folder = unfinished(page, epoch=2)
        for place in ("trials/0", "cross_validation/3/training"):
            (folder / "training" / place).mkdir(parents=True)
            (folder / "training" / place / "state.json").write_text(json.dumps({"epoch": 9}))
        assert "in epoch 3 of 12" in told()[0]
        (folder / "split.csv").write_text("file,fold\n" + "".join(f"{i},{i % 5 + 1}\n" for i in range(9)))
        (folder / "cross_validation").mkdir()
        for part in (1, 2):
            (folder / "cross_validation" / f"part_{part}.npz").touch()
        assert "stopped in part 3 of 5 of the test on all images in turn, " in told()[0]

    def test_the_latest_come_first_and_few(self, page):
        for day in range(1, 7):
            unfinished(page, f"m{day}", when=datetime(2026, 11, day))
        assert [one.title for one in offers(NOW)] == [f"Go on with m{day}" for day in (6, 5, 4)]

    def test_finished_and_replaced_models_and_those_of_other_notebooks_are_left_out(self, page):
        (unfinished(page, "done") / "training").joinpath("state.json").unlink()
        (page / "models" / "done" / "training").rmdir()
        unfinished(page, "old.2026-11-20")
        unfinished(page, "old.2026-11-20.1")
        unfinished(page, "stars", training={"n_rays": 32})
        unfinished(page, "cells", training={"decides": "both", "pooling_steps": 1})
        tuned = unfinished(page, "tuned")
        saved = json.loads((tuned / "parameters.json").read_text())
        saved["overrides"]["strategy"] = {"strategy": "two stages"}
        (tuned / "parameters.json").write_text(json.dumps(saved))
        assert told() == []

    def test_settings_of_last_time(self, page):
        last_settings(page, data={"model_name": "livers"}, training={"batch_size": 16})
        assert told() == ["Use my last settings, yesterday 16:40, of the model livers"]

    def test_settings_of_the_unfinished_training_are_not_offered_twice(self, page):
        unfinished(page)
        last_settings(page, data={"model_name": "HE_nuclei", "model_path": str(page / "models")}, training={})
        assert len(told()) == 1
        last_settings(page, data={"model_name": "another", "model_path": str(page / "models")}, training={})
        assert len(told()) == 2

    def test_models_are_also_looked_for_where_they_were_kept_last(self, page):
        folder = unfinished(page)
        (page / "elsewhere").mkdir()
        folder.rename(page / "elsewhere" / "HE_nuclei")
        assert told() == []
        last_settings(page, data={"model_name": "x", "model_path": str(page / "elsewhere")})
        (first, _) = offers(NOW)
        assert first.title == "Go on with HE_nuclei"
        assert first.values["data"]["model_path"] == str(page / "elsewhere")

    def test_nothing_is_there(self, page):
        assert told() == []


DAMAGED = [
    b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe\x00", b'{"overrides": 3}', b'{"overrides": {"data": 1}}',
    b'{"overrides": {}}', b'{"overrides": {"data": {}, "training": {"pooling_steps": null, "number_of_epochs": {}}}}',
    b'{"epoch": "three"}', b'{"epoch": null}', b'{"epoch": 1e999}', b'[{"form": "data"}]', b'[["data", "axes"]]',
]  # fmt: skip


@pytest.mark.parametrize("name", ["parameters.json", "training/state.json", "automatic.json", "model.json"])
def test_a_damaged_file_never_stops_the_form(page, name):
    folder = unfinished(page)
    Data, Training = forms()
    (page / "settings").mkdir()
    for content in DAMAGED:
        (folder / name).write_bytes(content)
        (page / "settings" / "unet_segmentation.json").write_bytes(content)
        (page / "models" / "a_file").write_bytes(content)
        for one in offers(NOW):
            assert fill_all(one)
        assert Data().wrong == Training().wrong == {}
    assert Data()._repr_mimebundle_()


@pytest.mark.parametrize("name", ["parameters.json", "training/state.json", "automatic.json", "model.json", "training"])
def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(page, name):
    folder = unfinished(page)
    if name == "training":
        (folder / "training" / "state.json").unlink()
        (folder / "training").rmdir()
        (folder / "training").write_text("")
    else:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()
    (page / "settings" / "unet_segmentation.json").mkdir(parents=True)
    assert isinstance(told(), list)


class TestFilling:
    def test_all_forms_take_the_values_also_those_that_appear_later(self, page):
        unfinished(page)
        Data, Training = forms()
        data = Data()
        (offer,) = offers(NOW)
        said = fill_all(offer)
        assert "HE_nuclei" in said
        assert data.values() == {
            "training_source": "my/images",
            "model_name": "HE_nuclei",
            "model_path": str(page / "models"),
            "if_model_exists": "ask",  # nothing may be moved out of the way
        }
        training = Training()
        assert (training.number_of_epochs, training.batch_size, training.pooling_steps) == (12, 8, 3)
        assert forms()[1]().batch_size == 8  # the cell is run again

    def test_a_form_that_is_there_and_one_of_a_cell_run_twice(self, page):
        unfinished(page)
        Data, Training = forms()
        Data()
        new = Data()
        there = Training()
        there.batch_size = 32
        fill_all(offers(NOW)[0])
        assert new.model_name == "HE_nuclei"
        assert there.batch_size == 8

    def test_what_is_typed_after_it_stays(self, page):
        unfinished(page)
        Data, Training = forms()
        fill_all(offers(NOW)[0])
        Training().batch_size = 64
        assert Training().batch_size == 64

    def test_a_run_by_a_program_takes_nothing(self, page):
        unfinished(page)
        fill_all(offers(NOW)[0])
        assert forms()[1](number_of_epochs=3).batch_size == 4

    def test_what_was_chosen_from_the_data_is_left_to_the_data_again(self, page):
        folder = unfinished(page)
        chosen = [{"form": "training", "field": "number_of_epochs", "value": 12, "reason": "time"}]
        (folder / "automatic.json").write_text(json.dumps(chosen))
        fill_all(offers(NOW)[0])
        assert forms()[1]().number_of_epochs == "automatic"

    def test_a_model_folder_that_was_renamed_goes_on_under_its_name(self, page):
        unfinished(page).rename(page / "models" / "renamed")
        fill_all(offers(NOW)[0])
        assert forms()[0]().model_name == "renamed"

    def test_values_that_no_longer_fit_are_told_where_they_stand(self, page):
        unfinished(page, training={"batch_size": 100000, "gone": 1})
        Data, Training = forms()
        Data()
        training = Training()
        assert '"100000"' in fill_all(offers(NOW)[0])
        assert training.batch_size == 4
        state._newest.clear()
        fill_all(offers(NOW)[0])
        assert '"100000"' in Training().filled

    def test_the_first_form_has_the_line_and_the_button_others_have_not(self, page):
        unfinished(page)
        Data, Training = forms()
        data, training = Data(), Training()
        for form in (data, training):
            form._repr_mimebundle_()
        (line,) = data._view.going_on.children
        button, about = line.children
        assert button.description == "Go on with HE_nuclei"
        assert "stopped in epoch 3 of 12" in about.value
        assert training._view.going_on.children == ()
        button.click()
        assert data._view.rows["model_name"].control.value == "HE_nuclei"
        assert training._view.rows["batch_size"].control.value == "8"
        assert "goes on where it stopped" in data._view.going_on.children[0].value

    def test_the_settings_of_last_time_fill_all_forms(self, page):
        last_settings(page, data={"model_name": "livers"}, training={"preset": "Try out", "batch_size": 16})
        fill_all(offers(NOW)[0])
        Data, Training = forms()
        assert Data().model_name == "livers"
        assert (Training().preset, Training().batch_size) == ("Try out", 16)


@pytest.mark.parametrize("name", run.training())
def test_the_forms_of_each_notebook_ask_again_for_what_was_asked(page, name, monkeypatch):
    """So that the training goes on: what is asked for is compared with what the folder says."""
    monkeypatch.setitem(settings._notebook, "name", name)
    classes = notebook_forms.declared(name)
    trained = [one for one in classes if one.form_name not in ("evaluation", "prediction")]
    first = [one() for one in trained]
    for form in first:
        for field, trait in form.fields.items():
            if type(trait) in (Int, Float):
                form.enter(field, str(min(trait.max, getattr(form, field) + 1)))
    asked = parameters(*first)
    folder = page / "models" / asked["overrides"]["data"]["model_name"]
    (folder / "training").mkdir(parents=True)
    (folder / "parameters.json").write_text(json.dumps(asked))
    for kept in (state._typed, state._newest):
        kept.clear()
    assert parameters(*(one() for one in trained)) != asked
    fill_all(offers(NOW)[0])
    again = parameters(*(one() for one in trained))
    assert again["overrides"]["data"].pop("model_path") == str(page / "models")
    asked["overrides"]["data"].pop("model_path")
    assert again == asked


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (datetime(2026, 11, 26, 0, 1), "today 00:01"),
        (datetime(2026, 11, 25, 23, 59), "yesterday 23:59"),
        (datetime(2026, 11, 24, 9, 5), "24 November 09:05"),
        (datetime(2025, 11, 24, 9, 5), "24 November 2025"),
        (datetime(2026, 11, 27, 9, 5), "27 November 09:05"),  # another clock
    ],
)
def test_times_in_words(then, words):
    assert in_words(then, NOW) == words


class TestModels:
    def model(self, page, name, task="unet", when=YESTERDAY, **files):
        folder = page / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps({"task": task}))
        for file, content in files.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
        touch(when, folder / "model.json")

    def test_those_of_the_task_are_listed_the_latest_first(self, page):
        data = {"overrides": {"data": {"training_source": "my/images"}}}
        self.model(page, "a", when=NOW, parameters=data, scores={"headline": {"name": "Mean IoU", "value": 0.876}})
        self.model(page, "b")
        self.model(page, "c", task="stardist")
        (page / "models" / "empty").mkdir()
        (page / "models" / "broken").mkdir()
        (page / "models" / "broken" / "model.json").write_text("{")
        assert [about for about, _ in models(("unet",), NOW)] == [
            "a: trained today 12:00 on my/images, Mean IoU 0.88",
            "b: trained yesterday 16:40",
        ]
        assert models(("unet",), NOW)[1][1] == str(page / "models" / "b")
        assert len(models(("unet", "stardist"), NOW)) == 3

    def test_one_is_chosen_by_its_name(self, page):
        self.model(page, "b")

        class Prediction(Form):
            model_folder = Unicode("", help="").tag(path=True, models=("unet",))

        form = Prediction()
        form._repr_mimebundle_()
        row = form._view.rows["model_folder"]
        assert row.known.options[1][0].startswith("b: trained ")
        row.known.value = str(page / "models" / "b")
        assert form.model_folder == str(page / "models" / "b")
        assert row.control.value == str(page / "models" / "b")
        form.model_folder = "models/another"
        assert (row.known.value, row.control.value) == ("", "models/another")

    def test_without_a_model_nothing_is_offered(self, page):
        class Prediction(Form):
            model_folder = Unicode("", help="").tag(path=True, models=("unet",))

        form = Prediction()
        form._repr_mimebundle_()
        assert form._view.rows["model_folder"].known.layout.display == "none"
