"""Images of classes come from folders or tables with the very class and group written there; each mistake is told."""

import csv
from collections import Counter
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import tifffile

from utils import samples
from utils.data import sample_makers
from utils.data.crop_files import one_typo
from utils.data.crops import load_crops
from utils.data.problems import raise_errors
from utils.errors import DataError
from utils.images.image import write_tiff
from utils.paths import resolve

RNG = np.random.default_rng(0)
CLASSES = ("anaphase", "interphase", "late, néo phase")


def random_image(shape=(12, 10), dtype=np.uint8):
    return RNG.integers(0, 200, shape).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """Four images of each of three classes, of two days."""
    for name in CLASSES:
        for i in range(4):
            write_tiff(tmp_path / "data" / name / f"day{i % 2} cell_{i}.tif", random_image((10 + i, 12)))
    return tmp_path / "data"


@pytest.fixture
def table(folder):
    """Path of a table of these images, and a function that writes it."""
    path = folder / "classes.csv"

    def write(rows=None, columns=("file", "class"), delimiter=",", encoding="utf-8"):
        rows = all_rows(folder) if rows is None else rows
        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=delimiter).writerows([columns, *rows])
        return path

    return write


def all_rows(folder):
    return [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(folder.rglob("*.tif"))]


def name_of(crop_set, crop):
    return crop_set.classes[crop.class_id]["name"]


def told(crop_set, severity="error"):
    return [str(problem) for problem in crop_set.problems if problem.severity == severity]


