"""Images whose given class does not go with what a network, trained on other images, sees in them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import keras
import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from IPython.display import display
from matplotlib.figure import Figure
from sklearn.model_selection import StratifiedGroupKFold
from tqdm.auto import tqdm

from utils.data.crops import Crop
from utils.data.project import Project
from utils.data.review import write_review
from utils.errors import DataError, UserError, with_labels
from utils.pages.figures import show
from utils.pages.page import tidy
from utils.patching.augmentation import Augmentation
from utils.tasks.classes.batches import TrainingCrops, class_weights, prepared
from utils.tasks.classes.figures import gallery
from utils.tasks.task import Task
from utils.training import networks

FOLDS = 5
LARGEST_SIDE = 64  # pixels; larger images are shrunk, to be done in minutes
IMAGES_PER_FOLD, FEWEST_EPOCHS = 15_000, 10  # drawn in the training of a fold
BATCH, FILTERS, LEARNING_RATE, SMOOTHING = 32, 16, 3e-3, 0.1
AUGMENTATION = Augmentation(flip=True, rotate_90=True, rotation=180, zoom=15, shift=3, intensity=20)
COLUMNS = ["file", "class", "suggested class", "probability of the given class"]


def suspects(
    crops: Sequence[Crop],
    description: Mapping,
    seed: int = 0,
    progress: Callable[[Iterable], Iterator] = iter,
) -> pd.DataFrame:
    """Find images that probably bear the wrong class, by confident learning.

    Five small networks are trained, each on four fifths of the images (whole groups), and asked about the other fifth.
    This takes minutes on a processor of two cores. An image of a class that is in one group only cannot be judged.

    Of the `description`, content of model.json (`Task.describe`), classes, normalisation and input are used. `progress`
    wraps the list of all epochs of all trainings, for a progress bar. Columns: file, class and suggested class (names),
    probability of the given class (0 to 1); the most suspicious first. DataError where there are fewer than two groups.
    Source: Northcutt CG, Jiang L, Chuang IL (2021) Confident learning: estimating uncertainty in dataset labels,
    doi:10.1613/jair.1.12125
    """
    class_ids = np.array([one.class_id for one in crops])
    p, judged = out_of_fold(crops, description, seed, progress)
    names = {one["id"]: one["name"] for one in description["classes"]}
    numbers = np.flatnonzero(judged)
    found = numbers[wrong_labels(class_ids[numbers], p[numbers])]
    rows = [(crops[i].name, names[class_ids[i]], names[p[i].argmax()], float(p[i, class_ids[i]])) for i in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def wrong_labels(class_ids: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Choose the images whose class is probably wrong: indices, the largest lead of another class first.

    `p`, (n, classes), are probabilities from networks that were not trained on the image, `class_ids` (n,) the given
    classes. How many they are, cleanlab estimates from the probabilities.
    """
    present, labels = np.unique(class_ids, return_inverse=True)
    if len(present) < 2:
        return np.zeros(0, int)
    own = p[:, present] / np.maximum(p[:, present].sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    ranking = {"filter_by": "low_normalized_margin", "return_indices_ranked_by": "normalized_margin"}
    return find_label_issues(labels, own, n_jobs=1, **ranking)


def out_of_fold(
    crops: Sequence[Crop], description: Mapping, seed: int = 0, progress: Callable[[Iterable], Iterator] = iter
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the classes of each image, from a network that saw neither it nor its group; see `suspects`.

    float32 (n, classes), rows sum to 1; and bool (n,), False where no image of its class was left to train on.
    """
    description = {**description, "input": _input(description["input"])}
    images = np.stack([prepared(one.image.array, description) for one in crops])
    class_ids, n_classes = np.array([one.class_id for one in crops]), len(description["classes"])
    p, judged = np.zeros((len(crops), n_classes), np.float32), np.ones(len(crops), bool)
    folds = _folds(class_ids, [one.group for one in crops], seed)
    epochs = [max(FEWEST_EPOCHS, round(IMAGES_PER_FOLD / len(learned))) for learned, _ in folds]
    schedule = iter(progress([epoch for n in epochs for epoch in range(n)]))
    for (learned, asked), n in zip(folds, epochs, strict=True):
        network, data = _training(images[learned], class_ids[learned], n_classes, n, seed)
        follow = partial(_begin_epoch, data, schedule)
        network.fit(data, epochs=n, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=follow)])
        p[asked] = _probabilities(network, images[asked])
        judged[asked] = np.isin(class_ids[asked], class_ids[learned])
    next(schedule, None)  # closes a progress bar
    return p, judged


def _begin_epoch(data: TrainingCrops, schedule: Iterator[int], epoch: int, logs: Mapping | None = None) -> None:
    """Tell the batches which epoch begins, and the progress bar."""
    data.epoch = next(schedule)


def _input(given: Mapping) -> dict:
    """Size of the images that the networks get, no side longer than LARGEST_SIDE, and how they are brought to it."""
    shrink = LARGEST_SIDE / max(given["size"])
    if shrink >= 1:
        return dict(given)
    return {"size": [max(1, round(side * shrink)) for side in given["size"]], "fit": "resize"}


def _folds(class_ids: np.ndarray, groups: Sequence[str], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices (learned from, asked about) of each fold; classes are spread evenly, groups are kept whole."""
    n_groups = len(set(groups))
    if n_groups < 2:
        raise DataError(
            "All images are of one group, but the networks that look for wrong classes learn from some groups and look "
            "at the others. Change the field group_rule."
        )
    most_images = Counter(class_ids.tolist()).most_common(1)[0][1]
    n = min(FOLDS, n_groups, most_images)
    folds = StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(class_ids, class_ids, groups)
    return [(learned, asked) for learned, asked in folds if len(learned) and len(asked)]


def _training(images, class_ids, n_classes: int, epochs: int, seed: int) -> tuple[keras.Model, TrainingCrops]:
    """Compiled network that gives logits, and its batches."""
    keras.utils.set_random_seed(seed)
    steps = -(-len(images) // BATCH)
    weights = class_weights(class_ids, n_classes, "square root")
    data = TrainingCrops(images, class_ids, weights, BATCH, steps, AUGMENTATION, seed)
    network = _network(images.shape[-1], n_classes)
    warm_up = max(1, epochs * steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 10, max(1, epochs * steps - warm_up), warmup_target=LEARNING_RATE, warmup_steps=warm_up
    )

    def loss(y_true, logits):  # smoothed: a network that is never quite sure does not learn wrong labels by heart
        y_true = keras.ops.one_hot(keras.ops.cast(y_true, "int32"), n_classes)
        return keras.losses.categorical_crossentropy(y_true, logits, from_logits=True, label_smoothing=SMOOTHING)

    network.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), loss)
    return network, data


def _network(channels: int, n_classes: int) -> keras.Model:
    """Small classifier at half resolution: a third of the operations, and more epochs in the same time."""
    body = networks.classifier(channels, n_classes, filters=FILTERS, levels=3, half_resolution=True)
    return keras.Model(body.input, body.get_layer("logits").output)


def _probabilities(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) of images (n, Y, X, C): geometric mean over the eight orientations of a square."""
    both = (images, images.swapaxes(1, 2))
    turned = (np.ascontiguousarray(np.rot90(one, k, (1, 2))) for one in both for k in range(4))
    logits = [keras.ops.log_softmax(network.predict(one, batch_size=256, verbose=0)) for one in turned]
    return keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.mean(keras.ops.stack(logits), axis=0)))


def button(task: Task, project: Project, training: Mapping, path: Path) -> widgets.VBox:
    """Button that searches the project's images for wrong labels when it is pressed; nothing happens before.

    Parameters
    ----------
    task, project
        Classification, and what it has opened.
    training
        Values of the form, for size and range of the images and the seed.
    path
        CSV file that the suspected images are written to.
    """
    press = widgets.Button(description="Look for wrong labels", layout=widgets.Layout(width="16em"))
    page = widgets.Output()

    def pressed(_) -> None:
        press.disabled = True
        page.clear_output()
        try:
            with page:
                search(task, project, training, path)
        finally:
            press.disabled = False

    press.on_click(pressed)
    return widgets.VBox([press, page])


def search(task: Task, project: Project, training: Mapping, path: Path) -> None:
    """Find suspected wrong labels, show them, and write them to `path` for a person to correct."""
    try:
        table = suspects(project.dataset.crops, task.describe(project, training), training["seed"], tqdm)
        said = write_review(path, table)
    except UserError as error:
        print(with_labels(f"{error.title}: {error}"))
        return
    if len(table):
        show(suspects_gallery(project.dataset.crops, table))
        display(tidy(table.head(20)))
    print(said)


def suspects_gallery(crops: Sequence[Crop], table: pd.DataFrame, n: int = 48) -> Figure:
    """At most `n` suspected images, the most suspicious first; `table` is that of `suspects`.

    Above each image stand its file, the class it was given, and what the networks see in it.
    """
    arrays = {one.name: one.image.array for one in crops}
    shown = table.head(n)
    texts = [
        f"{Path(file).name}\n{given}\nlooks like {suggested}\n{given}: {100 * probability:.0f} %"
        for file, given, suggested, probability in shown.itertuples(index=False)
    ]
    title = f"{len(table)} of {len(crops)} images may bear the wrong class"
    return gallery([arrays[file] for file in shown["file"]], texts, title=title + f"; the first {n}" * (len(table) > n))
