"""The forest kept as arrays answers as scikit-learn's does, and its calibration is honest about rare classes."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from tests.tiny_crops import CLASSES, crop
from utils.errors import ModelError
from utils.tasks.classes.forest import (
    as_arrays,
    calibrate,
    calibrated,
    features,
    fit_forest,
    load_forest,
    object_features,
    out_of_fold,
)


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("seed", range(4))
def test_arrays_answer_as_scikit_learn(kind, seed, tmp_path):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, 5)).round(1 + seed), rng.choice([0, 2, 3], 60)
    trees = kind(7, max_depth=[None, 1, 3, 20][seed], class_weight="balanced_subsample", bootstrap=True).fit(x, y)
    as_arrays(trees, 5, np.array([1.0, 0, 0, 0, 0, 0])).save(tmp_path / "forest.npz")
    asked = np.concatenate([x, rng.normal(size=(300, 5))])
    found = load_forest(tmp_path / "forest.npz").of_features(asked)
    np.testing.assert_allclose(found[:, trees.classes_], trees.predict_proba(asked), rtol=0, atol=1e-12)
    assert (found[:, [1, 4]] == 0).all()
    assert load_forest(tmp_path / "forest.npz").of_features(asked[:0]).shape == (0, 5)


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "forest.npz").write_bytes(b"no forest")
    with pytest.raises(ModelError, match="holds no forest"):
        load_forest(tmp_path / "forest.npz")
    np.savez(tmp_path / "forest.npz", roots=np.array([{}], object))
    with pytest.raises(ModelError, match="holds no forest"):
        load_forest(tmp_path / "forest.npz")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(64, 64, 1), (40, 40, 3), (1, 7, 2), (200, 90, 1), (1, 1, 3)])
def test_features_are_finite_and_as_many_for_any_crop(dtype, shape):
    rng = np.random.default_rng(9)
    n = len(features(np.zeros((20, 20, shape[-1]), np.uint8)))
    around_zero = np.where(np.indices(shape)[1] % 9 < 4, rng.normal(size=shape), -50)  # floats may be negative
    for array in (rng.random(shape) * 200, np.zeros(shape), np.full(shape, 200), around_zero):
        found = features(array.clip(0 if np.dtype(dtype).kind == "u" else None).astype(dtype))
        assert found.shape == (n,)
        assert np.isfinite(found).all()


def test_object_features_describe_what_is_in_the_middle():
    plane = np.zeros((64, 64))
    plane[28:36, 20:30], plane[28:36, 40:44] = 5, 5
    plane[:6, :20] = 5  # a neighbour at the border
    found = object_features(plane, plane > 2)
    assert found[:3].tolist() == [2, 80, 32]
    assert found[3] == 112  # area of both together
    assert found[-5] == 5  # mean brightness
    assert not object_features(np.zeros((64, 64)), np.zeros((64, 64), bool)).any()


def test_a_class_without_an_image_is_never_the_answer():
    rng = np.random.default_rng(0)
    ids = np.repeat([0, 2], 12)
    images = [crop(rng, CLASSES[i], 24) for i in ids]
    forest = fit_forest(images, ids, [str(i) for i in range(24)], 4)
    p = forest.probabilities(images)
    assert p.shape == (24, 4)
    assert p.dtype == np.float32
    assert (p[:, [1, 3]] == 0).all()
    assert (forest.predict_proba(images)[:, [1, 3]] == 0).all()
    assert forest.probabilities([]).shape == (0, 4)


def test_classes_that_differ_are_told_apart_and_the_same_seed_gives_the_same_forest():
    rng = np.random.default_rng(0)
    ids = np.repeat([0, 1, 2], 12)
    images = [crop(rng, CLASSES[i], 24) for i in ids]
    forest = fit_forest(images, ids, [str(i) for i in range(36)], 3)
    new = [crop(rng, CLASSES[i], 24) for i in ids]
    p = forest.probabilities(new)
    assert (p.argmax(axis=1) == ids).mean() > 0.9
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    again = fit_forest(images, ids, [str(i) for i in range(36)], 3)
    np.testing.assert_array_equal(p, again.probabilities(new))


def test_votes_out_of_fold_know_neither_the_image_nor_its_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 4)
    x, y = rng.normal(size=(20, 30))[groups], rng.integers(0, 2, 20)[groups]  # copies within groups, chance between
    p, judged = out_of_fold(x, y, groups.tolist(), 2)
    assert judged.all()
    assert (p.argmax(axis=1) == y).mean() < 0.8
    alone, judged = out_of_fold(x, y, ["one"] * 80, 2)
    assert not judged.any()
    assert alone.shape == (80, 2)


def test_calibration_finds_the_votes_that_a_rare_class_lacks():
    rng = np.random.default_rng(0)
    counts = np.array([900, 100])
    y = np.repeat([0, 1], counts)
    likely = 1 / (
        1 + np.exp(-2 * rng.normal(np.where(y == 1, 1.0, -1.0), 1))
    )  # of class 1 if both were equally frequent
    votes = likely * 100 / (likely * 100 + (1 - likely) * 900)
    p = np.stack([1 - votes, votes], axis=1)
    calibration = calibrate(p, y, counts, 1 / counts)
    recall = [(calibrated(p, calibration).argmax(axis=1)[y == i] == i).mean() for i in (0, 1)]
    assert (p.argmax(axis=1)[y == 1] == 1).mean() < 0.6
    assert min(recall) > 0.75
    plain = calibrate(p, y, counts, np.ones(2))  # every image counts alike: nothing to shift
    np.testing.assert_allclose(calibrated(p, plain), p, atol=0.12)


def test_few_images_fit_no_temperature():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 60)
    p = np.abs(np.eye(2)[y] - rng.uniform(0.1, 0.45, (60, 1)))  # always right, and hardly sure of it
    few, many = (calibrate(p[:n], y[:n], np.array([n, n]), np.ones(2)) for n in (29, 60))
    assert few[0] == 1
    assert many[0] < 0.8


def test_without_an_image_to_judge_by_the_votes_stay():
    np.testing.assert_allclose(calibrate(np.zeros((0, 2)), np.zeros(0, int), np.array([3, 3]), np.ones(2)), [1, 0, 0])
