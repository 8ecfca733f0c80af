"""A trained classifier with the preprocessing and the temperature that were saved with it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from utils.data.folders import find_images
from utils.errors import DataError, ModelError
from utils.files import write_csv, write_json
from utils.images.image import read_image
from utils.images.masks import evenly_chosen
from utils.metrics.classes import group_names
from utils.pages.pictures import file_stems, montage, thumbnail, write_png
from utils.paths import set_aside
from utils.tasks.classes.batches import prepared, seen_by_forest
from utils.tasks.classes.forest import FOREST, Forest, load_forest, mixed, share_of
from utils.tasks.classes.tracks import ALONG, along_tracks, read_track_table
from utils.tasks.portable import Portable
from utils.tasks.results import (
    Found,
    GrowingTable,
    Results,
    check_channels,
    foreign_file,
    is_own_table,
    keep_earlier,
    left_out,
)
from utils.training.model_folder import read_model
from utils.training.networks import classifier, load_network

BATCH = 64  # images computed together in `Classifier.probabilities`
PREDICTIONS = "predictions.csv"
REVIEW = "review.csv"
MONTAGES = "montages"
CLASS_ORIGIN = "classification.json"  # not prediction.json: results may lie beside those of StarDist
SHARES = "class_counts.csv"
BROAD = "broad class"  # column of a table of predictions; earlier ones call it group
FIRST_COLUMNS = {name: ("file", "class", "uncertain") for name in (PREDICTIONS, REVIEW)}
FIRST_OF_SHARES = {SHARES: ("class", "images", "share [%]")}
MOST_SHOWN = 100  # images in a montage
LIKELY = 0.5  # probability below which the likeliest class is doubted
CLEAR = 0.1  # lead over the second likeliest class below which it is doubted
UNCERTAIN = (
    f"Uncertain means: the likeliest class has a probability below {LIKELY}, or leads the second likeliest by less "
    f"than {CLEAR}."
)
HOW_MANY = "How many images of each class"  # caption of a table
PREFIX = "p_"
ROUNDING = 1e-6  # of the probabilities in a file


class Classifier:
    """Images in, probabilities of classes out.

    Parameters
    ----------
    network
        Keras model with a layer "logits", see `networks.classifier`; used with the weights that it has now.
    description
        Content of model.json; used are classes, normalisation, input, temperature, and decides where there is a forest.
    forest
        Answers along, or alone, as `description` says.
    """

    def __init__(self, network: keras.Model, description: Mapping, forest: Forest | None = None):
        self.network, self.description, self.classes = network, description, description["classes"]
        self.forest, self.share = forest, share_of(description) if forest else 1.0
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
        """Probabilities float32 (n, classes) of images (Y, X, C) as read, of any sizes.

        Calibrated where there were validation images enough (`utils.metrics.calibration.FEWEST_IMAGES`).
        """
        if self.share == 1 or not len(arrays):
            return self.of_network(arrays)
        if self.share == 0:
            return self.of_forest(arrays)
        return mixed(self.of_network(arrays), self.of_forest(arrays), self.share)

    def of_forest(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """See `probabilities`: those of the forest alone."""
        return self.forest.probabilities([seen_by_forest(one, self.description) for one in arrays])

    def of_network(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """See `probabilities`: those of the network alone."""
        if not len(arrays):
            return np.zeros((0, len(self.classes)), np.float32)
        batches = [
            self.of_prepared(np.stack([self.prepare(one) for one in arrays[i : i + BATCH]]))
            for i in range(0, len(arrays), BATCH)
        ]
        return np.concatenate(batches)

    def of_prepared(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities float32 (n, classes) of the network for prepared images float32 (n, Y, X, C)."""
        return self._call(batch).numpy()


def load_classifier(folder: Path) -> Classifier:
    """Read a classification model folder into a `Classifier`."""
    description = read_model(folder, "classification")
    network = load_network(folder, description, lambda one: classifier(**one["network"]))
    return Classifier(network, description, load_forest(folder / FOREST) if FOREST in description["sha256"] else None)


