"""Laws of forms: what is shown is what runs, in the order declared, and nothing wrong gets past."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import ipywidgets
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from traitlets import Bool, Enum, Float, Int, List, TraitError, Unicode, validate

from notebooks import run
from utils import paths
from utils.errors import DataError, FormError
from utils.forms import FolderName, Form, notebook, parameters, save_settings, settings
from utils.forms import state as forms_state
from utils.forms import view as forms_view
from utils.forms.fields import parse, to_text
from utils.paths import FOLDER_NAME_RULE

DECLARATION = """
class Training(Form):
    preset = Enum(["Default", "Quick on a CPU", "Try out"], help="fills the fields below")
    number_of_epochs = Int(100, min=1, max=5000, help="rounds of <training>")
    batch_size = Int(4, min=1)
    initial_learning_rate = Float(3e-4, min=1e-7, max=1.0).tag(advanced=True)
    flip = Bool(True)
    grid = Enum([1, 2, 4], default_value=2)
    model_name = Unicode("my model")
    a_path = Unicode("data_samples").tag(path=True)
    presets = {
        "Quick on a CPU": {"number_of_epochs": 20, "flip": False},
        "Try out": {"number_of_epochs": 3, "initial_learning_rate": 0.01},
    }
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    """Each test starts as a new kernel does, with a settings folder of its own."""
    monkeypatch.setattr(forms_state, "_typed", {})
    monkeypatch.setattr(forms_view, "_picked", {"model": "models"})
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "settings")
    monkeypatch.setattr(settings, "_notebook", {"name": ""})
    monkeypatch.setattr(settings, "_from_first_page", {})


def run_cell(declaration=DECLARATION, **overrides):
    """Run the cell of the form: the class is declared anew and made, as on each Run All."""
    cell = {"Form": Form, "Bool": Bool, "Enum": Enum, "Float": Float, "Int": Int, "Unicode": Unicode}
    exec(declaration, cell)
    return cell["Training"](**overrides)


def view(form):
    """The form's widgets, made by showing it."""
    form._repr_mimebundle_()
    return form._view


def type_in(form, name, text):
    view(form).rows[name].control.value = text


def shown(form):
    """What the widgets show, as text."""
    return {name: to_text(row.control.value) for name, row in view(form).rows.items()}


def assert_shown_is_what_runs(form):
    assert shown(form) == form.shown
    values = form.values()
    assert shown(form) == {name: to_text(value) for name, value in values.items()}
    assert values == {name: getattr(form, name) for name in form.fields}


def test_order_is_that_of_the_declaration():
    form = run_cell()
    order = [
        "preset",
        "number_of_epochs",
        "batch_size",
        "initial_learning_rate",
        "flip",
        "grid",
        "model_name",
        "a_path",
    ]
    assert list(form.values()) == list(view(form).rows) == order

    class Base(Form):
        zebra = Int(1)
        cat = Int(2)

    class Child(Base):
        ant = Int(3)
        zebra = Int(9)

    assert Child().values() == {"zebra": 9, "cat": 2, "ant": 3}
    assert Base().values() == {"zebra": 1, "cat": 2}


def test_form_of_one_field_and_of_none():
    class One(Form):
        only = Int(5)

    class Empty(Form):
        pass

    assert One().values() == {"only": 5}
    assert Empty().values() == {}
    assert view(Empty()).rows == {}


def test_every_kind_of_field_is_shown_and_typed():
    form = run_cell()
    typed = {
        "number_of_epochs": "7",
        "initial_learning_rate": "1e-3",
        "grid": "4",
        "model_name": "cells",
        "a_path": "x",
    }
    for name, text in typed.items():
        type_in(form, name, text)
    view(form).rows["flip"].control.value = False
    assert form.values() == {
        "preset": "Default",
        "number_of_epochs": 7,
        "batch_size": 4,
        "initial_learning_rate": 0.001,
        "flip": False,
        "grid": 4,
        "model_name": "cells",
        "a_path": "x",
    }
    assert_shown_is_what_runs(form)


def test_labels_help_and_folding():
    form = run_cell()
    box = view(form).box
    labels = [row.box.children[0].value for row in view(form).rows.values()]
    assert ">Number of epochs<" in labels[1]
    texts = "".join(widget.value for widget in every(box) if isinstance(widget, ipywidgets.HTML))
    assert "rounds of &lt;training&gt;" in texts
    accordion = view(form).advanced
    assert accordion in box.children
    assert view(form).rows["initial_learning_rate"].control in every(accordion)
    assert view(form).rows["number_of_epochs"].control not in every(accordion)
    assert accordion.selected_index is None
    assert accordion.get_title(0) == "Advanced"


