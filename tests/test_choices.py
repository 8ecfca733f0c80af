"""What an empty field of section 6 stands for."""

import pytest

from utils.choices import chosen_images, chosen_model, chosen_results
from utils.errors import DataError, ModelError
from utils.paths import ROOT


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
        with pytest.raises(DataError, match="data_folder"):
            chosen_images("", source)


def test_chosen_model(tmp_path):
    class Project:
        folder = tmp_path / "just_trained"

    assert chosen_model("", Project()) == tmp_path / "just_trained"
    assert chosen_model(str(tmp_path / "other"), Project()) == tmp_path / "other"
    assert chosen_model(str(tmp_path / "other"), None) == tmp_path / "other"
    with pytest.raises(ModelError, match="model_folder"):
        chosen_model("", None)


def test_results_of_two_models_or_notebooks_do_not_mix(tmp_path):
    given = [("unet_segmentation", "first"), ("unet_segmentation", "second"), ("classification", "first")]
    folders = [chosen_results("", notebook, tmp_path / model) for notebook, model in given]
    assert folders[0] == ROOT / "results" / "unet_segmentation" / "predictions_of_first"
    assert len(set(folders)) == 3
    assert chosen_results(str(tmp_path), "unet_segmentation", tmp_path / "first") == tmp_path
