"""Prediction of whole images: in tiles as in one piece, normalised like the training, whatever the file's numbers."""

import itertools

import keras
import numpy as np
import pytest
import tifffile
from keras import layers

from tests.conftest import NORMALISATION, model_description, untrained_network
from utils.images.image import read_image
from utils.images.masks import to_labels
from utils.images.normalise import normalisation_range, percentiles
from utils.patching.augmentation import Augmentation, draw_patch
from utils.patching.patches import tile_layout
from utils.tasks.pixels import predict
from utils.tasks.pixels.predict import Segmenter

RNG = np.random.default_rng(0)


def network_of(kernel_size: int, channels: int = 1, classes: int = 2) -> keras.Model:
    """One convolution: sees kernel_size // 2 pixels around a pixel and no more."""
    keras.utils.set_random_seed(0)
    image = layers.Input((None, None, channels))
    scores = layers.Conv2D(classes, kernel_size, padding="same", kernel_initializer="he_normal")(image)
    return keras.Model(image, layers.Softmax()(scores))


def whole(segmenter, array):
    """Probabilities (Y, X, classes) of an image."""
    blocks = list(segmenter.probabilities(array))
    assert [rows.start for rows, _ in blocks] == [0, *(rows.stop for rows, _ in blocks[:-1])]
    return np.concatenate([block for _, block in blocks])


def in_one_piece(network, array):
    low, high = percentiles(array, 1, 99.8)
    return network(((array.astype(np.float32) - low) / (high - low))[np.newaxis]).numpy()[0]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(predict, "TILE", 32)
    monkeypatch.setattr(predict, "OVERLAP", 12)


@pytest.mark.parametrize("shape", [(100, 70), (33, 20), (20, 95), (31, 32), (5, 7), (1, 1)])
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 4)])
def test_tiles_of_a_network_that_sees_one_pixel_give_the_prediction_in_one_piece(small_tiles, shape, channels, classes):
    network = network_of(1, channels, classes)
    segmenter = Segmenter(network, model_description(channels, range(classes), pooling_steps=0))
    array = RNG.integers(0, 60_000, (*shape, channels)).astype(np.uint16)
    array[0, 0] = 65_535  # percentiles of a tile would differ from those of the image
    result = whole(segmenter, array)
    assert result.shape == (*shape, classes)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, in_one_piece(network, array), atol=1e-5)
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-5)


def clean_of_borders(shape, radius, multiple):
    """(Y, X) False where a tile's border inside the image is less than `radius` pixels away."""
    clean = np.ones(shape, bool)
    for axis, length in enumerate(shape):
        side, starts = tile_layout(length, predict.TILE, predict.OVERLAP, multiple)
        for border in {*starts, *(start + side for start in starts)} - {0}:
            clean[(slice(None),) * axis + (slice(max(border - radius, 0), border + radius),)] &= border >= length
    return clean


def test_tiles_differ_from_one_piece_only_near_their_borders(small_tiles):
    network = network_of(5)
    array = RNG.integers(0, 256, (120, 90, 1)).astype(np.uint8)
    result = whole(Segmenter(network, model_description(pooling_steps=0)), array)
    difference = np.abs(result - in_one_piece(network, array))
    clean = clean_of_borders(array.shape[:2], 2, 1)
    assert 0.3 < clean.mean() < 0.9
    assert difference[clean].max() < 1e-5
    assert difference.max() < 2 * 2 / 13  # pixels that see the border weigh at most 2 of 13 on either axis


def test_tiles_lie_on_the_pooling_grid_of_the_whole_image(monkeypatch):
    monkeypatch.setattr(predict, "TILE", 128)
    monkeypatch.setattr(predict, "OVERLAP", 30)
    description = model_description(filters=4, pooling_steps=1, half_resolution=True)
    network = untrained_network(description)
    array = RNG.integers(0, 256, (232, 204, 1)).astype(np.uint8)
    difference = np.abs(whole(Segmenter(network, description), array) - in_one_piece(network, array))
    clean = clean_of_borders(array.shape[:2], 24, 4)  # more than this network sees
    assert clean.mean() > 0.05
    assert difference[clean].max() < 1e-4
    assert difference.max() > 1e-3


@pytest.mark.parametrize("half_resolution", [False, True])
def test_unet_in_one_tile_is_the_network(half_resolution):
    description = model_description(3, (0, 1, 2), pooling_steps=2, half_resolution=half_resolution)
    network = untrained_network(description)
    array = RNG.integers(0, 256, (64, 48, 3)).astype(np.uint8)
    np.testing.assert_allclose(whole(Segmenter(network, description), array), in_one_piece(network, array), atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (2, 50), (37, 41), (511, 3), (520, 10), (9, 1030)])
def test_any_size(shape):
    description = model_description(pooling_steps=2, half_resolution=True)
    segmenter = Segmenter(untrained_network(description), description)
    result = whole(segmenter, RNG.integers(0, 256, (*shape, 1)).astype(np.uint8))
    assert result.shape == (*shape, 2)
    np.testing.assert_allclose(result.sum(axis=-1), 1, atol=1e-5)


