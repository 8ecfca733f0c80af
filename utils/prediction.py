"""Semantic segmentation of images of any size with a trained network, tile by tile."""

from collections.abc import Callable, Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from utils.images import percentiles
from utils.patching import normalise, predict_in_tiles

TILE = 512  # side of a prediction tile in pixels; bounds the memory, whatever the image's size
OVERLAP = 64  # pixels that neighbouring tiles share and blend over, more than the default U-Net sees around a pixel


class Segmenter:
    """A trained network with the preprocessing that was saved with it.

    Parameters
    ----------
    network
        Keras model: float32 (batch, Y, X, C) -> class probabilities (batch, Y, X, classes).
    description
        Content of model.json; used are normalisation, threshold, classes and input.multiple_of.
    """

    def __init__(self, network: keras.Model, description: Mapping):
        self.network = network
        self.normalisation = description["normalisation"]
        self.threshold = description["threshold"]
        self.classes = description["classes"]
        self.multiple = description["input"]["multiple_of"]
        signature = [tf.TensorSpec((None, None, None, network.input_shape[-1]), tf.float32)]
        # A compiled function with free sizes: Keras's predict() costs 30 times more on a small image.
        self._call = tf.function(lambda x: network(x, training=False), input_signature=signature)

    def probabilities(self, array: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Class probabilities of an image, from top to bottom, a band of rows at a time.

        Parameters
        ----------
        array
            (Y, X, C) as read, any dtype, may be memory-mapped; percentiles are image-wide, tiles normalised one by one.

        Yields
        ------
        rows, block
            Slice of image rows and float32 (rows, X, classes).
        """
        low, high = normalisation_range(array, self.normalisation)

        def predict(rows: slice, columns: slice) -> np.ndarray:
            return self._padded(normalise(array[rows, columns], low, high))

        return predict_in_tiles(array.shape[:2], predict, TILE, OVERLAP, self.multiple)

    def _padded(self, tile: np.ndarray) -> np.ndarray:
        """Probabilities of one normalised tile, mirrored to the next multiple that the network needs."""
        height, width = tile.shape[:2]
        padding = ((0, -height % self.multiple), (0, -width % self.multiple), (0, 0))
        padded = np.pad(tile, padding, mode="symmetric")
        return self._call(padded[np.newaxis])[0, :height, :width].numpy()

    def class_ids(self, array: np.ndarray, on_probabilities: Callable | None = None) -> np.ndarray:
        """Class of each pixel.

        Parameters
        ----------
        array
            (Y, X, C) as read.
        on_probabilities
            Called with each (rows, block) of `probabilities`, for example to write them to a file.

        Returns
        -------
        (Y, X) uint8 class ids: for two classes where the probability of class 1 exceeds the model's threshold, else the
        most probable class.
        """
        ids = np.empty(array.shape[:2], np.uint8)
        for rows, block in self.probabilities(array):
            ids[rows] = block[..., 1] > self.threshold if len(self.classes) == 2 else block.argmax(axis=-1)
            if on_probabilities:
                on_probabilities(rows, block)
        return ids

    def foreground_probability(self, array: np.ndarray) -> np.ndarray:
        """Probability of class 1, float32 (Y, X); meant for two classes and images of the validation set."""
        return np.concatenate([block[..., 1] for _, block in self.probabilities(array)])


def normalisation_range(array: np.ndarray, normalisation: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Values (C,) of an image that become 0 and 1: the one preprocessing of training, evaluation and prediction.

    Parameters
    ----------
    array
        (Y, X, C) as read, the whole image.
    normalisation
        model.json's {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}.
    """
    return percentiles(array, normalisation["low"], normalisation["high"])
