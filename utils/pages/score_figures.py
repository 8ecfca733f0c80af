"""Figures of training and evaluation: learning curves, confusion matrix, agreement, and the frame of comparisons."""

from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from types import SimpleNamespace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from utils.metrics.confusion import ratio
from utils.pages.colours import BLUE, ORANGE, VERMILION
from utils.pages.figures import (
    PANEL_PIXELS,
    WIDTH,
    add_picture,
    picture_grid,
    short_name,
    thinned_pixel_size,
)
from utils.pages.pictures import result_image, thin

TITLES = 0.6  # inches that the lines above a panel take
SECOND_LINES = 0.5  # inches that the second line of the title and more lines of the legend take
LEGEND_LINE = 0.22  # inches of a line in a legend
LETTERS_PER_INCH = 11  # in a line above a panel


def learning_curves(history: pd.DataFrame) -> Figure:
    """Training and validation loss by epoch, the lowest one marked; the learning rate beside it, and how it fell.

    Parameters
    ----------
    history
        One row per epoch with the columns epoch and loss; val_loss and learning_rate where there are any.
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
    rate_ax.set(xlabel="epoch", title=_rate_title(history))
    rate_ax.set_ylim(bottom=0)
    rate_ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for ax in (loss_ax, rate_ax):
        ax.grid(alpha=0.3)
        ax.set_xlim(0, max(epochs.max(), 1) + 0.5 if len(history) else 1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _rate_title(history: pd.DataFrame) -> str:
    """Title that says that the learning rate falls by itself: its last value is not the one in the form."""
    rates = history["learning_rate"].dropna() if "learning_rate" in history else []
    falls = len(rates) > 0 and bool(rates.iloc[-1] < rates.max())
    return "Learning rate by epoch" + "\n(falls from that of the form)" * falls


def _marker(history: pd.DataFrame) -> str:
    """A line of one point cannot be seen; one of many needs no markers."""
    return "o" if len(history) < 5 else ""


def _mark_best(ax: Axes, history: pd.DataFrame) -> None:
    """Mark the lowest validation loss and say it in the title."""
    ax.set_title("Loss during training" if len(history) else "No epoch is finished yet")
    if "val_loss" in history and history["val_loss"].notna().any():
        best = history.loc[history["val_loss"].idxmin()]
        ax.plot(best["epoch"], best["val_loss"], "*", color=VERMILION, markersize=16, label="lowest validation loss")
        ax.set_title(f"Loss during training; lowest on the validation images at epoch {best['epoch']:.0f}")
    if len(history):
        ax.legend(frameon=False)
        losses = history[[column for column in ("loss", "val_loss") if column in history]].to_numpy(float)
        if np.nanmin(losses) > 0 and np.nanmax(losses) > 20 * np.nanmin(losses):
            ax.set_yscale("log")


def confusion_figure(cm: np.ndarray, class_names: Sequence[str], unit: str = "pixels", kind: str = "class") -> Figure:
    """Confusion matrix: what the pixels (or images) of each true class were called, percentage of the row and count.

    Parameters
    ----------
    cm
        Integers (n_classes, n_classes), rows = truth, columns = prediction.
    class_names, unit, kind
        Names in the order of the rows; what was counted, in the plural; what the rows are called.
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
    ax.set(
        xlabel="called by the model", ylabel=f"true {kind}", title=f"What the {unit} of each true {kind} were called"
    )
    figure.colorbar(picture, ax=ax, shrink=0.7, label=f"% of the {unit} of the true {kind}")
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


def check_answers(n_images: int, models: Mapping[str, Sized]) -> None:
    """Answers that do not belong to the images would be shown beside the wrong ones."""
    if not models or not n_images:
        raise ValueError("there is no model or no image to compare")
    for name, answers in models.items():
        if len(answers) != n_images:
            raise ValueError(f"the model '{name}' has {len(answers)} answers to {n_images} images")


def score_text(name: str, value: float) -> str:
    """Score as a panel is headed with; without anything annotated or found there is none."""
    return "nothing to find or found" if np.isnan(value) else f"{name} {value:.2f}"


def lowest(scores: np.ndarray, n: int) -> np.ndarray:
    """Images with the lowest mean of scores (n_models, n_images); those that have none, only NaN, come last."""
    means = ratio(np.nansum(scores, axis=0), np.isfinite(scores).sum(axis=0))
    return np.argsort(means, kind="stable")[:n]


def before_after_rows(
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
        picture = result_image(thin(one.image.array, PANEL_PIXELS))
        size = thinned_pixel_size(one.image.array, one.image.pixel_size_um)
        add_picture(row[0], picture, short_name(one.name, letters), size)
        add_picture(row[1], annotated(one), "annotation")
        for ax, name in zip(row[2:], models, strict=True):
            ax.set_title(short_name(name, letters))
    which = f"{len(shown)} of {n_images} test images: those with the lowest score, averaged over the models"
    figure.suptitle(f"{which}\n{note}", fontsize=11)
    return figure, axes
