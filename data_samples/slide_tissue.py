"""Paints a synthetic slide of liver from its plan: amounts of hematoxylin and eosin, and the class of each pixel.

Amounts are whole numbers, `FULL` being the eosin of cytoplasm, so that a table turns them into colours at once. Lengths
are in pixels of 0.5 um. Textures are drawn once and looked up: a slide of 30 million pixels takes seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import cKDTree

from data_samples.drawing import smooth_noise, soft_step
from data_samples.histology import cell_centres, ellipses, scatter
from data_samples.lobules import COARSE, Plan
from data_samples.staining import Patient

BACKGROUND, TISSUE, FIBROSIS, VESSEL, ARTEFACT = range(5)
FULL = 100
BLOCK = 1024  # painted at a time; textures repeat after so many pixels
PLATES = 2048  # side of the picture of one lobule
CELL = 21  # um
COLLAGEN = 1.08  # in units of `Patient.collagen`: cells here are paler than in the tiles of `data_samples.tissue`
SIGMAS = (0.9, 2, 5, 12, 30)


@cache
def noise() -> dict[float, np.ndarray]:
    """Smooth random fields (BLOCK, BLOCK) float32 that fit together at their sides, by their width in pixels."""
    rng = np.random.default_rng(77)
    return {sigma: smooth_noise(rng, (BLOCK, BLOCK), sigma).astype(np.float32) for sigma in SIGMAS}


@cache
def fibre_texture() -> tuple[np.ndarray, np.ndarray]:
    """Strength of fibres, mean 0, and gaps between them, 0 to 1; (across, along) float32, repeating."""
    rng = np.random.default_rng(78)

    def streaks(across: float, along: float) -> np.ndarray:
        field = gaussian_filter(rng.standard_normal((BLOCK, BLOCK)), (across, along), mode="wrap", truncate=2.5)
        return (field / field.std()).astype(np.float32)

    strength = 0.6 * streaks(1.1, 26) + 0.5 * streaks(2.6, 55) + 0.35 * streaks(7, 90)
    gaps = soft_step(0.75 * streaks(1.6, 32) + 0.65 * streaks(5, 70) - 1.35, 0.12)
    return strength, gaps.astype(np.float32)


@cache
def plates() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Liver cells round a central vein, one cell thick plates with sinusoids between them that run towards it.

    Returns
    -------
    centres
        (n, 2), y and x of cells in pixels of 0.5 um.
    cell
        (PLATES, PLATES), row of `centres`.
    border, slit
        (PLATES, PLATES) float32, distance in pixels from the next cell, and from that of another plate.
    """
    rng = np.random.default_rng(79)
    half = PLATES // 2
    centres = cell_centres(rng, (half, half), CELL)
    y, x = (centres - half / 2).T
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    ring = np.floor(np.log2(np.maximum(radius, 21) / 20))
    sectors = np.round(2 * np.pi * 20 * 2**ring / (1.15 * CELL))
    plate = np.floor(sectors * (angle / (2 * np.pi) + 0.02 * np.sin(radius / 45))) % sectors
    wave = 1.5 * np.stack([smooth_noise(rng, (half, half), 4), smooth_noise(rng, (half, half), 4)])
    near, which = cKDTree(centres).query(np.moveaxis(np.indices((half, half)) + wave, 0, -1), k=2)
    border = near[..., 1] - near[..., 0]
    a, b = np.moveaxis(which, -1, 0)
    open_slit = (plate[a] != plate[b]) & ((ring[a] == ring[b]) | (rng.random(len(centres))[a] < 0.3))
    slit = np.where(open_slit, border, 2.0 * CELL)
    large = [zoom(one.astype(np.float32), 2, order=1, mode="nearest", grid_mode=True) for one in (border, slit)]
    return 2 * centres, np.kron(a, np.ones((2, 2), a.dtype)), *large


