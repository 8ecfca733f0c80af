"""What the channels of a package mean, and what follows from them: a class for each pixel, or objects."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from scipy.ndimage import find_objects
from skimage.feature import peak_local_max
from skimage.measure import find_contours, label
from skimage.segmentation import relabel_sequential, watershed

from utils.errors import ModelError, how_many
from utils.exchange.package_model import PackageModel

FOREGROUND, BOUNDARY, BACKGROUND, DISTANCE, LABELS = "foreground", "boundary", "background", "distance", "labels"
IGNORE = "ignore"
STARDIST = "stardist"  # probability, then distances to the border: found out, never asked for
WORDS = {
    FOREGROUND: r"foreground|fg",
    BOUNDARY: r"boundar(y|ies)|borders?|contours?|edges?|membranes?",
    BACKGROUND: r"background|bg",
    DISTANCE: r"dist(ance)?s?",
    LABELS: r"labels?|instances?",
    IGNORE: r"ignored?|nothing",
}
SAYS_NOTHING = re.compile(
    r"(c|ch|channels?|out(put)?s?|class(es)?|prob(ability|abilities)?|pred(iction)?s?|logits?|masks?|values?|images?|"
    r"segmentation|intensity|raw|y)?[\W_]*\d*",
    re.IGNORECASE,
)
FIELD = "package_channels"
LIKELY = 0.5  # probability from which on a pixel counts
TOLERANCE = 0.01  # of a probability beyond 0 and 1, which rounding may bring about
ALIKE = 0.8  # of a word to one that is known, from which on it is a typing error
CORNERS = 64  # of the outline of an object
NEAREST = 3  # pixels between the middles of two objects, where distances tell them apart
POST = ("StardistPostprocessing2D", "stardist_postprocessing")  # the step in bioimageio.core, and in a description


def meanings(model: PackageModel, asked: str = "") -> list[str]:
    """What each channel of a package means: a word of `WORDS`, `STARDIST`, or the name of a class.

    Parameters
    ----------
    model
        The package.
    asked
        Of the form: a word for each channel, with commas between them; "" where the package shall say it.

    Raises
    ------
    ModelError
        The package does not say it, or what was asked for does not fit.
    """
    if stardist_values(model):
        return [STARDIST] * len(model.names)
    if model.step("cellpose_flow_dynamics"):
        return [LABELS]
    if asked.strip():
        return _as_asked(model, [one.strip() for one in asked.split(",")])
    found = [IGNORE if mask else _meaning(name) for name, mask in zip(model.names, model.are_masks, strict=True)]
    if not all(found) or len(set(found)) < len(found) or not (makes_objects(found) or any(map(_names_one, found))):
        raise ModelError(f"{_told(model)} does not say what {_they(found)}. {_remedy(len(found))}")
    return found


def _as_asked(model: PackageModel, words: list[str]) -> list[str]:
    if len(words) != len(model.names) or not all(words):
        raise ModelError(
            f"{_told(model)} has another number of channels than the field {FIELD} says. {_remedy(len(model.names))}"
        )
    found = [next((word for word, known in WORDS.items() if _is(known, one)), one) for one in words]
    for one in found:
        if (meant := get_close_matches(one.casefold(), WORDS, 1, ALIKE)) and meant[0] != one:
            raise ModelError(f"The field {FIELD} says {one!r}. Did you mean {meant[0]}? Correct the word.")
    told = [one for one in found if one != IGNORE]
    if len(set(told)) < len(told) or not (makes_objects(found) or any(map(_names_one, found))):
        raise ModelError(f"{_told(model)} cannot be understood as the field {FIELD} says. {_remedy(len(model.names))}")
    return found


def _told(model: PackageModel) -> str:
    about = "; ".join(str(one.description) for one in model.about.outputs if one.description)
    names = ", ".join(model.names)
    said = f"{names}; {about}" if about else names
    return f"The package {model.folder}, which gives {how_many(len(model.names), 'channel')} ({said}),"


def _they(channels: Sequence) -> str:
    return "it means" if len(channels) == 1 else "they mean"


def _remedy(number: int) -> str:
    example = FOREGROUND if number == 1 else f"{FOREGROUND}, {BOUNDARY}" if number == 2 else "background, nucleus, ..."
    return (
        f"Write a word for {'it' if number == 1 else 'each of them, with commas between,'} into the field {FIELD} "
        f"(under Advanced): {', '.join(WORDS)}, or the name of a class. For example: {example}."
    )


def _is(known: str, name: str) -> bool:
    return bool(re.fullmatch(known, name, re.IGNORECASE))


def _meaning(name: str) -> str:
    """Meaning of a channel by its name, "" where that says nothing."""
    parts = re.split(r"[\W_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))
    found = [word for word, known in WORDS.items() if any(_is(known, part) for part in parts)]
    if found:
        return found[0] if len(found) == 1 else ""
    return "" if SAYS_NOTHING.fullmatch(name) else name


def stardist_values(model: PackageModel) -> Mapping | None:
    """Grid, rays and thresholds where a package gives StarDist's probabilities and distances; else None."""
    step = model.step(POST[1])
    if step:
        thresholds = {"prob": step["prob_threshold"], "nms": step["nms_threshold"]}
        return {"grid": step["grid"], "every": (1, 1), "rays": step["n_rays"], **thresholds}
    config = model.described.get("config")
    told = config.get("stardist") if isinstance(config, Mapping) else None
    thresholds = told.get("thresholds") if isinstance(told, Mapping) else None
    if not isinstance(thresholds, Mapping) or len(model.names) < 4:
        return None
    try:
        network = told["config"] if isinstance(told.get("config"), Mapping) else {}
        rays = int(network.get("n_rays", len(model.names) - 1))  # more channels are classes of objects
        every = tuple(map(int, network.get("grid", (1, 1))))  # pixels there are probabilities: of a cell in the first
        found = {name: float(thresholds[name]) for name in ("prob", "nms")}
        return {"grid": every, "every": every, "rays": rays, **found}
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"The package {model.folder} does not say StarDist's two thresholds as numbers. Choose another package."
        ) from error


