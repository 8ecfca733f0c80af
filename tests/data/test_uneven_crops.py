"""Odd batches of crops are found whatever hides them, and even data raise no alarm; copies are found, likes are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from utils.data.copies import near_duplicates
from utils.data.crops import Crop, load_crops
from utils.data.uneven import crop_features, uneven_crops
from utils.images.image import Image
from utils.paths import ROOT

FEATURES = ["mean intensity", "contrast", "focus", "background", "fine detail"]


@pytest.fixture(scope="module")
def mitosis():
    return load_crops(ROOT / "data_samples" / "mitosis" / "train")


@pytest.fixture(scope="module")
def features(mitosis):
    return crop_features(mitosis.crops, mitosis.classes)


def crop(name, array, class_id=0, group=""):
    array = array[..., np.newaxis] if array.ndim == 2 else array
    return Crop(name, Image(Path(name), array, None, "YX"), class_id, group or name)


def changed(one, change, group=None):
    array = change(one.image.array.astype(float)).clip(0, 255).astype(np.uint8)
    return crop(one.name, array, one.class_id, group or one.group)


CHANGES = {
    "brighter": lambda array: 1.5 * array,
    "darker": lambda array: 0.6 * array,
    "background": lambda array: array + 25,
    "blurred": lambda array: gaussian_filter(array, (1, 1, 0)),
    "noisy": lambda array: array + np.random.default_rng(0).normal(0, 8, array.shape),
}


def test_features_by_hand():
    array = np.full((20, 20), 10, np.uint8)
    array[8:12, 8:12] = 110
    array[:2, :10] = 60  # a neighbour at the border: less than half of it
    row = crop_features([crop("a/b.tif", array, 1, "day 1")], [{"id": 1, "name": "mitotic"}]).loc["a/b.tif"]
    assert row[["class", "group", "height", "width"]].tolist() == ["mitotic", "day 1", 20, 20]
    assert row["mean intensity"] == pytest.approx(10 + 100 * 16 / 400 + 50 * 20 / 400)
    assert row["background"] == 10
    assert row["fine detail"] == pytest.approx(0, abs=1e-3)


def test_channels_are_measured_apart():
    row = crop_features(
        [crop("a", np.stack([np.full((9, 7), v, np.uint16) for v in (3, 500)], -1))], [{"id": 0, "name": "x"}]
    )
    assert row[["mean intensity, channel 1", "mean intensity, channel 2"]].to_numpy().tolist() == [[3, 500]]
    assert np.isfinite(row.drop(columns=["class", "group"]).to_numpy(float)).all()


@pytest.mark.parametrize("change", CHANGES)
def test_odd_group_is_named(mitosis, features, change):
    rng = np.random.default_rng(1)
    groups = rng.choice(["a", "b", "c", "d", "odd"], len(mitosis.crops))
    crops = [
        changed(one, CHANGES[change]) if group == "odd" else one
        for one, group in zip(mitosis.crops, groups, strict=True)
    ]
    table = uneven_crops(crop_features(crops, mitosis.classes).assign(group=groups))
    assert set(table["group"]) == {"odd"}
    assert set(table["file"]) == {""}
    assert set(table["class"]) == {""}


@pytest.mark.parametrize("change", CHANGES)
def test_odd_batch_without_groups_is_found(mitosis, change):
    odd = np.random.default_rng(2).random(len(mitosis.crops)) < 0.12
    crops = [changed(one, CHANGES[change]) if is_odd else one for one, is_odd in zip(mitosis.crops, odd, strict=True)]
    table = uneven_crops(crop_features(crops, mitosis.classes))
    names = {one.name for one, is_odd in zip(crops, odd, strict=True) if is_odd}
    assert set(table["file"]) <= names
    assert len(set(table["file"])) > 0.5 * len(names)


def test_group_that_is_odd_in_one_class_is_named(mitosis):
    chosen = next(one["id"] for one in mitosis.classes if one["name"] == "apoptosis")
    groups = np.random.default_rng(3).choice(["a", "b", "c", "odd"], len(mitosis.crops))
    odd = [group == "odd" and one.class_id == chosen for one, group in zip(mitosis.crops, groups, strict=True)]
    crops = [
        changed(one, CHANGES["blurred"]) if is_odd else one for one, is_odd in zip(mitosis.crops, odd, strict=True)
    ]
    table = uneven_crops(crop_features(crops, mitosis.classes).assign(group=groups))
    assert set(zip(table["class"], table["group"], table["file"], strict=True)) == {("apoptosis", "odd", "")}


def test_class_that_came_from_another_microscope_is_named(mitosis, features):
    crops = [changed(one, CHANGES["blurred"]) if one.class_id == 3 else one for one in mitosis.crops]
    table = uneven_crops(crop_features(crops, mitosis.classes))
    assert table[["file", "class", "group", "feature"]].to_numpy().tolist() == [
        ["", mitosis.classes[3]["name"], "", "fine detail"]
    ]


def test_single_odd_image_is_named_with_what_was_to_be_expected(mitosis):
    crops = [changed(one, CHANGES["blurred"]) if i == 100 else one for i, one in enumerate(mitosis.crops)]
    table = uneven_crops(crop_features(crops, mitosis.classes))
    assert table["file"].tolist() == [mitosis.crops[100].name]
    assert table.loc[0, "value"] < table.loc[0, "typical"]
    assert table.loc[0, "how far"] < 0


def test_mitosis_as_it_is_raises_no_alarm(features):
    assert uneven_crops(features).empty
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = [f"day {i}" for i in rng.integers(0, rng.integers(3, 12), len(features))]
        some = features.assign(group=groups)[rng.random(len(features)) < rng.uniform(0.2, 1)]
        assert uneven_crops(some).empty, seed


@pytest.mark.parametrize("tails", ["normal", "uniform", "heavy"])
def test_simulated_features_raise_no_alarm(tails):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, n_classes = int(rng.integers(10, 500)), int(rng.integers(2, 9))
        shape = n, len(FEATURES)
        x = {"normal": rng.normal(size=shape), "uniform": rng.uniform(-2, 2, shape), "heavy": rng.standard_t(8, shape)}
        classes = rng.integers(0, n_classes, n)
        means = rng.normal(0, 0.3, (n_classes, len(FEATURES)))
        values = 100 * np.exp(0.2 * x[tails] @ rng.normal(size=(5, 5)) + means[classes])
        table = pd.DataFrame(values, columns=FEATURES).assign(group=rng.integers(0, 6, n).astype(str))
        table["background"] = 50 + rng.normal(0, 5, n)  # does not differ between classes
        table["fine detail"] = 9 + rng.normal(0, 1, n)
        assert uneven_crops(table.assign(**{"class": classes})).empty, seed


def test_rare_size_is_named_and_a_frequent_one_is_not():
    table = pd.DataFrame({"class": 0, "group": [str(i) for i in range(50)], "height": [64.0] * 49 + [32.0]})
    assert uneven_crops(table)[["file", "feature", "value"]].to_numpy().tolist() == [[49, "height", 32.0]]
    assert uneven_crops(table)["typical"].tolist() == pytest.approx([64])
    assert uneven_crops(table.assign(height=[64.0] * 40 + [32.0] * 10)).empty


def test_few_or_equal_or_negative_values_do_no_harm():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 60):
        values = rng.normal(size=(n, 2))
        table = pd.DataFrame(values, columns=["a", "b"]).assign(c=1.0, d=0.0, e=values[:, 0], group="g", **{"class": 0})
        assert uneven_crops(table).empty
    assert list(uneven_crops(table)) == ["file", "class", "group", "feature", "value", "typical", "how far"]


def copied(array, rng):
    """Flipped, turned, rescaled and with another brightness."""
    array = np.rot90(array[:: rng.choice([-1, 1])].astype(float), rng.integers(4))
    sides = [round(side * rng.uniform(0.55, 1.8)) for side in array.shape[:1]] * 2
    array = resize(array, sides, order=1, anti_aliasing=True) * rng.uniform(0.5, 1.2) + rng.uniform(0, 20)
    return array.clip(0, 255).astype(np.uint8)


def test_all_planted_copies_are_found_and_nothing_else(mitosis):
    assert near_duplicates(mitosis.crops).empty
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(mitosis.crops), 80, replace=False)
    copies = [crop(f"copy {i}", copied(mitosis.crops[i].image.array, rng)) for i in chosen]
    table = near_duplicates(mitosis.crops, copies)
    assert sorted(zip(table["file_a"], table["file_b"], strict=True)) == sorted(
        (mitosis.crops[i].name, f"copy {i}") for i in chosen
    )
    assert table["similarity"].is_monotonic_decreasing
    assert len(near_duplicates([*mitosis.crops, *copies])) == len(chosen)


def test_test_images_are_no_copies_of_training_images(mitosis):
    test = load_crops(ROOT / "data_samples" / "mitosis" / "test")
    assert near_duplicates(mitosis.crops, test.crops).empty


def test_many_copies_of_one_image_are_found(mitosis):
    rng = np.random.default_rng(1)
    copies = [crop(f"copy {i}", copied(mitosis.crops[5].image.array, rng)) for i in range(12)]
    assert len(near_duplicates([*mitosis.crops, *copies])) == 13 * 12 / 2


def test_pairs_within_one_side_are_not_named_when_two_are_compared(mitosis):
    first, second = mitosis.crops[0], crop("second", mitosis.crops[0].image.array)
    assert near_duplicates([first, second], mitosis.crops[100:140]).empty
    assert len(near_duplicates([first], [second])) == 1


def test_round_cells_that_look_alike_are_no_copies():
    rng = np.random.default_rng(2)
    radius = np.hypot(*np.mgrid[-1:1:40j, -1:1:40j])
    discs = [gaussian_filter((radius < rng.normal(0.5, 0.04)).astype(float), 2) for _ in range(60)]
    noisy = [(20 + 150 * disc + rng.normal(0, 15, disc.shape)).clip(0, 255).astype(np.uint8) for disc in discs]
    cells = [crop(f"{i}", array) for i, array in enumerate(noisy)]
    assert near_duplicates(cells).empty
    assert len(near_duplicates([*cells, crop("copy", cells[7].image.array[::-1])])) == 1


def test_copies_of_images_of_several_channels_are_found_even_if_one_is_empty():
    rng = np.random.default_rng(3)
    arrays = [np.stack([*rng.integers(0, 255, (2, 30, 44)), np.zeros((30, 44))], -1).astype(np.uint8) for _ in range(6)]
    table = near_duplicates([crop(f"{i}", array) for i, array in enumerate([*arrays, np.rot90(arrays[4])])])
    assert table[["file_a", "file_b"]].to_numpy().tolist() == [["4", "6"]]
    assert table.loc[0, "similarity"] == pytest.approx(1, abs=1e-3)


def test_empty_images_and_single_images_are_no_copies():
    empty = [crop(f"{i}", np.full((30, 30), 7, np.uint8)) for i in range(3)]
    assert near_duplicates(empty).empty
    assert near_duplicates(empty[:1]).empty
