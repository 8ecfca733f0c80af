"""What images with masks are like: the numbers from which settings are chosen."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, gaussian_laplace
from skimage.measure import label, regionprops_table
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from utils.data.examples import Example
from utils.images.masks import counted, evenly_chosen, without_ignored
from utils.images.normalise import (
    EACH_IMAGE,
    TOGETHER,
    noise_level,
    normalisation_of,
    normalised,
)

MOST_IMAGES = 60  # that are looked at, evenly chosen: more say little more
PIXELS = 2000  # of each image that a simple measure learns from
BLUR = 2.0  # pixels; a simple measure sees each pixel and its neighbourhood
BRIGHT = 0.6  # share of white that the background of a brightfield image exceeds
COLOURED = 0.03  # share of white by which the channels of a colour image differ


def fingerprint(examples: Sequence[Example], objects: bool) -> dict:
    """Numbers that say what training images with masks are like; plain values for model.json.

    Parameters
    ----------
    examples
        Training images; at most `MOST_IMAGES` of them, evenly chosen, are looked at.
    objects
        Whether masks are labels of objects; else the connected parts of the foreground count as objects.
    """
    looked_at = evenly_chosen(examples, MOST_IMAGES)
    images = pd.DataFrame([_image(one) for one in looked_at])
    sizes = pd.concat([_objects(one.mask, objects) for one in looked_at])
    middle, smallest, largest = images.median(), images.min(), images.max()
    return {
        "images": len(examples),
        "channels": examples[0].image.array.shape[-1],
        "height": [int(values["height"]) for values in (smallest, middle, largest)],
        "width": [int(values["width"]) for values in (smallest, middle, largest)],
        "foreground_share": [round(float(values["foreground"]), 5) for values in (smallest, middle, largest)],
        "without_foreground": int((images["foreground"] == 0).sum()),
        "brightness_spread": round(float(largest["range"] / max(smallest["range"], 1e-9)), 2),
        "saturated_share": round(float(images["saturated"].mean()), 5),
        "noise": round(float(middle["noise"]), 4),
        "focus": round(float(middle["focus"]), 4),
        "brightfield": bool(middle["background"] > BRIGHT),
        "coloured": bool(middle["colour"] > COLOURED),
        "objects": len(sizes),
        "object_diameter": [round(float(one), 1) for one in _quantiles(sizes["diameter"])],
        "object_extent": float(sizes["extent"].max()) if len(sizes) else 0.0,
        "touching_share": round(float(sizes["touching"].mean()), 3) if len(sizes) else 0.0,
    }


def measured(examples: Sequence[Example], objects: bool) -> dict:
    """`fingerprint` with what brightness or colour alone tells, see `told_by_brightness`, for both normalisations."""
    arrays = [one.image.array for one in examples]
    told = {
        per: round(told_by_brightness(examples, objects, normalisation_of(arrays, per, arrays[0].shape[-1] == 3)), 4)
        for per in (EACH_IMAGE, TOGETHER)
    }
    return fingerprint(examples, objects) | {"told_by_brightness": told}


def fingerprint_table(fingerprint: Mapping) -> pd.DataFrame:
    """The numbers of `measured` for the page: what, value, what it means."""
    one, sizes = fingerprint, fingerprint["object_diameter"]
    share, told = (100 * value for value in one["foreground_share"]), one["told_by_brightness"]
    rows = [
        ("Training images", f"{one['images']}", "10 to 20 that differ from each other are a good start"),
        ("Height, width [px]", f"{_sizes(one['height'])}; {_sizes(one['width'])}", "smallest, typical, largest"),
        ("Channels", f"{one['channels']}", "stained tissue" if one["brightfield"] and one["coloured"] else "greys"),
        ("Foreground [% of area]", _span(share), f"smallest, typical, largest; none in {one['without_foreground']}"),
        ("Width of objects [px]", _span(sizes), "small, typical, large; decides patch and levels"),
        ("Objects", f"{one['objects']}", f"{100 * one['touching_share']:.0f} % touch another one"),
        ("Contrast, brightest to faintest image", f"{one['brightness_spread']:.1f} times", "1 = all alike"),
        ("Saturated pixels [%]", f"{100 * one['saturated_share']:.2g}", "more than a few: exposure was too long"),
        ("Noise [% of contrast]", f"{100 * one['noise']:.1f}", "below 5 is little"),
        ("Focus", f"{one['focus']:.3f}", "higher is sharper; compare with your other images only"),
        *[
            (f"Told by brightness or colour alone, {per}", f"{value:.2f}", "0.5 = nothing, 1 = all")
            for per, value in told.items()
            if not np.isnan(value)
        ],
    ]
    return pd.DataFrame(rows, columns=["what", "value", "what it means"])


def _sizes(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


def _span(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _quantiles(values: pd.Series) -> np.ndarray:
    """10th percentile, median and 90th percentile; zeros without values."""
    return np.quantile(values, [0.1, 0.5, 0.9]) if len(values) else np.zeros(3)


def _image(example: Example) -> dict:
    """Measurements of one image; brightness as a share of white."""
    array = example.image.array
    white = float(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else float(max(array.max(), 1e-9))
    grey = array.mean(axis=-1, dtype=np.float32)
    low, high = np.percentile(grey, (1, 99.8))
    background = grey[example.mask == 0]
    typical = array.reshape(-1, array.shape[-1]).mean(axis=0) / white
    return {
        "height": array.shape[0],
        "width": array.shape[1],
        "foreground": float((example.mask > 0).sum() / counted(example.mask).sum()),
        "range": float(high - low),
        "saturated": float((array >= white).mean()),
        "noise": max(noise_level(array[..., c]) for c in range(array.shape[-1])) / max(high - low, 1e-9),
        "focus": float(gaussian_laplace(grey, 1).var() / max(grey.var(), 1e-9)),
        "background": float(np.median(background) / white) if background.size else np.nan,
        "colour": float(np.ptp(typical)) if len(typical) == 3 else 0.0,
    }


def _objects(mask: np.ndarray, objects: bool) -> pd.DataFrame:
    """Diameter of a circle of the same area and longest side of the box in pixels, and whether an object touches."""
    labels = without_ignored(mask) if objects else label(mask > 0)
    table = pd.DataFrame(regionprops_table(labels, properties=("label", "area", "bbox")))
    if not len(table):
        return pd.DataFrame({"diameter": [], "extent": [], "touching": []})
    sides = np.maximum(table["bbox-2"] - table["bbox-0"], table["bbox-3"] - table["bbox-1"])
    touching = np.zeros(labels.max() + 1, bool)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        meet = (one != other) & (one > 0) & (other > 0)
        touching[one[meet]] = touching[other[meet]] = True
    return pd.DataFrame(
        {"diameter": 2 * np.sqrt(table["area"] / np.pi), "extent": sides, "touching": touching[table["label"]]}
    )


def told_by_brightness(examples: Sequence[Example], objects: bool, normalisation: Mapping, seed: int = 0) -> float:
    """How well a pixel's own brightness or colour tells its class, on images that the measure has not seen.

    A decision tree of depth 6 learns from `PIXELS` of each image, as they are and blurred; its answers on the images of
    the other folds are compared with the masks. Mean over images of the balanced accuracy, 0 to 1; NaN for fewer than
    two images.

    Parameters
    ----------
    examples
        Training images; images of one group are never on both sides.
    objects
        Whether masks are labels of objects, so that foreground or not is what is asked.
    normalisation
        That of model.json.
    """
    groups = [one.group for one in examples]
    folds = min(4, len(set(groups)))
    if folds < 2:
        return float("nan")
    drawn = [_pixels(one, objects, normalisation, np.random.default_rng((seed, i))) for i, one in enumerate(examples)]
    x, y = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    place = np.repeat(np.arange(len(drawn)), [len(part) for _, part in drawn])
    tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=20, class_weight="balanced", random_state=seed)
    found = cross_val_predict(tree, x, y, groups=np.array(groups)[place], cv=GroupKFold(folds))
    right = pd.DataFrame({"image": place, "class": y, "right": found == y})
    return float(right.groupby(["image", "class"])["right"].mean().groupby("image").mean().mean())


def _pixels(
    example: Example, objects: bool, normalisation: Mapping, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 2 C) and classes (n,) of pixels of one image."""
    array = example.image.array
    image = normalised(array, normalisation)
    blurred = gaussian_filter(image, BLUR, axes=(0, 1))
    chosen = rng.integers(0, example.mask.size, PIXELS)
    if not (known := counted(example.mask)).all():
        chosen = rng.choice(np.flatnonzero(known), PIXELS)
    features = np.concatenate([image, blurred], axis=-1).reshape(example.mask.size, -1)
    classes = example.mask > 0 if objects else example.mask
    return features[chosen], classes.ravel()[chosen].astype(int)
