"""Model folders made by earlier software (2026-11-25, before tasks had one protocol) are used and gone on with.

`tests/old_models/<task>` holds the data, a finished and an unfinished model of the same training (seed 0, three epochs,
the other was stopped in the third), and what the finished one answered for `IMAGE`. They are never made anew.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from utils.data.splits import read_split
from utils.images.image import read_image
from utils.paths import ROOT
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET, read_task

FOLDER = ROOT / "tests" / "old_models"
IMAGE = {"unet": "images/image_2.tif", "stardist": "images/image_2.tif", "classification": "dot/dot_4.tif"}
ANSWER = {
    "unet": lambda predictor, array: predictor.foreground_probability(array),
    "stardist": lambda predictor, array: predictor.find(array).labels,
    "classification": lambda predictor, array: predictor.probabilities([array]),
}


@pytest.fixture(params=[UNET, STARDIST, CLASSIFIER], ids=lambda task: task.name)
def task(request):
    return request.param


def test_they_are_known_and_answer_as_before(task):
    folder = FOLDER / task.name
    assert read_task(folder / "finished")[0] is task
    predictor = task.load(folder / "finished")
    answer = ANSWER[task.name](predictor, read_image(folder / "data" / IMAGE[task.name]).array)
    expected = np.load(folder / "answer" / "answer.npy")
    np.testing.assert_allclose(answer, expected, atol=1e-5)  # bit for bit on the machine that they were made on


def test_they_are_scored_on_the_images_that_were_set_aside(task, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER / task.name / "finished", folder)
    test_set = find_test_set(task, folder)
    split = read_split(folder / "split.csv")
    assert len(test_set.examples) == (split["role"] == "test").sum() > 0
    assert 0 <= evaluate(task, folder, test_set).headline["value"] <= 1


def test_an_unfinished_training_goes_on_and_ends_as_the_one_that_was_not_stopped(task, tmp_path):
    shutil.copytree(FOLDER / task.name / "unfinished", tmp_path / "unfinished")
    given = json.loads((tmp_path / "unfinished" / "parameters.json").read_text(encoding="utf-8"))
    data = given["overrides"]["data"] | {"model_path": str(tmp_path)}
    given["overrides"]["data"] = data
    project = task.open(data, given["overrides"]["training"]["seed"])
    assert "It went on where it had been stopped." in task.train(project, given)
    history, whole = (pd.read_csv(path / "history.csv") for path in (project.folder, FOLDER / task.name / "finished"))
    assert history["epoch"].tolist() == whole["epoch"].tolist()
    np.testing.assert_allclose(history["val_loss"], whole["val_loss"], rtol=0.02)
    assert not (project.folder / "training").exists()
