"""The U-Net's graph: sizes, probabilities, precision and weights."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.training.checkpoints import load_weights, save_weights, take_weights
from utils.training.networks import (
    Adam,
    Muon,
    classifier,
    compiled,
    input_multiple,
    quick_to_train,
    reach,
    unet,
    without_margin,
    without_scale,
)

DEPTHS = [(0, False), (0, True), (1, True), (2, False), (3, True)]
RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(("pooling_steps", "half_resolution"), DEPTHS)
def test_any_multiple_goes_through_and_anything_else_is_refused(pooling_steps, half_resolution):
    network = unet(filters=2, pooling_steps=pooling_steps, half_resolution=half_resolution)
    multiple = input_multiple(pooling_steps, half_resolution)
    for height, width in ((1, 1), (2, 3), (5, 1)):
        shape = (1, height * multiple, width * multiple)
        assert network(noise(*shape, 1)).shape == (*shape, 2)
    if multiple > 1:  # half of it would not do
        for height, width in (
            (3 * multiple // 2, 2 * multiple),
            (2 * multiple, 3 * multiple // 2),
            (multiple - 1,) * 2,
        ):
            try:
                wrong = network(noise(1, height, width, 1)).shape == (1, height, width, 2)
            except Exception:
                wrong = False
            assert not wrong


@pytest.mark.parametrize("half_resolution", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_of_all_classes(channels, classes, half_resolution):
    network = unet(channels, classes, filters=4, pooling_steps=1, half_resolution=half_resolution)
    image = noise(2, 16, 24, channels)
    probabilities = network(image).numpy()
    assert probabilities.shape == (2, 16, 24, classes)
    assert probabilities.dtype == np.float32
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    logits = keras.Model(network.input, network.get_layer("logits").output)(image).numpy()
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True), probabilities, rtol=1e-4)


@pytest.mark.parametrize(("pooling_steps", "half_resolution"), DEPTHS)
def test_filters_double_with_each_pooling_step(pooling_steps, half_resolution):
    network = unet(filters=4, pooling_steps=pooling_steps, half_resolution=half_resolution)
    widest = max(layer.filters for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    pools = [layer for layer in network.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert widest == 4 * 2**pooling_steps
    assert len(pools) == pooling_steps


@pytest.mark.parametrize("half_resolution", [False, True])
def test_a_pixel_is_answered_where_it_lies(half_resolution):
    # with even, positive kernels the answer to a bright pixel is centred on it: nothing is shifted on the way
    network = unet(filters=2, pooling_steps=1, half_resolution=half_resolution)
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.ones(layer.kernel.shape) / np.prod(layer.kernel.shape[:3]))
    logits = keras.Model(network.input, network.get_layer("logits").output)
    places = list(itertools.product(range(32, 36), repeat=2))  # every position within a multiple of 4
    images = np.zeros((len(places), 64, 64, 1), np.float32)
    for image, place in zip(images, places, strict=True):
        image[place] = 1
    answers = logits(images).numpy()[..., 1]
    answers /= answers.sum(axis=(1, 2), keepdims=True)
    found = [((answers.sum(axis=other) * np.arange(64)).sum(axis=1)) for other in (2, 1)]
    assert abs(np.transpose(found) - places).max() < 2.5
    np.testing.assert_allclose(np.mean(np.transpose(found) - places, axis=0), 0, atol=0.01)


def test_the_image_itself_reaches_the_last_level_of_the_half_resolution_network():
    network = unet(filters=4, pooling_steps=1, half_resolution=True)
    strided = next(layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D))
    assert strided.strides == (2, 2)
    strided.kernel.assign(np.zeros(strided.kernel.shape))  # nothing comes by way of half the resolution
    answer = network(noise(1, 32, 32, 1)).numpy()[..., 1]
    assert np.ptp(answer) > 1e-3


@pytest.mark.parametrize("half_resolution", [False, True])
def test_output_is_float32_in_mixed_precision(mixed_precision, half_resolution):
    network = unet(filters=4, half_resolution=half_resolution)
    assert network(noise(1, 16, 16, 1)).dtype == "float32"
    assert network.get_layer("logits").compute_dtype == "float32"
    assert network.layers[1].compute_dtype == "float16"
    assert all(weight.dtype == "float32" for weight in network.weights)


@pytest.mark.parametrize("half_resolution", [False, True])
def test_weights_of_a_mixed_build_serve_a_float32_build(tmp_path, mixed_precision, half_resolution):
    keras.utils.set_random_seed(1)
    mixed = unet(3, 3, filters=4, half_resolution=half_resolution)
    kernel, bias = mixed.get_layer("logits").get_weights()
    mixed.get_layer("logits").set_weights([10 * kernel, bias + 0.1])
    save_weights(mixed, tmp_path / "weights.h5")
    keras.config.set_dtype_policy("float32")
    plain = unet(3, 3, filters=4, half_resolution=half_resolution)
    image = noise(1, 32, 32, 3)
    assert np.abs(plain(image) - mixed(image)).max() > 0.05
    load_weights(plain, tmp_path / "weights.h5")
    for one, other in zip(plain.get_weights(), mixed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(plain(image), mixed(image), atol=0.02)  # float16 has three digits


def test_a_pretrained_backbone_answers_alike_when_it_is_loaded_again(monkeypatch):
    """Keras builds EfficientNet with one layer more where it has ImageNet's weights: a scale of normalised colours."""
    made = []

    def efficientnet(include_top, weights, input_shape):
        given = keras.Input(input_shape)
        x = keras.layers.Normalization()(keras.layers.Rescaling(1 / 255)(given))
        x = keras.layers.Rescaling([2.0, 3.0, 0.5])(x) if weights else x
        network = keras.Model(given, keras.layers.Conv2D(5, 3)(x))
        if weights:
            normalisation = next(one for one in network.layers if isinstance(one, keras.layers.Normalization))
            take_weights(normalisation, [np.float32([0.4, 0.5, 0.6]), np.float32([0.2, 0.3, 0.4]), np.int32(1)])
        made.append(network)
        return network

    monkeypatch.setattr(keras.applications, "EfficientNetB0", efficientnet)
    trained = classifier(3, 2, "EfficientNetB0", weights="imagenet")
    (known,) = (one for one in made if len(one.layers) == 5)
    image = np.random.default_rng(0).random((1, 8, 8, 3)).astype(np.float32)
    features = keras.Model(trained.input, trained.get_layer("features").output)
    np.testing.assert_allclose(features(image), known(255 * image), rtol=1e-4, atol=1e-5)
    again = classifier(3, 2, "EfficientNetB0")
    take_weights(again, trained.get_weights())
    np.testing.assert_allclose(again(image), trained(image), rtol=1e-5)


