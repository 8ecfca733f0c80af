"""What lies in a folder is found whatever it is called and wherever in it the images lie; nothing is ever raised."""

import os
import time

import numpy as np
import pytest

from tests.tiny import write_data
from tests.tiny_crops import write_crops
from utils.first_look import survey
from utils.first_look.advice import _training_values
from utils.first_look.survey import look
from utils.images.image import write_tiff
from utils.paths import resolve


def image(path, side=8):
    write_tiff(path, np.arange(side * side).reshape(side, side).astype(np.uint8))
    return path


def images(folder, n=3):
    return [image(folder / f"i{number}.tif") for number in range(n)]


@pytest.mark.parametrize("chosen", ["", "images", "masks"])
def test_masks_are_found_from_the_folder_above_from_the_images_and_from_the_masks(tmp_path, chosen):
    write_data(tmp_path, 4)
    found = look(str(tmp_path / chosen)).found
    assert (found.kind, found.source, found.target) == ("pairs", tmp_path / "images", tmp_path / "masks")
    assert (
        [one.name for one in found.images] == [one.name for one in found.masks] == [f"image_{i}.tif" for i in range(4)]
    )


def test_training_and_test_folders_belong_together(tmp_path):
    for name, n in (("Train", 4), ("test", 2)):
        write_data(tmp_path / name, n)
    found = look(str(tmp_path)).found
    assert (len(found.images), len(found.test.images)) == (4, 2)
    assert found.test.target == tmp_path / "test" / "masks"


@pytest.mark.parametrize(("below", "chosen"), [("", ""), ("train", ""), ("", "images"), ("", "masks")])
def test_new_images_beside_those_to_train_on_are_named_and_filled_in_for_prediction(tmp_path, below, chosen):
    write_data(tmp_path / below, 4)
    images(tmp_path / "new images", 5)
    seen = look(str(tmp_path / chosen))
    assert (seen.found.kind, len(seen.found.images), seen.found.new) == ("pairs", 4, tmp_path / "new images")
    assert any("new images (5 images)" in one and "section 6" in one for one in seen.notes)
    values = _training_values(seen.found)
    assert resolve(values["prediction"]["data_folder"]) == tmp_path / "new images"


def test_new_images_beside_classes(tmp_path):
    write_crops(tmp_path / "train", 5)
    images(tmp_path / "of tomorrow", 1)
    seen = look(str(tmp_path))
    assert (seen.found.kind, seen.found.new) == ("classes", tmp_path / "of tomorrow")
    assert look(str(tmp_path / "train")).found.new is None, "what lies beside a folder of classes may be anything"
    assert any("of tomorrow (1 image)" in one for one in seen.notes)


@pytest.mark.parametrize("name", ["labels", "results/overlays", "val/images", "images/.hidden", "masks/P1"])
def test_what_is_no_folder_of_new_images_is_not_called_one(tmp_path, name):
    write_data(tmp_path, 4)
    images(tmp_path / name)
    if name.startswith("results"):
        (tmp_path / "results" / "measurements.csv").touch()
    if name.startswith("val"):
        images(tmp_path / "val" / "masks")
    seen = look(str(tmp_path))
    assert seen.found.new is None
    assert not any("Further" in one for one in seen.notes)


def test_several_folders_of_new_images_are_counted(tmp_path):
    write_data(tmp_path, 4)
    for number in range(5):
        images(tmp_path / f"day {number}")
    (note,) = [one for one in look(str(tmp_path)).notes if "Further" in one]
    assert "day 0 (3 images), day 1 (3 images), day 2 (3 images) and 2 more" in note


def test_images_and_masks_of_each_patient(tmp_path):
    for patient in ("P1", "P2"):
        images(tmp_path / "images" / patient)
        images(tmp_path / "masks" / patient)
    found = look(str(tmp_path)).found
    assert (found.kind, len(found.images), len(found.masks)) == ("pairs", 6, 6)


def test_images_alone(tmp_path):
    images(tmp_path)
    (tmp_path / "notes.txt").touch()
    found = look(str(tmp_path)).found
    assert (found.kind, found.source, len(found.images), found.target) == ("images", tmp_path, 3, None)


def test_a_folder_for_each_class(tmp_path):
    write_crops(tmp_path, 5)
    found = look(str(tmp_path)).found
    assert (found.kind, found.source) == ("classes", tmp_path)
    assert found.classes == {"dot": 5, "ring": 5, "stripe": 5}
    assert len(found.images) == 15


@pytest.mark.parametrize(("side", "kind"), [(20, "classes"), (400, None)])
def test_folders_within_classes_are_theirs_where_images_are_small(tmp_path, side, kind):
    for name in ("early/P1", "early/P2", "late/P1"):
        image(tmp_path / name / "i.tif", side)
    seen = look(str(tmp_path))
    assert (seen.found.kind if seen.found else None) == kind
    assert len(seen.inside) == 3
    if kind:
        assert seen.found.classes == {"early": 2, "late": 1}


