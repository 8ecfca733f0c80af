"""A folder of masks that mean something else than they seem: what is said of which files, what is shown and asked."""

import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy import ndimage
from skimage.segmentation import find_boundaries

from tests.images.test_mask_types import BINARY, LABELS, discs, jpeg, photograph
from utils.data.examples import load_examples
from utils.data.mask_checks import MasksInDoubt
from utils.data.project import open_project
from utils.errors import DataError, FormError
from utils.images.image import write_tiff
from utils.images.masks import IGNORED

IMAGES = [photograph(seed) for seed in range(6)]


def write(folder, images=IMAGES, masks=BINARY):
    """Folders of images and masks of the same names."""
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        write_tiff(folder / "images" / f"{i}.tif", image)
        write_tiff(folder / "masks" / f"{i}.tif", mask)
    return folder / "images", folder / "masks"


def only_problem(dataset, severity="error"):
    assert [one.severity for one in dataset.problems] == [severity], [str(one) for one in dataset.problems]
    return dataset.problems[0]


def ids_of(dataset):
    assert [str(one) for one in dataset.problems if one.severity == "error"] == []
    return [one.mask for one in dataset.examples]


@pytest.mark.parametrize("annotation", ["classes", "objects"])
def test_swapped_foreground_is_asked_for_and_the_answer_is_right(tmp_path, annotation):
    folders = write(tmp_path, masks=[255 - one for one in BINARY])
    dataset = load_examples(*folders, annotation=annotation)
    problem = only_problem(dataset)
    assert problem.file == str(folders[1])
    assert "6 of 6 masks: 0.tif, 1.tif, 2.tif, ..." in problem.what
    assert "Write inverted in the field mask_type" in problem.remedy
    assert [one.value for one in dataset.readings] == ["inverted", "binary"]
    assert [one.name for one in dataset.shown] == ["0.tif", "2.tif", "5.tif"]
    answered = load_examples(*folders, mask_type="inverted", annotation=annotation)
    for found, mask in zip(ids_of(answered), BINARY, strict=True):
        np.testing.assert_array_equal(found > 0, mask > 0)
    assert len(answered.shown) == 3


def test_an_answer_that_is_written_is_not_asked_again(tmp_path):
    folders = write(tmp_path, masks=[255 - one for one in BINARY])
    for found, mask in zip(ids_of(load_examples(*folders, mask_type="binary")), BINARY, strict=True):
        np.testing.assert_array_equal(found, mask == 0)


def test_whoever_writes_binary_for_what_covers_nearly_all_is_warned(tmp_path):
    masks = [np.where(one == 2, 0, 255).astype(np.uint8) for one in LABELS]
    dataset = load_examples(*write(tmp_path, masks=masks), mask_type="binary")
    problem = only_problem(dataset, "warning")
    assert "of the area (6 of 6 masks: 0.tif, 1.tif, 2.tif, ...)" in problem.what
    assert "inverted" in problem.remedy


def test_labels_of_ilastik_have_the_background_that_is_written(tmp_path):
    folders = write(tmp_path, masks=[np.where(one > 0, 1, 2).astype(np.uint8) for one in LABELS])
    assert "No mask holds a 0" in only_problem(load_examples(*folders)).what
    for kind, inside in (("inverted", 1), ("binary", 0)):
        dataset = load_examples(*folders, mask_type=kind)
        for found, mask in zip(ids_of(dataset), LABELS, strict=True):
            np.testing.assert_array_equal(found == inside, mask > 0)
        again = load_examples(*folders, mask_type=kind, classes=dataset.classes)
        assert all((a == b).all() for a, b in zip(ids_of(again), ids_of(dataset), strict=True))
    objects = load_examples(*folders, mask_type="inverted", annotation="objects")
    assert all(((a > 0) == (b > 0)).all() for a, b in zip(ids_of(objects), LABELS, strict=True))


def test_masks_that_were_a_jpeg_are_read_and_that_is_said(tmp_path):
    masks = [jpeg(one) if i < 5 else one for i, one in enumerate(BINARY)]
    dataset = load_examples(*write(tmp_path, masks=masks))
    assert dataset.mask_type == "soft edges"
    assert "(5 of 6 masks: 0.tif, 1.tif, 2.tif, ...)" in only_problem(dataset, "warning").what
    assert len(dataset.shown) == 3
    assert all(np.mean((a > 0) == (b > 0)) > 0.99 for a, b in zip(ids_of(dataset), BINARY, strict=True))


def test_wide_soft_edges_are_asked_for_and_not_taken_for_images(tmp_path):
    masks = [ndimage.gaussian_filter(one.astype(float), 2).round().astype(np.uint8) for one in BINARY]
    folders = write(tmp_path, masks=masks)
    assert [one.value for one in load_examples(*folders).readings] == ["soft edges", "instance labels"]
    found = ids_of(load_examples(*folders, mask_type="soft edges"))
    assert all(np.mean((a > 0) == (b > 0)) > 0.97 for a, b in zip(found, BINARY, strict=True))


