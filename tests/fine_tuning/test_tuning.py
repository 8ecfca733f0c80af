"""Fine-tuning from a starting model to a comparison: what is taken over, refused, compared and never touched."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests import tiny, tiny_crops, tiny_objects
from tests.notebook_forms import default_values
from utils.errors import DataError, FormError, ModelError
from utils.fine_tuning import comparison as fine_tuning_comparison
from utils.fine_tuning import start
from utils.fine_tuning.comparison import compare, old_test_set
from utils.fine_tuning.curve import sizes_of
from utils.fine_tuning.page import (
    MUCH_LOWER,
    comparison_table,
    comparison_verdict,
    data_note,
    forgetting,
    generalisation,
    source_note,
)
from utils.fine_tuning.start import open_start
from utils.fine_tuning.tuning import FROM_SCRATCH, fingerprint, open_tuning, train_from_scratch, tune
from utils.images.image import write_tiff
from utils.images.normalise import normalisation_of
from utils.tasks.example import EXAMPLE
from utils.tasks.held_out import find_test_set
from utils.tasks.objects import network as objects_network
from utils.tasks.objects import train
from utils.tasks.page import with_lookalikes
from utils.tasks.registry import CLASSIFIER
from utils.training import model_folder

FORMS = ("data", "augmentation", "strategy", "training", "curve", "evaluation")
QUICK = {"number_of_epochs": 4, "number_of_steps": 3, "batch_size": 4}


def parameters(source, folder, target="", **overrides) -> dict:
    """{"overrides": ...} of a fine-tuning within seconds."""
    data = {"training_source": str(source), "training_target": str(target), "model_path": str(folder)}
    given = {
        "data": data | {"model_name": "tuned"} | overrides.pop("data", {}),
        "training": QUICK | overrides.pop("training", {}),
        **overrides,
    }
    values = default_values("fine_tuning", given)
    return {"overrides": {name: values[name] for name in FORMS}}


@pytest.fixture(scope="module")
def classifier(sorter, tmp_path_factory):
    """Folder of a classifier of its own, which the other tests do not judge."""
    folder = tmp_path_factory.mktemp("source") / "classifier"
    shutil.copytree(sorter[0].folder, folder)
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """New images of the same classes, with another brightness."""
    return tiny_crops.write_crops(tmp_path_factory.mktemp("new_crops") / "data", 12, seed=5)


@pytest.fixture(scope="module")
def tuned(classifier, crops, tmp_path_factory):
    """A fine-tuned classifier beside one from scratch, and the starting model's files before and after."""
    before, folder = tiny.tree(classifier), tmp_path_factory.mktemp("tuned")
    tuning = open_tuning(*open_start(str(classifier)), parameters(crops, folder))
    said = tune(tuning), train_from_scratch(tuning)
    before_training = fine_tuning_comparison.before_training(tuning)
    comparison = compare(tuning, before_training)
    return SimpleNamespace(
        tuning=tuning,
        said=said,
        old=before_training.old,
        comparison=comparison,
        before=before,
        after=tiny.tree(classifier),
    )


def two_classes(crops, folder):
    """The crops sorted by another question: is it a ring or not?"""
    for name, of in {"ring": ["ring"], "no_ring": ["dot", "stripe"]}.items():
        for one in of:
            shutil.copytree(crops / one, folder / name, dirs_exist_ok=True)
    return folder


def test_the_starting_model_is_never_changed(tuned):
    assert tuned.before == tuned.after


def test_everything_is_written_that_other_notebooks_need(tuned):
    folder = tuned.tuning.project.folder
    names = {path.name for path in folder.iterdir()}
    assert {"model.json", "weights.h5", "parameters.json", "split.csv", "history.csv", "from_scratch"} <= names
    description = model_folder.read_model(folder, "classification")
    assert description["starting_model"]["sha256"] == fingerprint(tuned.tuning.start)
    again = find_test_set(CLASSIFIER, folder)
    assert [one.name for one in again.examples] == [one.name for one in tuned.tuning.test_set.examples]
    model_folder.read_model(folder / FROM_SCRATCH, "classification")


