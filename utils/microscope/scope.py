"""A microscope through pymmcore-plus: its stage stays within limits, its light is on only while the camera exposes.

Positions are counted from where the stage and the focus stood when the microscope was opened, so that nothing moves far
by itself: bring the sample into view and into focus, then open it.
"""

import atexit
import math
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import MicroscopeError
from utils.files import write_json
from utils.microscope.protocol import Channel, Limits, Position

ANSWER_S = 20.0  # after the exposure, until a camera or a stage is taken for dead
ARRIVED_UM = 2.0  # a stage that stays further away than this has refused
FULL_SHARE, SOME_SHARE = 0.5, 0.005  # pixels at the camera's highest value: nothing to be seen; worth a remark
KEPT = "microscope.json"  # what `Microscope.keep` writes
SIMULATED = "simulated culture"  # name of the microscope whose sample is simulated
ONLY = "as it stands"  # channel of a microscope that has none to choose from
_open: "weakref.WeakSet[Microscope]" = weakref.WeakSet()


class FrameError(MicroscopeError):
    """A frame of the camera that did not come, or that shows nothing; the next one may be good."""


class StageError(MicroscopeError):
    """The stage would leave its limits, or did not go where it was sent."""


class LightError(MicroscopeError):
    """The light could not be switched off."""


