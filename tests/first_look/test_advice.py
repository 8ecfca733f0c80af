"""Which notebook is named for what, with which values; every value is one that the form of that notebook takes."""

import json

import numpy as np
import pytest

from tests.tiny import write_data
from tests.tiny_crops import write_crops
from tests.tiny_objects import write_objects
from utils import paths
from utils.first_look import advice, shelf
from utils.first_look.advice import ALSO, FITS, NOT, TRAINED, advise, advise_model, free_name, name_of
from utils.first_look.content import Content, read_content
from utils.first_look.headers import Header
from utils.first_look.survey import Found, look
from utils.images.image import write_tiff

UNET, STARDIST, CLASSIFICATION, TUNING = "unet_segmentation", "stardist_segmentation", "classification", "fine_tuning"


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path):
    """Folder of models, empty; the project's own models stay where they are."""
    monkeypatch.setattr(shelf, "models", lambda most=0: [])
    return tmp_path / "models"


def advice_on(folder):
    found = look(str(folder)).found
    return {one.notebook: one for one in advise(found, read_content(found))}


def fits(advice):
    return {name: one.fit for name, one in advice.items()}


def test_label_images_are_for_stardist(tmp_path):
    found = advice_on(write_objects(tmp_path, 4))
    assert fits(found) == {STARDIST: FITS, UNET: ALSO, TUNING: ALSO, CLASSIFICATION: NOT}
    assert next(iter(found)) == STARDIST
    assert "4 images with masks are few" in found[STARDIST].why
    data = found[STARDIST].values["data"]
    assert data["training_source"] == str(tmp_path / "images")
    assert data["training_target"] == str(tmp_path / "masks")
    assert found[TUNING].values["data"]["starting_model"] == "data_samples/starting_models/stardist"


def test_masks_of_two_values_are_for_u_net(tmp_path):
    found = advice_on(write_data(tmp_path, 12))
    assert fits(found) == {UNET: FITS, STARDIST: ALSO, TUNING: ALSO, CLASSIFICATION: NOT}
    assert "few" not in found[UNET].why


def test_masks_of_classes_are_for_u_net_only(tmp_path):
    assert fits(advice_on(write_data(tmp_path, 4, classes=3)))[STARDIST] == NOT


def test_masks_in_doubt_leave_it_open(tmp_path):
    write_data(tmp_path, 4)
    for path in (tmp_path / "masks").iterdir():
        path.write_bytes(b"")
    found = advice_on(tmp_path)
    assert (found[UNET].fit, found[STARDIST].fit) == (ALSO, ALSO)
    assert "not clear" in found[UNET].why


def test_folders_of_classes_are_for_the_classifier(tmp_path):
    found = advice_on(write_crops(tmp_path, 5))
    assert fits(found) == {CLASSIFICATION: FITS, TUNING: NOT, UNET: NOT, STARDIST: NOT}
    assert "rarest class has 5" in found[CLASSIFICATION].why
    assert found[CLASSIFICATION].values["data"]["training_source"] == str(tmp_path)


def test_large_images_in_sub_folders_may_be_no_classes():
    found = Found("classes", paths.ROOT, [paths.ROOT] * 60, classes={"exp1": 30, "exp2": 30})
    content = Content([Header(paths.ROOT, 900, 900)])
    first = advise(found, content)[0]
    assert (first.notebook, first.fit) == (CLASSIFICATION, ALSO)
    assert "choose one of them below" in first.why


def test_images_alone_are_segmented_by_a_model_that_is_there(tmp_path):
    (write_data(tmp_path, 3) / "masks").rename(tmp_path / "elsewhere")
    found = advice_on(tmp_path)
    assert fits(found) == {STARDIST: TRAINED, UNET: TRAINED, CLASSIFICATION: NOT, TUNING: NOT}


def test_images_without_masks_and_a_model_of_another_kind_need_masks(tmp_path):
    for number in range(3):
        write_tiff(tmp_path / f"{number}.tif", np.zeros((9, 9, 3), np.uint8))
    found = advice_on(tmp_path)
    assert set(fits(found).values()) == {NOT}
    assert "draw masks" in found[UNET].why


def test_a_test_folder_is_filled_in_as_well(tmp_path):
    for name in ("train", "test"):
        write_data(tmp_path / name, 3)
    values = advice_on(tmp_path)[UNET].values
    assert values["evaluation"] == {
        "test_source": str(tmp_path / "test" / "images"),
        "test_target": str(tmp_path / "test" / "masks"),
    }
    assert values["data"]["model_name"] == tmp_path.name.strip("_")


def test_a_model_is_for_its_own_notebook(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text(json.dumps({"task": "unet", "channels": ["a"]}))
    first, second = advise_model(shelf.read_model(tmp_path / "m"), tmp_path / "m")
    assert (first.notebook, first.values["prediction"]) == (UNET, {"model_folder": str(tmp_path / "m")})
    assert (second.notebook, second.values["data"]) == (TUNING, {"starting_model": str(tmp_path / "m")})


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("HE nuclei/train/images", "HE_nuclei"),
        ("a/Images", "a"),
        ("exp.2", "exp_2"),
        ("ä ö", "ä_ö"),
        ("...", ""),
        ("C:D?", "C_D"),
    ],
)
def test_the_name_of_a_model_comes_from_the_folder(folder, name, tmp_path):
    assert name_of(Found("images", tmp_path / folder, [])) == name


def test_a_name_that_is_taken_gets_a_number(tmp_path, monkeypatch):
    monkeypatch.setattr(advice, "ROOT", tmp_path)
    assert free_name("a") == "a"
    for taken in ("a", "a_2"):
        (tmp_path / "models" / taken).mkdir(parents=True)
    assert free_name("a") == "a_3"
    assert free_name("") == ""


@pytest.mark.parametrize(
    "sample", ["nuclei", "tissue", "mitosis", "mitosis_new_marker", "starting_models/unet", "nuclei/test/images"]
)
def test_every_value_is_one_that_the_forms_of_the_notebook_take(sample):
    from tests.notebook_forms import default_values

    seen = look(f"data_samples/{sample}")
    if seen.found:
        found = advise(seen.found, read_content(seen.found))
    else:
        found = advise_model(shelf.read_model(seen.model), seen.model)
    assert any(one.values for one in found)
    for one in found:
        values = default_values(one.notebook, {form: dict(fields) for form, fields in one.values.items()})
        for form, fields in one.values.items():
            assert values[form].items() >= fields.items()