@pytest.mark.parametrize("chosen", ["", "table.csv"])
def test_a_table_of_classes(tmp_path, chosen):
    images(tmp_path)
    (tmp_path / "table.csv").write_text("file,class\ni0.tif,a\ni1.tif,b\ni2.tif,a\n")
    found = look(str(tmp_path / chosen)).found
    assert (found.kind, found.source, found.classes) == ("classes", tmp_path / "table.csv", {"a": 2, "b": 1})


@pytest.mark.parametrize("text", ["file,label,class\ni0.tif,1,a\n", "a,b\n1,2\n", "", "file,class\nnot_there.tif,a\n"])
def test_another_table_is_no_table_of_classes(tmp_path, text):
    images(tmp_path)
    (tmp_path / "table.csv").write_text(text)
    assert look(str(tmp_path)).found.kind == "images"


def test_a_file_stands_for_its_folder(tmp_path):
    path = images(tmp_path)[1]
    seen = look(str(path))
    assert len(seen.found.images) == 3
    assert seen.folder == tmp_path
    assert "i1.tif is a file" in seen.notes[0]


def test_a_slide_that_is_chosen_as_a_file_is_told_what_to_do_with(tmp_path):
    (tmp_path / "slide.svs").touch()
    (problem,) = look(str(tmp_path / "slide.svs")).problems
    assert "whole slide is not read" in problem.what
    assert "QuPath" in problem.remedy


def test_a_folder_too_high_says_which_are_data(tmp_path):
    write_data(tmp_path / "exp1", 3)
    write_crops(tmp_path / "exp2" / "train", 2)
    images(tmp_path / "deep" / "er" / "tiles")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    (tmp_path / "nothing" / "here").mkdir(parents=True)
    seen = look(str(tmp_path))
    assert seen.found is None
    assert {path.relative_to(tmp_path).as_posix(): what for path, what in seen.inside} == {
        "exp1": "3 images with masks",
        "exp2": "6 images of 3 classes",
        "deep/er/tiles": "3 images",
        "model": "a model",
    }


def test_one_set_of_images_further_down_is_taken_and_said(tmp_path):
    write_data(tmp_path / "2024" / "day1", 3)
    seen = look(str(tmp_path))
    assert seen.found.source == tmp_path / "2024" / "day1" / "images"
    assert str(os.path.join("2024", "day1")) in seen.notes[0]


def test_a_model_folder(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    seen = look(str(tmp_path))
    assert (seen.found, seen.model) == (None, tmp_path)


def test_an_empty_folder(tmp_path):
    seen = look(str(tmp_path))
    assert (seen.found, seen.inside, seen.problems) == (None, [], [])
    assert seen.notes == ["The folder is empty."]


def test_what_is_not_read_is_told(tmp_path):
    (tmp_path / "a.czi").touch()
    assert "microscope" in look(str(tmp_path)).problems[0].what


@pytest.mark.parametrize("name", ["not_there", "x" * 300, "a\0b", "file.txt/below"])
def test_a_folder_that_is_not_there_is_a_problem(tmp_path, name):
    (tmp_path / "file.txt").touch()
    seen = look(str(tmp_path / name))
    assert seen.found is None
    assert len(seen.problems) == 1
    assert seen.problems[0].severity == "error"


@pytest.mark.parametrize(
    ("error", "words"),
    [(PermissionError(13, "Permission denied"), "no right"), (OSError(5, "Input/output error"), "Input/output error")],
)
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch, error, words):
    images(tmp_path)

    def refuse(path):
        raise error

    monkeypatch.setattr(survey, "list_folder", refuse)
    (problem,) = look(str(tmp_path)).problems
    assert words in problem.what
    assert problem.remedy


def test_masks_among_images_and_masks_of_other_names_are_problems(tmp_path):
    for name in ("a", "a_mask", "b", "b_mask"):
        image(tmp_path / "mixed" / f"{name}.tif")
    assert "2 of 4 files look like masks" in look(str(tmp_path / "mixed")).problems[0].what
    images(tmp_path / "apart" / "images")
    for name in ("one", "two", "three"):
        image(tmp_path / "apart" / "masks" / f"{name}.tif")
    seen = look(str(tmp_path / "apart"))
    assert seen.found.kind == "images"
    assert "no file in it has the name of an image" in seen.problems[0].what


def test_links_in_a_circle_end(tmp_path):
    write_crops(tmp_path, 2)
    (tmp_path / "dot" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert len(look(str(tmp_path)).found.images) == 6


def test_results_are_not_taken_for_classes(tmp_path):
    images(tmp_path / "masks")
    images(tmp_path / "overlays")
    (tmp_path / "measurements.csv").write_text("file,area\ni0.tif,3\n")
    seen = look(str(tmp_path))
    assert "results" in seen.notes[0]
    assert (seen.found, seen.inside) == (None, [])


def test_a_slow_disk_is_given_up_on(tmp_path, monkeypatch):
    for number in range(50):
        (tmp_path / str(number) / "below").mkdir(parents=True)
    asked, clock = [], iter(range(10**6))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    listed = survey.list_folder
    monkeypatch.setattr(survey, "list_folder", lambda path: asked.append(path) or listed(path))
    assert look(str(tmp_path)).found is None
    assert len(asked) < 10