def test_padding_is_a_mirror_and_is_cut_off_again():
    # a network with 4x4 pooling: the last rows of a 6x8 image are pooled with their mirror image
    image = layers.Input((None, None, 1))
    mean = layers.UpSampling2D(4)(layers.AveragePooling2D(4)(image))
    segmenter = Segmenter(keras.Model(image, mean), model_description(pooling_steps=2))
    array = np.arange(48, dtype=np.float32).reshape(6, 8, 1)
    low, high = percentiles(array, 1, 99.8)
    expected = (np.mean([array[4:6, :4], array[4:6, :4]]) - low) / (high - low)
    result = whole(segmenter, array)[..., 0]
    np.testing.assert_allclose(result[4:6, :4], expected[0], rtol=1e-5)
    np.testing.assert_allclose(result[:4, :4], (array[:4, :4].mean() - low[0]) / (high[0] - low[0]), rtol=1e-5)


@pytest.mark.parametrize("value", [0, 17, 255])
def test_constant_image(value):
    description = model_description()
    segmenter = Segmenter(untrained_network(description), description)
    result = whole(segmenter, np.full((20, 30, 1), value, np.uint8))
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result, whole(segmenter, np.zeros((20, 30, 1), np.uint8)), atol=1e-6)


@pytest.fixture
def segmenter():
    description = model_description(2)
    return Segmenter(untrained_network(description), description)


def test_the_same_picture_in_other_numbers_gives_the_same_result(segmenter):
    array = RNG.integers(0, 256, (40, 50, 2)).astype(np.uint8)
    expected = whole(segmenter, array)
    others = [array.astype(np.uint16) * 257, array.astype(np.float32) / 255, array.astype(np.float32) * 1e4 - 7e3]
    others += [array.astype(np.uint16) * 200 + [0, 5000]]  # channels are normalised separately
    for other in others:
        other = other.astype(np.uint16) if other.dtype.kind == "i" else other
        np.testing.assert_allclose(whole(segmenter, other), expected, atol=2e-3)
    assert np.abs(whole(segmenter, 255 - array) - expected).max() > 0.05  # the contrast is not inverted unnoticed


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_memory_mapped_files_of_either_byte_order(tmp_path, segmenter, byteorder, dtype):
    array = RNG.integers(0, 256, (2, 40, 50)).astype(byteorder + dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, metadata={"axes": "CYX"}, photometric="minisblack")
    image = read_image(tmp_path / "a.tif", memory_map=True)
    assert isinstance(image.array, np.memmap)
    expected = whole(segmenter, np.moveaxis(array.astype(dtype), 0, -1))
    np.testing.assert_allclose(whole(segmenter, image.array), expected, atol=1e-6)


def test_threshold_for_two_classes(segmenter):
    array = RNG.integers(0, 256, (40, 50, 2)).astype(np.uint8)
    p1 = whole(segmenter, array)[..., 1]
    np.testing.assert_array_equal(segmenter.foreground_probability(array), p1)
    seen = set()
    for segmenter.threshold in (0.0, 0.3, 0.5, 0.9, 1.0):
        ids = segmenter.class_ids(array)
        assert ids.dtype == np.uint8
        np.testing.assert_array_equal(ids, p1 > segmenter.threshold)
        seen.add(int(ids.sum()))
    assert len(seen) == 5


@pytest.mark.parametrize("smallest", [1, 2, 9, 16])
def test_specks_are_left_out_of_two_classes_only(segmenter, smallest):
    array = RNG.integers(0, 256, (60, 50, 2)).astype(np.uint8)
    segmenter.threshold = float(np.quantile(whole(segmenter, array)[..., 1], 0.8))
    with_specks = segmenter.class_ids(array)
    segmenter.smallest_part = smallest
    parts = to_labels(with_specks)
    kept = np.bincount(parts.ravel())[parts] >= smallest
    np.testing.assert_array_equal(segmenter.class_ids(array), with_specks * kept)
    assert kept.all() == (smallest == 1)
    several = model_description(1, (0, 10, 20, 30)) | {"smallest_part": 16}
    found = Segmenter(untrained_network(several), several)
    np.testing.assert_array_equal(found.class_ids(array[..., :1]), whole(found, array[..., :1]).argmax(axis=-1))


def test_most_probable_of_several_classes_whatever_the_threshold():
    description = model_description(1, (0, 10, 20, 30), threshold=0.99)
    segmenter = Segmenter(untrained_network(description), description)
    array = RNG.integers(0, 256, (40, 50, 1)).astype(np.uint8)
    ids = segmenter.class_ids(array)
    np.testing.assert_array_equal(ids, whole(segmenter, array).argmax(axis=-1))
    assert len(np.unique(ids)) > 1


def test_probabilities_are_handed_on_as_they_come(small_tiles, segmenter):
    array = RNG.integers(0, 256, (130, 50, 2)).astype(np.uint8)
    kept = {}
    segmenter.class_ids(array, lambda rows, block: kept.update({rows.start: block}))
    assert len(kept) > 2
    np.testing.assert_allclose(np.concatenate(list(kept.values())), whole(segmenter, array), atol=1e-6)


def test_training_and_prediction_normalise_alike():
    array = RNG.integers(0, 4000, (32, 32, 2)).astype(np.uint16)
    low, high = normalisation_range(array, NORMALISATION)
    patch, _ = draw_patch(
        array, np.zeros((32, 32), np.uint8), low, high, (32, 32), 0, Augmentation(), np.random.default_rng(0)
    )
    image = layers.Input((None, None, 2))
    seen = whole(Segmenter(keras.Model(image, layers.Activation("linear")(image)), model_description(2)), array)
    np.testing.assert_allclose(seen, patch, atol=1e-6)
    for channel, (q, bound) in itertools.product(range(2), ((1, low), (99.8, high))):
        assert bound[channel] == pytest.approx(np.percentile(array[..., channel], q), rel=1e-5)
