"""What the values of masks mean, and that none is lost on the way to class ids and back."""

import numpy as np
import pytest

from utils.errors import DataError, FormError
from utils.images import masks as room
from utils.images.mask_types import recognise_mask_type
from utils.images.masks import (
    IGNORED,
    MaskError,
    counted,
    ignored_values,
    mark_ignored,
    remove_specks,
    smallest_part,
    table_of_classes,
    to_class_ids,
    to_labels,
    to_objects,
    to_values,
    values_of,
)

RNG = np.random.default_rng(0)


def objects(n, shape=(60, 60), side=6):
    """Labels 1 to n, each a square, none touching."""
    labels = np.zeros(shape, np.uint16)
    corners = [(y, x) for y in range(1, shape[0] - side, side + 2) for x in range(1, shape[1] - side, side + 2)]
    for value, i in enumerate(RNG.permutation(len(corners))[:n], 1):
        y, x = corners[i]
        labels[y : y + side, x : x + side] = value
    return labels


def speckled(values, shape=(60, 60)):
    """Every value in many regions."""
    small = RNG.choice([0, *values], (shape[0] // 4, shape[1] // 4))
    return np.kron(small, np.ones((4, 4), int)).astype(np.uint16)


@pytest.mark.parametrize("value", [1, 128, 255, 65535])
def test_binary_is_recognised(value):
    masks = [(speckled([1]) * value).astype(np.uint16) for _ in range(4)] + [np.zeros((9, 9), np.uint16)]
    mask_type, why = recognise_mask_type(iter(masks))
    assert mask_type == "binary"
    assert str(value) in why


@pytest.mark.parametrize("values", [(1, 2), (1, 2, 3, 4), (85, 170, 255), (3, 1, 7)])
@pytest.mark.parametrize("n", [1, 2, 15])
def test_classes_are_recognised(values, n):
    assert recognise_mask_type(speckled(values) for _ in range(n))[0] == "classes"


def test_spread_values_are_classes_even_in_one_piece_each():
    mask = np.zeros((30, 30), np.uint8)
    mask[:10], mask[20:] = 128, 255
    assert recognise_mask_type([mask] * 3)[0] == "classes"


@pytest.mark.parametrize("counts", [(40,), (3, 9, 5), (20, 25, 4, 0), (45, 50)])
def test_instance_labels_are_recognised(counts):
    assert recognise_mask_type(objects(n) for n in counts)[0] == "instance labels"


def test_touching_and_torn_objects_are_instance_labels():
    labels = np.arange(1, 37).reshape(6, 6).repeat(10, 0).repeat(10, 1).astype(np.uint16)
    labels[0, 0] = 36  # one object in two pieces
    assert recognise_mask_type([labels])[0] == "instance labels"


def test_doubtful_masks_are_asked():
    blobs = [objects(2) for _ in range(3)]
    smeared = RNG.integers(0, 256, (60, 60)).astype(np.uint8)
    for masks in (blobs, [smeared], [objects(1), objects(1) * 255]):
        with pytest.raises(DataError, match="field mask_type"):
            recognise_mask_type(masks)
    with pytest.raises(DataError, match="all values are 0"):
        recognise_mask_type([np.zeros((5, 5), np.uint8)])


def test_table_is_made_of_all_masks():
    masks = [np.array([[0, 9]], np.uint8), np.array([[2, 2]], np.uint8), np.array([[4, 0]], np.uint8)]
    table = table_of_classes(masks, "classes")
    assert [entry["value"] for entry in table] == [0, 2, 4, 9]
    assert [entry["id"] for entry in table] == [0, 1, 2, 3]
    assert [entry["name"] for entry in table] == ["background", "class 2", "class 4", "class 9"]
    assert all(entry["group"] is None for entry in table)


def test_background_is_in_the_table_even_if_in_no_mask():
    assert [entry["value"] for entry in table_of_classes([np.ones((4, 4), np.uint8)], "classes")] == [0, 1]


def test_two_class_tables():
    binary = table_of_classes([np.array([[0, 255]], np.uint8)], "binary")
    labels = table_of_classes([np.array([[0, 3, 9]], np.uint16)], "instance labels")
    assert [(entry["name"], entry["value"]) for entry in binary] == [("background", 0), ("foreground", 255)]
    assert [(entry["name"], entry["value"]) for entry in labels] == [("background", 0), ("foreground", 1)]


def test_tables_that_cannot_be():
    for masks, mask_type, message in (
        ([np.array([[0, 1, 255]], np.uint8)], "binary", "0, 1, 255"),
        ([np.arange(400, dtype=np.uint16)[None]], "classes", "too many"),
        ([np.array([[0, 70000]], np.uint32)], "classes", "too many"),
        ([np.zeros((3, 3), np.uint8)], "classes", "all values are 0"),
    ):
        with pytest.raises(DataError, match=message):
            table_of_classes(masks, mask_type)


def test_ids_and_back_lose_no_class():
    for _ in range(30):
        values = np.sort(RNG.choice(np.arange(1, 1000), RNG.integers(1, 12), replace=False))
        mask = RNG.choice([0, *values], RNG.integers(20, 50, 2)).astype(np.uint16)
        mask.flat[: len(values)] = values
        table = table_of_classes([mask], "classes")
        ids = to_class_ids(mask, table, "classes")
        assert ids.dtype == np.uint8
        assert set(np.unique(ids)) <= set(range(len(table)))
        np.testing.assert_array_equal(to_values(ids, table), mask)


def test_remapping_by_hand():
    # Replacing value by value in place turns 0, 2, 1 into one class; a table does not.
    table = [{"id": i, "value": value} for i, value in enumerate([0, 2, 1])]
    mask = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    np.testing.assert_array_equal(to_class_ids(mask, table, "classes"), [[0, 2, 1], [1, 2, 0]])
    np.testing.assert_array_equal(to_values(np.array([[0, 2, 1]], np.uint8), table), [[0, 1, 2]])


@pytest.mark.parametrize("mask_type", ["binary", "instance labels"])
def test_full_foreground_stays_foreground(mask_type):
    mask = np.full((5, 5), 255, np.uint8)
    assert (to_class_ids(mask, table_of_classes([mask], mask_type), mask_type) == 1).all()


def test_values_above_255_are_16_bit():
    table = table_of_classes([np.array([[0, 300]], np.uint16)], "binary")
    values = to_values(np.array([[0, 1]], np.uint8), table)
    assert values.dtype == np.uint16
    assert values.tolist() == [[0, 300]]


def test_unexpected_values_are_told():
    table = table_of_classes([np.array([[0, 1, 2]], np.uint8)], "classes")
    for value in (3, 60000):
        with pytest.raises(DataError, match=f"unexpected values {value}; known are 0, 1, 2"):
            to_class_ids(np.array([[0, value]], np.uint16), table, "classes")
    with pytest.raises(DataError, match="1, 128, 255"):
        to_class_ids(np.array([[0, 1, 128, 255]], np.uint8), table, "binary")


def test_to_labels():
    mask = np.array([[255, 0, 0, 7], [0, 255, 0, 0], [0, 0, 0, 1]], np.uint8)
    labels = to_labels(mask)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 3]])
    many = np.zeros((520, 520), np.uint8)
    many[::2, ::2] = 1
    labels = to_labels(many)
    assert labels.dtype == np.uint32
    assert labels.max() == 260 * 260


