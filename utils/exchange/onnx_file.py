"""Keras networks as ONNX with channels first, which OpenCV, and so QuPath, runs at any size as well as onnxruntime.

What converters write runs in onnxruntime only: files of tf2onnx are refused by OpenCV or, of one size, answer wrongly
without a word; Keras's own have channels last. The networks of this project are made of a dozen kinds of layers.
"""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from utils.errors import ModelError
from utils.files import atomic

OPSET = 13  # the newest that every reader knows: OpenCV 4.10 to 5, and deepImageJ's (8 to 18)
IR_VERSION = 8
INPUT = "image"


def write_onnx(path: Path, network: keras.Model, names: Iterable[str], size: tuple[int, int] | None = None) -> None:
    """Write a network that takes and gives channels first.

    Parameters
    ----------
    path
        File to write.
    network
        Functional Keras model, float32, with one input (batch, Y, X, C).
    names
        Name of each output in the file.
    size
        Height and width of the input, where the network takes one size only; None: any that the network takes.

    Raises
    ------
    ModelError
        The network has a layer that is not known here.
    """
    graph = _Graph(network, size)
    for name, tensor in zip(names, network.outputs, strict=True):
        graph.finish(tensor, name)
    model = helper.make_model(graph.made(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    with atomic(path) as temporary:
        onnx.save(model, temporary)


class _Graph:
    """Nodes of an ONNX graph, layer by layer of a Keras network; values go by the Keras tensor they stand for."""

    def __init__(self, network: keras.Model, size: tuple[int, int] | None):
        self.nodes, self.weights, self.outputs, self.names, self.sizes = [], [], [], {}, {}
        image = network.inputs[0]
        sides = size or ("height", "width")
        self.input = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", image.shape[-1], *sides])
        self.names[id(image)], self.sizes[id(image)] = INPUT, size
        for layer in network.layers:
            if not isinstance(layer, keras.layers.InputLayer):
                self._add(layer)

    def _add(self, layer: keras.Layer) -> None:
        write = getattr(self, f"_{type(layer).__name__.lower()}", None)
        if write is None:
            raise _unknown(f"layer {layer.name} ({type(layer).__name__})")
        given = _inputs(layer)
        self.size = self.sizes[id(given[0])]  # of what the layer is given
        self.names[id(layer.output)] = write(layer, *(self.names[id(one)] for one in given))
        self.sizes[id(layer.output)] = self._size_after(layer)

    def _size_after(self, layer: keras.Layer) -> tuple[int, int] | None:
        if self.size is None or len(layer.output.shape) != 4:
            return None
        shapes = [(1, *self.sizes[id(one)], one.shape[-1]) for one in _inputs(layer)]
        return tuple(layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])[1:3])

    def made(self) -> onnx.GraphProto:
        return helper.make_graph(self.nodes, "network", [self.input], self.outputs, self.weights)

    def finish(self, tensor: keras.KerasTensor, name: str) -> None:
        """Call a value `name` and make it an output."""
        self.nodes.append(helper.make_node("Identity", [self.names[id(tensor)]], [name], name=f"output_{name}"))
        sides = [f"{side}_{name}" for side in ("height", "width")] if len(tensor.shape) == 4 else []
        shape = ["batch", tensor.shape[-1], *sides]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def _constant(self, values: np.ndarray) -> str:
        name = f"weights_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def _node(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _activated(self, function, x: str) -> str:
        kind = function.__name__
        if kind == "linear":
            return x
        if kind not in ("relu", "sigmoid", "softmax"):
            raise _unknown(f"activation {kind}")
        return self._node(kind.capitalize(), x, **({"axis": 1} if kind == "softmax" else {}))

    # --- one method for each kind of layer, named after its class

    def _conv2d(self, layer, x):
        kernel, *bias = layer.get_weights()
        weights = [self._constant(kernel.transpose(3, 2, 0, 1)), *map(self._constant, bias)]
        pads = self._pads(layer) if layer.padding == "same" else [0, 0, 0, 0]
        shape = {"kernel_shape": layer.kernel_size, "strides": layer.strides, "dilations": layer.dilation_rate}
        return self._activated(layer.activation, self._node("Conv", x, *weights, pads=pads, **shape))

    def _pads(self, layer) -> list[int]:
        """Pixels added before and after each axis by padding "same"; of an unknown size: one that strides divide."""
        before, after = [], []
        sizes = self.size or layer.strides
        for size, kernel, step, apart in zip(sizes, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True):
            missing = max(0, (-(-size // step) - 1) * step + apart * (kernel - 1) + 1 - size)
            before.append(missing // 2)
            after.append(missing - missing // 2)
        return before + after

    def _conv2dtranspose(self, layer, x):
        kernel, *bias = layer.get_weights()
        if layer.kernel_size != layer.strides:
            raise _unknown(f"layer {layer.name}")
        weights = [self._constant(kernel.transpose(3, 2, 0, 1)), *map(self._constant, bias)]
        shape = {"kernel_shape": layer.kernel_size, "strides": layer.strides}
        return self._activated(layer.activation, self._node("ConvTranspose", x, *weights, **shape))

    def _batchnormalization(self, layer, x):
        mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
        scale = layer.gamma.numpy() if layer.scale else np.ones_like(mean)
        offset = layer.beta.numpy() if layer.center else np.zeros_like(mean)
        values = map(self._constant, (scale, offset, mean, variance))
        return self._node("BatchNormalization", x, *values, epsilon=float(layer.epsilon))

    def _maxpooling2d(self, layer, x):
        partial = int(layer.padding == "same")  # windows over the border: those of an odd size
        return self._node("MaxPool", x, kernel_shape=layer.pool_size, strides=layer.strides, ceil_mode=partial)

    def _upsampling2d(self, layer, x):
        if layer.interpolation != "nearest":
            raise _unknown(f"layer {layer.name}")
        scales = self._constant(np.array([1, 1, *layer.size]))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", x, "", scales, mode="nearest", **how)

    def _dense(self, layer, x):
        kernel, *bias = layer.get_weights()
        return self._activated(layer.activation, self._node("Gemm", x, *map(self._constant, [kernel, *bias])))

    def _globalaveragepooling2d(self, layer, x):
        return self._node("Flatten", self._node("GlobalAveragePool", x), axis=1)

    def _concatenate(self, layer, *values):
        return self._node("Concat", *values, axis=1)

    def _activation(self, layer, x):
        return self._activated(layer.activation, x)

    def _softmax(self, layer, x):
        return self._node("Softmax", x, axis=1)

    def _rescaling(self, layer, x):
        scaled = self._node("Mul", x, self._constant(layer.scale))
        return self._node("Add", scaled, self._constant(layer.offset)) if np.any(layer.offset) else scaled

    def _dropout(self, layer, x):
        return x


def _inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    return layer.input if isinstance(layer.input, list | tuple) else [layer.input]


def _unknown(what: str) -> ModelError:
    return ModelError(
        f"The {what} of this network cannot be written as ONNX. Export the model another way; a classifier can be "
        'trained with the network "small CNN" instead.'
    )
