"""How a laboratory stains and scans, how patients vary around it, and the RGB image that follows."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Protocol:
    """How a laboratory stains and scans; every patient varies around it.

    Stain vectors are optical density in red, green and blue. Those of the default are of Ruifrok and Johnston (Anal
    Quant Cytol Histol 2001, 23:291) for H&E as ImageJ's Colour Deconvolution lists them. Ranges are (low, high): every
    patient has a value between them.
    """

    hematoxylin: tuple[float, float, float] = (0.644, 0.717, 0.267)
    eosin: tuple[float, float, float] = (0.093, 0.954, 0.283)  # or the stain of cytoplasm in its place
    fibre_dye: tuple[float, float, float] = (0.093, 0.954, 0.283)
    hematoxylin_strength: float = 0.55
    eosin_strength: float = 0.32
    spread: float = 0.08  # standard deviation of the strengths between patients, on a logarithmic scale
    glass: tuple[float, float, float] = (243.0, 242.0, 245.0)  # colour of the empty slide
    basophilia: tuple[float, float] = (0.31, 0.41)  # hematoxylin of cytoplasm, in units of its eosin
    collagen: tuple[float, float] = (0.57, 0.75)  # stain of collagen other than hematoxylin, in the same units
    fibre_dye_share: tuple[float, float] = (0.0, 0.0)  # how much of that is the fibre dye; the rest is eosin
    blur: float = 0.9  # of the scanner, standard deviation in pixels


# Masson's trichrome gone wrong in the ways it does: taken too early out of the acid that draws the red out of collagen,
# so that this keeps more fuchsin than cytoplasm has and takes up little blue, how much differs from patient to patient;
# and too long in a blue hematoxylin (celestine blue and alum), so that cytoplasm is purplish. Collagen is darker than
# cytoplasm, where H&E has it paler. The vectors of hematoxylin, Ponceau fuchsin and methyl blue are those of ImageJ's
# Colour Deconvolution. The lamp is yellowish and the lens softer.
TRICHROME = Protocol(
    hematoxylin=(0.650, 0.704, 0.286),
    eosin=(0.100, 0.737, 0.668),
    fibre_dye=(0.800, 0.591, 0.105),
    hematoxylin_strength=0.50,
    eosin_strength=0.26,
    glass=(244.0, 238.0, 222.0),
    basophilia=(0.42, 0.60),
    collagen=(1.6, 2.1),
    fibre_dye_share=(0.05, 0.25),
    blur=1.1,
)


@dataclass(frozen=True)
class Patient:
    """What the tiles of one patient share: stain, and look of the tissue.

    `stains` is (3, 3), optical density in RGB of one unit of hematoxylin, of eosin, and of what takes the place of
    eosin in collagen; `glass` the RGB of the empty slide and `blur` that of the scanner (pixels); `basophilia` the
    hematoxylin of cytoplasm and `collagen` the stain of collagen, both in units of the cytoplasm's eosin; lengths in
    pixels; `fat` in droplets per cell; `inflammation` in lymphocytes per pixel.
    """

    stains: np.ndarray
    glass: np.ndarray
    blur: float
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
    strengths *= np.exp(rng.normal(0, protocol.spread, 2))
    look = {
        "glass": np.array(protocol.glass) + rng.normal(0, 1.5, 3),
        "basophilia": rng.uniform(*protocol.basophilia),
        "collagen": rng.uniform(*protocol.collagen),
        "cell_size": rng.uniform(19, 23),
        "slit_width": rng.uniform(0.9, 1.9),
        "fat": rng.choice([0.02, 0.08, 0.2, 0.35]),
        "inflammation": rng.uniform(0.0005, 0.003),
    }
    share = rng.uniform(*protocol.fibre_dye_share)
    fibre = strengths[1] * ((1 - share) * vectors[1] + share * np.array(protocol.fibre_dye))
    return Patient(stains=np.stack([*(vectors * strengths[:, None]), fibre]), blur=protocol.blur, **look)


def scan(
    rng: np.random.Generator, patient: Patient, hematoxylin: np.ndarray, eosin: np.ndarray, collagen: np.ndarray
) -> np.ndarray:
    """RGB image (Y, X, 3) uint8 by the law of Beer and Lambert, with the blur and noise of a scanner.

    `hematoxylin` and `eosin` are amounts of stain, (Y, X) float64; `collagen` (Y, X) bool is where the laboratory's
    stain of fibres takes the place of eosin.
    """
    nuclear, cytoplasmic, fibrous = patient.stains
    density = hematoxylin[..., None] * nuclear + eosin[..., None] * np.where(collagen[..., None], fibrous, cytoplasmic)
    light = gaussian_filter(patient.glass * 10.0**-density, (patient.blur, patient.blur, 0))
    return np.clip(np.rint(light + rng.normal(0, 0.5, light.shape)), 0, 255).astype(np.uint8)
