"""One crop in, its class out: the same as everywhere else."""

import numpy as np
import pytest

from tests.benchmarks.single_cell import write_untrained
from utils.errors import DataError, ModelError
from utils.tasks.classes.predict import load_classifier
from utils.tasks.classes.single_cell import SingleCell


@pytest.fixture(scope="module")
def models_of(tmp_path_factory):
    """Channels -> folder of an untrained classifier for crops of 24 x 24."""
    folders = {}
    for channels in (1, 3):
        folders[channels] = tmp_path_factory.mktemp("models") / "model"
        write_untrained(folders[channels], channels, 24)
    return folders


@pytest.mark.parametrize("channels", [1, 3])
def test_as_the_classifier_says_whatever_the_size_and_dtype(models_of, channels):
    rng = np.random.default_rng(0)
    classify, classifier = SingleCell(models_of[channels]), load_classifier(models_of[channels])
    crops = []
    for dtype, shape in {np.uint8: (24, 24), np.uint16: (30, 17), np.float32: (5, 90), ">u2": (24, 25)}.items():
        crops.append(rng.integers(0, 250, (*shape, channels)).astype(dtype))
    expected = classifier.probabilities(crops)
    names = [one["name"] for one in classifier.classes]
    for crop, row, batch in zip(crops, expected, classify.many(crops), strict=True):
        before = crop.copy()
        name, probability = classify(crop)
        assert (name, batch[0]) == (names[row.argmax()],) * 2
        assert isinstance(probability, float)
        assert probability == pytest.approx(row.max(), abs=1e-5)
        assert batch[1] == pytest.approx(row.max(), abs=1e-5)
        np.testing.assert_array_equal(crop, before)


def test_a_grey_crop_needs_no_channel_axis(models_of):
    classify = SingleCell(models_of[1])
    crop = np.random.default_rng(0).integers(0, 60000, (24, 24)).astype(np.uint16)
    assert classify(crop) == classify(crop[..., None])


def test_the_other_classes_are_found_too(models_of):
    """The untrained network's biases are changed: each class in turn is the likeliest."""
    classify = SingleCell(models_of[1])
    layer = classify._classifier.network.get_layer("logits")
    kernel, bias = layer.get_weights()
    for i, name in enumerate(classify.names):
        layer.set_weights([0 * kernel, np.eye(len(bias))[i] * 30])
        changed = classify._classifier
        classify._classifier = type(changed)(changed.network, changed.description)
        assert classify(np.zeros((24, 24), np.uint8)) == (name, pytest.approx(1.0))


def test_no_cells_no_answers(models_of):
    assert SingleCell(models_of[1]).many([]) == []


@pytest.mark.parametrize("shape", [(24,), (24, 24, 3), (1, 24, 24), (2, 24, 24, 1), (0, 24)])
def test_another_shape_is_refused(models_of, shape):
    classify = SingleCell(models_of[1])
    for call in (classify, lambda crop: classify.many([crop])):
        with pytest.raises(DataError, match=r"needs \(Y, X, 1\)"):
            call(np.zeros(shape, np.uint8))


def test_it_is_compiled_once_and_at_the_start(models_of):
    classify = SingleCell(models_of[1])
    compiled = classify._classifier._call
    assert compiled.experimental_get_tracing_count() == 1
    for n in (1, 5, 70):
        classify.many([np.zeros((20 + n, 31), np.uint16)] * n)
    assert compiled.experimental_get_tracing_count() == 1


def test_no_classifier_there(tmp_path, untrained_model):
    with pytest.raises(ModelError, match="not a model folder"):
        SingleCell(tmp_path)
    with pytest.raises(ModelError, match="classification"):
        SingleCell(untrained_model()[0])
