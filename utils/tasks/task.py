"""What fine-tuning needs to know of a task: classification, U-Net and StarDist behind the same few questions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data.project import Project
from utils.metrics.intervals import Judgement
from utils.tasks.held_out import TestSet
from utils.training.run import Ingredients
from utils.training.stages import kept_classes, take_over

LOOKALIKES = "Test images that look like a copy of a training image"  # caption of a table


@dataclass(frozen=True)
class Source:
    """The model that fine-tuning starts from.

    Attributes
    ----------
    name
        As given in the form.
    folder
        Where it lies; None for a published model.
    description
        Content of model.json; of a published model what corresponds to it.
    predictor
        `Classifier`, `Segmenter` or `ObjectSegmenter`; its `network` is a Keras model.
    training
        Values of the form training that it was made with, as far as known.
    """

    name: str
    folder: Path | None
    description: Mapping
    predictor: Any
    training: Mapping

    def kept(self, classes: Sequence[dict]) -> list[int] | None:
        """See `utils.training.stages.kept_classes`."""
        return kept_classes(self.description["classes"], classes)


@dataclass(frozen=True)
class Prediction:
    """A row for each image, what looks doubtful, and a figure of the results."""

    table: pd.DataFrame
    warnings: Sequence[str]
    figure: Figure


@dataclass(frozen=True)
class Checks:
    """What the check of the new data found: caption -> table for the page, and sentences for the report."""

    tables: Mapping[str, pd.DataFrame]
    warnings: list[str]


class Task(ABC):
    """A kind of model.

    Attributes
    ----------
    name
        As in model.json.
    noun, unit
        What a model and an annotated image are called on the page.
    head
        Names of the network's last layers.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    unit: ClassVar[str]
    head: ClassVar[Sequence[str]]
    needs_masks: ClassVar[bool]

    @abstractmethod
    def open_project(self, data: Mapping, seed: int, source: Source) -> Project:
        """Read, check and split the new data."""

    @abstractmethod
    def settings(self, training: Mapping, source: Source) -> dict:
        """All values that the task's own training form has: what fine-tuning does not ask is the starting model's."""

    @abstractmethod
    def describe(self, project: Project, settings: Mapping, source: Source) -> dict:
        """Content of model.json, with the network of the starting model for the classes of the new data."""

    @abstractmethod
    def untrained(self, description: Mapping) -> keras.Model:
        """Network with random weights."""

    def start(self, description: Mapping, source: Source) -> keras.Model:
        """Network of `description` with the starting model's weights, but for a new head where the classes are new."""
        network = self.untrained(description)
        take_over(network, source.predictor.network, self.head, source.kept(description["classes"]))
        return network

    @abstractmethod
    def ingredients(self, project: Project, forms: Mapping, description: Mapping, starting: keras.Model) -> Ingredients:
        """What `utils.training.run.run` needs."""

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Predictor of a model folder."""

    @abstractmethod
    def judge(self, predictor: Any, examples: Sequence, classes: Sequence[dict]) -> Judgement:
        """Headline score of a predictor on annotated images of the given classes; writes nothing."""

    @abstractmethod
    def evaluate(self, folder: Path, test_set: TestSet) -> Any:
        """Score a model and write evaluation.csv and scores.json into its folder."""

    @abstractmethod
    def report(self, folder: Path, result: Any, warnings: list[str], more: Mapping | None = None) -> Path:
        """Write report.html into the model folder."""

    @abstractmethod
    def judgement(self, scores: Any) -> Judgement:
        """Headline score of the scores that `evaluate` found."""

    @abstractmethod
    def score_name(self, classes: Sequence[dict]) -> str:
        """What the headline score is called."""

    @abstractmethod
    def checks(self, project: Project, settings: Mapping, test_set: TestSet) -> Checks:
        """Problems, uneven images and copies."""

    @abstractmethod
    def augmentation_preview(self, project: Project, settings: Mapping, augmentation: Mapping) -> Figure:
        """Training images as they are and as the network may see them."""

    @abstractmethod
    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """Roles "training" or "validation" of chosen images."""

    @abstractmethod
    def show_data(self, project: Project) -> Figure:
        """Some training images with their annotation."""

    @abstractmethod
    def show_errors(self, models: Mapping[str, Any], test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """Caption -> figure of the same test images with the errors of each model, the hardest images first."""

    @abstractmethod
    def predict(self, folder: Path, data_folder: str, result_folder: Path, progress: Callable) -> Prediction:
        """What the notebook of the task does in its section 6."""

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """Whether a model that knows the classes `known` can be scored on images of the classes `asked`."""
        return kept_classes(known, asked) is not None

    def class_ids(self, project: Project) -> list[int] | None:
        """Class of each image; None where an image has no class of its own."""
        return None

    def values(self, training: Mapping, source: Source, defaults: Mapping) -> dict:
        """Values of the form, where they are 0 those of the starting model, where these are unknown `defaults`."""
        known = {name: source.training.get(name, default) for name, default in defaults.items()}
        return known | {name: value for name, value in training.items() if value != 0 or name not in known}
