"""The objects of segmented images, cut out one by one and classified: a table, and pictures in the classes' colours."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.image import imread
from skimage.measure import regionprops_table
from skimage.segmentation import relabel_sequential

from utils.data.folders import find_images, pair
from utils.errors import DataError
from utils.files import atomic, write_json
from utils.images.image import Image, read_mask, whole_numbers
from utils.images.stacks import Planes, read_planes
from utils.pages.figures import add_legend, add_picture, class_entries, picture_grid, png
from utils.pages.page import overlays
from utils.pages.pictures import label_overlay, write_png
from utils.paths import resolve, shown_path
from utils.tasks.classes.predict import (
    CLASS_ORIGIN,
    Classifier,
    Predicted,
    check_tables,
    class_table,
    classify_folder,
    keep_corrected,
)
from utils.tasks.results import (
    ORIGIN,
    GrowingTable,
    check_channels,
    check_names,
    foreign_file,
    keep_earlier,
    origin,
    pixel_size_doubts,
)

TABLE = "object_classes.csv"
FIRST_COLUMNS = ("file", "plane", "label", "class", "group", "uncertain")
OVERLAYS = "class_overlays"  # overlays/ may hold those of the segmentation
LEGEND = "class_legend.png"
BLOCK = 256  # crops in memory at a time
MONTAGE_HEIGHT, MONTAGE_WIDTH = 3.2, 5.5  # inches


def object_boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounding box of each object.

    Parameters
    ----------
    labels : ndarray of integers, shape (Y, X)
        0 = background; labels need not follow each other.

    Returns
    -------
    numbers : ndarray of int64, shape (n,)
        The labels, ascending.
    boxes : ndarray of int64, shape (n, 4)
        First row and column, and row and column after the last.
    """
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
    """Cut out each object, with what lies around it.

    Parameters
    ----------
    image : ndarray, shape (Y, X, C)
        Any dtype; may be memory-mapped.
    labels : ndarray of integers, shape (Y, X)
        0 = background.
    size : (int, int)
        Height and width of the crops in pixels of the image: that of the images that the classifier was trained on.
    context : float
        Above 0, `size` does not count: each crop is a square whose side is `context` times the longest side of the
        object's bounding box, for a classifier that was trained on tight crops of different sizes.

    Yields
    ------
    label : int
        In ascending order.
    crop : ndarray, shape (height, width, C)
        Of the dtype of `image`, the middle of the object's bounding box in its middle (half a pixel above or left of it
        where that falls between two pixels); beyond the border the image is mirrored.

    Raises
    ------
    ValueError
        If image and labels differ in size.
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
class _Found:
    """What is told of one file: rows of the table, a picture, how many objects do not fit into their crops."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    picture: np.ndarray | None = None
    cut: int = 0


def classify_objects(
    classifier: "Classifier",
    model_folder: Path,
    description: Mapping,
    data_folder: str | Path,
    label_folder: str | Path,
    result_folder: Path,
    axes: str = "automatic",
    crop_size: tuple[int, int] | None = None,
    context: float = 0.0,
    progress: Callable[[Iterable], Iterator] = iter,
) -> Predicted:
    """Classify each object of segmented images and stacks, one plane in memory at a time.

    Parameters
    ----------
    classifier
        Gives the probabilities.
    model_folder
        Where the classifier comes from, to be told in classification.json.
    description
        Content of model.json; used are channels, input and pixel_size_um.
    data_folder, label_folder
        Images and label images, see `utils.tasks.classes.cells.find_segmented`.
    result_folder
        Gets object_classes.csv (one row per object: file, plane, label, then as
        `utils.tasks.classes.predict.class_table`; can be corrected and trained on in the StarDist notebook),
        class_overlays/<image>.png (of the middle plane), class_legend.png and classification.json. It may be the folder
        of the segmentation.
    axes
        Of the images, see `utils.images.stacks.read_planes`.
    crop_size, context
        See `crops_of_objects`; None takes the size that the network sees.
    progress
        Wraps the list of pairs, for a progress bar.

    Returns
    -------
    Predicted
        An image that cannot be read is named among the warnings; the others are classified all the same.

    Raises
    ------
    DataError
        No image could be classified, or a file would be overwritten that is no result.
    """
    pairs, warnings = find_segmented(data_folder, label_folder)
    files = [image for image, _ in pairs]
    _check_files(result_folder, files)
    size = tuple(crop_size or description["input"]["size"])
    table, rows, sizes, cut = GrowingTable(result_folder / TABLE), [], [], 0
    for image_path, label_path in progress(pairs):
        try:
            planes = read_planes(image_path, axes)
            found = _classify(classifier, description, planes, labelled_planes(planes, label_path, axes), size, context)
        except DataError as error:
            warnings.append(f"Left out: {error}")
            continue
        if not rows:
            warnings += keep_earlier(result_folder, [one.name for one in files], [TABLE])
            warnings += keep_corrected(result_folder, [TABLE])
            told = origin(model_folder, image_path.parent, axes, classifier.classes)
            write_json(result_folder / CLASS_ORIGIN, told | {"label_folder": shown_path(label_folder)})
            _write_legend(result_folder / LEGEND, classifier.classes)
        write_png(result_folder / OVERLAYS / f"{image_path.stem}.png", found.picture)
        table.append(found.rows)
        rows += found.rows
        sizes.append(planes.pixel_size_um)
        cut += found.cut
    if not rows:
        raise DataError("No image could be classified. " + " ".join(warnings[:3]))
    warnings += _cut_doubt(cut) + pixel_size_doubts(sizes, description.get("pixel_size_um"))
    return Predicted(pd.concat(rows, ignore_index=True), warnings)


