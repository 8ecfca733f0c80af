"""Chromatin of one cell in each phase of division, as a cloud of fluorescent points.

Spindles lie along x and leave the image plane by a limited angle only, so that the structure that names the phase stays
visible.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from data_samples.clouds import Cloud, ball, cloud, disc, flat_outline, ripple, scattered, together, without_nucleoli

CHROMOSOMES = 46  # of a human cell
CHROMATIDS = 2 * CHROMOSOMES
ARM_SIGMA = 0.34  # um; half the width of a condensed chromosome arm


def arms(rng: Generator, centres: np.ndarray, directions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return points, (9 n, 3), along n bent chromosome arms; centres, directions (n, 3) and lengths (n,) in um."""
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    along = np.linspace(-0.5, 0.5, 9)[None, :, None] * lengths[:, None, None]
    bend = rng.normal(0, 0.12, centres.shape)[:, None]
    return (centres[:, None] + along * directions[:, None] + bend * along**2).reshape(-1, 3)


def plate(rng: Generator, radius: float, thickness: float, bend: float = 0.0, trail: float = 0.0) -> np.ndarray:
    """Return points, (n, 3), of a disc of chromosomes across x.

    Parameters
    ----------
    rng : Generator
        Source of all chance.
    radius, thickness : float
        Of the disc, in um; thickness is twice the standard deviation along x.
    bend : float
        Shift along x of the rim against the middle, in um.
    trail : float
        Mean length, in um, by which arms hang towards negative x.
    """
    around, out = rng.uniform(0, 2 * np.pi, CHROMATIDS), rng.uniform(size=CHROMATIDS) ** 0.4
    along = rng.normal(0, thickness / 2, CHROMATIDS) + bend * out**2
    centres = np.column_stack([radius * out * np.sin(around), along, radius * out * np.cos(around)])
    directions = rng.normal(size=(CHROMATIDS, 3)) * [1, 0.5, 1]
    points = arms(rng, centres, directions, rng.uniform(0.8, 2.0, CHROMATIDS))
    points[:, 1] -= np.repeat(rng.exponential(trail, CHROMATIDS), 9) * np.tile(np.linspace(0, 1, 9), CHROMATIDS)
    return points


def interphase(rng: Generator) -> Cloud:
    """Round or oval nucleus of soft texture with one to four nucleoli."""
    long = rng.uniform(5.6, 8.0)
    short = long * rng.uniform(0.68, 1.0)
    points = flat_outline(rng, disc(rng, 2000), long, short)
    weights = ripple(rng, points, rng.uniform(1.6, 4.0), rng.uniform(0.08, 0.26))
    return cloud(points, 0.44, weights * without_nucleoli(rng, points, rng.integers(1, 5), short * 0.7))


def prophase(rng: Generator) -> Cloud:
    """Nucleus that still has its outline while its chromatin gathers into threads."""
    long = rng.uniform(5.4, 7.6)
    short = long * rng.uniform(0.72, 1.0)
    count, steps = rng.integers(24, 40), 26
    headings = np.cumsum(rng.normal(0, 0.45, (count, steps)), axis=1) + rng.uniform(0, 2 * np.pi, (count, 1))
    path = np.cumsum(np.stack([np.sin(headings), np.cos(headings)], axis=2) * 0.055, axis=1)
    path += disc(rng, count)[:, None, :2] - path.mean(axis=1, keepdims=True)
    path = path.reshape(-1, 2) / np.maximum(1, np.linalg.norm(path.reshape(-1, 2), axis=1, keepdims=True))
    threads = np.column_stack([path, rng.uniform(-1, 1, len(path))])
    points = flat_outline(rng, np.concatenate([threads, disc(rng, 900)]), long, short)
    haze = len(threads) * rng.uniform(0.2, 0.5) / 900
    weights = np.where(np.arange(len(points)) < len(threads), 1.0, haze)
    return cloud(points, 0.32, weights)


