"""Cells followed from survey to survey, while the survey goes on: which cell is which, and which came from a division.

Links are those of laptrack (Fukai YT, Kawaguchi K (2023) LapTrack: linear assignment particle tracking with tunable
metrics, Bioinformatics 39:btac799, doi:10.1093/bioinformatics/btac799), by the method of Jaqaman K et al. (2008) Robust
single-particle tracking in live-cell time-lapse sequences, Nat Methods 5:695, doi:10.1038/nmeth.1237.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.microscope.protocol import Survey

TRACKS = "tracks_so_far.csv"
FIRST = ("survey", "time_s", "position", "track", "parent", "beside")
ROUNDING = 4  # digits behind the point
MOST_UM = 20.0  # that a cell moves between two surveys
MOST_MISSED = 2  # surveys in a row in which a cell may go unseen
SMALLER = 1.7  # of the mother's area, that each daughter must be below: a plate seen from its edge is small
PARTED = 1.2  # of a daughter's diameter, that the daughters are apart at least: a nucleus cut in two is not
ALIKE = 0.4  # of the larger daughter's area, that the smaller must be above
BETWEEN = 0.5  # of the daughters' distance, that the mother lies at most off the middle between them


@dataclass
class Track:
    """Where a cell was seen last; lengths in um, `survey` is the number of that round."""

    y: float
    x: float
    area: float
    survey: int


class Tracks:
    """The cells of one position.

    Parameters
    ----------
    most_um
        How far a cell moves at most between two surveys.
    most_missed
        Surveys in a row in which a cell may go unseen and still be the same.
    """

    def __init__(self, most_um: float = MOST_UM, most_missed: int = MOST_MISSED):
        self.most_um, self.most_missed = most_um, most_missed
        self.active: dict[int, Track] = {}

    def link(self, cells: pd.DataFrame, survey: int, numbers: Iterable[int]) -> pd.DataFrame:
        """Cells of the next survey with the columns `track`, `parent` and `beside`, all int; 0 is none.

        A cell that divides ends: its daughters are new cells whose parent it is. A new cell that came out of another's
        place, but not as a daughter would, is `beside` that one: a division seen too early, or a nucleus cut in two.

        Parameters
        ----------
        cells
            Columns y_um, x_um, area_um2, a row for each cell.
        survey
            Number of the round, greater than before.
        numbers
            Numbers for new cells, an iterator that all positions share.
        """
        numbers = iter(numbers)
        known = list(self.active)
        links = self._links(known, cells)
        track, parent, beside = np.zeros((3, len(cells)), int)
        for mother in known:
            mine = links.get(mother, [])
            if len(mine) == 2 and not self._divided(self.active[mother], cells.iloc[mine]):
                beside[mine[1]] = mother
                mine = mine[:1]
            if len(mine) == 2:
                parent[mine] = mother
                del self.active[mother]
            else:
                track[mine] = mother
        for i in np.flatnonzero(track == 0):
            track[i] = next(numbers)
        self._remember(cells, track, survey)
        return cells.assign(track=track, parent=parent, beside=beside)

    def _links(self, known: list[int], cells: pd.DataFrame) -> dict[int, list[int]]:
        """Rows of `cells` that each known cell became: one, or two of a division, the nearer first."""
        before = np.array([(self.active[one].y, self.active[one].x) for one in known]).reshape(-1, 2)
        now = cells[["y_um", "x_um"]].to_numpy(float)
        if not len(before) or not len(now):
            return {}
        links: dict[int, list[int]] = {}
        for (_, i), (_, j) in (sorted(edge) for edge in _linker(self.most_um).predict([before, now]).edges):
            links.setdefault(known[i], []).append(j)
        places = dict(zip(known, before, strict=True))
        return {
            one: sorted(rows, key=lambda j, one=one: np.hypot(*(now[j] - places[one]))) for one, rows in links.items()
        }

    def _divided(self, mother: Track, daughters: pd.DataFrame) -> bool:
        """Whether two cells look like daughters: alike, parted, on two sides of the mother's place, not much larger."""
        places, areas = daughters[["y_um", "x_um"]].to_numpy(float), daughters["area_um2"].to_numpy(float)
        off = np.hypot(*(places.mean(axis=0) - (mother.y, mother.x)))
        apart = np.hypot(*(places[0] - places[1]))
        sizes = areas.max() < SMALLER * mother.area and areas.min() > ALIKE * areas.max()
        return bool(sizes and off < BETWEEN * apart and apart > PARTED * np.sqrt(4 / np.pi * areas.max()))

    def _remember(self, cells: pd.DataFrame, track: np.ndarray, survey: int) -> None:
        columns = (cells[name].to_numpy(float) for name in ("y_um", "x_um", "area_um2"))
        for number, y, x, area in zip(track.tolist(), *columns, strict=True):
            self.active[number] = Track(float(y), float(x), float(area), survey)
        late = [one for one, last in self.active.items() if survey - last.survey > self.most_missed]
        for one in late:
            del self.active[one]

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on."""
        return {str(number): [one.y, one.x, one.area, one.survey] for number, one in self.active.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.active = {int(number): Track(*values) for number, values in state.items()}


@lru_cache
def _linker(most_um: float):
    """LapTrack for two surveys: whatever is nearer than `most_um` may be linked, and one cell may become two."""
    from laptrack import LapTrack  # takes a second to import

    most, price = most_um**2, 1.05 * most_um**2
    costs = ("track_start_cost", "track_end_cost", "segment_start_cost", "segment_end_cost", "no_splitting_cost")
    given = dict.fromkeys(costs, price)  # else guessed from the distances, which of few cells are no measure
    return LapTrack(cutoff=most, splitting_cutoff=most, gap_closing_cutoff=False, **given)


def append_tracks(path: Path, survey: Survey, cells: pd.DataFrame) -> None:
    """Add the cells of a survey to a table; see `read_tracks`."""
    rows = cells.assign(survey=survey.number, time_s=survey.time_s, position=survey.position.name)
    append_rows(path, rows[[*FIRST, *(name for name in rows if name not in FIRST)]])


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Add rows to a CSV file, with a header where there is no file yet; rewriting all of it would take ever longer.

    A line that a crash has torn stays alone.
    """
    text = rows.round(ROUNDING).to_csv(index=False, header=not path.is_file(), lineterminator="\n")
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            text = ("" if file.read(1) == b"\n" else "\n") + text
        file.write(text.encode())


def read_tracks(path: Path) -> pd.DataFrame:
    """Table of `append_tracks`, each survey once: one that was looked at again after a crash counts as it was last."""
    table = pd.read_csv(path, dtype={"position": str}, on_bad_lines="skip")
    table = table.dropna(subset=[*FIRST, "label"])
    place = ["survey", "position"]
    again = (table.groupby(place)["label"].diff() <= 0).groupby([table[one] for one in place]).cumsum()  # labels ascend
    return table[again == again.groupby([table[one] for one in place]).transform("max")].reset_index(drop=True)
