"""Network, forest or both: the choice on validation images, and what a model folder then answers."""

import json
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.tiny_crops import open_and_train, parameters, write_crops
from utils.errors import ModelError
from utils.tasks.classes.decision import SHARES, choose_share, log_losses, told
from utils.tasks.classes.forest import FOREST, mixed, share_of
from utils.tasks.classes.predict import load_classifier
from utils.tasks.classes.single_cell import SingleCell
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.registry import CLASSIFIER


def answers(y: np.ndarray, right: float, sure: float, seed: int) -> np.ndarray:
    """Probabilities (n, 3) of a classifier that is right with a share `right` of images and says so with `sure`."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(len(y)) < right, y, (y + 1) % 3)
    return np.where(np.arange(3) == said[:, None], sure, (1 - sure) / 2)


class TestChoice:
    y = np.arange(90) % 3

    def test_the_better_one_decides_where_it_is_clear(self):
        good, bad = answers(self.y, 0.99, 0.98, 0), answers(self.y, 0.4, 0.6, 1)
        assert choose_share(good, bad, self.y, np.ones(3))[0] == 1
        assert choose_share(bad, good, self.y, np.ones(3))[0] == 0

    def test_half_and_half_where_both_are_alike(self):
        one, other = answers(self.y, 0.8, 0.75, 0), answers(self.y, 0.8, 0.75, 1)
        assert choose_share(one, other, self.y, np.ones(3))[0] == 0.5

    def test_a_handful_of_images_chooses_nothing(self):
        good, bad = answers(self.y[:6], 1, 0.98, 0), answers(self.y[:6], 0, 0.6, 1)
        share, why = choose_share(good, bad, self.y[:6], np.ones(3))
        assert share == 0.5
        assert "6 validation images" in why

    def test_losses_by_hand(self):
        p = np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
        losses = log_losses(*p, np.array([0]), np.array([2.0, 1.0]))
        np.testing.assert_allclose(losses, -np.log([[1, 0.875, 0.75, 0.625, 0.5]]), atol=1e-6)
        assert SHARES[2] == 0.5

    def test_earlier_models_are_networks(self):
        assert share_of({}) == 1
        assert told({}) == ""


def test_a_mixture_is_between_the_two():
    p = mixed(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 0.75)
    np.testing.assert_allclose(p, [[0.75, 0.25]])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decision")
    given = parameters(
        write_crops(folder / "data", 8, channels=2), folder, training={"decides": "both", "normalisation": "both"}
    )
    return open_and_train(given)[0]


def test_a_model_folder_answers_with_both(trained):
    classifier = load_classifier(trained.folder)
    arrays = [one.image.array for one in trained.dataset.examples]
    assert classifier.network.input_shape[-1] == 4  # each channel in two ranges
    parts = classifier.of_network(arrays), classifier.of_forest(arrays)
    np.testing.assert_allclose(classifier.probabilities(arrays), np.mean(parts, axis=0), atol=1e-6)
    name, p = SingleCell(trained.folder)(arrays[0])
    both = np.mean(parts, axis=0)[0]
    assert p == pytest.approx(both.max(), abs=1e-5)
    assert name == trained.dataset.classes[both.argmax()]["name"]


def test_who_decides_is_told(trained):
    result = evaluate(CLASSIFIER, trained.folder, find_test_set(CLASSIFIER, trained.folder))
    assert "decide together" in " ".join(CLASSIFIER.remarks(result))
    assert "decide together" in CLASSIFIER.summary(result.predictor.description, 2)
    written = json.loads((trained.folder / "scores.json").read_text(encoding="utf-8"))
    assert written["decides"] == {"network": 0.5, "forest": 0.5, "why": "as the form says"}
    assert {row["score"] for row in written["random_forest"]} == {"accuracy", "balanced_accuracy", "macro_f1"}


def test_pictures_show_each_channel_once(trained):
    result = evaluate(CLASSIFIER, trained.folder, find_test_set(CLASSIFIER, trained.folder))
    forms = json.loads((trained.folder / "parameters.json").read_text(encoding="utf-8"))["overrides"]
    preview = CLASSIFIER.augmentation_preview(trained, forms["training"], forms["augmentation"])
    for figure in (CLASSIFIER.looked_at(result), preview):
        assert isinstance(figure, Figure)


def test_a_changed_forest_is_refused(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "model")
    (tmp_path / "model" / FOREST).write_bytes(b"other")
    with pytest.raises(ModelError, match="changed or damaged"):
        load_classifier(tmp_path / "model")
