"""What the camera sees of the simulated culture: chromatin drawn as in the sample `mitosis`, focus, light and noise."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from data_samples.chromatin import PHASES, separating
from data_samples.clouds import Cloud
from data_samples.microscope import SIZE, project
from data_samples.mitosis import WIDEFIELD

PIXEL_SIZE_UM = WIDEFIELD.pixel_size
SHAPE = (1024, 1024)
FIELD_UM = SHAPE[0] * PIXEL_SIZE_UM
CHANNELS = ("H2B", "Cytoplasm")
NAMES = ("interphase", "prophase", "prometaphase", "metaphase", "earlyana", "lateana", "telophase", "apoptosis")
LOOK_S = {"prometaphase": 240.0, "metaphase": 240.0, "earlyana": 60.0, "lateana": 60.0}  # how long one drawing serves
BLUR_UM, BLUR_PER_UM = 0.27, 0.30  # in focus, and what each um out of focus adds
TURN, GROWTH = 0.2, 0.04  # steps in which a nucleus turns (radians) and grows (share)
GROWN_S = 4 * 3600.0  # until a daughter has its full size
HAZE, COARSE = 0.16, 16  # share of stray light; pixels of the grid on which it is worked out
COUNTS = 400_000.0  # of a cell's chromatin in 100 ms, summed over its pixels
IN_PLANE = {"interphase": 1.0, "prophase": 0.95, "telophase": 0.8, "apoptosis": 0.6}  # share of the light; others 0.65
OFFSET, MEDIUM, READ_NOISE, PHOTON_NOISE = 100.0, 60.0, 3.0, 1.0  # counts; medium in 100 ms; variance per count
FULL = 65_535


class Camera:
    """Draws cells; keeps each drawing for as long as the cell looks the same.

    Parameters
    ----------
    seed
        Of the looks of the cells, the noise and the drift.
    drift_um
        How far the plane of focus wanders.
    """

    def __init__(self, seed: int, drift_um: float):
        self.seed, self.drift_um, self.shots = seed, drift_um, 0
        self._drawings: dict[int, tuple[tuple, np.ndarray]] = {}
        rng = np.random.default_rng([seed, 2])
        self._waves = np.column_stack([rng.uniform(2.5, 9.0, 3) * 3600, rng.uniform(0, 2 * np.pi, 3)])
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / SHAPE[0] - rng.uniform(0.4, 0.6, (2, 1, 1))
        self._evenness = (1 - 0.35 * (y**2 + x**2)).astype(np.float32)

    def focus_um(self, time_s: float) -> float:
        """Where the plane of focus lies: 0 at the start, then it wanders within hours."""
        periods, phases = self._waves.T
        return float(self.drift_um * (np.sin(2 * np.pi * time_s / periods + phases) - np.sin(phases)).sum() / 2)

    def image(
        self, cells: np.ndarray, x_um: float, y_um: float, z_um: float, channel: str, exposure_ms: float, time_s: float
    ) -> np.ndarray:
        """Image, (1024, 1024) uint16, of cells around a place."""
        light = self._field(cells, x_um, y_um, channel, time_s)
        blur = BLUR_PER_UM * abs(z_um - self.focus_um(time_s)) / PIXEL_SIZE_UM
        if blur > 0.3:
            light = gaussian_filter(light, blur, mode="constant", truncate=3.0)
        light = (1 - HAZE) * light + HAZE * _spread(light)
        counts = (light * COUNTS + MEDIUM) * self._evenness * np.float32(exposure_ms / 100)
        self.shots += 1
        rng = np.random.default_rng([self.seed, 3, self.shots])
        noise = rng.standard_normal(SHAPE, np.float32) * np.sqrt(READ_NOISE**2 + PHOTON_NOISE * counts)
        return np.clip(np.rint(counts + noise + OFFSET), 0, FULL).astype(np.uint16)

    def drawing(self, cell: np.ndarray, time_s: float) -> np.ndarray:
        """Chromatin of a cell in focus, (64, 64) float32, sum 1."""
        key = _look(cell, time_s)
        number = int(cell["cell"])
        if self._drawings.get(number, ((), None))[0] != key:
            picture = project(self._cloud(cell, key), PIXEL_SIZE_UM, BLUR_UM)
            self._drawings[number] = (key, (picture / picture.sum()).astype(np.float32))
        return self._drawings[number][1]

    @staticmethod
    def corner(place_um: np.ndarray, middle_um: float) -> np.ndarray:
        """First row (column) of a cell's drawing in the image, from its place and that of the image's middle."""
        return np.rint((place_um - middle_um) / PIXEL_SIZE_UM + SHAPE[0] / 2 - SIZE / 2).astype(int)

    def daughters(self, mother: np.ndarray) -> np.ndarray:
        """Where the two halves of a cell in telophase lie, (2, 2): x, y in um."""
        points = self._cloud(mother, _look(mother, 0.0)).points
        halves = np.arange(len(points)) < len(points) // 2
        places = [points[half][:, 1::-1].mean(axis=0) for half in (halves, ~halves)]
        return np.array(places) + [mother["x"], mother["y"]]

    def forget(self, living: np.ndarray) -> None:
        """Keep the drawings of these cells only."""
        kept = set(living.tolist())
        self._drawings = {number: one for number, one in self._drawings.items() if number in kept}

    def _cloud(self, cell: np.ndarray, key: tuple) -> Cloud:
        phase, turn, scale, look = key
        rng = np.random.default_rng([self.seed, 4, int(cell["cell"]), phase, look * (phase in (2, 3))])
        if NAMES[phase] == "earlyana":
            drawn = separating(rng, 3.2 + 0.6 * min(look, 4), rng.uniform(3.6, 5.2), rng.uniform(0, 0.4), 0.25)
        elif NAMES[phase] == "lateana":
            drawn = separating(rng, 5.6 + 0.75 * min(look, 5), rng.uniform(2.8, 4.4), rng.uniform(0.7, 1.8), 0.7)
        else:
            drawn = PHASES[NAMES[phase]](rng)
        return drawn.scaled(scale * GROWTH).turned(turn * TURN)

    def _field(self, cells: np.ndarray, x_um: float, y_um: float, channel: str, time_s: float) -> np.ndarray:
        """Light of all cells before focus and camera, (1024, 1024) float32."""
        canvas = np.zeros((SHAPE[0] + 2 * SIZE, SHAPE[1] + 2 * SIZE), np.float32)
        rows, columns = self.corner(cells["y"], y_um) + SIZE, self.corner(cells["x"], x_um) + SIZE
        for cell, top, left in zip(cells, rows, columns, strict=True):
            if 0 <= top <= SHAPE[0] + SIZE and 0 <= left <= SHAPE[1] + SIZE:
                picture = self.drawing(cell, time_s) if channel == CHANNELS[0] else _cytoplasm()
                canvas[top : top + SIZE, left : left + SIZE] += picture * _brightness(cell, channel, time_s)
        return canvas[SIZE:-SIZE, SIZE:-SIZE]


def _look(cell: np.ndarray, time_s: float) -> tuple[int, int, int, int]:
    """What a drawing depends on: phase, steps of turning and growing, and which drawing of a phase that changes."""
    phase = int(cell["phase"])
    look = int((time_s - cell["since"]) // LOOK_S.get(NAMES[phase], np.inf)) if NAMES[phase] in LOOK_S else 0
    return phase, round(float(cell["angle"]) / TURN), round(_size(cell, time_s) / GROWTH), max(0, look)


def _size(cell: np.ndarray, time_s: float) -> float:
    """Size of a nucleus against a full one: daughters are small."""
    grown = min(1.0, max(0.0, (time_s - cell["born"]) / GROWN_S))
    return 0.76 + 0.24 * grown if NAMES[cell["phase"]] == "interphase" else 1.0


def _brightness(cell: np.ndarray, channel: str, time_s: float) -> float:
    """Light of a cell: chromatin doubles before division, bleached markers give less."""
    left = float(cell["light"] * np.exp(-cell["bleached"]))
    if channel != CHANNELS[0]:
        return 0.5 * left
    name = NAMES[cell["phase"]]
    span = max(1.0, cell["until"] - cell["born"])
    copied = 0.6 + 0.4 * np.clip((time_s - cell["born"]) / span, 0, 1) if name == "interphase" else 1.0
    return left * copied * IN_PLANE.get(name, 0.65)


def _cytoplasm() -> np.ndarray:
    """Soft disc with a darker middle, (64, 64) float32, sum 1."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    distance = np.hypot(y, x) * PIXEL_SIZE_UM
    disc = 1 / (1 + np.exp((distance - 9.0) / 0.7)) * (1 - 0.6 / (1 + np.exp((distance - 6.0) / 0.5)))
    return (disc / disc.sum()).astype(np.float32)


def _spread(light: np.ndarray) -> np.ndarray:
    """Light scattered widely, worked out on a coarse grid and drawn out by straight lines."""
    coarse = light.reshape(SHAPE[0] // COARSE, COARSE, SHAPE[1] // COARSE, COARSE).mean(axis=(1, 3))
    lines = _lines(SHAPE[0])
    return lines @ gaussian_filter(coarse, 3.0 / PIXEL_SIZE_UM / COARSE, mode="nearest") @ lines.T


@cache
def _lines(size: int) -> np.ndarray:
    """Shares of the points of the coarse grid in each pixel, (size, size / COARSE) float32."""
    places = (np.arange(size) - (COARSE - 1) / 2) / COARSE
    return np.clip(1 - np.abs(places.clip(0, size // COARSE - 1)[:, None] - np.arange(size // COARSE)), 0, 1).astype(
        "f4"
    )
