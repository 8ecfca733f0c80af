"""The model folder: nothing is lost, nothing half-written, nothing silently wrong is read."""

import json
import os

import keras
import numpy as np
import pandas as pd
import pytest

from tests.conftest import model_description, save_untrained
from tests.tiny import tree
from utils import files, paths
from utils.errors import DataError, FormError, ModelError
from utils.forms.fields import RENAME, STOP
from utils.tasks.registry import UNET
from utils.training import model_folder, networks

SPLIT = pd.DataFrame(
    {
        "file": ["a.tif", "b.tif", "c.tif"],
        "sha256": ["0a", "0b", "0c"],
        "group": ["a", "b", "c"],
        "role": ["training", "validation", "test"],
        "annotation": ["1a", "1b", "1c"],
    }
)
PARAMETERS = {
    "overrides": {
        "data": {"training_source": "x", "axes": "automatic", "model_name": "m", "if_model_exists": "ask"},
        "augmentation": {"flip": True},
        "training": {"number_of_epochs": 3, "initial_learning_rate": 3e-4},
    }
}
KEYS = ["format", "task", "network", "axes", "channels", "classes", "normalisation", "threshold", "input"]
KEYS += ["pixel_size_um", "versions", "sha256"]


def changed(form: str, field: str, value) -> dict:
    forms = PARAMETERS["overrides"]
    return {"overrides": forms | {form: forms[form] | {field: value}}}


@pytest.fixture
def finished(tmp_path):
    folder = tmp_path / "m"
    model_folder.open_folder(folder, PARAMETERS, SPLIT)
    save_untrained(folder)
    model_folder.finish(folder)
    return folder


def test_the_course_of_a_folder(tmp_path):
    folder = tmp_path / "models" / "m"
    assert model_folder.open_folder(folder, PARAMETERS, SPLIT) == "new"
    assert sorted(os.listdir(folder)) == ["parameters.json", "split.csv", "training"]
    assert os.listdir(tmp_path / "models") == ["m"]
    assert model_folder.open_folder(folder, PARAMETERS, SPLIT) == "unfinished"
    save_untrained(folder)
    assert model_folder.open_folder(folder, PARAMETERS, SPLIT) == "unfinished"
    (folder / "training" / "last.h5").touch()
    model_folder.finish(folder)
    before = tree(folder)
    assert sorted(before) == ["history.csv", "model.json", "parameters.json", "split.csv", "weights.h5"]
    for if_model_exists in ("ask", "replace", STOP, RENAME):
        assert model_folder.open_folder(folder, PARAMETERS, SPLIT, if_model_exists) == "finished"
    assert tree(folder) == before
    assert json.loads(before["parameters.json"]) == PARAMETERS
    pd.testing.assert_frame_equal(pd.read_csv(folder / "split.csv", dtype=str), SPLIT)


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "m").mkdir()
    assert model_folder.open_folder(tmp_path / "m", PARAMETERS, SPLIT) == "new"


@pytest.mark.parametrize("field", ["model_name", "if_model_exists", "model_path", "training_source"])
def test_fields_that_do_not_change_the_training(field, finished):
    assert model_folder.open_folder(finished, changed("data", field, "other"), SPLIT) == "finished"


def test_fields_that_an_earlier_version_did_not_have_are_no_difference(finished):
    assert model_folder.open_folder(finished, changed("data", "pixel_size", 0), SPLIT) == "finished"
    with pytest.raises(ModelError, match="data.pixel_size was 0 and is now 0.5"):
        model_folder.open_folder(finished, changed("data", "pixel_size", 0.5), SPLIT)


def test_a_later_answer_to_which_images_belong_together_is_taken_where_the_split_is_the_same(finished):
    answered, split = changed("data", "group_rule", "{group}_*"), SPLIT.assign(group=["P1", "P2", "P3"])
    assert model_folder.open_folder(finished, answered, split) == "finished"
    assert json.loads((finished / "parameters.json").read_text()) == answered
    assert pd.read_csv(finished / "split.csv")["group"].tolist() == ["P1", "P2", "P3"]
    with pytest.raises(ModelError, match="another split"):
        model_folder.open_folder(finished, answered, SPLIT.assign(role=["training", "test", "validation"]))