def test_a_second_run_uses_what_is_there(tuned):
    again = open_tuning(*open_start(tuned.tuning.start.name), tuned.tuning.parameters)
    assert "already trained" in tune(again)
    assert "already trained" in train_from_scratch(again)
    assert "Trained for 4 epochs" in tuned.said[0]


def test_a_model_made_from_a_starting_model_that_has_changed_is_refused(tuned):
    sums = dict.fromkeys(tuned.tuning.description["starting_model"]["sha256"], "other")
    description = {**tuned.tuning.description, "starting_model": {"name": "x", "sha256": sums}}
    with pytest.raises(ModelError, match="before that was changed"):
        tune(replace(tuned.tuning, description=description))


def test_scores_before_and_after_are_those_of_the_models(tuned):
    comparison, tuning = tuned.comparison, tuned.tuning
    right = {}
    for name, predictor in comparison.predictors.items():
        p = predictor.probabilities([one.image.array for one in tuning.test_set.examples]).argmax(axis=1)
        truth = np.array([one.class_id for one in tuning.test_set.examples])
        right[name] = np.mean([(p[truth == i] == i).mean() for i in range(3)])
    assert set(right) == {"unchanged", "fine-tuned", "from scratch"}
    for name, value in right.items():
        assert comparison.new[name].value == pytest.approx(value)
        assert comparison.new[name].headline["name"] == tuning.task.score_name(tuning.classes)
    table = comparison_table(comparison).set_index("model")
    best = right["fine-tuned"]
    for name in ("unchanged", "from scratch"):
        assert table.loc[name, "new test images"] == pytest.approx(right[name])
        assert table.loc[name, "fine-tuned is better by"] == pytest.approx(best - right[name])


def test_forgetting_is_measured_on_the_old_test_images(tuned):
    names = [one.name for one in find_test_set(CLASSIFIER, tuned.tuning.start.folder).examples]
    assert [one.name for one in tuned.old.examples] == names
    said = forgetting(tuned.comparison)
    before, after = (tuned.comparison.old[name].value for name in ("unchanged", "fine-tuned"))
    assert f"{before:.2f}" in said
    assert f"{after:.2f}" in said
    assert ("has forgotten" in said) == (before - after > MUCH_LOWER)


def test_old_test_images_that_are_trained_on_now_do_not_count(classifier, sorter, tmp_path):
    """Whoever fine-tunes with images of the old test set would see less forgetting than there is."""
    old = find_test_set(CLASSIFIER, classifier)
    new = tiny_crops.write_crops(tmp_path / "new", 6, seed=9)
    shutil.copyfile(old.examples[0].image.path, new / "dot" / "copied.tif")
    tuning = open_tuning(*open_start(str(classifier)), parameters(new, tmp_path))
    rest, _ = old_test_set(tuning)
    role = tuning.project.split.set_index("file").loc["dot/copied.tif", "role"]
    assert len(rest.examples) == len(old.examples) - (role != "test")
    split = tuning.project.split.assign(role="test")
    aside = replace(tuning, project=replace(tuning.project, split=split))
    assert len(old_test_set(aside)[0].examples) == len(old.examples)
    split = tuning.project.split.assign(role="training")
    learned = replace(tuning, project=replace(tuning.project, split=split))
    assert len(old_test_set(learned)[0].examples) == len(old.examples) - 1


def test_test_images_that_the_starting_model_was_trained_on_are_refused(classifier, crops, sorter, tmp_path):
    data = json.loads((classifier / model_folder.PARAMETERS).read_text())["overrides"]["data"]["training_source"]
    given = parameters(crops, tmp_path, evaluation={"test_source": data})
    with pytest.raises(DataError, match="was trained on .* of the test images"):
        open_tuning(*open_start(str(classifier)), given)


