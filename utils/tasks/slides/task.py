"""A U-Net that learns from pieces of annotated slides; the threshold on a stain is its opponent."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from utils.data.contents import lacking
from utils.data.examples import ONLY_BACKGROUND, Example
from utils.data.problems import problem_table
from utils.data.project import Project
from utils.data.uneven import image_features, outliers
from utils.images.masks import counted
from utils.images.normalise import EACH_IMAGE, TOGETHER
from utils.images.stains import by_colour, collagen
from utils.metrics.pixels import PixelScores
from utils.patching.batches import PREVIEWS
from utils.tasks.fingerprint import fingerprint
from utils.tasks.pixels.classical import classical_segmenters
from utils.tasks.pixels.rules import WORK
from utils.tasks.pixels.task import UNet
from utils.tasks.slides.cohort import BACKGROUND, BETWEEN
from utils.tasks.slides.compute import Network
from utils.tasks.slides.unlike import learn
from utils.tasks.task import Checks, TestSet, warnings_of
from utils.training import networks

COLOUR = "colour threshold"  # name of the opponent
THRESHOLDS = np.linspace(0.02, 0.6, 30)  # of the stain of collagen, in optical density


class SlideUNet(UNet):
    """U-Net on pieces of slides.

    Parameters
    ----------
    stain
        One of `utils.images.stains.STAINS`.
    measured
        Name of the class whose share is wanted: what the stain shows, too. "" for none.
    """

    notebook = "slide_fibrosis"
    largest_patch = 128  # pixels: how large the drawn regions are says nothing of the structures in them
    work: ClassVar[Mapping[str, float]] = WORK | {"Quick on a CPU": 100e6}
    optimiser = networks.Muon  # Adam needs twice the rounds for vessels, which are rare
    parts, rounds_in_turn = 4, 0.2  # patients are few, and the slides themselves take time, too

    def __init__(self, stain: str, measured: str = ""):
        self.stain, self.measured = stain, measured

    def describe(self, project: Project, training: Mapping) -> dict:
        """See `Task`; what a slide is measured by belongs to the model, too. Rare classes are learned as the others."""
        return super().describe(project, training) | {"stain": self.stain, "measured": self.measured, "balanced": True}

    def fingerprint(self, project: Project) -> dict:
        """See `NetworkTask`; a piece need not show any glass to be of stained tissue.

        What brightness tells would decide about a range for each image, which a piece of a slide does not have.
        """
        untold = {"told_by_brightness": dict.fromkeys((EACH_IMAGE, TOGETHER), float("nan"))}
        found = project.measure("fingerprint", lambda: fingerprint(project.examples("training"), objects=False))
        return found | untold | {"brightfield": True, "coloured": True}

    def show_understood(self, project: Project) -> None:
        """See `Task`; masks of pieces were made here, so that nothing had to be understood."""

    def shown(self, project: Project) -> Sequence[Example]:
        """See `PixelPage`: of each patient the piece with most classes, as many as there is room for."""

        def telling(one: Example) -> tuple[int, int]:
            known = one.mask[counted(one.mask)]
            return len(np.unique(known)), known.size

        best = {one.group: one for one in sorted(project.examples("training"), key=telling)}
        return sorted(best.values(), key=telling, reverse=True)[:PREVIEWS]

    def quality(self, scores: PixelScores) -> np.ndarray:
        """See `Task`: share of the annotated pixels that are right; many pieces hold one class alone."""
        right = np.trace(scores.confusions, axis1=-2, axis2=-1)
        return right / scores.confusions.sum(axis=(-2, -1))

    def disagreement(self, folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
        """See `PixelScoring`; the pieces with the largest share of wrong pixels first."""
        table = super().disagreement(folder, examples, roles)
        wrong = table.filter(like="_percent").sum(axis=1)
        return table.loc[wrong.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)

    def checks(self, project: Project, training: Mapping, test_set: TestSet | None = None) -> Checks:
        """See `Task`; pieces of a slide differ, and some hold glass alone: only patients are compared."""
        examples = project.dataset.examples
        problems = [one for one in project.dataset.problems if one.what != ONLY_BACKGROUND]
        problems += lacking(self.contents(project, examples), project.roles)
        uneven = outliers(image_features(examples))
        uneven = uneven[uneven["file"] == ""]
        return Checks(
            {"Problems": problem_table(problems), "Uneven patients": uneven.drop(columns="file")},
            warnings_of(problems, uneven),
        )

    def opponents(self, training: Sequence[Example], classes: Sequence[dict], seed: int) -> Mapping[str, Any]:
        """See `Masks`: also a threshold on the stain, where what is measured is stained by it.

        Rare classes are learned as the others, as the network learns them: a forest to which an area of tissue counts
        as its pixels hardly ever answers fibrosis.
        """
        own = [one["id"] for one in classes if str(one["name"]) == self.measured]
        others = classical_segmenters(training, classes, seed, balanced=True)
        return {COLOUR: fit_colour_threshold(training, classes, self.stain, own[0]), **others} if own else others

    def _publish(self, project, network, description, history) -> None:
        """See `PixelTraining`; also what the pieces look like to the network."""
        super()._publish(project, network, description, history)
        if project.fold:  # such a model tests some patients, and measures no slides
            return
        looks = Network(self.load(project.folder), project.folder)
        pieces = project.examples("training") + project.examples("validation")
        found = np.array([_looks(looks, one) for one in pieces])
        known = np.isfinite(found).all(axis=1)
        patients = np.array([one.name.partition(BETWEEN)[0] for one in pieces])
        learn(found[known], patients[known]).save(project.folder)


def _looks(network: Network, example: Example) -> np.ndarray:
    """What an annotated piece looks like, where it is annotated; its sides are cut to what the network needs."""
    height, width = (side // 32 * 32 for side in example.mask.shape)
    region, mask = example.image.array[:height, :width], counted(example.mask[:height, :width])
    return network.features(region, mask)


class ColourThreshold:
    """A threshold on the stain of collagen; used as a `Segmenter` is.

    Attributes
    ----------
    threshold
        In optical density.
    ids
        Of what is empty, of other tissue, and of what is measured.
    """

    def __init__(self, stain: str, threshold: float, classes: Sequence[dict], ids: tuple[int, int, int]):
        self.stain, self.threshold, self.classes, self.ids = stain, threshold, classes, ids

    def class_ids(self, array: np.ndarray) -> np.ndarray:
        """Class of each pixel of a picture (Y, X, 3), uint8 (Y, X)."""
        return np.array(self.ids, np.uint8)[by_colour(array, self.stain, self.threshold)]


def fit_colour_threshold(
    examples: Sequence[Example], classes: Sequence[dict], stain: str, measured: int
) -> ColourThreshold:
    """The threshold with the best Dice of what is measured over the annotated pixels of all examples together."""
    above = np.zeros((2, len(THRESHOLDS) + 1), np.int64)  # pixels with so many thresholds below: other ones, measured
    pixels = np.zeros(len(classes), np.int64)
    for one in examples:
        known = counted(one.mask)
        truth, array = one.mask[known] == measured, one.image.array[known][:, np.newaxis]
        passed = np.searchsorted(THRESHOLDS, collagen(array, stain)[:, 0])
        above += [np.bincount(passed[truth == which], minlength=above.shape[1]) for which in (False, True)]
        pixels += np.bincount(one.mask[known], minlength=len(classes))
    found = above[:, :0:-1].cumsum(axis=1)[:, ::-1]  # above each threshold
    best = THRESHOLDS[int(np.argmax(2 * found[1] / np.maximum(found.sum(axis=0) + pixels[measured], 1)))]
    pixels[measured] = -1
    names = [str(one["name"]).casefold() for one in classes]
    glass = [i for i, name in enumerate(names) if name in BACKGROUND and i != measured]
    pixels[glass] = np.minimum(pixels[glass], 0)
    other = int(np.argmax(pixels))
    return ColourThreshold(stain, float(best), classes, (glass[0] if glass else other, other, measured))


def load_slide_model(folder: Path) -> Any:
    """Predictor of the U-Net in a model folder, for `utils.tasks.slides.compute.FromModel`."""
    return UNet().load(folder)
