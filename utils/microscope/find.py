"""A survey image becomes a table of cells: where each lies, how large it is, and what the classifier says of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import block_reduce
from skimage.segmentation import relabel_sequential
from skimage.transform import resize

from utils.errors import DataError, ModelError
from utils.microscope.protocol import Survey
from utils.tasks.otsu import threshold_of
from utils.tasks.watershed import SMOOTHING, USUAL_APART, cut_at_waists, without_specks

DIAMETER_UM = 12.0  # of a nucleus
COARSE = 8  # pixels of the image that are one of the background's
WIDE = 4  # diameters: what is as dark as this neighbourhood's darker part is background
MOST_UNLIKE = 2.0  # times a model's pixel size: further apart it knows nothing of such cells
SAME_SIZE = 0.05  # so little apart pixels are alike
FAINTEST = 5.0  # times the noise: fainter is none
HALO = 0.25  # of the brightest pixel of a cell, below which a pixel is no part of it
DARK = 30  # per cent of an image that is surely no cell
NOISE = 1.4826  # standard deviation by the median of the distances from the median
PREFIX = "p_"


def above_background(plane: np.ndarray, diameter: float) -> np.ndarray:
    """Logarithm of how far each pixel lies above what is dark around it, float32 (Y, X), in units of the noise.

    Bright cells in division and dim ones beside them then lie on the same side of a threshold.

    Parameters
    ----------
    plane
        (Y, X), a cell is bright.
    diameter
        Of a cell, pixels.
    """
    smooth = ndimage.gaussian_filter(plane.astype(np.float32), 1)
    step = max(1, min(COARSE, round(diameter / 2)))
    whole = smooth[: smooth.shape[0] // step * step, : smooth.shape[1] // step * step]  # the rest would be filled by 0
    coarse = block_reduce(whole, (step, step), np.median)
    side = max(3, round(WIDE * diameter / step))
    dark = ndimage.gaussian_filter(ndimage.percentile_filter(coarse, DARK, size=side), side / 4)
    rows, columns = (np.arange(n) / step - (step - 1) / (2 * step) for n in plane.shape)
    background = ndimage.map_coordinates(dark, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    signal = smooth - background
    signal -= np.percentile(signal, DARK)  # on a slope the darker part lies below the middle
    fine = np.abs(smooth - ndimage.gaussian_filter(smooth, 2))
    dim = np.abs(signal[signal < 0])
    noise = NOISE * max(float(np.median(one)) if len(one) else 0.0 for one in (fine.ravel(), dim))
    noise = max(noise, 1e-6 + 1e-3 * float(np.ptp(smooth)))
    return np.log1p(np.maximum(signal, 0) / noise)


def find_nuclei(plane: np.ndarray, diameter: float) -> np.ndarray:
    """Labels, int32 (Y, X) from 1, of bright round cells; none where the image is even or holds nothing but noise.

    Otsu's threshold above the background, then a watershed between cells that touch.
    """
    signal = above_background(plane, diameter)
    if signal.max() == signal.min():
        return np.zeros(plane.shape, np.int32)
    mask = signal > max(threshold_of(signal), np.log1p(FAINTEST))
    labels = _parted(ndimage.binary_fill_holes(ndimage.binary_opening(mask)), diameter)
    return without_specks(_without_halo(labels, np.expm1(signal)), diameter)


def _parted(mask: np.ndarray, diameter: float) -> np.ndarray:
    """Labels (Y, X) of what is in a mask, cut at its waists."""
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask).astype(np.float32), SMOOTHING * diameter)
    return cut_at_waists(mask, distance, USUAL_APART * diameter)[0]


def _without_halo(labels: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Labels without pixels far darker than the cell that they belong to: the light of a bright one reaches far."""
    numbers = np.arange(labels.max() + 1)
    brightest = ndimage.maximum(signal, labels, numbers)
    mask = ndimage.binary_fill_holes(signal > HALO * brightest[labels])
    return np.where(mask, labels, 0)


