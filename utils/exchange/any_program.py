"""A model as ONNX with a short Python script: for any program that runs ONNX, and for a look at what it does."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from utils.exchange.onnx_file import write_onnx
from utils.files import write_text
from utils.images.normalise import BACKGROUND, CHUNK, DENSE, LEAST_RANGE, QUANTISATION, SIGNAL, STANDS_OUT
from utils.tasks.portable import Portable

FILE, SCRIPT = "model.onnx", "predict.py"
templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True
)
templates.filters["repr"] = repr
templates.filters["groovy"] = lambda text: re.sub(r"([\\'])", r"\\\1", " ".join(str(text).split()))


def write(folder: Path, model: Portable, title: str) -> None:
    """Write the network and the script."""
    write_onnx(folder / FILE, model.network, model.outputs, model.size)
    write_text(folder / SCRIPT, script(model, title))


def how(model: Portable) -> list[str]:
    """How to use it, a paragraph each."""
    sides = (
        f"of {model.size[1]} x {model.size[0]} pixels" if model.size else "of any size that is a multiple of {} x {}"
    )
    sides = sides.format(*model.multiple[::-1])
    outputs = "; ".join(f"`{name}`: {meaning}" for name, meaning in model.outputs.items())
    return [
        f"`{FILE}` is the trained network, for any program that runs ONNX. Its input `image` is float32 (images, "
        f"channels, height, width) {sides}, with the brightness brought to a common range as `{SCRIPT}` does it. It "
        f"answers with {outputs}. {' '.join(model.decision)}",
        f"To try it: `pip install numpy onnxruntime tifffile imagecodecs`, then `python {SCRIPT} IMAGE.tif` "
        f"{_written(model)}. The image must be a TIFF; save others, such as JPEG, as TIFF first.",
    ]


def _written(model: Portable) -> str:
    """What the script writes, in words."""
    if model.size:
        return "prints the probability of each class and writes it to `IMAGE.npz`"
    if model.description["task"] == "stardist":
        return (
            "writes beside the image `IMAGE.npz`, the answers as numpy arrays, and, since the objects that overlap are "
            "told apart by StarDist itself, where that is installed (`pip install stardist tensorflow`) "
            "`IMAGE.labels.tif`, the objects that the notebook finds"
        )
    return "writes beside the image `IMAGE.mask.tif`, the mask, and `IMAGE.npz`, the answers as numpy arrays"


def expected(model: Portable, array: np.ndarray) -> dict[str, np.ndarray]:
    """What the notebook answers for an image (Y, X, C) as read."""
    return dict(model.answer(array))


def measured_by(normalisation: Mapping) -> dict[str, float]:
    """Numbers by which a script measures the range of an image as `utils.images.normalise` does, for its template."""
    return {
        "low": normalisation["low"],
        "high": normalisation["high"],
        "chunk": CHUNK,
        "rounding": QUANTISATION,
        "background": BACKGROUND,
        "stands_out": STANDS_OUT,
        "dense": DENSE,
        "least": LEAST_RANGE,
    }


def script(model: Portable, title: str) -> str:
    """Python script that answers as the notebook does, from numpy, onnxruntime and tifffile alone."""
    description, normalisation = model.description, model.description["normalisation"]
    own = normalisation["per"] != "training set"
    network = description["network"]
    return templates.get_template("any_program.py.txt").render(
        title=re.sub(r"[^\w .,-]", "", title),  # goes into a docstring
        channels=len(description["channels"]),
        signal=own and normalisation["kind"] == SIGNAL,
        own_range=own,
        seen="image.reshape(len(image), -1, 1)" if normalisation.get("channels") == "joint" else "image",
        common_range=normalisation["range"] if normalisation["per"] != "image" else None,
        **measured_by(normalisation),
        size=model.size,
        multiple=model.multiple,
        grid=network["grid"][0] if "grid" in network else 1,
        outputs=model.outputs,
        task=description["task"],
        threshold=description.get("threshold"),
        thresholds=description.get("thresholds"),
        smallest=description.get("smallest_part", 1),
        classes=[str(one["name"]) for one in description["classes"]],
        values=[one["value"] for one in description["classes"]],
    )


def read(folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What onnxruntime answers: a prepared image (Y, X, C) -> each output (Y, X, C) or (C,) by its name."""
    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(names, {"image": np.moveaxis(image, -1, 0)[np.newaxis]})
        return {name: np.moveaxis(one[0], 0, -1) for name, one in zip(names, found, strict=True)}

    return answer
