"""What is measured on slides and of patients: areas, shares with their intervals, and how sure the network was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.metrics.confusion import ratio
from utils.metrics.intervals import estimate
from utils.tasks.slides.tiles import Grid

BLOCK = 1000.0  # um: the side of squares of tissue that count as one; nearer tiles show the same lobules


@dataclass(frozen=True)
class Share:
    """What is measured: the share of some classes among those that are tissue.

    Attributes
    ----------
    name
        Such as "fibrosis".
    part, whole
        Ids of the classes; `part` is among `whole`.
    """

    name: str
    part: tuple[int, ...]
    whole: tuple[int, ...]

    @property
    def column(self) -> str:
        """Name of its column, in %."""
        return f"{self.name} [% of tissue]"

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """Share, 0 to 1, from the pixels of each class (..., n_classes); NaN where there is no tissue."""
        part, whole = (pixels[..., list(one)].sum(axis=-1) for one in (self.part, self.whole))
        return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def blocks(grid: Grid, numbers: Sequence[int], um_per_pixel: float) -> list[str]:
    """Square of tissue that each tile lies in, by its name."""
    side = max(1, round(BLOCK / (grid.side * um_per_pixel)))
    places = (np.array(grid.corner(number)) // grid.side // side for number in numbers)
    return [f"{y} {x}" for y, x in places]


def measured(
    counts: np.ndarray, groups: Sequence[str], names: Sequence[str], share: Share, um_per_pixel: float
) -> dict[str, float]:
    """Row of a table, of a slide or of all slides of a patient.

    Parameters
    ----------
    counts
        Pixels of each class, and uncertain ones, of the tiles (n_tiles, n_classes + 1).
    groups
        Squares of tissue that the tiles lie in, see `blocks`; those of different slides differ.
    names
        Of the classes, by their ids.
    um_per_pixel
        Of the class map.

    Returns
    -------
    dict
        The share in % with its 95 % interval (from the squares of tissue: what another part of the same tissue would
        have given, not another patient), area of each class in mm2, number of tiles, and the share in % of all that was
        measured, of whatever class, in which the network was not sure.
    """
    pixels, area = counts[:, :-1], (um_per_pixel / 1000) ** 2
    low, high = estimate(pixels, share.of, groups).ends if len(pixels) else ([np.nan], [np.nan])
    total = pixels.sum(axis=0)
    return {
        share.column: 100 * float(share.of(total)),
        "low [%]": 100 * float(low[0]),
        "high [%]": 100 * float(high[0]),
        **{f"{name} [mm2]": float(one * area) for name, one in zip(names, total, strict=True)},
        "tiles": len(counts),
        "uncertain [% of what was measured]": 100 * float(ratio(counts[:, -1].sum(), total.sum())),
    }


def tables(
    rows: Sequence[tuple[str, str, np.ndarray, list[str]]], names: Sequence[str], share: Share, um_per_pixel: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of slides and of patients; `rows` are slide, patient, counts and groups (see `measured`) of each slide."""
    slides = [
        {"slide": slide, "patient": patient, **measured(counts, groups, names, share, um_per_pixel)}
        for slide, patient, counts, groups in rows
    ]
    patients = []
    for patient in dict.fromkeys(row[1] for row in rows):
        own = [row for row in rows if row[1] == patient]
        counts = np.concatenate([row[2] for row in own])
        groups = [f"{row[0]} {group}" for row in own for group in row[3]]
        found = measured(counts, groups, names, share, um_per_pixel)
        patients.append({"patient": patient, "slides": len(own), **found})
    return pd.DataFrame(slides), pd.DataFrame(patients)
