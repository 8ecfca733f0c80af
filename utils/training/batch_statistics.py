"""What batch normalisation goes by when a network is used, measured once its weights no longer change."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

BATCHES = 50


def measure_again(network: keras.Model, batch: Callable[[int], np.ndarray], batches: int = BATCHES) -> None:
    """Give batch normalisation the means of many batches; in training it keeps those of about the last ten.

    Where batches differ much, the last ten are chance, and a network that learned well answers badly [1]_.

    Parameters
    ----------
    network
        Trained; its means and variances are replaced, its weights stay.
    batch
        Number of a batch -> images (batch, Y, X, C) as in training.
    batches
        How many are looked at.

    References
    ----------
    .. [1] Wu and Johnson (2021) Rethinking "Batch" in BatchNorm, arXiv:2105.07576
    """
    layers = [one for one in network.layers if isinstance(one, keras.layers.BatchNormalization)]
    before = [one.momentum for one in layers]
    for one in layers:
        one.momentum = 0.0  # each batch leaves its own means and variances
    call = tf.function(lambda images: network(images, training=True))
    sums = [0.0 for _ in layers for _ in range(2)]
    with ThreadPoolExecutor(1) as maker:  # of the next batch, while one is looked at
        coming = maker.submit(batch, 0)
        for following in range(1, batches + 1):
            images = coming.result()
            coming = maker.submit(batch, following) if following < batches else None
            call(images)
            sums = [total + one.numpy() for total, one in zip(sums, _measured(layers), strict=True)]
    for one, total in zip(_measured(layers), sums, strict=True):
        one.assign(total / batches)
    for one, momentum in zip(layers, before, strict=True):
        one.momentum = momentum


def _measured(layers: Sequence[keras.layers.BatchNormalization]) -> list[keras.Variable]:
    return [variable for one in layers for variable in (one.moving_mean, one.moving_variance)]
