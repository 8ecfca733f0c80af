"""Figures of separate objects: annotation, what was found and missed, scores by threshold, numbers."""

from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from utils.metrics.objects import ObjectScores, count_error, kinds_of_objects, object_scores, where_counted
from utils.pages.colours import BLUE, GREEN, MAGENTA, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW
from utils.pages.figures import (
    PANEL_PIXELS,
    WIDTH,
    add_legend,
    add_picture,
    augmented_pairs,
    image_pairs,
    not_counted_entry,
    note_brightness,
    picture_grid,
    thinned_pixel_size,
)
from utils.pages.pictures import SHOWN, greyed, label_outlines, label_overlay, paint_labels, result_image, thin
from utils.pages.score_figures import agreement, before_after_rows, check_answers, lowest, score_text

GREY = to_rgb("0.75")
# Kind of an annotated and of a predicted object -> colour, and text of the legend.
KINDS = {
    "matched": (GREY, "found, rightly (matched)"),
    "missed": (SKY_BLUE, "annotated, but missed"),
    "false": (VERMILION, "found, but not annotated (false)"),
    "merged": (PURPLE, "several taken for one (merged)"),
    "merging": (PURPLE, "several taken for one (merged)"),
    "split": (GREEN, "one taken for several (split)"),
    "splitting": (GREEN, "one taken for several (split)"),
}
OUTLINES = {"annotated": YELLOW, "predicted": MAGENTA, "both": (1.0, 1.0, 1.0)}  # none of the colours of KINDS
COLOUR_NOTE = "The colours only tell neighbouring objects apart."
CURVES = {"precision": (SKY_BLUE, "--"), "recall": (ORANGE, "-."), "F1": (GREEN, "-"), "PQ": (PURPLE, ":")}
ANNOTATED = OUTLINES["annotated"]
HALF_PAGE = 550  # pixels of the screen that a panel is wide, of two beside each other
OBJECTS_NOTE = "AP at IoU 0.5 = found / (annotated + wrong). Filled: predicted; outlined: annotated, but not found"


def show_objects(examples: Sequence, n: int = 4, seed: int = 0) -> Figure:
    """Randomly drawn images, each above the same image with its objects painted over, touching ones in two colours.

    The masks (Y, X) of `examples` are labels; the arguments are those of `image_pairs`.
    """
    figure = image_pairs(examples, lambda one: label_overlay(one.image.array, one.mask, max_side=PANEL_PIXELS), n, seed)
    figure.supxlabel(COLOUR_NOTE, fontsize=11)
    return figure


