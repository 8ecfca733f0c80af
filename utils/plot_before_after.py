"""The same test images with the answers of several models side by side: before and after fine-tuning.

Models come as a mapping from name ("unchanged", "fine-tuned", "from scratch") to their answers, drawn in its order.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.colours import BLUE, GREEN, VERMILION
from utils.crops import Crop
from utils.display import display_image, thin
from utils.metrics import confusion_matrix, ratio
from utils.object_matching import classify_objects
from utils.object_scores import ObjectScores, object_scores
from utils.pictures import label_outlines, overlay, paint_labels
from utils.plot_classes import add_bars, bar_length, gallery, place
from utils.plot_objects import kind_entries, paint_kinds
from utils.plot_scores import paint_binary_errors, paint_class_errors
from utils.plots import (
    PANEL_PIXELS,
    WIDTH,
    add_legend,
    add_picture,
    class_entries,
    picture_grid,
    short_name,
    thinned_pixel_size,
)

CROP_COLUMNS = 3
CROP_SIDE = 1.15  # inches of a crop; the rest of its column is text
CROP_PITCH = 1.08  # distance of two rows, in sides of a crop
TEXT_LINE = 0.14  # height of a line, in sides of a crop
RIGHT, WRONG = ("✓", BLUE), ("✗", VERMILION)  # told apart without colours, too
TITLES = 0.6  # inches that the lines above a panel take
SECOND_LINES = 0.5  # inches that the second line of the title and more lines of the legend take
LEGEND_LINE = 0.22  # inches of a line in a legend
LETTERS_PER_INCH = 11  # in a line above a panel
ANNOTATED = GREEN  # outlines; none of the kinds of object has this colour
PIXELS_NOTE = "Mean IoU: of the classes other than background; 1 is perfect, 0 none"
OBJECTS_NOTE = "AP at IoU 0.5 = found / (annotated + wrong). Filled: predicted; outlined: annotated, but not found"


def _check(n_images: int, models: Mapping[str, Sized]) -> None:
    """Answers that do not belong to the images would be shown beside the wrong ones."""
    if not models or not n_images:
        raise ValueError("there is no model or no image to compare")
    for name, answers in models.items():
        if len(answers) != n_images:
            raise ValueError(f"the model '{name}' has {len(answers)} answers to {n_images} images")


def classes_before_after(
    crops: Sequence[Crop], answers: Mapping[str, np.ndarray], classes: Sequence[dict], n: int = 18
) -> Figure:
    """Test images that at least one model takes for another class, hardest first, with the answer of every model.

    Parameters
    ----------
    crops : sequence of Crop
        Test images.
    answers : mapping of str to ndarray, shape (n_crops, n_classes)
        Probabilities by each model, 0 to 1, in the order of `crops` and of `classes`.
    classes : sequence of dict
        Class table as in model.json.
    n : int
        How many images at most.

    Returns
    -------
    Figure
        The hardest image is the one with the lowest probability of its true class, averaged over the models. Beside
        each image: its file, its true class and a line for each model, right or wrong by sign and colour. Without any
        mistake, a figure that says so.

    Raises
    ------
    ValueError
        If there is no model or no image, or the answers of one are not one for each image.
    """
    _check(len(crops), answers)
    y_true = np.array([crop.class_id for crop in crops], dtype=np.int64)
    p = np.stack([np.asarray(one) for one in answers.values()])  # (n_models, n_crops, n_classes)
    wrong = p.argmax(axis=-1) != y_true
    p_true = p[:, np.arange(len(crops)), y_true].mean(axis=0)
    hardest = np.argsort(p_true, kind="stable")
    hardest = hardest[wrong.any(axis=0)[hardest]]
    counts = (f"{short_name(name, 20)} {each.sum()}" for name, each in zip(answers, wrong, strict=True))
    title = f"Mistakes among {len(crops)} test images: {', '.join(counts)}"
    if not len(hardest):
        return gallery([], [], title=f"{title}\nNo model takes any of them for another class.")
    figure, ax = _crop_rows(min(n, len(hardest)))
    shown = [crops[one] for one in hardest[:n]]
    for i, one in enumerate(hardest[:n]):
        lines = _answer_lines(crops[one], dict(zip(answers, p[:, one], strict=True)), classes)
        _add_crop(ax, i, crops[one], lines)
    add_bars(ax, shown, bar_length(shown))
    which = f"the {n} hardest of {len(hardest)}" if len(hardest) > n else f"all {len(hardest)}, the hardest first,"
    figure.suptitle(f"{title}\nShown: {which} that at least one model gets wrong", fontsize=12)
    return figure


def _crop_rows(n_crops: int) -> tuple[Figure, Axes]:
    """Figure for crops with text beside them; its axes count in sides of a crop."""
    height = -(-n_crops // CROP_COLUMNS) * CROP_PITCH
    figure = Figure(figsize=(WIDTH, height * CROP_SIDE + 0.6), layout="constrained")
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH / CROP_SIDE), ylim=(height, 0), aspect="equal")
    return figure, ax


def _add_crop(ax: Axes, i: int, crop: Crop, lines: Sequence[tuple[str, tuple]]) -> None:
    """Put the i-th crop into its place, the lines (text, colour) to its right."""
    row, column = divmod(i, CROP_COLUMNS)
    left, top = column * WIDTH / CROP_SIDE / CROP_COLUMNS, row * CROP_PITCH
    place(ax, display_image(crop.image.array), left, top)
    for number, (text, colour) in enumerate(lines):
        y = top + (number + 0.8) * TEXT_LINE
        ax.text(left + 1.02, y, text, ha="left", va="center", fontsize=8.5, color=colour)


def _answer_lines(
    crop: Crop, answers: Mapping[str, np.ndarray], classes: Sequence[dict]
) -> list[tuple[str, tuple | str]]:
    """Text and colour of each line beside a crop; `answers` are the probabilities (n_classes,) by model."""
    names = [str(one["name"]) for one in classes]
    lines = [(short_name(crop.name, 32), "0.35"), (f"true class: {short_name(names[crop.class_id], 20)}", "black")]
    for model, p in answers.items():
        called = int(p.argmax())
        sign, colour = RIGHT if called == crop.class_id else WRONG
        answer = f"{short_name(names[called], 13)} {100 * p[called]:.0f} %"
        lines.append((f"{sign} {short_name(model, 12)}: {answer}", colour))
    return lines


def pixels_before_after(
    examples: Sequence[SimpleNamespace],
    predictions: Mapping[str, Sequence[np.ndarray]],
    classes: Sequence[dict],
    n: int = 3,
) -> Figure:
    """Images with the lowest scores, each in a row: as it is, annotated, and right and wrong pixels of every model.

    Parameters
    ----------
    examples : sequence of Example
        Test images: attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X) of class ids.
    predictions : mapping of str to sequence of ndarray of integers, shape (Y, X)
        Class ids by each model, in the order of `examples`.
    classes : sequence of dict
        Class table as in model.json, background (id 0) first.
    n : int
        How many images at most.

    Returns
    -------
    Figure
        Above each panel the mean IoU of the classes other than background (see `utils.evaluation.mean_iou`); images
        are ranked by its mean over the models. A colour means the same in all panels.

    Raises
    ------
    ValueError
        If there is no model or no image, or the answers of one are not one for each image, or of another size.
    """
    from utils.evaluation import mean_iou  # imports keras, which the page of another task does without

    _check(len(examples), predictions)
    pairs = {name: list(zip(examples, answers, strict=True)) for name, answers in predictions.items()}
    confusions = [[confusion_matrix(one.mask, ids, len(classes)) for one, ids in each] for each in pairs.values()]
    scores = mean_iou(np.array(confusions))  # (n_models, n_images)
    chosen = _worst(scores, n)

    def annotated(one: SimpleNamespace) -> np.ndarray:
        return overlay(one.image.array, one.mask, classes, max_side=PANEL_PIXELS)

    figure, axes = _rows([examples[i] for i in chosen], len(examples), predictions, annotated, PIXELS_NOTE)
    painted, mistakes = _paint_mistakes([pairs[name][i] for i in chosen for name in pairs], classes)
    values = [_score("mean IoU", score) for score in scores[:, chosen].T.ravel()]
    for ax, picture, value in zip(axes[:, 2:].ravel(), painted, values, strict=True):
        add_picture(ax, picture, f"{ax.get_title()}\n{value}")
    if len(classes) > 2:
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * max(0, len(classes) - 4))
        add_legend(figure, class_entries(_shortened(classes)), "left", "Classes", columns=1)
        add_legend(figure, mistakes, "right", "Mistakes (share of all pixels shown)", columns=2)
    else:
        add_legend(figure, mistakes)
    return figure


def _shortened(classes: Sequence[dict]) -> list[dict]:
    """Class table with names of which a legend takes two beside each other."""
    return [one | {"name": short_name(str(one["name"]), 14)} for one in classes]


def _paint_mistakes(
    panels: Sequence[tuple[SimpleNamespace, np.ndarray]], classes: Sequence[dict]
) -> tuple[list[np.ndarray], dict[str, tuple]]:
    """Right and wrong pixels of (example, class ids): a picture (Y, X, 3) for each, and the legend of all."""
    pictures = [display_image(thin(one.image.array, PANEL_PIXELS)) for one, _ in panels]
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
    y_true = np.concatenate([thin(one.mask, PANEL_PIXELS).ravel() for one, _ in panels])
    y_pred = np.concatenate([thin(ids, PANEL_PIXELS).ravel() for _, ids in panels])
    if len(classes) == 2:
        legend = paint_binary_errors(pixels, y_true > 0, y_pred > 0)
    else:
        legend = paint_class_errors(pixels, y_true, y_pred, [one["name"] for one in _shortened(classes)])
    parts = np.split(pixels, np.cumsum([picture[..., 0].size for picture in pictures])[:-1])
    return [part.reshape(picture.shape) for part, picture in zip(parts, pictures, strict=True)], legend


def objects_before_after(
    examples: Sequence[SimpleNamespace], predictions: Mapping[str, Sequence[np.ndarray]], n: int = 3
) -> Figure:
    """Images with the lowest scores, each in a row: as it is, annotated, and the objects of every model by kind.

    Parameters
    ----------
    examples : sequence of Example
        Test images: attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X) of labels.
    predictions : mapping of str to sequence of ndarray of integers, shape (Y, X)
        Labels by each model, in the order of `examples`.
    n : int
        How many images at most.

    Returns
    -------
    Figure
        Above each panel the AP at IoU 0.5 and its numbers of objects (see `utils.object_scores`); images are ranked by
        the mean AP over the models. Predicted objects are filled, annotated ones that none matches are outlined.

    Raises
    ------
    ValueError
        If there is no model or no image, or the answers of one are not one for each image, or of another size.
    """
    _check(len(examples), predictions)
    pairs = {name: list(zip(examples, answers, strict=True)) for name, answers in predictions.items()}
    per_model = [_object_scores(each) for each in pairs.values()]
    chosen = _worst(np.array([one.per_image["AP"] for one in per_model]), n)
    figure, axes = _rows([examples[i] for i in chosen], len(examples), predictions, _annotated_objects, OBJECTS_NOTE)
    present = set()
    for row, i in enumerate(chosen):
        for ax, pair, scores in zip(axes[row, 2:], (each[i] for each in pairs.values()), per_model, strict=True):
            picture, kinds = _paint_objects(*pair)
            add_picture(ax, picture, f"{ax.get_title()}\n{_counts(scores, i)}")
            present |= kinds
    add_legend(figure, kind_entries(present) | {"annotation (outlines)": ANNOTATED}, columns=3)
    return figure


def _object_scores(pairs: Sequence[tuple[SimpleNamespace, np.ndarray]]) -> ObjectScores:
    return object_scores((one.name, one.name, one.mask, labels, None, None) for one, labels in pairs)


def _counts(scores: ObjectScores, i: int) -> str:
    """What a panel is headed with: AP of the i-th image, and how many objects were found, missed and false."""
    tp, fp, fn = scores.counts[i, 0, :3].astype(int)
    return f"{_score('AP', scores.per_image['AP'][i])}\n{tp} of {tp + fn} found, {fp} wrong"


def _annotated_objects(one: SimpleNamespace) -> np.ndarray:
    """Picture (Y, X, 3) with the outlines of the annotated objects."""
    picture, labels = display_image(thin(one.image.array, PANEL_PIXELS)), thin(one.mask, PANEL_PIXELS)
    lines = label_outlines(labels)
    return paint_labels(0.7 * picture, lines.astype(np.uint8), lines, np.array([(0, 0, 0), ANNOTATED]), 1)


def _paint_objects(one: SimpleNamespace, labels: np.ndarray) -> tuple[np.ndarray, set[str]]:
    """Picture (Y, X, 3) of an example with predicted objects, and of missed ones the outlines; the kinds in it."""
    kinds = classify_objects(one.mask, labels)
    unmatched = {label: kind for label, kind in kinds.true.items() if kind != "matched"}
    picture, y_true, y_pred = (thin(array, PANEL_PIXELS) for array in (one.image.array, one.mask, labels))
    painted = paint_kinds(display_image(picture), y_pred, kinds.predicted)
    left = np.where(np.isin(y_true, list(unmatched)), y_true, 0)
    return paint_kinds(painted, left, unmatched, dim=1, opacity=0.15), {*unmatched.values(), *kinds.predicted.values()}


def _score(name: str, value: float) -> str:
    """Score as a panel is headed with; without anything annotated or found there is none."""
    return "nothing to find or found" if np.isnan(value) else f"{name} {value:.2f}"


def _worst(scores: np.ndarray, n: int) -> np.ndarray:
    """Images with the lowest mean of scores (n_models, n_images); those that have none, only NaN, come last."""
    means = ratio(np.nansum(scores, axis=0), np.isfinite(scores).sum(axis=0))
    return np.argsort(means, kind="stable")[:n]


def _rows(
    shown: Sequence[SimpleNamespace],
    n_images: int,
    models: Collection[str],
    annotated: Callable[[SimpleNamespace], np.ndarray],
    note: str,
) -> tuple[Figure, np.ndarray]:
    """Figure with a row for each image; image and annotation are drawn, the panels of the models have their names."""
    width = WIDTH / (2 + len(models))
    height = width * min(1.3, max(one.mask.shape[0] / one.mask.shape[1] for one in shown)) + TITLES
    figure, axes = picture_grid(len(shown), 2 + len(models), (height, width))
    figure.set_figheight(figure.get_figheight() + SECOND_LINES)
    letters = int(LETTERS_PER_INCH * width)
    for row, one in zip(axes, shown, strict=True):
        picture = display_image(thin(one.image.array, PANEL_PIXELS))
        size = thinned_pixel_size(one.image.array, one.image.pixel_size_um)
        add_picture(row[0], picture, short_name(one.name, letters), size)
        add_picture(row[1], annotated(one), "annotation")
        for ax, name in zip(row[2:], models, strict=True):
            ax.set_title(short_name(name, letters))
    which = f"{len(shown)} of {n_images} test images: those with the lowest score, averaged over the models"
    figure.suptitle(f"{which}\n{note}", fontsize=11)
    return figure, axes
