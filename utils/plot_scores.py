"""Figures of training and evaluation: learning curves, confusion matrix, error map, agreement of area shares."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from utils.colours import BLUE, CLASS_COLOURS, ORANGE, SKY_BLUE, VERMILION, class_colours
from utils.display import display_image, thin
from utils.metrics import confusion_matrix, ratio
from utils.pictures import overlay
from utils.plots import PANEL_PIXELS, WIDTH, add_legend, add_picture, class_entries, picture_grid, thinned_pixel_size

MOST_MISTAKES_NAMED = 5


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training and validation loss by epoch, the best epoch marked; the learning rate beside it.

    Parameters
    ----------
    history : DataFrame
        One row per epoch with the columns epoch and loss; val_loss and learning_rate where there are any.

    Returns
    -------
    Figure
    """
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    loss_ax, rate_ax = figure.subplots(1, 2, width_ratios=[3, 1])
    epochs = history["epoch"]
    curves = {"loss": ("training images", BLUE), "val_loss": ("validation images (not learned from)", ORANGE)}
    for column, (label, colour) in curves.items():
        if column in history:
            loss_ax.plot(epochs, history[column], color=colour, label=label, linewidth=2, marker=_marker(history))
    _mark_best(loss_ax, history)
    loss_ax.set(xlabel="epoch", ylabel="loss (lower is better)")
    if "learning_rate" in history:
        rate_ax.plot(epochs, history["learning_rate"], color="0.3", linewidth=2, marker=_marker(history))
    rate_ax.set(xlabel="epoch", title="Learning rate")
    rate_ax.set_ylim(bottom=0)
    rate_ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for ax in (loss_ax, rate_ax):
        ax.grid(alpha=0.3)
        ax.set_xlim(0, max(epochs.max(), 1) + 0.5 if len(history) else 1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _marker(history: pd.DataFrame) -> str:
    """A line of one point cannot be seen; one of many needs no markers."""
    return "o" if len(history) < 5 else ""


def _mark_best(ax: Axes, history: pd.DataFrame) -> None:
    """Mark the lowest validation loss and say it in the title."""
    ax.set_title("Loss during training" if len(history) else "No epoch is finished yet")
    if "val_loss" in history and history["val_loss"].notna().any():
        best = history.loc[history["val_loss"].idxmin()]
        ax.plot(best["epoch"], best["val_loss"], "*", color=VERMILION, markersize=16, label="best epoch")
        ax.set_title(f"Loss during training; lowest on the validation images at epoch {best['epoch']:.0f}")
    if len(history):
        ax.legend(frameon=False)
        losses = history[[column for column in ("loss", "val_loss") if column in history]].to_numpy(float)
        if np.nanmin(losses) > 0 and np.nanmax(losses) > 20 * np.nanmin(losses):
            ax.set_yscale("log")


def confusion_figure(cm: np.ndarray, class_names: Sequence[str], unit: str = "pixels") -> Figure:
    """Confusion matrix: what the pixels (or images) of each true class were called.

    Parameters
    ----------
    cm : ndarray of integers, shape (n_classes, n_classes)
        Rows = truth, columns = prediction.
    class_names : sequence of str
        Names in the order of the rows.
    unit : str
        What was counted, in the plural.

    Returns
    -------
    Figure
        Each cell shows the percentage of its row and the count.
    """
    n = len(class_names)
    side = min(8.5, 2.5 + 0.8 * n)
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    ax = figure.subplots()
    rows = np.broadcast_to(cm.sum(axis=1, keepdims=True), cm.shape)
    shares = 100 * ratio(cm, rows)
    picture = ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(cm.shape):
        text = f"{shares[i, j]:.0f} %\n{cm[i, j]:,}" if rows[i, j] else "none"
        ax.text(j, i, text, ha="center", va="center", fontsize=10, color="white" if shares[i, j] > 55 else "black")
    names = [str(name) for name in class_names]
    ax.set_xticks(range(n), names, rotation=45 if n > 3 else 0, ha="right" if n > 3 else "center")
    ax.set_yticks(range(n), names)
    ax.set(xlabel="called by the model", ylabel="true class", title=f"What the {unit} of each true class were called")
    figure.colorbar(picture, ax=ax, shrink=0.7, label=f"% of the {unit} of the true class")
    return figure


def paint_binary_errors(picture: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, tuple]:
    """Paint right and wrong foreground.

    Parameters
    ----------
    picture : ndarray of float32, shape (..., 3)
        Red, green and blue, 0 to 1; painted over in place.
    y_true, y_pred : ndarray of bool, shape (...)
        Annotated and predicted foreground.

    Returns
    -------
    dict of str to (red, green, blue)
        The legend.
    """
    kinds = {
        "found, rightly": ((0.85, 0.85, 0.85), y_true & y_pred),
        "found, but not annotated (false positive)": (VERMILION, ~y_true & y_pred),
        "annotated, but missed (false negative)": (SKY_BLUE, y_true & ~y_pred),
    }
    picture[...] = 0
    for colour, where in kinds.values():
        picture[where] = colour
    return {text: colour for text, (colour, _) in kinds.items()}


def paint_class_errors(
    picture: np.ndarray, y_true: np.ndarray, y_pred: np.ndarray, names: Sequence[str]
) -> dict[str, tuple]:
    """Dim a picture and paint each frequent kind of mistake into it in a colour of its own, the rest in white.

    Parameters
    ----------
    picture : ndarray of float32, shape (..., 3)
        Red, green and blue, 0 to 1; painted over in place. Pixels of several pictures may be given in one list, so
        that all get the same colours.
    y_true, y_pred : ndarray of integers, shape (...)
        Class ids.
    names : sequence of str
        Names of the classes, by id.

    Returns
    -------
    dict of str to (red, green, blue)
        The legend, with the percentage of all pixels; most frequent mistake first.
    """
    mistakes = confusion_matrix(y_true, y_pred, len(names))
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[: np.count_nonzero(mistakes)]
    grey = picture.mean(axis=-1, keepdims=True)
    picture[...] = 0.15 + 0.35 * grey  # dim, so that the mistakes stand out
    legend = {}
    for rank, cell in enumerate(order):
        true, predicted = divmod(int(cell), len(names))
        named = rank < MOST_MISTAKES_NAMED
        colour = CLASS_COLOURS[(rank + len(names) - 1) % len(CLASS_COLOURS)] if named else (1.0, 1.0, 1.0)
        picture[(y_true == true) & (y_pred == predicted)] = colour
        share = 100 * mistakes[true, predicted] / y_true.size
        legend[f"{names[true]} called {names[predicted]} ({share:.1f} %)" if named else "other mistakes"] = colour
    return legend or {"no mistakes": (0.5, 0.5, 0.5)}


def error_map(
    image: np.ndarray,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    classes: Sequence[dict],
    pixel_size_um: float | None = None,
    name: str = "",
) -> Figure:
    """One image four times: as it is, annotated, predicted, and where the two differ.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Image.
    y_true, y_pred : ndarray of integers, shape (Y, X)
        Class ids.
    classes : list of dict
        Class table as in model.json.
    pixel_size_um : float, optional
        For the scale bar.
    name : str
        Name of the image, for the title.

    Returns
    -------
    Figure
        For two classes false positives and false negatives have a colour each; for more, each of the most frequent
        kinds of mistake has one, with the percentage of the image's area.
    """
    size = thinned_pixel_size(image, pixel_size_um)
    image, y_true, y_pred = (thin(array, PANEL_PIXELS) for array in (image, y_true, y_pred))
    height = WIDTH / 4 * min(1.3, image.shape[0] / image.shape[1])
    figure, axes = picture_grid(1, 4, (height + (0.3 if len(classes) == 2 else 1.3), WIDTH / 4))
    errors = display_image(image)
    add_picture(axes[0, 0], errors.copy(), "image", size)
    if len(classes) == 2:
        add_legend(figure, paint_binary_errors(errors, y_true > 0, y_pred > 0))
    else:
        mistakes = paint_class_errors(errors, y_true, y_pred, [str(one["name"]) for one in classes])
        add_legend(figure, class_entries(classes), "left", "Classes")
        add_legend(figure, mistakes, "right", "Mistakes (share of the image)", columns=2)
    add_picture(axes[0, 1], overlay(image, y_true, classes), "annotation (truth)")
    add_picture(axes[0, 2], overlay(image, y_pred, classes), "prediction of the model")
    add_picture(axes[0, 3], errors, "right and wrong")
    figure.suptitle(name, fontsize=11)
    return figure


def share_agreement(per_image: pd.DataFrame, classes: Sequence[dict]) -> Figure:
    """True against predicted share of the area, one panel per class, one point per image.

    Parameters
    ----------
    per_image : DataFrame
        With columns true_share_<class> and predicted_share_<class>, 0 to 1, as in PixelScores.
    classes : list of dict
        Class table as in model.json; background is the rest of the area and gets no panel.

    Returns
    -------
    Figure
    """
    shown = [one for one in classes if one["id"] > 0]
    n_columns = min(4, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(min(WIDTH, 4.6 * n_columns), 4 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    colours = class_colours(classes)
    for ax, one in zip(axes, shown, strict=False):
        true, predicted = (100 * per_image[f"{kind}_share_{one['name']}"] for kind in ("true", "predicted"))
        agreement(ax, true, predicted, colours[one["id"]], "area (% of the image)")
        error = np.abs(true - predicted).mean()
        ax.set_title(f"{one['name']}: off by {error:.1f} percentage\npoints on average", fontsize=11)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return figure


def agreement(ax: Axes, true: pd.Series, predicted: pd.Series, colour: tuple, quantity: str) -> None:
    """Points and the line on which they should lie, both axes with the same range."""
    top = 1.1 * max(true.max(), predicted.max(), 1.0)
    ax.plot([0, top], [0, top], "--", color="0.4", label="perfect agreement")
    ax.scatter(true, predicted, color=colour, edgecolor="0.2", s=45, label="one test image")
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.set(xlabel=f"annotated {quantity}", ylabel=f"predicted {quantity}")
    ax.legend(frameon=False, fontsize=9)
    ax.grid(alpha=0.3)
