"""An experiment: what is taken when, limits, stops and crashes at any moment, files that are whole, full disks."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from data_samples.culture_pictures import FIELD_UM
from tests.microscope.tiny_core import COLUMNS, ROWS, Fires, TinyCore, raised_by, tiny_microscope, tiny_protocol
from utils.errors import DataError, MicroscopeError
from utils.locks import hold
from utils.microscope import files
from utils.microscope.clock import Clock, FakeClock, Stop
from utils.microscope.files import DiskFull, ExperimentFolder
from utils.microscope.opening import DEMO, SIMULATED, open_microscope
from utils.microscope.protocol import Acting, Channel, Event, Limits, Looking, Position, Protocol
from utils.microscope.run import GO_ON, RunStopped, run
from utils.microscope.scope import FrameError, Microscope, StageError
from utils.paths import ROOT


def experiment(folder, watcher=None, fault=None, clock=None, **options):
    """Run the tiny protocol; the core that did it and the folder's tables."""
    protocol = options.pop("protocol", tiny_protocol())
    microscope, core = tiny_microscope(fault, limits=protocol.limits)
    for name in ("picture", "lamp"):
        if name in options:
            setattr(core, name, options.pop(name))
    run(microscope, protocol, watcher or Fires(), folder, clock or FakeClock(), **options)
    return core, tables(folder)


def tables(folder):
    paths = {name: Path(folder) / f"{name}.csv" for name in ("surveys", "events", "notes")}
    return {name: pd.read_csv(path) if path.is_file() else pd.DataFrame() for name, path in paths.items()}


def assert_whole(folder):
    """Every file can be read, and nothing half-written lies about."""
    for path in Path(folder).rglob("*"):
        if path.suffix == ".tif":
            assert tifffile.imread(path).size
        elif path.suffix == ".csv":
            assert len(pd.read_csv(path))
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        else:
            assert path.is_dir(), path


def test_surveys_come_on_time_and_a_burst_follows_an_event(tmp_path):
    core, found = experiment(tmp_path / "e")
    surveys, events = found["surveys"], found["events"]
    assert len(surveys) == 20
    assert surveys[surveys.position == "A1"].time_s.round().tolist() == pytest.approx(
        [60 * i for i in range(10)], abs=2
    )
    assert events.survey.tolist() == [1, 1]
    assert events.complete.tolist() == ["yes", "yes"]
    assert events.frames.tolist() == [3, 3]
    assert (events.burst_start_s - events.time_s).between(0, 1).all()
    assert_whole(tmp_path / "e")
    assert not core.lit


def test_a_burst_is_centred_on_its_cell_and_its_film_says_what_it_shows(tmp_path):
    core, found = experiment(tmp_path / "e")
    event = found["events"].iloc[0]
    assert (event.x_um, event.y_um) == ((20 - (COLUMNS - 1) / 2) * 0.5, (12 - (ROWS - 1) / 2) * 0.5)
    path = tmp_path / "e" / event.file
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "TZCYX"
        assert file.series[0].shape == (3, 2, 2, ROWS, COLUMNS)
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert [one["Name"] for one in pixels["Channel"]] == ["green", "red"]
    assert pixels["PhysicalSizeX"] == 0.5
    assert (pixels["TimeIncrement"], pixels["PhysicalSizeZ"]) == (20.0, 1.0)
    planes = pixels["Plane"]
    assert {one["PositionX"] for one in planes} == {event.x_um}
    assert [one["PositionZ"] for one in planes[:4]] == [-0.5, -0.5, 0.5, 0.5]
    assert [one["ExposureTime"] for one in planes[:2]] == [30, 20]
    times = [one["DeltaT"] for one in planes[::4]]
    assert np.diff(times) == pytest.approx([20, 20], abs=2)
    assert (500 + event.x_um, -200 + event.y_um) in {(x, y) for x, y, _ in core.visited}


