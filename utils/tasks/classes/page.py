"""What only the classification notebook shows and archives."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure
from skimage.transform import resize

from utils.data.copies import near_duplicates
from utils.data.crops import Crop, CropSet
from utils.data.problems import Problem
from utils.data.project import Project
from utils.metrics.calibration import calibration_curve, expected_calibration_error
from utils.metrics.classes import CLASSES, GROUPS, TOTALS, ClassScores, group_names
from utils.pages.colours import BLUE, ORANGE, VERMILION
from utils.pages.figures import WIDTH, short_name
from utils.pages.page import in_groups
from utils.pages.score_figures import confusion_figure
from utils.patching.augmentation import Augmentation, draw_image
from utils.tasks.classes.batches import prepared
from utils.tasks.classes.checks import amount_problems, class_counts, shared_groups, size_note
from utils.tasks.classes.evaluate import (
    READABLE,
    ClassEvaluation,
    comparison_verdict,
    interval_caution,
    per_class_table,
    totals_table,
)
from utils.tasks.classes.figures import gallery, grad_cam_figure, show_classes, worst_mistakes
from utils.tasks.classes.train import describe, image_size
from utils.tasks.held_out import TestSet
from utils.tasks.report import archive
from utils.training import model_folder

PREVIEWS = 8
LOOKED_AT = 8  # images whose Grad-CAM is shown
SURE = "probability of the predicted class"
HISTOGRAM_BINS = np.linspace(0, 1, 21)


def overview(project: Project, training: Mapping) -> str:
    """Markdown on what was found and what every image is brought to."""
    sizes = [one.image.array.shape[:2] for one in project.dataset.examples]
    size, how = image_size(project, training), {"pad": "padded or cut", "resize": "resized"}[training["fit"]]
    groups = in_groups(project.split["group"].nunique(), len(sizes))
    return (
        f"**{len(sizes)} images** in {len(project.dataset.classes)} classes{groups}. "
        f"{size_note(sizes)}\n\nEvery image is {how} to **{size[0]} x {size[1]} pixels**."
    )


def counts(project: Project, test: TestSet | None) -> pd.DataFrame:
    """Images of each class in training, validation and test."""
    return class_counts(project.dataset, project.roles, _as_set(project, test))


def problems(project: Project, test: TestSet | None) -> list[Problem]:
    """Everything odd about the images, the amount of each class, and groups that stand on both sides."""
    other = _as_set(project, test)
    shared = [] if other is None else shared_groups(project.dataset, other)
    return [*project.dataset.problems, *amount_problems(project.dataset, project.roles, other), *shared]


def _as_set(project: Project, test: TestSet | None) -> CropSet | None:
    return None if test is None else CropSet(list(test.examples), project.dataset.classes)


def copies(project: Project, test: TestSet | None) -> pd.DataFrame:
    """Near-duplicates, with the role of each image, those across roles first: they make the score too good."""
    roles = dict(zip((one.name for one in project.dataset.crops), project.roles, strict=True))
    tables = [near_duplicates(project.dataset.crops).assign(role_b="")]
    if test is not None:
        tables.append(near_duplicates(project.dataset.crops, test.examples).assign(role_b="test"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(1, "role_a", table["file_a"].map(roles))
    table["role_b"] = table["role_b"].where(table["role_b"] != "", table["file_b"].map(roles))
    across = (table["role_a"] != table["role_b"]).sort_values(ascending=False, kind="stable").index
    return table.loc[across]


def lookalikes(project: Project, test_set: TestSet) -> pd.DataFrame:
    """Pairs of an image that was trained on and a test image, whichever folder it is from, that look like copies."""
    return near_duplicates(project.examples("training") + project.examples("validation"), test_set.examples)


def augmentation_preview(project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
    """Training images as they are and, below, as the network may see them."""
    description = describe(project, training)
    examples = project.examples("training")
    chosen = np.random.default_rng(seed).choice(len(examples), min(PREVIEWS, len(examples)), replace=False)
    before = [prepared(examples[i].image.array, description) for i in chosen]
    changes = Augmentation(**augmentation)
    after = [draw_image(one, changes, np.random.default_rng((seed, i))) for i, one in enumerate(before)]
    names = [project.dataset.classes[examples[i].class_id]["name"] for i in chosen]
    title = "Training images as they are (above) and as the network may see them (below)"
    return gallery([*before, *after], [*names, *[f"{name}\naugmented" for name in names]], len(before), title)


def example_figure(project: Project) -> Figure:
    """Some training images of each class."""
    return show_classes(project.examples("training"), project.dataset.classes)


def calibration_sentence(evaluation: ClassEvaluation) -> str:
    """How far the probabilities can be believed, in words."""
    error = expected_calibration_error(evaluation.scores.y_true, evaluation.scores.p)
    return (
        f"**Can the probabilities be believed?** They differ from the share that is right by {100 * error:.0f} "
        f"percentage points on average (expected calibration error); a temperature of "
        f"{evaluation.classifier.description['temperature']:.2f}, fitted on validation images, makes them honest."
    )


def verdict_on_forest(evaluation: ClassEvaluation) -> str:
    """Whether the network is worth it, in words; empty where no forest was made."""
    return "" if evaluation.comparison is None else f"**Is it worth it?** {comparison_verdict(evaluation.comparison)}"


def evaluation_figures(evaluation: ClassEvaluation) -> dict[str, Figure]:
    """Caption -> figure: confusions, worst mistakes, calibration, comparison with the forest."""
    figures = confusions(evaluation.scores)
    figures["The worst mistakes"] = worst_mistakes(evaluation.test_set.examples, evaluation.scores)
    figures["Probability and share that is right"] = calibration_figure(evaluation.scores.y_true, evaluation.scores.p)
    if evaluation.forest is not None:
        figures["The network beside a random forest"] = comparison_figure(evaluation.table, evaluation.forest.table)
    return figures


def looked_at(evaluation: ClassEvaluation, names: Sequence[str] = ()) -> Figure:
    """Grad-CAM of chosen test images: what of each speaks for its predicted class.

    Parameters
    ----------
    evaluation
        From `class_evaluation.evaluate`.
    names
        Files; none: the first test image of each class.
    """
    crops = evaluation.test_set.examples
    chosen = [i for i, one in enumerate(crops) if one.name in names] or _first_of_each_class(crops)
    predicted = evaluation.scores.p[chosen].argmax(axis=1)
    images = [evaluation.classifier.prepare(crops[i].image.array) for i in chosen]
    maps = [
        grad_cam(evaluation.classifier.network, image, int(class_id))
        for image, class_id in zip(images, predicted, strict=True)
    ]
    classes = evaluation.classifier.classes
    titles = [
        f"{classes[crops[i].class_id]['name']}\ncalled {classes[class_id]['name']}"
        for i, class_id in zip(chosen, predicted, strict=True)
    ]
    return grad_cam_figure(images, maps, titles)


def _first_of_each_class(crops: Sequence[Crop]) -> list[int]:
    ids = [one.class_id for one in crops]
    return [ids.index(class_id) for class_id in sorted(set(ids))][:LOOKED_AT]


def report(folder: Path, evaluation: ClassEvaluation, warnings: list[str], more: Mapping | None = None) -> Path:
    """Write report.html into the model folder; see `pages.archive`."""
    description, history = model_folder.read_model(folder, "classification"), pd.read_csv(folder / model_folder.HISTORY)
    names = ", ".join(one["name"] for one in description["classes"])
    summary = (
        f"A classifier ({description['network']['network']}) that sorts images into {len(description['classes'])} "
        f"classes ({names}), trained for {len(history)} epochs. {calibration_sentence(evaluation)} "
        f"{verdict_on_forest(evaluation)}"
    ).replace("**", "")
    cautions = [text for text in (interval_caution(evaluation.table),) if text]
    return archive(
        folder,
        evaluation,
        f"Classification model {folder.name}",
        summary,
        {
            "Scores on the test images": totals_table(evaluation.table),
            "Scores of each class": per_class_table(evaluation.table),
        },
        {
            "Test images": show_classes(evaluation.test_set.examples, description["classes"]),
            **evaluation_figures(evaluation),
        },
        [*cautions, *warnings],
        more,
    )


def _last_maps(network: keras.Model):
    """What the last layer that still sees positions, (batch, y, x, filters), hands over to one that sees none."""
    for layer in reversed(network.layers):
        if not isinstance(layer.input, list) and layer.input.ndim == 4 and layer.output.ndim == 2:
            if isinstance(layer, keras.Model):
                break
            return layer.input
    raise ValueError("Grad-CAM needs a network that pools maps (batch, y, x, filters) outside of nested models")


def grad_cam(network: keras.Model, image: np.ndarray, class_id: int) -> np.ndarray:
    """Gradient-weighted class activation map [1]_: L = ReLU(sum_k w_k A_k), w_k = mean over y, x of d logit / d A_k.

    Parameters
    ----------
    network : keras.Model
        (batch, Y, X, C) -> probabilities, with a layer "logits" of shape (batch, n_classes).
    image : ndarray of float32, shape (Y, X, C)
        Normalised and of the network's size, as the network gets it.
    class_id : int
        Class to explain; it need not be the predicted one.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        0 to 1, 1 where most speaks for the class; all 0 where nothing does. As coarse as the network's last maps.

    Raises
    ------
    ValueError
        If the network has no maps to look at.

    References
    ----------
    .. [1] Selvaraju RR et al. (2017) Grad-CAM: visual explanations from deep networks via gradient-based localization,
       ICCV, doi:10.1109/ICCV.2017.74
    """
    model = keras.Model(network.input, [_last_maps(network), network.get_layer("logits").output])
    batch = tf.convert_to_tensor(image[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(batch)  # and so all that comes from it, also where layers are frozen
        maps, logits = model(batch, training=False)
        score = logits[0, class_id]
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))[0].numpy().astype(np.float32)
    cam = resize(cam, image.shape[:2], order=1, mode="edge")
    return cam / cam.max() if cam.max() > 0 else cam


def confusions(scores: ClassScores) -> dict[str, Figure]:
    """Confusion matrices of the classes and, where they have groups, of the groups of classes.

    Parameters
    ----------
    scores : ClassScores
        Scores of the test images.

    Returns
    -------
    dict of str to Figure
        By caption.
    """
    names = [str(one["name"]) for one in scores.classes]
    figures = {"Which class is taken for which": confusion_figure(scores.confusion, names, "images")}
    if scores.group_confusion is not None:
        figure = confusion_figure(scores.group_confusion, group_names(scores.classes), "images")
        figures["Which group of classes is taken for which"] = figure
    return figures


def calibration_figure(y: np.ndarray, p: np.ndarray) -> Figure:
    """Whether probabilities can be believed: accuracy against probability, and how often which probability is given.

    Parameters
    ----------
    y : ndarray of integers, shape (n,)
        True class ids.
    p : ndarray, shape (n, n_classes)
        Probabilities.

    Returns
    -------
    Figure
    """
    curve, error = calibration_curve(y, p), expected_calibration_error(y, p)
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], "--", color="0.4", label="perfect: right as often as it says")
    bars = np.abs(curve[["low", "high"]].to_numpy().T - curve["accuracy"].to_numpy())
    left.errorbar(
        *(curve["probability"], curve["accuracy"]),
        **{"yerr": bars, "fmt": "o-", "color": BLUE, "capsize": 3, "label": "test images, with 95 % interval"},
    )
    left.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel=SURE, ylabel="share that is right")
    left.set_title(f"Calibration: off by {100 * error:.1f} percentage points\non average (expected calibration error)")
    sure, is_right = np.max(p, axis=1), np.argmax(p, axis=1) == y
    counts = [int(is_right.sum()), int((~is_right).sum())]
    labels = [f"right ({counts[0]})", f"wrong ({counts[1]})"]
    style = {"color": [BLUE, ORANGE], "label": labels, "edgecolor": "0.2"}
    right.hist([sure[is_right], sure[~is_right]], HISTOGRAM_BINS, stacked=True, **style)
    right.set(xlim=(0, 1.02), xlabel=SURE, ylabel="test images")
    right.set_title("How sure the model is, and whether rightly")
    for ax, place in ((left, "lower right"), (right, "upper left")):
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, loc=place)
    return figure


def _rows_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Totals and recall of each class and each group of classes, indexed by what to write beside them."""
    total = (table["class"] == "") & table["score"].isin(TOTALS)
    rows = table[total | (table["score"] == "recall")]
    level = rows["level"].map({CLASSES: "", GROUPS: "groups: "})
    words = rows["score"].map(lambda score: READABLE[score].split(" (")[0]) + np.where(rows["class"] == "", "", " of ")
    return rows.set_index(level + words + rows["class"])


def comparison_figure(
    one: pd.DataFrame, other: pd.DataFrame, names: Sequence[str] = ("network", "random forest")
) -> Figure:
    """Scores of two classifiers on the same test images, with their 95 % intervals.

    Parameters
    ----------
    one, other : DataFrame
        Score tables, as in ClassScores.
    names : sequence of two str
        What to call the two.

    Returns
    -------
    Figure
        A line for each total score and for the recall of each class and each group of classes.
    """
    tables = [_rows_shown(one), _rows_shown(other)]
    lines = np.arange(len(tables[0]))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.3 * len(lines)), layout="constrained")
    ax = figure.subplots()
    for table, name, shift, colour, marker in zip(tables, names, (-0.14, 0.14), (BLUE, VERMILION), "os", strict=True):
        ax.hlines(lines + shift, table["low"], table["high"], color=colour, linewidth=2)
        ax.plot(table["value"], lines + shift, marker, color=colour, label=name)
    ax.set_yticks(lines, [short_name(text, 40) for text in tables[0].index])
    ax.set(xlim=(-0.02, 1.02), ylim=(len(lines) - 0.5, -0.5), xlabel="score on the test images (1 is perfect)")
    ax.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure
