"""How well an experiment did: events caught, missed and false, how late, and with how much light.

With a simulated sample the truth is known; with a real one a person marks the bursts, see `marked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.metrics.intervals import wilson
from utils.microscope.protocol import Protocol

NEAR_UM = 9.0  # that a cell may lie off the place of its event: its two halves part in anaphase
MARGIN_UM = 6.0  # from the border of a field within which a cell is not seen whole
CAUGHT, MISSED = "caught", "missed"


@dataclass(frozen=True)
class Judged:
    """What came of an experiment.

    Attributes
    ----------
    true
        A row for each event that happened in view: cell, position, start_s, end_s, outcome (caught, missed),
        burst_start_s, delay_min.
    told
        The rows of events.csv with the columns phase, what the cell really was when it was seen; right (bool), whether
        that was waited for; late (bool), whether it was over when the burst began.
    """

    true: pd.DataFrame
    told: pd.DataFrame

    def table(self) -> pd.DataFrame:
        """Scores with their 95 % intervals: what, value, low, high, counts."""
        caught, n_true = int((self.true["outcome"] == CAUGHT).sum()), len(self.true)
        filmed, late = self.told["burst_start_s"].notna(), self.told["late"]
        right, n_told = int((self.told["right"] & filmed & ~late).sum()), int(filmed.sum())
        return pd.DataFrame(
            [
                share("events caught", caught, n_true),
                share("bursts that show an event (precision)", right, n_told),
                share("bursts of an event that began after its end", int(late.sum()), n_told),
            ]
        )

    @property
    def delay_min(self) -> pd.Series:
        """Minutes from the start of each caught event to the first frame of its burst."""
        return self.true.loc[self.true["outcome"] == CAUGHT, "delay_min"]


def share(name: str, hits: int, n: int) -> dict:
    """A share with its 95 % interval of Wilson, as a row of a table; NaN of none."""
    if not n:
        return {"what": name, "value": np.nan, "low": np.nan, "high": np.nan, "counts": "0 of 0"}
    low, high = (float(end) for end in wilson(hits / n, n))
    return {"what": name, "value": hits / n, "low": low, "high": high, "counts": f"{hits} of {n}"}


def spans(truth: pd.DataFrame, phases: Sequence[str]) -> pd.DataFrame:
    """When each cell was in one of the phases.

    Parameters
    ----------
    truth
        cell, time_s, x_um, y_um, phase: a row at the start of each phase at least.
    phases
        Looked for; several that follow each other are one span.

    Returns
    -------
    pandas.DataFrame
        cell, start_s, end_s, x_um, y_um (at the start), x_end_um, y_end_um; a span that goes on at the end of the truth
        or had begun before has end_s or start_s NaN.
    """
    rows = []
    for cell, one in truth.sort_values("time_s", kind="stable").groupby("cell"):
        inside = one["phase"].isin(list(phases)).to_numpy()
        starts = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
        for start in starts:
            after = np.flatnonzero(~inside[start:])
            first, last = one.iloc[start], one.iloc[start + after[0]] if len(after) else one.iloc[-1]
            begun = first["time_s"] if start or first["time_s"] > truth["time_s"].min() else np.nan
            ends = last["time_s"] if len(after) else np.nan
            rows.append((cell, begun, ends, first["x_um"], first["y_um"], last["x_um"], last["y_um"]))
    return pd.DataFrame(rows, columns=["cell", "start_s", "end_s", "x_um", "y_um", "x_end_um", "y_end_um"])


def cells_at(truth: pd.DataFrame, time_s: float) -> pd.DataFrame:
    """Where each cell was at a time, between two rows on the way, and its phase; index is the cell."""
    before = truth[truth["time_s"] <= time_s].sort_values("time_s", kind="stable").groupby("cell").last()
    before = before[before["phase"] != "gone"]
    after = truth[truth["time_s"] > time_s].sort_values("time_s", kind="stable").groupby("cell").first()
    after = after.reindex(before.index)
    divided = after["time_s"].isna()  # a mother ends where her daughters begin: she stays where she was seen last
    span = (after["time_s"] - before["time_s"]).where(~divided, 1.0)
    part = ((time_s - before["time_s"]) / span).where(~divided, 0.0)
    moved = {name: before[name] + part * (after[name].fillna(before[name]) - before[name]) for name in ("x_um", "y_um")}
    ended = before.index.isin(truth.loc[truth["parent"] >= 0, "parent"]) & divided
    daughters = truth[truth["parent"].isin(before.index)].groupby("parent")["time_s"].min()
    gone = ended & (daughters.reindex(before.index).to_numpy() <= time_s)
    return before.assign(**moved)[~gone]


def judge(
    protocol: Protocol,
    phases: Sequence[str],
    truth: pd.DataFrame,
    events: pd.DataFrame,
    until_s: float,
    field_um: tuple[float, float],
    since_s: float = 0.0,
) -> Judged:
    """Compare what was told with what happened.

    What counts as having happened: a cell began with one of the `phases` between `since_s` and `until_s` and left them
    before `until_s`, in view of a position all the time. It is caught if a burst on it began in between.

    Parameters
    ----------
    protocol
        For the positions.
    phases
        Classes that were waited for.
    truth
        See `spans`; also parent.
    events
        The table events.csv: cell, time_s, position, x_um, y_um, burst_start_s (NaN where there was no burst).
    until_s, since_s
        End and begin of the experiment.
    field_um
        Height and width of what is seen.
    """
    true = spans(truth, phases)
    told = _told(phases, truth, events, true)
    true = true[(true["start_s"] >= since_s) & (true["end_s"] <= until_s)]
    true = true.assign(position=[_in_view(protocol, row, field_um) for row in true.to_dict("records")])
    true = true[true["position"] != ""].reset_index(drop=True)
    right = told[told["right"] & told["burst_start_s"].notna()]
    starts = []
    for row in true.to_dict("records"):
        mine = right[(right["true_cell"] == row["cell"]) & right["burst_start_s"].between(row["start_s"], row["end_s"])]
        starts.append(mine["burst_start_s"].min() if len(mine) else np.nan)
    true = true.assign(burst_start_s=np.array(starts, float))
    true["outcome"] = np.where(true["burst_start_s"].notna(), CAUGHT, MISSED)
    true["delay_min"] = (true["burst_start_s"] - true["start_s"]) / 60
    columns = ["cell", "position", "start_s", "end_s", "outcome", "burst_start_s", "delay_min"]
    return Judged(true[columns], told)


def _told(phases: Sequence[str], truth: pd.DataFrame, events: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Events with the cell of the truth that each is about (-1: none), its phase, right and late: see `Judged`."""
    cells, names = [], []
    for row in events.to_dict("records"):
        now = cells_at(truth, row["time_s"])
        distance = np.hypot(now["x_um"] - row["x_um"], now["y_um"] - row["y_um"])
        near = len(distance) and distance.min() <= NEAR_UM
        cells.append(int(distance.idxmin()) if near else -1)
        names.append(str(now["phase"].loc[cells[-1]]) if near else "no cell")
    told = events.assign(true_cell=np.array(cells, int), phase=np.array(names, object))
    told["right"] = told["phase"].isin(list(phases)).astype(bool)
    started = zip(told["true_cell"], told["burst_start_s"], told["right"], strict=True)
    late = [right and start_s > _end_s(true, cell, start_s) for cell, start_s, right in started]
    return told.assign(late=np.array(late, bool))


