"""What the images of the classes are like: sizes, balance, brightness, and which simple measure tells classes apart."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

if TYPE_CHECKING:
    from utils.data.crops import Crop
    from utils.data.project import Project

MOST = 700  # images that are measured
FOLDS = 5
LEAVES_PER_CLASS, SMALLEST_LEAF = 2, 3
ZOOM, DRAWS = 0.1, 5  # of the augmentation that size must bear
MEASURES = ("brightness", "size", "texture", "direction")
MEANING = {
    "brightness": "above 0.15: how bright the object is tells classes apart, so that one range must serve all images",
    "size": "above 0.15: the size of the object tells classes apart, so that images are enlarged or shrunk with care",
    "texture": "above 0.15: the grain of the object tells classes apart, so that coarse pixels lose something",
    "direction": "above 0.5: where the object points or lies tells classes apart, so that images must not be turned",
}


def fingerprint(project: "Project", seed: int = 0) -> dict:
    """Describe the training images of a project, as plain JSON values; at most 700 of them are measured.

    Returns
    -------
    dict
        images, classes (name -> images), groups (0 where every image stands alone), height and width (smallest, median,
        largest, pixels), channels, low and high (for each channel the 10th, 50th and 90th percentile over images of the
        image's 1st and 99.8th percentile), contrast_ratio (90th to 10th percentile of the images' ranges, of the
        channel where that is largest), between_to_within (standard deviation of the images' means over the mean
        standard deviation within images), between_groups (share of that variance that lies between groups, None without
        groups), tells (measure of `MEASURES` -> see `told_by`), size_zoomed (what size still
        tells of images enlarged or shrunk by up to 10 %), noise (standard deviation of the finest grain over that
        of the image) and focus (variance of the Laplacian over that of the image), medians.
    """
    crops = project.examples("training")
    names = {one["id"]: one["name"] for one in project.dataset.classes}
    counts, groups = Counter(one.class_id for one in crops), Counter(one.group for one in crops)
    sides = np.array([one.image.array.shape[:2] for one in crops])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(crops))[:MOST])
    measured = [crops[i] for i in chosen]
    return {
        "images": len(crops),
        "classes": {name: counts[class_id] for class_id, name in names.items()},
        "groups": len(groups) if max(groups.values()) > 1 else 0,
        "height": [int(of(sides[:, 0])) for of in (np.min, np.median, np.max)],
        "width": [int(of(sides[:, 1])) for of in (np.min, np.median, np.max)],
        "channels": crops[0].image.array.shape[-1],
        **_brightness(measured),
        **_measured(measured),
    }


def _brightness(crops: Sequence["Crop"]) -> dict:
    """Entries on brightness within and between images and groups."""
    levels = np.array([np.percentile(one.image.array, (1, 99.8), axis=(0, 1)) for one in crops])  # (n, 2, C)
    means = np.array([one.image.array.mean(axis=(0, 1)) for one in crops])
    within = np.array([one.image.array.std(axis=(0, 1)) for one in crops]).mean(axis=0)
    over_images = np.percentile(levels, (10, 50, 90), axis=0)  # (3, 2, C)
    small, _, large = np.percentile(levels[:, 1] - levels[:, 0], (10, 50, 90), axis=0)
    return {
        "low": over_images[:, 0].T.round(3).tolist(),
        "high": over_images[:, 1].T.round(3).tolist(),
        "contrast_ratio": float((large / np.maximum(small, 1e-9)).max().clip(max=1e6)),
        "between_to_within": float((means.std(axis=0) / np.maximum(within, 1e-9)).max()),
        "between_groups": _between(means, [one.group for one in crops]),
    }


def _between(means: np.ndarray, groups: Sequence[str]) -> float | None:
    """Largest share of the variance of a channel's means (n, C) that lies between groups."""
    table = pd.DataFrame(means)
    if len(set(groups)) in (1, len(groups)):
        return None
    shares = table.groupby(list(groups)).transform("mean").var(ddof=0) / table.var(ddof=0).clip(lower=1e-9)
    return float(shares.max())


def _measured(crops: Sequence["Crop"]) -> dict:
    """Entries tells, noise and focus."""
    rows = [measures(one.image.array) for one in crops]
    y, groups = np.array([one.class_id for one in crops]), [one.group for one in crops]
    tells = {name: told_by(np.array([row[name] for row in rows]), y, groups) for name in MEASURES}
    medians = {name: float(np.median([row[name] for row in rows])) for name in ("noise", "focus")}
    sizes = np.array([row["size"] for row in rows])
    return {"tells": tells, "size_zoomed": _told_by_zoomed(sizes, y, groups), **medians}


