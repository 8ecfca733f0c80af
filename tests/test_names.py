"""Names of images and masks are matched by one rule for all files, or not at all."""

from unicodedata import normalize

import numpy as np
import pytest

from utils.names import EQUAL, by_words, match, name_key

RNG = np.random.default_rng(0)
NUMBERS = [f"{i:03}" for i in (1, 2, 3, 10, 11)]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.tif", "a"),
        ("a.ome.tif", "a"),
        ("a.OME.TIF", "a"),
        ("a.Ome.Tiff", "a"),
        ("a_seg.npy", "a"),
        ("a.czi", "a"),
        ("day\\a.JFIF", "day/a"),
        ("v1.5", "v1.5"),
        ("a.v2.png", "a.v2"),
        ("a.npy", "a.npy"),
        (normalize("NFD", "Größe é.tif"), normalize("NFC", "Größe é")),
    ],
)
def test_what_counts_of_a_name(name, key):
    assert name_key(name) == key


def names(pattern):
    return [pattern.format(n) for n in NUMBERS]


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        ("{}", "{}", EQUAL),
        ("{}", "{}_cp_masks", '"_cp_masks" at the end'),
        ("{}", "{}_seg", '"_seg" at the end'),
        ("{}", "{}_Simple Segmentation", '"_Simple Segmentation" at the end'),
        ("{}", "{}_labels", '"_labels" at the end'),
        ("{}", "mask_{}", '"mask" more: mask_001 belongs to 001'),
        ("img_{}", "seg_{}", '"seg" in place of "img": seg_001 belongs to img_001'),
        ("A{}_img_f3", "A{}_seg_f3", '"seg" in place of "img"'),
        ("{}_ch00", "{}_mask", '"mask" in place of "ch"'),
        ("{}_training", "{}_manual1", '"manual" in place of "training"'),  # DRIVE
        ("img{}", "LblImg{}", '"lbl" more'),
        ("Cell {}", "cell_{}_GT", '"gt" more'),
        ("{}_w1DAPI", "{}_nuclei_mask", '"nuclei mask" in place of "w dapi"'),
        ("exp7_{}", "{}", 'without "exp"'),
        ("{}.czi - Scene 1", "{}", 'without "czi scene"'),
        ("{} (CD4+)", "{} (CD4+)_GroundTruth", '"ground truth" more'),
        ("dose-0.{}_img", "dose-0.{}_seg", '"seg" in place of "img"'),
        ("C1-cell_{}", "cell_{}_labels", '"labels" in place of "c"'),
        ("cell_{}", "DUP_cell_{}-1", '"dup" more'),
        ("снимок_{}", "маска_{}", '"маска" in place of "снимок"'),
        ("p1/img_{}", "p1/seg_{}", '"seg" in place of "img"'),
    ],
)
def test_each_pattern_of_a_folder_is_found_and_said(images, masks, words):
    images, masks = names(images), names(masks)
    for turned in (masks, masks[::-1]):
        found = match(images, turned)
        assert found.image_of == dict(zip(masks, images, strict=True))
        assert words in found.rule
        assert found.sure == (not any(one in words for one in ("manual", "маска", "nuclei")))


def test_zeros_before_numbers_capitals_and_signs_do_not_count():
    masks = ["cell 1", "cell 2", "cell 3", "cell 10", "cell 11"]
    found = match(names("Cell-{}"), masks)
    assert found.image_of == dict(zip(masks, names("Cell-{}"), strict=True))
    assert "apart from" in found.rule


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (names("exp1_{}"), names("exp2_{}")),  # another experiment
        (names("train_{}"), names("test_{}")),
        (names("{}_mask"), names("{}")),  # the folders are swapped
        (["cat"], ["dog"]),
        (["ctrl_1", "ctrl_2"], ["drug_1", "drug_2"]),  # two files prove nothing
        (["a 1", "a_1"], ["mask_a_1"]),  # whose is it?
        (["a_1"], ["mask a 1", "mask_a_1"]),
        (["P1_1", "P1_2", "P2_1", "P2_2"], ["1", "2"]),
        (["CD4+_1", "CD4+_2"], ["CD4-_1", "CD4-_2"]),
        (["p1/1", "p1/2"], ["p2/1", "p2/2"]),
        (["1", "2", "3"], []),
        ([], ["1"]),
    ],
)
def test_what_is_not_clear_is_no_rule(images, masks):
    assert match(images, masks).image_of == {}


def test_a_rule_holds_though_some_files_have_no_partner_or_another_name():
    found = match([*names("img_{}"), "overview"], [*names("seg_{}")[1:], "seg_099"])
    assert found.image_of == dict(zip(names("seg_{}")[1:], names("img_{}")[1:], strict=True))


def test_a_rule_that_may_be_chance_says_so():
    for masks in ("drug_{}", "drug_{}_mask"):
        found = match(names("ctrl_{}"), names(masks))
        assert len(found.image_of) == 5
        assert not found.sure


@pytest.mark.parametrize("images", [["d0.5_img", "d0.05_img"], ["x-5_img", "x5_img"], ["01_img", "1_img"]])
def test_points_signs_and_zeros_count_where_files_differ_in_them(images):
    masks = [name.replace("img", "seg") for name in images]
    assert match(images, masks).image_of == dict(zip(masks, images, strict=True))


def test_endings_may_differ_from_mask_to_mask():
    found = match(["a", "b", "c"], ["a", "b_mask", "c-Labels"])
    assert found.image_of == {"a": "a", "b_mask": "b", "c-Labels": "c"}
    assert found.rule == 'The masks are called like their images, some with "-Labels" or "_mask" at the end.'


def test_names_that_fit_are_never_exchanged():
    """Whatever is put before, behind or in place of a word: every mask finds the very image, or none does."""
    words = ["img", "raw", "nuc", "mask", "seg", "x", "train", "test", "", "", "DAPI", "w1"]
    for _ in range(300):
        parts = [tuple(map(str, RNG.integers(0, 30, RNG.integers(1, 4)))) for _ in range(RNG.integers(1, 12))]
        parts = sorted(set(parts))
        (a, b), (c, d), joint = RNG.choice(words, 2), RNG.choice(words, 2), RNG.choice(["_", "-", " "])
        images = [f"{a}_{joint.join(one)}_{b}" for one in parts]
        masks = [f"{c}_{joint.join(one)}_{d}" for one in parts]
        found = match(images, [masks[i] for i in RNG.permutation(len(masks))]).image_of
        assert all(found[mask] == image for mask, image in zip(masks, images, strict=True) if mask in found), found
        same_number = len({len(one) for one in parts}) == 1 and len(parts) >= 3
        if same_number and (a, b) == ("img", "") and c == "seg" and d != "w1":
            assert len(found) == len(images)


def test_names_of_a_table():
    assert "names in the table are called" in by_words(names("img_{}"), names("{}"), "names in the table").rule
