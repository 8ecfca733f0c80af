"""How a laboratory stains and scans, how patients vary around it, and the RGB image that follows."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Protocol:
    """How a laboratory stains and scans; every patient varies around it.

    The default vectors are those of Ruifrok and Johnston (Anal Quant Cytol Histol 2001, 23:291) for H&E as ImageJ's
    Colour Deconvolution lists them: optical density in red, green and blue.
    """

    hematoxylin: tuple[float, float, float] = (0.644, 0.717, 0.267)
    eosin: tuple[float, float, float] = (0.093, 0.954, 0.283)
    hematoxylin_strength: float = 0.55
    eosin_strength: float = 0.32
    spread: float = 0.08  # standard deviation of the strengths between patients, on a logarithmic scale
    glass: tuple[float, float, float] = (243.0, 242.0, 245.0)  # colour of the empty slide


@dataclass(frozen=True)
class Patient:
    """What the tiles of one patient share: stain, and look of the tissue.

    `stains` is (2, 3), optical density in RGB of one unit of hematoxylin and of eosin; `glass` the RGB of the empty
    slide; `basophilia` the hematoxylin of cytoplasm and `collagen` the eosin of collagen, both in units of the
    cytoplasm's eosin; lengths in pixels; `fat` in droplets per cell; `inflammation` in lymphocytes per pixel.
    """

    stains: np.ndarray
    glass: np.ndarray
    basophilia: float
    collagen: float
    cell_size: float
    slit_width: float
    fat: float
    inflammation: float


def draw_patient(rng: np.random.Generator, protocol: Protocol) -> Patient:
    """Random patient of a laboratory."""
    vectors = np.array([protocol.hematoxylin, protocol.eosin]) + rng.normal(0, 0.02, (2, 3))
    strengths = np.array([protocol.hematoxylin_strength, protocol.eosin_strength])
    vectors = np.clip(vectors, 0.02, None) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Patient(
        stains=vectors * (strengths * np.exp(rng.normal(0, protocol.spread, 2)))[:, None],
        glass=np.array(protocol.glass) + rng.normal(0, 1.5, 3),
        basophilia=rng.uniform(0.31, 0.41),
        collagen=rng.uniform(0.57, 0.75),
        cell_size=rng.uniform(19, 23),
        slit_width=rng.uniform(0.9, 1.9),
        fat=rng.choice([0.02, 0.08, 0.2, 0.35]),
        inflammation=rng.uniform(0.0005, 0.003),
    )


def scan(rng: np.random.Generator, patient: Patient, hematoxylin: np.ndarray, eosin: np.ndarray) -> np.ndarray:
    """RGB image (Y, X, 3) uint8 by the law of Beer and Lambert, with the blur and noise of a scanner."""
    density = np.stack([hematoxylin, eosin], axis=-1) @ patient.stains
    light = gaussian_filter(patient.glass * 10.0**-density, (0.9, 0.9, 0))
    return np.clip(np.rint(light + rng.normal(0, 0.5, light.shape)), 0, 255).astype(np.uint8)
