"""What an empty field of section 6 stands for."""

from pathlib import Path

from utils.errors import DataError, ModelError
from utils.paths import resolve
from utils.samples import prepare, sample_of


def chosen_model(model_folder: str, project) -> Path:
    """Folder of the model to predict with: the one named in the form, else the one trained in this session."""
    if model_folder:
        return resolve(model_folder)
    if project is None:
        raise ModelError(
            "No model was trained in this session. Write the folder of a trained model in the field model_folder, for "
            "example models/my_unet."
        )
    return project.folder


def chosen_images(data_folder: str, training_source: str | None) -> Path:
    """Folder of the images to predict on.

    Parameters
    ----------
    data_folder
        As in the form.
    training_source
        Images of the model trained in this session, None without one.

    Returns
    -------
    Path
        Where the form names none: the test images of the sample that was trained on, else the images of
        `training_source`.

    Raises
    ------
    DataError
        If there is neither, or `training_source` is a table, whose images may lie anywhere.
    """
    if data_folder:
        return resolve(data_folder)
    if training_source is None:
        raise DataError("Write the folder of your images in the field data_folder.")
    if sample := sample_of(training_source):
        return resolve(prepare(sample)["test_source"])
    source = resolve(training_source)
    if source.is_file():
        raise DataError("Write the folder of the images to predict on in the field data_folder.")
    return source


def chosen_results(result_folder: str, notebook: str, model_folder: Path) -> Path:
    """Folder for the results: the one named in the form, else one for each model in the folder of the notebook."""
    return resolve(result_folder or f"results/{notebook}/predictions_of_{model_folder.name}")
