"""Wrong classes are found by networks that never saw the image, and what a person corrects comes back."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.tiny_crops import CLASSES, write_crops
from utils.data.crops import load_crops
from utils.data.review import read_review, write_review
from utils.errors import DataError
from utils.tasks.classes import wrong_labels as classes_wrong_labels
from utils.tasks.classes.wrong_labels import (
    COLUMNS,
    _folds,
    _input,
    out_of_fold,
    suspects,
    suspects_gallery,
    wrong_labels,
)

NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


@pytest.fixture(scope="module")
def crop_set(tmp_path_factory):
    return load_crops(write_crops(tmp_path_factory.mktemp("crops"), n=20))


def described(crop_set):
    return {"classes": crop_set.classes, "normalisation": NORMALISATION, "input": {"size": [16, 16], "fit": "pad"}}


def test_planted_wrong_classes_are_found(crop_set, monkeypatch):
    monkeypatch.setattr(classes_wrong_labels, "FOLDS", 2)
    monkeypatch.setattr(classes_wrong_labels, "IMAGES_PER_FOLD", 1400)  # enough whatever the first weights
    planted = {3: 1, 25: 2, 41: 0}
    crops = [replace(one, class_id=planted.get(i, one.class_id)) for i, one in enumerate(crop_set.crops)]
    told = []
    table = suspects(crops, described(crop_set), progress=lambda steps: told.extend(steps) or iter(steps))
    assert {crops[i].name for i in planted} <= set(table["file"])
    assert len(table) <= len(planted) + 2
    row = table.set_index("file").loc[crops[3].name]
    assert row[["class", "suggested class"]].tolist() == [CLASSES[1], CLASSES[0]]
    assert row["probability of the given class"] < 0.5
    assert len(told) == 2 * round(1400 / 30)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_images_and_groups_are_judged_by_networks_that_did_not_learn_them(crop_set):
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(8, 80))
        class_ids = rng.integers(0, rng.integers(2, 5), n)
        groups = [str(i) for i in rng.integers(0, rng.integers(2, n), n)]
        folds = _folds(class_ids, groups, 0)
        assert sorted(np.concatenate([asked for _, asked in folds])) == list(range(n))
        for learned, asked in folds:
            assert not {groups[i] for i in learned} & {groups[i] for i in asked}


def test_one_group_is_refused():
    with pytest.raises(DataError, match="group_rule"):
        _folds(np.array([0, 1, 0, 1]), ["a"] * 4, 0)


def test_class_of_one_group_only_is_not_judged(crop_set, monkeypatch):
    monkeypatch.setattr(
        classes_wrong_labels, "_training", lambda *_: (SimpleNamespace(fit=lambda *_, **__: None), None)
    )
    monkeypatch.setattr(classes_wrong_labels, "_probabilities", lambda _, images: np.full((len(images), 3), 1 / 3))
    crops = [replace(one, group="one" if one.class_id == 2 else one.group) for one in crop_set.crops]
    p, judged = out_of_fold(crops, described(crop_set))
    assert judged.tolist() == [one.class_id != 2 for one in crops]
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)


def test_large_images_are_shrunk():
    assert _input({"size": [256, 128], "fit": "pad"}) == {"size": [64, 32], "fit": "resize"}
    assert _input({"size": [64, 40], "fit": "pad"}) == {"size": [64, 40], "fit": "pad"}


def test_wrong_labels_by_hand():
    p = np.full((40, 3), 0.03)
    truth = np.repeat([0, 2], 20)  # class 1 is never given
    p[np.arange(40), truth] = 0.94
    given = truth.copy()
    given[[4, 30]] = 2, 0
    p[30] = 0.04, 0.03, 0.93
    assert wrong_labels(given, p).tolist() == [4, 30]
    assert wrong_labels(truth, p).tolist() == []
    assert wrong_labels(np.zeros(40, int), p).tolist() == []


def review(crop_set, n=4):
    rows = [(one.name, crop_set.classes[one.class_id]["name"], "ring", 0.1) for one in crop_set.crops[:n]]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_review_goes_out_and_comes_back_unchanged(crop_set, tmp_path):
    message = write_review(tmp_path / "review.csv", review(crop_set))
    assert "4 images" in message
    assert "kept" not in message
    again = read_review(tmp_path / "review.csv", crop_set)
    assert (again.crops, again.problems) == (crop_set.crops, crop_set.problems)
    assert "kept" not in write_review(tmp_path / "review.csv", review(crop_set, 3))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_corrections_and_removals_come_back(crop_set, tmp_path, delimiter):
    path = tmp_path / "review.csv"
    write_review(path, review(crop_set))
    table = pd.read_csv(path)
    table.loc[1, "class"], table.loc[2, "class"] = "stripe", "remove"
    table.to_csv(path, index=False, sep=delimiter, encoding="utf-8-sig")
    before = Counter(one.class_id for one in crop_set.crops)
    after = read_review(path, crop_set)
    assert after.problems == crop_set.problems
    assert len(after.crops) == len(crop_set.crops) - 1
    assert crop_set.crops[2].name not in {one.name for one in after.crops}
    assert next(one for one in after.crops if one.name == crop_set.crops[1].name).class_id == 2
    assert Counter(one.class_id for one in crop_set.crops) == before
    message = write_review(path, review(crop_set))
    assert "kept as review." in message
    assert len(list(tmp_path.iterdir())) == 2


def test_files_of_others_are_kept(crop_set, tmp_path):
    path = tmp_path / "review.csv"
    path.write_text("my own notes\n")
    write_review(path, review(crop_set))
    assert sorted(one.read_text()[:2] for one in tmp_path.iterdir()) == ["fi", "my"]


def test_nothing_suspected_writes_nothing(crop_set, tmp_path):
    assert "nothing to correct" in write_review(tmp_path / "review.csv", review(crop_set, 0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lines", "severity", "message"),
    [
        (["dot/dot_1.tif,dott"], "error", "the class dott is unknown"),
        (["dot/dot_1.tif,"], "error", "line 2 has no class"),
        ([",ring"], "error", "line 2 has no file"),
        (["dot/dot_1.tif,ring", "dot/dot_1.tif,dot"], "error", "ring in line 2 and dot in line 3"),
        (["dot/dot_99.tif,ring"], "warning", "there is no image dot/dot_99.tif"),
        ([f"dot/dot_{i}.tif,remove" for i in range(19)], "error", "the class dot has 1 images"),
    ],
)
def test_mistakes_in_a_review_are_told(crop_set, tmp_path, lines, severity, message):
    path = tmp_path / "review.csv"
    path.write_text("\n".join(["file,class", *lines]) + "\n")
    problems = read_review(path, crop_set).problems[len(crop_set.problems) :]
    assert [one.severity for one in problems] == [severity]
    assert message in problems[0].what


def test_names_with_accents_and_backslashes_are_found(crop_set, tmp_path):
    path = tmp_path / "review.csv"
    crops = [replace(crop_set.crops[0], name="dot/cafe\u0301, 1.tif"), *crop_set.crops[1:]]
    path.write_text('file,class\n"dot\\caf\u00e9, 1.tif",ring\n', encoding="utf-8")
    after = read_review(path, replace(crop_set, crops=crops))
    assert after.problems == crop_set.problems
    assert after.crops[0].class_id == 1


def test_gallery(crop_set):
    figure = suspects_gallery(crop_set.crops, review(crop_set, 4), 3)
    assert isinstance(figure, Figure)
    assert len([text for ax in figure.axes for text in ax.texts]) == 3
    empty = suspects_gallery(crop_set.crops, review(crop_set, 0), 3)
    assert (len(empty.axes), len(empty.texts)) == (0, 1)  # a line
