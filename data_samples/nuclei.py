"""Synthetic fluorescence images of cell nuclei with instance labels, made to be hard for a global threshold.

A widefield microscope is imitated: nuclei of any brightness on a haze of out-of-focus light, uneven illumination,
photon and read noise, another exposure for each image.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, label

from data_samples.drawing import smooth_noise, soft_step, write_pair

SEED = 20_241
PIXEL_SIZE_UM = 0.5
COUNTS = {"train": 20, "test": 8}
SHAPES = ((256, 256), (256, 256), (256, 256), (240, 320))
SMALLEST_AREA = 30  # pixels: less of a nucleus at the border is not drawn


@dataclass(frozen=True)
class Nucleus:
    """One nucleus as drawn: its outline in polar form, and its light.

    `brightness` is relative to the brightest nucleus of the image; lengths are in pixels, angles in radians.
    """

    y: float
    x: float
    radius: float
    elongation: float
    angle: float
    waves: np.ndarray  # (4, 2): amplitude and phase of the 2nd to 5th harmonic of the outline
    brightness: float
    texture: float
    softness: float
    nucleoli: np.ndarray  # (n, 4): y and x relative to the outline (-1..1), radius in pixels, depth 0..1


def outline_distance(nucleus: Nucleus, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of every pixel in the frame of a nucleus.

    Returns
    -------
    level, v, u : numpy.ndarray, (Y, X) float64
        `level` is 0 at the centre and 1 on the outline; `v` and `u` run along the short and the long axis.
    """
    dy, dx = np.ogrid[: shape[0], : shape[1]]
    dy, dx = dy - nucleus.y, dx - nucleus.x
    cos, sin, stretch = np.cos(nucleus.angle), np.sin(nucleus.angle), np.sqrt(nucleus.elongation)
    u = (dx * cos + dy * sin) / (nucleus.radius * stretch)
    v = (dy * cos - dx * sin) / (nucleus.radius / stretch)
    theta = np.arctan2(v, u)
    edge = 1 + sum(a * np.cos(k * theta + phase) for k, (a, phase) in enumerate(nucleus.waves, start=2))
    return np.hypot(u, v) / edge, v, u