def test_another_question_gets_a_new_head_and_the_unchanged_model_no_score(classifier, crops, tmp_path):
    tuning = open_tuning(*open_start(str(classifier)), parameters(two_classes(crops, tmp_path / "two"), tmp_path))
    assert tuning.start.kept(tuning.classes) is None
    assert tuning.judge_unchanged() is None
    assert "Another question" in source_note(tuning)
    before = fine_tuning_comparison.before_training(tuning)
    said = generalisation(tuning, before)
    assert "no score on the new images" in said
    assert "Yes, the classes differ" in said
    tune(tuning)
    train_from_scratch(tuning)
    comparison = compare(tuning, before)
    assert set(comparison.predictors) == {"fine-tuned", "from scratch"}
    assert "cannot answer the new question" in comparison_verdict(comparison)
    assert "cannot be measured" in forgetting(comparison)
    table = comparison_table(comparison)
    assert np.isnan(table.set_index("model").loc["unchanged", "new test images"])


def test_a_class_that_the_new_data_lack_is_named(classifier, crops, tmp_path):
    for name in ("dot", "ring"):
        shutil.copytree(crops / name, tmp_path / "data" / name)
    tuning = open_tuning(*open_start(str(classifier)), parameters(tmp_path / "data", tmp_path))
    assert "no image of stripe" in source_note(tuning)
    assert tuning.judge_unchanged() is not None


def test_a_model_from_scratch_takes_nothing_over_and_its_rate_is_the_best_of_three(tuned):
    folder = tuned.tuning.project.folder
    rates = json.loads((folder / "rates" / "rates.json").read_text())
    losses = {row["learning_rate"]: row["validation_loss"] for row in rates["tried"]}
    assert len(losses) == 3
    assert rates["chosen"] == min(losses, key=losses.get)
    assert [path.name for path in (folder / "rates").iterdir()] == ["rates.json"]
    history = (folder / "from_scratch" / "history.csv").read_text().splitlines()
    assert len(history) == 1 + QUICK["number_of_epochs"]


def test_bad_starting_models_are_named_with_what_to_do(classifier, crops, tmp_path):
    given = parameters(crops, tmp_path)
    with pytest.raises(ModelError, match="is not a model folder"):
        open_tuning(*open_start(str(crops)), given)
    damaged = tmp_path / "damaged"
    shutil.copytree(classifier, damaged)
    (damaged / "weights.h5").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="changed or damaged"):
        open_tuning(*open_start(str(damaged)), given)
    (damaged / "weights.h5").unlink()
    with pytest.raises(ModelError, match="is missing"):
        open_tuning(*open_start(str(damaged)), given)
    (damaged / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="damaged"):
        open_tuning(*open_start(str(damaged)), given)
    same = parameters(crops, classifier.parent, data={"model_name": classifier.name})
    with pytest.raises(ModelError, match="must not change"):
        open_tuning(*open_start(str(classifier)), same)


def test_a_model_of_another_task_than_the_data_is_refused(classifier, finder, crops, tmp_path):
    with pytest.raises(FormError, match="Leave training_target empty"):
        open_tuning(*open_start(str(classifier)), parameters(crops, tmp_path, target=crops))
    with pytest.raises(FormError, match="folder of their masks in training_target"):
        open_tuning(*open_start(str(finder.folder)), parameters(crops, tmp_path))


def test_other_channels_are_refused_with_the_remedy(classifier, tmp_path):
    new = tiny_crops.write_crops(tmp_path / "new", 6, channels=3)
    with pytest.raises(DataError, match=r"trained on 1 channels.* have 3\. Export"):
        open_tuning(*open_start(str(classifier)), parameters(new, tmp_path))


def test_one_image_of_a_class_is_refused(classifier, crops, tmp_path):
    shutil.copytree(crops, tmp_path / "data")
    for path in sorted((tmp_path / "data" / "ring").iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataError, match="ring has one image only"):
        open_tuning(*open_start(str(classifier)), parameters(tmp_path / "data", tmp_path))


