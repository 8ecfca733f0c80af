"""The settings that a model was trained with come back into the form, and what does not fit is named."""

import html
import json

import pytest
from traitlets import Enum, Float, Int, Unicode

from tests.forms.test_form import _fresh, assert_shown_is_what_runs, type_in, view  # noqa: F401
from utils import paths
from utils.errors import FormError
from utils.forms import Form, folders, notebook, parameters
from utils.forms import chooser as forms_chooser
from utils.forms import places as forms_places


def run_cell(**overrides):
    class Training(Form):
        preset = Enum(["Default", "Quick"])
        number_of_epochs = Int(100, min=1, max=500)
        initial_learning_rate = Float(3e-4)
        loss = Enum(["Dice", "cross-entropy"])
        a_path = Unicode("x").tag(path=True)
        presets = {"Quick": {"number_of_epochs": 5}}

    return Training(**overrides)


class Other(Form):
    number = Int(1)


@pytest.fixture(autouse=True)
def root(monkeypatch, tmp_path):
    for module in (paths, folders, forms_places, forms_chooser):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def model(root, content, name="mine"):
    folder = root / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "parameters.json").write_text(text, encoding="utf-8")
    (folder / "model.json").touch()
    return folder


def message(form):
    return html.unescape(view(form).message.value)


def test_what_was_saved_is_filled_in_and_stays(root):
    form = run_cell(preset="Quick", number_of_epochs=7, initial_learning_rate=1e-5, loss="cross-entropy", a_path="ä/b")
    trained = form.values()
    folder = model(root, parameters(form, Other(number=5)))
    for given in (folder, str(folder), "models/mine", '"models/mine"', f" '{folder}' "):
        form = run_cell()
        form.back_to_defaults()
        type_in(form, "number_of_epochs", "abc")
        said = 'The settings of this form ("training") of the model mine are filled in; do the same in the other forms.'
        assert form.load_model(given) == said
        assert form.values() == run_cell().values() == trained
        assert_shown_is_what_runs(form)
    assert Other().number == 1  # each form loads its own


def test_what_differs_is_named(root):
    saved = {"number_of_epochs": 9999, "loss": "cross-entropy", "n_rays": 32, "grid": 2}
    folder = model(root, {"overrides": {"training": saved}})
    form = run_cell()
    said = form.load_model(folder)
    assert (form.number_of_epochs, form.loss) == (100, "cross-entropy")
    assert 'Left as it was: In the form "training", number_of_epochs is "9999" but must be a whole number' in said
    assert "Not in this form, so left out: n_rays, grid." in said
    assert "so they stay: preset, initial_learning_rate, a_path." in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("\x00", "cannot be read"),
        ("[1]", "does not hold the settings of a model"),
        ("{}", "does not hold the settings of a model"),
        ('{"overrides": [1]}', "does not hold the settings of a model"),
        ('{"overrides": {"training": 3}}', "does not hold the settings of a model"),
        ('{"overrides": {}}', "made by another notebook.*: none"),
        ('{"overrides": {"data": {}, "curve": {}}}', "made by another notebook.*: data, curve"),
    ],
)
def test_what_cannot_be_loaded_is_told_and_changes_nothing(root, content, words):
    form = run_cell()
    type_in(form, "number_of_epochs", "7")
    before = form.values()
    folder = model(root, content)
    with pytest.raises(FormError, match=words) as refused:
        form.load_model(folder)
    assert str(folder) in str(refused.value)
    assert form.values() == before


def test_a_folder_that_is_no_model_is_told(root):
    folder = model(root, {})
    for wrong, words in {
        "models": "models holds no parameters.json: it is no model",
        "models/none": "There is no folder .*none",
        folder / "parameters.json": "There is no folder .*parameters.json",
        "": "choose the folder",
        "' '": "choose the folder",
        "a\0": "There is no folder",
    }.items():
        with pytest.raises(FormError, match=words):
            run_cell().load_model(wrong)


