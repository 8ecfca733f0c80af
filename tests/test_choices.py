"""What an empty field of section 6 stands for."""

import pytest

from utils.choices import chosen_images, chosen_model
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
        ("", str(tmp_path / "table.csv"), tmp_path),
    ):
        assert chosen_images(named, trained) == expected
    with pytest.raises(DataError, match="data_folder"):
        chosen_images("", None)


def test_chosen_model(tmp_path):
    class Project:
        folder = tmp_path / "just_trained"

    assert chosen_model("", Project()) == tmp_path / "just_trained"
    assert chosen_model(str(tmp_path / "other"), Project()) == tmp_path / "other"
    assert chosen_model(str(tmp_path / "other"), None) == tmp_path / "other"
    with pytest.raises(ModelError, match="model_folder"):
        chosen_model("", None)
