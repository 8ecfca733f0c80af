"""The opponent of StarDist: Otsu's threshold, and a watershed between objects that touch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.measure import label
from stardist.matching import matching

from utils.data.examples import Example
from utils.images.masks import without_ignored
from utils.metrics.confusion import ratio
from utils.metrics.objects import IOU_THRESHOLD, where_counted
from utils.tasks.objects.measure import Objects
from utils.tasks.otsu import OFFSETS, Otsu, fit_otsu, middle, sample
from utils.tasks.watershed import SMOOTHING, USUAL_APART, cut_at_waists, without_specks

MOST_IMAGES, MOST_PIXELS = 20, 400  # that the choice of seeds looks at: images, and the side of the middle of each
APART = (0.25, 0.4, 0.55, 0.7, 1.0)  # distance of the seeds, in diameters of the median object


@dataclass(frozen=True)
class Watershed:
    """Objects of an image by thresholding it and cutting what is above at its waists.

    Attributes
    ----------
    otsu
        Threshold that tells objects from background.
    diameter
        Of the median object, pixels.
    apart
        Least distance between the seeds of two objects, in diameters.
    """

    otsu: Otsu
    diameter: float
    apart: float = USUAL_APART

    @property
    def classes(self) -> Sequence[dict]:
        """Class table."""
        return self.otsu.classes

    def labels(self, foreground: np.ndarray) -> np.ndarray:
        """Objects, int32 (Y, X) from 1, of a bool mask (Y, X); see `utils.tasks.watershed`."""
        filled = ndimage.binary_fill_holes(foreground)
        distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(filled), SMOOTHING * self.diameter)
        found, n_seeds = cut_at_waists(filled, distance, self.apart * self.diameter)
        lonely = label(filled & (found == 0))  # beside a larger object, nearer than two seeds may be
        found[lonely > 0] = lonely[lonely > 0] + n_seeds
        return without_specks(found, self.diameter)

    def find(self, array: np.ndarray) -> Objects:
        """Objects of an image (Y, X, C); they have labels only, no outlines and no classes."""
        labels = self.labels(self.otsu.class_ids(array) > 0)
        n = int(labels.max(initial=0))
        return Objects(labels, np.zeros((n, 2, 0)), np.ones(n), None)


def median_diameter(masks: Sequence[np.ndarray]) -> float:
    """Diameter of a circle of the median area of all objects of label images (Y, X), pixels; 1 without objects."""
    areas = np.concatenate([np.bincount(without_ignored(mask).ravel())[1:] for mask in masks])
    return float(np.sqrt(4 / np.pi * np.median(areas[areas > 0]))) if areas.any() else 1.0


def pooled_ap(found: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """AP at IoU 0.5 over the objects of all label images (Y, X); 0 where there is nothing to score."""
    pairs = [where_counted(mask, labels) for labels, mask in zip(found, masks, strict=True)]
    matches = [matching(mask, labels, thresh=IOU_THRESHOLD) for mask, labels in pairs]
    tp, mistakes = sum(one.tp for one in matches), sum(one.fp + one.fn for one in matches)
    return float(np.nan_to_num(ratio(tp, tp + mistakes)))


def fit_watershed(examples: Sequence[Example], classes: Sequence[dict] = (), seed: int = 0) -> Watershed:
    """Choose the threshold by foreground IoU, then the distance of the seeds and the offset by AP, on `examples` only.

    Looked at are at most 20 images, of each at most 400 x 400 pixels, drawn by `seed`.
    """
    otsu, chosen = fit_otsu(examples, classes, seed), sample(examples, seed, MOST_IMAGES)
    masks = [middle(one.mask, MOST_PIXELS) for one in chosen]
    planes = [otsu.plane_of(middle(one.image.array, MOST_PIXELS)) for one in chosen]

    def quality(one: Watershed) -> float:
        return pooled_ap([one.labels(one.otsu.cut(plane)) for plane in planes], masks)

    start = Watershed(otsu, median_diameter([one.mask for one in examples]))
    best = max((replace(start, apart=apart) for apart in APART), key=quality)
    return max((replace(best, otsu=replace(otsu, offset=offset)) for offset in OFFSETS), key=quality)


def classical_finders(examples: Sequence[Example], classes: Sequence[dict], seed: int = 0) -> dict[str, Watershed]:
    """Name -> fitted predictor of all that StarDist has to beat."""
    return {"watershed": fit_watershed(examples, classes, seed)}
