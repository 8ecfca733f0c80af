"""Segmented images: an image and its label image, plane by plane, from any software or a StarDist prediction folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.images import Image, find_images, read_mask, whole_numbers
from utils.pairs import pair
from utils.paths import resolve
from utils.results import ORIGIN, check_names
from utils.stacks import Planes, read_planes


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
