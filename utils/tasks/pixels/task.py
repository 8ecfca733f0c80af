"""U-Net: a class for each pixel."""

from collections.abc import Mapping, Sequence

from utils.images.normalise import asked_by
from utils.tasks.masks import Masks
from utils.tasks.pixels.evaluate import PixelScoring
from utils.tasks.pixels.methods import PixelMethods
from utils.tasks.pixels.page import PixelPage
from utils.tasks.pixels.predict import PixelPrediction
from utils.tasks.pixels.train import FIELDS, PixelTraining
from utils.tasks.task import Start, tuned_values


class UNet(PixelTraining, PixelPrediction, PixelScoring, PixelMethods, PixelPage, Masks):
    """U-Net segmentation."""

    name, noun, title = "unet", "U-Net", "U-Net model"
    notebook = "unet_segmentation"
    head, annotation = ("logits",), "classes"

    def settings(self, training: Mapping, start: Start) -> dict:
        """See `NetworkTask`."""
        defaults = {"batch_size": 4, "min_fraction": 0.02, "loss": "weighted cross-entropy + Dice"}
        network = {name: start.description["network"][name] for name in FIELDS}
        network["normalisation"] = asked_by(start.description["normalisation"])
        return tuned_values(training, start, defaults) | network

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `NetworkTask`; masks need the same classes with the same numbers."""
        return [str(one["name"]) for one in known] == [str(one["name"]) for one in asked]
