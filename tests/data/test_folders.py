"""Every file of a folder is paired, or named with the reason and with what to do."""

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from utils.data.crops import load_crops
from utils.data.examples import load_examples
from utils.data.folders import find_images, pair
from utils.data.object_classes import assign_classes, read_class_table
from utils.data.unread import unread
from utils.errors import DataError
from utils.images.image import write_tiff

RNG = np.random.default_rng(0)
NUMBERS = ("001", "002", "010")


def write(folder, *names, shape=(12, 10), labels=False):
    """Images or masks of random pixels; the first three pixels of masks are 0, 1, 2."""
    for name in names:
        array = RNG.integers(0, 3, shape).astype(np.uint8) if labels else RNG.integers(0, 200, shape).astype(np.uint8)
        array[0, :3] = (0, 1, 2)
        write_tiff(folder / "x.tif", array)
        (folder / "x.tif").rename(folder / name)
    return folder


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.tif", "{}_cp_masks.tif"),
        ("{}.tif", "{}_Simple Segmentation.tif"),
        ("{}.tif", "{}_labels.tif"),
        ("{}.tif", "mask_{}.tif"),
        ("img_{}.tif", "seg_{}.tif"),
        ("{}.OME.TIF", "{}.tif"),
        ("{}.tif", "{}.OME.TIFF"),
        ("{}.tif", "{}_seg.npy"),
        (normalize("NFC", "Größe {}.tif"), normalize("NFD", "Größe {}.tif")),
        (normalize("NFD", "bébé_{}.tif"), normalize("NFC", "bébé_{}_mask.tif")),
    ],
)
def test_each_way_of_naming_is_paired_without_a_problem(tmp_path, image, mask):
    images = write(tmp_path / "i", *(image.format(n) for n in NUMBERS))
    masks = write(tmp_path / "m", *(mask.format(n) for n in NUMBERS), labels=True)
    found = pair(find_images(images), find_images(masks, masks=True), images, masks)
    assert found.problems == []
    assert [[path.name for path in one] for one in found.pairs] == [[image.format(n), mask.format(n)] for n in NUMBERS]
    if not mask.endswith("npy"):
        dataset = load_examples(images, masks)
        assert (dataset.problems, len(dataset.examples), dataset.pairing) == ([], 3, found.rule)


def test_a_cellpose_file_is_no_image(tmp_path):
    write(tmp_path, "a.tif", "a_seg.npy", "b.npy")
    assert [path.name for path in find_images(tmp_path)] == ["a.tif"]
    assert [path.name for path in find_images(tmp_path, masks=True)] == ["a.tif", "a_seg.npy"]


def test_of_two_files_of_cellpose_the_picture_is_used_and_that_is_said(tmp_path):
    images = write(tmp_path / "i", "a.tif", "b.tif", "c.tif", "d_seg.npy")
    names = ("a_cp_masks.tif", "a_seg.npy", "b_cp_masks.tif", "b_seg.npy", "c_cp_masks.tif")
    masks = write(tmp_path / "m", *names, labels=True)
    dataset = load_examples(images, masks)
    assert [one.mask_path.name for one in dataset.examples] == [f"{name}_cp_masks.tif" for name in "abc"]
    labels, both = sorted(dataset.problems, key=lambda one: one.what, reverse=True)
    assert "labels among images" in labels.what
    assert (both.severity, both.what.split(";")[0]) == (
        "warning",
        "for 2 images there is a mask both as a picture and as _seg.npy",
    )


def test_a_file_of_another_name_is_named_and_the_rule_still_holds(tmp_path):
    images = write(tmp_path / "i", *(f"img_{i}.tif" for i in range(8)), "overview.tif")
    masks = write(tmp_path / "m", *(f"seg_{i}.tif" for i in range(8)), labels=True)
    found = pair(find_images(images), find_images(masks), images, masks)
    assert len(found.pairs) == 8
    [problem] = found.problems
    assert (problem.severity, problem.file) == ("error", str(images / "overview.tif"))