def masks_with_255():
    """Masks of 0 and 1, the left quarter of two of which is 255."""
    masks = [np.uint8(one > 0) for one in LABELS]
    for i in (1, 4):
        masks[i][:, :24] = 255
    return masks


def test_255_is_asked_for_and_then_ignored(tmp_path):
    folders = write(tmp_path, masks=masks_with_255())
    problem = only_problem(load_examples(*folders))
    assert "(2 of 6 masks: 1.tif, 4.tif)" in problem.what
    assert "Write 255 in the field ignore_value" in problem.remedy
    dataset = load_examples(*folders, ignore_value="255")
    assert (dataset.mask_type, [one["value"] for one in dataset.classes]) == ("binary", [0, 1])
    assert "255 do not count: 8.33 % of all, in 2 of 6 masks" in dataset.why
    for found, mask in zip(ids_of(dataset), masks_with_255(), strict=True):
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, np.where(mask == 255, IGNORED, mask.astype(int)))
    kept = load_examples(*folders, mask_type="classes")
    assert [one["value"] for one in kept.classes] == [0, 1, 255]


def test_ignored_pixels_among_objects(tmp_path):
    masks = [one.copy() for one in LABELS]
    masks[2][:, :24] = 255
    dataset = load_examples(*write(tmp_path, masks=masks), ignore_value="255", annotation="objects")
    found = ids_of(dataset)[2]
    np.testing.assert_array_equal(found == IGNORED, masks[2] == 255)
    assert len(np.unique(found)) == len(np.unique(masks[2]))
    assert found.dtype == np.int32


def test_a_mask_in_which_nothing_counts_and_a_value_that_is_nowhere(tmp_path):
    masks = masks_with_255()
    masks[3][:] = 255
    folders = write(tmp_path, masks=masks)
    problem = only_problem(load_examples(*folders, ignore_value="255"))
    assert problem.file == str(folders[1] / "3.tif")
    assert "no pixel of the mask counts" in problem.what
    nowhere = load_examples(*folders, mask_type="classes", ignore_value="77")
    assert "no mask holds 77" in only_problem(nowhere, "warning").what
    with pytest.raises(FormError, match="ignore_value"):
        load_examples(*folders, ignore_value="white")


def test_a_stray_value_names_its_file(tmp_path):
    masks = [one.copy() for one in BINARY]
    masks[4][3, 3] = 254
    folders = write(tmp_path, masks=masks)
    problem = only_problem(load_examples(*folders))
    assert "254 is found in a single mask only, 1 pixel in all (1 of 6 masks: 4.tif)" in problem.what
    problem = only_problem(load_examples(*folders, mask_type="binary"))
    assert "(1 of 6 masks: 4.tif)" in problem.what
    assert (ids_of(load_examples(*folders, ignore_value="254"))[4][3, 3]) == IGNORED


def test_many_values_do_not_tear_the_message_apart(tmp_path):
    masks = [one * find_boundaries(one, mode="inner") for one in LABELS]
    problem = only_problem(load_examples(*write(tmp_path, masks=masks)))
    assert problem.what.startswith("The masks hold the values 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..., 12, which may be")
    assert problem.remedy.startswith("Write classes in the field mask_type")


def test_one_mask_of_several_that_is_swapped_is_named(tmp_path):
    masks = [255 - one if i == 2 else one for i, one in enumerate(BINARY)]
    dataset = load_examples(*write(tmp_path, masks=masks))
    assert "swapped in some masks only (1 of 6 masks: 2.tif)" in only_problem(dataset, "warning").what


def test_what_nobody_annotated_is_ignored(tmp_path):
    """As QuPath writes it: 0 not annotated, 1 background, 2 foreground."""
    masks = [np.zeros_like(one) for one in LABELS]
    for mask, one in zip(masks, LABELS, strict=True):
        mask[20:60, 20:60] = 1 + (one[20:60, 20:60] > 0)
    folders = write(tmp_path, masks=masks)
    assert "0" in [one.value for one in load_examples(*folders).readings]
    assert [one.value for one in load_examples(*folders, ignore_value="0").readings] == ["binary", "inverted"]
    dataset = load_examples(*folders, ignore_value="0", mask_type="binary")
    assert dataset.problems == []
    for found, mask in zip(ids_of(dataset), masks, strict=True):
        np.testing.assert_array_equal(found, mask.astype(int) - 1)


@pytest.mark.parametrize("mask_type", ["automatic", "instance labels"])
def test_labels_whose_background_is_1(tmp_path, mask_type):
    folders = write(tmp_path, masks=[discs(30, seed=seed) + 1 for seed in range(6)])
    for annotation in ("classes", "objects"):
        problem = only_problem(load_examples(*folders, mask_type=mask_type, annotation=annotation))
        assert "but 1 covers" in problem.what
        assert "Subtract" in problem.remedy


def test_the_two_folders_swapped(tmp_path):
    images, masks = write(tmp_path)
    problem = only_problem(load_examples(masks, images))
    assert "swapped" in problem.what
    assert "6 of 6 masks" in problem.what
    assert f"Name {images} as folder of images and {masks}" in problem.remedy


