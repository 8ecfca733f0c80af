"""The score of a StarDist model: on images it has not seen, with StarDist's matching, and the same twice."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from stardist.matching import matching_dataset

from tests.tiny_objects import write_objects
from utils import samples
from utils.errors import DataError
from utils.tasks import held_out
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.objects.evaluate import class_of_labels
from utils.tasks.objects.measure import Objects
from utils.tasks.registry import STARDIST


@pytest.fixture(scope="module")
def result(finder):
    return evaluate(STARDIST, finder.folder, find_test_set(STARDIST, finder.folder))


def test_the_score_is_that_of_the_images_set_aside(result, finder):
    (example,) = finder.examples("test")
    assert [one.name for one in result.test_set.examples] == [example.name]
    assert result.test_set.independent
    labels = STARDIST.load(finder.folder).find(example.image.array).labels
    expected = matching_dataset([example.mask], [labels], thresh=0.5, show_progress=False)
    assert result.headline["value"] == pytest.approx(expected.accuracy)
    assert result.table["TP"][0] == expected.tp
    written = json.loads((finder.folder / "scores.json").read_text())
    assert written["headline"]["value"] == pytest.approx(expected.accuracy)
    assert written["headline"]["name"] == "AP at IoU 0.5"
    assert len(pd.read_csv(finder.folder / "evaluation.csv")) == 1


def test_a_folder_of_test_images(finder, tmp_path):
    other = write_objects(tmp_path / "other", 3, seed=9)
    found = find_test_set(STARDIST, finder.folder, str(other / "images"), str(other / "masks"))
    result = evaluate(STARDIST, finder.folder, found)
    assert result.scores.per_image["true objects"].tolist() == [one.mask.max() for one in found.examples]
    aps = result.scores.per_image["AP"].tolist()
    assert [one.name for one in STARDIST.worst(result, 3)] == [
        found.examples[i].name for i in np.argsort(aps, kind="stable")
    ]


def test_a_training_image_is_refused_as_test(finder):
    data = finder.folder.parent / "data"
    with pytest.raises(DataError, match="were used in training"):
        find_test_set(STARDIST, finder.folder, str(data / "images"), str(data / "masks"))


def test_the_uncut_real_image_is_no_test_for_a_model_of_its_pieces(finder, monkeypatch):
    monkeypatch.setattr(held_out, "sample_of", lambda source: samples.REAL)
    whole = samples.EXTRA["nuclei_whole"]
    with pytest.raises(DataError, match="trained on pieces of this very image"):
        find_test_set(STARDIST, finder.folder, whole["test_source"], whole["test_target"])


def test_disagreement_names_the_image_with_a_wrong_label(finder):
    examples = list(finder.dataset.examples)
    whole = examples[2].mask
    wrong = np.where(whole > 3, 0, whole)
    examples[2] = replace(examples[2], mask=wrong)
    table = STARDIST.disagreement(finder.folder, examples, finder.roles)
    assert table["file"][0] == examples[2].name
    assert table["added"][0] >= int(whole.max()) - 5
    assert (table["annotated"] - table["missed"] == table["predicted"] - table["added"]).all()


def test_classes_of_labels():
    found = Objects(np.zeros((2, 2), np.int32), np.zeros((2, 2, 8)), np.ones(2), np.array([2, 1]))
    assert class_of_labels(found) == {1: 2, 2: 1}
    assert class_of_labels(Objects(found.labels, found.outlines, found.probability, None)) is None
