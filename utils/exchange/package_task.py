"""A model of others with the face of a task: predicts on whole folders, and writes what the notebooks write."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from utils.errors import ModelError
from utils.exchange.channels import PackageObjects, PackagePixels, makes_objects, meanings
from utils.exchange.opening import holds_package
from utils.exchange.package_model import PackageModel
from utils.exchange.packages import check, is_package, unpack
from utils.exchange.stardist_package import as_model_folder, is_stardist
from utils.forms.fields import AUTOMATIC
from utils.forms.folders import path_text
from utils.forms.state import Form
from utils.samples import PUBLISHED
from utils.tasks.registry import STARDIST, UNET, read_task
from utils.tasks.results import Predicted, predict_folder
from utils.tasks.task import Task

LIMIT = 1e-3  # difference of the package's own test image to its authors' answer from which on it is said


class PackageTask:
    """A package that predicts as the U-Net or StarDist task does.

    Attributes
    ----------
    like
        The task whose results it writes.
    predictor
        What is run.
    doubt
        A sentence on why its results may be wrong, usually empty.
    """

    def __init__(self, like: Task, predictor: Any, doubt: str = ""):
        self.like, self.predictor, self.doubt = like, predictor, doubt

    @property
    def name(self) -> str:
        """That of the task it is like."""
        return self.like.name

    def predict(
        self, model: Path, images: Path, folder: Path, progress: Callable[[Iterable], Iterable] = iter, **options: Any
    ) -> Predicted:
        """See `utils.tasks.task.Task.predict`; `model` is told beside the results, it was read before."""
        if self.like is not UNET:
            options.pop("save_probabilities", None)
        found = predict_folder(self.like.results(self.predictor, model, images, folder, progress=progress, **options))
        found.warnings[:0] = [self.doubt] if self.doubt else []
        return found

    def result_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """See `Task`."""
        return self.like.result_rows(table)

    def result_figure(self, folder: Path, table: pd.DataFrame) -> Figure:
        """See `Task`."""
        return self.like.result_figure(folder, table)


def predicting(folder: Path, own: Task | None = None, package_channels: str = "") -> Task | PackageTask:
    """What predicts with the model in a folder of `utils.exchange.opening.find_model`.

    Parameters
    ----------
    folder
        A model folder, a package, or the place of a published model.
    own
        Task of the notebook, whose model folders it takes; None: any task's.
    package_channels
        What the channels of a package mean, see `utils.exchange.channels.meanings`.

    Raises
    ------
    ModelError
        There is no model, or it cannot be used here; the reason is said.
    """
    if STARDIST.is_published(folder):
        return PackageTask(STARDIST, STARDIST.load(folder))
    if not holds_package(folder):
        return own or read_task(folder)[0]
    described = check(folder)
    if is_stardist(described):
        return PackageTask(STARDIST, STARDIST.load(as_model_folder(folder, STARDIST, described)))
    model = PackageModel(folder, described)
    words = meanings(model, package_channels)
    doubt = _doubt(model)
    if makes_objects(words):
        return PackageTask(STARDIST, PackageObjects(model, words), doubt)
    return PackageTask(UNET, PackagePixels(model, words), doubt)


def _doubt(model: PackageModel) -> str:
    """Sentence where the package does not answer its own test image as its authors say."""
    difference = model.difference_on_own_test()
    if difference is None or difference <= LIMIT:
        return ""
    return (
        f"The package {model.folder} answers its own test image otherwise than its authors say (difference "
        f"{difference:.2g}): its results may be wrong. Look at them closely."
    )


def starting_model(name: str) -> str:
    """Name of a model that a training can start from: as it was given, or a model folder made of a package.

    `name` is what the field starting_model says. ModelError where a package holds nothing to start from.
    """
    if name in ("", AUTOMATIC, *PUBLISHED) or not is_package(name):
        return name
    folder = unpack(name)
    if not holds_package(folder):
        return str(folder)
    described = check(folder)
    if is_stardist(described):
        return str(as_model_folder(folder, STARDIST, described))
    raise ModelError(
        f"A training cannot start from the package {folder}: its network is none that is trained here. Predict with "
        "it in section 6, or choose a StarDist package, or one that was exported here."
    )


def unpack_start(form: Form) -> str:
    """Put into the field starting_model of a form the model folder made of the package named there; what it says now.

    Names that `starting_model` leaves as they are stay.
    """
    name = form.starting_model
    if (found := starting_model(name)) != name:
        form.starting_model = path_text(Path(found)) or found
    return form.starting_model
