"""Otsu's threshold, the method that a network must beat: what it is applied to is chosen on training images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.color import rgb2gray, rgb2hed, rgb2hsv, rgb2lab
from skimage.filters import threshold_otsu

from utils.data.examples import Example
from utils.images.masks import counted
from utils.metrics.confusion import ratio

BINS = 256
BAND = 1 << 20  # pixels whose colours are converted at once: colour spaces take 24 bytes and more for each
LAG = 2  # pixels: neighbours share the noise where a camera or a program has interpolated
COHERENCE = 0.2
SIGMAS, OFFSETS = (0.0, 1.0, 2.0), (-0.2, -0.1, 0.0, 0.1)
MOST_IMAGES, MOST_PIXELS = 24, 512  # that a choice looks at: images, and the side of the middle of each

# Of a colour picture (Y, X, 3), 0 to 1; a stain makes its plane brighter
COLOURS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "luminance": rgb2gray,
    "saturation": lambda picture: rgb2hsv(picture)[..., 1],
    "haematoxylin": lambda picture: rgb2hed(picture)[..., 0],
    "eosin": lambda picture: rgb2hed(picture)[..., 1],
    "red against green": lambda picture: rgb2lab(picture)[..., 1],
    "yellow against blue": lambda picture: rgb2lab(picture)[..., 2],
}


def plane_names(n_channels: int) -> list[str]:
    """What can be thresholded of an image: its channels; of three channels also what colours tell."""
    return [*(f"channel {i + 1}" for i in range(n_channels)), *(COLOURS if n_channels == 3 else ())]


def plane_of(array: np.ndarray, name: str) -> np.ndarray:
    """One of `plane_names` of an image (Y, X, C) of any numeric dtype, float32 (Y, X)."""
    if name not in COLOURS:
        return array[..., int(name.removeprefix("channel ")) - 1].astype(np.float32)
    plane, rows, white = np.empty(array.shape[:2], np.float32), max(1, BAND // array.shape[1]), white_of(array)
    for y in range(0, len(array), rows):
        plane[y : y + rows] = COLOURS[name](picture_of(array[y : y + rows], white))
    return plane


def white_of(array: np.ndarray) -> float:
    """Value of an image that stands for white: the largest of its dtype, of floats the largest there is."""
    return float(np.iinfo(array.dtype).max) if array.dtype.kind in "ui" else float(array.max()) or 1.0


def picture_of(array: np.ndarray, white: float) -> np.ndarray:
    """Colours (Y, X, 3) from 0 to 1."""
    return np.clip(array / white, 0, 1)


def threshold_of(plane: np.ndarray, offset: float = 0.0) -> float:
    """Otsu's threshold, moved by `offset` times the distance between the means of both sides.

    The histogram has 256 bins from the lowest to the highest value; the threshold lies between two of them, so that the
    negative of a plane has the negative threshold. Otsu N (1979) A threshold selection method from gray-level
    histograms, IEEE Trans Syst Man Cybern 9:62, doi:10.1109/TSMC.1979.4310076
    """
    counts, edges = np.histogram(plane, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    above = centres > threshold_otsu(hist=(counts, centres))
    below_mean, above_mean = (np.average(centres[side], weights=counts[side]) for side in (~above, above))
    return float(edges[np.argmax(above)] + offset * (above_mean - below_mean))


def is_coherent(mask: np.ndarray) -> bool:
    """Whether foreground lies beside foreground: noise that is cut at a threshold lies anywhere.

    Measured is the correlation of `mask`, bool (Y, X), with itself 2 pixels away: 0 for noise, 0.33 for objects of
    3 x 3 pixels, near 1 for large ones (Moran's I; Moran PAP (1950) Notes on continuous stochastic phenomena,
    Biometrika 37:17, doi:10.1093/biomet/37.1-2.17).
    """
    covariance = spread = 0.0
    for one, other in ((mask[LAG:], mask[:-LAG]), (mask[:, LAG:], mask[:, :-LAG])):
        p, q, both = (np.count_nonzero(part) / max(1, part.size) for part in (one, other, one & other))
        covariance, spread = covariance + both - p * q, spread + np.sqrt(p * (1 - p) * q * (1 - q))
    return covariance > COHERENCE * spread


@dataclass(frozen=True)
class Otsu:
    """Threshold of each image by itself.

    Attributes
    ----------
    plane
        One of `plane_names`.
    bright
        Whether foreground is above the threshold.
    sigma
        Smoothing before the threshold, standard deviation of a Gaussian in pixels.
    offset
        See `threshold_of`.
    classes
        Class table with two classes.
    """

    plane: str
    bright: bool = True
    sigma: float = 1.0
    offset: float = 0.0
    classes: Sequence[dict] = ()

    def plane_of(self, array: np.ndarray) -> np.ndarray:
        """Plane of an image (Y, X, C) in which foreground is brighter, float32 (Y, X)."""
        plane = plane_of(array, self.plane)
        return plane if self.bright else np.negative(plane, out=plane)

    def cut(self, plane: np.ndarray) -> np.ndarray:
        """Foreground, bool (Y, X), of such a plane: nothing where it is even or holds nothing but noise."""
        smooth = ndimage.gaussian_filter(plane, self.sigma) if self.sigma else plane
        if smooth.min() == smooth.max():
            return np.zeros(plane.shape, bool)
        threshold = threshold_of(smooth, self.offset)
        return (smooth > threshold) & is_coherent(plane > threshold)

    def class_ids(self, array: np.ndarray) -> np.ndarray:
        """Class of each pixel of an image (Y, X, C), uint8 (Y, X): 1 is foreground."""
        return self.cut(self.plane_of(array)).astype(np.uint8)


def sample(examples: Sequence[Example], seed: int = 0, n: int = MOST_IMAGES) -> list[Example]:
    """At most `n` examples, the same ones in the same order in whatever order they are given."""
    ordered = sorted(examples, key=lambda one: one.name)
    return [ordered[i] for i in sorted(np.random.default_rng(seed).permutation(len(ordered))[:n])]


def middle(array: np.ndarray, side: int = MOST_PIXELS) -> np.ndarray:
    """At most `side` x `side` pixels in the middle of (Y, X, ...)."""
    y, x = (max(0, (length - side) // 2) for length in array.shape[:2])
    return array[y : y + side, x : x + side]


def mean_overlap(found: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """Mean foreground IoU of bool masks (Y, X) with annotation above 0; -1 where nothing can be scored."""
    pairs = [(one & counted(mask), mask > 0) for one, mask in zip(found, masks, strict=True)]
    iou = np.array([ratio(np.sum(one & mask), np.sum(one | mask)) for one, mask in pairs], float)
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else -1.0


def fit_otsu(examples: Sequence[Example], classes: Sequence[dict] = (), seed: int = 0) -> Otsu:
    """Choose plane and side of the threshold, then smoothing and offset, by the mean foreground IoU on `examples`.

    Looked at are at most 24 images, of each at most 512 x 512 pixels, drawn by `seed`. Foreground is whatever is above
    0 in the masks; pixels that are `IGNORED` are not counted.
    """
    chosen = sample(examples, seed)
    arrays, masks = [middle(one.image.array) for one in chosen], [middle(one.mask) for one in chosen]
    sides = [
        Otsu(name, bright, classes=classes) for name in plane_names(arrays[0].shape[-1]) for bright in (True, False)
    ]
    best = max(sides, key=lambda one: mean_overlap([one.class_ids(array) > 0 for array in arrays], masks))
    planes = [best.plane_of(array) for array in arrays]
    refined = [replace(best, sigma=sigma, offset=offset) for sigma in SIGMAS for offset in OFFSETS]
    return max(refined, key=lambda one: mean_overlap([one.cut(plane) for plane in planes], masks))
