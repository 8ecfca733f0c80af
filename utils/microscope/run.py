"""An experiment: surveys in turn, a burst where the watcher sees an event, back to the survey, until a limit is there.

Bursts run beside the surveys, whichever is due first. Each step ends with the light off and with files from which the
experiment goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np
import pandas as pd

from utils.errors import Interrupted, MicroscopeError, UserError, how_many
from utils.files import write_csv
from utils.locks import Holder, hold
from utils.microscope.clock import Clock, Stop
from utils.microscope.files import EVENTS, DiskFull, ExperimentFolder, Taken, read_json, safe
from utils.microscope.light import Light
from utils.microscope.protocol import Channel, Event, Position, Protocol, Survey
from utils.microscope.scope import KEPT, FrameError, Microscope, StageError

FAILURES = 3  # of camera or stage in a row, after which the experiment ends
SHARE_OF_TIME = 0.8  # of the time between two frames of a burst that all bursts together may take
KEEP_ROUNDS = 10  # between two times that a simulated sample is written
TRUTH = "truth.csv"
STOP, GO_ON = "stop", "go on"  # what a full disk means
NOT_FILMED, LOST, PARTLY, WHOLE = "no", "lost", "partly", "yes"  # whether the burst of an event is complete


class RunStopped(Interrupted):
    """The experiment was stopped by its user; the same cell goes on with it."""

    title = "Experiment stopped"


class Watches(Interface):
    """What decides, see `utils.microscope.watcher.Watcher`."""

    def look(self, survey: Survey) -> list[Event]:
        """Events of a survey."""

    def state(self) -> dict[str, Any]:
        """What it remembers."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember it again."""


@dataclass
class Burst:
    """A film that is being taken."""

    name: str
    place: Position
    field: str
    due_s: float
    left: int
    starts_s: dict[Event, float | None]  # when its first frame after the event was taken
    done: int = 0
    lacking: int = 0  # frames that failed


@dataclass(frozen=True)
class Moment:
    """How an experiment stands, for its page.

    Attributes
    ----------
    survey
        The last one, None before the first.
    events
        Table of events so far.
    dose_ms
        Light so far on each field, in ms of full power.
    reference_ms
        Light that filming all fields as in a burst would have taken until now, all fields together.
    remaining_s
        Until the limit of time; infinite without one.
    text
        What was done last.
    """

    time_s: float
    round: int
    survey: Survey | None
    events: pd.DataFrame
    bursts: int
    dose_ms: Mapping[str, float]
    reference_ms: float
    remaining_s: float
    text: str


def run(
    microscope: Microscope,
    protocol: Protocol,
    watcher: Watches,
    folder: Path,
    clock: Clock | None = None,
    show: Callable[[Moment], None] | None = None,
    stop: Stop | None = None,
    when_full: str = STOP,
) -> Path:
    """Do an experiment, or go on with the one in `folder`.

    Parameters
    ----------
    microscope, protocol, watcher
        What looks, what is asked for, what decides.
    folder
        See `utils.microscope.files`.
    clock
        A `FakeClock` for what is simulated or replayed.
    show
        Told after each step.
    stop
        Pressed from elsewhere; the stop button of the notebook presses it, too.
    when_full
        Of the disk: `STOP`, or `GO_ON` without filing images.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    RunStopped
        The stop button was pressed; all files are whole and the light is off.
    UserError
        What the experiment cannot go on with; the light is off.
    """
    with hold(Path(folder), _taken_by):
        return Experiment(microscope, protocol, watcher, folder, clock or Clock(), show, stop or Stop(), when_full).go()