def test_folders(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    crop_set = load_crops(folder)
    assert crop_set.problems == []
    assert crop_set.classes == [
        {"id": i, "name": name, "value": name, "group": None} for i, name in enumerate(sorted(CLASSES))
    ]
    assert [(crop.name, name_of(crop_set, crop)) for crop in crop_set.crops] == all_rows(folder)
    for crop in crop_set.crops:
        np.testing.assert_array_equal(crop.image.array[..., 0], tifffile.imread(folder / crop.name))
        assert crop.group == crop.name.removesuffix(".tif")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_random_table_is_read_as_written(folder, table):
    """In any order of columns, with either delimiter, with or without byte order mark, with odd names."""
    for delimiter, encoding, columns in (
        (",", "utf-8", ("file", "class", "group")),
        (";", "utf-8-sig", ("Group", " Class ", "FILE")),
        (",", "utf-8-sig", ("note", "class", "group", "file")),
    ):
        files = [name for name, _ in all_rows(folder)]
        names = RNG.permutation([*["a b", "é; x", 'c, "d"'] * 2, *RNG.choice(["a b", "ü"], 6), "ü"][:12]).tolist()
        groups = RNG.choice(["p 1", "01", "NA"], 12).tolist()
        wanted = dict(zip(files, zip(names, groups, strict=True), strict=True))
        order = [next(k for k in ("file", "class", "group", "note") if k in column.lower()) for column in columns]
        rows = [dict(zip(("file", "class", "group", "note"), (f, *wanted[f], "x"), strict=True)) for f in files]
        RNG.shuffle(rows)
        path = table([[row[key] for key in order] for row in rows], columns, delimiter, encoding)
        crop_set = load_crops(path)
        assert told(crop_set) == [] or "one image" in told(crop_set)[0]
        assert {crop.name: (name_of(crop_set, crop), crop.group) for crop in crop_set.crops} == wanted
        assert [crop.name for crop in crop_set.crops] == sorted(files)
        assert [entry["name"] for entry in crop_set.classes] == sorted(set(names))


def test_folder_and_table_give_the_same(folder, table):
    for rule in ("", "{group} *"):
        one, other = load_crops(folder, group_rule=rule), load_crops(table(), group_rule=rule)
        assert one.classes == other.classes
        assert [(c.name, c.class_id, c.group) for c in one.crops] == [
            (c.name, c.class_id, c.group) for c in other.crops
        ]


def test_groups(folder):
    assert {crop.group for crop in load_crops(folder, group_rule="{group} *").crops} == {"day0", "day1"}
    for path in sorted(folder.rglob("*.tif")):
        (path.parent / path.name[:4]).mkdir(exist_ok=True)
        path.rename(path.parent / path.name[:4] / path.name)
    crop_set = load_crops(folder, group_rule="folder")  # days, whatever the class
    assert crop_set.problems == []
    assert {crop.group for crop in crop_set.crops} == {"day0", "day1"}
    assert all(name_of(crop_set, crop) in CLASSES for crop in crop_set.crops)
    assert len({crop.group for crop in load_crops(folder).crops}) == 12


def test_a_column_of_groups_comes_before_the_rule(folder, table):
    rows = [(*row, f"g{i % 3}") for i, row in enumerate(all_rows(folder))]
    path = table(rows, ("file", "class", "group"))
    crop_set = load_crops(path, group_rule="folder")
    assert {crop.group for crop in crop_set.crops} == {"g0", "g1", "g2"}
    assert ["group_rule is not used" in warning for warning in told(crop_set, "warning")] == [True]
    path = table([(*row[:2], "") for row in rows], ("file", "class", "group"))
    assert {crop.group for crop in load_crops(path, group_rule="{group} *").crops} == {"day0", "day1"}


def test_a_table_may_name_files_elsewhere(folder, tmp_path):
    path = tmp_path / "other" / "t.csv"
    path.parent.mkdir()
    rows = [f'"{folder / name}","{label}"' for name, label in all_rows(folder)[:4]]
    rows += [f'"..\\data\\{name}","{label}"' for name, label in all_rows(folder)[4:]]
    path.write_text("\n".join(["file,class", *rows]))
    crop_set = load_crops(path)
    assert crop_set.problems == []
    assert {crop.image.path for crop in crop_set.crops} == set(folder.rglob("*.tif"))
    assert len({crop.group for crop in crop_set.crops}) == 12


def test_accents_are_one_class_however_spelt(folder):
    odd = CLASSES[2]
    (folder / odd).rename(folder / normalize("NFD", odd))
    groups = f'anaphase -> A; interphase, "{odd}" -> B'
    crop_set = load_crops(folder, class_groups=groups)
    assert crop_set.problems == []
    assert [entry["name"] for entry in crop_set.classes] == sorted(CLASSES)
    assert {entry["name"]: entry["group"] for entry in crop_set.classes}[odd] == "B"
    assert load_crops(folder, classes=crop_set.classes).problems == []


def test_a_file_is_found_however_its_accents_are_spelt(folder, table):
    path = folder / "anaphase" / normalize("NFD", "é.tif")
    rows = all_rows(folder)
    write_tiff(path, random_image())
    crop_set = load_crops(table([*rows, ("anaphase/" + normalize("NFC", "é.tif"), "anaphase")]))
    assert crop_set.problems == []
    assert path in {crop.image.path for crop in crop_set.crops}


def test_grey_colour_and_many_channels(tmp_path):
    for channels in (1, 3, 5):
        folder = tmp_path / str(channels)
        for i in range(4):
            write_tiff(folder / "ab"[i % 2] / f"{i}.tif", random_image((12 + i, 10, channels), np.uint16))
        crop_set = load_crops(folder)
        assert crop_set.problems == []
        assert [crop.image.array.shape for crop in crop_set.crops] == [(12 + i, 10, channels) for i in (0, 2, 1, 3)]
        assert crop_set.crops[0].image.array.dtype == np.uint16


def test_system_files_are_no_classes(folder):
    for place in (folder, folder / "anaphase"):
        (place / "desktop.ini").write_text("x")
        (place / "._a.tif").write_text("x")
        (place / ".ipynb_checkpoints").mkdir()
        (place / ".ipynb_checkpoints" / "a-checkpoint.png").write_text("x")
        (place / "__MACOSX").mkdir()
        (place / "__MACOSX" / "a.tif").write_text("x")
    crop_set = load_crops(folder)
    assert (crop_set.problems, len(crop_set.crops)) == ([], 12)


def test_test_images_keep_to_the_class_table(folder, tmp_path):
    classes = load_crops(folder, class_groups=f'anaphase, "{CLASSES[2]}" -> A; interphase -> B').classes
    write_tiff(tmp_path / "test" / "interphase" / "1.tif", random_image())
    one = load_crops(tmp_path / "test", classes=classes)
    assert (one.problems, one.classes, [crop.class_id for crop in one.crops]) == ([], classes, [1])
    write_tiff(tmp_path / "test" / "metaphase" / "1.tif", random_image())
    other = load_crops(tmp_path / "test", classes=classes)
    [problem] = told(other)
    assert "never saw the class metaphase (1 image" in problem
    assert all(name in problem for name in CLASSES)
    assert len(other.crops) == 1


def one_image(folder):
    for i in range(3):
        (folder / "interphase" / f"day{i % 2} cell_{i}.tif").unlink()
    return "class interphase has one image"


def one_class(folder):
    for name in CLASSES[:2]:
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    return f"one class only ({CLASSES[2]})"


def no_classes(folder):
    for path in sorted(folder.rglob("*.tif")):
        path.rename(folder / f"{path.parent.name}{path.name}")
    for name in CLASSES:
        (folder / name).rmdir()
    return "no sub-folders"


def no_images(folder):
    for path in folder.rglob("*.tif"):
        path.unlink()
    return "no image"


def no_folder(folder):
    folder.rename(folder.parent / "elsewhere")
    return "no folder"


def roles_for_classes(folder):
    folder.rename(folder.parent / "train")
    folder.mkdir()
    (folder.parent / "train").rename(folder / "train")
    return f"Name the one to train on: {folder / 'train'}"


def other_channels(folder):
    write_tiff(folder / "anaphase" / "day0 cell_0.tif", random_image((10, 12, 3)))
    return "number of channels: 3, but 1"


def truncated(folder):
    path = folder / "anaphase" / "day0 cell_0.tif"
    path.write_bytes(path.read_bytes()[:-40])
    return "day0 cell_0.tif"


def no_image_file(folder):
    (folder / "anaphase" / "day0 cell_0.tif").write_text("<html>")
    return "cannot be read"


def stack(folder):
    data = np.zeros((5, 12, 10), np.uint8)
    tifffile.imwrite(folder / "anaphase" / "day0 cell_0.tif", data, imagej=True, metadata={"axes": "ZYX"})
    return "3D stack"


def not_a_number(folder):
    tifffile.imwrite(folder / "anaphase" / "day0 cell_0.tif", np.full((12, 10), np.nan, np.float32))
    return "NaN"


@pytest.mark.parametrize(
    "damage",
    [
        one_image,
        one_class,
        no_classes,
        no_images,
        no_folder,
        roles_for_classes,
        other_channels,
        truncated,
        no_image_file,
        stack,
        not_a_number,
    ],
)
def test_each_mistake_in_a_folder_is_told_once(folder, damage):
    words = damage(folder)
    crop_set = load_crops(folder)
    [problem] = told(crop_set)
    assert words in problem
    assert str(folder) in problem
    with pytest.raises(DataError, match="One problem was found"):
        raise_errors(crop_set.problems)


def test_all_mistakes_are_told_together(folder):
    words = [other_channels(folder), one_image(folder)]
    (folder / "anaphase" / "day1 cell_1.tif").write_text("")
    problems = told(load_crops(folder, group_rule="{group}1 *", class_groups="nophase -> x"))
    for word in ("class_groups", "cell_1.tif: cannot be read", "day0 cell_2.tif does not fit", *words):
        assert sum(word in problem for problem in problems) >= 1, (word, problems)
    [problem] = told(load_crops(folder, group_rule="no"))
    assert "group_rule is 'no'" in problem


def test_warnings(folder):
    (folder / "empty").mkdir()
    write_tiff(folder / "loose.tif", random_image())
    write_tiff(folder / "Inter phase" / "1.tif", random_image())
    write_tiff(folder / "Inter phase" / "2.tif", np.zeros((9, 9), np.uint8))
    write_tiff(folder / "anaphase" / "day" / "3.tif", random_image())
    for place in ("", "anaphase", "anaphase/day"):
        (folder / place / "x.czi").write_text("")
    crop_set = load_crops(folder)
    assert told(crop_set) == []
    warnings = told(crop_set, "warning")
    for words in (
        "empty: the folder of this class holds no image",
        "1 images lie in no folder of a class (loose.tif)",
        "Inter phase and interphase are different classes",
        "2.tif: all pixels",
        "data: 3 files of a microscope are not read (anaphase/day/x.czi, anaphase/x.czi, x.czi)",
    ):
        assert sum(words in warning for warning in warnings) == 1, (words, warnings)
    assert len(warnings) == 5
    assert "empty" not in [entry["name"] for entry in crop_set.classes]
    assert len(crop_set.crops) == 15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows, ("no.tif", "anaphase", "g")], "line 14 names the file no.tif, but there is no"),
        (lambda rows: [*rows, (rows[0][0], "interphase", "g")], "line 2 and in line 14, with the class anaphase and"),
        (lambda rows: [*rows, ("anaphase/../" + rows[0][0], "interphase", "g")], "in line 2 and in line 14"),
        (lambda rows: [*rows, (*rows[0][:2], "h")], "with the group g and the group h"),
        (lambda rows: [*rows[1:], (rows[0][0], "", "g")], "line 13 has no class"),
        (lambda rows: [*rows[1:], ("", "anaphase", "")], "line 13 has no file and no group"),
        (lambda rows: [*rows[1:], (*rows[0][:2], "")], "line 13 has no group"),
        (lambda rows: [*rows, ("classes.csv", "anaphase", "g")], "which is no TIFF, PNG or JPEG"),
        (lambda rows: [*rows, (rows[0][0], "late", "phase", "g")], "more fields in line 14"),
        (lambda rows: [rows[0]] + [row for row in rows if row[1] != "anaphase"], "class anaphase has one image"),
        (lambda rows: [(row[0], "a", "g") for row in rows], "one class only (a)"),
        (lambda rows: [], "no lines"),
    ],
)
def test_each_mistake_in_a_table_is_told_once(folder, table, change, words):
    rows = [(*row, "g") for row in all_rows(folder)]
    path = table(change(rows), ("file", "class", "group"))
    [problem] = told(load_crops(path))
    assert words in problem
    assert str(path) in problem


