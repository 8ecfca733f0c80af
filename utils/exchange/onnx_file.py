"""Keras networks as ONNX with channels first, which OpenCV, and so QuPath, runs at any size as well as onnxruntime.

What converters write runs in onnxruntime only: files of tf2onnx are refused by OpenCV or, of one size, answer wrongly
without a word; Keras's own have channels last. The networks of this project are made of two dozen kinds of layers.
"""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from utils.exchange.onnx_arithmetic import Arithmetic, unknown
from utils.files import atomic

OPSET = 13  # the newest that every reader knows: OpenCV 4.10 to 5, and deepImageJ's (8 to 18)
IR_VERSION = 8
INPUT = "image"
ARITHMETIC = ("Add", "Subtract", "Multiply", "TrueDivide")  # of two values, one of which may be numbers


def write_onnx(
    path: Path,
    network: keras.Model,
    names: Iterable[str],
    size: tuple[int, int] | None = None,
    channels_last: bool = False,
) -> None:
    """Write a network.

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
    channels_last
        Whether images go in and come out as (batch, Y, X, C), as in Keras, and not with channels first, as in OpenCV.

    Raises
    ------
    ModelError
        The network has a layer that is not known here.
    """
    graph = _Graph(network, size, channels_last)
    for name, tensor in zip(names, network.outputs, strict=True):
        graph.finish(tensor, name)
    model = helper.make_model(graph.made(), opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    with atomic(path) as temporary:
        onnx.save(model, temporary)


class _Graph:
    """Nodes of an ONNX graph, layer by layer of a Keras network; values go by the Keras tensor they stand for.

    Values have channels first, but those in `plain`, whose axes are as in Keras: the input with `channels_last`, and
    what is computed from it before the first layer.
    """

    def __init__(self, network: keras.Model, size: tuple[int, int] | None, channels_last: bool):
        self.nodes, self.weights, self.outputs, self.names, self.sizes = [], [], [], {}, {}
        self.channels_last, self.arithmetic = channels_last, Arithmetic(self._node, self._constant)
        image = network.inputs[0]
        sides, channels = size or ("height", "width"), image.shape[-1]
        shape = ["batch", *sides, channels] if channels_last else ["batch", channels, *sides]
        self.input = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)
        self.names[id(image)], self.sizes[id(image)] = INPUT, size
        self.plain = {id(image)} if channels_last else set()
        self._write_all(network)

    def _write_all(self, network: keras.Model) -> None:
        for layer in network.operations:  # layers, and arithmetic between them
            if isinstance(layer, keras.Model):  # a network of others within this one
                calls = reversed(layer._inbound_nodes)
                call = next(one for one in calls if id(one.input_tensors[0]) in self.names)  # that of this network
                self._channels_first(call.input_tensors[0])
                self._name(layer.inputs[0], call.input_tensors[0])
                self._write_all(layer)
                for given, same in zip(call.output_tensors, layer.outputs, strict=True):
                    self._name(given, same)
            elif not isinstance(layer, keras.layers.InputLayer):
                self._write(layer)

    def _name(self, tensor: keras.KerasTensor, same: keras.KerasTensor) -> None:
        """Give a value the name of another one that is the same."""
        self.names[id(tensor)], self.sizes[id(tensor)] = self.names[id(same)], self.sizes[id(same)]

    def _channels_first(self, tensor: keras.KerasTensor) -> None:
        """Put the channels of a value first, where they are last."""
        if id(tensor) in self.plain:
            self.plain.remove(id(tensor))
            self.names[id(tensor)] = self._node("Transpose", self.names[id(tensor)], perm=[0, 3, 1, 2])

    def _write(self, layer: keras.Operation) -> None:
        given = _inputs(layer)
        if not isinstance(layer, keras.Layer) and any(id(one) in self.plain for one in given):
            self._write_plain(layer, next(one for one in given if id(one) in self.plain))
        else:
            self._write_layer(layer, given)

    def _write_plain(self, layer: keras.Operation, first: keras.KerasTensor) -> None:
        self.names[id(layer.output)] = self.arithmetic.write(layer, self.names)
        self.sizes[id(layer.output)] = self.sizes[id(first)]
        self.plain.add(id(layer.output))

    def _write_layer(self, layer: keras.Operation, given: list) -> None:
        write = getattr(self, f"_{type(layer).__name__.lower()}", None)
        if write is None:
            raise unknown(f"layer {layer.name} ({type(layer).__name__})")
        tensors = [one for one in given if id(one) in self.names]
        for one in tensors:
            self._channels_first(one)
        self.size = self.sizes[id(tensors[0])]  # of what the layer is given
        names = (self.names[id(one)] if id(one) in self.names else self._per_channel(one) for one in given)
        self.names[id(layer.output)] = write(layer, *names)
        self.sizes[id(layer.output)] = self._size_after(layer)

    def _size_after(self, layer: keras.Operation) -> tuple[int, int] | None:
        if self.size is None or not isinstance(layer, keras.Layer) or isinstance(layer.input, list):
            return self.size
        if len(layer.output.shape) != 4:
            return None
        return tuple(layer.compute_output_shape((1, *self.size, layer.input.shape[-1]))[1:3])

    def made(self) -> onnx.GraphProto:
        return helper.make_graph(self.nodes, "network", [self.input], self.outputs, self.weights)

    def finish(self, tensor: keras.KerasTensor, name: str) -> None:
        """Call a value `name` and make it an output."""
        last = len(tensor.shape) == 4 and self.channels_last
        kind, how = ("Transpose", {"perm": [0, 2, 3, 1]}) if last else ("Identity", {})
        self.nodes.append(helper.make_node(kind, [self.names[id(tensor)]], [name], name=f"output_{name}", **how))
        sides = [f"{side}_{name}" for side in ("height", "width")] if len(tensor.shape) == 4 else []
        shape = ["batch", *sides, tensor.shape[-1]] if last else ["batch", tensor.shape[-1], *sides]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def _constant(self, values: np.ndarray, dtype: str | type = np.float32) -> str:
        name = f"weights_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def _per_channel(self, values: np.ndarray | float) -> str:
        """A number, or one for each channel, to be combined with a value whose channels come first."""
        values = np.ravel(values)
        return self._constant(values if values.size == 1 else values.reshape(-1, 1, 1))

    def _node(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"{kind}_{len(self.nodes)}"
        names = [name, f"{name}_places"] if kind == "TopK" else [name]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return name

    def _activated(self, function, x: str) -> str:
        kind = function.__name__
        if kind == "linear":
            return x
        if kind == "silu":
            return self._node("Mul", x, self._node("Sigmoid", x))
        if kind not in ("relu", "sigmoid", "softmax"):
            raise unknown(f"activation {kind}")
        return self._node(kind.capitalize(), x, **({"axis": 1} if kind == "softmax" else {}))

    # --- one method for each kind of layer, named after its class

    def _conv2d(self, layer, x):
        kernel, *bias = layer.get_weights()
        return self._convolution(layer, x, kernel.transpose(3, 2, 0, 1), bias)

    def _depthwiseconv2d(self, layer, x):
        kernel, *bias = layer.get_weights()
        height, width, channels, times = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * times, 1, height, width)
        return self._convolution(layer, x, kernel, bias, group=channels)

    def _convolution(self, layer, x, kernel, bias, group=1):
        """Convolution with a kernel (to, from, Y, X).

        One of 3 x 3 is written as 3 x 4 with a column of zeros, which is the same: for 3 x 3 OpenCV takes faster ways
        that round ten times as much (Winograd, up to 2e-5 in trained networks) or, channel by channel, answer wrongly
        where an image has become smaller than the kernel.
        """
        pads = self._pads(layer) if layer.padding == "same" else [0, 0, 0, 0]
        if kernel.shape[2:] == (3, 3):
            kernel, pads = np.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, 1))), [*pads[:3], pads[3] + 1]
        shape = {"kernel_shape": kernel.shape[2:], "strides": layer.strides, "dilations": layer.dilation_rate}
        weights = [self._constant(kernel), *map(self._constant, bias)]
        found = self._node("Conv", x, *weights, pads=pads, group=group, **shape)
        return self._activated(layer.activation, found)

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
        missing = [step - side for step, side in zip(layer.strides, layer.kernel_size, strict=True)]
        if min(missing) < 0:
            raise unknown(f"layer {layer.name}")
        weights = [self._constant(kernel.transpose(3, 2, 0, 1)), *map(self._constant, bias)]
        shape = {"kernel_shape": layer.kernel_size, "strides": layer.strides}
        shape |= {"output_padding": missing} if any(missing) else {}
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
            raise unknown(f"layer {layer.name}")
        scales = self._constant(np.array([1, 1, *layer.size]))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._node("Resize", x, "", scales, mode="nearest", **how)

    def _dense(self, layer, x):
        kernel, *bias = layer.get_weights()
        return self._activated(layer.activation, self._node("Gemm", x, *map(self._constant, [kernel, *bias])))

    def _zeropadding2d(self, layer, x):
        (top, bottom), (left, right) = layer.padding
        return self._node("Pad", x, self._constant([0, 0, top, left, 0, 0, bottom, right], np.int64))

    def _globalaveragepooling2d(self, layer, x):
        return self._node("Flatten", self._node("GlobalAveragePool", x), axis=1)

    def _reshape(self, layer, x):
        *sides, channels = layer.target_shape
        if sides != [1, 1]:
            raise unknown(f"layer {layer.name}")
        return self._node("Reshape", x, self._constant([-1, channels, 1, 1], np.int64))

    def _concatenate(self, layer, *values):
        return self._node("Concat", *values, axis=1)

    def _activation(self, layer, x):
        return self._activated(layer.activation, x)

    def _relu(self, layer, x):
        if layer.negative_slope or layer.threshold:
            raise unknown(f"layer {layer.name}")
        if layer.max_value is None:
            return self._node("Relu", x)
        return self._node("Clip", x, *(self._constant(np.array(one)) for one in (0.0, layer.max_value)))

    def _softmax(self, layer, x):
        return self._node("Softmax", x, axis=1)

    def _rescaling(self, layer, x):
        scaled = self._node("Mul", x, self._per_channel(layer.scale))
        return self._node("Add", scaled, self._per_channel(layer.offset)) if np.any(layer.offset) else scaled

    def _normalization(self, layer, x):
        deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
        centred = self._node("Sub", x, self._per_channel(layer.mean))
        return self._node("Div", centred, self._per_channel(deviation))

    def _add(self, layer, *values):
        return self._node("Add", *values)

    def _subtract(self, layer, *values):
        return self._node("Sub", *values)

    def _multiply(self, layer, *values):
        return self._node("Mul", *values)

    def _truedivide(self, layer, *values):
        return self._node("Div", *values)

    def _getitem(self, layer, x):
        everything, channel = layer._inbound_nodes[0].arguments.args[1]
        if everything is not Ellipsis or not isinstance(channel, int | slice):
            raise unknown(f"layer {layer.name}")
        span = channel if isinstance(channel, slice) else slice(channel, channel + 1)
        ends = ([span.start], [span.stop], [1])  # kept as an image of one channel
        return self._node("Slice", x, *(self._constant(one, np.int64) for one in ends))

    def _stack(self, layer, *values):
        return self._node("Concat", *values, axis=1)

    def _dropout(self, layer, x):
        return x


def _inputs(layer: keras.Operation) -> list:
    """What a layer is given, and for arithmetic the numbers, too."""
    if not isinstance(layer, keras.Layer) and type(layer).__name__ in ARITHMETIC:
        return list(layer._inbound_nodes[0].arguments.args)
    return layer.input if isinstance(layer.input, list | tuple) else [layer.input]
