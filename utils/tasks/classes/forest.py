"""A random forest on classical features, trained in seconds: what the network must beat, or what decides beside it.

It is kept as arrays, without pickle, and answers as scikit-learn's does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops_table
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedGroupKFold

from utils.errors import ModelError
from utils.metrics.calibration import FEWEST_IMAGES

FOREST = "forest.npz"  # in a model folder
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99)
MIDDLE = 0.22  # objects that reach less far into the middle than this share of the crop's side are neighbours
NEAR = 0.45  # share of the side within which texture of the object is measured
RINGS = 8  # of the profile from the middle outwards
SCALES = (0.7, 1.4, 2.8, 5.6)  # pixels: standard deviations of the Gaussians whose differences show grains of a size
SHAPES = (
    *("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length"),
    *("euler_number", "moments_hu"),
)
N_SHAPES, N_INSIDE, N_LARGEST = 15, 5, 2
TREES, FOLD_TREES = 300, 100
SHARE_OF_FEATURES = 0.3  # tried at each branch
FOLDS = 5
SMALLEST = 1e-3  # share of the votes that a class without any is given, before the logarithm
PRIOR_SD = 1.0  # of the two numbers of the calibration: a handful of images proves little
BLOCK = 256  # images that walk through the trees together


def object_features(plane: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Number, sizes, common shape and brightness of the objects in the middle.

    `plane` is one channel, float64 (Y, X), `bright` where it is brighter than Otsu's threshold; float64 (23,), all 0
    where nothing is in the middle.
    """
    objects = label(bright)
    central = np.unique(objects[_radius(plane.shape) < MIDDLE])
    mask = np.isin(objects, central[central > 0])
    if not mask.any():
        return np.zeros(1 + N_LARGEST + N_SHAPES + N_INSIDE)
    areas = np.sort(np.bincount(objects[mask]))[::-1][:N_LARGEST]  # background counts 0: there are always two
    shapes = np.concatenate(list(regionprops_table(mask.astype(np.uint8), properties=SHAPES).values()))
    inside, outside = plane[mask], plane[~mask]
    brightness = (
        *(inside.mean(), inside.std(), inside.max()),
        *(inside.std() / plane.std(), inside.mean() - outside.mean()),
    )
    return np.concatenate([[np.count_nonzero(central)], areas, shapes, brightness])


def texture_features(plane: np.ndarray, mask: np.ndarray) -> list[float]:
    """How much grains of four sizes vary, and how steep the brightness is: in the whole plane, and where `mask` is."""
    smooth = [plane, *(ndimage.gaussian_filter(plane, sigma, mode="nearest") for sigma in SCALES)]
    maps = [one - other for one, other in zip(smooth[:-1], smooth[1:], strict=True)]
    slope = np.hypot(*(np.diff(plane, axis=axis, append=plane.take([-1], axis)) for axis in (0, 1)))
    inside = [one[mask].std() for one in maps] + [slope[mask].mean()] if mask.any() else [0.0] * (len(maps) + 1)
    return [*(one.std() for one in maps), slope.mean(), *inside]


def spread_features(plane: np.ndarray, mask: np.ndarray) -> list[float]:
    """How brightness above the border's is spread: rings from the middle outwards, sums, and its two axes."""
    radius = _radius(plane.shape)
    rings = np.minimum((radius * 2 * RINGS).astype(int), RINGS).ravel()
    sums, pixels = (np.bincount(rings, weights, RINGS + 1)[:RINGS] for weights in (plane.ravel(), None))
    border = np.median(np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]]))
    above = plane - border
    total = [above.sum(), np.abs(above).sum(), np.abs(above[mask]).sum(), float((above > above.max() / 2).sum())]
    return [*(sums / np.maximum(pixels, 1)), *total, *_axes_of(np.maximum(above, 0))]


def _axes_of(weights: np.ndarray) -> list[float]:
    """Smaller and larger variance of brightness about its centre, their ratio, and the centre's distance."""
    y, x = (np.linspace(-0.5, 0.5, side) for side in weights.shape)
    total = weights.sum() + 1e-9
    rows, columns = weights.sum(axis=1) / total, weights.sum(axis=0) / total
    centre = rows @ y, columns @ x
    y, x = y - centre[0], x - centre[1]
    between = y @ weights @ x / total
    small, large = np.linalg.eigvalsh([[rows @ y**2, between], [between, columns @ x**2]])
    return [small, large, small / (large + 1e-9), np.hypot(*centre)]


def _radius(shape: tuple[int, int]) -> np.ndarray:
    """Distance of each pixel (Y, X) from the middle, in sides of the crop."""
    y, x = (np.linspace(-0.5, 0.5, side) for side in shape)
    return np.hypot(y[:, None], x)