def test_many_files_without_partner_are_one_problem_for_each_folder(tmp_path):
    images = write(tmp_path / "i", *(f"a{i}x.tif" for i in range(9)))
    masks = write(tmp_path / "m", *(f"{i}{i + 1}.tif" for i in range(9)), labels=True)
    one, other = pair(find_images(images), find_images(masks), images, masks).problems
    assert "no mask for 9 images (a0x.tif, a1x.tif, a2x.tif, a3x.tif, a4x.tif and 4 more)" in one.what
    assert "no image for 9 masks" in other.what


def test_several_masks_for_each_image_are_one_problem(tmp_path):
    images = write(tmp_path / "i", *(f"img_{i}.tif" for i in range(1, 12)))
    kinds = ("nuclei", "cells")
    masks = write(tmp_path / "m", *(f"img_{i}_{kind}.tif" for i in range(1, 12) for kind in kinds), labels=True)
    found = pair(find_images(images), find_images(masks), images, masks)
    [problem] = found.problems
    assert "several masks for each image, such as img_1_cells.tif and img_1_nuclei.tif" in problem.what
    assert found.pairs == []


def test_a_rule_that_may_be_chance_is_a_warning(tmp_path):
    images = write(tmp_path / "i", *(f"ctrl_{n}.tif" for n in NUMBERS))
    masks = write(tmp_path / "m", *(f"drug_{n}.tif" for n in NUMBERS), labels=True)
    [problem] = load_examples(images, masks).problems
    assert problem.severity == "warning"
    assert '"drug" in place of "ctrl"' in problem.what


def test_a_class_table_names_files_as_masks_do(tmp_path):
    table, problems = tmp_path / "t.csv", []
    files = [(tmp_path / f"img_é{n}.OME.TIF", tmp_path / f"seg_é{n}.tif") for n in NUMBERS]
    for pattern, said in (
        ("img_é{}.ome.tif", 0),
        ("seg_é{}_seg.npy", 0),
        ("img_é{}.czi", 0),
        ("é{}", 1),
        ("É{}.png", 1),
    ):
        for form in ("NFC", "NFD"):
            problems.clear()
            lines = [normalize(form, f"{pattern.format(n)},1,{'ab'[i % 2]}") for i, n in enumerate(NUMBERS)]
            table.write_text("\n".join(["file,label,class", *lines]), encoding="utf-8")
            rows = read_class_table(table, problems)
            assert assign_classes(rows, files, [[1]] * 3, table, [], problems) == [{1: "a"}, {1: "b"}, {1: "a"}]
            assert [one.severity for one in problems] == ["warning"] * said, (pattern, problems)


def test_a_table_of_images_may_leave_out_endings_and_spell_otherwise(tmp_path):
    for name in ("Größe 1.OME.TIF", "2.tif", "Tag é/3.png", "4.JPG"):
        path = tmp_path / normalize("NFD", name)
        path.parent.mkdir(exist_ok=True)
        write(path.parent, path.name)
    listed = ["größe 1,a", "2.png,b", "Tag é\\3,a", "4.jpg,b"]
    (tmp_path / "t.csv").write_text("\n".join(["file,class", *listed]), encoding="utf-8")
    problems = [str(one) for one in load_crops(tmp_path / "t.csv").problems if "names the file" in one.what]
    assert problems == []


def test_images_that_a_table_does_not_name_are_told(tmp_path):
    write(tmp_path, "1.tif", "2.tif", "3.tif")
    write(tmp_path / "other", "4.tif")
    (tmp_path / "t.csv").write_text("file,class\n1.tif,a\n2.tif,\n")
    [problem] = [one for one in load_crops(tmp_path / "t.csv").problems if one.severity == "warning"]
    assert problem.what == "1 images beside those of the table are not in it (3.tif) and are left out"


