"""Figures of separate objects: annotation, what was found and missed, scores by threshold, numbers."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from utils.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW
from utils.display import display_image, thin
from utils.object_matching import classify_objects
from utils.object_scores import count_error
from utils.pictures import label_outlines, label_overlay, paint_labels
from utils.plot_scores import agreement
from utils.plots import (
    PANEL_PIXELS,
    WIDTH,
    add_legend,
    add_picture,
    augmented_pairs,
    image_pairs,
    picture_grid,
    thinned_pixel_size,
)

GREY = to_rgb("0.75")
# Kind of an annotated and of a predicted object -> colour, and text of the legend.
KINDS = {
    "matched": (GREY, "found, rightly (matched)"),
    "missed": (SKY_BLUE, "annotated, but missed"),
    "false": (VERMILION, "found, but not annotated (false)"),
    "merged": (PURPLE, "several taken for one (merged)"),
    "merging": (PURPLE, "several taken for one (merged)"),
    "split": (YELLOW, "one taken for several (split)"),
    "splitting": (YELLOW, "one taken for several (split)"),
}
OUTLINES = {"annotated": YELLOW, "predicted": VERMILION, "both": GREY}
COLOUR_NOTE = "The colours only tell neighbouring objects apart."
CURVES = {"precision": (SKY_BLUE, "--"), "recall": (ORANGE, "-."), "F1": (GREEN, "-"), "PQ": (PURPLE, ":")}


def show_objects(examples: Sequence, n: int = 4, seed: int = 0) -> Figure:
    """Randomly drawn images, each above the same image with its objects painted over, touching ones in two colours.

    Parameters
    ----------
    examples : sequence of Example
        With attributes name, image.array (Y, X, C), image.pixel_size_um and mask (Y, X) of labels.
    n : int
        How many to draw.
    seed : int
        Of the draw: another seed shows others.

    Returns
    -------
    Figure
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
) -> Figure:
    """Training patches before and after augmentation, with their objects painted over.

    Parameters
    ----------
    patches_before, patches_after : ndarray, shape (N, Y, X, C)
        Patches; those of a column share one contrast, so that a change of intensity shows. At most six are drawn.
    labels_before, labels_after : ndarray of integers, shape (N, Y, X)
        Labels.
    pixel_size_um : float, optional
        For the scale bars.

    Returns
    -------
    Figure
    """
    pairs = (patches_before, patches_after), (labels_before, labels_after)
    figure = augmented_pairs(*pairs, label_overlay, pixel_size_um)
    figure.supxlabel(COLOUR_NOTE, fontsize=11)
    return figure


def object_errors(
    image: np.ndarray,
    labels_true: np.ndarray,
    labels_pred: np.ndarray,
    pixel_size_um: float | None = None,
    name: str = "",
) -> Figure:
    """An image, with both outlines, and with its annotated and predicted objects by what became of them.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Image.
    labels_true, labels_pred : ndarray of integers, shape (Y, X)
        Annotated and predicted labels, 0 = background.
    pixel_size_um : float, optional
        For the scale bar.
    name : str
        Name of the image, for the title.

    Returns
    -------
    Figure
        Kinds of error as in `classify_objects`, at an intersection over union of 0.5; their numbers above the panels.
    """
    kinds = classify_objects(labels_true, labels_pred)
    size = thinned_pixel_size(image, pixel_size_um)
    image, labels_true, labels_pred = (thin(array, PANEL_PIXELS) for array in (image, labels_true, labels_pred))
    picture = display_image(image)
    panel = WIDTH / 2 * min(1.3, image.shape[0] / image.shape[1]) + 0.3
    figure, axes = picture_grid(2, 2, (panel, WIDTH / 2))
    add_picture(axes[0, 0], picture, "image", size)
    add_picture(axes[0, 1], _both_outlines(picture, labels_true, labels_pred), "outlines of both")
    add_picture(axes[1, 0], paint_kinds(picture, labels_true, kinds.true), _counted("annotated", kinds.true))
    add_picture(axes[1, 1], paint_kinds(picture, labels_pred, kinds.predicted), _counted("predicted", kinds.predicted))
    present = {*kinds.true.values(), *kinds.predicted.values()}
    add_legend(figure, kind_entries(present), "right", columns=2)
    add_legend(figure, OUTLINES, "left", "Outlines", columns=3)
    figure.suptitle(name, fontsize=11)
    return figure


def _both_outlines(picture: np.ndarray, labels_true: np.ndarray, labels_pred: np.ndarray) -> np.ndarray:
    """Picture (Y, X, 3), dimmed, with the outlines of the annotation, of the prediction, and where they coincide."""
    true, predicted = label_outlines(labels_true), label_outlines(labels_pred)
    lines = true + 2 * predicted.astype(np.int64)
    return paint_labels(0.7 * picture, lines, lines > 0, np.array([(0, 0, 0), *OUTLINES.values()]), 1)


def paint_kinds(
    picture: np.ndarray, labels: np.ndarray, kinds: Mapping[int, str], dim: float = 0.4, opacity: float = 0.6
) -> np.ndarray:
    """Paint each object in the colour of its kind: a tint and an outline.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, 3)
        0 to 1; left as it is.
    labels : ndarray of integers, shape (Y, X)
        0 = background.
    kinds : mapping of int to str
        Label of each object -> one of KINDS.
    dim : float
        What the picture is multiplied with first, so that the objects stand out.
    opacity : float
        Of the tint, 0 to 1.

    Returns
    -------
    ndarray of float32, shape (Y, X, 3)
    """
    colours = np.zeros((max(kinds, default=0) + 1, 3))
    for label, kind in kinds.items():
        colours[label] = KINDS[kind][0]
    return paint_labels(dim * picture, labels, label_outlines(labels), colours, opacity)


def kind_entries(present: Collection[str]) -> dict[str, tuple]:
    """Text and colour of those KINDS that are present, for a legend."""
    return {text: colour for kind, (colour, text) in KINDS.items() if kind in present}


def _counted(what: str, kinds: Mapping[int, str]) -> str:
    """Title of a panel: how many objects of which kind."""
    found = list(kinds.values())
    counts = ", ".join(f"{found.count(kind)} {kind}" for kind in KINDS if kind in found)
    return f"{len(found)} {what} objects" + (f": {counts}" if counts else "")


def ap_curve(table: pd.DataFrame) -> Figure:
    """AP, precision, recall, F1 and PQ by the overlap asked for.

    Parameters
    ----------
    table : DataFrame
        Result of object_scores.score_table.

    Returns
    -------
    Figure
        Left AP with its interval, right the others.
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
    ax.legend(frameon=False, fontsize=10, loc="lower left")


def count_agreement(per_image: pd.DataFrame) -> Figure:
    """True against predicted number of objects, one point per image.

    Parameters
    ----------
    per_image : DataFrame
        With the columns true objects and predicted objects, as in ObjectScores.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    ax, error = figure.subplots(), count_error(per_image)
    agreement(ax, per_image["true objects"], per_image["predicted objects"], BLUE, "number of objects")
    ax.set_title(f"Objects per image: off by {error['mean_absolute']:.1f} on average", fontsize=11)
    return figure
