"""What a microscope is asked to do: look at every position now and then, act on an event, stay within limits.

Also the few things that the parts of an experiment hand to each other: a position, a survey, an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from utils.errors import FormError

BEFORE = ("prophase", "prometaphase", "metaphase")  # classes of the sample `mitosis` before anaphase
CLEAR = BEFORE[1:]  # those that are not easily mistaken: a prophase looks much like a nucleus at rest


@dataclass(frozen=True)
class Position:
    """A place of the stage, in um."""

    name: str
    x_um: float
    y_um: float
    z_um: float = 0.0


@dataclass(frozen=True)
class Channel:
    """A channel by its name at the microscope, and how long it is exposed."""

    name: str
    exposure_ms: float


@dataclass(frozen=True)
class Survey:
    """One look at one position.

    Attributes
    ----------
    number
        Round of the survey, from 0; all positions of a round share it.
    time_s
        Since the experiment began.
    images
        Channel -> (Y, X) uint16.
    """

    number: int
    time_s: float
    position: Position
    pixel_size_um: float
    images: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Event:
    """What was waited for was seen: in cell (track) `cell` at `y_px`, `x_px` of the survey's image."""

    survey: int
    time_s: float
    position: Position
    cell: int
    y_px: float
    x_px: float
    name: str
    probability: float


@dataclass(frozen=True)
class Looking:
    """The survey: which channels, how often, where."""

    channels: tuple[Channel, ...]
    interval_s: float
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Waiting:
    """What counts as an event.

    Attributes
    ----------
    classes
        Classes or broad classes of the model; none: nothing is waited for, cells are only counted.
    probability
        Least probability of these classes together, after smoothing along the track.
    n_frames
        Surveys in a row in which it must be seen.
    size_um2
        Least and greatest area of the cell.
    """

    classes: tuple[str, ...] = CLEAR
    probability: float = 0.5
    n_frames: int = 1
    size_um2: tuple[float, float] = (0.0, float("inf"))


@dataclass(frozen=True)
class Acting:
    """The burst that follows an event: `frames` times `z_slices` images in each of `channels`."""

    channels: tuple[Channel, ...] = ()
    frames: int = 0
    interval_s: float = 60.0
    z_slices: int = 1
    z_step_um: float = 1.0
    centre: bool = True


@dataclass(frozen=True)
class Limits:
    """What is never exceeded; `dose_ms` is light on one field, in ms of full power."""

    dose_ms: float = float("inf")
    duration_s: float = float("inf")
    disk_mb: float = float("inf")
    x_um: tuple[float, float] = (-float("inf"), float("inf"))
    y_um: tuple[float, float] = (-float("inf"), float("inf"))
    z_um: tuple[float, float] = (-float("inf"), float("inf"))


@dataclass(frozen=True)
class Protocol:
    """Everything that an experiment is asked to do."""

    survey: Looking
    event: Waiting = field(default_factory=Waiting)
    action: Acting = field(default_factory=Acting)
    limits: Limits = field(default_factory=Limits)


def protocol_of(
    forms: Mapping[str, Mapping[str, Any]], channels: Sequence[str], field_um: tuple[float, float]
) -> Protocol:
    """Protocol by the values of the forms microscope, survey, event, action and limits.

    Parameters
    ----------
    forms
        {form: {field: value}}.
    channels
        Those of the microscope; the first stands for a field that is left empty.
    field_um
        Height and width of what the camera sees, by which a grid is spaced.

    Raises
    ------
    FormError
        Positions that cannot be read, a field that contradicts another.
    """
    survey, event, action, limits = (forms[name] for name in ("survey", "event", "action", "limits"))
    shown = names(survey["survey_channels"]) or [channels[0]]
    filmed = names(action["burst_channels"]) or shown
    if event["largest_area"] <= event["smallest_area"]:
        raise FormError("The field largest_area must be above the field smallest_area.")
    return Protocol(
        Looking(
            tuple(Channel(name, survey["survey_exposure"]) for name in shown),
            60 * survey["survey_interval"],
            positions_of(survey["positions"]) or grid(survey["grid_rows"], survey["grid_columns"], field_um),
        ),
        Waiting(
            tuple(names(event["event_classes"])),
            event["probability"],
            event["n_frames"],
            (event["smallest_area"], event["largest_area"]),
        ),
        Acting(
            tuple(Channel(name, action["burst_exposure"]) for name in filmed),
            action["burst_frames"] if names(event["event_classes"]) else 0,
            action["burst_interval"],
            action["z_slices"],
            action["z_step"],
            action["centre"],
        ),
        _limits(limits, stage_limits(forms["microscope"])),
    )


