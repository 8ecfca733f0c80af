"""Batches in which rare classes are as often as the others."""

import numpy as np
import pytest

from utils.images.masks import IGNORED
from utils.patching.augmentation import Augmentation
from utils.patching.batches import Source, TrainingPatches, ValidationPatches
from utils.patching.patches import draw_around


def balanced(masks, **changes):
    pixels = [np.zeros((*mask.shape, 1), np.uint8) for mask in masks]
    data = [Source(image, mask, np.zeros(1), np.ones(1)) for image, mask in zip(pixels, masks, strict=True)]
    given = {"patch": (8, 8), "batch_size": 8, "steps": 1, "min_fraction": 0, "augmentation": Augmentation(), "seed": 0}
    return TrainingPatches(data, **(given | changes), balanced=True)


def test_keras_never_has_a_single_thread_make_batches():
    """It would wait at the end of each round: there were 5 s for one of 14 s."""
    training = balanced([np.zeros((16, 16), np.int16)])
    for data in (training, ValidationPatches(training.sources, (8, 8), 2)):
        assert data.workers > 1


def test_a_class_of_few_pixels_is_in_as_many_patches_as_the_others():
    common, rare, bare = (np.full((64, 64), value, np.int16) for value in (0, 0, IGNORED))
    common[:, :32] = IGNORED
    rare[5, 60] = 2  # 1 pixel of 10,000, and no pixel of class 1 at all
    bare[3, 3] = 1
    data = balanced([common, rare, bare], batch_size=600)
    _, masks = data[0]
    shares = [(masks == value).any(axis=(1, 2)).mean() for value in (1, 2)]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    assert (masks != IGNORED).any(axis=(1, 2)).all()


def test_every_batch_holds_all_classes():
    mask = np.zeros((64, 64), np.int16)
    mask[:3, :3], mask[60:, 60:] = 1, 2
    data = balanced([mask, mask], batch_size=3, steps=20)
    for step in range(20):
        assert set(np.unique(data[step][1])) == {0, 1, 2}


def test_a_class_that_is_in_no_mask_is_not_drawn():
    mask = np.zeros((16, 16), np.int16)
    mask[0, 0] = 3
    assert set(balanced([mask]).probability) == {0, 3}


def test_balanced_batches_depend_on_seed_epoch_and_step_only():
    mask = np.random.default_rng(1).integers(-1, 3, (40, 48)).astype(np.int16)
    first, again = (balanced([mask, mask.T], steps=2) for _ in range(2))
    np.testing.assert_array_equal(first[1][1], again[1][1])
    again.epoch = 1
    assert (first[1][1] != again[1][1]).any()


@pytest.mark.parametrize("seed", range(20))
def test_a_patch_around_wanted_pixels_lies_in_the_image_and_holds_one(seed):
    rng = np.random.default_rng(seed)
    shape, patch = rng.integers(8, 40, 2), rng.integers(1, 9, 2)
    wanted = rng.random(shape) < 0.01
    wanted[tuple(rng.integers(0, shape))] = True
    for _ in range(20):
        y, x = draw_around(wanted, tuple(patch), rng)
        window = wanted[y : y + patch[0], x : x + patch[1]]
        assert (window.shape == patch).all()
        assert window.any()


def test_the_pixel_that_a_patch_lies_around_is_anywhere_in_it():
    wanted = np.zeros((64, 64), bool)
    wanted[30, 33] = True
    places = [draw_around(wanted, (8, 8), np.random.default_rng(i)) for i in range(300)]
    assert {30 - y for y, _ in places} == {33 - x for _, x in places} == set(range(8))
