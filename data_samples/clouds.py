"""Clouds of soft fluorescent points in three dimensions, and the shapes and textures that cells are drawn with.

Axes of a cloud are (y, x, z) in micrometres around the centre of the cell; z is the optical axis.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator


@dataclass(frozen=True)
class Cloud:
    """Fluorescent material as Gaussian blobs.

    Attributes
    ----------
    points : ndarray, (n, 3) float64
        Positions (y, x, z) in um.
    weights : ndarray, (n,) float64
        Light of each blob, arbitrary units.
    sigma : ndarray, (n,) float64
        Standard deviation of each blob in um.
    """

    points: np.ndarray
    weights: np.ndarray
    sigma: np.ndarray

    def moved(self, y: float, x: float) -> "Cloud":
        """Return the cloud shifted in the image plane by y, x (um)."""
        return replace(self, points=self.points + [y, x, 0.0])

    def turned(self, angle: float, tilt: float = 0.0) -> "Cloud":
        """Return the cloud tilted from x towards z, then turned in the image plane (both in radians)."""
        out_of_plane = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        in_plane = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        return replace(self, points=self.points @ (in_plane @ out_of_plane).T)

    def scaled(self, factor: float) -> "Cloud":
        """Return the cloud with all distances multiplied by `factor`."""
        return replace(self, points=self.points * factor)


def cloud(points: np.ndarray, sigma: float, weights: np.ndarray | float = 1.0) -> Cloud:
    """Return a Cloud whose blobs share one `sigma` (um)."""
    n = len(points)
    return Cloud(points, np.broadcast_to(weights, n).astype(float), np.full(n, sigma))


def together(*clouds: Cloud) -> Cloud:
    """Return all blobs of the clouds in one cloud."""
    return Cloud(*(np.concatenate([getattr(c, name) for c in clouds]) for name in ("points", "weights", "sigma")))


def ball(rng: Generator, n: int) -> np.ndarray:
    """Return n points, (n, 3), uniform in the unit ball."""
    directions = rng.normal(size=(n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * rng.uniform(size=(n, 1)) ** (1 / 3)


def scattered(rng: Generator, n: int) -> np.ndarray:
    """Return n points, (n, 3), of the unit ball, each the farthest of six candidates from those before it."""
    points = ball(rng, 1)
    for _ in range(n - 1):
        candidates = ball(rng, 6)
        distances = np.linalg.norm(candidates[:, None, :2] - points[:, :2], axis=2).min(axis=1)
        points = np.vstack([points, candidates[distances.argmax()]])
    return points


def flat_outline(rng: Generator, points: np.ndarray, long: float, short: float, lobes: float = 0.05) -> np.ndarray:
    """Stretch points of the unit disc, (n, 3), to an ellipse of semi-axes `long`, `short` (um) with a lobed rim."""
    angle = np.arctan2(points[:, 0], points[:, 1])
    waves = np.arange(2, 5)
    phases, heights = rng.uniform(0, 2 * np.pi, 3), rng.normal(0, lobes, 3) / [1, 1.5, 2.5]
    bumps = 1 + (heights * np.cos(waves * angle[:, None] + phases)).sum(1)
    return points * [short, long, 1.0] * np.column_stack([bumps, bumps, np.ones_like(bumps)])


def disc(rng: Generator, n: int) -> np.ndarray:
    """Return n points, (n, 3), of the flat disc that a nucleus on glass is; radius 1, z within 1 um."""
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(size=n) ** rng.uniform(0.48, 0.56)
    return np.column_stack([radius * np.sin(angle), radius * np.cos(angle), rng.uniform(-1, 1, n)])


def ripple(rng: Generator, points: np.ndarray, wavelength: float, strength: float) -> np.ndarray:
    """Return factors, (n,), of mean about 1 that vary smoothly in y, x: eight plane waves of about `wavelength` um."""
    angles, phases = rng.uniform(0, np.pi, 8), rng.uniform(0, 2 * np.pi, 8)
    wave_numbers = 2 * np.pi / (wavelength * rng.uniform(0.7, 1.5, 8))
    directions = np.column_stack([np.sin(angles), np.cos(angles)]) * wave_numbers[:, None]
    return np.exp(strength * np.cos(points[:, :2] @ directions.T + phases).sum(1) / 2)


def without_nucleoli(rng: Generator, points: np.ndarray, count: int, reach: float) -> np.ndarray:
    """Return factors, (n,), that darken `count` round nucleoli within `reach` um of the centre."""
    centres = ball(rng, count)[:, :2] * reach
    radii, depths = rng.uniform(0.9, 1.8, count), rng.uniform(0.45, 0.85, count)
    distance = np.linalg.norm(points[:, None, :2] - centres, axis=2)
    return np.prod(1 - depths * np.exp(-((distance / radii) ** 4)), axis=1)
