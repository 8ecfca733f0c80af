"""From the forms' values to a classifier's model folder: nothing leaks, interruptions change nothing."""

import json
import os

import keras
import numpy as np
import pandas as pd
import pytest

from tests.tasks.pixels.test_train import Stop
from tests.tiny import tree
from tests.tiny_crops import CLASSES, crop, open_and_train, parameters, write_crops
from utils.data.project import Project
from utils.errors import DataError, ModelError
from utils.tasks.automatic import settled
from utils.tasks.classes import train
from utils.tasks.classes.batches import TrainingCrops
from utils.tasks.classes.predict import load_classifier
from utils.tasks.held_out import find_test_set
from utils.tasks.registry import CLASSIFIER
from utils.training import model_folder, networks
from utils.training.fit import TrainingStopped

FILES = ["automatic.json", "history.csv", "model.json", "parameters.json", "split.csv", "weights.h5"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_crops(tmp_path_factory.mktemp("data"))


@pytest.fixture
def trained(sorter):
    return sorter


class Last(keras.callbacks.Callback):
    """Keeps the weights of the last epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.model.get_weights()


def test_a_finished_folder(trained):
    project, said, given = trained
    assert said.startswith("Trained for 4 epochs")
    assert sorted(set(os.listdir(project.folder)) - set(model_folder.JUDGED)) == FILES
    description = model_folder.read_model(project.folder, "classification")
    assert description["network"] == {
        "channels": 1,
        "classes": 3,
        "network": "small CNN",
        "filters": 4,
        "levels": 2,
        "half_resolution": False,
    }
    assert [one["name"] for one in description["classes"]] == list(CLASSES)
    assert description["input"] == {"size": [16, 16], "fit": "pad"}
    assert description["temperature"] > 0
    asked, chosen = given["overrides"], CLASSIFIER.choices(project, given["overrides"])
    assert json.loads((project.folder / "parameters.json").read_text())["overrides"] == settled(asked, chosen)
    assert set(pd.read_csv(project.folder / "split.csv")["annotation"]) == set(CLASSES)


def test_learning_works(trained):
    rng = np.random.default_rng(9)
    classifier = load_classifier(trained[0].folder)
    crops = [crop(rng, name) for name in CLASSES for _ in range(10)]
    p = classifier.probabilities(crops)
    assert p.shape == (30, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (p.argmax(axis=1) == np.repeat(range(3), 10)).mean() > 0.8


def test_a_class_is_in_training_and_every_image_has_one_role(trained):
    project = trained[0]
    assert {one.class_id for one in project.examples("training")} == {0, 1, 2}
    names = [one.name for role in ("training", "validation", "test") for one in project.examples(role)]
    assert sorted(names) == sorted(one.name for one in project.dataset.examples)
    assert len(project.examples("test")) > 0


def test_the_stop_button_and_going_on_give_the_same_as_no_stop(source, tmp_path):
    histories = []
    for name, stops in (("whole", []), ("stopped", [Stop(1, 1), Stop(2, 0)])):
        given = parameters(source, tmp_path / name, training={"number_of_epochs": 3})
        for stop in stops:
            with pytest.raises(TrainingStopped, match="run this cell again to go on"):
                open_and_train(given, [stop])
            assert load_classifier(tmp_path / name / "model").probabilities([]).shape == (0, 3)
        project, said = open_and_train(given)
        assert said.startswith("Trained for 3 epochs")
        histories.append(pd.read_csv(project.folder / "history.csv"))
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)


def test_a_second_run_uses_the_model_and_a_moved_image_is_another_training(trained, source, tmp_path):
    project, _, given = trained
    before = tree(project.folder)
    assert "already trained" in open_and_train(given)[1]
    assert tree(project.folder) == before
    write_crops(tmp_path / "data")
    (tmp_path / "data" / "dot" / "dot_0.tif").rename(tmp_path / "data" / "ring" / "moved.tif")
    forms = given["overrides"]
    other = {"overrides": forms | {"data": forms["data"] | {"training_source": str(tmp_path / "data")}}}
    with pytest.raises(ModelError, match="trained on other images"):
        open_and_train(other)


def test_only_training_images_are_learned_from(trained, monkeypatch):
    project, _, given = trained
    seen, original = [], TrainingCrops.__init__

    def spy(self, images, class_ids, *more):
        seen.append((images, class_ids))
        original(self, images, class_ids, *more)

    monkeypatch.setattr(TrainingCrops, "__init__", spy)
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("other"))
    with pytest.raises(TrainingStopped):
        CLASSIFIER.train(moved, given, [Stop()])
    expected = train.arrays(project.examples("training"), model_folder.read_model(project.folder))
    np.testing.assert_array_equal(seen[0][0], expected[0])
    np.testing.assert_array_equal(seen[0][1], expected[1])


def test_temperature_is_fitted_on_validation_images_only(trained, monkeypatch):
    project, _, given = trained
    fitted = []
    monkeypatch.setattr(train, "fit_temperature", lambda logits, y: fitted.append(y) or 2.0)
    few = model_folder.read_model(project.folder)
    assert few["temperature"] == 1
    assert few["calibration"] == {"validation_images": len(project.examples("validation")), "fitted": False}
    monkeypatch.setattr(train, "FEWEST_IMAGES", len(project.examples("validation")))
    moved = Project(project.dataset, project.roles, project.split, project.folder.with_name("warm"))
    short = {"overrides": given["overrides"] | {"training": given["overrides"]["training"] | {"number_of_epochs": 1}}}
    CLASSIFIER.train(moved, short)
    np.testing.assert_array_equal(fitted[0], [one.class_id for one in project.examples("validation")])
    assert model_folder.read_model(moved.folder)["temperature"] == 2.0
    assert model_folder.read_model(moved.folder)["calibration"]["fitted"]


def test_a_rate_that_falls_to_zero_keeps_the_last_weights(source, tmp_path):
    given = parameters(source, tmp_path, training={"learning_rate_schedule": "cosine", "number_of_epochs": 3})
    last = Last()
    project, said = open_and_train(given, [last])
    assert said == f"Trained for 3 epochs; the weights of the last are in {project.folder}."
    for one, other in zip(last.weights, load_classifier(project.folder).network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_calibration_does_not_change_the_class(trained):
    classifier = load_classifier(trained[0].folder)
    warmer = classifier.description | {"temperature": 5.0}
    crops = [one.image.array for one in trained[0].dataset.examples]
    sharp, soft = classifier.probabilities(crops), type(classifier)(classifier.network, warmer).probabilities(crops)
    np.testing.assert_array_equal(sharp.argmax(axis=1), soft.argmax(axis=1))
    assert soft.max(axis=1).mean() < sharp.max(axis=1).mean()


def test_one_by_one_is_the_same_as_together(trained):
    classifier = load_classifier(trained[0].folder)
    crops = [one.image.array for one in trained[0].dataset.examples][:5]
    single = np.concatenate([classifier.probabilities([one]) for one in crops])
    np.testing.assert_allclose(classifier.probabilities(crops), single, atol=1e-5)


class TestHeldOut:
    def test_images_set_aside_are_found_again(self, trained):
        found = find_test_set(CLASSIFIER, trained[0].folder)
        assert [one.name for one in found.examples] == [one.name for one in trained[0].examples("test")]
        assert found.independent

    def test_a_test_folder_needs_no_masks_and_keeps_to_the_classes(self, trained, tmp_path):
        write_crops(tmp_path / "test", 2, seed=5)
        found = find_test_set(CLASSIFIER, trained[0].folder, str(tmp_path / "test"))
        assert len(found.examples) == 6
        (tmp_path / "test" / "ring").rename(tmp_path / "test" / "comet")
        with pytest.raises(DataError, match="comet"):
            find_test_set(CLASSIFIER, trained[0].folder, str(tmp_path / "test"))

    def test_images_set_aside_are_scored_by_their_corrected_labels(self, tmp_path):
        write_crops(tmp_path / "data")
        wrong = [f"dot/dot_{i}.tif" for i in range(6)]
        (tmp_path / "review.csv").write_text("file,class\n" + "".join(f"{name},ring\n" for name in wrong))
        review = {"label_review": str(tmp_path / "review.csv"), "percentage_test": 50}
        project, _ = open_and_train(
            parameters(tmp_path / "data", tmp_path, data=review, training={"number_of_epochs": 1})
        )
        expected = {one.name: one.class_id for one in project.examples("test")}
        assert set(expected) & set(wrong)
        found = find_test_set(CLASSIFIER, project.folder)
        assert {one.name: one.class_id for one in found.examples} == expected


class TestStart:
    def test_weights_are_taken_over(self, trained, source, tmp_path):
        given = parameters(source, tmp_path, data={"starting_model": str(trained[0].folder)})
        stop = Stop()
        with pytest.raises(TrainingStopped):
            open_and_train(given, [stop])
        expected = load_classifier(trained[0].folder).network.get_weights()
        for one, other in zip(stop.weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_other_classes_and_another_network_are_refused(self, trained, source, tmp_path):
        start = {"starting_model": str(trained[0].folder)}
        with pytest.raises(ModelError, match="made with filters 4, your data and form ask for 8"):
            open_and_train(parameters(source, tmp_path, data=start, training={"filters": 8}))
        write_crops(tmp_path / "data")
        (tmp_path / "data" / "ring").rename(tmp_path / "data" / "comet")
        with pytest.raises(ModelError, match="knows the classes dot, ring, stripe, your data have comet, dot, stripe"):
            open_and_train(parameters(tmp_path / "data", tmp_path, data=start))

    def test_without_internet_imagenet_weights_are_asked_for_in_words(self, source, tmp_path, monkeypatch):
        real = keras.applications.MobileNetV2

        def refused(weights=None, **given):
            if weights:
                raise Exception("URL fetch failure")  # noqa: TRY002  Keras raises just this
            return real(weights=None, **given)

        monkeypatch.setattr(keras.applications, "MobileNetV2", refused)
        with pytest.raises(ModelError, match="ImageNet weights of MobileNetV2 could not be downloaded.*small CNN"):
            open_and_train(parameters(source, tmp_path, training={"network": "MobileNetV2"}))


@pytest.mark.parametrize("network", [networks.SMALL, "MobileNetV2"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_networks_take_any_size_and_any_number_of_channels(network, channels):
    model = networks.classifier(channels, 4, network, filters=2, levels=3)
    for shape in ((33, 40), (64, 32)):
        p = model(np.zeros((2, *shape, channels), np.float32))
        assert p.shape == (2, 4)
        np.testing.assert_allclose(np.sum(p, axis=1), 1, rtol=1e-5)
    assert model.get_layer("logits").output.shape == (None, 4)
    assert len(model.get_layer("features").output.shape) == 4


def test_a_range_for_all_images_is_that_of_the_training_images(trained):
    project, _, given = trained
    pixels = np.concatenate([one.image.array.ravel() for one in project.examples("training")])
    training = given["overrides"]["training"] | {"normalisation": "all images together"}
    found = CLASSIFIER.describe(project, training)["normalisation"]
    assert found["per"] == "training set"
    np.testing.assert_allclose(found["range"], np.percentile(pixels, [1, 99.8]).reshape(2, 1), rtol=1e-6)
