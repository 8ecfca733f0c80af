"""Pixels that are ignored belong to no object and no background: StarDist neither learns nor is scored there."""

from types import SimpleNamespace

import numpy as np
import pytest
from stardist.models import Config2D

from utils.images.masks import IGNORED
from utils.metrics.objects import kinds_of_objects, object_scores, where_counted
from utils.tasks.objects.checks import object_problems, object_sizes, size_problems, unlabelled
from utils.tasks.objects.classical import median_diameter, pooled_ap
from utils.tasks.objects.figures import object_errors, objects_before_after, show_objects
from utils.tasks.objects.network import targets
from utils.tasks.objects.train import _blind_where_ignored


def scene():
    """Labels with two objects and an ignored stripe of 20 columns; predictions: right, false, inside, half inside."""
    true, pred = np.zeros((60, 80), np.int32), np.zeros((60, 80), np.int32)
    true[5:15, 5:15], true[30:40, 5:15], true[:, 60:] = 1, 2, IGNORED
    pred[5:15, 5:15] = 1  # right
    pred[20:28, 30:38] = 2  # false
    pred[5:15, 65:75] = 3  # inside what is ignored
    pred[30:40, 57:67] = 4  # most of it there
    pred[45:55, 52:62] = 5  # a fifth of it there
    return true, pred


def scores(true, pred):
    return object_scores([("x", "x", true, pred, None, None)]).per_image.iloc[0]


def test_objects_mostly_in_what_is_ignored_are_neither_true_nor_false():
    true, pred = scene()
    row = scores(true, pred)
    assert (row["true objects"], row["predicted objects"]) == (2, 3)
    assert row["AP"] == pytest.approx(1 / (1 + 2 + 1))
    kinds = kinds_of_objects(true, pred)
    assert kinds.true == {1: "matched", 2: "missed"}
    assert kinds.predicted == {1: "matched", 2: "false", 5: "false"}
    assert pooled_ap([pred], [true]) == pytest.approx(1 / 4)


def test_what_is_predicted_there_changes_nothing():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true, pred = scene()
        before = scores(true, pred)
        y, x = rng.integers(0, 50), rng.integers(61, 70)
        pred[y : y + 8, x : x + 8] = 9
        assert scores(true, pred).equals(before)


def test_an_object_cut_by_what_is_ignored_is_compared_by_what_counts():
    true, pred = np.zeros((40, 40), np.int32), np.zeros((40, 40), np.int32)
    true[10:20, 10:20], pred[10:20, 10:28] = 1, 1
    assert scores(true, pred)["PQ"] < 0.6
    true[:, 20:] = IGNORED
    assert scores(true, pred)["PQ"] == 1


def test_an_object_of_class_0_is_no_object_that_does_not_count():
    true, pred = scene()
    classes = [{"id": 0, "name": "background"}, {"id": 1, "name": "a"}]
    with pytest.raises(ValueError, match="background"):
        object_scores([("x", "x", true, pred, {1: 0, 2: 1}, dict.fromkeys(range(1, 6), 1))], classes)


def test_plain_labels_are_left_as_they_are():
    true, pred = scene()
    plain = np.maximum(true, 0).astype(np.uint16)
    assert where_counted(plain, pred)[0] is plain
    with pytest.raises(ValueError):
        object_scores([("x", "x", plain[:5], pred, None, None)])


def test_targets_of_stardist_disable_its_losses_there():
    labels = np.stack([scene()[0][:56, :80]] * 2)
    images = np.zeros((*labels.shape, 1), np.float32)
    config = Config2D(n_rays=8, grid=(2, 2), n_channel_in=1, train_patch_size=labels.shape[1:])
    _, (probability, distances) = targets(images, labels, config, [None, None])
    ignored = labels[:, ::2, ::2] == IGNORED
    np.testing.assert_array_equal(probability[..., 0] == -1, ignored)
    assert (distances[..., -1][ignored] == 0).all()  # the weight of the distances
    plain = targets(images, np.maximum(labels, 0), config, [None, None])[1]
    np.testing.assert_array_equal(probability[..., 0][~ignored], plain[0][..., 0][~ignored])


def test_thresholds_are_chosen_with_nothing_found_there():
    masks = [scene()[0], np.zeros((61, 81), np.uint16)]
    model = SimpleNamespace(config=SimpleNamespace(grid=(2, 2)))
    model.predict = lambda image, **_: (np.ones(np.ceil(np.array(image.shape) / 2).astype(int)), "distances")
    with _blind_where_ignored(model, masks):
        for mask in masks:
            probability, distances = model.predict(mask)
            np.testing.assert_array_equal(probability, mask[::2, ::2] != IGNORED)
            assert distances == "distances"


def example(mask):
    rng = np.random.default_rng(0)
    array = (np.where(mask > 0, 150, 20) + rng.integers(0, 10, mask.shape)).astype(np.uint8)[..., None]
    image = SimpleNamespace(array=array, pixel_size_um=None)
    return SimpleNamespace(name="x", group="x", mask=mask, image=image, mask_path="x.tif", object_classes=None)


def test_checks_and_figures_know_it():
    mask = np.zeros((120, 160), np.int32)
    for i, (y, x) in enumerate((y, x) for y in (10, 40, 70) for x in (10, 40, 70)):
        mask[y : y + 12, x : x + 12] = i + 1
    one = example(mask)
    one.image.array[20:32, 130:142] = 200
    assert len(unlabelled(one.image.array, mask)) == 1
    mask[:, 110:] = IGNORED
    mask[45:48, 45:48] = IGNORED  # no hole
    assert len(unlabelled(one.image.array, mask)) == 0
    assert object_problems([one]) == []
    assert object_sizes([one])["objects"].tolist() == [9]
    assert size_problems([one], (64, 64), (60, 60), 1) == []
    assert median_diameter([mask]) == pytest.approx(np.sqrt(4 / np.pi * 144))
    pred = np.where(mask > 0, mask, 0)
    pred[90:110, 120:140] = 4000  # only there: its number is in no list of kinds
    show_objects([one])
    object_errors(one.image.array, mask, pred)
    objects_before_after([one], {"model": [pred]})
