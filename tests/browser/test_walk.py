"""The walk of the README, action by action: from JupyterLab to segmented images of one's own."""

import re
import shutil

import pandas as pd
import pytest

from tests.browser.lab import missing
from utils.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_ACTIONS = 6


def actions() -> list[str]:
    """The numbered actions of the second half of the walk, on images of one's own."""
    own = README.partition("**Now yours.**")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. (.*)", own, flags=re.MULTILINE)


@pytest.fixture
def slides(project):
    """Images of tissue and their masks, as somebody brings them along."""
    for kind in ("images", "masks"):
        shutil.copytree(project / "data_samples" / "tissue" / "train" / kind, project / "my_slides" / kind)
    return sorted(path.name for path in (project / "my_slides" / "images").iterdir())


def test_the_walk_of_the_readme_leads_to_segmented_images(visit, project, slides):
    """One line here for each action there."""
    done = []
    with visit("unet_segmentation", by_hand=True) as notebook:
        done.append("Double-click")
        notebook.click_heading("3.2")
        done.append("Click on the heading")
        notebook.menu_run("Run All Above Selected Cell")
        notebook.wait()
        done.append("Menu")
        form = notebook.form("data")
        form.open_chooser("training_source")
        form.pick("my_slides")
        form.field("training_target").get_by_text("my_slides/masks").wait_for()
        done.append("*Choose ...*")
        form.fill(model_name="my_sections")  # my_slides is the model of another page
        done.append("*Model name*")
        notebook.show("3.1")
        notebook.screenshot("walk_form", form.box)
        notebook.form("training").fill(preset="Try out")  # else the one that suits the computer, which takes longer
        notebook.menu_run("Run Selected Cell and All Below")
        done.append("Menu")
        notebook.wait_for_text(r"Epoch\s([2-9]|\d\d)", "4")
        notebook.screenshot("walk_training", notebook.output("4").last)
        notebook.wait()
        assert notebook.errors() == []
        notebook.screenshot("walk_result", notebook.output("6").last)
    steps = actions()
    assert len(steps) == len(done) <= MOST_ACTIONS
    for step, begin in zip(steps, done, strict=True):
        assert step.startswith(begin)
    results = project / "results" / "unet_segmentation" / "predictions_of_my_sections" / "my_slides_images"
    measured = pd.read_csv(results / "measurements.csv")
    assert measured["file"].tolist() == slides
