"""Weights of a package of others: which can run here, whether they hold program code, and a function that runs them."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import ModelError
from utils.exchange import packages
from utils.exchange.packages import check_zip, local_file, needed_file, unzip
from utils.files import file_sha256

ONNX, KERAS, BUNDLE, HDF5 = "onnx", "keras_v3", "tensorflow_saved_model_bundle", "keras_hdf5"
FORMATS = (ONNX, KERAS, BUNDLE, HDF5)  # the first that a package has is run
# Layers that are program code, or hand on to other files; the rest of Keras computes with what it is given.
CODE_LAYERS = {"Lambda", "__lambda__", "function", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer"}
CODE_LAYERS |= {"TextVectorization", "StringLookup", "IntegerLookup"}
PLAIN = {"slice", "tuple", "list", "dict", "set", "int", "float", "str", "bool", "NoneType"}
PARTS = {"layers", "models", "initializers", "regularizers", "constraints", "activations", "ops", "optimizers"}
PARTS |= {"losses", "metrics", "dtype_policies", "random", "engine", "quantizers"}  # of Keras, that only compute
LARGEST_CONFIG = 64 * 2**20  # bytes of the description of a network
# Operations of TensorFlow that run Python, read or write files, or talk to other computers.
CODE_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "ImmutableConst"}
CODE_OPS |= {"PrintV2", "RemoteCall", "RpcCall", "RegisterDataset", "WriteSummary", "ImportEvent", "SaveDataset"}
CODE_OPS |= {"TextLineReader", "TextLineReaderV2", "WholeFileReader", "WholeFileReaderV2", "TFRecordReaderV2"}
CODE_OPS |= {"DebugIdentityV2", "DebugIdentityV3", "LoadDataset", "XlaLaunch"}
SERVE, SIGNATURE = "serve", "serving_default"
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
Runner = Callable[[np.ndarray], list[np.ndarray]]


def choose_weights(folder: Path, described: Mapping) -> tuple[str, Path]:
    """Format and file of the weights of a checked package that can run here, and hold no program code.

    ModelError where there are none: said is which weights there are, and what is needed.
    """
    weights = described.get("weights")
    weights = weights if isinstance(weights, Mapping) else {}
    problems = []
    for name in (one for one in FORMATS if isinstance(weights.get(one), Mapping)):
        try:
            path = needed_file(folder, weights[name].get("source"), weights[name].get("sha256"))
            return name, _without_code(name, path)
        except ModelError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    there = ", ".join(map(str, weights)) or "none"
    raise ModelError(
        f"The package {folder} has no weights that run here: it has {there}; needed are {', '.join(FORMATS)}. Choose "
        "another package, or ask its authors for weights as ONNX."
    )


def load_weights(name: str, path: Path, outputs: list[str]) -> Runner:
    """What runs weights: an array, its axes in the order that the package says -> arrays of all `outputs` in order.

    Raises
    ------
    ModelError
        They cannot be loaded.
    """
    try:
        return {ONNX: _onnx, KERAS: _keras, HDF5: _keras, BUNDLE: _bundle}[name](path, outputs)
    except ModelError:
        raise
    except Exception as error:  # each library raises errors of many kinds for weights that it cannot read
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(
        f"The weights {path} could not be loaded ({type(error).__name__}: {reason}). They may need another version of "
        "the software that they were made with; choose another package, or ask its authors for weights as ONNX."
    )


def _code(path: Path, what: str) -> ModelError:
    return ModelError(
        f"The weights {path} were not loaded: they hold {what}, which may be program code, and that is never run from "
        "a file of others. Choose another package, or ask its authors for weights as ONNX."
    )


def _without_code(name: str, path: Path) -> Path:
    """The file itself, of a bundle its unpacked folder; ModelError where it may be program code."""
    try:
        return {ONNX: _check_onnx, KERAS: check_keras, HDF5: check_keras, BUNDLE: _check_bundle}[name](path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _unusable(path, error) from error


# --- ONNX


def _check_onnx(path: Path) -> Path:
    """Weights may lie in other files of the package, but nowhere else."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # those of protobuf
        raise _unusable(path, error) from error
    for one in model.graph.initializer:
        for entry in one.external_data:
            if entry.key == "location":
                local_file(path.parent, entry.value)
    return path