@dataclass(frozen=True)
class Look:
    """How the tissue of one patient is painted; `liver` is (2, PLATES, PLATES) uint8, blue and pink of a lobule."""

    patient: Patient
    liver: np.ndarray
    scale: float
    zoning: float


def draw_look(rng: np.random.Generator, patient: Patient) -> Look:
    """Random look of a patient's tissue."""
    return Look(patient, liver_texture(rng, patient), rng.uniform(0.9, 1.08), rng.uniform(-0.10, 0.16))


def liver_texture(rng: np.random.Generator, patient: Patient) -> np.ndarray:
    """Hematoxylin and eosin of one lobule, (2, PLATES, PLATES) uint8."""
    centres, cell, border, slit = plates()
    fine, coarse = (np.tile(noise()[sigma], (2, 2)) for sigma in (2, 5))
    grain = 0.12 * fine + 0.05 * coarse
    pink = (
        0.86
        + grain
        + rng.normal(0, 0.09, len(centres)).astype(np.float32)[cell]
        + 0.14 * np.exp(-((border / 1.5) ** 2))
    )
    blue = patient.basophilia * (0.75 + 1.2 * grain + rng.normal(0, 0.16, len(centres)).astype(np.float32)[cell])
    width = 2 * patient.slit_width * np.clip(1 + 0.6 * np.tile(noise()[12], (2, 2)), 0, None)
    open_slit = soft_step(width - slit, 0.7).astype(np.float32)
    red_cells = np.tile(noise()[5], (2, 2)) > 1.5
    left = 1 - open_slit * np.where(red_cells, 0.25, 0.88)
    nuclei = liver_nuclei(rng, centres, slit)
    blue = np.maximum(blue * left, nuclei)
    pink = np.where(nuclei > 0.3, 0.55 * pink, pink) * left
    return amounts(np.stack([blue, pink]))


def liver_nuclei(rng: np.random.Generator, centres: np.ndarray, slit: np.ndarray) -> np.ndarray:
    """Round nuclei of liver cells with their nucleoli, and flat ones along the sinusoids, (PLATES, PLATES)."""
    shape = slit.shape
    seen = centres[rng.random(len(centres)) < 0.82]
    twins = seen[rng.random(len(seen)) < 0.12] + rng.uniform(9, 13, 2)
    places = np.concatenate([seen + rng.normal(0, 3, seen.shape), twins])
    places = places[((places > 12) & (places < PLATES - 12)).all(axis=1)]
    size = rng.uniform(6, 8.6, (len(places), 1)) * rng.uniform(0.86, 1, (len(places), 2))
    vesicular = 0.80 + 0.16 * np.tile(noise()[0.9], (2, 2)) + 0.08 * np.tile(noise()[2], (2, 2))
    round_ones = ellipses(shape, places, size, rng.uniform(0, np.pi, len(places))) * vesicular
    dots = places + rng.normal(0, 1.6, places.shape)
    nucleoli = ellipses(shape, dots, np.full(dots.shape, 1.7), np.zeros(len(dots)))
    along = scatter(rng, (slit < 3) * 0.0022)
    y, x = (along - PLATES / 2).T
    flat_size = rng.uniform([5, 1.6], [9, 2.6], along.shape)
    flat = ellipses(shape, along, flat_size, np.arctan2(y, x) + rng.normal(0, 0.3, len(along)))
    return np.maximum(np.maximum(round_ones, 0.95 * nucleoli), 1.05 * flat).astype(np.float32)


def amounts(values: np.ndarray) -> np.ndarray:
    """Amounts of stain as whole numbers."""
    return np.clip(FULL * values + 0.5, 0, 255).astype(np.uint8)


