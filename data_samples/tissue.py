"""One synthetic tile of fibrotic liver with its semantic mask, made to be hard for pixel colour alone.

Collagen and cytoplasm take nearly the same colour, in another proportion for each patient; what tells them apart is
structure: drawn-out fibres with spindle-shaped nuclei against granular cells with round nuclei.
"""

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

from data_samples.drawing import smooth_noise, soft_step
from data_samples.histology import band_angle, cells, ellipses, fibres, scatter, septum_depth
from data_samples.staining import Patient, scan

SHAPE = (256, 256)
GLASS, TISSUE, FIBROSIS = 0, 1, 2


def draw_lumens(rng: np.random.Generator, slide: np.ndarray) -> np.ndarray:
    """Insides of none to four vessels, (Y, X) bool, none of them within 5 pixels of the empty slide (Y, X) bool."""
    shape = slide.shape
    lumens = np.zeros(shape, bool)
    y, x = np.indices(shape)
    near_slide = binary_dilation(slide, iterations=5)
    for vein_y, vein_x in rng.uniform(0.05, 0.95, (rng.integers(0, 5), 2)) * shape:
        stretch = np.exp(rng.normal(0, 0.2))
        distance = np.hypot((y - vein_y) * stretch, (x - vein_x) / stretch)
        lumen = distance < rng.uniform(7, 18) + 1.8 * smooth_noise(rng, shape, 7)
        if not (lumen & near_slide).any():
            lumens |= lumen
    return lumens


