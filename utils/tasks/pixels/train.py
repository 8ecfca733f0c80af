"""U-Net training from a project and the forms' values to a model folder."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from utils.data.project import Project, describe_images, described_masks
from utils.errors import ModelError
from utils.images.masks import counted, evenly_chosen, smallest_part
from utils.metrics.confusion import best_threshold, offsets_for_shares
from utils.patching.augmentation import Augmentation
from utils.patching.batches import TrainingPatches, ValidationPatches, automatic_steps, sources
from utils.patching.patches import automatic_patch, check_patch
from utils.paths import resolve
from utils.tasks.automatic import Choice, Progressively, asked_for, number, settled
from utils.tasks.cross_validation import effort
from utils.tasks.pixels.predict import Segmenter
from utils.tasks.pixels.rules import (
    BESIDE,
    FEW_IMAGES,
    GENTLER,
    LARGEST_PATCH,
    WORK,
    gentle_rounds,
    levels_choice,
    resolution_choice,
    work_at,
)
from utils.tasks.rules import add_length, patch_side
from utils.training import networks
from utils.training.batch_statistics import measure_again
from utils.training.fit import history_table
from utils.training.model_folder import read_model, save_model
from utils.training.pace import seconds_per_step
from utils.training.run import Ingredients, training_precision
from utils.training.stages import Stage

LOSSES = ["weighted cross-entropy + Dice", "cross-entropy + Dice", "weighted cross-entropy", "cross-entropy", "Dice"]
FOR_THRESHOLD = 36  # training images that help to choose the threshold
PIXELS = 20_000  # of each image by which the shares of several classes are compared
TINY = 1e-7  # probability below which none is told from 0
FIELDS = ("filters", "pooling_steps", "half_resolution")  # of the form, that are arguments of the network


class PixelTraining:
    """How a U-Net is trained: a part of `utils.tasks.pixels.task.UNet`."""

    largest_patch = LARGEST_PATCH  # of those that are chosen from the data
    work: ClassVar[Mapping[str, float]] = WORK
    optimiser: ClassVar[type[networks.Adam]] = networks.Adam

    def patch_size(self, project: Project, training: Mapping) -> tuple[int, int]:
        """See `Masks`."""
        used = project.examples("training") + project.examples("validation")
        sizes = [one.mask.shape for one in used]
        multiple = networks.input_multiple(training["pooling_steps"], training["half_resolution"])
        automatic = automatic_patch(sizes, multiple)
        patch = number(training["patch_height"]) or automatic[0], number(training["patch_width"]) or automatic[1]
        check_patch(sizes, patch, multiple, [one.name for one in used])
        return patch

    def add_network(self, project: Project, values: Progressively, fingerprint: Mapping) -> None:
        """See `Masks`."""
        values.add(resolution_choice(fingerprint, values["preset"]))
        values.add(levels_choice(fingerprint, values["half_resolution"]))
        multiple = networks.input_multiple(values["pooling_steps"], values["half_resolution"])
        shortest = min(min(one.mask.shape) for one in project.dataset.examples)
        values.add_patch(*patch_side(fingerprint, min(self.largest_patch, shortest), multiple))
        patch = self.patch_size(project, values)
        network = {name: values[name] for name in FIELDS}
        network |= {"channels": fingerprint["channels"], "classes": len(project.dataset.classes)}
        batch = values["batch_size"], patch
        pace = project.measure(
            (*network.items(), *batch), lambda: seconds_per_step(networks.unet(**network), *batch), of_images=False
        )
        steps = automatic_steps(project.examples("training"), patch, values["batch_size"])
        needed = effort(project, values["preset"], pace, BESIDE)
        add_length(values, steps, patch, work_at(values["half_resolution"], self.work), needed)

    def choices(self, project: Project, forms: Mapping) -> list[Choice]:
        """See `NetworkTask`."""
        chosen = super().choices(project, forms)
        now = settled(forms, asked_for(forms, chosen))
        if not self._gently(project, now):
            return chosen
        images, steps = project.number_learned, now["training"]["number_of_steps"]
        return [gentle_rounds(one, images, steps) if one.field == "number_of_epochs" else one for one in chosen]

    def stages(self, project: Project, forms: Mapping) -> Sequence[Stage] | None:
        """See `NetworkTask`: few images that go on from a model would soon be learned by heart."""
        if not self._gently(project, forms):
            return None
        values = forms["training"]
        return [Stage("", values["number_of_epochs"], values["initial_learning_rate"] / GENTLER)]

    def _gently(self, project: Project, forms: Mapping) -> bool:
        """Whether a quick training of few images goes on from a model."""
        start, few = forms["data"].get("starting_model", ""), project.number_learned < FEW_IMAGES
        return bool(start) and few and forms["training"]["preset"] in WORK

    def describe(self, project: Project, training: Mapping) -> dict:
        """See `Task`."""
        images, patch = describe_images(project), self.patch_size(project, training)
        network = {"channels": len(images["channels"]), "classes": len(images["classes"])}
        multiple = networks.input_multiple(training["pooling_steps"], training["half_resolution"])
        return images | {
            "task": self.name,
            "notebook": self.notebook,
            **described_masks(project.dataset),
            "normalisation": self.normalisation(project, training),
            "network": network | {name: training[name] for name in FIELDS},
            "threshold": 0.5,
            "smallest_part": 1,
            "input": {"patch": list(patch), "multiple_of": multiple},
            "optimiser": self.optimiser.__name__,
        }

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return networks.unet(**description["network"])

    def other_network(self, old: Mapping, new: Mapping) -> bool:
        """See `Masks`."""
        return old != new

    def starting_network(self, name: str, description: Mapping) -> keras.Model | None:
        """See `Task`."""
        if not name:
            return None
        folder, new = resolve(name), description["network"]
        model = read_model(folder, self.name)
        old = model["network"]
        for what, field in (("channels of the images", "channels"), ("classes", "classes")):
            if old[field] != new[field]:
                raise ModelError(
                    f"The starting model {folder} was trained for {old[field]} {what}, your data have {new[field]}. "
                    "Choose another starting model, or leave starting_model empty."
                )
        if old != new:
            fields = {field: old[field] for field in FIELDS}
            raise ModelError(
                f"The starting model {folder} was trained with {fields}. Set these fields to the same values."
            )
        return networks.load_network(folder, model, self.untrained)

    def ingredients(
        self, project: Project, forms: Mapping, description: Mapping, starting: keras.Model | None = None
    ) -> Ingredients:
        """See `Task`; the logits of the network are what is trained."""
        training, patch, normalisation = forms["training"], description["input"]["patch"], description["normalisation"]
        data = sources(project.examples("training"), normalisation)
        steps = training["number_of_steps"] or automatic_steps(data, patch, training["batch_size"])
        batches = TrainingPatches(
            data,
            patch,
            training["batch_size"],
            steps,
            training.get("min_fraction", 0),
            Augmentation(**forms["augmentation"]),
            training["seed"],
            description.get("balanced", False),
        )
        validation = ValidationPatches(
            sources(project.examples("validation"), normalisation), patch, training["batch_size"]
        )
        weights = pixel_class_weights([source.mask for source in data], len(project.dataset.classes))
        with training_precision():  # the policy of this model decides whether Keras scales the loss up for float16
            network = networks.quick_to_train(self.untrained(description))
            logits = keras.Model(network.input, network.get_layer("logits").output)
        if starting is not None:
            network.set_weights(starting.get_weights())

        def publish(state) -> None:
            if batches.balanced:  # patches of all classes differ much
                measure_again(network, lambda number: batches[number][0])
            self._publish(project, network, description, history_table(state))

        return Ingredients(
            logits,
            lambda: logits.compile(self.optimiser(), segmentation_loss(training["loss"], weights)),
            batches,
            validation,
            publish,
        )

    def _publish(self, project, network, description, history) -> None:
        """Write the model folder from the trained network, with what decides on a class, chosen without test images.

        That is a threshold and a smallest part, or with several classes the shares that they cover. A handful of
        validation images would leave it to chance, so training images help to choose it.
        """
        plain = self.untrained(description)
        plain.set_weights(network.get_weights())
        segmenter = Segmenter(plain, description)
        training, validation = project.examples("training"), project.examples("validation")
        images = validation + evenly_chosen(training, FOR_THRESHOLD)
        if len(description["classes"]) == 2:
            pairs = ((one.mask, segmenter.foreground_probability(one.image.array)) for one in images)
            told = {"threshold_images": len(images), "smallest_part": smallest_part(one.mask for one in images)}
            description = description | {"threshold": best_threshold(pairs)} | told
        elif not description.get("balanced"):  # what was drawn of each class says nothing of its share
            shift_classes(plain, offsets_for_shares(*some_pixels(segmenter, images)))
            description = description | {"share_images": len(images)}
        save_model(project.folder, plain, description, history)


def some_pixels(segmenter: Segmenter, examples: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Class ids (n,) and logarithms of probabilities (n, classes) of some pixels of each annotated image."""
    ids, log_p = [], []
    for one in examples:
        step = max(1, one.mask.size // PIXELS) | 1  # odd: the sides of images seldom are a multiple of it
        for rows, block in segmenter.probabilities(one.image.array):
            ids.append(one.mask[rows].ravel()[::step])
            log_p.append(np.log(np.maximum(block.reshape(-1, block.shape[-1])[::step], TINY)))
    return np.concatenate(ids), np.concatenate(log_p)


def shift_classes(network: keras.Model, offsets: np.ndarray) -> None:
    """Add a number to the score of each class (classes,), before softmax."""
    layer = network.get_layer("logits")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + offsets.astype(bias.dtype)])