def every(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


@pytest.mark.parametrize(
    ("trait", "text", "value"),
    [
        (Int(), " 12 ", 12),
        (Int(), "-3", -3),
        (Float(), "1e-3", 0.001),
        (Float(), "0,001", 0.001),
        (Float(), "1,5", 1.5),
        (Float(), "2", 2.0),
        (Enum([1, 2]), "2", 2),
        (Bool(), "true", True),
        (Unicode(), " a b ", "a b"),
        (Unicode().tag(path=True), '"C:/my images"', "C:/my images"),
        (Unicode().tag(path=True), "' a b '", "a b"),
        (Unicode().tag(path=True), "5' end", "5' end"),
        (Unicode().tag(path=True), "'a' b", "'a' b"),
        (Unicode().tag(path=True), "3'", "3'"),
        (Unicode(), '"a"', '"a"'),
    ],
)
def test_text_is_read(trait, text, value):
    assert parse(trait, text) == value
    assert type(parse(trait, text)) is type(value)


@pytest.mark.parametrize(
    ("trait", "text", "rule"),
    [
        (Int(min=1, max=5000), "12.5", "must be a whole number between 1 and 5000"),
        (Int(min=1, max=5000), "5001", "must be a whole number between 1 and 5000"),
        (Int(min=1), "0", "must be a whole number of at least 1"),
        (Int(max=9), "10", "must be a whole number of at most 9"),
        (Int(), "", "must be a whole number"),
        (Int(), "1_000", "must be a whole number"),
        (Int(), "1,000", "must be a whole number"),
        (Int(), "True", "must be a whole number"),
        (Float(), "1,000", "must be a number, written with a decimal point"),
        (Float(), "1,000,000", "must be a number, written with a decimal point"),
        (Float(), "nan", "must be a number, written with a decimal point"),
        (Float(min=0), "inf", "must be a number of at least 0, written with a decimal point"),
        (Float(min=1e-7, max=1), "2", "must be a number between 1e-07 and 1, written with a decimal point"),
        (Enum([1, 2]), "True", "must be one of: 1, 2"),
        (Bool(), "1", "must be yes or no (true or false)"),
    ],
)
def test_wrong_text_is_refused_with_the_rule(trait, text, rule):
    with pytest.raises(ValueError, match="^must") as refused:
        parse(trait, text)
    assert str(refused.value) == rule


def test_any_value_survives_being_shown():
    rng = np.random.default_rng(0)
    for _ in range(300):
        number = float(rng.normal() * 10.0 ** rng.integers(-12, 12))
        assert parse(Float(), to_text(number)) == number
        whole = int(rng.integers(-(2**62), 2**62))
        assert parse(Int(), to_text(whole)) == whole


def test_wrong_text_stays_is_marked_and_refuses():
    form = run_cell()
    for text in ("1000000", "abc", "12.5", ""):
        type_in(form, "number_of_epochs", text)
        row = view(form).rows["number_of_epochs"]
        assert row.control.value == text
        assert "solid" in row.control.layout.border
        assert "must be a whole number between 1 and 5000" in row.note.value
        for ask in (form.values, lambda: form.number_of_epochs, lambda: parameters(form)):
            with pytest.raises(FormError) as refused:
                ask()
            for part in ('"training"', "number_of_epochs", f'"{text}"', "must be a whole number between 1 and 5000"):
                assert part in str(refused.value)
        assert form.batch_size == 4
    type_in(form, "number_of_epochs", "12")
    assert "solid" not in (row.control.layout.border or "")
    assert not row.note.value
    assert_shown_is_what_runs(form)


def test_refusal_names_every_wrong_field():
    form = run_cell()
    type_in(form, "number_of_epochs", "abc")
    type_in(form, "batch_size", "x")
    with pytest.raises(FormError, match='number_of_epochs is "abc".*batch_size is "x"'):
        form.values()


def test_wrong_advanced_field_is_unfolded():
    form = run_cell()
    type_in(form, "batch_size", "x")
    assert view(form).advanced.selected_index is None
    type_in(form, "initial_learning_rate", "x")
    assert view(form).advanced.selected_index == 0


def test_rule_between_fields():
    class Patches(Form):
        patch_width = Int(64)
        pooling_steps = Int(2, min=0, max=8)

        @validate("patch_width")
        def _divisible(self, proposal):
            if proposal["value"] % 2**self.pooling_steps:
                raise TraitError(f"must be a multiple of {2**self.pooling_steps}")
            return proposal["value"]

    form = Patches()
    type_in(form, "patch_width", "40")
    assert form.patch_width == 40
    type_in(form, "pooling_steps", "4")  # the other field changes, this one becomes wrong ...
    assert "must be a multiple of 16" in view(form).rows["patch_width"].note.value
    with pytest.raises(FormError, match='patch_width is "40" but must be a multiple of 16'):
        form.values()
    type_in(form, "pooling_steps", "many")
    with pytest.raises(FormError, match="when the other marked field is corrected"):
        _ = form.patch_width
    type_in(form, "pooling_steps", "3")  # ... and right again
    assert form.values() == {"patch_width": 40, "pooling_steps": 3}
    forms_state._typed.clear()
    assert Patches(patch_width=48, pooling_steps=4).values() == {"patch_width": 48, "pooling_steps": 4}
    with pytest.raises(FormError, match="multiple of 16"):
        Patches(patch_width=40, pooling_steps=4)


def test_unknown_override_lists_the_known_ones():
    with pytest.raises(FormError, match='Did you mean "number_of_epochs"') as refused:
        run_cell(numbr_of_epochs=3)
    assert all(name in str(refused.value) for name in run_cell().fields)
    with pytest.raises(FormError, match="training"):
        run_cell(zzz=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"number_of_epochs": 0},
        {"number_of_epochs": 2.0},
        {"number_of_epochs": True},
        {"number_of_epochs": None},
        {"initial_learning_rate": float("nan")},
        {"flip": 1},
        {"grid": 3},
        {"grid": True},
        {"preset": "Fast"},
        {"model_name": None},
        {"model_name": ["a"]},
    ],
)
def test_wrong_override_is_refused(wrong):
    with pytest.raises(FormError, match=f'"training", {next(iter(wrong))} is .* must'):
        run_cell(**wrong)


