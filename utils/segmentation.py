"""U-Net training from a project and the forms' values to a model folder."""

from collections.abc import Mapping, Sequence

import keras

from utils import models, networks
from utils.augmentation import Augmentation
from utils.batches import Source, TrainingPatches, ValidationPatches, automatic_steps
from utils.checks import Example, automatic_patch, check_patch
from utils.errors import ModelError
from utils.losses import class_weights, segmentation_loss
from utils.metrics import best_threshold
from utils.paths import resolve
from utils.prediction import Segmenter, normalisation_range
from utils.projects import NORMALISATION, Project, describe_images
from utils.runs import Ingredients, run, training_precision
from utils.training import history_table


def sources(examples: Sequence[Example]) -> list[Source]:
    """Arrays of images with the percentiles that normalise them."""
    return [Source(one.image.array, one.mask, *normalisation_range(one.image.array, NORMALISATION)) for one in examples]


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
        As of `utils.runs.run`, which also says what is returned and raised; besides, ModelError where the starting
        model does not fit.
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
    old = models.read_model(folder, "unet")
    for what, name in (("channels of the images", "channels"), ("classes", "classes")):
        if old["network"][name] != description["network"][name]:
            raise ModelError(
                f"The starting model {folder} was trained for {old['network'][name]} {what}, your data have "
                f"{description['network'][name]}. Choose another starting model, or leave starting_model empty."
            )
    if old["network"] != description["network"]:
        fields = {name: old["network"][name] for name in ("filters", "pooling_steps", "half_resolution")}
        raise ModelError(f"The starting model {folder} was trained with {fields}. Set these fields to the same values.")
    return models.load_network(folder, old)


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
    models.save_model(project.folder, plain, description, history)