def test_a_repeated_line_is_a_warning(folder, table):
    rows = all_rows(folder)
    crop_set = load_crops(table([*rows, rows[3]]))
    assert told(crop_set) == []
    [warning] = told(crop_set, "warning")
    assert "in line 5 and in line 14. It is used once" in warning
    assert Counter(crop.name for crop in crop_set.crops) == Counter(name for name, _ in rows)


def test_other_files_are_no_tables(folder, table):
    assert "no column class" in told(load_crops(table(columns=("file", "kind"))))[0]
    table().rename(folder / "t.xlsx")
    assert "no CSV file" in told(load_crops(folder / "t.xlsx"))[0]
    assert "no CSV file" in told(load_crops(folder / "t.csv"))[0]
    (folder / "t.csv").write_bytes("file,class\nä,b\n".encode("latin-1"))
    assert "UTF-8" in told(load_crops(folder / "t.csv"))[0]


def test_bundled_samples():
    for name, wanted in (("mitosis", (320, 128)), ("mitosis_new_marker", (80, 80))):
        places = sample_makers.prepare(name)
        train = load_crops(resolve(places["training_source"]), class_groups=places["class_groups"])
        test = load_crops(resolve(places["test_source"]), classes=train.classes)
        assert (train.problems, test.problems) == ([], [])
        assert (len(train.crops), len(test.crops)) == wanted
        assert samples.sample_of(places["training_source"]) == name
        assert samples.sample_of(places["test_source"]) is None
        assert Path(train.crops[0].image.path).is_file()
    assert len(train.classes) == 2
    whole = load_crops(resolve("data_samples/mitosis/train"), class_groups=samples.PHASES)
    groups = {entry["group"] for entry in whole.classes}
    assert groups == {"AA", "BA", "I", "J"}


