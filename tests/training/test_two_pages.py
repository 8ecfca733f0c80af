"""Two pages, one model: the second is told, whatever the first is doing, and nothing of either is lost."""

import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import keras
import pandas as pd
import pytest

from tests.test_locks import another
from tests.tiny import tree
from tests.training.test_stages import FORMS as STAGED
from tests.training.test_stages import Noise, Presses, small_network
from utils.errors import ModelError
from utils.locks import holder_of, holds
from utils.paths import ROOT
from utils.training import checkpoints, model_folder
from utils.training.checkpoints import load_state
from utils.training.fit import TrainingStopped, history_table
from utils.training.run import Ingredients, run

SPLIT = pd.DataFrame({"file": ["a"], "sha256": ["0"], "group": ["a"], "role": ["training"], "annotation": ["0"]})
FORMS = {**STAGED, "training": STAGED["training"] | {"number_of_epochs": 2}}
OTHER = {**FORMS, "training": FORMS["training"] | {"number_of_epochs": 1}}
REPLACED = {**OTHER, "data": {"if_model_exists": "replace"}}


def train(folder, forms=FORMS, callbacks=(), published=lambda: None) -> str:
    """Train the small network for 2 epochs of 2 steps into a model folder."""

    def prepare():
        model = small_network()

        def publish(state):
            model_folder.save_model(folder, model, {"task": "unet"}, history_table(state))
            published()

        compiled = lambda: model.compile(keras.optimizers.Adam(), "mse", run_eagerly=True)  # noqa: E731
        return Ingredients(model, compiled, Noise(model, 2), Noise(model, 1), publish)

    return run(SimpleNamespace(folder=folder, split=SPLIT), {"overrides": forms}, prepare, callbacks)


def stopped(folder, epochs=1, **more) -> None:
    with pytest.raises(TrainingStopped):
        train(folder, callbacks=[Presses("on_train_batch_end", 2 * epochs)], **more)


def weights(folder) -> bytes:
    network = small_network()
    checkpoints.load_weights(network, folder / "weights.h5")
    return b"".join(one.tobytes() for one in network.get_weights())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "m"
    train(folder)
    return weights(folder)


STAGES = {
    "before": (lambda folder: None, FORMS, "Trained for 2 epochs"),
    "in training": (stopped, FORMS, "It went on where it had been stopped"),
    "at the end": (train, FORMS, "is already trained"),
    "when replaced": (lambda folder: train(folder, OTHER), {**FORMS, **{"data": REPLACED["data"]}}, "Trained for 2"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_second_page_is_told_touches_nothing_and_goes_on_after_a_kill(stage, tmp_path, whole):
    prepare, forms, said = STAGES[stage]
    folder = tmp_path / "m"
    prepare(folder)
    with another(folder) as process:
        before = tree(tmp_path)
        sentence = rf"The model m in .* by the page the_other \(process {process.pid} on .*since .*Wait.*model_name"
        with pytest.raises(ModelError, match=sentence):
            train(folder, forms)
        assert tree(tmp_path) == before
        process.kill()
        process.wait()
        assert said in train(folder, forms)
    assert weights(folder) == whole
    assert not (folder / "training").exists()
    assert [one for one in os.listdir(tmp_path) if one.startswith(".")] == []
    assert len(os.listdir(tmp_path)) == 1 + (stage == "when replaced")


class Looks(keras.callbacks.Callback):
    """Notes at every moment of a training whether the model folder is held."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.seen = folder, []
        for moment in ("on_train_begin", "on_train_batch_end", "on_epoch_end", "on_test_end", "on_train_end"):
            setattr(self, moment, self.look)

    def look(self, *_, **__):
        self.seen.append(holds(self.folder / "training"))


@pytest.mark.parametrize("forms", [FORMS, REPLACED])
def test_a_training_holds_its_folder_from_begin_to_end(forms, tmp_path):
    folder = tmp_path / "m"
    if forms is REPLACED:
        train(folder)
    looks = Looks(folder)
    train(folder, forms, [looks], published=looks.look)
    assert looks.seen
    assert all(looks.seen)
    assert not holds(folder)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_whatever_ends_a_training_gives_the_folder_back(error, tmp_path):
    class Breaks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise error

    with pytest.raises((TrainingStopped, error)):
        train(tmp_path / "m", callbacks=[Breaks()])
    with another(tmp_path / "m"):
        assert holder_of(tmp_path / "m")


@pytest.mark.parametrize("lost", ["best", "state"])
def test_a_folder_that_two_pages_had_damaged_is_trained_again(lost, tmp_path, whole):
    folder = tmp_path / "m"
    stopped(folder)
    files = {"state": "state.json", **load_state(folder / "training").files}
    (folder / "training" / files[lost]).unlink()
    if lost == "state":
        (folder / "training" / files[lost]).touch()
    assert "had lost files, so that it was trained anew" in train(folder)
    assert weights(folder) == whole
    assert sorted(os.listdir(folder)) == ["history.csv", "model.json", "parameters.json", "split.csv", "weights.h5"]


@pytest.mark.parametrize("to_the_end", [False, True])
def test_where_the_disk_knows_no_locks_two_runs_leave_a_whole_model(to_the_end, tmp_path, monkeypatch):
    folder = tmp_path / "m"

    class Second(keras.callbacks.Callback):
        """Another run, from the same checkpoint, in the middle of the first."""

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                with monkeypatch.context() as patch:
                    patch.setattr(checkpoints, "RUN", "second")
                    train(folder) if to_the_end else stopped(folder, 0)

    monkeypatch.setattr(model_folder, "hold", lambda *_: nullcontext(False))
    train(folder, callbacks=[Second()])
    assert model_folder.read_model(folder)["sha256"]
    assert "is already trained" in train(folder)


TRAINS = """
import sys, time
from pathlib import Path
import keras
from tests.training.test_two_pages import train

class Stays(keras.callbacks.Callback):
    seen = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.seen += 1
        print(batch, flush=True)
        if self.seen == int(sys.argv[2]):
            time.sleep(600)  # until it is killed

train(Path(sys.argv[1]), callbacks=[Stays()])
"""


@pytest.mark.slow
def test_a_page_that_is_killed_again_and_again_while_another_tries(tmp_path, whole):
    folder = tmp_path / "m"
    for batches in (1, 3):
        command = [sys.executable, "-c", TRAINS, str(folder), str(batches)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(batches):
            process.stdout.readline()
        with pytest.raises(ModelError, match=f"process {process.pid}"):
            train(folder)
        process.kill()
        process.communicate()
    assert "It went on where it had been stopped" in train(folder)
    assert weights(folder) == whole
    assert os.listdir(tmp_path) == ["m"]
