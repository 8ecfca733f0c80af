"""Arithmetic on whole images as ONNX: the operations of Keras that `utils.exchange.brightness` is made of.

Axes stay where Keras has them, unlike those of layers, for which `utils.exchange.onnx_file` puts channels first.
"""

from collections.abc import Callable

import keras
import numpy as np
from onnx import TensorProto, helper

from utils.errors import ModelError

ELEMENTWISE = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul", "TrueDivide": "Div", "Mod": "Mod"}
ELEMENTWISE |= {"Minimum": "Min", "Maximum": "Max", "Greater": "Greater", "Equal": "Equal"}
OF_ONE = {"Absolute": "Abs", "Floor": "Floor", "Ceil": "Ceil"}
REDUCED = {"Mean": "ReduceMean", "Max": "ReduceMax"}
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "bool": TensorProto.BOOL}
END = np.iinfo(np.int64).max


def unknown(what: str) -> ModelError:
    """Error that a network holds something that cannot be written."""
    return ModelError(f"The {what} of this network cannot be written as ONNX. Export the model another way.")


class Arithmetic:
    """Writes operations of Keras into an ONNX graph.

    Parameters
    ----------
    node
        Adds a node: its kind, names of its inputs, attributes -> name of its first output.
    constant
        Adds numbers: an array and its dtype -> their name.
    """

    def __init__(self, node: Callable[..., str], constant: Callable[..., str]):
        self._node, self._constant = node, constant

    def write(self, operation: keras.Operation, names: dict[int, str]) -> str:
        """Name of the value of an operation; `names` has those of the values before, by the id of their tensors."""
        call, kind = operation._inbound_nodes[0].arguments, type(operation).__name__
        given = list(call.args[0]) if isinstance(call.args[0], list | tuple) else list(call.args)
        if kind in ELEMENTWISE or kind == "Where":
            return self._elementwise(kind, operation, given, names)
        x, rank = names[id(given[0])], len(given[0].shape)
        if kind in OF_ONE:
            return self._node(OF_ONE[kind], x)
        if kind == "GetItem":
            return self._part(x, call.args[1], rank)
        if kind in ("Stack", "Concatenate"):
            last = [self._constant([-1], np.int64)] * (kind == "Stack")
            parts = [self._node("Unsqueeze", names[id(one)], *last) if last else names[id(one)] for one in given]
            return self._node("Concat", *parts, axis=operation.axis)
        write = getattr(self, f"_{kind.lower()}", None)
        if write is None and kind not in REDUCED:
            raise unknown(f"operation {kind}")
        return write(operation, x) if write else self._reduced(REDUCED[kind], operation, x)

    def _elementwise(self, kind: str, operation: keras.Operation, given: list, names: dict[int, str]) -> str:
        """Values and numbers are brought to the type in which Keras computes."""
        condition = [names[id(given.pop(0))]] if kind == "Where" else []
        types = [one.dtype for one in given if isinstance(one, keras.KerasTensor)]
        dtype = keras.backend.result_type(*types) if operation.output.dtype == "bool" else operation.output.dtype
        parts = []
        for one in given:
            if not isinstance(one, keras.KerasTensor):
                parts.append(self._constant(np.asarray(one), dtype))
            else:
                name = names[id(one)]
                parts.append(name if one.dtype == dtype else self._node("Cast", name, to=TYPES[dtype]))
        more = {"fmod": 1} if kind == "Mod" else {}
        return self._node(ELEMENTWISE.get(kind, kind), *condition, *parts, **more)

    def _part(self, x: str, key: tuple, rank: int) -> str:
        """A part of an array as Python's brackets take it: slices by steps of 1, and whole numbers."""
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = (*key[:at], *[slice(None)] * (rank - len(key) + 1), *key[at + 1 :])
        alone = [axis for axis, one in enumerate(key) if not isinstance(one, slice)]
        spans = [one if isinstance(one, slice) else slice(one, one + 1 or None) for one in key]
        starts, ends = [one.start or 0 for one in spans], [END if one.stop is None else one.stop for one in spans]
        numbers = (self._constant(values, np.int64) for values in (starts, ends, list(range(len(key)))))
        found = self._node("Slice", x, *numbers)
        return self._node("Squeeze", found, self._constant(alone, np.int64)) if alone else found

    def _reduced(self, kind: str, operation: keras.Operation, x: str) -> str:
        axes = {} if operation.axis is None else {"axes": list(operation.axis)}
        return self._node(kind, x, keepdims=int(operation.keepdims), **axes)

    # --- one method for each kind of operation, named after its class

    def _sum(self, operation, x):
        axes = [] if operation.axis is None else [self._constant(list(operation.axis), np.int64)]
        return self._node("ReduceSum", x, *axes, keepdims=int(operation.keepdims))

    def _all(self, operation, x):
        least = self._reduced("ReduceMin", operation, self._node("Cast", x, to=TensorProto.INT32))
        return self._node("Cast", least, to=TensorProto.BOOL)

    def _transpose(self, operation, x):
        return self._node("Transpose", x, perm=operation.axes)

    def _reshape(self, operation, x):
        return self._node("Reshape", x, self._constant(operation.newshape, np.int64))

    def _cast(self, operation, x):
        return self._node("Cast", x, to=TYPES[operation.dtype])

    def _oneslike(self, operation, x):
        one = helper.make_tensor("one", TYPES[operation.dtype], [1], [1])
        return self._node("ConstantOfShape", self._node("Shape", x), value=one)

    def _cumsum(self, operation, x):
        return self._node("CumSum", x, self._constant(np.int64(operation.axis), np.int64))

    def _pad(self, operation, x):
        before, after = zip(*operation.pad_width, strict=True)
        if operation.mode != "symmetric" or max(*before, *after) > 1:  # by more, "edge" would be another
            raise unknown(f"operation {operation.name}")
        return self._node("Pad", x, self._constant([*before, *after], np.int64), mode="edge")

    def _sort(self, operation, x):
        size = self._part(self._node("Shape", x), (slice(-1, None),), 1)
        return self._node("TopK", x, size, axis=operation.axis, largest=0, sorted=1)