class Painting:
    """A slide that is being painted: `blue` and `pink` (amounts of stain) and `classes`, each (Y, X) uint8."""

    def __init__(self, rng: np.random.Generator, plan: Plan, look: Look, size: tuple[int, int]):
        self.rng, self.plan, self.look, self.size = rng, plan, look, size
        self.blue, self.pink, self.classes = (np.zeros(size, np.uint8) for _ in range(3))
        shape, n = plan.depth.shape, len(plan.centres)
        self.pale, self.dense = smooth_noise(rng, shape, 28), smooth_noise(rng, shape, 16)
        self.turn, self.mirror = rng.uniform(0, 2 * np.pi, n), rng.choice([-1.0, 1.0], n)
        self.vein = rng.uniform(22, 75, n) * (rng.random(n) < 0.8)
        for place in blocks(size):
            self._paint(place)
        self._vessels()
        self._nuclei()
        self._fat()

    def _paint(self, place: tuple[slice, slice]) -> None:
        """Liver cells, collagen and the empty slide of one block."""
        height, width = (one.stop - one.start for one in place)
        rough = {sigma: np.ascontiguousarray(field[:height, :width]) for sigma, field in noise().items()}
        blue, pink = 0.01 * (rough[0.9] > 0.8), 0.01 * (rough[0.9] < -0.8)  # dust: no scanner shows glass quite even
        inside = enlarged(self.plan.inside, place)
        if inside.max() > -30:
            inside = inside + 5 * rough[12] + 1.5 * rough[2]
            depth = enlarged(self.plan.depth, place) + 5 * rough[12] + 2.5 * rough[5] + rough[2]
            fibrous = (depth > self.plan.level) & (inside >= 0)
            self.classes[place][inside >= 0] = TISSUE
            self.classes[place][fibrous] = FIBROSIS
            thick = 1 + 0.07 * rough[30] - 0.3 * soft_step(4 - inside, 1.5)
            for where, *amount in (self._fibres(place, rough), *self._cells(place, rough)):
                for layer, one in zip((blue, pink), amount, strict=True):
                    layer.ravel()[where] = one * thick.ravel()[where]
        self.blue[place], self.pink[place] = amounts(blue), amounts(np.maximum(pink, 0.3 * blue))
        self._empty(place, self.classes[place] == VESSEL, rough)

    def _cells(self, place: tuple[slice, slice], rough: dict[float, np.ndarray]) -> Iterator[tuple]:
        """Of each lobule the flat places of its cells, and their blue and pink, which fade in some parts of the slide.

        Also marks the inside of its vein.
        """
        lobules = np.where(
            self.classes[place] == TISSUE, enlarged(self.plan.lobule, place, Image.Resampling.NEAREST), -1
        )
        pale = np.clip(0.5 * enlarged(self.pale, place) + 0.15 * rough[30], 0, 1)
        for number in set(np.unique(lobules[::COARSE, ::COARSE]).astype(int)) - {-1}:
            rows, columns, where = _places(lobules == number)
            y = (rows + (place[0].start - self.plan.centres[number, 0])).astype(np.float32)
            x = (columns + (place[1].start - self.plan.centres[number, 1])).astype(np.float32)
            index = self._in_lobule(number, y, x)
            radius, faded = np.hypot(y, x), pale.ravel()[where]
            zone = (1 + self.look.zoning * (radius / 400 - 1)) / FULL
            yield (
                where,
                self.look.liver[0].ravel()[index] * zone * (1 - 0.3 * faded),
                self.look.liver[1].ravel()[index] * zone * (1 - 0.35 * faded),
            )
            lumen = radius + 6 * rough[12].ravel()[where] < self.vein[number]
            self.classes[place][rows[lumen], columns[lumen]] = VESSEL

    def _in_lobule(self, number: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Place in the picture of a lobule of what lies y and x from the middle of one, which is turned."""
        cos, sin = np.float32(np.cos(self.turn[number])), np.float32(np.sin(self.turn[number]))
        v = (self.mirror[number] * (y * cos - x * sin) / self.look.scale + PLATES / 2).astype(np.int32)
        u = ((x * cos + y * sin) / self.look.scale + PLATES / 2).astype(np.int32)
        return (v % PLATES) * PLATES + u % PLATES

    def _fibres(self, place: tuple[slice, slice], rough: dict[float, np.ndarray]) -> tuple:
        """Flat places of collagen, its blue and pink: wavy fibres along septa, and round vessels of portal tracts."""
        rows, columns, where = _places(self.classes[place] == FIBROSIS)
        here = {sigma: rough[sigma].ravel()[where] for sigma in (2, 12, 30)}
        across = enlarged(self.plan.across, place).ravel()[where] + 9 * here[30] + 5 * here[12]
        along = 0.8 * (place[1].start + columns) + 0.6 * (place[0].start + rows) + 8 * here[30]
        strength, gaps = fibre_texture()
        index = (across.astype(np.int32) % BLOCK) * BLOCK + along.astype(np.int32) % BLOCK
        fibre, left = strength.ravel()[index], 1 - 0.75 * gaps.ravel()[index]
        dense = 1 + 0.2 * np.clip(enlarged(self.dense, place).ravel()[where], -1.5, 2)
        pink = COLLAGEN * self.look.patient.collagen * dense * (1 + 0.26 * fibre + 0.08 * here[2]) * left
        blue = self.look.patient.basophilia * (0.42 + 0.12 * fibre + 0.1 * here[12]) * left
        return where, blue.astype(np.float32), pink.astype(np.float32)

    def _empty(self, place: tuple[slice, slice], lumen: np.ndarray, rough: dict[float, np.ndarray]) -> None:
        """Insides of vessels: plasma, and red cells in some."""
        filled = self.rng.random() < 0.5
        red = filled * (rough[5] > 0.4) * (0.75 + 0.1 * rough[2])
        if not lumen.any():
            return
        self.blue[place][lumen] = amounts(0.03 + 0.1 * red)[lumen]
        self.pink[place][lumen] = amounts(0.06 + 0.02 * rough[12] + red)[lumen]
        self.classes[place][lumen] = VESSEL

    def _vessels(self) -> None:
        """A vein, an artery and one or two bile ducts in each portal tract, as far as it has room for them."""
        for middle in self.plan.tracts:
            room = self._room(middle)
            wanted = [("vein", self.rng.uniform(0.28, 0.5) * room), ("artery", self.rng.uniform(13, 20))]
            wanted += [("duct", self.rng.uniform(13, 22)) for _ in range(self.rng.integers(1, 3))]
            angle = self.rng.uniform(0, 2 * np.pi)
            for number, (kind, radius) in enumerate(wanted):
                away = 0.0 if kind == "vein" else min(0.72 * room, wanted[0][1] + radius + 12)
                place = middle + away * np.array([np.sin(angle + 2.2 * number), np.cos(angle + 2.2 * number)])
                if 8 < radius < 0.6 * room:
                    self._stamp(place, *VESSELS[kind](self.rng, radius))

    def _room(self, middle: np.ndarray) -> float:
        """Radius of a portal tract, in pixels."""
        y, x = (middle / COARSE).astype(int)
        return float(np.clip(self.plan.depth[y, x] - self.plan.level, 20, 220))

    def _stamp(self, middle: np.ndarray, blue: np.ndarray, pink: np.ndarray, shown: np.ndarray, lumen: np.ndarray):
        """Put a small picture over the painting where it is `shown`, if all of it lies in collagen."""
        top, left = np.rint(middle - np.array(blue.shape) / 2).astype(int)
        place = slice(top, top + blue.shape[0]), slice(left, left + blue.shape[1])
        classes = self.classes[place]
        if min(top, left) < 0 or classes.shape != blue.shape or (classes[shown] != FIBROSIS).mean() > 0.1:
            return
        self.blue[place][shown], self.pink[place][shown] = amounts(blue)[shown], amounts(pink)[shown]
        classes[lumen] = VESSEL

    def _nuclei(self) -> None:
        """Spindle-shaped nuclei along fibres and lymphocytes, most of them in portal tracts and septa."""
        fibrous = (self.plan.depth > self.plan.level) & (self.plan.inside > 8)
        dy, dx = np.gradient(gaussian_filter(self.plan.across, 1))
        angle = np.arctan2(dx, -dy)
        spindles = self._scattered(0.0009 * fibrous)
        turns = angle[tuple((spindles / COARSE).astype(int).T)] + self.rng.normal(0, 0.2, len(spindles))
        self._darken(spindles, np.round(turns / np.pi * 16).astype(int) % 16, spindle_stamps(), FIBROSIS)
        patches = np.clip(smooth_noise(self.rng, fibrous.shape, 9) + 0.2, 0, None) ** 2
        density = 0.22 * self.look.patient.inflammation * patches
        lymphocytes = self._scattered(density * np.where(fibrous, 3.5, 0.35) * (self.plan.inside > 8))
        self._darken(lymphocytes, self.rng.integers(0, 8, len(lymphocytes)), lymphocyte_stamps())

    def _scattered(self, density: np.ndarray) -> np.ndarray:
        """Random places (n, 2) in full pixels, of a density per full pixel that is told on the map."""
        number = self.rng.poisson(density * COARSE**2)
        places = np.repeat(np.argwhere(number), number[number > 0], axis=0)
        places = COARSE * (places + self.rng.uniform(0, 1, places.shape))
        return places[((places > 40) & (places < np.array(self.size) - 40)).all(axis=1)]

    def _darken(self, places: np.ndarray, kinds: np.ndarray, stamps: np.ndarray, only: int | None = None) -> None:
        """Put nuclei, small pictures (k, side, side) of hematoxylin, on places in tissue, or in one class of it."""
        half = stamps.shape[1] // 2
        for (y, x), kind in zip(places.astype(int), kinds, strict=True):
            here = self.classes[y, x]
            if here == only or (only is None and here in (TISSUE, FIBROSIS)):
                window = self.blue[y - half : y + half, x - half : x + half]
                np.maximum(window, stamps[kind], out=window)

    def _fat(self) -> None:
        """Droplets of fat in liver cells: round and empty."""
        density = self.look.patient.fat / (2 * CELL) ** 2
        here = (self.plan.depth < self.plan.level - 10) & (self.plan.inside > 20)
        uneven = np.clip(1 + 0.8 * smooth_noise(self.rng, here.shape, 12), 0, None)
        places = self._scattered(density * here * uneven)
        kinds = np.minimum(self.rng.geometric(0.22, len(places)) - 1, 15)
        stamps = droplet_stamps()
        half = stamps.shape[1] // 2
        for (y, x), kind in zip(places.astype(int), kinds, strict=True):
            if self.classes[y, x] == TISSUE:
                for layer in (self.blue, self.pink):
                    window = layer[y - half : y + half, x - half : x + half]
                    window[:] = window * stamps[kind]


def enlarged(
    field: np.ndarray, place: tuple[slice, slice], how: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """A map of the plan at full size within a place, float32."""
    near = tuple(slice(max(one.start // COARSE - 2, 0), one.stop // COARSE + 2) for one in place)
    (top, bottom), (left, right) = ((one.start, one.stop) for one in place)
    y, x = (one.start for one in near)
    box = left / COARSE - x, top / COARSE - y, right / COARSE - x, bottom / COARSE - y
    return np.asarray(
        Image.fromarray(field[near].astype(np.float32)).resize((right - left, bottom - top), how, box=box)
    )


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a mask, and their places in its flat copy, by which they are found at once."""
    rows, columns = np.nonzero(mask)
    return rows, columns, rows * mask.shape[1] + columns


def blocks(size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Places of blocks that cover a slide."""
    for top in range(0, size[0], BLOCK):
        for left in range(0, size[1], BLOCK):
            yield slice(top, min(top + BLOCK, size[0])), slice(left, min(left + BLOCK, size[1]))


@cache
def spindle_stamps() -> np.ndarray:
    """Elongated nuclei in 16 directions, (16, 32, 32) uint8."""
    rng = np.random.default_rng(80)
    middle = np.array([[15.5, 15.5]])
    return np.stack(
        [
            amounts(1.05 * ellipses((32, 32), middle, rng.uniform([8, 1.7], [13, 2.8])[None], np.array([turn])))
            for turn in np.arange(16) / 16 * np.pi
        ]
    )


@cache
def lymphocyte_stamps() -> np.ndarray:
    """Small dark round nuclei, (8, 16, 16) uint8."""
    rng = np.random.default_rng(81)
    middle = np.array([[7.5, 7.5]])
    return np.stack(
        [amounts(1.25 * ellipses((16, 16), middle, rng.uniform(3.6, 5, (1, 2)), np.zeros(1))) for _ in range(8)]
    )


@cache
def droplet_stamps() -> np.ndarray:
    """What droplets of 16 sizes leave of the stain, (16, 76, 76) float32."""
    y, x = np.ogrid[-37.5:38.5, -37.5:38.5]
    radii = np.linspace(5, 33, 16)
    return np.stack([1 - soft_step(radius - np.hypot(y, x), 0.7) for radius in radii]).astype(np.float32)


def ring(radius: float, wall: float, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance from the middle, and direction, of a picture of a tube with a wall; and where that reaches."""
    half = int(radius + wall + margin)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return np.hypot(y, x), np.arctan2(y, x), np.hypot(y, x) < radius + wall


def _nuclei_round(distance: np.ndarray, angle: np.ndarray, at: float, number: int, width: float) -> np.ndarray:
    """Hematoxylin of nuclei that stand round a tube."""
    beat = np.cos(number * angle) > 0.1
    return 1.0 * beat * np.exp(-(((distance - at) / width) ** 4))


def vein(rng: np.random.Generator, radius: float) -> tuple[np.ndarray, ...]:
    """Wide, with a thin wall and flat nuclei; red cells in half of them."""
    distance, angle, shown = ring(radius, 4, 3)
    distance = distance * (1 + rng.uniform(0.03, 0.12) * np.cos(2 * angle) + 0.04 * np.cos(3 * angle))
    shown, lumen = distance < radius + 4, distance < radius
    side = len(distance)
    cells = (noise()[5][:side, :side] > 0.5) * rng.choice([0, 0.8])
    blue = np.where(lumen, 0.03, _nuclei_round(distance, angle, radius + 2, 9, 2.2))
    return np.maximum(blue, 0.12 * ~lumen), np.where(lumen, 0.05 + cells, 0.7), shown, lumen


def artery(rng: np.random.Generator, radius: float) -> tuple[np.ndarray, ...]:
    """Small, with a thick wall of muscle in rings."""
    distance, angle, shown = ring(radius, 0, 3)
    lumen = distance < 0.35 * radius
    rings = 0.95 + 0.15 * np.cos(distance * 1.6)
    blue = np.maximum(0.22, _nuclei_round(distance, angle + 0.05 * distance, 0.75 * radius, 6, 2.0))
    blue = np.maximum(blue, _nuclei_round(distance, angle, 0.38 * radius, 5, 1.5))
    return np.where(lumen, 0.03, blue), np.where(lumen, 0.05, rings), shown, lumen


def duct(rng: np.random.Generator, radius: float) -> tuple[np.ndarray, ...]:
    """A ring of cells with round dark nuclei round a small hole."""
    distance, angle, shown = ring(radius, 0, 3)
    lumen = distance < 0.3 * radius
    number = max(6, int(2 * np.pi * 0.7 * radius / 10))
    turned = angle + rng.uniform(0, 6)
    blue = np.maximum(0.3, _nuclei_round(distance, turned, 0.72 * radius, number, 3.6))
    return np.where(lumen, 0.02, blue), np.where(lumen, 0.03, 0.7), shown, lumen


VESSELS = {"vein": vein, "artery": artery, "duct": duct}