def draw_slide(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Empty slide beside the tissue, (Y, X) bool: a ragged edge in half of the tiles."""
    y, x = np.indices(shape) - np.array(shape)[:, None, None] / 2
    direction, offset = rng.uniform(0, 2 * np.pi), rng.uniform(30, 120)
    edge = y * np.sin(direction) + x * np.cos(direction) + 7 * smooth_noise(rng, shape, 10)
    return (edge > offset) & (rng.random() < 0.5)


def draw_mask(depth: np.ndarray, glass: np.ndarray, share: float) -> np.ndarray:
    """Classes of a tile, (Y, X) uint8: fibrosis is the deepest `share` (0..1) of what is not glass."""
    level = np.quantile(depth[~glass], 1 - share)
    return np.where(glass, GLASS, np.where(depth > level, FIBROSIS, TISSUE)).astype(np.uint8)


def blood(rng: np.random.Generator, lumens: np.ndarray, glass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stain of what lies on glass: plasma and red cells in vessels, lined by flat nuclei, and some floating debris.

    Returns
    -------
    hematoxylin, eosin : numpy.ndarray, (Y, X) float64
    """
    shape = lumens.shape
    outside, inside = distance_transform_edt(~lumens), distance_transform_edt(lumens)
    filling = rng.choice([0.0, 0.006, 0.04])
    cells_at = scatter(rng, filling * (inside > 2) + 0.0004 * (glass & ~lumens))
    red = ellipses(shape, cells_at, rng.uniform(2.2, 3.2, cells_at.shape).clip(2.5), np.zeros(len(cells_at)))
    plasma = rng.uniform(0, 0.25) * np.clip(1 + 0.5 * smooth_noise(rng, shape, 3), 0, None)
    ring = scatter(rng, 0.05 * ((outside > 0) & (outside < 2)))
    turned = band_angle(outside - inside)[tuple(np.rint(ring).astype(int).clip(0, np.array(shape) - 1).T)]
    flat = ellipses(shape, ring, rng.uniform([3, 0.9], [5, 1.4], ring.shape), turned)
    return 1.1 * flat, np.maximum(plasma * soft_step(inside - 3, 0.6), 0.95 * red)


def parenchyma(rng: np.random.Generator, patient: Patient, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stain of liver cells, drawn everywhere; nuclei and fat only where `allowed` (Y, X) bool.

    Returns
    -------
    hematoxylin, eosin : numpy.ndarray, (Y, X) float64
    """
    shape = allowed.shape
    centres, cell, border, slit = cells(rng, shape, patient.cell_size)
    grain = 0.15 * smooth_noise(rng, shape, 1.1) + 0.10 * smooth_noise(rng, shape, 2.2)
    eosin = 1 + grain + rng.normal(0, 0.08, len(centres))[cell] + 0.12 * np.exp(-((border / 0.8) ** 2))
    blue = patient.basophilia * (1 + grain + rng.normal(0, 0.15, len(centres))[cell])
    slit_width = patient.slit_width * np.clip(1 + 0.6 * smooth_noise(rng, shape, 12), 0, None)
    open_slit = soft_step(slit_width - slit, 0.3)
    droplets = scatter(rng, allowed * patient.fat / patient.cell_size**2)
    radii = rng.uniform(2.5, 9, len(droplets))[:, None] * rng.uniform(0.85, 1, (len(droplets), 2))
    hole = np.minimum(1.12 * ellipses(shape, droplets, radii, np.zeros(len(droplets))), 1)
    empty = (1 - 0.85 * open_slit) * (1 - hole)
    return np.maximum(blue * empty, parenchyma_nuclei(rng, centres, slit, allowed & (hole < 0.1))), eosin * empty


def parenchyma_nuclei(
    rng: np.random.Generator, centres: np.ndarray, slit: np.ndarray, allowed: np.ndarray
) -> np.ndarray:
    """Hematoxylin of round nuclei in cells and of flat ones along the sinusoids, where `allowed`."""
    shape = allowed.shape
    seen = centres[rng.random(len(centres)) < 0.85]
    twins = seen[rng.random(len(seen)) < 0.15] + rng.uniform(4, 6, 2)
    places = np.concatenate([seen + rng.normal(0, 1.5, seen.shape), twins])
    inside = np.rint(places).astype(int)
    inside = inside.clip(0, np.array(shape) - 1)
    places = places[allowed[tuple(inside.T)]]
    size = rng.uniform(2.9, 4.1, len(places))[:, None] * rng.uniform(0.88, 1, (len(places), 2))
    round_ones = ellipses(shape, places, size, rng.uniform(0, np.pi, len(places)))
    chromatin = 0.8 + 0.2 * smooth_noise(rng, shape, 0.9)
    lining = scatter(rng, allowed * (slit < 1.5) * 0.012)
    flat = ellipses(shape, lining, rng.uniform([2.5, 1], [4.0, 1.5], lining.shape), rng.uniform(0, np.pi, len(lining)))
    return np.maximum(round_ones * chromatin, 1.1 * flat)


def collagen(
    rng: np.random.Generator, patient: Patient, angle: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stain of fibrous tissue, drawn everywhere; nuclei only where `allowed` (Y, X) bool.

    Returns
    -------
    hematoxylin, eosin : numpy.ndarray, (Y, X) float64
    """
    shape = angle.shape
    fine, coarse = fibres(rng, angle, 9, 0.9), fibres(rng, angle, 14, 1.6)
    cleft = soft_step(fibres(rng, angle, 12, 1.2) - 1.75, 0.12)
    eosin = patient.collagen * (1 + 0.16 * fine + 0.12 * coarse) * (1 - 0.75 * cleft)
    spindles = scatter(rng, allowed * 0.004)
    turned = angle[tuple(np.rint(spindles).astype(int).clip(0, np.array(shape) - 1).T)]
    drawn = ellipses(shape, spindles, rng.uniform([3.5, 0.9], [6.0, 1.5], spindles.shape), turned)
    blue = patient.basophilia * (0.4 + 0.12 * fine) * (1 - 0.75 * cleft)
    return np.maximum(blue, 1.1 * drawn), eosin


def lymphocytes(rng: np.random.Generator, patient: Patient, mask: np.ndarray) -> np.ndarray:
    """Hematoxylin of small dark round nuclei in patches, four times as dense in fibrosis as among liver cells."""
    patches = np.clip(smooth_noise(rng, mask.shape, 14), 0, None) ** 2
    places = scatter(rng, patient.inflammation * patches * np.choose(mask, [0, 1, 4]))
    size = rng.uniform(1.8, 2.6, (len(places), 1)) * np.ones(2)
    return 1.3 * ellipses(mask.shape, places, size, np.zeros(len(places)))


def tissue_tile(rng: np.random.Generator, patient: Patient, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Image (Y, X, 3) uint8 and mask (Y, X) uint8 of a tile with the given share (0..1) of fibrosis."""
    depth, angle = septum_depth(rng, SHAPE)
    slide = draw_slide(rng, SHAPE)
    lumens = draw_lumens(rng, slide)
    glass = lumens | slide
    mask = draw_mask(depth, glass, share)
    blood_blue, blood_pink = blood(rng, lumens, glass)
    cell_blue, cell_pink = parenchyma(rng, patient, mask == TISSUE)
    fibre_blue, fibre_pink = collagen(rng, patient, angle, mask == FIBROSIS)
    thickness = 1 + 0.08 * smooth_noise(rng, SHAPE, 40)
    blue = np.choose(mask, [blood_blue, np.maximum(cell_blue, blood_blue), np.maximum(fibre_blue, blood_blue)])
    blue = np.maximum(blue, lymphocytes(rng, patient, mask)) * thickness
    pink = np.choose(mask, [blood_pink, cell_pink, fibre_pink]) * thickness
    return scan(rng, patient, blue, np.maximum(pink, 0.4 * blue), mask == FIBROSIS), mask
