"""Classification: a class for each image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from utils.data.crops import CropSet, load_crops
from utils.data.problems import raise_errors
from utils.data.project import Project, open_crops
from utils.data.splits import stratified_split
from utils.errors import DataError
from utils.images.normalise import asked_by
from utils.paths import resolve
from utils.samples import CLASSIFICATION, sample_of
from utils.tasks.classes.cells import CellResults
from utils.tasks.classes.evaluate import ClassScoring
from utils.tasks.classes.methods import ClassMethods
from utils.tasks.classes.page import ClassPage
from utils.tasks.classes.predict import CropResults, load_classifier, portable
from utils.tasks.classes.train import ClassTraining
from utils.tasks.results import Results
from utils.tasks.task import NetworkTask, Start, TestSet, tuned_values

SIZES = ("channels", "classes")  # what the data, not the form, say of a network


class Classification(ClassTraining, ClassScoring, ClassMethods, ClassPage, NetworkTask):
    """Images that show one class each."""

    name, noun, title = "classification", "classifier", "Classification model"
    notebook = "classification"
    unit, head = "labelled images of each class", ("logits",)
    needs_masks = False
    load = staticmethod(load_classifier)

    portable = staticmethod(portable)

    def open(self, data: Mapping, seed: int = 0, start: Start | None = None) -> Project:
        """See `Task`; classes are what the folders are called."""
        return open_crops(data, seed)

    def read(
        self, source: Path, target: Path | None, data: Mapping, description: Mapping, class_table: Path | None = None
    ) -> CropSet:
        """See `Task`."""
        given = {"classes": description["classes"], "pixel_size_um": data.get("pixel_size", 0)}
        return load_crops(source, data["axes"], data["group_rule"], **given)

    def sample_test_set(self, project: Project, training_source: str) -> TestSet | None:
        """Test images of the sample for classification that a project is made of; None for one's own images."""
        sample = sample_of(training_source)
        if sample not in CLASSIFICATION:
            return None
        crops = load_crops(resolve(CLASSIFICATION[sample]["test_source"]), classes=project.dataset.classes)
        raise_errors(crops.problems)
        return TestSet(crops.examples, f"the test images of the sample {sample}", independent=True)

    def class_ids(self, project: Project) -> list[int]:
        """See `Task`."""
        return [one.class_id for one in project.dataset.examples]

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`; the percentage is kept within every class."""
        groups, ids = [one.group for one in project.dataset.examples], self.class_ids(project)
        return stratified_split([groups[i] for i in chosen], [ids[i] for i in chosen], 0, percentage_validation, seed)

    def results(self, *given, labels: Path | None = None, tracks: Path | None = None, **more) -> Results:
        """See `Task`; with `labels` every object of segmented images is classified, `tracks` are of whole images."""
        if labels and tracks:
            raise DataError("A track table is of whole images. Leave the field track_table or label_folder empty.")
        return CellResults(*given, labels=labels, **more) if labels else CropResults(*given, tracks=tracks, **more)

    def settings(self, training: Mapping, start: Start) -> dict:
        """See `NetworkTask`."""
        description = start.description
        return tuned_values(training, start, {"class_weights": "balanced", "batch_size": 16}) | {
            **{name: value for name, value in description["network"].items() if name not in SIZES},
            "fit": description["input"]["fit"],
            "decides": "network",
            "normalisation": asked_by(description["normalisation"]),
        }
