"""What only the classification notebook shows and archives."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.image import imread
from skimage.transform import resize

from utils.data.copies import near_duplicates
from utils.data.crops import Crop, CropSet
from utils.data.problems import Problem, problem_table, questions
from utils.data.project import Project
from utils.data.uneven import crop_features, uneven_crops
from utils.errors import how_many
from utils.metrics.calibration import calibration_curve, expected_calibration_error
from utils.metrics.classes import CLASSES, GROUPS, TOTALS, ClassScores, group_names
from utils.pages.colours import BLUE, ORANGE, VERMILION
from utils.pages.figures import WIDTH, add_picture, picture_grid, short_name
from utils.pages.page import in_groups, overlays
from utils.pages.pictures import display_limits
from utils.pages.score_figures import confusion_figure
from utils.patching.augmentation import Augmentation, draw_image
from utils.tasks.classes.batches import in_own_values, prepared
from utils.tasks.classes.calibration import calibration_in_words
from utils.tasks.classes.cells import OVERLAYS
from utils.tasks.classes.checks import amount_problems, class_counts, shared_groups, size_note
from utils.tasks.classes.decision import told
from utils.tasks.classes.evaluate import (
    READABLE,
    ClassEvaluation,
    classifier_verdict,
    interval_caution,
    per_class_table,
    totals_table,
)
from utils.tasks.classes.figures import (
    classes_before_after,
    gallery,
    grad_cam_figure,
    show_classes,
    worst_mistakes,
)
from utils.tasks.classes.predict import MONTAGES, probability_columns
from utils.tasks.task import Checks, TestSet, warnings_of

PREVIEWS = 8
LOOKED_AT = 8  # images whose Grad-CAM is shown
SURE = "probability of the predicted class"
HISTOGRAM_BINS = np.linspace(0, 1, 21)
MONTAGE_HEIGHT, MONTAGE_WIDTH = 3.2, 5.5  # inches


class ClassPage:
    """What a classifier shows: a part of `utils.tasks.classes.task.Classification`."""

    show_examples = staticmethod(show_classes)

    def overview(self, project: Project, training: Mapping) -> str:
        """See `Task`."""
        sizes = [one.image.array.shape[:2] for one in project.dataset.examples]
        size, how = self.image_size(project, training), {"pad": "padded or cut", "resize": "resized"}[training["fit"]]
        lines = [
            f"**{len(sizes)} images** in {len(project.dataset.classes)} classes{in_groups(project.split)}. "
            f"{size_note(sizes)}",
            *questions(project.dataset.problems),
            f"Every image is {how} to **{size[0]} x {size[1]} pixels**.",
        ]
        return "\n\n".join(lines)

    def counts(self, project: Project, test_set: TestSet | None = None) -> pd.DataFrame:
        """See `Task`: images of each class."""
        return class_counts(project.dataset, project.roles, _as_set(project, test_set))

    def show_data(self, project: Project) -> Figure:
        """See `Task`."""
        return self.show_examples(project.examples("training"), project.dataset.classes)

    def checks(self, project: Project, training: Mapping, test_set: TestSet | None = None) -> Checks:
        """See `Task`."""
        if (project.roles == "test").any():  # set aside: looked at with the others
            test_set = None
        problems = _problems(project, _as_set(project, test_set))
        uneven = uneven_crops(crop_features(project.dataset.crops, project.dataset.classes))
        tables = {
            "Problems": problem_table(problems),
            "Uneven images and groups": uneven,
            "Near-duplicates": _copies(project, test_set),
        }
        return Checks(tables, warnings_of(problems, uneven))

    def lookalikes(self, project: Project, test_set: TestSet) -> pd.DataFrame:
        """See `Task`; whichever folder the images are from."""
        return near_duplicates(project.examples("training") + project.examples("validation"), test_set.examples)

    def augmentation_preview(self, project: Project, training: Mapping, augmentation: Mapping, seed: int = 0) -> Figure:
        """See `Task`."""
        description = self.describe(project, training)
        examples = project.examples("training")
        chosen = np.random.default_rng(seed).choice(len(examples), min(PREVIEWS, len(examples)), replace=False)
        arrays = [examples[i].image.array for i in chosen]
        before, changes = [prepared(one, description) for one in arrays], Augmentation(**augmentation)
        after = [draw_image(one, changes, np.random.default_rng((seed, i))) for i, one in enumerate(before)]
        names = [project.dataset.classes[examples[i].class_id]["name"] for i in chosen]
        title = "Training images as they are (above) and as the network may see them (below)"
        pairs = zip((*before, *after), (*arrays, *arrays), strict=True)
        pictures = [in_own_values(seen, array, description) for seen, array in pairs]
        titles, limits = [*names, *[f"{name}\naugmented" for name in names]], [display_limits(one) for one in arrays]
        return gallery(pictures, titles, len(before), title, limits=[*limits, *limits])

    def score_tables(self, evaluation: ClassEvaluation) -> dict[str, pd.DataFrame]:
        """See `Task`."""
        return {
            "Scores on the test images": totals_table(evaluation.table),
            "Scores of each class": per_class_table(evaluation.table),
            "Scores of each broad class": per_class_table(evaluation.table, GROUPS),
        }

    def cautions(self, evaluation: ClassEvaluation) -> list[str]:
        """See `Task`."""
        caution = interval_caution(evaluation.table)
        return [caution] if caution else []

    def remarks(self, evaluation: ClassEvaluation) -> list[str]:
        """See `Task`: how far the probabilities can be believed, who decides, and whether the network is worth it."""
        worth = [] if evaluation.comparison is None else [classifier_verdict(evaluation.comparison)]
        who = [one for one in [told(evaluation.predictor.description)] if one]
        return [
            *(f"**Who decides?** {one}" for one in who),
            *(f"**Is it worth it?** {one}" for one in worth),
            calibration_in_words(evaluation),
        ]

    def evaluation_figures(self, evaluation: ClassEvaluation) -> dict[str, Figure]:
        """See `Task`: confusions, worst mistakes, calibration, comparison with the forest."""
        figures = confusions(evaluation.scores)
        figures["The worst mistakes"] = worst_mistakes(evaluation.test_set.examples, evaluation.scores)
        figures["Probability and share that is right"] = calibration_figure(
            evaluation.scores.y_true, evaluation.scores.p
        )
        if evaluation.forest is not None:
            figures["The network beside a random forest"] = comparison_figure(
                evaluation.network.table, evaluation.forest.table
            )
        return figures

    def looked_at(self, evaluation: ClassEvaluation, names: Sequence[str] = ()) -> Figure:
        """Grad-CAM of the test images `names` (none: the first of each class): what speaks for the predicted class."""
        crops = evaluation.test_set.examples
        chosen = [i for i, one in enumerate(crops) if one.name in names] or _first_of_each_class(crops)
        predicted = evaluation.scores.p[chosen].argmax(axis=1)
        images = [evaluation.predictor.prepare(crops[i].image.array) for i in chosen]
        maps = [
            grad_cam(evaluation.predictor.network, image, int(class_id))
            for image, class_id in zip(images, predicted, strict=True)
        ]
        classes = evaluation.predictor.classes
        titles = [
            f"{classes[crops[i].class_id]['name']}\ncalled {classes[class_id]['name']}"
            for i, class_id in zip(chosen, predicted, strict=True)
        ]
        arrays = [crops[i].image.array for i in chosen]
        pairs = zip(images, arrays, strict=True)
        own = [in_own_values(seen, array, evaluation.predictor.description) for seen, array in pairs]
        return grad_cam_figure(own, maps, titles, [display_limits(one) for one in arrays])

    def show_errors(self, predictors: Mapping, test_set: TestSet, classes: Sequence[dict]) -> dict[str, Figure]:
        """See `NetworkTask`."""
        crops = test_set.examples
        answers = {name: self.probabilities(model, crops, classes) for name, model in predictors.items()}
        return {"The same test images, as each model names them": classes_before_after(crops, answers, classes)}

    def result_rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """See `Task`: with the probability of the likeliest class alone."""
        columns = probability_columns(table)
        shown = table.drop(columns=columns)
        shown.insert(list(shown).index("class") + 1, "probability", table[columns].max(axis=1))
        return shown

    def result_figure(self, folder: Path, table: pd.DataFrame) -> Figure:
        """See `Task`: the montages of the classes, or pictures with coloured objects of segmented images."""
        if "label" in table:
            return overlays(folder, table["file"], folder=OVERLAYS)
        files = sorted((folder / MONTAGES).glob("*.png"))
        columns = 2
        figure, axes = picture_grid(-(-len(files) // columns), columns, (MONTAGE_HEIGHT, MONTAGE_WIDTH))
        for axis, path in zip(axes.flat, files, strict=False):
            add_picture(axis, imread(path), path.stem)
        return figure

    def summary(self, description: Mapping, number_of_epochs: int) -> str:
        """See `Task`."""
        names = ", ".join(one["name"] for one in description["classes"])
        return (
            f"A classifier ({description['network']['network']}) that sorts images into {len(description['classes'])} "
            f"classes ({names}), trained for {how_many(number_of_epochs, 'epoch')}. {told(description)}"
        ).strip()


def _problems(project: Project, test: CropSet | None) -> list[Problem]:
    """Everything odd about the images, the amount of each class, and groups that stand on both sides."""
    shared = [] if test is None else shared_groups(project.dataset, test)
    return [*project.dataset.problems, *amount_problems(project.dataset, project.roles, test), *shared]


def _as_set(project: Project, test: TestSet | None) -> CropSet | None:
    return None if test is None else CropSet(list(test.examples), project.dataset.classes)


def _copies(project: Project, test: TestSet | None) -> pd.DataFrame:
    """Near-duplicates, with the role of each image, those across roles first: they make the score too good."""
    roles = dict(zip((one.name for one in project.dataset.crops), project.uses, strict=True))
    tables = [near_duplicates(project.dataset.crops).assign(role_b="")]
    if test is not None:
        tables.append(near_duplicates(project.dataset.crops, test.examples).assign(role_b="test"))
    table = pd.concat(tables, ignore_index=True)
    table.insert(1, "role_a", table["file_a"].map(roles))
    table["role_b"] = table["role_b"].where(table["role_b"] != "", table["file_b"].map(roles))
    across = (table["role_a"] != table["role_b"]).sort_values(ascending=False, kind="stable").index
    return table.loc[across]


def _first_of_each_class(crops: Sequence[Crop]) -> list[int]:
    ids = [one.class_id for one in crops]
    return [ids.index(class_id) for class_id in sorted(set(ids))][:LOOKED_AT]


def _last_maps(network: keras.Model):
    """What the last layer that still sees positions, (batch, y, x, filters), hands over to one that sees none."""
    for layer in reversed(network.layers):
        if not isinstance(layer.input, list) and layer.input.ndim == 4 and layer.output.ndim == 2:
            if isinstance(layer, keras.Model):
                break
            return layer.input
    raise ValueError("Grad-CAM needs a network that pools maps (batch, y, x, filters) outside of nested models")


def grad_cam(network: keras.Model, image: np.ndarray, class_id: int) -> np.ndarray:
    """Gradient-weighted class activation map: L = ReLU(sum_k w_k A_k), w_k = mean over y, x of d logit / d A_k.

    Selvaraju RR et al. (2017) Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV,
    doi:10.1109/ICCV.2017.74. `network` has a layer "logits", `image` is float32 (Y, X, C) as the network gets it;
    `class_id` need not be the predicted class. Returns float32 (Y, X), 1 where most speaks for the class, all 0 where
    nothing does. ValueError if the network has no maps to look at.
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
    """Caption -> confusion matrix of the classes and, where there are any, of the broad classes."""
    names = [str(one["name"]) for one in scores.classes]
    figures = {"Which class is taken for which": confusion_figure(scores.confusion, names, "images")}
    if scores.group_confusion is not None:
        figure = confusion_figure(scores.group_confusion, group_names(scores.classes), "images", "broad class")
        figures["Which broad class is taken for which"] = figure
    return figures


def calibration_figure(y: np.ndarray, p: np.ndarray) -> Figure:
    """Whether probabilities `p` (n, classes) of class ids `y` can be believed: accuracy against them, histogram."""
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
    """Totals and recall of each class and each broad class, indexed by what to write beside them."""
    total = (table["class"] == "") & table["score"].isin(TOTALS)
    rows = table[total | (table["score"] == "recall")]
    level = rows["level"].map({CLASSES: "", GROUPS: "broad classes: "})
    words = rows["score"].map(lambda score: READABLE[score].split(" (")[0]) + np.where(rows["class"] == "", "", " of ")
    return rows.set_index(level + words + rows["class"])


def comparison_figure(
    one: pd.DataFrame, other: pd.DataFrame, names: Sequence[str] = ("network", "random forest")
) -> Figure:
    """Scores of two classifiers on the same test images, from their score tables, with their 95 % intervals.

    A line for each total score and for the recall of each class and each broad class.
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
