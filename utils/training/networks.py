"""Keras graphs and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.types.experimental import ConcreteFunction

from utils.errors import ModelError
from utils.training.checkpoints import load_weights, take_weights
from utils.training.model_folder import DESCRIPTION, WEIGHTS

BACKBONES = {  # name in keras.applications -> module with its preprocessing
    "MobileNetV2": "mobilenet_v2",
    "EfficientNetB0": "efficientnet",
    "ResNet50": "resnet",
}
SMALL = "small CNN"
MOMENTUM = 0.95  # of `Muon`
AROUND = 4  # pixels: two convolutions look at two, and what the level above adds are twice as many pixels as here


def _convolution(x, filters: int):
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization(momentum=0.9)(x)  # the usual 0.99 lags behind in trainings of a few hundred steps
    return layers.Activation("relu")(x)


def _block(x, filters: int):
    return _convolution(_convolution(x, filters), filters)


def _half(x, filters: int):
    """Strided convolution: (Y, X, channels) -> (Y/2, X/2, filters)."""
    x = layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))


def unet(
    channels: int = 1,
    classes: int = 2,
    filters: int = 16,
    pooling_steps: int = 2,
    half_resolution: bool = False,
) -> keras.Model:
    """U-Net [1]_ for semantic segmentation: (batch, Y, X, channels) -> probabilities (batch, Y, X, classes).

    Float32 output whatever the precision policy. The layer "logits" holds the scores before softmax. Y and X must be
    multiples of `input_multiple(pooling_steps, half_resolution)`.

    Parameters
    ----------
    classes
        Background included; probabilities sum to 1 over the last axis.
    filters
        Filters of the first level; each pooling step doubles them.
    pooling_steps
        Times that the image is halved between encoder and bottom.
    half_resolution
        False is the published network. True: the U-Net works at half the image's resolution (a strided first
        convolution) and a last, thin level returns to full resolution, with the image itself as skip connection: about
        a third of the operations.

    References
    ----------
    .. [1] Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015,
       doi:10.1007/978-3-319-24574-4_28
    """
    image = x = layers.Input((None, None, channels), name="image")
    if half_resolution:
        x = _half(x, filters)
    skips = []
    for level in range(pooling_steps):
        x = _block(x, filters * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _block(x, filters * 2**pooling_steps)
    for level in reversed(range(pooling_steps)):
        x = layers.Concatenate()([layers.UpSampling2D(2)(x), skips[level]])
        x = _block(x, filters * 2**level)
    if half_resolution:  # back to (Y, X)
        x = layers.Conv2DTranspose(filters // 2, 2, strides=2, use_bias=False)(x)
        x = _convolution(layers.Concatenate()([x, image]), filters // 2)
    logits = layers.Conv2D(classes, 1, name="logits", dtype="float32")(x)
    return keras.Model(image, layers.Softmax(name="probabilities", dtype="float32")(logits), name="unet")


class BatchNormalization(layers.BatchNormalization):
    """Keras's layer, but that a batch is normalised by one operation of TensorFlow, not by ten.

    Of the same name, by which checkpoints tell layers: a training that was begun before goes on.
    """

    def call(self, inputs, training=None, mask=None):
        """See Keras's layer."""
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=[], variance=[], epsilon=self.epsilon
        )
        n = tf.cast(tf.size(inputs), tf.float32) / inputs.shape[-1]
        variance *= (n - 1) / n  # the operation answers with that of a sample
        for known, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            known.assign(known * self.momentum + new * (1 - self.momentum))
        return outputs


