"""Objects and areas of an image as GeoJSON, as QuPath reads and writes it.

Coordinates are pixels of the full image, x then y; the upper left corner of the image is (0, 0) and the centre of its
first pixel (0.5, 0.5), as in QuPath. Format: https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd
import shapely
from scipy.ndimage import find_objects
from shapely.affinity import translate
from skimage.measure import find_contours
from skimage.segmentation import relabel_sequential

from utils.files import atomic

ANNOTATION, DETECTION = "annotation", "detection"
MIDDLE = 0.5  # of a pixel, from its corner
FINE = 0.1  # pixels by which a smooth line may be left: lines are never as near each other
NAMESPACE = uuid5(NAMESPACE_URL, "geojson")


def outline(mask: np.ndarray) -> shapely.Geometry:
    """Polygon or polygons, with their holes, round the True pixels of a mask (Y, X) bool; empty where there are none.

    The line runs through the middle between a pixel inside and its neighbour outside, so that `inside` gives the same
    pixels again; pixels that touch at a corner only belong to two polygons.
    """
    whole = polygons([line - 1 for line in borders(np.pad(mask, 1))])
    return whole.geoms[0] if len(whole.geoms) == 1 else whole


def borders(mask: np.ndarray, smooth: bool = False) -> list[np.ndarray]:
    """Lines (n, 2), x then y, between the True pixels of a mask (Y, X) bool and others; the True ones on their right.

    They are closed, or end at the centre of the first or last pixels of a row or column. `smooth` lines have no steps,
    and the same pixels on their right: what was drawn by hand is met better by them, but objects of a few pixels
    become too small.
    """
    lines = (line[:, ::-1] + MIDDLE for line in find_contours(mask.astype(np.float32), 0.5))
    return [_smooth(line) if smooth else _corners(line) for line in lines]


def _is_closed(line: np.ndarray) -> bool:
    return bool((line[0] == line[-1]).all())


def _smooth(line: np.ndarray) -> np.ndarray:
    """A line (n, 2) whose points were drawn to their neighbours twice, by the weights 1, 2, 1, but for open ends.

    Points that make no difference are left out.
    """
    closed = _is_closed(line)
    for _ in range(2):
        around = np.concatenate([line[-2:-1], line, line[1:2]]) if closed else np.pad(line, ((1, 1), (0, 0)), "edge")
        drawn = (around[:-2] + 2 * around[1:-1] + around[2:]) / 4
        line = drawn if closed else np.concatenate([line[:1], drawn[1:-1], line[-1:]])
    return shapely.get_coordinates(shapely.simplify(shapely.LineString(line), FINE, preserve_topology=False))


def _corners(line: np.ndarray) -> np.ndarray:
    """Points of a line (n, 2) without those on a straight line; of a closed one the first again at its end."""
    closed = _is_closed(line)
    points = line[:-1] if closed else line
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = (before != after).any(axis=1)
    if not closed:
        turns[[0, -1]] = True
    return np.concatenate([points[turns], points[turns][: int(closed)]])


def polygons(rings: Sequence[np.ndarray]) -> shapely.MultiPolygon:
    """Polygons of closed lines (n, 2) as `borders` has them: each hole in the smallest polygon that it lies in."""
    if not len(rings):
        return shapely.MultiPolygon()
    lines = shapely.linearrings(np.concatenate(rings), indices=np.repeat(np.arange(len(rings)), [*map(len, rings)]))
    is_hole = np.array([signed_area(ring) < 0 for ring in rings])
    shells, holes = lines[~is_hole], lines[is_hole]
    filled = shapely.polygons(shells)
    around, hole = shapely.STRtree(shapely.get_point(holes, 0)).query(filled, predicate="contains")
    order = np.argsort(shapely.area(filled)[around], kind="stable")
    _, first = np.unique(hole[order], return_index=True)
    owners = np.concatenate([np.arange(len(shells)), around[order][first]])
    order = np.argsort(owners, kind="stable")  # each shell before its holes
    return shapely.MultiPolygon(shapely.polygons(np.concatenate([shells, holes])[order], indices=owners[order]))


def signed_area(ring: np.ndarray) -> float:
    """Area that a closed line (n, 2) as `borders` has it goes round; negative for a hole."""
    x, y = (ring - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def inside(geometry: shapely.Geometry, shape: tuple[int, int], downsample: float = 1) -> np.ndarray:
    """Pixels of an image (Y, X) whose centres lie inside polygons, bool; `downsample`: full pixels per pixel of it."""
    mask = np.zeros(shape, bool)
    for part in shapely.get_parts(geometry):
        _fill(mask, part, downsample)
    return mask


def _fill(mask: np.ndarray, polygon: shapely.Polygon, downsample: float) -> None:
    """Set the pixels of one polygon: those to whose left an odd number of its lines cross the row of their centres.

    Only its bounding box is worked on. Not `skimage.draw.polygon`, whose time grows with points times pixels.
    """
    rings = [np.asarray(ring.coords) / downsample - MIDDLE for ring in (polygon.exterior, *polygon.interiors)]
    left, top = np.maximum(0, np.floor(rings[0].min(axis=0))).astype(int)
    right, bottom = np.minimum(mask.shape[::-1], np.ceil(rings[0].max(axis=0)).astype(int) + 1)
    if left >= right or top >= bottom:
        return
    y, x = np.concatenate([_crossings(ring) for ring in rings], axis=1)
    seen = (y >= top) & (y < bottom) & (x < right)
    crossed = np.zeros((bottom - top, right - left), np.uint8)
    np.add.at(crossed, (y[seen] - top, np.maximum(x[seen] - left, 0)), 1)
    mask[top:bottom, left:right] |= np.bitwise_xor.accumulate(crossed & 1, axis=1).astype(bool)


def _crossings(ring: np.ndarray) -> np.ndarray:
    """Row, and first whole column to the right, of each place (2, n) where a line crosses a row; points are x, y."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    first, last = (np.ceil(ends(y0, y1)).astype(int) for ends in (np.minimum, np.maximum))
    n = last - first
    edge = np.repeat(np.arange(len(n)), n)
    rows = np.arange(n.sum()) - np.repeat(n.cumsum() - n, n) + first[edge]
    columns = x0[edge] + (rows - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    return np.array([rows, np.ceil(columns).astype(int)])


def objects(labels: np.ndarray) -> Iterator[tuple[int, shapely.Geometry]]:
    """Label and outline of each object of a label image (Y, X), 0 is background; ascending."""
    dense, _, originals = relabel_sequential(labels)
    for number, place in enumerate(find_objects(dense), start=1):
        y, x = (one.start for one in place)
        yield int(originals[number]), translate(outline(dense[place] == number), x, y)


def feature(
    geometry: shapely.Geometry,
    kind: str,
    identity: str,
    class_name: str = "",
    colour: Sequence[float] = (),
    measurements: Mapping[str, float] | None = None,
    plane: Mapping[str, int] | None = None,
) -> dict:
    """One object or area, for `write_geojson`: its coordinates stay a geometry of shapely, which takes least memory.

    Parameters
    ----------
    geometry
        Polygon or MultiPolygon.
    kind
        `ANNOTATION` or `DETECTION`.
    identity
        What tells it from all others, such as file and label: the same gives the same id again.
    class_name, colour
        Its class, and the colour of the class: red, green, blue, each 0 to 1. QuPath asks for both.
    measurements
        Numbers by name; what is no number, or not finite, is left out.
    plane
        Of a stack: slice "Z" and frame "T", counted from 1.
    """
    properties = {"objectType": kind}
    if class_name:
        properties["classification"] = {"name": class_name, "color": [round(255 * part) for part in colour]}
    known = {name: float(value) for name, value in (measurements or {}).items() if _is_number(value)}
    if known:
        properties["measurements"] = known
    shape = {"type": geometry.geom_type}
    if plane:  # of every channel
        shape["plane"] = {"c": -1, "z": plane.get("Z", 1) - 1, "t": plane.get("T", 1) - 1}
    shape["coordinates"] = geometry
    return {"type": "Feature", "id": str(uuid5(NAMESPACE, identity)), "properties": properties, "geometry": shape}


def detections(
    labels: np.ndarray, table: pd.DataFrame, colours: Mapping[str, Sequence[float]], plane: Mapping[str, int]
) -> Iterator[dict]:
    """Detection of each object of a plane, with what is known of it.

    Parameters
    ----------
    labels
        (Y, X), 0 is background.
    table
        A row for each label, ascending: file, plane, label, class where there are classes, and measurements.
    colours
        Of each class, by its name; red, green, blue, each 0 to 1.
    plane
        See `feature`.
    """
    rows = table.drop(columns=["label", "plane"]).to_dict("records")
    for (number, geometry), row in zip(objects(labels), rows, strict=True):
        identity, name = f"{row['file']} {plane} {number}", row.get("class", "")
        yield feature(geometry, DETECTION, identity, name, colours.get(name, ()), row, plane)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def write_geojson(path: Path, features: Iterable[dict]) -> None:
    """Write a FeatureCollection, whole or not at all, one feature a line and one of their polygons in memory."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, one in enumerate(features):
            file.write(("," if number else "") + "\n")
            file.writelines(_text(one))
        file.write("\n]}\n")


def _text(one: dict) -> Iterator[str]:
    """A feature in parts: the annotation of a slide may have a million points."""
    shape, end = one["geometry"], "[]}}"
    first, last = "[]" if shape["type"] == "MultiPolygon" else ("", "")
    empty = one | {"geometry": shape | {"coordinates": []}}
    yield json.dumps(empty, ensure_ascii=False, allow_nan=False).removesuffix(end) + first
    for number, part in enumerate(shapely.get_parts(shape["coordinates"])):
        text = shapely.to_geojson(part)
        yield "," * bool(number) + text[text.index("[") : -1]
    yield last + "}}"