def makes_objects(words: Sequence[str]) -> bool:
    """Whether objects follow from channels of these meanings, not only classes."""
    return bool({LABELS, STARDIST, BOUNDARY} & set(words)) or {FOREGROUND, DISTANCE} <= set(words)


def class_table(words: Sequence[str]) -> list[dict]:
    """Classes as in model.json: background first, then those that channels stand for."""
    names = [BACKGROUND, "object"] if makes_objects(words) else [BACKGROUND, *(one for one in words if _names_one(one))]
    return [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(names)]


def _names_one(word: str) -> bool:
    return word not in (BACKGROUND, DISTANCE, BOUNDARY, LABELS, IGNORE)


class PackagePixels:
    """A package as a predictor of classes; has the face of a U-Net's, see `utils.tasks.results`.

    Attributes
    ----------
    description, classes
        What of a model.json is asked for.
    """

    def __init__(self, model: PackageModel, words: Sequence[str]):
        self.model, self.words = model, list(words)
        self.classes = class_table(words)
        self.description = _description(model, self.classes)

    def probabilities(self, array: np.ndarray) -> np.ndarray:
        """Probability of each class (Y, X, classes) of an image (Y, X, C) as read; background is what is left.

        ModelError where the package gives other numbers, which only the highest of several classes can be told from.
        """
        found = self.model.predict(array).astype(np.float32, copy=False)
        classes = found[..., [i for i, word in enumerate(self.words) if _names_one(word)]]
        if BACKGROUND in self.words:
            return np.concatenate([found[..., self.words.index(BACKGROUND)][..., np.newaxis], classes], axis=-1)
        _check_probability(self.model, classes)
        return np.concatenate([1 - classes.max(axis=-1, keepdims=True), classes], axis=-1)

    def class_ids(self, array: np.ndarray, on_probabilities: Callable | None = None) -> np.ndarray:
        """Class of each pixel, uint8 (Y, X); `on_probabilities` is given rows and their `probabilities`."""
        found = self.probabilities(array)
        if on_probabilities:
            on_probabilities(slice(0, len(found)), found)
        return found.argmax(axis=-1).astype(np.uint8)


@dataclass(frozen=True)
class FoundObjects:
    """Objects of one image, with the attributes that tables of objects are made from.

    Attributes
    ----------
    labels
        int32 (Y, X), 0 is background; label i belongs to row i - 1 of the others.
    outlines, probability
        float32 (n, 2, corners), y and x in pixels; float32 (n,), 1 where the package does not say.
    class_ids
        None: a package knows no classes of objects.
    """

    labels: np.ndarray
    outlines: np.ndarray
    probability: np.ndarray
    class_ids: np.ndarray | None = None


class PackageObjects:
    """A package as a predictor of objects; has the face of a StarDist model's, see `utils.tasks.results`."""

    def __init__(self, model: PackageModel, words: Sequence[str]):
        self.model, self.words = model, list(words)
        self.classes = class_table(words)
        self.description = _description(model, self.classes)

    def find(self, array: np.ndarray) -> FoundObjects:
        """Find the objects of an image (Y, X, C) as read."""
        if STARDIST in self.words:
            return star_convex(self.model.predict(array, without=POST[:1]), stardist_values(self.model))
        channels = self.model.predict(array)
        places = {word: channels[..., i] for i, word in enumerate(self.words)}
        if LABELS in places:
            labels = relabel_sequential(places[LABELS].round().astype(np.int32))[0].astype(np.int32)
            return FoundObjects(labels, outlines_of(labels), np.ones(labels.max(initial=0), np.float32))
        for word in {FOREGROUND, BOUNDARY} & set(places):
            _check_probability(self.model, places[word])
        labels = separated(**{word: places[word] for word in (FOREGROUND, BOUNDARY, DISTANCE) if word in places})
        likely = places.get(FOREGROUND, 1 - places.get(BOUNDARY, 0))
        return FoundObjects(labels, outlines_of(labels), _means(likely, labels))


