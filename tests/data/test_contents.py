"""What each image holds is known to the split, and what cannot be shared out is told in words."""

from pathlib import Path

import numpy as np
import pytest

from utils.data.contents import check_roles, contents, lacking
from utils.data.examples import Example
from utils.data.project import open_project
from utils.errors import DataError
from utils.images.image import Image, write_tiff

CLASSES = [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(["background", "a", "b"])]
DATA = {
    "axes": "automatic",
    "mask_type": "automatic",
    "group_rule": "",
    "percentage_test": 20,
    "percentage_validation": 15,
    "model_name": "m",
}


def example(name, mask, object_classes=None):
    mask = np.asarray(mask, np.uint16)
    return Example(name, Image(Path(name), mask[..., None], None, "YX"), mask, name, Path(name), object_classes)


def folder_of_tiles(folder, holds, group=lambda i: f"tile_{i:02}"):
    """24 x 24 pixels each; `holds` are the mask values of each tile, each in a square of its own."""
    rng = np.random.default_rng(0)
    for i, values in enumerate(holds):
        mask = np.zeros((24, 24), np.uint8)
        for place, value in enumerate(values):
            mask[2:10, 2 + 10 * place : 10 + 10 * place] = value
        write_tiff(folder / "images" / f"{group(i)}.tif", rng.integers(0, 200, (24, 24)).astype(np.uint8))
        write_tiff(folder / "masks" / f"{group(i)}.tif", mask)
    places = {"training_source": str(folder / "images"), "training_target": str(folder / "masks")}
    return DATA | places | {"model_path": str(folder)}


def test_amounts_by_hand():
    mask = np.zeros((4, 4))
    mask[0] = 1
    table = contents([example("x", mask), example("y", 0 * mask)], CLASSES, "classes")
    assert list(table) == ["foreground", "background", "a", "b"]
    assert table.to_numpy().tolist() == [[500, 867, 500, 0], [0, 1000, 0, 0]]  # square roots of shares
    assert list(contents([example("x", mask)], CLASSES[:2], "classes")) == ["foreground", "background"]
    labels = contents([example("x", np.arange(16).reshape(4, 4)), example("y", 0 * mask)], CLASSES[:2], "objects")
    assert labels.to_dict("list") == {"objects": [3873, 0]}
    kinds = contents([example("x", [[1, 2, 3]], {1: 1, 2: 1, 3: 2})], CLASSES, "objects")
    assert kinds.to_dict("list") == {"objects": [1733], "a": [1415], "b": [1000]}


@pytest.mark.parametrize("annotation", ["classes", "objects"])
@pytest.mark.parametrize("holding", [3, 4, 6])
def test_tiles_of_which_a_few_hold_something_give_every_role_some(tmp_path, annotation, holding):
    data = folder_of_tiles(tmp_path, [[1]] * holding + [[]] * (24 - holding))
    for seed in range(4):
        project = open_project(data, seed, annotation)
        found = {role for one, role in zip(project.dataset.examples, project.roles, strict=True) if one.mask.any()}
        assert found == {"training", "validation", "test"}
        assert [np.sum(project.roles == role) for role in ("training", "validation", "test")] == [16, 3, 5]


def test_a_rare_class_is_in_every_role_and_patients_stay_whole(tmp_path):
    holds = [[1, 2] if i in (0, 5, 8, 16) else [1] for i in range(24)]  # of patients 0, 2, 4, 8
    data = folder_of_tiles(tmp_path, holds, lambda i: f"P{i // 2:02}_{i % 2}")
    data |= {"group_rule": "{group}_*", "mask_type": "classes"}
    for seed in range(4):
        project = open_project(data, seed)
        assert set(project.roles[[0, 5, 8, 16]]) == {"training", "validation", "test"}
        assert (project.roles[::2] == project.roles[1::2]).all()


@pytest.mark.parametrize(
    ("holds", "words"),
    [
        ([[]] * 12, "No mask has any foreground"),
        ([[1]] + [[]] * 11, r"Only 1 of the 12 images \(tile_00.tif\) holds foreground, but at least two images must"),
        ([[1]] * 1 + [[2]] + [[]] * 10, "1 and .*2 must be learned from, but only one image each"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_in_words(tmp_path, holds, words):
    data = folder_of_tiles(tmp_path, holds) | {"mask_type": "classes"}
    with pytest.raises(DataError, match=words) as told:
        open_project(data, 0)
    assert "group" not in str(told.value)
    if "image each" in words:
        with pytest.raises(DataError, match=r"Add images that hold more of them\.$"):
            open_project(data | {"percentage_test": 0}, 0)


def test_what_only_one_patient_holds_is_refused_by_name(tmp_path):
    data = folder_of_tiles(tmp_path, [[1]] * 3 + [[]] * 9, lambda i: f"P{i // 3}_{i % 3}") | {"group_rule": "{group}_*"}
    with pytest.raises(
        DataError, match=r"3 of the 12 images .* hold foreground, all of one group \(P0\), but .* groups"
    ):
        open_project(data, 0)


def test_two_images_are_for_training_and_validation_and_the_test_is_said_to_be_unknown(tmp_path):
    data = folder_of_tiles(tmp_path, [[1]] * 2 + [[]] * 10)
    project = open_project(data, 0)
    assert set(project.roles[:2]) == {"training", "validation"}
    [problem] = lacking(contents(project.dataset.examples, project.dataset.classes, "classes"), project.roles)
    assert (problem.file, problem.severity) == ("test images", "warning")
    assert "none holds foreground, so that how well it is found stays unknown" in problem.what


def test_every_lack_is_told_once():
    table = contents([example("x", [[0, 1]]), example("y", [[0, 2]]), example("z", [[0, 1]])], CLASSES, "classes")
    [validation, test] = lacking(table, ["training", "validation", "test"])
    assert (validation.file, test.file) == ("validation images", "test images")
    assert "none holds a," in validation.what
    assert "none holds b," in test.what
    assert lacking(table, ["training"] * 3) == []
    with pytest.raises(DataError, match="b must be learned from"):
        check_roles(table, list("xyz"), ["training", "validation", "test"], list("xyz"))
