"""Losses of semantic segmentation, on logits."""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

LOSSES = ["weighted cross-entropy + Dice", "cross-entropy + Dice", "weighted cross-entropy", "cross-entropy", "Dice"]


def class_weights(masks: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """Weights of the cross-entropy from how common each class is in the training masks.

    The inverse square root of the class's share, with mean 1 over all pixels: full inverse weights would make rare
    classes be predicted too large, and with them the shares that biologists read off.

    Parameters
    ----------
    masks
        (Y, X) class ids.
    n_classes
        Number of classes; one that occurs nowhere gets weight 0.

    Returns
    -------
    (n_classes,) float32
    """
    counts = sum(np.bincount(mask.ravel(), minlength=n_classes) for mask in masks)
    share = counts / counts.sum()
    weights = np.where(share > 0, 1 / np.sqrt(np.maximum(share, 1e-12)), 0)
    return (weights / (weights * share).sum()).astype(np.float32)


def segmentation_loss(name: str, weights: Sequence[float]) -> Callable:
    """Return the loss function called `name` (one of `LOSSES`).

    Parameters
    ----------
    name
        Cross-entropy is averaged over pixels; the soft Dice loss [1]_ is 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) +
        1) with sums
        over all pixels of the batch, averaged over the classes other than background.
    weights
        (classes,) weights of the cross-entropy, used where the name says "weighted".

    Returns
    -------
    callable
        (y_true, y_pred) -> scalar; y_true integer class ids (batch, Y, X), y_pred logits (batch, Y, X, classes).

    References
    ----------
    .. [1] Milletari et al., V-Net, 3DV 2016, doi:10.1109/3DV.2016.79
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    weights = np.asarray(weights, np.float32) if "weighted" in name else np.ones(len(weights), np.float32)

    def loss(y_true, y_pred):
        one_hot = ops.one_hot(ops.cast(y_true, "int32"), len(weights), dtype="float32")
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"))  # once for both parts: it costs as much as a convolution
        total = 0.0
        if "entropy" in name:
            total -= ops.mean(ops.sum(one_hot * weights * log_p, axis=-1))
        if "Dice" in name:
            p, truth = ops.exp(log_p[..., 1:]), one_hot[..., 1:]
            overlap, size = (ops.sum(value, axis=(0, 1, 2)) for value in (p * truth, p + truth))
            total += 1 - ops.mean((2 * overlap + 1) / (size + 1))
        return total

    return loss