def features(image: np.ndarray) -> np.ndarray:
    """Classical description of a crop: intensity, shape, texture and spread of each channel, and how these go together.

    `image` is (Y, X, C) of any numeric dtype and size; float64 (n_features,), finite, as many for every image of C
    channels. Source: Otsu N (1979) A threshold selection method from gray-level histograms,
    doi:10.1109/TSMC.1979.4310076
    """
    planes = np.moveaxis(image.astype(np.float64), -1, 0)
    bright = [plane > threshold_otsu(plane) for plane in planes]
    near = _radius(image.shape[:2]) < NEAR
    found = []
    for plane, mask in zip(planes, bright, strict=True):
        levels = np.percentile(plane, PERCENTILES)
        found += [object_features(plane, mask), levels, [plane.mean(), plane.std()]]
        found += [texture_features(plane, mask & near), spread_features(plane, mask & near)]
        found += [[plane[other].mean() if other.any() else 0.0 for other in bright if other is not mask]]
    if len(planes) > 1:
        flat = planes.reshape(len(planes), -1) - planes.mean(axis=(1, 2))[:, None]
        size = np.linalg.norm(flat, axis=1) + 1e-9
        found += [(flat @ flat.T / np.outer(size, size))[np.triu_indices(len(planes), 1)]]
    return np.concatenate(found).astype(np.float32).astype(np.float64)  # scikit-learn's trees compare float32


