"""What a task is: the questions that classification, U-Net and StarDist answer, and what all of them do alike.

A task is a folder below `utils/tasks` and a line in `utils.tasks.registry`. Its class gathers parts that lie in files
of their own (train, predict, evaluate, page); the notebooks, fine-tuning and `notebooks.predict` ask nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data.copies import duplicates
from utils.data.problems import Problem, each_once
from utils.data.splits import FOLDS
from utils.errors import ModelError
from utils.metrics.intervals import Judgement
from utils.pages.bar import go_on_from, stretch
from utils.pages.page import overlays
from utils.paths import resolve
from utils.tasks.automatic import Choice, asked_for, complete, kept_choices, leave_open, rows, settled
from utils.tasks.cross_validation import answer_parts, shares
from utils.tasks.methods import Run, Words
from utils.tasks.portable import Portable
from utils.tasks.results import Predicted, Results, predict_folder
from utils.tasks.trials import try_out
from utils.training.run import Ingredients, run
from utils.training.stages import Stage, kept_classes, take_over

if TYPE_CHECKING:
    from utils.data.project import Project


@dataclass(frozen=True)
class Start:
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
        Of `Task.load`; its `network` is a Keras model.
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
class TestSet:
    """Images to score a model on.

    Attributes
    ----------
    examples
        Annotated images.
    origin
        Where they come from, in words (a warning where not independent).
    independent
        Whether the score may be called that of an independent test.
    doubt
        A sentence on why that may not be said, although no model has seen these images: others of the same patients,
        slides or days may be among those that it was trained on.
    folds
        Of images tested in turn: number of the part of each (n,), see `utils.tasks.cross_validation`.
    """

    __test__ = False  # not a class of tests

    examples: list
    origin: str
    independent: bool
    doubt: str = ""
    folds: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on its test set.

    Attributes
    ----------
    test_set, predictor
        What was scored on, and what was scored.
    scores
        Of `Task.scores`; has `per_image`, a row for each test image with its group.
    table
        Totals with their intervals.
    headline
        The one score shown big: name, value, low, high, meaning.
    classical
        Of `utils.tasks.opponents.compare_methods`, where methods from before deep learning were scored, too.
    folds
        Of images tested in turn: a row for each part with fold, images, epochs and the score of each method.
    whose
        A sentence on whose score it is, where it is not that of the model.
    """

    test_set: TestSet
    scores: Any
    table: pd.DataFrame
    headline: dict
    predictor: Any
    classical: pd.DataFrame | None = None
    folds: pd.DataFrame | None = None
    whose: str = ""


@dataclass(frozen=True)
class Checks:
    """What the check of the data found: caption -> table for the page, and sentences for the report."""

    tables: Mapping[str, pd.DataFrame]
    warnings: list[str]


def warnings_of(problems: Sequence[Problem], uneven: pd.DataFrame, copies: pd.DataFrame | None = None) -> list[str]:
    """Sentences for the report from what the check of the data found."""
    found = [str(one) for one in each_once(problems)]
    found += [f"{_uneven(row)} differs from the other images in {row['feature']}." for row in uneven.to_dict("records")]
    return found + ([] if copies is None else alike(copies))


def _uneven(row: Mapping[str, str]) -> str:
    """What a row of a table of uneven images is about: an image, or a group or class as a whole."""
    whole = [f"the {name} {row[name]}" for name in ("group", "class") if row.get(name)]
    text = row["file"] or " of ".join(whole)
    return text[:1].upper() + text[1:] if whole and not row["file"] else text


def alike(pairs: pd.DataFrame) -> list[str]:
    """Sentences on pairs of images (columns file_a, file_b) that look like copies."""
    return [
        f"{row.file_a} and {row.file_b} look like copies of each other: keep one, or give both one group."
        for row in pairs.itertuples()
    ]


