"""The samples mitosis and mitosis_new_marker: complete, reproducible, neither too easy nor impossible."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.feature import hog
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from data_samples.mitosis import make_mitosis, make_mitosis_new_marker

SAMPLES = Path(__file__).resolve().parents[2] / "data_samples"
COUNTS = {
    "mitosis": {
        "earlyana": (20, 8),
        "lateana": (30, 12),
        "telophase": (30, 12),
        "prophase": (26, 12),
        "prometaphase": (26, 12),
        "metaphase": (28, 8),
        "interphase": (80, 32),
        "apoptosis": (80, 32),
    },
    "mitosis_new_marker": {"G2": (40, 40), "not_G2": (40, 40)},
}
MEGABYTES = {"mitosis": 1.8, "mitosis_new_marker": 0.8}
PIXEL_SIZE = {"mitosis": 0.36, "mitosis_new_marker": 0.5}
MAKERS = {"mitosis": make_mitosis, "mitosis_new_marker": make_mitosis_new_marker}
both = pytest.mark.parametrize("name", COUNTS)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the crops, (n, 64, 64), and class names, (n,), of folder/<class>/*.tif."""
    paths = sorted(folder.glob("*/*.tif"))
    return np.stack([tifffile.imread(p) for p in paths]), np.array([p.parent.name for p in paths])


def shape_features(crop: np.ndarray) -> list[float]:
    """Otsu's objects that reach into the middle of the crop: their number and sizes, and the shape of all together."""
    objects = label(crop > threshold_otsu(crop))
    y, x = np.indices(crop.shape) - (np.array(crop.shape)[:, None, None] - 1) / 2
    kept = [p for p in regionprops(objects) if (objects[np.hypot(y, x) < 14] == p.label).any()]
    if not kept:
        return [0.0] * 23
    mask = np.isin(objects, [p.label for p in kept])
    areas = sorted((float(p.area) for p in kept), reverse=True)
    whole = regionprops(mask.astype(np.uint8))[0]
    inside = crop[mask].astype(float)
    names = ("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length")
    return [
        *(float(getattr(whole, name)) for name in (*names, "euler_number")),
        *whole.moments_hu,
        *(len(areas), areas[0], areas[1] if len(areas) > 1 else 0.0),
        *(inside.mean(), inside.std(), inside.std() / inside.mean(), inside.mean() / crop[~mask].mean(), inside.max()),
    ]


