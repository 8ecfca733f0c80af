"""Where a slide holds tissue, and what is left out of it: glass, pen, folds, places out of focus.

Only what is plain is left out; the page draws it, so that a person can judge.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk

from utils.images.slides import Slide
from utils.images.stains import H_AND_E, PICROSIRIUS_RED, TRICHROME, optical_density

GLASS, TISSUE, PEN, FOLD, OUT_OF_FOCUS = range(5)
NAMES = {GLASS: "glass", TISSUE: "tissue", PEN: "pen", FOLD: "fold", OUT_OF_FOCUS: "out of focus"}
THUMBNAIL_UM = 8.0  # um per pixel
THUMBNAIL_PIXELS = 1 << 21  # at most, so that memory does not grow with the slide
SHARPNESS_UM = 2.0  # at which nuclei and fibres are seen, and blur is
FAINTEST = (0.02, 0.08)  # optical density from which on there may be, and surely is, something on the glass
SMALLEST_TISSUE_UM2, LARGEST_HOLE_UM2 = 20_000.0, 20_000.0  # less is debris; fat and sinusoids
SMALLEST_PEN_UM2, SMALLEST_FOLD_UM2, SMALLEST_BLUR_UM2 = 6_000.0, 8_000.0, 60_000.0
MARGIN_UM = 24.0  # round ink and folds
# Times a high percentile of the optical density, in every colour at once: two layers have twice that of one.
FOLDED, USUAL = 1.3, 75
SAME_HUE = 1.6  # how far colours may differ in that: nuclei close together darken red far more than the others
FOLDS_SEEN = (H_AND_E,)  # in other stains collagen itself is that dark
BLURRED = 0.3  # of the usual sharpness
HIDDEN_INKS: Mapping[str, tuple[str, ...]] = {  # that look like the stain itself
    H_AND_E: (),
    PICROSIRIUS_RED: ("red",),
    TRICHROME: ("red", "blue", "green"),
}


@dataclass(frozen=True)
class Tissue:
    """What lies where on a slide.

    Attributes
    ----------
    classes
        (Y, X) uint8: one of `NAMES`.
    thumbnail
        (Y, X, 3) uint8, the same place for place.
    downsample
        Full pixels of the slide per pixel of these.
    um_per_pixel
        Width of a pixel of these.
    """

    classes: np.ndarray
    thumbnail: np.ndarray
    downsample: float
    um_per_pixel: float

    def areas_mm2(self) -> dict[str, float]:
        """Area of each of `NAMES` in mm2."""
        return {name: float((self.classes == one).sum() * self.um_per_pixel**2 / 1e6) for one, name in NAMES.items()}

    def share(self, x: float, y: float, side: float) -> float:
        """Share (0 to 1) of tissue in a square tile of the slide; corner and side in full pixels."""
        edges = np.array([[y, y + side], [x, x + side]]) / self.downsample
        (top, bottom), (left, right) = np.stack([np.floor(edges[:, 0] + 0.5), np.ceil(edges[:, 1] - 0.5)], axis=1)
        part = self.classes[int(max(0, top)) : int(max(bottom, top + 1)), int(max(0, left)) : int(max(right, left + 1))]
        inside = part.size / max(1, (bottom - top) * (right - left))
        return float((part == TISSUE).mean() * min(1, inside)) if part.size else 0.0


def find_tissue(slide: Slide, stain: str = H_AND_E) -> Tissue:
    """Tissue of a slide.

    Read at 8 um per pixel, on large slides coarser (16 for 20 x 20 mm), and for what is out of focus at 2 um, a
    band at a time. DataError where the size of its pixels is not known, or a part of the file is damaged.
    """
    coarse = max(THUMBNAIL_UM, slide.um * math.sqrt(slide.width * slide.height / THUMBNAIL_PIXELS))
    step = math.ceil(coarse / SHARPNESS_UM - 1e-6)
    downsample = max(1.0, step * SHARPNESS_UM / slide.um)
    width, height = (max(1, round(side / downsample)) for side in (slide.width, slide.height))
    thumbnail = slide.read_downsampled(0, 0, width, height, downsample)
    um = downsample * slide.um
    classes = tissue_mask(thumbnail, um, stain)
    sharp = _sharpness_of(slide, classes, downsample, step)
    classes[_out_of_focus(classes == TISSUE, sharp, um)] = OUT_OF_FOCUS
    return Tissue(classes, thumbnail, downsample, um)


def tissue_mask(rgb: np.ndarray, um_per_pixel: float, stain: str = H_AND_E) -> np.ndarray:
    """What lies where on a thumbnail, by colour: all of `NAMES` but `OUT_OF_FOCUS`, which is not seen on it.

    Parameters
    ----------
    rgb
        (Y, X, 3) uint8, 4 to 16 um per pixel.
    um_per_pixel
        Width of its pixels.
    stain
        One of `utils.images.stains.STAINS`; ink in the colours of the stain itself is not told from it, nor folds
        where collagen is dark.

    Returns
    -------
    numpy.ndarray
        (Y, X) uint8.
    """
    pixels = 1 / um_per_pixel**2
    density = optical_density(rgb, white_of(rgb))
    ink = _grown(_large(_inks(rgb, stain), SMALLEST_PEN_UM2 * pixels), MARGIN_UM / um_per_pixel)
    dark = ndimage.gaussian_filter(density.mean(axis=-1), 1.0)
    limit = _faintest(dark[~ink])
    tissue = ndimage.binary_closing(np.pad(dark > limit, 3), disk(2))[3:-3, 3:-3]
    tissue = ~_large(~tissue, round(LARGEST_HOLE_UM2 * pixels) + 1)
    tissue = _large(tissue & ~ink, SMALLEST_TISSUE_UM2 * pixels)
    classes = np.where(tissue, TISSUE, GLASS).astype(np.uint8)
    if stain in FOLDS_SEEN:
        classes[_folds(density, tissue, um_per_pixel)] = FOLD
    classes[ink] = PEN
    return classes


def _faintest(dark: np.ndarray) -> float:
    """Optical density above which there is something on the glass, half of Otsu's threshold of all pixels."""
    even = not dark.size or dark.min() == dark.max()
    return float(np.clip(FAINTEST[1] if even else threshold_otsu(dark) / 2, *FAINTEST))


