"""The simulated culture under a microscope: its camera, stage, focus and light as Python devices of pymmcore-plus.

Importing this loads pymmcore-plus.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymmcore_plus.experimental.unicore import (
    ShutterDevice,
    SimpleCameraDevice,
    StageDevice,
    StateDevice,
    UniMMCore,
    XYStageDevice,
)

from data_samples.culture import Culture
from data_samples.culture_pictures import CHANNELS, OFFSET, PIXEL_SIZE_UM, READ_NOISE, SHAPE
from utils.microscope.protocol import Limits
from utils.microscope.scope import SIMULATED, Microscope

CULTURE = "culture.npz"
DENSITY = 300.0  # cells per square millimetre: about 40 in a field, two of which divide in an hour


class Lamp(ShutterDevice):
    """Light that is on or off."""

    def __init__(self):
        super().__init__()
        self.on = False

    def get_open(self) -> bool:
        """Whether it is on."""
        return self.on

    def set_open(self, open: bool) -> None:
        """Switch it."""
        self.on = bool(open)


class Table(XYStageDevice):
    """Stage that is at once where it is sent."""

    def __init__(self):
        super().__init__()
        self.place = (0.0, 0.0)

    def set_position_um(self, x: float, y: float) -> None:
        """Go there."""
        self.place = (float(x), float(y))

    def get_position_um(self) -> tuple[float, float]:
        """Where it is."""
        return self.place

    def home(self) -> None:
        """Go to the middle."""
        self.place = (0.0, 0.0)

    def stop(self) -> None:
        """It is never on its way."""

    def set_origin_x(self) -> None:
        """The middle of the dish stays the origin."""

    set_origin_y = set_origin_x


class Focus(StageDevice):
    """Motor of the focus."""

    def __init__(self):
        super().__init__()
        self.height = 0.0

    def set_position_um(self, val: float) -> None:
        """Go there."""
        self.height = float(val)

    def get_position_um(self) -> float:
        """Where it is."""
        return self.height

    def home(self) -> None:
        """Go to where the focus was at the start."""
        self.height = 0.0

    def stop(self) -> None:
        """It is never on its way."""

    def set_origin(self) -> None:
        """The focus at the start stays the origin."""


class Filters(StateDevice):
    """Wheel with a filter for each channel."""

    def __init__(self):
        super().__init__(dict(enumerate(CHANNELS)))
        self.position = 0

    def get_state(self) -> int:
        """Number of the filter."""
        return self.position

    def set_state(self, position: int) -> None:
        """Turn the wheel."""
        self.position = int(position)


class Eye(SimpleCameraDevice):
    """Camera over the culture; what it lights counts."""

    def __init__(self, culture: Culture, lamp: Lamp, table: Table, focus: Focus, filters: Filters):
        super().__init__()
        self.culture, self.lamp, self.table, self.focus, self.filters = culture, lamp, table, focus, filters
        self.exposure, self.now = 10.0, lambda: self.culture.time_s
        self._noise = np.random.default_rng(0)

    def get_exposure(self) -> float:
        """Milliseconds."""
        return self.exposure

    def set_exposure(self, exposure: float) -> None:
        """Milliseconds."""
        self.exposure = float(exposure)

    def sensor_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return SHAPE

    def dtype(self) -> type:
        """16 bits."""
        return np.uint16

    def snap(self, buffer: np.ndarray) -> Mapping:
        """Fill the buffer with what is to be seen now, nothing but noise where the lamp is off."""
        self.culture.advance(self.now())
        (x, y), channel = self.table.place, CHANNELS[self.filters.position]
        if self.lamp.on:
            buffer[:] = self.culture.image(x, y, self.focus.height, channel, self.exposure)
            self.culture.light(x, y, channel, self.exposure)
        else:
            buffer[:] = np.rint(self._noise.normal(OFFSET, READ_NOISE, SHAPE)).clip(0)
        return {}


class SimulatedMicroscope(Microscope):
    """Microscope over a simulated culture, whose time is that of the experiment."""

    def __init__(self, core: Any, eye: Eye, limits: Limits | None):
        super().__init__(core, limits, SIMULATED)
        self.eye = eye

    @property
    def culture(self) -> Culture:
        """The sample."""
        return self.eye.culture

    def begin(self, now: Callable[[], float]) -> None:
        """Let the culture live by this clock."""
        self.eye.now = now

    def keep(self, folder: Path) -> None:
        """Write the culture, too."""
        super().keep(folder)
        self.culture.save(folder / CULTURE)

    def restore(self, saved: Mapping[str, Any], folder: Path) -> None:
        """Go on with the culture as it was."""
        super().restore(saved, folder)
        if (folder / CULTURE).is_file():
            self.eye.culture = Culture.load(folder / CULTURE)

    def truth(self) -> pd.DataFrame:
        """What the cells really did, see `data_samples.culture.Culture.truth`."""
        return self.culture.truth()


def simulated_microscope(limits: Limits | None = None, **culture: Any) -> SimulatedMicroscope:
    """Microscope over a new culture, see `data_samples.culture.Culture` for what may be given."""
    core = UniMMCore()
    lamp, table, focus, filters = Lamp(), Table(), Focus(), Filters()
    eye = Eye(Culture(**({"density": DENSITY} | culture)), lamp, table, focus, filters)
    parts = {"Camera": eye, "Stage": table, "Focus": focus, "Lamp": lamp, "Filters": filters}
    for label, device in parts.items():
        core.loadPyDevice(label, device)
    core.initializeAllDevices()
    core.setCameraDevice("Camera")
    core.setXYStageDevice("Stage")
    core.setFocusDevice("Focus")
    core.setShutterDevice("Lamp")
    for channel in CHANNELS:
        core.defineConfig("Channel", channel, "Filters", "Label", channel)
    core.setChannelGroup("Channel")
    core.definePixelSizeConfig("Objective")
    core.setPixelSizeUm("Objective", PIXEL_SIZE_UM)
    return SimulatedMicroscope(core, eye, limits)
