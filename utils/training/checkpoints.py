"""What a training needs to go on after a crash: weights, optimiser and counters, one consistent set on disk."""

import json
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import keras
import numpy as np

from utils.errors import ModelError
from utils.files import atomic, write_json
from utils.locks import holds
from utils.paths import CHOSEN
from utils.paths import STATE as STATE_FILE

RUN = uuid.uuid4().hex[:8]  # of this process, in the names of the files that it writes


@dataclass
class TrainingState:
    """Counters of a training, those that Keras's own callbacks forget included.

    Attributes
    ----------
    epoch, history
        Finished epochs, and one dictionary for each.
    best_score, best_epoch
        Smallest validation loss so far (None before the first epoch) and the epoch (from 1) that reached it.
    waited, plateau_waited
        Epochs without improvement, for early stopping and for the learning rate.
    plateau_factor
        What "reduce on plateau" has multiplied the learning rate by so far.
    files
        Names of the weights and optimiser files that belong to this state.
    seconds
        That the finished epochs took, with their validation.
    """

    epoch: int = 0
    best_score: float | None = None
    best_epoch: int = 0
    waited: int = 0
    plateau_waited: int = 0
    plateau_factor: float = 1.0
    history: list[dict] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def chosen_before(folder: Path) -> list[dict]:
    """What `utils.training.model_folder.keep_choices` wrote into `folder`; empty where nothing was chosen."""
    path = folder / CHOSEN
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def save_weights(model: keras.Model, path: Path) -> None:
    """Save Keras weights under any name ending in .h5, atomically (Keras itself insists on ".weights.h5").

    The optimiser of a compiled model is left out: it triples the file.
    """
    with atomic(path) as temporary:
        make_room(model, temporary)
        written = temporary.with_name(f"{temporary.name}.weights.h5")
        try:
            _uncompiled(model).save_weights(written)
            written.replace(temporary)
        finally:
            written.unlink(missing_ok=True)


def make_room(model: keras.Model, path: Path) -> None:
    """Raise OSError where the disk has no room for the weights of `model` at `path`: HDF5 would end the process."""
    path.write_bytes(bytes(1_000_000 + 2 * sum(weight.nbytes for weight in model.get_weights())))
    path.unlink()


def _uncompiled(model: keras.Model) -> keras.Model:
    """Return the same layers as a model that knows no optimiser."""
    return keras.Model(model.inputs, model.outputs)


def load_weights(model: keras.Model, path: Path) -> None:
    """Load weights written by `save_weights`.

    ModelError where the file is missing, damaged or of another network; nothing is loaded silently in part.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.weights.h5"
            shutil.copyfile(path, copy)
            _uncompiled(model).load_weights(copy)
    except Exception as error:  # h5py and Keras raise OSError, ValueError, KeyError ... for the same trouble
        raise ModelError(
            f"The weights {path} could not be loaded: the file is missing, damaged, or belongs to another network. "
            "Use the model folder as it was written, or train again."
        ) from error


def take_weights(network: keras.layers.Layer, weights: Sequence[np.ndarray]) -> None:
    """Give a network the weights of another one of its kind.

    Keras's own `set_weights` leaves a normalisation, which ImageNet's EfficientNet begins with, computing as before.
    """
    network.set_weights(weights)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def save_state(folder: Path, model: keras.Model, state: TrainingState) -> None:
    """Save weights, optimiser and counters; a kill at any moment leaves the previous or the new set, never a mixture.

    The small state.json in `folder` (the model's `training`), replaced at once, names the files that belong to it; only
    then are older files deleted: all, where nobody else can be at work in the folder, otherwise those of this run.
    `model` is compiled and built, `state` is that after the epoch; `state.files` is updated.
    """
    stamp = f"{RUN}_{uuid.uuid4().hex[:8]}"
    files = {"last": f"last_{stamp}.h5", "optimizer": f"optimizer_{stamp}.npz", "best": state.files.get("best", "")}
    save_weights(model, folder / files["last"])
    if state.best_epoch == state.epoch:
        files["best"] = files["last"]
    variables = {str(i): np.asarray(variable) for i, variable in enumerate(model.optimizer.variables)}
    with atomic(folder / files["optimizer"]) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **variables)
    state.files = files
    write_json(folder / STATE_FILE, asdict(state))
    alone = holds(folder)
    for path in folder.iterdir():
        if path.is_file() and path.name not in {STATE_FILE, *files.values()} and (alone or RUN in path.name):
            path.unlink(missing_ok=True)


def mend(folder: Path) -> bool:
    """Let trainings below `folder` begin anew whose files are not all there; returns whether there were any.

    Two runs at once could delete each other's files before a folder was held by one (see `utils.locks`), and a copy may
    be incomplete. The state is kept as state.json.damaged.
    """
    damaged = [path for path in folder.rglob(STATE_FILE) if not _is_whole(path)]
    for path in damaged:
        os.replace(path, path.with_name(f"{STATE_FILE}.damaged"))
    return bool(damaged)


def _is_whole(path: Path) -> bool:
    """Whether a state can be read, and each of its files be opened."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"].values()
        return all(_opens(path.parent / name) for name in files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _opens(path: Path) -> bool:
    """Whether a file of weights or optimiser is there to its end; its content is not read."""
    if path.suffix == ".npz":
        return zipfile.is_zipfile(path)
    with h5py.File(path):
        return True


def load_state(folder: Path) -> TrainingState | None:
    """Read the counters of an unfinished training, or None where no epoch was finished."""
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return TrainingState(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged, so the training cannot go on. Delete the folder {folder} to start again."
        ) from error


def restore(folder: Path, model: keras.Model, state: TrainingState) -> None:
    """Load the last weights and the optimiser of `state` into a compiled model.

    ModelError where a file is missing, damaged or of another network.
    """
    load_weights(model, folder / state.files["last"])
    model.optimizer.build(model.trainable_variables)
    path = folder / state.files["optimizer"]
    try:
        with np.load(path) as saved:
            for i, variable in enumerate(model.optimizer.variables):
                variable.assign(saved[str(i)])
    except Exception as error:  # numpy raises OSError, ValueError, KeyError, EOFError, BadZipFile for the same trouble
        raise ModelError(
            f"{path} is missing or damaged, so the training cannot go on. Delete the folder {folder} to start again."
        ) from error
