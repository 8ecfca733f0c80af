"""StarDist training from a project and the forms' values to a model folder; the fit is this project's."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import stardist.utils
from stardist.models import Config2D, StarDist2D

from utils.data.examples import Example
from utils.data.project import Project, describe_images, described_masks
from utils.errors import DataError, ModelError
from utils.images.masks import counted, without_ignored
from utils.images.normalise import normalise
from utils.pages.bar import search_bar
from utils.patching.augmentation import Augmentation
from utils.patching.batches import automatic_steps, sources
from utils.tasks.automatic import Progressively, number
from utils.tasks.cross_validation import effort
from utils.tasks.objects.checks import object_sizes
from utils.tasks.objects.network import (
    TrainingObjects,
    ValidationObjects,
    answering,
    build,
    object_sources,
    open_network,
    quiet,
    save,
)
from utils.tasks.objects.rules import BESIDE, DRAWING, WORK, grid_choice, rays_choice
from utils.tasks.rules import add_length, patch_side
from utils.training.fit import history_table
from utils.training.networks import Adam
from utils.training.pace import seconds_per_step
from utils.training.run import Ingredients, training_precision

UNET_DEPTH = 3  # StarDist's default: the image is halved three times after the grid
LARGEST_AUTOMATIC_PATCH = 256  # StarDist's default patch
SMALLEST_AUTOMATIC_PATCH = 64  # smaller images are padded rather than making all patches tiny
OUTPUTS = ("prob", "dist", "prob_class")
FITTING = {  # attributes that must be equal in both networks: name, and the field to set unless it is the data's
    "n_channel_in": ("channels of the images", None),
    "n_classes": ("classes of objects", None),
    "n_rays": ("rays", "n_rays"),
    "grid": ("grid", "grid"),
    "unet_n_filter_base": ("filters", "filters"),
    "unet_batch_norm": ("batch normalisation", "batch_normalisation"),
    "unet_n_depth": ("levels", None),
    "net_conv_after_unet": ("features", None),
}


def used(project: Project) -> list[Example]:
    """Training and validation images."""
    return project.examples("training") + project.examples("validation")


class ObjectTraining:
    """How a StarDist model is trained: a part of `utils.tasks.objects.task.StarDist`."""

    def patch_size(self, project: Project, training: Mapping) -> tuple[int, int]:
        """Height and width of the training patches: as in the form, or the largest that fits where it says 0.

        Raises
        ------
        DataError
            A side that network and grid cannot halve.
        """
        multiple = training["grid"] * 2**UNET_DEPTH
        shortest = min(min(one.mask.shape) for one in used(project))
        largest = min(LARGEST_AUTOMATIC_PATCH, max(shortest, SMALLEST_AUTOMATIC_PATCH)) // multiple * multiple
        patch = number(training["patch_height"]) or largest, number(training["patch_width"]) or largest
        if patch[0] % multiple or patch[1] % multiple:
            raise DataError(
                f"The patch of {patch[0]} x {patch[1]} pixels (height x width) does not suit the network with grid "
                f"{training['grid']}. Choose multiples of {multiple} for patch_height and patch_width, or 0."
            )
        return patch

    def add_network(self, project: Project, values: Progressively, fingerprint: Mapping) -> None:
        """See `Masks`."""
        values.add(grid_choice(fingerprint), rays_choice(fingerprint))
        multiple = values["grid"] * 2**UNET_DEPTH
        shortest = min(min(one.mask.shape) for one in used(project))
        largest = min(LARGEST_AUTOMATIC_PATCH, max(shortest, SMALLEST_AUTOMATIC_PATCH))
        values.add_patch(*patch_side(fingerprint, largest, multiple))
        patch = self.patch_size(project, values)
        network = self.describe(project, values)["network"]
        batch = values["batch_size"], patch, DRAWING
        pace = project.measure(
            (str(network), *batch), lambda: seconds_per_step(build(network).keras_model, *batch), of_images=False
        )
        steps = automatic_steps(project.examples("training"), patch, values["batch_size"])
        add_length(values, steps, patch, WORK, effort(project, values["preset"], pace, BESIDE))

    def describe(self, project: Project, training: Mapping) -> dict:
        """See `Task`."""
        images, grid, patch = describe_images(project), training["grid"], self.patch_size(project, training)
        multi_class = any(one.object_classes is not None for one in project.dataset.examples)
        network = {
            "n_rays": training["n_rays"],
            "grid": [grid, grid],
            "n_channel_in": len(images["channels"]),
            "n_classes": len(images["classes"]) - 1 if multi_class else None,
            "unet_n_depth": UNET_DEPTH,
            "unet_n_filter_base": training["filters"],
            "unet_batch_norm": training["batch_normalisation"],
            "net_conv_after_unet": 4 * training["filters"],  # StarDist's own proportion, 128 to 32
            "train_patch_size": list(patch),
            "train_batch_size": training["batch_size"],
        }
        largest = project.measure(
            "largest object", lambda: float(object_sizes(used(project))["largest extent [px]"].max())
        )
        return images | {
            "task": self.name,
            "notebook": self.notebook,
            **described_masks(project.dataset),
            "normalisation": self.normalisation(project, training),
            "network": network,
            "input": {"patch": list(patch), "multiple_of": grid * 2**UNET_DEPTH, "largest_object": largest},
        }

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return build(description["network"]).keras_model

    def other_network(self, old: Mapping, new: Mapping) -> bool:
        """See `Masks`."""
        return any(old[name] != value for name, value in new.items() if not name.startswith("train_"))

    def starting_network(self, name: str, description: Mapping) -> keras.Model | None:
        """See `Task`; `name` may be that of a published model."""
        if not name:
            return None
        start = open_network(name)
        _check_fit(name, start.config, Config2D(**description["network"]))
        return start.keras_model

    def starting_place(self, name: str) -> str:
        """See `Task`."""
        return f"of {name}"

    def ingredients(
        self, project: Project, forms: Mapping, description: Mapping, starting: keras.Model | None = None
    ) -> Ingredients:
        """See `Task`; StarDist's own losses."""
        training, patch = forms["training"], tuple(description["input"]["patch"])
        model = build(description["network"])
        if starting is not None:
            model.keras_model.set_weights(starting.get_weights())
        _use_training_precision(model)
        kinds = [
            ([one.object_classes for one in examples], object_sources(examples, patch, description["normalisation"]))
            for examples in (project.examples("training"), project.examples("validation"))
        ]
        common = {"patch": patch, "batch_size": training["batch_size"]}
        batches = TrainingObjects(
            model.config,
            kinds[0][0],
            sources=kinds[0][1],
            steps=training["number_of_steps"] or automatic_steps(kinds[0][1], patch, training["batch_size"]),
            min_fraction=training["min_fraction"],
            augmentation=Augmentation(**forms["augmentation"]),
            seed=training["seed"],
            **common,
        )
        validation = ValidationObjects(model.config, kinds[1][0], sources=kinds[1][1], **common)
        network = model.keras_model
        return Ingredients(
            network,
            lambda: _compile(model),
            batches,
            validation,
            lambda state: self._publish(project, network, description, history_table(state)),
        )

    def _publish(self, project, network, description, history) -> None:
        """Write the model folder from the trained network, with thresholds chosen on validation images only."""
        model = build(description["network"])
        answering(model).keras_model.set_weights(network.get_weights())
        used = optimise_thresholds(model, project.examples("validation"), description["normalisation"])
        chosen = {"threshold": model.thresholds.prob, "nms_threshold": model.thresholds.nms, "threshold_images": used}
        save(project.folder, model, description | chosen, history)


