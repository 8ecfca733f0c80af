"""From the fingerprint of images to the settings of a classifier, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from utils.images.normalise import BOTH, EACH_IMAGE, TOGETHER
from utils.tasks.automatic import Choice
from utils.training.model_folder import TRY_OUT

TELLS, DOUBT = 0.15, 0.08  # how much a simple measure alone must tell of the classes to count; to be doubted
BEARABLE = 0.8  # share that must be left of what size tells where images are enlarged and shrunk by 10 %
DIRECTION_TELLS = 0.5  # turning images helps so much that it is given up for a good reason only
UNEVEN_EXPOSURE = 0.5  # spread of brightness between images, by that within, from which exposures differ
VARIED = 1.5  # largest to median side from which images are not of one size
LARGEST = 128  # pixels: what the small CNN is made for
QUICK_PIXELS = 480e6  # pixels that "Quick on a CPU" looks at in a training: two minutes on one core
QUICK = "Quick on a CPU"
ROUNDS = {QUICK: 120, TRY_OUT: 15}  # of training
STEPS = 8, 30  # of a round, at least and at most
QUICK_BATCH, QUICK_RATE = 32, 0.003
BESIDE = 5.0, 4.0  # seconds of a training without its steps: in any case, and for each million pixels of all images
FEW_IMAGES = 16


@dataclass(frozen=True)
class _Seen:
    """A fingerprint with the forms, and what follows from it."""

    found: Mapping
    forms: Mapping
    number_learned: int

    def told(self, name: str) -> float:
        """How much a measure alone tells of the classes, without what chance gives with so few images."""
        return self.found["tells"][name] - 1 / np.sqrt(self.found["images"])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that images are brought to."""
        sides = np.array([self.found["height"][1], self.found["width"][1]])
        largest = np.array([self.found["height"][2], self.found["width"][2]])
        side = largest if self.varied and self.padded else sides
        side = np.minimum(side, LARGEST) if self.padded else side * min(1.0, LARGEST / side.max())
        return tuple(int(one) for one in np.maximum(8, np.round(side)))

    @property
    def varied(self) -> bool:
        return any(high > VARIED * middle for _, middle, high in (self.found["height"], self.found["width"]))

    @property
    def padded(self) -> bool:
        """Whether images keep their scale: unless they are too large for the network as a whole."""
        return max(self.found["height"][1], self.found["width"][1]) <= LARGEST


def class_choices(found: Mapping, forms: Mapping, number_learned: int = 0) -> list[Choice]:
    """What the data suggest for the fields of a classifier.

    Parameters
    ----------
    found
        The `fingerprint` of the images.
    forms
        Values of the forms; used is the preset of the form training.
    number_learned
        See `utils.data.project.Project`; 0: the images of the fingerprint.

    Returns
    -------
    list of Choice
        One for each field that the data can choose, whether or not it is marked `AUTOMATIC`.
    """
    seen = _Seen(found, forms, number_learned or found["images"])
    return [
        _normalisation(seen),
        *_sizes(seen),
        *_network(seen),
        _class_weights(seen),
        *_amount(seen),
        *_turning(seen),
        _shift(seen),
        _zoom(seen),
        _intensity(seen),
    ]


def _normalisation(seen: _Seen) -> Choice:
    told, where = seen.told("brightness"), ("training", "normalisation")
    if told < DOUBT:
        return Choice(*where, EACH_IMAGE, "Brightness tells the classes apart no better than chance.")
    uneven = seen.found["between_to_within"] > UNEVEN_EXPOSURE
    candidates = (EACH_IMAGE, TOGETHER, BOTH) if uneven or told < TELLS else ()
    if told < TELLS or uneven:
        why = "the images were exposed so differently" if uneven else "it does so only a little"
        return Choice(*where, EACH_IMAGE, f"Brightness may tell classes apart, but {why}.", candidates)
    return Choice(*where, TOGETHER, "Brightness alone tells classes apart, so that one range serves all images.")