def test_name_place_and_replacing_of_the_model_stay(root):
    class Data(Form):
        training_source = Unicode("a").tag(path=True)
        model_name = Unicode("my_unet")
        model_path = Unicode("models").tag(path=True)
        if_model_exists = Enum(["ask", "replace"])

    saved = {"training_source": "b", "model_name": "mine", "model_path": "elsewhere", "if_model_exists": "replace"}
    folder = model(root, {"overrides": {"data": saved}})
    for typed in ({}, {"model_name": "typed", "model_path": "kept", "if_model_exists": "replace"}):
        form = Data()
        for name, text in typed.items():
            type_in(form, name, text)
        before = form.values()
        said = form.load_model(folder)
        assert form.values() == Data().values() == before | {"training_source": "b"}
        assert "These stay too, so that nothing happens to that model: model_name, model_path, if_model_exists." in said
        assert "left out" not in said
        assert "says nothing" not in said


NOTEBOOKS = ["unet_segmentation", "stardist_segmentation", "classification", "fine_tuning", "slide_fibrosis"]


@pytest.mark.parametrize("here", NOTEBOOKS)
@pytest.mark.parametrize(
    ("own", "forms", "made"),
    [
        ({"task": "unet"}, {}, "unet_segmentation"),
        ({"task": "any", "notebook": "unet_segmentation"}, {}, "unet_segmentation"),
        ({"task": "stardist"}, {}, "stardist_segmentation"),
        ({"task": "classification", "notebook": "classification"}, {}, "classification"),
        ({"task": "unet", "notebook": "unet_segmentation"}, {"strategy": {}}, "fine_tuning"),
        (None, {"strategy": {}}, "fine_tuning"),
        (None, {"slides": {}}, "slide_fibrosis"),
    ],
)
def test_a_model_of_another_notebook_is_refused_and_the_notebook_named(root, here, own, forms, made):
    folder = model(root, {"overrides": {"training": {"number_of_epochs": 7}} | forms})
    if own:
        (folder / "model.json").write_text(json.dumps(own))
    notebook(here)
    form = run_cell()
    if here == made:
        form.load_model(folder)
        assert form.number_of_epochs == 7
        return
    with pytest.raises(FormError, match=f"made in the notebook {made}: open that one") as refused:
        form.load_model(folder)
    assert str(folder) in str(refused.value)
    assert form.number_of_epochs == 100
    notebook("")  # nothing to compare with
    form.load_model(folder)
    assert form.number_of_epochs == 7


@pytest.mark.parametrize(
    "description",
    [None, "", "{", "[1]", "{}", '{"task": "new"}', '{"task": []}', '{"notebook": []}', '{"notebook": ""}'],
)
def test_a_model_of_an_unknown_notebook_is_not_compared(root, description):
    folder = model(root, {"overrides": {"training": {"number_of_epochs": 7}}})
    (folder / "model.json").unlink()
    if description is not None:
        (folder / "model.json").write_text(description)
    for here in NOTEBOOKS:
        notebook(here)
        form = run_cell()
        form.back_to_defaults()
        form.load_model(folder)
        assert form.number_of_epochs == 7


def test_the_button_opens_at_the_models_and_then_where_one_was_picked(root):
    folder = model(root, parameters(run_cell(number_of_epochs=7), Other(number=3)))
    form = run_cell()
    view(form).model.button.click()
    chooser = view(form).model.chooser
    assert chooser.here == root / "models"
    chooser.use.click()
    assert "holds no parameters.json" in message(form)
    assert form.number_of_epochs == 100
    view(form).model.button.click()
    chooser.entries.label = "mine"
    assert "a model" in chooser.message.value
    chooser.use.click()
    assert "of the model mine are filled in" in message(form)
    assert not view(form).model.box.children
    assert run_cell().number_of_epochs == 7
    for other in (Other(), run_cell()):
        view(other).model.button.click()
        assert view(other).model.chooser.here == folder
    view(other).model.chooser.use.click()
    assert "are filled in" in message(other)


def test_without_models_the_button_opens_at_the_project(root):
    form = run_cell()
    view(form).model.button.click()
    assert view(form).model.chooser.here == root
