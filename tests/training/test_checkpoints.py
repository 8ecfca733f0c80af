"""What is on the disk is always one whole, loadable state."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from tests.tiny import tree
from utils.errors import DataError, ModelError
from utils.locks import hold
from utils.paths import ROOT
from utils.training import checkpoints, networks
from utils.training.checkpoints import (
    STATE_FILE,
    TrainingState,
    load_state,
    load_weights,
    mend,
    restore,
    save_state,
    save_weights,
)

SMALL = {"filters": 4, "pooling_steps": 1}


@pytest.fixture(scope="module")
def network():
    return networks.unet(**SMALL)


def dense(seed: int = 0, units: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(units)])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def stepped(model: keras.Model, steps: int = 1) -> keras.Model:
    rng = np.random.default_rng(0)
    for _ in range(steps):
        model.train_on_batch(rng.normal(size=(4, 2)), rng.normal(size=(4, 3)))
    return model


def assert_equal(one, other):
    for value, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(value, expected)


def values(variables):
    return [keras.ops.convert_to_numpy(one) for one in variables]


def test_weights_come_back_and_hold_no_optimiser(tmp_path):
    model = stepped(dense())
    save_weights(model, tmp_path / "weights.h5")
    assert os.listdir(tmp_path) == ["weights.h5"]
    with h5py.File(tmp_path / "weights.h5") as file:
        assert "optimizer" not in file
    other = stepped(dense(seed=1))
    optimiser = values(other.optimizer.variables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras only warns where it leaves something out
        load_weights(other, tmp_path / "weights.h5")
    assert_equal(other.get_weights(), model.get_weights())
    assert_equal(values(other.optimizer.variables), optimiser)


@pytest.mark.filterwarnings("ignore:Skipping")  # Keras warns, then raises
@pytest.mark.parametrize(
    "other",
    [{"filters": 8}, {"classes": 3}, {"channels": 3}, {"pooling_steps": 2}, {"half_resolution": True}],
    ids=lambda change: next(iter(change)),
)
def test_weights_of_another_network_are_refused(other, network, tmp_path):
    path = tmp_path / "weights.h5"
    for written, read in ((SMALL, SMALL | other), (SMALL | other, SMALL)):
        save_weights(networks.unet(**written), path)
        with pytest.raises(ModelError, match="weights.h5 could not be loaded"):
            load_weights(networks.unet(**read), path)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text"])
def test_damaged_weights_are_refused(damage, network, tmp_path):
    path = tmp_path / "weights.h5"
    save_weights(network, path)
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"<html>404</html>"}[damage])
    with pytest.raises(ModelError, match="weights.h5 could not be loaded.*missing, damaged.*train again"):
        load_weights(network, path)


def test_a_state_comes_back(tmp_path):
    model = stepped(dense(), 3)
    state = TrainingState(3, 0.25, 2, 1, 1, 0.5, [{"epoch": 1, "loss": 0.1}])
    save_state(tmp_path, model, state)
    again = load_state(tmp_path)
    assert again == state
    other = dense(seed=1)
    restore(tmp_path, other, again)
    assert_equal(other.get_weights(), model.get_weights())
    assert_equal(values(other.optimizer.variables), values(model.optimizer.variables))
    assert_equal(stepped(other).get_weights(), stepped(model).get_weights())


def test_only_the_last_and_the_best_weights_are_kept(tmp_path):
    model, state = dense(), TrainingState()
    kept = []
    for state.epoch in range(1, 6):
        if state.epoch in (1, 3):
            state.best_epoch = state.epoch
            best = stepped(model).get_weights()
        else:
            stepped(model)
        (tmp_path / ".123.left_behind.h5").touch()  # what a kill leaves
        with hold(tmp_path):
            save_state(tmp_path, model, state)
        kept.append(len(os.listdir(tmp_path)))
    assert kept == [3, 4, 3, 4, 4]  # state, last, optimiser, best if it is another
    assert {STATE_FILE, *load_state(tmp_path).files.values()} == set(os.listdir(tmp_path))
    load_weights(model, tmp_path / state.files["best"])
    assert_equal(model.get_weights(), best)


def test_files_of_another_run_are_not_removed_where_the_folder_is_not_held(tmp_path, monkeypatch):
    """Two runs in turn, each with its own idea of the best epoch, as where the disk knows no locks."""
    model, states = stepped(dense()), {"one": TrainingState(), "other": TrainingState()}
    for epoch in range(1, 4):
        for run, state in states.items():
            monkeypatch.setattr(checkpoints, "RUN", run)
            state.epoch, state.best_epoch = epoch, 1 if run == "one" else epoch
            save_state(tmp_path, model, state)
            for any_run in states.values():
                for name in any_run.files.values():
                    load = np.load if name.endswith(".npz") else h5py.File
                    load(tmp_path / name).close()
    assert len(os.listdir(tmp_path)) == 1 + 3 + 2


def damage_state(folder, how):
    """Spoil a checkpoint; returns what is left of it."""
    state = load_state(folder)
    name = state.files.get(how.partition(" ")[0], "")
    if how == "state":
        (folder / STATE_FILE).write_text('{"epoch": 3')
    elif how.endswith("missing"):
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-100] if how.endswith("truncated") else b"")


HURT = [f"{name} {how}" for name in ("last", "best", "optimizer") for how in ("missing", "truncated", "empty")]


@pytest.fixture(scope="module")
def trained():
    return stepped(dense())


@pytest.mark.parametrize(("stage", "how"), [("", how) for how in (*HURT, "state")] + [("head", "best missing")])
def test_a_checkpoint_with_lost_files_begins_anew_and_a_whole_one_goes_on(stage, how, trained, tmp_path):
    model, state = trained, TrainingState(epoch=1, best_epoch=1)
    for folder in (tmp_path / "a" / stage, tmp_path / "b" / stage):
        folder.mkdir(parents=True)
        save_state(folder, model, state)
        save_state(folder, model, replace(state, epoch=2))  # the best are not the last
    assert not mend(tmp_path / "a")
    damage_state(tmp_path / "a" / stage, how)
    before = tree(tmp_path / "b")
    assert mend(tmp_path / "a")
    assert load_state(tmp_path / "a" / stage) is None
    assert not mend(tmp_path / "a")
    assert not mend(tmp_path / "b")
    assert tree(tmp_path / "b") == before


def test_nothing_to_mend(tmp_path):
    assert not mend(tmp_path)
    assert not mend(tmp_path / "none")


def test_no_epoch_finished_is_no_state(tmp_path):
    assert load_state(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"epok": 3}', "3"])
def test_a_damaged_state_is_told(text, tmp_path):
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ModelError, match="state.json is damaged.*to start again"):
        load_state(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "of another network"])
def test_a_damaged_optimiser_is_told(damage, tmp_path):
    model, state = stepped(dense()), TrainingState(epoch=1)
    save_state(tmp_path, model, state)
    path = tmp_path / state.files["optimizer"]
    whole = path.read_bytes()
    path.unlink()
    if damage == "of another network":
        np.savez(path, **{"0": np.zeros(3)})
    elif damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    with pytest.raises(ModelError, match=f"{path.name} is missing or damaged.*to start again"):
        restore(tmp_path, dense(), state)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_earlier_state_survives_a_full_disk_at_each_step(step, tmp_path, monkeypatch):
    model, state = stepped(dense()), TrainingState(epoch=1, best_epoch=1)
    save_state(tmp_path, model, state)
    before, calls, replace = model.get_weights(), [], os.replace

    def full(*paths):
        calls.append(paths)
        if len(calls) == step:
            raise OSError(28, "No space left on device")
        replace(*paths)

    monkeypatch.setattr(os, "replace", full)
    state.epoch = 2
    with pytest.raises(DataError, match="could not be written .No space left on device"):
        save_state(tmp_path, stepped(model), state)
    monkeypatch.undo()
    assert load_state(tmp_path).epoch == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    restore(tmp_path, model, load_state(tmp_path))
    assert_equal(model.get_weights(), before)


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tests.training.test_checkpoints import dense, stepped
from utils.training.checkpoints import TrainingState, save_state
from utils.errors import DataError
folder = Path(sys.argv[1])
model, state = stepped(dense(units=3)), TrainingState(epoch=1, best_epoch=1)
save_state(folder, model, state)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (0, 100, 5000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    state.epoch = 2
    try:
        save_state(folder, model, state)
    except DataError as error:
        sys.stdout.write("told ")
"""


