"""Fine-tuning of classifiers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from utils.data.crops import Crop
from utils.data.problems import problem_table
from utils.data.project import Project, open_crops
from utils.data.splits import stratified_split
from utils.data.uneven import crop_features, uneven_crops
from utils.metrics.classes import ClassScores, headline, one_hot_confusions, scores_of_confusion
from utils.metrics.intervals import Judgement
from utils.tasks.classes import page
from utils.tasks.classes.cells import pictures, predict
from utils.tasks.classes.evaluate import ClassEvaluation, evaluate, scores_of
from utils.tasks.classes.figures import classes_before_after, show_classes
from utils.tasks.classes.page import augmentation_preview, copies, lookalikes, report
from utils.tasks.classes.predict import Classifier, load_classifier
from utils.tasks.classes.train import describe, ingredients
from utils.tasks.held_out import TestSet
from utils.tasks.report import warnings_of
from utils.tasks.task import LOOKALIKES, Checks, Prediction, Source, Task
from utils.training import networks
from utils.training.run import Ingredients
from utils.training.stages import kept_classes

SIZES = ("channels", "classes")  # what the data, not the form, say of a network
BALANCED_ACCURACY = 1  # place among `class_scores.TOTALS`


class TunedClasses(Task):
    """Images that show one class each."""

    name, noun, unit, head = "classification", "classifier", "labelled images of each class", ("logits",)
    needs_masks = False

    def open_project(self, data: Mapping, seed: int, source: Source) -> Project:
        """See `Task`; classes are what the folders are called."""
        return open_crops(data, seed)

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
        return describe(project, settings)

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`; random weights also where ImageNet's exist."""
        return networks.classifier(**description["network"])

    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting) -> Ingredients:
        """See `Task`."""
        return ingredients(project, forms, description, starting)

    def load(self, folder: Path) -> Classifier:
        """See `Task`."""
        return load_classifier(folder)

    def judge(self, predictor: Classifier, examples: Sequence[Crop], classes: Sequence[dict]) -> Judgement:
        """See `Task`; a model of more classes answers among the given ones."""
        p = self._probabilities(predictor, examples, classes)
        return self.judgement(scores_of(examples, p, classes))

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

    def evaluate(self, folder: Path, test_set: TestSet) -> ClassEvaluation:
        """See `Task`."""
        return evaluate(folder, test_set)

    def report(self, folder: Path, result, warnings: list[str], more: Mapping | None = None) -> Path:
        """See `Task`."""
        return report(folder, result, warnings, more)

    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """See `Task`."""
        settings = {"data_folder": data_folder, "result_folder": result_folder, "label_folder": "", "axes": "automatic"}
        found = predict(load_classifier(folder), folder, settings, progress)
        shown = found.table.loc[:, [not name.startswith("p_") for name in found.table.columns]]
        return Prediction(shown, found.warnings, pictures(result_folder, shown, segmented=False))

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
        problems = page.problems(project, other)
        uneven = uneven_crops(crop_features(project.dataset.crops, project.dataset.classes))
        tables = {
            "Problems": problem_table(problems),
            "Uneven images and groups": uneven,
            "Near-duplicates": copies(project, other),
            LOOKALIKES: lookalikes(project, test_set),
        }
        return Checks(tables, warnings_of(problems, uneven, tables[LOOKALIKES]))

    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """See `Task`."""
        return augmentation_preview(project, settings, augmentation)

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return show_classes(project.examples("training"), project.dataset.classes)

    def show_errors(self, models: Mapping[str, Classifier], test_set: TestSet, classes: Sequence[dict]) -> dict:
        """See `Task`."""
        crops = test_set.examples
        answers = {name: self._probabilities(model, crops, classes) for name, model in models.items()}
        return {"The same test images, as each model names them": classes_before_after(crops, answers, classes)}
