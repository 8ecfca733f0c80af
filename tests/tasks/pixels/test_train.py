"""From the forms' values to a model folder: same result after an interruption, nothing leaks, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

from tests.conftest import NORMALISATION, save_untrained
from tests.tiny import blobs, open_and_train, parameters, tree, write_data
from utils import samples
from utils.data.project import Project, open_project
from utils.errors import DataError, ModelError
from utils.images import normalise
from utils.images.masks import smallest_part
from utils.metrics import confusion
from utils.patching import augmentation, batches
from utils.patching.batches import TrainingPatches
from utils.paths import ROOT
from utils.tasks.pixels import train
from utils.tasks.pixels.predict import Segmenter
from utils.tasks.pixels.train import LOSSES, pixel_class_weights, segmentation_loss
from utils.tasks.registry import UNET
from utils.training import model_folder, networks, progress
from utils.training.checkpoints import TrainingState, load_state
from utils.training.fit import TrainingStopped
from utils.training.progress import LiveProgress

FILES = ["automatic.json", "history.csv", "model.json", "parameters.json", "split.csv", "weights.h5"]
EPOCHS = {"training": {"number_of_epochs": 3}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """Project, parameters and sentence of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("models")
    given = parameters(source, folder, **EPOCHS)
    return *open_and_train(given, [LiveProgress()]), given


def weights(folder) -> list[np.ndarray]:
    return networks.load_network(folder, model_folder.read_model(folder, "unet"), UNET.untrained).get_weights()


def assert_same_model(folder, expected):
    np.testing.assert_allclose(
        pd.read_csv(folder / "history.csv"), pd.read_csv(expected / "history.csv"), rtol=1e-5, atol=1e-6
    )
    for value, wanted in zip(weights(folder), weights(expected), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)
    ours, theirs = (model_folder.read_model(one) for one in (folder, expected))
    for one in (ours, theirs):
        del one["sha256"], one["run"]["seconds"]
    assert ours == theirs


class Stop(keras.callbacks.Callback):
    """Press the stop button at a batch (from 0) of an epoch (from 0), or before the first."""

    def __init__(self, epoch: int = 0, batch: int = -1):
        super().__init__()
        self.epoch, self.batch, self.weights = epoch, batch, None

    def on_train_begin(self, logs=None):
        self.weights = self.model.get_weights()
        if self.batch < 0:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt


def test_a_finished_folder_holds_the_model_and_nothing_else(trained):
    project, said, given = trained
    assert said.startswith("Trained for 3 epochs")
    assert sorted(os.listdir(project.folder)) == FILES
    description = model_folder.read_model(project.folder, "unet")
    assert description["network"] == {
        "channels": 1,
        "classes": 2,
        "filters": 4,
        "pooling_steps": 1,
        "half_resolution": False,
    }
    assert [(one["id"], one["value"]) for one in description["classes"]] == [(0, 0), (1, 255)]
    assert description["normalisation"] == NORMALISATION | {"kind": "signal percentile"}
    assert description["input"] == {"patch": [32, 32], "multiple_of": 2}
    assert 0 < description["threshold"] < 1
    seen = [one.mask for role in ("validation", "training") for one in project.examples(role)]
    assert description["smallest_part"] == smallest_part(seen) > 1
    assert f"fewer than {description['smallest_part']} pixels are left out" in UNET.summary(description, 3)
    saved = json.loads((project.folder / "parameters.json").read_text())["overrides"]
    chosen = json.loads((project.folder / "automatic.json").read_text())
    assert [one["field"] for one in chosen] == [
        *("percentage_validation", "flip", "rotate_90", "rotation", "zoom", "intensity", "stain", "empty"),
        *("starting_model", "test_in_turn"),
    ]
    assert all(one["reason"].endswith(".") for one in chosen)
    given = given["overrides"]
    for one in chosen:
        assert given[one["form"]][one["field"]] == "automatic"
        assert saved[one["form"]][one["field"]] == one["value"]
        given = {**given, one["form"]: {**given[one["form"]], one["field"]: one["value"]}}
    assert saved == given, "a field that says automatic is saved with its value, all others as they were given"
    history = pd.read_csv(project.folder / "history.csv")
    assert list(history) == ["epoch", "loss", "val_loss", "learning_rate"]
    assert history["epoch"].tolist() == [1, 2, 3]


