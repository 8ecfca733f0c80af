"""The folder of an experiment: every file in it is whole, and from it the experiment goes on after a stop or a crash.

experiment/
  protocol.json      what was asked for
  state.json         how far it is; microscope.json, culture.npz: what the microscope needs to know to go on
  surveys/           r0003_A1.ome.tif (C, Y, X)
  bursts/            b0002_A1_cell17.ome.tif (T, Z, C, Y, X); while it runs its frames lie in a folder of that name
  surveys.csv  events.csv  notes.csv
"""

import errno
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from utils.errors import DataError, MicroscopeError
from utils.files import atomic, write_csv, write_json
from utils.microscope.protocol import Channel, Event, Position, Protocol

PROTOCOL, STATE = "protocol.json", "state.json"
SURVEYS, EVENTS, NOTES = "surveys.csv", "events.csv", "notes.csv"
EVENT_COLUMNS = [
    *("event", "cell", "survey", "time_s", "position", "x_um", "y_um", "class", "probability"),
    *("burst", "burst_start_s", "frames", "complete", "file"),
]
SURVEY_COLUMNS = ["survey", "time_s", "position", "x_um", "y_um", "z_um", "dose_ms", "file"]
NOTE_COLUMNS = ["time_s", "position", "what"]
LIMITS = "limits"  # of the protocol
BURST = "burst.json"  # beside the frames of a burst that runs
PART = "t{:04d}.ome.tif"
SPARE_MB = 50.0  # left free on the disk for tables and the state


class DiskFull(DataError):
    """An image could not be written: the disk, or what the form allows, is full."""


@dataclass(frozen=True)
class Taken:
    """Where and when an image was taken, for the file."""

    time_s: float
    position: Position
    channels: tuple[Channel, ...]
    pixel_size_um: float
    z_step_um: float = 0.0
    interval_s: float = 0.0