def test_without_centring_the_stage_stays_and_at_a_limit_too(tmp_path):
    protocol = tiny_protocol()
    still = replace(protocol, action=replace(protocol.action, centre=False))
    narrow = replace(protocol, limits=replace(protocol.limits, x_um=(0, 40), y_um=(0, 10)))
    for name, one in (("still", still), ("narrow", narrow)):
        core, found = experiment(tmp_path / name, Fires((1,)), protocol=one)
        assert {x for x, _, _ in core.visited} - {500.0, 540.0} <= {502.25}
        assert found["events"].complete.tolist() == ["yes", "yes"]
        inside = [500 <= x <= 540 and -200 <= y <= -190 for x, y, _ in core.visited]
        assert all(inside) or name == "still"


def test_cells_that_a_running_burst_shows_are_not_lit_twice(tmp_path):
    _, found = experiment(tmp_path / "e", Fires((1, 2), cells=4))
    events = found["events"]
    assert len(events) == 16
    assert events.file.nunique() < 8
    first = events[events.position == "A1"].head(4)
    assert first.file.nunique() == 1
    assert (events.burst_start_s >= events.time_s).all()
    assert (events.complete == "yes").all()


def test_counting_only_films_nothing(tmp_path):
    _, found = experiment(tmp_path / "e", protocol=tiny_protocol(action=Acting()))
    assert found["events"].complete.tolist() == ["no", "no"]
    assert not (tmp_path / "e" / "bursts").exists()


def test_the_stage_never_leaves_its_limits(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(3):
        low, high = -generator.uniform(0, 20, 3), generator.uniform(0, 20, 3)
        places = tuple(Position(f"P{i}", *generator.uniform(low, high)) for i in range(3))
        ranges = dict(zip(("x_um", "y_um", "z_um"), zip(low.tolist(), (high + 1).tolist(), strict=True), strict=True))
        ranges["z_um"] = (float(low[2]) - 1, float(high[2]) + 1)
        base = tiny_protocol()
        protocol = replace(base, survey=replace(base.survey, positions=places), limits=Limits(duration_s=200, **ranges))
        core, _ = experiment(tmp_path / str(number), Fires(range(9), 3), protocol=protocol)
        visited = np.subtract(core.visited, (500, -200, 30))
        assert (visited >= [one[0] - 1e-9 for one in ranges.values()]).all()
        assert (visited <= [one[1] + 1e-9 for one in ranges.values()]).all()


@pytest.mark.parametrize(
    "place",
    [Position("far", 70, 0), Position("deep", 0, 0, -7), Position("slices", 0, 0, 4.8), Position("nan", np.nan, 0)],
)
def test_a_position_outside_the_limits_is_refused_before_anything_moves(tmp_path, place):
    protocol = tiny_protocol(survey=Looking((Channel("green", 10),), 60, (Position("A1", 0, 0), place)))
    microscope, core = tiny_microscope(limits=protocol.limits)
    with pytest.raises(StageError, match=place.name):
        run(microscope, protocol, Fires(), tmp_path / "e", FakeClock())
    assert core.visited == []
    assert not (tmp_path / "e").exists()


def test_light_is_counted_and_no_field_gets_more_than_its_limit(tmp_path):
    moments = []
    protocol = tiny_protocol()
    limited = replace(protocol, limits=replace(protocol.limits, dose_ms=500))
    _, found = experiment(tmp_path / "e", Fires((1, 4, 6)), protocol=limited, show=moments.append)
    assert moments[-1].dose_ms == {"A1": 400.0, "A 2": 400.0}
    assert found["events"].complete.tolist() == ["yes", "yes", "no", "no", "no", "no"]
    assert found["notes"].what.str.contains("more light than it may have").any()
    free = []
    experiment(tmp_path / "free", Fires((1, 4)), show=free.append)
    assert free[-1].dose_ms == {"A1": 700.0, "A 2": 700.0}  # 10 surveys of 10 ms, twice 3 frames of 2 slices of 50 ms
    assert free[-1].reference_ms == 2 * 31 * 100


@pytest.mark.parametrize("dose_ms", [250, 330, 410, 420, 690, 700])
def test_several_bursts_on_a_field_do_not_exceed_its_light_together(tmp_path, dose_ms):
    protocol, moments = tiny_protocol(), []
    one = replace(protocol.survey, positions=protocol.survey.positions[:1])
    limited = replace(protocol, survey=one, limits=replace(protocol.limits, dose_ms=dose_ms))
    _, found = experiment(tmp_path / "e", FarApart(), protocol=limited, show=moments.append)
    assert moments[-1].dose_ms["A1"] <= dose_ms
    files_of = found["events"].file.dropna()
    assert all((tmp_path / "e" / name).is_file() for name in files_of)


class FarApart(Fires):
    """Two cells in opposite corners, which no film shows together."""

    def look(self, survey):
        base = (survey.number, survey.time_s, survey.position)
        places = ((0.0, 0.0), (ROWS - 1.0, COLUMNS - 1.0)) if survey.number == 1 else ()
        return [Event(*base, i, *place, "metaphase", 0.9) for i, place in enumerate(places)]


def test_a_burst_that_lacks_a_frame_is_not_complete(tmp_path):
    def picture(core):
        if core.exposed == 14:  # in the second frame of the first burst
            return np.zeros((ROWS, COLUMNS), np.uint16)
        return np.random.default_rng(core.exposed).integers(1, 9, (ROWS, COLUMNS), np.uint16)

    _, found = experiment(tmp_path / "e", picture=picture)
    assert sorted(zip(found["events"].frames, found["events"].complete, strict=True)) == [(2, "partly"), (3, "yes")]


def test_an_experiment_goes_on_with_the_microscope_it_was_begun_with(tmp_path):
    folder, protocol = tmp_path / "e", tiny_protocol(limits=Limits(duration_s=120))
    experiment(folder, protocol=protocol)
    microscope, core = tiny_microscope()
    microscope.name = "another one"
    with pytest.raises(MicroscopeError, match="was begun with tiny microscope, not with another one"):
        run(microscope, protocol, Fires(), folder, FakeClock())
    assert not core.visited


def test_a_stage_that_forgot_where_it_was_is_not_sent_to_where_the_experiment_began(tmp_path):
    folder, protocol = tmp_path / "e", tiny_protocol()
    experiment(folder, protocol=replace(protocol, limits=replace(protocol.limits, duration_s=120)))
    core = TinyCore()
    core.place = (9000.0, 0.0)  # another sample, or a stage that was switched off
    microscope = Microscope(core, protocol.limits, "tiny microscope")
    with pytest.raises(StageError, match="outside of where this experiment may go"):
        run(microscope, protocol, Fires(), folder, FakeClock())
    assert not core.visited
    assert not core.lit


def test_the_page_is_told_of_a_survey_only_when_it_was_looked_at(tmp_path, monkeypatch):
    seen, looked = [], []

    class Remembers(Fires):
        def look(self, survey):
            looked.append((survey.number, survey.position.name))
            return super().look(survey)

    def show(moment):
        if moment.survey is not None:
            seen.append(((moment.survey.number, moment.survey.position.name), looked[-1]))

    usage = files.shutil.disk_usage
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(path)._replace(free=0 if looked else 10**12))
    experiment(tmp_path / "e", Remembers((1, 2)), show=show, when_full=GO_ON)
    assert all(told == last for told, last in seen)


