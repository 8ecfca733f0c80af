"""Laws of the normalisation: few objects keep their contrast, noise alone stays faint, one range serves all images."""

import numpy as np
import pytest
from scipy.ndimage import median_filter

from utils.images.normalise import (
    CHUNK,
    EACH_IMAGE,
    LEAST_RANGE,
    NORMALISATION,
    TOGETHER,
    _Values,
    noise_level,
    normalisation_of,
    normalisation_range,
    normalise,
    percentiles,
    signal_range,
)


def noisy(rng, sigma: float, level: float = 500.0, side: int = 128) -> np.ndarray:
    return rng.normal(level, sigma, (side, side, 1))


def normalised(image: np.ndarray) -> np.ndarray:
    return normalise(image, *signal_range(image, 1, 99.8))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("sigma", [1, 4, 20, 60])
def test_a_lone_bright_object_on_noise_of_any_level_keeps_its_contrast(dtype, sigma):
    """An object of 0.05 % of the area, 20 times brighter than the noise, is about 1 and the noise is faint."""
    rng = np.random.default_rng(sigma)
    for _ in range(10):
        image = noisy(rng, sigma, level=2000, side=256)
        y, x = rng.integers(10, 240, 2)
        image[y : y + 6, x : x + 6] += 20 * sigma  # 36 of 65,536 pixels
        found = normalised(image.clip(0, 65535).astype(dtype))
        inside = found[y + 1 : y + 5, x + 1 : x + 5]
        assert 0.7 < inside.mean() < 1.3
        found[y : y + 6, x : x + 6] = np.nan
        assert np.nanstd(found) < 0.08
        assert np.nanmean(found) < 0.25


def test_what_the_percentile_of_all_pixels_did_to_a_lone_object():
    rng = np.random.default_rng(0)
    image = noisy(rng, 4, side=256)
    image[50:56, 50:56] += 80
    old = normalise(image, *percentiles(image, 1, 99.8))
    assert old[52, 52, 0] > 3, "the object lay far outside the range"
    assert old.std() > 0.15, "and noise filled it"


@pytest.mark.parametrize("sigma", [0.5, 3, 30])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_noise_alone_is_never_stretched(dtype, sigma):
    image = noisy(np.random.default_rng(1), sigma, level=100).clip(0, 255).astype(dtype)
    assert normalised(image).std() < 0.08


def test_hot_pixels_are_no_objects():
    rng = np.random.default_rng(2)
    image = noisy(rng, 3, side=128)
    image[40:60, 40:60] += 100
    expected = signal_range(image, 1, 99.8)
    image[rng.integers(0, 30, 8), rng.integers(70, 128, 8)] = 60_000
    np.testing.assert_allclose(signal_range(image, 1, 99.8), expected, rtol=0.02)


def test_dense_images_keep_the_percentile_of_all_pixels():
    """From a tenth of signal on, the upper percentile is that of the image after the median filter."""
    image = np.random.default_rng(3).uniform(0, 10_000, (200, 200, 1)).astype(np.uint16)
    smooth = median_filter(image[..., 0], 3, mode="nearest")
    image[..., 0] = np.repeat(np.repeat(smooth[::4, ::4], 4, axis=0), 4, axis=1)[:200, :200]  # objects, no noise
    smooth = median_filter(image[..., 0], 3, mode="nearest")
    np.testing.assert_allclose(np.ravel(signal_range(image, 1, 99.8)), np.percentile(smooth, (1, 99.8)), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_an_even_or_saturated_image_has_a_range(value):
    image = np.full((40, 40, 2), value, np.uint8)
    low, high = signal_range(image, 1, 99.8)
    assert (low == value).all()
    assert (high > low).all()
    assert (normalise(image, low, high) == 0).all()


def test_an_image_with_half_of_its_pixels_saturated():
    image = np.random.default_rng(4).normal(20, 2, (64, 64, 1)).clip(0, 255).astype(np.uint8)
    image[:32] = 255
    found = normalised(image)
    np.testing.assert_allclose(found[:31], 1, atol=0.01)
    assert found[33:].mean() < 0.05


@pytest.mark.parametrize("sigma", [2, 10, 50])
def test_noise_level_is_that_of_the_noise(sigma):
    rng = np.random.default_rng(sigma)
    plane = noisy(rng, sigma, level=1000)[..., 0]
    plane[20:60, 20:60] += 1000
    assert noise_level(plane) == pytest.approx(sigma, rel=0.05)
    assert noise_level(plane.round().astype(np.uint16)) == pytest.approx(sigma, rel=0.08)
    assert noise_level(np.full((5, 5), 3, np.uint8)) == pytest.approx(12**-0.5)
    assert noise_level(np.full((5, 1), 3.0)) == 0


def test_bands_of_a_large_image_are_filtered_as_the_whole():
    plane = np.random.default_rng(5).integers(0, 60_000, (5, CHUNK // 2 + 3)).astype(np.uint16)  # 3 bands
    found, expected = _Values(plane, smooth=True), median_filter(plane, 3, mode="nearest")
    q = (0, 1, 25, 50, 99.8, 100)
    np.testing.assert_allclose(found.at(q), np.percentile(expected, q), rtol=1e-9)
    for value in (0.0, 1234.5, 30_000.0, 60_000.0):
        assert found.share_above(value) == pytest.approx((expected > value).mean(), abs=1e-12)


def test_one_range_for_all_images():
    rng = np.random.default_rng(6)
    arrays = [rng.integers(0, top, (30, 40, 3)).astype(np.uint8) for top in (100, 200, 250)]
    separate, joint = (normalisation_of(arrays, TOGETHER, joint) for joint in (False, True))
    pixels = np.concatenate([one.reshape(-1, 3) for one in arrays])
    np.testing.assert_allclose(separate["range"], np.percentile(pixels, (1, 99.8), axis=0), rtol=1e-6)
    low, high = normalisation_range(arrays[0], joint)
    assert (low == min(separate["range"][0])).all()
    assert (high == max(separate["range"][1])).all()
    assert joint["channels"] == "joint"
    assert normalisation_range(arrays[0], joint)[1][0] == normalisation_range(arrays[2], joint)[1][0]


def test_each_image_gives_equally_many_pixels_to_the_common_range():
    small, large = np.zeros((300, 300, 1), np.uint8), np.full((1000, 1000, 1), 200, np.uint8)
    large[:500] = 100
    found = normalisation_of([small, large], TOGETHER)
    assert found["range"] == [[0.0], [200.0]], "a twelfth of the pixels would be below the first percentile otherwise"


def test_each_image_has_its_own_range_unless_the_model_is_an_earlier_one():
    image = noisy(np.random.default_rng(7), 5)
    own = normalisation_range(image, normalisation_of([image], EACH_IMAGE))
    np.testing.assert_array_equal(own, signal_range(image, 1, 99.8))
    np.testing.assert_array_equal(normalisation_range(image, NORMALISATION), percentiles(image, 1, 99.8))
    assert own[1] - own[0] >= 0.98 * LEAST_RANGE * 5
