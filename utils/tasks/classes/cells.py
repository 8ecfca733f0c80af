"""The objects of segmented images, cut out one by one and classified: a table, and pictures in the classes' colours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from skimage.measure import regionprops_table
from skimage.segmentation import relabel_sequential

from utils.data.folders import find_images, pair
from utils.errors import DataError
from utils.files import atomic, write_csv, write_json
from utils.images.geojson import detections
from utils.images.image import Image, read_mask, whole_numbers
from utils.images.stacks import Planes, read_planes
from utils.names import EQUAL
from utils.pages.colours import class_colours
from utils.pages.figures import add_legend, class_entries, png
from utils.pages.pictures import SHOWN_ALONE, label_overlay, write_png
from utils.paths import resolve, shown_path
from utils.tasks.classes.predict import (
    CLASS_ORIGIN,
    Classifier,
    check_tables,
    counts_by_class,
    keep_corrected,
    prediction_table,
)
from utils.tasks.results import (
    ORIGIN,
    Found,
    GrowingTable,
    Results,
    check_channels,
    distinct_names,
    foreign_file,
    keep_earlier,
    left_out,
)

TABLE = "object_classes.csv"
FIRST_COLUMNS = ("file", "plane", "label", "class", "uncertain")
OBJECT_SHARES = "object_class_counts.csv"
FIRST_OF_SHARES = ("file", "class", "objects", "share [%]")
HOW_MANY = "How many objects of each class, of all images together"  # caption of a table
OVERLAYS = "class_overlays"  # overlays/ may hold those of the segmentation
LEGEND = "class_legend.png"
BLOCK = 256  # crops in memory at a time


def object_boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a plane, ascending (n,), and their boxes (n, 4): first row and column, those after the last."""
    dense, _, originals = relabel_sequential(labels)
    found = regionprops_table(dense, properties=("label", "bbox"))
    numbers = np.asarray(originals)[found["label"]].astype(np.int64)
    return numbers, np.stack([found[f"bbox-{i}"] for i in range(4)], axis=1).astype(np.int64)


def crop_sizes(boxes: np.ndarray, size: tuple[int, int], context: float = 0.0) -> np.ndarray:
    """Height and width of the crop of each object in pixels, shape (n, 2); arguments as `crops_of_objects`."""
    if not context:
        return np.tile(np.array(size, np.int64), (len(boxes), 1))
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    return np.maximum(1, np.round(context * longest).astype(np.int64)).repeat(2, axis=1)