def features(crop: np.ndarray) -> np.ndarray:
    """Classical description of a crop: shape by Otsu, HOG, intensity statistics."""
    gradients = hog(crop, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
    levels = np.percentile(crop, [1, 5, 25, 50, 75, 90, 95, 99])
    return np.concatenate([shape_features(crop), gradients, levels, [crop.mean(), crop.std()]])


def forest_scores(folder: Path, seeds: int = 3) -> list[float]:
    """Balanced accuracies on folder/test of random forests on classical features, trained on folder/train."""
    (x_train, y_train), (x_test, y_test) = (read(folder / role) for role in ("train", "test"))
    x_train, x_test = ([features(crop) for crop in crops] for crops in (x_train, x_test))
    forests = (
        RandomForestClassifier(300, class_weight="balanced_subsample", random_state=seed, n_jobs=2).fit(
            x_train, y_train
        )
        for seed in range(seeds)
    )
    return [balanced_accuracy_score(y_test, forest.predict(x_test)) for forest in forests]


@both
def test_counts_and_names(name):
    for role, column in (("train", 0), ("test", 1)):
        assert {p.name for p in (SAMPLES / name / role).iterdir()} == set(COUNTS[name])
        for folder, counts in COUNTS[name].items():
            files = sorted(p.name for p in (SAMPLES / name / role / folder).iterdir())
            assert files == [f"{folder}_{i:04d}.tif" for i in range(1, counts[column] + 1)]


@both
def test_crops_are_64x64_8_bit_with_pixel_size(name):
    for path in (SAMPLES / name).rglob("*.tif"):
        with tifffile.TiffFile(path) as tif:
            assert (tif.pages[0].shape, tif.pages[0].dtype) == ((64, 64), np.uint8), path
            assert tif.imagej_metadata["unit"] == "um"
            pixels, unit = tif.pages[0].tags["XResolution"].value
            assert unit / pixels == pytest.approx(PIXEL_SIZE[name], rel=1e-4)


@both
def test_size_on_disk(name):
    assert sum(p.stat().st_size for p in (SAMPLES / name).rglob("*") if p.is_file()) <= MEGABYTES[name] * 1e6


def test_class_table_holds_the_counts_and_groups():
    table = pd.read_csv(SAMPLES / "mitosis" / "classes.csv").set_index("class")
    assert dict(zip(table.index, zip(table["train"], table["test"], strict=True), strict=True)) == COUNTS["mitosis"]
    groups = {group: set(rows.index) for group, rows in table.groupby("group")}
    assert groups == {
        "AA": {"earlyana", "lateana", "telophase"},
        "BA": {"prophase", "prometaphase", "metaphase"},
        "I": {"interphase"},
        "J": {"apoptosis"},
    }
    totals = table.groupby("group")[["train", "test"]].sum()
    assert all(tuple(row) == (80, 32) for row in totals.to_numpy())
    assert table["meaning"].str.len().min() > 5


@both
def test_made_again_gives_the_same_pixels(name, tmp_path):
    MAKERS[name](tmp_path)
    for role in ("train", "test"):
        (new, new_classes), (old, old_classes) = (read(folder / role) for folder in (tmp_path, SAMPLES / name))
        np.testing.assert_array_equal(new_classes, old_classes)
        np.testing.assert_array_equal(new, old)
    if name == "mitosis":
        assert (tmp_path / "classes.csv").read_bytes() == (SAMPLES / name / "classes.csv").read_bytes()


@both
def test_no_crop_is_a_near_copy_of_another_even_if_turned_or_flipped(name):
    crops = np.concatenate([read(SAMPLES / name / role)[0] for role in ("train", "test")]).astype(float)
    standard = (crops - crops.mean((1, 2), keepdims=True)) / crops.std((1, 2), keepdims=True)
    for turns in range(4):
        for flip in (1, -1):
            other = np.rot90(standard, turns, (1, 2))[:, :, ::flip]
            correlation = np.einsum("aij,bij->ab", standard, other, optimize=True) / crops[0].size
            np.fill_diagonal(correlation, 0)
            assert correlation.max() < 0.97


@both
@pytest.mark.parametrize("statistic", ["mean", "std", "max", "light above background", "background"])
def test_no_single_intensity_gives_the_class_away(name, statistic):
    def measure(crops: np.ndarray) -> np.ndarray:
        dark = np.percentile(crops, 20, axis=(1, 2), keepdims=True)
        if statistic == "light above background":
            return (crops - dark).sum((1, 2))[:, None]
        return (dark[:, 0] if statistic == "background" else getattr(crops, statistic)((1, 2))[:, None]).astype(float)

    (x_train, y_train), (x_test, y_test) = (read(SAMPLES / name / role) for role in ("train", "test"))
    tree = DecisionTreeClassifier(max_leaf_nodes=8, class_weight="balanced", random_state=0)
    found = tree.fit(measure(x_train), y_train).predict(measure(x_test))
    assert balanced_accuracy_score(y_test, found) < {"mitosis": 0.35, "mitosis_new_marker": 0.72}[name]


@both
def test_classical_features_find_it_neither_easy_nor_impossible(name):
    scores = forest_scores(SAMPLES / name)
    print(f"random forest on {name}: balanced accuracy {np.mean(scores):.3f}, three seeds {np.round(scores, 3)}")
    assert 0.60 <= np.mean(scores) <= 0.85
