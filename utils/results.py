"""Predict a folder of images and write what other software opens: masks, probabilities, overlays and measurements."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from utils.errors import DataError
from utils.files import atomic, write_csv
from utils.held_out import check_channels
from utils.images import Image, find_images, read_image, tiff_options, write_tiff
from utils.masks import to_values
from utils.models import load_network, read_model
from utils.object_tables import keep_earlier
from utils.paths import ROOT, resolve
from utils.pictures import class_colours, overlay, thin, write_png
from utils.prediction import Segmenter

MEASUREMENTS = "measurements.csv"
ORIGIN = "prediction.json"
OVERLAY_SIDE = 2048  # pixels; larger overlays are thinned, they are for looking
PIXEL_SIZE_TOLERANCE = 0.2  # a network trained at one magnification is not trusted at another


@dataclass
class Predicted:
    """Measurements of a folder, one row per image, and what went wrong or looks doubtful, one sentence each."""

    measurements: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def predict_folder(
    model_folder: Path,
    data_folder: Path,
    result_folder: Path,
    axes: str = "automatic",
    save_probabilities: bool = False,
    progress: Callable[[list[Path]], Iterator[Path]] = iter,
) -> Predicted:
    """Segment all images of a folder, one in memory at a time.

    Parameters
    ----------
    model_folder
        A U-Net model folder; nothing else is needed.
    data_folder
        Images of any size.
    result_folder
        Gets masks/, overlays/, measurements.csv and, if asked for, probabilities/.
    axes
        See `utils.images.read_image`.
    save_probabilities
        Also write float32 class probabilities, one channel per class.
    progress
        Wraps the list of files, for a progress bar.

    Returns
    -------
    Predicted
        An image that cannot be read is named among the warnings; the others are predicted all the same.

    Raises
    ------
    DataError
        No image could be predicted, or a result would overwrite another or a mask that is no result.
    """
    description = read_model(model_folder, "unet")
    segmenter = Segmenter(load_network(model_folder, description), description)
    files = find_images(data_folder)
    check_names(files)
    _check_masks(files, result_folder)
    rows, warnings, sizes = [], [], []
    for path in progress(files):
        try:
            image = read_image(path, axes, memory_map=True)
            check_channels(image.array, path, description)
        except DataError as error:
            warnings.append(f"Left out: {error}")
            continue
        if not rows:
            warnings += keep_earlier(result_folder, [one.name for one in files], [MEASUREMENTS])
        rows.append(_predict_one(segmenter, image, result_folder, save_probabilities))
        sizes.append(image.pixel_size_um)
        write_csv(result_folder / MEASUREMENTS, pd.DataFrame(rows))
    if not rows:
        raise DataError("No image could be predicted. " + " ".join(warnings[:3]))
    warnings += pixel_size_doubts(sizes, description["pixel_size_um"])
    return Predicted(pd.DataFrame(rows), warnings)


def check_names(files: Sequence[Path]) -> None:
    """Refuse images whose results would have one name."""
    stems = Counter(path.stem for path in files)
    doubled = sorted(stem for stem, count in stems.items() if count > 1)
    if doubled:
        raise DataError(
            f"Several images are called {doubled[0]} (with different endings), their results would overwrite each "
            "other. Rename them or move all but one away."
        )


def foreign_file(path: Path) -> DataError:
    """Error that `path` would be overwritten although no prediction has written it."""
    return DataError(
        f"{path} exists and was not written by a prediction; it would be overwritten. Choose an empty or new "
        "folder in the field result_folder."
    )


def _check_masks(files: Sequence[Path], result_folder: Path) -> None:
    """Refuse to write over masks that are not results, such as annotations."""
    masks = [mask for path in files if (mask := result_folder / "masks" / f"{path.stem}.tif").exists()]
    if masks and not (result_folder / MEASUREMENTS).exists():
        raise foreign_file(masks[0])


def origin(model_folder: Path, data_folder: str | Path, axes: str, classes: list[dict]) -> dict:
    """What a prediction was made from, to be kept beside it; folders inside the project are given relative to it."""
    return {
        "model_folder": shown_path(model_folder),
        "data_folder": shown_path(data_folder),
        "axes": axes,
        "classes": classes,
    }


def shown_path(path: str | Path) -> str:
    """Path relative to the project's root where it lies inside, so that a moved project still finds it."""
    path = resolve(path)
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def pixel_size_doubts(sizes: list[float | None], trained: float | None) -> list[str]:
    """Warning where images have another pixel size (um, None where unknown) than the training images, as a list."""
    off = [size for size in sizes if size and trained and abs(np.log(size / trained)) > PIXEL_SIZE_TOLERANCE]
    if not off:
        return []
    return [
        f"{len(off)} images have another pixel size (for example {off[0]:.3g} um) than the training images "
        f"({trained:.3g} um). Objects look larger or smaller than the model has learned: rescale the images or check."
    ]


