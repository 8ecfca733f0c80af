"""Pixels that are ignored count in no loss, weight, score, share, threshold, patch or opponent of the U-Net."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.tiny import parameters, write_data
from utils.data.uneven import class_shares, image_features
from utils.images.image import read_mask, write_tiff
from utils.images.masks import IGNORED, counted
from utils.metrics.confusion import best_threshold, confusion_matrix, foreground_iou_from_confusion
from utils.metrics.pixels import pixel_scores
from utils.patching.augmentation import Augmentation, draw_patch
from utils.patching.batches import Source, TrainingPatches, ValidationPatches, automatic_steps
from utils.patching.patches import draw_position
from utils.tasks.fingerprint import fingerprint, told_by_brightness
from utils.tasks.held_out import choose_test_set
from utils.tasks.otsu import fit_otsu, mean_overlap
from utils.tasks.pixels.classical import draw_pixels, fit_pixel_forest
from utils.tasks.pixels.figures import error_map, paint_binary_errors, paint_class_errors
from utils.tasks.pixels.predict import Segmenter
from utils.tasks.pixels.train import LOSSES, pixel_class_weights, segmentation_loss
from utils.tasks.registry import UNET

CLASSES = [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(["ground", "a", "b"])]


def ids(rng, shape=(24, 30), classes=3):
    """Class ids of which the right half is ignored, and the left half alone."""
    left = rng.integers(0, classes, (*shape[:-1], shape[-1] // 2)).astype(np.int16)
    return np.concatenate([left, np.full_like(left, IGNORED)], axis=-1), left


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_that_of_the_pixels_that_count(loss):
    rng, weights = np.random.default_rng(0), [0.5, 1.5, 2.0]
    truth, left = ids(rng, (2, 16, 20))
    logits = rng.normal(0, 2, (*truth.shape, 3)).astype(np.float32)
    found = float(segmentation_loss(loss, weights)(truth, logits))
    assert found == pytest.approx(float(segmentation_loss(loss, weights)(left, logits[:, :, :10])), rel=1e-5)
    logits[truth == IGNORED] = 1e3 * rng.normal(0, 1, (np.count_nonzero(truth == IGNORED), 3))
    assert found == pytest.approx(float(segmentation_loss(loss, weights)(truth, logits)), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_in_which_nothing_counts_has_no_loss(loss):
    truth = np.full((2, 8, 8), IGNORED, np.int16)
    assert float(segmentation_loss(loss, [1.0, 1.0])(truth, np.ones((2, 8, 8, 2), np.float32))) == 0


def test_weights_counts_and_thresholds_are_those_of_the_pixels_that_count():
    rng = np.random.default_rng(1)
    for _ in range(10):
        truth, left = ids(rng)
        answer = rng.integers(0, 3, truth.shape).astype(np.uint8)
        np.testing.assert_array_equal(pixel_class_weights([truth], 3), pixel_class_weights([left], 3))
        np.testing.assert_array_equal(confusion_matrix(truth, answer, 3), confusion_matrix(left, answer[:, :15], 3))
        whole, part = (pixel_scores([("x", "x", t, a)], CLASSES) for t, a in ((truth, answer), (left, answer[:, :15])))
        assert whole.totals == part.totals
        pd.testing.assert_frame_equal(whole.per_image, part.per_image)
        p = rng.random(truth.shape).astype(np.float32)
        assert best_threshold([(truth, p)]) == best_threshold([(left, p[:, :15])])
    with pytest.raises(ValueError, match="class ids"):
        confusion_matrix(np.array([[-2, 0]]), np.array([[0, 0]]), 3)
    with pytest.raises(ValueError, match="class ids"):  # a model answers for every pixel
        confusion_matrix(np.array([[0, 0]]), np.array([[-1, 0]]), 3)


def example(mask, name="x", group="x"):
    image = SimpleNamespace(array=np.where(mask > 0, 200, 50).astype(np.uint8)[..., None], pixel_size_um=None)
    return SimpleNamespace(name=name, group=group, mask=mask, image=image)


def half_ignored(n=4, side=64):
    """Examples with one object in the left half; the right half is ignored and as bright as an object."""
    found = []
    for i in range(n):
        mask = np.zeros((side, side), np.int16)
        mask[10 + i : 30 + i, 5:25] = 1
        one = example(mask, f"{i}", f"{i}")
        mask[:, side // 2 :] = IGNORED
        one.image.array[:, side // 2 :] = 200
        found.append(one)
    return found


def test_shares_and_fingerprints():
    examples = half_ignored()
    assert image_features(examples)["foreground share"].tolist() == [400 / (64 * 32)] * 4
    shares = class_shares(SimpleNamespace(examples=examples, classes=CLASSES[:2]), ["training"] * 4)
    assert shares["pixels"].tolist() == [4 * (64 * 32 - 400), 1600]
    assert shares["share"].sum() == pytest.approx(1)
    found = fingerprint(examples, objects=False)
    assert found["foreground_share"] == [round(400 / 2048, 5)] * 3
    assert (found["objects"], found["touching_share"]) == (4, 0)
    assert fingerprint(examples, objects=True) == found
    plain = {"kind": "percentile", "low": 0, "high": 100, "per": "image", "channels": "separate"}
    assert told_by_brightness(examples, False, plain) > 0.9  # the ignored half would make brightness tell nothing


def test_opponents_learn_from_the_pixels_that_count():
    examples = half_ignored()
    x, y, area = draw_pixels(examples)
    assert set(y.tolist()) == {0, 1}
    assert area.sum() == pytest.approx(len(examples))
    share = area[y == 1].sum() / area.sum()
    assert share == pytest.approx(400 / 2048)
    assert set(np.unique(fit_pixel_forest(examples, CLASSES[:2]).class_ids(examples[0].image.array))) == {0, 1}
    found = [np.ones((64, 64), bool)] * 4
    assert mean_overlap(found, [one.mask for one in examples]) == pytest.approx(400 / 2048)
    assert fit_otsu(examples, CLASSES[:2]).bright


def test_a_few_pixels_that_count_are_found_by_the_forest_and_by_patches():
    mask = np.full((900, 900), IGNORED, np.int16)
    mask[870, 20:30], mask[871, 20:30] = 1, 0
    y = draw_pixels([example(mask)])[1]
    assert sorted(set(y.tolist())) == [0, 1]
    for seed in range(10):
        top, left = draw_position(mask, (64, 64), 0.02, np.random.default_rng(seed))
        assert counted(mask[top : top + 64, left : left + 64]).any()


def test_the_share_of_foreground_of_a_patch_is_that_of_the_pixels_that_count():
    mask = np.full((64, 64), IGNORED, np.int16)
    mask[:, :30] = 0
    mask[:32, :30] = 1
    for seed in range(20):
        y, x = draw_position(mask, (16, 16), 0.5, np.random.default_rng(seed))
        window = mask[y : y + 16, x : x + 16]
        assert (window > 0).sum() >= 0.5 * counted(window).sum() > 0


def test_positions_of_masks_in_which_all_counts_stay_as_they_were():
    mask = np.zeros((64, 64), np.uint8)
    mask[40:] = 1
    for seed in range(10):
        plain = draw_position(mask, (16, 16), 0.3, np.random.default_rng(seed))
        assert plain == draw_position(mask.astype(np.int16), (16, 16), 0.3, np.random.default_rng(seed))


def test_patches_keep_what_is_ignored_through_every_turn_and_zoom():
    rng, changes = np.random.default_rng(0), Augmentation(flip=True, rotate_90=True, rotation=90, zoom=30)
    one = half_ignored()[0]
    for _ in range(10):
        image, mask = draw_patch(one.image.array, one.mask, np.zeros(1), np.ones(1), (32, 32), 0, changes, rng)
        assert mask.dtype == np.int16
        assert set(np.unique(mask)) <= {IGNORED, 0, 1}
        assert (image[mask == IGNORED] > 100).mean() > 0.9  # that half is bright


def test_a_turn_leaves_something_that_counts():
    mask, changes = np.full((64, 64), IGNORED, np.int16), Augmentation(rotation=180, zoom=50)
    mask[0, 0] = 1
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = draw_patch(np.zeros((64, 64, 1), np.uint8), mask, np.zeros(1), np.ones(1), (32, 32), 0, changes, rng)[1]
        assert counted(found).any()


def test_batches_have_no_patch_in_which_nothing_counts():
    examples = half_ignored()
    data = [Source(one.image.array, one.mask, np.zeros(1), np.ones(1)) for one in examples]
    for batches in (TrainingPatches(data, (16, 16), 2, 6, 0, Augmentation(), 0), ValidationPatches(data, (16, 16), 2)):
        for step in range(len(batches)):
            assert all(counted(mask).any() for mask in batches[step][1])
    assert len(ValidationPatches(data, (32, 32), 2).places) == 2 * len(data)
    full = [replace(one, mask=np.zeros((640, 640), np.uint8)) for one in data]
    half = [replace(one, mask=np.where(np.arange(640) < 320, 0, IGNORED) * np.ones((640, 1), int)) for one in data]
    assert automatic_steps(full, (64, 64), 2) == 200
    assert automatic_steps(half, (64, 64), 2) == 100


def test_pictures_of_errors_leave_it_out():
    truth = np.array([[1, 0, IGNORED, IGNORED]], np.int16)
    answer = np.array([[1, 1, 1, 0]], np.uint8)
    picture = np.ones((1, 4, 3), np.float32)
    legend = paint_binary_errors(picture, truth > 0, answer > 0, counted(truth))
    assert "does not count" in legend
    np.testing.assert_array_equal(picture[0, 2], picture[0, 3])
    assert not (picture[0, 1] == picture[0, 2]).all()
    assert "ground called a (50.0 %)" in paint_class_errors(picture, truth, answer, ["ground", "a", "b"])
    image = np.zeros((8, 8, 1), np.uint8)
    mask = np.full((8, 8), IGNORED, np.int16)
    mask[:4] = 2
    for classes in (CLASSES[:2], CLASSES):
        figure = error_map(image, np.minimum(mask, len(classes) - 1), np.zeros((8, 8), np.uint8), classes)
    assert figure.legends[-1].get_title().get_text() == "Mistakes (share of what was annotated)"


def test_an_ignored_value_from_files_to_scores(tmp_path):
    """A network that is not trained will do: what is ignored is in no score and in no share."""
    source = write_data(tmp_path / "data")
    for file in (source / "masks").iterdir():
        mask = read_mask(file) // 255
        mask[:, :20] = 255
        write_tiff(file, mask)
    forms = parameters(source, tmp_path, data={"ignore_value": "255"})["overrides"]
    project = UNET.open(forms["data"])
    assert [one["value"] for one in project.dataset.classes] == [0, 1]
    description = UNET.describe(project, forms["training"])
    assert description["ignore_value"] == "255"
    test_set = choose_test_set(UNET, project.split, forms["data"], description)
    predictor = Segmenter(UNET.untrained(description), description)
    result = UNET.evaluation(predictor, test_set)
    one, row = test_set.examples[0], result.scores.per_image.iloc[0]
    known, predicted = counted(one.mask), predictor.class_ids(one.image.array)
    assert known.sum() == 64 * 44
    assert row["true_share_foreground"] == pytest.approx((one.mask > 0).sum() / known.sum())
    assert row["predicted_share_foreground"] == pytest.approx((predicted[known] > 0).sum() / known.sum())
    expected = foreground_iou_from_confusion(confusion_matrix(one.mask[:, 20:].astype(int), predicted[:, 20:], 2))
    assert row["foreground_iou"] == pytest.approx(float(expected))


def test_a_description_of_earlier_software_ignores_nothing(tmp_path):
    source = write_data(tmp_path / "data", n=2)
    description = {"mask_type": "binary", "classes": [CLASSES[0], CLASSES[1] | {"value": 255}]}
    data = {"axes": "automatic", "group_rule": ""}
    examples = UNET.read(source / "images", source / "masks", data, description).examples
    assert [one.mask.dtype for one in examples] == [np.uint8] * 2