class ExperimentFolder:
    """Files of one experiment.

    Parameters
    ----------
    path
        Made where it is not there.
    disk_mb
        What its images may take.

    Raises
    ------
    DataError
        A table or the state in it cannot be read.
    """

    def __init__(self, path: Path, disk_mb: float = float("inf")):
        self.path, self.disk_mb = Path(path), disk_mb
        self.used_mb = sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file()) / 1e6
        self._tables = {name: _rows(self.path / name) for name in (SURVEYS, EVENTS, NOTES)}
        self._changed: set[str] = set()
        self._short: dict[str, str] = {}
        self._columns = {SURVEYS: SURVEY_COLUMNS, EVENTS: EVENT_COLUMNS, NOTES: NOTE_COLUMNS}

    def begin(self, protocol: Protocol) -> dict[str, Any]:
        """State to go on from, {} for a new experiment; MicroscopeError where it was begun with another protocol.

        Limits may be others than before.
        """
        names = [one.name for one in protocol.survey.positions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise MicroscopeError(f"Several positions are called {twice[0]}. Give each a name of its own.")
        short = [safe(name) for name in names]  # of two that look alike in a file's name, each has its number
        self._short = {
            a: b if short.count(b) == 1 else f"{b}_{i}" for i, (a, b) in enumerate(zip(names, short, strict=True))
        }
        wanted = json.loads(json.dumps(asdict(protocol)), parse_constant=lambda _: None)  # as it is read again
        before = read_json(self.path / PROTOCOL)
        differ = ", ".join(name for name in wanted if wanted[name] != before.get(name) and name != LIMITS)
        if before and differ:
            raise MicroscopeError(
                f"{self.path} holds an experiment with another protocol (it differs in: {differ}). Choose another "
                "folder for this one, or the protocol of that one."
            )
        write_json(self.path / PROTOCOL, wanted)
        return read_json(self.path / STATE)

    def survey(self, number: int, taken: Taken, images: Mapping[str, np.ndarray], dose_ms: float) -> str:
        """Write the images of a survey and its row; the file's name within the folder."""
        name = f"surveys/r{number:04d}_{self._short[taken.position.name]}.ome.tif"
        self.image(name, np.stack(list(images.values())), "CYX", taken)
        place = taken.position
        values = (number, taken.time_s, place.name, place.x_um, place.y_um, place.z_um, dose_ms, name)
        self.row(SURVEYS, dict(zip(SURVEY_COLUMNS, values, strict=True)), ("survey", "position"))
        return name

    def image(self, name: str, pixels: np.ndarray, axes: str, taken: Taken, compressed: bool = True) -> None:
        """Write an OME-TIFF, whole or not at all; DiskFull where there is no room for it."""
        path, size = self.path / name, pixels.nbytes / 1e6
        self._make_room(path, size)
        try:
            with atomic(path) as temporary:
                tifffile.imwrite(temporary, pixels, **_ome(axes, [taken], pixels.shape, compressed))
        except DataError as error:
            _full(error)
        self.used_mb += path.stat().st_size / 1e6

    def event(self, event: Event, row: Mapping[str, Any]) -> None:
        """Write or change the row of an event; `row` has what became of it."""
        base = {"cell": event.cell, "survey": event.survey, "time_s": event.time_s, "position": event.position.name}
        base |= {"class": event.name, "probability": event.probability}
        keys = ("survey", "position", "cell")
        self.row(EVENTS, base | dict(row), keys, number="event")

    def note(self, time_s: float, position: str, what: str) -> None:
        """Write down what went wrong or was left out."""
        self.row(NOTES, {"time_s": time_s, "position": position, "what": what})

    def row(self, table: str, values: Mapping[str, Any], keys: Sequence[str] = (), number: str = "") -> None:
        """Add a row to a table, or change the one that agrees in `keys`; `save` writes it."""
        rows = self._tables[table]
        same = [one for one in rows if keys and all(one[key] == values[key] for key in keys)]
        if same:
            same[0].update(values)
        else:
            rows.append(({number: len(rows) + 1} if number else {}) | dict(values))
        self._changed.add(table)

    def table(self, name: str) -> pd.DataFrame:
        """Rows of a table as they are now."""
        return pd.DataFrame(self._tables[name], columns=self._columns[name])

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the tables that changed, then how far the experiment is."""
        for name in sorted(self._changed):
            write_csv(self.path / name, self.table(name))
        self._changed.clear()
        write_json(self.path / STATE, dict(state))

    def begin_burst(self, name: str, taken: Taken) -> None:
        """Write down how a burst is taken, so that its frames can be joined whatever happens."""
        write_json(self._frames(name) / BURST, asdict(taken))

    def frame(self, name: str, number: int, pixels: np.ndarray, taken: Taken) -> None:
        """Write frame `number` of a burst, (Z, C, Y, X)."""
        part = f"{self.frames_of(name)}/{PART.format(number)}"
        self.image(part, pixels[None], "TZCYX", taken, compressed=False)  # it is read again soon

    def join(self, name: str) -> int:
        """Make one film of the frames of a burst, with one of them at a time in memory; the number of frames."""
        folder = self._frames(name)
        parts = sorted(folder.glob("t*.ome.tif"))
        if parts:
            self._make_room(self.path / name, folder_mb(folder))
            self._write_film(self.path / name, parts, read_json(folder / BURST))
            self.used_mb += (self.path / name).stat().st_size / 1e6
        self.drop(name)
        return len(parts)

    def unfinished(self) -> list[str]:
        """Names of bursts whose frames were not joined: the program was killed."""
        return sorted(f"bursts/{one.parent.name}.ome.tif" for one in self.path.glob(f"bursts/*/{BURST}"))

    def frames_of(self, name: str) -> str:
        """Folder, within that of the experiment, of the frames of a burst."""
        return self._frames(name).relative_to(self.path).as_posix()

    def _frames(self, name: str) -> Path:
        """Folder of the frames of a burst while it runs."""
        return self.path / name.removesuffix(".ome.tif")

    def _write_film(self, path: Path, parts: Sequence[Path], about: Mapping[str, Any]) -> None:
        place, channels = Position(**about["position"]), tuple(Channel(**one) for one in about["channels"])
        with tifffile.TiffFile(parts[0]) as file:
            planes, dtype = len(file.pages), file.pages[0].dtype
            shape = (len(parts), planes // len(channels), len(channels), *file.pages[0].shape)
        base = Taken(**(about | {"position": place, "channels": channels}))
        options = _ome("TZCYX", [replace(base, time_s=_time_of(part)) for part in parts], shape)
        try:
            with atomic(path) as temporary:
                frames = (page for part in parts for page in _pages(part))
                tifffile.imwrite(temporary, frames, shape=shape, dtype=dtype, **options)
        except DataError as error:
            _full(error)

    def drop(self, name: str) -> None:
        """Remove the frames of a burst that could not be filed."""
        folder = self._frames(name)
        self.used_mb -= folder_mb(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, path: Path, size_mb: float) -> None:
        """Refuse an image before it is written."""
        if self.used_mb + size_mb > self.disk_mb:
            raise DiskFull(
                f"{path} was not written: the images of the experiment would take more than {self.disk_mb:g} MB. Allow "
                "more, then run the cell again."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.path).free / 1e6 < size_mb + SPARE_MB:
            raise DiskFull(f"{path} was not written: the disk is full. Free some space, then run the cell again.")


def safe(name: str) -> str:
    """Name of a position as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-+" else "-" for letter in name)[:60] or "position"


def folder_mb(folder: Path) -> float:
    """Size of the files in a folder."""
    return sum(one.stat().st_size for one in folder.glob("*")) / 1e6 if folder.is_dir() else 0.0


def _ome(axes: str, taken: Sequence[Taken], shape: tuple[int, ...], compressed: bool = True) -> dict[str, Any]:
    """Arguments of `tifffile.imwrite` for an OME-TIFF that says where, when and how each plane was taken.

    Planes are written in the order of `axes`, which begins with T or C; `taken` has one entry for each T.
    """
    first, sizes = taken[0], dict(zip(axes, shape, strict=True))
    slices = sizes.get("Z", 1)
    planes = [(one, z, channel) for one in taken for z in range(slices) for channel in one.channels]
    plane = {
        "DeltaT": [one.time_s for one, _, _ in planes],
        "ExposureTime": [channel.exposure_ms for _, _, channel in planes],
        "PositionX": [one.position.x_um for one, _, _ in planes],
        "PositionY": [one.position.y_um for one, _, _ in planes],
        "PositionZ": [one.position.z_um + (z - (slices - 1) / 2) * one.z_step_um for one, z, _ in planes],
    }
    units = {"DeltaT": "s", "ExposureTime": "ms", "PositionX": "µm", "PositionY": "µm", "PositionZ": "µm"}
    plane |= {f"{name}Unit": [unit] * len(planes) for name, unit in units.items()}
    names = [channel.name for channel in first.channels]
    metadata = {"axes": axes, "Name": first.position.name, "Channel": {"Name": names}, "Plane": plane}
    options = {"ome": True, "photometric": "minisblack"}
    if compressed:
        options |= {"compression": "zlib", "compressionargs": {"level": 1}}  # ImageJ 1 does not undo a predictor
    if first.pixel_size_um:
        metadata |= {f"PhysicalSize{axis}": first.pixel_size_um for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        options |= {"resolution": (1e4 / first.pixel_size_um,) * 2, "resolutionunit": "CENTIMETER"}
    if first.z_step_um and slices > 1:
        metadata |= {"PhysicalSizeZ": first.z_step_um, "PhysicalSizeZUnit": "µm"}
    if first.interval_s and sizes.get("T", 1) > 1:
        metadata |= {"TimeIncrement": first.interval_s, "TimeIncrementUnit": "s"}
    return options | {"metadata": metadata}


def _pages(path: Path) -> Iterator[np.ndarray]:
    """Planes of a file, one after the other."""
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            yield page.asarray()


def _time_of(path: Path) -> float:
    """Time in seconds that the file of a frame says it was taken at."""
    with tifffile.TiffFile(path) as file:
        return float(re.search(r'DeltaT="([^"]+)"', file.ome_metadata)[1])


def _full(error: DataError) -> None:
    """Raise what `atomic` could not write as DiskFull where the disk is full."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise DiskFull(str(error)) from cause
    raise error


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table that is there already."""
    if not path.is_file():
        return []
    try:
        table = pd.read_csv(path, dtype={"position": str, "file": str, "what": str, "class": str, "complete": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Choose another folder for the experiment.") from error
    return [{key: None if value != value else value for key, value in row.items()} for row in table.to_dict("records")]


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file, {} where there is none."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Choose another folder for the experiment.") from error
