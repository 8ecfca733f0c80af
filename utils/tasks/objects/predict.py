"""Objects in images of any size with a trained StarDist model."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tifffile
from csbdeep.data import Normalizer
from stardist.models import StarDist2D
from stardist.utils import export_imagej_rois

from utils.data.folders import find_images
from utils.files import atomic, meaningful, write_csv, write_json
from utils.images.geojson import detections
from utils.images.image import Image
from utils.images.normalise import normalisation_range, normalise, normalised
from utils.images.stacks import LabelStack, Planes, label_file, read_planes
from utils.pages.colours import class_colours
from utils.pages.pictures import SHOWN_ALONE, label_overlay, write_png
from utils.tasks.objects.measure import Objects, count_objects, numbered, object_table
from utils.tasks.objects.network import described, is_published, load, published, quiet
from utils.tasks.portable import Portable
from utils.tasks.results import (
    COUNTS,
    OBJECTS,
    ORIGIN,
    Found,
    GrowingTable,
    Results,
    check_channels,
    distinct_names,
    foreign_file,
    is_own_table,
    keep_earlier,
    left_out,
    others_in,
)
from utils.training.model_folder import read_model

TILE_PIXELS = 1024**2  # of an image that the network sees at once; bounds the memory
WHOLE_PIXELS = 4096**2  # larger images are worked on in blocks, whose objects are put together afterwards
BLOCK = 2048  # side of such a block in pixels
SMALLEST_OVERLAP = 128  # pixels that blocks share at least; each object must fit into the overlap
SOFTWARE = "NoCodeDL4Bio prediction"  # said in label files: one without it was made or corrected by hand
LARGEST_ROI = 32766  # pixels: ImageJ's ROI files hold coordinates as 16-bit integers


class ImageRange(Normalizer):
    """csbdeep normalizer with the range (C,) of a whole image, for the blocks it is read in."""

    def __init__(self, low: np.ndarray, high: np.ndarray):
        self.low, self.high = low, high

    def before(self, x: np.ndarray, axes: str) -> np.ndarray:
        """Normalise a block (Y, X, C)."""
        return normalise(x, self.low, self.high)

    def after(self, mean, scale, axes):
        """Not needed: objects have no intensity."""
        raise NotImplementedError

    @property
    def do_after(self) -> bool:
        """Objects have no intensity that would have to be scaled back."""
        return False


class ObjectSegmenter:
    """A trained StarDist model with the preprocessing that was saved with it.

    Parameters
    ----------
    model
        StarDist model with weights and thresholds.
    description
        Content of model.json; used are normalisation, classes and input.largest_object.
    """

    def __init__(self, model: StarDist2D, description: Mapping):
        self.model, self.description = model, description
        self.classes, self.normalisation = description["classes"], description["normalisation"]

    @property
    def network(self) -> keras.Model:
        """The Keras model within the StarDist model."""
        return self.model.keras_model

    def find(self, array: np.ndarray) -> Objects:
        """Find the objects of an image (Y, X, C) of any dtype and size, which may be memory-mapped."""
        whole = array.shape[0] * array.shape[1] <= WHOLE_PIXELS
        labels, found = (self._whole if whole else self._in_blocks)(array)
        class_ids = None
        if "class_prob" in found:  # the network may hold background for the likeliest, but here is an object
            class_ids = 1 + np.asarray(found["class_prob"])[:, 1:].argmax(axis=-1)
        return Objects(labels.astype(np.int32, copy=False), found["coord"], found["prob"], class_ids)

    def _normalizer(self, array: np.ndarray) -> ImageRange:
        return ImageRange(*normalisation_range(array, self.normalisation))

    def _whole(self, array: np.ndarray) -> tuple[np.ndarray, dict]:
        return self.model.predict_instances(
            np.asarray(array),
            axes="YXC",
            normalizer=self._normalizer(array),
            n_tiles=tiles(array.shape),
            show_tile_progress=False,
        )

    def _in_blocks(self, array: np.ndarray) -> tuple[np.ndarray, dict]:
        overlap = max(SMALLEST_OVERLAP, 2 * math.ceil(self.description["input"]["largest_object"]))
        with quiet():
            return self.model.predict_instances_big(
                array,
                axes="YXC",
                block_size=max(BLOCK, 4 * overlap),
                min_overlap=overlap,
                normalizer=self._normalizer(array),
                n_tiles=tiles((max(BLOCK, 4 * overlap), max(BLOCK, 4 * overlap), 1)),
                show_progress=False,
                show_tile_progress=False,
            )


def tiles(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Number of tiles along Y, X and C so that none has much more than `TILE_PIXELS`."""
    side = math.sqrt(TILE_PIXELS)
    return math.ceil(shape[0] / side), math.ceil(shape[1] / side), 1


