"""A project: checked images with masks, what each image is used for, and where the model will lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils import models
from utils.checks import Dataset, Example, load_examples, raise_errors
from utils.errors import DataError
from utils.files import file_sha256
from utils.samples import sample_of
from utils.splits import split, split_table

NORMALISATION = {"kind": "percentile", "low": 1, "high": 99.8, "per": "image", "channels": "separate"}


@dataclass(frozen=True)
class Project:
    """Checked data with their split.

    Attributes
    ----------
    dataset
        Images, masks, classes and problems.
    roles
        (n,) "training", "validation" or "test" for each image.
    split
        Table file, sha256, group, role, ... as written to split.csv.
    folder
        Where the model will lie.
    """

    dataset: Dataset
    roles: np.ndarray
    split: pd.DataFrame
    folder: Path

    def examples(self, role: str) -> list[Example]:
        """Images with the given role."""
        return [example for example, its in zip(self.dataset.examples, self.roles, strict=True) if its == role]


def open_project(data: Mapping, seed: int = 0, annotation: str = "classes") -> Project:
    """Read, check and split the training data.

    Parameters
    ----------
    data
        Values of the form `data`. The test images of a bundled sample lie in a folder of their own: nothing is set
        aside then.
    seed
        Of the split.
    annotation
        "classes" or "objects", see `checks.load_examples`.

    Raises
    ------
    DataError
        Every error found in the folders, together.
    """
    folder = models.folder_of(data["model_path"], data["model_name"])
    dataset = load_examples(
        data["training_source"],
        data["training_target"],
        data["axes"],
        data["mask_type"],
        data["group_rule"],
        annotation=annotation,
        class_table=data.get("class_table", ""),
    )
    raise_errors(dataset.problems)
    name_classes(dataset.classes, data.get("class_names", ""))
    percentage_test = 0 if sample_of(data["training_source"]) else data["percentage_test"]
    groups = [example.group for example in dataset.examples]
    roles = split(groups, percentage_test, data["percentage_validation"], seed)
    table = split_table([example.image.path for example in dataset.examples], groups, roles)
    table["mask_sha256"] = [file_sha256(example.mask_path) for example in dataset.examples]  # a corrected mask counts
    return Project(dataset, roles, table, folder)


def describe_images(project: Project) -> dict:
    """What model.json says of the images and classes that a network is trained on, whatever the network."""
    sizes = {example.image.pixel_size_um for example in project.dataset.examples}
    channels = project.dataset.examples[0].image.array.shape[-1]
    return {
        "axes": "YXC",
        "channels": ["red", "green", "blue"] if channels == 3 else [f"channel {i + 1}" for i in range(channels)],
        "classes": project.dataset.classes,
        "mask_type": project.dataset.mask_type,
        "normalisation": NORMALISATION,
        "pixel_size_um": sizes.pop() if len(sizes) == 1 else None,
    }


def name_classes(classes: list[dict], names: str) -> None:
    """Give the classes the names that the user wrote, separated by commas, in order of mask value, background first."""
    given = [name.strip() for name in names.split(",") if name.strip()]
    if not given:
        return
    if len(given) != len(classes) or len(set(given)) != len(given):
        values = ", ".join(str(one["value"]) for one in classes)
        raise DataError(
            f"The field class_names lists {len(given)} names, but the masks hold {len(classes)} values ({values}). "
            "Write one different name for each value, in this order, background first, or leave the field empty."
        )
    for one, name in zip(classes, given, strict=True):
        one["name"] = name
