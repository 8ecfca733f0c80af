"""Each notebook in JupyterLab: no code in sight, forms that can be read, a run from top to bottom without an error."""

import json
from types import SimpleNamespace

import pytest

from notebooks import run
from tests.browser import looks
from tests.browser.lab import missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

FIRST_SECTIONS = ("", "1", "2", "3.1")
MODELS = {
    "classification": "my_classifier",
    "fine_tuning": "my_fine_tuned_model",
    "slide_fibrosis": "my_slides",
    "stardist_segmentation": "my_stardist",
    "unet_segmentation": "my_unet",
}
TRAINING = {"fine_tuning": "4.1"}  # section, where it is not 4
# Typed after the preset "Try out", which the U-Net keeps as it is.
TYPED = {
    "classification": {"training": {"number_of_epochs": 1}},
    "fine_tuning": {"training": {"number_of_epochs": 1}, "curve": {"sizes": ""}},
    "slide_fibrosis": {"slides": {"um_per_pixel": 2.0}},
    "stardist_segmentation": {"training": {"number_of_epochs": 1}},
    "unet_segmentation": {},
}


def look_at_forms(notebook, seen: SimpleNamespace, unfolded: bool = False) -> None:
    """Screenshots of the forms that are there, in both themes, and what is wrong with them and with the outputs."""
    for theme in ("Light", "Dark"):
        notebook.theme(theme)
        for name in notebook.forms():
            form = notebook.form(name)
            if unfolded:
                form.unfold()
            notebook.screenshot(f"{seen.name}_form_{name}_{theme.lower()}{'_unfolded' * unfolded}", form.box)
            seen.cut_off += [(name, text) for text in looks.cut_off(form.box)]
            seen.faint += [(theme, name, *text) for text in looks.faint(form.box)]
    notebook.theme("Light")
    seen.errors += notebook.errors()
    seen.warnings += notebook.warnings()


def fill_in(notebook) -> None:
    """Choose "Try out" and type what makes the run shorter still."""
    notebook.form("training").fill(preset="Try out")
    for form, texts in TYPED[notebook.name].items():
        notebook.form(form).fill(**texts)


@pytest.fixture(scope="module", params=run.training())
def visited(visit, request):
    """What a person saw who opened a notebook, filled in the first forms and ran everything."""
    seen = SimpleNamespace(name=request.param, cut_off=[], faint=[], errors=[], warnings=[])
    with visit(request.param) as notebook:
        seen.code = notebook.code_in_sight()
        notebook.run_section(*FIRST_SECTIONS)
        notebook.wait()
        seen.first_forms = notebook.forms()
        look_at_forms(notebook, seen)
        fill_in(notebook)
        notebook.run_all()
        section = TRAINING.get(seen.name, "4")
        notebook.wait_for_text(r"Epoch\s1", section)
        notebook.show(section)
        notebook.screenshot(f"{seen.name}_while_training")
        notebook.wait()
        seen.forms, seen.code_after = notebook.forms(), notebook.code_in_sight()
        notebook.screenshot_of_outputs(*sorted({section for section in notebook.sections if section >= "3.2"}))
        look_at_forms(notebook, seen, unfolded=True)
        yield seen


def test_no_code_is_in_sight_before_and_after_the_run(visited):
    assert visited.code == []
    assert visited.code_after == []


def test_the_forms_appear(visited):
    assert {"data", "training"} <= set(visited.first_forms)
    assert {"data", "training", "augmentation", "evaluation", "prediction"} <= set(visited.forms)


def test_nothing_in_a_form_is_cut_off(visited):
    assert visited.cut_off == []


def test_every_text_of_a_form_stands_out_from_its_background_in_both_themes(visited):
    assert visited.faint == []


def test_everything_runs_without_an_error_or_a_warning_of_a_library(visited):
    assert visited.errors == []
    assert visited.warnings == []


def test_the_run_leaves_a_model_of_what_was_typed_with_its_score_and_predictions(visited, project):
    model = project / "models" / MODELS[visited.name]
    used = json.loads((model / "parameters.json").read_text(encoding="utf-8"))["overrides"]
    assert used["training"]["preset"] == "Try out"
    for form, typed in TYPED[visited.name].items():
        assert used[form].items() >= typed.items()
    assert (model / "scores.json").is_file()
    (results,) = (project / "results" / visited.name / f"predictions_of_{MODELS[visited.name]}").iterdir()
    assert any(results.iterdir())
