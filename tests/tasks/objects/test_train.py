"""StarDist from the forms' values to a model folder: StarDist's own losses and files, this project's fit."""

import contextlib
import io
import json
import os

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from stardist.models import StarDist2D
from stardist.utils import edt_prob

from tests.conftest import NORMALISATION
from tests.tasks.pixels.test_train import Stop
from tests.tiny import tree
from tests.tiny_objects import discs, open_and_train, parameters, write_objects
from utils.data.project import Project, open_project
from utils.errors import DataError, ModelError
from utils.images.image import read_mask, write_tiff
from utils.patching.augmentation import Augmentation
from utils.patching.batches import Source
from utils.tasks.automatic import settled
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.objects import network, page
from utils.tasks.objects.network import TrainingObjects, ValidationObjects, object_sources, targets
from utils.tasks.objects.train import optimise_thresholds
from utils.tasks.registry import STARDIST
from utils.training import model_folder
from utils.training.fit import TrainingStopped

OWN = ["config.json", "thresholds.json", "weights_best.h5"]
FILES = sorted(["automatic.json", "history.csv", "model.json", "parameters.json", "split.csv", *OWN])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_objects(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """Project, sentence and parameters of an uninterrupted training."""
    given = parameters(source, tmp_path_factory.mktemp("models"), training={"number_of_epochs": 3})
    return *open_and_train(given), given


def opened(given: dict) -> Project:
    return open_project(given["overrides"]["data"], 0, "objects")


class TestBatches:
    CONFIG = network.build({"n_rays": 8, "grid": [2, 2], "n_channel_in": 1, "unet_n_filter_base": 2}).config

    def batches(self, seed=0, **changes):
        rng = np.random.default_rng(1)
        sources = [Source(*discs(rng, 48), np.float32([1000]), np.float32([7000])) for _ in range(3)]
        given = {"patch": (32, 32), "batch_size": 4, "steps": 5, "min_fraction": 0, "seed": seed} | changes
        return TrainingObjects(
            self.CONFIG, [None] * 3, sources=sources, augmentation=Augmentation(flip=True, rotation=20), **given
        )

    def test_an_epoch_depends_on_seed_and_epoch_only(self):
        np.random.seed(0)  # noqa: NPY002  StarDist draws from it
        (first,), outputs = self.batches()[3]
        np.random.seed(99)  # noqa: NPY002
        (again,), same = self.batches()[3]
        np.testing.assert_array_equal(first, again)
        for one, other in zip(outputs, same, strict=True):
            np.testing.assert_array_equal(one, other)
        later = self.batches()
        later.epoch = 1
        assert (later[3][0][0] != first).any()
        assert (self.batches(seed=1)[3][0][0] != first).any()

    def test_targets_are_those_of_stardist_in_the_order_of_the_patches(self):
        batches = self.batches(batch_size=8)
        _, images, labels = batches.draw(0)
        (inputs,), (probability, distances) = batches[0]
        np.testing.assert_array_equal(inputs, images)
        assert probability.shape == (8, 16, 16, 1)
        assert distances.shape == (8, 16, 16, 9)
        for patch, its in zip(labels, probability, strict=True):
            np.testing.assert_allclose(its[..., 0], edt_prob(patch[::2, ::2]), atol=1e-6)

    def test_distances_of_a_disc_are_its_radius(self):
        y, x = np.mgrid[:32, :32]
        disc = ((y - 16) ** 2 + (x - 16) ** 2 <= 100).astype(np.uint16)
        _, (probability, distances) = targets(disc[None, ..., None].astype(np.float32), disc[None], self.CONFIG, [None])
        assert np.unravel_index(probability.argmax(), probability.shape) == (0, 8, 8, 0)
        np.testing.assert_allclose(distances[0, 8, 8, :8], 10, atol=1.5)

    def test_classes_follow_their_objects(self):
        config = network.build(vars_of(n_classes=2)).config
        labels = np.zeros((1, 32, 32), np.uint16)
        labels[0, 2:12, 2:12], labels[0, 18:30, 18:30] = 1, 2
        _, (_, _, classes) = targets(np.zeros((1, 32, 32, 1), np.float32), labels, config, [{1: 2, 2: 1}])
        assert classes.shape == (1, 16, 16, 3)
        assert classes[0, 3, 3].tolist() == [0, 0, 1]
        assert classes[0, 12, 12].tolist() == [0, 1, 0]
        assert classes[0, 1, 8].tolist() == [1, 0, 0]

    def test_validation_patches_are_not_changed(self):
        rng = np.random.default_rng(1)
        image, labels = discs(rng, 32)
        one = Source(image, labels, np.float32([1000]), np.float32([7000]))
        (inputs,), _ = ValidationObjects(self.CONFIG, [None], sources=[one], patch=(32, 32), batch_size=4)[0]
        np.testing.assert_allclose(inputs[0], (image.astype(np.float32) - 1000) / 6000, rtol=1e-6)


def vars_of(**changes) -> dict:
    return {"n_rays": 8, "grid": [2, 2], "n_channel_in": 1, "unet_n_filter_base": 2, **changes}


def test_a_finished_folder_is_one_that_stardist_itself_opens(trained):
    project, said, given = trained
    assert said.startswith("Trained for 3 epochs")
    assert sorted(os.listdir(project.folder)) == FILES
    description = model_folder.read_model(project.folder, "stardist")
    assert set(description["sha256"]) == set(OWN)
    assert description["input"]["patch"] == [32, 32]
    assert description["pixel_size_um"] == 0.5
    asked = given["overrides"]
    saved = json.loads((project.folder / "parameters.json").read_text())["overrides"]
    assert saved == settled(asked, STARDIST.choices(project, asked))
    history = pd.read_csv(project.folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert {"loss", "val_loss", "learning_rate"} <= set(history)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = StarDist2D(None, name="model", basedir=str(project.folder.parent))
    ours = STARDIST.load(project.folder).model
    assert (ours.thresholds.prob, ours.thresholds.nms) == (theirs.thresholds.prob, theirs.thresholds.nms)
    assert description["threshold"] == pytest.approx(theirs.thresholds.prob)
    for one, other in zip(ours.keras_model.get_weights(), theirs.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(os.listdir(project.folder)) == FILES


def test_the_stop_button_leaves_a_usable_model_and_the_training_goes_on(trained, source, tmp_path, monkeypatch):
    judged, original = [], StarDist2D.optimize_thresholds

    def spy(self, images, labels, **more):
        judged.append(labels)
        return original(self, images, labels, **more)

    monkeypatch.setattr(StarDist2D, "optimize_thresholds", spy)
    given = parameters(source, tmp_path, training={"number_of_epochs": 3})
    with pytest.raises(TrainingStopped, match="You stopped the training in epoch 2 of 3"):
        open_and_train(given, [Stop(1, 1)])
    assert sorted(os.listdir(tmp_path / "model")) == sorted([*FILES, "training"])
    assert STARDIST.load(tmp_path / "model").find(discs(np.random.default_rng(0))[0]).labels.shape == (64, 64)
    project, said = open_and_train(given)
    assert said.startswith("Trained for 3 epochs")
    assert_same_model(project.folder, trained[0].folder)
    assert len(judged) == 2
    for labels in judged:  # the thresholds are chosen on validation images only
        np.testing.assert_array_equal(labels, [one.mask for one in project.examples("validation")])


def assert_same_model(one, other):
    histories = [pd.read_csv(folder / "history.csv") for folder in (one, other)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    weights = [network.load(folder).keras_model.get_weights() for folder in (one, other)]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_second_run_uses_the_model_and_another_parameter_is_refused(trained):
    project, _, given = trained
    before = tree(project.folder.parent)
    assert "already trained" in open_and_train(given)[1]
    other = {"overrides": given["overrides"] | {"training": given["overrides"]["training"] | {"n_rays": 16}}}
    with pytest.raises(ModelError, match="training.n_rays was 8 and is now 16"):
        STARDIST.train(project, other)
    assert tree(project.folder.parent) == before


def test_no_pixel_of_validation_or_test_images_is_trained_on(trained, monkeypatch):
    project, _, given = trained
    drawn, original = [], TrainingObjects.__init__

    def spy(self, *arguments, sources, **more):
        drawn.extend(sources)
        original(self, *arguments, sources=sources, **more)

    monkeypatch.setattr(TrainingObjects, "__init__", spy)
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("other"))
    with pytest.raises(TrainingStopped):
        STARDIST.train(moved, given, [Stop()])
    assert {id(one.image) for one in drawn} == {id(one.image.array) for one in project.examples("training")}


def test_learning_works(finder):
    """Discs on a dark ground: after some hundred steps most are found."""
    segmenter = STARDIST.load(finder.folder)
    (example,) = finder.examples("test")
    assert abs(segmenter.find(example.image.array).labels.max() - example.mask.max()) <= 2


class TestPatch:
    def test_it_is_the_largest_multiple_that_fits(self, source, tmp_path):
        given = parameters(source, tmp_path, training={"patch_height": 0, "patch_width": 0})
        assert STARDIST.patch_size(opened(given), given["overrides"]["training"]) == (64, 64)

    @pytest.mark.parametrize(
        ("side", "grid", "expected"), [(100, 2, 96), (100, 4, 96), (90, 1, 88), (300, 2, 256), (40, 2, 64)]
    )
    def test_multiples(self, side, grid, expected, tmp_path):
        write_objects(tmp_path / "data", 4, side=side)
        automatic = {"patch_height": 0, "patch_width": 0, "grid": grid}
        labels = {"mask_type": "instance labels"}
        given = parameters(tmp_path / "data", tmp_path, data=labels, training=automatic)
        project = opened(given)
        assert STARDIST.patch_size(project, given["overrides"]["training"]) == (expected, expected)
        assert len(page._smaller(project, (expected, expected))) == (3 if side == 40 else 0)

    def test_a_side_that_cannot_be_halved_is_refused(self, source, tmp_path):
        given = parameters(source, tmp_path, training={"patch_height": 40})
        with pytest.raises(DataError, match="40 x 32 .* multiples of 16"):
            STARDIST.patch_size(opened(given), given["overrides"]["training"])

    def test_a_small_image_is_mirrored_and_not_dropped(self, source, tmp_path):
        given = parameters(source, tmp_path)
        examples = opened(given).examples("training")
        padded = object_sources(examples, (96, 80), NORMALISATION)
        assert len(padded) == len(examples)
        for one, example in zip(padded, examples, strict=True):
            assert one.image.shape == (96, 80, 1)
            np.testing.assert_array_equal(one.image[:64, :64], example.image.array)
            np.testing.assert_array_equal(one.mask[:64, :64], example.mask)
            np.testing.assert_array_equal(one.mask[64:, :64], example.mask[:31:-1])


class TestStartingModel:
    def test_weights_are_taken_over(self, trained, source, tmp_path):
        project = trained[0]
        given = parameters(source, tmp_path, data={"starting_model": str(project.folder)})
        before, stop = tree(project.folder), Stop()
        with pytest.raises(TrainingStopped):
            open_and_train(given, [stop])
        expected = network.load(project.folder).keras_model.get_weights()
        for one, other in zip(stop.weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert tree(project.folder) == before

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"n_rays": 16}, "rays 8, .*16.*Set the field n_rays to 8"),
            ({"grid": 1}, "Set the field grid to 2"),
            ({"filters": 8}, "Set the field filters to 4"),
        ],
    )
    def test_another_network_is_refused(self, trained, source, tmp_path, changes, message):
        given = parameters(source, tmp_path, data={"starting_model": str(trained[0].folder)}, training=changes)
        with pytest.raises(ModelError, match=message):
            open_and_train(given)
        assert not (tmp_path / "model").exists()

    def test_other_channels_are_refused(self, trained, tmp_path):
        write_objects(tmp_path / "colour", 4, channels=3)
        given = parameters(tmp_path / "colour", tmp_path, data={"starting_model": str(trained[0].folder)})
        with pytest.raises(ModelError, match="channels of the images 1, .*3"):
            open_and_train(given)

    def test_a_published_model_placed_by_hand_is_used(self, trained, source, tmp_path, monkeypatch):
        monkeypatch.setattr(network, "PLACED", trained[0].folder.parent)
        monkeypatch.setattr(network, "PUBLISHED", ("model",))
        given = parameters(source, tmp_path, data={"starting_model": "model"})["overrides"]
        said = STARDIST.starting_note(opened({"overrides": given}), given["data"], given["training"])
        assert said == "Training starts from the weights of model."

    def test_without_internet_it_is_said_how_to_place_it(self, tmp_path, monkeypatch):
        def refused(*_):
            raise OSError("no route to host")

        monkeypatch.setattr(network, "PLACED", tmp_path)
        monkeypatch.setattr(network, "get_model_folder", refused)
        with pytest.raises(ModelError, match=r"Download http.*2D_versatile_fluo.zip.*unpack.*config.json.*put|into"):
            network.published("2D_versatile_fluo")