def test_several_classes_are_shifted_by_what_their_shares_ask_for(tmp_path, monkeypatch):
    source, offsets, asked = write_data(tmp_path / "data", classes=3), np.zeros(3), []
    monkeypatch.setattr(train, "offsets_for_shares", lambda ids, log_p: asked.append((ids, log_p)) or offsets)
    plain, _ = open_and_train(parameters(source, tmp_path / "plain", **EPOCHS))
    offsets = np.array([0.5, -0.75, 0.25])
    project, _ = open_and_train(parameters(source, tmp_path / "models", **EPOCHS))
    before, after = UNET.load(plain.folder), UNET.load(project.folder)
    (*_, kernel, bias), (*_, same, other) = (one.network.get_weights() for one in (after, before))
    np.testing.assert_allclose(kernel, same, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(bias, other + offsets, rtol=1e-3, atol=1e-3)
    images = project.examples("validation") + project.examples("training")
    assert after.description["share_images"] == len(images)
    ids, log_p = asked[0]
    np.testing.assert_array_equal(ids, np.concatenate([one.mask.ravel() for one in images]))  # small: every pixel
    found = [np.concatenate([p for _, p in before.probabilities(one.image.array)]).reshape(-1, 3) for one in images]
    np.testing.assert_allclose(np.exp(log_p), np.concatenate(found), atol=1e-4)


def test_a_second_run_uses_the_model_as_it_is(trained, source):
    project, _, given = trained
    before = tree(project.folder)
    relative = {"training_source": os.path.relpath(source / "images", ROOT)}
    for data in ({}, relative, {"if_model_exists": "replace"}):
        forms = given["overrides"]
        again, said = open_and_train({"overrides": forms | {"data": forms["data"] | data}})
        assert "already trained" in said
        assert again.folder == project.folder
        assert tree(project.folder) == before
    assert os.listdir(project.folder.parent) == ["model"]


def test_another_parameter_is_refused_and_nothing_is_touched(trained):
    project, _, given = trained
    before = tree(project.folder.parent)
    other = {"overrides": given["overrides"] | {"training": given["overrides"]["training"] | {"batch_size": 3}}}
    with pytest.raises(ModelError, match="training.batch_size was 2 and is now 3"):
        UNET.train(project, other)
    assert tree(project.folder.parent) == before


def test_the_stop_button_leaves_a_usable_model_and_the_training_goes_on(trained, source, tmp_path, monkeypatch):
    judged, original = [], confusion.best_threshold

    def spy(pairs):
        pairs = list(pairs)
        judged.append([mask for mask, _ in pairs])
        return original(pairs)

    monkeypatch.setattr(train, "best_threshold", spy)
    given = parameters(source, tmp_path, **EPOCHS)
    with pytest.raises(TrainingStopped, match="You stopped the training in epoch 1 of 3"):
        open_and_train(given, [Stop(0, 1)])
    assert not (tmp_path / "model" / "model.json").exists()
    with pytest.raises(TrainingStopped, match="The finished epoch is saved: run this cell again to go on"):
        open_and_train(given, [Stop(1, 1)])
    assert sorted(os.listdir(tmp_path / "model")) == sorted([*FILES, "training"])
    image, mask = blobs(np.random.default_rng(5))
    assert UNET.load(tmp_path / "model").class_ids(image).shape == mask.shape
    assert len(pd.read_csv(tmp_path / "model" / "history.csv")) == 1
    project, said = open_and_train(given)
    assert said.startswith("Trained for 3 epochs")
    assert said.endswith("It went on where it had been stopped.")
    assert "went on" not in trained[1]
    assert sorted(os.listdir(project.folder)) == FILES
    assert_same_model(project.folder, trained[0].folder)
    seen = [one.mask for role in ("validation", "training") for one in project.examples(role)]
    assert len(judged) == 2
    for masks in judged:  # the threshold is chosen without the test images
        np.testing.assert_array_equal(masks, seen)


def test_no_pixel_of_validation_or_test_images_is_trained_on(trained, monkeypatch):
    project, _, given = trained
    drawn, original = [], TrainingPatches.__init__

    def spy(self, sources, *arguments):
        drawn.extend(sources)
        original(self, sources, *arguments)

    monkeypatch.setattr(TrainingPatches, "__init__", spy)
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("other"))
    with pytest.raises(TrainingStopped):
        UNET.train(moved, given, [Stop()])
    assert sorted(project.roles) == ["test"] + 4 * ["training"] + ["validation"]
    expected = {id(one.image.array) for one in project.examples("training")}
    assert {id(one.image) for one in drawn} == expected
    assert {id(one.mask) for one in drawn} == {id(one.mask) for one in project.examples("training")}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_training_and_prediction_normalise_alike(dtype):
    """A pixel has one normalised value: in a training patch, a validation patch and a prediction tile."""
    image = (blobs(np.random.default_rng(0), channels=3)[0] / 40).astype(dtype)
    low, high = normalise.normalisation_range(image, NORMALISATION)
    training = batches.Source(image, np.ones(image.shape[:2], np.uint8), low, high)
    nothing = augmentation.Augmentation()
    patch = TrainingPatches([training], (64, 64), 1, 1, 0, nothing, 0)[0][0][0]
    pixels = keras.layers.Input((None, None, 3))
    identity = keras.Model(pixels, keras.layers.Activation("linear")(pixels))
    description = {"normalisation": NORMALISATION, "threshold": 0.5, "classes": [{}] * 3, "input": {"multiple_of": 4}}
    tiles = np.concatenate([block for _, block in Segmenter(identity, description).probabilities(image)])
    np.testing.assert_allclose(tiles, patch, rtol=1e-5, atol=1e-6)
    validation = batches.ValidationPatches([training], (64, 64), 1)[0][0][0]
    np.testing.assert_array_equal(validation, patch)
    for channel in range(3):
        np.testing.assert_allclose(np.percentile(patch[..., channel], [1, 99.8]), [0, 1], atol=1e-3)


