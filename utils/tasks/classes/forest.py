"""The opponent of the network: a random forest on classical features, trained in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from skimage.feature import hog
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops_table
from skimage.transform import resize
from sklearn.ensemble import RandomForestClassifier

if TYPE_CHECKING:
    from utils.data.crops import Crop

HOG_SIDE = 64  # pixels of the picture that gradients are measured on, whatever the size of the crop
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99)
MIDDLE = 0.22  # objects that reach less far into the middle than this share of the crop's side are neighbours
SHAPES = (
    *("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length"),
    *("euler_number", "moments_hu"),
)
N_SHAPES, N_INSIDE, N_LARGEST = 15, 5, 2
TREES = 300


def object_features(plane: np.ndarray) -> np.ndarray:
    """Number, sizes, common shape and brightness of the objects in the middle, brighter than Otsu's threshold.

    `plane` is one channel, float64 (Y, X); float64 (23,), all 0 where nothing is in the middle. Source: Otsu N (1979)
    A threshold selection method from gray-level histograms, doi:10.1109/TSMC.1979.4310076
    """
    objects = label(plane > threshold_otsu(plane))
    y, x = (np.linspace(-0.5, 0.5, side) for side in plane.shape)
    central = np.unique(objects[np.hypot(y[:, None], x) < MIDDLE])
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


def features(image: np.ndarray) -> np.ndarray:
    """Classical description of a crop: histograms of oriented gradients, intensity, and shape, per channel.

    `image` is (Y, X, C) of any numeric dtype and size; float64 (n_features,), finite, as many for every image of C
    channels. Source: Dalal N, Triggs B (2005) Histograms of oriented gradients for human detection,
    doi:10.1109/CVPR.2005.177
    """
    found = []
    for plane in np.moveaxis(image.astype(np.float64), -1, 0):
        picture = resize(plane, (HOG_SIDE, HOG_SIDE), order=1, anti_aliasing=True, preserve_range=True)
        gradients = hog(picture, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
        levels = np.percentile(plane, PERCENTILES)
        found += [object_features(plane), gradients, levels, [plane.mean(), plane.std()]]
    return np.concatenate(found)


@dataclass(frozen=True)
class Forest:
    """Trained random forest; `trees` sees the features of a crop, n_classes is that of the class table."""

    trees: RandomForestClassifier
    n_classes: int

    def predict_proba(self, crops: Sequence["Crop"]) -> np.ndarray:
        """Probabilities of the classes of crops, float32 (n, n_classes); 0 for a class that training never saw."""
        p = np.zeros((len(crops), self.n_classes), np.float32)
        if len(crops):
            p[:, self.trees.classes_] = self.trees.predict_proba(np.stack([features(one.image.array) for one in crops]))
        return p


def fit_forest(crops: Sequence["Crop"], classes: Sequence[dict], seed: int = 0) -> Forest:
    """Train a random forest of 300 trees in which rare classes weigh as much as frequent ones.

    `crops` are all of the same number of channels: those that the network learns from, so that the two can be compared.
    Source: Breiman L (2001) Random forests, Machine Learning 45:5, doi:10.1023/A:1010933404324
    """
    trees = RandomForestClassifier(TREES, class_weight="balanced_subsample", random_state=seed)
    trees.fit(np.stack([features(one.image.array) for one in crops]), [one.class_id for one in crops])
    return Forest(trees, len(classes))