def _predict_one(segmenter: Segmenter, image: Image, folder: Path, save_probabilities: bool) -> dict:
    """Predict and write one image; returns its row of measurements.csv."""
    name, classes = f"{image.path.stem}.tif", segmenter.classes
    if save_probabilities:
        with _probability_file(folder / "probabilities" / name, image, len(classes)) as writer:
            ids = segmenter.class_ids(image.array, writer)
    else:
        ids = segmenter.class_ids(image.array)
    row = measure(ids, image, classes)
    picture = overlay(thin(image.array, OVERLAY_SIDE), thin(ids, OVERLAY_SIDE), classes)
    write_png(folder / "overlays" / f"{image.path.stem}.png", picture)
    values, colours = _mask_values(ids, classes), class_colours(classes)
    table = {one["value"]: tuple(round(255 * part) for part in colours[one["id"]]) for one in classes}
    small = values.dtype == np.uint8
    write_tiff(
        folder / "masks" / name,
        values,
        image.pixel_size_um,
        colours=table if small else None,
        value_range=None if small else (0, max(table)),
    )
    return row


def _mask_values(ids: np.ndarray, classes: list[dict]) -> np.ndarray:
    """`to_values`, changing `ids` itself where the values fit; row by row: numpy looks up with 8 bytes per pixel."""
    dtype = to_values(ids[:0], classes).dtype
    values = ids if dtype == ids.dtype else np.empty(ids.shape, dtype)
    for source, target in zip(ids, values, strict=True):
        target[:] = to_values(source, classes)
    return values


@contextmanager
def _probability_file(path: Path, image: Image, n_classes: int) -> Iterator[Callable[[slice, np.ndarray], None]]:
    """Float32 TIFF (classes, Y, X); yields a function that writes bands of probabilities (rows, X, classes) into it.

    Written, not mapped into memory: a full disk would then kill the kernel, and written pages would count as memory.
    """
    height, width = image.array.shape[:2]
    options = tiff_options("CYX", True, image.pixel_size_um)
    with atomic(path) as temporary:
        shape = (n_classes, height, width)
        start, _ = tifffile.imwrite(temporary, shape=shape, dtype="<f4", returnoffset=True, **options)
        with temporary.open("r+b") as stream:

            def write(rows: slice, block: np.ndarray) -> None:
                for number in range(n_classes):
                    stream.seek(start + 4 * width * (number * height + rows.start))
                    stream.write(block[..., number].astype("<f4").tobytes())

            yield write


def measure(ids: np.ndarray, image: Image, classes: list[dict]) -> dict:
    """Area and share of each class.

    Parameters
    ----------
    ids
        (Y, X) class ids.
    image
        Gives name and pixel size.
    classes
        Class table.

    Returns
    -------
    dict
        One row of measurements.csv, units in the names: file, width and height, pixel size, and per class its area in
        pixels (and um2 where the pixel size is known), its share of the image and, without background, of all that is
        not background.
    """
    counts = sum(np.bincount(row, minlength=len(classes)) for row in ids)  # by row: bincount takes 8 bytes per pixel
    size, foreground = image.pixel_size_um, counts[1:].sum()
    row = {"file": image.path.name, "width [px]": ids.shape[1], "height [px]": ids.shape[0], "pixel size [um]": size}
    for one, count in zip(classes, counts, strict=True):
        name = one["name"]
        row[f"{name} [px]"] = int(count)
        row[f"{name} [um2]"] = count * size**2 if size else np.nan
        row[f"{name} [% of image]"] = 100 * count / ids.size
        if one["id"] and len(classes) > 2:
            row[f"{name} [% of all but {classes[0]['name']}]"] = 100 * count / foreground if foreground else np.nan
    return row