@dataclass
class FoundObjects(Found):
    """What is told of one file: rows of counts.csv and of objects.csv by plane, missing ROIs, outlines for QuPath."""

    objects: list[pd.DataFrame] = field(default_factory=list)
    without_rois: str = ""
    features: list[dict] = field(default_factory=list)


class ObjectResults(Results):
    """Writes labels/, rois/, qupath/, overlays/, objects.csv (a row per object), counts.csv (per plane) and its origin.

    Images may be stacks; one plane is in memory at a time.
    """

    kind = "objects"

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.table = GrowingTable(self.folder / OBJECTS)
        self.names = {one["id"]: one["name"] for one in self.predictor.classes if one["id"]}
        colours = class_colours(self.predictor.classes)
        self.colours = {name: colours[number] for number, name in self.names.items()}

    def files(self) -> list[Path]:
        """See `Results`; labels, ROIs and tables that no prediction has written are not overwritten."""
        files, self.warnings = distinct_names(find_images(self.images))
        others = others_in(self.folder, self.kind)
        for path in files:
            labels, rois = self.folder / "labels" / f"{path.stem}.tif", self.folder / "rois" / f"{path.stem}.zip"
            if labels.exists() and not _is_prediction(labels):
                raise foreign_file(labels)
            for one in (rois, *([] if others else [self.outlines_of(path)])):
                if one.exists() and not labels.exists():
                    raise foreign_file(one)
        for path in (self.folder / OBJECTS, self.folder / COUNTS):
            if path.exists() and not is_own_table(path):
                raise foreign_file(path)
        return files

    def begin(self, files: list[Path]) -> None:
        """See `Results`."""
        self.warnings += keep_earlier(self.folder, [one.name for one in files])
        write_json(self.folder / ORIGIN, self.told())

    def append(self, found: FoundObjects, rows: list[dict]) -> None:
        """See `Results`."""
        self.table.append(self.remarked(found.objects))
        write_csv(self.folder / COUNTS, meaningful(pd.DataFrame(rows)))
        if found.without_rois:
            self.warnings.append(
                f"{found.without_rois}: not all ROIs are written, ImageJ's files end at coordinate {LARGEST_ROI}."
            )

    def predict_one(self, file: Path) -> FoundObjects:
        """See `Results`: writes overlay, labels, then ROIs of a file, each whole or not at all."""
        with left_out():
            planes = read_planes(file, self.axes, self.pixel_size)
        found = FoundObjects(pixel_size_um=planes.pixel_size_um, path=file, remarks=planes.remarks)
        with (
            atomic(self.folder / "rois" / f"{file.stem}.zip") as rois,
            label_file(self.folder / "labels" / f"{file.stem}.tif", planes, SOFTWARE) as stack,
        ):
            outlines = self._outlines(planes, stack, found)  # StarDist's writer asks for one plane after the other
            export_imagej_rois(rois, outlines, set_position=bool(planes.axes))
            self.write_outlines(file, planes.pixel_size_um, found.features)
        return found

    def _outlines(self, planes: Planes, stack: LabelStack, found: FoundObjects) -> Iterator[np.ndarray]:
        """Add to `stack` and `found` what each plane holds; yields outlines (n, 2, rays), the i-th is of label i."""
        for number, image in enumerate(self._images(planes)):
            objects = numbered(self.predictor.find(image.array))
            stack.append(objects.labels)
            place = {"file": planes.path.name, "plane": number + 1}
            found.rows.append(place | planes.position(number) | count_objects(objects, image, self.names))
            found.objects.append(object_table(objects, image, self.description["channels"], self.names, place))
            if self.wants_outlines(planes.pixel_size_um):
                found.features += detections(objects.labels, found.objects[-1], self.colours, planes.position(number))
            if number == len(planes) // 2:
                write_png(self.folder / "overlays" / f"{planes.path.stem}.png", _overlay(objects, image))
            fits = np.abs(objects.outlines).max(initial=0) <= LARGEST_ROI
            found.without_rois = found.without_rois if fits else str(planes.path)
            yield objects.outlines if fits else []

    def _images(self, planes: Planes) -> Iterator[Image]:
        """Images of a file that the model can take; a bar is shown for a stack."""
        images = iter(self.progress(planes) if planes.axes else planes)
        while True:
            with left_out():
                image = next(images, None)
                if image is None:
                    return
                check_channels(image.array, image.path, self.description)
            yield image


