"""What the fields of section 6 mean, above all the empty ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from utils.data.sample_makers import prepare
from utils.errors import NotYet
from utils.paths import ROOT, resolve
from utils.samples import sample_of

ASK_FOR_IMAGES = "Choose the folder of your images in the field data_folder of the form above, then run this cell."


class Chosen(NamedTuple):
    """What a prediction works with; `about` says on which images, `labels` are those of objects to classify."""

    model: Path
    images: Path
    results: Path
    about: str
    labels: Path | None


def choose(
    prediction: Mapping, notebook: str, trained: Path | None, training_source: str | None, called: str = ""
) -> Chosen:
    """Read the form `prediction`.

    Parameters
    ----------
    prediction
        Its values; an empty model_folder stands for the model just trained, an empty data_folder for its images (see
        `chosen_images`), an empty result_folder for one of its own for each model and folder of images.
    notebook
        Name of the notebook.
    trained, training_source
        Folder and images of the model trained in this session, None without one.
    called
        What folders of results call the model; "" for the name of its folder.

    Raises
    ------
    NotYet
        If a field is empty that stands for nothing.
    """
    model = chosen_model(prediction["model_folder"], trained)
    images = chosen_images(prediction["data_folder"] or prediction.get("label_folder", ""), training_source)
    default = f"results/{notebook}/predictions_of_{called or model.name}/{name_of_folder(images)}"
    seen = training_source is not None and not sample_of(training_source) and images == resolve(training_source)
    warning = " (most of them were used for training: on new images the model will be somewhat worse)" if seen else ""
    results, labels = prediction["result_folder"] or default, prediction.get("label_folder", "")
    labels = resolve(labels) if labels else None
    return Chosen(model, images, resolve(results), f"Images: {images}{warning}", labels)


def chosen_model(model_folder: str, trained: Path | None) -> Path:
    """Folder of the model to predict with: the one named in the form, else the one trained in this session."""
    if model_folder:
        return resolve(model_folder)
    if trained is None:
        raise NotYet("Choose a model in the field model_folder of the form above, then run this cell.", name="trained")
    return trained


def chosen_images(data_folder: str, training_source: str | None) -> Path:
    """Folder of the images to predict on; where the form names none those of the training in this session.

    These are the test images of the sample that was trained on, else the images of `training_source` (None without a
    training). NotYet if there is neither, or `training_source` is a table, whose images may lie anywhere.
    """
    if data_folder:
        return resolve(data_folder)
    if training_source is None:
        raise NotYet(ASK_FOR_IMAGES)
    if sample := sample_of(training_source):
        return resolve(prepare(sample)["test_source"])
    source = resolve(training_source)
    if source.is_file():
        raise NotYet(ASK_FOR_IMAGES)
    return source


def name_of_folder(folder: Path) -> str:
    """Name for the results of a folder: its path, from that of the project where it lies inside, joined by ``_``."""
    below = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return "_".join(below.parts[bool(below.anchor) :]) or folder.name or "images"
