"""Scores are those of images that were not seen, and they are the scores that scikit-learn gives."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, jaccard_score

from tests.conftest import save_untrained
from tests.tiny import parameters, write_data
from utils import samples
from utils.data.examples import Example
from utils.data.project import open_project
from utils.errors import DataError, ModelError
from utils.images.image import Image, read_image, write_tiff
from utils.tasks import held_out
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.registry import UNET
from utils.training import model_folder


def model_of(tmp_path, source, classes=2, percentage_test=30, seed=1, **settings):
    """A model folder as after a training on `source`, with random weights."""
    given = parameters(source, tmp_path, data={"percentage_test": percentage_test})
    project = open_project(given["overrides"]["data"])
    model_folder.open_folder(project.folder, given, project.split)
    values = tuple(one["value"] for one in project.dataset.classes)
    assert len(values) == classes
    save_untrained(project.folder, seed, values=values, **settings)
    model_folder.finish(project.folder)
    return project


@pytest.fixture(scope="module", params=[2, 3])
def project(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    source = write_data(folder / "data", 8, classes=request.param)
    return model_of(folder, source, request.param)


@pytest.fixture(scope="module")
def result(project):
    return evaluate(UNET, project.folder, find_test_set(UNET, project.folder))


def test_the_images_set_aside_are_scored(project, result):
    assert [one.name for one in result.test_set.examples] == [one.name for one in project.examples("test")]
    assert result.test_set.independent
    assert "set aside" in result.test_set.origin


def test_scores_are_those_of_scikit_learn(project, result):
    segmenter = UNET.load(project.folder)
    truth = {one.name: one.mask for one in project.examples("test")}
    predicted = {one.name: segmenter.class_ids(one.image.array) for one in project.examples("test")}
    assert any(0 < (ids > 0).mean() < 1 for ids in predicted.values())  # the scores are neither 0 nor 1
    names = [one["name"] for one in project.dataset.classes]
    table = pd.read_csv(project.folder / "evaluation.csv").set_index("file")
    assert sorted(table.index) == sorted(truth)
    for name, row in table.iterrows():
        y_true, y_pred = truth[name].ravel(), predicted[name].ravel()
        foreground = jaccard_score(y_true > 0, y_pred > 0)
        np.testing.assert_allclose(row["foreground_iou"], foreground, atol=6e-5)
        labels = range(len(names))
        iou = jaccard_score(y_true, y_pred, labels=labels, average=None)
        dice = f1_score(y_true, y_pred, labels=labels, average=None)
        np.testing.assert_allclose(row[[f"iou_{one}" for one in names]].astype(float), iou, atol=6e-5)
        np.testing.assert_allclose(row[[f"dice_{one}" for one in names]].astype(float), dice, atol=6e-5)
        np.testing.assert_allclose(
            [row[f"predicted_share_{one}"] for one in names], [np.mean(y_pred == i) for i in labels], atol=6e-5
        )
    y_true, y_pred = (np.concatenate([one[name].ravel() for name in truth]) for one in (truth, predicted))
    written = json.loads((project.folder / "scores.json").read_text())
    scores = {one["score"]: one for one in written["scores"]}
    pooled = f1_score(y_true, y_pred, labels=range(len(names)), average=None)
    np.testing.assert_allclose([scores[f"dice_{one}"]["value"] for one in names], pooled)
    mean = table["foreground_iou"].mean() if len(names) == 2 else pooled[1:].mean()
    assert written["headline"]["value"] == pytest.approx(mean, abs=6e-5)
    assert written["headline"]["name"] == ("Mean foreground IoU" if len(names) == 2 else "Mean Dice of the classes")
    assert written["headline"] == pytest.approx(result.headline, nan_ok=True) or written["headline"]["low"] is None
    assert (written["independent"], written["number_of_images"]) == (True, len(truth))
    for one in scores.values():
        assert one["low"] is None or one["low"] <= one["value"] <= one["high"]


def test_the_worst_images_come_first(result):
    names = [one.name for one in UNET.worst(result, 2)]
    table = result.scores.per_image
    columns = [f"iou_{one['name']}" for one in result.predictor.classes[1:]]
    assert names == table.iloc[np.argsort(table[columns].mean(axis=1), kind="stable")]["file"].tolist()[:2]


def test_intervals_where_there_are_enough_images(project, tmp_path):
    classes = len(project.dataset.classes)
    other = write_data(tmp_path / "test", 5, seed=9, classes=classes)
    found = find_test_set(UNET, project.folder, str(other / "images"), str(other / "masks"))
    assert found.independent
    assert len(found.examples) == 5
    scored = evaluate(UNET, project.folder, found)
    assert scored.headline["low"] < scored.headline["value"] < scored.headline["high"]


def test_a_class_absent_from_the_test_set(project, tmp_path):
    """The mistake divided by zero; here the class has no score and the others are as they are."""
    classes = len(project.dataset.classes)
    other = write_data(tmp_path / "test", 3, seed=9, classes=classes)
    for path in (other / "masks").iterdir():
        mask = read_image(path).array[..., 0]
        write_tiff(path, np.where(mask == mask.max(), 0, mask).astype(mask.dtype))
    found = find_test_set(UNET, project.folder, str(other / "images"), str(other / "masks"))
    scored = evaluate(UNET, project.folder, found)
    assert len(scored.scores.per_image) == 3
    json.loads((project.folder / "scores.json").read_text(), parse_constant=pytest.fail)


def test_images_that_were_trained_on_are_refused(project, tmp_path):
    other = write_data(tmp_path / "test", 2, seed=9, classes=len(project.dataset.classes))
    for role in ("training", "validation"):
        seen = project.examples(role)[0]
        shutil.copy(seen.image.path, other / "images" / f"renamed_{role}.tif")
        shutil.copy(seen.mask_path, other / "masks" / f"renamed_{role}.tif")
        with pytest.raises(DataError, match=f"renamed_{role}.tif.* used in training.*Take them out"):
            find_test_set(UNET, project.folder, str(other / "images"), str(other / "masks"))
        (other / "images" / f"renamed_{role}.tif").unlink()
        (other / "masks" / f"renamed_{role}.tif").unlink()
    aside = project.examples("test")[0]
    shutil.copy(aside.image.path, other / "images")
    shutil.copy(aside.mask_path, other / "masks")
    assert len(find_test_set(UNET, project.folder, str(other / "images"), str(other / "masks")).examples) == 3


def test_a_copy_of_a_training_image_among_those_set_aside_is_refused(tmp_path):
    source = write_data(tmp_path / "data", 3)
    for part in ("images", "masks"):
        for i in range(3):
            shutil.copy(source / part / f"image_{i}.tif", source / part / f"copy_{i}.tif")
    project = model_of(tmp_path, source)
    assert project.split.groupby("sha256")["role"].nunique().max() > 1
    with pytest.raises(DataError, match="(copy|image)_[012].tif.* used in training"):
        find_test_set(UNET, project.folder)


def test_without_test_images_the_figures_are_called_optimistic(tmp_path):
    project = model_of(tmp_path, write_data(tmp_path / "data", 4), percentage_test=0)
    found = find_test_set(UNET, project.folder)
    assert not found.independent
    assert "no independent test" in found.origin
    assert "optimistic" in found.origin
    assert [one.name for one in found.examples] == [one.name for one in project.examples("validation")]
    evaluate(UNET, project.folder, found)
    assert json.loads((project.folder / "scores.json").read_text())["independent"] is False


def test_a_sample_is_scored_on_its_own_test_images_and_other_models_never(tmp_path, monkeypatch):
    source, test = write_data(tmp_path / "train", 4), write_data(tmp_path / "test", 2, seed=5)
    own = model_of(tmp_path / "own", write_data(tmp_path / "data", 6, seed=7))
    places = {"training_source": source / "images", "test_source": test / "images", "test_target": test / "masks"}
    monkeypatch.setattr(samples, "SAMPLES", {"tiny": {name: str(path) for name, path in places.items()}})
    monkeypatch.setattr(held_out, "SAMPLES", samples.SAMPLES)
    project = model_of(tmp_path / "models", source)
    assert "test" not in project.roles
    found = find_test_set(UNET, project.folder)
    assert {one.image.path.parent for one in found.examples} == {test / "images"}
    assert found.independent
    assert "sample tiny" in found.origin
    assert {one.image.path.parent for one in find_test_set(UNET, own.folder).examples} == {tmp_path / "data" / "images"}


def test_changed_or_lost_test_images_are_told(tmp_path):
    project = model_of(tmp_path, write_data(tmp_path / "data", 6))
    gone = project.examples("test")[0]
    gone.image.path.unlink()
    gone.mask_path.unlink()
    with pytest.raises(DataError, match="1 of the test images are no longer in .*data.*Put them back"):
        find_test_set(UNET, project.folder)


def test_images_without_their_masks_folder_are_told(project, tmp_path):
    other = write_data(tmp_path / "test", 2, seed=9, classes=len(project.dataset.classes))
    for given in ((str(other / "images"), ""), ("", str(other / "masks"))):
        with pytest.raises(DataError, match="test_source and test_target"):
            find_test_set(UNET, project.folder, *given)


def test_test_images_that_do_not_fit_are_told(project, tmp_path):
    colour = write_data(tmp_path / "colour", 2, channels=3, classes=len(project.dataset.classes))
    with pytest.raises(DataError, match="image_0.tif has 3 channels, the model was trained on 1"):
        find_test_set(UNET, project.folder, str(colour / "images"), str(colour / "masks"))
    if len(project.dataset.classes) == 3:
        other = write_data(tmp_path / "other", 2, seed=3, classes=4)
        with pytest.raises(DataError, match="image_0.tif.*unexpected values 300|unexpected value"):
            find_test_set(UNET, project.folder, str(other / "images"), str(other / "masks"))


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"overrides": {"data": 3}}'])
def test_damaged_parameters_are_told(text, tmp_path):
    project = model_of(tmp_path, write_data(tmp_path / "data", 4))
    if text is None:
        (project.folder / "parameters.json").unlink()
    else:
        (project.folder / "parameters.json").write_text(text)
    with pytest.raises(ModelError, match="parameters.json is missing or damaged"):
        find_test_set(UNET, project.folder)


def test_a_review_of_classes_means_nothing_to_a_model_of_masks(tmp_path):
    project = model_of(tmp_path, write_data(tmp_path / "data", 8))
    path = project.folder / model_folder.PARAMETERS
    given = json.loads(path.read_text())
    given["overrides"]["data"]["label_review"] = "no/such/review.csv"
    path.write_text(json.dumps(given))
    assert len(find_test_set(UNET, project.folder).examples) == len(project.examples("test"))


class Fixed:
    """A segmenter of three classes that answers with the mask hidden in the image."""

    classes = [{}] * 3

    def class_ids(self, array):
        return array[..., 0].astype(np.uint8)


def example(name, truth, answer):
    image = Image(name, np.asarray(answer, np.uint8)[..., None], None, "YX")
    return Example(name, image, np.asarray(truth, np.uint8), name, name)


def test_disagreement_names_the_images_to_look_at(monkeypatch, tmp_path):
    monkeypatch.setattr(UNET, "load", lambda folder: Fixed())
    examples = [
        example("agrees", [[1, 1], [0, 2]], [[1, 1], [0, 2]]),
        example("half", [[1, 1], [0, 0]], [[1, 0], [0, 0]]),
        example("other class", [[1, 1], [0, 2]], [[2, 2], [0, 1]]),
        example("empty", [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        example("added", [[0, 0], [0, 0]], [[1, 0], [0, 0]]),
    ]
    table = UNET.disagreement(tmp_path, examples, ["training"] * 5).set_index("file")
    assert list(table.index[:2]) in (["other class", "added"], ["added", "other class"])
    assert list(table.index[2:]) == ["half", "agrees", "empty"]
    assert table.loc["half", ["foreground_iou", "missed_percent", "added_percent"]].tolist() == [0.5, 25, 0]
    assert table.loc["added", ["missed_percent", "added_percent"]].tolist() == [0, 25]
    assert table.loc["other class", "other_class_percent"] == 75
    assert np.isnan(table.loc["empty", "foreground_iou"])
