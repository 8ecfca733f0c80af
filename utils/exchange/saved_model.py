"""A network as TF_SavedModel.zip, which the CSBDeep and StarDist plugins of Fiji open with TensorFlow 1.15.

What Keras 3 exports TensorFlow 1.15 refuses: it does not know the operations that draw initial weights. Here the
weights become constants of a graph that holds what is computed and nothing else.
"""

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from utils.files import atomic
from utils.images.normalise import SIGNAL
from utils.tasks.portable import Portable
from utils.training.networks import compiled

FILE = "TF_SavedModel.zip"
SIGNATURE = "serving_default"
NEGATIVE = (  # PercentileNormalizer.java of CSBDeep
    "What is darker than the lower percentile becomes 0 there and negative in the notebook: in dark places answers may "
    "differ a little."
)


def write(folder: Path, model: Portable, title: str) -> None:
    """Write the zip file."""
    channels = model.network.inputs[0].shape[-1]
    _write(folder / FILE, lambda x: whole(model, _outputs(model.network, x)), (None, None, None, channels))


def bundle(path: Path, network: keras.Model) -> None:
    """Write any network of one input and one output as such a zip file."""
    _write(path, lambda x: network(x, training=False), network.input_shape)


def _write(path: Path, call: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int | None, ...]) -> None:
    names, graph = _frozen(call, shape)
    with tempfile.TemporaryDirectory() as place, tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        given, answer = (session.graph.get_tensor_by_name(name) for name in names)
        signature = tf.compat.v1.saved_model.predict_signature_def({"input": given}, {"output": answer})
        builder = tf.compat.v1.saved_model.Builder(f"{place}/model")
        builder.add_meta_graph_and_variables(session, ["serve"], {SIGNATURE: signature}, strip_default_attrs=True)
        builder.save()
        with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            file.write(f"{place}/model/saved_model.pb", "saved_model.pb")
            file.writestr("variables/", "")


def _frozen(
    call: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int | None, ...]
) -> tuple[tuple[str, str], tf.compat.v1.GraphDef]:
    """Names of input and output, and the graph with its weights as constants."""
    frozen = compiled(call, tf.TensorSpec(shape, tf.float32, "input"))
    (answer,) = frozen.outputs
    graph = tf.compat.v1.graph_util.remove_training_nodes(frozen.graph.as_graph_def(), [answer.op.name])
    return (frozen.inputs[0].name, answer.name), graph


def _outputs(network: keras.Model, x: tf.Tensor) -> list[tf.Tensor]:
    found = network([x] if isinstance(network.input, list) else x, training=False)
    return list(found) if isinstance(found, list | tuple) else [found]


def whole(model: Portable, outputs: list[tf.Tensor]) -> tf.Tensor:
    """All outputs of the network as one, of the size of the image, as the plugins want it; without classes of objects.

    Of StarDist with a grid, probabilities stand in the first pixel of each cell of the grid, with 0 in the others, so
    that no object is found twice; distances are those of the cell.
    """
    if model.description["task"] != "stardist":
        return tf.identity(outputs[0])
    probability, distance = outputs[:2]
    y, x = model.description["network"]["grid"]
    if (y, x) != (1, 1):
        n, height, width = (tf.shape(probability)[i] for i in range(3))
        size = tf.stack([n, y * height, x * width, 1])
        one = tf.ones((1, 1, 1, 1))
        probability = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=size, filter=one, out_backprop=probability, strides=[1, y, x, 1], padding="SAME"
        )
        distance = tf.raw_ops.ResizeNearestNeighbor(images=distance, size=size[1:3])
    return tf.concat([probability, distance], axis=-1)


def how(model: Portable) -> list[str]:
    """How to use it, a paragraph each."""
    description = model.description
    if description["task"] == "stardist":
        where = (
            "In Fiji with the update sites CSBDeep, StarDist and TensorFlow: *Plugins > StarDist > StarDist 2D*, "
            f"*Model: Model (.zip) from File*, and choose `{FILE}`. Under *NMS Postprocessing* write what was chosen "
            f"in the training: {description['thresholds']['prob']:.3g} for *Probability/Score Threshold* and "
            f"{description['thresholds']['nms']:.3g} for *Overlap Threshold*."
        )
        if len(description["classes"]) > 2:
            where += " It finds the objects; their classes no plugin shows."
    else:
        where = (
            "In Fiji with the update sites CSBDeep and TensorFlow: *Plugins > CSBDeep > Run your network*, and choose "
            f"`{FILE}`. The result is a stack with the probability of each class. {' '.join(model.decision)}"
        )
    return [where, _brightness(description["normalisation"], len(description["channels"]))]


def _brightness(normalisation: Mapping, n_channels: int) -> str:
    """How Fiji must bring an image to the range that the network knows.

    CSBDeep's PercentileNormalizer, which both plugins use, takes the percentiles of all channels together.
    """
    if normalisation["per"] != "image":
        low, high = np.array(normalisation["range"])
        pairs = [(f"{a:g}", f"{b:g}") for a, b in zip(low, high - low, strict=True)]
        alike = len(set(pairs)) == 1
        numbers = pairs[0] if alike else [", ".join(one) for one in zip(*pairs, strict=True)]
        colour = "Make a colour image a stack first (*Image > Type > RGB Stack*): *32-bit* alone would make it grey. "
        return (
            f"Do not let the plugin normalise. {colour * (low.size == 3)}Make the image *32-bit* (*Image > Type*), "
            f"then subtract {numbers[0]} and divide by {numbers[1]} (*Process > Math*"
            f"{'' if alike else ', a number for each channel'})."
        )
    low, high = normalisation["low"], normalisation["high"]
    told = f"Let the plugin normalise to the percentiles {low} and {high}. {NEGATIVE}"
    if n_channels > 1 and normalisation.get("channels") != "joint":
        told = (
            "Do not let the plugin normalise: it has one range for all channels, the notebook one for each. Split the "
            f"channels, make each *32-bit*, subtract its percentile {low} and divide by the difference of its "
            f'percentiles {low} and {high}, and merge them again. A model trained with "all images together" in the '
            "field *Normalisation* has fixed numbers for that."
        )
    if normalisation["kind"] == SIGNAL:
        told += (
            " Where objects cover less than a tenth of the image the notebook takes a higher percentile, which no "
            "plugin does: predict such images with the notebook."
        )
    return told


def expected(model: Portable, array: np.ndarray) -> dict[str, np.ndarray]:
    """What the file must answer for an image (Y, X, C) as read."""
    answers = [tf.constant(one[np.newaxis]) for one in model.answer(array).values()]
    return {"output": whole(model, answers).numpy()[0]}


def read(folder: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What TensorFlow answers from the file alone: a prepared image (Y, X, C) -> {"output": (Y, X, C)}."""
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(folder / FILE) as file:
        file.extractall(place)
        graph = tf.saved_model.load(place, tags=["serve"]).signatures[SIGNATURE]

    def answer(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": graph(tf.constant(image[np.newaxis]))["output"].numpy()[0]}

    return answer
