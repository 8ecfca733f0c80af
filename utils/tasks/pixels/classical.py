"""The opponents of the U-Net: Otsu's threshold for two classes, and a random forest on filtered pixels for any number.

What they choose they choose on training images; both are used as a `Segmenter` is: `classes`, `class_ids`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.color import rgb2lab
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from utils.data.examples import Example
from utils.images.normalise import normalise, percentiles
from utils.metrics.pixels import mean_iou
from utils.patching.patches import predict_in_tiles
from utils.tasks.otsu import fit_otsu, picture_of, sample, white_of

TILE, OVERLAP = 512, 64  # pixels; the widest filter reaches 32 to either side
SCALES = {"sigma_min": 1, "sigma_max": 8, "num_sigma": 4}  # 1, 2, 4, 8 pixels
PERCENTILES = (1, 99.8)
MOST_IMAGES, MOST_PIXELS, WINDOW = 40, 20_000, 384  # that the forest learns from; pixels are cut from such a window
LARGE = 2048  # pixels: of larger images the range is measured on every second, third, ... pixel
TREES, TRIAL_TREES = 40, 10
FOLDS = 3
BALANCES = (1.0, 0.5)  # exponents of the area that a pixel stands for: as frequent as it is, or rare classes more


def colours(array: np.ndarray, white: float) -> np.ndarray:
    """Channels (Y, X, C), float32, that are filtered: three channels as CIE Lab, others as they are."""
    seen = rgb2lab(picture_of(array, white)) if array.shape[-1] == 3 else array
    return seen.astype(np.float32)


def value_range(array: np.ndarray, own_range: bool) -> tuple[np.ndarray, np.ndarray]:
    """What becomes 0 and 1 of the channels of an image: its own percentiles, or nothing is changed."""
    if not own_range:
        return np.zeros(array.shape[-1], np.float32), np.ones(array.shape[-1], np.float32)
    step = -(-max(array.shape[:2]) // LARGE)
    return percentiles(colours(array[::step, ::step], white_of(array)), *PERCENTILES)


def features(block: np.ndarray) -> np.ndarray:
    """Gaussian, gradient and both eigenvalues of the Hessian at four scales, float32 (Y, X, 16 C), of (Y, X, C).

    The features of ilastik and of Trainable Weka Segmentation; the eigenvalues add up to the Laplacian. Berg S et al.
    (2019) ilastik: interactive machine learning for (bio)image analysis, Nat Methods 16:1226,
    doi:10.1038/s41592-019-0582-9
    """
    return multiscale_basic_features(block, **SCALES, channel_axis=-1)


@dataclass(frozen=True)
class PixelForest:
    """Random forest that sorts each pixel by what filters say of its neighbourhood.

    Attributes
    ----------
    trees
        See `features`; its classes are class ids.
    classes
        Class table as in model.json.
    own_range
        Whether each image is brought to the range of its own brightness.
    """

    trees: RandomForestClassifier
    classes: Sequence[dict]
    own_range: bool

    def class_ids(self, array: np.ndarray) -> np.ndarray:
        """Class of each pixel of an image (Y, X, C), which may be memory-mapped, uint8 (Y, X); in tiles."""
        white, (low, high) = white_of(array), value_range(array, self.own_range)

        def predict(rows: slice, columns: slice) -> np.ndarray:
            seen = features(normalise(colours(array[rows, columns], white), low, high))
            p = np.zeros((*seen.shape[:2], len(self.classes)), np.float32)
            p[..., self.trees.classes_] = self.trees.predict_proba(seen.reshape(-1, seen.shape[-1])).reshape(
                *seen.shape[:2], -1
            )
            return p

        ids = np.empty(array.shape[:2], np.uint8)
        for rows, block in predict_in_tiles(array.shape[:2], predict, TILE, OVERLAP):
            ids[rows] = block.argmax(axis=-1)
        return ids


@dataclass(frozen=True)
class Pixels:
    """Pixels to learn from: features x (n, n_features), class ids y, image of each, and the share of it they stand for.

    Of an image as many pixels of each class are drawn; `area` (n,) adds up to 1 for each image.
    """

    x: np.ndarray
    y: np.ndarray
    image: np.ndarray
    area: np.ndarray


def window(mask: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Window of a mask (Y, X) with the most classes, of nine; one of them by chance where several have as many."""
    starts = [np.unique(np.linspace(0, max(0, length - WINDOW), 3).astype(int)) for length in mask.shape]
    places = [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y in starts[0] for x in starts[1]]
    return places[max(rng.permutation(len(places)), key=lambda i: len(np.unique(mask[places[i]])))]