def _description(model: PackageModel, classes: Sequence[dict]) -> dict:
    return {
        "task": "package",
        "channels": model.channels,
        "classes": list(classes),
        "pixel_size_um": model.pixel_size_um,
        "package": {name: model.described.get(name) for name in ("name", "license")} | {"weights": model.format},
    }


def _check_probability(model: PackageModel, values: np.ndarray) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # also where they are no numbers
        raise ModelError(
            f"The package {model.folder} gives numbers from {low:.3g} to {high:.3g} where probabilities of 0 to 1 are "
            f"expected. If they are labels or distances, say so in the field {FIELD}; else choose another package."
        )


def separated(
    foreground: np.ndarray | None = None, boundary: np.ndarray | None = None, distance: np.ndarray | None = None
) -> np.ndarray:
    """Label image int32 (Y, X) by a watershed, from probabilities (Y, X) or the distance to an object's border.

    Seeds are where a pixel belongs to an object and to no boundary; without `foreground`, all that the boundaries
    enclose is an object. Part of the foreground that holds no seed is an object of its own.
    """
    some = foreground if foreground is not None else boundary
    inside = np.ones(some.shape, bool) if foreground is None else foreground > LIKELY
    if boundary is not None:
        height, sure = boundary, (inside if foreground is None else foreground) - boundary.astype(np.float32) > LIKELY
        seeds = label(sure & inside, connectivity=1)
    else:
        height = -distance
        peaks = peak_local_max(distance, min_distance=NEAREST, labels=label(inside), exclude_border=False)
        seeds = np.zeros(inside.shape, np.int32)
        seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts = label(inside, connectivity=1)
    seeded = np.zeros(parts.max() + 1, bool)
    seeded[parts[seeds > 0]] = True
    alone = inside & ~seeded[parts]
    seeds = relabel_sequential(np.where(alone, parts + seeds.max(), seeds))[0]
    return watershed(height, seeds.astype(np.int32), mask=inside)


def star_convex(channels: np.ndarray, values: Mapping) -> FoundObjects:
    """Objects from StarDist's channels (Y, X, 1 + rays ...), as StarDist finds them; `values`: `stardist_values`."""
    from stardist.geometry import dist_to_coord, polygons_to_label
    from stardist.nms import non_maximum_suppression

    grid, (y, x) = tuple(values["grid"]), values["every"]
    shape = tuple(size * step // one for size, step, one in zip(channels.shape, grid, (y, x), strict=False))
    channels = channels[::y, ::x]
    probability, distance = channels[..., 0], np.maximum(channels[..., 1 : 1 + values["rays"]], 1e-3)
    points, likely, distance = non_maximum_suppression(
        distance, probability, grid=grid, prob_thresh=values["prob"], nms_thresh=values["nms"]
    )
    labels = polygons_to_label(distance, points, shape=shape, prob=likely)
    return FoundObjects(labels.astype(np.int32), dist_to_coord(distance, points), likely.astype(np.float32))


def outlines_of(labels: np.ndarray) -> np.ndarray:
    """Outline float32 (n, 2, `CORNERS`), y and x in pixels, of each label from 1 to n; of a missing label a point."""
    found = np.zeros((int(labels.max(initial=0)), 2, CORNERS), np.float32)
    for number, box in enumerate(find_objects(labels)):
        if box is not None:
            corner = np.array([[one.start - 1] for one in box])
            found[number] = _outline(np.pad(labels[box] == number + 1, 1)) + corner
    return found


def _outline(mask: np.ndarray) -> np.ndarray:
    """The longest outline of a mask (Y, X) that does not touch the border, as `CORNERS` points at equal distances."""
    contour = max(find_contours(mask.astype(np.float32), 0.5), key=len)
    steps = np.concatenate([[0], np.linalg.norm(np.diff(contour, axis=0), axis=1).cumsum()])
    at = np.linspace(0, steps[-1], CORNERS, endpoint=False)
    return np.stack([np.interp(at, steps, contour[:, i]) for i in (0, 1)])


def _means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of values (Y, X) over each label from 1, float32 (n,)."""
    size = int(labels.max(initial=0)) + 1
    counts = np.bincount(labels.ravel(), minlength=size)
    sums = np.bincount(labels.ravel(), weights=values.ravel(), minlength=size)
    return (sums / np.maximum(counts, 1))[1:].astype(np.float32)