def pixel_class_weights(masks: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """Weights of the cross-entropy from how common each class is in the training masks.

    The inverse square root of the class's share, with mean 1 over all pixels: full inverse weights would make rare
    classes be predicted too large, and with them the shares that biologists read off.

    Parameters
    ----------
    masks
        (Y, X) class ids; pixels that are `IGNORED` are not counted.
    n_classes
        Number of classes; one that occurs nowhere gets weight 0.

    Returns
    -------
    (n_classes,) float32
    """
    counts = sum(np.bincount(mask[counted(mask)], minlength=n_classes) for mask in masks)
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
        Pixels whose true class is `utils.images.masks.IGNORED` count in neither mean nor sum.

    References
    ----------
    .. [1] Milletari et al., V-Net, 3DV 2016, doi:10.1109/3DV.2016.79
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    weights = np.asarray(weights, np.float32) if "weighted" in name else np.ones(len(weights), np.float32)

    def loss(y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        counts = ops.cast(y_true >= 0, "float32")
        one_hot = ops.one_hot(y_true, len(weights), dtype="float32")  # zeros for what is ignored
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"))  # once for both parts: it costs as much as a convolution
        total = 0.0
        if "entropy" in name:
            total -= ops.sum(one_hot * weights * log_p) / ops.maximum(ops.sum(counts), 1)
        if "Dice" in name:
            p, truth = ops.exp(log_p[..., 1:]) * counts[..., None], one_hot[..., 1:]
            overlap, size = (ops.sum(value, axis=(0, 1, 2)) for value in (p * truth, p + truth))
            total += 1 - ops.mean((2 * overlap + 1) / (size + 1))
        return total

    return loss