def light(nucleus: Nucleus, level: np.ndarray, v: np.ndarray, u: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Opacity of a nucleus times its relative brightness, chromatin texture and nucleoli, (Y, X) float64."""
    dome = 0.7 + 0.3 * np.sqrt(np.clip(1 - level**2, 0, 1))
    signal = nucleus.brightness * dome * np.clip(1 + nucleus.texture * texture, 0.2, 2)
    for y, x, radius, depth in nucleus.nucleoli:
        squared = ((v - y) ** 2 + (u - x) ** 2) * (nucleus.radius / radius) ** 2
        signal = signal * (1 - depth * np.exp(-(squared**2)))
    return signal


def draw_nucleus(rng: np.random.Generator, y: float, x: float, radius: float, brightness: float) -> Nucleus:
    """Random nucleus at a place; one in 25 is a small bright one with condensed chromatin."""
    condensed = rng.random() < 1 / 25
    wave = rng.uniform(0, 1, 4) * np.array([0.10, 0.09, 0.045, 0.03]) * rng.uniform(0.3, 1.3)
    count = 0 if condensed else rng.integers(0, 5)
    nucleoli = rng.uniform([-0.5, -0.5, 1.2, 0.15], [0.5, 0.5, 2.8, 0.5], (count, 4))
    return Nucleus(
        y=y,
        x=x,
        radius=radius * (rng.uniform(0.4, 0.6) if condensed else np.exp(rng.normal(0, 0.16))),
        elongation=rng.uniform(1.4, 2.6) if condensed else 1 + rng.gamma(2.0, 0.19),
        angle=rng.uniform(0, np.pi),
        waves=np.stack([wave, rng.uniform(0, 2 * np.pi, 4)], axis=1),
        brightness=rng.uniform(1.0, 1.6) if condensed else brightness,
        texture=rng.uniform(0.05, 0.2),
        softness=rng.uniform(0.5, 1.4),
        nucleoli=nucleoli,
    )


def place(rng: np.random.Generator, centres: list, shape: tuple[int, int], radius: float, crowding: float) -> tuple:
    """Centre (y, x) of the next nucleus: beside an earlier one with probability `crowding`, else anywhere."""
    anywhere = rng.uniform(-0.03, 1.03, 2) * shape
    angle, distance = rng.uniform(0, 2 * np.pi), radius * rng.uniform(1.3, 2.3)
    pick, chance = rng.random(), rng.random()
    if not centres or chance > crowding:
        return tuple(anywhere)
    y, x = centres[int(pick * len(centres))]
    return y + distance * np.sin(angle), x + distance * np.cos(angle)


def fits(labels: np.ndarray, region: np.ndarray, areas: list[int]) -> bool:
    """Whether a nucleus drawn on top leaves each nucleus, itself included, in one piece and 60 % visible."""
    if region.sum() < SMALLEST_AREA or label(region)[1] != 1:
        return False
    for below in np.unique(labels[region]):
        left = (labels == below) & ~region
        if below and (left.sum() < 0.6 * areas[below - 1] or label(left)[1] != 1):
            return False
    return True


def draw_cells(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Nuclei of one field of view.

    Returns
    -------
    light : numpy.ndarray, (Y, X) float64
        Fluorescence before the microscope, about 1 in a bright nucleus.
    labels : numpy.ndarray, (Y, X) uint16
        0 is background, each nucleus has a number; where two overlap, that of the upper one.
    """
    radius = rng.uniform(8, 14)
    count = int(rng.uniform(0.14, 0.42) * shape[0] * shape[1] / (np.pi * radius**2))
    crowding, dimmest = rng.uniform(0.25, 0.6), rng.uniform(0.06, 0.13)
    # evenly spread on a logarithmic scale, a factor of 8 to 16 within an image; haze hides part of it
    brightness = dimmest ** (rng.permutation(np.linspace(0, 1, count)) ** rng.uniform(0.6, 1.8))
    texture = smooth_noise(rng, shape, rng.uniform(0.9, 1.8))
    field, labels = np.zeros(shape), np.zeros(shape, np.uint16)
    centres: list[tuple] = []
    areas: list[int] = []
    for value in brightness:
        y, x = place(rng, centres, shape, radius, crowding)
        nucleus = draw_nucleus(rng, y, x, radius, value)
        level, v, u = outline_distance(nucleus, shape)
        if not fits(labels, level < 1, areas):
            continue
        centres.append((y, x))
        areas.append(int((level < 1).sum()))
        labels[level < 1] = len(areas)
        cover = soft_step((1 - level) * nucleus.radius, 0.5 * nucleus.softness)
        field = field * (1 - 0.6 * cover) + cover * light(nucleus, level, v, u, texture)  # seen through the upper one
    return field, labels


def microscope(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """Image of a field of view: haze, uneven light, exposure, noise, offset.

    Photon noise is drawn as its Gaussian limit (mean = variance; at least 15 photons everywhere), because the
    numbers drawn by a Poisson sampler depend on the last bit of its mean.

    Parameters
    ----------
    rng : numpy.random.Generator
    field : numpy.ndarray, (Y, X) float64
        Fluorescence, about 1 in a bright nucleus.

    Returns
    -------
    numpy.ndarray, (Y, X) uint16
        Camera counts.
    """
    shape = field.shape
    haze = rng.uniform(0.1, 0.35) * gaussian_filter(field, rng.uniform(8, 16), mode="reflect")
    ghosts = rng.uniform(0.015, 0.05) * np.clip(smooth_noise(rng, shape, rng.uniform(12, 20)), 0, None)
    background = rng.uniform(0.03, 0.08) * (1 + 0.35 * np.clip(smooth_noise(rng, shape, 60), -2, 2))
    y, x = np.ogrid[: shape[0], : shape[1]]
    top, left = rng.uniform(0.2, 0.8, 2) * shape
    radius = np.hypot(y - top, x - left) / np.hypot(*shape)
    falloff = 1 - rng.uniform(0.2, 0.6) * radius**2
    exposure = np.exp(rng.uniform(np.log(700), np.log(5000)))  # photons in a bright nucleus
    sharp = gaussian_filter(field, rng.uniform(0.6, 1.1), mode="reflect")
    photons = np.clip(exposure * falloff * (sharp + haze + ghosts + background), 15, None)
    photons = photons + np.sqrt(photons) * rng.standard_normal(shape)
    counts = rng.uniform(90, 300) + rng.uniform(0.3, 0.7) * photons + rng.uniform(1.5, 3) * rng.standard_normal(shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def nuclei_image(split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (Y, X) uint16 and labels (Y, X) uint16 number `index` of "train" or "test"; each has its own seed."""
    rng = np.random.default_rng([SEED, list(COUNTS).index(split), index])
    field, labels = draw_cells(rng, SHAPES[index % len(SHAPES)])
    return microscope(rng, field), labels


def file_name(index: int) -> str:
    """Name of image number `index`."""
    return f"nuclei_{index + 1:02d}.tif"


def make_nuclei(folder: Path) -> None:
    """Write the sample `nuclei` into `folder`: {train,test}/{images,masks}/nuclei_01.tif ..."""
    for split, count in COUNTS.items():
        for index in range(count):
            write_pair(folder, split, file_name(index), *nuclei_image(split, index), PIXEL_SIZE_UM)
