"""A tick for what a model cannot become is grey, and the reason stands beside it before any cell is run."""

import pytest
from traitlets import Bool, Unicode

from utils.forms import Form
from utils.forms import state as forms_state
from utils.forms.view import as_table, notes_on

WHY = "other models only"


def reasons(folder, tasks=()):
    assert tasks == ("unet",)
    name = folder.name if folder else "none"
    return {"fiji": WHY if name != "good" else "", "onnx": WHY if name == "bad" else ""}


class Export(Form):
    model_folder = Unicode("", help="folder").tag(path=True, models=("unet",))
    fiji = Bool(False, help="on for Fiji").tag(of="model_folder", unless=reasons)
    onnx = Bool(False, help="on for ONNX").tag(of="model_folder", unless=reasons)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(forms_state, "_typed", {})


def grey(form):
    """Which ticks cannot be used, by the widget; the note says the same."""
    form._repr_mimebundle_()
    found = [name for name in ("fiji", "onnx") if form._view.rows[name].control.disabled]
    for name in found:
        assert f"not for this model: {WHY}" in notes_on(form, name)
        assert WHY in form._view.rows[name].note.value
    return found


def test_a_tick_follows_the_folder_that_is_typed(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    form = Export()
    assert grey(form) == ["fiji"]
    form.model_folder = str(tmp_path / "good")
    assert grey(form) == []
    form.model_folder = str(tmp_path / "bad")
    assert grey(form) == ["fiji", "onnx"]
    assert as_table(form).count(WHY) == 2
    form.model_folder = str(tmp_path / "not there")  # which is said beside that field
    assert grey(form) == []


def test_an_empty_field_stands_for_the_model_just_trained(tmp_path):
    (tmp_path / "bad").mkdir()
    form = Export()
    form._repr_mimebundle_()
    form.empty_means(model_folder=tmp_path / "bad")
    assert grey(form) == ["fiji", "onnx"]
    form.empty_means(model_folder=None)
    assert grey(form) == ["fiji"]


def test_what_is_ticked_already_can_be_taken_back(tmp_path):
    form = Export(fiji=True)
    assert grey(form) == []
    assert f"not for this model: {WHY}" in notes_on(form, "fiji")
    form.fiji = False
    assert grey(form) == ["fiji"]
