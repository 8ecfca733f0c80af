"""Where a classifier looks: which parts of an image speak for a class."""

import keras
import numpy as np
import tensorflow as tf
from skimage.transform import resize


def _last_maps(network: keras.Model):
    """What the last layer that still sees positions, (batch, y, x, filters), hands over to one that sees none."""
    for layer in reversed(network.layers):
        if not isinstance(layer.input, list) and layer.input.ndim == 4 and layer.output.ndim == 2:
            if isinstance(layer, keras.Model):
                break
            return layer.input
    raise ValueError("Grad-CAM needs a network that pools maps (batch, y, x, filters) outside of nested models")


def grad_cam(network: keras.Model, image: np.ndarray, class_id: int) -> np.ndarray:
    """Gradient-weighted class activation map [1]_: L = ReLU(sum_k w_k A_k), w_k = mean over y, x of d logit / d A_k.

    Parameters
    ----------
    network : keras.Model
        (batch, Y, X, C) -> probabilities, with a layer "logits" of shape (batch, n_classes).
    image : ndarray of float32, shape (Y, X, C)
        Normalised and of the network's size, as the network gets it.
    class_id : int
        Class to explain; it need not be the predicted one.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        0 to 1, 1 where most speaks for the class; all 0 where nothing does. As coarse as the network's last maps.

    Raises
    ------
    ValueError
        If the network has no maps to look at.

    References
    ----------
    .. [1] Selvaraju RR et al. (2017) Grad-CAM: visual explanations from deep networks via gradient-based localization,
       ICCV, doi:10.1109/ICCV.2017.74
    """
    model = keras.Model(network.input, [_last_maps(network), network.get_layer("logits").output])
    batch = tf.convert_to_tensor(image[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(batch)  # and so all that comes from it, also where layers are frozen
        maps, logits = model(batch, training=False)
        score = logits[0, class_id]
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))[0].numpy().astype(np.float32)
    cam = resize(cam, image.shape[:2], order=1, mode="edge")
    return cam / cam.max() if cam.max() > 0 else cam
