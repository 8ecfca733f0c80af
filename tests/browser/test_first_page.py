"""The first page says what lies in a folder, and its link opens a notebook with that folder filled in."""

import pytest

from tests.browser import looks
from tests.browser.form import SESSION
from tests.browser.lab import missing
from tests.browser.page import CELLS
from utils.forms.settings import FIRST_PAGE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

ACTIVATE = "i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }"


@pytest.fixture(scope="module")
def notebook(visit, project):
    with visit("start_here", by_hand=True) as notebook:
        notebook.run_all()
        notebook.wait()
        yield notebook
    (project / "settings" / FIRST_PAGE).unlink(missing_ok=True)  # other tests are first visits


def test_it_shows_no_code_and_can_be_read_in_both_themes(notebook):
    assert notebook.code_in_sight() == []
    assert notebook.errors() == notebook.warnings() == []
    form = notebook.form("look")
    form.open_chooser("folder")
    for theme in ("Light", "Dark"):
        notebook.theme(theme)
        assert looks.cut_off(form.box) == []
        assert looks.faint(form.box) == []
        assert looks.faint(notebook.output("4").last) == []
    notebook.theme("Light")
    form.chooser.locator(".cancel").click()
    assert "No folder is chosen yet" in notebook.text("3")


def test_typing_in_the_chooser_offers_folders(notebook, project):
    (project / "my_experiments" / "day_1").mkdir(parents=True)
    form = notebook.form("look")
    form.open_chooser("folder")
    form.chooser.locator(".typed input").fill("my_e")
    offered = notebook.page.locator("datalist option")
    offered.first.wait_for(state="attached")
    assert offered.evaluate_all("all => all.map(e => e.value)") == ["my_experiments"]
    form.chooser.locator(".typed input").fill("my_experiments/day_1")
    form.chooser.locator(".here", has_text="day_1").wait_for()
    notebook.screenshot("first_page_chooser", form.box)
    form.chooser.locator(".use").click()
    notebook.wait_for_text("The folder is empty", "3")


def test_a_link_opens_the_notebook_that_fits_with_the_folder_filled_in(notebook):
    form = notebook.form("look")
    form.open_chooser("folder")
    form.pick("my_data")
    notebook.wait_for_text("6 images with masks", "3")
    notebook.screenshot("first_page", notebook.output("3").last)
    assert looks.faint(notebook.output("3").last) == []
    link = notebook.output("3").last.get_by_role("link", name="Open unet_segmentation")
    link.click()
    page = notebook.page
    page.wait_for_function("window.jupyterapp.shell.currentWidget.context?.path == 'notebooks/unet_segmentation.ipynb'")
    page.wait_for_function(f"{CELLS}.length > 20 && {SESSION}.session?.kernel")
    notebook.wait()
    sections = list(notebook._sections())
    page.evaluate(ACTIVATE, sections.index("3.2"))
    notebook.menu_run("Run All Above Selected Cell")
    data = notebook.form("data")
    data.field("training_source").locator(".note", has_text="filled in from the first page").wait_for(timeout=60_000)
    assert data.shown("training_source", "training_target", "model_name") == {
        "training_source": "my_data/images",
        "training_target": "my_data/masks",
        "model_name": "my_data",
    }
    notebook.screenshot("first_page_filled_in", data.box)