def test_a_starting_model_is_started_from(trained, source, tmp_path):
    given = parameters(source, tmp_path, data={"starting_model": str(trained[0].folder)})
    stop = Stop()
    with pytest.raises(TrainingStopped):
        open_and_train(given, [stop])
    for value, wanted in zip(stop.weights, weights(trained[0].folder), strict=True):
        np.testing.assert_array_equal(value, wanted)
    scratch = Stop()
    with pytest.raises(TrainingStopped):
        open_and_train(parameters(source, tmp_path, data={"model_name": "other"}), [scratch])
    assert not np.array_equal(scratch.weights[0], stop.weights[0])


MISFITS = {
    "trained for 3 channels of the images, your data have 1": {"channels": 3, "filters": 4},
    "trained for 3 classes, your data have 2": {"values": (0, 100, 200), "filters": 4},
    "pooling_steps": {"pooling_steps": 2, "filters": 4},
    "half_resolution": {"half_resolution": True, "filters": 4},
    "filters": {"filters": 8},
    "weights.h5 was changed or damaged": {"filters": 4},
    "is not a model folder": None,
}


@pytest.mark.parametrize("message", MISFITS)
def test_a_starting_model_that_does_not_fit_is_refused(message, source, tmp_path):
    if MISFITS[message]:
        save_untrained(tmp_path / "old", **MISFITS[message])
    if "damaged" in message:
        (tmp_path / "old" / "weights.h5").write_bytes(b"damaged")
    before = tree(tmp_path)
    given = parameters(source, tmp_path / "models", data={"starting_model": str(tmp_path / "old")})
    with pytest.raises(ModelError, match=message):
        open_and_train(given)
    forms = given["overrides"]
    with pytest.raises(ModelError, match=message):
        UNET.starting_note(open_project(forms["data"]), forms["data"], forms["training"])
    assert tree(tmp_path) == before


def test_nothing_is_set_aside_from_a_sample_with_test_images_of_its_own(source, tmp_path, monkeypatch):
    data = parameters(source, tmp_path)["overrides"]["data"]
    assert (open_project(data).roles == "test").sum() == 1
    monkeypatch.setitem(samples.SAMPLES, "tiny", {"training_source": str(source / "images")})
    assert (open_project(data).roles == "test").sum() == 0


def test_a_corrected_mask_is_another_training(source, tmp_path):
    copied = write_data(tmp_path / "data")
    data = parameters(copied, tmp_path)["overrides"]["data"]
    before = open_project(data).split
    pd.testing.assert_frame_equal(open_project(data).split, before)
    write_data(tmp_path / "other", seed=1)
    (tmp_path / "other" / "masks" / "image_3.tif").replace(copied / "masks" / "image_3.tif")
    after = open_project(data).split
    assert (after["annotation"] != before["annotation"]).sum() == 1
    pd.testing.assert_frame_equal(after.drop(columns="annotation"), before.drop(columns="annotation"))


