"""A fourth task goes all the way of the others, and no line of `utils` knows of it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import jaccard_score

from notebooks.predict import predict_all
from tests.tasks.thresholds.task import Otsu, Thresholds
from tests.test_locks import another
from tests.tiny import parameters, tree, write_data
from utils.errors import ModelError
from utils.images.image import read_image, read_mask
from utils.tasks import held_out, page, registry, report
from utils.tasks.held_out import evaluate, find_test_set

TASK, otsu = Thresholds(), Otsu({"classes": []}).class_ids


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thresholds")
    given = parameters(write_data(folder / "data", 8), folder)
    project = TASK.open(given["overrides"]["data"])
    assert TASK.train(project, given) == "There is nothing to train."
    assert TASK.train(project, given) == "It is there."
    return project


@pytest.fixture(scope="module")
def result(project):
    return evaluate(TASK, project.folder, find_test_set(TASK, project.folder))


def test_it_is_scored_on_the_images_set_aside(project, result):
    assert [one.name for one in result.test_set.examples] == [one.name for one in project.examples("test")]
    iou = [jaccard_score(one.mask.ravel(), otsu(one.image.array).ravel()) for one in project.examples("test")]
    assert result.headline["value"] == pytest.approx(np.mean(iou))
    assert result.headline["value"] > 0.95  # bright discs
    written = json.loads((project.folder / "scores.json").read_text(encoding="utf-8"))
    assert written["headline"]["value"] == pytest.approx(result.headline["value"])
    assert len(pd.read_csv(project.folder / "evaluation.csv")) == len(iou)


def test_scores_are_written_neither_while_another_page_writes_the_model_nor_beside_other_weights(
    project, result, monkeypatch
):
    monkeypatch.setattr(held_out, "SECONDS_TO_WAIT", 0)
    before, found = tree(project.folder), find_test_set(TASK, project.folder)
    with another(project.folder), pytest.raises(ModelError, match="being written at the moment, by the page the_other"):
        evaluate(TASK, project.folder, found)
    assert tree(project.folder) == before

    class Slow(Thresholds):
        def scores(self, *given):
            description = json.loads((project.folder / "model.json").read_text())
            (project.folder / "model.json").write_text(json.dumps(description | {"sha256": {"rule.txt": "1"}}))
            return super().scores(*given)

    try:
        with pytest.raises(ModelError, match="was trained again in the meantime. Run this cell again"):
            evaluate(Slow(), project.folder, found)
        assert tree(project.folder) | {"model.json": before["model.json"]} == before
    finally:
        (project.folder / "model.json").write_bytes(before["model.json"])


def test_its_page_and_report(project, result, capsys):
    page.show_project(TASK, project, {})
    page.show_scores(TASK, result, project.folder)
    page.conclude(TASK, result, project.folder, project, TASK.checks(project, {}))
    assert "A page to keep or send" in capsys.readouterr().out
    text = report.write(TASK, project.folder, result, ["Beware of this."]).read_text(encoding="utf-8")
    for told in ("Beware of this.", "Otsu", f"{result.headline['value']:.2f}"):
        assert told in text


def test_it_predicts_a_folder_also_from_the_command_line(project, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.TASKS, TASK.name, TASK)
    images = project.folder.parent / "data" / "images"
    (table,) = predict_all(project.folder, [images], tmp_path / "out").to_dict("records")
    assert (table["rows"], table["problem"]) == (8, "")
    shares = pd.read_csv(tmp_path / "out" / table["results"] / "shares.csv").set_index("file")["share"]
    for path in images.iterdir():
        mask = read_mask(tmp_path / "out" / table["results"] / "masks" / path.name)
        np.testing.assert_array_equal(mask > 0, otsu(read_image(path).array) > 0)
        assert shares[path.name] == pytest.approx((mask > 0).mean())