class Task(ABC):
    """A kind of model.

    Attributes
    ----------
    name
        As in model.json.
    noun, title, unit
        What a model, its report and an annotated image are called on the page.
    notebook
        Where its models are trained, kept in model.json.
    needs_masks
        Whether images are annotated by masks.
    parts
        Into how many parts images that are tested in turn are divided, at most.
    rounds_in_turn
        See `Project`.
    results
        Subclass of `Results` that writes a prediction folder.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    notebook: ClassVar[str]
    needs_masks: ClassVar[bool]
    parts: ClassVar[int] = FOLDS
    rounds_in_turn: ClassVar[float] = 0.5
    results: ClassVar[Callable[..., Results]]

    # --- data

    @abstractmethod
    def open(self, data: Mapping, seed: int = 0, start: Start | None = None) -> "Project":
        """Read, check and split training data; `data` are values of that form.

        Data to fine-tune a model with (`start`) are understood as those that it was made from, where they can be.
        """

    @abstractmethod
    def read(
        self, source: Path, target: Path | None, data: Mapping, description: Mapping, class_table: Path | None = None
    ) -> Any:
        """Annotated images, with the classes of a model.

        Parameters
        ----------
        source, target, class_table
            Where images and annotations lie.
        data
            Values of the form `data` that the model was made with.
        description
            Content of model.json; used are classes and mask_type.

        Returns
        -------
        Dataset or CropSet
            With all problems, none raised.
        """

    # --- train

    @abstractmethod
    def train(self, project: "Project", parameters: Mapping, callbacks: Sequence[keras.callbacks.Callback] = ()) -> str:
        """Make the model folder of a project complete, or say that it is; returns a sentence on what was done.

        `parameters` are {"overrides": {form: {field: value}}}, `callbacks` are for display.
        """

    # --- predict

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Predictor of a model folder: has `network`, `description` and `classes`."""

    def portable(self, folder: Path) -> Portable:
        """What other programs must know of the model in a folder; ModelError where they could not answer alike."""
        raise ModelError(f"The model {folder} is no network that other programs could run.")

    def predict(
        self, model: Path, images: Path, folder: Path, progress: Callable[[Iterable], Iterable] = iter, **options: Any
    ) -> Predicted:
        """Predict on all images of a folder.

        Parameters
        ----------
        model
            A model folder; nothing else is needed.
        images, folder
            Folder of images, and of the results.
        progress
            Wraps the list of images, for a progress bar.
        options
            Further arguments of `results`.

        Returns, Raises
            As `predict_folder`.
        """
        return predict_folder(self.results(self.load(model), model, images, folder, progress=progress, **options))

    def result_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of a prediction's table as the page shows them."""
        return table

    def result_figure(self, folder: Path, table: pd.DataFrame) -> Figure:
        """Some pictures of a prediction, of the images in its table."""
        return overlays(folder, table["file"])

    # --- evaluate

    @abstractmethod
    def scores(self, predictor: Any, examples: Sequence, classes: Sequence[dict] | None = None) -> Any:
        """Scores on annotated images; with `classes`, those of the images where the predictor knows others."""

    @abstractmethod
    def score_table(self, scores: Any) -> pd.DataFrame:
        """Totals with their intervals."""

    @abstractmethod
    def headline(self, table: pd.DataFrame) -> dict:
        """The one score shown big: name, value, low, high, meaning."""

    @abstractmethod
    def further_scores(self, evaluation: Evaluation) -> dict:
        """More content of scores.json."""

    def evaluation(self, predictor: Any, test_set: TestSet) -> Evaluation:
        """Score a predictor; writes nothing."""
        scores = self.scores(predictor, test_set.examples)
        table = self.score_table(scores)
        return Evaluation(test_set, scores, table, self.headline(table), predictor)

    # --- page

    @abstractmethod
    def overview(self, project: "Project", training: Mapping) -> str:
        """Markdown on what was found, and what the network is shown of it."""

    @abstractmethod
    def counts(self, project: "Project", test_set: TestSet | None = None) -> pd.DataFrame:
        """What training, validation and test images hold."""

    @abstractmethod
    def show_data(self, project: "Project") -> Figure:
        """Some training images with their annotation."""

    def show_understood(self, project: "Project") -> Figure | None:
        """Some images with annotation that may mean something else than it seems, and how it was understood."""
        return None

    @abstractmethod
    def checks(self, project: "Project", training: Mapping, test_set: TestSet | None = None) -> Checks:
        """Problems, uneven images and copies; `test_set` are test images that are no part of the project."""

    def lookalikes(self, project: "Project", test_set: TestSet) -> pd.DataFrame:
        """Pairs of an image that was trained on and a test image that look like copies: columns file_a, file_b.

        Images set aside from the same folder are compared in `checks`.
        """
        known = {one.image.path for one in project.dataset.examples}
        others = [one for one in test_set.examples if one.image.path not in known]
        names = {one.name: replace(one, name=f"{one.name} (test)") for one in others}
        pairs = duplicates([*project.dataset.examples, *names.values()])
        is_test = pairs[["file_a", "file_b"]].isin([one.name for one in names.values()])
        return pairs[is_test.sum(axis=1) == 1]

    def disagreement(self, folder: Path, examples: Sequence, roles: Sequence[str]) -> pd.DataFrame | None:
        """Images whose annotation disagrees most with the model: candidates for a faulty annotation.

        Parameters
        ----------
        folder
            Model folder.
        examples, roles
            Annotated images and what each was used for; the model has seen training images, so that a disagreement
            there is the stronger hint.

        Returns
        -------
        pandas.DataFrame
            Begins with the columns file and role, the worst first; None where the task has its own way of finding them.
        """
        return None

    @abstractmethod
    def score_tables(self, evaluation: Evaluation) -> dict[str, pd.DataFrame]:
        """Caption -> table of the scores for page and report."""

    def remarks(self, evaluation: Evaluation) -> list[str]:
        """Sentences on the scores for page and report."""
        return []

    def cautions(self, evaluation: Evaluation) -> list[str]:
        """Sentences on why a score may mislead, for page and report."""
        return []

    @abstractmethod
    def evaluation_figures(self, evaluation: Evaluation) -> dict[str, Figure]:
        """Caption -> figure of an evaluation, the worst mistakes among them."""

    @abstractmethod
    def show_examples(self, examples: Sequence, classes: Sequence[dict]) -> Figure:
        """Annotated images."""

    @abstractmethod
    def summary(self, description: Mapping, number_of_epochs: int) -> str:
        """What the model is, in a few sentences."""

    def methods(self, run: Run) -> Words:
        """What the "Methods" of a paper say of network, loss, decision and score."""
        return Words()


