"""Amounts of stain by colour deconvolution, and the area of collagen by a threshold: the opponent of a network.

Method: Ruifrok and Johnston, Anal Quant Cytol Histol 2001, 23:291. The light that is left falls exponentially with the
amount of stain (law of Beer and Lambert), so that optical densities add up.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from skimage.color import colorconv

H_AND_E, PICROSIRIUS_RED, TRICHROME = "H&E", "PicroSirius Red", "Masson's trichrome"
DARKEST = 1.0  # of 0 to 255: black has no logarithm
EMPTY = 0.05  # mean optical density below which there is nothing on the glass


class Stain(NamedTuple):
    """Optical density in red, green and blue of the stain of collagen and of the other one; each of length 1.

    A pixel is collagen where there is more than `threshold` of its stain, and more than `ratio` times as much as of the
    other.
    """

    collagen: np.ndarray
    other: np.ndarray
    threshold: float
    ratio: float


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, np.float64) / np.linalg.norm(vector)


# H&E has no stain of collagen: what has eosin and hardly any hematoxylin is taken for it, which cytoplasm may be, too.
# Vectors of H&E (Ruifrok and Johnston) and of methyl blue with Ponceau fuchsin (G. Landini, Colour Deconvolution of
# ImageJ) are those of scikit-image. It has none of Sirius Red and picric acid: these are the reference vectors of
# liverquant (M. Farzi, MIT licence, https://github.com/mfarzi/liverquant, src/liverquant/colorutil.py), found in slides
# of liver as Macenko et al. do (2009, doi:10.1109/ISBI.2009.5193250).
SIRIUS_RED, PICRIC_ACID = (0.29700838, 0.77096590, 0.56338051), (0.18553988, 0.23285926, 0.95464733)
STAINS: Mapping[str, Stain] = {
    H_AND_E: Stain(_unit(colorconv.rgb_from_hed[1]), _unit(colorconv.rgb_from_hed[0]), 0.12, 1.7),
    PICROSIRIUS_RED: Stain(_unit(SIRIUS_RED), _unit(PICRIC_ACID), 0.12, 1.1),
    TRICHROME: Stain(_unit(colorconv.rgb_from_bpx[0]), _unit(colorconv.rgb_from_bpx[1]), 0.2, 1.2),
}


def optical_density(rgb: np.ndarray, white: np.ndarray | float = 255.0) -> np.ndarray:
    """Optical density -log10(light / white) of a picture (..., 3) of 8 bits, float32, 0 where it is brighter.

    `white` is the colour (3,) of the empty slide.
    """
    light = np.maximum(rgb.astype(np.float32), DARKEST) / np.asarray(white, np.float32)
    return np.maximum(-np.log10(light), 0)


def amounts(rgb: np.ndarray, stain: str, white: np.ndarray | float = 255.0) -> np.ndarray:
    """Amounts of the stain of collagen and of the other one.

    Parameters
    ----------
    rgb
        (Y, X, 3) uint8.
    stain
        A key of `STAINS`.
    white
        Colour (3,) of the empty slide.

    Returns
    -------
    numpy.ndarray
        (Y, X, 2) float32, in units of optical density, none negative. What neither of the two explains is left out.
    """
    one = STAINS[stain]
    rest = _unit(np.cross(one.collagen, one.other))
    unmix = np.linalg.inv(np.stack([one.collagen, one.other, rest])).astype(np.float32)
    return np.maximum(optical_density(rgb, white) @ unmix[:, :2], 0)


def collagen(rgb: np.ndarray, stain: str, white: np.ndarray | float = 255.0) -> np.ndarray:
    """Amount of the stain of collagen (Y, X) as `amounts` has it; 0 where there is too little beside the other one."""
    found = amounts(rgb, stain, white)
    return np.where(found[..., 0] > STAINS[stain].ratio * found[..., 1], found[..., 0], 0)


def collagen_mask(
    rgb: np.ndarray, stain: str, threshold: float | None = None, white: np.ndarray | float = 255.0
) -> np.ndarray:
    """Pixels (Y, X) bool of collagen, by colour alone; `threshold` in optical density, None: that of the stain."""
    return collagen(rgb, stain, white) > (STAINS[stain].threshold if threshold is None else threshold)


def by_colour(rgb: np.ndarray, stain: str, threshold: float | None = None) -> np.ndarray:
    """What each pixel is, by colour alone, uint8 (Y, X): 0 nothing, 1 tissue, 2 collagen; see `collagen_mask`."""
    there = optical_density(rgb).mean(axis=-1) > EMPTY
    return np.where(collagen_mask(rgb, stain, threshold), 2, there).astype(np.uint8)
