"""Every bad input of a folder is found, named with file and remedy, all at once, and nothing is written."""

import os

import numpy as np
import PIL.Image
import pytest
import tifffile

from utils.data.examples import load_examples
from utils.data.problems import Problem, each_once, problem_table, raise_errors
from utils.errors import DataError
from utils.images.image import write_tiff
from utils.patching.patches import automatic_patch, check_patch

RNG = np.random.default_rng(0)
SHAPE = (40, 32)


def random_image(shape=SHAPE, dtype=np.uint8):
    return RNG.integers(0, 200, shape).astype(dtype)


def random_mask(shape=SHAPE):
    return ((RNG.random(shape) > 0.7) * 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Four good pairs."""
    for i in range(4):
        write_tiff(tmp_path / "images" / f"{i}.tif", random_image())
        write_tiff(tmp_path / "masks" / f"{i}.tif", random_mask())
    return tmp_path / "images", tmp_path / "masks"


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_good_folder(folders):
    before, place = files_below(folders[0].parent), os.getcwd()
    dataset = load_examples(*folders)
    assert (dataset.problems, dataset.mask_type, len(dataset.examples)) == ([], "binary", 4)
    assert [entry["value"] for entry in dataset.classes] == [0, 255]
    for i, example in enumerate(dataset.examples):
        assert (example.name, example.group, example.mask_path) == (f"{i}.tif", str(i), folders[1] / f"{i}.tif")
        assert example.image.array.shape == (*SHAPE, 1)
        np.testing.assert_array_equal(example.mask, tifffile.imread(example.mask_path) > 0)
    assert files_below(folders[0].parent) == before
    assert os.getcwd() == place


def test_sizes_may_differ_rgb_works_and_names_of_masks_may_have_endings(tmp_path):
    endings = ("_mask", "_Label", "-masks", "_labels", "")
    for i, ending in enumerate(endings):
        shape = (20 + 3 * i, 50 - i)
        PIL.Image.fromarray(random_image((*shape, 3))).save(tmp_path / f"i{i}.png")
        (tmp_path / "m").mkdir(exist_ok=True)
        PIL.Image.fromarray(random_mask(shape)).save(tmp_path / "m" / f"i{i}{ending}.png")
    dataset = load_examples(tmp_path, tmp_path / "m")
    assert dataset.problems == []
    assert [example.image.array.shape for example in dataset.examples] == [(20 + 3 * i, 50 - i, 3) for i in range(5)]


def test_ome_ending_and_system_files(folders):
    (folders[1] / "0.tif").rename(folders[1] / "0.ome.tif")
    for folder in folders:
        (folder / "desktop.ini").write_text("x")
        (folder / "._0.tif").write_text("x")
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "0-checkpoint.png").write_text("x")
    assert load_examples(*folders).problems == []


def break_unpaired_image(images, masks):
    (masks / "1.tif").unlink()
    return "images/1.tif", "no mask"


def break_unpaired_mask(images, masks):
    (images / "1.tif").unlink()
    return "masks/1.tif", "no image"


def break_same_name(images, masks):
    PIL.Image.fromarray(random_image()).save(images / "1.png")
    return "images/1.png", "1.png and 1.tif have the same name"


def break_same_name_of_mask(images, masks):
    write_tiff(masks / "1_mask.tif", random_mask())
    return "masks/1.tif", "1.tif and 1_mask.tif have the same name"


def break_size(images, masks):
    write_tiff(masks / "1.tif", random_mask((32, 40)))
    return "masks/1.tif", "32 x 40 .*40 x 32"


def break_truncated(images, masks):
    (images / "1.tif").write_bytes((images / "1.tif").read_bytes()[:-100])
    return "images/1.tif", "truncated"


def break_unreadable(images, masks):
    (masks / "1.tif").write_text("none")
    return "masks/1.tif", "cannot be read"


def break_stack(images, masks):
    tifffile.imwrite(images / "1.tif", random_image((5, *SHAPE)), imagej=True, metadata={"axes": "ZYX"})
    return "images/1.tif", "3D stack"


def break_axes(images, masks):
    tifffile.imwrite(images / "1.tif", random_image((5, *SHAPE)), photometric="minisblack")
    return "images/1.tif", "field axes"


def break_nan(images, masks):
    write_tiff(images / "1.tif", np.full(SHAPE, np.nan, np.float32))
    return "images/1.tif", "NaN"


def break_values(images, masks):
    write_tiff(masks / "1.tif", random_mask() // 2)
    return "masks", "field mask_type"


def break_float_mask(images, masks):
    write_tiff(masks / "1.tif", random_mask().astype(np.float32) / 256)
    return "masks/1.tif", "fractional"


def break_colour_mask(images, masks):
    write_tiff(masks / "1.tif", random_image((*SHAPE, 3)))
    return "masks/1.tif", "colour picture"


def break_jpeg_mask(images, masks):
    (masks / "1.tif").unlink()
    PIL.Image.fromarray(random_mask()).save(masks / "1.jpg")
    return "masks/1.jpg", "smears"


def break_channels(images, masks):
    write_tiff(images / "1.tif", random_image((*SHAPE, 3)))
    return "images/1.tif", "number of channels: 3, but 1"


BREAKS = [value for name, value in sorted(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("breaking", BREAKS, ids=lambda function: function.__name__)
def test_each_bad_input_is_one_error(folders, breaking):
    file, words = breaking(*folders)
    before = files_below(folders[0].parent)
    dataset = load_examples(*folders)
    assert [problem.severity for problem in dataset.problems] == ["error"]
    assert dataset.problems[0].file == str(folders[0].parent / file)
    assert dataset.problems[0].remedy
    with pytest.raises(DataError, match=f"One problem .*\n.*{file}.*{words}"):
        raise_errors(dataset.problems)
    assert files_below(folders[0].parent) == before


def test_all_errors_are_gathered(folders):
    images, masks = folders
    write_tiff(images / "4.tif", random_image())
    (masks / "0.tif").write_text("none")
    break_truncated(images, masks)
    write_tiff(masks / "2.tif", random_mask((5, 5)))
    assert len(load_examples(images, masks).problems) == 4


def test_folders_that_are_not_there(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    dataset = load_examples(tmp_path / "nowhere", tmp_path / "empty")
    assert [problem.what.split(" /")[0] for problem in dataset.problems] == ["There is no folder", "The folder"]
    for same in (folders[0], folders[0] / ".." / "images"):
        assert "same folder" in load_examples(folders[0], same).problems[0].what


def test_one_image_is_enough_to_test_but_not_to_train(folders):
    for folder in folders:
        for i in (1, 2, 3):
            (folder / f"{i}.tif").unlink()
    dataset = load_examples(*folders)
    assert ["one image only" in problem.what for problem in dataset.problems] == [True]
    assert load_examples(*folders, mask_type="binary", classes=dataset.classes).problems == []


def break_nothing_to_find(images, masks):
    write_tiff(masks / "1.tif", np.zeros(SHAPE, np.uint8))
    return "masks/1.tif", "only background"


def break_dtype(images, masks):
    write_tiff(images / "1.tif", random_image(dtype=np.uint16))
    return "images/1.tif", "pixel type: uint16, but uint8"


def break_pixel_size(images, masks):
    write_tiff(images / "1.tif", random_image(), pixel_size_um=0.5)
    return "images/1.tif", "pixel size in um: 0.5, but unknown"


def break_constant(images, masks):
    write_tiff(images / "1.tif", np.full(SHAPE, 7, np.uint8))
    return "images/1.tif", "all pixels have the value 7"


def break_other_format(images, masks):
    (images / "1.czi").write_bytes(b"x")
    return "images/1.czi", "not read"


def break_turned_photograph(images, masks):
    (images / "1.tif").unlink()
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    PIL.Image.fromarray(random_image()).save(images / "1.jpg", exif=exif)
    return "images/1.jpg", "turned"


WARNINGS = [value for name, value in sorted(globals().items()) if name.startswith("break_") and value not in BREAKS]


@pytest.mark.parametrize("breaking", WARNINGS, ids=lambda function: function.__name__)
def test_warnings_do_not_stop(folders, breaking):
    file, words = breaking(*folders)
    dataset = load_examples(*folders)
    assert [(problem.severity, problem.file) for problem in dataset.problems] == [
        ("warning", str(folders[0].parent / file))
    ]
    assert words in dataset.problems[0].what
    assert len(dataset.examples) == 4
    raise_errors(dataset.problems)


def test_classes_are_kept_to(folders):
    for i in range(4):
        write_tiff(folders[1] / f"{i}.tif", RNG.choice([0, 2, 1], SHAPE).astype(np.uint8))
    dataset = load_examples(*folders)
    assert (dataset.mask_type, [entry["value"] for entry in dataset.classes]) == ("classes", [0, 1, 2])
    for example in dataset.examples:
        np.testing.assert_array_equal(example.mask, tifffile.imread(example.mask_path))
    write_tiff(folders[1] / "3.tif", RNG.choice([0, 2, 5], SHAPE).astype(np.uint8))
    again = load_examples(*folders, mask_type="classes", classes=dataset.classes)
    assert ["unexpected values 5" in problem.what for problem in again.problems] == [True]
    assert again.classes == dataset.classes


def test_mask_type_that_is_given_is_used(folders):
    assert load_examples(*folders, mask_type="instance labels").classes[1]["value"] == 1
    write_tiff(folders[1] / "3.tif", RNG.choice([0, 7, 255], SHAPE).astype(np.uint8))
    assert "Binary masks" in load_examples(*folders, mask_type="binary").problems[0].what


def test_groups_from_names_and_from_folders(tmp_path):
    for patient in "ab":
        for i in range(2):
            write_tiff(tmp_path / "images" / patient / f"{i}.tif", random_image())
            write_tiff(tmp_path / "masks" / patient / f"{i}.tif", random_mask())
    dataset = load_examples(tmp_path / "images", tmp_path / "masks", group_rule="folder")
    assert dataset.problems == []
    assert [example.group for example in dataset.examples] == list("aabb")
    assert [example.name for example in dataset.examples] == ["a/0.tif", "a/1.tif", "b/0.tif", "b/1.tif"]
    flat = (tmp_path / "images" / "a", tmp_path / "masks" / "a")
    assert [example.group for example in load_examples(*flat, group_rule="{group}").examples] == ["0", "1"]
    assert len([p for p in load_examples(*flat, group_rule="{group}_*").problems if "group_rule" in p.what]) == 2


def test_a_group_rule_that_fits_most_leaves_the_others_alone(tmp_path):
    for name in (*(f"P{p}_{i}.tif" for p in range(4) for i in range(2)), "overview.tif"):
        write_tiff(tmp_path / "images" / name, random_image())
        write_tiff(tmp_path / "masks" / name, random_mask())
    dataset = load_examples(tmp_path / "images", tmp_path / "masks", group_rule="{group}_*")
    assert sorted({one.group for one in dataset.examples}) == ["P0", "P1", "P2", "P3", "overview"]
    [problem] = [one for one in dataset.problems if "group_rule" in one.what]
    assert problem.severity == "warning"
    assert problem.file.endswith("overview.tif")


def test_problem_table_and_message():
    problems = [Problem("warning", "w.tif", "odd", "Look.")]
    raise_errors(problems)
    raise_errors([])
    assert list(problem_table([])) == ["severity", "file", "what", "remedy"]
    problems += [Problem("error", f"{i}.tif", f"bad {i}", "Mend.") for i in range(13)]
    assert problem_table(problems)["severity"].tolist() == ["error"] * 13 + ["warning"]
    with pytest.raises(DataError) as caught:
        raise_errors(problems)
    text = str(caught.value)
    assert text.startswith("13 problems")
    assert "9.tif: bad 9. Mend." in text
    assert "10.tif" not in text
    assert text.endswith("... and 3 more.")


def test_the_same_is_said_once_of_all_that_it_is_true_of():
    classes = [Problem("warning", f"class {name}", "4 test images are too few", "Add some.") for name in "abcd"]
    files = [Problem("warning", f"/data/images/a_long_name_of_an_image_{i}.tif", "empty", "Look.") for i in range(9)]
    table = problem_table([*classes, Problem("error", "z", "empty", "Look."), *files, classes[0]])
    assert table["file"].tolist() == [
        "z",
        "class a, class b, class c, class d",
        ", ".join(one.file for one in files[:3]) + " and 6 more",
    ]
    assert each_once(classes[:1]) == classes[:1]


def test_image_smaller_than_the_patch_is_named():
    sizes = [(300, 200), (90, 128), (128, 100)]
    check_patch(sizes, (80, 96), 16, names=["a", "b", "c"])
    with pytest.raises(DataError, match="128 x 128 .*larger than 2 of the images; the smallest, b, has 90 x 128"):
        check_patch(sizes, (128, 128), 16, names=["a", "b", "c"])
    with pytest.raises(DataError, match="90 x 128"):
        check_patch(sizes, (96, 96), 16)


@pytest.mark.parametrize("patch", [(64, 72), (72, 64), (0, 64), (-16, 64)])
def test_patch_must_be_divisible(patch):
    with pytest.raises(DataError, match="multiples of 16"):
        check_patch([(300, 300)], patch, 16)


def test_automatic_patch_fits_and_is_the_largest():
    for _ in range(200):
        sizes = [tuple(int(side) for side in RNG.integers(16, 1500, 2)) for _ in range(RNG.integers(1, 6))]
        patch = automatic_patch(sizes, 16)
        check_patch(sizes, patch, 16)
        assert patch[0] == patch[1]
        assert patch[0] == 512 or 2 * patch[0] > min(min(size) for size in sizes)
    with pytest.raises(DataError, match="side of 15 pixels"):
        automatic_patch([(15, 300)], 16)
