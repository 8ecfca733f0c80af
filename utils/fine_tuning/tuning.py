"""Retraining a trained model lightly on new images, and a model from scratch beside it, for comparison."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras

from utils.data.project import Project
from utils.data.splits import read_split
from utils.errors import DataError, FormError, ModelError
from utils.files import file_sha256, write_json
from utils.forms.fields import RENAME
from utils.metrics.intervals import Judgement
from utils.pages.bar import BAR, go_on_from, progress_bar, stretch
from utils.tasks.held_out import choose_test_set
from utils.tasks.task import NetworkTask, Start, TestSet
from utils.training import model_folder
from utils.training.fit import fit
from utils.training.progress import Rounds
from utils.training.run import Ingredients, run
from utils.training.stages import SCRATCH, Stage, stages_of

FROM_SCRATCH, RATES = "from_scratch", "rates"  # folders below the model folder
FACTORS = (1, 1 / 3, 1 / 10)  # of the form's learning rate, tried for the model from scratch
TRIAL_SHARE = 1 / 3  # of the epochs, for each learning rate that is tried


@dataclass(frozen=True)
class Tuning:
    """Everything that fine-tuning needs, checked, before anything is trained.

    Attributes
    ----------
    task, start
        The kind of model, and the model that is started from.
    project
        The new data with their split.
    parameters
        {"overrides": {form: {field: value}}} as on the page.
    settings
        Values of the task's own training form.
    description
        Content of model.json of the models to be trained.
    test_set
        Images that every model is scored on.
    """

    task: NetworkTask
    start: Start
    project: Project
    parameters: Mapping
    settings: Mapping
    description: Mapping
    test_set: TestSet

    @property
    def classes(self) -> Sequence[dict]:
        """Class table of the new data."""
        return self.description["classes"]

    @property
    def strategy(self) -> str:
        """How the model is retrained, see `utils.training.stages`."""
        return self.parameters["overrides"]["strategy"]["strategy"]

    @property
    def forms(self) -> dict:
        """Values of the forms as the task's own notebook has them."""
        return {**self.parameters["overrides"], "training": self.settings}

    @property
    def scratch(self) -> Project:
        """The new data, with the folder of the model from scratch."""
        return replace(self.project, folder=self.project.folder / FROM_SCRATCH)

    def judge(self, predictor) -> Judgement:
        """Headline score of a predictor on the test images."""
        return self.task.judge(predictor, self.test_set.examples, self.classes)

    def judge_unchanged(self) -> Judgement | None:
        """Headline score of the starting model on the new test images; None where its classes are others."""
        if not self.task.can_answer(self.start.description["classes"], self.classes):
            return None
        return self.judge(self.start.predictor)


def open_tuning(task: NetworkTask, start: Start, parameters: Mapping) -> Tuning:
    """Read and check the new data and the test images.

    Parameters
    ----------
    task, start
        From `utils.fine_tuning.start.open_start`.
    parameters
        {"overrides": {form: {field: value}}} with the forms data, augmentation, training, strategy and evaluation.

    Raises
    ------
    FormError, DataError, ModelError
        Something is missing, damaged, or does not fit.
    """
    forms = parameters["overrides"]
    data, evaluation = forms["data"], forms["evaluation"]
    _check_data_of_task(task, start, data)
    project = task.open(data, forms["training"]["seed"], start)
    if start.folder is not None and start.folder.resolve() == project.folder.resolve():
        raise ModelError(
            f"The model to be made would lie where the starting model lies ({start.folder}), which must not change. "
            "Choose another model_name."
        )
    _check_channels_of(start, project)
    settings = task.settings(forms["training"], start)
    started = {"name": start.name, "sha256": fingerprint(start)}
    description = task.describe_tuned(project, settings, start) | {"starting_model": started, "training": settings}
    where = evaluation["test_source"], evaluation["test_target"], evaluation.get("class_table", "")
    test_set = choose_test_set(task, project.split, data, description, *where)
    _check_unseen_by(start, [file_sha256(one.image.path) for one in test_set.examples])
    return Tuning(task, start, project, parameters, settings, description, test_set)


def with_parameters(tuning: Tuning, parameters: Mapping) -> Tuning:
    """The same data and starting model with what the forms augmentation, training and strategy say now."""
    settings = tuning.task.settings(parameters["overrides"]["training"], tuning.start)
    described = tuning.task.describe_tuned(tuning.project, settings, tuning.start)
    description = described | {"starting_model": tuning.description["starting_model"], "training": settings}
    return replace(tuning, parameters=parameters, settings=settings, description=description)


def tune(tuning: Tuning, callbacks: Sequence[keras.callbacks.Callback] = ()) -> str:
    """Retrain the starting model on all training images, or go on with it, or say that it is done.

    Parameters
    ----------
    tuning
        From `open_tuning`.
    callbacks
        For display.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    TrainingStopped, ModelError
        See `utils.training.run.run`; ModelError also where the model was made from a starting model that has changed.
    """
    folder = tuning.project.folder
    if (folder / model_folder.DESCRIPTION).is_file():
        old = model_folder.read_model(folder).get("starting_model")
        if old and old["sha256"] != tuning.description["starting_model"]["sha256"]:
            raise ModelError(
                f"The model in {folder} was made from the starting model {old['name']} before that was changed. Choose "
                "another model_name."
            )
    return _run(tuning, tuning.project, callbacks)


def train_from_scratch(tuning: Tuning, callbacks: Sequence[keras.callbacks.Callback] = ()) -> str:
    """Train the same network from random weights, with the same images and number of steps, for comparison.

    Its learning rate is the best of three on the validation images, since one that suits a trained network would be
    no fair choice for it. See `tune` for parameters and errors.
    """
    return train_part(tuning, tuning.scratch, SCRATCH, callbacks)


