"""The troubles of supervised learning that show in the data themselves: uneven images, copies, rare classes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import PIL.Image
from scipy.ndimage import gaussian_filter, gaussian_laplace

from utils.checks import Dataset, Example
from utils.images import percentiles

FOCUS_WINDOW = 1024  # side in pixels of the middle part that focus is measured on
FEWEST = 6  # images without which nothing can be called typical
MAD_TO_SD, MEAN_AD_TO_SD = 1.4826, 1.2533  # of a normal distribution
SMALLEST_RATIO = 1.25  # smaller differences than this do not matter, however regular the others are
COARSE, FINE = 32, 128  # sides in pixels of the two pictures that copies are looked for in
COARSE_SIMILARITY, FINE_SIMILARITY = 0.6, 0.7  # on nuclei and H&E: copies >= 0.75, different images <= 0.4


def image_features(examples: Sequence[Example]) -> pd.DataFrame:
    """Measure on each image what often differs between microscopes, stains and days.

    Parameters
    ----------
    examples : sequence of Example

    Returns
    -------
    DataFrame
        Index: name. Columns: group; mean intensity and contrast (standard deviation), both in grey levels of the mean
        of the channels; height and width in pixels; focus, the variance of the Laplacian [1]_ of Gaussian (1 pixel)
        divided by that of the image; foreground share (0 to 1).

    References
    ----------
    .. [1] Pech-Pacheco et al. (2000) Diatom autofocusing in brightfield microscopy: a comparative study,
       https://doi.org/10.1109/ICPR.2000.903548
    """
    rows = {example.name: {"group": example.group, **_features(example)} for example in examples}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("file")


def _features(example: Example) -> dict[str, float]:
    """Measurements of one image."""
    grey = example.image.array.mean(axis=-1, dtype=np.float32)
    brightness = plane_features(grey)
    sizes = {"height": grey.shape[0], "width": grey.shape[1], "focus": brightness.pop("focus")}
    return {**brightness, **sizes, "foreground share": float((example.mask > 0).mean())}


def plane_features(plane: np.ndarray) -> dict[str, float]:
    """Mean intensity, contrast and focus, see `image_features`, of one channel (Y, X) of float32."""
    y, x = (max(0, (side - FOCUS_WINDOW) // 2) for side in plane.shape)
    middle = plane[y : y + FOCUS_WINDOW, x : x + FOCUS_WINDOW]
    return {
        "mean intensity": float(plane.mean()),
        "contrast": float(plane.std()),
        "focus": float(gaussian_laplace(middle, 1).var() / max(middle.var(), np.finfo(np.float32).tiny)),
    }


def outliers(features: pd.DataFrame) -> pd.DataFrame:
    """Images, and groups as a whole, that differ from the rest.

    How far a value is off is its distance to the median in robust standard deviations (1.4826 times the median
    absolute deviation [1]_), on a logarithmic scale for features that are always positive. The limit is 4.4 + 40 / n:
    in at least 99.5 % of simulated cases none of n normal values was farther off. A group is named where each of its
    images lies on one side beyond 0.7 of the limit from the images of all other groups; these are not named again.

    Parameters
    ----------
    features : DataFrame
        See `image_features`; column group and numbers.

    Returns
    -------
    DataFrame
        file ("" for a group), group, feature, value, typical (median), how far (robust standard deviations); farthest
        first. Empty for fewer than 6 images.

    References
    ----------
    .. [1] Iglewicz & Hoaglin (1993) How to detect and handle outliers, ASQC Quality Press
    """
    rows = []
    for feature in features.columns.drop("group"):
        groups = _odd_groups(features, feature)
        rows += groups
        rows += _odd_images(features, feature, {row["group"] for row in groups})
    table = pd.DataFrame(rows, columns=["file", "group", "feature", "value", "typical", "how far"])
    return table.sort_values("how far", ascending=False, key=abs, ignore_index=True)


def _odd_groups(features: pd.DataFrame, feature: str) -> list[dict]:
    """Rows of the groups of two or more images that all differ from the others."""
    rows = []
    for group, own in features.groupby("group"):
        others = features.loc[features["group"] != group, feature]
        if len(own) < 2 or len(others) < FEWEST:
            continue
        distance, limit = _distance(own[feature], others)
        nearest = distance[np.abs(distance).argmin()]
        if (np.sign(distance) == np.sign(nearest)).all() and abs(nearest) > 0.7 * limit:
            rows.append(_row("", str(group), feature, own[feature].median(), others.median(), nearest))
    return rows


def _odd_images(features: pd.DataFrame, feature: str, told: set[str]) -> list[dict]:
    """Rows of the single images that differ, but those of the groups `told`."""
    if len(features) < FEWEST:
        return []
    values = features[feature]
    distance, limit = _distance(values, values)
    return [
        _row(file, group, feature, value, values.median(), far)
        for file, group, value, far in zip(features.index, features["group"], values, distance, strict=True)
        if abs(far) > limit and group not in told
    ]


def _row(file: str, group: str, feature: str, value: float, typical: float, far: float) -> dict:
    """One row of the table of outliers."""
    columns = {"file": file, "group": group, "feature": feature, "value": value, "typical": typical}
    return {**columns, "how far": round(float(far), 1)}


def _distance(values: pd.Series, reference: pd.Series) -> tuple[np.ndarray, float]:
    """Signed distance of `values` (n,) from the median of `reference` in robust standard deviations, and the limit."""
    positive = bool((reference > 0).all() and (values > 0).all())
    x, y = (np.log(s.to_numpy(float)) if positive else s.to_numpy(float) for s in (values, reference))
    deviation = np.abs(y - np.median(y))
    spread, limit = MAD_TO_SD * np.median(deviation), 4.4 + 40 / len(y)
    if spread == 0:  # more than half are equal, such as sizes: no noise that the limit would have to allow for
        spread, limit = MEAN_AD_TO_SD * deviation.mean(), 4.4
    distance = x - np.median(y)
    if positive:
        distance = np.where(np.abs(distance) < np.log(SMALLEST_RATIO), 0, distance)
    return np.divide(distance, max(spread, np.finfo(float).tiny)), limit


def duplicates(examples: Sequence[Example]) -> pd.DataFrame:
    """Pairs of images that are near copies, also if flipped, turned by 90 degrees, rescaled or brightened.

    Small pictures of the images, without their slow changes of brightness, are correlated in all eight orientations:
    first at 32 x 32 pixels, then, where that correlation is above 0.6, at 128 x 128.

    Parameters
    ----------
    examples : sequence of Example

    Returns
    -------
    DataFrame
        file_a, file_b, similarity (correlation at 128 x 128, above 0.7), most similar first.
    """
    fine = np.stack([_thumbnail(example.image.array) for example in examples])
    coarse = fine.reshape(len(fine), COARSE, FINE // COARSE, COARSE, FINE // COARSE).mean(axis=(2, 4))
    coarse, fine = _flattened(coarse), _flattened(fine)
    similar = np.max([coarse @ turned.T for turned in _orientations(coarse, COARSE)], axis=0)
    rows = []
    for a, b in np.argwhere(np.triu(similar > COARSE_SIMILARITY, 1)):
        similarity = max(float(fine[a] @ turned[0]) for turned in _orientations(fine[b : b + 1], FINE))
        if similarity > FINE_SIMILARITY:
            rows.append((examples[a].name, examples[b].name, round(similarity, 3)))
    table = pd.DataFrame(rows, columns=["file_a", "file_b", "similarity"])
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def _thumbnail(array: np.ndarray) -> np.ndarray:
    """Mean of the channels of an image (Y, X, C) at 128 x 128 pixels, float32, without specks and slow changes."""
    grey = PIL.Image.fromarray(array.mean(axis=-1, dtype=np.float32))
    small = np.asarray(grey.resize((FINE, FINE), PIL.Image.Resampling.BOX))
    low, high = percentiles(small[..., np.newaxis], 0.2, 99.8)
    small = np.clip(small, low, high)
    return small - gaussian_filter(small, FINE / 8)


def _flattened(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, side, side) as rows (n, side**2) of mean 0 and length 1; an even picture becomes zeros."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _orientations(rows: np.ndarray, side: int) -> list[np.ndarray]:
    """Rows (n, side**2) of flattened pictures in the eight orientations of a square."""
    pictures = rows.reshape(-1, side, side)
    both = (pictures, pictures.transpose(0, 2, 1))
    return [np.rot90(picture, k, axes=(1, 2)).reshape(rows.shape) for picture in both for k in range(4)]


def class_shares(dataset: Dataset, roles: Sequence[str]) -> pd.DataFrame:
    """How much of each class there is in each part of the split.

    Parameters
    ----------
    dataset : Dataset
        With its examples.
    roles : sequence of str
        Role of each example ("training", "validation", "test").

    Returns
    -------
    DataFrame
        role, class (name), pixels, share (0 to 1, of the pixels of that role), images (that contain the class).
    """
    n = len(dataset.classes)
    counts = np.array([np.bincount(example.mask.ravel(), minlength=n) for example in dataset.examples])  # (images, n)
    rows = []
    for role in dict.fromkeys(roles):
        own = counts[np.asarray(roles) == role]
        for entry, pixels, images in zip(dataset.classes, own.sum(axis=0), (own > 0).sum(axis=0), strict=True):
            share = pixels / own.sum()
            rows.append((role, entry["name"], int(pixels), share, int(images)))
    return pd.DataFrame(rows, columns=["role", "class", "pixels", "share", "images"])
