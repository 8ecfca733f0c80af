"""Augmentation: masks keep their values and their place, images their depth, and nothing happens unasked."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import hed_from_rgb, rgb_from_hed

from utils.images.normalise import percentiles
from utils.patching.augmentation import Augmentation, _places, _warp, draw_patch, noise_alone

LOW, HIGH = np.zeros(1, np.float32), np.ones(1, np.float32)
GEOMETRY = {
    "flip": {"flip": True},
    "turn": {"rotate_90": True},
    "rotation": {"rotation": 30},
    "zoom": {"zoom": 40},
    "all": {"flip": True, "rotate_90": True, "rotation": 180, "zoom": 60},
}
EVERYTHING = Augmentation(True, True, rotation=90, zoom=50, intensity=30, blur=1, noise=10, stain=20)


def draw(image, mask, patch=(16, 16), seed=0, min_fraction=0.0, low=None, high=None, **settings):
    if low is None:
        low, high = np.zeros(image.shape[-1], np.float32), np.ones(image.shape[-1], np.float32)
    return draw_patch(
        image, mask, low, high, patch, min_fraction, Augmentation(**settings), np.random.default_rng(seed)
    )


def smooth_scene(rng, shape=(80, 70)):
    """Smooth random image (Y, X, 1), 0 to about 1, and a mask that is a function of it."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), 6, mode="mirror")
    image = ((field - field.min()) / np.ptp(field)).astype(np.float32)
    return image[..., None], np.digitize(image, [0.4, 0.6]).astype(np.uint8)


@pytest.mark.parametrize("patch", [(16, 16), (24, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_shapes_and_dtypes_whatever_the_settings(patch, dtype, channels):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (40, 30, channels)).astype(dtype)
    mask = rng.integers(0, 3, (40, 30)).astype(np.uint8)
    low, high = percentiles(image, 1, 99.8)
    for seed in range(10):
        for augmentation in (EVERYTHING, Augmentation()):
            values = draw_patch(image, mask, low, high, patch, 0.1, augmentation, np.random.default_rng(seed))
            assert values[0].shape == (*patch, channels)
            assert values[0].dtype == np.float32
            assert np.isfinite(values[0]).all()
            assert values[1].shape == patch
            assert values[1].dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_masks_never_get_new_values(dtype):
    rng = np.random.default_rng(0)
    values = np.array([0, 7, 100, 255], dtype)  # interpolation between any two of them would show
    mask = values[rng.integers(0, 4, (60, 50))]
    image = rng.integers(0, 256, (60, 50, 1)).astype(np.uint8)
    seen = set()
    for seed in range(40):
        _, drawn = draw_patch(image, mask, LOW, HIGH, (24, 16), 0, EVERYTHING, np.random.default_rng(seed))
        assert drawn.dtype == dtype
        seen |= set(np.unique(drawn).tolist())
    assert seen == set(values.tolist())


@pytest.mark.parametrize("value", [0, 1, 5])
def test_a_mask_of_one_value_stays_so(value):
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 1)).astype(np.uint8)
    mask = np.full((40, 40), value, np.uint8)
    for seed in range(20):  # zooming out and rotating look beyond the border
        _, drawn = draw_patch(image, mask, LOW, HIGH, (40, 40), 0.02, EVERYTHING, np.random.default_rng(seed))
        assert (drawn == value).all()


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("patch", [(32, 32), (48, 20), (80, 70)])
def test_image_and_mask_stay_aligned(name, patch):
    rng = np.random.default_rng(1)
    image, mask = smooth_scene(rng)
    for seed in range(15):
        drawn, drawn_mask = draw(image, mask, patch, seed, **GEOMETRY[name])
        # away from class borders the mask must still be that function of the image
        clear = np.abs(drawn[..., 0, None] - [0.4, 0.6]).min(axis=-1) > 0.04
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(np.digitize(drawn[..., 0], [0.4, 0.6])[clear], drawn_mask[clear])


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("patch", [(16, 16), (24, 8)])
def test_each_change_happens(name, patch):
    image, mask = smooth_scene(np.random.default_rng(2), patch)  # the patch is the image: without change nothing moves
    changed = {draw(image, mask, patch, seed, **GEOMETRY[name])[0].tobytes() for seed in range(40)}
    expected = {"flip": 4, "turn": 4 if patch == (16, 16) else 2}.get(name)
    assert len(changed) == expected if expected else len(changed) > 30