@pytest.mark.parametrize("name", OWN)
def test_a_damaged_model_is_refused(trained, tmp_path, name):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in trained[0].folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes()[: 20 if path.name == name else None])
    with pytest.raises(ModelError, match=f"{name} was changed or damaged"):
        STARDIST.load(folder)
    with pytest.raises(ModelError, match="could not be loaded"):
        network.load(folder)


def test_a_graphics_card_computes_in_half_precision_up_to_the_outputs(trained, monkeypatch):
    devices = tf.config.list_physical_devices()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(
                (self.model.optimizer, {one.name: one.compute_dtype for one in self.model.layers}, logs["loss"])
            )
            raise KeyboardInterrupt

    project, _, given = trained
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("gpu"))
    with pytest.raises(TrainingStopped):
        STARDIST.train(moved, given, [Look()])
    optimizer, dtypes, loss = seen[0]
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert (dtypes["prob"], dtypes["dist"], dtypes["features"]) == ("float32", "float32", "float16")
    assert np.isfinite(loss)
    assert keras.config.dtype_policy().name == "float32"


def test_without_objects_in_the_validation_images_the_usual_thresholds_stay(trained):
    model = network.build(vars_of())
    (example,) = trained[0].examples("validation")
    empty = type(example)(example.name, example.image, np.zeros_like(example.mask), example.group, example.mask_path)
    optimise_thresholds(model, [empty], NORMALISATION)
    assert (model.thresholds.prob, model.thresholds.nms) == (0.5, 0.4)


