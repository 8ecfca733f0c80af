"""Outlines of the classes of a slide, some lines of its map at a time: memory does not grow with the area of the slide.

Where tiles end changes nothing: the bands that are looked at do not follow them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from scipy.ndimage import label

from utils.images.geojson import borders, polygons, signed_area
from utils.tasks.slides.tiles import TileStore

AT_ONCE = 1 << 20  # pixels of a band, at most
HIGHEST = 128  # lines of it: the time that it takes to make long lines simpler grows with the square of their length
SMOOTHED = 0.5  # pixels: smooth lines are never further from the steps than that
PINHOLE = 7  # pixels: a hole of more may go round a part that is no spot


def class_outline(store: TileStore, number: int, step: int = 1, tolerance: float = 0) -> shapely.MultiPolygon:
    """Polygons, with their holes, round all pixels of a class, smooth; see `utils.images.geojson.borders`.

    Parameters
    ----------
    number
        Of the class.
    step
        Every so many pixels of the class map are looked at, down and across; it divides the side of a tile.
    tolerance
        Lines are made simpler, never further than so many of these pixels from where they were; spots and holes that
        are smaller than a circle of that radius vanish. At 0 `inside` gives the same pixels again.

    Returns
    -------
    shapely.MultiPolygon
        In the pixels that are looked at, x then y, from the upper left corner of the map.
    """
    lines = [line for band in _bands(store, number, step, tolerance) for line in band]
    spot = np.pi * tolerance**2
    return polygons([ring for ring in _closed(lines) if abs(signed_area(ring)) >= spot])


def _bands(store: TileStore, number: int, step: int, tolerance: float) -> Iterator[list[np.ndarray]]:
    """Lines round the pixels of a class in each band; they end where bands meet, and go on in the next from there.

    Bands meet in the centres of the first pixels of a line: a border depends on the four pixels round it alone, so that
    both sides fit. Simpler lines do not cross there either, as they stay in their band and their ends do not move.
    """
    height, width = (-(-length // step) for length in store.grid.shape)
    n_lines = max(1, min(HIGHEST, AT_ONCE // width))
    for top in range(0, height, n_lines):
        first, last = top == 0, top + n_lines >= height
        mask = store.lines(top, top + n_lines + 1, step) == number
        mask = _without_spots(mask, np.pi * tolerance**2, not first, not last)
        found = [line + (-1, top - first) for line in borders(np.pad(mask, ((first, last), (1, 1))), smooth=True)]
        if tolerance > SMOOTHED and found:
            simple = shapely.simplify(shapely.MultiLineString(found), tolerance - SMOOTHED)
            found = [shapely.get_coordinates(line) for line in shapely.get_parts(simple)]
        yield found


def _closed(lines: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Lines put together where one goes on at the end of another, all of them then closed."""
    starts = {tuple(line[0]): line for line in lines}
    while starts:
        _, line = starts.popitem()
        parts = [line]
        while (line := starts.pop(tuple(line[-1]), None)) is not None:
            parts.append(line)
        yield np.concatenate([parts[0][:1], *(part[1:] for part in parts)])


def _without_spots(mask: np.ndarray, pixels: float, goes_up: bool, goes_on: bool) -> np.ndarray:
    """A mask without parts, and without holes, of so few pixels; what may go on above or below stays.

    Saves the time for outlines of spots, which a network that is not sure makes by the thousand.
    """
    if pixels < 1:
        return mask
    numbers, n = label(mask)
    small = np.bincount(numbers.ravel(), minlength=n + 1) <= pixels
    if goes_up:
        small[numbers[0]] = False
    if goes_on:
        small[numbers[-1]] = False
    mask = mask & ~small[numbers]
    numbers, _ = label(np.pad(~mask, 1, constant_values=True), np.ones((3, 3)))  # the first surrounds all
    small = np.bincount(numbers.ravel()) <= min(pixels, PINHOLE)
    return mask | small[numbers[1:-1, 1:-1]] & ~mask
