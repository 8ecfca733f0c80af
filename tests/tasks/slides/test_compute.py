"""What a tile of a slide is does not depend on tiles, nor on who computes it."""

import numpy as np
import pytest
from scipy.special import softmax

from utils.errors import ModelError
from utils.images.stains import PICROSIRIUS_RED
from utils.tasks.registry import UNET
from utils.tasks.slides.compute import SURE, FromModel, FromStain, Job, Where, answers, sorted_by
from utils.tasks.slides.tiles import NOT_TISSUE
from utils.training.networks import input_multiple, reach, unet

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("pooling_steps", "half"), [(1, False), (2, False), (3, False), (1, True), (2, True)])
def test_no_pixel_further_than_the_reach_matters(pooling_steps, half):
    network = unet(1, 2, 4, pooling_steps, half)
    for weights in network.trainable_weights:
        weights.assign(RNG.normal(0, 0.5, weights.shape))
    side, multiple = reach(pooling_steps, half), input_multiple(pooling_steps, half)
    size = -(-2 * (side + multiple) // multiple) * multiple
    image = RNG.random((1, size, size, 1)).astype(np.float32)
    changed = image.copy()
    changed[0, 0], changed[0, :, 0] = 50, 50
    one, two = (np.asarray(network(given, training=False))[0] for given in (image, changed))
    np.testing.assert_allclose(one[side + 1 :, side + 1 :], two[side + 1 :, side + 1 :], atol=1e-6)
    assert np.abs(one[:multiple] - two[:multiple]).max() > 1e-3


def whole(job, answers):
    """Map of a slide from its tiles."""
    rows, columns = job.grid.size
    side = job.grid.side
    result = np.zeros((rows * side, columns * side), np.uint8)
    for one in answers:
        y, x = job.grid.corner(one.number)
        result[y : y + side, x : x + side] = one.ids
    return result[: job.grid.shape[0], : job.grid.shape[1]]


EVERYWHERE = Where(np.ones((1, 1), bool), 1e6)


def job_of(slide, model, side, um_per_pixel=0.5, tissue=EVERYWHERE):
    return Job(slide, 0, FromModel(UNET.load, model), um_per_pixel, tissue, side)


@pytest.mark.parametrize("half", [False, True])
def test_tiles_of_any_side_give_the_same_map(slide_of, slide_model, half):
    array = RNG.integers(0, 256, (150, 210, 3), dtype=np.uint8)
    slide, model = slide_of(array), slide_model(half_resolution=half)
    maps = []
    for side in (32, 64, 96, 256):
        job = job_of(slide, model, side)
        maps.append(whole(job, answers(job, range(len(job.grid)))))
    for one in maps[1:]:
        assert (one != maps[0]).mean() < 1e-3  # sums that round otherwise, at the edge of two classes
    assert maps[0].shape == (150, 210)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_map_is_what_the_network_answers_to_the_whole_slide(slide_of, slide_model, classes):
    array = RNG.integers(0, 256, (128, 192, 3), dtype=np.uint8)
    job = job_of(slide_of(array), slide_model(classes), 64)
    found = list(answers(job, range(len(job.grid))))
    model, margin = UNET.load(job.source.model), job.engine.margin
    padded = np.pad(array, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)  # beside it is glass
    expected = model.class_ids(padded)[margin:-margin, margin:-margin]
    assert (whole(job, found) != expected).mean() < 1e-3
    counts = sum(one.numbers[:classes] for one in found)
    assert np.abs(counts - np.bincount(expected.ravel(), minlength=classes)).max() <= 1e-3 * expected.size
    probabilities = np.concatenate([block for _, block in model.probabilities(padded)])[margin:-margin, margin:-margin]
    uncertain = (probabilities.max(-1) < SURE).sum()
    assert sum(one.numbers[classes] for one in found) == pytest.approx(uncertain, abs=1e-3 * expected.size)


@pytest.mark.parametrize("threshold", [None, 0.3, 0.8])
def test_pixels_are_sorted_as_by_their_probabilities(threshold):
    classes = 2 if threshold else int(RNG.integers(2, 7))
    scores = RNG.normal(0, 3, (2, 30, 40, classes)).astype(np.float32)
    scores[:, :10, :, 0] = scores.max(axis=-1)[:, :10]  # often no class alone is the most probable
    scores[0, 20:] *= 40  # of these one could not take the exponential
    expected = softmax(scores.astype(float), axis=-1)
    ids, uncertain = (one.numpy() for one in sorted_by(scores, threshold))
    np.testing.assert_array_equal(ids, expected[..., 1] > threshold if threshold else expected.argmax(-1))
    np.testing.assert_array_equal(uncertain, expected.max(-1) < SURE)
    assert ids.dtype == np.uint8
    assert set(ids.ravel()) == set(range(classes))
    assert 0 < uncertain.mean() < 1


def test_what_is_no_tissue_is_not_measured(slide_of, slide_model):
    array = RNG.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    mask = RNG.random((16, 16)) < 0.5
    slide, model = slide_of(array), slide_model()
    every, some = (job_of(slide, model, 64, tissue=one) for one in (EVERYWHERE, Where(mask, 8.0)))
    tissue = np.kron(mask, np.ones((8, 8), bool))
    expected = np.where(tissue, whole(every, answers(every, range(4))), NOT_TISSUE)
    found = list(answers(some, range(4)))
    np.testing.assert_array_equal(whole(some, found), expected)
    assert sum(one.numbers[:3].sum() for one in found) == tissue.sum()


def test_features_are_of_the_tissue_alone(slide_of, slide_model):
    array = np.full((128, 128, 3), 255, np.uint8)
    array[32:64, 32:96] = (200, 100, 150)
    mask = np.zeros((128, 128), bool)
    mask[32:64, 32:96] = True
    job = job_of(slide_of(array), slide_model(), 128, tissue=Where(mask, 1.0))
    (one,) = answers(job, [0])
    density = -np.log10(np.array([200, 100, 150]) / 255)
    np.testing.assert_allclose(one.numbers[4:7], density, rtol=1e-5)
    np.testing.assert_allclose(one.numbers[7:10], 0, atol=1e-5)
    assert len(one.numbers) == 4 + job.engine.n_features
    assert np.isfinite(one.numbers).all()


def test_larger_pixels_are_means(slide_of, slide_model):
    array = np.repeat(np.repeat(RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8), 2, 0), 2, 1)
    model = slide_model()
    coarse = job_of(slide_of(array), model, 64, um_per_pixel=1.0)
    fine = job_of(slide_of(array[::2, ::2], "small.tif", um_per_pixel=1.0), model, 64, um_per_pixel=1.0)
    assert coarse.grid == fine.grid
    np.testing.assert_array_equal(whole(coarse, answers(coarse, range(2))), whole(fine, answers(fine, range(2))))


def test_a_model_with_a_range_for_each_image_is_refused(slide_of, untrained_model):
    folder, *_ = untrained_model(channels=3)
    job = job_of(slide_of(np.zeros((64, 64, 3), np.uint8)), folder, 32)
    with pytest.raises(ModelError, match="all images together"):
        job.engine  # noqa: B018 - made here


def test_a_colour_is_measured_without_a_network(slide_of):
    array = np.full((64, 96, 3), 255, np.uint8)
    array[:, :48] = (235, 200, 90)  # picric acid: yellow
    array[16:32, 16:48] = (150, 40, 60)  # Sirius red
    job = Job(slide_of(array), 0, FromStain(PICROSIRIUS_RED), 0.5, EVERYWHERE, 32)
    expected = np.zeros((64, 96), np.uint8)
    expected[:, :48] = 1
    expected[16:32, 16:48] = 2
    np.testing.assert_array_equal(whole(job, answers(job, range(len(job.grid)))), expected)