def test_a_disk_that_really_takes_no_more(tmp_path):
    """The system refuses to write more bytes, as on a full disk, and the HDF5 library tells it in its own way."""
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "told told told ", done.stderr
    assert load_state(tmp_path).epoch == 1
    restore(tmp_path, dense(), load_state(tmp_path))


WRITER = """
import sys
from pathlib import Path
from tests.training.test_checkpoints import dense, stepped
from utils.training.checkpoints import TrainingState, load_state, restore, save_state
folder = Path(sys.argv[1])
state, model = load_state(folder) or TrainingState(), stepped(dense())
if state.epoch:
    restore(folder, model, state)
print("ready", flush=True)
while True:
    state.epoch += 1
    model.layers[-1].bias.assign([float(state.epoch)] * 3)
    if state.epoch % 3 == 1:
        state.best_epoch = state.epoch
    save_state(folder, model, state)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_kill_at_any_moment_leaves_a_whole_state(seed, tmp_path):
    rng = np.random.default_rng(seed)
    finished = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.05, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        state, model = load_state(tmp_path), dense()
        assert state is None or state.epoch >= finished
        if state is None:
            continue
        finished = state.epoch
        restore(tmp_path, model, state)
        assert model.get_weights()[1].tolist() == [state.epoch] * 3
        load_weights(model, tmp_path / state.files["best"])
        assert model.get_weights()[1].tolist() == [state.best_epoch] * 3
    assert json.loads((tmp_path / STATE_FILE).read_text())["epoch"] == finished > 0
