"""Section 6 of the classification notebook: single cells, or every object of segmented images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import imread

from utils.class_results import Predicted, classify_folder
from utils.classifier import Classifier
from utils.object_crops import classify_objects
from utils.pages import overlays
from utils.paths import resolve
from utils.plots import add_picture, picture_grid

MONTAGE_HEIGHT, MONTAGE_WIDTH = 3.2, 5.5  # inches


def predict(
    classifier: Classifier,
    model_folder: Path,
    settings: Mapping,
    progress: Callable[[Iterable], Iterator] = iter,
) -> Predicted:
    """Classify what the form asks for.

    Parameters
    ----------
    classifier, model_folder
        The model and where it lies.
    settings
        Values of the form `prediction`; with a label_folder every object of the images is classified.
    progress
        Wraps the list of files, for a progress bar.
    """
    given = classifier, model_folder, classifier.description, settings["data_folder"]
    result_folder, options = resolve(settings["result_folder"]), {"axes": settings["axes"], "progress": progress}
    if settings["label_folder"]:
        return classify_objects(*given, settings["label_folder"], result_folder, **options)
    return classify_folder(*given, result_folder, **options)


def pictures(result_folder: Path, predicted: pd.DataFrame, segmented: bool) -> Figure:
    """The montages of the classes, or the first pictures with coloured objects.

    Parameters
    ----------
    result_folder
        Of `predict`.
    predicted
        Its table, with the column file.
    segmented
        Whether objects of segmented images were classified.
    """
    if segmented:
        return overlays(result_folder, predicted["file"], folder="class_overlays")
    files = sorted((result_folder / "montages").glob("*.png"))
    columns = 2
    figure, axes = picture_grid(-(-len(files) // columns), columns, (MONTAGE_HEIGHT, MONTAGE_WIDTH))
    for axis, path in zip(axes.flat, files, strict=False):
        add_picture(axis, imread(path), path.stem)
    return figure
