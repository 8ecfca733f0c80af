"""How long a training takes on this computer, from a few passes through its network."""

import time

import keras
import numpy as np
import tensorflow as tf

PASSES = 3  # timed; the fastest counts, since others wait for something else
BACKWARD = 3.5  # times that a step of training takes the time of a pass through the network; measured on U-Nets


def seconds_per_step(network: keras.Model, batch_size: int, patch: tuple[int, int], drawing: float = 0.0) -> float:
    """Seconds that a step of training takes, roughly.

    Parameters
    ----------
    network
        Takes images (batch, Y, X, C).
    batch_size, patch
        Images of a batch; their height and width.
    drawing
        Seconds that making a batch takes.
    """
    images = np.zeros((batch_size, *patch, network.input_shape[-1]), np.float32)
    call = tf.function(lambda x: network(x, training=False))
    call(images)  # compiles
    taken = []
    for _ in range(PASSES):
        start = time.perf_counter()
        call(images)
        taken.append(time.perf_counter() - start)
    return BACKWARD * min(taken) + drawing