def test_class_names(source, tmp_path):
    data = parameters(source, tmp_path)["overrides"]["data"]
    named = open_project(data | {"class_names": " glass ,fibrosis"}).dataset.classes
    assert [one["name"] for one in named] == ["glass", "fibrosis"]
    for wrong in ("glass", "a, a", "a, b, c"):
        with pytest.raises(DataError, match="class_names lists .* the masks hold 2 values .0, 255.*or leave"):
            open_project(data | {"class_names": wrong})


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_model_name_that_is_no_name_is_refused(name, source, tmp_path):
    data = parameters(source, tmp_path / "models")["overrides"]["data"] | {"model_name": name}
    with pytest.raises(Exception, match="model_name"):
        open_project(data)


def test_losses_are_scaled_where_gradients_have_half_precision(trained, monkeypatch):
    """Small gradients become 0 in float16 unless the loss is scaled up; Keras does so for models of that policy."""
    devices = tf.config.list_physical_devices()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append((self.model.optimizer, self.model.layers[1].compute_dtype))
            raise KeyboardInterrupt

    project, _, given = trained
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("gpu"))
    with pytest.raises(TrainingStopped):
        UNET.train(moved, given, [Look()])
    optimizer, dtype = seen[0]
    assert dtype == "float16"
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"


def test_progress_works_without_a_page_and_is_drawn_seldom(monkeypatch, capsys):
    now, drawn = [0.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "learning_curves", lambda history: drawn.append((now[0], len(history))))
    monkeypatch.setattr(progress, "as_image", lambda figure: figure)
    live = LiveProgress()
    live.set_params({"steps": 2, "epochs": 40})
    live.state = TrainingState()
    for epoch in range(40):
        live.on_epoch_begin(epoch)
        for batch in range(2):
            now[0] += 0.5
            live.on_train_batch_end(batch)
        live.state.history.append({"epoch": epoch + 1, "loss": 1.0, "val_loss": 1.0, "learning_rate": 1.0})
        live.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 1.0})
    assert len(drawn) == 8
    assert np.diff([at for at, _ in drawn]).min() >= progress.SECONDS_BETWEEN_DRAWINGS
    live.on_train_end()
    live.close()
    assert drawn[-1][1] == 40
    assert "100 %" in capsys.readouterr().err


RUN = """
import json, sys
from tests.tiny import open_and_train
print(open_and_train(json.loads(sys.argv[1]))[1])
"""


def finished_epochs(folder) -> int:
    state = load_state(folder / "training")
    return state.epoch if state else 0


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_gives_the_same(source, tmp_path):
    """kill -9 at random moments after the training has begun; the state on the disk can always be loaded."""
    rng = np.random.default_rng(0)
    long = {"training": {"number_of_epochs": 30, "learning_rate_schedule": "reduce on plateau", "patience": 12}}
    given = {name: parameters(source, tmp_path / name, **long) for name in ("whole", "killed")}
    command = [sys.executable, "-c", RUN, json.dumps(given["killed"])]
    folder, seen = tmp_path / "killed" / "model", []
    for _ in range(4):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = seen[-1] if seen else 0
        while process.poll() is None and finished_epochs(folder) <= before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen.append(finished_epochs(folder))
    assert seen == sorted(set(seen))
    assert 0 < seen[0] < 30
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Trained for")
    assert sorted(os.listdir(folder)) == FILES
    assert os.listdir(folder.parent) == ["model"]
    open_and_train(given["whole"])
    assert_same_model(folder, tmp_path / "whole" / "model")


def loss_value(name, weights, y_true, logits):
    return float(segmentation_loss(name, weights)(np.asarray(y_true), np.asarray(logits, np.float32)))