def test_the_order_of_the_images_does_not_matter(finished):
    assert model_folder.open_folder(finished, PARAMETERS, SPLIT[::-1]) == "finished"


DIFFERENT = {
    "training.number_of_epochs was 3 and is now 4": (changed("training", "number_of_epochs", 4), SPLIT),
    "training.new was None and is now 1": (changed("training", "new", 1), SPLIT),
    "augmentation.flip was True and is now False": (changed("augmentation", "flip", False), SPLIT),
    "data.axes was 'automatic' and is now 'YX'": (changed("data", "axes", "YX"), SPLIT),
    "other images, masks or another split": (PARAMETERS, SPLIT.assign(sha256=["0a", "0b", "0d"])),
    "trained on other images, masks": (PARAMETERS, SPLIT.assign(annotation=["1a", "1x", "1c"])),
    "masks or another split": (PARAMETERS, SPLIT.assign(role=["training", "test", "validation"])),
    "images, masks or another split": (PARAMETERS, SPLIT[:2]),
}


@pytest.mark.parametrize("unfinished", [False, True])
@pytest.mark.parametrize("difference", DIFFERENT)
def test_what_differs_is_listed_and_nothing_is_touched(difference, unfinished, finished):
    if unfinished:
        (finished / "training").mkdir()
    before = tree(finished.parent)
    with pytest.raises(ModelError) as error:
        model_folder.open_folder(finished, *DIFFERENT[difference])
    for text in (str(finished), difference, "model_name", "if_model_exists", RENAME):
        assert text in str(error.value)
    assert tree(finished.parent) == before


def test_a_field_that_the_earlier_form_did_not_have_is_an_empty_one(finished):
    assert model_folder.open_folder(finished, changed("data", "new_field", ""), SPLIT) == "finished"
    with pytest.raises(ModelError, match="data.new_field was None and is now '255'"):
        model_folder.open_folder(finished, changed("data", "new_field", "255"), SPLIT)


def test_all_differences_are_listed(finished):
    new = changed("training", "number_of_epochs", 4)
    new["overrides"]["augmentation"] = {"flip": False}
    with pytest.raises(ModelError, match="augmentation.flip.*; training.number_of_epochs.*; it was trained on other"):
        model_folder.open_folder(finished, new, SPLIT[:1])


def test_replace_keeps_the_old_folders(finished):
    before = tree(finished)
    new = [changed("training", "number_of_epochs", epochs) for epochs in (4, 5)]
    for one, said in zip(new, ("replace", RENAME), strict=True):  # as programs may say, and as the form does
        assert model_folder.open_folder(finished, one, SPLIT, said) == "new"
        assert json.loads((finished / "parameters.json").read_text()) == one
    kept = sorted(path for path in finished.parent.iterdir() if path != finished)
    assert [path.name.count(".") for path in kept] == [1, 2]  # <name>.<date>, then <name>.<date>.1
    assert tree(kept[0]) == before
    assert json.loads((kept[1] / "parameters.json").read_text()) == new[0]


@pytest.mark.parametrize("content", ["thesis.docx", "training/image.tif", "parameters.json", "split.csv"])
def test_a_folder_of_something_else_is_refused(content, tmp_path):
    file = tmp_path / "m" / content
    file.parent.mkdir(parents=True)
    file.write_text("[1, 2]" if file.suffix == ".json" else "mine")
    before = tree(tmp_path)
    with pytest.raises(ModelError, match="m already holds something else: it was not written by these notebooks"):
        model_folder.open_folder(tmp_path / "m", PARAMETERS, SPLIT)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", '{"overrides": []}', '{"overrides": {"data": 3}}'])
def test_damaged_parameters_are_something_else(text, finished):
    (finished / "parameters.json").write_text(text)
    with pytest.raises(ModelError, match="not written by these notebooks, or is incomplete"):
        model_folder.open_folder(finished, PARAMETERS, SPLIT)