@pytest.mark.parametrize(("pooling_steps", "half_resolution"), [one for one in DEPTHS if any(one)])
@pytest.mark.parametrize("more", [0, 2])
def test_what_answers_without_a_margin_answers_as_the_network(pooling_steps, half_resolution, more):
    network = unet(3, 4, 2, pooling_steps, half_resolution)
    for weights in network.trainable_weights:
        weights.assign(RNG.normal(0, 0.5, weights.shape))
    multiple = input_multiple(pooling_steps, half_resolution)
    margin = (-(-reach(pooling_steps, half_resolution) // multiple) + more) * multiple
    height, width = 2 * margin + multiple * RNG.integers(1, 4, 2)
    image = noise(2, height, width, 3)
    scores, bottom = without_margin(network, margin)(image, training=False)
    answer = tf.nn.softmax(scores)
    inside = network(image, training=False)[:, margin : height - margin, margin : width - margin]
    np.testing.assert_allclose(answer, inside, rtol=1e-4, atol=1e-5)
    assert np.ptp(answer) > 0.1
    assert bottom.shape[1:3] == (height // multiple, width // multiple)


@pytest.mark.parametrize("half_resolution", [False, True])
def test_a_compiled_network_answers_images_of_any_size_as_it_does_itself_with_the_weights_of_then(half_resolution):
    network = unet(2, 3, 4, 2, half_resolution)
    for variable in network.weights:  # variances among them, which are positive
        variable.assign(
            RNG.normal(0, 0.3, variable.shape) if len(variable.shape) > 1 else RNG.uniform(0.5, 1, variable.shape)
        )
    answer = compiled(lambda x: [network(x, training=False)], tf.TensorSpec((None, None, None, 2), tf.float32))
    images = [noise(*RNG.integers(1, 4, 1), *8 * RNG.integers(1, 6, 2), 2) for _ in range(4)]
    known = [network(one, training=False).numpy() for one in images]
    for variable in network.weights:
        variable.assign(0 * variable)
    for image, wanted in zip(images, known, strict=True):
        (found,) = answer(tf.constant(image))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert np.ptp(found) > 0.1
        np.testing.assert_allclose(network(image, training=False), 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_what_is_quick_to_train_learns_what_the_network_learns(policy):
    rng, losses, weights = np.random.default_rng(0), [], []
    batches = [(rng.random((2, 32, 32, 3), np.float32), rng.integers(0, 3, (2, 32, 32))) for _ in range(4)]
    keras.utils.set_random_seed(1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain = unet(3, 3, 4, 1)
        quick = quick_to_train(plain)
    finally:
        keras.config.set_dtype_policy(before)
    for one in (plain, quick):
        logits = keras.Model(one.input, one.get_layer("logits").output)
        logits.compile(keras.optimizers.SGD(0.05), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        losses.append([float(logits.train_on_batch(*batch)) for batch in batches])
        weights.append(one.get_weights())
    tolerance = 1e-4 if policy == "float32" else 2e-2
    np.testing.assert_allclose(*losses, rtol=tolerance)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
    again = unet(3, 3, 4, 1)
    again.set_weights(weights[1])
    images = batches[0][0]
    np.testing.assert_allclose(again(images), quick(images), atol=1e-5 if policy == "float32" else 2e-2)


def after_steps(inner, policy, start, gradients):
    """What an optimiser makes of weights by a step with each of the gradients, a shorter one each time."""
    optimiser = keras.optimizers.LossScaleOptimizer(inner) if policy == "mixed_float16" else inner
    weights = [keras.Variable(one) for one in start]
    optimiser.build(weights)
    apply = tf.function(lambda *given: optimiser.apply([optimiser.scale_loss(one) for one in given]))
    for step, given in enumerate(gradients):
        inner.learning_rate = 0.01 / (1 + step)
        apply(*(tf.constant(one, tf.float32) for one in given))
    return [one.numpy() for one in weights]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_the_optimiser_takes_the_steps_of_that_of_keras(policy):
    rng, found = np.random.default_rng(0), []
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 2), (5,), ())]
    gradients = [[rng.normal(scale=10.0**-step, size=one.shape) for one in start] for step in range(-2, 6)]
    for inner in (keras.optimizers.Adam(0.01), Adam(0.01)):
        weights = after_steps(inner, policy, start, gradients)
        found.append([*weights, *(one.numpy() for one in inner.variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-7)  # 1 - 0.999 in float32
    assert all(np.abs(one - then).min() > 0.01 for one, then in zip(found[1], start, strict=False))


@pytest.mark.parametrize("shape", [(30, 8), (5, 9), (200, 64)])
def test_a_matrix_without_scale_is_that_of_keras(shape):
    matrix = noise(*shape) * 10.0 ** -np.linspace(0, 3, shape[1], dtype=np.float32)
    expected = keras.optimizers.Muon().zeropower_via_newtonschulz5(tf.constant(matrix), 5)
    found = without_scale(tf.constant(matrix)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(without_scale(tf.constant(1000 * matrix)), found, atol=2e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_kernels_take_the_steps_of_muon_and_other_weights_those_of_adam(policy):
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 2, 5), (1, 1, 5, 3), (5,)]
    start, *gradients = ([rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(5))

    def flat(kernel, *others):
        return [kernel.reshape(-1, kernel.shape[-1]), *others]  # Keras's Muon leaves the kernels of convolutions alone

    of_keras = keras.optimizers.Muon(0.01, weight_decay=None, adam_weight_decay=None)
    expected = after_steps(of_keras, policy, flat(*start), [flat(*one) for one in gradients])
    by_adam = after_steps(keras.optimizers.Adam(0.01), policy, start, gradients)
    found = after_steps(Muon(0.01), policy, start, gradients)
    for one, other in zip(flat(*found), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert [np.abs(one - other).max() < 1e-5 for one, other in zip(found, by_adam, strict=True)] == [False, True, True]


def test_what_is_quick_to_train_leaves_frozen_layers_alone():
    quick = quick_to_train(unet(3, 3, 4, 1))
    quick.trainable = False
    before = quick.get_weights()
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(quick(images, training=True), quick(images))
    for one, other in zip(before, quick.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
