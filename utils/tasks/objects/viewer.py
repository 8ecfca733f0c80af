"""Stepping through the results of a prediction of objects, in the notebook."""

import html
import io
import json
from base64 import b64encode
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from ipywidgets import HTML, Button, HBox, Image, IntSlider, Layout, ToggleButtons, VBox
from PIL import Image as PillowImage

from utils.errors import DataError
from utils.images.decoders import reading
from utils.images.image import Image as MicroscopyImage
from utils.images.stacks import read_planes
from utils.pages.figures import round_length
from utils.pages.pictures import BRIGHTENED, is_brightened, label_overlay, result_image, thin
from utils.paths import resolve
from utils.tasks.results import COUNTS, OBJECTS, ORIGIN

LARGEST_SIDE = 1024  # pixels of a picture; a larger image is thinned
OUTLINES, FILLED, NONE = "outlines", "filled", "image only"


class Viewer:
    """One image of a prediction folder at a time, with buttons to step and to switch the outlines off.

    `result_folder` was written by `utils.tasks.objects.predict`; DataError if it holds no prediction of objects. `box`
    is what is shown, made of what ipywidgets 7.7.1 (Colab) and 8 share; `planes` is what is stepped through: file,
    plane (counted from 1), objects.
    """

    def __init__(self, result_folder: Path):
        self.folder = result_folder
        self.origin, self.planes = _read_folder(self.folder)
        self.position = IntSlider(value=1, min=1, max=len(self.planes), description="Image", continuous_update=False)
        self.shown = ToggleButtons(options=[OUTLINES, FILLED, NONE], style={"button_width": "auto"})
        self.back, self.forward = _button("Back", "arrow-left"), _button("Next", "arrow-right")
        self.title, self.picture = HTML(), Image(format="png", layout=Layout(max_width="100%", object_fit="contain"))
        self.back.on_click(lambda _: self._step(-1))
        self.forward.on_click(lambda _: self._step(1))
        for control in (self.position, self.shown):
            control.observe(lambda _: self._draw(), names="value")
        controls = HBox([self.back, self.forward, self.position, self.shown], layout=Layout(flex_flow="row wrap"))
        self.box = VBox([controls, self.title, self.picture], layout=Layout(width="100%"))
        self._draw()

    def _step(self, by: int) -> None:
        self.position.value += by  # the slider keeps to its ends

    def _draw(self) -> None:
        """Show what the controls say; a file that is gone is told in place of its picture."""
        number, plane = self.position.value, self.planes[self.position.value - 1]
        self.back.disabled, self.forward.disabled = number == 1, number == len(self.planes)
        try:
            picture, length = self._paint(plane)
            self.picture.value = _png(picture)
            note = f"{plane['objects']} objects" + (f"; white bar: {length:g} µm" if length else "")
            note += f". {BRIGHTENED.rstrip('.')}" * is_brightened(picture)
        except DataError as error:
            self.picture.value, note = b"", str(error)
        self.picture.layout.display = None if self.picture.value else "none"
        several = sum(one["file"] == plane["file"] for one in self.planes) > 1
        name = f"{plane['file']}, plane {plane['plane']}" if several else plane["file"]
        self.title.value = html.escape(f"{number} of {len(self.planes)}: {name}. {note}")

    def _paint(self, plane: dict) -> tuple[np.ndarray, float | None]:
        """Picture (Y, X, 3) uint8 of a plane, and the length of its scale bar in micrometres, if it has one."""
        path, size = resolve(self.origin["data_folder"]) / plane["file"], self.origin.get("pixel_size_um") or 0
        read = _read_plane(path, plane["plane"], self.origin["axes"], size)
        if self.shown.value == NONE:
            picture = (255 * result_image(thin(read.array, LARGEST_SIDE))).round().astype(np.uint8)
        else:
            picture = self._overlay(plane, read.array)
        if not read.pixel_size_um:
            return picture, None
        return add_bar(picture, read.pixel_size_um * read.array.shape[1] / picture.shape[1])

    def _overlay(self, plane: dict, image: np.ndarray) -> np.ndarray:
        """The picture with its objects."""
        path = self.folder / "labels" / f"{Path(plane['file']).stem}.tif"
        labels = _read_labels(path, plane["plane"])
        if labels.shape != image.shape[:2]:
            raise DataError(f"{path} and its image differ in size. Run the prediction again.")
        class_ids = self._class_ids(plane)
        outlines, side = self.shown.value == OUTLINES, min(max(labels.shape), LARGEST_SIDE)
        return label_overlay(image, labels, outlines, LARGEST_SIDE, class_ids=class_ids, brighten=True, shown=side)

    def _class_ids(self, plane: dict) -> dict[int, int] | None:
        """Class id of each label of a plane; None for a model without classes."""
        path = self.folder / OBJECTS
        if not path.exists() or "class" not in pd.read_csv(path, nrows=0):
            return None
        number = {one["name"]: one["id"] for one in self.origin["classes"]}
        table = pd.read_csv(path, usecols=["file", "plane", "label", "class"], dtype={"file": str, "class": str})
        table = table[(table["file"] == plane["file"]) & (table["plane"] == plane["plane"])]
        return dict(zip(table["label"].tolist(), table["class"].map(number).tolist(), strict=True))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The viewer as a widget; where none can be drawn, as in a page made of the notebook, its picture."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        bundle = {"text/plain": html.unescape(self.title.value), "application/vnd.jupyter.widget-view+json": view}
        if self.picture.value:
            bundle["image/png"] = b64encode(self.picture.value).decode()
        return bundle


