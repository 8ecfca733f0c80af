"""Looks at each survey, follows the cells, and says which of them now do what was waited for."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from utils.errors import ModelError
from utils.microscope.find import PREFIX, wanted_classes
from utils.microscope.protocol import Event, Protocol, Survey
from utils.microscope.tracks import MOST_UM, Tracks
from utils.tasks.phase_order import moves_within, next_belief, usual_shares

SMOOTHED, AWAITED = "smoothed_class", "p_event"
EDGE = 1.2  # radii of a round cell of that area, that its middle must be away from the edge of the image
REST = 6  # surveys in a row in which a cell that was an event must be none before it can be one again


class Watcher:
    """Decides what is an event; a cell, and its daughters, are one again only after `REST` surveys of something else.

    Parameters
    ----------
    protocol
        What is waited for.
    finder
        Survey -> cells and labels, see `utils.microscope.find.Finder`; has `classes`.
    most_um
        How far a cell moves at most between two surveys.

    Attributes
    ----------
    cells
        Those of the last survey: columns of the finder, track, parent, smoothed_class, p_event.
    labels
        Where they lie, (Y, X).

    Raises
    ------
    ModelError
        The model does not know a class that is waited for.
    """

    def __init__(
        self,
        protocol: Protocol,
        finder: Callable[[Survey], tuple[pd.DataFrame, np.ndarray]],
        most_um: float = MOST_UM,
    ):
        self.protocol, self.finder, self.most_um = protocol, finder, most_um
        self.names = [str(one["name"]) for one in finder.classes]
        wanted = protocol.event.classes
        if wanted and not self.names:
            raise ModelError(
                f"The protocol waits for {', '.join(wanted)}, which takes a classifier. Choose one in the field "
                'classifier, or the preset "count only".'
            )
        self.wanted = [self.names.index(name) for name in wanted_classes(finder.classes, wanted)]
        self.moves, self.usual = moves_within(self.names, protocol.survey.interval_s), usual_shares(self.names)
        self.cells, self.labels = pd.DataFrame(), np.zeros((0, 0), np.int32)
        self.forget()

    def forget(self) -> None:
        """Begin anew: no cell was ever seen."""
        self._tracks: dict[str, Tracks] = {}
        self._next, self._belief, self._streak, self._told = 1, {}, {}, set()

    def look(self, survey: Survey) -> list[Event]:
        """Events of a survey, the surest first; those of one position are to be given in the order of time."""
        cells, self.labels = self.finder(survey)
        tracks = self._tracks.setdefault(survey.position.name, Tracks(self.most_um))
        cells = tracks.link(cells, survey.number, self._numbers())
        self.cells = self._believed(cells)
        events = [self._event(survey, row) for row in self.cells.to_dict("records") if self._is_event(row)]
        self._forget_the_gone()
        return sorted(events, key=lambda one: -one.probability)

    def preview(self, survey: Survey) -> tuple[list[Event], pd.DataFrame, np.ndarray]:
        """What `look` would say if one survey were enough, the cells and labels, without remembering anything."""
        event = self.protocol.event
        other = copy.copy(self)
        other._tracks, other._belief, other._streak, other._told = {}, {}, {}, set()
        other.moves, other.usual = np.ones_like(self.moves), np.ones_like(self.usual)
        other.protocol = replace(self.protocol, event=replace(event, n_frames=1))
        return other.look(survey), other.cells, other.labels

    def _numbers(self) -> Iterator[int]:
        while True:
            self._next += 1
            yield self._next - 1

    def _believed(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Cells with what is now believed of each."""
        if not self.names:
            return cells
        seen = cells[[PREFIX + name for name in self.names]].to_numpy(float)
        beliefs = np.zeros((len(cells), len(self.names)))
        tracks, origins = cells["track"].tolist(), (cells["parent"] + cells["beside"]).tolist()
        for i, (track, origin) in enumerate(zip(tracks, origins, strict=True)):
            before = self._belief.get(track, self._belief.get(origin, self.usual))
            beliefs[i] = self._belief[track] = next_belief(before, seen[i], self.moves)
        smoothed = np.array(self.names, object)[beliefs.argmax(axis=1)] if len(cells) else np.zeros(0, object)
        return cells.assign(**{SMOOTHED: smoothed, AWAITED: beliefs[:, self.wanted].sum(axis=1)})

    def _is_event(self, row: Mapping) -> bool:
        """Whether a cell does what is waited for, long enough, for the first time."""
        event, track = self.protocol.event, row["track"]
        if not self.wanted:
            return False
        low, high = event.size_um2
        holds = row[AWAITED] >= event.probability and low <= row["area_um2"] <= high and not _is_cut(row)
        streak = self._streak.get(track, 0)
        streak = self._streak[track] = max(streak, 0) + 1 if holds else min(streak, 0) - 1
        if row["parent"] + row["beside"] in self._told:
            self._told.add(track)
        if streak <= -REST:
            self._told.discard(track)
        if streak < event.n_frames or track in self._told:
            return False
        self._told.add(track)
        return True

    def _event(self, survey: Survey, row: Mapping) -> Event:
        likeliest = max((self.names[i] for i in self.wanted), key=lambda name: row[PREFIX + name])
        return Event(
            survey.number,
            survey.time_s,
            survey.position,
            int(row["track"]),
            float(row["y_px"]),
            float(row["x_px"]),
            likeliest,
            float(row[AWAITED]),
        )

    def _forget_the_gone(self) -> None:
        """Keep nothing of cells that are gone: an experiment may take days."""
        known = {track for one in self._tracks.values() for track in one.active}
        self._belief = {track: belief for track, belief in self._belief.items() if track in known}
        self._streak = {track: n for track, n in self._streak.items() if track in known}
        self._told &= known

    def state(self) -> dict[str, Any]:
        """Plain values, for a JSON file, from which `restore` goes on."""
        return {
            "classes": self.names,
            "next": self._next,
            "tracks": {name: one.state() for name, one in self._tracks.items()},
            "belief": {str(track): np.asarray(one).tolist() for track, one in self._belief.items()},
            "streak": {str(track): n for track, n in self._streak.items()},
            "told": sorted(self._told),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ModelError where the classifier then had other classes."""
        if state.get("classes", self.names) != self.names:
            raise ModelError(
                f"The experiment was begun with a classifier of other classes ({', '.join(state['classes'])}). Name "
                "that one in the field classifier, or choose a new experiment."
            )
        self._next, self._told = state["next"], set(state["told"])
        self._belief = {int(track): np.array(one) for track, one in state["belief"].items()}
        self._streak = {int(track): n for track, n in state["streak"].items()}
        self._tracks = {}
        for name, one in state["tracks"].items():
            self._tracks[name] = Tracks(self.most_um)
            self._tracks[name].restore(one)


def _is_cut(row: Mapping) -> bool:
    """Whether a cell reaches the edge of the image: nobody can tell what a part of a cell does."""
    return bool(row["edge_um"] < EDGE * np.sqrt(row["area_um2"] / np.pi))
