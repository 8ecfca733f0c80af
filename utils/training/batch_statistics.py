"""What batch normalisation goes by when a network is used, measured once its weights no longer change."""

from collections.abc import Callable

import keras
import numpy as np

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
    for number in range(batches):
        for one in layers:
            one.momentum = number / (number + 1)
        network(batch(number), training=True)
    for one, momentum in zip(layers, before, strict=True):
        one.momentum = momentum
