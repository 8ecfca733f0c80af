"""Objects of a mask: cut at their waists where they touch, without specks."""

import numpy as np
from skimage.feature import peak_local_max
from skimage.segmentation import relabel_sequential, watershed

USUAL_APART = 0.55  # usual distance of the seeds of two objects, in diameters of an object
SMALLEST = 0.1  # of the area of a circle of that diameter
SMOOTHING = 0.05  # of the distance to the border, in the same diameters: a ragged border makes seeds of its own


def cut_at_waists(mask: np.ndarray, distance: np.ndarray, gap: float) -> tuple[np.ndarray, int]:
    """Labels (Y, X) int32 of a mask, and their number: seeds are the peaks of the distance to the background.

    From these a watershed floods the mask. Vincent L, Soille P (1991) Watersheds in digital spaces, IEEE Trans Pattern
    Anal Mach Intell 13:583, doi:10.1109/34.87344

    Parameters
    ----------
    mask, distance
        Bool, and distance to the background in pixels, both (Y, X).
    gap
        Least distance between two seeds, pixels.
    """
    places = peak_local_max(distance * mask, min_distance=max(1, round(gap)), threshold_abs=0, exclude_border=False)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(places.T)] = np.arange(1, len(places) + 1)
    return watershed(-distance, seeds, mask=mask), len(places)


def without_specks(labels: np.ndarray, diameter: float) -> np.ndarray:
    """Labels int32 (Y, X), 1, 2, 3 ..., without objects far smaller than one of that diameter in pixels."""
    small = np.bincount(labels.ravel()) < SMALLEST * np.pi / 4 * diameter**2
    return relabel_sequential(np.where(small[labels], 0, labels))[0].astype(np.int32)
