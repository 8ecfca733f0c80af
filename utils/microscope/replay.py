"""A recorded film in place of a microscope: protocols are tuned on it before anything real is lit."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from utils.data.folders import find_images
from utils.errors import DataError, FormError
from utils.forms.folders import natural_key
from utils.images.stacks import Planes, read_planes
from utils.microscope.protocol import Channel, Limits, Position
from utils.microscope.scope import FrameError, Scope, StageError
from utils.paths import resolve

SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0, "h": 3600.0, "": 1.0}
TIFF = {".tif", ".tiff"}


class Replay(Scope):
    """A film of one place; a burst shows what was recorded then, for nothing can be looked at again.

    Parameters
    ----------
    path
        A TIFF file with the axes T, Y, X and at will C and Z (of which the middle slice is taken), or a folder of
        images in the order of their names.
    step_s
        Seconds between two frames; 0: as the file says.
    pixel_size_um
        0: as the file says.

    Raises
    ------
    DataError
        No film, or one that cannot be read.
    FormError
        Neither the file nor the form says how long a step is.
    """

    def __init__(self, path: str | Path, step_s: float = 0.0, pixel_size_um: float = 0.0):
        self.path = resolve(path)
        self._files = [_planes(one, pixel_size_um) for one in _film(self.path)]
        self._frames = [(one, number) for one in self._files for number in _numbers(one)]
        if len(self._frames) < 2:
            raise DataError(f"{self.path} holds a single image, but a film has several. Choose a stack or a folder.")
        self.step_s = step_s or _told_step(self._files[0].path)
        if not self.step_s:
            raise FormError(f"{self.path} does not say how much time lies between two frames: fill in the time step.")
        first = self._files[0].read(self._frames[0][1])
        self.shape, self.pixel_size_um = first.array.shape[:2], float(first.pixel_size_um or 0.0)
        count = first.array.shape[2]
        self.channels = ["recorded"] if count == 1 else [f"channel {i + 1}" for i in range(count)]
        self.name, self.limits, self._now, self._last = f"film {self.path.name}", Limits(), lambda: 0.0, None

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self._frames)

    def describe(self) -> pd.DataFrame:
        """What was found, one row for each part."""
        size = f"{self.pixel_size_um:.4g} um" if self.pixel_size_um else "unknown"
        rows = [
            ("Film", f"{self.path.name}, {self.frames} frames, one in {self.step_s:g} s"),
            ("Camera", f"{self.shape[1]} x {self.shape[0]} pixels"),
            ("Pixel size", size),
            ("Channels", ", ".join(self.channels)),
            ("Stage", "none: bursts are the recorded frames, of the same place"),
        ]
        return pd.DataFrame(rows, columns=["part", "found"])

    def check(self, position: Position) -> None:
        """StageError for any position but the one that was recorded."""
        if position.x_um or position.y_um or position.z_um:
            raise StageError(
                f"A film shows one place, so there is no position {position.name}. Use one position at 0, 0."
            )

    def move(self, position: Position) -> None:
        """Stay; StageError for another position."""
        self.check(position)

    def snap(self, channel: Channel) -> np.ndarray:
        """The frame that was recorded last at the time of the experiment, (Y, X)."""
        if channel.name not in self.channels:
            raise FormError(f"The film has no channel {channel.name}. It has {', '.join(self.channels)}.")
        number = min(self.number(self._now()), self.frames - 1)
        if self._last is None or self._last[0] != number:
            planes, plane = self._frames[number]
            try:
                self._last = (number, planes.read(plane).array)
            except DataError as error:
                raise FrameError(str(error)) from error
        frame = self._last[1][..., self.channels.index(channel.name)]
        if frame.shape != self.shape:
            raise FrameError(f"Frame {number + 1} of {self.path} has another size than the first one.")
        return np.array(frame)

    def number(self, time_s: float) -> int:
        """Number of the frame, from 0, at a time of the experiment."""
        return int((time_s + 1e-6) // self.step_s)

    def begin(self, now: Callable[[], float]) -> None:
        """Show the film by this clock."""
        self._now = now

    def is_over(self, time_s: float) -> bool:
        """Whether the last frame has been there for a whole step."""
        return self.number(time_s) >= self.frames


def _film(path: Path) -> list[Path]:
    """Files of a film in their order: parts of names that are numbers are ordered as numbers."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"There is no film {path}. Check its name for a typing error.")
    return sorted(find_images(path), key=lambda one: natural_key(one.name))


def _planes(path: Path, pixel_size_um: float) -> Planes:
    """Planes of a file; a stack that does not say what it stacks holds frames."""
    axes = "automatic"
    if path.suffix.lower() in TIFF and path.is_file():
        try:
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                told = [letter for letter, n in zip(series.axes, series.shape, strict=True) if n > 1 or letter in "YX"]
        except (OSError, ValueError, IndexError, tifffile.TiffFileError):
            told = []  # what is wrong with it is told where it is read
        if len(told) == 3 and told[0] in "QIZ":
            axes = "TYX"
    return read_planes(path, axes, pixel_size_um)


def _numbers(planes: Planes) -> list[int]:
    """Numbers of the planes that are the frames of a film: of slices the middle one."""
    if "Z" not in planes.axes:
        return list(range(len(planes)))
    slices = planes.shape[planes.axes.index("Z")]
    return [number for number in range(len(planes)) if planes.position(number)["Z"] == slices // 2 + 1]


def _told_step(path: Path) -> float:
    """Seconds between two frames as OME or ImageJ metadata say, 0 where they do not."""
    if path.suffix.lower() not in TIFF:
        return 0.0
    with tifffile.TiffFile(path) as file:
        imagej, ome = file.imagej_metadata or {}, file.ome_metadata or ""
    if found := re.search(r'TimeIncrement="([0-9.eE+-]+)"', ome):
        unit = re.search(r'TimeIncrementUnit="([^"]*)"', ome)
        return float(found[1]) * SECONDS.get(unit[1] if unit else "s", 0.0)
    times = sorted({float(one) for one in re.findall(r'DeltaT="([0-9.eE+-]+)"', ome)})
    if len(times) > 1:
        return float(np.median(np.diff(times)))
    return float(imagej.get("finterval") or 0.0) * SECONDS.get(str(imagej.get("tunit", "s")).strip().lower(), 1.0)