def _is_prediction(path: Path) -> bool:
    """Whether a TIFF says that a prediction has written it; programs that change it say otherwise or nothing."""
    try:
        with tifffile.TiffFile(path) as tif:
            return tif.pages.first.software == SOFTWARE
    except (OSError, ValueError, tifffile.TiffFileError):
        return False


def _overlay(objects: Objects, image: Image) -> np.ndarray:
    """Picture (Y, X, 3) uint8 with the objects outlined, in the colours of their classes where there are classes."""
    class_ids = None if objects.class_ids is None else dict(enumerate(objects.class_ids.tolist(), start=1))
    return label_overlay(image.array, objects.labels, class_ids=class_ids, brighten=True, shown=SHOWN_ALONE)


class ObjectPrediction:
    """How a StarDist model predicts: a part of `utils.tasks.objects.task.StarDist`."""

    results, is_published = ObjectResults, staticmethod(is_published)

    def load(self, folder: Path) -> ObjectSegmenter:
        """See `Task`; the folder may also be that of a published model, see `utils.samples.PUBLISHED_PLACE`."""
        if is_published(folder):
            model = published(folder.name)
            return ObjectSegmenter(model, described(vars(model.config)))
        description = read_model(folder, self.name)
        return ObjectSegmenter(load(folder), description)

    def describe_foreign(self, config: Mapping, normalisation: Mapping) -> dict:
        """See `utils.tasks.objects.network.described`."""
        return described(config, normalisation)

    def portable(self, folder: Path) -> Portable:
        """See `Task`."""
        segmenter = self.load(folder)
        model = segmenter.model
        description = {**segmenter.description, "thresholds": model.thresholds._asdict()}
        outputs = {
            "prob": "probability of being in an object",
            "dist": f"distance to the object's border in {model.config.n_rays} directions, in pixels, at least 0.001",
        }
        if model.config.n_classes:
            names = ", ".join(str(one["name"]) for one in segmenter.classes)
            outputs["prob_class"] = f"probability of {names}"

        def prepare(array: np.ndarray) -> np.ndarray:
            return normalised(array, segmenter.normalisation)

        def answer(array: np.ndarray) -> dict[str, np.ndarray]:
            found = model.keras_model.predict(prepare(array)[np.newaxis], verbose=0)  # as StarDist itself asks it
            return dict(zip(outputs, (one[0] for one in found), strict=True))

        multiple = model._axes_div_by("YX")
        return Portable(segmenter.network, outputs, multiple, None, description, prepare, answer)