def show_augmented_objects(
    patches_before: np.ndarray,
    labels_before: np.ndarray,
    patches_after: np.ndarray,
    labels_after: np.ndarray,
    pixel_size_um: float | None = None,
    originals: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Training patches (N, Y, X, C) before and after augmentation, their labels (N, Y, X) painted over.

    See `augmented_pairs`.
    """
    pairs = (patches_before, patches_after), (labels_before, labels_after)
    figure = augmented_pairs(*pairs, label_overlay, pixel_size_um, originals)
    figure.supxlabel(COLOUR_NOTE, fontsize=11)
    return figure


def object_errors(
    image: np.ndarray,
    labels_true: np.ndarray,
    labels_pred: np.ndarray,
    pixel_size_um: float | None = None,
    name: str = "",
) -> Figure:
    """An image (Y, X, C), with both outlines, and with its annotated and predicted objects by what became of them.

    Labels are (Y, X), 0 = background. Kinds of error are those of `kinds_of_objects`, at an intersection over union of
    0.5; their numbers stand above the panels, `name` is the title.
    """
    stored = thin(labels_true, PANEL_PIXELS)
    labels_true, labels_pred = where_counted(labels_true, labels_pred)
    kinds = kinds_of_objects(labels_true, labels_pred)
    size = thinned_pixel_size(image, pixel_size_um)
    image, labels_true, labels_pred = (thin(array, PANEL_PIXELS) for array in (image, labels_true, labels_pred))
    picture = greyed(result_image(image), stored)
    panel = WIDTH / 2 * min(1.3, image.shape[0] / image.shape[1]) + 0.3
    figure, axes = picture_grid(2, 2, (panel, WIDTH / 2))
    add_picture(axes[0, 0], picture, "image", size)
    add_picture(axes[0, 1], _both_outlines(picture, labels_true, labels_pred), "outlines of both")
    both = ("annotated", labels_true, kinds.true), ("predicted", labels_pred, kinds.predicted)
    for ax, (what, labels, own) in zip(axes[1], both, strict=True):
        add_picture(ax, paint_kinds(picture, labels, own, shown=HALF_PAGE), _counted(what, own))
    present = {*kinds.true.values(), *kinds.predicted.values()}
    add_legend(figure, kind_entries(present) | not_counted_entry([stored]), "right", columns=2)
    add_legend(figure, OUTLINES, "left", "Outlines", columns=3)
    figure.suptitle(name, fontsize=11)
    note_brightness(figure, [image])
    return figure


def _both_outlines(picture: np.ndarray, labels_true: np.ndarray, labels_pred: np.ndarray) -> np.ndarray:
    """Picture (Y, X, 3), dimmed, with the outlines of the annotation, of the prediction, and where they coincide."""
    true, predicted = (label_outlines(labels, HALF_PAGE) for labels in (labels_true, labels_pred))
    lines = true + 2 * predicted.astype(np.int64)
    return paint_labels(0.7 * picture, lines, lines > 0, np.array([(0, 0, 0), *OUTLINES.values()]), 1)


def paint_kinds(
    picture: np.ndarray,
    labels: np.ndarray,
    kinds: Mapping[int, str],
    dim: float = 0.4,
    opacity: float = 0.6,
    shown: int = SHOWN,
) -> np.ndarray:
    """Paint each object in the colour of its kind, one of KINDS: a tint of `opacity` (0 to 1) and an outline.

    `picture`, float32 (Y, X, 3), 0 to 1, is left as it is and multiplied with `dim` in the result, so that the objects
    stand out; `labels` are (Y, X), 0 = background, `kinds` label -> kind; `shown` as in `label_overlay`.
    """
    colours = np.zeros((max(kinds, default=0) + 1, 3))
    for label, kind in kinds.items():
        colours[label] = KINDS[kind][0]
    return paint_labels(dim * picture, labels, label_outlines(labels, shown), colours, opacity)


def kind_entries(present: Collection[str]) -> dict[str, tuple]:
    """Text and colour of those KINDS that are present, for a legend."""
    return {text: colour for kind, (colour, text) in KINDS.items() if kind in present}


def _counted(what: str, kinds: Mapping[int, str]) -> str:
    """Title of a panel: how many objects of which kind."""
    found = list(kinds.values())
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in KINDS if kind in found)
    return f"{len(found)} {what} objects" + (f": {counts}" if counts else "")


def ap_curve(table: pd.DataFrame) -> Figure:
    """AP with its interval (left), precision, recall, F1 and PQ (right) by the overlap asked for.

    `table` is the result of `object_score_table`.
    """
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    ap_ax, others_ax = figure.subplots(1, 2, sharex=True, sharey=True)
    thresholds = table["iou_threshold"]
    ap_ax.plot(thresholds, table["AP"], "o-", color=BLUE, linewidth=2, label="AP = TP / (TP + FP + FN)")
    if table["AP low"].notna().any():
        interval = table["AP low"], table["AP high"]
        ap_ax.fill_between(thresholds, *interval, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    for score, (colour, style) in CURVES.items():
        others_ax.plot(thresholds, table[score], style, color=colour, linewidth=2.5, label=score)
    for ax in (ap_ax, others_ax):
        _score_axes(ax)
    ap_ax.set(title="Share of the objects found rightly", ylabel="score")
    others_ax.set_title("Other scores")
    return figure


def _score_axes(ax: Axes) -> None:
    ax.set(xlabel="overlap asked for (IoU threshold)", ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=10, loc="best")


def count_agreement(per_image: pd.DataFrame) -> Figure:
    """True against predicted number of objects, one point per image; `per_image` as in ObjectScores."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    ax, error = figure.subplots(), count_error(per_image)
    agreement(ax, per_image["true objects"], per_image["predicted objects"], BLUE, "number of objects")
    ax.set_title(f"Objects per image: off by {error['mean_absolute']:.1f} on average", fontsize=11)
    return figure


def objects_before_after(
    examples: Sequence[SimpleNamespace], predictions: Mapping[str, Sequence[np.ndarray]], n: int = 3
) -> Figure:
    """Images with the lowest scores, each in a row: as it is, annotated, and the objects of every model by kind.

    `examples` have the attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X) of labels;
    `predictions` holds the labels (Y, X) by each model in their order. At most `n` images are shown, ranked by the mean
    AP over the models. Above each panel stand the AP at IoU 0.5 and its numbers of objects (see
    `utils.metrics.objects`). Predicted objects are filled, annotated ones that none matches are outlined. ValueError if
    there is no model or no image, or the answers of one are not one for each image, or of another size.
    """
    check_answers(len(examples), predictions)
    pairs = {name: list(zip(examples, answers, strict=True)) for name, answers in predictions.items()}
    per_model = [_object_scores(each) for each in pairs.values()]
    chosen = lowest(np.array([one.per_image["AP"] for one in per_model]), n)
    figure, axes = before_after_rows(
        [examples[i] for i in chosen], len(examples), predictions, _annotated_objects, OBJECTS_NOTE
    )
    present = set()
    for row, i in enumerate(chosen):
        for ax, pair, scores in zip(axes[row, 2:], (each[i] for each in pairs.values()), per_model, strict=True):
            picture, kinds = _paint_objects(*pair)
            add_picture(ax, picture, f"{ax.get_title()}\n{_counts(scores, i)}")
            present |= kinds
    add_legend(figure, kind_entries(present) | {"annotation (outlines)": ANNOTATED}, columns=3)
    note_brightness(figure, [examples[i].image.array for i in chosen])
    return figure


def _object_scores(pairs: Sequence[tuple[SimpleNamespace, np.ndarray]]) -> ObjectScores:
    return object_scores((one.name, one.name, one.mask, labels, None, None) for one, labels in pairs)


def _counts(scores: ObjectScores, i: int) -> str:
    """What a panel is headed with: AP of the i-th image, and how many objects were found, missed and false."""
    tp, fp, fn = scores.counts[i, 0, :3].astype(int)
    return f"{score_text('AP', scores.per_image['AP'][i])}\n{tp} of {tp + fn} found, {fp} wrong"


def _annotated_objects(one: SimpleNamespace) -> np.ndarray:
    """Picture (Y, X, 3) with the outlines of the annotated objects."""
    picture, labels = result_image(thin(one.image.array, PANEL_PIXELS)), thin(one.mask, PANEL_PIXELS)
    lines = label_outlines(labels)
    return paint_labels(0.7 * picture, lines.astype(np.uint8), lines, np.array([(0, 0, 0), ANNOTATED]), 1)


def _paint_objects(one: SimpleNamespace, labels: np.ndarray) -> tuple[np.ndarray, set[str]]:
    """Picture (Y, X, 3) of an example with predicted objects, and of missed ones the outlines; the kinds in it."""
    mask, labels = where_counted(one.mask, labels)
    kinds = kinds_of_objects(mask, labels)
    unmatched = {label: kind for label, kind in kinds.true.items() if kind != "matched"}
    picture, y_true, y_pred = (thin(array, PANEL_PIXELS) for array in (one.image.array, mask, labels))
    painted = paint_kinds(greyed(result_image(picture), thin(one.mask, PANEL_PIXELS)), y_pred, kinds.predicted)
    left = np.where(np.isin(y_true, list(unmatched)), y_true, 0)
    return paint_kinds(painted, left, unmatched, dim=1, opacity=0.15), {*unmatched.values(), *kinds.predicted.values()}
