"""Fields that are chosen from the data unless a person overrules them."""

import json

import pytest
from traitlets import Bool, Enum, Float, Int

from utils.errors import FormError
from utils.forms import Automatic, Form, parameters, save_settings, settings
from utils.forms import state as forms_state
from utils.forms.fields import parse, rule


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(forms_state, "_typed", {})
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "settings")
    monkeypatch.setattr(settings, "_notebook", {"name": "test"})


def make(**overrides):
    class Training(Form):
        presets = {"Quick": {"rounds": 20, "zoom": "automatic"}}
        preset = Enum(["Default", "Quick"])
        flip = Automatic(Bool(), help="mirror")
        zoom = Automatic(Int(min=0, max=100), help="size")
        minutes = Automatic(Float(min=0.1), help="time")
        way = Automatic(Enum(["each image", "all images together"]), help="range")
        rounds = Int(100)

    return Training(**overrides)


def note(form, name: str) -> str:
    form._repr_mimebundle_()
    return form._view.rows[name].note.value


@pytest.mark.parametrize(
    ("inner", "text", "value"),
    [
        (Int(min=0), "automatic", "automatic"),
        (Int(min=0), " Automatic ", "automatic"),
        (Int(min=0), "", "automatic"),
        (Int(min=0), "0", 0),
        (Float(), "0,5", 0.5),
        (Bool(), "True", True),
        (Bool(), "false", False),
        (Enum([1, 2]), "2", 2),
        (Enum(["a", "b"]), "b", "b"),
    ],
)
def test_text_is_automatic_or_that_of_the_inner_field(inner, text, value):
    assert parse(Automatic(inner), text) == value
    assert type(parse(Automatic(inner), text)) is type(value)


@pytest.mark.parametrize("text", ["auto", "-1", "101", "3.5"])
def test_what_neither_is_automatic_nor_fits_is_refused(text):
    with pytest.raises(ValueError, match="must be a whole number between 0 and 100, or automatic"):
        parse(Automatic(Int(min=0, max=100)), text)
    assert rule(Automatic(Enum(["a", "b"]))) == "must be one of: a, b, or automatic"


def test_automatic_is_the_default_and_a_person_overrules_it():
    form = make()
    assert form.asked() == form.values()
    assert form.flip == form.zoom == form.minutes == form.way == "automatic"
    form.zoom, form.flip = 10, False
    form.settle({"zoom": (30, "sizes vary."), "flip": (True, "why not."), "way": ("each image", "they differ.")})
    assert form.values() == form.asked() | {"way": "each image"}
    assert (form.zoom, form.flip) == (10, False)
    with pytest.raises(FormError, match="must be a whole number between 0 and 100, or automatic"):
        make(zoom=101)


def test_value_and_reason_stand_beside_the_field_that_says_automatic():
    form = make(zoom=5)
    form.settle({"flip": (True, "Nothing tells left from right."), "zoom": (30, "Sizes vary.")})
    assert "yes: Nothing tells left from right." in note(form, "flip")
    assert "Sizes vary" not in note(form, "zoom"), "what a person chose has no reason of ours"
    form.enter("flip", "False")
    assert "Nothing tells" not in note(form, "flip")


def test_the_dropdown_of_yes_and_no():
    form = make()
    form._repr_mimebundle_()
    control = form._view.rows["flip"].control
    assert [name for name, _ in control.options] == ["automatic", "yes", "no"]
    control.value = "False"
    assert form.flip is False
    assert form._view.rows["way"].control.value == "automatic"


def test_what_was_asked_for_is_saved_and_handed_on_so_that_other_data_get_other_values():
    form = make()
    form.settle({"zoom": (30, "Sizes vary.")})
    assert parameters(form)["overrides"]["training"]["zoom"] == "automatic"
    saved = json.loads(save_settings(form).read_text())
    assert saved["training"]["zoom"] == "automatic"
    assert form.values()["zoom"] == 30


def test_presets_may_say_automatic():
    form = make()
    form.zoom = 50
    form.preset = "Quick"
    assert (form.zoom, form.rounds) == ("automatic", 20)