def test_headless_is_shown():
    given = {"number_of_epochs": np.int64(9), "initial_learning_rate": 1e-5, "flip": False, "a_path": Path("a") / "b"}
    form = run_cell(**given)
    assert form.values()["number_of_epochs"] == 9
    assert form.values()["a_path"] == os.path.join("a", "b")
    assert_shown_is_what_runs(form)
    assert "set by overrides" in view(form).rows["flip"].note.value
    assert "set by overrides" not in view(form).rows["grid"].note.value


def test_precedence():
    assert run_cell().number_of_epochs == 100
    assert run_cell(preset="Quick on a CPU").number_of_epochs == 20
    assert run_cell(preset="Quick on a CPU", number_of_epochs=3).values()["flip"] is False
    assert run_cell(preset="Quick on a CPU", number_of_epochs=3).number_of_epochs == 3
    type_in(run_cell(), "number_of_epochs", "7")
    assert run_cell().number_of_epochs == 7
    assert run_cell(preset="Quick on a CPU").number_of_epochs == 7
    assert run_cell(preset="Quick on a CPU").flip is False
    assert run_cell(preset="Quick on a CPU", number_of_epochs=3).number_of_epochs == 3
    assert run_cell().number_of_epochs == 7  # an override is not remembered


def test_choosing_a_preset_fills_the_fields_it_governs():
    form = run_cell(batch_size=2, initial_learning_rate=0.5)
    type_in(form, "model_name", "mine")
    type_in(form, "number_of_epochs", "55")
    type_in(form, "preset", "Quick on a CPU")
    assert (form.number_of_epochs, form.flip, form.model_name, form.batch_size) == (20, False, "mine", 2)
    assert run_cell().number_of_epochs == 20  # what was typed before is forgotten
    type_in(form, "preset", "Try out")
    assert (form.number_of_epochs, form.flip, form.initial_learning_rate) == (3, True, 0.5)
    type_in(form, "number_of_epochs", "4")
    assert_shown_is_what_runs(form)
    again = run_cell()
    assert (again.preset, again.number_of_epochs, again.initial_learning_rate) == ("Try out", 4, 0.01)
    type_in(again, "preset", "Default")
    assert again.values() == {**run_cell().values(), "number_of_epochs": 100, "model_name": "mine"}
    assert_shown_is_what_runs(again)


