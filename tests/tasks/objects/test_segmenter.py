"""Objects in images of any size: what StarDist itself finds, with the preprocessing that was saved with the model."""

import numpy as np
import pytest
from csbdeep.utils import normalize_mi_ma
from scipy.spatial import cKDTree
from stardist.matching import matching

from tests.tiny_objects import discs
from utils.images.normalise import signal_range
from utils.tasks.objects import predict
from utils.tasks.objects.measure import Objects
from utils.tasks.objects.predict import tiles
from utils.tasks.registry import STARDIST


@pytest.fixture(scope="module")
def segmenter(finder):
    return STARDIST.load(finder.folder)


def test_it_finds_what_stardist_finds(segmenter):
    image, truth = discs(np.random.default_rng(3), 96)
    found = segmenter.find(image)
    (low,), (high,) = signal_range(image, 1, 99.8)
    ranged = normalize_mi_ma(image[..., 0], low, high, dtype=np.float32)
    labels, details = segmenter.model.predict_instances(ranged, show_tile_progress=False)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.outlines, details["coord"])
    np.testing.assert_array_equal(found.probability, details["prob"])
    assert found.class_ids is None
    assert found.labels.dtype == np.int32
    assert matching(truth, labels, thresh=0.5).accuracy > 0.6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, ">u2"])
def test_the_kind_of_number_does_not_matter(segmenter, dtype):
    image = (discs(np.random.default_rng(3), 64)[0] // 64).astype(np.uint8)
    np.testing.assert_array_equal(segmenter.find(image.astype(dtype)).labels, segmenter.find(image).labels)


def test_each_label_belongs_to_its_outline(segmenter):
    found = segmenter.find(discs(np.random.default_rng(4), 128)[0])
    assert len(found.outlines) > 10
    for label, outline in enumerate(found.outlines, start=1):
        y, x = outline.mean(axis=1).round().astype(int)
        assert found.labels[y, x] == label


def test_tiles_do_not_show(segmenter, monkeypatch):
    image = discs(np.random.default_rng(5), 256)[0]
    whole = segmenter.find(image)
    monkeypatch.setattr(predict, "TILE_PIXELS", 96**2)
    np.testing.assert_array_equal(segmenter.find(image).labels, whole.labels)


def test_blocks_do_not_show(segmenter, monkeypatch):
    """A large image is worked on in blocks; every object is there once, also where blocks meet."""
    image = discs(np.random.default_rng(6), 512)[0]
    whole = segmenter.find(image)
    monkeypatch.setattr(predict, "WHOLE_PIXELS", 256**2)
    monkeypatch.setattr(predict, "BLOCK", 256)
    monkeypatch.setattr(predict, "SMALLEST_OVERLAP", 32)
    blocks = segmenter.find(image)
    assert len(blocks.outlines) == len(whole.outlines) == blocks.labels.max()
    _, same = cKDTree(whole.outlines.mean(axis=2)).query(blocks.outlines.mean(axis=2))
    assert len(set(same)) == len(same)
    np.testing.assert_allclose(blocks.outlines, whole.outlines[same], atol=1e-3)
    labels = np.append(0, same + 1)[blocks.labels]
    assert np.count_nonzero(labels != whole.labels) <= 5  # pixels that an outline goes through, but for rounding
    for label, outline in enumerate(blocks.outlines, start=1):
        y, x = outline.mean(axis=1).round().astype(int)
        assert blocks.labels[y, x] == label


@pytest.mark.parametrize("shape", [(7, 9), (33, 130), (64, 1)])
def test_odd_and_tiny_images(segmenter, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 1), np.uint8)
    assert segmenter.find(image).labels.shape == shape


def test_a_constant_image_holds_nothing_or_what_the_network_says_without_failing(segmenter):
    assert segmenter.find(np.full((64, 64, 1), 7, np.uint8)).labels.shape == (64, 64)


def test_the_network_answers_stardist_as_keras_would(segmenter):
    network, rng = segmenter.network, np.random.default_rng(3)
    for side in 16 * rng.integers(1, 8, 3):
        images = rng.random((1, side, 48, 1), np.float32)
        for found, wanted in zip(network.predict(images, verbose=0), network([images], training=False), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_number_of_tiles():
    assert tiles((1024, 1024, 1)) == (1, 1, 1)
    assert tiles((1025, 3000, 3)) == (2, 3, 1)


def test_the_class_of_an_object_is_never_background(segmenter, monkeypatch):
    coordinates = np.zeros((2, 2, 8), np.float32)
    answer = {"coord": coordinates, "prob": np.ones(2), "class_prob": np.array([[0.8, 0.05, 0.15], [0.1, 0.7, 0.2]])}
    monkeypatch.setattr(type(segmenter), "_whole", lambda self, array: (np.zeros((8, 8), np.int32), answer))
    found = segmenter.find(np.zeros((8, 8, 1), np.uint8))
    assert isinstance(found, Objects)
    assert found.class_ids.tolist() == [2, 1]
