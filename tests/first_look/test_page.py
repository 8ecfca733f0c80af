"""What the first page shows: the answer with links, what it hands over, models and results."""

import json
import re

import pytest
from traitlets import Unicode

from notebooks import run
from notebooks.standalone import imported, rooms
from tests.forms.test_form import _fresh  # noqa: F401
from tests.tiny import write_data
from utils.first_look import advice, page, shelf
from utils.forms import Form, settings
from utils.forms.places import last_chosen
from utils.paths import ROOT


class Look(Form):
    is_kept = False
    folder = Unicode("").tag(path=True)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Folder in which models and results lie."""
    for module in (shelf, advice):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def handed_over():
    path = settings.SETTINGS / settings.FIRST_PAGE
    return json.loads(path.read_text())["values"] if path.exists() else {}


def text_of(html):
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def test_without_a_folder_it_says_what_to_do():
    html, offers = page.answer(Look())
    assert "No folder is chosen yet" in html
    assert offers == []
    assert handed_over() == {}


def test_what_lies_in_a_folder_is_told_linked_and_handed_over(tmp_path):
    form = Look()
    form.folder = write_data(tmp_path / "mine", 12)
    html, _ = page.answer(form)
    text = text_of(html)
    for part in ("12 images with masks.", "64 x 64 pixels", "Open unet_segmentation fits", '"Quick on a CPU"', "about"):
        assert part in text
    assert re.search(r'href="[^"]*unet_segmentation.ipynb"', html)
    assert html.count("<img") == 4
    assert handed_over()["unet_segmentation"]["data"]["training_source"] == str(tmp_path / "mine" / "images")
    assert "classification" not in handed_over()
    assert last_chosen() == [tmp_path / "mine"]


def test_a_run_without_a_person_hands_nothing_over(tmp_path):
    html, _ = page.answer(Look(folder=str(write_data(tmp_path / "mine", 3))))
    assert "3 images with masks" in html
    assert handed_over() == {}
    assert last_chosen() == []


def test_it_is_said_where_nothing_can_be_handed_over(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "file" / "settings")
    form = Look()
    form.folder = write_data(tmp_path / "mine", 3)
    assert "cannot be filled in there" in page.answer(form)[0]


def test_several_folders_are_offered(tmp_path):
    for name in ("a", "b"):
        write_data(tmp_path / "all" / name, 2)
    form = Look()
    form.folder = tmp_path / "all"
    html, offers = page.answer(form)
    assert "2 folders in it look like data" in html
    buttons = page._offers(form, offers)
    assert [one.description for one in buttons] == ["a: 2 images with masks", "b: 2 images with masks"]
    buttons[1].click()
    assert form.folder == str(tmp_path / "all" / "b")
    headless = page.answer(Look(folder=str(tmp_path / "all")))[0]
    assert "a 2 images with masks" in text_of(headless)


def test_names_of_files_are_shown_as_they_are(tmp_path):
    write_data(tmp_path / "<b>&amp;", 2)
    form = Look()
    form.folder = tmp_path / "<b>&amp;"
    html, _ = page.answer(form)
    assert "&lt;b&gt;&amp;amp;" in html


def test_a_folder_that_is_not_there_and_an_empty_one(tmp_path):
    (empty := tmp_path / "empty").mkdir()
    form = Look()
    for folder, said in ((tmp_path / "no", "there is no such folder"), (empty, "The folder is empty")):
        form.folder = folder
        assert said in text_of(page.answer(form)[0])


def test_the_form_has_no_buttons_of_settings():
    assert "load-last" not in str([one._dom_classes for one in page_widgets(Look())])


def page_widgets(form):
    from tests.forms.test_form import every, view

    return every(view(form).box)


def test_models_and_results_the_newest_first_with_score_and_state(project):
    assert shelf.models() == shelf.results() == []
    for name, files in {
        "models/done": {
            "model.json": {"task": "stardist", "channels": ["a"]},
            "scores.json": {"headline": {"name": "AP", "value": 0.5}},
        },
        "models/stopped": {
            "training/state.json": {"epoch": 3},
            "parameters.json": {"overrides": {"training": {"number_of_epochs": 12}}},
        },
        "models/in_stages": {"training/head/state.json": {"epoch": 2}, "training/trials/0/state.json": {"epoch": 9}},
        "models/damaged": {"training/state.json": {"epoch": None}},
        "models/odd": {"model.json": []},
        "models/unscored": {
            "model.json": {"task": "unet"},
            "scores.json": {"headline": {"name": "IoU", "value": None}},
        },
        "results/unet_segmentation/model": {"model.json": {"task": "unet", "notebook": "unet_segmentation"}},
    }.items():
        for file, content in files.items():
            path = project / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
    (project / "models" / "file").touch()
    found = {one.folder.name: (one.noun, one.notebook, one.score, one.unfinished) for one in shelf.models()}
    assert found == {
        "done": ("StarDist", "stardist_segmentation", "AP 0.50", ""),
        "stopped": ("model", "", "", "stopped in epoch 4 of 12"),
        "in_stages": ("model", "", "", "stopped in epoch 3"),
        "damaged": ("model", "", "", "not finished"),
        "unscored": ("U-Net", "unet_segmentation", "", ""),
        "model": ("U-Net", "unet_segmentation", "", ""),
    }
    assert shelf.newest("stardist", 1).folder.name == "done"
    assert shelf.newest("stardist", 3) is None
    results = project / "results" / "unet_segmentation"
    (results / "predictions").mkdir()
    (results / "predictions" / "measurements.csv").write_text("file\na\nb\n")
    (results / "unet_segmentation.html").touch()
    told = {one.path.name: one.what for one in shelf.results()}
    assert told == {
        "predictions": "predictions, 2 rows in measurements.csv",
        "unet_segmentation.html": "page of a run on the sample",
    }


def test_the_page_that_is_run_without_a_browser_is_complete(tmp_path):
    """The executed page holds pictures and links that lead from where it is kept."""
    run.execute(run.FIRST, run.overrides(run.FIRST, "Try out"), tmp_path)
    html = (tmp_path / "start_here.html").read_text(encoding="utf-8")
    text = text_of(html)
    for part in (
        "20 images with masks",
        "Open stardist_segmentation",
        "How long the training takes",
        "What comes with it",
    ):
        assert part in text
    for noise in ("Traceback", "WARNING", "Box("):
        assert noise not in html
    (link,) = set(re.findall(r'href="([^"]*stardist_segmentation\.ipynb)"', html))
    assert (tmp_path / link).resolve() == ROOT / "notebooks" / "stardist_segmentation.ipynb"


def test_each_section_says_what_to_fill_in_and_how_to_know_that_it_went_well():
    from tests.test_wording import DONE, GLOSSARY, UNEXPLAINED, sections, texts

    assert f"[glossary]({GLOSSARY})" in texts(run.FIRST)[0]
    found = sections(run.FIRST)
    assert len(found) == 4
    assert [heading for heading, body in found.items() if not DONE.search(body)] == []
    assert [heading for heading, body in found.items() if not re.search("fill in|[Cc]hoose", body)] == []
    prose = " ".join(found.values()).casefold()
    assert [word for word in UNEXPLAINED if re.search(rf"\b{word}s?\b", prose)] == []


def test_nothing_of_it_loads_tensorflow():
    """Not even inside a function: a reader waits for that."""
    reached = [path for path in rooms("from utils.first_look import page") if path.suffix == ".py"]
    names = {name.split(".")[0] for path in reached for name in imported((ROOT / path).read_text(encoding="utf-8"))}
    assert len(reached) > 30
    assert not {"tensorflow", "keras"} & names