def _check_files(folder: Path, files: Iterable[Path]) -> None:
    """Refuse to write over tables and pictures that no classification has written."""
    check_tables(folder, {TABLE: FIRST_COLUMNS})
    if (folder / TABLE).exists():
        return
    for path in (folder / LEGEND, *(folder / OVERLAYS / f"{file.stem}.png" for file in files)):
        if path.exists():
            raise foreign_file(path)


def _classify(
    classifier: "Classifier",
    description: Mapping,
    planes: Planes,
    pairs: Iterable[tuple[Image, np.ndarray]],
    size: tuple[int, int],
    context: float,
) -> _Found:
    """Classify the objects of all planes of one file; nothing is written, so that any DataError is about the file."""
    found = _Found()
    for number, (image, labels) in enumerate(pairs):
        check_channels(image.array, image.path, description)
        numbers, boxes = object_boxes(labels)
        crops = (crop for _, crop in crops_of_objects(image.array, labels, size, context))
        probabilities = np.concatenate(list(_in_blocks(classifier, crops)))
        n = len(numbers)
        places = {"file": [planes.path.name] * n, "plane": [number + 1] * n, "label": numbers}
        found.rows.append(class_table(places, probabilities, classifier.classes))
        seen = crop_sizes(boxes, size, context)
        if description["input"]["fit"] == "pad":  # such a network cuts off what is larger than it
            seen = np.minimum(seen, description["input"]["size"])
        found.cut += int((boxes[:, 2:] - boxes[:, :2] > seen).any(axis=1).sum())
        if number == len(planes) // 2:
            shown = dict(zip(numbers.tolist(), (probabilities.argmax(axis=1) + 1).tolist(), strict=True))
            found.picture = label_overlay(image.array, labels, class_ids=shown)  # colour 0 is that of background
    return found


def _in_blocks(classifier: "Classifier", crops: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
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


def find_segmented(data_folder: str | Path, label_folder: str | Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Images and their label images.

    Parameters
    ----------
    data_folder
        Images; "" takes the folder that a StarDist prediction in `label_folder` was made from.
    label_folder
        Label images of the same names, or a folder that a StarDist prediction has written.

    Returns
    -------
    pairs : list of (Path, Path)
        Image and label image.
    warnings : list of str
        What has no partner.

    Raises
    ------
    DataError
        No such folder, no image has a label image, or two images of one name.
    """
    labels = resolve(label_folder)
    images = resolve(data_folder) if data_folder else _segmented_folder(labels)
    if (labels / ORIGIN).exists():
        labels = labels / "labels"
    pairs, problems = pair(find_images(images), find_images(labels), images, labels)
    if not pairs:
        raise DataError(
            f"No image in {images} has a label image in {labels}. An image and its label image must have the same "
            "name; the label image's may end in _mask or _labels."
        )
    check_names([image for image, _ in pairs])
    return pairs, [str(one) for one in problems]


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

    Parameters
    ----------
    planes
        The image.
    label_path
        Label image: as many planes, one channel.
    axes
        What the form says of the images; of use for a stack of labels that does not tell its axes.

    Raises
    ------
    DataError
        Image and labels differ in size or number of planes, or the labels are no whole numbers.
    """
    labels = read_planes(label_path, axes.replace("C", "") if planes.axes else "automatic")
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


def predict(
    classifier: Classifier,
    model_folder: Path,
    settings: Mapping,
    progress: Callable[[Iterable], Iterator] = iter,
) -> Predicted:
    """Classify what the form asks for.

    Parameters
    ----------
    classifier, model_folder
        The model and where it lies.
    settings
        Values of the form `prediction`; with a label_folder every object of the images is classified.
    progress
        Wraps the list of files, for a progress bar.
    """
    given = classifier, model_folder, classifier.description, settings["data_folder"]
    result_folder, options = resolve(settings["result_folder"]), {"axes": settings["axes"], "progress": progress}
    if settings["label_folder"]:
        return classify_objects(*given, settings["label_folder"], result_folder, **options)
    return classify_folder(*given, result_folder, **options)


def pictures(result_folder: Path, predicted: pd.DataFrame, segmented: bool) -> Figure:
    """The montages of the classes, or the first pictures with coloured objects.

    Parameters
    ----------
    result_folder
        Of `predict`.
    predicted
        Its table, with the column file.
    segmented
        Whether objects of segmented images were classified.
    """
    if segmented:
        return overlays(result_folder, predicted["file"], folder="class_overlays")
    files = sorted((result_folder / "montages").glob("*.png"))
    columns = 2
    figure, axes = picture_grid(-(-len(files) // columns), columns, (MONTAGE_HEIGHT, MONTAGE_WIDTH))
    for axis, path in zip(axes.flat, files, strict=False):
        add_picture(axis, imread(path), path.stem)
    return figure
