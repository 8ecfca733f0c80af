"""Labels in a file of NumPy, as Cellpose writes them (_seg.npy), read without running any code that the file holds.

Such a file is a pickle: to load it as usual is to run whatever program somebody put into it. Here the pickle is only
taken apart: it may hold numbers, texts, lists, dictionaries and arrays, and anything else is refused.
"""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import DataError

MASKS = "masks"  # where Cellpose keeps its labels
NUMBERS = "biuf"  # kinds of dtypes that are made into arrays; texts and objects are left as they are
SAVE = "In Cellpose choose File > Save masks as PNG/TIF, and use that file."


def read_npy(path: Path) -> np.ndarray:
    """Labels or mask (Y, X) of a NumPy file: the array itself, or the masks of Cellpose.

    DataError: something else is in the file, or a program that loading it as usual would run.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            array = np.load(file, allow_pickle=False)
        else:
            array = _masks(file.read(), shape, path)
    if array.ndim != 2 or array.dtype.kind not in NUMBERS + "b":
        raise DataError(f"{path} holds no mask of one plane (its dimensions are {array.shape}). {SAVE}")
    return array


def _masks(data: bytes, shape: tuple, path: Path) -> np.ndarray:
    """What Cellpose calls masks in the dictionary of a pickled array of one object."""
    try:
        content = _plain(_Reader(io.BytesIO(data), encoding="latin1").load())
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than numbers and texts ({error}), which could be a program; it was not run. {SAVE}"
        ) from error
    if isinstance(content, list) and len(content) == 1 and shape in ((), (1,)):
        content = content[0]
    masks = content.get(MASKS) if isinstance(content, dict) else None
    if not isinstance(masks, np.ndarray):
        raise DataError(f"{path} holds no labels called {MASKS}, as Cellpose writes them. {SAVE}")
    return masks


class _Dtype:
    """What a pickle tells of a dtype."""

    def __init__(self, name: Any, *_: Any):
        self.name, self.order = str(name), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def numpy(self) -> np.dtype | None:
        """The dtype; None for one that is not of numbers."""
        if self.name[:1] not in NUMBERS or not self.name[1:].isdigit():
            return None
        return np.dtype(self.name).newbyteorder(self.order)


class _Array:
    """What a pickle tells of an array; `content` is an array of numbers, or the list of its objects."""

    content: Any = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.content = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: _Dtype, shape: tuple, order: str = "C") -> Any:
    numbers = dtype.numpy()
    if numbers is None:
        return data
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, numbers).reshape(shape, order=order)


def _scalar(dtype: _Dtype, data: Any = b"") -> Any:
    numbers = _array(data, dtype, (-1,))
    return numbers[0] if isinstance(numbers, np.ndarray) else None


class _Reader(pickle.Unpickler):
    """Unpickler that knows how arrays and paths are written, makes them itself, and knows nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Stand-in for what a pickle names, made anew each time, since a pickle may write into it."""
        module = module.replace("numpy._core", "numpy.core")
        known = {
            ("numpy", "ndarray"): lambda: None,
            ("numpy", "dtype"): lambda *told: _Dtype(*told),
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy.core.multiarray", "scalar"): lambda *told: _scalar(*told),
            ("numpy.core.numeric", "_frombuffer"): lambda *told: _array(*told),
            ("collections", "OrderedDict"): lambda *told: OrderedDict(*told),
            ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
        }
        if module in ("pathlib", "pathlib._local") and name.endswith("Path"):
            return lambda *parts: "/".join(map(str, parts))
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return known[module, name]


def _plain(value: Any) -> Any:
    """The same without stand-ins, as far down as the labels may be."""
    if isinstance(value, _Array):
        return _plain(value.content)
    if isinstance(value, dict):
        return {key: one.content if isinstance(one, _Array) else one for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value