def _onnx(path: Path, outputs: list[str]) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    given = session.get_inputs()
    if len(given) != 1:
        raise ValueError(f"it needs {len(given)} inputs")
    known = [one.name for one in session.get_outputs()]
    asked = outputs if set(outputs) <= set(known) else known  # names do not matter, order does

    def run(array: np.ndarray) -> list[np.ndarray]:
        kind = TYPES.get(given[0].type, array.dtype)
        return session.run(asked, {given[0].name: np.ascontiguousarray(array, kind)})

    return run


# --- Keras


def check_keras(path: Path) -> Path:
    """A Keras model, .keras or HDF5, that is made of layers of Keras alone; ModelError otherwise."""
    for one in packages.dictionaries(_keras_config(path), most=LARGEST_CONFIG):
        kind, module = one.get("class_name"), one.get("module")
        if {str(kind), str(one.get("registered_name"))} & CODE_LAYERS:
            raise _code(path, f"a layer {kind}")
        if module and not _of_keras(str(module), str(kind)):
            raise _code(path, f"{module}.{kind}")
    return path


def _of_keras(module: str, kind: str) -> bool:
    """Whether a class that a network names is one of Keras that only computes, or a plain Python value."""
    first, *rest = module.split(".")
    if first == "builtins":
        return kind in PLAIN
    return first == "keras" and (not rest or [*rest, ""][rest[0] == "src"] in PARTS)


def _keras_config(path: Path) -> Any:
    """Description of the network in a file of Keras."""
    if zipfile.is_zipfile(path):
        check_zip(path)
        with zipfile.ZipFile(path) as file:
            if file.getinfo("config.json").file_size > LARGEST_CONFIG:
                raise ValueError("its description is too large")
            return json.loads(file.read("config.json"))
    import h5py

    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("it holds numbers, but no network that they belong to")
        text = file.attrs["model_config"]
        return json.loads(text)


def _keras(path: Path, outputs: list[str]) -> Runner:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    if len(model.inputs) != 1:
        raise ValueError(f"it needs {len(model.inputs)} inputs")
    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)

    def run(array: np.ndarray) -> list[np.ndarray]:
        found = call(tf.convert_to_tensor(array, model.inputs[0].dtype))
        return [one.numpy() for one in (found if isinstance(found, list | tuple) else [found])]

    return run


# --- TensorFlow


def _check_bundle(path: Path) -> Path:
    """Folder of an unpacked bundle whose operations compute, and do nothing else."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    folder = packages.PLACE / "bundles" / file_sha256(path)[:16]
    if not folder.is_dir():
        unzip(path, folder)
    place = next((one.parent for one in sorted(folder.rglob("saved_model.pb"))), None)
    if place is None:
        raise ValueError("there is no saved_model.pb in it")
    try:
        model = SavedModel.FromString((place / "saved_model.pb").read_bytes())
    except Exception as error:  # those of protobuf
        raise _unusable(path, error) from error
    found = sorted(set(_operations(model)) & CODE_OPS)
    if found:
        raise _code(path, f"the operation {found[0]}")
    return place


def _operations(model: Any) -> Iterator[str]:
    for graph in (one.graph_def for one in model.meta_graphs):
        yield from (node.op for node in graph.node)
        yield from (node.op for function in graph.library.function for node in function.node_def)


def _bundle(path: Path, outputs: list[str]) -> Runner:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path), tags=[SERVE])
    call = loaded.signatures[SIGNATURE]
    ((name, spec),) = call.structured_input_signature[1].items()
    known = sorted(call.structured_outputs)
    asked = outputs if set(outputs) <= set(known) else known

    def run(array: np.ndarray, kept: Any = loaded) -> list[np.ndarray]:  # which holds the variables
        found = call(**{name: tf.convert_to_tensor(array, spec.dtype)})
        return [found[one].numpy() for one in asked]

    return run