class Adam(keras.optimizers.Adam):
    """Keras's optimiser, but that a weight takes a step by one operation of TensorFlow, not by a dozen.

    A step takes as long, but it is compiled in two fifths less time: each training begins seconds earlier.
    """

    def update_step(self, gradient, variable, learning_rate):
        """See Keras's optimiser."""
        index, done = self._get_variable_index(variable), tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**done,
            beta2_power=self.beta_2**done,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class Muon(Adam):
    """Of kernels of convolutions the step is a matrix without scale [1]_, as long as a step of Adam [2]_.

    All that a batch tells then counts, not only what most patches have in common, so that what is rare is learned
    sooner. Other weights take the steps of Adam, in the place of whose first moments the momentum is kept.

    References
    ----------
    .. [1] Jordan et al. (2024) Muon: an optimizer for hidden layers in neural networks,
       https://kellerjordan.github.io/posts/muon/
    .. [2] Liu et al. (2025) Muon is scalable for LLM training, arXiv:2502.16982
    """

    def update_step(self, gradient, variable, learning_rate):
        """See Keras's optimiser."""
        if len(variable.shape) == 4 and variable.shape[:2] != (1, 1):
            self._step_of_kernel(gradient, variable, tf.cast(learning_rate, variable.dtype))
        else:
            super().update_step(gradient, variable, learning_rate)

    def _step_of_kernel(self, gradient, kernel, learning_rate) -> None:
        momentum = self._momentums[self._get_variable_index(kernel)]
        gradient = tf.cast(gradient, kernel.dtype)
        self.assign(momentum, MOMENTUM * momentum + gradient)
        ahead = tf.reshape(gradient + MOMENTUM * momentum, (-1, kernel.shape[-1]))  # Nesterov's
        step = 0.2 * max(ahead.shape) ** 0.5 * without_scale(ahead)
        self.assign_sub(kernel, learning_rate * tf.reshape(step, kernel.shape))


@tf.function(input_signature=[tf.TensorSpec((None, None))], autograph=False)  # compiled once for kernels of all shapes
def without_scale(matrix: tf.Tensor) -> tf.Tensor:
    """About the orthogonal matrix that is nearest to one (rows, columns): most singular values are 0.7 to 1.2.

    Newton and Schulz's iteration with the polynomial of `Muon`'s authors, on the small matrix of products of columns.
    """
    matrix /= tf.norm(matrix) + 1e-7
    products, factor = tf.matmul(matrix, matrix, transpose_a=True), tf.eye(tf.shape(matrix)[1])
    for _ in range(5):
        change = 3.4445 * tf.eye(tf.shape(matrix)[1]) - 4.7750 * products + 2.0315 * products @ products
        factor, products = factor @ change, change @ products @ change
    return matrix @ factor


def quick_to_train(network: keras.Model) -> keras.Model:
    """The same network, with the same weights, of which a step of training takes a sixth less; not to be saved."""

    def again(layer: keras.Layer) -> keras.Layer:
        kind = BatchNormalization if type(layer) is layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    new = keras.models.clone_model(network, clone_function=again)
    new.set_weights(network.get_weights())
    return new


