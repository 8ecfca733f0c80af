"""Semantic segmentation of images of any size with a trained network, tile by tile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import tifffile
from scipy.ndimage import label

from utils.data.folders import find_images
from utils.files import atomic, meaningful, write_csv
from utils.forms.fields import AUTOMATIC
from utils.images.geojson import ANNOTATION, feature, outline
from utils.images.image import Image, read_image, tiff_options, write_tiff
from utils.images.masks import remove_specks, to_values
from utils.images.normalise import normalisation_range, normalise, normalised
from utils.pages.colours import class_colours
from utils.pages.pictures import SHOWN_ALONE, overlay, thin, write_png
from utils.patching.patches import predict_in_tiles
from utils.paths import set_aside
from utils.tasks.portable import Portable
from utils.tasks.results import (
    MEASUREMENTS,
    Found,
    Results,
    check_channels,
    distinct_names,
    foreign_file,
    keep_earlier,
    left_out,
    others_in,
)
from utils.training.model_folder import read_model
from utils.training.networks import compiled, load_network

TILE = 512  # side of a prediction tile in pixels; bounds the memory, whatever the image's size
OVERLAP = 64  # pixels that neighbouring tiles share and blend over, more than the default U-Net sees around a pixel
MOST_PARTS = 20_000  # areas of an image whose outlines are written unasked: about two seconds
NO_OUTLINES = (
    f"has more than {MOST_PARTS} separate areas, so no outlines for QuPath were written, which would take long.",
    'Choose "yes" in the field qupath to have them, or smooth the mask in Fiji first.',
)
OVERLAY_SIDE = 2048  # pixels; larger overlays are thinned, they are for looking


class Segmenter:
    """A trained network with the preprocessing that was saved with it.

    Parameters
    ----------
    network
        Keras model: float32 (batch, Y, X, C) -> class probabilities (batch, Y, X, classes); it learns no more.
    description
        Content of model.json; used are normalisation, threshold, smallest_part, classes and
        input.multiple_of.
    """

    def __init__(self, network: keras.Model, description: Mapping):
        self.network, self.description = network, description
        self.normalisation = description["normalisation"]
        self.threshold = description["threshold"]
        self.smallest_part = description.get("smallest_part", 1)  # models of earlier versions keep every speck
        self.classes = description["classes"]
        self.multiple = description["input"]["multiple_of"]

    @cached_property
    def _call(self) -> Callable[[tf.Tensor], list[tf.Tensor]]:
        """A compiled function with free sizes: Keras's predict() costs 30 times more on a small image."""
        images = tf.TensorSpec((None, None, None, self.network.input_shape[-1]), tf.float32)
        return compiled(lambda x: [self.network(x, training=False)], images)

    def probabilities(self, array: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Class probabilities of an image, from top to bottom, a band of rows at a time.

        Parameters
        ----------
        array
            (Y, X, C) as read, any dtype, may be memory-mapped; percentiles are image-wide, tiles normalised one by one.

        Yields
        ------
        rows, block
            Slice of image rows and float32 (rows, X, classes).
        """
        low, high = normalisation_range(array, self.normalisation)

        def predict(rows: slice, columns: slice) -> np.ndarray:
            return self._padded(normalise(array[rows, columns], low, high))

        return predict_in_tiles(array.shape[:2], predict, TILE, OVERLAP, self.multiple)

    def _padded(self, tile: np.ndarray) -> np.ndarray:
        """Probabilities of one normalised tile, mirrored to the next multiple that the network needs."""
        height, width = tile.shape[:2]
        padding = ((0, -height % self.multiple), (0, -width % self.multiple), (0, 0))
        padded = np.pad(tile, padding, mode="symmetric")
        (found,) = self._call(tf.constant(padded[np.newaxis]))
        return found[0, :height, :width].numpy()

    def class_ids(self, array: np.ndarray, on_probabilities: Callable | None = None) -> np.ndarray:
        """Class of each pixel.

        Parameters
        ----------
        array
            (Y, X, C) as read.
        on_probabilities
            Called with each (rows, block) of `probabilities`, for example to write them to a file.

        Returns
        -------
        (Y, X) uint8 class ids: for two classes where the probability of class 1 exceeds the model's threshold, without
        parts of fewer pixels than its smallest_part, else the most probable class.
        """
        ids = np.empty(array.shape[:2], np.uint8)
        for rows, block in self.probabilities(array):
            ids[rows] = block[..., 1] > self.threshold if len(self.classes) == 2 else block.argmax(axis=-1)
            if on_probabilities:
                on_probabilities(rows, block)
        if len(self.classes) == 2:
            remove_specks(ids, self.smallest_part)
        return ids

    def foreground_probability(self, array: np.ndarray) -> np.ndarray:
        """Probability of class 1, float32 (Y, X); meant for two classes and images of the validation set."""
        return np.concatenate([block[..., 1] for _, block in self.probabilities(array)])


class PixelResults(Results):
    """Writes masks/, overlays/, measurements.csv, qupath/ (outlines) and, if asked for, probabilities/.

    Probabilities are float32, a channel per class.
    """

    kind = "masks"

    def __init__(self, *given, save_probabilities: bool = False, **more):
        super().__init__(*given, **more)
        self.save_probabilities = save_probabilities

    def files(self) -> list[Path]:
        """See `Results`; masks that are no results, such as annotations, are not overwritten."""
        files, self.warnings = distinct_names(find_images(self.images))
        written = [self.folder / "masks" / f"{path.stem}.tif" for path in files]
        written += [] if others_in(self.folder, self.kind) else map(self.outlines_of, files)
        masks = [one for one in written if one.exists()]
        if masks and not (self.folder / MEASUREMENTS).exists():
            raise foreign_file(masks[0])
        return files

    def begin(self, files: list[Path]) -> None:
        """See `Results`."""
        self.warnings += keep_earlier(self.folder, [one.name for one in files], [MEASUREMENTS])

    def predict_one(self, file: Path) -> Found:
        """See `Results`."""
        with left_out():
            image = read_image(file, self.axes, memory_map=True, pixel_size_um=self.pixel_size)
            check_channels(image.array, file, self.description)
        ids = self._class_ids(image)
        row = measure(ids, image, self.predictor.classes)
        known, remarks = image.pixel_size_um, image.remarks
        if self.qupath == AUTOMATIC and known and n_parts(ids, self.predictor.classes) > MOST_PARTS:
            known, remarks = None, (*remarks, NO_OUTLINES)
        self.write_outlines(file, known, areas(ids, row, self.predictor.classes))
        self._write(ids, image)
        return Found([row], image.pixel_size_um, file, remarks)

    def append(self, found: Found, rows: list[dict]) -> None:
        """See `Results`."""
        write_csv(self.folder / MEASUREMENTS, meaningful(pd.DataFrame(rows)))

    def _class_ids(self, image: Image) -> np.ndarray:
        path = self.folder / "probabilities" / f"{image.path.stem}.tif"
        if not self.save_probabilities:
            if path.exists():  # they would be taken for those of these masks
                set_aside(path)
            return self.predictor.class_ids(image.array)
        with _probability_file(path, image, len(self.predictor.classes)) as writer:
            return self.predictor.class_ids(image.array, writer)

    def _write(self, ids: np.ndarray, image: Image) -> None:
        """Write overlay and mask; `ids` may be changed."""
        stem, classes = image.path.stem, self.predictor.classes
        small, shown = thin(image.array, OVERLAY_SIDE), thin(ids, OVERLAY_SIDE)
        picture = overlay(small, shown, classes, brighten=True, shown=SHOWN_ALONE)
        write_png(self.folder / "overlays" / f"{stem}.png", picture)
        values, colours = _mask_values(ids, classes), class_colours(classes)
        table = {one["value"]: tuple(round(255 * part) for part in colours[one["id"]]) for one in classes}
        few = values.dtype == np.uint8
        write_tiff(
            self.folder / "masks" / f"{stem}.tif",
            values,
            image.pixel_size_um,
            colours=table if few else None,
            value_range=None if few else (0, max(table)),
        )


def n_parts(ids: np.ndarray, classes: Sequence[dict]) -> int:
    """Number of separate areas of all classes but background, of class ids (Y, X)."""
    return sum(label(ids == one["id"])[1] for one in classes[1:])


def areas(ids: np.ndarray, row: Mapping, classes: Sequence[dict]) -> Iterator[dict]:
    """Annotation for QuPath of each class but background, with what is measured of it; of class ids (Y, X)."""
    colours = class_colours(classes)
    for one in classes[1:]:
        area = outline(ids == one["id"])
        if not area.is_empty:
            name = one["name"]
            measured = {
                key.removeprefix(f"{name} "): value for key, value in row.items() if key.startswith(f"{name} [")
            }
            yield feature(area, ANNOTATION, f"{row['file']} {name}", name, colours[one["id"]], measured)


class PixelPrediction:
    """How a U-Net predicts: a part of `utils.tasks.pixels.task.UNet`."""

    def load(self, folder: Path) -> Segmenter:
        """See `Task`."""
        description = read_model(folder, self.name)
        return Segmenter(load_network(folder, description, self.untrained), description)

    def portable(self, folder: Path) -> Portable:
        """See `Task`."""
        segmenter = self.load(folder)

        def prepare(array: np.ndarray) -> np.ndarray:
            return normalised(array, segmenter.normalisation)

        def answer(array: np.ndarray) -> dict[str, np.ndarray]:
            return {"probabilities": np.concatenate([block for _, block in segmenter.probabilities(array)])}

        names = ", ".join(str(one["name"]) for one in segmenter.classes)
        outputs, multiple = {"probabilities": f"probability of {names}"}, (segmenter.multiple,) * 2
        return Portable(segmenter.network, outputs, multiple, None, segmenter.description, prepare, answer)

    results = PixelResults


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
    """One row of measurements.csv from class ids (Y, X), units in the names.

    File, width and height, pixel size, and per class its area in pixels (and um2 where the pixel size is known), its
    share of the image and, without background, of all that is not background.
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