@pytest.mark.parametrize("column", ["patient", "Patient", "donor", "slide"])
def test_a_column_that_may_mean_groups_is_named(folder, table, column):
    rows = [(*row, f"P{i % 3}") for i, row in enumerate(all_rows(folder))]
    found = told(load_crops(table(rows, ("file", "class", column)), group_rule="ask"), "warning")
    assert sum(f"the column {column.lower()} is not used" in one for one in found) == 1
    grouped = told(load_crops(table(rows, ("file", "class", "group")), group_rule="ask"), "warning")
    assert not any("is not used" in one for one in grouped)


@pytest.mark.parametrize("value", ["same", "{i}"])
def test_a_column_that_puts_nothing_together_is_not_named(folder, table, value):
    rows = [(*row, value.format(i=i)) for i, row in enumerate(all_rows(folder))]
    found = told(load_crops(table(rows, ("file", "class", "patient")), group_rule="ask"), "warning")
    assert not any("is not used" in one for one in found)


def test_a_slip_in_the_name_of_a_class_is_hinted_at(folder, table):
    rows = [(file, "prohpase" if i < 2 else "prophase") for i, (file, _) in enumerate(all_rows(folder))]
    found = told(load_crops(table(rows)), "warning")
    assert any("prohpase and prophase are different classes" in one for one in found)