def test_flips_and_turns_only_move_pixels():
    image = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16, 1)
    mask = (image[..., 0] % 5).astype(np.uint8)
    for seed in range(20):
        drawn, drawn_mask = draw(image, mask, seed=seed, flip=True, rotate_90=True)
        np.testing.assert_array_equal(np.sort(drawn.ravel()), np.sort(image.ravel()))
        np.testing.assert_array_equal(drawn[..., 0] % 5, drawn_mask)


def test_zoom_and_rotation_keep_to_their_limits():
    # distances from the middle of the patch: a zoom by s divides them by s, a rotation keeps them
    y, x = np.mgrid[:65, :65] - 32.0
    field = np.stack([y, x], axis=-1).astype(np.float32)
    mask = np.zeros((65, 65), np.uint8)
    scales, angles = [], []
    for seed in range(200):
        drawn, _ = draw(field, mask, (65, 65), seed, rotation=20, zoom=25)
        dy = drawn[33, 32] - drawn[32, 32]  # where one step down in the patch leads in the image
        scales.append(1 / np.hypot(*dy))
        angles.append(np.degrees(np.arctan2(dy[1], dy[0])))
        np.testing.assert_allclose(drawn[32, 32], 0, atol=1e-4)  # the middle stays
    assert 1 / 1.25 - 1e-3 <= min(scales) < 0.85
    assert 1.18 < max(scales) <= 1.25 + 1e-3
    assert -20.01 <= min(angles) < -15
    assert 15 < max(angles) <= 20.01
    assert abs(np.mean(np.log(scales))) < 0.05  # as often larger as smaller


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_patches_are_interpolated_as_scipy_does(dtype, channels):
    rng = np.random.default_rng(5)
    for _ in range(20):
        shape, patch = rng.integers(1, 50, 2), rng.integers(1, 50, 2)
        image = rng.uniform(0, 250, (*shape, channels)).astype(dtype)
        mask = rng.integers(-1, 4, shape)
        corner, changes = rng.integers(-20, 50, 2), Augmentation(rotation=180, zoom=60, shift=30)
        seed = rng.integers(1000)
        found = _warp(image, mask, corner, patch, changes, np.random.default_rng(seed))
        places = _places((10_000,) * 2, corner + 5_000, patch, changes, np.random.default_rng(seed))  # far inside
        places = np.stack(places) - 5_000
        for number in range(channels):
            expected = ndimage.map_coordinates(image[..., number], places, np.float64, order=1, mode="mirror")
            np.testing.assert_allclose(found[0][..., number], expected, rtol=1e-5, atol=1e-3)
        assert found[0].dtype == np.float32
        assert (found[1] == ndimage.map_coordinates(mask, places, order=0, mode="mirror")).mean() > 0.99


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_without_augmentation_a_patch_is_the_normalised_crop(dtype):
    rng = np.random.default_rng(0)
    image = (rng.normal(1, 0.2, (50, 40, 2)) * [50, 100]).clip(0, 250).astype(dtype)
    mask = rng.integers(0, 2, (50, 40)).astype(np.uint8)
    low, high = percentiles(image, 1, 99.8)
    whole = (image - low) / (high - low)  # as prediction does it: percentiles of the image, never of the patch
    for seed in range(10):
        drawn, drawn_mask = draw(image, mask, (20, 12), seed, low=low, high=high)
        places = [(y, x) for y in range(31) for x in range(29) if (mask[y : y + 20, x : x + 12] == drawn_mask).all()]
        ((y, x),) = places
        np.testing.assert_allclose(drawn, whole[y : y + 20, x : x + 12], rtol=1e-5, atol=1e-6)