@dataclass
class Experiment:
    """The state of `run`."""

    microscope: Microscope
    protocol: Protocol
    watcher: Watches
    folder: Path
    clock: Clock
    show: Callable[[Moment], None] | None
    stop: Stop
    when_full: str
    round: int = 0
    next: int = 0  # position of the round
    due_s: float = 0.0  # of the next survey
    began_s: float = 0.0  # this round
    ran_s: float = 0.0  # before this run, without pauses
    numbers: int = 0  # bursts so far
    bursts: list[Burst] = field(default_factory=list)
    failures: int = 0
    full: bool = False
    reason: str = ""
    last: Survey | None = None

    def go(self) -> Path:
        """Do it."""
        if not (self.protocol.survey.positions and self.protocol.survey.channels):
            raise MicroscopeError("A survey needs at least one position and one channel: there is nothing to look at.")
        reach_um = (Light(self.protocol, self.microscope, {}).slices - 1) / 2 * self.protocol.action.z_step_um
        for position in self.protocol.survey.positions:
            for z_um in (position.z_um, position.z_um - reach_um, position.z_um + reach_um):
                self.microscope.check(replace(position, z_um=z_um))
        self.files = ExperimentFolder(self.folder, self.protocol.limits.disk_mb)
        with self.stop.listening():
            self._resume(self.files.begin(self.protocol))
            try:
                while not self._is_over():
                    self._step()
            except KeyboardInterrupt:
                self.stop.pressed = True
            finally:
                self._end()
        self.stop.end_program()
        if self.stop.pressed:
            raise RunStopped(f"Everything so far is in {self.folder}. Run this cell again to go on.")
        return Path(self.folder)

    def _resume(self, state: Mapping[str, Any]) -> None:
        """Take up what an earlier run left, and finish what it could not."""
        self.light = Light(self.protocol, self.microscope, state.get("dose_ms", {}))
        for name in ("round", "next", "due_s", "began_s", "ran_s", "numbers"):
            setattr(self, name, state.get(name, getattr(self, name)))
        if (begun := state.get("microscope", self.microscope.name)) != self.microscope.name:
            raise MicroscopeError(
                f"The experiment in {self.folder} was begun with {begun}, not with {self.microscope.name}. Choose "
                "another folder for this one, or that microscope."
            )
        if state:
            self.clock.restore(state["clock"])
            self.watcher.restore(state["watcher"])
            self.microscope.restore(read_json(self.files.path / KEPT), self.files.path)
        self.watching = self.watcher.state()
        self.resumed_s = self.clock.now()
        self.microscope.begin(self.clock.now)
        for name in self.files.unfinished():
            self._filed(name)
            self.numbers = max(self.numbers, int(name.partition("/b")[2][:4]) + 1)
        self._save()
        self.microscope.keep(self.files.path)

    def _is_over(self) -> bool:
        """Whether there is nothing more to be done, and why."""
        limits = self.protocol.limits
        if self.stop.pressed or self.reason:
            pass
        elif self._ran() >= limits.duration_s - 1e-6:
            self.reason = "The time is over."
        elif self.microscope.is_over(self.clock.now()):
            self.reason = "The film is at its end."
        elif not self.bursts and not self.light.allows_survey():
            self.reason = "Every field has had the light that it may have."
        return bool(self.stop.pressed or self.reason)

    def _step(self) -> None:
        """Wait for what is due next, and do it."""
        burst = min(self.bursts, key=lambda one: one.due_s, default=None)
        is_burst = burst is not None and burst.due_s <= max(self.due_s, self.clock.now())
        end_s = self.resumed_s + self.protocol.limits.duration_s - self.ran_s
        due_s = burst.due_s if is_burst else self.due_s
        self.clock.wait(min(due_s, end_s), lambda: self.stop.pressed)
        if self._is_over() or due_s >= end_s - 1e-6:
            return
        try:
            self._frame(burst) if is_burst else self._survey()
        except DiskFull as error:
            self._is_full(error)
        finally:
            self.microscope.darken()
        self._save()

    def _survey(self) -> None:
        """Look at the next position."""
        position = self.protocol.survey.positions[self.next]
        if self.next == 0:
            self.began_s = self.clock.now()
        try:
            if self.light.allows(position.name, self.light.of_survey):
                self._look(position)
        except (FrameError, StageError) as error:
            self._failed(position.name, error)
        self.next = (self.next + 1) % len(self.protocol.survey.positions)  # one that was interrupted is looked at again
        if self.next == 0:
            self.round += 1
            self.due_s = max(self.clock.now(), self.began_s + self._interval(self.protocol.survey.interval_s))
            if self.round % KEEP_ROUNDS == 0 and not self.full:
                self.microscope.keep(self.files.path)

    def _look(self, position: Position) -> None:
        """One survey of one position, and what follows from it."""
        channels = self.protocol.survey.channels
        self.microscope.move(position)
        time_s = self.clock.now()
        images = {channel.name: self._snap(channel, position.name) for channel in channels}
        self.failures = 0
        size = self.microscope.pixel_size_um
        survey = Survey(self.round, time_s, position, size, images)
        if not self.full:
            try:
                self.files.survey(
                    self.round, Taken(time_s, position, channels, size), images, self.light.dose_ms[position.name]
                )
            except DiskFull as error:
                self._is_full(error)
        events = self.watcher.look(survey)
        self.watching = self.watcher.state()
        self.last = survey  # not before: the page shows it with the cells that were found in it
        for event in events:
            self._act(event)
        self._tell(f"Survey {self.round + 1}, {position.name}: {len(events) or 'no'} event{'s' * (len(events) != 1)}")

    def _snap(self, channel: Channel, name: str) -> np.ndarray:
        """One exposure, counted on its field even where it shows nothing."""
        self.light.dose_ms[name] += self.microscope.dose(channel)
        frame = self.microscope.snap(channel)
        self.clock.spend(channel.exposure_ms / 1000)
        if self.microscope.remark:
            self._note(name, self.microscope.remark)
        return frame

    def _act(self, event: Event) -> None:
        """Film an event, unless a film that runs shows it already or a limit forbids it."""
        place = self._centred(event)
        where = self._of_cell(event)
        running = [one for one in self.bursts if one.field == event.position.name and self._shows(one, where)]
        action, row = self.protocol.action, {"x_um": where[0], "y_um": where[1], "complete": NOT_FILMED}
        if running:
            running[0].left = max(running[0].left, action.frames)
            running[0].starts_s[event] = None
            row |= {"burst": running[0].name, "file": running[0].name, "complete": PARTLY}
        elif action.frames > 0 and action.channels and not self.full:
            if forbidden := self._forbids(event.position.name):
                self._note(event.position.name, f"Cell {event.cell} was not filmed: {forbidden}.")
            else:
                row |= self._begin(event, place)
        self.files.event(event, row)

    def _begin(self, event: Event, place: Position) -> dict[str, Any]:
        """Start a burst; the row of its event."""
        name = f"bursts/b{self.numbers:04d}_{safe(event.position.name)}_cell{event.cell}.ome.tif"
        burst = Burst(name, place, event.position.name, self.clock.now(), self.protocol.action.frames, {event: None})
        self.files.begin_burst(name, self._taken(burst))
        self.numbers += 1
        self.bursts.append(burst)
        return {"burst": name, "file": name, "complete": PARTLY}

    def _frame(self, burst: Burst) -> None:
        """Take the next frame of a burst: all slices in all channels."""
        if not self.light.allows(burst.field, self.light.of_frame):  # others on the field had some since the last one
            self._finish(burst)
            return
        action, taken = self.protocol.action, self._taken(burst)
        burst.due_s = max(burst.due_s + self._interval(action.interval_s), self.clock.now())
        burst.left -= 1
        try:
            slices = []
            for number in range(self.light.slices):
                z_um = burst.place.z_um + (number - (self.light.slices - 1) / 2) * action.z_step_um
                self.microscope.move(replace(burst.place, z_um=z_um))
                slices.append([self._snap(channel, burst.field) for channel in action.channels])
            self.files.frame(burst.name, burst.done, np.array(slices), taken)
            self._count(burst, taken.time_s)
            self.failures = 0
        except (FrameError, StageError) as error:
            burst.lacking += 1
            self._failed(burst.field, error)
        if burst.left <= 0 or not self.light.allows(burst.field, self.light.of_frame):
            self._finish(burst)
        self._tell(f"Frame {burst.done} of {burst.name}")

    def _count(self, burst: Burst, time_s: float) -> None:
        """A frame more; the first one after an event is when its burst began."""
        burst.done += 1
        for event, start_s in burst.starts_s.items():
            burst.starts_s[event] = time_s if start_s is None else start_s
            self.files.event(event, {"burst_start_s": burst.starts_s[event], "frames": burst.done})

    def _finish(self, burst: Burst) -> None:
        """File a burst as one film."""
        self.bursts.remove(burst)
        self._filed(burst.name, WHOLE if burst.left <= 0 and not burst.lacking else PARTLY)

    def _filed(self, name: str, complete: str = "") -> None:
        """Join the frames of a burst, and say so in the rows of its events; where the disk is full they stay frames."""
        table = self.files.table(EVENTS)
        rows = table[table.burst == name].event.tolist()
        try:
            frames = self.files.join(name)
        except DiskFull:
            for number in rows:
                self.files.row(EVENTS, {"event": number, "file": self.files.frames_of(name)}, ("event",))
            raise
        complete = complete or (WHOLE if frames >= self.protocol.action.frames else PARTLY)
        changed = {"frames": frames, "complete": complete, "file": name} if frames else {"complete": LOST, "file": ""}
        for number in rows:
            self.files.row(EVENTS, {"event": number, **changed}, ("event",))

    def _is_full(self, error: DiskFull) -> None:
        """The disk is full: bursts that run end, and the run ends, too, or goes on without files."""
        going_on = "The run goes on without filing images" if self.when_full == GO_ON else "The run ends"
        cut = f" {how_many(len(self.bursts), 'running burst')} cut short." if self.bursts else ""
        self._note("", f"{error}{cut} {going_on}.")
        for burst in self.bursts:
            if not burst.done:
                self.files.drop(burst.name)
            file = self.files.frames_of(burst.name) if burst.done else ""
            for event in burst.starts_s:
                self.files.event(event, {"complete": PARTLY if burst.done else LOST, "file": file})
        self.bursts, self.full = [], True
        if self.when_full != GO_ON:
            self.reason = f"{error} Everything before it is filed."

    def _failed(self, name: str, error: UserError) -> None:
        """Camera or stage failed once: the next try may go well, many in a row will not."""
        self.failures += 1
        self._note(name, str(error))
        if self.failures >= FAILURES:
            raise MicroscopeError(
                f"{error} It failed {FAILURES} times in a row, so the experiment was ended."
            ) from error

    def _end(self) -> None:
        """Light off, then everything filed that can be."""
        self.microscope.darken()
        self.bursts = []
        for name in self.files.unfinished():
            try:
                self._filed(name, PARTLY)
            except UserError as error:
                self._note("", str(error))
        self.ran_s, self.resumed_s = self._ran(), self.clock.now()
        self._save()
        self.microscope.keep(self.files.path)
        truth = self.microscope.truth()
        if truth is not None:
            write_csv(self.files.path / TRUTH, truth)
        self._tell(self.reason or "Stopped")

    def _save(self) -> None:
        names = ("round", "next", "due_s", "began_s", "numbers", "reason")
        state = {name: getattr(self, name) for name in names} | {"dose_ms": self.light.dose_ms}
        state["microscope"] = self.microscope.name  # places of its stage mean nothing to another one
        self.files.save(state | {"ran_s": self._ran(), "clock": self.clock.state(), "watcher": self.watching})

    def _note(self, name: str, what: str) -> None:
        self.files.note(round(self.clock.now(), 1), name, what)
        self._tell(what)

    def _tell(self, text: str) -> None:
        if self.show is None:
            return
        events, left_s = self.files.table(EVENTS), max(0.0, self.protocol.limits.duration_s - self._ran())
        now, bursts = self.clock.now(), len(self.bursts)
        self.show(
            Moment(
                now,
                self.round,
                self.last,
                events,
                bursts,
                dict(self.light.dose_ms),
                self.light.reference(self._ran()),
                left_s,
                text,
            )
        )

    def _ran(self) -> float:
        return self.ran_s + self.clock.now() - self.resumed_s

    def _interval(self, seconds: float) -> float:
        """A film that is replayed has no frames between its own."""
        return max(seconds, self.microscope.step_s)

    def _forbids(self, name: str) -> str:
        """Why no further burst may begin on a field, "" if it may."""
        action = self.protocol.action
        if not self.light.allows(name, action.frames * self.light.of_frame):
            return "this field would have more light than it may have"
        frame_s = 1 + self.light.slices * sum(one.exposure_ms for one in action.channels) / 1000
        if self.bursts and (len(self.bursts) + 1) * frame_s > SHARE_OF_TIME * self._interval(action.interval_s):
            return f"{len(self.bursts)} bursts run already, more would be late"
        return ""

    def _taken(self, burst: Burst) -> Taken:
        action, microscope = self.protocol.action, self.microscope
        step_um, size = action.z_step_um, microscope.pixel_size_um
        return Taken(self.clock.now(), burst.place, action.channels, size, step_um, self._interval(action.interval_s))

    def _of_cell(self, event: Event) -> tuple[float, float]:
        """Place of the cell of an event, x and y in um; the middle of an image lies at the stage's position."""
        (rows, columns), size = self.microscope.shape, self.microscope.pixel_size_um
        x = event.position.x_um + (event.x_px - (columns - 1) / 2) * size
        return x, event.position.y_um + (event.y_px - (rows - 1) / 2) * size

    def _centred(self, event: Event) -> Position:
        """Where to film an event: with its cell in the middle if that is wished and within the limits."""
        if not (self.protocol.action.centre and self.microscope.moves):
            return event.position
        place = replace(event.position, **dict(zip(("x_um", "y_um"), self._of_cell(event), strict=True)))
        try:
            self.microscope.check(place)
        except StageError:
            return event.position
        return place

    def _shows(self, burst: Burst, where: tuple[float, float]) -> bool:
        """Whether a cell lies well inside the images of a burst."""
        (rows, columns), size = self.microscope.shape, self.microscope.pixel_size_um or 1.0
        away = np.abs(np.subtract(where, (burst.place.x_um, burst.place.y_um))) / size
        return bool(away[0] < 0.45 * columns and away[1] < 0.45 * rows)


def _taken_by(holder: Holder) -> MicroscopeError:
    return MicroscopeError(f"This experiment is being done by {holder}. Choose another folder, or end that one first.")
