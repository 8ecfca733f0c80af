"""Architecture of a synthetic slide of liver: outline, lobules, portal tracts and the septa that join them.

Everything here is a map of a slide at a coarse scale; `data_samples.slide_tissue` paints it. Lengths are in pixels of
the full slide (0.5 um), maps have one pixel for each `COARSE` x `COARSE` of them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from data_samples.drawing import smooth_noise

COARSE = 8
SPACING = (1150, 1450)  # of lobules, between centres
TRACT = (90, 200)  # radius of portal tracts where fibrosis is at the level 0
SEPTUM = (-75, 65)  # half the width of septa, the same; below 0 there is none until fibrosis goes further


@dataclass(frozen=True)
class Plan:
    """Maps of a slide, each (Y, X) with one pixel for `COARSE` x `COARSE`.

    Attributes
    ----------
    inside
        Distance from the edge of the tissue in full pixels, negative on the glass.
    lobule
        Number of the lobule, a row of `centres`.
    depth
        How deep in portal tracts and septa; what lies above `level` is fibrosis.
    across
        Coordinate whose level lines run along the fibres, in full pixels.
    centres
        (n, 2), y and x of the central veins in full pixels.
    tracts
        (m, 2), the same of the portal tracts that have one.
    level
        See `depth`.
    """

    inside: np.ndarray
    lobule: np.ndarray
    depth: np.ndarray
    across: np.ndarray
    centres: np.ndarray
    tracts: np.ndarray
    level: float


def draw_plan(rng: np.random.Generator, size: tuple[int, int], share: float) -> Plan:
    """Map of a slide (height, width) whose tissue is fibrosis to the given share (0 to 1)."""
    shape = tuple(-(-side // COARSE) for side in size)
    inside = draw_outline(rng, shape) * COARSE
    centres = lobule_centres(rng, size)
    places = COARSE * (np.moveaxis(np.indices(shape), 0, -1) + 0.5)
    wavy = np.stack([smooth_noise(rng, shape, 14), smooth_noise(rng, shape, 14)], axis=-1)
    fine = np.stack([smooth_noise(rng, shape, 4), smooth_noise(rng, shape, 4)], axis=-1)
    distances, near = cKDTree(centres).query(places + 55 * wavy + 12 * fine, k=3)
    to_edge, to_tract = (distances[..., 1] - distances[..., 0]) / 2, (distances[..., 2] - distances[..., 0]) / 2
    tract = one_for_each(rng, near, TRACT) - 1.1 * to_tract
    septum = one_for_each(rng, near[..., :2], SEPTUM) - to_edge
    depth = np.maximum(tract, septum) + 5 * smooth_noise(rng, shape, 3)
    side = np.where(near[..., 0] < near[..., 1], 1.0, -1.0)
    across = np.where(tract > septum, 1.4 * tract, side * to_edge)
    level = float(np.quantile(depth[inside > 0], 1 - share))
    middle = local_tracts(to_tract, (tract > max(level, 20) + 15) & (inside > 60))
    return Plan(inside, near[..., 0], depth, across, centres, middle, level)


def draw_outline(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Distance from the edge of the tissue, negative outside, in pixels of the map: one piece, or two long ones."""
    y, x = np.indices(shape) / np.array(shape)[:, None, None] - 0.5
    ragged = 0.035 * smooth_noise(rng, shape, 45) + 0.012 * smooth_noise(rng, shape, 9)
    if rng.random() < 0.6:
        turn = rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        tissue = (np.abs(u / 0.43) ** 2.6 + np.abs(v / 0.37) ** 2.6) ** (1 / 2.6) + 2.2 * ragged < 1
    else:
        bend = rng.uniform(0.05, 0.14) * np.cos(rng.uniform(2, 4) * x + rng.uniform(0, 6))
        bands = [np.abs(y - middle - bend) + ragged < 0.16 for middle in (-0.24, 0.22)]
        ends = [np.abs(x - rng.uniform(-0.04, 0.04)) + 0.6 * ragged < rng.uniform(0.36, 0.45) for _ in bands]
        tissue = (bands[0] & ends[0]) | (bands[1] & ends[1])
    return gaussian_filter(distance_transform_edt(tissue) - distance_transform_edt(~tissue), 1.0)


def lobule_centres(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Central veins, (n, 2), on a shaken hexagonal lattice that reaches beyond the slide."""
    spacing = rng.uniform(*SPACING)
    y, x = np.meshgrid(
        np.arange(-2, size[0] / (0.87 * spacing) + 2), np.arange(-2, size[1] / spacing + 2), indexing="ij"
    )
    lattice = np.stack([0.87 * spacing * y, spacing * (x + 0.5 * (y % 2))], axis=-1).reshape(-1, 2)
    return lattice + rng.normal(0, 0.13 * spacing, lattice.shape)


def one_for_each(rng: np.random.Generator, near: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    """A random number for each set of neighbours (Y, X, k), in which their order does not count: (Y, X)."""
    sets = np.sort(near, axis=-1) @ (np.array([1, 1009, 1009**2])[: near.shape[-1]])
    _, which = np.unique(sets, return_inverse=True)
    return rng.uniform(*between, which.max() + 1)[which.reshape(near.shape[:2])]


def local_tracts(to_tract: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Middles of portal tracts, (m, 2) in full pixels: where three lobules meet, at least 500 pixels apart."""
    places = np.argwhere(allowed & (to_tract < 25))
    places = places[np.argsort(to_tract[tuple(places.T)], kind="stable")]
    kept: list[np.ndarray] = []
    for place in COARSE * (places + 0.5):
        if all(np.hypot(*(place - other)) > 500 for other in kept):
            kept.append(place)
    return np.array(kept).reshape(-1, 2)