def _sizes(seen: _Seen) -> list[Choice]:
    fit = "pad" if seen.padded else "resize"
    kept = "The images keep their scale, as the size of a cell may matter."
    small = f"The images are larger than the {LARGEST} pixels that the network is made for."
    size = "It is the size of the largest images." if seen.varied and seen.padded else "Most images are of this size."
    height, width = seen.size
    return [
        Choice("training", "patch_height", height, size if seen.padded else small),
        Choice("training", "patch_width", width, size if seen.padded else small),
        Choice("training", "fit", fit, kept if seen.padded else small),
    ]


def _network(seen: _Seen) -> list[Choice]:
    quick, side = seen.forms["training"]["preset"] != "Default", min(seen.size)
    half = quick and side >= 32
    levels = int(np.clip(np.log2(side / (2 if half else 1) / 1.25), 2, 5))
    why = "Coarser pixels take a third of the time and cost little at this size."
    return [
        Choice("training", "half_resolution", half, why if half else "Every pixel is looked at."),
        Choice("training", "levels", levels, f"At the coarsest scale {side} pixels have become two or three."),
    ]


def _class_weights(seen: _Seen) -> Choice:
    counts = [n for n in seen.found["classes"].values() if n]
    if max(counts) <= 1.5 * min(counts):
        return Choice("training", "class_weights", "balanced", "All classes are about equally frequent.")
    return Choice("training", "class_weights", "balanced", "Rare classes shall count as much as frequent ones.")


def _amount(seen: _Seen) -> list[Choice]:
    n, preset = seen.found["images"], seen.forms["training"]["preset"]
    batch = QUICK_BATCH if preset in ROUNDS else 16
    steps, bound = 0, f"Each of the {n} images is looked at once in every round."
    if preset == QUICK:
        height, width = seen.size
        steps = int(np.clip(QUICK_PIXELS / (height * width * batch * ROUNDS[QUICK]), *STEPS))
        bound = f"{ROUNDS[QUICK]} rounds of {steps} batches take about as long with 20 images as with 5,000."
    rate = QUICK_RATE if batch == QUICK_BATCH else 1e-3
    return [
        Choice("training", "number_of_steps", steps, bound),
        Choice(
            "training",
            "batch_size",
            batch if seen.number_learned >= FEW_IMAGES else 8,
            f"There are {n} training images.",
        ),
        Choice("training", "initial_learning_rate", rate, f"It goes with batches of {batch} images."),
    ]


def _turning(seen: _Seen) -> list[Choice]:
    fixed = seen.told("direction") > DIRECTION_TELLS
    no, yes = "Where an object points tells classes apart.", "Cells lie in any direction on a slide."
    values = {"flip": not fixed, "rotate_90": not fixed, "rotation": 10 if fixed else 180}
    return [Choice("augmentation", field, value, no if fixed else yes) for field, value in values.items()]


def _shift(seen: _Seen) -> Choice:
    return Choice("augmentation", "shift", 5, "Objects are cut out a little off the middle.")


def _zoom(seen: _Seen) -> Choice:
    left = seen.found["size_zoomed"] / max(seen.found["tells"]["size"], 1e-9)
    if seen.told("size") > TELLS and left < BEARABLE:
        return Choice("augmentation", "zoom", 0, "Small differences in size tell classes apart: it must not change.")
    return Choice("augmentation", "zoom", 10, "Size tells little of the class, or differs by far more than this.")


def _intensity(seen: _Seen) -> Choice:
    normalisation = _normalisation(seen)
    if normalisation.candidates:
        return Choice("augmentation", "intensity", 10, "Brightness may tell classes apart: it changes only a little.")
    if normalisation.value == EACH_IMAGE:
        return Choice("augmentation", "intensity", 20, "Brightness is not what tells the classes apart.")
    return Choice("augmentation", "intensity", 5, "Brightness tells classes apart, so that it must hardly change.")
