"""U-Net: a class for each pixel."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
from matplotlib.figure import Figure

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.data.project import Project
from utils.metrics.intervals import Judgement
from utils.metrics.pixels import READABLE, PixelScores, headline, pixel_scores, score_table, summands, totals_of_sums
from utils.pages.figures import show_pairs
from utils.pages.page import overlays
from utils.paths import resolve
from utils.tasks.held_out import TestSet
from utils.tasks.masks import TunedMasks
from utils.tasks.pixels.evaluate import Evaluation, compared, evaluate, load_segmenter
from utils.tasks.pixels.figures import pixels_before_after
from utils.tasks.pixels.page import augmentation_preview, report
from utils.tasks.pixels.predict import Segmenter, predict_folder
from utils.tasks.pixels.train import describe, ingredients, patch_size
from utils.tasks.task import Prediction, Source
from utils.training import networks
from utils.training.run import Ingredients


class TunedPixels(TunedMasks):
    """U-Net: a class for each pixel."""

    name, noun, head, annotation = "unet", "U-Net", ("logits",), "classes"

    def settings(self, training: Mapping, source: Source) -> dict:
        """See `Task`."""
        defaults = {"batch_size": 4, "min_fraction": 0.02, "loss": "weighted cross-entropy + Dice"}
        network = ("filters", "pooling_steps", "half_resolution")
        return self.values(training, source, defaults) | {name: source.description["network"][name] for name in network}

    def _describe(self, project: Project, settings: Mapping) -> dict:
        return describe(project, settings, patch_size(project, settings))

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `Task`; masks need the same classes with the same numbers."""
        return [str(one["name"]) for one in known] == [str(one["name"]) for one in asked]

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return networks.unet(**description["network"])

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> Segmenter:
        """See `Task`."""
        return load_segmenter(folder)

    def judge(self, predictor, examples: Sequence[Example], classes: Sequence[dict]) -> Judgement:
        """See `Task`."""
        return self.judgement(pixel_scores(compared(predictor, examples), classes))

    def judgement(self, scores: PixelScores) -> Judgement:
        """Mean foreground IoU of two classes, mean Dice of more."""
        best, n = headline(score_table(scores)), scores.confusions.shape[-1]
        place = 0 if n == 2 else 1
        return Judgement(
            best,
            summands(scores.confusions),
            lambda sums: totals_of_sums(sums, n)[..., place],
            scores.per_image["group"].tolist(),
        )

    def evaluate(self, folder: Path, test_set: TestSet) -> Evaluation:
        """See `Task`."""
        return evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        found = predict_folder(folder, resolve(data_folder), result_folder, progress=progress)
        return Prediction(found.measurements, found.warnings, overlays(result_folder, found.measurements["file"]))

    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        return project.dataset.problems

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return augmentation_preview(project, settings, augmentation)

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `Task`."""
        return READABLE["mean_foreground_iou" if len(classes) == 2 else "mean_dice"]

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return show_pairs(project.examples("training"), project.dataset.classes)

    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """See `Task`."""
        found = {
            name: [model.class_ids(one.image.array) for one in test_set.examples] for name, model in predictors.items()
        }
        return {"The same test images, segmented by each model": pixels_before_after(test_set.examples, found, classes)}
