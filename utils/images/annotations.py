"""What a person drew on a slide in QuPath: GeoJSON to masks of classes.

Pixels that nobody annotated are `utils.images.masks.IGNORED`: they count neither in the loss nor in a score, and are
never background. As in QuPath's own training, annotations that are locked or have no class are left out, and so are
those of the class Region*. Coordinates: see `utils.images.geojson`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import shapely

from utils.errors import DataError, how_many
from utils.images.geojson import ANNOTATION, inside
from utils.images.masks import IGNORED

SUFFIXES = (".geojson", ".json")
OLD_TYPE = "PathAnnotationObject"  # QuPath 0.2 and earlier wrote the type in place of an id
REGION = "Region*"  # QuPath's class for where something is measured, not for what is there
BESIDE = 2  # pixels round a window that are kept when polygons are cut to it
OUT_OF_SLIDE = 0.01  # share of the annotated area beside the slide that a hand drawing over its edge explains
ANOTHER_SLIDE = 0.5
EXPORT = "Export the annotations again (QuPath: File > Export objects as GeoJSON)."
SET_CLASS = "Set the class of each in QuPath and export again if they are to be used."


class Area(NamedTuple):
    """One annotation: its polygons, the name of its class, and the colour of that: red, green, blue, 0 to 1, or ()."""

    geometry: shapely.Geometry
    class_name: str
    colour: tuple[float, ...] = ()


@dataclass(frozen=True)
class Annotations:
    """Annotations of a slide, in the order in which they are drawn: later ones lie over earlier ones.

    `remarks` are pairs of what is to be said of the file though it is read, and remedy.
    """

    path: Path
    areas: tuple[Area, ...]
    remarks: tuple[tuple[str, str], ...] = ()

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, each once, in the order of their first annotation."""
        return list(dict.fromkeys(area.class_name for area in self.areas))


def read_annotations(path: Path) -> Annotations:
    """Read GeoJSON as QuPath writes it.

    A FeatureCollection, a list of features, or one; objects within objects (childObjects) are drawn after those that
    they lie in. Polygons and MultiPolygons count, with their holes (rectangles and ellipses are polygons in the file);
    polygons that cross themselves are repaired. What is left out is said in the remarks: points and lines, objects
    other than annotations, those that are locked or have no class.

    Raises
    ------
    DataError
        Missing file, no JSON, JSON without any object, or nothing left that could be used.
    """
    path = Path(path)
    sorted_out = _Sorted(path)
    for one in _objects(_json(path), path):
        sorted_out.take(one)
    return sorted_out.annotations()


def class_mask(
    annotations: Annotations,
    ids: Mapping[str, int],
    shape: tuple[int, int],
    downsample: float = 1,
    corner: tuple[float, float] = (0, 0),
) -> np.ndarray:
    """Classes of the pixels of a slide, or of a window of it.

    Parameters
    ----------
    annotations
        Of the slide.
    ids
        Number of each class, by the name that it has in QuPath; several names may have one number, and `IGNORED` means
        that what is drawn there does not count. Annotations of other names are not drawn.
    shape
        Height and width of the mask.
    downsample
        Full pixels per pixel of the mask. A pixel has the class of the place of its centre.
    corner
        Upper left corner of the window, x and y in full pixels.

    Returns
    -------
    numpy.ndarray
        (Y, X), int16, `IGNORED` where nothing is drawn.
    """
    mask = np.full(shape, IGNORED, np.int16)
    left, top = corner
    height, width = (side * downsample for side in shape)
    window = shapely.box(left, top, left + width, top + height).buffer(BESIDE * downsample, join_style="mitre")
    for area in annotations.areas:
        if area.class_name in ids and area.geometry.intersects(window.envelope):
            part = shapely.clip_by_rect(area.geometry, *window.bounds)
            moved = shapely.transform(_polygons(part), lambda points: points - corner)
            mask[inside(moved, shape, downsample)] = ids[area.class_name]
    return mask


def class_table(annotations: Annotations, um_per_pixel: float | None) -> pd.DataFrame:
    """Class, number of annotations and their area in mm2 (in pixels where their size is not known), a row per class."""
    unit, factor = ("area [mm2]", um_per_pixel**2 / 1e6) if um_per_pixel else ("area [px]", 1.0)
    rows = [
        {
            "class": name,
            "annotations": sum(area.class_name == name for area in annotations.areas),
            unit: factor * sum(area.geometry.area for area in annotations.areas if area.class_name == name),
        }
        for name in annotations.class_names
    ]
    return pd.DataFrame(rows, columns=["class", "annotations", unit])


