"""Objects: read as labels, given their classes, and what is wrong with them told; well-made data raise no alarm."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.measure import label as connected

from utils.data.examples import Example, load_examples
from utils.images.image import Image, write_tiff
from utils.paths import ROOT
from utils.tasks.objects.checks import object_problems, object_sizes, size_problems, unlabelled

RNG = np.random.default_rng(0)
NUCLEI = ROOT / "data_samples" / "nuclei"


def disks(rows=5, columns=6, radius=6, pitch=20):
    """Labels 1 to rows * columns in order, one disk each, none touching."""
    y, x = np.mgrid[: rows * pitch, : columns * pitch]
    inside = (y % pitch - pitch // 2) ** 2 + (x % pitch - pitch // 2) ** 2 <= radius**2
    return np.where(inside, y // pitch * columns + x // pitch + 1, 0).astype(np.uint16)


def example(labels, array=None, path="a.tif"):
    array = labels > 0 if array is None else array
    array = array[..., np.newaxis] if array.ndim == 2 else array
    return Example(Path(path).name, Image(Path(path), array.astype(np.float32), None, "YX"), labels, "a", Path(path))


def noisy(labels, background=100.0, contrast=60.0):
    return background + contrast * (labels > 0) + RNG.normal(0, 5, labels.shape)


def whats(examples):
    return [problem.what for problem in object_problems(examples)]


def write_folder(folder, masks):
    for i, mask in enumerate(masks):
        tifffile.imwrite(folder / "images" / f"{i}.tif", RNG.integers(0, 200, mask.shape).astype(np.uint8))
        tifffile.imwrite(folder / "masks" / f"{i}.tif", mask)
    return folder / "images", folder / "masks"


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    return tmp_path


def load(folder, masks, **options):
    return load_examples(*write_folder(folder, masks), annotation="objects", **options)


# Reading


def test_labels_keep_their_objects_and_are_numbered_without_gaps(folder):
    masks = []
    for n in (5, 20, 30):
        values = np.cumsum(RNG.integers(1, 10**8, n))
        lookup = np.concatenate([[0], values, np.zeros(30 - n, int)])
        masks.append(lookup[disks()].astype(np.uint32))
    dataset = load(folder, masks)
    assert dataset.problems == []
    assert dataset.mask_type == "instance labels"
    assert [entry["name"] for entry in dataset.classes] == ["background", "object"]
    for found, mask, n in zip(dataset.examples, masks, (5, 20, 30), strict=True):
        assert found.mask.dtype == np.uint16
        assert found.object_classes is None
        np.testing.assert_array_equal(found.mask, np.where(disks() <= n, disks(), 0))
        np.testing.assert_array_equal(np.concatenate([[0], np.unique(mask)[1:]])[found.mask], mask)


def test_binary_masks_become_components_with_one_warning(folder):
    masks = [(disks() > i).astype(np.uint8) * 255 for i in range(3)]
    dataset = load(folder, masks)
    assert [(p.severity, p.file) for p in dataset.problems] == [("warning", str(folder / "masks"))]
    assert "touch" in dataset.problems[0].what
    for found, mask in zip(dataset.examples, masks, strict=True):
        np.testing.assert_array_equal(found.mask, connected(mask, connectivity=2))


@pytest.mark.parametrize("mask_type", ["automatic", "classes"])
def test_classes_are_no_objects(folder, mask_type):
    masks = [np.kron(RNG.integers(0, 3, (10, 10)), np.ones((4, 4))).astype(np.uint8) for _ in range(3)]
    dataset = load(folder, masks, mask_type=mask_type)
    assert [p.severity for p in dataset.problems] == ["error"]
    assert "classes, not objects" in dataset.problems[0].what
    assert "U-Net" in dataset.problems[0].remedy


@pytest.mark.parametrize("mask_type", ["automatic", "binary", "instance labels"])
def test_empty_label_image_is_warned_of_but_only_empty_ones_are_refused(folder, mask_type):
    empty = np.zeros((100, 120), np.uint16)
    dataset = load(folder, [empty] * 3, mask_type=mask_type)
    errors = [p.what for p in dataset.problems if p.severity == "error"]
    assert len(errors) == 1
    assert "foreground" in errors[0]
    some = disks() if mask_type != "binary" else (disks() > 0).astype(np.uint8)
    dataset = load(folder, [empty, some, some], mask_type=mask_type)
    assert {p.severity for p in dataset.problems} == {"warning"}
    assert [int(one.mask.max()) for one in dataset.examples] == [0, 30, 30]


def test_more_objects_than_16_bits_can_number(folder):
    many = np.arange(270 * 250, dtype=np.uint32).reshape(270, 250)
    dataset = load(folder, [many, disks()], mask_type="instance labels")
    assert [(p.severity, Path(p.file).name) for p in dataset.problems] == [("error", "0.tif")]
    assert "67499 objects" in dataset.problems[0].what
    assert "smaller pieces" in dataset.problems[0].remedy


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (disks().astype(np.int16) - 1, "negative"),
        (disks() / np.float32(2), "fractional"),
        (RNG.integers(0, 255, (100, 120, 3)).astype(np.uint8), "colour picture"),
    ],
)
def test_label_images_that_cannot_be(folder, bad, words):
    write_folder(folder, [disks(), disks()])
    tifffile.imwrite(folder / "masks" / "0.tif", bad)
    dataset = load_examples(folder / "images", folder / "masks", annotation="objects")
    assert [(p.severity, Path(p.file).name) for p in dataset.problems] == [("error", "0.tif")]
    assert words in dataset.problems[0].what


def test_whole_numbers_in_floats_and_three_equal_channels_are_read(folder):
    write_folder(folder, [disks().astype(np.float32), disks()])
    tifffile.imwrite(folder / "masks" / "1.tif", np.repeat(disks()[..., None].astype(np.uint8), 3, 2))
    dataset = load_examples(folder / "images", folder / "masks", annotation="objects")
    assert dataset.problems == []
    for one in dataset.examples:
        np.testing.assert_array_equal(one.mask, disks())


# Class tables


def write_table(folder, lines, encoding="utf-8"):
    (folder / "classes.csv").write_text("\n".join(lines), encoding=encoding)
    return folder / "classes.csv"


def good_lines(separator=",", gap=10):
    """Objects 10, 20, ... of two images of 4 disks: even ones mitotic, odd ones normal."""
    lines = [
        separator.join([f"{i}.tif" if i else "0", str(gap * n), "mitotic" if n % 2 else "normal"])
        for i in range(2)
        for n in range(1, 5)
    ]
    return [separator.join(["file", "label", "class"]), *lines]


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_class_table(folder, separator, encoding):
    table = write_table(folder, [*good_lines(separator), "", separator * 2], encoding)
    dataset = load(folder, [disks(2, 2) * 10] * 2, class_table=table)
    assert dataset.problems == []
    assert [(e["id"], e["name"], e["value"]) for e in dataset.classes] == [
        (0, "background", 0),
        (1, "mitotic", 1),
        (2, "normal", 2),
    ]
    assert [one.object_classes for one in dataset.examples] == [{1: 1, 2: 2, 3: 1, 4: 2}] * 2


def test_columns_in_any_order_and_one_class_only(folder):
    lines = ["Class, note ,LABEL,file"] + [f"cell,x,{n},masks/{i}.tif" for i in range(2) for n in range(1, 5)]
    dataset = load(folder, [disks(2, 2)] * 2, class_table=write_table(folder, lines))
    assert dataset.problems == []
    assert [e["name"] for e in dataset.classes] == ["background", "cell"]


@pytest.mark.parametrize(
    ("change", "file", "words"),
    [
        (lambda lines: ["file,label,kind", *lines[1:]], "classes.csv", "no column class"),
        (lambda lines: lines[:1], "classes.csv", "no lines"),
        (lambda lines: [*lines, "1,50,normal"], "classes.csv", r"1.tif holds no object 50 \(line 10\)"),
        (lambda lines: lines[:-1], "1.tif", "no class for object 40"),
        (lambda lines: [*lines, "1,40,mitotic"], "classes.csv", "line 10: object 40 is mitotic, but normal in line 9"),
        (lambda lines: [*lines, "1,x,mitotic"], "classes.csv", "line 10: the label 'x'"),
        (lambda lines: [*lines, "1,0,mitotic"], "classes.csv", "line 10: the label '0'"),
        (lambda lines: [*lines, "1,40"], "classes.csv", "line 10: object 40 has no class"),
        (lambda lines: [*lines, "1,40,Background"], "classes.csv", "line 10: .*background"),
    ],
)
def test_mistakes_in_the_class_table(folder, change, file, words):
    dataset = load(folder, [disks(2, 2) * 10] * 2, class_table=write_table(folder, change(good_lines())))
    errors = [p for p in dataset.problems if p.severity == "error"]
    assert [Path(p.file).name for p in errors] == [file]
    assert re.search(words, errors[0].what)
    assert errors[0].remedy


def test_lines_twice_and_lines_of_other_images_do_no_harm(folder):
    lines = [*good_lines(), good_lines()[-1], "elsewhere.tif,7,other"]
    dataset = load(folder, [disks(2, 2) * 10] * 2, class_table=write_table(folder, lines))
    assert [p.severity for p in dataset.problems] == ["warning"]
    assert "elsewhere (line 11)" in dataset.problems[0].what
    assert [e["name"] for e in dataset.classes] == ["background", "mitotic", "normal"]


def test_class_table_that_is_not_there_or_not_text(folder):
    missing = load(folder, [disks(2, 2)] * 2, class_table=folder / "none.csv").problems
    assert ["There is no class table" in p.what for p in missing] == [True]
    odd = write_table(folder, [*good_lines(), "0,1,Zellk\u00f6rper"], "latin-1")
    assert ["UTF-8" in p.what for p in load(folder, [disks(2, 2)] * 2, class_table=odd).problems] == [True]


def test_classes_of_the_model_are_kept_to(folder):
    masks = [disks(2, 2) * 10] * 2
    trained = load(folder, masks, class_table=write_table(folder, good_lines())).classes
    lines = [line.replace("mitotic", "dead") if line.startswith("0,10") else line for line in good_lines()]
    dataset = load(folder, masks, class_table=write_table(folder, lines), classes=trained)
    assert [(p.severity, p.what) for p in dataset.problems] == [("error", "line 2: the class dead is unknown")]
    assert dataset.classes == trained


def test_files_of_one_name_in_two_folders_need_the_folder(tmp_path):
    for side in "ab":
        write_tiff(tmp_path / "images" / side / "0.tif", RNG.integers(0, 200, (40, 40)).astype(np.uint8))
        write_tiff(tmp_path / "masks" / side / "0.tif", disks(2, 2))
    where = (tmp_path / "images", tmp_path / "masks")
    lines = ["file,label,class"] + [rf"{side}\0.tif,{n},{side}" for side in "ab" for n in range(1, 5)]
    options = {"annotation": "objects", "group_rule": "folder", "class_table": write_table(tmp_path, lines)}
    dataset = load_examples(*where, **options)
    assert dataset.problems == []
    assert [set(one.object_classes.values()) for one in dataset.examples] == [{1}, {2}]
    write_table(tmp_path, [*lines, "0,1,a"])
    assert "line 10: there are 2 images of the name 0" in [p.what for p in load_examples(*where, **options).problems]


def test_binary_masks_have_no_class_table(folder):
    masks = [(disks(2, 2) > 0).astype(np.uint8)] * 2
    dataset = load(folder, masks, mask_type="binary", class_table=write_table(folder, good_lines()))
    assert [("binary" in p.what, p.severity) for p in dataset.problems] == [(True, "error")]


# What is wrong with objects


def test_good_objects_raise_no_alarm():
    assert object_problems([example(disks(), noisy(disks()))] * 2) == []
    assert object_problems([example(np.zeros((9, 9), np.uint16))]) == []
    assert object_problems([]) == []


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_samples_raise_no_alarm(part):
    dataset = load_examples(NUCLEI / part / "images", NUCLEI / part / "masks", annotation="objects")
    assert dataset.problems + object_problems(dataset.examples) == []


def test_torn_objects_are_told_with_their_place():
    labels = disks()
    labels[labels == 8] = 1  # centres: object 1 at x = 10, y = 10; object 8 at 30, 30
    labels[labels > 8] -= 1
    assert whats([example(labels)]) == ["1 object in several pieces, around x, y = 20, 20"]
    diagonal = np.zeros((8, 8), np.uint16)
    diagonal[2:4, 2:4] = diagonal[4:6, 4:6] = 1
    assert whats([example(diagonal)]) == []


def test_holes_are_told_but_not_gaps_between_objects():
    labels = disks()
    labels[30, 31] = labels[50, 50] = 0
    assert whats([example(labels)]) == ["2 holes inside objects, at x, y = 31, 30; 50, 50"]
    ring = np.full((9, 9), 1, np.uint16)
    ring[:, 5:] = 2
    ring[3:6, 4:6] = 0  # between two objects
    assert whats([example(ring)]) == []
    ring[3:6, 4:6] = 2  # an object in another
    assert whats([example(np.where(ring == 2, 2, ring))]) == []
    bay = np.full((9, 9), 1, np.uint16)
    bay[0, 4] = 0  # at the border
    assert whats([example(bay)]) == []


def test_specks_are_told_unless_cut_or_all_are_small():
    labels = disks()
    labels[20:22, 19:21] = 31
    labels[0, 60] = 32
    assert whats([example(labels)]) == ["1 speck of a few pixels, at x, y = 20, 20"]
    assert whats([example(disks(radius=1, pitch=4))]) == []


@pytest.mark.parametrize("contrast", [60, -60])
@pytest.mark.parametrize("radius", [5, 12, 30])
def test_forgotten_objects_are_found_and_only_those(contrast, radius):
    truth = disks(4, 5, radius, 3 * radius)
    array = noisy(truth, contrast=contrast) + np.linspace(0, 10, truth.shape[1])
    array += 0.3 * contrast * np.isin(truth, [7, 13])  # the faintest quarter would not be found
    erased = np.where(np.isin(truth, [7, 13]), 0, truth)
    places = unlabelled(array[..., np.newaxis], erased)
    assert sorted(truth[tuple(np.round(places).astype(int).T)]) == [7, 13]
    assert len(unlabelled(array[..., np.newaxis], truth)) == 0
    assert len(unlabelled(np.full((*truth.shape, 1), 7), erased)) == 0


def test_forgotten_objects_are_found_in_the_channel_that_shows_them():
    truth = disks(4, 5)
    array = np.stack([RNG.normal(0, 500, truth.shape), -noisy(truth)], axis=-1)
    erased = np.where(truth == 7, 0, truth)
    assert truth[tuple(unlabelled(array, erased).astype(int).T)].tolist() == [7]
    problem = object_problems([example(np.where(erased > 7, erased - 1, erased).astype(np.uint16), array, "b.tif")])
    assert [one.what for one in problem] == ["1 object without a label suspected, at x, y = 30, 30"]
    assert problem[0].file == "b.tif"


def test_forgotten_objects_are_found_in_the_samples():
    dataset = load_examples(NUCLEI / "test" / "images", NUCLEI / "test" / "masks", annotation="objects")
    found = 0
    for one in dataset.examples:
        gone = RNG.choice(np.arange(1, one.mask.max() + 1), one.mask.max() // 10, replace=False)
        erased = np.where(np.isin(one.mask, gone), 0, one.mask)
        found += bool(len(unlabelled(one.image.array, erased)))
    assert found >= 5  # of 8


def test_numbers_that_ran_out(tmp_path):
    full = np.arange(256, dtype=np.uint16).reshape(16, 16).repeat(6, 0).repeat(6, 1)
    for dtype, told in ((np.uint8, 1), (np.uint16, 0)):
        tifffile.imwrite(tmp_path / "m.tif", full.astype(dtype))
        one = replace(example(full), mask_path=tmp_path / "m.tif")
        assert sum("8-bit" in what for what in whats([one])) == told
    fewer = replace(example(np.minimum(full, 254)), mask_path=tmp_path / "none.tif")
    assert not any("8-bit" in what for what in whats([fewer]))


# Sizes


def test_sizes_by_hand():
    labels = np.zeros((50, 60), np.uint16)
    labels[10:20, 10:20], labels[30:34, 20:50], labels[0:2, 0:2] = 1, 2, 3
    table = object_sizes([example(labels), example(np.zeros((9, 9), np.uint16))])
    assert table.loc[0, ["file", "group", "objects", "cut by the border"]].tolist() == ["a.tif", "a", 3, 1]
    diameters = 2 * np.sqrt(np.array([100, 120]) / np.pi)
    assert table["median diameter [px]"][0] == pytest.approx(diameters.mean())
    assert table["largest extent [px]"][0] == 30
    assert table.loc[1, ["objects", "cut by the border"]].tolist() == [0, 0]
    assert table.iloc[1, 4:].isna().all()
    assert list(object_sizes([])) == list(table)


def test_sizes_are_compared_with_view_patch_and_grid():
    labels = np.zeros((100, 100), np.uint16)
    labels[:30, :10], labels[40:70, 30:40], labels[:60, 80:90] = 1, 2, 3  # median 30 x 10, largest 60 x 10
    one, empty = example(labels, path="m/a.tif"), example(np.zeros((9, 9), np.uint16), path="m/b.tif")

    def words(patch, view, grid):
        problems = size_problems([empty, one, empty], patch, view, grid)
        assert {problem.severity for problem in problems} <= {"warning"}
        assert {problem.file for problem in problems} <= {"m"}
        return [problem.what.split(" than ")[0].split(", ")[0] for problem in problems]

    assert words((64, 64), (30, 10), 2) == []
    assert words((64, 64), (29, 93), 2) == ["objects of 30 x 10 pixels (height x width) (median) are larger"]
    assert words((56, 64), (93, 93), 2) == ["the largest objects"]
    assert "grid 4" in size_problems([one], (64, 64), (93, 93), 4)[0].what
    assert "(1)" in size_problems([one], (64, 64), (93, 93), 4)[0].remedy
    assert "Enlarge" in size_problems([example(disks(radius=1))], (64, 64), (93, 93), 1)[0].remedy
    assert size_problems([empty], (64, 64), (93, 93), 2) == []
