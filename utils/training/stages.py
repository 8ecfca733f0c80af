"""Stages of a training: which layers learn, for how long, and how fast.

Why the head first: with random weights at the end of the network the first steps would destroy what the rest has
learned. Why batch normalisation rests: its means and variances, estimated from thousands of images, would be replaced
by those of a handful. Source: Chollet F, Transfer learning and fine-tuning, https://keras.io/guides/transfer_learning
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras

from utils.training.checkpoints import take_weights

LAST_LAYER, TWO_STAGES, EVERYTHING, SCRATCH = "last layer", "two stages", "everything", "from scratch"
HEAD_SHARE = 0.25  # of the epochs of "two stages": enough for a head, which is one layer


@dataclass(frozen=True)
class Stage:
    """A part of a training.

    Attributes
    ----------
    name
        Folder of its checkpoints, below that of the training; "" for the only stage.
    epochs, rate
        Its rounds of training, and its highest learning rate.
    head
        Names of the only layers that learn; None: all.
    rest_normalisation
        Whether batch normalisation works as in prediction and keeps its statistics; where the layer learns, its scale
        and offset do.
    """

    name: str
    epochs: int
    rate: float
    head: Sequence[str] | None = None
    rest_normalisation: bool = False

    def prepare(self, model: keras.Model) -> None:
        """Set which layers learn; `model` has to be compiled afterwards."""
        for layer in flat_layers(model):
            learns = self.head is None or layer.name in self.head
            layer.trainable = True  # Keras passes only a change on to the weights
            layer.trainable = learns
            if self.rest_normalisation and isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # Keras: as in prediction, with all its weights at rest
                for weight in layer.weights[: layer.scale + layer.center]:
                    weight.trainable = learns


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Layers in order, those of a model within the model in its place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def stages_of(strategy: str, epochs: int, rate: float, lower: float, head: Sequence[str]) -> list[Stage]:
    """Stages of a strategy of fine-tuning: LAST_LAYER, TWO_STAGES, EVERYTHING or SCRATCH.

    Parameters
    ----------
    epochs, rate
        In all; highest learning rate of a layer that has to be learned anew.
    lower
        Times by which the learning rate is lower while weights change that were learned earlier.
    head
        Names of the last layers.
    """
    if strategy == SCRATCH:
        return [Stage("", epochs, rate)]
    if strategy == EVERYTHING:
        return [Stage("", epochs, rate / lower)]
    first = Stage("", epochs, rate, head, rest_normalisation=True)
    if strategy == LAST_LAYER or epochs == 1:
        return [first]
    short = max(1, round(HEAD_SHARE * epochs))
    return [
        Stage("head", short, rate, head, rest_normalisation=True),
        Stage("everything", epochs - short, rate / lower, rest_normalisation=True),
    ]


def kept_classes(old: Sequence[dict], new: Sequence[dict]) -> list[int] | None:
    """Where each class of the new data stands in the old class table; None where one is not there: a new question.

    Parameters
    ----------
    old, new
        Class tables as in model.json; classes are the same if their names are.
    """
    place = {str(one["name"]): i for i, one in enumerate(old)}
    kept = [place.get(str(one["name"])) for one in new]
    return None if None in kept else kept


def take_over(network: keras.Model, old: keras.Model, head: Sequence[str], kept: Sequence[int] | None) -> None:
    """Copy weights of `old` into a network of the same architecture up to its number of classes.

    Parameters
    ----------
    head
        Names of the layers whose outputs are classes.
    kept
        For each class of the new network its place among the old ones; None: the layers of `head` keep the random
        weights of the new network, those that the old network lacks included.
    """
    pairs = zip(_without(network, head), _without(old, head), strict=True)
    for layer, before in pairs:
        take_weights(layer, before.get_weights())
    if kept is not None:
        for layer, before in zip(_only(network, head), _only(old, head), strict=True):
            layer.set_weights([weight[..., list(kept)] for weight in before.get_weights()])


def _without(network: keras.Model, head: Sequence[str]) -> list[keras.Layer]:
    return [layer for layer in flat_layers(network) if layer.name not in head and layer.weights]


def _only(network: keras.Model, head: Sequence[str]) -> list[keras.Layer]:
    return [layer for layer in flat_layers(network) if layer.name in head]
