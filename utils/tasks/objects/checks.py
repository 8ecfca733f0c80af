"""What goes wrong with annotated objects: torn, holed, tiny or forgotten ones, and sizes that do not fit."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label, regionprops_table
from skimage.transform import downscale_local_mean

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.errors import how_many
from utils.images.image import read_mask
from utils.images.masks import without_ignored

MOST_LISTED = 5  # places told in one problem
SIZE_COLUMNS = ["file", "group", "objects", "cut by the border", "median diameter [px]", "largest extent [px]"]
SPECK_AREA = 10  # pixels
SPECK_SHARE = 0.1  # of the median area of all objects: where all are small, they are no specks
GRID_POINTS = 4  # that an object should be across, or it may fall between the points where one can be found
FEWEST_LABELLED = 5  # objects without which nothing can be called like them
DIMMEST = 25  # percentile of the labelled objects that an unlabelled one must exceed
WORKING_RADIUS = 5  # pixels that an object's radius is reduced to, for speed


def object_problems(examples: Sequence[Example]) -> list[Problem]:
    """Warnings about the objects of each image; one for each image and kind, with the places of the first five.

    Looked for, where pixels count, are objects in several pieces, holes (background that one object alone encloses),
    specks (under 10 pixels and a tenth of the median area), regions that look like objects but have no label
    (`unlabelled`), and 8-bit label images whose 255 numbers are all used.
    """
    tables = [_measurements(example.mask) for example in examples]
    areas = np.concatenate([table["area"] for table in tables]) if tables else np.zeros(0)
    speck = min(SPECK_AREA, SPECK_SHARE * np.median(areas)) if len(areas) else 0
    return [
        problem
        for example, table in zip(examples, tables, strict=True)
        for problem in (
            _torn(example, table),
            _holed(example),
            _specks(example, table, speck),
            _forgotten(example),
            _ran_out(example),
        )
        if problem is not None
    ]


def _measurements(labels: np.ndarray) -> pd.DataFrame:
    """Area, centre (y, x), height and width of the box, diameter, and whether cut by the border, of each object."""
    labels = without_ignored(labels)
    properties = ("area", "centroid", "bbox", "equivalent_diameter_area")
    table = pd.DataFrame(regionprops_table(labels, properties=properties))
    table["height"], table["width"] = table["bbox-2"] - table["bbox-0"], table["bbox-3"] - table["bbox-1"]
    end = (table["bbox-2"] == labels.shape[0]) | (table["bbox-3"] == labels.shape[1])
    table["cut"] = (table["bbox-0"] == 0) | (table["bbox-1"] == 0) | end
    return table


def _places(points: Iterable[Sequence[float]]) -> str:
    """Points (y, x) as text, the first five, in the order x, y that Fiji shows."""
    points = list(points)
    shown = "; ".join(f"{x:.0f}, {y:.0f}" for y, x in points[:MOST_LISTED])
    return f"x, y = {shown}" + (" ..." if len(points) > MOST_LISTED else "")


def _warning(example: Example, what: str, remedy: str) -> Problem:
    """Warning about the mask of `example`."""
    return Problem("warning", str(example.mask_path), what, remedy)


def _torn(example: Example, table: pd.DataFrame) -> Problem | None:
    """Objects that are not connected."""
    pieces, n = label(without_ignored(example.mask), connectivity=2, return_num=True)
    if n == len(table):
        return None
    owner = np.zeros(n + 1, int)
    owner[pieces] = example.mask
    torn = np.flatnonzero(np.bincount(owner[1:])[1:] > 1)
    places = _places(table[["centroid-0", "centroid-1"]].to_numpy()[torn])
    what = f"{how_many(len(torn), 'object')} in several pieces, around {places}"
    return _warning(example, what, "Give each piece a number of its own, or remove stray pixels.")


def _holed(example: Example) -> Problem | None:
    """Background that is enclosed by one object alone."""
    holes = _holes(example.mask)
    if not len(holes):
        return None
    what = f"{how_many(len(holes), 'hole')} inside objects, at {_places(holes)}"
    return _warning(example, what, "Fill the holes in the label image; StarDist knows objects without holes only.")


def _holes(labels: np.ndarray) -> np.ndarray:
    """Centres (n, 2), y and x, of the regions of background that touch one label only and not the border."""
    outside, n = label(np.pad(labels == 0, 1, constant_values=True), connectivity=1, return_num=True)
    regions, index = outside[1:-1, 1:-1], np.arange(2, n + 1)  # region 1 holds the padded border
    if n < 2:
        return np.zeros((0, 2))
    cross = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
    lowest = ndimage.minimum_filter(
        np.where(labels == 0, np.int64(np.iinfo(np.int32).max), labels), footprint=cross, mode="nearest"
    )
    alone = ndimage.maximum(highest, regions, index) == ndimage.minimum(lowest, regions, index)
    return np.reshape(ndimage.center_of_mass(np.ones_like(labels), regions, index[alone]), (-1, 2))


def _specks(example: Example, table: pd.DataFrame, smallest: float) -> Problem | None:
    """Objects of fewer than `smallest` pixels that the border does not cut."""
    specks = table[(table["area"] < smallest) & ~table["cut"]]
    if specks.empty:
        return None
    places = _places(specks[["centroid-0", "centroid-1"]].to_numpy())
    what = f"{how_many(len(specks), 'speck')} of a few pixels, at {places}"
    return _warning(example, what, "Remove them unless they are real objects.")


def _forgotten(example: Example) -> Problem | None:
    """Regions that look like the labelled objects but have no label."""
    found = unlabelled(example.image.array, example.mask)
    if not len(found):
        return None
    what = f"{how_many(len(found), 'object')} without a label suspected, at {_places(found)}"
    return _warning(example, what, "Look at the picture: objects left out teach the network to overlook them.")


def _ran_out(example: Example) -> Problem | None:
    """An 8-bit label image all of whose numbers are in use."""
    if example.mask.max() != 255 or read_mask(example.mask_path).dtype != np.uint8:
        return None
    what = "an 8-bit label image with 255 objects: the numbers may have run out"
    return _warning(example, what, "Export it again as 16-bit, and check that no object is missing or shares a number.")


def object_sizes(examples: Sequence[Example]) -> pd.DataFrame:
    """Number and size of the objects of each image; both sizes are NaN for an image without objects.

    Columns: file, group, objects, cut by the border (both numbers), median diameter [px] (of a circle of equal area;
    objects that are cut are left out where there are others), largest extent [px] (height or width of the bounding
    box).
    """
    return pd.DataFrame([_sizes(example) for example in examples], columns=SIZE_COLUMNS)


def _sizes(example: Example) -> tuple:
    """One row of `object_sizes`."""
    table = _measurements(example.mask)
    whole = table if table["cut"].all() else table[~table["cut"]]
    diameter = whole["equivalent_diameter_area"].median()
    largest = table[["height", "width"]].max().max()
    return example.name, example.group, len(table), int(table["cut"].sum()), diameter, largest


def size_problems(
    examples: Sequence[Example], patch: tuple[int, int], field_of_view: tuple[int, int], grid: int
) -> list[Problem]:
    """At most three warnings: objects too large for the network or for a patch, or too small for the grid.

    The first is StarDist's own rule: the median extents must fit the field of view, what the network sees around a
    pixel (StarDist's `_axes_tile_overlap`). `patch` and `field_of_view` are height and width in pixels, `grid` is the
    distance in pixels of the points at which StarDist looks for objects. Images without objects
    play no part. The warnings are about the folder of masks.
    """
    from stardist.utils import calculate_extents  # here, because it takes seconds to import

    labels = [without_ignored(example.mask) for example in examples if (example.mask > 0).any()]
    if not labels:
        return []
    median, largest = (calculate_extents(labels, func) for func in (np.median, np.max))  # each (height, width)
    found = []
    if (median > field_of_view).any():
        what = f"objects of {_extents(median)} (median) are larger than the network's view of {_extents(field_of_view)}"
        found.append((what, "Choose a larger grid (4), or shrink images and masks."))
    if (largest > patch).any():
        what = f"the largest objects, up to {_extents(largest)}, do not fit into a patch of {_extents(patch)}"
        found.append((what, "Choose a larger patch, or shrink images and masks."))
    if (median < GRID_POINTS * grid).any():
        what = f"objects of {_extents(median)} (median) are only a few points of grid {grid} across"
        remedy = "Choose a smaller grid (1)." if grid > 1 else "Enlarge images and masks to twice their size or more."
        found.append((what, remedy))
    return [Problem("warning", str(examples[0].mask_path.parent), *one) for one in found]


def _extents(sides: Sequence[float]) -> str:
    """Height and width as text."""
    return f"{sides[0]:.0f} x {sides[1]:.0f} pixels (height x width)"


def unlabelled(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Find places outside all labels that look like the labelled objects of the same image.

    Blobs are found by the Laplacian of Gaussian at the size of the median object (Lindeberg (1998) Feature detection
    with automatic scale selection, https://doi.org/10.1023/A:1008045108935), in the channel of `image` (Y, X, C) in
    which objects and background differ most (objects may be darker). A blob counts if it is more distinct from what
    surrounds it, and brighter, than a quarter of the labelled objects, and farther than half a radius from `labels`
    (Y, X; 0 is background) and from the border. Returns (n, 2), y and x in pixels; empty for fewer than 5
    labelled objects.
    """
    areas = np.bincount(without_ignored(labels).ravel())[1:]
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
