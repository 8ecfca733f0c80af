"""Whole small images: brought to one size and range, drawn in an order that only the seed and the epoch decide."""

import numpy as np
import pytest

from utils.patching.augmentation import Augmentation, draw_image
from utils.tasks.classes.batches import TrainingCrops, ValidationCrops, class_weights, fitted, prepared

NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


class TestFitted:
    def test_cutting_undoes_padding(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            y, x, more_y, more_x = rng.integers(1, 40, 4)
            image = rng.integers(0, 255, (y, x, 2), np.uint8)
            large = fitted(image, (y + more_y, x + more_x), "pad")
            assert large.shape == (y + more_y, x + more_x, 2)
            assert large.dtype == image.dtype
            np.testing.assert_array_equal(large[more_y // 2 :][:y, more_x // 2 :][:, :x], image)

    def test_what_is_missing_is_the_median_of_the_border(self):
        image = np.full((4, 4, 1), 7, np.uint8)
        image[1:3, 1:3] = 200
        large = fitted(image, (8, 8), "pad")
        assert (large[:2] == 7).all()
        assert large.sum() == image.sum() + 7 * 48

    def test_a_large_image_keeps_its_middle(self):
        image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1)
        np.testing.assert_array_equal(fitted(image, (4, 20), "pad")[:, 5:15], image[3:7])

    def test_resizing_keeps_range_and_place(self):
        image = np.zeros((10, 20, 1), np.uint8)
        image[:, 10:] = 100
        small = fitted(image, (5, 10), "resize")
        assert small.shape == (5, 10, 1)
        np.testing.assert_allclose(small[:, :4], 0, atol=2)
        np.testing.assert_allclose(small[:, 6:], 100, atol=2)

    @pytest.mark.parametrize("fit", ["pad", "resize"])
    def test_the_right_size_is_left_alone(self, fit):
        image = np.zeros((5, 6, 1), np.uint16)
        assert fitted(image, (5, 6), fit) is image


class TestPrepared:
    def test_each_image_has_its_own_range(self):
        image = np.arange(1000, 1400, dtype=np.uint16).reshape(20, 20, 1)
        description = {"normalisation": NORMALISATION, "input": {"size": [20, 20], "fit": "pad"}}
        one, brighter = prepared(image, description), prepared(3 * image, description)
        np.testing.assert_allclose(one, brighter, atol=1e-5)
        assert np.percentile(one, [1, 99.8]) == pytest.approx([0, 1], abs=1e-5)

    def test_one_range_for_all_keeps_brightness(self):
        normalisation = NORMALISATION | {"per": "training set", "range": [[100.0], [300.0]]}
        description = {"normalisation": normalisation, "input": {"size": [2, 2], "fit": "pad"}}
        np.testing.assert_allclose(prepared(np.full((2, 2, 1), 200, np.uint8), description), 0.5)
        np.testing.assert_allclose(prepared(np.full((2, 2, 1), 400, np.uint16), description), 1.5)


class TestBatches:
    def crops(self, **changes):
        images = np.random.default_rng(0).random((10, 8, 8, 1)).astype(np.float32)
        given = {"batch_size": 4, "steps": 5, "augmentation": Augmentation(), "seed": 0} | changes
        return images, TrainingCrops(images, np.arange(10) % 3, [1.0, 2.0, 4.0], **given)

    def test_every_image_is_seen_equally_often(self):
        _, batches = self.crops()
        assert np.bincount(batches.order(), minlength=10).tolist() == [2] * 10

    def test_an_image_keeps_its_class_and_weight(self):
        images, batches = self.crops()
        for step in range(5):
            drawn, class_ids, weights = batches[step]
            for one, class_id, weight in zip(drawn, class_ids, weights, strict=True):
                (index,) = np.flatnonzero((images == one).all(axis=(1, 2, 3)))
                assert (class_id, weight) == (index % 3, 2.0 ** (index % 3))

    def test_an_epoch_depends_on_seed_and_epoch_only(self):
        augmentation = Augmentation(flip=True, rotation=30, intensity=20)
        first, again = (self.crops(augmentation=augmentation)[1] for _ in range(2))
        np.testing.assert_array_equal(first[2][0], again[2][0])
        again.epoch = 1
        assert (first[2][0] != again[2][0]).any()
        assert (self.crops(augmentation=augmentation, seed=1)[1][2][0] != first[2][0]).any()

    def test_validation_is_in_order_and_complete(self):
        images, _ = self.crops()
        batches = ValidationCrops(images, np.arange(10) % 3, np.ones(3), 4)
        parts = [batches[i] for i in range(len(batches))]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), np.arange(10) % 3)


class TestWeights:
    @pytest.mark.parametrize("balance", ["balanced", "square root", "none"])
    def test_mean_over_images_is_1(self, balance):
        rng = np.random.default_rng(0)
        for _ in range(20):
            class_ids = rng.integers(0, 5, rng.integers(5, 200))
            weights = class_weights(class_ids, 6, balance)
            assert weights[class_ids].mean() == pytest.approx(1, rel=1e-5)
            assert np.isfinite(weights).all()

    def test_by_hand(self):
        class_ids = [0] * 9 + [1]
        np.testing.assert_allclose(class_weights(class_ids, 2, "balanced"), [10 / 18, 5], rtol=1e-6)
        np.testing.assert_allclose(class_weights(class_ids, 2, "square root"), [10 / 12, 2.5], rtol=1e-6)
        np.testing.assert_allclose(class_weights(class_ids, 2, "none"), [1, 1])


class TestDrawImage:
    IMAGE = np.random.default_rng(1).random((12, 12, 2)).astype(np.float32)

    def test_nothing_asked_for_changes_nothing(self):
        np.testing.assert_array_equal(draw_image(self.IMAGE, Augmentation(), np.random.default_rng(0)), self.IMAGE)

    def test_flips_and_turns_only_move_pixels(self):
        for seed in range(20):
            drawn = draw_image(self.IMAGE, Augmentation(flip=True, rotate_90=True), np.random.default_rng(seed))
            np.testing.assert_array_equal(np.sort(drawn.ravel()), np.sort(self.IMAGE.ravel()))

    def test_a_shift_moves_at_most_so_far(self):
        image = np.zeros((40, 40, 1), np.float32)
        image[20, 20] = 1
        places = []
        for seed in range(50):
            drawn = draw_image(image, Augmentation(shift=10), np.random.default_rng(seed))
            places.append(np.argwhere(drawn[..., 0] > 0.2).mean(axis=0) - 20)
        assert np.abs(places).max() <= 4.5
        assert np.abs(places).max() > 2
        assert abs(np.mean(places)) < 1
