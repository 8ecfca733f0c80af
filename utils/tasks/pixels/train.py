"""U-Net training from a project and the forms' values to a model folder."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from utils.data.project import Project, describe_images
from utils.errors import ModelError
from utils.metrics.confusion import best_threshold
from utils.patching.augmentation import Augmentation
from utils.patching.batches import TrainingPatches, ValidationPatches, automatic_steps, sources
from utils.patching.patches import automatic_patch, check_patch
from utils.paths import resolve
from utils.tasks.pixels.predict import Segmenter
from utils.training import model_folder, networks
from utils.training.fit import history_table
from utils.training.networks import load_network
from utils.training.run import Ingredients, run, training_precision

LOSSES = ["weighted cross-entropy + Dice", "cross-entropy + Dice", "weighted cross-entropy", "cross-entropy", "Dice"]


def patch_size(project: Project, training: Mapping) -> tuple[int, int]:
    """Height and width of the training patches: as in the form, or the largest that fits where it says 0."""
    used = project.examples("training") + project.examples("validation")
    sizes = [one.mask.shape for one in used]
    multiple = networks.input_multiple(training["pooling_steps"], training["half_resolution"])
    automatic = automatic_patch(sizes, multiple)
    patch = training["patch_height"] or automatic[0], training["patch_width"] or automatic[1]
    check_patch(sizes, patch, multiple, [one.name for one in used])
    return patch


def train(
    project: Project,
    parameters: Mapping,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> str:
    """Train a U-Net, or go on with it, or say that it is done.

    Parameters
    ----------
    project, parameters, callbacks
        As of `utils.training.run.run`, which also says what is returned and raised; besides, ModelError where the
        starting model does not fit.
    """
    forms = parameters["overrides"]
    data, training = forms["data"], forms["training"]
    patch = patch_size(project, training)
    description = describe(project, training, patch)
    starting = _starting_model(data.get("starting_model", ""), description)
    return run(project, parameters, lambda: ingredients(project, forms, description, starting), callbacks)


def describe(project: Project, training: Mapping, patch: tuple[int, int]) -> dict:
    """Content of model.json but for what is known only after training (threshold, checksums)."""
    images = describe_images(project)
    network = {name: training[name] for name in ("filters", "pooling_steps", "half_resolution")}
    sizes = {"channels": len(images["channels"]), "classes": len(images["classes"])}
    return images | {
        "task": "unet",
        "mask_type": project.dataset.mask_type,
        "network": {**sizes, **network},
        "threshold": 0.5,
        "input": {"patch": list(patch), "multiple_of": networks.input_multiple(**_depth(network))},
    }


def _depth(network: Mapping) -> dict:
    return {name: network[name] for name in ("pooling_steps", "half_resolution")}


def _starting_model(starting_model: str, description: dict) -> keras.Model | None:
    """Network to start from, with its weights; ModelError where it is not the network of `description`."""
    if not starting_model:
        return None
    folder = resolve(starting_model)
    old = model_folder.read_model(folder, "unet")
    for what, name in (("channels of the images", "channels"), ("classes", "classes")):
        if old["network"][name] != description["network"][name]:
            raise ModelError(
                f"The starting model {folder} was trained for {old['network'][name]} {what}, your data have "
                f"{description['network'][name]}. Choose another starting model, or leave starting_model empty."
            )
    if old["network"] != description["network"]:
        fields = {name: old["network"][name] for name in ("filters", "pooling_steps", "half_resolution")}
        raise ModelError(f"The starting model {folder} was trained with {fields}. Set these fields to the same values.")
    return load_network(folder, old)


def starting_note(project: Project, data: Mapping, training: Mapping) -> str:
    """One sentence on the model that training starts from; ModelError where it does not fit the data."""
    description = describe(project, training, patch_size(project, training))
    if _starting_model(data["starting_model"], description) is None:
        return "Training starts from scratch."
    return f"Training starts from the weights in {resolve(data['starting_model'])}."


def ingredients(
    project: Project, forms: Mapping, description: Mapping, starting: keras.Model | None = None
) -> Ingredients:
    """Network and batches; the logits of the network are what is trained.

    Parameters
    ----------
    project
        From `projects.open_project`.
    forms
        Values of the forms augmentation and training.
    description
        From `describe`.
    starting
        The same network with weights to start from; None: random ones.
    """
    training, data, patch = forms["training"], sources(project.examples("training")), description["input"]["patch"]
    steps = training["number_of_steps"] or automatic_steps(data, patch, training["batch_size"])
    batches = TrainingPatches(
        data,
        patch,
        training["batch_size"],
        steps,
        training["min_fraction"],
        Augmentation(**forms["augmentation"]),
        training["seed"],
    )
    validation = ValidationPatches(sources(project.examples("validation")), patch, training["batch_size"])
    weights = class_weights([source.mask for source in data], len(project.dataset.classes))
    with training_precision():  # the policy of this model decides whether Keras scales the loss up for float16
        network = networks.unet(**description["network"])
        logits = keras.Model(network.input, network.get_layer("logits").output)
    if starting is not None:
        network.set_weights(starting.get_weights())
    return Ingredients(
        logits,
        lambda: logits.compile(keras.optimizers.Adam(), segmentation_loss(training["loss"], weights)),
        batches,
        validation,
        lambda state: _publish(project, network, description, history_table(state)),
    )


def _publish(project, network, description, history) -> None:
    """Write the model folder from the trained network, with a threshold chosen on validation images only."""
    plain = networks.unet(**description["network"])
    plain.set_weights(network.get_weights())
    if len(description["classes"]) == 2:
        segmenter = Segmenter(plain, description)
        validation = project.examples("validation")
        pairs = ((one.mask, segmenter.foreground_probability(one.image.array)) for one in validation)
        description = description | {"threshold": best_threshold(pairs)}
    model_folder.save_model(project.folder, plain, description, history)


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