def test_a_hot_pixel_does_not_change_the_rest_of_its_patch():
    image = np.random.default_rng(0).integers(100, 110, (32, 32, 1)).astype(np.uint16)
    hot = image.copy()
    hot[5, 5] = 65535
    mask, low, high = np.zeros((32, 32), np.uint8), np.float32([100]), np.float32([110])
    cold, warm = (draw(one, mask, (32, 32), low=low, high=high)[0] for one in (image, hot))
    assert len(np.unique(warm)) == 11  # ten grey levels and the pixel: nothing was squeezed
    assert (cold != warm).sum() == 1


@pytest.mark.parametrize("settings", [{}, {"flip": True, "rotate_90": True}, {"intensity": 20}])
def test_16_bits_stay_16_bits(settings):
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64, 1) + 20_000
    drawn, _ = draw(
        image, np.zeros((64, 64), np.uint8), (64, 64), low=np.float32([0]), high=np.float32([65535]), **settings
    )
    assert len(np.unique(drawn)) == 64 * 64


def test_drawing_is_deterministic_and_leaves_the_image_alone():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    mask = rng.integers(0, 3, (40, 40)).astype(np.uint8)
    before = image.copy(), mask.copy()
    low, high = percentiles(image, 1, 99.8)

    def once(seed):
        return draw_patch(image, mask, low, high, (24, 24), 0.1, EVERYTHING, np.random.default_rng(seed))

    for first, second in zip(once(5), once(5), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (once(5)[0] != once(6)[0]).any()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def flat_patches(settings, n=300, value=0.6, channels=1):
    image = np.full((20, 20, channels), value, np.float32)
    return np.stack([draw(image, np.zeros((20, 20), np.uint8), seed=seed, **settings)[0] for seed in range(n)])


def test_intensity_scales_and_shifts_within_its_limits():
    means = flat_patches({"intensity": 20}).reshape(300, -1)
    assert np.ptp(means, axis=1).max() < 1e-6  # one change for the whole patch
    lowest, highest = 0.6 * 0.8 - 0.1, 0.6 * 1.2 + 0.1
    assert lowest <= means.min() < lowest + 0.05
    assert highest - 0.05 < means.max() <= highest
    # contrast: difference of two pixels relative to before
    image = np.zeros((20, 20, 1), np.float32)
    image[::2] = 1
    mask = np.zeros((20, 20), np.uint8)
    contrast = [np.ptp(draw(image, mask, seed=seed, intensity=20)[0]) for seed in range(300)]
    assert 0.8 <= min(contrast) < 0.82
    assert 1.18 < max(contrast) <= 1.2001


def test_blur_stays_within_its_limit_and_within_the_channel():
    image = np.zeros((41, 41, 2), np.float32)
    image[20, 20, 0] = 1
    widths = []
    for seed in range(100):
        drawn, _ = draw(image, np.zeros((41, 41), np.uint8), (41, 41), seed, blur=2)
        assert (drawn[..., 1] == 0).all()
        assert drawn.sum() == pytest.approx(1, abs=1e-3)
        widths.append(np.sqrt((drawn[..., 0] * (np.arange(41) - 20)[:, None] ** 2).sum()))
    assert min(widths) < 0.3
    assert 1.8 < max(widths) <= 2.01


def test_noise_has_at_most_the_given_deviation_and_no_bias():
    patches = flat_patches({"noise": 10})
    deviations = patches.reshape(300, -1).std(axis=1)
    assert 0.09 < deviations.max() < 0.115  # limit 0.1, estimated from 256 pixels
    assert deviations.min() < 0.01
    assert patches.mean() == pytest.approx(0.6, abs=0.002)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_share_of_patches_without_any_object_is_the_one_given(channels):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 1, (40, 40, channels)).astype(np.float32)
    mask = np.ones((40, 40), np.uint8)
    drawn = [draw(image, mask, seed=seed, empty=30) for seed in range(300)]
    share = np.mean([not label.any() for _, label in drawn])
    assert share == pytest.approx(0.3, abs=0.08)
    assert {(one.shape, one.dtype, label.dtype.str) for one, label in drawn} == {
        ((16, 16, channels), np.dtype(np.float32), mask.dtype.str)
    }
    kept = [one for one, label in drawn if label.any()]
    assert all(one.min() >= 0 and one.max() <= 1 for one in kept), "the others show the image"


