"""Copies among small images that look alike anyway, above all between training and test."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import PIL.Image
from scipy.ndimage import gaussian_filter

from utils.images.normalise import percentiles

if TYPE_CHECKING:
    from utils.data.crops import Crop
    from utils.data.examples import Example

SIDE = 32  # pixels of the pictures that are compared
DETAILS = 0.7, 4.0  # standard deviations in pixels between which the structures lie that are compared
FARTHEST = 0.06  # 1 - correlation: in mitosis, jurkat_phases copies are below 0.03, different cells above 0.07
CLOSER = 0.15  # a copy is that much closer than a usual neighbour; of both sets copies are below 0.12
NEIGHBOURS = 30  # a usual neighbour is the 30th (or the one after a quarter of all images)
ROWS = 500  # images compared with all others at a time
COARSE, FINE = 32, 128  # sides in pixels of the two pictures that copies are looked for in
COARSE_SIMILARITY, FINE_SIMILARITY = 0.6, 0.7  # on nuclei and H&E: copies >= 0.75, different images <= 0.4


def near_duplicates(crops: Sequence["Crop"], others: Sequence["Crop"] = ()) -> pd.DataFrame:
    """Pairs of crops that are near copies, also if flipped, turned by 90 degrees, rescaled or brightened.

    Small pictures of each channel, without noise and slow changes of brightness, are correlated in all eight
    orientations. A pair is named where the correlation is above 0.94, and 1 minus it is less than 15 % of that with the
    30th nearest image: round cells resemble each other without being copies.

    Parameters
    ----------
    crops
        All of one number of channels.
    others
        Where given (test images), only pairs of one of `crops` and one of these are named.

    Returns
    -------
    DataFrame
        file_a, file_b, similarity (correlation), most similar first.
    """
    pictures = np.stack([_picture(one.image.array) for one in (*crops, *others)])  # (n, C, SIDE, SIDE)
    usual = np.empty(len(pictures))
    pairs = []
    for start in range(0, len(pictures), ROWS):
        distance = 1 - _similarity(pictures[start : start + ROWS], pictures)
        rows = np.arange(len(distance))
        distance[rows, start + rows] = 1
        rank = min(NEIGHBOURS, max(2, len(pictures) // 4), len(pictures) - 1)
        usual[start : start + ROWS] = np.partition(distance, rank, axis=1)[:, rank]
        pairs += [(start + a, b, distance[a, b]) for a, b in np.argwhere(distance < FARTHEST) if b > start + a]
    names = [one.name for one in (*crops, *others)]
    found = [
        (names[a], names[b], round(float(1 - far), 3))
        for a, b, far in pairs
        if far < CLOSER * min(usual[a], usual[b]) and (not others or a < len(crops) <= b)
    ]
    table = pd.DataFrame(found, columns=["file_a", "file_b", "similarity"])
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)


def _picture(array: np.ndarray) -> np.ndarray:
    """Structures of an image (Y, X, C): float32 (C, SIDE, SIDE) of length 1 in all; channels count alike.

    A channel that shows nothing becomes zeros.
    """
    planes = np.moveaxis(array.astype(np.float32), -1, 0)
    small = [PIL.Image.fromarray(plane).resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC) for plane in planes]
    fine, coarse = (gaussian_filter(small, (0, sigma, sigma)) for sigma in DETAILS)
    return _of_length_one(_of_length_one(fine - coarse, (1, 2)), None)


def _of_length_one(x: np.ndarray, axis: tuple[int, ...] | None) -> np.ndarray:
    """Minus the mean, divided by the length, over `axis`; what is even but for rounding becomes zeros."""
    x = x - x.mean(axis=axis, keepdims=True)
    length = np.sqrt(np.square(x).sum(axis=axis, keepdims=True))
    return np.divide(x, length, out=np.zeros_like(x), where=length > 1e-3)


def _similarity(some: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Largest correlation over eight orientations: (m, C, SIDE, SIDE), (n, C, SIDE, SIDE) -> (m, n)."""
    rows = pictures.reshape(len(pictures), -1)
    both = (some, some.swapaxes(-1, -2))
    turned = (np.rot90(one, k, (-2, -1)).reshape(len(some), -1) for one in both for k in range(4))
    return np.max([one @ rows.T for one in turned], axis=0)


def duplicates(examples: Sequence["Example"]) -> pd.DataFrame:
    """Pairs of images that are near copies, also if flipped, turned by 90 degrees, rescaled or brightened.

    Small pictures of the images, without their slow changes of brightness, are correlated in all eight orientations:
    first at 32 x 32 pixels, then, where that correlation is above 0.6, at 128 x 128. Columns: file_a, file_b,
    similarity (correlation at 128 x 128, above 0.7), most similar first.
    """
    fine = np.stack([_thumbnail(example.image.array) for example in examples])
    coarse = fine.reshape(len(fine), COARSE, FINE // COARSE, COARSE, FINE // COARSE).mean(axis=(2, 4))
    coarse, fine = _flattened(coarse), _flattened(fine)
    similar = np.max([coarse @ turned.T for turned in _orientations(coarse, COARSE)], axis=0)
    rows = []
    for a, b in np.argwhere(np.triu(similar > COARSE_SIMILARITY, 1)):
        similarity = max(float(fine[a] @ turned[0]) for turned in _orientations(fine[b : b + 1], FINE))
        if similarity > FINE_SIMILARITY:
            rows.append((examples[a].name, examples[b].name, round(similarity, 3)))
    table = pd.DataFrame(rows, columns=["file_a", "file_b", "similarity"])
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def _thumbnail(array: np.ndarray) -> np.ndarray:
    """Mean of the channels of an image (Y, X, C) at 128 x 128 pixels, float32, without specks and slow changes."""
    grey = PIL.Image.fromarray(array.mean(axis=-1, dtype=np.float32))
    small = np.asarray(grey.resize((FINE, FINE), PIL.Image.Resampling.BOX))
    low, high = percentiles(small[..., np.newaxis], 0.2, 99.8)
    small = np.clip(small, low, high)
    return small - gaussian_filter(small, FINE / 8)


def _flattened(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, side, side) as rows (n, side**2) of mean 0 and length 1; an even picture becomes zeros."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _orientations(rows: np.ndarray, side: int) -> list[np.ndarray]:
    """Rows (n, side**2) of flattened pictures in the eight orientations of a square."""
    pictures = rows.reshape(-1, side, side)
    both = (pictures, pictures.transpose(0, 2, 1))
    return [np.rot90(picture, k, axes=(1, 2)).reshape(rows.shape) for picture in both for k in range(4)]