def _use_training_precision(model: StarDist2D) -> None:
    """On a GPU, replace the network by one that computes in float16 up to its outputs."""
    with training_precision():
        policy = keras.config.dtype_policy()
        if policy.name != "float32":
            weights = model.keras_model.get_weights()
            model.keras_model = keras.models.clone_model(
                model.keras_model, clone_function=lambda layer: _with_policy(layer, policy)
            )
            model.keras_model.set_weights(weights)


def _compile(model: StarDist2D) -> None:
    """Compile StarDist's losses, scaled up on a GPU, which computes in float16."""
    with training_precision():
        model.prepare_for_training(optimizer=Adam())
    model.keras_model.jit_compile = False  # StarDist's losses pick pixels by a mask: no fixed size to compile for


def _with_policy(layer: keras.Layer, policy: keras.DTypePolicy) -> keras.Layer:
    dtype = "float32" if layer.name in OUTPUTS else policy
    return layer.__class__.from_config(layer.get_config() | {"dtype": dtype})


def optimise_thresholds(model: StarDist2D, examples: Sequence[Example], normalisation: Mapping) -> int:
    """Let StarDist choose its probability and overlap thresholds on validation images; bars show the progress.

    Without any object in them nothing can be chosen: StarDist's usual values stay. Where pixels are `IGNORED` nothing
    is found, so that no object there counts as right or wrong. Returns the number of images that they were chosen on.
    """
    if not any((one.mask > 0).any() for one in examples):
        return 0
    images = [normalise(source.image, source.low, source.high) for source in sources(examples, normalisation)]
    masks = [one.mask for one in examples]
    with quiet(), _bars_for_the_page(), _blind_where_ignored(model, masks):
        model.optimize_thresholds(images, [without_ignored(mask) for mask in masks])
    return len(masks)


@contextmanager
def _blind_where_ignored(model: StarDist2D, masks: Sequence[np.ndarray]):
    """Let `model` predict, for images in the order of their masks, no object where these are `IGNORED`."""
    predict, grid, remaining = model.predict, model.config.grid, iter(masks)

    def blind(image: np.ndarray, **options):
        probability, *others = predict(image, **options)
        known = counted(next(remaining))[:: grid[0], :: grid[1]]
        return (np.where(known, probability, 0), *others)

    model.predict = blind
    try:
        yield
    finally:
        del model.predict


@contextmanager
def _bars_for_the_page():
    """Let StarDist draw its bars as the page does: as text, each step of a bar is a new line of a notebook.

    It tries thresholds until they no longer differ, which is not a failure to reach the number that it may try.
    """

    def bar(total: int, desc: str, disable: bool = False):
        return search_bar(total, desc.replace("NMS threshold =", "Choosing thresholds, overlap"), disable=disable)

    before, stardist.utils.tqdm = stardist.utils.tqdm, bar
    try:
        yield
    finally:
        stardist.utils.tqdm = before


def _check_fit(name: str | Path, old, new) -> None:
    """ModelError where two StarDist configurations are not those of the same network."""
    for attribute, (what, field) in FITTING.items():
        before, now = getattr(old, attribute), getattr(new, attribute)
        if before != now:
            value = before[0] if attribute == "grid" else before
            remedy = f"Set the field {field} to {value}" if field else "Choose another starting model"
            raise ModelError(
                f"The starting model {name} has the {what} {before}, your data and form ask for {now}. {remedy}, or "
                "leave starting_model empty."
            )
