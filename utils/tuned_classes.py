"""Fine-tuning of classifiers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from utils import class_evaluation, class_pages, class_prediction, classification, networks, pages, projects
from utils.class_scores import ClassScores, headline, one_hot_confusions, scores_of_confusion
from utils.classifier import Classifier, load_classifier
from utils.crop_quality import crop_features, uneven_crops
from utils.crops import Crop
from utils.held_out import TestSet
from utils.judgements import Judgement
from utils.plot_before_after import classes_before_after
from utils.plot_classes import show_classes
from utils.problems import problem_table
from utils.projects import Project
from utils.runs import Ingredients
from utils.splits import stratified_split
from utils.tasks import LOOKALIKES, Checks, Prediction, Source, Task
from utils.transfer import kept_classes

SIZES = ("channels", "classes")  # what the data, not the form, say of a network
BALANCED_ACCURACY = 1  # place among `class_scores.TOTALS`


class TunedClasses(Task):
    """Images that show one class each."""

    name, noun, unit, head = "classification", "classifier", "labelled images of each class", ("logits",)
    needs_masks = False

    def open_project(self, data: Mapping, seed: int, source: Source) -> Project:
        """See `Task`; classes are what the folders are called."""
        return projects.open_crops(data, seed)

    def class_ids(self, project: Project) -> list[int]:
        """Class of each image."""
        return [one.class_id for one in project.dataset.examples]

    def settings(self, training: Mapping, source: Source) -> dict:
        """See `Task`."""
        defaults = {"class_weights": "balanced", "batch_size": 16}
        per = source.description["normalisation"]["per"]
        return self.values(training, source, defaults) | {
            **{name: value for name, value in source.description["network"].items() if name not in SIZES},
            "fit": source.description["input"]["fit"],
            "normalisation": "each image" if per == "image" else "all images together",
        }

    def describe(self, project: Project, settings: Mapping, source: Source) -> dict:
        """See `Task`."""
        return classification.describe(project, settings)

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`; random weights also where ImageNet's exist."""
        return networks.classifier(**description["network"])

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return classification.ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> Classifier:
        """See `Task`."""
        return load_classifier(folder)

    def judge(self, predictor: Classifier, examples: Sequence[Crop], classes: Sequence[dict]) -> Judgement:
        """See `Task`; a model of more classes answers among the given ones."""
        p = self._probabilities(predictor, examples, classes)
        return self.judgement(class_evaluation.scores_of(examples, p, classes))

    def judgement(self, scores: ClassScores) -> Judgement:
        """Balanced accuracy."""
        confusions = one_hot_confusions(scores.y_true, scores.p.argmax(axis=1), len(scores.classes))
        return Judgement(
            headline(scores.table),
            confusions,
            lambda sums: scores_of_confusion(sums)[..., BALANCED_ACCURACY],
            scores.per_image["group"].tolist(),
        )

    def _probabilities(self, predictor: Classifier, crops: Sequence[Crop], classes: Sequence[dict]) -> np.ndarray:
        p = predictor.probabilities([one.image.array for one in crops])[:, kept_classes(predictor.classes, classes)]
        return p / np.maximum(p.sum(axis=1, keepdims=True), np.finfo(p.dtype).tiny)

    def evaluate(self, folder: Path, test_set: TestSet) -> class_evaluation.ClassEvaluation:
        """See `Task`."""
        return class_evaluation.evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return class_pages.report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        settings = {"data_folder": data_folder, "result_folder": result_folder, "label_folder": "", "axes": "automatic"}
        found = class_prediction.predict(load_classifier(folder), folder, settings, progress)
        shown = found.table.loc[:, [not name.startswith("p_") for name in found.table.columns]]
        return Prediction(shown, found.warnings, class_prediction.pictures(result_folder, shown, segmented=False))

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`; the percentage is kept within every class."""
        groups, ids = [one.group for one in project.dataset.examples], self.class_ids(project)
        return stratified_split([groups[i] for i in chosen], [ids[i] for i in chosen], 0, percentage_validation, seed)

    def score_name(self, classes: Sequence[dict]) -> str:
        """See `Task`."""
        return "Balanced accuracy"

    def checks(self, project: Project, settings: Mapping, test_set: TestSet) -> Checks:
        """See `Task`."""
        other = None if (project.roles == "test").any() else test_set  # set aside: looked at with the others
        problems = class_pages.problems(project, other)
        uneven = uneven_crops(crop_features(project.dataset.crops, project.dataset.classes))
        tables = {
            "Problems": problem_table(problems),
            "Uneven images and groups": uneven,
            "Near-duplicates": class_pages.copies(project, other),
            LOOKALIKES: class_pages.lookalikes(project, test_set),
        }
        return Checks(tables, pages.warnings_of(problems, uneven, tables[LOOKALIKES]))

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return class_pages.augmentation_preview(project, settings, augmentation)

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return show_classes(project.examples("training"), project.dataset.classes)

    def show_errors(self, models: Mapping[str, Classifier], test_set: TestSet, classes: Sequence[dict]) -> dict:
        """See `Task`."""
        crops = test_set.examples
        answers = {name: self._probabilities(model, crops, classes) for name, model in models.items()}
        return {"The same test images, as each model names them": classes_before_after(crops, answers, classes)}
