"""What the classification page shows: counts, copies, scores beside a forest, and what section 6 writes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import balanced_accuracy_score

from tests.tiny_crops import write_crops
from utils.data.project import open_crops
from utils.pages.page import tidy
from utils.tasks import report
from utils.tasks.automatic import settled
from utils.tasks.classes import wrong_labels
from utils.tasks.classes.predict import prediction_table
from utils.tasks.classes.wrong_labels import COLUMNS
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.registry import CLASSIFIER
from utils.tasks.task import TestSet


@pytest.fixture(scope="module")
def project(sorter):
    return sorter[0]


@pytest.fixture(scope="module")
def training(sorter):
    return sorter[2]["overrides"]["training"]


@pytest.fixture(scope="module")
def result(project):
    test_set = find_test_set(CLASSIFIER, project.folder)
    return evaluate(CLASSIFIER, project.folder, test_set, training=project.examples("training"))


def test_counts_add_up(project):
    table = CLASSIFIER.counts(project).set_index("class")
    assert table.loc["all", ["training", "validation", "test"]].sum() == table.loc["all", "total"] == 24
    for role in ("training", "validation", "test"):
        assert table.loc["all", role] == len(project.examples(role))
    assert "24 images** in 3 classes" in CLASSIFIER.overview(
        project, {"patch_height": 0, "patch_width": 0, "fit": "pad"}
    )


def test_the_score_is_that_of_scikit_learn_and_is_written_down(project, result):
    classifier, crops = CLASSIFIER.load(project.folder), project.examples("test")
    p = classifier.probabilities([one.image.array for one in crops])
    expected = balanced_accuracy_score([one.class_id for one in crops], p.argmax(axis=1))
    assert result.headline["value"] == pytest.approx(expected)
    written = json.loads((project.folder / "scores.json").read_text())
    assert written["headline"]["value"] == pytest.approx(expected)
    assert len(pd.read_csv(project.folder / "evaluation.csv")) == len(crops)
    assert {one["score"] for one in written["random_forest"]} == {"accuracy", "balanced_accuracy", "macro_f1"}


def test_network_and_forest_are_scored_on_the_same_images(result):
    assert result.forest.per_image["file"].tolist() == result.scores.per_image["file"].tolist()
    assert "random forest" in " ".join(CLASSIFIER.remarks(result))


def test_figures_and_report(result, project):
    figures = CLASSIFIER.evaluation_figures(result)
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert any("broad class" in caption for caption in figures)
    assert isinstance(CLASSIFIER.looked_at(result), Figure)
    assert isinstance(CLASSIFIER.looked_at(result, [result.test_set.examples[0].name]), Figure)
    text = report.write(CLASSIFIER, project.folder, result, ["Beware of this."]).read_text(encoding="utf-8")
    assert "Methods, for a paper" in text
    assert f"{len(pd.read_csv(project.folder / 'split.csv'))} annotated images" in text
    assert f"{CLASSIFIER.load(project.folder).network.count_params():,} parameters" in text
    assert "kingma2015" in (project.folder / "cite.bib").read_text(encoding="utf-8")
    assert "Beware of this." in text
    assert "random forest" in text


def test_preview_of_augmentation(project, sorter, training):
    asked = sorter[2]["overrides"]
    forms = settled(asked, CLASSIFIER.choices(project, asked))
    assert isinstance(CLASSIFIER.augmentation_preview(project, training, forms["augmentation"]), Figure)


def test_a_copy_across_training_and_test_comes_first(tmp_path, sorter):
    folder = write_crops(tmp_path / "data", 40, seed=3, side=32)
    data = sorter[2]["overrides"]["data"] | {"training_source": str(folder), "model_path": str(tmp_path)}
    before = open_crops(data)
    one, other = before.examples("training")[0], before.examples("test")[0]
    shutil.copy(one.image.path, other.image.path)
    found = CLASSIFIER.checks(open_crops(data), {}).tables["Near-duplicates"]
    assert {found["file_a"].iloc[0], found["file_b"].iloc[0]} == {one.name, other.name}
    assert {found["role_a"].iloc[0], found["role_b"].iloc[0]} == {"training", "test"}
    folder_of_its_own = TestSet([replace(other, image=one.image)], "a folder", independent=True)
    across = CLASSIFIER.lookalikes(before, folder_of_its_own)
    assert across[["file_a", "file_b"]].values.tolist() == [[one.name, other.name]]


def test_a_corrected_label_is_learned_from(tmp_path, sorter):
    folder = write_crops(tmp_path / "data")
    review = tmp_path / "review.csv"
    review.write_text("file,class\ndot/dot_0.tif,ring\ndot/dot_1.tif,remove\n")
    data = sorter[2]["overrides"]["data"] | {"training_source": str(folder), "label_review": str(review)}
    project = open_crops(data | {"model_path": str(tmp_path)})
    names = {one.name: project.dataset.classes[one.class_id]["name"] for one in project.dataset.crops}
    assert names["dot/dot_0.tif"] == "ring"
    assert "dot/dot_1.tif" not in names
    assert project.split.set_index("file").loc[lambda t: t.index.str.contains("dot_0"), "annotation"].tolist() == [
        "ring"
    ]


def test_the_button_does_nothing_until_it_is_pressed(project, training, tmp_path, monkeypatch):
    calls = []
    table = pd.DataFrame([("dot/dot_0.tif", "dot", "ring", 0.1)], columns=COLUMNS)
    monkeypatch.setattr(wrong_labels, "suspects", lambda *given: calls.append(given) or table)
    box = wrong_labels.button(CLASSIFIER, project, training, tmp_path / "labels.csv")
    assert calls == []
    box.children[0].click()
    assert len(calls) == 1
    assert not box.children[0].disabled
    assert pd.read_csv(tmp_path / "labels.csv")["file"].tolist() == ["dot/dot_0.tif"]


def test_prediction_of_a_folder(project, tmp_path):
    write_crops(tmp_path / "new", 2, seed=8)
    found = CLASSIFIER.predict(project.folder, tmp_path / "new", tmp_path / "results")
    assert len(found.table) == 6
    p = found.table[[name for name in found.table if name.startswith("p_")]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-3)
    assert isinstance(CLASSIFIER.result_figure(tmp_path / "results", found.table), Figure)


@pytest.mark.parametrize("broad", [None, "X"])
def test_predictions_are_shown_with_the_probability_of_their_class(broad):
    classes = [{"id": i, "name": name, "group": broad} for i, name in enumerate("ab")]
    table = prediction_table({"file": ["1.tif", "2.tif"]}, np.array([[0.9, 0.1], [0.45, 0.55]]), classes)
    shown = CLASSIFIER.result_rows(table)
    assert list(shown) == ["file", "class", "probability", *(["broad class"] if broad else []), "uncertain"]
    assert shown["probability"].tolist() == [0.9, 0.55]
    page = tidy(shown).to_html()
    assert "False" not in page
    assert ">no<" in page