def test_noise_alone_is_faint_in_its_own_range():
    """White noise is below a fifth of the range (15 standard deviations are the least), smooth noise is stronger."""
    shown = [noise_alone((64, 64, 1), np.random.default_rng(seed)) for seed in range(40)]
    assert min(one.std() for one in shown) == pytest.approx(1 / 15, rel=0.15)
    assert all(-1 < one.min() < one.max() < 2 for one in shown)


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095), (np.float32, 1), (np.float32, 255)]
)
class TestStain:
    """The same slide in every number format: 8-bit, 16-bit, 12-bit kept in 16, floats from 0 to 1 and from 0 to 255."""

    def slide(self, dtype, white):
        """Random mixture of haematoxylin and eosin with glass in the first rows; (Y, X, 3)."""
        rng = np.random.default_rng(0)
        amounts = rng.uniform(0, 1.6, (48, 48, 3)) * [1, 1, 0]
        amounts[:8] = 0
        image = white * np.exp(-amounts @ rgb_from_hed)
        return image.round().astype(dtype) if np.dtype(dtype).kind == "u" else image.astype(dtype)

    def jittered(self, image, seed, stain=30):
        low, high = percentiles(image, 1, 99.8)
        drawn, _ = draw(image, np.zeros((48, 48), np.uint8), (48, 48), seed, low=low, high=high, stain=stain)
        return drawn * (high - low) + low

    def test_white_stays_white_and_the_rest_changes(self, dtype, white):
        image = self.slide(dtype, white)
        for seed in range(10):
            changed = self.jittered(image, seed) / white
            np.testing.assert_allclose(changed[:8], 1, atol=1e-3)
            assert 0.003 < np.abs(changed[8:] - image[8:] / white).mean() < 0.2

    def test_each_stain_is_scaled_by_one_factor(self, dtype, white):
        image = self.slide(dtype, white)
        before = -np.log(image[8:] / white) @ hed_from_rgb
        for seed in range(5):
            after = -np.log(self.jittered(image, seed)[8:] / white) @ hed_from_rgb
            for stain in (0, 1):
                strong = before[..., stain] > 0.3
                ratio = after[..., stain][strong] / before[..., stain][strong]
                assert 0.69 < np.median(ratio) < 1.31
                assert ratio.std() < 0.05

    def test_almost_no_jitter_is_almost_no_change(self, dtype, white):
        rng = np.random.default_rng(0)
        image = self.slide(dtype, white)
        # colours that no mixture of stains has, such as pigment, red blood or a grey fold, and black
        image[20:30] = (rng.random((10, 48, 3)) * white).astype(dtype)
        image[30:33], image[33:36] = 0, white // 2 if white > 1 else 0.5
        changed = self.jittered(image, 0, stain=1e-9)
        np.testing.assert_allclose(changed / white, image / white, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_stain_leaves_images_alone_that_are_not_rgb(channels):
    assert (flat_patches({"stain": 30}, n=5, channels=channels) == np.float32(0.6)).all()


def test_patches_hold_foreground_before_they_are_changed():
    mask = np.zeros((90, 90), np.uint8)
    mask[:, 60:] = 1
    image = mask[..., None]
    drawn = [
        draw(image, mask, (16, 16), seed, min_fraction=0.5, flip=True, rotate_90=True)[1].mean() for seed in range(50)
    ]
    assert min(drawn) >= 0.5
