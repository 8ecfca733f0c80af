"""Where training patches and prediction tiles lie, and how tiles are put together again."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from utils.errors import DataError
from utils.images.masks import counted

ROWS = 64  # rows of a predicted image that are handed on at a time
ATTEMPTS = 20  # positions tried per patch before the one with most foreground is taken
LARGEST_AUTOMATIC_PATCH = 512


def draw_position(
    mask: np.ndarray, patch: tuple[int, int], min_fraction: float, rng: np.random.Generator
) -> tuple[int, int]:
    """Draw the upper left corner (y, x) of a patch with at least `min_fraction` (0 to 1) of pixels with mask > 0.

    `mask` (Y, X) holds class ids, 0 = background, and is at least as large as `patch` (height, width). Where no
    position of `ATTEMPTS` reaches the share, the one with most foreground is taken; an image without foreground gives a
    uniformly drawn position, so that 0 and empty images work. Pixels that are `IGNORED` are not counted, and a patch
    of nothing else is taken only where the whole mask is like that.
    """
    best, best_share = None, -2.0
    for _ in range(ATTEMPTS):
        y, x = (int(rng.integers(0, size - side + 1)) for size, side in zip(mask.shape, patch, strict=True))
        share = _foreground_share(mask[y : y + patch[0], x : x + patch[1]])
        if share > best_share:
            best, best_share = (y, x), share
        if share >= min_fraction:
            break
    if best_share >= 0 or not counted(mask).any():
        return best
    return draw_around(counted(mask), patch, rng)


def _foreground_share(window: np.ndarray) -> float:
    """Share of the pixels of `window` that count which are foreground; -1 where none counts."""
    number = np.count_nonzero(counted(window))
    return np.count_nonzero(window > 0) / number if number else -1.0


def draw_around(wanted: np.ndarray, patch: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the upper left corner (y, x) of a patch that holds a random one of the `wanted` pixels, bool (Y, X).

    Where in the patch it lies is random, too: always in the middle, its place would tell its class.
    """
    pixel = np.unravel_index(rng.choice(np.flatnonzero(wanted)), wanted.shape)
    sides = zip(pixel, wanted.shape, patch, strict=True)
    return tuple(int(np.clip(at - rng.integers(side), 0, size - side)) for at, size, side in sides)


def grid_positions(shape: tuple[int, int], patch: tuple[int, int]) -> list[tuple[int, int]]:
    """Corners (y, x) of a grid of patches that covers every pixel of `shape`; patches overlap where they do not fit."""
    rows, columns = (tile_starts(size, side, 0) for size, side in zip(shape, patch, strict=True))
    return [(int(y), int(x)) for y in rows for x in columns]


