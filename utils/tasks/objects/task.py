"""StarDist: an outline for each object."""

from collections.abc import Mapping, Sequence

import keras

from utils.data.project import Project
from utils.images.normalise import asked_by
from utils.tasks.masks import Masks
from utils.tasks.objects.evaluate import ObjectScoring
from utils.tasks.objects.methods import ObjectMethods
from utils.tasks.objects.page import ObjectPage
from utils.tasks.objects.predict import ObjectPrediction
from utils.tasks.objects.train import ObjectTraining
from utils.tasks.task import Start, tuned_values
from utils.training.stages import take_over

CLASS_HEAD = ("features_class", "prob_class")  # of a StarDist model that knows classes of objects


class StarDist(ObjectTraining, ObjectPrediction, ObjectScoring, ObjectMethods, ObjectPage, Masks):
    """StarDist segmentation."""

    name, noun, title = "stardist", "StarDist model", "StarDist model"
    notebook = "stardist_segmentation"
    head, annotation = ("prob", "dist", *CLASS_HEAD), "objects"

    def settings(self, training: Mapping, start: Start) -> dict:
        """See `NetworkTask`."""
        network = start.description["network"]
        known = {
            "n_rays": network["n_rays"],
            "normalisation": asked_by(start.description["normalisation"]),
            "grid": network["grid"][0],
            "filters": network["unet_n_filter_base"],
            "batch_normalisation": network["unet_batch_norm"],
        }
        return tuned_values(training, start, {"batch_size": 4, "min_fraction": 0.02}) | known

    def describe_tuned(self, project: Project, settings: Mapping, start: Start) -> dict:
        """See `NetworkTask`."""
        description = super().describe_tuned(project, settings, start)
        own = ("n_channel_in", "n_classes", "train_patch_size", "train_batch_size")
        network = start.description["network"] | {name: description["network"][name] for name in own}
        return description | {"network": network}

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `NetworkTask`; where objects are is asked of any model, of which class they are does not count here."""
        return True

    def start(self, description: Mapping, start: Start) -> keras.Model:
        """See `NetworkTask`; outlines are taken over in any case, classes of objects only where they are the same."""
        network, old = self.untrained(description), start.predictor.network
        same = start.kept(description["classes"]) == list(range(len(description["classes"])))
        both = [start.description["network"]["n_classes"], description["network"]["n_classes"]]
        take_over(network, old, () if same and both[0] == both[1] else CLASS_HEAD, None)
        return network