def train_part(
    tuning: Tuning,
    project: Project,
    strategy: str,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int | None = None,
) -> str:
    """Train a model that lies within the model folder: that from scratch, or one of a learning curve.

    Parameters
    ----------
    tuning
        From `open_tuning`, after `tune`.
    project
        Images to train on, and the folder.
    strategy
        See `utils.training.stages`.
    callbacks
        For display.
    seed
        Of everything random; None: that of the form.
    """
    forms = tuning.parameters["overrides"]
    settings = tuning.settings | ({} if seed is None else {"seed": seed})
    own = {
        "data": forms["data"] | {"if_model_exists": RENAME},  # the folder it lies in was asked for already
        "training": forms["training"] | {"seed": settings["seed"]},
        "strategy": {"strategy": strategy},
    }
    return _run(replace(tuning, settings=settings, parameters={"overrides": {**forms, **own}}), project, callbacks)


def _run(tuning: Tuning, project: Project, callbacks) -> str:
    strategy = tuning.strategy
    with model_folder.alone(tuning.project.folder):  # `project` may lie within it
        return run(
            project,
            tuning.parameters,
            lambda: _ingredients(tuning, project, strategy),
            callbacks,
            lambda: _stages(tuning, strategy),
        )


def _stages(tuning: Tuning, strategy: str) -> list[Stage]:
    training = tuning.parameters["overrides"]["training"]
    rate = training["initial_learning_rate"] if strategy != SCRATCH else rate_from_scratch(tuning)
    return stages_of(strategy, training["number_of_epochs"], rate, training["slower"], tuning.task.head)


def _ingredients(tuning: Tuning, project: Project, strategy: str) -> Ingredients:
    task, description = tuning.task, tuning.description
    starting = task.untrained(description) if strategy == SCRATCH else task.start(description, tuning.start)
    return task.ingredients(project, tuning.forms, description, starting)


def rate_from_scratch(tuning: Tuning) -> float:
    """The learning rate with which a network from scratch gets the smallest validation loss in a short training.

    The choice is kept in the model folder; interrupted trials go on where they stopped.
    """
    folder, training = tuning.project.folder / RATES, tuning.parameters["overrides"]["training"]
    if (folder / "rates.json").is_file():
        return json.loads((folder / "rates.json").read_text(encoding="utf-8"))["chosen"]
    epochs = max(1, round(TRIAL_SHARE * training["number_of_epochs"]))
    losses, whole = {}, len(FACTORS) * epochs
    share = whole / (whole + training["number_of_epochs"])
    options = {"desc": "Finding the learning rate", "bar_format": BAR, "smoothing": 0}
    with stretch(0, share), progress_bar(total=whole, **options) as bar:
        for rate in (training["initial_learning_rate"] * factor for factor in FACTORS):
            keras.utils.set_random_seed(training["seed"])
            ready = _ingredients(tuning, tuning.project, SCRATCH)
            ready.compile()
            state = fit(
                ready.model,
                ready.training_data,
                ready.validation_data,
                folder / f"{rate:.2e}",
                number_of_epochs=epochs,
                initial_learning_rate=rate,
                learning_rate_schedule=training["learning_rate_schedule"],
                callbacks=[Rounds(bar)],
            )
            losses[rate] = state.best_score
    best = min(losses, key=losses.get)
    tried = [{"learning_rate": rate, "validation_loss": loss} for rate, loss in losses.items()]
    write_json(folder / "rates.json", {"chosen": best, "tried": tried})
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    go_on_from(share)
    return best


def _check_data_of_task(task: NetworkTask, start: Start, data: Mapping) -> None:
    """Refuse, by a FormError, fields that do not go with the kind of starting model."""
    if task.needs_masks and not data["training_target"]:
        raise FormError(
            f"The starting model {start.name} is a {task.noun}: it needs a folder of images in training_source and a "
            "folder of their masks in training_target. Fill in both, or choose a classifier as starting_model."
        )
    if not task.needs_masks and data["training_target"]:
        raise FormError(
            f"The starting model {start.name} is a {task.noun}: it needs one folder with a sub-folder for each class "
            "in training_source, and no masks. Leave training_target empty, or choose a U-Net or StarDist model."
        )


def _check_channels_of(start: Start, project: Project) -> None:
    """Refuse, by a DataError, images whose number of channels is not that of the starting model."""
    one, needed = project.dataset.examples[0], len(start.description["channels"])
    if one.image.array.shape[-1] != needed:
        raise DataError(
            f"The starting model {start.name} was trained on {needed} channels, but {one.image.path} and the other "
            f"new images have {one.image.array.shape[-1]}. Export the new images with the same {needed} channels "
            "(in Fiji: Image > Type, or Image > Color > Split Channels), or train a new model in the notebook of its "
            "task."
        )


def _check_unseen_by(start: Start, sha256: Sequence[str]) -> None:
    """Refuse, by a DataError, test images that the starting model was trained on."""
    if start.folder is None or not (start.folder / model_folder.SPLIT).is_file():
        return
    split = read_split(start.folder / model_folder.SPLIT)
    seen = split.loc[(split["role"] != "test") & split["sha256"].isin(set(sha256)), "file"]
    if len(seen):
        raise DataError(
            f"The starting model {start.name} was trained on {len(seen)} of the test images ({', '.join(seen[:3])}): "
            "the score would be meaningless. Name other test images in test_source."
        )


def fingerprint(start: Start) -> dict[str, str]:
    """Checksums of the files of the starting model, to tell later whether it is still the same."""
    if start.folder is None:
        return {"published": start.name}
    return {name: file_sha256(start.folder / name) for name in start.description["sha256"]}
