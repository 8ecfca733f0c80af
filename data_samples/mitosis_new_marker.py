"""Cells under the marker of the sample `mitosis_new_marker`.

A replication marker fills the nucleus (as PCNA does: even in G1 and G2, in foci in S phase). A weaker stain that grows
towards division lies in the cytoplasm and on the centrosomes (as cyclin B1 does). Condensed chromosomes shine through
from a DNA dye.
"""

import numpy as np
from numpy.random import Generator

from data_samples.chromatin import PHASES
from data_samples.clouds import Cloud, cloud, disc, flat_outline, ripple, together, without_nucleoli

BLOBS = 1800  # of each nucleus
DIVIDING = ("prophase", "prometaphase", "metaphase", "earlyana", "lateana", "telophase")


def semi_axes(rng: Generator, low: float, high: float) -> tuple[float, float]:
    """Return the long semi-axis, between `low` and `high`, and the short semi-axis of a nucleus, in um."""
    long = rng.uniform(low, high)
    return long, long * rng.uniform(0.7, 1.0)


def nucleus(rng: Generator, long: float, short: float) -> Cloud:
    """Return an even nucleus of the given semi-axes (um) with one to four nucleoli."""
    points = flat_outline(rng, disc(rng, BLOBS), long, short)
    weights = ripple(rng, points, rng.uniform(2.0, 4.0), rng.uniform(0.05, 0.24))
    return cloud(points, 0.5, weights * without_nucleoli(rng, points, rng.integers(1, 5), short * 0.7))


def cytoplasm(rng: Generator, hole: float, share: float) -> Cloud:
    """Return the stain around a nucleus of radius `hole` (um); `share` is its brightness relative to a nucleus."""
    reach = rng.uniform(9.0, 13.0)
    points = flat_outline(rng, disc(rng, 700), reach, reach * rng.uniform(0.65, 0.9), 0.08)
    outside = 1 - np.exp(-((np.linalg.norm(points[:, :2], axis=1) / hole) ** 6))
    return cloud(points, 1.1, outside * share * BLOBS / 700 * (reach / 7) ** 2)


def centrosomes(rng: Generator, count: int, rim: float) -> Cloud:
    """Return `count` bright dots next to each other, just outside a nucleus of radius `rim` (um)."""
    angles = rng.uniform(0, 2 * np.pi) + np.arange(count) * rng.uniform(0.25, 0.8)
    radii = rim + rng.uniform(0.8, 1.8, count)
    points = np.column_stack([radii * np.sin(angles), radii * np.cos(angles), np.zeros(count)])
    return cloud(points, 0.3, rng.uniform(28, 75, count))


def foci(rng: Generator, long: float, short: float) -> Cloud:
    """Return the replication foci of S phase: many small ones early, fewer and larger ones late."""
    late = rng.uniform()
    points = disc(rng, int(70 - 50 * late)) * 0.95 * [short, long, 1]
    return cloud(points, 0.3 + 0.3 * late, rng.uniform(22, 50, len(points)) * (1 + late))


def resting(rng: Generator, long: float, short: float, stain: float, dots: int) -> Cloud:
    """Return an undivided cell: nucleus, cytoplasm of brightness `stain` and `dots` centrosomes."""
    radius = (long + short) / 2
    return together(nucleus(rng, long, short), cytoplasm(rng, radius, stain), centrosomes(rng, dots, radius))


def g1(rng: Generator) -> Cloud:
    """Small, even nucleus; little in the cytoplasm, one centrosome."""
    return resting(rng, *semi_axes(rng, 4.4, 6.0), rng.uniform(0.03, 0.2), dots=1)


def s_phase(rng: Generator) -> Cloud:
    """Nucleus of middle size with replication foci; one centrosome."""
    axes = semi_axes(rng, 5.4, 8.0)
    return together(resting(rng, *axes, rng.uniform(0.03, 0.25), dots=1), foci(rng, *axes))


def g2(rng: Generator) -> Cloud:
    """Large, even nucleus; stained cytoplasm and two centrosomes."""
    return resting(rng, *semi_axes(rng, 5.8, 8.0), rng.uniform(0.08, 0.35), dots=2)


def dividing(rng: Generator) -> Cloud:
    """Condensed chromosomes of any phase of division within a stained cell."""
    chromosomes = PHASES[rng.choice(DIVIDING)](rng)
    light = chromosomes.weights * BLOBS / chromosomes.weights.sum()
    around = cytoplasm(rng, 0.5, rng.uniform(0.05, 0.35))
    return together(Cloud(chromosomes.points, light, chromosomes.sigma), around)


def not_g2(rng: Generator) -> Cloud:
    """Cell in G1, in S phase or dividing."""
    return (g1, s_phase, dividing)[rng.choice(3, p=[0.25, 0.45, 0.3])](rng)
