"""Few images are tested in turn: who decides, what is kept, and that no model is scored on what it has seen."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests import tiny_crops
from tests.conftest import save_untrained
from tests.tiny import blobs, parameters, write_data
from utils.errors import DataError, ModelError
from utils.fine_tuning.comparison import old_test_set
from utils.images.image import write_tiff
from utils.tasks import cross_validation, page, report
from utils.tasks.automatic import AUTOMATIC, Choice, Effort
from utils.tasks.classes.calibration import uncalibrated
from utils.tasks.cross_validation import effort, in_turn, of_fold, shares, turn_choice, turn_note
from utils.tasks.held_out import evaluate, find_test_set
from utils.tasks.pixels.task import UNet
from utils.tasks.registry import CLASSIFIER, STARDIST, UNET
from utils.tasks.rules import epochs_choice
from utils.tasks.task import TestSet
from utils.training import model_folder
from utils.training.fit import TrainingStopped

QUICK = "Quick on a CPU"
GROUPED = {"group_rule": "{group}_*"}


class Stand(UNet):
    """A U-Net whose models for the parts are not trained: their random weights depend on the part."""

    stop_in = 0

    def train(self, project, parameters, callbacks=()):
        if not project.fold:
            return super().train(project, parameters, callbacks)
        if project.fold == self.stop_in:
            raise KeyboardInterrupt
        model_folder.open_folder(project.folder, parameters, project.split)
        save_untrained(project.folder, project.fold, filters=2)
        model_folder.finish(project.folder)
        return ""


def written(folder, n=6, groups=3, **more):
    """Pairs of images and masks of so many groups."""
    source = write_data(folder / "data", n, side=32, **more)
    for place in sorted(source.rglob("*.tif")):
        number = int(place.stem.rpartition("_")[2])
        place.rename(place.with_name(f"P{number % groups}_{number}.tif"))
    return source


def opened(task, source, models, preset=QUICK, evaluation=None, **data):
    forms = parameters(source, models, data=data)["overrides"]
    return page.open_project(task, forms["data"], 0, preset, evaluation or {})


def given_to(source, models, **data):
    short = {"number_of_epochs": 1, "number_of_steps": 1, "patch_height": 16, "patch_width": 16, "preset": QUICK}
    return parameters(source, models, data=data, training=short)


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """Task, project, values of the forms and evaluation of a U-Net whose six images of three groups were tested."""
    folder, task = tmp_path_factory.mktemp("in_turn"), Stand()
    given = given_to(written(folder), folder, **GROUPED)
    project = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    task.train(project, given)
    return task, project, given, evaluate(task, project.folder, find_test_set(task, project.folder))


def test_few_images_are_tested_in_turn_and_the_model_learns_from_all(tmp_path):
    project = opened(UNET, written(tmp_path, 8, 8), tmp_path)
    assert set(project.roles) == {"training", "validation"}
    assert sorted(np.bincount(project.folds)[1:].tolist()) == [1, 1, 2, 2, 2]
    assert project.split["fold"].tolist() == project.folds.tolist()
    choice = turn_choice(project)
    assert choice.value is True
    assert "only 8 images" in choice.reason
    for fold in range(1, 6):
        inner = of_fold(UNET, project, {"percentage_validation": AUTOMATIC}, 0, fold)
        assert (inner.roles == "test").tolist() == (project.folds == fold).tolist()
        assert set(inner.roles) == {"training", "validation", "test"}


def test_parts_share_what_was_measured_of_no_images_and_nothing_else(tmp_path):
    project = opened(UNET, written(tmp_path), tmp_path)
    parts = [of_fold(UNET, project, {"percentage_validation": AUTOMATIC}, 0, fold) for fold in (1, 2, 2)]
    for of_images, known in ((True, [0, 1, 2, 2]), (False, [0, 0, 0, 0])):
        found = [one.measure("x", lambda i=i: i, of_images) for i, one in enumerate([project, *parts])]
        assert found == known


def test_no_group_is_on_two_sides_and_copies_are_together(tmp_path):
    source = written(tmp_path, 12, 5)
    for kind in ("images", "masks"):
        shutil.copy(source / kind / "P0_0.tif", source / kind / "Q_0.tif")  # the same image under another name
    project = opened(UNET, source, tmp_path, **GROUPED)
    groups, sha256 = (project.split[name].to_numpy() for name in ("group", "sha256"))
    for fold in range(1, project.folds.max() + 1):
        inner = of_fold(UNET, project, {"percentage_validation": 20}, 0, fold)
        for names in (groups, sha256):
            tested = set(names[inner.roles == "test"])
            assert tested
            assert not tested & set(names[inner.roles != "test"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"preset": "Try out"}, "only shows how everything works"),
        ({"evaluation": {"test_source": "elsewhere"}}, "section 5 names a folder of test images"),
        ({"test_in_turn": True, "evaluation": {"test_source": "elsewhere"}}, "section 5 names"),
        ({"test_in_turn": False}, ""),
    ],
)
def test_when_images_are_set_aside(tmp_path, how, said):
    project = opened(UNET, written(tmp_path), tmp_path, **how)
    assert project.folds is None
    assert "test" in project.roles
    assert said in project.in_turn
    assert said in turn_note(project, QUICK)
    assert turn_choice(project).value is False
    assert effort(project, QUICK, 0.1, (1, 0)).parts == 0


def test_it_can_be_asked_for_with_any_preset(tmp_path):
    project = opened(UNET, written(tmp_path), tmp_path, preset="Try out", test_in_turn=True)
    assert project.folds is not None


def test_the_test_images_of_a_sample_are_used(tmp_path):
    data = {"training_source": "data_samples/nuclei/train/images", "test_in_turn": True, "if_model_exists": "ask"}
    some = opened(UNET, written(tmp_path), tmp_path, test_in_turn=False)
    found = in_turn(UNET, some, data, 0, QUICK, "")
    assert found.folds is None
    assert found.in_turn == "Not needed: the sample has test images of its own."


@pytest.mark.parametrize(("n", "groups", "turns"), [(29, 29, True), (30, 30, False), (60, 20, True), (60, 30, False)])
def test_groups_count_where_there_are_groups(tmp_path, n, groups, turns):
    rng, source = np.random.default_rng(0), tmp_path / "data"
    for i in range(n):
        image, mask = blobs(rng, 16)
        write_tiff(source / "images" / f"P{i % groups}_{i}.tif", image[..., 0])
        write_tiff(source / "masks" / f"P{i % groups}_{i}.tif", mask * np.uint8(255))
    project = opened(UNET, source, tmp_path, **GROUPED)
    assert (project.folds is not None) is turns
    assert f"{groups} groups" in project.in_turn


def test_what_cannot_be_learned_from_the_others_is_not_tested_in_turn(tmp_path):
    source = written(tmp_path, 8, 8)
    for place in sorted((source / "masks").iterdir())[2:]:
        write_tiff(place, np.zeros((32, 32), np.uint8))
    project = opened(UNET, source, tmp_path, mask_type="binary", percentage_test=0)
    assert project.folds is None
    assert project.in_turn.startswith("Not possible: ")
    with pytest.raises(DataError, match=r"Only 1 of the|too few images"):
        opened(UNET, source, tmp_path, mask_type="binary", percentage_test=0, test_in_turn=True)


def test_two_images_are_too_few(tmp_path):
    source = written(tmp_path, 2, 2)
    assert opened(UNET, source, tmp_path, percentage_test=0).folds is None
    with pytest.raises(DataError, match="at least 3 different ones, but there are 2"):
        opened(UNET, source, tmp_path, percentage_test=0, test_in_turn=True)


def test_a_class_in_one_group_only_is_not_tested_in_turn(tmp_path):
    source = tiny_crops.write_crops(tmp_path / "crops", 4)
    for place in (source / "ring").iterdir():
        place.rename(place.with_name(f"P9_{place.name}"))
    for i, place in enumerate([*(source / "dot").iterdir(), *(source / "stripe").iterdir()]):
        place.rename(place.with_name(f"P{i % 4}_{place.name}"))
    data = tiny_crops.parameters(source, tmp_path, data=GROUPED | {"percentage_test": 0})["overrides"]["data"]
    assert "some class" in page.open_project(CLASSIFIER, data, 0, QUICK).in_turn
    found = page.open_project(CLASSIFIER, data | {"group_rule": ""}, 0, QUICK)
    assert found.folds.max() == 5
    ids = np.array(CLASSIFIER.class_ids(found))
    assert all(len(set(found.folds[ids == i])) == 4 for i in range(3))


def test_a_model_that_was_tested_otherwise_stays_as_it_is(tmp_path):
    source, task = written(tmp_path), Stand()
    given = given_to(source, tmp_path, test_in_turn=False)
    before = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    model_folder.open_folder(before.folder, given, before.split)
    save_untrained(before.folder)
    model_folder.finish(before.folder)
    given["overrides"]["data"]["test_in_turn"] = AUTOMATIC
    again = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    assert again.folds is None
    assert "set aside" in again.in_turn
    assert "already trained" in task.train(again, given)
    given["overrides"]["data"]["test_in_turn"] = True
    other = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    with pytest.raises(ModelError, match="another split"):
        task.train(other, given)


# --- training and scores


def test_the_model_folder_holds_which_image_was_tested_when_and_no_further_model(tested):
    task, project, given, result = tested
    names = sorted(path.relative_to(project.folder).as_posix() for path in project.folder.rglob("*.npz"))
    assert names == [f"cross_validation/part_{i}.npz" for i in (1, 2, 3)]
    assert len(list(project.folder.rglob("*.h5"))) == 1
    assert not (project.folder / "training").exists()
    split = pd.read_csv(project.folder / "split.csv")
    assert (split.groupby("group")["fold"].nunique() == 1).all()
    assert sorted(split["fold"].unique()) == [1, 2, 3]
    kept = json.loads((project.folder / "parameters.json").read_text())["overrides"]["data"]
    assert kept["test_in_turn"] is True
    assert "already trained" in task.train(project, given)


def test_each_image_is_tested_once_by_a_model_that_has_not_seen_it(tested):
    task, project, given, result = tested
    assert [one.name for one in result.test_set.examples] == [one.name for one in project.dataset.examples]
    for fold in (1, 2, 3):
        other = task.load(save_fold(project.folder.parent / "again", fold))
        for one in np.array(result.test_set.examples, object)[result.test_set.folds == fold]:
            np.testing.assert_array_equal(result.predictor.class_ids(one.image.array), other.class_ids(one.image.array))
    with pytest.raises(KeyError):
        result.predictor.class_ids(np.zeros((32, 32, 1), np.uint16))


def save_fold(folder: Path, fold: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    save_untrained(folder, fold, filters=2)
    return folder


def test_scores_are_of_all_images_together_and_of_each_part(tested):
    task, project, given, result = tested
    saved = json.loads((project.folder / "scores.json").read_text())
    table = pd.read_csv(project.folder / "evaluation.csv")
    assert table["file"].tolist() == [one.name for one in project.dataset.examples]
    assert saved["number_of_images"] == 6
    assert saved["independent"] is True
    assert result.headline["value"] == pytest.approx(table["foreground_iou"].mean(), abs=1e-5)
    by_fold = table.groupby("fold")["foreground_iou"].mean()
    assert result.folds["network"].tolist() == pytest.approx(by_fold.tolist(), abs=1e-5)
    assert result.folds["images"].tolist() == [2, 2, 2]
    methods = ["network", "Otsu threshold", "pixel forest"]
    assert list(result.folds) == ["fold", "images", "epochs", *methods]
    assert result.classical["method"].tolist() == methods
    assert result.classical["value"].tolist() == pytest.approx([result.folds[one].mean() for one in methods])
    assert [row["fold"] for row in saved["folds"]] == [1, 2, 3]


def test_page_and_report_say_whose_score_it_is(tested):
    task, project, given, result = tested
    for said in (report.verdict(result, project.folder), report.write(task, project.folder, result, []).read_text()):
        assert "the model that you keep was trained on all images, for 1 epoch, and was itself not tested" in said
        assert "3 models like this one" in said
        assert "and its group" in said
    assert any("each part" in caption for caption in report.score_tables(task, result))
    assert task.evaluation_figures(result)
    checks = page.with_lookalikes(task.checks(project, given["overrides"]["training"]), task, project, result.test_set)
    assert not len(checks.tables[page.LOOKALIKES])


def test_a_stop_in_the_middle_goes_on_at_its_part_and_ends_the_same(tested, tmp_path):
    _, whole, given, _ = tested
    source = Path(given["overrides"]["data"]["training_source"]).parent
    task, given = Stand(), given_to(source, tmp_path, **GROUPED)
    project = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    task.stop_in = 2
    with pytest.raises(KeyboardInterrupt):
        task.train(project, given)
    first = project.folder / "cross_validation" / "part_1.npz"
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    time = first.stat().st_mtime_ns
    task.stop_in = 0
    again = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    task.train(again, given)
    assert first.stat().st_mtime_ns == time
    evaluate(task, again.folder, find_test_set(task, again.folder))
    files = ("evaluation.csv", "scores.json", "split.csv", "history.csv")
    assert [(again.folder / name).read_bytes() for name in files] == [
        (whole.folder / name).read_bytes() for name in files
    ]


def test_a_stop_stops_the_opponents_too_and_does_not_wait_for_them(tmp_path):
    told = threading.Event()

    class Endless(Stand):
        stop_in = 1

        def answers_of_opponents(self, classes, examples, training, seed, stopped):
            while not stopped():
                told.wait(0.01)
            told.set()
            return {}

    task, given = Endless(), given_to(written(tmp_path), tmp_path, **GROUPED)
    project = page.open_project(task, given["overrides"]["data"], 0, QUICK)
    with pytest.raises(KeyboardInterrupt):
        task.train(project, given)
    assert told.wait(60)


def test_opponents_that_nobody_waits_for_answer_nothing_more(tested):
    task, project, *_ = tested
    images = project.dataset.examples[:2], project.examples("training"), 0
    found = task.answers_of_opponents(project.dataset.classes, *images, stopped=lambda: True)
    assert found == {"Otsu threshold": [{}, {}], "pixel forest": [{}, {}]}


@pytest.mark.slow
def test_a_stop_within_a_part_goes_on_at_its_epoch_and_ends_the_same(tmp_path, monkeypatch):
    source, kept = written(tmp_path), []
    moved = cross_validation._Share.on_epoch_end

    def stopping(self, epoch, logs=None):
        moved(self, epoch, logs)
        if self.done == 1 and epoch == 0:
            raise KeyboardInterrupt

    for name, stops in (("whole", False), ("stopped", True)):
        given = given_to(source, tmp_path / name, **GROUPED)
        given["overrides"]["training"]["number_of_epochs"] = 3
        project = page.open_project(UNET, given["overrides"]["data"], 0, QUICK)
        if stops:
            monkeypatch.setattr(cross_validation._Share, "on_epoch_end", stopping)
            with pytest.raises(TrainingStopped, match="epoch 2 of 3"):
                UNET.train(project, given)
            monkeypatch.undo()
            part = project.folder / "training" / "cross_validation" / "2" / "training" / "state.json"
            assert json.loads(part.read_text())["epoch"] == 1
        UNET.train(project, given)
        evaluate(UNET, project.folder, find_test_set(UNET, project.folder))
        kept.append([(project.folder / file).read_bytes() for file in ("evaluation.csv", "scores.json", "history.csv")])
    assert kept[0] == kept[1]


@pytest.mark.slow
def test_the_model_is_the_same_as_without_a_test_of_the_parts(tested, tmp_path):
    task, project, given, _ = tested
    alone = replace(project, folds=None, folder=tmp_path / "alone")
    task.train(alone, given)
    for one, other in zip(*(task.load(each.folder).network.get_weights() for each in (alone, project)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_copied_without_its_parts_says_what_to_do(tested, tmp_path):
    task, project, *_ = tested
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder)
    (folder / "cross_validation" / "part_2.npz").write_bytes(b"PK damaged")
    with pytest.raises(ModelError, match="Copy the whole model folder again"):
        evaluate(task, folder, find_test_set(task, folder))
    shutil.rmtree(folder / "cross_validation")
    with pytest.raises(ModelError, match="is missing or damaged"):
        evaluate(task, folder, find_test_set(task, folder))


def test_file_names_that_look_like_groups_are_doubted(tested, tmp_path):
    task, project, *_ = tested
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder)
    kept = json.loads((folder / "parameters.json").read_text())
    kept["overrides"]["data"]["group_rule"] = "ask"
    (folder / "parameters.json").write_text(json.dumps(kept))
    split = pd.read_csv(folder / "split.csv").assign(group=lambda table: table["file"].str[:-4])
    split.to_csv(folder / "split.csv", index=False)
    found = find_test_set(task, folder)
    assert not found.independent
    assert "3 patients: P0, P1, P2" in found.doubt


def test_a_start_from_a_model_that_knows_the_images_is_doubted(tested, tmp_path):
    task, project, *_ = tested
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder)
    kept = json.loads((folder / "parameters.json").read_text())
    kept["overrides"]["data"]["starting_model"] = str(project.folder)
    (folder / "parameters.json").write_text(json.dumps(kept))
    found = find_test_set(task, folder)
    assert not found.independent
    assert "has learned from 6 of the test images" in found.doubt
    kept["overrides"]["data"]["starting_model"] = str(tmp_path / "gone")
    (folder / "parameters.json").write_text(json.dumps(kept))
    assert find_test_set(task, folder).independent


def test_a_model_tested_in_turn_has_no_old_test_images_for_fine_tuning(tested):
    task, project, *_ = tested
    start = SimpleNamespace(folder=project.folder, name="before")
    assert old_test_set(SimpleNamespace(task=task, start=start, project=project)) == (
        *(None, "The starting model before was tested in turn: it has learned from all images of its test."),
    )


# --- the same scores, whoever answers


def in_parts(task, project, folder):
    """Evaluation of all images where each of three parts was answered by the very model, kept part by part."""
    examples, predictor = project.dataset.examples, task.load(project.folder)
    numbers = np.arange(len(examples)) % 3 + 1
    for fold in (1, 2, 3):
        chosen = np.flatnonzero(numbers == fold)
        images = [examples[i] for i in chosen], project.examples("training"), 0
        found = task.answers(predictor, *images) | task.answers_of_opponents(predictor.classes, *images)
        sha256 = project.split["sha256"].to_numpy()[chosen]
        cross_validation._keep(cross_validation._place(folder, fold), found, sha256, 7)
    return predictor, TestSet(examples, "all", independent=True, folds=numbers)


@pytest.mark.parametrize("kind", ["finder", "sorter"])
def test_parts_together_have_the_scores_of_all_images_at_once(kind, request, tmp_path):
    given = request.getfixturevalue(kind)
    task, project = (STARDIST, given) if kind == "finder" else (CLASSIFIER, given[0])
    folder = tmp_path / "model"
    shutil.copytree(project.folder, folder)
    predictor, test_set = in_parts(task, project, folder)
    result = evaluate(task, folder, test_set)
    whole = task.evaluation(predictor, TestSet(test_set.examples, "", True), training=project.examples("training"))
    pd.testing.assert_frame_equal(result.table, whole.table)
    pd.testing.assert_frame_equal(result.scores.per_image, whole.scores.per_image)
    assert result.headline == whole.headline
    beside = ("classical",) if kind == "finder" else ("comparison",)
    pd.testing.assert_frame_equal(*(getattr(one, beside[0]) for one in (result, whole)))
    assert set(result.folds["epochs"]) == {7}
    assert result.folds.iloc[:, 3:].notna().all(axis=None)
    assert "itself not tested" in report.verdict(result, folder)
    assert "itself not tested" in report.write(task, folder, result, task.remarks(result)).read_text()


def with_temperature(folder, temperature, images=40):
    """The model in `folder` with another temperature, as if fitted on so many images."""
    description = json.loads((folder / "model.json").read_text())
    calibration = {"validation_images": images, "fitted": images >= 30}
    (folder / "model.json").write_text(
        json.dumps(description | {"temperature": temperature, "calibration": calibration})
    )


def test_temperatures_are_those_of_the_models_that_answered(sorter, tmp_path):
    project, folder = sorter[0], tmp_path / "model"
    shutil.copytree(project.folder, folder)
    with_temperature(folder, 2.0)
    predictor, test_set = in_parts(CLASSIFIER, replace(project, folder=folder), folder)
    with_temperature(folder, 5.0)
    result = evaluate(CLASSIFIER, folder, test_set)
    whole = CLASSIFIER.evaluation(predictor, TestSet(test_set.examples, "", True), project.examples("training"))
    np.testing.assert_allclose(uncalibrated(result), uncalibrated(whole), atol=1e-6)
    assert "Temperatures, fitted in each part" in " ".join(CLASSIFIER.remarks(result))


@pytest.mark.parametrize(("images", "said"), [(40, "which was not tested"), (8, "8 validation images are too few")])
def test_a_temperature_of_the_kept_model_alone_is_not_called_tested(sorter, tmp_path, images, said):
    project, folder = sorter[0], tmp_path / "model"
    shutil.copytree(project.folder, folder)
    with_temperature(folder, 1.0)
    _, test_set = in_parts(CLASSIFIER, replace(project, folder=folder), folder)
    with_temperature(folder, 5.0 if images > 30 else 1.0, images)
    result = evaluate(CLASSIFIER, folder, test_set)
    assert uncalibrated(result) is None
    assert said in " ".join(CLASSIFIER.remarks(result))


# --- one rule for all


@pytest.mark.parametrize("n", [9, 11, 12, 13, 20])
def test_models_of_the_parts_are_trained_as_the_one_that_is_kept(tmp_path, n):
    source = written(tmp_path, n, n)
    forms = given_to(source, tmp_path, starting_model="a_model")["overrides"]
    project = opened(UNET, source, tmp_path)
    inner = [of_fold(UNET, project, forms["data"], 0, fold) for fold in (1, 2)]
    assert all(len(one.examples("training")) < len(project.examples("training")) for one in inner)
    assert [UNET.stages(one, forms) for one in inner] == [UNET.stages(project, forms)] * 2
    assert bool(UNET.stages(project, forms)) is (len(project.examples("training")) < 10)


def test_a_classifier_of_few_images_has_one_size_of_batches(tmp_path):
    source = tiny_crops.write_crops(tmp_path / "crops", 7)
    forms = tiny_crops.parameters(source, tmp_path, data={"percentage_test": 0})["overrides"]
    project = page.open_project(CLASSIFIER, forms["data"], 0, QUICK)
    inner = of_fold(CLASSIFIER, project, forms["data"], 0, 1)
    assert len(inner.examples("training")) < 16 <= len(project.examples("training"))
    sizes = {
        next(choice.value for choice in CLASSIFIER.choices(one, forms) if choice.field == "batch_size")
        for one in (project, inner)
    }
    assert len(sizes) == 1


# --- costs


def test_the_time_that_is_given_is_that_of_all_trainings(tmp_path):
    project = opened(UNET, written(tmp_path), tmp_path)
    k = project.folds.max()
    inner = of_fold(UNET, project, {"percentage_validation": 20}, 0, 1)
    whole = {preset: effort(project, preset, 0.1, (6, 10)) for preset in (QUICK, "Default")}
    assert [(one.parts, one.share) for one in whole.values()] == [(k, 0.5), (k, 1.0)]
    assert effort(inner, QUICK, 0.1, (6, 10)).parts == 0
    assert whole[QUICK].beside == pytest.approx(6 + 10 * 6 * 32**2 / 1e6)
    values = {"preset": QUICK, "time_for_training": 30}
    found = epochs_choice(values, 100, 10, whole[QUICK])
    chosen, apart = found.value, (1 + k) * whole[QUICK].beside
    assert not found.warning
    asked = {"data": {}, "training": {**values, "number_of_epochs": AUTOMATIC}}
    others = cross_validation._with_rounds(project, asked, {"training": {"number_of_epochs": chosen}})
    steps = (chosen + k * others["training"]["number_of_epochs"]) * 10
    assert apart + 1.2 * steps * 0.1 == pytest.approx(30 * 60, rel=0.02)
    asked["training"]["number_of_epochs"] = 7
    typed = cross_validation._with_rounds(project, asked, {"training": asked["training"]})
    assert typed["training"]["number_of_epochs"] == 7
    said = epochs_choice(values | {"time_for_training": AUTOMATIC}, 100, 10, whole[QUICK])
    assert said.value == 100, "the model that is kept gets what the preset says"
    assert "takes about" in said.reason
    assert "besides" in said.reason
    assert f"{k} trainings of 50% of the rounds" in turn_note(project, QUICK)
    assert f"about {1 + k} times as long" in turn_note(project, "Default")


class Shorter(UNet):
    parts, rounds_in_turn = 3, 0.25


def test_a_task_says_how_many_parts_there_are_and_how_long_each_is_trained(tmp_path):
    task = Shorter()
    project = opened(task, written(tmp_path), tmp_path)
    assert project.folds.max() == 3
    asked = {"data": {}, "training": {"preset": QUICK, "number_of_epochs": AUTOMATIC}}
    others = cross_validation._with_rounds(project, asked, {"training": {"number_of_epochs": 20}})
    assert others["training"]["number_of_epochs"] == 5
    assert "3 trainings of 25% of the rounds" in turn_note(project, QUICK)
    assert "about 1.75 times" in turn_note(project, QUICK)


def test_a_time_that_is_too_short_for_so_many_trainings_is_told_before():
    values = {"preset": QUICK, "time_for_training": 1}
    found = epochs_choice(values, 100, 10, Effort(0.07, 14, parts=5, share=0.5))
    assert found.value * 10 == 50, "fewer would teach nothing"
    assert found.warning.startswith("This takes about 2 minutes, more than the 1 minute in time_for_training: for each")
    assert "6 trainings" in found.warning
    assert "test_in_turn" in found.warning
    assert found.warning in found.reason
    assert not epochs_choice(values, 100, 10, Effort(0.07, 14)).warning
    alone = epochs_choice(values | {"time_for_training": 0.1}, 100, 10, Effort(0.07, 14))
    assert "test_in_turn" not in alone.warning
    assert "more than the 0.1 minutes" in alone.warning
    assert not epochs_choice(values | {"time_for_training": AUTOMATIC}, 10**6, 10, Effort(0.07, 14)).warning


@pytest.mark.parametrize(("asked", "n"), [(AUTOMATIC, 1), (7, 0)])
def test_what_a_training_takes_is_said_on_the_page_before_it(monkeypatch, asked, n):
    shown = []
    monkeypatch.setattr(page, "display", lambda one: shown.append(one.data))
    form = SimpleNamespace(wrong={}, form_name="training", asked=lambda: {"number_of_epochs": asked})
    form.settle, form.on_change = lambda values: None, lambda act: None
    task = SimpleNamespace(
        choices=lambda project, forms: [Choice("training", "number_of_epochs", 1, "Why.", warning="Long.")]
    )
    page.settle(task, None, form)
    assert shown == ["**Warning:** Long."] * n


def test_rounds_have_fewer_batches_where_time_is_short_in_all_trainings(tmp_path):
    project = opened(UNET, written(tmp_path), tmp_path)
    given = given_to(tmp_path / "data", tmp_path)["overrides"]
    given["training"] |= dict.fromkeys(("number_of_epochs", "number_of_steps"), AUTOMATIC)
    chosen = {}
    for minutes in (AUTOMATIC, 0.5):
        given["training"]["time_for_training"] = minutes
        chosen[minutes] = {one.field: one for one in UNET.choices(project, given)}
    assert chosen[0.5]["number_of_steps"].value < chosen[AUTOMATIC]["number_of_steps"].value
    assert chosen[0.5]["number_of_epochs"].warning
    settled = {"training": {name: chosen[0.5][name].value for name in ("number_of_epochs", "number_of_steps")}}
    others = cross_validation._with_rounds(project, given, settled)["training"]
    assert others["number_of_steps"] == settled["training"]["number_of_steps"]
    given["training"]["time_for_training"] = AUTOMATIC
    assert cross_validation._with_rounds(project, given, settled)["training"]["number_of_steps"] == AUTOMATIC


@pytest.mark.parametrize(("before", "step", "epochs", "steps"), [(8, 0.07, 2, 50), (20, 0.5, 5, 10), (1, 0.1, 1, 1)])
def test_the_bar_over_all_parts_moves_evenly_with_time(monkeypatch, before, step, epochs, steps):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(cross_validation.time, "monotonic", lambda: clock.now)
    bar = SimpleNamespace(n=1.0)
    bar.update = lambda moved: setattr(bar, "n", bar.n + moved)
    callback, whole, seen = cross_validation._Share(bar, 1), 2 * before + (epochs * steps - 1) * step, []
    callback.set_params({"epochs": epochs, "steps": steps})
    clock.now = before
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(steps):
            callback.on_train_batch_end(batch)
            seen.append((clock.now / whole, bar.n - 1))
            clock.now += step
        callback.on_epoch_end(epoch)
    assert all(moved == pytest.approx(passed) for passed, moved in seen[1:])
    assert 0.4 < bar.n - 1 < 1


def test_what_is_done_of_the_whole(tmp_path):
    project = opened(UNET, written(tmp_path), tmp_path)
    inner = of_fold(UNET, project, {"percentage_validation": 20}, 0, 1)
    k = project.folds.max()
    assert shares(project, QUICK, trials=False) == (0, pytest.approx(k / 2 / (1 + k / 2)))
    assert shares(inner, QUICK, trials=True) == (pytest.approx(0.2 / 1.2), pytest.approx(0.2 / 1.2))
    assert shares(inner, QUICK, trials=False) == (0, 0)


def test_a_training_that_is_stopped_is_told_as_ever(tmp_path):
    given = given_to(written(tmp_path), tmp_path)
    project = page.open_project(UNET, given["overrides"]["data"], 0, QUICK)

    class Stopping(UNet):
        def ingredients(self, *args, **more):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stopping().train(project, given)
    assert (project.folder / "training").is_dir()
    assert not (project.folder / "cross_validation").exists()
