"""A trained classifier with the preprocessing and the calibration that were saved with it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from utils.data.folders import find_images
from utils.errors import DataError
from utils.files import write_csv, write_json
from utils.images.image import Image, read_image
from utils.pages.pictures import file_stems, montage, thumbnail, write_png
from utils.paths import resolve, set_aside
from utils.tasks.classes.batches import prepared
from utils.tasks.results import (
    GrowingTable,
    check_channels,
    foreign_file,
    is_own_table,
    keep_earlier,
    origin,
    pixel_size_doubts,
)
from utils.training.model_folder import read_model
from utils.training.networks import load_network

BATCH = 64  # images computed together in `Classifier.probabilities`
PREDICTIONS = "predictions.csv"
REVIEW = "review.csv"
MONTAGES = "montages"
CLASS_ORIGIN = "classification.json"  # not prediction.json: results may lie beside those of StarDist
FIRST_COLUMNS = {PREDICTIONS: ("file", "class", "group", "uncertain"), REVIEW: ("file", "class", "uncertain")}
MOST_SHOWN = 100  # images in a montage
LIKELY = 0.5  # probability below which the likeliest class is doubted
CLEAR = 0.1  # lead over the second likeliest class below which it is doubted
UNCERTAIN = (
    f"Uncertain means: the likeliest class has a probability below {LIKELY}, or leads the second likeliest by less "
    f"than {CLEAR}."
)
PREFIX = "p_"
ROUNDING = 1e-6  # of the probabilities in a file


class Classifier:
    """Images in, probabilities of classes out.

    Parameters
    ----------
    network
        Keras model with a layer "logits", see `networks.classifier`; used with the weights that it has now.
    description
        Content of model.json; used are classes, normalisation, input and temperature.
    """

    def __init__(self, network: keras.Model, description: Mapping):
        self.network, self.description, self.classes = network, description, description["classes"]
        logits = keras.Model(network.input, network.get_layer("logits").output)
        size, temperature = tuple(description["input"]["size"]), description["temperature"]
        signature = [tf.TensorSpec((None, *size, network.input_shape[-1]), tf.float32)]
        # Weights as constants let TensorFlow join batch normalisation with the convolution before it.
        weights = [
            [tf.constant(variable) for variable in variables]
            for variables in (logits.trainable_variables, logits.non_trainable_variables)
        ]

        def call(x: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(logits.stateless_call(*weights, x, training=False)[0] / temperature)

        # A compiled function: Keras's predict() costs 30 times more on a single image.
        self._call = tf.function(call, input_signature=signature)

    def prepare(self, array: np.ndarray) -> np.ndarray:
        """Image (Y, X, C) as read -> float32 (Y, X, C) of the size and range that the network was trained with."""
        return prepared(array, self.description)

    def probabilities(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities float32 (n, classes) of images (Y, X, C) as read, of any sizes."""
        if not len(arrays):
            return np.zeros((0, len(self.classes)), np.float32)
        batches = [
            self.of_prepared(np.stack([self.prepare(one) for one in arrays[i : i + BATCH]]))
            for i in range(0, len(arrays), BATCH)
        ]
        return np.concatenate(batches)

    def of_prepared(self, batch: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float32 (n, classes) of prepared images float32 (n, Y, X, C)."""
        return self._call(batch).numpy()


def load_classifier(folder: Path) -> Classifier:
    """Read a classification model folder into a `Classifier`."""
    description = read_model(folder, "classification")
    return Classifier(load_network(folder, description), description)


@dataclass
class Predicted:
    """Table of predictions, and what went wrong or looks doubtful, one sentence each."""

    table: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def classify_folder(
    classifier: "Classifier",
    model_folder: Path,
    description: Mapping,
    data_folder: str | Path,
    result_folder: Path,
    axes: str = "automatic",
    progress: Callable[[Iterable], Iterator] = iter,
) -> Predicted:
    """Classify all images of a folder and its sub-folders, one in memory at a time.

    Parameters
    ----------
    classifier
        Gives the probabilities.
    model_folder
        Where the classifier comes from, to be told in classification.json.
    description
        Content of model.json; used are channels and pixel_size_um.
    data_folder
        Images of one object each, of any size.
    result_folder
        Gets predictions.csv (see `utils.tasks.classes.predict.class_table`), review.csv (the most uncertain images
        first), montages/<class>.png (at most 100 images each, from the most to the least probable) and
        classification.json.
    axes
        See `utils.images.image.read_image`.
    progress
        Wraps the list of files, for a progress bar.

    Returns
    -------
    Predicted
        An image that cannot be read is named among the warnings; the others are classified all the same.

    Raises
    ------
    DataError
        No image could be classified, or a file would be overwritten that is no result.
    """
    data_folder, result_folder = resolve(data_folder), resolve(result_folder)
    earlier = _check_files(result_folder, classifier.classes)
    files = _find(data_folder, result_folder)
    table, rows, sizes, warnings = GrowingTable(result_folder / PREDICTIONS), [], [], []
    for path in progress(files):
        try:
            image = _read(path, axes, description)
        except DataError as error:
            warnings.append(f"Left out: {error}")
            continue
        name = path.relative_to(data_folder).as_posix()
        row = class_table({"file": [name]}, classifier.probabilities([image.array]), classifier.classes)
        if not rows:
            warnings += _begin(result_folder, [one.relative_to(data_folder).as_posix() for one in files])
            write_json(result_folder / CLASS_ORIGIN, origin(model_folder, data_folder, axes, classifier.classes))
        table.append([row])
        rows.append(row)
        sizes.append(image.pixel_size_um)
    if not rows:
        raise DataError("No image could be classified. " + " ".join(warnings[:3]))
    predictions = pd.concat(rows, ignore_index=True)
    write_csv(result_folder / REVIEW, review_table(predictions))
    for path in earlier:
        path.unlink(missing_ok=True)
    _write_montages(predictions, classifier.classes, data_folder, result_folder, axes)
    return Predicted(predictions, warnings + pixel_size_doubts(sizes, description.get("pixel_size_um")))


def _find(data_folder: Path, result_folder: Path) -> list[Path]:
    """Images of a folder and its sub-folders, without pictures that are results of earlier predictions."""
    results = result_folder if data_folder in result_folder.parents else result_folder / MONTAGES
    files = [path for path in find_images(data_folder, recursive=True) if not path.is_relative_to(results)]
    if not files:
        raise DataError(f"The folder {data_folder} holds no image but results. Check the field data_folder.")
    return files


def _read(path: Path, axes: str, description: Mapping) -> Image:
    image = read_image(path, axes)
    check_channels(image.array, path, description)
    return image


def _montage_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Montage of each class."""
    return [folder / MONTAGES / f"{stem}.png" for stem in file_stems(names)]


def _check_files(folder: Path, classes: Sequence[dict]) -> list[Path]:
    """Refuse to write over what no prediction has written; returns the montages of an earlier prediction."""
    check_tables(folder, FIRST_COLUMNS)
    earlier = _montage_files(folder, earlier_classes(folder / PREDICTIONS))
    for path in _montage_files(folder, [one["name"] for one in classes]):
        if path.exists() and path not in earlier:
            raise foreign_file(path)
    return earlier


def _begin(folder: Path, files: Sequence[str]) -> list[str]:
    """Set aside the tables of an earlier prediction that hold what will not be predicted again, or corrections."""
    return keep_earlier(folder, files, (PREDICTIONS, REVIEW)) + keep_corrected(folder, (PREDICTIONS, REVIEW))


def _write_montages(table: pd.DataFrame, classes: Sequence[dict], data: Path, folder: Path, axes: str) -> None:
    """Write a montage of each class that was found; the images are read again, as all of them may be too many."""
    for one, path in zip(classes, _montage_files(folder, [one["name"] for one in classes]), strict=True):
        mine = table[table["class"] == one["name"]].sort_values(PREFIX + one["name"], ascending=False, kind="stable")
        shown = np.linspace(0, len(mine) - 1, min(len(mine), MOST_SHOWN)).round().astype(int)
        pictures = [thumbnail(read_image(data / name, axes).array) for name in mine["file"].iloc[shown]]
        if pictures:
            write_png(path, montage(pictures))


def class_table(places: Mapping[str, Sequence], probabilities: np.ndarray, classes: Sequence[dict]) -> pd.DataFrame:
    """Table of predictions.

    Parameters
    ----------
    places
        First columns of the table, n values each: what was classified.
    probabilities
        (n, classes), rows sum to 1.
    classes
        Class table as in model.json, ids 0, 1, ...

    Returns
    -------
    DataFrame
        The columns of `places`; class, the likeliest one; group, that of the class or None; uncertain (bool, see
        `UNCERTAIN`); and p_<class> of each class.
    """
    best = probabilities.argmax(axis=1)
    columns = {name: list(values) for name, values in places.items()}
    columns |= {name: [classes[i][key] for i in best] for name, key in (("class", "name"), ("group", "group"))}
    columns["uncertain"] = (probabilities.max(axis=1) < LIKELY) | (lead(probabilities) < CLEAR)
    return pd.DataFrame(columns | {PREFIX + one["name"]: probabilities[:, one["id"]] for one in classes})


def lead(probabilities: np.ndarray) -> np.ndarray:
    """By how much the likeliest class is likelier than the second: (n, classes) -> (n,), 0 to 1."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return first - second


def probability_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns of a table of predictions that hold probabilities."""
    return [name for name in table if name.startswith(PREFIX)]


def review_table(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions in the order in which a person should look at them: the uncertain ones, then by growing `lead`.

    The column group is left out: in a table to train with, that name means patient, slide or day.
    """
    certainty = lead(table[probability_columns(table)].to_numpy())
    order = np.lexsort((certainty, ~table["uncertain"].to_numpy()))
    return table.drop(columns="group").iloc[order].reset_index(drop=True)


def check_tables(folder: Path, first_columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse to write over tables that no prediction has written.

    Parameters
    ----------
    folder
        Result folder.
    first_columns
        Name of each table that will be written -> its first columns.

    Raises
    ------
    DataError
        There is such a file with other columns.
    """
    for name, columns in first_columns.items():
        if (folder / name).exists() and not is_own_table(folder / name, columns):
            raise foreign_file(folder / name)


def keep_corrected(folder: Path, names: Iterable[str]) -> list[str]:
    """Rename tables of an earlier prediction in which a person has corrected classes.

    Returns
    -------
    list of str
        A sentence that says so, or nothing.
    """
    corrected = [folder / name for name in names if (folder / name).exists() and is_corrected(folder / name)]
    return [
        f"{path} holds classes that were corrected by hand. They were kept as {set_aside(path).name}."
        for path in corrected
    ]


def is_corrected(path: Path) -> bool:
    """Whether a row of a table of predictions has another class than the likeliest one, or can no longer be read."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        columns = probability_columns(table)
        probabilities = table[columns].to_numpy(float)
        given = pd.Index(columns).get_indexer(PREFIX + table["class"])
    except (ValueError, KeyError):
        return True
    likely = probabilities >= probabilities.max(axis=1, keepdims=True) - ROUNDING  # a tie may be lost by rounding
    return bool((given < 0).any() or not likely[np.arange(len(given)), given].all())


def earlier_classes(path: Path) -> list[str]:
    """Names of the classes in a table of predictions; empty where there is no such file."""
    if not path.exists():
        return []
    return [name.removeprefix(PREFIX) for name in probability_columns(pd.read_csv(path, nrows=0))]
