"""Tiles that are unlike those of the training are told, others are not."""

import numpy as np
import pytest

from utils.tasks.slides.unlike import learn, read_known


def cohort(rng, n_patients, n_pieces=30, n_features=20, between=0.5):
    """Features of pieces: patients differ, features go together."""
    mixing = rng.normal(size=(n_features, n_features)) / np.sqrt(n_features)
    own = rng.normal(0, between, (n_patients, n_features))
    pieces = rng.normal(size=(n_patients, n_pieces, n_features)) + own[:, np.newaxis]
    return (pieces @ mixing).reshape(-1, n_features), np.repeat([f"P{i}" for i in range(n_patients)], n_pieces)


@pytest.mark.parametrize("seed", range(4))
def test_another_patient_is_alike_and_another_stain_is_not(seed):
    rng = np.random.default_rng(seed)
    features, patients = cohort(rng, 9)
    learned, new = patients != "P8", patients == "P8"
    known = learn(features[learned], patients[learned])
    assert (known.distances(features[new]) > known.limit).mean() < 0.15
    stained = features[new] + 4 * features.std(axis=0)
    assert (known.distances(stained) > known.limit).mean() > 0.9


def test_what_is_kept_of_many_features_is_small(tmp_path):
    """As many as a network has, of fewer pieces than that."""
    features, patients = cohort(np.random.default_rng(3), 3, n_features=262)
    known = learn(features, patients)
    known.save(tmp_path)
    assert (tmp_path / "looks.json").stat().st_size < 120_000
    np.testing.assert_allclose(read_known(tmp_path).distances(features), known.distances(features), rtol=1e-3)


def test_a_file_of_the_first_version_is_read(tmp_path):
    text = '{"mean": [5, 5], "scale": [2, 1],\n "covariance": [1, 0.5, 2],\n "limit": [3]}'
    (tmp_path / "looks.json").write_text(text, encoding="utf-8")
    known = read_known(tmp_path)
    np.testing.assert_array_equal(known.covariance, [[1, 0.5], [0.5, 2]])
    assert known.limit == 3


@pytest.mark.parametrize("spread", [0.0, 3.5])
def test_features_that_go_together_closely_or_never_change_are_kept(tmp_path, spread):
    """Variances from 1 down to a tenth of a millionth, or none at all."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    features = rng.normal(size=(4000, 60)) * np.logspace(0, -spread, 60) @ axes if spread else np.ones((40, 60))
    known = learn(features, np.repeat(["a", "b", "c", "d"], len(features) // 4))
    known.save(tmp_path)
    np.testing.assert_allclose(read_known(tmp_path).distances(features), known.distances(features), rtol=2e-3)


def test_few_patients_and_features_that_never_change():
    rng = np.random.default_rng(0)
    features, patients = cohort(rng, 2)
    features[:, 3] = 1.0
    known = learn(features, patients)
    assert np.isfinite(known.limit)
    assert (known.distances(features) < known.limit).all()
    assert np.isnan(known.distances(np.full((1, 20), np.nan))).all()


def test_a_distance_by_hand():
    """Features of one variance that do not go together: the distance is that in standard deviations."""
    rng = np.random.default_rng(1)
    features = rng.normal(5, 2, (20000, 2))
    known = learn(features, np.repeat(["a", "b"], 10000))
    assert known.distances(np.array([[5.0, 5.0]]))[0] < 0.05
    assert known.distances(np.array([[11.0, 5.0]]))[0] == pytest.approx(3 / np.sqrt(2), rel=0.05)


def test_what_is_kept_is_read_again(tmp_path):
    features, patients = cohort(np.random.default_rng(2), 4)
    known = learn(features, patients)
    known.save(tmp_path)
    again = read_known(tmp_path)
    assert again.limit == pytest.approx(known.limit, rel=1e-4)
    np.testing.assert_allclose(again.distances(features), known.distances(features), rtol=1e-3)
    (tmp_path / "looks.json").write_text("{", encoding="utf-8")
    assert read_known(tmp_path) is None
    assert read_known(tmp_path / "none") is None
