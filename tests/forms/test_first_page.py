"""What the first page hands over is shown by the forms of the notebook that it is for, once, and never to a program."""

import json

import pytest
from traitlets import Enum, Int, Unicode

from tests.forms.test_form import _fresh, type_in, view  # noqa: F401
from utils.forms import Form, notebook, settings, state
from utils.forms.going_on import Offer

GIVEN = {"source": "somewhere/images", "number": 7}
NOTE = "filled in from the first page"


def run_cell(**overrides):
    class Data(Form):
        preset = Enum(["Default", "Quick"])
        source = Unicode("sample").tag(path=True)
        number = Int(1, min=1, max=10)
        presets = {"Quick": {"number": 2}}

    return Data(**overrides)


def new_kernel(monkeypatch, name="one"):
    monkeypatch.setattr(settings, "_notebook", {"name": ""})
    monkeypatch.setattr(settings, "_from_first_page", {})
    from utils.forms import state

    monkeypatch.setattr(state, "_typed", {})
    monkeypatch.setattr(state, "_newest", {})
    notebook(name)


@pytest.fixture
def given(monkeypatch):
    assert settings.hand_over({"one": {"data": GIVEN}, "two": {"data": {"source": "other"}}})
    new_kernel(monkeypatch)


def noted(form, name):
    return NOTE in view(form).rows[name].note.value


def test_the_form_shows_it_says_so_and_keeps_it_when_the_cell_runs_again(given):
    for _ in range(2):
        form = run_cell()
        assert (form.source, form.number) == ("somewhere/images", 7)
        assert noted(form, "source")
        assert noted(form, "number")
        assert not noted(form, "preset")


def test_what_is_typed_or_loaded_by_a_preset_goes_before_it(given):
    form = run_cell()
    type_in(form, "source", "mine")
    type_in(form, "preset", "Quick")
    again = run_cell()
    assert (again.source, again.number) == ("mine", 2)
    assert not noted(again, "source")


def test_back_to_defaults_stays(given):
    form = run_cell()
    form.back_to_defaults()
    assert (run_cell().source, run_cell().number) == ("sample", 1)
    assert not noted(form, "source")


def test_each_notebook_gets_its_own_and_those_that_do_not_fit_nothing(given, monkeypatch):
    for name, source in (("two", "other"), ("three", "sample"), ("one", "somewhere/images")):
        new_kernel(monkeypatch, name)
        assert run_cell().source == source


def test_a_second_choice_on_the_first_page_replaces_the_first(given, monkeypatch):
    settings.hand_over({"two": {"data": {"source": "third"}}})
    for name, source in (("one", "sample"), ("two", "third")):
        new_kernel(monkeypatch, name)
        assert run_cell().source == source


def test_a_run_without_a_person_does_not_get_it(given, monkeypatch):
    assert (run_cell(number=3).source, run_cell(number=3).number) == ("sample", 3)

    class Shell:
        user_ns = {"overrides": {"training": {"number_of_epochs": 1}}}

    monkeypatch.setattr(settings, "get_ipython", Shell)
    new_kernel(monkeypatch)
    assert run_cell().source == "sample"


def test_on_another_day_it_is_forgotten(given, monkeypatch):
    path = settings.SETTINGS / settings.FIRST_PAGE
    kept = json.loads(path.read_text())
    for hours, source in ((11, "somewhere/images"), (13, "sample"), (-1, "sample")):
        path.write_text(json.dumps(kept | {"written": kept["written"] - 3600 * hours}))
        new_kernel(monkeypatch)
        assert run_cell().source == source


@pytest.mark.parametrize(
    "kept", ["", "[]", "{}", '{"written": "x", "values": 1}', '{"written": 9e99, "values": {}}', '{"values": {}}']
)
def test_a_damaged_file_does_no_harm(kept, monkeypatch):
    settings.SETTINGS.mkdir()
    (settings.SETTINGS / settings.FIRST_PAGE).write_text(kept)
    new_kernel(monkeypatch)
    assert run_cell().source == "sample"


def test_a_value_that_the_form_refuses_is_left_out(monkeypatch):
    settings.hand_over({"one": {"data": {"number": 99, "unknown": 1, "source": "x"}, "none": {"a": 1}}})
    new_kernel(monkeypatch)
    assert (run_cell().source, run_cell().number) == ("x", 1)


def test_where_it_cannot_be_kept_nothing_breaks(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "file" / "settings")
    assert not settings.hand_over({"one": {}})


def test_a_form_further_down_is_known_before_it_appears(given):
    assert state.typed("data") == {"source": "somewhere/images", "number": "7"}
    type_in(run_cell(), "source", "mine")
    assert state.typed("data")["source"] == "mine"
    assert state.typed("other") == {}


def test_whoever_goes_on_with_something_else_has_nothing_of_it_left(given):
    form = run_cell()
    offer = Offer("Go on with x", "", "", {"training": {}})
    state.fill_all(offer)
    assert (form.source, form.number) == ("sample", 1)
    assert (run_cell().source, run_cell().number) == ("sample", 1)
    assert state.typed("data") == {}


def test_a_form_that_appears_after_going_on_has_nothing_of_it_and_what_was_typed_stays(given):
    form = run_cell()
    type_in(form, "source", "mine")
    state.fill_all(Offer("Go on with x", "", "", {"training": {}}))
    assert (form.source, form.number) == ("mine", 1)
