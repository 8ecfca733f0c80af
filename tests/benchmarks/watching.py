"""How well the smart microscope does on simulated cultures: events caught, precision, light, speed, phases.

    python -m data_samples.culture CULTURE                # training images; train a classifier on CULTURE/cells/train
    python -m tests.benchmarks.watching MODEL_FOLDER [--seeds 1 2 3] [--apart 100] [--hours 6] [--positions 2]

An event is a cell that enters mitosis; it is caught if a burst on it begins before anaphase, and a burst is right if
its cell was seen, and its filming began, between prophase and metaphase. The probability from which a cell counts as
an event is chosen on a culture set apart (--apart), then used for --seeds. Bursts are lit, but not drawn.
The clock is a fake one; CPU time is that of one process.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from utils.runtime import load_tensorflow

LEAST, N_FRAMES = (0.5, 0.7, 0.9), (1, 2)
NEAR_UM = 6.0
RESAMPLED = 2000
SURVEY_MS, BURST_MS = 30.0, 100.0


def protocol(positions: int, hours: float):
    """The protocol of the notebook, "mitosis entry", on a row of positions."""
    from data_samples.culture_pictures import FIELD_UM
    from utils.microscope.protocol import Acting, Channel, Limits, Looking, Protocol, grid

    survey = Looking((Channel("H2B", SURVEY_MS),), 300.0, grid(1, positions, (FIELD_UM, FIELD_UM)))
    action = Acting((Channel("H2B", BURST_MS),), 10, 30.0, 3, 1.0)
    return Protocol(survey, action=action, limits=Limits(duration_s=3600 * hours))


class Keeper:
    """Keeps the cells of each survey of a run, and the time that deciding took."""

    def __init__(self, watcher, folder: Path):
        self.watcher, self.folder, self.last, self.moment = watcher, folder, None, None

    def __call__(self, moment) -> None:
        from utils.microscope.tracks import TRACKS, append_tracks

        self.moment = moment
        if moment.survey is not None and moment.survey is not self.last:
            self.last = moment.survey
            append_tracks(self.folder / TRACKS, moment.survey, self.watcher.cells)


class Recorded:
    """The cells of a run that is over, in place of a finder."""

    def __init__(self, tracks: pd.DataFrame, classes: list[dict]):
        self.classes = classes
        self.cells = {key: one for key, one in tracks.groupby(["survey", "position"])}
        self.columns = [
            name for name in tracks if name not in ("track", "parent", "beside", "smoothed_class", "p_event")
        ]
        self.none = tracks.iloc[:0][self.columns]

    def __call__(self, survey):
        key = survey.number, survey.position.name
        cells = self.cells[key][self.columns] if key in self.cells else self.none
        return cells.reset_index(drop=True), np.zeros((1, 1), np.int32)


def undrawn(culture) -> None:
    """Light bursts, but do not draw them: nobody looks at them here, and they take most of the time."""
    draw, blank = culture.image, np.zeros((1024, 1024), np.uint16)
    blank[0, 0] = 1

    def image(x_um, y_um, z_um, channel, exposure_ms):
        return draw(x_um, y_um, z_um, channel, exposure_ms) if exposure_ms == SURVEY_MS else blank

    culture.image = image


def done(folder: Path, asked, finder, seed: int):
    """Run one experiment: its judgement, tracks, truth, and the share of the light of filming everything."""
    from data_samples.culture_pictures import FIELD_UM
    from utils.files import write_csv
    from utils.microscope.clock import FakeClock
    from utils.microscope.judge import judge
    from utils.microscope.opening import open_microscope
    from utils.microscope.protocol import BEFORE
    from utils.microscope.run import run
    from utils.microscope.tracks import TRACKS, read_tracks
    from utils.microscope.watcher import Watcher

    watcher = Watcher(asked, finder)
    keeper, start = Keeper(watcher, folder), time.process_time()
    size = FIELD_UM * (len(asked.survey.positions) + 1)
    with open_microscope("simulated culture", asked.limits, seed=seed, size_um=size) as microscope:
        folder.mkdir(parents=True, exist_ok=True)
        undrawn(microscope.culture)
        run(microscope, asked, watcher, folder, FakeClock(), keeper)
        truth = microscope.truth()
    cpu_s = time.process_time() - start
    write_csv(folder / "truth_kept.csv", truth)
    moment = keeper.moment
    events = moment.events.rename(columns={"time_s": "seen_s"}).assign(time_s=moment.events["time_s"])
    found = judge(asked, BEFORE, truth, events, moment.time_s, (FIELD_UM, FIELD_UM))
    light = sum(moment.dose_ms.values()) / moment.reference_ms
    return found, read_tracks(folder / TRACKS), truth, light, cpu_s


def replayed(asked, tracks: pd.DataFrame, truth: pd.DataFrame, classes: list[dict]):
    """What would have come of a run with another threshold, had each burst begun at once."""
    from data_samples.culture_pictures import FIELD_UM, SHAPE
    from utils.microscope.judge import judge
    from utils.microscope.protocol import BEFORE, Survey
    from utils.microscope.watcher import Watcher

    watcher, places = Watcher(asked, Recorded(tracks, classes)), {one.name: one for one in asked.survey.positions}
    rows, size = [], FIELD_UM / SHAPE[0]
    looked = tracks[["survey", "time_s", "position"]].drop_duplicates().sort_values("time_s")
    for number, time_s, name in looked.itertuples(index=False):
        for one in watcher.look(Survey(int(number), time_s, places[name], size, {})):
            x, y = (
                c + (p - (SHAPE[0] - 1) / 2) * size
                for c, p in ((one.position.x_um, one.x_px), (one.position.y_um, one.y_px))
            )
            rows.append((len(rows) + 1, one.cell, time_s, name, x, y, time_s, 1))
    columns = ["event", "cell", "time_s", "position", "x_um", "y_um", "burst_start_s", "frames"]
    events = pd.DataFrame(rows, columns=columns)
    return judge(asked, BEFORE, truth, events, float(tracks["time_s"].max()), (FIELD_UM, FIELD_UM))


def chosen(asked, tracks: pd.DataFrame, truth: pd.DataFrame, classes: list[dict]):
    """The protocol with the threshold that does best on a run set apart: the smaller of caught and right is largest."""
    best = None
    for n_frames in N_FRAMES:
        for least in LEAST:
            one = replace(asked, event=replace(asked.event, probability=least, n_frames=n_frames))
            table = replayed(one, tracks, truth, classes).table()
            caught, right = table["value"].fillna(0)[:2]
            print(f"  {n_frames} surveys of {least:.2f}: caught {caught:.2f}, precision {right:.2f}")
            if best is None or min(caught, right) > best[0] + 1e-9:
                best = min(caught, right), one
    return best[1]


def phases(tracks: pd.DataFrame, truth: pd.DataFrame, names: list[str], asked) -> pd.DataFrame:
    """True, single, believed (up to then) and smoothed (whole track) phase of each cell that was seen."""
    from data_samples.culture_pictures import FIELD_UM, SHAPE
    from utils.microscope.judge import cells_at
    from utils.tasks.phase_order import likeliest_path, moves_within

    size, moves, rows = FIELD_UM / SHAPE[0], moves_within(names, asked.survey.interval_s), []
    places = {one.name: one for one in asked.survey.positions}
    p = tracks[[f"p_{name}" for name in names]].to_numpy()
    smoothed = np.empty(len(tracks), object)
    for _, mine in tracks.groupby("track").indices.items():
        smoothed[mine] = np.array(names, object)[likeliest_path(p[mine], moves)]
    tracks = tracks.assign(whole=smoothed)
    for (time_s, name), seen in tracks.groupby(["time_s", "position"]):
        now, place = cells_at(truth, time_s), places[name]
        x = place.x_um + (seen["x_px"].to_numpy() - (SHAPE[0] - 1) / 2) * size
        y = place.y_um + (seen["y_px"].to_numpy() - (SHAPE[0] - 1) / 2) * size
        distance = np.hypot(now["x_um"].to_numpy()[None] - x[:, None], now["y_um"].to_numpy()[None] - y[:, None])
        near, far = distance.argmin(axis=1), distance.min(axis=1)
        part = seen.assign(true=now["phase"].to_numpy()[near], cell=now.index.to_numpy()[near])
        rows.append(part[far < NEAR_UM][["cell", "true", "class", "smoothed_class", "whole"]])
    return pd.concat(rows)


def gain(table: pd.DataFrame, column: str, seed: int = 0) -> str:
    """Balanced accuracy of the classes in `column` beside those of single frames; interval by drawing cells."""
    truth = sorted(table["true"].unique())
    cells, rng = table["cell"].to_numpy(), np.random.default_rng(seed)
    codes = np.unique(cells, return_inverse=True)[1]
    counts = np.zeros((codes.max() + 1, len(truth), 3))
    for i, name in enumerate(truth):
        mine = (table["true"] == name).to_numpy()
        for j, hits in enumerate((mine, mine & (table["class"] == name), mine & (table[column] == name))):
            counts[:, i, j] = np.bincount(codes, weights=np.asarray(hits, float), minlength=len(counts))

    def accuracies(sums):
        recall = sums[:, 1:] / np.maximum(sums[:, :1], 1)
        return np.append(recall[sums[:, 0] > 0].mean(axis=0), sums[:, 1:].sum(axis=0) / sums[:, 0].sum())

    drawn = [accuracies(counts[rng.integers(0, len(counts), len(counts))].sum(axis=0)) for _ in range(RESAMPLED)]
    whole, drawn = accuracies(counts.sum(axis=0)), np.array(drawn)
    balanced, plain = (
        np.percentile(drawn[:, 1] - drawn[:, 0], [2.5, 97.5]),
        np.percentile(drawn[:, 3] - drawn[:, 2], [2.5, 97.5]),
    )
    return (
        f"balanced accuracy {whole[0]:.3f} -> {whole[1]:.3f} (gain {whole[1] - whole[0]:+.3f}, {balanced[0]:+.3f} to "
        f"{balanced[1]:+.3f}); accuracy {whole[2]:.4f} -> {whole[3]:.4f} (gain {whole[3] - whole[2]:+.4f}, "
        f"{plain[0]:+.4f} to {plain[1]:+.4f}); {len(table)} cells seen"
    )


def speed(finder, cells: int = 200, repeats: int = 5) -> None:
    """Print what a survey of 1,024 x 1,024 pixels with that many cells costs."""
    from data_samples.culture import Culture
    from data_samples.culture_pictures import FIELD_UM, PIXEL_SIZE_UM
    from utils.microscope.protocol import Position, Survey
    from utils.microscope.watcher import Watcher

    culture = Culture(7, size_um=FIELD_UM, density=1.02 * cells / (FIELD_UM / 1000) ** 2)
    looked = [
        Survey(i, 300.0 * i, Position("A", 0, 0), PIXEL_SIZE_UM, {"H2B": culture.image(0, 0, 0, "H2B", 30.0)})
        for i in range(repeats)
    ]
    watcher = Watcher(protocol(1, 1), finder)
    for name, work in (("found and classified", finder), ("and followed and decided on", watcher.look)):
        cpu, wall = time.process_time(), time.perf_counter()
        for one in looked:
            work(one)
        cpu, wall = (time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats
        n = len(finder(looked[0])[0])
        print(f"1,024 x 1,024 with {n} cells {name}: {cpu:.2f} s CPU ({1000 * cpu / n:.1f} ms a cell), {wall:.2f} s")


def together(judged: list) -> None:
    """Print the shares of all cultures together, with their intervals."""
    from utils.microscope.judge import share

    rows = [one.table() for one in judged]
    for i, what in enumerate(rows[0]["what"]):
        hits, n = (sum(int(row.loc[i, "counts"].split(" of ")[k]) for row in rows) for k in (0, 1))
        print(pd.DataFrame([share(what, hits, n)]).to_string(index=False, header=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--apart", type=int, default=100)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--positions", type=int, default=2)
    parser.add_argument("--least", type=float, help="probability that was chosen before; nothing is set apart then")
    given = parser.parse_args()
    load_tensorflow()
    from utils.microscope.page import load_finder

    finder = load_finder(["H2B"], given.model, None)
    speed(finder)
    asked = protocol(given.positions, given.hours)
    with tempfile.TemporaryDirectory() as temporary:
        if given.least is None:
            found, tracks, truth, light, cpu_s = done(Path(temporary) / "apart", asked, finder, given.apart)
            print(f"culture {given.apart}, set apart ({cpu_s:.0f} s CPU):\n{found.table().to_string(index=False)}")
            asked = chosen(asked, tracks, truth, finder.classes)
        else:
            asked = replace(asked, event=replace(asked.event, probability=given.least))
        print(f"from {asked.event.probability} in {asked.event.n_frames} surveys")
        judged, seen = [], []
        for seed in given.seeds:
            found, tracks, truth, light, cpu_s = done(Path(temporary) / str(seed), asked, finder, seed)
            judged.append(found)
            seen.append(phases(tracks, truth, finder.names, asked).assign(cell=lambda t, s=seed: t["cell"] + 10**6 * s))
            print(
                f"culture {seed}: light {light:.3f} of filming everything, {cpu_s:.0f} s CPU, delay "
                f"{found.delay_min.median():.0f} min (at most {found.delay_min.max():.0f})"
            )
            print(found.table().to_string(index=False))
            print(found.told.loc[~found.told["right"], "phase"].value_counts().to_dict())
    together(judged)
    for column, name in (("smoothed_class", "up to each survey"), ("whole", "over whole tracks (Viterbi)")):
        print(f"phases {name}: {gain(pd.concat(seen, ignore_index=True), column)}")


if __name__ == "__main__":
    main()