def test_the_example_is_what_try_out_of_the_classification_notebook_makes():
    given = {"data": {"model_name": EXAMPLE}, "training": {"preset": "Try out"}}
    values = default_values("classification", given)
    assert start.example_values() == {name: values[name] for name in ("data", "augmentation", "training")}


def test_the_example_is_trained_once(tmp_path, monkeypatch):
    source = tiny_crops.write_crops(tmp_path / "data")
    small = {"number_of_epochs": 1, "number_of_steps": 1, "filters": 4, "levels": 2}
    values = start.example_values(str(tmp_path))
    values["data"]["training_source"] = str(source)
    values["training"] |= small
    monkeypatch.setattr(start, "example_values", lambda model_path: values)
    folder = start.example_model(str(tmp_path))
    before = tiny.tree(folder)
    assert start.example_model(str(tmp_path)) == folder
    assert tiny.tree(folder) == before


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unet")
    given = tiny.parameters(tiny.write_data(folder / "data", classes=3), folder, training={"batch_size": 1})
    return tiny.open_and_train(given)[0]


def test_a_unet_is_fine_tuned_with_its_own_network_and_classes(unet, tmp_path):
    before, new = tiny.tree(unet.folder), tiny.write_data(tmp_path / "new", seed=3, classes=3)
    given = parameters(new / "images", tmp_path, target=new / "masks")
    tuning = open_tuning(*open_start(str(unet.folder)), given)
    assert tuning.description["network"] == model_folder.read_model(unet.folder)["network"]
    assert tuning.description["input"]["patch"] == [32, 32]
    assert tuning.settings["batch_size"] == QUICK["batch_size"]
    tune(tuning)
    comparison = compare(replace(tuning, parameters=_scratch(tuning)), fine_tuning_comparison.before_training(tuning))
    assert comparison.new["unchanged"].headline["name"] == "Mean Dice of the classes"
    assert tiny.tree(unet.folder) == before


def test_masks_are_normalised_as_the_starting_model_knows_them(unet, finder, tmp_path):
    new = tiny.write_data(tmp_path / "new", seed=3, classes=3)
    objects = tiny_objects.write_objects(tmp_path / "objects", seed=7)
    common = {"kind": "percentile", "low": 1, "high": 99.8, "channels": "separate"}
    for folder, place in ((unet.folder, new), (finder.folder, objects)):
        task, start = open_start(str(folder))
        given = parameters(place / "images", tmp_path, target=next(place.glob("[ml]a*s")))
        for before in (common | {"per": "image"}, common | {"per": "image", "kind": "signal percentile"}):
            known = replace(start, description=start.description | {"normalisation": before})
            assert open_tuning(task, known, given).description["normalisation"] == before
        known = replace(start, description=start.description | {"normalisation": common | {"per": "training set"}})
        found = open_tuning(task, known, given)
        assert found.settings["normalisation"] == "all images together"
        arrays = [one.image.array for one in found.project.examples("training")]
        assert found.description["normalisation"] == normalisation_of(arrays, "all images together")


def _scratch(tuning) -> dict:
    """Parameters with which no further model is compared."""
    forms = tuning.parameters["overrides"]
    return {"overrides": {**forms, "strategy": {"strategy": "from scratch"}}}


def test_what_the_form_leaves_open_is_the_starting_models(unet, tmp_path):
    new = tiny.write_data(tmp_path / "new", seed=3, classes=3)
    given = parameters(new / "images", tmp_path, target=new / "masks", training={"batch_size": 0})
    assert open_tuning(*open_start(str(unet.folder)), given).settings["batch_size"] == 1


def test_patches_shrink_to_small_images_unless_the_form_asks_for_a_size(unet, tmp_path):
    new = tiny.write_data(tmp_path / "new", side=24, classes=3)
    given = parameters(new / "images", tmp_path, target=new / "masks")
    assert open_tuning(*open_start(str(unet.folder)), given).description["input"]["patch"] == [16, 16]
    given["overrides"]["training"] |= {"patch_height": 32, "patch_width": 32}
    with pytest.raises(DataError, match="patch"):
        open_tuning(*open_start(str(unet.folder)), given)