def test_an_experiment_ends_when_every_field_had_its_light(tmp_path):
    protocol = tiny_protocol()
    limited = replace(protocol, limits=Limits(dose_ms=35))
    moments = []
    _, found = experiment(tmp_path / "e", Fires(()), protocol=limited, show=moments.append)
    assert len(found["surveys"]) == 6
    assert "light that it may have" in moments[-1].text


def test_an_event_in_every_cell_is_no_more_than_can_be_filmed(tmp_path):
    protocol = tiny_protocol()
    _, found = experiment(
        tmp_path / "e",
        Fires(range(100), cells=30),
        protocol=replace(protocol, action=replace(protocol.action, centre=False)),
    )
    assert len(found["surveys"]) == 20  # the surveys went on
    assert len(found["events"]) == 20 * 30
    assert found["events"].file.nunique() == 20  # a film of each position for each survey, not one of each cell


def test_no_time_is_left_rather_than_less_where_the_last_exposure_took_longer(tmp_path):
    moments, asked = [], tiny_protocol(limits=replace(tiny_protocol().limits, duration_s=7.0))
    looked = replace(asked.survey, channels=(Channel("green", 10_000.0),))
    experiment(tmp_path / "e", show=moments.append, protocol=replace(asked, survey=looked))
    assert moments[-1].time_s > 7
    assert moments[-1].remaining_s == 0