def stage_limits(microscope: Mapping[str, float]) -> Limits:
    """How far the stage may go from where it stands, by values of the form microscope."""
    side, up = microscope["stage_range"], microscope["focus_range"]
    return Limits(x_um=(-side, side), y_um=(-side, side), z_um=(-up, up))


def _limits(limits: Mapping[str, float], stage: Limits) -> Limits:
    """All limits; 0 in a field means none."""
    most = {
        "dose_ms": 1000 * limits["light_per_field"],
        "duration_s": 3600 * limits["duration"],
        "disk_mb": limits["disk"],
    }
    return replace(stage, **{name: value or float("inf") for name, value in most.items()})


def names(text: str) -> list[str]:
    """Names with commas between them, each once.

    >>> names("prophase, metaphase,, prophase")
    ['prophase', 'metaphase']
    """
    return list(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))


def positions_of(text: str) -> tuple[Position, ...]:
    """Places of the stage from "x, y; x, y, z; ...", in um; FormError where that cannot be read.

    >>> [(one.name, one.x_um, one.z_um) for one in positions_of("0, 0; 400, -20.5, 3")]
    [('1', 0.0, 0.0), ('2', 400.0, 3.0)]
    """
    found = []
    for one in (part for part in text.split(";") if part.strip()):
        try:
            numbers = [float(number) for number in one.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (2, 3) or not all(map(isfinite, numbers)):
            raise FormError(
                f"The field positions has {one.strip()!r}, but needs x, y in um for each place: 0, 0; 400, 0."
            )
        found.append(Position(str(len(found) + 1), *numbers))
    return tuple(found)


def grid(rows: int, columns: int, field_um: tuple[float, float]) -> tuple[Position, ...]:
    """Places side by side around where the stage stands, row by row, called A1, A2, ... B1 ...; there and back.

    >>> [(one.name, one.x_um, one.y_um) for one in grid(1, 2, (100.0, 200.0))]
    [('A1', -100.0, 0.0), ('A2', 100.0, 0.0)]
    """
    found = []
    for row in range(rows):
        way = range(columns) if row % 2 == 0 else reversed(range(columns))
        for column in way:
            x, y = (
                (i - (n - 1) / 2) * side for i, n, side in ((column, columns, field_um[1]), (row, rows, field_um[0]))
            )
            letter = chr(ord("A") + row) if row < 26 else f"R{row + 1}-"
            found.append(Position(f"{letter}{column + 1}", x, y))
    return tuple(found)


def lacking(protocol: Protocol, channels: Sequence[str], moves: bool = True) -> list[str]:
    """What a microscope lacks for a protocol, in sentences that say what to do; none where it has everything.

    Parameters
    ----------
    channels
        Those of the microscope.
    moves
        Whether it has a stage and a focus that move; a film has none.
    """
    asked = dict.fromkeys(one.name for one in (*protocol.survey.channels, *protocol.action.channels))
    found = [
        f"The microscope has no channel {name!r}. It has {', '.join(channels)}: write one of them."
        for name in asked
        if name not in channels
    ]
    if not moves and len(protocol.survey.positions) > 1:
        found.append("A film shows one place only. Choose a grid of 1 x 1 and leave the positions empty.")
    return [*found, *_out_of_reach(protocol), *_too_slow(protocol)]


def _out_of_reach(protocol: Protocol) -> list[str]:
    """Positions and slices that lie outside of the limits."""
    found, action, limits = [], protocol.action, protocol.limits
    for one in protocol.survey.positions:
        for axis in ("x_um", "y_um", "z_um"):
            (low, high), at = getattr(limits, axis), getattr(one, axis)
            if not low <= at <= high:
                found.append(
                    f"Position {one.name} lies at {axis[0]} = {at:.0f} um, outside the limits {low:.0f} to {high:.0f} "
                    "um. Choose a smaller grid, or a larger range in the form microscope."
                )
    reach = (action.z_slices - 1) / 2 * action.z_step_um
    if action.frames and reach > limits.z_um[1]:
        found.append(
            f"{action.z_slices} slices of {action.z_step_um:g} um reach {reach:g} um up and down, but the focus may go "
            f"{limits.z_um[1]:g} um. Take fewer slices, or a larger range in the form microscope."
        )
    return found


def _too_slow(protocol: Protocol) -> list[str]:
    """A burst whose frames take longer than the time between them."""
    action = protocol.action
    seconds = sum(one.exposure_ms for one in action.channels) * action.z_slices / 1000
    if not action.frames or seconds <= action.interval_s:
        return []
    return [
        f"A frame of a burst takes {seconds:.1f} s of light, longer than the {action.interval_s:g} s between two "
        "frames. Take fewer slices, a shorter exposure or a longer interval."
    ]