def check_place(annotations: Annotations, width: int, height: int) -> tuple[tuple[str, str], ...]:
    """Whether annotations lie on a slide of a given size in pixels: remarks on those that reach beyond its edge.

    DataError where most lie beside it: they were drawn on another slide, or on a smaller copy of this one.
    """
    slide = shapely.box(0, 0, width, height)
    areas = np.array([area.geometry.area for area in annotations.areas])
    beside = np.array([area.geometry.difference(slide).area for area in annotations.areas])
    if beside.sum() > ANOTHER_SLIDE * areas.sum():
        raise DataError(
            f"{annotations.path} was drawn on another image: {100 * beside.sum() / areas.sum():.0f} % of the area lies "
            f"beside this slide of {width} x {height} pixels. Check which slide it belongs to, and name it like that."
        )
    reach = int((beside > OUT_OF_SLIDE * areas).sum())
    what = f"{how_many(reach, 'annotation')} {'reaches' if reach == 1 else 'reach'} beyond the slide"
    return ((what, "Check that they were drawn on this slide; what lies beside it is left out."),) if reach else ()


def paired(slides: Iterable[Path], files: Iterable[Path]) -> dict[Path, Path]:
    """File of annotations of each slide that has one, by name: a.geojson or a.svs.geojson for a.svs."""
    named: dict[str, Path] = {}
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            named.setdefault(file.stem.casefold(), file)
    found = {slide: named.get(slide.name.casefold()) or named.get(_stem(slide)) for slide in slides}
    return {slide: file for slide, file in found.items() if file}


def _stem(slide: Path) -> str:
    """Name of a slide without its ending, for comparison: "a" for A.ome.tif."""
    return slide.stem.casefold().removesuffix(".ome")