def test_choosing_a_preset_mends_a_wrong_text():
    form = run_cell()
    type_in(form, "number_of_epochs", "abc")
    type_in(form, "preset", "Try out")
    assert form.number_of_epochs == 3
    assert_shown_is_what_runs(form)


def test_running_the_cell_again_keeps_what_was_typed():
    form = run_cell()
    type_in(form, "number_of_epochs", "7")
    type_in(form, "model_name", "mine")
    for _ in range(2):
        form = run_cell()
        assert (form.number_of_epochs, form.model_name) == (7, "mine")
        assert_shown_is_what_runs(form)
    type_in(form, "number_of_epochs", "abc")
    for _ in range(2):
        form = run_cell()
        assert view(form).rows["number_of_epochs"].control.value == "abc"
        with pytest.raises(FormError, match="abc"):
            form.values()


def test_typing_over_an_override_counts_until_the_cell_runs_again():
    form = run_cell(number_of_epochs=3)
    type_in(form, "number_of_epochs", "7")
    assert form.number_of_epochs == 7
    assert "overrides" not in view(form).rows["number_of_epochs"].note.value
    assert run_cell(number_of_epochs=3).number_of_epochs == 3
    assert run_cell().number_of_epochs == 7


def test_kept_text_that_no_longer_fits_a_changed_declaration_gives_way_to_the_default():
    type_in(run_cell(), "number_of_epochs", "700")
    type_in(run_cell(), "model_name", "mine")
    form = run_cell(DECLARATION.replace("max=5000", "max=500"))
    assert (form.number_of_epochs, form.model_name) == (100, "mine")
    without = run_cell(DECLARATION.replace('    model_name = Unicode("my model")\n', ""))
    assert "model_name" not in without.values()


def test_forms_do_not_share_what_was_typed():
    class Other(Form):
        batch_size = Int(1)

    type_in(run_cell(), "batch_size", "8")
    assert Other().batch_size == 1


def test_setting_an_attribute_counts_as_typing():
    form = run_cell()
    form.number_of_epochs = 9
    assert_shown_is_what_runs(form)
    assert run_cell().number_of_epochs == 9
    with pytest.raises(FormError):
        form.number_of_epochs = 0
    assert form.number_of_epochs == 9


def test_back_to_defaults():
    form = run_cell(batch_size=2)
    declared = {**form.values(), "batch_size": 4}
    for name, text in {"number_of_epochs": "abc", "preset": "Try out", "model_name": "mine"}.items():
        type_in(form, name, text)
    view(form).defaults.click()
    assert form.values() == declared
    assert_shown_is_what_runs(form)
    assert run_cell().values() == declared


def test_on_change_only_while_valid():
    calls = []
    form = run_cell()
    form.on_change(lambda: calls.append(form.values()["number_of_epochs"]))
    for text in ("7", "abc", "8", " 8 ", "9"):
        type_in(form, "number_of_epochs", text)
    assert calls == [7, 8, 9]


def test_save_and_load():
    notebook("unet")
    form = run_cell()
    assert view(form).load.disabled
    type_in(form, "number_of_epochs", "7")
    type_in(form, "model_name", "Zellkerne ü")
    saved = form.values()
    path = save_settings(form)
    assert path == settings.SETTINGS / "unet.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {"training": saved}
    assert [entry.name for entry in path.parent.iterdir()] == ["unet.json"]
    forms_state._typed.clear()  # a new kernel
    form = run_cell()
    assert form.number_of_epochs == 100  # never loaded by itself
    assert not view(form).load.disabled
    view(form).load.click()
    assert form.values() == saved
    assert_shown_is_what_runs(form)
    assert run_cell().values() == saved
    form = run_cell(number_of_epochs=3)
    view(form).load.click()
    assert form.number_of_epochs == 7
    assert "overrides" not in view(form).rows["number_of_epochs"].note.value


def test_saving_keeps_other_forms_and_spares_settings_of_a_person():
    class Data(Form):
        axes = Unicode("YX")

    notebook("unet")
    save_settings(Data())
    path = save_settings(run_cell())
    before = path.read_text()
    assert set(json.loads(before)) == {"data", "training"}
    assert save_settings(Data(), run_cell(number_of_epochs=1)) is None
    assert path.read_text() == before


