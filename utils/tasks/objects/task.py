"""StarDist: an outline for each object."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
from matplotlib.figure import Figure

from utils.data.examples import Example
from utils.data.problems import Problem
from utils.data.project import Project
from utils.metrics.intervals import Judgement
from utils.metrics.objects import IOU_THRESHOLDS, ObjectScores, headline, object_scores, score_table, scores_from_counts
from utils.pages.page import overlays
from utils.paths import resolve
from utils.tasks.held_out import TestSet
from utils.tasks.masks import TunedMasks
from utils.tasks.objects.evaluate import ObjectEvaluation, compared, evaluate
from utils.tasks.objects.figures import objects_before_after, show_objects
from utils.tasks.objects.network import build
from utils.tasks.objects.page import augmentation_preview, problems, report
from utils.tasks.objects.predict import ObjectSegmenter, load_segmenter, predict_objects
from utils.tasks.objects.train import describe, ingredients, patch_size
from utils.tasks.task import Prediction, Source
from utils.training.run import Ingredients
from utils.training.stages import take_over

CLASS_HEAD = ("features_class", "prob_class")  # of a StarDist model that knows classes of objects


class TunedObjects(TunedMasks):
    """StarDist: an outline for each object."""

    name, noun, head, annotation = "stardist", "StarDist model", ("prob", "dist", *CLASS_HEAD), "objects"

    def settings(self, training: Mapping, source: Source) -> dict:
        """See `Task`."""
        network = source.description["network"]
        known = {
            "n_rays": network["n_rays"],
            "grid": network["grid"][0],
            "filters": network["unet_n_filter_base"],
            "batch_normalisation": network["unet_batch_norm"],
        }
        return self.values(training, source, {"batch_size": 4, "min_fraction": 0.02}) | known

    def describe(self, project: Project, settings: Mapping, source: Source) -> dict:
        """See `Task`."""
        description = super().describe(project, settings, source)
        own = ("n_channel_in", "n_classes", "train_patch_size", "train_batch_size")
        network = source.description["network"] | {name: description["network"][name] for name in own}
        return description | {"network": network}

    def _describe(self, project: Project, settings: Mapping) -> dict:
        return describe(project, settings, patch_size(project, settings))

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `Task`; where objects are is asked of any model, of which class they are does not count here."""
        return True

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return build(description["network"]).keras_model

    def start(self, description: Mapping, source: Source) -> keras.Model:
        """See `Task`; outlines are taken over in any case, the classes of objects only where they are the same."""
        network, old = self.untrained(description), source.predictor.network
        same = source.kept(description["classes"]) == list(range(len(description["classes"])))
        both = [source.description["network"]["n_classes"], description["network"]["n_classes"]]
        take_over(network, old, () if same and both[0] == both[1] else CLASS_HEAD, None)
        return network

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> ObjectSegmenter:
        """See `Task`."""
        return load_segmenter(folder)

    def judge(self, predictor, examples: Sequence[Example], classes: Sequence[dict]) -> Judgement:
        """See `Task`; classes of objects do not count."""
        return self.judgement(object_scores(compared(predictor, examples)))

    def judgement(self, scores: ObjectScores) -> Judgement:
        """AP at IoU 0.5."""
        return Judgement(
            headline(score_table(scores)),
            scores.counts[:, 0],
            lambda sums: scores_from_counts(sums)["AP"],
            scores.per_image["group"].tolist(),
        )

    def evaluate(self, folder: Path, test_set: TestSet) -> ObjectEvaluation:
        """See `Task`."""
        return evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        segmenter = self.load(folder)
        given = folder, segmenter, segmenter.description, resolve(data_folder), result_folder
        found = predict_objects(*given, progress=progress)
        return Prediction(found.counts, found.warnings, overlays(result_folder, found.counts["file"]))

    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        return problems(project, settings)

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return augmentation_preview(project, settings, augmentation)

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `Task`."""
        return f"AP at IoU {IOU_THRESHOLDS[0]:g}"

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return show_objects(project.examples("training"))

    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """See `Task`."""
        found = {
            name: [model.find(one.image.array).labels for one in test_set.examples]
            for name, model in predictors.items()
        }
        return {"The same test images, outlined by each model": objects_before_after(test_set.examples, found)}