def test_a_table_of_images_takes_nothing_by_chance(tmp_path):
    write(tmp_path, "1.tif", "1.png", "2.tif")
    (tmp_path / "t.csv").write_text("file,class\n1,a\n2.tif,b\n3,a\n")
    problems = [one.what for one in load_crops(tmp_path / "t.csv").problems if "names the file" in one.what]
    assert [one.split(",")[0] for one in problems] == ["line 2 names the file 1", "line 4 names the file 3"]


def test_files_that_are_not_read_are_told_by_kind(tmp_path):
    write(tmp_path, "a.tif", "b.BMP", "c.jfif", "d.gif")
    for name in (
        "1.czi",
        "2.ND2",
        "3.lif",
        "4.lif",
        "5.heic",
        "6.h5",
        ".hidden.czi",
        "Thumbs.db",
        "noending",
        "x.docx",
    ):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "7.zarr").mkdir()
    (tmp_path / "empty").mkdir()
    assert {one.severity for one in unread(tmp_path)} == {"warning"}
    whats = [one.what for one in unread(tmp_path)]
    assert whats[0] == "4 files of a microscope are not read (1.czi, 2.ND2, 3.lif, 4.lif)"
    assert "Bio-Formats" in unread(tmp_path)[0].remedy
    assert [Path(one.file).name for one in unread(tmp_path)[1:]] == ["5.heic", tmp_path.name, "noending", "x.docx"]
    assert "6.h5, 7.zarr" in whats[2]
    assert unread(tmp_path, notes=False) == unread(tmp_path)[:-1]
    assert unread(tmp_path, apart=[tmp_path / "x.docx"]) == unread(tmp_path)[:-1]


def test_whole_slides_are_exported_with_qupath(tmp_path):
    for name in ("a.svs", "b.NDPI", "c.czi"):
        (tmp_path / name).touch()
    slides, other = unread(tmp_path)
    assert "2 whole slides are not read" in slides.what
    assert "QuPath" in slides.remedy
    assert "microscope" in other.what


def test_links_in_a_circle_are_not_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "x.czi").touch()
    (one,) = unread(tmp_path, recursive=True)
    assert one.file == str(tmp_path / "a" / "x.czi")


def test_many_masks_of_the_same_names_need_no_search_for_a_rule(tmp_path, monkeypatch):
    from utils.forms import folders

    monkeypatch.setattr(folders, "match", None)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "a.tif").touch()
    (tmp_path / "masks" / "more.tif").touch()
    assert folders.annotations_beside(str(tmp_path / "images")) == str(tmp_path / "masks")


def test_many_files_are_counted_and_some_are_named(tmp_path):
    for i in range(40):
        (tmp_path / f"{i:02}.lif").write_bytes(b"")
    [one] = unread(tmp_path)
    assert one.what.startswith("40 files of a microscope are not read (00.lif, 01.lif, ")
    assert one.what.endswith("09.lif and 30 more)")


def test_links_to_nothing_and_unfinished_downloads(tmp_path):
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
    (tmp_path / "b.tif.part").write_bytes(b"")
    assert [one.what for one in unread(tmp_path)] == [
        "this file that was not downloaded to its end is not read",
        "this link to a file that is gone is not read",
    ]


def test_sub_folders_with_images_are_told_of_unless_they_are_known(tmp_path):
    write(tmp_path, "a.tif")
    write(tmp_path / "more", "b.tif")
    assert [one.what for one in unread(tmp_path)] == ["this sub-folder with images is not read"]
    assert unread(tmp_path, apart=[tmp_path / "more"]) == unread(tmp_path, recursive=True) == []


def test_folders_of_classes_of_microscope_files(tmp_path):
    for name in ("a/1.czi", "a/2.czi", "b/3.czi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    errors = [str(one) for one in load_crops(tmp_path).problems if one.severity == "error"]
    assert len(errors) == 1
    assert "a/1.czi, a/2.czi, b/3.czi" in errors[0]
    assert "Process > Batch > Convert" in errors[0]


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "1.lif").write_bytes(b"")
    with pytest.raises(DataError, match="holds no image .* This file of a microscope is not read.*Importer"):
        find_images(tmp_path)