def white_of(rgb: np.ndarray) -> np.ndarray:
    """Colour (3,) of the empty slide of a picture (Y, X, 3): its brightest pixels, if they are bright enough."""
    return np.maximum(np.percentile(rgb.reshape(-1, 3), 98, axis=0), 200.0)


def _inks(rgb: np.ndarray, stain: str) -> np.ndarray:
    """Pixels in the colours of felt pens, as no tissue of that stain has them."""
    red, green, blue = np.moveaxis(rgb.astype(np.int16), -1, 0)
    inks = {
        "blue": (blue - red > 45) & (green - red > 5) & (blue - green > 25),
        "green": (green - red > 25) & (green - blue > 10),
        "black": (rgb.max(axis=-1) < 85) & (np.ptp(rgb, axis=-1) < 30),
        "red": (red - np.maximum(green, blue) > 85) & (np.abs(green - blue) < 45) & (red > 120),
    }
    hidden = HIDDEN_INKS[stain]
    return np.logical_or.reduce([found for name, found in inks.items() if name not in hidden])


def _folds(density: np.ndarray, tissue: np.ndarray, um_per_pixel: float) -> np.ndarray:
    """Where the stain is about twice as strong as usual in all colours alike: two layers of the same tissue."""
    if not tissue.any():
        return tissue
    usual = np.percentile(density[tissue], USUAL, axis=0)
    smooth = ndimage.gaussian_filter(density, (*[12 / um_per_pixel] * 2, 0))
    times = smooth / np.maximum(usual, 1e-3)
    folded = (times.min(axis=-1) > FOLDED) & (times.max(axis=-1) < SAME_HUE * times.min(axis=-1)) & tissue
    return _grown(_large(folded, SMALLEST_FOLD_UM2 / um_per_pixel**2), MARGIN_UM / 2 / um_per_pixel) & tissue


def _sharpness_of(slide: Slide, classes: np.ndarray, downsample: float, step: int) -> np.ndarray:
    """Contrast of fine detail of each pixel of `classes`, (Y, X) float32, read in bands that hold tissue."""
    height, width = classes.shape
    result = np.zeros(classes.shape, np.float32)
    rows = max(1, (1 << 21) // (width * step * step))
    for top in range(0, height, rows):
        part = classes[top : top + rows]
        columns = np.flatnonzero((part == TISSUE).any(axis=0))
        if not len(columns):
            continue
        left, right = columns[0], columns[-1] + 1
        size = (int(right - left) * step, len(part) * step)
        place = (left * downsample, top * downsample)
        pixels = slide.read_downsampled(*place, *size, downsample / step)
        result[top : top + rows, left:right] = detail(pixels, step)
    return result


def detail(rgb: np.ndarray, step: int) -> np.ndarray:
    """Mean strength of edges between neighbouring pixels of each square of `step` x `step`, (Y, X) float32."""
    grey = rgb.astype(np.float32).mean(axis=-1)
    edges = np.abs(ndimage.laplace(grey, mode="nearest"))
    height, width = (side // step for side in edges.shape)
    return edges[: height * step, : width * step].reshape(height, step, width, step).mean(axis=(1, 3))


def _out_of_focus(tissue: np.ndarray, sharp: np.ndarray, um_per_pixel: float) -> np.ndarray:
    """Large parts of the tissue in which fine detail is far weaker than in the rest."""
    if not tissue.any():
        return tissue
    sigma = 40 / um_per_pixel
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.where(tissue, sharp, 0), sigma) / np.maximum(weight, 1e-3)
    blurred = (smooth < BLURRED * np.median(smooth[tissue])) & tissue
    return _grown(_large(blurred, SMALLEST_BLUR_UM2 / um_per_pixel**2), MARGIN_UM / um_per_pixel) & tissue


def _large(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask without its connected parts of fewer pixels.

    Arguments of scikit-image's own changed their names in 0.26, and Colab has an earlier one.
    """
    numbers, n_parts = ndimage.label(mask)
    large = np.bincount(numbers.ravel(), minlength=n_parts + 1) >= round(pixels)
    return mask & large[numbers]


def _grown(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask and all that lies within so many pixels of it."""
    return ndimage.distance_transform_edt(~mask) <= pixels if mask.any() else mask