class Scope:
    """What an experiment asks of a microscope, or of what stands for one.

    Attributes
    ----------
    name : str
        For the page.
    channels : list of str
    pixel_size_um : float
        0 where it is not known.
    shape : tuple of int
        Rows and columns of an image.
    limits : Limits
        Where the stage may go.
    power : dict
        Strength of the light of a channel relative to full power, by which doses are counted; 1 where it is not named.
    remark : str
        About the last frame, "" if there is nothing to say.
    moves : bool
        Whether there is a stage.
    step_s : float
        Time between two frames that can be had; 0: any.
    """

    name, channels, pixel_size_um, shape = "", [], 0.0, (0, 0)
    limits, power, remark, moves, step_s = Limits(), {}, "", False, 0.0

    def __enter__(self) -> "Scope":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Switch the light off for good."""

    def describe(self) -> pd.DataFrame:
        """What was found, one row for each part: part, found."""
        raise NotImplementedError

    def check(self, position: Position) -> None:
        """StageError if the stage may or can not go to a position; nothing moves."""
        raise NotImplementedError

    def move(self, position: Position) -> None:
        """Go to a position."""
        raise NotImplementedError

    def snap(self, channel: Channel) -> np.ndarray:
        """One frame, (Y, X); the light is off after it."""
        raise NotImplementedError

    def dark(self) -> bool:
        """Whether the light is off."""
        return True

    def darken(self) -> None:
        """Switch the light off."""

    def dose(self, channel: Channel) -> float:
        """Light of one exposure, in ms of full power."""
        return channel.exposure_ms * self.power.get(channel.name, 1.0)

    def begin(self, now: Callable[[], float]) -> None:
        """Tell what time it is in the experiment: what is simulated or replayed needs to know."""

    def is_over(self, time_s: float) -> bool:
        """Whether there is nothing more to be seen: a film that is replayed ends."""
        return False

    def keep(self, folder: Path) -> None:
        """Write what a continued experiment needs to know into `folder`."""

    def restore(self, saved: Mapping[str, Any], folder: Path) -> None:
        """Go on as `keep` wrote it."""

    def truth(self) -> pd.DataFrame | None:
        """What a simulated sample really did; None for a real one."""
        return None


class Microscope(Scope):
    """Camera, stage, focus and light of a Micro-Manager core. Use it in a `with` block: the light is off after it.

    Parameters
    ----------
    core
        A loaded `pymmcore_plus.CMMCorePlus`.
    limits
        Where the stage may go, counted from where it stands now.
    name, power
        See `Scope`.
    """

    def __init__(
        self, core: Any, limits: Limits | None = None, name: str = "", power: Mapping[str, float] | None = None
    ):
        self.core, self.limits, self.name = core, limits or Limits(), name
        self.power, self.remark = dict(power or {}), ""
        self._switch, self._over, self._waiting = threading.Lock(), False, None
        self._turn = 0  # of the exposure that may light the sample
        self._shutters = _shutters(core)
        core.setAutoShutter(False)
        self.darken()
        _open.add(self)
        self._camera = core.getCameraDevice()
        if not self._camera:
            raise MicroscopeError(f"{name} has no camera. Choose a configuration with a camera.")
        self._stage, self._focus = core.getXYStageDevice(), core.getFocusDevice()
        self.moves = bool(self._stage)
        self._group = core.getChannelGroup()
        names = list(core.getAvailableConfigs(self._group)) if self._group else []
        self.channels = names or [ONLY]
        self.pixel_size_um = float(core.getPixelSizeUm())
        self.shape = (int(core.getImageHeight()), int(core.getImageWidth()))
        self.origin = self.stands()
        self._channel = None

    def close(self) -> None:
        """Switch the light off for good."""
        self._over = True
        self.darken()
        _open.discard(self)

    def describe(self) -> pd.DataFrame:
        """What was found, one row for each part."""
        x, y, z = self.stands()
        size = f"{self.pixel_size_um:.4g} um" if self.pixel_size_um else "unknown"
        rows = [
            ("Microscope", self.name),
            ("Camera", f"{self._camera}, {self.shape[1]} x {self.shape[0]} pixels"),
            ("Pixel size", size),
            ("Channels", ", ".join(self.channels)),
            (
                "Stage",
                f"{self._stage}, at x {x:.1f} um, y {y:.1f} um" if self._stage else "none: it looks at one place",
            ),
            ("Focus", f"{self._focus}, at {z:.1f} um" if self._focus else "none: no z-slices"),
            ("Light", ", ".join(self._shutters) or "no shutter: this program cannot switch the light off"),
        ]
        return pd.DataFrame(rows, columns=["part", "found"])

    def check(self, position: Position) -> None:
        """StageError if the stage may or can not go to a position; nothing moves."""
        where = {"x_um": position.x_um, "y_um": position.y_um, "z_um": position.z_um}
        for axis, value in where.items():
            low, high = getattr(self.limits, axis)
            if not (math.isfinite(value) and low <= value <= high):
                raise StageError(
                    f"Position {position.name} lies at {axis[0]} = {value:.1f} um, outside the limits {low:.1f} to "
                    f"{high:.1f} um, so the stage was not moved. Change the position or the limits."
                )
        if not self._stage and (position.x_um or position.y_um):
            raise StageError(
                f"{self.name} has no stage for x and y, so it cannot go to {position.name}. Use one place."
            )
        if not self._focus and position.z_um:
            raise StageError(f"{self.name} has no motor for the focus, so it takes no z-slices. Take one slice.")

    def move(self, position: Position) -> None:
        """Go to a position within the limits; StageError before anything moves, or if the stage does not arrive."""
        self.check(position)
        x, y, z = self.origin
        if self._stage:
            self._go(self._stage, position, (x + position.x_um, y + position.y_um), self.core.setXYPosition)
        if self._focus:
            self._go(self._focus, position, (z + position.z_um,), self.core.setPosition)

    def stands(self) -> tuple[float, float, float]:
        """Where stage and focus stand now in their own coordinates: x, y, z in um."""
        x, y = self.core.getXYPosition() if self._stage else (0.0, 0.0)
        return float(x), float(y), float(self.core.getPosition()) if self._focus else 0.0

    def snap(self, channel: Channel) -> np.ndarray:
        """Light the sample for one exposure and return the frame, (Y, X) uint8 or uint16; the light is off after it.

        FrameError where the camera does not answer in time, or gives a black or saturated frame.
        """
        if channel.name not in self.channels:
            raise MicroscopeError(
                f"{self.name} has no channel {channel.name}. It has {', '.join(self.channels)}: choose one of these."
            )
        if not (math.isfinite(channel.exposure_ms) and channel.exposure_ms > 0):
            raise MicroscopeError(f"An exposure of {channel.exposure_ms} ms is none. Type a number above 0.")
        try:
            turn = self._turn
            frame = self._in_time(lambda: self._exposed(channel, turn), channel.exposure_ms / 1000 + ANSWER_S)
        finally:
            self._turn += 1  # what was given up must not light the sample later
            self.darken()
        return self._seen(frame, channel)

    def dark(self) -> bool:
        """Whether all shutters say that they are closed."""
        return not any(self.core.getShutterOpen(one) for one in self._shutters)

    def darken(self) -> None:
        """Close all shutters; LightError where one stays open."""
        failed = []
        for one in self._shutters:
            for _ in range(3):
                with suppress(Exception):
                    self.core.setShutterOpen(one, False)
                    if not self.core.getShutterOpen(one):
                        break
            else:
                failed.append(one)
        if failed:
            raise LightError(f"The light could not be switched off ({', '.join(failed)}). Switch the lamp off by hand.")

    def keep(self, folder: Path) -> None:
        """Write what a continued experiment needs to know of this microscope into `folder`."""
        write_json(folder / KEPT, {"name": self.name, "origin": self.origin})

    def restore(self, saved: Mapping[str, Any], folder: Path) -> None:
        """Go on as `keep` wrote it: positions are counted from where they were.

        StageError where the stage stands outside of the limits then: it forgot where it was, or the sample is another.
        """
        origin = tuple(float(one) for one in saved.get("origin", self.origin))
        for axis, stands, began in zip(("x_um", "y_um", "z_um"), self.stands(), origin, strict=True):
            low, high = getattr(self.limits, axis)
            if not low - ARRIVED_UM <= stands - began <= high + ARRIVED_UM:
                raise StageError(
                    f"{axis[0]} stands at {stands:.0f} um, {stands - began:.0f} um from where the experiment began and "
                    f"outside of where this experiment may go ({low:.0f} to {high:.0f} um), so nothing was moved. "
                    "Bring the sample to where it was, or choose a new experiment."
                )
        self.origin = origin

    def _go(self, device: str, position: Position, target: tuple[float, ...], send: Callable[..., None]) -> None:
        try:
            send(device, *target)
            self.core.waitForDevice(device)
            stands = self.core.getXYPosition(device) if len(target) == 2 else (self.core.getPosition(device),)
        except RuntimeError as error:
            raise StageError(f"{device} did not go to position {position.name}: {error}. Look at the stage.") from error
        away_um = np.abs(np.subtract(stands, target)).max()
        if not away_um <= ARRIVED_UM:
            raise StageError(
                f"{device} was sent to position {position.name} but stopped {away_um:.0f} um away. Look whether "
                "something is in its way."
            )

    def _exposed(self, channel: Channel, turn: int) -> np.ndarray:
        """One exposure. It runs in a thread of its own, which no stop button interrupts between light on and off."""
        core = self.core
        if self._group and channel.name != self._channel and channel.name != ONLY:
            self._channel = None
            core.setConfig(self._group, channel.name)
            core.waitForConfig(self._group, channel.name)
            self._channel = channel.name
        core.setExposure(channel.exposure_ms)
        shutter = core.getShutterDevice()
        try:
            with self._switch:
                if self._over:
                    raise MicroscopeError("The microscope was closed. Run the cell that opens it again.")
                if shutter and turn == self._turn:
                    core.setShutterOpen(shutter, True)
            if shutter:
                core.waitForDevice(shutter)
            if turn != self._turn:  # looked at again: it may have been given up while the shutter opened
                raise FrameError("This exposure came too late.")
            core.snapImage()
        finally:
            if shutter:
                core.setShutterOpen(shutter, False)
        return core.getImage()

    def _in_time(self, work: Callable[[], np.ndarray], seconds: float) -> np.ndarray:
        """Result of `work`, done in a thread; FrameError where it takes too long or fails."""
        if self._waiting is not None and self._waiting.is_alive():
            raise FrameError(f"The camera {self._camera} still does not answer. Switch it off and on again.")
        answer: list = []
        self._waiting = threading.Thread(target=_answer, args=(work, answer), daemon=True)
        self._waiting.start()
        try:
            self._waiting.join(seconds)
        except BaseException:  # the stop button: the exposure ends first, so that its light is off
            self._waiting.join(seconds)
            raise
        if not answer:
            raise FrameError(
                f"The camera {self._camera} did not answer within {seconds:.0f} seconds. Look at its cable."
            )
        frame, error = answer[0]
        if isinstance(error, MicroscopeError):
            raise error
        if error is not None:
            raise FrameError(f"The camera {self._camera} gave no frame: {error}") from error
        return frame

    def _seen(self, frame: np.ndarray, channel: Channel) -> np.ndarray:
        """The frame if there is something to see in it."""
        what, self.remark = f"The frame of channel {channel.name}", ""
        if frame.ndim != 2 or frame.size == 0:
            raise FrameError(f"{what} is no grey image. Set the camera to grey values.")
        full = 2 ** min(int(self.core.getImageBitDepth()), 8 * frame.dtype.itemsize) - 1
        share = float(np.mean(frame >= full))
        if share > FULL_SHARE:
            raise FrameError(f"{what} is saturated ({100 * share:.0f} % of its pixels). Expose for a shorter time.")
        if frame.max() == frame.min():
            raise FrameError(f"{what} is black: all pixels are {frame.max()}. Look at the lamp and the camera.")
        if share > SOME_SHARE:
            self.remark = f"{what} has {100 * share:.1f} % saturated pixels: expose for a shorter time."
        return frame


def _shutters(core: Any) -> list[str]:
    """Names of all shutters."""
    from pymmcore_plus import DeviceType

    return [str(one) for one in core.getLoadedDevicesOfType(DeviceType.ShutterDevice)]


def _answer(work: Callable[[], np.ndarray], answer: list) -> None:
    try:
        answer.append((work(), None))
    except BaseException as error:  # handed on to whoever waits
        answer.append((None, error))


@atexit.register
def _darken_all() -> None:
    """Last act of the program: whatever happened, no light stays on."""
    for one in list(_open):
        with suppress(Exception):
            one.close()
