"""Number, size, shape and brightness of the objects of an image, with units in the names."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from skimage.measure import regionprops_table
from skimage.segmentation import relabel_sequential

from utils.images.image import Image

# Lengths and areas of skimage.measure.regionprops, and what they are called in objects.csv.
LENGTHS = {
    "centroid-1": "centroid_x",
    "centroid-0": "centroid_y",
    "equivalent_diameter_area": "equivalent diameter",
    "perimeter_crofton": "perimeter",  # regionprops' "perimeter" makes discs of any size 5 % too long
}
SHAPES = ("eccentricity", "solidity")
INTENSITIES = {"intensity_mean": "mean", "intensity_min": "min", "intensity_max": "max"}
MEASURED = (
    "label",
    "bbox",
    "area",
    "centroid",
    "equivalent_diameter_area",
    "perimeter_crofton",
    "orientation",
    *SHAPES,
)


def measure_objects(
    labels: np.ndarray, array: np.ndarray, channels: Sequence[str], pixel_size_um: float | None = None
) -> pd.DataFrame:
    """Measure each object with `skimage.measure.regionprops`: a row per object in order of its label.

    `labels` are (Y, X), unsigned, 0 is background; `array` is the image (Y, X, C) as read, may be memory-mapped. Where
    the width of a pixel in micrometres is unknown, the columns in um and um2 are NaN.

    Columns: label; centroid_x and centroid_y, area, equivalent diameter (of a circle of that area) and perimeter
    (Crofton's formula) in px and um; eccentricity (0 circle, to 1 line); solidity (area by that of the convex hull);
    orientation (of the long axis in degrees, 0 to 180, counter-clockwise from the x axis as in Fiji); touches border;
    mean, min and max of each channel. The centre of the upper left pixel is (0, 0).
    """
    if not labels.any():
        return pd.DataFrame(columns=column_names(channels))
    with warnings.catch_warnings():  # the hull of an object of one pixel or a straight line cannot be computed
        warnings.simplefilter("ignore")
        found = regionprops_table(labels, array, properties=(*MEASURED, *INTENSITIES))
    columns = {"label": found["label"]}
    scale = pixel_size_um or np.nan
    for name in ("centroid-1", "centroid-0"):
        columns |= _with_unit(LENGTHS[name], found[name], scale)
    columns |= {"area [px]": found["area"].astype(int), "area [um2]": found["area"] * scale**2}
    for name in ("equivalent_diameter_area", "perimeter_crofton"):
        columns |= _with_unit(LENGTHS[name], found[name], scale)
    columns |= {name: found[name] for name in SHAPES}
    columns["orientation [deg]"] = (90 + np.rad2deg(found["orientation"])) % 180  # regionprops counts from the y axis
    top, left, bottom, right = (found[f"bbox-{i}"] for i in range(4))
    height, width = labels.shape
    columns["touches border"] = (top == 0) | (left == 0) | (bottom == height) | (right == width)
    for i, channel in enumerate(channels):
        columns |= {f"{short} {channel}": found[f"{name}-{i}"] for name, short in INTENSITIES.items()}
    return pd.DataFrame(columns)


def _with_unit(name: str, pixels: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """Column in pixels and column in micrometres."""
    return {f"{name} [px]": pixels, f"{name} [um]": pixels * scale}


def column_names(channels: Sequence[str]) -> list[str]:
    """Names of the columns of `measure_objects`."""
    one = np.ones((1, 1), np.uint8)
    return list(measure_objects(one, np.ones((1, 1, len(channels)), np.uint8), channels))


def numbered(objects: "Objects") -> "Objects":
    """The same objects numbered 1 to n without gaps, those left out of which no pixel is seen.

    Labels are uint16, or uint32 where there are more than 65535.
    """
    labels, _, inverse = relabel_sequential(objects.labels)
    rows = np.asarray(inverse)[1:] - 1
    class_ids = None if objects.class_ids is None else objects.class_ids[rows]
    labels = labels.astype(np.uint16 if len(rows) <= 65535 else np.uint32)
    return type(objects)(labels, objects.outlines[rows], objects.probability[rows], class_ids)


def object_table(
    objects: "Objects", image: Image, channels: Sequence[str], names: Mapping[int, str], place: Mapping
) -> pd.DataFrame:
    """Rows of objects.csv: file, plane, label, class (where there are classes), probability, then `measure_objects`.

    `objects` come from `numbered`, `image` is the plane they were found in, `names` those of the classes by id, and
    `place` has file and plane.
    """
    table = measure_objects(objects.labels, image.array, channels, image.pixel_size_um)
    table.insert(1, "probability", objects.probability)
    if objects.class_ids is not None:
        table.insert(1, "class", [names[int(one)] for one in objects.class_ids])
    for i, name in enumerate(("file", "plane")):
        table.insert(i, name, place[name])
    return table


def count_objects(objects: "Objects", image: Image, names: Mapping[int, str]) -> dict:
    """Number of objects (of each class too), share of the image they cover, and density where the pixel size is known.

    `objects` come from `numbered`, `image` is the plane they were found in, `names` those of the classes by id.
    """
    labels, size, n = objects.labels, image.pixel_size_um, len(objects.probability)
    row = {"width [px]": labels.shape[1], "height [px]": labels.shape[0], "pixel size [um]": size, "objects": n}
    if objects.class_ids is not None:
        row |= {f"objects {name}": int((objects.class_ids == number).sum()) for number, name in names.items()}
    row["covered [% of image]"] = 100 * np.count_nonzero(labels) / labels.size
    row["objects per mm2"] = n / (labels.size * size**2 / 1e6) if size else np.nan
    return row


@dataclass(frozen=True)
class Objects:
    """Objects found in one image.

    Attributes
    ----------
    labels
        (Y, X) int32, 0 is background; label i belongs to row i - 1 of the others. A label may be absent where other
        objects cover it.
    outlines, probability
        float32 (n, 2, n_rays), y and x of the outline in pixels; float32 (n,).
    class_ids
        int (n,) from 1, None where the model knows no classes.
    """

    labels: np.ndarray
    outlines: np.ndarray
    probability: np.ndarray
    class_ids: np.ndarray | None