def places(labels: np.ndarray, pixel_size_um: float) -> pd.DataFrame:
    """Label, y_px, x_px, y_um, x_um, area_um2 and edge_um of each object of labels int (Y, X) that are 1, 2, 3 ...

    edge_um is how far its middle lies from the nearest edge of the image.
    """
    areas = np.bincount(labels.ravel())[1:]
    numbers = np.arange(1, len(areas) + 1)
    at = np.array(ndimage.center_of_mass(labels > 0, labels, numbers)).reshape(-1, 2)
    edge = np.minimum(at, np.array(labels.shape) - 1 - at).min(axis=1) if len(at) else np.zeros(0)
    return pd.DataFrame(
        {
            "label": numbers,
            "y_px": at[:, 0],
            "x_px": at[:, 1],
            "y_um": at[:, 0] * pixel_size_um,
            "x_um": at[:, 1] * pixel_size_um,
            "area_um2": areas * pixel_size_um**2,
            "edge_um": edge * pixel_size_um,
        }
    )


def crops_at(image: np.ndarray, cells: pd.DataFrame, size: tuple[int, int], scale: float = 1.0) -> list[np.ndarray]:
    """Cut out each cell with what lies around it, (height, width, C) of `size`; beyond the border it is mirrored.

    Parameters
    ----------
    image
        (Y, X, C).
    cells
        Columns y_px, x_px.
    size, scale
        Height and width of a crop; how many pixels of the image are one of the crop: above 1 it is shrunk.
    """
    sides = [max(1, round(scale * side)) for side in size]
    padded = np.pad(
        image,
        [*((min(side, n), min(side, n)) for side, n in zip(sides, image.shape, strict=False)), (0, 0)],
        mode="symmetric",
    )
    before = [min(side, n) for side, n in zip(sides, image.shape, strict=False)]
    at = np.rint(cells[["y_px", "x_px"]].to_numpy(float)).astype(int) - np.array(sides) // 2 + before
    crops = [padded[y : y + sides[0], x : x + sides[1]] for y, x in at.tolist()]
    if sides == list(size):
        return crops
    fine = {"order": 1, "preserve_range": True, "anti_aliasing": scale > 1}
    return [resize(one, size, **fine).astype(np.float32) for one in crops]


class Finder:
    """Finds the cells of a survey and asks a classifier what they are.

    Parameters
    ----------
    channel
        In which cells are looked for.
    classifier
        Model from `utils.tasks.registry`: has `classes`, `description` and `probabilities`; None: cells are only found.
    detector
        StarDist model of one channel, has `find` and `description`; None: threshold and watershed.
    diameter_um
        Of a cell, for the latter.
    seen_by_classifier
        Channels that the classifier sees, in its order; none: `channel`.
    """

    def __init__(
        self,
        channel: str,
        classifier: Any = None,
        detector: Any = None,
        diameter_um: float = DIAMETER_UM,
        seen_by_classifier: Sequence[str] = (),
    ):
        self.channel, self.classifier, self.detector = channel, classifier, detector
        self.diameter_um, self.shown = diameter_um, tuple(seen_by_classifier) or (channel,)
        if classifier is not None and len(classifier.description["channels"]) != len(self.shown):
            raise ModelError(
                f"The classifier was trained on {len(classifier.description['channels'])} channels "
                f"({', '.join(map(str, classifier.description['channels']))}), but the survey shows it "
                f"{len(self.shown)} ({', '.join(self.shown)}). Choose as many in the field survey_channels, or another "
                "model."
            )
        if detector is not None and len(detector.description["channels"]) != 1:
            raise ModelError(
                f"The detector was trained on {len(detector.description['channels'])} channels "
                f"({', '.join(map(str, detector.description['channels']))}), but cells are looked for in one. Choose a "
                "model of grey images, or leave the field detector empty."
            )

    @property
    def classes(self) -> list[dict]:
        """Class table of the classifier; empty without one."""
        return [] if self.classifier is None else list(self.classifier.classes)

    @property
    def names(self) -> list[str]:
        """Classes of the classifier, in its order."""
        return [str(one["name"]) for one in self.classes]

    def remarks(self, pixel_size_um: float) -> list[str]:
        """What the models make of pixels of this width, in sentences; ModelError where one knows no cells of the kind.

        None where they learned from such pixels.
        """
        models = (("classifier", self.classifier), ("detector", self.detector))
        return [one for noun, model in models if model is not None and (one := _remark(noun, model, pixel_size_um))]

    def labels(self, survey: Survey) -> np.ndarray:
        """Cells of a survey, int32 (Y, X) from 1; DataError where it lacks the channel."""
        plane = self._plane(survey, self.channel)
        if self.detector is None:
            return find_nuclei(plane, self.diameter_um / survey.pixel_size_um)
        scale = scale_of("detector", self.detector, survey.pixel_size_um)
        if scale == 1.0:
            found = self.detector.find(plane[..., None]).labels
        else:
            shape = [max(1, round(n / scale)) for n in plane.shape]
            shown = resize(plane, shape, order=1, preserve_range=True, anti_aliasing=scale > 1).astype(np.float32)
            coarse = self.detector.find(shown[..., None]).labels
            found = resize(coarse, plane.shape, order=0, preserve_range=True, anti_aliasing=False)
        return relabel_sequential(found.astype(np.int32))[0].astype(np.int32)

    def __call__(self, survey: Survey) -> tuple[pd.DataFrame, np.ndarray]:
        """Cells of a survey, and their labels (Y, X).

        The table has the columns of `places`; with a classifier also p_<class> for each class, and
        class, the likeliest.
        """
        labels = self.labels(survey)
        cells = places(labels, survey.pixel_size_um)
        if self.classifier is None:
            return cells, labels
        image = np.stack([self._plane(survey, name) for name in self.shown], axis=-1)
        size = tuple(self.classifier.description["input"]["size"])
        crops = crops_at(image, cells, size, scale_of("classifier", self.classifier, survey.pixel_size_um))
        p = np.asarray(self.classifier.probabilities(crops)).reshape(len(cells), len(self.names))
        columns = {PREFIX + name: p[:, i] for i, name in enumerate(self.names)}
        likeliest = np.array(self.names, object)[p.argmax(axis=1)] if len(cells) else np.zeros(0, object)
        return cells.assign(**columns, **{"class": likeliest}), labels

    def _plane(self, survey: Survey, name: str) -> np.ndarray:
        if name not in survey.images:
            raise DataError(
                f"The survey has no channel {name!r}, only {', '.join(survey.images)}. Choose one of them in the field "
                "survey_channels."
            )
        return survey.images[name]