def test_nothing_wrong_is_saved():
    notebook("unet")
    form = run_cell()
    type_in(form, "number_of_epochs", "abc")
    with pytest.raises(FormError):
        save_settings(form)
    assert not settings.SETTINGS.exists()
    forms_state._typed.clear()
    notebook("")
    with pytest.raises(FormError, match="set-up cell"):
        save_settings(run_cell())


def test_load_ignores_unknown_names_and_tells_what_no_longer_fits():
    notebook("unet")
    path = save_settings(run_cell())
    path.write_text(json.dumps({"training": {"number_of_epochs": 9999, "batch_size": 8, "gone": 1}}))
    form = run_cell()
    view(form).load.click()
    assert (form.number_of_epochs, form.batch_size) == (100, 8)
    assert "9999" in view(form).message.value
    assert "gone" not in view(form).message.value


@pytest.mark.parametrize("content", ["{", "[1]", '{"training": 3}', "\x00"])
def test_damaged_settings_are_told_and_kept(content):
    notebook("unet")
    settings.SETTINGS.mkdir()
    path = settings.SETTINGS / "unet.json"
    path.write_text(content)
    form = run_cell()
    type_in(form, "number_of_epochs", "7")
    assert "unet.json" in view(form).message.value
    with pytest.raises(FormError, match="unet.json"):
        form.load()
    assert form.number_of_epochs == 7
    assert path.read_text() == content
    save_settings(form)
    assert json.loads(path.read_text())["training"]["number_of_epochs"] == 7
    assert (settings.SETTINGS / "unet.json.damaged").read_text() == content


@pytest.mark.filterwarnings("error::UserWarning")  # ipywidgets 7 has deprecation warnings of its own
def test_failed_saving_is_told_and_leaves_the_earlier_settings(monkeypatch, capsys):
    notebook("unet")
    path = save_settings(run_cell())
    before = path.read_text()

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(settings.os, "replace", full)
    type_in(run_cell(), "number_of_epochs", "7")
    assert save_settings(run_cell()) is None
    said = " ".join(capsys.readouterr().out.split())
    assert said == f"Your settings could not be saved to {path} (No space left on device); the work goes on without."
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_parameters_repeat_the_run():
    form = run_cell(preset="Try out", grid=4, initial_learning_rate=1e-5)
    written = json.loads(json.dumps(parameters(form)))
    assert run_cell(**written["overrides"]["training"]).values() == form.values()


def test_paths_do_not_depend_on_the_working_directory(monkeypatch, tmp_path):
    seen = set()
    for folder in (tmp_path, paths.ROOT, paths.ROOT / "tests"):
        monkeypatch.chdir(folder)
        note = view(run_cell()).rows["a_path"].note.value
        seen.add((paths.resolve("data_samples/../x"), note))
    assert seen == {(paths.ROOT / "x", note)}
    assert f"{paths.ROOT / 'data_samples'} (found)" in note
    assert (paths.ROOT / "utils").is_dir()