def test_a_file_of_that_name_is_refused(tmp_path):
    (tmp_path / "m").write_text("mine")
    with pytest.raises(ModelError, match="already holds something else"):
        model_folder.open_folder(tmp_path / "m", PARAMETERS, SPLIT)
    assert (tmp_path / "m").read_text() == "mine"


def test_a_folder_without_model_is_not_called_finished(finished):
    (finished / "model.json").unlink()
    with pytest.raises(ModelError, match="it is incomplete"):
        model_folder.open_folder(finished, PARAMETERS, SPLIT)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "/tmp/x", "..\\x", ".hidden", "a:b", "ends.", " x", "a\nb/"]
)
def test_names_that_would_be_another_folder_are_refused(name):
    with pytest.raises(FormError, match="model_name"):
        paths.folder_of("models", name)


@pytest.mark.parametrize("name", ["my_unet", "a", "my model 2", "v1.2", "Zellkerne-ü"])
def test_plain_names_are_taken(name, tmp_path):
    assert paths.folder_of(str(tmp_path), name) == tmp_path / name


@pytest.mark.parametrize(("name", "call"), [("mkdir", 2), ("replace", 1), ("replace", 2)])
def test_a_full_disk_when_a_folder_is_begun_leaves_the_old_model(name, call, finished, monkeypatch):
    before, calls, original = tree(finished.parent), [], getattr(os, name)

    def full(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        return original(*arguments, **options)

    monkeypatch.setattr(os, name, full)
    with pytest.raises((DataError, ModelError), match="No space left on device"):
        model_folder.open_folder(finished, changed("training", "number_of_epochs", 4), SPLIT, "replace")
    monkeypatch.undo()
    assert tree(finished.parent) == before


@pytest.mark.parametrize("failing", ["save_weights", "write_csv", "write_json"])
def test_a_full_disk_while_a_model_is_saved_leaves_the_earlier_one(failing, finished, monkeypatch):
    before, original = tree(finished), getattr(model_folder, failing)

    def full(*arguments):
        original(*arguments)  # all of it written, then the disk is full
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, failing, full)
    with pytest.raises(DataError, match="No space left on device"):
        save_untrained(finished, seed=1)
    assert tree(finished) == before
    networks.load_network(finished, model_folder.read_model(finished), UNET.untrained)


def test_scores_of_earlier_weights_do_not_stay_beside_new_ones(finished):
    for name in ("evaluation.csv", "scores.json", "report.html", "notes.txt"):
        (finished / name).touch()
    save_untrained(finished, seed=1)
    assert {"notes.txt"} == {path.name for path in finished.iterdir() if not path.stat().st_size}


