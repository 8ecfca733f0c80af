"""Figure and table of the learning curve: the score by the number of labelled images, and its extrapolation."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from utils.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION
from utils.plots import WIDTH
from utils.power_law import PowerLaw

FROM_SCRATCH = "from scratch"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE)
MARKERS = "osD^vP"  # strategies differ in more than their colour
APART = 1.035  # factor between strategies along the logarithmic axis: their error bars stay apart
AHEAD = 2.0  # the law is drawn up to so many times the largest number measured


def curve_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread of the scores at each size, and what fine-tuning gains over training from scratch.

    Parameters
    ----------
    table : DataFrame
        One row per trained model: strategy, size, repeat, score.

    Returns
    -------
    DataFrame
        One row per size, ascending: size; for each strategy, in order of appearance, "<strategy>: mean", "<strategy>:
        sd" (NaN for a single model) and "<strategy>: models" (those that have a score); "<strategy> minus from
        scratch" (difference of the means) where there are both.
    """
    scores = table.assign(size=table["size"].astype(int)).groupby(["strategy", "size"], sort=False)["score"]
    summary = scores.agg(["mean", "std", "count"]).unstack("strategy").sort_index()
    strategies, rows = table["strategy"].unique(), {"size": summary.index.to_numpy()}
    for one in strategies:
        rows[f"{one}: mean"] = summary["mean", one].to_numpy()
        rows[f"{one}: sd"] = summary["std", one].to_numpy()
        rows[f"{one}: models"] = summary["count", one].fillna(0).to_numpy(int)
    for one in strategies:
        if FROM_SCRATCH in strategies and one != FROM_SCRATCH:
            rows[f"{one} minus {FROM_SCRATCH}"] = rows[f"{one}: mean"] - rows[f"{FROM_SCRATCH}: mean"]
    return pd.DataFrame(rows)


def curve_figure(
    table: pd.DataFrame,
    laws: Mapping[str, PowerLaw | None],
    unchanged: float | None,
    score_name: str,
    unit: str,
    target: float | None = None,
) -> Figure:
    """Learning curve: score on the test images by number of labelled images, with the fitted laws.

    Parameters
    ----------
    table : DataFrame
        One row per trained model: strategy, size, repeat, score (0 to 1). May be empty.
    laws : mapping of str to PowerLaw or None
        Fitted law of each strategy, where there is one.
    unchanged : float or None
        Score of the starting model as it is, where it has one.
    score_name : str
        "balanced accuracy".
    unit : str
        What is counted, in the plural: "labelled images of each class".
    target : float, optional
        Score asked for.

    Returns
    -------
    Figure
        Laws are dashed and, beyond the largest size measured, dotted on grey ground.
    """
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    ax = figure.subplots()
    summary, strategies = curve_table(table), list(table["strategy"].unique())
    for i, one in enumerate(strategies):
        look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        aside = APART ** (i - (len(strategies) - 1) / 2)
        rows = table[table["strategy"] == one]
        dots = {"s": 22, "alpha": 0.4, "linewidths": 0, "zorder": 2}  # right of the error bars, which would hide them
        ax.scatter(rows["size"] * aside * np.sqrt(APART), rows["score"], **dots, **look)
        _draw_means(ax, summary["size"] * aside, summary, one, look)
        if laws.get(one) is not None:
            _draw_law(ax, laws[one], look["color"])
    _draw_levels(ax, unchanged, target)
    _set_axes(ax, summary["size"].to_numpy(), score_name, unit)
    handles = ax.get_legend_handles_labels()[0] + _explanations([law for law in laws.values() if law])
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    return figure


def _draw_means(ax: Axes, x: pd.Series, summary: pd.DataFrame, strategy: str, look: dict) -> None:
    """Mean of the models of each size, joined by a line, with their standard deviation."""
    mean, sd, models = (summary[f"{strategy}: {column}"] for column in ("mean", "sd", "models"))
    some = models > 0
    label = f"{strategy}: mean ± standard deviation" if models.max() > 1 else f"{strategy}: one model of each size"
    style = {"markersize": 8, "linewidth": 1.2, "capsize": 4, "zorder": 4}
    ax.errorbar(x[some], mean[some], yerr=sd[some].fillna(0), label=label, **look, **style)


def _draw_law(ax: Axes, law: PowerLaw, colour: tuple) -> None:
    """Fitted law, dashed where it was measured and dotted beyond, and its interval."""
    measured = np.geomspace(law.smallest, law.largest, 100)
    beyond = np.geomspace(law.largest, AHEAD * law.largest, 50)
    for n, dashes, alpha in ((measured, "--", 0.15), (beyond, ":", 0.1)):
        ax.plot(n, law.score(n), dashes, color=colour, linewidth=1.8, zorder=3)
        ax.fill_between(n, *law.interval(n), color=colour, alpha=alpha, linewidth=0, zorder=1)


def _draw_levels(ax: Axes, unchanged: float | None, target: float | None) -> None:
    """Horizontal lines: the model as it was, and the score asked for."""
    if unchanged is not None and np.isfinite(unchanged):
        ax.axhline(unchanged, color="black", linewidth=2, label=f"model unchanged: {unchanged:.2f}", zorder=2.5)
    if target is not None:
        ax.axhline(target, color="0.35", linewidth=1, linestyle="-.", label=f"score asked for: {target:g}", zorder=2.5)


def _set_axes(ax: Axes, sizes: np.ndarray, score_name: str, unit: str) -> None:
    """Logarithmic axis with the sizes written below it, grey ground beyond the largest; the score is at most 1."""
    name = score_name[:1].upper() + score_name[1:]
    ax.set(xscale="log", xlabel=unit, ylabel=f"{name} on the test images", title="How many labelled images are needed?")
    if len(sizes):
        farthest = AHEAD * sizes[-1]
        ax.set_xlim(sizes[0] / 1.15, farthest * 1.02)
        ax.axvspan(sizes[-1] * APART**2, farthest * 1.02, color="0.93", zorder=0)
        ax.text(1, 1.01, "beyond what was measured", transform=ax.transAxes, ha="right", va="bottom", color="0.35")
        ax.xaxis.set_major_locator(FixedLocator([*sizes, farthest]))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.3)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))


def _explanations(laws: Sequence[PowerLaw]) -> list[Line2D]:
    """Legend entries of what all strategies share."""
    entries = [Line2D([], [], color="0.5", linestyle="", marker="o", markersize=5, label="one trained model")]
    if laws:
        band = ", 95 % interval shaded" if any(np.isfinite(law.draws).all() for law in laws) else ""
        entries.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1.8, label=f"fitted power law{band}"))
    return entries
