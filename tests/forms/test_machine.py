"""The preset stands at the one that suits the machine, and the page says so; a person or a script goes before it."""

import subprocess

import pytest
from traitlets import Enum, Float, Int

from tests.notebook_forms import default_values
from utils import runtime
from utils.forms import Form, settings
from utils.forms import state as forms_state
from utils.forms.view import as_table, notes_on

QUICK, DEFAULT = "Quick on a CPU", "Default"
NOTEBOOKS = ("classification", "fine_tuning", "slide_fibrosis", "stardist_segmentation", "unet_segmentation")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(forms_state, "_typed", {})
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "settings")
    monkeypatch.setattr(settings, "_notebook", {"name": ""})


def machine(monkeypatch, card: str | None, usable: bool = True) -> None:
    monkeypatch.setattr(runtime, "graphics_card", lambda: card)
    monkeypatch.setattr(runtime, "card_is_usable", lambda: usable)


def training(**overrides) -> Form:
    """The cell of the form, run once."""

    class Training(Form):
        presets = {QUICK: {"rounds": 20}, "Try out": {"rounds": 3, "rate": 0.01}}
        preset = Enum([DEFAULT, QUICK, "Try out"]).tag(by_machine=True)
        rounds = Int(100)
        rate = Float(0.1)

    return Training(**overrides)


@pytest.mark.parametrize(
    ("card", "usable", "preset", "rounds"),
    [(None, True, QUICK, 20), ("Tesla T4", False, QUICK, 20), ("Tesla T4", True, DEFAULT, 100)],
)
def test_with_nothing_filled_in_the_preset_suits_the_machine(monkeypatch, card, usable, preset, rounds):
    machine(monkeypatch, card, usable)
    form = training()
    assert form.values() == {"preset": preset, "rounds": rounds, "rate": 0.1}
    assert not form.overridden
    form.enter("rounds", "7")
    form.enter("preset", "Try out")
    form.back_to_defaults()
    assert form.values() == training().values() == {"preset": preset, "rounds": rounds, "rate": 0.1}


def test_what_a_person_chose_stays(monkeypatch):
    machine(monkeypatch, None)
    training().enter("preset", DEFAULT)
    assert training().values() == {"preset": DEFAULT, "rounds": 100, "rate": 0.1}
    training().enter("rounds", "7")
    assert training().values() == {"preset": DEFAULT, "rounds": 7, "rate": 0.1}


def test_a_script_runs_the_same_on_every_machine(monkeypatch):
    for card in (None, "Tesla T4"):
        machine(monkeypatch, card)
        assert training(rate=0.2).values() == {"preset": DEFAULT, "rounds": 100, "rate": 0.2}
        assert training(preset="Try out").rounds == 3
        assert default_values("unet_segmentation")["training"]["preset"] == DEFAULT


def test_the_form_says_whether_the_preset_suits_the_machine(monkeypatch):
    machine(monkeypatch, None)
    form = training()
    assert notes_on(form, "preset") == ["suits this computer, which has no graphics card to use"]
    assert "suits this computer" in as_table(form)
    form.enter("preset", DEFAULT)
    assert "takes hours on this computer" in notes_on(form, "preset")[0]
    form.enter("preset", "Try out")
    assert notes_on(form, "preset") == notes_on(form, "rounds") == []
    machine(monkeypatch, "Tesla T4")
    form = training()
    form.enter("preset", DEFAULT)
    assert notes_on(form, "preset") == ["suits this computer, which has a graphics card to use"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_asks_the_machine(name):
    from notebooks.run import NOTEBOOKS

    source = (NOTEBOOKS / "src" / f"{name}.py").read_text(encoding="utf-8")
    assert source.count("preset = Enum(") == source.count(").tag(by_machine=True)") == 1
    assert "suits\n# this computer" in source or "suits this computer" in source


def test_section_2_says_the_preset_that_the_form_stands_at(monkeypatch):
    for card, usable in ((None, True), ("Tesla T4", False), ("Tesla T4", True)):
        machine(monkeypatch, card, usable)
        forms_state._typed.clear()
        assert (f'stands at "{QUICK}"' in runtime.describe()) == (training().preset == QUICK)
    machine(monkeypatch, "Tesla T4", usable=False)
    assert "The graphics card (Tesla T4) cannot be used" in runtime.describe()


@pytest.mark.parametrize(
    ("platform", "packages", "library", "usable"),
    [
        ("linux", True, False, True),
        ("linux", False, True, True),
        ("linux", False, False, False),
        ("linux", None, False, False),
        ("win32", True, True, False),
    ],
)
def test_a_card_is_usable_where_its_libraries_are(monkeypatch, platform, packages, library, usable):
    """`packages` None: there is no package of NVIDIA at all."""

    def found(name):
        if packages is None:
            raise ModuleNotFoundError(name)
        return packages or None

    def loaded(name):
        if not library:
            raise OSError(name)

    monkeypatch.setattr(runtime.sys, "platform", platform)
    monkeypatch.setattr(runtime.importlib.util, "find_spec", found)
    monkeypatch.setattr(runtime.ctypes, "CDLL", loaded)
    assert runtime.card_is_usable() is usable


def test_a_machine_without_a_driver_has_no_card(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert runtime.suitable_preset() == QUICK