def prometaphase(rng: Generator) -> Cloud:
    """Irregular clump or ring of condensed chromosomes without a nuclear outline."""
    reach = rng.uniform(3.5, 4.8)
    centres = ball(rng, CHROMOSOMES) * [rng.uniform(0.7, 1.0), 1.0, 0.5]
    radius = np.linalg.norm(centres[:, :2], axis=1, keepdims=True)
    hole = rng.choice([0.0, rng.uniform(0.4, 0.75)])
    centres[:, :2] *= (hole + (1 - hole) * radius) / radius
    directions = centres + rng.normal(0, 0.5, centres.shape)
    points = arms(rng, centres * reach, directions, rng.uniform(1.0, 3.6, CHROMOSOMES))
    return cloud(points, ARM_SIGMA, np.repeat(rng.uniform(0.6, 1.4, CHROMOSOMES), 9))


def metaphase(rng: Generator) -> Cloud:
    """One plate, mostly seen from its edge, at times tilted or with a chromosome that is not yet in line."""
    points = plate(rng, rng.uniform(3.8, 5.6), rng.uniform(0.9, 1.6))
    if rng.uniform() < 0.2:
        points[:9] += [0, rng.choice([-1, 1]) * rng.uniform(2.0, 3.5), 0]
    return cloud(points, ARM_SIGMA).turned(0, rng.uniform(-0.5, 0.5))


def separating(rng: Generator, distance: float, radius: float, bend: float, trail: float) -> Cloud:
    """Two sister plates `distance` um apart, rims bent by `bend` um towards the poles, arms trailing by `trail` um."""
    sisters = [plate(rng, radius, rng.uniform(0.5, 0.9), bend, trail) + [0, distance / 2, 0] for _ in range(2)]
    sisters[1][:, 1] *= -1
    sisters[1][:, 0] *= rng.uniform(0.85, 1.15)
    return cloud(np.concatenate(sisters), ARM_SIGMA).turned(0, rng.uniform(-0.35, 0.35))


def early_anaphase(rng: Generator) -> Cloud:
    """Two straight parallel plates close to each other."""
    return separating(rng, rng.uniform(3.2, 5.6), rng.uniform(3.6, 5.2), rng.uniform(0.0, 0.4), rng.uniform(0.1, 0.4))


def late_anaphase(rng: Generator) -> Cloud:
    """Two narrower, bent plates further apart, arms trailing between them."""
    return separating(rng, rng.uniform(5.6, 9.5), rng.uniform(2.8, 4.4), rng.uniform(0.7, 1.8), rng.uniform(0.4, 1.1))


def telophase(rng: Generator) -> Cloud:
    """Two small, smooth, roundish daughter nuclei far apart."""
    half, long, ratio = rng.uniform(4.4, 6.8), rng.uniform(2.4, 3.5), rng.uniform(0.65, 0.95)
    daughters = []
    for side in (-1, 1):
        points = flat_outline(rng, disc(rng, 700), long * rng.uniform(0.9, 1.1), long * ratio)
        weights = ripple(rng, points, 2.5, rng.uniform(0.05, 0.2)) * rng.uniform(0.85, 1.15)
        angle = np.pi / 2 + rng.normal(0, 0.35)
        daughters.append(cloud(points, 0.36, weights).turned(angle).moved(rng.normal(0, 0.6), side * half))
    return together(*daughters)


def apoptosis(rng: Generator) -> Cloud:
    """Four to nine smooth round fragments of very different size, shrunken together."""
    count = rng.integers(4, 10)
    radii = rng.uniform(0.7, 1.4, count)
    radii[: rng.integers(1, 3)] *= rng.uniform(1.4, 1.9)
    centres = scattered(rng, count) * [1, 1, 0.3] * rng.uniform(3.4, 5.2)
    brightness = radii**2 * rng.uniform(0.6, 1.3, count)
    fragments = [cloud(ball(rng, 150) * r + c, 0.34, b) for r, c, b in zip(radii, centres, brightness, strict=True)]
    return together(*fragments)


PHASES: dict[str, Callable[[Generator], Cloud]] = {
    "earlyana": early_anaphase,
    "lateana": late_anaphase,
    "telophase": telophase,
    "prophase": prophase,
    "prometaphase": prometaphase,
    "metaphase": metaphase,
    "interphase": interphase,
    "apoptosis": apoptosis,
}
