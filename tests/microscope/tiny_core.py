"""A tiny Micro-Manager core in Python, with faults at will: images of 24 x 32 pixels, all calls are counted."""

import time
from pathlib import Path

import numpy as np

from utils.microscope.protocol import Acting, Channel, Event, Limits, Looking, Position, Protocol, Survey, Waiting
from utils.microscope.scope import Microscope

ROWS, COLUMNS = 24, 32
LIGHT = "Lamp"


class TinyCore:
    """The part of `CMMCorePlus` that `Microscope` uses.

    `fault` is called with the name of each method and how often any was called before; what it raises is raised.
    `lamp` is a file, if given, in which the state of the lamp survives the program, as that of a real one does.
    """

    def __init__(self, fault=None, lamp: Path | None = None):
        self.fault, self.lamp, self.calls = fault, lamp, 0
        self.place, self.height, self.exposure, self.lit = (500.0, -200.0), 30.0, 10.0, False
        self.visited, self.exposed = [], 0
        self.picture = lambda core: np.random.default_rng(core.exposed).integers(100, 900, (ROWS, COLUMNS), np.uint16)

    def __getattribute__(self, name):
        found = object.__getattribute__(self, name)
        if not callable(found) or name[:3] not in ("get", "set", "wai", "sna"):
            return found

        def counted(*given):
            self.calls += 1
            if self.fault is not None:
                self.fault(name, self.calls)
            return found(*given)

        return counted

    def getLoadedDevicesOfType(self, kind):
        return (LIGHT,)

    def setAutoShutter(self, on):
        assert not on

    def getCameraDevice(self):
        return "Camera"

    def getXYStageDevice(self):
        return "Stage"

    def getFocusDevice(self):
        return "Focus"

    def getShutterDevice(self):
        return LIGHT

    def getChannelGroup(self):
        return "Channel"

    def getAvailableConfigs(self, group):
        return ("green", "red")

    def getPixelSizeUm(self):
        return 0.5

    def getImageHeight(self):
        return ROWS

    def getImageWidth(self):
        return COLUMNS

    def getImageBitDepth(self):
        return 16

    def getXYPosition(self, *_):
        return self.place

    def getPosition(self, *_):
        return self.height

    def setXYPosition(self, device, x, y):
        self.place = (x, y)
        self.visited.append((x, y, self.height))

    def setPosition(self, device, z):
        self.height = z
        self.visited.append((*self.place, z))

    def waitForDevice(self, device):
        pass

    def setConfig(self, group, name):
        assert name in ("green", "red")

    def waitForConfig(self, group, name):
        pass

    def setExposure(self, ms):
        self.exposure = ms

    def setShutterOpen(self, device, on):
        self.lit = bool(on)
        if self.lamp is not None:
            new = self.lamp.with_suffix(".new")
            new.write_text("on" if on else "off")
            new.replace(self.lamp)  # a lamp is on or off, never in between

    def getShutterOpen(self, device):
        return self.lit if self.lamp is None else self.lamp.read_text() == "on"

    def snapImage(self):
        assert self.getShutterOpen(LIGHT)
        self.exposed += 1

    def getImage(self):
        return self.picture(self)


class Fires:
    """Watcher that sees a cell in the middle of the image at given surveys; it remembers how often it looked."""

    def __init__(self, surveys=(1,), cells=1):
        self.surveys, self.cells, self.looked = set(surveys), cells, 0

    def look(self, survey: Survey) -> list[Event]:
        self.looked += 1
        if survey.number not in self.surveys:
            return []
        base = (survey.number, survey.time_s, survey.position)
        return [Event(*base, 100 * survey.number + i, 12.0, 20.0, "metaphase", 0.9) for i in range(self.cells)]

    def state(self):
        return {"looked": self.looked}

    def restore(self, state):
        self.looked = state["looked"]


class Slow(Fires):
    """Watcher that takes its time, so that a program can be killed while it works."""

    def look(self, survey):
        time.sleep(0.01)
        return super().look(survey)


def tiny_microscope(fault=None, lamp=None, limits=None) -> tuple[Microscope, TinyCore]:
    core = TinyCore(lamp=lamp)
    microscope = Microscope(core, limits or Limits(), "tiny microscope")
    core.calls, core.fault = 0, fault
    return microscope, core


def tiny_protocol(**changes) -> Protocol:
    """Two positions every 60 s for 10 minutes; bursts of 3 frames every 20 s, 2 slices, 2 channels."""
    survey = Looking((Channel("green", 10),), 60.0, (Position("A1", 0, 0), Position("A 2", 40, 10, 1)))
    action = Acting((Channel("green", 30), Channel("red", 20)), 3, 20.0, 2, 1.0, True)
    limits = Limits(duration_s=600.0, x_um=(-60, 60), y_um=(-60, 60), z_um=(-5, 5))
    return Protocol(**({"survey": survey, "event": Waiting(), "action": action, "limits": limits} | changes))


def raised_by(work):
    """What ended it, None if nothing did."""
    try:
        work()
    except BaseException as error:
        return error
    return None
