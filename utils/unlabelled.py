"""Objects that were forgotten in the annotation: places that look like the labelled objects but have no label."""

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.transform import downscale_local_mean

FEWEST_LABELLED = 5  # objects without which nothing can be called like them
DIMMEST = 25  # percentile of the labelled objects that an unlabelled one must exceed
WORKING_RADIUS = 5  # pixels that an object's radius is reduced to, for speed


def unlabelled(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find places outside all labels that look like the labelled objects of the same image.

    Blobs are found by the Laplacian of Gaussian at the size of the median object [1]_, in the channel in which objects
    and background differ most (objects may be darker). A blob counts if it is more distinct from what surrounds it, and
    brighter, than a quarter of the labelled objects, and farther than half a radius from labels and from the border.

    Parameters
    ----------
    image : ndarray
        Shape (Y, X, C).
    labels : ndarray
        Shape (Y, X), integers, 0 is background.

    Returns
    -------
    ndarray
        Shape (n, 2): y and x in pixels. Empty for fewer than 5 labelled objects.

    References
    ----------
    .. [1] Lindeberg (1998) Feature detection with automatic scale selection, https://doi.org/10.1023/A:1008045108935
    """
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return np.zeros((0, 2))
    radius = np.sqrt(np.median(areas) / np.pi)
    step = max(1, int(radius / WORKING_RADIUS))
    image, labels = _reduced(image, labels, step)
    grey = _bright_objects(image, labels > 0)
    return _blobs(grey, labels, radius / step) * step + (step - 1) / 2


def _reduced(image: np.ndarray, labels: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (Y, X, C) and labels (Y, X) at 1 / step of their size; the rest of a division is cut off."""
    height, width = (side - side % step for side in labels.shape)
    small = downscale_local_mean(image[:height, :width].astype(np.float32), (step, step, 1))
    return small, labels[step // 2 : height : step, step // 2 : width : step]


def _bright_objects(image: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The channel (Y, X) float32 in which objects stand out most; negative where objects are darker."""
    inside, outside = image[foreground], image[~foreground]  # each (pixels, C)
    if not len(inside) or not len(outside):
        return np.zeros(foreground.shape, np.float32)
    difference = np.median(inside, axis=0) - np.median(outside, axis=0)
    spread = sum(np.median(np.abs(part - np.median(part, axis=0)), axis=0) for part in (inside, outside))
    best = np.argmax(np.abs(difference) / np.maximum(spread, np.finfo(np.float32).tiny))
    return np.sign(difference[best]) * image[..., best]


def _blobs(grey: np.ndarray, labels: np.ndarray, radius: float) -> np.ndarray:
    """Places (n, 2) of unlabelled blobs of the given radius in pixels; see `unlabelled`."""
    index = np.unique(labels[labels > 0])
    if len(index) < FEWEST_LABELLED:  # some may have been lost on the way to a smaller size
        return np.zeros((0, 2))
    smooth = ndimage.gaussian_filter(grey, radius / 2)
    distinct = -ndimage.gaussian_laplace(grey, max(1, radius / np.sqrt(2)))
    least_bright, least_distinct = (
        np.percentile(ndimage.maximum(values, labels, index), DIMMEST) for values in (smooth, distinct)
    )
    peaks = peak_local_max(
        distinct,
        min_distance=max(2, int(radius / 2)),
        threshold_abs=max(0, least_distinct),  # an even background is one wide peak of height 0
        exclude_border=int(np.ceil(radius / 2)),
    )
    far = ndimage.distance_transform_edt(labels == 0) > radius / 2
    return peaks[(far & (smooth > least_bright))[tuple(peaks.T)]]
