"""Pictures of an experiment: the last survey, the bursts, when what happened, and how much light it took."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from utils.microscope.judge import CAUGHT
from utils.microscope.protocol import Survey
from utils.microscope.watcher import AWAITED, SMOOTHED
from utils.pages.colours import BLUE, ORANGE, VERMILION, class_colours
from utils.pages.figures import WIDTH, add_legend, add_picture, line_figure, picture_grid
from utils.pages.pictures import display_image, display_limits, gamma_of, label_outlines, paint_labels

SHOWN = 24  # bursts in a montage
AROUND_UM = 30.0  # side of the part of a burst that is shown
STAGES = ("first frame", "half-way", "last frame")
PANEL = 1.35  # inches of one picture in the montage
RING_UM = 12.0  # radius of the ring around an event


def survey_figure(
    survey: Survey, cells: pd.DataFrame, labels: np.ndarray, classes: Sequence[dict], least: float = np.inf
) -> Figure:
    """The first channel of a survey with the outlines of its cells in the colours of their classes.

    `cells` and `labels` as of `utils.microscope.watcher.Watcher`, `classes` the table of the classifier. Cells that are
    an event with at least the probability `least` have a ring.
    """
    plane = next(iter(survey.images.values()))[..., None]
    limits = display_limits(plane)
    picture = display_image(plane, limits, gamma_of(plane, limits))
    colours = _colours(classes)
    painted = np.full((int(labels.max(initial=0)) + 1, 3), BLUE, np.float32)
    if SMOOTHED in cells:
        for label, name in zip(cells["label"], cells[SMOOTHED], strict=True):
            painted[label] = colours[name]
    if labels.shape == plane.shape[:2]:
        picture = paint_labels(picture, labels, label_outlines(labels, shown=700), painted, 0.0)
    figure, axes = picture_grid(1, 1, (7.2, 7.2 * plane.shape[1] / plane.shape[0]))
    title = (
        f"Survey {survey.number + 1}, position {survey.position.name}, {in_hours(survey.time_s)}: {len(cells)} cells"
    )
    add_picture(axes[0, 0], picture, title, survey.pixel_size_um or None)
    ringed = cells[cells[AWAITED] >= least] if AWAITED in cells else cells.iloc[:0]
    for y, x in ringed[["y_px", "x_px"]].to_numpy() if len(ringed) else ():
        radius = RING_UM / (survey.pixel_size_um or 1.0)
        axes[0, 0].add_patch(Circle((x, y), radius, fill=False, edgecolor="yellow", linewidth=2))
    found = [name for name in colours if SMOOTHED in cells and (cells[SMOOTHED] == name).any()]
    if found:
        counted = {f"{name} ({(cells[SMOOTHED] == name).sum()})": colours[name] for name in found}
        add_legend(figure, counted, columns=3)  # four names do not fit beside each other
    return figure


def _colours(classes: Sequence[dict]) -> dict[str, tuple]:
    """Colour of each class; the first is no background here."""
    found = class_colours([{"id": one["id"] + 1} for one in classes])
    return {str(one["name"]): found[one["id"] + 1] for one in classes}


def in_hours(seconds: float) -> str:
    """Seconds as hours and minutes."""
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def dose_figure(history: pd.DataFrame, limit_ms: float = float("inf")) -> Figure:
    """Light so far beside that of filming everything; `history` has time_s, dose_ms, reference_ms (all fields)."""
    figure = Figure(figsize=(WIDTH * 0.6, 3.0), layout="constrained")
    ax, hours = figure.subplots(), history["time_s"] / 3600
    ax.plot(hours, history["reference_ms"] / 1000, "--", color="0.5", label="filming everything")
    ax.plot(hours, history["dose_ms"] / 1000, color=BLUE, label="this experiment")
    if np.isfinite(limit_ms):
        ax.axhline(limit_ms / 1000, color=VERMILION, linewidth=1, label="limit of all fields together")
    ax.set(xlabel="time [h]", ylabel="light [s of full power]", xlim=(0, None), ylim=(0, None))
    ax.legend(frameon=False, loc="upper left")
    return figure


def time_line(
    events: pd.DataFrame, positions: Sequence[str], until_s: float, true: pd.DataFrame | None = None
) -> Figure:
    """When events were seen and filmed at each position.

    Parameters
    ----------
    events
        Table events.csv.
    positions
        Their names, from top to bottom.
    until_s
        End of the axis.
    true
        Of a simulated sample what really happened, see `utils.microscope.judge.Judged`.
    """
    figure = Figure(figsize=(WIDTH, 1.2 + 0.35 * len(positions)), layout="constrained")
    ax, rows = figure.subplots(), {name: i for i, name in enumerate(positions)}
    if true is not None:
        for outcome, colour in ((CAUGHT, BLUE), ("missed", VERMILION)):
            mine = true[true["outcome"] == outcome]
            lines = [rows[name] + 0.15 for name in mine["position"]]
            ax.hlines(
                lines, mine["start_s"] / 3600, mine["end_s"] / 3600, colour, linewidth=5, label=f"event, {outcome}"
            )
    places = [rows.get(str(name), 0) - 0.15 for name in events["position"]]
    ax.scatter(events["time_s"] / 3600, places, marker="v", color=ORANGE, zorder=3, label="seen")
    filmed = events["burst_start_s"].notna().to_numpy()
    ax.scatter(
        events["burst_start_s"][filmed] / 3600,
        [place for place, is_filmed in zip(places, filmed, strict=True) if is_filmed],
        marker="|",
        s=120,
        color="black",
        label="filming begins",
    )
    ax.set_yticks(range(len(positions)), positions)
    ax.set(xlim=(0, max(until_s, 1) / 3600), ylim=(len(positions) - 0.5, -0.5), xlabel="time [h]", ylabel="position")
    ax.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def shown_bursts(folder: Path, events: pd.DataFrame) -> pd.DataFrame:
    """Rows of the events whose bursts `burst_montage` shows."""
    filmed = events[(events["frames"].fillna(0) > 0) & events["file"].notna()]
    filmed = filmed[np.array([bool(name) and (folder / name).is_file() for name in filmed["file"]], bool)]
    return filmed.iloc[np.unique(np.linspace(0, len(filmed) - 1, min(SHOWN, len(filmed))).round().astype(int))]


def burst_montage(folder: Path, events: pd.DataFrame, verdicts: Mapping[int, str] | None = None) -> Figure:
    """The cell of each event at the begin, in the middle and at the end of its burst, numbered as in events.csv.

    Parameters
    ----------
    folder
        Of the experiment.
    events
        Table events.csv; at most `SHOWN` bursts are shown, evenly chosen.
    verdicts
        Text by number of the event to stand below it, such as what the cell really was.
    """
    chosen = shown_bursts(folder, events)
    if not len(chosen):
        return line_figure("There is no burst to show.")
    columns = 2 if len(chosen) > 1 else 1
    figure, axes = picture_grid(-(-len(chosen) // columns), columns * len(STAGES), (PANEL + 0.25, PANEL))
    panels = axes.reshape(-1, len(STAGES))
    for row, panel in zip(chosen.to_dict("records"), panels, strict=False):
        text = f"{row['event']}: {row['class']}, {row['probability']:.2f}"
        if verdicts and row["event"] in verdicts:
            text += f"\n{verdicts[row['event']]}"
        for i, (ax, crop) in enumerate(
            zip(panel, burst_crops(folder / row["file"], row["x_um"], row["y_um"]), strict=False)
        ):
            ax.imshow(crop, cmap="gray")
            ax.set_title(text if i == 0 else STAGES[i], fontsize=7)
    return figure


def burst_crops(path: Path, x_um: float, y_um: float, n: int = len(STAGES)) -> list[np.ndarray]:
    """What lies around a place in `n` frames of a burst, evenly chosen, brightest of all slices, first channel."""
    with tifffile.TiffFile(path) as file:
        series, described = file.series[0], file.ome_metadata or ""
        sizes = dict(zip(series.axes, series.shape, strict=True))
        size = _number(described, "PhysicalSizeX") or 1.0
        per_frame, channels = sizes.get("Z", 1) * sizes.get("C", 1), sizes.get("C", 1)
        chosen = np.linspace(0, sizes.get("T", 1) - 1, n).round().astype(int)
        at = [(_number(described, f"Position{axis}") or 0.0) for axis in "YX"]
        middle = [
            round((place - stage) / size + (sizes[axis] - 1) / 2)
            for place, stage, axis in zip((y_um, x_um), at, "YX", strict=True)
        ]
        half = round(AROUND_UM / size / 2)
        part = tuple(slice(max(0, one - half), max(1, one + half)) for one in middle)
        frames = []
        for t in chosen:
            pages = [file.pages[int(t) * per_frame + z * channels].asarray() for z in range(sizes.get("Z", 1))]
            frames.append(np.max(pages, axis=0)[part])
    return frames


def _number(described: str, name: str) -> float | None:
    """First value of an attribute in the OME description of a file."""
    found = re.search(rf'{name}="([^"]+)"', described)
    return float(found[1]) if found else None