def without_margin(network: keras.Model, margin: int) -> keras.Model:
    """A `unet` that leaves a margin out of its answer, and what nothing but the margin needs out of its work.

    (batch, Y, X, channels) -> scores before softmax (batch, Y - 2 margin, X - 2 margin, classes), as the network itself
    has them there, and the features of its bottom (batch, Y / multiple, X / multiple, filters), those of the margin
    among them. Layers and weights are those of the network. The way down needs all of the margin, but on the way up a
    level needs no more than `AROUND` pixels beside what it answers.

    Parameters
    ----------
    margin
        In pixels; a multiple of `input_multiple`, and at least the `reach`.
    """
    multiple = 2 ** sum(isinstance(one, layers.Concatenate) for one in network.layers)
    level, bottom = 0, None

    def narrower(layer: keras.Layer, given, **options):
        nonlocal level, bottom
        if isinstance(layer, layers.Softmax):
            return given
        if isinstance(layer, layers.UpSampling2D | layers.Conv2DTranspose):
            bottom = given if bottom is None else bottom
            around = AROUND if level else margin // multiple
            given = layers.Cropping2D(around - AROUND // 2)(given)
        if isinstance(layer, layers.Concatenate):
            level += 1
            below, beside = given
            given = [below, layers.Cropping2D(margin * 2**level // multiple - AROUND)(beside)]
        return layer(given, **options)

    same = keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=narrower)
    return keras.Model(same.input, [layers.Cropping2D(AROUND)(same.output), bottom])


def compiled(answer: Callable[..., tf.Tensor | Sequence[tf.Tensor]], *given: tf.TensorSpec) -> ConcreteFunction:
    """`answer` as a compiled function whose weights are constants, those of now: for networks that learn no more.

    It takes tensors and returns a list of them.

    TensorFlow then puts batch normalisation into convolutions. And where one image is given at a time, oneDNN brings
    constant weights into the order that suits it; variables it takes as they lie, at half the speed.
    """
    return convert_variables_to_constants_v2(
        tf.function(answer, input_signature=given, autograph=False).get_concrete_function()
    )


def input_multiple(pooling_steps: int, half_resolution: bool = False) -> int:
    """Return the number of pixels that patch and tile sides must be a multiple of."""
    return 2 ** (pooling_steps + half_resolution)


def reach(pooling_steps: int, half_resolution: bool = False) -> int:
    """Return the number of pixels around a pixel, to each side, that a `unet` may look at for its class.

    A level looks two pixels of its own further on the way down and two on the way up, the bottom two, and each pixel of
    the bottom stands for a square of the image.
    """
    inside = sum(4 * 2**level for level in range(pooling_steps)) + 3 * 2**pooling_steps
    return 2 * inside + 4 if half_resolution else inside


def classifier(
    channels: int,
    classes: int,
    network: str = SMALL,
    filters: int = 16,
    levels: int = 4,
    half_resolution: bool = False,
    weights: str | None = None,
) -> keras.Model:
    """Network that sorts whole images into classes (at least 2).

    float32 (batch, Y, X, channels), normalised to about 0 to 1 -> probabilities (batch, classes). The layer "logits"
    holds the scores before softmax, "features" the last (batch, y, x, filters) before averaging.

    Parameters
    ----------
    network
        "small CNN", made for crops of 24 to 128 pixels: levels of two convolutions with batch normalisation, each half
        the size and twice the filters of the one before; or a key of `BACKBONES`, an ImageNet network.
    filters, levels, half_resolution
        Of the small CNN; half_resolution puts a strided convolution before the first level: a third of the operations.
    weights
        "imagenet" downloads a backbone's weights; None leaves them random, for weights loaded afterwards.
    """
    inputs = keras.Input((None, None, channels), name="image")
    small = network == SMALL
    features = _small_cnn(inputs, filters, levels, half_resolution) if small else _backbone(inputs, network, weights)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(features))
    x = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(inputs, layers.Softmax(name="probabilities", dtype="float32")(x), name="classifier")


def _small_cnn(x, filters: int, levels: int, half_resolution: bool):
    x = _half(x, filters) if half_resolution else x
    for level in range(levels):
        x = _block(x, filters * 2**level)
        if level < levels - 1:
            x = layers.MaxPooling2D(2, padding="same")(x)
    return layers.Activation("linear", name="features")(x)


def _backbone(x, network: str, weights: str | None):
    """Apply a network of keras.applications to images of any number of channels."""
    module = getattr(keras.applications, BACKBONES[network])
    if x.shape[-1] != 3:
        x = layers.Conv2D(3, 1, name="to_colours", kernel_initializer=keras.initializers.Constant(1 / x.shape[-1]))(x)
    x = module.preprocess_input(255 * x)

    def build(which: str | None) -> keras.Model:
        return getattr(keras.applications, network)(include_top=False, weights=which, input_shape=(None, None, 3))

    body = build(None)
    if weights:
        _take_pretrained(body, build(weights))
    return layers.Activation("linear", name="features")(body(x))


def _take_pretrained(body: keras.Model, known: keras.Model) -> None:
    """Give a backbone the weights of the same one as Keras downloads it.

    With them Keras adds a layer to EfficientNet that scales the normalised colours; here that scale becomes a part of
    the normalisation's weights, since a model that is loaded again is built without knowing where its weights are from.
    """
    take_weights(body, known.get_weights())
    scales = [[one for one in network.layers if isinstance(one, layers.Rescaling)] for network in (body, known)]
    for more in scales[1][len(scales[0]) :]:
        (normalisation,) = (one for one in body.layers if isinstance(one, layers.Normalization))
        mean, variance, *count = normalisation.get_weights()
        take_weights(normalisation, [mean, variance / np.square(more.scale), *count])


def load_network(folder: Path, description: Mapping, build: Callable[[Mapping], keras.Model]) -> keras.Model:
    """Build the network of a model folder in float32 and load its weights.

    Parameters
    ----------
    description
        What `read_model` returned for the folder.
    build
        Makes the network of a description, see `Task.untrained`.

    Raises
    ------
    ModelError
        The description is none of a network, or the weights are missing, damaged or of another network.
    """
    try:
        network = build(description)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / DESCRIPTION} is damaged: it describes no network ({error}). Take the model folder from a "
            "backup or train again."
        ) from error
    load_weights(network, folder / WEIGHTS)
    return network
