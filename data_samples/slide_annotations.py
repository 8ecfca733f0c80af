"""Annotations of a synthetic slide as a person draws them in QuPath: some regions, borders off by some pixels."""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import shapely
from scipy.ndimage import gaussian_filter
from shapely.geometry import mapping

from data_samples.drawing import smooth_noise
from data_samples.lobules import COARSE
from data_samples.slide_tissue import ARTEFACT, BACKGROUND, FIBROSIS, TISSUE, VESSEL, Painting
from utils.images.geojson import outline

STEP = 4  # a person does not see finer than so many pixels when drawing
NAMES = {BACKGROUND: "Background", TISSUE: "Tissue", FIBROSIS: "Fibrosis", VESSEL: "Vessel", ARTEFACT: "Ignore*"}
COLOURS = {"Background": [230, 230, 230], "Tissue": [200, 0, 0], "Fibrosis": [0, 110, 200]}
COLOURS |= {"Vessel": [255, 160, 0], "Ignore*": [120, 120, 120]}
REGIONS = {FIBROSIS: 3, TISSUE: 2, BACKGROUND: 1, ARTEFACT: 1}  # how many are begun in each class
RADIUS = (330, 520)  # of a region, pixels
SMALLEST = 1200.0  # area in pixels of what a person draws round


def draw_annotations(rng: np.random.Generator, painting: Painting, slide: str) -> dict:
    """A FeatureCollection of partial annotations: in each region tissue first, then what lies in it.

    Also holds what a file of QuPath has besides: a region to measure in, which is locked, a box without a class, a
    point.
    """
    features = [
        annotation(slide, geometry, name)
        for kind, number in REGIONS.items()
        for middle in starts(rng, painting, kind, number)
        for name, geometry in region(rng, painting, middle, kind)
    ]
    height, width = painting.size
    whole = shapely.box(100, 100, width - 100, height - 100)
    features.insert(0, annotation(slide, whole, "Region*", isLocked=True))
    features.append(annotation(slide, shapely.box(300, 300, 900, 800), "", name="scale"))
    features.append(annotation(slide, shapely.Point(width / 2, height / 2), "Tissue"))
    return {"type": "FeatureCollection", "features": features}


def annotation(slide: str, geometry: shapely.Geometry, class_name: str, **more: object) -> dict:
    """One object as QuPath writes it."""
    properties: dict[str, object] = {"objectType": "annotation"} | more
    if class_name:
        properties["classification"] = {"name": class_name, "color": COLOURS.get(class_name, [0, 0, 0])}
    shape = mapping(shapely.transform(geometry, lambda points: np.round(points, 2)))
    identity = str(uuid5(NAMESPACE_URL, f"{slide} {class_name} {shapely.to_wkt(geometry)}"))
    return {"type": "Feature", "id": identity, "geometry": shape, "properties": properties}


def starts(rng: np.random.Generator, painting: Painting, kind: int, number: int) -> list[np.ndarray]:
    """Middles of regions in pixels, y and x, of a class, not too close to each other and to the edge of the slide."""
    seen = painting.classes[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    margin = RADIUS[1] // COARSE
    here = np.argwhere((seen == kind)[margin:-margin, margin:-margin]) + margin
    kept: list[np.ndarray] = []
    for place in COARSE * here[rng.permutation(len(here))[:400]]:
        if len(kept) < number and all(np.hypot(*(place - other)) > 900 for other in kept):
            kept.append(place)
    return kept


def region(
    rng: np.random.Generator, painting: Painting, middle: np.ndarray, kind: int
) -> Iterator[tuple[str, shapely.Geometry]]:
    """Class and polygons of what is drawn round a place, in the order of drawing."""
    radius = rng.uniform(*RADIUS)
    corner = np.maximum(0, middle - RADIUS[1] - 40).astype(int)
    window = painting.classes[corner[0] : middle[0] + RADIUS[1] + 40, corner[1] : middle[1] + RADIUS[1] + 40]
    drawn = as_drawn(rng, window[STEP // 2 :: STEP, STEP // 2 :: STEP])
    free = freehand(rng, middle[::-1] - corner[::-1], radius)
    on_slide = lambda shape: shapely.transform(shape, lambda points: points + corner[::-1])  # noqa: E731
    if kind in (BACKGROUND, ARTEFACT):
        found = polygons(drawn == kind).intersection(free)
        yield from ((NAMES[kind], on_slide(found)),) if found.area > SMALLEST else ()
        return
    in_tissue = free.intersection(polygons(np.isin(drawn, (TISSUE, FIBROSIS, VESSEL))))
    for one, shape in (
        (TISSUE, in_tissue),
        *((c, polygons(drawn == c).intersection(in_tissue)) for c in (FIBROSIS, VESSEL)),
    ):
        parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area > SMALLEST]
        if parts:
            yield NAMES[one], on_slide(shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0])


def as_drawn(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    """Classes (Y, X) with borders as a hand draws them: smooth, and off by some pixels here and there."""
    shape = classes.shape
    moved = np.stack([1.4 * smooth_noise(rng, shape, 9), 1.4 * smooth_noise(rng, shape, 9)])
    y, x = np.rint(np.indices(shape) + moved).astype(int)
    shaken = classes[y.clip(0, shape[0] - 1), x.clip(0, shape[1] - 1)]
    likely = [gaussian_filter((shaken == one).astype(np.float32), 1.6) for one in NAMES]
    return np.array(list(NAMES), np.uint8)[np.argmax(likely, axis=0)]


def polygons(mask: np.ndarray) -> shapely.Geometry:
    """Outlines in full pixels of a mask with one pixel for `STEP` x `STEP`, drawn with few points."""
    shape = shapely.transform(shapely.simplify(outline(mask), 0.7), lambda points: points * STEP)
    return shape if shape.is_valid else shapely.make_valid(shape, method="structure", keep_collapsed=False)


def freehand(rng: np.random.Generator, middle: np.ndarray, radius: float) -> shapely.Polygon:
    """A roundish region."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = sum(rng.normal(0, 0.07) * np.cos(k * angles + rng.uniform(0, 6)) for k in (2, 3, 4))
    radii = radius * np.clip(1 + waves, 0.6, 1)
    return shapely.Polygon(middle + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))