def viewer(result_folder: Path) -> Viewer:
    """Step through the images of a prediction folder; see `Viewer`."""
    return Viewer(result_folder)


def add_bar(picture: np.ndarray, pixel_size_um: float) -> tuple[np.ndarray, float]:
    """Draw a white bar with a black rim, about a fifth of the width, into the lower right corner of a picture.

    `picture`, uint8 (Y, X, 3), is changed in place; returns it and the length of the bar in micrometres.
    """
    height, width = picture.shape[:2]
    length = round_length(width * pixel_size_um / 5)
    long, thick, margin = max(1, round(length / pixel_size_um)), max(1, width // 100), max(1, width // 40)
    bottom, right = height - margin, width - margin
    picture[bottom - thick - 1 : bottom + 1, right - long - 1 : right + 1] = 0
    picture[bottom - thick : bottom, right - long : right] = 255
    return picture, length


def _button(text: str, icon: str) -> Button:
    return Button(description=text, icon=icon, layout=Layout(width="auto"))


def _png(picture: np.ndarray) -> bytes:
    """PNG file of a picture (Y, X, 3) uint8."""
    file = io.BytesIO()
    PillowImage.fromarray(picture).save(file, format="PNG")
    return file.getvalue()


def _read_folder(folder: Path) -> tuple[dict, list[dict]]:
    """Where the images of a prediction are, and a row for each plane."""
    try:
        origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        counts = pd.read_csv(folder / COUNTS, dtype={"file": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no prediction of objects. Run the cell that predicts first.") from error
    return origin, counts[["file", "plane", "objects"]].to_dict("records")


def _read_plane(path: Path, plane: int, axes: str, pixel_size_um: float) -> MicroscopyImage:
    """A plane, counted from 1."""
    if not path.exists():
        raise DataError(f"{path} is no longer there. Put the image back, or run the prediction again.")
    return next(islice(read_planes(path, axes, pixel_size_um), plane - 1, None))


def _read_labels(path: Path, plane: int) -> np.ndarray:
    """Labels (Y, X) of a plane, counted from 1."""
    with reading(path):
        return tifffile.imread(path, series=0, key=plane - 1)