def _told_by_zoomed(sizes: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> float:
    """`told_by` areas (n, measures) of images that were enlarged or shrunk at random by up to `ZOOM`: mean of draws."""
    rng = np.random.default_rng(0)
    factors = (np.exp(2 * np.log1p(ZOOM) * rng.uniform(-1, 1, (len(y), 1))) for _ in range(DRAWS))
    return float(np.mean([told_by(sizes * one, y, groups) for one in factors]))


def measures(image: np.ndarray) -> dict[str, list[float]]:
    """Simple measures of a crop (Y, X, C): each of `MEASURES` as a list of numbers, and noise and focus of it all."""
    found: dict[str, list[float]] = {name: [] for name in (*MEASURES, "noise", "focus")}
    for plane in np.moveaxis(image.astype(np.float64), -1, 0):
        mask = plane > threshold_otsu(plane)
        inside = plane[mask] if mask.any() else plane.ravel()
        spread = plane.std() + 1e-9
        fine, coarse = plane - ndimage.uniform_filter(plane, 3), plane - ndimage.uniform_filter(plane, 9)
        found["brightness"] += [inside.mean(), np.median(plane), inside.max()]
        smooth = plane - coarse
        found["size"] += [mask.sum(), (smooth > (smooth.min() + smooth.max()) / 2).sum()]
        found["texture"] += [fine.std() / spread, coarse.std() / spread, inside.std() / spread]
        found["direction"] += _direction(mask)
        found["noise"].append(fine.std() / spread)
        found["focus"].append(ndimage.laplace(plane).var() / spread**2)
    return found


def _direction(mask: np.ndarray) -> list[float]:
    """To which side of the middle the bright pixels of a mask (Y, X) lie, and along which axis: unit vectors, or 0."""
    y, x = np.nonzero(mask)
    if len(y) < 2:
        return [0.0] * 4
    (yy, yx), (_, xx) = np.cov(y, x)
    aside = np.array([y.mean(), x.mean()]) - (np.array(mask.shape) - 1) / 2
    pairs = aside, np.array([yy - xx, 2 * yx])
    return np.concatenate([pair / (np.hypot(*pair) + 1e-9) for pair in pairs]).tolist()


def told_by(x: np.ndarray, y: np.ndarray, groups: Sequence[str]) -> float:
    """How well a small decision tree on `x` (n, measures) tells the classes `y` (n,) apart: 0 chance, 1 perfect.

    Balanced accuracy out of fold (whole groups), moved so that chance is 0; 0 where there is nothing to compare.
    """
    n = min(FOLDS, len(set(groups)), int(np.bincount(y).max()))
    k = len(set(y.tolist()))
    if n < 2 or k < 2:
        return 0.0
    tree = DecisionTreeClassifier(
        max_leaf_nodes=LEAVES_PER_CLASS * k, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced", random_state=0
    )
    folds = StratifiedGroupKFold(n, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer images than folds
        said = cross_val_predict(tree, x, y, groups=groups, cv=folds)
    return max(0.0, (balanced_accuracy_score(y, said) - 1 / k) / (1 - 1 / k))


def fingerprint_table(found: Mapping) -> pd.DataFrame:
    """The fingerprint for the page: columns what, value, what it means."""
    counts = list(found["classes"].values())
    rarest = min(found["classes"], key=found["classes"].get)
    balance = f"the rarest is {rarest} with {min(counts)} images, the largest has {max(counts)}"
    rows = [
        ("training images", found["images"], "with few images, more is gained by more images than by any setting"),
        ("classes", len(counts), balance if min(counts) < max(counts) else f"each has {max(counts)} images"),
        (
            "groups",
            found["groups"] or "none",
            "images of one group (patient, slide, day) stay on one side of the split",
        ),
        ("height, pixels", _range(*found["height"]), "images are brought to one size"),
        ("width, pixels", _range(*found["width"]), ""),
        ("contrast, brightest to faintest tenth", f"{found['contrast_ratio']:.1f}", "above 4: exposures differ a lot"),
        (
            "spread of brightness, between to within images",
            f"{found['between_to_within']:.2f}",
            "above 1: images differ more from each other than the pixels of one image do",
        ),
    ]
    if found["between_groups"] is not None:
        meaning = "near 1: groups differ in brightness, which may be their exposure rather than their biology"
        rows.append(("share of that between groups", f"{found['between_groups']:.2f}", meaning))
    rows += [
        (f"told by {name} alone (0 chance, 1 all)", f"{found['tells'][name]:.2f}", MEANING[name]) for name in MEASURES
    ]
    rows += [
        ("noise", f"{found['noise']:.2f}", "share of the contrast that lies in single pixels; above 0.5: noisy"),
        ("focus", f"{found['focus']:.2f}", "higher is sharper; compare with your other images only"),
    ]
    return pd.DataFrame(rows, columns=["what", "value", "what it means"])


def _range(smallest: int, median: int, largest: int) -> str:
    """Sizes in words."""
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest} (most often about {median})"
