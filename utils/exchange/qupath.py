"""A model for QuPath: ONNX that its OpenCV runs at any size, and a Groovy script that applies it to the open image.

The classes and methods that the scripts use, and what QuPath does with a network, were looked up in its sources: v0.6.0
(cc7a0a9), v0.7.0 (04ccfa4) and what becomes 0.8 (e7662d8), and its StarDist extension v0.6.0 and after (c1db125).
QuPath's normalisation takes percentiles of each tile or of a thumbnail; so the script measures the whole image as
`utils.images.normalise` does, and tells QuPath what to subtract and what to multiply by.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import keras
import numpy as np

from utils.exchange.any_program import FILE, measured_by, templates
from utils.exchange.onnx_file import write_onnx
from utils.exchange.targets import QUPATH_MULTIPLE
from utils.files import write_text
from utils.images.normalise import SIGNAL
from utils.pages.colours import class_colours
from utils.tasks.portable import Portable
from utils.tasks.results import PIXEL_SIZE_TOLERANCE
from utils.training.networks import reach

OBJECTS, PIXELS = "find_objects.groovy", "classify_pixels.groovy"
TEMPLATES = {OBJECTS: "qupath_objects.groovy.txt", PIXELS: "qupath_pixels.groovy.txt"}
IMAGE, BRIGHTNESS = "qupath_image.groovy.txt", "qupath_brightness.groovy.txt"  # parts of both
TILE = 512  # pixels that a U-Net sees at once; StarDist twice as many, as in QuPath
LEAST_PADDING = 64  # pixels that neighbouring tiles share at least
CLASSES = "prob_class"  # output of StarDist
BAND = 1 << 22  # pixels of an image that the script reads at a time


def write(folder: Path, model: Portable, title: str) -> None:
    """Write the network and the script."""
    write_onnx(folder / FILE, _network(model), model.outputs)
    write_text(folder / _script_name(model), script(model, title))


def _finds_objects(model: Portable) -> bool:
    return model.description["task"] == "stardist"


def _script_name(model: Portable) -> str:
    return OBJECTS if _finds_objects(model) else PIXELS


def _network(model: Portable) -> keras.Model:
    """The network; where it sorts objects, background has no probability: QuPath leaves out what looks most like it."""
    outputs = dict(zip(model.outputs, model.network.outputs, strict=True))
    if CLASSES not in outputs:
        return model.network
    outputs[CLASSES] = outputs[CLASSES] * _of_objects(outputs[CLASSES].shape[-1])
    return keras.Model(model.network.inputs, list(outputs.values()))


def _of_objects(n_classes: int) -> np.ndarray:
    return (np.arange(n_classes) > 0).astype(np.float32)


def script(model: Portable, title: str) -> str:
    """Groovy script that applies the model in the folder that it lies in itself, or in one that is written into it."""
    description, normalisation = model.description, model.description["normalisation"]
    classes, colours = description["classes"], class_colours(description["classes"])
    objects = _finds_objects(model)
    tile, padding = tiling(description)
    signal, own = normalisation["kind"] == SIGNAL, normalisation["per"] == "image"
    n = len(description["channels"])
    return templates.get_template(TEMPLATES[_script_name(model)]).render(
        image_part=IMAGE,
        brightness_part=BRIGHTNESS,
        title=re.sub(r"[^\w .,-]", "", title),  # goes into a comment
        file=FILE,
        n_channels=n,
        channels=", ".join(description["channels"]),
        example=str(list(range(n))) if n > 1 else "[0]",
        pixel_size=f"{description.get('pixel_size_um') or 0}d",
        tolerance=round(math.exp(PIXEL_SIZE_TOLERANCE), 3),
        threshold=f"{description['thresholds']['prob'] if objects else description.get('threshold') or 0.5}d",
        threshold_says=_threshold_says(objects, len(classes)),
        tile=tile,
        padding=padding,
        classes=[(str(one["name"]), [round(255 * part) for part in colours[one["id"]]]) for one in classes],
        signal=own and signal,
        joint=own and normalisation.get("channels") == "joint",
        common_range=None if own else [list(one) for one in zip(*normalisation["range"], strict=True)],
        band=BAND,
        **measured_by(normalisation),
    )


def _threshold_says(objects: bool, n_classes: int) -> str:
    if objects:
        return "probability from which on something is an object, as chosen in the training"
    return "probability above which a pixel belongs to the class" if n_classes == 2 else "not used: the likeliest wins"


def tiling(description: Mapping) -> tuple[int, int]:
    """Side of the tiles that the network sees, and what neighbours share at each side, in pixels.

    Tiles begin at multiples of what the network needs, as in the notebook; they share more than it sees around a pixel,
    and than an object is long.
    """
    if description["task"] == "stardist":
        unit, least = QUPATH_MULTIPLE, 2 * TILE
        needed = max(_reach_of_objects(description["network"]), description["input"]["largest_object"])
    else:
        network = description["network"]
        needed = reach(network["pooling_steps"], network.get("half_resolution", False))
        unit, least = description["input"]["multiple_of"], TILE
    padding = math.ceil(max(needed, LEAST_PADDING) / unit) * unit
    return math.ceil(max(least, 4 * padding) / unit) * unit, padding


def _reach_of_objects(network: Mapping) -> int:
    grid = max(network["grid"])
    return 3 * (grid - 1) + grid * (reach(network["unet_n_depth"]) + 2)


def how(model: Portable) -> list[str]:
    """How to use it, a paragraph each."""
    name, objects = _script_name(model), _finds_objects(model)
    extension = " with its StarDist extension (*Extensions > Manage extensions*)" if objects else ""
    names = ", ".join(str(one["name"]) for one in model.description["classes"][1:])
    gives = (
        "Objects become detections with their class, probability, shape and intensity; what was inside the annotation "
        "before is replaced. A few may differ from the notebook: QuPath has its own way to choose between overlapping "
        "objects, draws them half a pixel further left and up, and in an image of several tiles leaves out those that "
        "touch the right or lower border."
        if objects
        else f"Each class becomes an annotation there, in place of what the script drew before: {names}. Close to the "
        "border of an image, which QuPath continues in another way, a few pixels may differ from the notebook. "
        + " ".join(model.left_out)
    ).rstrip()
    size = model.description.get("pixel_size_um")
    scale = f"Images of smaller pixels than {size:g} um are looked at in that size. " if size else ""
    return [
        f"In QuPath 0.6, 0.7 or 0.8{extension}: open an image, drag `{name}` onto the window, and choose *Run > Run*. "
        f"Leave `{FILE}` beside the script, or write the folder that it lies in into the line `def modelFolder` of the "
        "script. *Run > Run for project* does many images.",
        f"It works in the annotations that are selected, or in the whole image where none is. {gives}",
        f"{scale}{_brightness(model.description['normalisation'])} Channels, pixel size and threshold stand in the "
        "first lines of the script, where they can be changed.",
    ]


def _brightness(normalisation: Mapping) -> str:
    if normalisation["per"] != "image":
        return "The brightness is brought to the range of the training images."
    return "The script measures the brightness of the whole image as the notebook does, which takes a while on a slide."


def expected(model: Portable, array: np.ndarray) -> dict[str, np.ndarray]:
    """What the file must answer for an image (Y, X, C) as read."""
    answers = dict(model.answer(array))
    if CLASSES in answers:
        answers[CLASSES] = answers[CLASSES] * _of_objects(answers[CLASSES].shape[-1])
    return answers


def read(folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What OpenCV answers as QuPath has it: a prepared image (Y, X, C) -> each output (Y, X, C) by its name."""
    network = cv2.dnn.readNetFromONNX(str(folder / FILE))
    names = network.getUnconnectedOutLayersNames()

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        network.setInput(np.ascontiguousarray(np.moveaxis(image, -1, 0)[np.newaxis]))
        return {name: np.moveaxis(one[0], 0, -1) for name, one in zip(names, network.forward(names), strict=True)}

    return answer
