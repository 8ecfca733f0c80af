"""What the generators share: smooth random fields, soft edges, and files with their pixel size."""

from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Gaussian random field.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the numbers; always `shape[0] * shape[1]` standard normals are drawn.
    shape : tuple of int
        Height and width in pixels.
    sigma : float
        Smoothing in pixels: features are about three times as wide.

    Returns
    -------
    numpy.ndarray, (Y, X) float64
        Mean 0, standard deviation 1.
    """
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (field - field.mean()) / field.std()


def soft_step(distance: np.ndarray, width: float) -> np.ndarray:
    """Logistic edge from 0 to 1, 0.5 where `distance` (pixels) is 0 and about four `width` (pixels) wide."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -40, 40)))


def write_pair(folder: Path, split: str, name: str, image: np.ndarray, mask: np.ndarray, pixel_size_um: float) -> None:
    """Write an image and its mask, same name, losslessly compressed, with the pixel size in ImageJ metadata.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the sample; `split`/images and `split`/masks are made in it.
    split : str
        "train" or "test".
    name : str
        File name, ending in .tif.
    image : numpy.ndarray, (Y, X) or (Y, X, 3)
        Kept in its dtype.
    mask : numpy.ndarray, (Y, X)
        Kept in its dtype.
    pixel_size_um : float
        Side of a pixel in micrometres.
    """
    for kind, array in (("images", image), ("masks", mask)):
        target = folder / split / kind
        target.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            target / name,
            array,
            imagej=True,
            photometric="rgb" if array.ndim == 3 else "minisblack",
            compression="zlib",
            compressionargs={"level": 9},
            predictor=kind == "images",
            resolution=(1 / pixel_size_um, 1 / pixel_size_um),
            metadata={"unit": "um", "axes": "YXS"[: array.ndim]},
        )
