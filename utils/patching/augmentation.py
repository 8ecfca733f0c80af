"""Random changes of training patches; the mask follows every change of shape by nearest neighbour."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.color import hed_from_rgb, rgb_from_hed

from utils.images.masks import counted
from utils.images.normalise import NORMALISATION, normalise, signal_range
from utils.patching.patches import draw_around, draw_position

FULL_SCALES = (1, 255, 1023, 4095, 16383, 65535)  # white in floats and in 8 to 16 bits, whatever the file's dtype
DARKEST = 1 / 255  # share of white below which there is no stain to tell, as in 8 bits
SMOOTHEST_NOISE = 2  # pixels, standard deviation of a Gaussian blur
DARK, NOISE = 1000, 100  # grey values of an image without objects: brightness and standard deviation


@dataclass(frozen=True)
class Augmentation:
    """How much training patches are changed; the defaults change nothing.

    Attributes
    ----------
    flip, rotate_90
        Mirror up-down or left-right; turn by a random multiple of 90 degrees (square patches; by 180 for others).
    rotation, zoom
        Largest free rotation to either side, degrees; largest enlargement or reduction, percent of the size.
    shift
        Largest shift along each axis, percent of the size; whole images only, patches lie at random anyway.
    intensity
        Largest change of contrast, percent, and of brightness, half of it in percent of the normalised range.
    blur, noise
        Largest standard deviation of a Gaussian blur, pixels, and of added Gaussian noise, percent of the normalised
        range.
    stain
        Largest change of each stain's amount, percent, RGB images only: colour deconvolution into haematoxylin, eosin
        and DAB, each scaled on its own (Tellez et al. 2018, doi:10.1109/TMI.2018.2820199).
    empty
        Share of patches, percent, that show an image without any object instead: noise alone, with an empty mask.
    """

    flip: bool = False
    rotate_90: bool = False
    rotation: float = 0
    zoom: float = 0
    shift: float = 0
    intensity: float = 0
    blur: float = 0
    noise: float = 0
    stain: float = 0
    empty: float = 0

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated (free rotation, zoom or shift)."""
        return self.rotation > 0 or self.zoom > 0 or self.shift > 0


def draw_patch(image, mask, low, high, patch, min_fraction, augmentation: Augmentation, rng, around=None):
    """Draw one augmented training patch, float32 (height, width, C) normalised, and its mask (height, width).

    `image` is (Y, X, C) as read, of any dtype, `mask` (Y, X) class ids or labels, whose dtype stays; `low` and `high`
    (C,) are the image-wide percentiles that become 0 and 1. `patch` is (height, width) in pixels, at most the image's
    size; `min_fraction` is the smallest share of foreground at the drawn position, unless the patch shall lie `around`
    a pixel of this value.
    """
    y, x = draw_position(mask, patch, min_fraction, rng) if around is None else draw_around(mask == around, patch, rng)
    warped = _warp(image, mask, (y, x), patch, augmentation, rng) if augmentation.warps else None
    if warped is not None and counted(warped[1]).any():
        image, mask = warped
    else:  # as it is also where the few pixels that count were turned out of the patch
        window = np.s_[y : y + patch[0], x : x + patch[1]]
        image, mask = image[window], mask[window]
    image, mask = _turn(image, mask, augmentation, rng)
    if augmentation.stain and image.shape[-1] == 3:
        image = _jitter_stains(image, _white(high), augmentation.stain / 100, rng)
    image = normalise(image, low, high)
    if augmentation.empty and rng.random() < augmentation.empty / 100:
        image, mask = noise_alone(image.shape, rng), np.zeros_like(mask)
    return _change_intensity(image, augmentation, rng), mask