def crops_of_objects(
    image: np.ndarray, labels: np.ndarray, size: tuple[int, int], context: float = 0.0
) -> Iterator[tuple[int, np.ndarray]]:
    """Cut out each object (label, crop in ascending order of labels), with what lies around it.

    `image` is (Y, X, C), may be memory-mapped, `labels` (Y, X) has 0 for background. Crops have `size` (height, width)
    in pixels; with `context` above 0 each is a square of `context` times the longest side of the object's bounding box,
    for a classifier that was trained on tight crops of different sizes. The middle of the box lies in the middle of the
    crop (half a pixel above or left of it where that falls between two pixels); beyond the border it is mirrored.
    ValueError if image and labels differ in size.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"the image is {image.shape[:2]} pixels, the labels {labels.shape}")
    numbers, boxes = object_boxes(labels)
    sizes = crop_sizes(boxes, size, context)
    margin = int(sizes.max(initial=0))  # the middle of a crop lies in the image, so none reaches further
    rows, columns = (np.pad(np.arange(side), margin, mode="symmetric") for side in labels.shape)
    corners = (boxes[:, :2] + boxes[:, 2:] - sizes) // 2 + margin
    for number, (y, x), (height, width) in zip(numbers.tolist(), corners, sizes, strict=True):
        yield number, np.asarray(image[np.ix_(rows[y : y + height], columns[x : x + width])])


@dataclass
class FoundCells(Found):
    """What is told of one file: also how many objects do not fit into their crops, and outlines for QuPath."""

    cut: int = 0
    features: list[dict] = field(default_factory=list)


class CellResults(Results):
    """Classifies each object of segmented images and stacks, one plane in memory at a time.

    Writes object_classes.csv (a row per object: file, plane, label, then as `prediction_table`; can be corrected and
    trained on in the StarDist notebook), object_class_counts.csv (each class in each image),
    class_overlays/<image>.png (of the middle plane), class_legend.png, qupath_classes/<image>.geojson and
    classification.json. The folder may be that of the segmentation.

    Parameters
    ----------
    labels
        Label images of the same names, or a folder that a StarDist prediction has written; where it is given as the
        folder of the images too, these are the images that prediction was made from.
    crop_size, context
        See `crops_of_objects`; None takes the size that the network sees.
    """

    verb, outlines = "classified", "qupath_classes"  # qupath/ may hold those of the segmentation

    def __init__(self, *given, labels: Path, crop_size: tuple | None = None, context: float = 0.0, **more):
        super().__init__(*given, **more)
        self.labels, self.context = labels, context
        self.size = tuple(crop_size or self.description["input"]["size"])
        self.table, self.cut = GrowingTable(self.folder / TABLE), 0
        shown = class_colours([{"id": one["id"] + 1} for one in self.predictor.classes])  # as in the overlays
        self.colours = {one["name"]: shown[one["id"] + 1] for one in self.predictor.classes}

    def files(self) -> list[tuple[Path, Path]]:
        """See `Results`; pairs of image and label image."""
        pairs, self.warnings = find_segmented(self.images, self.labels)
        check_tables(self.folder, {TABLE: FIRST_COLUMNS, OBJECT_SHARES: FIRST_OF_SHARES})
        own = [one for image, _ in pairs for one in (self._overlay(image), self.outlines_of(image))]
        pictures = (self.folder / LEGEND, *own)
        if not (self.folder / TABLE).exists() and (found := [path for path in pictures if path.exists()]):
            raise foreign_file(found[0])
        self.images = pairs[0][0].parent
        return pairs

    def _overlay(self, image: Path) -> Path:
        return self.folder / OVERLAYS / f"{image.stem}.png"

    def told(self) -> dict:
        """See `Results`."""
        return super().told() | {"label_folder": shown_path(self.labels)}

    def begin(self, files: list[tuple[Path, Path]]) -> None:
        """See `Results`; a table with corrections is set aside too."""
        self.warnings += keep_earlier(self.folder, [image.name for image, _ in files], [TABLE, OBJECT_SHARES])
        self.warnings += keep_corrected(self.folder, [TABLE])
        write_json(self.folder / CLASS_ORIGIN, self.told())
        _write_legend(self.folder / LEGEND, self.predictor.classes)

    def predict_one(self, file: tuple[Path, Path]) -> FoundCells:
        """See `Results`."""
        with left_out():
            planes = read_planes(file[0], self.axes, self.pixel_size)
            found = FoundCells(pixel_size_um=planes.pixel_size_um, path=file[0], remarks=planes.remarks)
            for number, (image, labels) in enumerate(labelled_planes(planes, file[1], self.axes)):
                check_channels(image.array, image.path, self.description)
                class_ids = self._classify(planes, number, image, labels, found)
                if number == len(planes) // 2:  # colour 0 is that of background
                    shown = {label: class_id + 1 for label, class_id in class_ids.items()}
                    picture = label_overlay(image.array, labels, class_ids=shown, brighten=True, shown=SHOWN_ALONE)
        write_png(self._overlay(file[0]), picture)
        self.write_outlines(file[0], planes.pixel_size_um, found.features)
        return found

    def _classify(self, planes: Planes, number: int, image: Image, labels: np.ndarray, found: FoundCells) -> dict:
        """Add the objects of a plane to `found`; returns label -> class id."""
        numbers, boxes = object_boxes(labels)
        crops = (crop for _, crop in crops_of_objects(image.array, labels, self.size, self.context))
        probabilities = np.concatenate(list(_in_blocks(self.predictor, crops)))
        n = len(numbers)
        places = {"file": [planes.path.name] * n, "plane": [number + 1] * n, "label": numbers}
        found.rows.append(prediction_table(places, probabilities, self.predictor.classes))
        if self.wants_outlines(planes.pixel_size_um):
            found.features += detections(labels, found.rows[-1], self.colours, planes.position(number))
        seen = crop_sizes(boxes, self.size, self.context)
        if self.description["input"]["fit"] == "pad":  # such a network cuts off what is larger than it
            seen = np.minimum(seen, self.description["input"]["size"])
        found.cut += int((boxes[:, 2:] - boxes[:, :2] > seen).any(axis=1).sum())
        return dict(zip(numbers.tolist(), probabilities.argmax(axis=1).tolist(), strict=True))

    def append(self, found: FoundCells, rows: list[pd.DataFrame]) -> None:
        """See `Results`."""
        self.table.append(found.rows)
        self.cut += found.cut

    def end(self, table: pd.DataFrame) -> None:
        """See `Results`."""
        write_csv(self.folder / OBJECT_SHARES, *self.remarked([self._shares(table)]))
        self.warnings += _cut_doubt(self.cut)

    def summary(self, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """See `Results`."""
        return {HOW_MANY: counts_by_class(table, self.predictor.classes, "objects")}

    def _shares(self, table: pd.DataFrame) -> pd.DataFrame:
        """How many objects of each class each image holds, see `counts_by_class`."""
        parts = [
            counts_by_class(own, self.predictor.classes, "objects").assign(file=file)
            for file, own in table.groupby("file", sort=False)
        ]
        counts = (
            pd.concat(parts) if parts else counts_by_class(table, self.predictor.classes, "objects").assign(file="")
        )
        return counts[["file", *counts.columns.drop("file")]]


def _in_blocks(classifier: Classifier, crops: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Probabilities (n, classes) of some crops after the other; at least once, of none."""
    block = list(islice(crops, BLOCK))
    yield classifier.probabilities(block)
    while block := list(islice(crops, BLOCK)):
        yield classifier.probabilities(block)