@dataclass(frozen=True)
class Forest:
    """Trained trees as arrays, all nodes one after the other.

    Attributes
    ----------
    roots
        Number of the first node of each tree (trees,).
    left, right
        Node to go to, (nodes,), where the `feature` is at most `threshold`, or above it; a leaf leads to itself.
    feature, threshold
        What is asked at a node (nodes,).
    votes
        Shares of the classes in a node (nodes, n_classes); 0 for a class that training never saw.
    depth
        Largest number of questions, ().
    calibration
        Temperature, then what is added to the logarithm of each class's votes, (1 + n_classes,); minus infinity for a
        class that training never saw.
    """

    roots: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    votes: np.ndarray
    depth: np.ndarray
    calibration: np.ndarray

    def predict_proba(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Mean of the trees' votes, float64 (n, n_classes), of images (Y, X, C) as read."""
        return self.of_features(np.stack([features(one) for one in arrays])) if len(arrays) else self.votes[:0]

    def of_features(self, x: np.ndarray) -> np.ndarray:
        """See `predict_proba`; `x` are `features` (n, n_features)."""
        x = x.astype(np.float32)
        blocks = [self._leaves(x[i : i + BLOCK]) for i in range(0, len(x), BLOCK)]
        return np.concatenate([self.votes[leaves].mean(axis=1) for leaves in blocks]) if blocks else self.votes[:0]

    def _leaves(self, x: np.ndarray) -> np.ndarray:
        """Leaf of each image in each tree, (n, trees)."""
        nodes, rows = np.tile(self.roots, (len(x), 1)), np.arange(len(x))[:, None]
        for _ in range(int(self.depth)):
            smaller = x[rows, self.feature[nodes]] <= self.threshold[nodes]
            nodes = np.where(smaller, self.left[nodes], self.right[nodes])
        return nodes

    def probabilities(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities float32 (n, n_classes) of images (Y, X, C) as read, see `calibrate`."""
        return calibrated(self.predict_proba(arrays), self.calibration).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz file, see `load_forest`."""
        np.savez_compressed(path, **vars(self))


def load_forest(path: Path) -> Forest:
    """Read a forest from an .npz file of its arrays; ModelError where that cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return Forest(**found)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} holds no forest ({error}). Take the model folder from a backup.") from error


def as_arrays(trees: ExtraTreesClassifier, n_classes: int, calibration: np.ndarray) -> Forest:
    """A forest of scikit-learn; its classes are class ids below `n_classes`."""
    single = [one.tree_ for one in trees.estimators_]
    roots = np.cumsum([0, *(one.node_count for one in single)])[:-1]
    left, right = [], []
    for root, one in zip(roots, single, strict=True):
        own, leaf = root + np.arange(one.node_count), one.children_left < 0
        left.append(np.where(leaf, own, root + one.children_left))
        right.append(np.where(leaf, own, root + one.children_right))
    shares = np.concatenate([one.value[:, 0] for one in single])
    votes = np.zeros((len(shares), n_classes))
    votes[:, trees.classes_] = shares
    return Forest(
        roots.astype(np.int32),
        np.concatenate(left).astype(np.int32),
        np.concatenate(right).astype(np.int32),
        np.concatenate([np.maximum(one.feature, 0) for one in single]).astype(np.int32),
        np.concatenate([one.threshold for one in single]),
        votes,
        np.array(max(one.max_depth for one in single)),
        calibration,
    )


def fit_forest(
    arrays: Sequence[np.ndarray],
    class_ids: Sequence[int],
    groups: Sequence[str],
    n_classes: int,
    seed: int = 0,
    balance: np.ndarray | None = None,
) -> Forest:
    """Train a forest of 300 trees in which rare classes weigh as much as frequent ones, and calibrate it.

    Parameters
    ----------
    arrays, class_ids, groups
        Images (Y, X, C), all of the same number of channels, the class of each, and the group it belongs to.
    n_classes
        In the class table.
    seed
        Of the trees and of the folds of the calibration.
    balance
        Weight of an image of each class (n_classes,) in the calibration; None: rare classes count as much as others.

    References
    ----------
    Breiman L (2001) Random forests, Machine Learning 45:5, doi:10.1023/A:1010933404324; the trees ask at random
    thresholds: Geurts P et al. (2006) Extremely randomized trees, doi:10.1007/s10994-006-6226-1
    """
    x, y = np.stack([features(one) for one in arrays]), np.asarray(class_ids)
    p, judged = out_of_fold(x, y, groups, n_classes, seed)
    counts = np.bincount(y, minlength=n_classes)
    balance = 1 / np.maximum(counts, 1) if balance is None else balance
    calibration = calibrate(p[judged], y[judged], counts, balance)
    return as_arrays(_grown(TREES, seed).fit(x, y), n_classes, calibration)


def _grown(trees: int, seed: int) -> ExtraTreesClassifier:
    how = {"bootstrap": True, "class_weight": "balanced_subsample", "max_features": SHARE_OF_FEATURES}
    return ExtraTreesClassifier(trees, random_state=seed, **how)


def out_of_fold(x: np.ndarray, y: np.ndarray, groups: Sequence[str], n_classes: int, seed: int = 0):
    """Votes (n, n_classes) of trees that saw neither an image nor its group; bool (n,), False where there are none."""
    p, judged = np.zeros((len(y), n_classes)), np.zeros(len(y), bool)
    n = min(FOLDS, len(set(groups)), int(np.bincount(y).max()))
    if n < 2:
        return p, judged
    for learned, asked in StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(x, y, groups):
        if len(learned) and len(asked):
            trees = _grown(FOLD_TREES, seed).fit(x[learned], y[learned])
            p[np.ix_(asked, trees.classes_)] = trees.predict_proba(x[asked])
            judged[asked] = np.isin(y[asked], trees.classes_)
    return p, judged


def calibrated(p: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    """Probabilities (n, n_classes) from votes: softmax((log p + shift of the class) / temperature)."""
    return softmax((np.log(p + SMALLEST) + calibration[1:]) / calibration[0], axis=1)


def calibrate(p: np.ndarray, y: np.ndarray, counts: np.ndarray, balance: np.ndarray) -> np.ndarray:
    """Calibration of a `Forest` from votes (n, n_classes) on images of classes `y` (n,) that it did not learn from.

    Trees of few images of a class vote against it: each class is shifted by a common power of how many there are
    (`counts`), which is fitted with the temperature by the log-loss in which a class weighs `balance`. Few images fit
    no temperature (`utils.metrics.calibration.FEWEST_IMAGES`).
    """
    shift = -np.log(np.maximum(counts, 1) / max(counts.max(), 1))
    weights = balance[y] / balance[y].mean() if len(y) else np.zeros(0)

    def loss(log_t_and_power: np.ndarray) -> float:
        log_t, power = log_t_and_power
        logits = (np.log(p + SMALLEST) + power * shift) * np.exp(-log_t)
        fit = -(weights * log_softmax(logits, axis=1)[np.arange(len(y)), y]).sum() if len(y) else 0.0
        return float(fit + 0.5 * (log_t_and_power @ log_t_and_power) / PRIOR_SD**2)

    how = {"method": "Nelder-Mead", "options": {"xatol": 1e-3, "fatol": 1e-4}}
    if len(y) < FEWEST_IMAGES:
        log_t, power = 0.0, minimize(lambda one: loss(np.array([0.0, one[0]])), [0.0], **how).x[0]
    else:
        log_t, power = minimize(loss, [0.0, 0.0], **how).x
    return np.concatenate([[np.exp(log_t)], np.where(counts > 0, power * shift, -np.inf)])


def share_of(description: Mapping) -> float:
    """Share of the network in the answers of a model, 0 to 1; models made earlier are networks."""
    return float(description.get("decides", {}).get("network", 1.0))


def mixed(network: np.ndarray, forest: np.ndarray, share: float) -> np.ndarray:
    """Mean of two calibrated probabilities (n, n_classes), float32, with the share of the network."""
    return (share * network + (1 - share) * forest).astype(np.float32)