def tile_starts(length: int, tile: int, overlap: int) -> np.ndarray:
    """Starts of tiles that cover `length` pixels with at least `overlap` in common; the last one ends at `length`.

    (n,) int64, ascending, evenly spaced up to rounding; a `length` of at most `tile` gives the single start 0. All are
    pixels; ValueError unless 0 <= overlap < tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must lie between 0 and the tile's side {tile} - 1")
    n = 1 if length <= tile else 1 + -(-(length - tile) // (tile - overlap))
    return np.linspace(0, max(length - tile, 0), n).round().astype(int)


def tile_layout(length: int, tile: int, overlap: int, multiple: int = 1) -> tuple[int, list[int]]:
    """Side and starts of the tiles for one axis: no more tiles than needed, no larger than needed.

    All are multiples of `multiple` (what the network needs its input's sides to be a multiple of), so that a network
    that pools sees every tile on the same grid as the whole image and answers alike; the last tile may reach past the
    end by less than `multiple`. `tile` is the largest side, itself a multiple of `multiple`; neighbours have at least
    `overlap` < tile pixels in common.
    """
    length, tile, overlap = (-(-pixels // multiple) for pixels in (length, tile, overlap))
    n = len(tile_starts(length, tile, overlap))
    if n == 1:
        return multiple * length, [0]
    side = -(-(length + (n - 1) * overlap) // n)
    return multiple * side, (multiple * tile_starts(length, side, overlap)).tolist()


def _ramp(tile: int, overlap: int) -> np.ndarray:
    """Weights (tile,) that fall linearly towards both ends over `overlap` pixels and are never 0."""
    distance = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1.0
    return np.minimum(distance / (overlap + 1), 1.0).astype(np.float32)


def predict_in_tiles(
    shape: tuple[int, int], predict: Callable[[slice, slice], np.ndarray], tile: int, overlap: int, multiple: int = 1
) -> Iterator[tuple[slice, np.ndarray]]:
    """Predict an image in overlapping tiles and blend them linearly; only one row of tiles is held in memory.

    Parameters
    ----------
    shape
        (Y, X) of the image.
    predict
        Called with the row slice and the column slice of a tile; returns float32 (height, width, n).
    tile, overlap, multiple
        See `tile_layout`. A tile at the image's end is cut off there, `predict` pads it if need be.

    Yields
    ------
    rows, block
        Slice of finished image rows, from top to bottom without gaps, and their values, float32 (rows, X, n).
    """
    (height, starts_y), (width, starts_x) = (tile_layout(length, tile, overlap, multiple) for length in shape)
    weight_y, weight_x = _ramp(height, overlap)[:, None, None], _ramp(width, overlap)[:, None]
    total_y, total_x = np.zeros((shape[0], 1, 1), np.float32), np.zeros((shape[1], 1), np.float32)
    for total, starts, weight in ((total_y, starts_y, weight_y), (total_x, starts_x, weight_x)):
        for start in starts:
            total[start : start + len(weight)] += weight[: len(total) - start]
    band = None  # weighted sums of the image rows y .. y + height
    for y, next_y in zip(starts_y, [*starts_y[1:], shape[0]], strict=True):
        for x in starts_x:
            values = predict(slice(y, min(y + height, shape[0])), slice(x, min(x + width, shape[1])))
            rows, columns, n = values.shape
            if band is None:
                band = np.zeros((height, shape[1], n), np.float32)
            band[:rows, x : x + columns] += values * weight_y[:rows] * weight_x[:columns]
        for top in range(y, next_y, ROWS):
            done = slice(top, min(top + ROWS, next_y))
            yield done, band[done.start - y : done.stop - y] / total_y[done] / total_x
        kept = y + height - next_y
        band[:kept] = band[height - kept :]  # in place: bands of a wide image with many classes are large
        band[kept:] = 0


def check_patch(
    sizes: Sequence[tuple[int, int]],
    patch: tuple[int, int],
    multiple_of: int,
    names: Sequence[str] | None = None,
) -> None:
    """Refuse a patch that does not fit.

    Parameters
    ----------
    sizes, patch
        Height and width of each image, and of the patch.
    multiple_of
        2 ** pooling_steps.
    names
        Name of each image, for the message.

    Raises
    ------
    DataError
        Patch larger than the smallest image, or a side that `multiple_of` does not divide.
    """
    small = [i for i, size in enumerate(sizes) if size[0] < patch[0] or size[1] < patch[1]]
    if small:
        least = min(small, key=lambda i: sizes[i][0] * sizes[i][1])
        name = f" {names[least]}" if names is not None else ""
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels (height x width) is larger than {len(small)} of the images; "
            f"the smallest,{name}, has {sizes[least][0]} x {sizes[least][1]}. "
            "Choose smaller patch_height and patch_width (0 = automatic), or leave the small images out."
        )
    if not all(side > 0 and side % multiple_of == 0 for side in patch):
        raise DataError(
            f"The patch of {patch[0]} x {patch[1]} pixels cannot be halved pooling_steps times. "
            f"Choose multiples of {multiple_of} for patch_height and patch_width."
        )


def automatic_patch(sizes: Sequence[tuple[int, int]], multiple_of: int) -> tuple[int, int]:
    """Height and width of the largest square patch of 2**n pixels that fits the smallest image, at most 512.

    `sizes` are height and width of each image; DataError where the smallest is smaller than `multiple_of`, 2 **
    pooling_steps.
    """
    shortest = min(min(size) for size in sizes)
    side = min(LARGEST_AUTOMATIC_PATCH, 2 ** (int(shortest).bit_length() - 1))
    if side < multiple_of:
        raise DataError(
            f"The smallest image has a side of {shortest} pixels, too small to be halved pooling_steps times "
            f"(it needs {multiple_of}). Choose fewer pooling_steps, or leave the small images out."
        )
    return side, side