def _json(path: Path) -> object:
    """What a file holds; numbers that are none ("NaN") may be written as QuPath does."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its name for a typing error.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the disk or the network.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not GeoJSON: it is damaged, or another kind of file. {EXPORT}") from error


def _objects(data: object, path: Path) -> Iterator[dict]:
    """Each object of the file that has a place for an outline, those that lie in another one after it."""
    waiting = [data]
    found = 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += reversed(one)
        elif isinstance(one, dict) and isinstance(one.get("features"), list):
            waiting += reversed(one["features"])
        elif isinstance(one, dict) and ("geometry" in one or "coordinates" in one):
            found += 1
            yield one if "geometry" in one else {"geometry": one}
            for part in (one, one.get("properties")):
                children = part.get("childObjects") if isinstance(part, dict) else None
                waiting += reversed(children) if isinstance(children, list) else []
    if not found:
        raise DataError(f"{path} holds no annotations. {EXPORT}")


class _Sorted:
    """Objects of a file, sorted into those that are used and the reasons why others are not."""

    def __init__(self, path: Path):
        self.path = path
        self.areas: list[Area] = []
        self.left_out: Counter[str] = Counter()
        self.repaired = 0

    def take(self, one: dict) -> None:
        """Take one object of the file."""
        properties = one["properties"] if isinstance(one.get("properties"), dict) else {}
        name, colour = _class_of(properties)
        if not _is_annotation(one, properties):
            self.left_out["other"] += 1
        elif properties.get("isLocked") is True:
            self.left_out["locked"] += 1
        elif name == REGION:
            self.left_out["region"] += 1
        else:
            geometry, reason, was_repaired = _geometry(one["geometry"])
            reason = reason or ("" if name else "no class")
            self.repaired += was_repaired and not reason
            if reason:
                self.left_out[reason] += 1
            else:
                self.areas.append(Area(geometry, name, colour))

    def annotations(self) -> Annotations:
        """All of them; DataError where none is left."""
        found = [(self.left_out[reason], what, remedy) for reason, what, remedy in REASONS]
        said = [(f"{number} {what}", remedy) for number, what, remedy in found if number]
        if not self.areas:
            told = "; ".join(what for what, _ in said)
            raise DataError(f"{self.path} holds no annotation that can be used ({told}). {said[0][1] or EXPORT}")
        if self.repaired:
            what = f"{how_many(self.repaired, 'outline')} crossed {'itself' if self.repaired == 1 else 'themselves'}"
            said.append((f"{what} and was repaired" if self.repaired == 1 else f"{what} and were repaired", ""))
        return Annotations(self.path, tuple(self.areas), tuple(said))


REASONS = [
    ("no class", "without a class left out, as QuPath does", SET_CLASS),
    ("locked", "locked left out, as QuPath does", "Unlock them in QuPath and export again if they are to be used."),
    ("region", f"of the class {REGION} left out: they say where to measure, not what is there", ""),
    ("line", "points or lines left out: only areas can be learned from", "Draw areas with the brush."),
    ("other", "cells, detections or tiles left out: only annotations are used", ""),
    ("empty", "without a usable outline left out", EXPORT),
]


def _is_annotation(one: dict, properties: dict) -> bool:
    """Whether an object is an annotation; files of other programs do not say what theirs are."""
    told = properties.get("objectType", properties.get("object_type"))
    if told is None and str(one.get("id", "")).startswith("Path"):
        return one["id"] == OLD_TYPE
    return told in (None, ANNOTATION)


def _class_of(properties: dict) -> tuple[str, tuple[float, ...]]:
    """Name and colour of the class of an object, "" and () where there is none."""
    told = properties.get("classification")
    if isinstance(told, str):
        return told.strip(), ()
    if not isinstance(told, dict):
        return "", ()
    names = told.get("names")
    name = ": ".join(map(str, names)) if isinstance(names, list) else str(told.get("name") or "")
    return name.strip(), _colour(told.get("color", told.get("colorRGB")))


def _colour(told: object) -> tuple[float, ...]:
    """Red, green and blue, 0 to 1, from three numbers or from the single one that Java packs them into."""
    if isinstance(told, int) and not isinstance(told, bool):
        told = [(told >> 16) & 255, (told >> 8) & 255, told & 255]
    if isinstance(told, list) and len(told) >= 3 and all(isinstance(one, int | float) for one in told[:3]):
        return tuple(min(max(one / 255, 0.0), 1.0) for one in told[:3])
    return ()


def _geometry(told: object) -> tuple[shapely.Geometry | None, str, bool]:
    """Polygons of an object, or None with the reason; and whether they had to be repaired."""
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "GeometryCollection" and isinstance(told.get("geometries"), list):
        parts = [_geometry(one) for one in told["geometries"]]
        known = [geometry for geometry, *_ in parts if geometry is not None]
        if not known:
            return None, parts[0][1] if parts else "empty", False
        return _polygons(shapely.union_all(known)), "", any(was for *_, was in parts)
    if kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        return None, "line", False
    polygons = {"Polygon": lambda: [told["coordinates"]], "MultiPolygon": lambda: told["coordinates"]}
    try:
        whole = shapely.MultiPolygon([_polygon(rings) for rings in polygons[kind]() if rings])
    except (KeyError, TypeError, ValueError, shapely.errors.GEOSException):
        return None, "empty", False
    whole, was_repaired = _repaired(whole)
    return (None, "empty", False) if whole.is_empty or not whole.area else (whole, "", was_repaired)


def _polygon(rings: Sequence[Sequence[Sequence[float]]]) -> shapely.Polygon:
    """Polygon from its rings, the outer one first; ValueError where a coordinate is no number."""
    points = [np.array([point[:2] for point in ring], np.float64) for ring in rings]
    if not all(np.isfinite(ring).all() for ring in points):
        raise ValueError("no number")
    return shapely.Polygon(points[0], points[1:])


def _repaired(geometry: shapely.Geometry) -> tuple[shapely.Geometry, bool]:
    """A valid geometry of polygons alone, and whether it was another one before."""
    if geometry.is_valid:
        return geometry, False
    return _polygons(shapely.make_valid(geometry, method="structure", keep_collapsed=False)), True


def _polygons(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """The polygons of a geometry, without its points and lines."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.MultiPolygon([part for part in parts if isinstance(part, shapely.Polygon) and not part.is_empty])


def is_ignored_class(name: str) -> bool:
    """Whether QuPath makes no objects of a class, as of Ignore*: its name ends with a star."""
    return name.endswith("*")