def law_masks():
    """Random masks with the value 9, which is to be ignored, and where it is."""
    for _ in range(20):
        mask = RNG.choice([0, 3, 7, 9], RNG.integers(5, 40, 2)).astype(RNG.choice([np.uint8, np.uint16, np.uint32]))
        mask.flat[:4] = 0, 3, 7, 9
        yield mask, mask == 9


def test_ignored_pixels_are_minus_one_and_change_no_other():
    assert IGNORED == -1
    for mask, where in law_masks():
        marked = mark_ignored(mask, [9])
        assert marked.dtype.kind == "i"
        np.testing.assert_array_equal(marked == IGNORED, where)
        np.testing.assert_array_equal(marked[~where], mask[~where])
        np.testing.assert_array_equal(counted(marked), ~where)
        assert values_of(marked).tolist() == [0, 3, 7]
        table = table_of_classes([marked], "classes")
        assert [one["value"] for one in table] == [0, 3, 7]
        ids, labels = to_class_ids(marked, table, "classes"), to_objects(marked, "instance labels")[0]
        assert (ids.dtype, labels.dtype) == (np.int16, np.int32)
        for found in (ids, labels):
            np.testing.assert_array_equal(found, np.select([where, mask == 3, mask == 7], [IGNORED, 1, 2], 0))


def test_the_type_follows_from_the_field_not_from_one_mask():
    plain = np.array([[0, 1]], np.uint8)
    assert mark_ignored(plain, []) is plain
    assert mark_ignored(plain, [9]).dtype == mark_ignored(plain, [1]).dtype == np.int16
    assert mark_ignored(plain.astype(np.uint16), [1]).dtype == np.int32
    high = np.array([[0, 65534, 65535]], np.uint16)
    np.testing.assert_array_equal(mark_ignored(high, [65535]), [[0, 65534, -1]])


def test_ignore_value_is_read_from_its_field():
    assert [ignored_values(text) for text in ("", " ", "255", 255, "0", "254, 255")] == [
        (),
        (),
        (255,),
        (255,),
        (0,),
        (254, 255),
    ]
    for wrong in ("white", "-1", "1.5"):
        with pytest.raises(FormError, match="ignore_value"):
            ignored_values(wrong)


def test_0_may_be_what_does_not_count():
    masks = [mark_ignored(np.array([[0, 1, 2, 0]], np.uint8), [0])] * 2
    assert recognised_doubt(masks) == ["binary", "inverted"]
    for kind, expected in (("binary", [[-1, 0, 1, -1]]), ("inverted", [[-1, 1, 0, -1]])):
        np.testing.assert_array_equal(to_class_ids(masks[0], table_of_classes(masks, kind), kind), expected)


