"""Outlines of the classes of a slide, a row of tiles at a time: memory does not grow with the area of the slide."""

from collections.abc import Iterator

import numpy as np
import shapely
from scipy.ndimage import label

from utils.images.geojson import MIDDLE, outline
from utils.tasks.slides.tiles import TileStore

PINHOLE = 7  # pixels: a hole of more may go round a part that is no spot


def class_outline(store: TileStore, number: int, step: int = 1, tolerance: float = 0) -> shapely.MultiPolygon:
    """Polygons, with their holes, round all pixels of a class; see `utils.images.geojson.outline`.

    Parameters
    ----------
    number
        Of the class.
    step
        Every so many pixels of the class map are looked at, down and across; it divides the side of a tile.
    tolerance
        Lines are made simpler, never further than so many of these pixels from where they were; spots and holes that
        are smaller than a circle of that radius vanish.

    Returns
    -------
    shapely.MultiPolygon
        In the pixels that are looked at, x then y, from the upper left corner of the map.
    """
    whole, cut = [], []
    for inside, across in _rows(store, number, step, tolerance):
        whole.extend(inside)
        cut.extend(across)
    joined = shapely.get_parts(shapely.union_all(cut)) if cut else ()
    spot = np.pi * tolerance**2
    kept = [_filled(one, spot) for one in (*whole, *joined) if one.area >= spot]
    return _polygons(shapely.simplify(shapely.normalize(shapely.MultiPolygon(kept)), tolerance))


def _filled(polygon: shapely.Polygon, spot: float) -> shapely.Polygon:
    """A polygon without holes of less area than a spot."""
    rings = np.array(polygon.interiors, object)
    kept = rings[shapely.area(shapely.polygons(rings)) >= spot] if len(rings) else rings
    return shapely.Polygon(polygon.exterior, kept) if len(kept) < len(rings) else polygon


def _rows(store: TileStore, number: int, step: int, tolerance: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Polygons of each row of tiles: those that lie inside it, and those that go on in the next, cut where they do.

    The cut runs through the centres of the first pixels of a row: a line between pixels depends on the four round it
    alone, so that both sides of a cut fit.
    """
    n_rows, side = store.grid.size[0], store.grid.side // step
    for row in range(n_rows):
        mask = _without_spots(store.band(row, step) == number, np.pi * tolerance**2, row > 0, row < n_rows - 1)
        low = row * side + MIDDLE if row else -np.inf
        high = (row + 1) * side + MIDDLE if row < n_rows - 1 else np.inf
        polygons = shapely.get_parts(outline(mask))
        polygons = shapely.transform(polygons, lambda points, top=row * side: points + (0, top))
        _, first, _, last = shapely.bounds(polygons).T
        inside = (first > low) & (last < high)
        ends = np.nan_to_num([low, high], neginf=-1.0, posinf=store.grid.shape[0] + 1.0)
        cut = shapely.intersection(polygons[~inside], shapely.box(-1, ends[0], store.grid.shape[1] + 1, ends[1]))
        yield polygons[inside], shapely.get_parts(_polygons(cut))


def _without_spots(mask: np.ndarray, pixels: float, goes_up: bool, goes_on: bool) -> np.ndarray:
    """A mask without parts, and without holes, of so few pixels; what may go on in the next row or the last one stays.

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


def _polygons(geometries: shapely.Geometry | np.ndarray) -> shapely.MultiPolygon:
    """What of geometries is area."""
    parts = shapely.get_parts(shapely.get_parts(geometries))
    return shapely.MultiPolygon(parts[shapely.area(parts) > 0])
