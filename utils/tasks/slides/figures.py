"""Figures of whole slides and of what goes with the share of a tissue."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from utils.images.tissue import FOLD, NAMES, OUT_OF_FOCUS, PEN, TISSUE, Tissue
from utils.tasks.slides.compute import Job

LEVEL = 0.05
NAMED = 12  # columns whose names are written into the picture
WIDTH = 11.0  # inches
LARGE = 14  # points: letters of a heat map, which the page shows at half its width
DRAWN = 625  # pixels of the longer side of a slide's picture, about: more would be drawn into the same place
LEFT_OUT = {PEN: "tab:green", FOLD: "tab:orange", OUT_OF_FOCUS: "tab:blue"}


def volcano(found: pd.DataFrame, share: str) -> Figure:
    """Correlation and how sure it is of each column: what goes with the share stands high, to either side.

    `found` as of `utils.metrics.correlation.rank_correlations`; `share` is what it was compared with, for the axis.
    """
    figure = Figure(figsize=(WIDTH * 0.7, 5.5), layout="constrained")
    ax, tested = figure.subplots(), found[found["p"].notna()]
    height = -np.log10(tested["p"].clip(lower=1e-300))
    sure = (tested["q"] < LEVEL).to_numpy()
    for chosen, colour, text in ((~sure, "0.6", "not told from chance"), (sure, "tab:red", f"found (q < {LEVEL})")):
        ax.scatter(tested["rho"][chosen], height[chosen], s=14, color=colour, label=f"{text}: {chosen.sum()}")
    named = tested.assign(height=height)[sure].head(NAMED)
    for (rho, high), names in named.groupby(["rho", "height"])["column"]:  # of few patients many are equal
        text, side = ", ".join(str(name)[:24] for name in names), -1 if rho > 0 else 1
        places = {"ha": "right" if rho > 0 else "left", "va": "center", "xytext": (5 * side, 0)}
        ax.annotate(text, (rho, high), fontsize=8, textcoords="offset points", **places)
    ax.set(xlim=(-1.05, 1.05), xlabel=f"Spearman's correlation with {share}", ylabel="$-\\log_{10}$ p")
    ax.axvline(0, color="0.85", zorder=0)
    ax.legend(frameon=False, loc="lower right")  # no column goes strongly with the share and is chance
    return figure


def scatter_plots(found: pd.DataFrame, numbers: pd.DataFrame, shares: pd.Series, n: int = 6) -> Figure:
    """Share against the columns that go with it most, a point for each patient."""
    chosen = found[found["p"].notna()].head(n)
    n_columns = min(3, max(1, len(chosen)))
    n_rows = max(1, -(-len(chosen) // n_columns))
    figure = Figure(figsize=(WIDTH, 3.2 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, row in zip(axes, chosen.itertuples(), strict=False):
        ax.scatter(shares.loc[numbers.index], numbers[row.column], s=22, color="tab:blue")
        title = f"rho {row.rho:.2f} ({row.low:.2f} to {row.high:.2f}), q {row.q:.2g}, {row.n} patients"
        ax.set(xlabel=shares.name, ylabel=str(row.column)[:30], title=title)
        ax.title.set_fontsize(9)
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    return figure


def heat_map(
    tissue: Tissue, job: Job, shares: np.ndarray, side: float, unlike: Sequence[int], share: str, title: str
) -> Figure:
    """A slide, and beside it the share in small squares of it; tiles unlike those of the training are framed.

    Parameters
    ----------
    tissue
        Of the slide, with its thumbnail; what was left out of it is shown in its own colour.
    shares, side
        Share of each square (rows, columns), 0 to 1, NaN where there is no tissue; side of a square in full pixels.
    unlike
        Numbers of the tiles that are unlike those of the training.
    share, title
        What the colours mean, and the name of the slide.
    """
    height, width = tissue.classes.shape
    figure = Figure(figsize=(1.5 * WIDTH, 0.75 * WIDTH * height / width + 1), layout="constrained")
    plain, ax = figure.subplots(1, 2)
    small = Image.fromarray(tissue.thumbnail).reduce(max(1, round(max(height, width) / DRAWN)))
    plain.imshow(small, extent=(0, width, height, 0))
    legend = _left_out(plain, tissue)
    pale = {"cmap": "gray", "vmin": -170, "vmax": 255}  # from 40 % of white on; one channel takes a third of the memory
    ax.imshow(small.convert("L"), extent=(0, width, height, 0), **pale)
    (rows, columns), drawn_side = shares.shape, side / tissue.downsample
    place = (0, columns * drawn_side, rows * drawn_side, 0)
    drawn = ax.imshow(100 * shares, "inferno_r", alpha=0.75, vmin=0, vmax=100, extent=place, interpolation="nearest")
    to_tissue = job.downsample / tissue.downsample
    for number in unlike:
        y, x = np.array(job.grid.corner(int(number))) * to_tissue
        frame = job.grid.side * to_tissue
        ax.add_patch(Rectangle((x, y), frame, frame, fill=False, edgecolor="tab:blue", linewidth=1.2))
    if len(unlike):
        legend.append(Patch(fill=False, edgecolor="tab:blue", label="unlike the training"))
    bar = figure.colorbar(drawn, ax=ax, shrink=0.7)
    bar.set_label(share, fontsize=LARGE)
    bar.ax.tick_params(labelsize=LARGE)
    for one, text in ((plain, title), (ax, share.partition(" [")[0])):
        one.set(xlim=(0, width), ylim=(height, 0))
        one.set_title(text, fontsize=LARGE)
        one.set_axis_off()
    if legend:
        figure.legend(handles=legend, loc="outside lower center", ncols=5, frameon=False, fontsize=LARGE)
    return figure


def _left_out(ax: Axes, tissue: Tissue) -> list[Patch]:
    """Draw what was left out of the tissue, with entries for a legend."""
    found = []
    for number, colour in LEFT_OUT.items():
        if (tissue.classes == number).any():
            ax.contourf(tissue.classes == number, levels=[0.5, 1.5], colors=[colour], alpha=0.6)
            found.append(Patch(facecolor=colour, alpha=0.6, label=f"left out: {NAMES[number]}"))
    return found


def tissue_figure(found: Sequence[tuple[str, Tissue]]) -> Figure:
    """Thumbnails of slides with the edge of the tissue, and what was left out of it in colour."""
    n_columns = min(3, max(1, len(found)))
    n_rows = max(1, -(-len(found) // n_columns))
    figure = Figure(figsize=(WIDTH, 3.4 * n_rows), layout="constrained")
    entries = {}
    for ax, (name, tissue) in zip(figure.subplots(n_rows, n_columns, squeeze=False).ravel(), found, strict=False):
        ax.imshow(tissue.thumbnail)
        ax.contour(tissue.classes == TISSUE, levels=[0.5], colors=["black"], linewidths=1)
        entries |= {one.get_label(): one for one in _left_out(ax, tissue)}
        ax.set_title(name, fontsize=9)
    for ax in figure.axes:
        ax.set_axis_off()
    if entries:
        figure.legend(handles=list(entries.values()), loc="outside lower center", ncols=5, frameon=False)
    return figure