def test_moments_tell_what_a_page_shows(tmp_path):
    moments = []
    experiment(tmp_path / "e", show=moments.append)
    assert [one.time_s for one in moments] == sorted(one.time_s for one in moments)
    middle = moments[len(moments) // 2]
    assert middle.survey.images["green"].shape == (ROWS, COLUMNS)
    assert moments[0].remaining_s > moments[-1].remaining_s == pytest.approx(0, abs=1)
    assert any(one.bursts for one in moments)
    assert list(moments[-1].events) == files.EVENT_COLUMNS


def test_a_stop_ends_cleanly_and_the_same_folder_goes_on(tmp_path):
    stop, clock, watcher = Stop(), FakeClock(), Fires((1, 7))

    def show(moment):
        if moment.round == 2 and moment.bursts == 0:
            stop.press()

    microscope, core = tiny_microscope(limits=tiny_protocol().limits)
    with pytest.raises(RunStopped, match="Run this cell again to go on"):
        run(microscope, tiny_protocol(), watcher, tmp_path / "e", clock, show, stop)
    assert not core.lit
    assert_whole(tmp_path / "e")
    before = len(tables(tmp_path / "e")["surveys"])
    assert 4 <= before < 20
    other = Fires((1, 7))
    _, found = experiment(tmp_path / "e", other)
    assert other.looked == 20
    assert len(found["surveys"]) == 20
    assert found["events"].survey.tolist() == [1, 1, 7, 7]
    assert found["events"].event.tolist() == [1, 2, 3, 4]
    assert (found["events"].complete == "yes").all()


def test_a_burst_that_a_stop_cut_short_is_filed_as_it_is(tmp_path):
    stop = Stop()
    microscope, _ = tiny_microscope(limits=tiny_protocol().limits)
    with pytest.raises(RunStopped):
        run(
            microscope,
            tiny_protocol(),
            Fires((0,)),
            tmp_path / "e",
            FakeClock(),
            lambda m: m.bursts and stop.press(),
            stop,
        )
    assert_whole(tmp_path / "e")
    found = tables(tmp_path / "e")["events"]
    assert set(found.complete) <= {"partly", "lost"}
    for row in found[found.complete == "partly"].itertuples():
        assert len(tifffile.TiffFile(tmp_path / "e" / row.file).pages) == 4 * row.frames


def test_a_finished_experiment_that_is_run_again_takes_nothing_more(tmp_path):
    experiment(tmp_path / "e")
    core, found = experiment(tmp_path / "e")
    assert core.exposed == 0
    assert len(found["surveys"]) == 20


def test_another_protocol_needs_another_folder_but_limits_may_change(tmp_path):
    experiment(tmp_path / "e")
    other = tiny_protocol(action=Acting((Channel("red", 5),), 2))
    with pytest.raises(MicroscopeError, match="another protocol .it differs in: action"):
        experiment(tmp_path / "e", protocol=other)
    longer = replace(tiny_protocol(), limits=replace(tiny_protocol().limits, duration_s=900))
    _, found = experiment(tmp_path / "e", protocol=longer)
    assert len(found["surveys"]) == 30


def test_two_pages_do_not_do_one_experiment_at_once(tmp_path):
    code = (
        "import sys, pathlib, time; from utils.locks import hold\n"
        "with hold(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "e")], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        with pytest.raises(MicroscopeError, match="is being done by"):
            experiment(tmp_path / "e")
    finally:
        other.kill()
        other.wait()
    with hold(tmp_path / "free"):
        pass


class Kill(BaseException):
    """An end at any place that nothing expects."""


@pytest.mark.parametrize("step", [149, pytest.param(13, marks=pytest.mark.slow)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Kill, RuntimeError, SystemExit])
def test_at_whatever_call_it_ends_the_light_is_off_and_the_folder_goes_on(tmp_path, error, step):
    """A share of the calls of the first rounds, others for each kind of error."""
    protocol = replace(tiny_protocol(), limits=replace(tiny_protocol().limits, duration_s=130))
    core, whole = experiment(tmp_path / "whole", Fires((0, 1)), protocol=protocol)
    calls, fails = core.calls, [0]
    kinds = [KeyboardInterrupt, Kill, RuntimeError, SystemExit]

    def fault(name, number):
        if number == fails[0]:
            raise error("at a call")

    for fails[0] in range(1 + kinds.index(error), calls, step):
        folder = tmp_path / str(fails[0])
        microscope, core = tiny_microscope(fault, limits=protocol.limits)
        raised = raised_by(lambda: run(microscope, protocol, Fires((0, 1)), folder, FakeClock()))  # noqa: B023
        assert not isinstance(raised, AssertionError), raised
        assert not core.lit, fails[0]
        core, found = experiment(folder, Fires((0, 1)), protocol=protocol)
        assert not core.lit
        assert_whole(folder)
        assert len(found["surveys"]) >= len(whole["surveys"]) - 1
        assert len(found["events"]) >= 3
        assert found["events"].duplicated(["survey", "position", "cell"]).sum() == 0


SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.microscope.tiny_core import *
from utils.microscope.clock import FakeClock
from utils.microscope.run import run
protocol = replace(tiny_protocol(), limits=replace(tiny_protocol().limits, duration_s=3000))
core_lamp = Path(sys.argv[2])
microscope, core = tiny_microscope(lamp=core_lamp, limits=protocol.limits)
real = core.snapImage
core.snapImage = lambda: (time.sleep(0.003), real())
print("ready", flush=True)
sys.stdin.readline()
run(microscope, protocol, Slow((0, 3, 5, 9, 20), 2), Path(sys.argv[1]), FakeClock())
"""


@pytest.mark.slow
def test_killed_at_random_moments_its_files_are_whole_and_it_goes_on(tmp_path):
    folder, lamp, chance, killed = tmp_path / "e", tmp_path / "lamp.txt", random.Random(3), 0
    for number in range(12):
        command = [sys.executable, "-c", SCRIPT, str(folder), str(lamp)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        child = subprocess.Popen(command, cwd=ROOT, **pipes)
        assert child.stdout.readline() == b"ready\n", child.stderr.read()
        assert lamp.read_text() == "off"  # whatever the last one left
        child.stdin.write(b"begin\n")
        child.stdin.flush()
        kind = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)[number % 4]
        if number < 11:
            time.sleep(chance.uniform(0.05, 0.6))
            for _ in range(1 + (kind == signal.SIGINT)):  # the button is pressed twice
                child.send_signal(kind)
                time.sleep(0.002)
        child.wait()
        killed += child.returncode == -signal.SIGKILL
        if number == 11:
            assert child.returncode == 0
        elif child.returncode and kind != signal.SIGINT:
            assert child.returncode == -kind
        if kind != signal.SIGKILL or number == 11:
            assert lamp.read_text() == "off"
        leftovers = [one for one in folder.rglob(".*") if one.is_file()]
        for one in leftovers:
            one.unlink()  # hidden names that were being written: nothing reads them
        if folder.is_dir():
            assert_whole(folder)
    assert killed >= 2  # on a fast machine the last ones find it finished
    found = tables(folder)
    assert len(found["surveys"]) == 100
    assert found["events"].duplicated(["survey", "position", "cell"]).sum() == 0
    assert len(found["events"]) == 20


def test_a_frame_that_fails_now_and_then_is_noted_and_the_run_goes_on(tmp_path):
    def picture(core):
        if core.exposed in (3, 9):
            return np.zeros((ROWS, COLUMNS), np.uint16)
        return np.random.default_rng(core.exposed).integers(1, 9, (ROWS, COLUMNS), np.uint16)

    _, found = experiment(tmp_path / "e", picture=picture)
    assert found["notes"].what.str.contains("is black").sum() == 2
    assert len(found["surveys"]) >= 18


@pytest.mark.parametrize("kind", ["camera", "stage"])
def test_what_fails_again_and_again_ends_the_experiment(tmp_path, kind):
    def fault(name, number):
        if number > 40 and name == {"camera": "snapImage", "stage": "setXYPosition"}[kind]:
            raise RuntimeError("no answer from the cable")

    with pytest.raises(MicroscopeError, match="no answer from the cable.* 3 times in a row"):
        experiment(tmp_path / "e", fault=fault)
    assert_whole(tmp_path / "e")
    assert len(tables(tmp_path / "e")["notes"]) == 3


def test_what_the_form_allows_on_the_disk_is_not_exceeded(tmp_path):
    protocol = tiny_protocol()
    small = replace(protocol, limits=replace(protocol.limits, disk_mb=0.02))
    moments = []
    _, found = experiment(tmp_path / "e", Fires((1,)), protocol=small, show=moments.append)
    size = sum(one.stat().st_size for one in (tmp_path / "e").rglob("*.tif"))
    assert size < 20_000
    assert "more than 0.02 MB. Allow more" in moments[-1].text
    assert found["notes"].what.str.contains("The run ends").any()


@pytest.mark.parametrize("when_full", ["stop", GO_ON])
def test_a_disk_that_is_full_in_mid_burst_cuts_it_short_and_says_so(tmp_path, monkeypatch, when_full):
    usage, written = files.shutil.disk_usage, []

    def full_soon(path):
        written.append(path)
        real = usage(path)
        return real if len(written) < 6 else real._replace(free=0)

    monkeypatch.setattr(files.shutil, "disk_usage", full_soon)
    _, found = experiment(tmp_path / "e", Fires((1,)), when_full=when_full)
    events = found["events"]
    assert events.complete.tolist()[:2] == ["partly", "lost"]
    assert set(events.complete[2:]) <= {"no"}
    assert events.file.tolist()[0] == "bursts/b0000_A1_cell100"
    assert found["notes"].what.str.contains("disk is full.*running bursts cut short").any()
    assert [one.name for one in (tmp_path / "e" / "bursts").iterdir()] == ["b0000_A1_cell100"]  # its frame
    state = json.loads((tmp_path / "e" / "state.json").read_text())
    assert state["round"] == (10 if when_full == GO_ON else state["round"])
    assert (state["round"] < 3) == (when_full != GO_ON)
    assert_whole(tmp_path / "e")


def test_a_film_for_which_there_is_no_room_stays_frames_until_there_is(tmp_path, monkeypatch):
    real = ExperimentFolder.join

    def full(self, name):
        raise DiskFull("bursts/b0000 was not written: the disk is full.")

    monkeypatch.setattr(ExperimentFolder, "join", full)
    _, found = experiment(tmp_path / "e", Fires((1,)))
    assert found["events"].file.tolist() == ["bursts/b0000_A1_cell100", "bursts/b0001_A-2_cell100"]
    assert found["notes"].what.str.contains("disk is full").any()
    monkeypatch.setattr(ExperimentFolder, "join", real)
    _, found = experiment(tmp_path / "e", Fires((1,)))
    assert len(found["surveys"]) == 20
    film = found["events"].iloc[0]
    assert (film.file, film.complete, film.frames) == ("bursts/b0000_A1_cell100.ome.tif", "yes", 3)
    assert found["events"].complete.tolist() == ["yes", "partly"]
    assert_whole(tmp_path / "e")


def test_a_writer_that_meets_the_end_of_the_disk_is_a_full_disk(tmp_path, monkeypatch):
    real, calls = tifffile.imwrite, []

    def imwrite(*given, **options):
        calls.append(given[0])
        if len(calls) > 4:
            Path(given[0]).write_bytes(b"half a file")
            raise OSError(28, "No space left on device")
        return real(*given, **options)

    monkeypatch.setattr(tifffile, "imwrite", imwrite)
    _, found = experiment(tmp_path / "e", Fires((1,)))
    assert found["notes"].what.str.contains("No space left").any()
    monkeypatch.undo()
    assert_whole(tmp_path / "e")


@pytest.mark.parametrize("name", ["state.json", "protocol.json", "events.csv"])
def test_a_damaged_folder_is_refused_in_words(tmp_path, name):
    experiment(tmp_path / "e")
    (tmp_path / "e" / name).write_bytes(b'{"round": \xff' if name.endswith("json") else b'"a\n\xff\x00,')
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        experiment(tmp_path / "e")


class Knows:
    """Watcher that sees in the truth which cells enter mitosis."""

    def __init__(self, microscope):
        self.microscope, self.told = microscope, set()

    def look(self, survey):
        now, events = self.microscope.culture.now(), []
        for row in now[now.phase.isin(["prophase", "prometaphase"])].itertuples():
            x = (row.x_um - survey.position.x_um) / survey.pixel_size_um + 511.5
            y = (row.y_um - survey.position.y_um) / survey.pixel_size_um + 511.5
            if 0 <= x < 1024 and 0 <= y < 1024 and row.cell not in self.told:
                self.told.add(row.cell)
                events.append(Event(survey.number, survey.time_s, survey.position, row.cell, y, x, row.phase, 1.0))
        return events

    def state(self):
        return {"told": sorted(self.told)}

    def restore(self, state):
        self.told = set(state["told"])


def culture_protocol(hours):
    action = Acting((Channel("H2B", 100),), 5, 120.0, 1, 1.0, True)
    return Protocol(
        Looking((Channel("H2B", 30),), 600.0, (Position("middle", 0, 0),)),
        action=action,
        limits=Limits(duration_s=hours * 3600),
    )


@pytest.mark.slow
def test_eight_hours_of_the_simulated_culture(tmp_path):
    microscope = open_microscope(SIMULATED, seed=3, size_um=FIELD_UM, density=150)
    run(microscope, culture_protocol(8), Knows(microscope), tmp_path / "e", FakeClock())
    found = tables(tmp_path / "e")
    assert len(found["surveys"]) == 48
    truth = pd.read_csv(tmp_path / "e" / "truth.csv")
    starts = truth[(truth.phase == "prophase") & (truth.time_s > 0)].drop_duplicates("cell")
    caught = set(found["events"].cell) & set(starts.cell)
    assert len(caught) >= 0.7 * len(starts) > 2
    row = found["events"].iloc[-1]
    film = tifffile.imread(tmp_path / "e" / row.file)
    assert film[..., 480:544, 480:544].max() > film.mean() + 200  # its cell is in the middle
    assert microscope.dark()


def test_a_simulated_experiment_goes_on_with_the_same_cells(tmp_path):
    def ran(folder, hours):
        microscope = open_microscope(SIMULATED, seed=3, size_um=200, density=150)
        run(microscope, culture_protocol(hours), Knows(microscope), folder, FakeClock())
        return microscope.culture

    ran(tmp_path / "e", 0.5)
    parted, whole = ran(tmp_path / "e", 1), ran(tmp_path / "whole", 1)
    assert parted.time_s == whole.time_s
    pd.testing.assert_frame_equal(parted.now(), whole.now(), check_exact=False)
    assert len(tables(tmp_path / "e")["surveys"]) == 6


@pytest.mark.parametrize(
    "looking", [Looking((), 0.0, (Position("A", 0, 0),)), Looking((Channel("green", 5),), 0.0, ())]
)
def test_a_survey_of_nothing_is_refused(tmp_path, looking):
    with pytest.raises(MicroscopeError, match="nothing to look at"):
        experiment(tmp_path / "e", protocol=tiny_protocol(survey=looking))


def test_micro_managers_demo_does_an_experiment(tmp_path):
    channels = (Channel("FITC", 5.0), Channel("DAPI", 2.0))
    protocol = Protocol(
        Looking(channels, 60.0, (Position("A", 0, 0), Position("B", 30, -20))),
        action=Acting(channels[1:], 2, 10.0, 2, 0.5, True),
        limits=Limits(duration_s=180, x_um=(-400, 400), y_um=(-400, 400), z_um=(-1, 1)),
    )
    microscope = open_microscope(DEMO, protocol.limits)
    run(microscope, protocol, Fires((1,)), tmp_path / "e", FakeClock())
    found = tables(tmp_path / "e")
    assert len(found["surveys"]) == 6
    assert found["events"].complete.tolist() == ["yes", "yes"]
    assert tifffile.imread(tmp_path / "e" / found["events"].file[0]).shape == (2, 2, 512, 512)
    assert microscope.dark()
    assert_whole(tmp_path / "e")


def test_real_time_waits_and_the_button_is_heard_at_once():
    clock, stop = Clock(), Stop()
    began = time.perf_counter()
    clock.wait(clock.now() + 0.1, lambda: stop.pressed)
    assert time.perf_counter() - began >= 0.1
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        clock.wait(clock.now() + 60, lambda: stop.pressed)
        assert stop.pressed
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert time.perf_counter() - began < 30


def test_a_failed_frame_is_a_microscope_error():
    assert issubclass(FrameError, MicroscopeError)