class NetworkTask(Task):
    """A task that trains a network, which can be fine-tuned.

    Attributes
    ----------
    head
        Names of the network's last layers.
    """

    head: ClassVar[Sequence[str]]

    # --- train

    @abstractmethod
    def describe(self, project: "Project", training: Mapping) -> dict:
        """Content of model.json but for what is known only after training (threshold, checksums)."""

    @abstractmethod
    def untrained(self, description: Mapping) -> keras.Model:
        """Network with random weights, also where others exist."""

    @abstractmethod
    def ingredients(
        self, project: "Project", forms: Mapping, description: Mapping, starting: keras.Model | None = None
    ) -> Ingredients:
        """What `utils.training.run.run` needs.

        Parameters
        ----------
        project
            From `open`.
        forms
            Values of the forms augmentation and training.
        description
            From `describe`.
        starting
            The same network with weights to start from; None: random ones.
        """

    @abstractmethod
    def starting_network(self, name: str, description: Mapping) -> keras.Model | None:
        """Network to start from, with its weights, None for ""; ModelError where it is not that of `description`."""

    def starting_place(self, name: str) -> str:
        """Where the starting model lies, in words."""
        return f"in {resolve(name)}"

    def fingerprint(self, project: "Project") -> dict:
        """Numbers that say what the training images are like, plain values for model.json; measured once."""
        return {}

    def fingerprint_table(self, project: "Project") -> pd.DataFrame:
        """The same for the page: what, value, what it means."""
        return pd.DataFrame(columns=["what", "value", "what it means"])

    def choices(self, project: "Project", forms: Mapping) -> list[Choice]:
        """What the rules choose for fields that may say `AUTOMATIC`, from fingerprint and values of the other fields.

        `forms` are {form: {field: value}}; forms that are not there yet are not needed.
        """
        return []

    def train(self, project: "Project", parameters: Mapping, callbacks: Sequence[keras.callbacks.Callback] = ()) -> str:
        """Train, or go on with it, or say that it is done.

        Fields that say `AUTOMATIC` are chosen by `choices`, and where that leaves doubt by trials. Parameters, result
        and errors are those of `utils.training.run.run`; besides, ModelError where the starting model does not fit.
        """
        asked = parameters["overrides"]
        choices = asked_for(asked, self.choices(project, asked)) if leave_open(asked) else []
        forms = settled(asked, choices)
        description, starting = self._starting(project, forms)  # refused before anything is written

        def settle() -> tuple[dict, list[dict]]:
            nonlocal choices, forms, description, starting
            kept, before = kept_choices(project.folder), forms
            with stretch(0, trials):
                choices = complete(kept, choices) if kept else try_out(self, project, forms, choices)
            forms = settled(asked, choices)
            if forms != before:
                description, starting = self._starting(project, forms)
            return forms, rows(choices)

        def first() -> None:
            with stretch(trials, parts):
                answer_parts(self, project, asked, forms)

        def prepare() -> Ingredients:
            go_on_from(parts)
            return self.ingredients(project, forms, description | self._reasons(project, choices), starting)

        def stages() -> Sequence[Stage] | None:
            return self.stages(project, forms)

        in_turn = project.folds is not None and not project.fold
        trials, parts = shares(project, asked["training"].get("preset", ""), any(one.candidates for one in choices))
        return run(
            project, parameters, prepare, callbacks, stages, settle if choices else None, first if in_turn else None
        )

    def stages(self, project: "Project", forms: Mapping) -> Sequence[Stage] | None:
        """Stages of a training that is not the usual one, after which the weights that watched images like best count.

        `forms` have a value in every field. None: as the form says.
        """
        return None

    def _reasons(self, project: "Project", choices: Sequence[Choice]) -> dict:
        """What model.json keeps of what was chosen, and from what."""
        if not choices:
            return {}
        return {"fingerprint": self.fingerprint(project), "automatic": rows(choices)}

    def _starting(self, project: "Project", forms: Mapping) -> tuple[dict, keras.Model | None]:
        description = self.describe(project, forms["training"])
        return description, self.starting_network(forms["data"].get("starting_model", ""), description)

    def starting_note(self, project: "Project", data: Mapping, training: Mapping) -> str:
        """One sentence on the model that training starts from; ModelError where it does not fit the data."""
        if self.starting_network(data["starting_model"], self.describe(project, training)) is None:
            return "Training starts from scratch."
        return f"Training starts from the weights {self.starting_place(data['starting_model'])}."

    @abstractmethod
    def augmentation_preview(
        self, project: "Project", training: Mapping, augmentation: Mapping, seed: int = 0
    ) -> Figure:
        """Training images as they are and as the network may see them; `seed` chooses images and changes."""

    # --- testing in turn, see `utils.tasks.cross_validation`

    @abstractmethod
    def held(self, project: "Project") -> np.ndarray:
        """How much each image holds of each thing to be learned, whole numbers (n, things)."""

    @abstractmethod
    def answers(self, predictor: Any, examples: Sequence, training: Sequence, seed: int) -> dict[str, list[dict]]:
        """What a predictor and those opponents that need one find in images: method -> for each image arrays by name.

        The opponents learn from `training`, the images that the predictor learned from.
        """

    def answers_of_opponents(
        self,
        classes: Sequence[dict],
        examples: Sequence,
        training: Sequence,
        seed: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, list[dict]]:
        """As `answers`, of the opponents that need no predictor, so that they may learn while a network does.

        `classes` are those of the project; once `stopped` says so nobody wants the answers any more.
        """
        return {}

    @abstractmethod
    def recalled(self, predictor: Any, examples: Sequence, found: Mapping[str, Sequence[Mapping]]) -> dict[str, Any]:
        """What stands in for the predictor of each method: it knows the `answers` to these very images only.

        Classes and thresholds that are told with the scores are those of `predictor`.
        """

    @abstractmethod
    def evaluation_of(self, recalled: Mapping[str, Any], test_set: TestSet) -> Evaluation:
        """`evaluation` of what `recalled` gave, the opponents beside it."""

    # --- fine-tuning

    def class_ids(self, project: "Project") -> list[int] | None:
        """Class of each image; None where an image has no class of its own."""
        return None

    def holding(self, project: "Project") -> np.ndarray | None:
        """Whether each image holds something to find (n,); None where every image does."""
        return None

    @abstractmethod
    def split(self, project: "Project", chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """Roles "training" or "validation" of chosen images; DataError where both cannot hold what is to be learned."""

    @abstractmethod
    def settings(self, training: Mapping, start: Start) -> dict:
        """All values that the task's own training form has: what fine-tuning does not ask is the starting model's."""

    def describe_tuned(self, project: "Project", settings: Mapping, start: Start) -> dict:
        """Content of model.json, with the network of the starting model for the classes of the new data."""
        return self.describe(project, settings)

    def start(self, description: Mapping, start: Start) -> keras.Model:
        """Network of `description` with the starting model's weights, but for a new head where the classes are new."""
        network = self.untrained(description)
        take_over(network, start.predictor.network, self.head, start.kept(description["classes"]))
        return network

    def can_answer(self, known: Sequence[dict], asked: Sequence[dict]) -> bool:
        """Whether a model that knows the classes `known` can be scored on images of the classes `asked`."""
        return kept_classes(known, asked) is not None

    @abstractmethod
    def score_name(self, classes: Sequence[dict]) -> str:
        """What the headline score is called."""

    @abstractmethod
    def judgement(self, scores: Any) -> Judgement:
        """Headline score of `scores`, with what is needed to compare it with another model's."""

    def judge(self, predictor: Any, examples: Sequence, classes: Sequence[dict]) -> Judgement:
        """Headline score of a predictor on annotated images of the given classes; writes nothing."""
        return self.judgement(self.scores(predictor, examples, classes))

    @abstractmethod
    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """Caption -> figure of the same test images with the errors of each model, the hardest images first."""


def tuned_values(training: Mapping, start: Start, defaults: Mapping) -> dict:
    """Values of the training form, where they are 0 those of the starting model, where these are unknown `defaults`."""
    known = {name: start.training.get(name, default) for name, default in defaults.items()}
    return known | {name: value for name, value in training.items() if value != 0 or name not in known}