def _end_s(true: pd.DataFrame, cell: int, before_s: float) -> float:
    """When the last event of a cell that began before a time was over; infinite where it goes on."""
    mine = true[(true["cell"] == cell) & ~(true["start_s"] > before_s)]
    return float(mine["end_s"].fillna(np.inf).max())


def _in_view(protocol: Protocol, row: dict, field_um: tuple[float, float]) -> str:
    """Name of a position in whose field a cell lies as a whole, from begin to end; "" where there is none."""
    for one in protocol.survey.positions:
        off = [max(abs(row[f"{axis}{end}_um"] - getattr(one, f"{axis}_um")) for end in ("", "_end")) for axis in "yx"]
        if all(far <= side / 2 - MARGIN_UM for far, side in zip(off, field_um, strict=True)):
            return one.name
    return ""


def marked(events: pd.DataFrame, wrong: Sequence[int], shown: Sequence[int] | None = None) -> pd.DataFrame:
    """Precision as in `Judged.table`, by a person's marks: `wrong` are numbers of events whose bursts show none.

    Only those `shown` count, None for all: nobody looked at the others, unless one of them was marked.
    """
    bursts = events[events["frames"].fillna(0) > 0]
    if shown is not None and set(wrong) <= set(shown):
        bursts = bursts[bursts["event"].isin(list(shown))]
    right = len(bursts) - int(bursts["event"].isin(list(wrong)).sum())
    return pd.DataFrame([share("bursts that show an event (precision)", right, len(bursts))])
