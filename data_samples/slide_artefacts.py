"""What spoils a slide: folds of the section, ink of a felt pen on the glass, places out of focus.

Each changes a painting or its colours in place and marks what it spoils as `ARTEFACT`.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter

from data_samples.lobules import COARSE
from data_samples.slide_tissue import ARTEFACT, BACKGROUND, FULL, Painting, blocks, enlarged
from data_samples.staining import Patient

INKS = {"blue": (30, 60, 165), "green": (25, 125, 75), "black": (32, 32, 38), "red": (200, 32, 40)}


def draw_fold(rng: np.random.Generator, painting: Painting) -> None:
    """Lay a strip of the tissue over its neighbour: twice the stain, with a sharp edge."""
    along = stroke(rng, painting.plan.inside > 60, rng.uniform(1300, 2400), rng.uniform(80, 150))
    place = bounds(along, painting.size)
    strip = enlarged(along, place) > 0.5
    strip &= painting.classes[place] != BACKGROUND
    shift = np.rint(rng.uniform(90, 220) * np.array(direction(rng))).astype(int)
    for layer in (painting.blue, painting.pink):
        twice = layer[place].astype(np.uint16) + np.roll(layer, shift, axis=(0, 1))[place]
        layer[place][strip] = np.minimum(twice, 255).astype(np.uint8)[strip]
    painting.classes[place][strip] = ARTEFACT


def colours(patient: Patient, painting: Painting) -> np.ndarray:
    """Picture of a painting, (Y, X, 3) uint8, by the law of Beer and Lambert, a table of all pairs of amounts."""
    amount = np.arange(256) / FULL
    density = amount[:, None, None] * patient.stains[0] + amount[None, :, None] * patient.stains[1]
    table = np.clip(np.rint(patient.glass * 10.0**-density), 0, 255).astype(np.uint8).reshape(-1, 3)
    rgb = np.empty((*painting.size, 3), np.uint8)
    for place in blocks(painting.size):  # at once it would take half a gigabyte, and thrice the time
        pairs = painting.blue[place].astype(np.uint16) * 256 + painting.pink[place]
        rgb[place] = np.take(table, pairs, axis=0, mode="clip")  # all are in the table: no need to look first
    return rgb


def draw_pen(rng: np.random.Generator, painting: Painting, rgb: np.ndarray, ink: str) -> None:
    """A line of felt pen over the edge of the tissue; the ink is on top of the glass, so that its edges are soft."""
    edge = np.abs(painting.plan.inside) < 250
    line = stroke(rng, edge, rng.uniform(1500, 3000), rng.uniform(170, 300))
    place = bounds(line, painting.size)
    cover = 0.93 * enlarged(gaussian_filter(line, 2), place)
    cover *= 1 + 0.06 * enlarged(gaussian_filter(rng.standard_normal(line.shape), 3) * 8, place)
    cover = np.clip(cover, 0, 1)[..., None].astype(np.float32)
    part = rgb[place]
    part[:] = part * (1 - cover) + (0.12 * part + 0.88 * np.array(INKS[ink], np.float32)) * cover
    painting.classes[place][cover[..., 0] > 0.25] = ARTEFACT


def draw_blur(rng: np.random.Generator, painting: Painting, rgb: np.ndarray) -> None:
    """A round part of the tissue out of focus."""
    here = np.argwhere(painting.plan.inside > 250)
    middle = here[rng.integers(len(here))] if len(here) else np.array(painting.plan.inside.shape) // 2
    y, x = np.indices(painting.plan.inside.shape)
    radius = rng.uniform(420, 700) / COARSE
    spot = np.clip((radius - np.hypot((y - middle[0]) * rng.uniform(0.7, 1.3), x - middle[1])) / 14 + 0.5, 0, 1)
    place = bounds(spot, painting.size)
    share = enlarged(spot, place)[..., None]
    part = rgb[place]
    soft = np.asarray(Image.fromarray(part).filter(ImageFilter.GaussianBlur(rng.uniform(7, 10))))
    part[:] = part * (1 - share) + soft * share
    spoilt = (share[..., 0] > 0.5) & (painting.classes[place] != BACKGROUND)
    painting.classes[place][spoilt] = ARTEFACT


def stroke(rng: np.random.Generator, allowed: np.ndarray, length: float, width: float) -> np.ndarray:
    """A bent line on the map of a slide, 0 to 1 float64, that starts where it is allowed; sizes in full pixels."""
    picture = Image.new("L", allowed.shape[::-1])
    starts = np.argwhere(allowed)
    point = starts[rng.integers(len(starts))][::-1].astype(float)
    x, y = np.array(picture.size) / 2 - point
    turn = np.arctan2(y, x) + rng.normal(0, 0.5)  # roughly towards the middle of the slide
    points = [tuple(point)]
    for _ in range(24):
        turn += rng.normal(0, 0.16)
        point = point + length / COARSE / 24 * np.array([np.cos(turn), np.sin(turn)])
        points.append(tuple(point))
    ImageDraw.Draw(picture).line(points, fill=255, width=round(width / COARSE), joint="curve")
    return gaussian_filter(np.asarray(picture) / 255, 1.2)


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """Random unit vector."""
    turn = rng.uniform(0, 2 * np.pi)
    return float(np.sin(turn)), float(np.cos(turn))


def bounds(field: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Place on the slide of all that is above 0 on a map of it."""
    found = (np.flatnonzero((field > 1e-3).any(axis=axis)) for axis in (1, 0))
    return tuple(
        slice(COARSE * max(0, one[0] - 2), min(side, COARSE * (one[-1] + 3)))
        for one, side in zip(found, size, strict=True)
    )