def test_stardist_thresholds_are_chosen_again_on_validation_images_only(finder, tmp_path, monkeypatch):
    new = tiny_objects.write_objects(tmp_path / "new", seed=7)
    given = parameters(new / "images", tmp_path, target=new / "masks")
    tuning = open_tuning(*open_start(str(finder.folder)), given)
    used, choose = [], train.optimise_thresholds

    def spied(model, examples, normalisation):
        used.append([one.name for one in examples])
        choose(model, examples, normalisation)

    monkeypatch.setattr(train, "optimise_thresholds", spied)
    before = tiny.tree(finder.folder)
    tune(tuning)
    assert used == [[one.name for one in tuning.project.examples("validation")]]
    assert tiny.tree(finder.folder) == before
    network = model_folder.read_model(tuning.project.folder)["network"]
    assert network["unet_n_filter_base"] == 8
    assert network["n_rays"] == model_folder.read_model(finder.folder)["network"]["n_rays"]


def test_a_published_model_can_be_started_from(finder, tmp_path, monkeypatch):
    monkeypatch.setattr(objects_network, "PLACED", tmp_path / "published")
    shutil.copytree(finder.folder, tmp_path / "published" / "2D_versatile_fluo")
    new = tiny_objects.write_objects(tmp_path / "new", seed=7)
    given = parameters(new / "images", tmp_path, target=new / "masks")
    tuning = open_tuning(*open_start("2D_versatile_fluo"), given)
    assert tuning.judge_unchanged().value > 0
    before = fine_tuning_comparison.before_training(tuning)
    assert before.old is None
    assert "published" in before.why_not
    assert "not here" in generalisation(tuning, before)
    tune(tuning)
    assert model_folder.read_model(tuning.project.folder)["starting_model"]["sha256"] == {
        "published": "2D_versatile_fluo"
    }


def test_another_pixel_size_is_said(classifier, crops, tmp_path):
    """The starting model knows 0.5 um; the new images have 1 um."""
    rng = np.random.default_rng(0)
    for name in tiny_crops.CLASSES:
        for i in range(6):
            image = tiny_crops.crop(rng, name)[..., 0]
            write_tiff(tmp_path / "new" / name / f"{name}_{i}.tif", image, pixel_size_um=1.0)
    tuning = open_tuning(*open_start(str(classifier)), parameters(tmp_path / "new", tmp_path))
    assert "another magnification" in generalisation(tuning, fine_tuning_comparison.before_training(tuning))


def test_without_test_images_there_is_no_curve(classifier, crops, tmp_path):
    """The validation images would be the test, and the models of the curve are trained on them."""
    given = parameters(crops, tmp_path, data={"percentage_test": 0})
    tuning = open_tuning(*open_start(str(classifier)), given)
    with pytest.raises(DataError, match="Set percentage_test above 0"):
        sizes_of(tuning, {"sizes": "2, 3"})
    assert sizes_of(tuning, {"sizes": " "}) == []
    assert "no independent test" in data_note(tuning)


def test_a_copy_of_a_training_image_among_the_test_images_is_shown(classifier, crops, tmp_path):
    tuning = open_tuning(*open_start(str(classifier)), parameters(crops, tmp_path))
    chosen = tuning.project.examples("training")[0]
    name = tuning.classes[chosen.class_id]["name"]
    test = tiny_crops.write_crops(tmp_path / "test", 2, seed=11)
    write_tiff(test / name / "mirrored.tif", chosen.image.array[::-1, :, 0])
    given = parameters(crops, tmp_path, evaluation={"test_source": str(test)})
    again = open_tuning(*open_start(str(classifier)), given)
    checks = again.task.checks(again.project, again.settings, again.test_set)
    checks = with_lookalikes(checks, again.task, again.project, again.test_set)
    found = checks.tables["Test images that look like a copy of a training image"]
    assert "mirrored.tif" in found.to_string()
    assert any("mirrored.tif" in warning for warning in checks.warnings)
