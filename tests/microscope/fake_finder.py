"""A stand-in for finding and classifying: the cells of each survey are given."""

import numpy as np
import pandas as pd

from utils.microscope.protocol import BEFORE, Channel, Limits, Looking, Position, Protocol, Survey, Waiting

NAMES = ("apoptosis", "earlyana", "interphase", "lateana", "metaphase", "prometaphase", "prophase", "telophase")
GROUPS = {
    "earlyana": "AA",
    "lateana": "AA",
    "telophase": "AA",
    "prophase": "BA",
    "prometaphase": "BA",
    "metaphase": "BA",
}
CLASSES = [{"id": i, "name": name, "value": name, "group": GROUPS.get(name)} for i, name in enumerate(NAMES)]
HERE, THERE = Position("A", 0.0, 0.0), Position("B", 500.0, 0.0)


class FakeFinder:
    """Cells of a survey as (y_um, x_um, phase or probabilities[, area]); pixels are 0.5 um."""

    def __init__(self, surveys, classes=CLASSES):
        self.surveys, self.classes = surveys, classes

    def __call__(self, survey):
        rows = self.surveys[survey.number]
        p = np.array([self._p(row[2]) for row in rows]).reshape(-1, len(NAMES))
        places = np.array([row[:2] for row in rows], float).reshape(-1, 2)
        cells = pd.DataFrame(
            {
                "label": np.arange(1, len(rows) + 1),
                "y_px": 2 * places[:, 0],
                "x_px": 2 * places[:, 1],
                "y_um": places[:, 0],
                "x_um": places[:, 1],
                "area_um2": [row[3] if len(row) > 3 else 100.0 for row in rows],
                "edge_um": [min(row[:2]) for row in rows],
            }
        )
        if not self.classes:
            return cells, np.zeros((8, 8), np.int32)
        columns = {f"p_{name}": p[:, i] for i, name in enumerate(NAMES)}
        likeliest = np.array(NAMES, object)[p.argmax(axis=1)] if rows else np.zeros(0, object)
        return cells.assign(**columns, **{"class": likeliest}), np.zeros((8, 8), np.int32)

    def _p(self, phase):
        if not isinstance(phase, str):
            return phase
        p = np.full(len(NAMES), 0.1 / (len(NAMES) - 1))
        p[NAMES.index(phase)] = 0.9
        return p


def protocol(interval_s=300.0, **event) -> Protocol:
    survey = Looking((Channel("H2B", 20.0),), interval_s, (HERE, THERE))
    return Protocol(survey, Waiting(**{"classes": BEFORE} | event), limits=Limits())


def survey(number, position=HERE, interval_s=300.0, images=None) -> Survey:
    return Survey(number, number * interval_s, position, 0.5, images or {"H2B": np.zeros((8, 8), np.uint16)})
