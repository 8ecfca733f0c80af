"""The model that fine-tuning starts from: a model folder, a published StarDist model, or one trained on a sample."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from utils.data.object_classes import object_class_table
from utils.data.project import Project
from utils.data.splits import read_split
from utils.errors import DataError, FormError
from utils.files import file_sha256
from utils.images.normalise import NORMALISATION
from utils.paths import resolve, shown_path
from utils.samples import CLASSIFICATION
from utils.tasks.objects.network import PUBLISHED, published
from utils.tasks.objects.predict import ObjectSegmenter
from utils.tasks.registry import CLASSIFIER, STARDIST, read_task
from utils.tasks.task import Start, Tunable
from utils.training import model_folder

EXAMPLE, EXAMPLE_SAMPLE = "mitosis_try_out", "mitosis"  # name of the model that is trained where none is given
NETWORK = ("n_rays", "grid", "n_channel_in", "n_classes", "net_conv_after_unet", "train_patch_size", "train_batch_size")


def open_start(name: str) -> tuple[Tunable, Start]:
    """Read a starting model, whatever its task.

    Parameters
    ----------
    name
        A model folder or one of `utils.tasks.objects.network.PUBLISHED`.

    Raises
    ------
    ModelError
        There is no model, or it is damaged.
    """
    if name in PUBLISHED:
        return STARDIST, _published(name)
    folder = resolve(name)
    task, description = read_task(folder)
    return task, Start(shown_path(folder), folder, description, task.load(folder), _training_of(folder))


def _training_of(folder: Path) -> dict:
    """Values of the form training that a model was made with; none where they are not there any more."""
    try:
        return dict(json.loads((folder / model_folder.PARAMETERS).read_text(encoding="utf-8"))["overrides"]["training"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _published(name: str) -> Start:
    model = published(name)
    config = vars(model.config)
    network = {key: value for key, value in config.items() if key in NETWORK or key.startswith("unet_")}
    description = {
        "task": "stardist",
        "network": network,
        "channels": [f"channel {i + 1}" for i in range(network["n_channel_in"])],
        "classes": object_class_table(),
        "normalisation": NORMALISATION,
        "pixel_size_um": None,
        "input": {"patch": list(network["train_patch_size"]), "largest_object": min(network["train_patch_size"]) / 2},
    }
    return Start(name, None, description, ObjectSegmenter(model, description), {})


def example_model(model_path: str, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Path:
    """Folder of a classifier of the phases of mitosis, trained now unless that was done before.

    Parameters
    ----------
    model_path
        Folder that models are kept in.
    callbacks
        For display.
    """
    values = example_values(model_path)
    project = CLASSIFIER.open(values["data"], values["training"]["seed"])
    CLASSIFIER.train(project, {"overrides": values}, callbacks)
    return project.folder


def example_values(model_path: str = "models") -> dict[str, dict]:
    """Values of the classification notebook: the preset "Try out" with the sample mitosis."""
    data = {
        "training_source": CLASSIFICATION[EXAMPLE_SAMPLE]["training_source"],
        "class_groups": "",
        "label_review": "",
        "model_name": EXAMPLE,
        "starting_model": "",
        "percentage_test": 20,
        "percentage_validation": 10,
        "group_rule": "",
        "axes": "automatic",
        "model_path": model_path,
        "if_model_exists": "ask",
    }
    augmentation = {"flip": True, "rotate_90": True, "rotation": 180, "shift": 5, "zoom": 10, "intensity": 20}
    training = {
        "learning_rate_schedule": "cosine",
        "patience": 0,
        "class_weights": "balanced",
        "filters": 16,
        "half_resolution": True,
        "levels": 4,
        "seed": 0,
        "preset": "Try out",
        "network": "small CNN",
        "number_of_epochs": 15,
        "number_of_steps": 0,
        "batch_size": 32,
        "initial_learning_rate": 0.003,
        "patch_height": 0,
        "patch_width": 0,
        "fit": "pad",
        "normalisation": "each image",
    }
    return {"data": data, "augmentation": augmentation | {"blur": 0.0, "noise": 0}, "training": training}


def check_data_of_task(task: Tunable, start: Start, data: Mapping) -> None:
    """Refuse, by a FormError, fields that do not go with the kind of starting model."""
    if task.needs_masks and not data["training_target"]:
        raise FormError(
            f"The starting model {start.name} is a {task.noun}: it needs a folder of images in training_source and a "
            "folder of their masks in training_target. Fill in both, or choose a classifier as starting_model."
        )
    if not task.needs_masks and data["training_target"]:
        raise FormError(
            f"The starting model {start.name} is a {task.noun}: it needs one folder with a sub-folder for each class "
            "in training_source, and no masks. Leave training_target empty, or choose a U-Net or StarDist model."
        )


def check_channels_of(start: Start, project: Project) -> None:
    """Refuse, by a DataError, images whose number of channels is not that of the starting model."""
    one, needed = project.dataset.examples[0], len(start.description["channels"])
    if one.image.array.shape[-1] != needed:
        raise DataError(
            f"The starting model {start.name} was trained on {needed} channels, but {one.image.path} and the other "
            f"new images have {one.image.array.shape[-1]}. Export the new images with the same {needed} channels "
            "(in Fiji: Image > Type, or Image > Color > Split Channels), or train a new model in the notebook of its "
            "task."
        )


def check_unseen_by(start: Start, sha256: Sequence[str]) -> None:
    """Refuse, by a DataError, test images that the starting model was trained on."""
    if start.folder is None or not (start.folder / model_folder.SPLIT).is_file():
        return
    split = read_split(start.folder / model_folder.SPLIT)
    seen = split.loc[(split["role"] != "test") & split["sha256"].isin(set(sha256)), "file"]
    if len(seen):
        raise DataError(
            f"The starting model {start.name} was trained on {len(seen)} of the test images ({', '.join(seen[:3])}): "
            "the score would be meaningless. Name other test images in test_source."
        )


def fingerprint(start: Start) -> dict[str, str]:
    """Checksums of the files of the starting model, to tell later whether it is still the same."""
    if start.folder is None:
        return {"published": start.name}
    return {name: file_sha256(start.folder / name) for name in start.description["sha256"]}
