"""Choices in doubt are tried on training images only, and what does best is taken."""

import numpy as np
import pytest

from tests.tiny_crops import parameters, write_crops
from utils.tasks import doubt
from utils.tasks.automatic import Choice
from utils.tasks.doubt import changed, inner, settle_doubt
from utils.tasks.registry import CLASSIFIER

SURE = Choice("augmentation", "zoom", 0, "Size tells.")
DOUBTFUL = Choice("training", "normalisation", "each image", "Who knows.", ("each image", "all images together"))


@pytest.fixture
def given(tmp_path):
    forms = parameters(write_crops(tmp_path / "data", 10), tmp_path, training={"number_of_epochs": 10})["overrides"]
    return CLASSIFIER.open(forms["data"], 0), forms


def test_only_training_images_are_split(given):
    project, _ = given
    part = inner(CLASSIFIER, project, 0)
    own = project.roles == "training"
    assert set(part.roles[own]) == {"training", "validation"}
    assert set(part.roles[~own]) == {"left out"}
    assert 1 <= (part.roles[own] == "validation").sum() <= 0.4 * own.sum()


def test_nothing_in_doubt_is_nothing_tried(given):
    project, forms = given
    values, choices, table = settle_doubt(CLASSIFIER, project, forms, [SURE])
    assert (values, choices, table) == (forms, [SURE], None)


def test_the_best_is_taken_once_and_said(given, monkeypatch):
    project, forms = given
    seen = []

    def score(task, project, forms, seed, share):
        seen.append(share)
        return {"each image": 0.1, "all images together": 0.3}[forms["training"]["normalisation"]]

    monkeypatch.setattr(doubt, "_attempt", score)
    for _ in range(2):
        values, choices, table = settle_doubt(CLASSIFIER, project, forms, [SURE, DOUBTFUL])
        assert values["training"]["normalisation"] == "all images together"
        assert choices[0] == SURE
        assert "After short trials: all images together" in choices[1].reason
        assert table["score"].tolist() == [0.1, 0.3]
    assert seen == [0.1, 0.1]  # of the epochs; the second time, nothing is trained


def test_a_real_trial_leaves_its_result_only(given):
    project, forms = given
    values, _, table = settle_doubt(CLASSIFIER, project, forms, [DOUBTFUL])
    assert np.isfinite(table["score"]).all()
    assert changed(forms, {"training.normalisation": values["training"]["normalisation"]}) == values
    assert [path.name for path in (project.folder / "training").iterdir()] == ["trials.json"]
