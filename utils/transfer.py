"""Weights of a trained network for one that asks another question: everything is taken over but the last layers."""

from collections.abc import Sequence

import keras

from utils.stages import flat_layers


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
    """Copy weights into a network of the same architecture up to its number of classes.

    Parameters
    ----------
    network
        Gets the weights.
    old
        The trained network.
    head
        Names of the layers whose outputs are classes.
    kept
        For each class of the new network its place among the old ones; None: the layers of `head` keep the random
        weights of the new network. `head` layers that the old network lacks are left as they are, too.
    """
    pairs = zip(_without(network, head), _without(old, head), strict=True)
    for layer, before in pairs:
        layer.set_weights(before.get_weights())
    if kept is not None:
        for layer, before in zip(_only(network, head), _only(old, head), strict=True):
            layer.set_weights([weight[..., list(kept)] for weight in before.get_weights()])


def _without(network: keras.Model, head: Sequence[str]) -> list[keras.Layer]:
    return [layer for layer in flat_layers(network) if layer.name not in head and layer.weights]


def _only(network: keras.Model, head: Sequence[str]) -> list[keras.Layer]:
    return [layer for layer in flat_layers(network) if layer.name in head]
