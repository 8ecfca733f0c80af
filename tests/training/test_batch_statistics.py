"""Batch normalisation goes by the means of many batches."""

import numpy as np

from utils.training.batch_statistics import measure_again
from utils.training.networks import unet


def test_means_are_those_of_all_batches_and_weights_stay():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 2, 16, 16, 3)).astype(np.float32) * np.arange(1, 7).reshape(6, 1, 1, 1, 1)
    network = unet(3, 3, 4, 1)
    first = network.layers[2]  # behind the first convolution
    learned = [one.numpy() for one in network.trainable_weights]
    measure_again(network, lambda number: images[number], 6)
    values = np.stack([network.layers[1](one).numpy() for one in images])
    np.testing.assert_allclose(first.moving_mean.numpy(), values.mean(axis=(0, 1, 2, 3)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(first.moving_variance.numpy(), values.var(axis=(1, 2, 3)).mean(axis=0), rtol=1e-2)
    for before, after in zip(learned, network.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())
    assert first.momentum == 0.9
