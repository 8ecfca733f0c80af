"""Classifier training from a project and the forms' values to a model folder."""

from collections import Counter
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import pandas as pd

from utils.data.crops import Crop
from utils.data.project import Project, describe_images
from utils.errors import ModelError
from utils.images.normalise import BOTH, EACH_IMAGE, NORMALISATION, common_range
from utils.metrics.calibration import FEWEST_IMAGES, apply, fit_temperature
from utils.patching.augmentation import Augmentation
from utils.paths import resolve
from utils.tasks.automatic import Choice, Progressively, number
from utils.tasks.classes.batches import TrainingCrops, ValidationCrops, class_weights, prepared, seen_by_forest
from utils.tasks.classes.decision import DECIDES, choose_share, trained_forest
from utils.tasks.classes.fingerprint import fingerprint, fingerprint_table
from utils.tasks.classes.forest import FOREST, Forest
from utils.tasks.classes.rules import BESIDE, ROUNDS, class_choices
from utils.tasks.cross_validation import effort, turn_choice
from utils.tasks.rules import UNLIMITED, epochs_choice, validation_choice
from utils.training import networks
from utils.training.checkpoints import take_weights
from utils.training.fit import history_table
from utils.training.model_folder import read_model, save_model
from utils.training.pace import seconds_per_step
from utils.training.run import Ingredients, training_precision

SMALLEST_BATCH = 8  # no image is twice in a batch, unless there are fewer than this
SMALLEST_FOR_BACKBONE = 64  # pixels: it halves an image five times
DRAWING = 0.01  # seconds that changing the images of a batch takes
FEWEST_STEPS = 30  # per epoch: few images need no fewer steps to learn from


class ClassTraining:
    """How a classifier is trained: a part of `utils.tasks.classes.task.Classification`."""

    def image_size(self, project: Project, training: Mapping) -> tuple[int, int]:
        """Height and width that every image is brought to: as in the form, or the most frequent where it says 0."""
        frequent = Counter(one.image.array.shape[:2] for one in project.examples("training")).most_common(1)[0][0]
        return number(training["patch_height"]) or frequent[0], number(training["patch_width"]) or frequent[1]

    def fingerprint(self, project: Project) -> dict:
        """See `NetworkTask`."""
        return project.measure("fingerprint", lambda: fingerprint(project))

    def fingerprint_table(self, project: Project) -> pd.DataFrame:
        """See `NetworkTask`."""
        return fingerprint_table(self.fingerprint(project))

    def choices(self, project: Project, forms: Mapping) -> list[Choice]:
        """See `NetworkTask`."""
        fingerprint, values = self.fingerprint(project), Progressively(forms["training"])
        values.add(validation_choice(len(project.dataset.examples)))
        values.add(*class_choices(fingerprint, forms, project.number_learned))
        network = self.describe(project, values)["network"]
        size = self.image_size(project, values)
        if values["network"] != networks.SMALL:
            size = tuple(max(SMALLEST_FOR_BACKBONE, side) for side in size)
        work = values["batch_size"], size, DRAWING
        pace = project.measure(
            (*network.items(), *work), lambda: seconds_per_step(networks.classifier(**network), *work), of_images=False
        )
        steps = _batches(values, fingerprint["images"])[1]
        rounds = ROUNDS.get(values["preset"], UNLIMITED)
        values.add(epochs_choice(values, rounds, steps, effort(project, values["preset"], pace, BESIDE)))
        return [*values.choices, turn_choice(project)]

    def describe(self, project: Project, training: Mapping) -> dict:
        """See `Task`."""
        images = describe_images(project)
        network = {name: training[name] for name in ("network", "filters", "levels", "half_resolution")}
        channels = len(images["channels"]) * (2 if training["normalisation"] == BOTH else 1)
        return images | {
            "task": self.name,
            "notebook": self.notebook,
            "network": {"channels": channels, "classes": len(images["classes"]), **network},
            "normalisation": _normalisation(project, training["normalisation"]),
            "input": {"size": list(self.image_size(project, training)), "fit": training["fit"]},
        }

    def untrained(self, description: Mapping) -> keras.Model:
        """See `Task`."""
        return networks.classifier(**description["network"])

    def starting_network(self, name: str, description: Mapping) -> keras.Model | None:
        """See `Task`."""
        if not name:
            return None
        folder = resolve(name)
        old = read_model(folder, self.name)
        names = [[one["name"] for one in each["classes"]] for each in (old, description)]
        if names[0] != names[1]:
            raise ModelError(
                f"The starting model {folder} knows the classes {', '.join(names[0])}, your data have "
                f"{', '.join(names[1])}. Choose another starting model, or use the fine-tuning notebook."
            )
        for field, value in old["network"].items():
            if value != description["network"][field]:
                raise ModelError(
                    f"The starting model {folder} was made with {field} {value!r}, your data and form ask for "
                    f"{description['network'][field]!r}. Choose the same, or another starting model."
                )
        return networks.load_network(folder, old, self.untrained)

    def ingredients(
        self, project: Project, forms: Mapping, description: Mapping, starting: keras.Model | None = None
    ) -> Ingredients:
        """See `Task`; the logits are what is trained, a backbone starts from ImageNet's weights."""
        training = forms["training"]
        images, class_ids = arrays(project.examples("training"), description)
        validation = arrays(project.examples("validation"), description)
        weights = class_weights(class_ids, len(description["classes"]), training["class_weights"])
        batch, steps = _batches(training, len(images))
        with training_precision():
            network = _network(description, starting)
            logits = keras.Model(network.input, network.get_layer("logits").output)
        augmentation = Augmentation(**forms["augmentation"])

        def compile() -> None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            logits.compile(networks.Adam(), loss, weighted_metrics=["accuracy"])

        return Ingredients(
            logits,
            compile,
            TrainingCrops(images, class_ids, weights, batch, steps, augmentation, training["seed"]),
            ValidationCrops(*validation, weights, batch),
            lambda state: self._publish(project, network, description, training, history_table(state)),
        )

    def _publish(self, project, network, description, training, history) -> None:
        """Write the model folder from the trained network, with a temperature fitted on validation images only.

        Where these are few the temperature is 1: one fitted on few images makes probabilities worse as often as better.
        Where the form says so, a forest is trained on the same images, and validation images choose who decides.
        """
        plain = self.untrained(description)
        take_weights(plain, network.get_weights())
        images, class_ids = arrays(project.examples("validation"), description)
        logits = keras.Model(plain.input, plain.get_layer("logits").output).predict(images, verbose=0)
        enough = len(class_ids) >= FEWEST_IMAGES
        description = description | {
            "temperature": float(fit_temperature(logits, class_ids)) if enough else 1.0,
            "calibration": {"validation_images": len(class_ids), "fitted": enough},
        }
        files = {}
        if (decides := training.get("decides", "network")) != "network":
            forest = trained_forest(project.examples("training"), description, training)
            p = apply(logits, description["temperature"])
            description |= {"decides": _decision(decides, p, forest, project.examples("validation"), description)}
            files = {FOREST: forest.save}
        save_model(project.folder, plain, description, history, files=files)


