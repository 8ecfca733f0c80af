"""A test is called independent only where nothing speaks against it, and a score that cannot be known is unknown."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.test_contents import DATA, folder_of_tiles
from utils.data.problems import questions
from utils.data.project import open_crops, open_project
from utils.errors import DataError
from utils.fine_tuning.page import _drop
from utils.images.image import write_tiff
from utils.pages.page import in_groups
from utils.tasks import report, trials
from utils.tasks.held_out import choose_test_set
from utils.tasks.registry import TASKS
from utils.tasks.task import TestSet

UNET, STARDIST, CLASSIFIER = TASKS["unet"], TASKS["stardist"], TASKS["classification"]


def patients(i):
    return f"P{i % 4 + 1:02}_field{i // 4}"


def opened(tmp_path, name, rule, n=12):
    data = folder_of_tiles(tmp_path, [[1]] * n, name) | {"group_rule": rule}
    return data, open_project(data, 0)


def scored_on(data, project, *places):
    description = {"classes": project.dataset.classes, "mask_type": "binary", "channels": ["channel 1"]}
    return choose_test_set(UNET, project.split, data, description, *places)


def test_patients_that_nobody_spoke_of_are_asked_for_and_the_test_is_not_called_independent(tmp_path):
    data, project = opened(tmp_path, patients, "ask")
    [problem] = [one for one in project.dataset.problems if one.file == "file names"]
    assert problem.what == "these look like 4 patients: P01, P02, P03, P04"
    assert "field group_rule" in problem.remedy
    training = {"patch_height": 16, "patch_width": 16, "pooling_steps": 1, "half_resolution": False}
    overview = UNET.overview(project, training)
    assert "**These look like 4 patients: P01, P02, P03, P04.**" in overview
    assert "groups" not in overview.replace("a group of its own", "").partition("**These")[0]
    found = scored_on(data, project)
    assert not found.independent
    assert "look like 4 patients: P01, P02, P03, P04" in found.doubt
    (tmp_path / "parameters.json").write_text('{"overrides": {}}')
    assert report.cautions(tmp_path, found) == [found.doubt]


@pytest.mark.parametrize(
    ("name", "rule"),
    [(patients, "{group}_*"), (patients, ""), (lambda i: f"img_{i:03}", "ask"), (lambda i: f"20240101_{i:03}", "ask")],
)
def test_answered_or_without_a_question_the_test_is_independent(tmp_path, name, rule):
    data, project = opened(tmp_path, name, rule)
    assert not [one for one in project.dataset.problems if one.file == "file names"]
    found = scored_on(data, project)
    assert found.independent
    assert not found.doubt
    assert bool(in_groups(project.split)) == (rule == "{group}_*")


def test_a_folder_of_other_patients_is_independent_and_one_of_the_same_is_not(tmp_path):
    data, project = opened(tmp_path / "train", patients, "ask")
    for names, independent in ((lambda i: f"P{i + 5:02}_field1", True), (lambda i: f"P{i:02}_field9", False)):
        other = folder_of_tiles(tmp_path / str(independent), [[1, 1]] * 3, names)
        # Other pixels than those trained on: else they would be copies.
        for path in (tmp_path / str(independent) / "images").iterdir():
            path.write_bytes(path.read_bytes() + b"\0")
        places = other["training_source"], other["training_target"]
        assert scored_on(data, project, *places).independent == independent
        answered = data | {"group_rule": "{group}_*"}
        found = scored_on(answered, open_project(answered, 0), *places)
        assert found.independent == independent
        assert independent or "The groups P01, P02 have images both in training" in found.doubt


def test_a_test_folder_whose_names_do_not_fit_the_rule_is_read(tmp_path):
    data, project = opened(tmp_path / "train", patients, "{group}_*")
    other = folder_of_tiles(tmp_path / "test", [[1, 1]] * 3, lambda i: f"new{i}")
    for path in (tmp_path / "test" / "images").iterdir():
        path.write_bytes(path.read_bytes() + b"\0")
    found = scored_on(data, project, other["training_source"], other["training_target"])
    assert [one.group for one in found.examples] == ["new0", "new1", "new2"]
    assert found.independent


def test_patients_in_sub_folders_are_read_and_asked_for(tmp_path):
    data, project = opened(tmp_path, lambda i: f"P{i % 4}/{i}", "ask")
    assert len(project.dataset.examples) == 12
    assert [one.what for one in project.dataset.problems] == ["these look like 4 patients: P0, P1, P2, P3"]
    assert "P0, P1" in scored_on(data, project).doubt
    answered = open_project(data | {"group_rule": "folder"}, 0)
    assert ", in 4 groups" in in_groups(answered.split)


def test_patients_below_folders_of_classes_are_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "crops" / "ab"[i % 2] / f"P{i % 3}_{i}.tif"
        write_tiff(path, rng.integers(0, 200, (16, 16)).astype(np.uint8))
    data = {"training_source": str(tmp_path / "crops"), "class_groups": "", "label_review": "", "group_rule": "ask"}
    data = {**DATA, **data, "model_path": str(tmp_path)}
    project = open_crops(data, 0)
    asked = "**These look like 3 patients: P0, P1, P2.**"
    assert asked in CLASSIFIER.overview(project, {"patch_height": 0, "patch_width": 0, "fit": "pad"})
    description = {"classes": project.dataset.classes, "channels": ["channel 1"]}
    found = choose_test_set(CLASSIFIER, project.split, data, description)
    assert not found.independent
    assert "3 patients: P0, P1, P2" in found.doubt
    answered = open_crops(data | {"group_rule": "{group}_*"}, 0)
    assert in_groups(answered.split) == ", in 3 groups"
    assert questions(answered.dataset.problems) == []


@pytest.mark.parametrize("task", [UNET, STARDIST])
def test_both_sides_of_a_trial_hold_something_or_there_is_none(tmp_path, task):
    data = folder_of_tiles(tmp_path, [[1]] * 6 + [[]] * 18)
    forms = {"training": {"seed": 0}}
    for seed in range(3):
        project = open_project(data, seed, task.annotation)
        inner = trials._inner(task, project, forms)
        for role in ("training", "validation"):
            assert any(one.mask.any() for one in inner.examples(role))
        assert set(inner.roles[project.roles != "training"]) == {"unused"}
    holding = [i for i in np.flatnonzero(project.roles == "training") if project.dataset.examples[i].mask.any()]
    roles = project.roles.copy()
    roles[holding[1:]] = "validation"
    assert trials._inner(task, replace(project, roles=roles), forms) is None
    with pytest.raises(DataError, match="Only 1 of the"):
        task.split(project, np.flatnonzero(roles == "training"), 20, 0)


def test_two_images_of_different_classes_still_give_one_to_learn_from_and_one_to_watch(tmp_path):
    data = folder_of_tiles(tmp_path, [[1]] * 6 + [[2]] * 6) | {"mask_type": "classes"}
    project = open_project(data, 0)
    for chosen in ([0, 7], [1, 2], [3, 8, 9]):
        assert set(UNET.split(project, np.array(chosen), 20, 0)) == {"training", "validation"}


def test_a_score_that_cannot_be_known_is_unknown_and_not_nan(tmp_path):
    data = folder_of_tiles(tmp_path, [[1]] * 2 + [[]] * 10)
    project = open_project(data, 0)
    empty = TestSet(project.examples("test"), "images set aside before training", independent=True)
    for finds in (0, 1):
        predictor = SimpleNamespace(
            class_ids=lambda array, finds=finds: np.full(array.shape[:2], finds, np.uint8),
            classes=project.dataset.classes,
        )
        evaluation = UNET.evaluation(predictor, empty)
        (tmp_path / "parameters.json").write_text('{"overrides": {}}')
        said = report.verdict(evaluation, tmp_path)
        assert said.startswith("## Mean foreground IoU: unknown\n")
        assert "nan" not in said.replace("foreground", "")
        assert UNET.cautions(evaluation) == ["No test image holds foreground: how well it is found is unknown."]
        assert np.isnan(UNET.judge(predictor, empty.examples, project.dataset.classes).value)
    assert "unknown" in _drop(float("nan"))
    full = TestSet(project.examples("training"), "", independent=True)
    assert UNET.cautions(UNET.evaluation(predictor, full)) == []