def noise_alone(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Image without any object as a network sees it: noise in its own `signal_range`, float32 (Y, X, C) of `shape`.

    The noise of some cameras and of images that were resampled is smooth: neighbours within up to 2 pixels are alike.
    """
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, SMOOTHEST_NOISE), axes=(0, 1))
    image = (DARK + NOISE * noise / noise.std()).clip(0).astype(np.uint16)
    return normalise(image, *signal_range(image, NORMALISATION["low"], NORMALISATION["high"]))


def draw_image(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change a whole image, float32 (Y, X, C), normalised, at random; shape and dtype stay.

    Stains are left alone: their amounts are no longer known.
    """
    if augmentation.warps:
        image = _interpolated(image, *_places(image.shape[:2], (0, 0), image.shape[:2], augmentation, rng))
    image, _ = _turn(image, image[..., 0], augmentation, rng)
    return _change_intensity(image, augmentation, rng)


def _warp(image, mask, corner, patch, augmentation, rng):
    """Rotate and zoom about the patch's centre, sampled straight from the image (mirrored beyond its border)."""
    y, x = _places(mask.shape, corner, patch, augmentation, rng)
    return _interpolated(image, y, x), mask[tuple((one + 0.5).astype(np.intp) for one in (y, x))]


def _places(shape, corner, patch, augmentation, rng) -> list[np.ndarray]:
    """Where in an image of `shape` the pixels of a patch lie, after a random change: y and x, (height, width)."""
    angle = np.deg2rad(rng.uniform(-augmentation.rotation, augmentation.rotation))
    scale = np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.zoom / 100))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = (np.array(patch) - 1) / 2
    offset = np.array(corner) + middle - matrix @ middle
    if augmentation.shift:
        offset += rng.uniform(-1, 1, 2) * augmentation.shift / 100 * np.array(patch)
    rows, columns = np.ogrid[: patch[0], : patch[1]]
    lines = zip(matrix, offset, shape, strict=True)
    return [_mirrored(along[0] * rows + (along[1] * columns + start), size) for along, start, size in lines]


def _mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Places along an axis of so many pixels; those beyond it mirrored at the middle of the first or last pixel."""
    last = size - 1
    while places.min() < 0 or places.max() > last:
        places = last - np.abs(last - np.abs(places)) if last else np.zeros_like(places)
    return places


def _interpolated(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """An image (Y, X, C) between its pixels, float32 (height, width, C): linear, as scipy's map_coordinates has it.

    Three times as fast, since all channels are looked up at once: half of the work for a batch was this.
    """
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, right = ((at - first).astype(np.float32)[..., np.newaxis] for at, first in ((y, top), (x, left)))
    seen = image[top.min() : top.max() + 2, left.min() : left.max() + 2].astype(np.float32)
    height, width, channels = seen.shape
    top, left, pixels = top - top.min(), left - left.min(), seen.reshape(-1, channels)
    columns = left, np.minimum(left + 1, width - 1)

    def between(rows: np.ndarray) -> np.ndarray:
        one, other = (pixels.take(rows * width + column, axis=0) for column in columns)
        return one + right * (other - one)

    upper, lower = between(top), between(np.minimum(top + 1, height - 1))
    return upper + down * (lower - upper)


def _turn(image, mask, augmentation, rng):
    if augmentation.rotate_90:
        quarter = 1 if mask.shape[0] == mask.shape[1] else 2
        turns = quarter * int(rng.integers(4 // quarter))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if augmentation.flip:
        flips = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
        image, mask = np.flip(image, flips), np.flip(mask, flips)
    return image, mask


def _white(high):
    """Value of white: the first usual full scale that the image-wide upper percentile of no channel exceeds."""
    return next((scale for scale in FULL_SCALES if scale >= high.max()), high.max())


def _jitter_stains(image, white, amount, rng):
    """Scale the amounts of haematoxylin, eosin and DAB of an RGB image independently; white stays white.

    scikit-image's separate_stains sets negative amounts to 0, which would change colours that are no mixture of stains.
    """
    factors = rng.uniform(1 - amount, 1 + amount, size=3)
    less = (np.eye(3) - hed_from_rgb * factors @ rgb_from_hed).astype(np.float32)
    density = -np.log(np.maximum(image.astype(np.float32) / np.float32(white), np.float32(DARKEST)))
    return image * np.exp(density @ less)


def _change_intensity(image, augmentation, rng):
    if augmentation.intensity:
        amount = augmentation.intensity / 100
        image = image * np.float32(rng.uniform(1 - amount, 1 + amount)) + np.float32(rng.uniform(-amount, amount) / 2)
    if augmentation.blur:
        image = ndimage.gaussian_filter(image, rng.uniform(0, augmentation.blur), axes=(0, 1))
    if augmentation.noise:
        sigma = rng.uniform(0, augmentation.noise / 100)
        image = image + rng.normal(0, sigma, image.shape).astype(np.float32)
    return image
