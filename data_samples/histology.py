"""Structures of a liver section: fibrous septa, hepatocytes, sinusoids, fat, nuclei. Lengths in pixels of 1 um.

Every function returns amounts of stain or geometry, (Y, X) float64; `data_samples.tissue` puts them together.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, grey_closing, grey_opening, map_coordinates
from scipy.spatial import cKDTree
from skimage.morphology import disk

from data_samples.drawing import smooth_noise, soft_step


def septum_depth(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """How deep a pixel lies in wavy bands that join portal tracts, and the direction of the bands.

    Returns
    -------
    depth : numpy.ndarray, (Y, X)
        Largest in the middle of a band; thresholding it at any level gives bands, wider for a lower level.
    angle : numpy.ndarray, (Y, X)
        Direction of the nearest band in radians, slightly wavy.
    """
    tracts = rng.uniform(-0.15, 1.15, (rng.integers(3, 6), 2)) * shape
    lines = np.zeros(shape, bool)
    steps = np.linspace(0, 1, 600)[:, None]
    for start, end in zip(tracts, np.roll(tracts, 1, axis=0), strict=True):
        bend = rng.normal(0, 12, 2) * np.sin(np.pi * steps) + rng.normal(0, 6, 2) * np.sin(3 * np.pi * steps)
        y, x = np.rint(start + (end - start) * steps + bend).astype(int).T
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        lines[y[inside], x[inside]] = True
    grid = np.moveaxis(np.indices(shape), 0, -1)
    to_tract = cKDTree(tracts).query(grid)[0]
    lines.flat[to_tract.argmin()] = True  # a tile that no line crosses still has a nearest band
    distance = distance_transform_edt(~lines)
    width = 3 * smooth_noise(rng, shape, 25) + 1.0 * smooth_noise(rng, shape, 4)
    depth = np.maximum(width - distance, rng.uniform(8, 18) + width + 2 * smooth_noise(rng, shape, 9) - to_tract)
    smallest = disk(3)  # no sliver and no hole narrower than 7 pixels at any level: nobody could tell what it is
    depth = grey_opening(grey_closing(depth, footprint=smallest), footprint=smallest)
    return depth, band_angle(distance) + 0.35 * smooth_noise(rng, shape, 9)


def band_angle(distance: np.ndarray) -> np.ndarray:
    """Direction along level lines of `distance` (radians), from its structure tensor."""
    dy, dx = np.gradient(gaussian_filter(distance, 3))
    yy, xy, xx = (gaussian_filter(product, 8) for product in (dy * dy, dx * dy, dx * dx))
    return 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2


def fibres(rng: np.random.Generator, angle: np.ndarray, half_length: int, sigma: float) -> np.ndarray:
    """Noise drawn out along `angle` (line integral convolution, doi:10.1145/166117.166151); mean 0, deviation 1."""
    noise = smooth_noise(rng, angle.shape, sigma)
    y, x = np.indices(angle.shape)
    streaks = np.zeros(angle.shape)
    for step in range(-half_length, half_length + 1):
        where = [y + step * np.sin(angle), x + step * np.cos(angle)]
        streaks += map_coordinates(noise, where, order=1, mode="mirror")
    return (streaks - streaks.mean()) / streaks.std()


def cell_centres(rng: np.random.Generator, shape: tuple[int, int], spacing: float) -> np.ndarray:
    """Centres of cells, (n, 2): a hexagonal lattice of the given spacing, shaken; reaches beyond the tile."""
    rows = np.arange(-1, shape[0] / (0.87 * spacing) + 1)
    columns = np.arange(-1, shape[1] / spacing + 1)
    y, x = np.meshgrid(rows * 0.87 * spacing, columns * spacing, indexing="ij")
    x = x + 0.5 * spacing * (rows % 2)[:, None]
    lattice = np.stack([y.ravel(), x.ravel()], axis=1)
    return lattice + rng.normal(0, 0.15 * spacing, lattice.shape)


def cells(rng: np.random.Generator, shape: tuple[int, int], spacing: float) -> tuple[np.ndarray, ...]:
    """Hepatocytes as a Voronoi mosaic, in plates between which sinusoids run.

    Returns
    -------
    centres : numpy.ndarray, (n, 2)
        y and x of each cell.
    cell : numpy.ndarray, (Y, X) int
        Row of `centres` that a pixel belongs to.
    border : numpy.ndarray, (Y, X)
        Distance to the next cell, about 0 on the membrane.
    slit : numpy.ndarray, (Y, X)
        The same where the next cell is of another plate, large elsewhere.
    """
    centres = cell_centres(rng, shape, spacing)
    warp = 1.5 * np.stack([smooth_noise(rng, shape, 4), smooth_noise(rng, shape, 4)])
    near, index = cKDTree(centres).query(np.moveaxis(np.indices(shape) + warp, 0, -1), k=2)
    plate = rng.random(len(centres)) < 0.5
    border = (near[..., 1] - near[..., 0]) / 2
    slit = np.where(plate[index[..., 0]] != plate[index[..., 1]], border, spacing)
    return centres, index[..., 0], border, slit


def ellipses(shape: tuple[int, int], places: np.ndarray, axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Soft-edged filled ellipses, 0 outside to 1 inside, with a denser rim as nuclei have it (up to 1.3).

    Parameters
    ----------
    shape : tuple of int
        Height and width of the picture.
    places, axes : numpy.ndarray, (n, 2)
        Centre (y, x), and half the length along and across.
    angles : numpy.ndarray, (n,)
        Direction of the long axis in radians.
    """
    picture = np.zeros(shape)
    for (y, x), (along, across), angle in zip(places, axes, angles, strict=True):
        top, left = (int(max(0, np.floor(c - along - 3))) for c in (y, x))
        window = picture[top : int(max(0, y + along + 4)), left : int(max(0, x + along + 4))]
        dy, dx = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
        dy, dx = dy - y, dx - x
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        level = np.hypot(u / along, v / across)
        np.maximum(window, soft_step((1 - level) * across, 0.35) * (0.9 + 0.4 * level**4), out=window)
    return picture


def scatter(rng: np.random.Generator, density: np.ndarray) -> np.ndarray:
    """Random places, (n, 2) y and x, with `density` (per pixel) expected at each pixel."""
    places = np.argwhere(rng.random(density.shape) < density)
    return places + rng.uniform(-0.5, 0.5, places.shape)