def plain_loss(name, weights, y_true, logits):
    """The formulas of the docstring, pixel by pixel."""
    probabilities, logarithms = softmax(logits.astype(float), axis=-1), log_softmax(logits.astype(float), axis=-1)
    total = 0.0
    if "entropy" in name:
        pixels = [
            -logarithms[(*place, label)] * (weights[label] if "weighted" in name else 1)
            for place, label in np.ndenumerate(y_true)
        ]
        total += np.mean(pixels)
    if "Dice" in name:
        scores = []
        for number in range(1, logits.shape[-1]):
            p, y = probabilities[..., number], y_true == number
            scores.append((2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))
        total += 1 - np.mean(scores)
    return total


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 5])
def test_losses_equal_plain_numpy(name, classes):
    rng = np.random.default_rng(0)
    for _ in range(5):
        shape = tuple(rng.integers(1, 8, 3))
        y_true, logits = rng.integers(0, classes, shape), rng.normal(0, 3, (*shape, classes))
        weights = rng.random(classes)
        for dtype in (np.uint8, np.int64, np.float32):  # Keras hands class ids over as floats
            value = loss_value(name, weights, y_true.astype(dtype), logits)
            assert value == pytest.approx(plain_loss(name, weights, y_true, logits), rel=1e-5)


def test_by_hand():
    # two pixels: a sure and right background, and an undecided foreground
    y_true, logits = [[[0, 1]]], [[[[100.0, 0.0], [0.0, 0.0]]]]
    entropy = np.log(2) / 2
    dice = 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)
    assert loss_value("cross-entropy", [1, 3], y_true, logits) == pytest.approx(entropy)
    assert loss_value("weighted cross-entropy", [1, 3], y_true, logits) == pytest.approx(3 * entropy)
    assert loss_value("Dice", [1, 3], y_true, logits) == pytest.approx(dice)
    assert loss_value("weighted cross-entropy + Dice", [1, 3], y_true, logits) == pytest.approx(3 * entropy + dice)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("present", [[0, 1, 2], [0, 1], [0], [2]])
def test_perfect_prediction_costs_nothing_and_the_opposite_much(name, present):
    y_true = np.resize(present, (2, 8, 8))  # classes that are absent must not count
    logits = 30 * np.eye(3)[y_true]
    assert loss_value(name, np.ones(3), y_true, logits) == pytest.approx(0, abs=1e-5)
    assert loss_value(name, np.ones(3), y_true, np.roll(logits, 1, axis=-1)) > 0.4


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0, 1, 1e4])
@pytest.mark.parametrize("present", [[0, 1, 2], [0]])
def test_gradients_are_finite_at_extreme_logits(name, scale, present):
    rng = np.random.default_rng(0)
    y_true = np.resize(present, (2, 6, 6))
    logits = tf.constant(scale * rng.choice([-1, 1], (2, 6, 6, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = segmentation_loss(name, pixel_class_weights(list(y_true), 3))(y_true, logits)
    assert np.isfinite(value.numpy())
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_into_a_model_the_loss_is_the_same(name):
    rng = np.random.default_rng(0)
    y_true, logits = rng.integers(0, 2, (3, 4, 4)).astype(np.uint8), rng.normal(0, 1, (3, 4, 4, 2)).astype(np.float32)
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Activation("linear")(image))
    model.compile(loss=segmentation_loss(name, [0.5, 2]))
    assert model.evaluate(logits, y_true, verbose=0) == pytest.approx(
        plain_loss(name, [0.5, 2], y_true, logits), rel=1e-5
    )


def test_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown loss 'dice'"):
        segmentation_loss("dice", [1, 1])


def test_class_weights_by_hand():
    # shares 3/4 and 1/4 -> 1/sqrt: 1.1547 and 2; mean over pixels 0.75 * 1.1547 + 0.25 * 2 = 1.3660
    masks = [np.array([[0, 0], [0, 1]], np.uint8)]
    np.testing.assert_allclose(pixel_class_weights(masks, 2), [1.1547 / 1.3660, 2 / 1.3660], rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_class_weights_have_mean_1_over_all_pixels_of_all_masks(seed):
    rng = np.random.default_rng(seed)
    masks = [rng.choice(4, rng.integers(5, 40, 2), p=[0.7, 0.2, 0.1, 0]).astype(np.uint8) for _ in range(4)]
    weights = pixel_class_weights(masks, 4)
    pixels = np.concatenate([mask.ravel() for mask in masks])
    assert weights.dtype == np.float32
    assert weights[pixels].mean() == pytest.approx(1, rel=1e-5)
    assert weights[3] == 0  # occurs nowhere
    counts = np.bincount(pixels, minlength=4)
    np.testing.assert_allclose(weights[1] / weights[0], np.sqrt(counts[0] / counts[1]), rtol=1e-5)
