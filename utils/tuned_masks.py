"""Fine-tuning of models of images with masks: U-Net (classes of pixels) and StarDist (objects)."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import (
    evaluation,
    networks,
    object_evaluation,
    object_pages,
    object_prediction,
    object_results,
    object_training,
    pages,
    projects,
    results,
    segmentation,
    segmentation_pages,
    stardist_models,
)
from utils.checks import Example
from utils.errors import DataError
from utils.held_out import TestSet
from utils.judgements import Judgement
from utils.object_scores import IOU_THRESHOLDS, ObjectScores, object_scores, scores_from_counts
from utils.paths import resolve
from utils.plot_before_after import objects_before_after, pixels_before_after
from utils.plot_objects import show_objects
from utils.plots import show_pairs
from utils.problems import Problem, problem_table
from utils.projects import Project
from utils.quality import duplicates, image_features, outliers
from utils.runs import Ingredients
from utils.scores import READABLE, PixelScores, headline, pixel_scores, score_table, summands, totals_of_sums
from utils.splits import split
from utils.tasks import LOOKALIKES, Checks, Prediction, Source, Task
from utils.transfer import take_over

PATCH = ("patch_height", "patch_width")
CLASS_HEAD = ("features_class", "prob_class")  # of a StarDist model that knows classes of objects


class TunedMasks(Task):
    """What U-Net and StarDist have in common."""

    unit = "labelled images"
    needs_masks = True
    annotation: str

    def open_project(self, data: Mapping, seed: int, source: Source) -> Project:
        """See `Task`; masks with the same values as the old ones mean the same classes, unless they are named."""
        project = projects.open_project(data, seed, self.annotation)
        old, new = source.description["classes"], project.dataset.classes
        if not data["class_names"] and [one["value"] for one in old] == [one["value"] for one in new]:
            projects.name_classes(new, ", ".join(str(one["name"]) for one in old))
        return project

    def describe(self, project: Project, settings: Mapping, source: Source) -> dict:
        """See `Task`; a patch size of 0 is the starting model's, or what the images allow where that does not fit."""
        if not any(settings[name] for name in PATCH):
            patch = source.description["input"]["patch"]
            try:
                return self._describe(project, {**settings, **dict(zip(PATCH, patch, strict=True))})
            except DataError:
                pass
        return self._describe(project, settings)

    @abstractmethod
    def _describe(self, project: Project, settings: Mapping) -> dict:
        """Content of model.json."""

    def checks(self, project: Project, settings: Mapping, test_set: TestSet) -> Checks:
        """See `Task`."""
        examples, problems = project.dataset.examples, self._problems(project, settings)
        uneven, copies = outliers(image_features(examples)), duplicates(examples)
        tables = {
            "Problems": problem_table(problems),
            "Uneven images": uneven,
            "Duplicates": pages.with_roles(copies, project),
            LOOKALIKES: pages.lookalikes(project, test_set),
        }
        return Checks(tables, pages.warnings_of(problems, uneven, pd.concat([copies, tables[LOOKALIKES]])))

    @abstractmethod
    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        """Everything odd about images and masks."""

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`."""
        return split([project.dataset.examples[i].group for i in chosen], 0, percentage_validation, seed)


class TunedPixels(TunedMasks):
    """U-Net: a class for each pixel."""

    name, noun, head, annotation = "unet", "U-Net", ("logits",), "classes"

    def settings(self, training: Mapping, source: Source) -> dict:
        """See `Task`."""
        defaults = {"batch_size": 4, "min_fraction": 0.02, "loss": "weighted cross-entropy + Dice"}
        network = ("filters", "pooling_steps", "half_resolution")
        return self.values(training, source, defaults) | {name: source.description["network"][name] for name in network}

    def _describe(self, project: Project, settings: Mapping) -> dict:
        return segmentation.describe(project, settings, segmentation.patch_size(project, settings))

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `Task`; masks need the same classes with the same numbers."""
        return [str(one["name"]) for one in known] == [str(one["name"]) for one in asked]

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return networks.unet(**description["network"])

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return segmentation.ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> segmentation.Segmenter:
        """See `Task`."""
        return evaluation.load_segmenter(folder)

    def judge(self, predictor, examples: Sequence[Example], classes: Sequence[dict]) -> Judgement:
        """See `Task`."""
        return self.judgement(pixel_scores(evaluation.compared(predictor, examples), classes))

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

    def evaluate(self, folder: Path, test_set: TestSet) -> evaluation.Evaluation:
        """See `Task`."""
        return evaluation.evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return segmentation_pages.report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        found = results.predict_folder(folder, resolve(data_folder), result_folder, progress=progress)
        return Prediction(found.measurements, found.warnings, pages.overlays(result_folder, found.measurements["file"]))

    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        return project.dataset.problems

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return segmentation_pages.augmentation_preview(project, settings, augmentation)

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
        return object_training.describe(project, settings, object_training.patch_size(project, settings))

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """See `Task`; where objects are is asked of any model, of which class they are does not count here."""
        return True

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return stardist_models.build(description["network"]).keras_model

    def start(self, description: Mapping, source: Source) -> keras.Model:
        """See `Task`; outlines are taken over in any case, the classes of objects only where they are the same."""
        network, old = self.untrained(description), source.predictor.network
        same = source.kept(description["classes"]) == list(range(len(description["classes"])))
        both = [source.description["network"]["n_classes"], description["network"]["n_classes"]]
        take_over(network, old, () if same and both[0] == both[1] else CLASS_HEAD, None)
        return network

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return object_training.ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> object_prediction.ObjectSegmenter:
        """See `Task`."""
        return object_prediction.load_segmenter(folder)

    def judge(self, predictor, examples: Sequence[Example], classes: Sequence[dict]) -> Judgement:
        """See `Task`; classes of objects do not count."""
        return self.judgement(object_scores(object_evaluation.compared(predictor, examples)))

    def judgement(self, scores: ObjectScores) -> Judgement:
        """AP at IoU 0.5."""
        return Judgement(
            object_evaluation.headline(object_evaluation.score_table(scores)),
            scores.counts[:, 0],
            lambda sums: scores_from_counts(sums)["AP"],
            scores.per_image["group"].tolist(),
        )

    def evaluate(self, folder: Path, test_set: TestSet) -> object_evaluation.ObjectEvaluation:
        """See `Task`."""
        return object_evaluation.evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return object_pages.report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        segmenter = self.load(folder)
        given = folder, segmenter, segmenter.description, resolve(data_folder), result_folder
        found = object_results.predict_objects(*given, progress=progress)
        return Prediction(found.counts, found.warnings, pages.overlays(result_folder, found.counts["file"]))

    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        return object_pages.problems(project, settings)

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return object_pages.augmentation_preview(project, settings, augmentation)

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
