"""What the page says beside the figures: warnings that must not be missed, and tables whose numbers agree."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tasks.pixels.test_evaluate import model_of
from tests.tiny import SMALL, parameters, write_data
from utils.data.project import open_project
from utils.images.image import write_tiff
from utils.pages.page import overlays
from utils.tasks import report
from utils.tasks.automatic import settled
from utils.tasks.held_out import TestSet, evaluate, find_test_set
from utils.tasks.masks import with_roles
from utils.tasks.pixels import page
from utils.tasks.registry import UNET
from utils.tasks.report import verdict
from utils.training import model_folder
from utils.training.model_folder import NO_RESULT

TRAINING = SMALL | {"half_resolution": False}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return model_of(folder, write_data(folder / "data", 8, classes=3), 3)


@pytest.fixture(scope="module")
def result(project):
    return evaluate(UNET, project.folder, find_test_set(UNET, project.folder))


def set_preset(project, preset):
    path = project.folder / model_folder.PARAMETERS
    given = json.loads(path.read_text())
    given["overrides"]["training"]["preset"] = preset
    path.write_text(json.dumps(given))


def test_try_out_is_said_to_be_no_result(project, result):
    set_preset(project, "Quick on a CPU")
    assert "no result" not in verdict(result, project.folder)
    set_preset(project, "Try out")
    assert "**Warning:** " in verdict(result, project.folder)
    assert "this is no result" in verdict(result, project.folder)
    written = report.write(UNET, project.folder, result, ["one more"]).read_text()
    assert "Methods, for a paper" in written
    assert f"{len(pd.read_csv(project.folder / 'split.csv'))} annotated images" in written
    assert "ronneberger2015" in (project.folder / "cite.bib").read_text(encoding="utf-8")
    assert "this is no result" in written
    assert "this is no result" in written.split('class="headline"')[1].split("</div>\n\n")[0]  # beside the score itself
    evaluate(UNET, project.folder, result.test_set)
    assert json.loads((project.folder / "scores.json").read_text())["remark"] == NO_RESULT
    assert (pd.read_csv(project.folder / "evaluation.csv")["remark"] == NO_RESULT).all()
    assert "one more" in written


def test_a_test_that_is_not_independent_is_said_on_the_page(project, result):
    dependent = replace(result, test_set=replace(result.test_set, independent=False, origin="the validation images"))
    assert "**Warning:** Tested on the validation images" in verdict(dependent, project.folder)
    assert "Tested on" not in verdict(result, project.folder)


def test_shares_of_each_image_are_those_of_the_masks(result):
    table = page._per_image(result).set_index("file")
    for one in result.test_set.examples:
        predicted = result.predictor.class_ids(one.image.array)
        for name in (entry["name"] for entry in result.predictor.classes[1:]):
            i = next(entry["id"] for entry in result.predictor.classes if entry["name"] == name)
            assert table.loc[one.name, f"{name}, true [%]"] == pytest.approx(100 * np.mean(one.mask == i))
            assert table.loc[one.name, f"{name}, predicted [%]"] == pytest.approx(100 * np.mean(predicted == i))


def test_overview_counts_images_and_warns_of_few_images_and_large_patches(project, monkeypatch):
    text = UNET.overview(project, TRAINING)
    assert f"**{len(project.dataset.examples)} images**" in text
    assert "images are few" in text
    assert "above 512" not in text
    monkeypatch.setattr(UNET, "patch_size", lambda *_: (32, 1024))
    assert "above 512" in UNET.overview(project, TRAINING)


def test_duplicates_across_roles_come_first(project):
    names = {role: [one.name for one in project.examples(role)] for role in ("training", "test")}
    within, across = names["training"][:2], (names["training"][0], names["test"][0])
    copies = pd.DataFrame([(*within, 0.99), (*across, 0.8)], columns=["file_a", "file_b", "similarity"])
    table = with_roles(copies, project)
    assert table["role_b"].tolist() == ["test", "training"]
    assert len(with_roles(copies[:0], project)) == 0


def test_a_test_image_that_is_a_flipped_training_image_is_found(project):
    known = project.examples("training")[0]
    copy = replace(known.image, array=np.flip(known.image.array, 0).copy(), path=known.image.path.with_name("new.tif"))
    other = TestSet([replace(known, image=copy)], "a folder", independent=True)
    found = UNET.lookalikes(project, other)
    assert found["similarity"].min() > 0.9
    assert set(found[["file_a", "file_b"]].iloc[0]) == {known.name, f"{known.name} (test)"}
    assert len(UNET.lookalikes(project, TestSet(project.examples("test"), "set aside", True))) == 0


def test_preview_shows_patches_as_they_are_beside_augmented_ones(tmp_path):
    given = parameters(write_data(tmp_path / "data", 6), tmp_path)["overrides"]
    project = open_project(given["data"])
    given = settled(given, UNET.choices(project, given))
    figure = UNET.augmentation_preview(project, given["training"], given["augmentation"])
    assert len([axes for axes in figure.axes if axes.images]) == 8


@pytest.mark.parametrize(("kind", "thinned"), [("masks", 1), ("labels", 2)])
def test_overlays_on_the_page_have_the_scale_of_the_mask_beside_them(tmp_path, kind, thinned):
    for folder in (kind, "overlays"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((50, 100 // thinned, 3), np.uint8)).save(tmp_path / "overlays" / "a.png")
    assert not overlays(tmp_path, ["a.tif"]).axes[0].artists
    write_tiff(tmp_path / kind / "a.tif", np.zeros((50, 100), np.uint8), 0.5)
    (bar,) = overlays(tmp_path, ["a.tif"]).axes[0].artists
    assert bar.txt_label.get_text() == "10 µm"  # a fifth of 50 µm
    write_tiff(tmp_path / kind / "a.tif", np.zeros((50, 100), np.uint8))
    assert not overlays(tmp_path, ["a.tif"]).axes[0].artists


def test_overlays_of_an_earlier_prediction_are_not_shown(tmp_path):
    (tmp_path / "overlays").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(tmp_path / "overlays" / f"{name}.png")
    titles = [axes.get_title() for axes in overlays(tmp_path, ["c.tif", "a.jpg"]).axes]
    assert titles == ["a", "c"]
