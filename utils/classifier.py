"""A trained classifier with the preprocessing and the calibration that were saved with it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from utils import models
from utils.crop_batches import prepared

BATCH = 64  # images computed together in `Classifier.probabilities`


class Classifier:
    """Images in, probabilities of classes out.

    Parameters
    ----------
    network
        Keras model with a layer "logits", see `networks.classifier`; used with the weights that it has now.
    description
        Content of model.json; used are classes, normalisation, input and temperature.
    """

    def __init__(self, network: keras.Model, description: Mapping):
        self.network, self.description, self.classes = network, description, description["classes"]
        logits = keras.Model(network.input, network.get_layer("logits").output)
        size, temperature = tuple(description["input"]["size"]), description["temperature"]
        signature = [tf.TensorSpec((None, *size, network.input_shape[-1]), tf.float32)]
        # Weights as constants let TensorFlow join batch normalisation with the convolution before it.
        weights = [
            [tf.constant(variable) for variable in variables]
            for variables in (logits.trainable_variables, logits.non_trainable_variables)
        ]

        def call(x: tf.Tensor) -> tf.Tensor:
            return tf.nn.softmax(logits.stateless_call(*weights, x, training=False)[0] / temperature)

        # A compiled function: Keras's predict() costs 30 times more on a single image.
        self._call = tf.function(call, input_signature=signature)

    def prepare(self, array: np.ndarray) -> np.ndarray:
        """Image (Y, X, C) as read -> float32 (Y, X, C) of the size and range that the network was trained with."""
        return prepared(array, self.description)

    def probabilities(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probabilities float32 (n, classes) of images (Y, X, C) as read, of any sizes."""
        if not len(arrays):
            return np.zeros((0, len(self.classes)), np.float32)
        batches = [
            self.of_prepared(np.stack([self.prepare(one) for one in arrays[i : i + BATCH]]))
            for i in range(0, len(arrays), BATCH)
        ]
        return np.concatenate(batches)

    def of_prepared(self, batch: np.ndarray) -> np.ndarray:
        """Calibrated probabilities float32 (n, classes) of prepared images float32 (n, Y, X, C)."""
        return self._call(batch).numpy()


def load_classifier(folder: Path) -> Classifier:
    """Read a classification model folder into a `Classifier`."""
    description = models.read_model(folder, "classification")
    return Classifier(models.load_network(folder, description), description)
