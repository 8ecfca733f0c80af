"""Outliers, copies and class shares: what is planted is found, and even data raise no alarm."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from utils.data.copies import duplicates
from utils.data.examples import Dataset, Example
from utils.data.uneven import class_shares, image_features, outliers
from utils.images.image import Image

FEATURES = ["mean intensity", "contrast", "height", "width", "focus", "foreground share"]


def example(name, array, mask=None, group=None):
    array = array[..., np.newaxis] if array.ndim == 2 else array
    mask = (array[..., 0] > array.mean()).astype(np.uint8) if mask is None else mask
    return Example(name, Image(Path(name), array, None, "YX"), mask, group or name, Path(name))


def texture(rng, shape=(96, 96)):
    """Blobs on an uneven background that all images share, with noise: the same statistics, other contents."""
    blobs = gaussian_filter(rng.normal(size=shape), 3)
    blobs = np.maximum(blobs / blobs.std(), 0)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (1000 + 2000 * np.exp(-(x**2) - y**2) + 800 * blobs + rng.normal(0, 50, shape)).astype(np.uint16)


def test_plain_data_have_no_outliers():
    counts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(8, 61))
        table = pd.DataFrame(rng.normal(100, 10, (n, 6)), columns=FEATURES).assign(
            group=rng.integers(0, 5, n).astype(str)
        )
        counts.append(len(outliers(table)))
    assert max(counts) <= 1
    assert np.mean(counts) <= 0.2


def test_even_images_have_no_outliers():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert outliers(image_features([example(f"{i}", texture(rng)) for i in range(12)])).empty


def planted(change, odd, n=15):
    rng = np.random.default_rng(1)
    arrays = [change(texture(rng)) if i in odd else texture(rng) for i in range(n)]
    return outliers(image_features([example(f"{i}.tif", a, group=f"patient {i // 3}") for i, a in enumerate(arrays)]))


CHANGES = {
    "mean intensity": lambda array: (array * 3).astype(np.uint16),
    "contrast": lambda array: (array * 3).astype(np.uint16),
    "focus": lambda array: gaussian_filter(array, 3),
    "height": lambda array: array[:60],
}


@pytest.mark.parametrize("feature", CHANGES)
def test_odd_image_is_found(feature):
    table = planted(CHANGES[feature], {4})
    row = table[table["feature"] == feature].iloc[0]
    assert (row["file"], row["group"]) == ("4.tif", "patient 1")
    assert set(table["file"]) == {"4.tif"}
    assert (row["value"] > row["typical"]) == (row["how far"] > 0) == (feature in ("mean intensity", "contrast"))


@pytest.mark.parametrize("feature", CHANGES)
def test_odd_group_is_named_once(feature):
    table = planted(CHANGES[feature], {6, 7, 8})
    rows = table[table["feature"] == feature]
    assert rows[["file", "group"]].to_numpy().tolist() == [["", "patient 2"]]


def test_few_images_are_not_judged():
    assert planted(CHANGES["focus"], {0}, n=5).empty


def test_sizes_are_only_odd_if_rare():
    table = pd.DataFrame({"group": [str(i) for i in range(20)], "height": [256.0] * 12 + [512.0] * 8})
    assert outliers(table).empty
    table["height"] = [256.0] * 19 + [512.0]
    assert outliers(table)["file"].tolist() == [19]


def test_small_differences_of_very_even_images_do_not_count():
    values = np.r_[np.linspace(100, 100.1, 19), 110]
    assert outliers(pd.DataFrame({"group": [str(i) for i in range(20)], "contrast": values})).empty


def test_focus_does_not_depend_on_brightness():
    array = texture(np.random.default_rng(0))
    features = image_features([example("a", array), example("b", (array * 4).astype(np.uint16) + 500)])
    assert features.loc["b", "focus"] == pytest.approx(features.loc["a", "focus"], rel=1e-3)
    assert features.loc["b", "contrast"] == pytest.approx(4 * features.loc["a", "contrast"], rel=1e-3)


def test_features_by_hand():
    array = np.array([[0, 0, 4, 4]] * 2, np.uint8)
    row = image_features([example("a", array, (array[:, :] > 0).astype(np.uint8))]).loc["a"]
    assert row[["mean intensity", "contrast", "height", "width", "foreground share"]].tolist() == [2, 2, 2, 4, 0.5]
    assert np.isfinite(image_features([example("c", np.zeros((9, 9), np.uint8))]).loc["c", "focus"])


COPIES = {
    "same": lambda array: array,
    "flipped": lambda array: array[::-1],
    "turned": np.rot90,
    "transposed": lambda array: array.T,
    "turned and flipped": lambda array: np.rot90(array)[::-1],
    "smaller": lambda array: resize(array.astype(float), (41, 60), anti_aliasing=True),
    "larger": lambda array: resize(array.astype(float), (150, 190)),
    "darker": lambda array: (array * 0.3).astype(np.uint16),
    "brighter": lambda array: (array * 2 + 1000).astype(np.uint16),
    "8-bit": lambda array: (255 * (array / array.max()) ** 0.6).astype(np.uint8),
    "all": lambda array: 255 - 255 + resize(np.rot90(array, 3)[::-1] * 0.5, (70, 50), anti_aliasing=True),
}


@pytest.mark.parametrize("copy", COPIES)
def test_planted_copies_are_found_and_nothing_else(copy):
    rng = np.random.default_rng(2)
    arrays = [texture(rng, (80, 110)) for _ in range(10)]
    images = [example(f"{i}", array) for i, array in enumerate(arrays)]
    images += [example(f"{i} copy", np.ascontiguousarray(COPIES[copy](arrays[i]))) for i in (0, 3, 7)]
    table = duplicates(images)
    assert sorted(zip(table["file_a"], table["file_b"], strict=True)) == [(f"{i}", f"{i} copy") for i in (0, 3, 7)]
    assert (table["similarity"].between(0.7, 1.001)).all()


def test_copies_of_colour_images_are_found():
    rng = np.random.default_rng(3)
    arrays = [np.stack([texture(rng) for _ in range(3)], axis=-1) for _ in range(4)]
    images = [example(f"{i}", array) for i, array in enumerate(arrays)]
    assert len(duplicates([*images, example("copy", np.rot90(arrays[2]))])) == 1


def test_even_images_and_single_images_are_no_copies():
    empty = [example(f"{i}", np.full((30, 30), i, np.uint8)) for i in range(3)]
    assert duplicates(empty).empty
    assert duplicates(empty[:1]).empty


def test_noise_on_one_background_is_no_copy():
    rng = np.random.default_rng(4)
    background = 500 * np.add.outer(np.linspace(0, 1, 64), np.linspace(0, 2, 64))
    assert duplicates([example(f"{i}", rng.poisson(background + 20).astype(np.uint16)) for i in range(30)]).empty


def test_class_shares_by_hand():
    masks = [np.array(mask, np.uint8) for mask in ([[0, 1], [1, 1]], [[0, 0], [0, 2]], [[1, 1], [1, 1]])]
    classes = [{"id": i, "name": name, "value": i, "group": None} for i, name in enumerate(["background", "a", "b"])]
    dataset = Dataset([example(f"{i}", mask, mask) for i, mask in enumerate(masks)], classes)
    table = class_shares(dataset, ["training", "training", "test"]).set_index(["role", "class"])
    assert table.loc["training"].to_numpy().tolist() == [[4, 0.5, 2], [3, 0.375, 1], [1, 0.125, 1]]
    assert table.loc["test"].to_numpy().tolist() == [[0, 0, 0], [4, 1, 1], [0, 0, 0]]
