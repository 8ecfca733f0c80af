"""From clouds of fluorescent points to 8-bit camera images, and these to files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.random import Generator
from scipy.ndimage import gaussian_filter

from data_samples.clouds import Cloud

SIZE = 64  # pixels along each side of a crop
# Blobs summed at once: their profiles stay in the cache, and so small a product is not spread over threads.
PORTION = 64


@dataclass(frozen=True)
class Microscope:
    """How a crop is taken; each pair is the range of a uniform draw per crop, the same for every class.

    Attributes
    ----------
    pixel_size : float
        um per pixel.
    blur : pair of float
        Standard deviation of the focus blur in um.
    peak : pair of float
        Brightness of the cell in the middle above the background, in grey levels; drawn on a logarithmic scale.
    background : pair of float
        Grey level without light.
    gradient : float
        Largest change of the background over the crop, in grey levels.
    haze : pair of float
        Share of the light that is scattered widely.
    read_noise : float
        Standard deviation of the camera noise without light, in grey levels.
    photon_noise : float
        Variance per grey level of light.
    neighbours : int
        Largest number of other cells at the border.
    neighbour_share : pair of float
        Brightness of a neighbour relative to the cell in the middle.
    """

    pixel_size: float
    blur: tuple[float, float]
    peak: tuple[float, float]
    background: tuple[float, float]
    gradient: float
    haze: tuple[float, float]
    read_noise: float
    photon_noise: float
    neighbours: int
    neighbour_share: tuple[float, float]


def project(cell: Cloud, pixel_size: float, blur: float) -> np.ndarray:
    """Return the light of a cloud on the camera, (SIZE, SIZE) float64; `blur` in um.

    A Gaussian blob is the product of its profiles along y and x, so that a matrix product sums them.
    """
    grid = (np.arange(SIZE)[:, None] - (SIZE - 1) / 2) * pixel_size
    sigma = np.hypot(cell.sigma, blur)
    image = np.zeros((SIZE, SIZE))
    for start in range(0, len(sigma), PORTION):
        part = slice(start, start + PORTION)
        along_y, along_x = (np.exp(-(((grid - p) / sigma[part]) ** 2) / 2) for p in cell.points[part, :2].T)
        image += (along_y * (cell.weights[part] / sigma[part] ** 2)) @ along_x.T
    return image


def peak_of(cell: Cloud, pixel_size: float, blur: float) -> float:
    """Return the brightness of the brightest hundredth of a crop with the whole cell in its middle."""
    middle = cell.points[:, :2].mean(axis=0)
    return float(np.percentile(project(cell.moved(*-middle), pixel_size, blur), 99))


def photograph(rng: Generator, cells: list[Cloud], scope: Microscope) -> np.ndarray:
    """Return a crop, (SIZE, SIZE) uint8, of `cells`; the first lies in the middle, the others only disturb."""
    blur = rng.uniform(*scope.blur)
    peak = np.exp(rng.uniform(*np.log(scope.peak)))
    shares = [1.0, *np.exp(rng.uniform(*np.log(scope.neighbour_share), len(cells) - 1))]
    view = {"pixel_size": scope.pixel_size, "blur": blur}
    light = peak * sum(s * project(c, **view) / peak_of(c, **view) for s, c in zip(shares, cells, strict=True))
    haze = rng.uniform(*scope.haze)
    light = (1 - haze) * light + haze * gaussian_filter(light, 3.0 / scope.pixel_size)
    light += rng.uniform(*scope.background) + slope(rng, scope.gradient)
    noise = rng.normal(size=light.shape) * np.sqrt(scope.read_noise**2 + scope.photon_noise * light)
    return np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)


def slope(rng: Generator, largest: float) -> np.ndarray:
    """Return an inclined plane, (SIZE, SIZE) float64, from 0 up to at most `largest` grey levels, of any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIZE, :SIZE] / (SIZE - 1)
    plane = y * np.sin(angle) + x * np.cos(angle)
    return (plane - plane.min()) / np.ptp(plane) * rng.uniform(0, largest)


def write_crop(path: Path, crop: np.ndarray, pixel_size: float) -> None:
    """Write a crop, (Y, X) uint8, as compressed TIFF that ImageJ opens with its pixel size (um)."""
    tifffile.imwrite(
        path,
        crop,
        imagej=True,
        compression="zlib",
        predictor=True,
        resolution=(1 / pixel_size, 1 / pixel_size),
        metadata={"axes": "YX", "unit": "um"},
    )
