"""What the values of masks mean, and that none is lost on the way to class ids and back."""

import numpy as np
import pytest

from utils.errors import DataError
from utils.images.mask_types import recognise_mask_type
from utils.images.masks import table_of_classes, to_class_ids, to_labels, to_values

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