def test_a_kill_while_the_checkpoints_are_removed(finished, monkeypatch):
    """The training must not be taken for one that has just begun."""
    (finished / "training").mkdir()
    (finished / "training" / "state.json").touch()
    (finished / ".123.weights.h5").touch()
    (finished / ".keep").touch()

    class Killed(BaseException):
        pass

    def kill(path, **_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(model_folder.shutil, "rmtree", kill)
        with pytest.raises(Killed):
            model_folder.finish(finished)
    assert not (finished / "training").exists()
    assert model_folder.open_folder(finished, PARAMETERS, SPLIT) == "finished"
    assert [path.name for path in finished.glob(".*")] == [".keep"]


def test_a_kill_while_a_folder_is_begun_does_not_block_the_next_run(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    for attribute in ("write_json", "write_csv"):
        with monkeypatch.context() as patch:
            patch.setattr(model_folder, attribute, kill)
            patch.setattr(model_folder.shutil, "rmtree", kill)
            with pytest.raises(Killed):
                model_folder.open_folder(tmp_path / "m", PARAMETERS, SPLIT)
        assert not (tmp_path / "m").exists()
    assert model_folder.open_folder(tmp_path / "m", PARAMETERS, SPLIT) == "new"
    assert os.listdir(tmp_path) == ["m"]


def test_model_json_says_all_that_is_needed(finished):
    description = model_folder.read_model(finished, "unet")
    assert set(KEYS) <= set(description)
    assert description["sha256"] == {"weights.h5": files.file_sha256(finished / "weights.h5")}
    assert json.loads((finished / "model.json").read_text()) == description


def test_a_model_comes_back_as_it_was(tmp_path):
    network, description = save_untrained(tmp_path / "m", values=(0, 100, 200), channels=3, half_resolution=True)
    again = networks.load_network(tmp_path / "m", model_folder.read_model(tmp_path / "m"), UNET.untrained)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(again(image), network(image), rtol=1e-5, atol=1e-6)
    assert again.output.dtype == "float32"
    history = pd.read_csv(tmp_path / "m" / "history.csv")
    assert list(history) == ["epoch", "loss", "val_loss", "learning_rate"]


def test_a_model_loads_in_float32_whatever_the_policy(tmp_path):
    save_untrained(tmp_path / "m")
    before = keras.config.dtype_policy()
    weights = networks.load_network(
        tmp_path / "m", model_folder.read_model(tmp_path / "m"), UNET.untrained
    ).get_weights()
    assert {one.dtype for one in weights} == {np.dtype("float32")}
    assert keras.config.dtype_policy() == before


def test_a_flipped_byte_is_noticed(finished):
    content = bytearray((finished / "weights.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (finished / "weights.h5").write_bytes(content)
    with pytest.raises(ModelError, match="weights.h5 was changed or damaged"):
        model_folder.read_model(finished)


def test_missing_weights_are_noticed(finished):
    (finished / "weights.h5").unlink()
    with pytest.raises(ModelError, match="weights.h5 is missing"):
        model_folder.read_model(finished)


@pytest.mark.parametrize("folder", ["nothing", "empty"])
def test_a_folder_without_model_is_told(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is not a model folder.*Choose the folder of a trained model"):
        model_folder.read_model(tmp_path / folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format": 1}', '{"format": "x", "task": "unet"}'])
def test_damaged_model_json(text, finished):
    (finished / "model.json").write_text(text)
    with pytest.raises(ModelError, match="model.json is damaged"):
        model_folder.read_model(finished)


def rewrite(folder, **changes):
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | changes))


@pytest.mark.parametrize("changes", [{"format": "one"}, {"format": None}, {"sha256": 3}, {"sha256": None}])
def test_damaged_values_in_model_json(changes, finished):
    rewrite(finished, **changes)
    with pytest.raises(ModelError, match="model.json is damaged"):
        model_folder.read_model(finished)


def test_weights_without_checksum_are_refused(finished):
    rewrite(finished, sha256={})
    with pytest.raises(ModelError, match="model.json is damaged"):
        model_folder.read_model(finished)


def test_a_newer_format_and_another_task_are_told(finished):
    with pytest.raises(ModelError, match="holds a model for 'unet', this notebook needs one for 'stardist'"):
        model_folder.read_model(finished, "stardist")
    rewrite(finished, format=2)
    with pytest.raises(ModelError, match="newer version of these notebooks .format 2.. Get the newest"):
        model_folder.read_model(finished)


@pytest.mark.parametrize("changes", [{"network": {"depth": 3}}, {"network": 3}, {"network": {"pooling_steps": "x"}}])
def test_a_network_that_cannot_be_built_is_told(changes, finished):
    rewrite(finished, **changes)
    with pytest.raises(ModelError, match="model.json is damaged"):
        networks.load_network(finished, model_folder.read_model(finished), UNET.untrained)


@pytest.mark.filterwarnings("ignore:Skipping")  # Keras warns, then raises
def test_weights_of_another_network_are_never_loaded_in_part(finished):
    description = model_folder.read_model(finished) | {"network": model_description(pooling_steps=2)["network"]}
    with pytest.raises(ModelError, match="weights.h5 could not be loaded"):
        networks.load_network(finished, description, UNET.untrained)
