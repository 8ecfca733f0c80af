"""Figures of the scores of a classification: confusion, calibration, two classifiers compared."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.calibration import calibration_curve, expected_calibration_error
from utils.class_score_tables import READABLE
from utils.class_scores import CLASSES, GROUPS, TOTALS, ClassScores, group_names
from utils.colours import BLUE, ORANGE, VERMILION
from utils.plot_scores import confusion_figure
from utils.plots import WIDTH, short_name

SURE = "probability of the predicted class"
HISTOGRAM_BINS = np.linspace(0, 1, 21)


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