def test_all_files_are_counted_not_only_those_that_were_looked_at(tmp_path):
    folders = write(tmp_path, images=5 * IMAGES, masks=5 * BINARY)
    assert "30 of 30 masks" in only_problem(load_examples(*folders[::-1])).what


def test_swapped_folders_of_colour_images(tmp_path):
    colours = [np.stack([one, one // 2, one // 3], axis=-1) for one in IMAGES]
    images, masks = write(tmp_path, images=colours)
    problem = only_problem(load_examples(masks, images))
    assert "swapped" in problem.what
    assert "6 files, such as 0.tif" in problem.what


def test_swapped_folders_of_images_that_are_named_as_masks(tmp_path):
    images, masks = write(tmp_path)
    for file in masks.iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.tif"))
    assert load_examples(images, masks).problems == []
    assert "swapped" in only_problem(load_examples(masks, images)).what


@pytest.mark.parametrize("mask_type", ["automatic", "instance labels", "binary", "classes", "soft edges"])
def test_images_given_as_masks_are_refused_whatever_is_written(tmp_path, mask_type):
    folders = write(tmp_path, masks=[one[::-1].copy() for one in IMAGES])
    problem = only_problem(load_examples(*folders, mask_type=mask_type))
    assert "look like images, not like masks" in problem.what
    assert "(6 of 6 masks: 0.tif, 1.tif, 2.tif, ...)" in problem.what
    assert "training_target" in problem.remedy


def test_masks_given_as_images(tmp_path):
    images, masks = write(tmp_path, images=BINARY)
    problem = only_problem(load_examples(images, masks))
    assert problem.file == str(images)
    assert "the images are the masks themselves (6 of 6 images: 0.tif, 1.tif, 2.tif, ...)" in problem.what


def test_one_odd_mask_among_good_ones_is_no_swapped_folder(tmp_path):
    folders = write(tmp_path, masks=[IMAGES[0], *BINARY[1:]])
    assert "swapped" not in str(load_examples(*folders).problems)


def test_outlines_become_objects_that_are_kept_apart(tmp_path):
    labels = np.zeros((96, 96), np.uint8)
    labels[10:30, 10:30], labels[10:30, 30:50], labels[50:80, 50:80] = 1, 2, 3
    inner = np.zeros_like(labels)
    inner[11:29, 11:29], inner[11:29, 31:49], inner[51:79, 51:79] = 1, 2, 3
    lines = ((labels > 0) & (inner == 0)).astype(np.uint8)
    folders = write(tmp_path, masks=[lines] * 6)
    assert "outlines" in only_problem(load_examples(*folders)).remedy
    dataset = load_examples(*folders, mask_type="outlines", annotation="objects")
    assert dataset.problems == []
    np.testing.assert_array_equal(ids_of(dataset)[0], labels)
    assert load_examples(*folders, mask_type="outlines").examples[0].mask.sum() == (labels > 0).sum()


def test_objects_are_not_offered_what_their_form_does_not_have(tmp_path):
    soft = [np.where(one > 0, 255, 0).astype(np.uint8) for one in LABELS]
    for one in soft:
        one[(one > 0) & (np.roll(one, 1, axis=0) == 0)] = 127
    folders = write(tmp_path, masks=soft)
    assert [one.value for one in load_examples(*folders).readings] == ["soft edges", "classes"]
    dataset = load_examples(*folders, annotation="objects")
    assert [one.value for one in dataset.readings] == ["soft edges"]
    assert "classes" not in str(only_problem(dataset))


def data_of(folders, tmp_path, **more):
    data = {"training_source": str(folders[0]), "training_target": str(folders[1]), "model_path": str(tmp_path)}
    data |= {"axes": "automatic", "mask_type": "automatic", "group_rule": "", "model_name": "model"}
    return data | {"percentage_test": 20, "percentage_validation": 10} | more


def test_a_project_that_cannot_be_opened_brings_what_is_to_be_shown(tmp_path):
    folders = write(tmp_path, masks=masks_with_255())
    with pytest.raises(MasksInDoubt, match="ignore_value") as caught:
        open_project(data_of(folders, tmp_path))
    assert [one.name for one in caught.value.examples] == ["1.tif", "4.tif"]
    np.testing.assert_array_equal(caught.value.examples[0].mask, masks_with_255()[1])
    assert open_project(data_of(folders, tmp_path, ignore_value="255")).dataset.ignore_value == "255"
    (folders[1] / "0.tif").unlink()
    with pytest.raises(DataError, match="no mask for this image"):
        open_project(data_of(folders, tmp_path, ignore_value="255"))


def test_masks_of_a_png_with_three_equal_channels_are_looked_at_alike(tmp_path):
    images, masks = write(tmp_path)
    for file in list(masks.iterdir()):
        array = tifffile.imread(file)
        file.unlink()
        PIL.Image.fromarray(255 - np.repeat(array[..., None], 3, axis=-1)).save(file.with_suffix(".png"))
    assert "islands" in only_problem(load_examples(images, masks)).what
