"""A simulated culture of cells with fluorescent chromatin: they move, grow, divide, bleach, and suffer from light.

The truth is kept aside for scoring. `python -m data_samples.culture FOLDER` writes training images for it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from data_samples.culture_pictures import FIELD_UM, Camera

STEP_S = 30.0  # of the simulation
RECORD_S = 600.0  # between two positions of every cell in the truth
HOUR = 3600.0
PHASES = ("interphase", "prophase", "prometaphase", "metaphase", "earlyana", "lateana", "telophase", "apoptosis")
MINUTES = {"prophase": 12, "prometaphase": 16, "metaphase": 18, "earlyana": 4, "lateana": 5, "telophase": 14}
INTERPHASE, PROPHASE, TELOPHASE, APOPTOSIS = (
    PHASES.index(n) for n in ("interphase", "prophase", "telophase", PHASES[-1])
)
CYCLE_H, SPREAD = 19.0, 0.16  # interphase, in hours, and how much cells differ
NEAR_UM, CROWD_UM, CROWD = 16.0, 24.0, 7  # nuclei keep apart; a cell with so many others around it rests
BLEACH_MS, RECOVERY_H = 150_000.0, 6.0  # light that takes 63 % of the brightness, and how fast it comes back
BUDGET_MS, HARM_MS = 30_000.0, 15_000.0  # light that does no harm, and how much more halves the speed of the cycle
DEATHS_PER_HOUR, DEATHS_BY_LIGHT = 0.0015, 0.05  # share of cells; the second for each HARM_MS beyond the budget
CELL = np.dtype(
    [("cell", "i4"), ("parent", "i4"), ("phase", "i1"), ("since", "f8"), ("until", "f8"), ("x", "f8"), ("y", "f8")]
    + [(name, "f8") for name in ("angle", "born", "heading", "light", "dose", "bleached")]
)
TRUTH = ["cell", "parent", "time_s", "x_um", "y_um", "phase"]


class Culture:
    """Cells in a square dish around (0, 0), the same for the same seed and the same light.

    Parameters
    ----------
    seed
        Of all chance.
    size_um
        Side of the dish.
    density
        Cells per square millimetre at the start: 900 are about 120 in a field of view.
    synchronised
        All cells divide within the first four hours, as after a block that was washed out.
    drift_um
        How far the plane of focus wanders within hours.
    """

    def __init__(
        self,
        seed: int = 0,
        size_um: float = 800.0,
        density: float = 900.0,
        synchronised: bool = False,
        drift_um: float = 1.2,
    ):
        self.seed, self.size_um, self.time_s, self.synchronised = seed, size_um, 0.0, synchronised
        self.camera = Camera(seed, drift_um)
        self._steps, self._next, self._rows = 0, 0, []
        self.cells = self._first_cells(round(density * (size_um / 1000) ** 2))
        self._record(np.ones(len(self.cells), bool))

    def advance(self, to_s: float) -> None:
        """Let time pass until `to_s` seconds after the start, in steps of `STEP_S`; earlier times change nothing."""
        while self.time_s + STEP_S <= to_s:
            self._steps += 1
            self.time_s = self._steps * STEP_S
            self._step(np.random.default_rng([self.seed, 1, self._steps]))

    def image(self, x_um: float, y_um: float, z_um: float, channel: str, exposure_ms: float) -> np.ndarray:
        """Camera image, (1024, 1024) uint16, around a place of the stage as it is now; lights nothing, see `light`.

        Row and column grow with y and x; the middle of the image, (511.5, 511.5), lies at (y_um, x_um).
        """
        return self.camera.image(
            self._in_field(x_um, y_um, margin=12.0), x_um, y_um, z_um, channel, exposure_ms, self.time_s
        )

    def light(self, x_um: float, y_um: float, channel: str, ms: float) -> None:
        """Count light on the field of view around a place: it bleaches, and beyond a budget it harms."""
        dx, dy = np.abs(self.cells["x"] - x_um), np.abs(self.cells["y"] - y_um)
        lit = np.maximum(dx, dy) <= FIELD_UM / 2
        self.cells["dose"][lit] += ms
        self.cells["bleached"][lit] += ms / BLEACH_MS

    def truth(self) -> pd.DataFrame:
        """Where each cell was in which phase: a row at the start of each phase, and one every ten minutes.

        Returns
        -------
        pandas.DataFrame
            cell, parent (-1 for those of the start), time_s, x_um, y_um, phase; a cell ends with telophase, then its
            two daughters begin. The last phase of a cell that is gone is "gone".
        """
        rows = np.concatenate(self._rows)
        table = pd.DataFrame(rows).rename(columns={"time": "time_s", "x": "x_um", "y": "y_um"})
        return table.assign(phase=np.array((*PHASES, "gone"))[table["phase"]])[TRUTH]

    def now(self) -> pd.DataFrame:
        """Each living cell as it is now, in the columns of `truth`."""
        cells = self.cells
        phases = np.array(PHASES)[cells["phase"]]
        columns = (cells["cell"], cells["parent"], np.full(len(cells), self.time_s), cells["x"], cells["y"], phases)
        return pd.DataFrame(dict(zip(TRUTH, columns, strict=True)))

    def save(self, path: Path) -> None:
        """Write all that is needed to go on from here to an .npz file."""
        state = [self.seed, self.size_um, self._steps, self._next, self.camera.drift_um, self.camera.shots]
        np.savez_compressed(path, state=np.array(state, float), cells=self.cells, rows=np.concatenate(self._rows))

    @classmethod
    def load(cls, path: Path) -> "Culture":
        """Culture as it was saved."""
        with np.load(path) as file:
            seed, size_um, steps, following, drift_um, shots = file["state"].tolist()
            culture = cls(int(seed), size_um, density=0, drift_um=drift_um)
            culture.cells, culture._rows = file["cells"], [file["rows"]]
        culture._steps, culture._next, culture.camera.shots = int(steps), int(following), int(shots)
        culture.time_s = culture._steps * STEP_S
        return culture

    def _first_cells(self, count: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 0])
        cells = self._new(rng, count)
        cells["x"], cells["y"] = rng.uniform(-0.5, 0.5, (2, count)) * self.size_um
        lengths = self._lengths(rng, count)
        age = -np.log2(1 - rng.uniform(size=count) / 2)  # of a growing culture: the young ones are more
        passed = age * lengths.sum(axis=1)
        if self.synchronised:
            passed = np.maximum(0, lengths[:, 0] - rng.uniform(0, 4 * HOUR, count))
        ends = lengths.cumsum(axis=1)
        phase = (passed[:, None] >= ends).sum(axis=1).clip(0, TELOPHASE)
        cells["phase"], cells["until"] = phase, ends[np.arange(count), phase] - passed
        cells["since"] = cells["until"] - lengths[np.arange(count), phase]
        cells["born"] = -passed
        for _ in range(40):
            self._part(cells)
        return cells

    def _new(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Cells with numbers, brightness and directions of their own."""
        cells = np.zeros(count, CELL)
        cells["cell"], cells["parent"] = np.arange(self._next, self._next + count), -1
        self._next += count
        cells["angle"], cells["heading"] = rng.uniform(0, 2 * np.pi, (2, count))
        cells["light"] = np.exp(rng.normal(0, 0.25, count))
        return cells

    def _lengths(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Seconds of each phase up to telophase, (count, 7)."""
        means = np.array([CYCLE_H * HOUR, *(60.0 * minutes for minutes in MINUTES.values())])
        spread = np.array([SPREAD, *[0.25] * len(MINUTES)])
        return means * np.exp(rng.normal(size=(count, len(means))) * spread)

    def _step(self, rng: np.random.Generator) -> None:
        self._move(rng)
        self._suffer(rng)
        self._change_phase(rng)
        if self.time_s % RECORD_S == 0:
            self._record(np.ones(len(self.cells), bool))

    def _move(self, rng: np.random.Generator) -> None:
        cells = self.cells
        free = cells["phase"] == INTERPHASE
        speed = np.where(free, 0.35, 0.08) * STEP_S / 60  # um a step
        cells["heading"] += rng.normal(0, 0.35, len(cells))
        cells["x"] += speed * np.cos(cells["heading"])
        cells["y"] += speed * np.sin(cells["heading"])
        cells["angle"] += rng.normal(0, np.where(free, 0.014, 0.01), len(cells))
        self._part(cells)

    def _part(self, cells: np.ndarray) -> None:
        """Push nuclei apart that are too near to each other, and keep them in the dish."""
        places = np.column_stack([cells["x"], cells["y"]])
        pairs = cKDTree(places).query_pairs(NEAR_UM, output_type="ndarray") if len(cells) else np.zeros((0, 2), int)
        between = places[pairs[:, 1]] - places[pairs[:, 0]]
        distance = np.linalg.norm(between, axis=1, keepdims=True).clip(1e-3)
        push = between / distance * 0.15 * (NEAR_UM - distance)
        np.add.at(places, pairs[:, 1], push)
        np.add.at(places, pairs[:, 0], -push)
        cells["x"], cells["y"] = places.clip(-self.size_um / 2, self.size_um / 2).T

    def _suffer(self, rng: np.random.Generator) -> None:
        """What light does, and crowding: the cycle slows down, cells die."""
        cells = self.cells
        free = cells["phase"] == INTERPHASE
        harm = np.maximum(0, cells["dose"] - BUDGET_MS) / HARM_MS
        places = np.column_stack([cells["x"], cells["y"]])
        around = cKDTree(places).query_ball_point(places, CROWD_UM, return_length=True) if len(cells) else np.zeros(0)
        speed = np.where(around > CROWD, 0.0, 1 / (1 + harm))
        cells["until"][free] += STEP_S * (1 - speed[free])
        cells["bleached"] *= np.exp(-STEP_S / (RECOVERY_H * HOUR))
        risk = (DEATHS_PER_HOUR + DEATHS_BY_LIGHT * harm) * STEP_S / HOUR
        dying = free & (rng.uniform(size=len(cells)) < risk)
        cells["phase"][dying], cells["since"][dying] = APOPTOSIS, self.time_s
        cells["until"][dying] = self.time_s + rng.uniform(1.0, 2.5, dying.sum()) * HOUR
        self._record(dying)

    def _change_phase(self, rng: np.random.Generator) -> None:
        """Next phase for each cell whose time has come; after telophase two daughters, after apoptosis nothing."""
        cells = self.cells
        due = cells["until"] <= self.time_s
        if not due.any():
            return
        gone, dividing = due & (cells["phase"] == APOPTOSIS), due & (cells["phase"] == TELOPHASE)
        going_on = due & ~gone & ~dividing
        lengths = self._lengths(rng, going_on.sum())
        cells["phase"][going_on] += 1
        cells["since"][going_on] = cells["until"][going_on]
        cells["until"][going_on] += lengths[np.arange(going_on.sum()), cells["phase"][going_on]]
        daughters = self._daughters(rng, cells[dividing])
        self._record(gone, phase=len(PHASES))
        self._record(going_on)
        self.cells = np.concatenate([cells[~gone & ~dividing], daughters])
        self.camera.forget(self.cells["cell"])
        self._record(np.isin(self.cells["cell"], daughters["cell"]))

    def _daughters(self, rng: np.random.Generator, mothers: np.ndarray) -> np.ndarray:
        daughters = self._new(rng, 2 * len(mothers))
        for name in ("dose", "bleached", "light"):
            daughters[name] = np.repeat(mothers[name], 2)
        daughters["parent"] = np.repeat(mothers["cell"], 2)
        places = [self.camera.daughters(mother) for mother in mothers]
        daughters["x"], daughters["y"] = np.reshape(places, (-1, 2)).T if places else np.zeros((2, 0))
        daughters["since"] = daughters["born"] = self.time_s
        daughters["until"] = self.time_s + self._lengths(rng, len(daughters))[:, 0]
        return daughters

    def _in_field(self, x_um: float, y_um: float, margin: float) -> np.ndarray:
        dx, dy = np.abs(self.cells["x"] - x_um), np.abs(self.cells["y"] - y_um)
        return self.cells[np.maximum(dx, dy) <= FIELD_UM / 2 + margin]

    def _record(self, which: np.ndarray, phase: int | None = None) -> None:
        cells = self.cells[which]
        rows = np.zeros(
            len(cells), [("cell", "i4"), ("parent", "i4"), ("time", "f8"), ("x", "f4"), ("y", "f4"), ("phase", "i1")]
        )
        rows["time"] = self.time_s
        for name in ("cell", "parent", "x", "y", "phase"):
            rows[name] = cells[name]
        if phase is not None:
            rows["phase"] = phase
        if len(rows) or not self._rows:
            self._rows.append(rows)


def main() -> None:
    """Read the command line and write training images of a culture that no experiment is scored on."""
    from data_samples.culture_training import write_training

    parser = argparse.ArgumentParser(description="Write training images of the simulated culture.")
    parser.add_argument("folder", type=Path, help="crops by class go to its folder cells, images and labels to nuclei")
    parser.add_argument("--seed", type=int, default=1000, help="of the cultures; experiments use small numbers")
    arguments = parser.parse_args()
    write_training(arguments.folder, arguments.seed)
    print(f"wrote {arguments.folder}")


if __name__ == "__main__":
    main()
