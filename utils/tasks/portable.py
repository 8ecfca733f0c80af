"""What a program that knows nothing of this project must know of a trained model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Portable:
    """A trained model as other programs may use it.

    Attributes
    ----------
    network
        Keras model in float32, normalised images (batch, Y, X, C) -> what the notebook computes from them.
    outputs
        What each of its outputs is, in words, by its name.
    multiple, size
        Height and width of the input must be multiples of `multiple` (Y, X), or be this `size` where that is not None.
    description
        Content of model.json.
    prepare
        Image (Y, X, C) as read -> the input of the network (Y, X, C), float32.
    answer
        Image (Y, X, C) as read, at most `LARGEST` pixels wide and high -> each output (Y, X, C) or (C,) by its name, as
        the notebook predicts; what leaves the house is compared with it.
    """

    LARGEST = 512

    network: keras.Model
    outputs: Mapping[str, str]
    multiple: tuple[int, int]
    size: tuple[int, int] | None
    description: Mapping
    prepare: Callable[[np.ndarray], np.ndarray]
    answer: Callable[[np.ndarray], Mapping[str, np.ndarray]]

    @property
    def left_out(self) -> list[str]:
        """What the notebook's masks leave out of what a U-Net of two classes answers, in a sentence; [] for nothing."""
        smallest = self.description.get("smallest_part", 1)
        return [f"The notebook's masks leave out parts of fewer than {smallest} pixels."] if smallest > 1 else []

    @property
    def decision(self) -> list[str]:
        """How the notebook's answer follows from that of the network, in sentences."""
        description, classes = self.description, self.description["classes"]
        if description["task"] == "stardist":
            prob, nms = (description["thresholds"][name] for name in ("prob", "nms"))
            return [
                f"Objects have a probability of at least {prob:.3g}, and of those that overlap by more than {nms:.3g} "
                "the most probable one is kept (StarDist's non-maximum suppression)."
            ]
        if description["task"] == "unet" and len(classes) == 2:
            above = f"where the probability of it is above {description['threshold']:g}."
            return [f"A pixel is {classes[1]['name']} {above}", *self.left_out]
        return ["The class is the one with the highest probability."]


def difference(given: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference of an answer to the one wanted, as a share of its largest value where that is above 1."""
    return float(np.abs(given - wanted).max() / max(1, np.abs(wanted).max()))
