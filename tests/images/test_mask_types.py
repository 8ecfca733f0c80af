"""Masks that may mean something else than they seem are recognised by a rule, and asked for where two readings stay."""

import io

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage
from skimage.segmentation import find_boundaries

from utils.errors import DataError
from utils.images.mask_types import (
    Doubt,
    has_soft_edges,
    looks_like_mask,
    looks_like_photograph,
    recognise_mask_type,
)
from utils.images.masks import mark_ignored, table_of_classes, to_class_ids

RNG = np.random.default_rng(1)


def discs(n=12, side=96, radius=7, seed=0):
    """Labels 1 to n (fewer where one hides another) of discs."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint8)
    for value in range(1, n + 1):
        centre = rng.uniform(0, side, 2)
        labels[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.uniform(0.7, 1.3) * radius**2] = value
    return labels


LABELS = [discs(seed=seed) for seed in range(6)]
BINARY = [((one > 0) * 255).astype(np.uint8) for one in LABELS]


def jpeg(mask, quality=75):
    file = io.BytesIO()
    PIL.Image.fromarray(mask).save(file, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(file))


def photograph(seed=0, dtype=np.uint8, top=200):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (96, 96)), 5)
    return ((0.5 + smooth + rng.normal(0, 0.03, smooth.shape)).clip(0, 1) * top).astype(dtype)


def asked(masks):
    """The doubt about masks: its text, {field: values that are offered}, indices of the masks it is about."""
    with pytest.raises(Doubt) as caught:
        recognise_mask_type(masks)
    offered = [(one.field, one.value) for one in caught.value.readings]
    for field, value in offered:
        assert f"write {value} in the field {field} if" in str(caught.value).replace(". Write", ". write")
    return str(caught.value), offered, caught.value.masks


def changed(masks, which, where, value):
    masks = [one.copy() for one in masks]
    for i in which:
        masks[i][where] = value
    return masks


def test_plain_masks_are_told_as_before():
    assert recognise_mask_type(BINARY)[0] == "binary"
    many = [discs(30, seed=seed) for seed in range(4)]
    assert recognise_mask_type(many)[0] == "instance labels"


def test_foreground_and_background_swapped():
    text, offered, about = asked([255 - one for one in BINARY])
    assert offered == [("mask_type", "inverted"), ("mask_type", "binary")]
    assert about == list(range(6))
    share = 100 * np.mean([one == 0 for one in BINARY])
    assert f"covers {share:.0f} % of the area" in text


def test_a_frame_around_one_large_object_is_swapped():
    mask = np.full((60, 60), 255, np.uint8)
    mask[20:40, 15:45] = 0
    assert asked([mask] * 3)[1][0] == ("mask_type", "inverted")
    assert recognise_mask_type([255 - mask] * 3)[0] == "binary"


def test_tissue_that_covers_most_but_leaves_a_border_is_not_swapped():
    mask = np.full((60, 60), 255, np.uint8)
    mask[:12], mask[30:32, 30:32] = 0, 0
    assert recognise_mask_type([mask] * 3)[0] == "binary"


def test_confluent_cells_with_gaps_between_are_not_swapped():
    mask = np.full((60, 60), 255, np.uint8)
    mask[::12], mask[:, ::12] = 0, 0
    assert recognise_mask_type([mask] * 3)[0] == "binary"


def test_labels_1_and_2_without_0():
    for masks in ([1 + (one > 0) for one in LABELS], [2 - (one > 0) for one in LABELS]):
        text, offered, _ = asked([one.astype(np.uint8) for one in masks])
        assert "No mask holds a 0, the values are 1, 2" in text
        assert offered == [("mask_type", "binary"), ("mask_type", "inverted")]


def test_three_classes_without_0_have_the_lowest_as_background():
    masks = [np.kron(RNG.choice([1, 2, 3], (15, 15)), np.ones((4, 4), int)).astype(np.uint8) for _ in range(4)]
    kind, why = recognise_mask_type(masks)
    assert kind == "classes"
    assert "1 is the background" in why
    assert [(one["name"], one["value"]) for one in table_of_classes(masks, kind)] == [
        ("background", 1),
        ("class 2", 2),
        ("class 3", 3),
    ]


def test_soft_edges_of_three_values_may_be_classes():
    soft = [one.copy() for one in BINARY]
    for one in soft:
        one[(one > 0) != ndimage.binary_erosion(one > 0)] = 127
    text, offered, _ = asked(soft)
    assert "(127)" in text
    assert offered == [("mask_type", "soft edges"), ("mask_type", "classes")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mask: jpeg(mask, 75),
        lambda mask: jpeg(mask, 30),
        lambda mask: ndimage.gaussian_filter(mask.astype(float), 0.7).round().astype(np.uint8),
        lambda mask: np.asarray(PIL.Image.fromarray(mask).resize((72, 72), PIL.Image.BILINEAR)),
        lambda mask: 257 * jpeg(mask, 60).astype(np.uint16),
    ],
    ids=["jpeg", "poor jpeg", "blurred", "resized", "16 bits"],
)
def test_what_a_jpeg_or_smoothing_leaves_is_read_as_edges(spoil):
    masks = [spoil(one) for one in BINARY]
    kind, why = recognise_mask_type(masks)
    assert kind == "soft edges"
    assert "edges only" in why
    table = table_of_classes(masks, kind)
    assert [one["value"] for one in table] == [0, max(one.max() for one in masks)]
    for spoilt, mask in zip(masks, BINARY, strict=True):
        if spoilt.shape == mask.shape:
            assert np.mean(to_class_ids(spoilt, table, kind) == (mask > 0)) > 0.99


def test_swapped_masks_that_were_a_jpeg_are_not_taken_silently():
    text, offered, _ = asked([jpeg(255 - one) for one in BINARY])
    assert "islands" in text
    assert offered == [("mask_type", "soft edges")]


def test_255_may_be_what_is_not_to_count():
    masks = changed([np.uint8(one > 0) for one in LABELS], [1, 4], np.s_[:20], 255)
    text, offered, about = asked(masks)
    assert "0, 1 and, apart from these, 255" in text
    assert offered == [("ignore_value", "255"), ("mask_type", "classes")]
    assert about == [1, 4]
    assert recognise_mask_type(mark_ignored(one, [255]) for one in masks)[0] == "binary"


def test_65535_among_objects():
    masks = changed([discs(30, seed=i).astype(np.uint16) for i in range(4)], [0], np.s_[:20], 65535)
    assert asked(masks)[1:] == ([("ignore_value", "65535"), ("mask_type", "instance labels")], [0])
    assert recognise_mask_type(mark_ignored(one, [65535]) for one in masks)[0] == "instance labels"


@pytest.mark.parametrize("value", [1, 128, 254])
def test_a_stray_value_names_its_mask_and_its_pixels(value):
    masks = changed(BINARY, [3], np.s_[5, 5:7], value)
    text, offered, about = asked(masks)
    assert f"The value {value} is found in a single mask only, 2 pixels in all" in text
    assert offered == [("ignore_value", str(value)), ("mask_type", "classes")]
    assert about == [3]


def test_masks_saved_with_different_values():
    masks = [one // 255 if i % 3 else one for i, one in enumerate(BINARY)]
    text, offered, _ = asked(masks)
    assert "1 in 4, 255 in 2" in text
    assert offered == [("mask_type", "binary"), ("mask_type", "classes")]
    table = table_of_classes(masks, "binary")
    for one, mask in zip(masks, BINARY, strict=True):
        np.testing.assert_array_equal(to_class_ids(one, table, "binary"), mask > 0)


@pytest.mark.parametrize("mode", ["inner", "thick", "outer"])
def test_outlines(mode):
    masks = [(find_boundaries(one, mode=mode) * 255).astype(np.uint8) for one in LABELS]
    text, offered, _ = asked(masks)
    assert "lines" in text
    assert offered == [("mask_type", "outlines"), ("mask_type", "binary")]


def test_threads_that_enclose_nothing_are_no_outlines():
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55:10, 3:57] = 255
    assert recognise_mask_type([mask] * 3)[0] == "binary"


def test_masks_of_one_value_only():
    for value, words in ((0, "all values are 0"), (255, "All pixels that count have the value 255")):
        with pytest.raises(DataError, match=words):
            recognise_mask_type([np.full((5, 5), value, np.uint8)] * 3)


def test_labels_whose_background_is_1_are_refused():
    with pytest.raises(DataError, match="No mask holds a 0, but 1 covers 6. % of the area"):
        recognise_mask_type([discs(30, seed=seed) + 1 for seed in range(4)])


def test_distance_maps_and_labels_that_are_outlines_are_asked_for():
    maps = [ndimage.distance_transform_edt(one).round().astype(np.uint8) for one in LABELS]
    assert ("mask_type", "instance labels") not in asked(maps)[1]
    lines = [one * find_boundaries(one, mode="inner") for one in LABELS]
    text, offered, _ = asked(lines)
    assert "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ..., 12" in text
    assert ("ignore_value", "0") in offered


def test_what_is_ignored_has_no_part_in_it():
    masks = changed(BINARY, range(6), np.s_[40:60, 40:60], 7)
    assert recognise_mask_type(mark_ignored(one, [7]) for one in masks)[0] == "binary"
    inverted = [255 - one for one in masks]
    inverted = [np.where(one == 248, 7, one).astype(np.uint8) for one in inverted]
    assert asked([mark_ignored(one, [7]) for one in inverted])[1][0] == ("mask_type", "inverted")


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 40), (np.uint8, 255), (np.uint16, 60000)])
def test_photographs_are_no_masks(dtype, top):
    assert all(looks_like_photograph(photograph(seed, dtype, top)) for seed in range(5))
    assert not any(looks_like_mask(photograph(seed, dtype, top)[..., None]) for seed in range(5))
    assert not any(looks_like_photograph(one) for one in LABELS + BINARY)
    assert all(looks_like_mask(one[..., None]) for one in LABELS + BINARY)
    assert looks_like_mask(np.repeat(BINARY[0][..., None], 3, axis=-1))  # grey saved as colour


def test_confluent_objects_are_no_photograph():
    labels = np.arange(1, 145, dtype=np.uint8).reshape(12, 12).repeat(8, 0).repeat(8, 1)
    assert not looks_like_photograph(labels)
    assert recognise_mask_type([labels])[0] == "instance labels"


def test_random_classes_have_no_soft_edges():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mask = rng.choice([0, 1, 2], (30, 30)).astype(np.uint8)
        assert not has_soft_edges([mask], 2)
        assert not has_soft_edges([mask.repeat(4, 0).repeat(4, 1)], 2)