def recognised_doubt(masks):
    with pytest.raises(DataError) as caught:
        recognise_mask_type(masks)
    return [one.value for one in caught.value.readings]


def test_inverted():
    for low, high in ((0, 255), (1, 2), (0, 1)):
        mask = np.array([[high, low, high]], np.uint8)
        table = table_of_classes([mask], "inverted")
        assert [one["value"] for one in table] == [high, low]
        ids = to_class_ids(mask, table, "inverted")
        np.testing.assert_array_equal(ids, [[0, 1, 0]])
        np.testing.assert_array_equal(to_values(ids, table), mask)
        np.testing.assert_array_equal(to_objects(mask, "inverted", high, low)[0], [[0, 1, 0]])


def test_two_values_without_0():
    masks = [np.array([[1, 2]], np.uint8), np.array([[1, 1]], np.uint8)]
    table = table_of_classes(masks, "binary")
    assert [one["value"] for one in table] == [1, 2]
    assert [to_class_ids(mask, table, "binary").tolist() for mask in masks] == [[[0, 1]], [[0, 0]]]
    assert [to_objects(mask, "binary", 1, 2)[0].tolist() for mask in masks] == [[[0, 1]], [[0, 0]]]
    with pytest.raises(DataError, match="1, 2, 3"):
        to_class_ids(np.array([[1, 2, 3]], np.uint8), table, "binary")


def test_soft_edges_are_cut_at_the_half():
    mask = np.array([[0, 3, 127, 128, 251, 255]], np.uint8)
    table = table_of_classes([mask], "soft edges")
    assert [one["value"] for one in table] == [0, 255]
    np.testing.assert_array_equal(to_class_ids(mask, table, "soft edges"), [[0, 0, 0, 1, 1, 1]])


def squares():
    """Three squares, two of which touch, and one cut by the border, with the outlines of all (open at the border)."""
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 5:15], labels[5:15, 15:25], labels[20:34, 30:44], labels[20:30, 54:] = 1, 2, 3, 4
    inner = np.zeros_like(labels)
    inner[6:14, 6:14], inner[6:14, 16:24], inner[21:33, 31:43], inner[21:29, 55:] = 1, 2, 3, 4
    return labels, ((labels > 0) & (inner == 0)).astype(np.uint8) * 255


def test_outlines_are_filled_and_separate_what_touches():
    labels, lines = squares()
    table = table_of_classes([lines], "outlines")
    ids, (objects, values) = to_class_ids(lines, table, "outlines"), to_objects(lines, "outlines")
    cut = (labels == 4) & (lines == 0)  # whether this is inside or outside the lines do not tell
    assert (ids[cut] == IGNORED).all()
    assert (objects[cut] == IGNORED).all()
    np.testing.assert_array_equal(ids[labels != 4], labels[labels != 4] > 0)
    np.testing.assert_array_equal(objects[:, :50], np.where(labels < 4, labels, 0)[:, :50])
    assert values.tolist() == [1, 2, 3]


def test_messages_about_binary_masks_say_which_they_are():
    plain = np.array([[0, 255]], np.uint8)
    with pytest.raises(MaskError) as caught:
        table_of_classes([plain, plain, np.array([[0, 7, 255]], np.uint8)], "binary")
    assert caught.value.masks == [2]


@pytest.mark.parametrize(("pixels", "smallest"), [(1, 1), (2, 1), (3, 2), (21, 11), (31, 16), (32, 16), (400, 16)])
def test_a_speck_is_less_than_half_of_the_smallest_part(pixels, smallest):
    mask = np.zeros((40, 40), np.uint8)
    mask.ravel()[:pixels] = 1  # one part: whole rows and the beginning of one
    mask[20:, 20:] = 1
    assert smallest_part([np.zeros((5, 5), np.uint8), mask]) == smallest


def test_where_nothing_is_marked_nothing_is_a_speck():
    nothing = np.zeros((5, 5), np.uint8)
    assert smallest_part([]) == smallest_part([nothing]) == smallest_part([nothing.astype(np.int16) + IGNORED]) == 1
    corner = np.array([[1, 0], [0, 1]], np.uint8)  # one part of two pixels, seen at the corner
    assert smallest_part([np.pad(np.kron(corner, np.ones((2, 2), np.uint8)), 3)]) == 4


@pytest.mark.parametrize("seed", range(40))
def test_specks_are_removed_whatever_band_they_lie_in(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    ids = (rng.random(rng.integers(1, 60, 2)) < rng.uniform(0.02, 0.6)).astype(np.uint8)
    smallest = int(rng.integers(1, 17))
    monkeypatch.setattr(room, "BAND", int(rng.integers(1, 40)))
    parts = to_labels(ids)
    expected = ids * (np.bincount(parts.ravel())[parts] >= smallest)
    remove_specks(ids, smallest)
    np.testing.assert_array_equal(ids, expected)
