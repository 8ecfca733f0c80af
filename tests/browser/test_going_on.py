"""Going on in JupyterLab: after a restart, after a red box, and with a model that is there."""

import json
import re

import pytest

from tests.browser.lab import missing
from tests.browser.test_forms import OWN, SHORT, first_forms, stop

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


def test_after_a_restart_the_first_form_offers_to_go_on_and_fills_all_forms(visit, project):
    with first_forms(visit) as notebook:
        notebook.form("data").fill(**OWN, model_name="restarted", test_in_turn="no")
        notebook.form("training").fill(**SHORT | {"number_of_epochs": 40, "number_of_steps": 30})
        notebook.run_section("3.2", "3.3", "3.4", "4")
        notebook.wait_for_text(r"Epoch\s[3-9]", "4")
        stop(notebook)
        notebook.wait()
    state = json.loads((project / "models" / "restarted" / "training" / "state.json").read_text(encoding="utf-8"))
    with visit("unet_segmentation") as notebook:
        notebook.run_section("4")
        notebook.wait()
        assert "This cell needs the cells above" in notebook.text("4")
        assert notebook.errors() == []
        notebook.run_section("", "1", "2", "3.1")
        notebook.wait()
        button = notebook.form("data").box.locator(".go-on").first
        assert button.inner_text() == "Go on with restarted"
        assert re.search(rf"stopped in epoch {state['epoch'] + 1} of 40, today", notebook.form("data").box.inner_text())
        notebook.screenshot("go_on", notebook.form("data").box)
        button.click()
        notebook.wait()
        assert notebook.form("training").shown("number_of_steps") == {"number_of_steps": "30"}
        notebook.run_section("3.2", "3.3", "3.4", "4")
        notebook.wait()
        assert "It went on where it had been stopped" in notebook.text("4")


def test_below_a_red_box_each_cell_names_the_section_that_it_waits_for(visit):
    with first_forms(visit) as notebook:
        notebook.form("data").fill(training_source="my_data/nothing_here")
        notebook.click_heading("3.2")
        notebook.menu_run("Run Selected Cell and All Below")
        notebook.wait()
        assert len(notebook.errors()) == 1
        last = notebook.output("6").last
        last.scroll_into_view_if_needed()
        assert "this waits for 3.2 Look at the data, where something went wrong" in last.inner_text()
        notebook.screenshot("waiting", last)
        last.locator("a").click()
        notebook.page.locator("h3", has_text=re.compile("^3.2")).wait_for()
        notebook.page.wait_for_timeout(1000)
        notebook.screenshot("waiting_link_followed")
        assert 0 <= notebook.page.locator("h3", has_text=re.compile("^3.2")).bounding_box()["y"] < 900


def test_section_6_alone_lists_the_models_and_predicts(visit, project):
    with visit("unet_segmentation") as notebook:
        notebook.click_heading("6")
        notebook.menu_run("Run Selected Cell and All Below")
        notebook.wait()
        assert notebook.errors() == []
        assert 'Choose a model in the field "Model folder"' in notebook.text("6")
        form = notebook.form("prediction")
        models = form.field("model_folder").locator(".known-models select")
        name = next(one for one in models.locator("option").all_inner_texts() if one.startswith("restarted"))
        models.select_option(label=name)
        notebook.wait()
        assert form.shown("model_folder") == {"model_folder": "models/restarted"}
        form.fill(data_folder="my_data/images", result_folder="results/alone")
        notebook.screenshot("section_6_alone", form.box)
        notebook.run_cell(max(i for i, section in enumerate(notebook.sections) if section == "6"))
        notebook.wait()
        assert notebook.errors() == []
        assert (project / "results" / "alone" / "measurements.csv").is_file()