def test_resolve(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert paths.resolve("~/images") == tmp_path / "images"
    assert paths.resolve(tmp_path) == tmp_path
    for empty in ("", "  "):
        with pytest.raises(DataError, match="empty"):
            paths.resolve(empty)
    form = run_cell()
    type_in(form, "a_path", "nowhere/" + "x" * 300)
    assert "does not exist: correct it, or press Choose" in view(form).rows["a_path"].note.value
    type_in(form, "a_path", "")
    assert not view(form).rows["a_path"].note.value


def test_mistakes_in_a_declaration_are_told():
    def declare(**content):
        type("Wrong", (Form,), content)

    with pytest.raises(TypeError, match="values"):
        declare(values=Int(1))
    with pytest.raises(TypeError, match="offer Default"):
        declare(preset=Enum(["Default", "Quick"]))
    with pytest.raises(FormError, match="no field"):
        declare(preset=Enum(["Default", "Quick"]), presets={"Quick": {"nothing": 1}})
    with pytest.raises(FormError, match="must be"):
        declare(preset=Enum(["Default", "Quick"]), a=Int(1), presets={"Quick": {"a": "x"}})
    with pytest.raises(TypeError, match="not List"):
        type("Wrong", (Form,), {"a": List()})(a=1)


def test_a_preset_may_be_called_by_what_it_is_for():
    class Event(Form):
        presets = {"count only": {"classes": ""}}
        preset = Enum(["mitosis entry", "count only"], help="what is waited for")
        classes = Unicode("metaphase", help="names of classes")

    assert Event().values() == {"preset": "mitosis entry", "classes": "metaphase"}
    assert Event(preset="count only").classes == ""
    form = Event()
    form.preset = "count only"
    form.back_to_defaults()
    assert form.values() == {"preset": "mitosis entry", "classes": "metaphase"}


def test_notebook_shows_the_form_as_widget_and_as_text():
    cells = [
        f"import sys; sys.path.insert(0, {str(paths.ROOT)!r})",
        "from traitlets import Bool, Enum, Float, Int, Unicode\nfrom utils.forms import Form",
        DECLARATION + "training = Training(batch_size=2)\ntraining",
        "training._view.rows['batch_size'].control.value = '0'",
        "training.batch_size",
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(page, kernel_name="python3", timeout=60, allow_errors=True).execute()
    data = page.cells[2].outputs[0].data
    assert "batch_size = 2" in data["text/plain"]
    assert "<b>Batch size</b>" in data["text/html"]
    state = page.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] in state
    values = [widget["state"].get("value") for widget in state.values()]
    assert "my model" in values
    (error,) = page.cells[4].outputs
    said = " ".join(error.traceback)  # its lines are broken between words
    assert "must be a whole number of at least 1" in said
    assert "File" not in said  # one clear sentence, no traceback


def test_a_page_made_without_a_person_shows_a_table_with_what_was_chosen():
    """In the form's order and words, with the folded-away fields last; the repr of a widget is nowhere."""
    cells = [
        f"import sys; sys.path.insert(0, {str(paths.ROOT)!r})",
        "from traitlets import Bool, Int, Unicode\nfrom utils.forms import Automatic, Form\n"
        "class Training(Form):\n"
        "    late = Bool(False, help='switch').tag(advanced=True)\n"
        "    training_source = Unicode('no <folder>', help='folder').tag(path=True)\n"
        "    number_of_epochs = Automatic(Int(5, min=1), help='rounds')\n"
        "    class_names = Unicode('', help='names')\n"
        "training = Training(class_names='a & b')\ntraining",
        "training.settle({'number_of_epochs': (7, 'the images are few')})",
    ]
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(page, kernel_name="python3", timeout=60).execute()
    assert "application/vnd.jupyter.widget-view+json" in page.cells[1].outputs[0].data
    made = HTMLExporter(exclude_input=True).from_notebook_node(run.without_widgets(page))[0]
    table = BeautifulSoup(made, "html.parser").table
    rows = [[cell.get_text() for cell in row.find_all(["td", "th"])] for row in table.find_all("tr")]
    assert rows == [
        [
            "Training source",
            "no <folder>",
            f"{paths.ROOT / 'no <folder>'} (does not exist: correct it, or press Choose ...)",
        ],
        ["Number of epochs", "automatic", "7: the images are few"],
        ["Class names", "a & b", ""],
        ["Advanced"],
        ["Late", "no", ""],
    ]


@pytest.mark.slow
def test_forms_with_the_ipywidgets_of_colab(tmp_path):
    """The same tests with ipywidgets 7.7.1, laid before the installed one."""
    if ipywidgets.__version__ == "7.7.1":
        pytest.skip("these tests already run with it")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    packages = ["ipywidgets==7.7.1", "ipython_genutils"]
    if subprocess.run([*install, *packages], capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("the package index cannot be reached to install ipywidgets 7.7.1")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    version = [sys.executable, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    assert subprocess.run(version, env=environment, capture_output=True, text=True).stdout.strip() == "7.7.1"
    files = sorted(map(str, Path(__file__).parent.glob("test_*.py")))
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *files]
    run = subprocess.run(tests, env=environment, cwd=paths.ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout


def test_a_name_that_no_folder_can_have_is_refused_at_once_and_others_are_taken():
    class Names(Form):
        model_name = FolderName("my_model", help="name")

    form = Names()
    for text in ("day 1/2", "", " . ", "a:b", 'say "x"', "what?", "ends."):
        form.enter("model_name", text)
        assert form.wrong == {"model_name": FOLDER_NAME_RULE}, text
        with pytest.raises(FormError):
            paths.folder_of("models", text)
    for text in ("my_unet", "a", "my model 2", "v1.2", "Zellkerne-ü"):
        form.enter("model_name", text)
        assert form.wrong == {}
        assert paths.folder_of("models", text).name == text
