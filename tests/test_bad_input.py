"""Each mistake in the input gives one clear message that names file and remedy, and leaves nothing written."""

import shutil

import numpy as np
import pytest
import tifffile

from tests import tiny_objects
from tests.tiny import open_and_train, parameters, tree, write_data
from utils.errors import DataError, ModelError, UserError
from utils.images.image import read_mask


@pytest.fixture
def source(tmp_path):
    return write_data(tmp_path / "data", 4)


def mask_of(source, name="image_1.tif"):
    return read_mask(source / "masks" / name)


def missing_folder(source):
    shutil.rmtree(source / "images")


def missing_masks(source):
    shutil.rmtree(source / "masks")


def empty_folder(source):
    for path in (source / "images").iterdir():
        path.unlink()


def image_without_mask(source):
    (source / "masks" / "image_1.tif").unlink()


def mask_without_image(source):
    (source / "images" / "image_1.tif").unlink()


def different_sizes(source):
    tifffile.imwrite(source / "masks" / "image_1.tif", mask_of(source)[:-1])


def truncated(source):
    content = (source / "images" / "image_1.tif").read_bytes()
    (source / "images" / "image_1.tif").write_bytes(content[: len(content) // 2])


def truncated_mask(source):
    content = (source / "masks" / "image_1.tif").read_bytes()
    (source / "masks" / "image_1.tif").write_bytes(content[:100])


def no_image_at_all(source):
    (source / "images" / "image_1.tif").write_bytes(b"<html>404</html>")


def stack(source):
    data = np.zeros((5, 64, 64), np.uint16)
    tifffile.imwrite(source / "images" / "image_1.tif", data, imagej=True, metadata={"axes": "ZYX"})


def unknown_stack(source):
    tifffile.imwrite(source / "images" / "image_1.tif", np.zeros((5, 64, 64), np.uint16), metadata=None)


def not_a_number(source):
    image = np.ones((64, 64), np.float32)
    image[3, 4] = np.nan
    tifffile.imwrite(source / "images" / "image_1.tif", image)


def infinite(source):
    image = np.ones((64, 64), np.float32)
    image[3, 4] = np.inf
    tifffile.imwrite(source / "images" / "image_1.tif", image)


def only_background(source):
    for path in (source / "masks").iterdir():
        tifffile.imwrite(path, np.zeros((64, 64), np.uint8))


def float_mask(source):
    tifffile.imwrite(source / "masks" / "image_1.tif", mask_of(source).astype(np.float32) / 255)
    mask = mask_of(source, "image_0.tif") / 3
    tifffile.imwrite(source / "masks" / "image_1.tif", mask.astype(np.float32) + np.float32(0.5))


def two_values_in_binary(source):
    mask = mask_of(source)
    mask[:5, :5] = 7
    tifffile.imwrite(source / "masks" / "image_1.tif", mask)


def one_image(source):
    for part in ("images", "masks"):
        for i in (0, 2, 3):
            (source / part / f"image_{i}.tif").unlink()


def colour_mask(source):
    mask = np.repeat(mask_of(source)[..., None], 3, axis=-1)
    mask[..., 1] //= 2
    tifffile.imwrite(source / "masks" / "image_1.tif", mask)


def other_channels(source):
    tifffile.imwrite(source / "images" / "image_1.tif", np.zeros((64, 64, 3), np.uint16), photometric="rgb")


def small_image(source):
    for part in ("images", "masks"):
        path = source / part / "image_1.tif"
        tifffile.imwrite(path, tifffile.imread(path)[:30])


def nothing(source):
    pass


CASES = [
    (missing_folder, {}, "data/images", "Check its name"),
    (missing_masks, {}, "data/masks", "Check its name"),
    (empty_folder, {}, "data/images", "holds no image"),
    (image_without_mask, {}, "images/image_1.tif", "mask"),
    (mask_without_image, {}, "masks/image_1.tif", "image"),
    (different_sizes, {}, "masks/image_1.tif", "Export the mask again"),
    (truncated, {}, "images/image_1.tif", "again"),
    (truncated_mask, {}, "masks/image_1.tif", "again"),
    (no_image_at_all, {}, "images/image_1.tif", "again"),
    (stack, {}, "images/image_1.tif", "plane"),
    (unknown_stack, {}, "images/image_1.tif", "axes"),
    (not_a_number, {}, "images/image_1.tif", "Replace them"),
    (infinite, {}, "images/image_1.tif", "Replace them"),
    (only_background, {}, "data/masks", "Check that these are the masks"),
    (float_mask, {}, "masks/image_1.tif", "Save it as 8-bit"),
    (two_values_in_binary, {"data": {"mask_type": "binary"}}, "data/masks", "mask_type"),
    (one_image, {}, "image_1.tif", "Add images"),
    (colour_mask, {}, "masks/image_1.tif", "Export it with one channel"),
    (other_channels, {}, "images/image_1.tif", "Check that all come"),
    (small_image, {}, "image_1.tif", "Choose smaller patch_height"),
    (nothing, {"training": {"patch_height": 96, "patch_width": 96}}, "image_", "Choose smaller patch_height"),
    (nothing, {"training": {"patch_height": 31}}, "patch", "Choose multiples of 2"),
    (nothing, {"training": {"pooling_steps": 5, "patch_height": 48}}, "patch", "Choose multiples of 32"),
    (nothing, {"data": {"group_rule": "{group}-x"}}, "image_0.tif", "change the field"),
    (nothing, {"data": {"group_rule": "{group}_*"}}, "1 group,", "Add images of other groups, or change"),
    (nothing, {"data": {"class_names": "only one"}}, "class_names", "or leave this field blank"),
    (nothing, {"data": {"starting_model": "no/such/model"}}, "no/such/model", "Choose the folder of a trained model"),
    (nothing, {"data": {"training_source": ""}}, "folder of images", "fill in"),
]


@pytest.mark.parametrize(
    ("spoil", "overrides", "file", "remedy"), CASES, ids=[f"{case[0].__name__}-{case[3]}" for case in CASES]
)
def test_bad_input_is_told_and_nothing_is_written(spoil, overrides, file, remedy, source, tmp_path):
    spoil(source)
    before = tree(tmp_path)
    given = parameters(source, tmp_path / "models", **overrides)
    with pytest.raises(UserError) as error:
        open_and_train(given)
    assert file in str(error.value)
    assert remedy in str(error.value)
    assert tree(tmp_path) == before


def test_all_problems_are_told_at_once(source, tmp_path):
    for spoil in (image_without_mask, truncated):
        spoil(source)
    (source / "images" / "image_0.tif").unlink()
    with pytest.raises(DataError) as error:
        open_and_train(parameters(source, tmp_path / "models"))
    assert str(error.value).count("\n- ") >= 2


def test_a_model_folder_that_holds_something_else(source, tmp_path):
    (tmp_path / "models" / "model").mkdir(parents=True)
    (tmp_path / "models" / "model" / "thesis.docx").write_text("years of work")
    before = tree(tmp_path)
    with pytest.raises(ModelError, match="models/model already holds something else.*Choose another model_name"):
        open_and_train(parameters(source, tmp_path / "models"))
    assert tree(tmp_path) == before


def test_hidden_and_system_files_are_ignored(source, tmp_path):
    given = parameters(source, tmp_path / "models", training={"number_of_epochs": 1, "number_of_steps": 1})
    for part in ("images", "masks"):
        folder = source / part
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._image_0.tif"):
            (folder / name).write_bytes(b"\0\1")
        shutil.copytree(folder, folder / ".ipynb_checkpoints")
    project, said = open_and_train(given)
    assert said.startswith("Trained for 1 epoch;")
    assert [one.name for one in project.dataset.examples] == [f"image_{i}.tif" for i in range(4)]
    assert project.dataset.problems == []


def negative_labels(source):
    labels = mask_of(source).astype(np.int16)
    tifffile.imwrite(source / "masks" / "image_1.tif", labels - 1)


def too_many_objects(source):
    for part in ("images", "masks"):
        pixels = np.arange(270 * 250, dtype=np.uint32).reshape(270, 250)
        tifffile.imwrite(source / part / "image_1.tif", pixels if part == "masks" else (pixels % 251).astype(np.uint16))


def masks_of_classes(source):
    for path in (source / "masks").iterdir():
        labels = read_mask(path)
        tifffile.imwrite(path, np.where(labels > 0, 1 + labels % 2, 0).astype(np.uint8) * 100)


def class_table_with_a_gap(source):
    (source / "classes.csv").write_text("file,label,class\nimage_0.tif,1,round\n")


OBJECT_CASES = [
    *[case for case in CASES if case[0] in (missing_folder, image_without_mask, truncated, stack, not_a_number)],
    *[case for case in CASES if case[0] in (only_background, float_mask, one_image, colour_mask, other_channels)],
    (negative_labels, {}, "masks/image_1.tif", "Save it as 8-bit or 16-bit"),
    (too_many_objects, {}, "masks/image_1.tif", "smaller pieces"),
    (masks_of_classes, {"data": {"mask_type": "automatic"}}, "data/masks", "U-Net"),
    (class_table_with_a_gap, {"data": {"class_table": "classes.csv"}}, "image_0.tif", "class"),
    (nothing, {"data": {"class_table": "missing.csv"}}, "missing.csv", "Check its name"),
    (nothing, {"training": {"patch_height": 40}}, "patch", "Choose multiples of 16"),
    (nothing, {"data": {"starting_model": "no/such/model"}}, "no/such/model", "Choose the folder of a trained model"),
]


@pytest.mark.parametrize(
    ("spoil", "overrides", "file", "remedy"),
    OBJECT_CASES,
    ids=[f"{case[0].__name__}-{case[3]}" for case in OBJECT_CASES],
)
def test_bad_input_for_objects_is_told_and_nothing_is_written(spoil, overrides, file, remedy, tmp_path):
    source = tiny_objects.write_objects(tmp_path / "data", 4)
    spoil(source)
    before = tree(tmp_path)
    data = {"mask_type": "instance labels"} | overrides.get("data", {})
    if data.get("class_table"):
        data["class_table"] = str(source / data["class_table"])
    given = tiny_objects.parameters(source, tmp_path / "models", **(overrides | {"data": data}))
    with pytest.raises(UserError) as error:
        tiny_objects.open_and_train(given)
    assert file in str(error.value)
    assert remedy in str(error.value)
    assert tree(tmp_path) == before