def test_empty_label_images_and_images_smaller_than_the_patch_are_allowed(tmp_path):
    folder = write_objects(tmp_path / "data", 5, side=40)
    for name in ("image_0.tif", "image_1.tif"):
        write_tiff(folder / "masks" / name, np.zeros((40, 40), np.uint16))
    small = {"patch_height": 48, "patch_width": 48, "number_of_epochs": 1}
    given = parameters(folder, tmp_path, data={"mask_type": "instance labels"}, training=small)
    project, said = open_and_train(given)
    assert said.startswith("Trained")
    assert sum("only background" in one.what for one in project.dataset.problems) == 2
    assert len(page._smaller(project, (48, 48))) == 4


def test_label_images_without_any_object_are_refused(tmp_path):
    folder = write_objects(tmp_path / "data", 3)
    for path in (folder / "masks").iterdir():
        write_tiff(path, np.zeros((64, 64), np.uint16))
    with pytest.raises(DataError, match="No mask has any foreground"):
        opened(parameters(folder, tmp_path))


def test_objects_of_several_classes(tmp_path):
    """A class table goes in; the network learns classes, they are scored, and a corrected table is another training."""
    folder = write_objects(tmp_path / "data", 5)
    rows = ["file,label,class"]
    for path in sorted((folder / "masks").iterdir()):
        rows += [f"{path.name},{label},{('oval', 'round')[label % 2]}" for label in range(1, read_mask(path).max() + 1)]
    (tmp_path / "classes.csv").write_text("\n".join(rows))
    given = parameters(folder, tmp_path, data={"class_table": str(tmp_path / "classes.csv")})
    project, _ = open_and_train(given)
    description = model_folder.read_model(project.folder, "stardist")
    assert [one["name"] for one in description["classes"]] == ["background", "oval", "round"]
    assert description["network"]["n_classes"] == 2
    found = STARDIST.load(project.folder).find(project.dataset.examples[0].image.array)
    assert found.class_ids is not None
    assert set(found.class_ids) <= {1, 2}
    result = evaluate(STARDIST, project.folder, find_test_set(STARDIST, project.folder))
    assert result.scores.class_confusion.shape == (2, 2)
    assert result.scores.class_confusion.sum() == result.table["TP"][0]
    (tmp_path / "classes.csv").write_text("\n".join(rows).replace("oval", "old").replace("round", "oval"))
    with pytest.raises(ModelError, match="trained on other images, masks"):
        open_and_train(given)