def _cut_doubt(cut: int) -> list[str]:
    """Warning that objects are larger than what the network is shown of them, as a list."""
    if not cut:
        return []
    return [
        f"Of {cut} objects only the middle was classified: they are larger than the crops that the network is shown. "
        "Cut crops of the size that the training images have, and train with images large enough for such objects."
    ]


def _write_legend(path: Path, classes: Sequence[dict]) -> None:
    """Write a picture that tells the colour of each class."""
    figure = Figure(figsize=(6, 0.5 + 0.35 * len(classes)), layout="constrained")
    add_legend(figure, class_entries([{"id": one["id"] + 1, "name": one["name"]} for one in classes]), columns=1)
    with atomic(path) as temporary:
        temporary.write_bytes(png(figure))


def find_segmented(images: Path, labels: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs of image and label image, see `CellResults`, and sentences on what has no partner.

    DataError: no such folder, no image has a label image, or two images of one name.
    """
    images = _segmented_folder(labels) if images == labels else images
    if (labels / ORIGIN).exists():
        labels = labels / "labels"
    pairs, problems, rule = pair(find_images(images), find_images(labels, masks=True), images, labels)
    if not pairs:
        raise DataError(
            f"No image in {images} has a label image in {labels}. An image and its label image must have the same "
            "name; the label images' may all have a word more, such as _labels."
        )
    files, doubled = distinct_names([image for image, _ in pairs])
    told = [str(one) for one in problems] + ([rule] if rule != EQUAL else [])
    return [one for one in pairs if one[0] in files], [*told, *doubled]


def _segmented_folder(folder: Path) -> Path:
    """Folder of the images that were segmented into `folder`."""
    try:
        return resolve(json.loads((folder / ORIGIN).read_text(encoding="utf-8"))["data_folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The folder {folder} does not say which images it belongs to (it has no readable {ORIGIN}). Write the "
            "folder of the images into the form too."
        ) from error


def labelled_planes(planes: Planes, label_path: Path, axes: str = "automatic") -> Iterator[tuple[Image, np.ndarray]]:
    """Each plane of an image with its labels (Y, X), of an unsigned integer dtype.

    The label image has as many planes and one channel; `axes` are what the form says of the images, of use for a stack
    of labels that does not tell its own. DataError where sizes or numbers of planes differ, or labels are fractions.
    """
    labels = read_planes(label_path, axes.replace("C", "") if planes.axes else "automatic", mask=True)
    if len(planes) != len(labels):
        raise DataError(
            f"{planes.path} has {len(planes)} planes, its label image {label_path} has {len(labels)}. Export both with "
            "the same frames and slices."
        )
    for image, plane in zip(planes, _label_planes(labels), strict=True):
        if image.array.shape[:2] != plane.shape:
            (height, width), (rows, columns) = image.array.shape[:2], plane.shape
            raise DataError(
                f"{planes.path} is {width} x {height} pixels (width x height), its label image {label_path} is "
                f"{columns} x {rows}. Export both at the same size."
            )
        yield image, plane


def _label_planes(labels: Planes) -> Iterator[np.ndarray]:
    """Labels (Y, X) of each plane of a label image."""
    if not labels.axes:
        yield read_mask(labels.path)
        return
    for image in labels:
        if image.array.shape[-1] > 1:
            raise DataError(f"{labels.path} has several channels, but a label image has one. Export it again.")
        yield whole_numbers(image.array[..., 0], labels.path)