def portable(folder: Path) -> Portable:
    """The network of a classifier with its temperature, see `utils.tasks.task.Task`."""
    predictor = load_classifier(folder)
    if predictor.share < 1:
        raise ModelError(
            f"In the model {folder} a random forest decides, alone or along with the network: other programs cannot "
            'compute what it measures. To export one, train it with "network" in the field "Decides", under Advanced.'
        )
    description, network = predictor.description, predictor.network
    scores = keras.layers.Rescaling(1 / description["temperature"])(network.get_layer("logits").output)
    answers = keras.Model(network.input, keras.layers.Softmax(name="probabilities")(scores))

    def answer(array: np.ndarray) -> dict[str, np.ndarray]:
        return {"probabilities": predictor.probabilities([array])[0]}

    outputs = {"probabilities": f"probability of {', '.join(str(one['name']) for one in predictor.classes)}"}
    size = tuple(description["input"]["size"])
    return Portable(answers, outputs, (1, 1), size, description, predictor.prepare, answer)


class CropResults(Results):
    """Writes predictions.csv, review.csv (the most uncertain first), class_counts.csv, montages, classification.json.

    Images, in sub-folders too, are of one object each; for the columns of the table see `prediction_table`. A montage
    of each class shows at most 100 images, from the most to the least probable.

    Parameters
    ----------
    tracks
        CSV file that says which image shows which cell and when: classes_along_tracks.csv is written, too, see
        `utils.tasks.classes.tracks`.
    """

    verb, recursive = "classified", True

    def __init__(self, *given, tracks: Path | None = None, **more):
        super().__init__(*given, **more)
        self.tracks = None if tracks is None else read_track_table(tracks)
        self.table, self.earlier = GrowingTable(self.folder / PREDICTIONS), []

    def files(self) -> list[Path]:
        """See `Results`; pictures that are results of earlier predictions are no images."""
        check_tables(self.folder, FIRST_COLUMNS | FIRST_OF_SHARES)
        self.earlier = _montage_files(self.folder, earlier_classes(self.folder / PREDICTIONS))
        for path in self._montages():
            if path.exists() and path not in self.earlier:
                raise foreign_file(path)
        results = self.folder if self.images in self.folder.parents else self.folder / MONTAGES
        files = [path for path in find_images(self.images, recursive=True) if not path.is_relative_to(results)]
        if not files:
            raise DataError(f"The folder {self.images} holds no image but results. Check the field data_folder.")
        return files

    def begin(self, files: list[Path]) -> None:
        """See `Results`; tables with corrections are set aside too."""
        tables = PREDICTIONS, REVIEW
        self.warnings += keep_earlier(self.folder, [self._name(one) for one in files], (*tables, SHARES))
        self.warnings += keep_corrected(self.folder, tables)
        write_json(self.folder / CLASS_ORIGIN, self.told())

    def predict_one(self, file: Path) -> Found:
        """See `Results`."""
        with left_out():
            image = read_image(file, self.axes, pixel_size_um=self.pixel_size)
            check_channels(image.array, file, self.description)
        probabilities = self.predictor.probabilities([image.array])
        row = prediction_table({"file": [self._name(file)]}, probabilities, self.predictor.classes)
        return Found([row], image.pixel_size_um, file, image.remarks)

    def append(self, found: Found, rows: list[pd.DataFrame]) -> None:
        """See `Results`."""
        self.table.append(found.rows)

    def end(self, table: pd.DataFrame) -> None:
        """See `Results`."""
        write_csv(self.folder / REVIEW, review_table(table))
        write_csv(self.folder / SHARES, *self.remarked([counts_by_class(table, self.predictor.classes)]))
        self._along_tracks(table)
        for path in self.earlier:
            path.unlink(missing_ok=True)
        for one, path in zip(self.predictor.classes, self._montages(), strict=True):
            self._write_montage(path, table[table["class"] == one["name"]], PREFIX + one["name"])

    def summary(self, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """See `Results`."""
        return {HOW_MANY: counts_by_class(table, self.predictor.classes)}

    def _along_tracks(self, table: pd.DataFrame) -> None:
        """Write classes along tracks where these are known; those of an earlier prediction are of another one."""
        if self.tracks is None:
            (self.folder / ALONG).unlink(missing_ok=True)
            return
        found, told = along_tracks(table, self.tracks, [one["name"] for one in self.predictor.classes], PREFIX)
        write_csv(self.folder / ALONG, *self.remarked([found]))
        self.warnings += told

    def _name(self, file: Path) -> str:
        return file.relative_to(self.images).as_posix()

    def _montages(self) -> list[Path]:
        return _montage_files(self.folder, [one["name"] for one in self.predictor.classes])

    def _write_montage(self, path: Path, table: pd.DataFrame, column: str) -> None:
        """Write a montage of one class if it was found; images are read again, as all of them may be too many."""
        mine = table.sort_values(column, ascending=False, kind="stable")
        shown = evenly_chosen(mine["file"].tolist(), MOST_SHOWN)
        pictures = [thumbnail(read_image(self.images / name, self.axes).array) for name in shown]
        if pictures:
            write_png(path, montage(pictures))


def _montage_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Montage of each class."""
    return [folder / MONTAGES / f"{stem}.png" for stem in file_stems(names)]


def prediction_table(
    places: Mapping[str, Sequence], probabilities: np.ndarray, classes: Sequence[dict]
) -> pd.DataFrame:
    """Table of predictions from probabilities (n, classes), after the columns `places` that say what was classified.

    Columns: class, the likeliest one; where there are any, the broad class that it belongs to; uncertain (bool, see
    `UNCERTAIN`); and p_<class> of each class of the class table `classes`, ids 0, 1, ...
    """
    best = probabilities.argmax(axis=1)
    columns = {name: list(values) for name, values in places.items()}
    columns["class"] = [classes[i]["name"] for i in best]
    if group_names(classes):
        columns[BROAD] = [classes[i]["group"] for i in best]
    columns["uncertain"] = (probabilities.max(axis=1) < LIKELY) | (lead(probabilities) < CLEAR)
    return pd.DataFrame(columns | {PREFIX + one["name"]: probabilities[:, one["id"]] for one in classes})


def counts_by_class(table: pd.DataFrame, classes: Sequence[dict], counted: str = "images") -> pd.DataFrame:
    """How many were called each class: class, broad class where there are any, `counted`, share [%], uncertain.

    `table` is one of `prediction_table`; each of `classes` has a row, in their order. Without any row in `table` shares
    are not known (NaN).
    """
    rows = []
    for one in classes:
        own = table[table["class"] == one["name"]]
        broad = {BROAD: one["group"]} if group_names(classes) else {}
        share = 100 * len(own) / len(table) if len(table) else np.nan
        uncertain = int(own["uncertain"].sum())
        rows.append({"class": one["name"], **broad, counted: len(own), "share [%]": share, "uncertain": uncertain})
    return pd.DataFrame(rows)


def lead(probabilities: np.ndarray) -> np.ndarray:
    """By how much the likeliest class is likelier than the second: (n, classes) -> (n,), 0 to 1."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return first - second


def probability_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns of a table of predictions that hold probabilities."""
    return [name for name in table if name.startswith(PREFIX)]


def review_table(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions in the order in which a person should look at them: the uncertain ones, then by growing `lead`.

    Broad classes are left out: they follow from the class, which may be corrected.
    """
    certainty = lead(table[probability_columns(table)].to_numpy())
    order = np.lexsort((certainty, ~table["uncertain"].to_numpy()))
    return table.drop(columns=BROAD, errors="ignore").iloc[order].reset_index(drop=True)


def check_tables(folder: Path, first_columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse, by a DataError, to write over tables that have other first columns: no prediction has written them.

    A column of broad classes does not count: it is there where there are any.
    """
    for name, columns in first_columns.items():
        if (folder / name).exists() and not is_own_table(folder / name, columns, maybe=(BROAD, "group")):
            raise foreign_file(folder / name)


def keep_corrected(folder: Path, names: Iterable[str]) -> list[str]:
    """Rename tables of an earlier prediction in which a person has corrected classes; a sentence for each of them."""
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
