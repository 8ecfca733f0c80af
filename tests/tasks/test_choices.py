"""What the fields of section 6 mean, above all the empty ones."""

import pytest

from utils.errors import NotYet
from utils.paths import ROOT
from utils.tasks.choices import choose, chosen_images, chosen_model

EMPTY = {"model_folder": "", "data_folder": "", "result_folder": ""}


def test_the_model_is_the_one_named_else_the_one_just_trained(tmp_path):
    assert chosen_model("", tmp_path / "just_trained") == tmp_path / "just_trained"
    for trained in (tmp_path / "just_trained", None):
        assert chosen_model(str(tmp_path / "other"), trained) == tmp_path / "other"
    with pytest.raises(NotYet, match="model_folder"):
        chosen_model("", None)


def test_images_to_predict_on_are_those_named_else_of_the_sample_else_of_the_training(tmp_path):
    (tmp_path / "table.csv").touch()
    sample = "data_samples/mitosis/train"
    for named, trained, expected in (
        ("data_samples/tissue/test/images", sample, ROOT / "data_samples" / "tissue" / "test" / "images"),
        (str(tmp_path), None, tmp_path),
        ("", sample, ROOT / "data_samples" / "mitosis" / "test"),
        ("", str(tmp_path), tmp_path),
    ):
        assert chosen_images(named, trained) == expected
    for source in (None, str(tmp_path / "table.csv")):
        with pytest.raises(NotYet, match="data_folder"):
            chosen_images("", source)


def test_results_of_two_models_notebooks_or_folders_do_not_mix(tmp_path):
    given = [
        ("unet", "first", "a"),
        ("unet", "second", "a"),
        ("sorting", "first", "a"),
    ]
    given += [("unet", "first", "b"), ("unet", "first", "b/a")]
    folders = [
        choose(EMPTY | {"data_folder": f"mine/{images}"}, notebook, tmp_path / model, None).results
        for notebook, model, images in given
    ]
    assert folders[0] == ROOT / "results" / "unet" / "predictions_of_first" / "mine_a"
    assert len(set(folders)) == len(given)
    named = choose(EMPTY | {"data_folder": "a", "result_folder": str(tmp_path)}, "unet_segmentation", tmp_path, None)
    assert named.results == tmp_path


def test_images_that_were_trained_on_are_told(tmp_path):
    own, sample = str(tmp_path), "data_samples/mitosis/train"
    for named, source, told in (("", own, True), (own, own, True), ("elsewhere", own, False), ("", sample, False)):
        about = choose(EMPTY | {"data_folder": named}, "unet_segmentation", tmp_path, source).about
        assert ("were used for training" in about) is told


def test_a_folder_of_label_images_alone_stands_for_its_images(tmp_path):
    values = EMPTY | {"label_folder": str(tmp_path / "labels")}
    assert (
        choose(values, "classification", tmp_path / "model", "data_samples/mitosis/train").images == tmp_path / "labels"
    )