def scale_of(noun: str, model: Any, pixel_size_um: float) -> float:
    """Pixels of this width that are one of a model's; ModelError where it knows no cells of that size.

    1 where nothing says how wide one of both is.
    """
    known = model.description.get("pixel_size_um")
    if not known or not pixel_size_um:
        return 1.0
    scale = known / pixel_size_um
    if not 1 / MOST_UNLIKE <= scale <= MOST_UNLIKE:
        raise ModelError(
            f"The {noun} learned from pixels of {known:.3g} um, but those of the microscope are "
            f"{pixel_size_um:.3g} um. Choose another objective, or a model that was trained on such images."
        )
    return 1.0 if abs(scale - 1) < SAME_SIZE else scale


def _remark(noun: str, model: Any, pixel_size_um: float) -> str:
    """What is done about the pixels of a model, "" where nothing needs to be."""
    known = model.description.get("pixel_size_um")
    if not known:
        return (
            f"Nothing says how wide the pixels were that the {noun} learned from: it is good for cells as many pixels "
            "wide as those were."
        )
    if scale_of(noun, model, pixel_size_um) == 1.0:
        return ""
    return (
        f"The {noun} learned from pixels of {known:.3g} um, those of the microscope are {pixel_size_um:.3g} um: images "
        "are rescaled for it."
    )


def wanted_classes(classes: Sequence[Mapping], asked: Sequence[str]) -> list[str]:
    """Classes of a model that are meant by names of classes or of broad classes; ModelError where one is none."""
    names = [str(one["name"]) for one in classes]
    groups = {str(one["group"]): [] for one in classes if one.get("group")}
    for one in classes:
        if one.get("group"):
            groups[str(one["group"])].append(str(one["name"]))
    found: list[str] = []
    for name in asked:
        if name not in names and name not in groups:
            known = ", ".join(dict.fromkeys([*names, *groups]))
            raise ModelError(f"The model does not know the class {name!r}. Write one of {known} into event_classes.")
        found += [name] if name in names else groups[name]
    return list(dict.fromkeys(found))