def draw_pixels(examples: Sequence[Example], own_range: bool, seed: int = 0) -> Pixels:
    """Draw at most 20,000 pixels, as many of each image, and there as many of each class that it has."""
    rng, quota, drawn = np.random.default_rng(seed), MOST_PIXELS // len(examples), []
    for number, one in enumerate(examples):
        array, place = one.image.array, window(one.mask, rng)
        seen = features(normalise(colours(array[place], white_of(array)), *value_range(array, own_range)))
        mask = one.mask[place].ravel()
        known = np.unique(mask)
        for class_id in known:
            own = np.flatnonzero(mask == class_id)
            chosen = rng.permutation(own)[: max(1, quota // len(known))]
            area = np.full(len(chosen), len(own) / mask.size / len(chosen))
            drawn.append((seen.reshape(-1, seen.shape[-1])[chosen], mask[chosen], np.full(len(chosen), number), area))
    return Pixels(*(np.concatenate(parts) for parts in zip(*drawn, strict=True)))


def grown(pixels: Pixels, chosen: np.ndarray, balance: float, seed: int, n: int = TREES) -> RandomForestClassifier:
    """Forest of `n` trees of the `chosen` pixels, which weigh as their area to the power of `balance`."""
    trees = RandomForestClassifier(n, max_depth=14, min_samples_leaf=3, random_state=seed)
    return trees.fit(pixels.x[chosen], pixels.y[chosen], sample_weight=pixels.area[chosen] ** balance)


def quality(pixels: Pixels, balance: float, groups: Sequence[str], n_classes: int, seed: int) -> np.ndarray:
    """Mean IoU (n_images,) of forests on images of groups that they have not learned from, estimated from `pixels`.

    `groups` is the group of each image.
    """
    confusions, of_pixel = np.zeros((len(groups), n_classes, n_classes)), np.asarray(groups)[pixels.image]
    folds = GroupKFold(min(FOLDS, len(set(groups))))
    for learned, held_out in folds.split(pixels.x, groups=of_pixel):
        found = grown(pixels, learned, balance, seed, TRIAL_TREES).predict(pixels.x[held_out])
        np.add.at(confusions, (pixels.image[held_out], pixels.y[held_out], found), pixels.area[held_out])
    return mean_iou(confusions)


def is_better(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the mean of `one` is higher by more than the standard error of the differences; NaN is left out.

    The rule of one standard error: Breiman L et al. (1984) Classification and regression trees, section 3.4.3,
    doi:10.1201/9781315139470
    """
    gain = (one - other)[np.isfinite(one - other)]
    return len(gain) > 1 and float(gain.mean()) > float(gain.std(ddof=1)) / len(gain) ** 0.5


def fit_pixel_forest(examples: Sequence[Example], classes: Sequence[dict], seed: int = 0) -> PixelForest:
    """Train on at most 20,000 pixels of at most 40 images, drawn by `seed`.

    Each image has its own range, and pixels weigh as the area that they stand for, unless another way is clearly better
    on groups of these images (or images, where there is one group) that are left out in turn. Breiman L (2001) Random
    forests, Machine Learning 45:5, doi:10.1023/A:1010933404324
    """
    chosen = sample(examples, seed, MOST_IMAGES)
    groups = [one.group for one in chosen]
    if len(set(groups)) == 1:
        groups = [one.name for one in chosen]
    drawn = {own_range: draw_pixels(chosen, own_range, seed) for own_range in (True, False)}
    best, known = (True, BALANCES[0]), None
    for own_range, balance in [(own_range, balance) for own_range in drawn for balance in BALANCES if len(chosen) > 1]:
        found = quality(drawn[own_range], balance, groups, len(classes), seed)
        if known is None or is_better(found, known):
            best, known = (own_range, balance), found
    own_range, balance = best
    pixels = drawn[own_range]
    return PixelForest(grown(pixels, np.arange(len(pixels.y)), balance, seed), classes, own_range)


def classical_segmenters(examples: Sequence[Example], classes: Sequence[dict], seed: int = 0) -> dict:
    """Name -> trained predictor of all that the U-Net has to beat."""
    otsu = {"Otsu threshold": fit_otsu(examples, classes, seed)} if len(classes) == 2 else {}
    return otsu | {"pixel forest": fit_pixel_forest(examples, classes, seed)}