def _batches(training: Mapping, images: int) -> tuple[int, int]:
    """Images of a batch, and batches of a round."""
    batch = min(training["batch_size"], max(SMALLEST_BATCH, images))
    return batch, training["number_of_steps"] or max(FEWEST_STEPS, -(-images // batch))


def _decision(decides: str, network: np.ndarray, forest: Forest, validation: Sequence[Crop], description) -> dict:
    """Entry decides of model.json: shares of network and forest, and why."""
    if decides != "automatic":
        share, why = DECIDES[decides], "as the form says"
    else:
        own = forest.probabilities([seen_by_forest(one.image.array, description) for one in validation])
        ids = np.array([one.class_id for one in validation], int)
        balance = class_weights(ids, network.shape[1], "balanced")
        share, why = choose_share(network, own, ids, balance)
    return {"network": share, "forest": 1 - share, "why": why}


def _normalisation(project: Project, how: str) -> dict:
    """Where brightness tells classes apart (DNA content), one range serves all images; else each has its own."""
    if how == EACH_IMAGE:
        return NORMALISATION
    pixels = [one.image.array.reshape(-1, 1, one.image.array.shape[-1]) for one in project.examples("training")]
    return common_range(pixels, how)


def arrays(crops: Sequence[Crop], description: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Prepared images float32 (n, Y, X, C) and class ids (n,)."""
    return np.stack([prepared(one.image.array, description) for one in crops]), np.array(
        [one.class_id for one in crops]
    )


def _network(description: Mapping, starting: keras.Model | None) -> keras.Model:
    """Network to train: with the weights of `starting`, with ImageNet's, or random."""
    arguments = description["network"]
    if starting is None and arguments["network"] in networks.BACKBONES:
        try:
            return networks.classifier(**arguments, weights="imagenet")
        except Exception as error:  # Keras raises a bare Exception where it cannot download
            raise ModelError(
                f"The ImageNet weights of {arguments['network']} could not be downloaded. Connect to the internet and "
                f'run the cell again, or choose "{networks.SMALL}" in the field network, which needs none.'
            ) from error
    network = networks.classifier(**arguments)
    if starting is not None:
        take_weights(network, starting.get_weights())
    return network