@pytest.mark.parametrize(
    ("one", "other", "typo"),
    [
        *[
            ("prophase", other, True)
            for other in ("prohase", "prophasse", "prophaes", "prohpase", "prephase", "rophase")
        ],
        ("anaphase", "anaphases", True),
        ("typea", "typeb", False),
        ("day10", "day11", False),
        ("cd4+cells", "cd4-cells", False),
        ("stage1", "stage12", False),
        ("g1", "g2", False),
        ("meta", "beta", False),
        ("prophase", "metaphase", False),
        ("mitotic", "meiotic", False),
        ("early", "late", False),
    ],
)
def test_one_slip(one, other, typo):
    assert one_typo(one, other) == one_typo(other, one) == typo


@pytest.mark.parametrize("n_stray", [1, 3])
def test_a_rule_that_fits_most_leaves_the_others_alone(tmp_path, n_stray):
    files = [f"P{p}_{i}.tif" for p in range(4) for i in range(3)]
    for i, file in enumerate([*files, *("x.tif", "y.tif", "z.tif")[:n_stray]]):
        write_tiff(tmp_path / "ab"[i % 2] / file, random_image())
    crop_set = load_crops(tmp_path, group_rule="{group}_*")
    assert [one for one in crop_set.problems if one.severity == "error"] == []
    assert sum("group_rule does not fit" in one.what for one in crop_set.problems) == 1
    assert {one.group for one in crop_set.crops} >= {"P0", "P1", "P2", "P3"}
    assert len({one.group for one in crop_set.crops}) == 4 + n_stray


def test_a_rule_that_fits_few_is_refused(tmp_path):
    for i, name in enumerate(["P1_0", "P1_1", "x", "y"]):
        write_tiff(tmp_path / "ab"[i % 2] / f"{name}.tif", random_image())
    assert sum(one.severity == "error" for one in load_crops(tmp_path, group_rule="{group}_*").problems) == 2
