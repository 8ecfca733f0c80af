"""The opponents of the U-Net: Otsu's threshold for two classes, and a random forest on filtered pixels for any number.

They learn from training images only; both are used as a `Segmenter` is: `classes`, `class_ids`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.color import rgb2lab
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from utils.data.examples import Example
from utils.images.masks import counted, values_of
from utils.images.normalise import normalise, percentiles
from utils.patching.patches import predict_in_tiles
from utils.tasks.otsu import fit_otsu, picture_of, sample, white_of

TILE, OVERLAP = 512, 64  # pixels; the widest filter reaches 32 to either side
SCALES = {"sigma_min": 1, "sigma_max": 8, "num_sigma": 4}  # 1, 2, 4, 8 pixels
N_KINDS, N_FILTERS = 4, 16  # features of a channel at one scale, the Gaussian first; and at all
PERCENTILES = (1, 99.8)
MOST_IMAGES, MOST_PIXELS, WINDOW = 40, 20_000, 384  # that the forest learns from; pixels are cut from such a window
LARGE = 1024  # pixels: of larger images the range is measured on every second, third, ... pixel
TREES = 20  # that see each image in its own range, and as many that see it as it is


def colours(array: np.ndarray, white: float) -> np.ndarray:
    """Channels (Y, X, C), float32, that are filtered: three channels as CIE Lab, others as they are."""
    seen = rgb2lab(picture_of(array, white)) if array.shape[-1] == 3 else array
    return seen.astype(np.float32)


def value_range(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What becomes 0 and 1 of the `colours` of an image where it is seen in its own range: percentiles of each."""
    step = -(-max(array.shape[:2]) // LARGE)
    return percentiles(colours(array[::step, ::step], white_of(array)), *PERCENTILES)


def features(block: np.ndarray) -> np.ndarray:
    """Gaussian, gradient and both eigenvalues of the Hessian at four scales, float32 (Y, X, 16 C), of (Y, X, C).

    The features of ilastik and of Trainable Weka Segmentation; the eigenvalues add up to the Laplacian. Berg S et al.
    (2019) ilastik: interactive machine learning for (bio)image analysis, Nat Methods 16:1226,
    doi:10.1038/s41592-019-0582-9
    """
    return multiscale_basic_features(block, **SCALES, channel_axis=-1)


def in_both_ranges(block: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[bool, np.ndarray]:
    """The `features` (pixels, 16 C) of a block (Y, X, C) in the range of its image, True, and as it is, False.

    Filtered once: all are in proportion to the range, and Gaussians move with its begin.
    """
    own = features(normalise(block, low, high)).reshape(-1, N_FILTERS * len(low))
    as_it_is = own * np.repeat(high - low, N_FILTERS)
    as_it_is[:, ::N_KINDS] += np.repeat(low, N_FILTERS // N_KINDS)
    return {True: own, False: as_it_is}


@dataclass(frozen=True)
class PixelForest:
    """Random forest that sorts each pixel by what filters say of its neighbourhood.

    Attributes
    ----------
    halves
        Whether a half sees each image in its own range -> its trees, which see `features`: where exposure varies the
        one knows more, where brightness itself tells the other, and the mean of both is about as good as the better.
    classes
        Class table as in model.json.
    """

    halves: Mapping[bool, RandomForestClassifier]
    classes: Sequence[dict]

    def class_ids(self, array: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
        """Class of each pixel of an image (Y, X, C), which may be memory-mapped, uint8 (Y, X); in tiles.

        With `where`, bool (Y, X), only of those pixels: each takes its time; class 0 for the others.
        """
        white, (low, high) = white_of(array), value_range(array)

        def predict(rows: slice, columns: slice) -> np.ndarray:
            block = colours(array[rows, columns], white)
            wanted = np.full(block[..., 0].size, True) if where is None else where[rows, columns].ravel()
            p = np.zeros((wanted.size, len(self.classes)), np.float32)
            for own_range, seen in in_both_ranges(block, low, high).items() if wanted.any() else ():
                trees = self.halves[own_range]
                p[np.ix_(wanted, trees.classes_)] += trees.predict_proba(seen[wanted])
            return p.reshape(*block.shape[:2], -1)

        ids = np.empty(array.shape[:2], np.uint8)
        for rows, block in predict_in_tiles(array.shape[:2], predict, TILE, OVERLAP):
            ids[rows] = block.argmax(axis=-1)
        return ids


def window(mask: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Window of a mask (Y, X) with the most classes, of nine; one of them by chance where several have as many.

    Where no pixel of them counts it lies around one that does.
    """
    starts = [np.unique(np.linspace(0, max(0, length - WINDOW), 3).astype(int)) for length in mask.shape]
    places = [(slice(y, y + WINDOW), slice(x, x + WINDOW)) for y in starts[0] for x in starts[1]]
    best = places[max(rng.permutation(len(places)), key=lambda i: len(values_of(mask[places[i]])))]
    if counted(mask[best]).any():
        return best
    y, x = (max(0, int(at) - WINDOW // 2) for at in np.argwhere(counted(mask))[0])
    return slice(y, y + WINDOW), slice(x, x + WINDOW)


def draw_pixels(examples: Sequence[Example], seed: int = 0) -> tuple[dict[bool, np.ndarray], np.ndarray, np.ndarray]:
    """Draw at most 20,000 pixels, as many of each image, and there as many of each class that it has.

    Returns their features (n, n_features) `in_both_ranges`, class ids (n,), and the share of their image's window (n,)
    that each stands for: for each image these add up to 1. Pixels that are `IGNORED` are not drawn.
    """
    rng, quota, drawn = np.random.default_rng(seed), MOST_PIXELS // len(examples), []
    for one in examples:
        array, place = one.image.array, window(one.mask, rng)
        seen = in_both_ranges(colours(array[place], white_of(array)), *value_range(array))
        mask = one.mask[place].ravel()
        known = values_of(mask)
        for class_id in known:
            own = np.flatnonzero(mask == class_id)
            chosen = rng.permutation(own)[: max(1, quota // len(known))]
            area = np.full(len(chosen), len(own) / np.count_nonzero(counted(mask)) / len(chosen))
            drawn.append((seen[True][chosen], seen[False][chosen], mask[chosen], area))
    own, as_it_is, y, area = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return {True: own, False: as_it_is}, y, area


def fit_pixel_forest(
    examples: Sequence[Example], classes: Sequence[dict], seed: int = 0, balanced: bool = False
) -> PixelForest:
    """Train on at most 20,000 pixels of at most 40 images, drawn by `seed`; a pixel weighs as the area it stands for.

    `balanced`: all classes weigh alike, however small the area of one. Breiman L (2001) Random forests, Machine
    Learning 45:5, doi:10.1023/A:1010933404324
    """
    drawn, y, weights = draw_pixels(sample(examples, seed, MOST_IMAGES), seed)
    if balanced:
        weights /= np.bincount(y, weights)[y]
    halves, cores = {}, os.cpu_count()
    for own_range, x in drawn.items():
        trees = RandomForestClassifier(TREES, max_depth=14, min_samples_leaf=3, random_state=seed, n_jobs=cores)
        trees.fit(x, y, sample_weight=weights)
        halves[own_range] = trees.set_params(n_jobs=None)  # several cores add up probabilities in any order
    return PixelForest(halves, classes)


def classical_segmenters(
    examples: Sequence[Example], classes: Sequence[dict], seed: int = 0, balanced: bool = False
) -> dict:
    """Name -> trained predictor of all that the U-Net has to beat; `balanced`: see `fit_pixel_forest`."""
    otsu = {"Otsu threshold": fit_otsu(examples, classes, seed)} if len(classes) == 2 else {}
    return otsu | {"pixel forest": fit_pixel_forest(examples, classes, seed, balanced)}
