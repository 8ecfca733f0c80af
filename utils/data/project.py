"""A project: checked images with masks, what each image is used for, and where the model will lie."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.contents import check_roles, contents
from utils.data.crops import Crop, CropSet, load_crops
from utils.data.examples import Dataset, Example, load_examples
from utils.data.mask_checks import MasksInDoubt
from utils.data.problems import raise_errors
from utils.data.review import read_review
from utils.data.splits import percentage_of_validation, split, split_table, stratified_split
from utils.errors import DataError
from utils.files import file_sha256
from utils.images.normalise import NORMALISATION
from utils.paths import folder_of, resolve
from utils.samples import CLASSIFICATION, sample_of


@dataclass(frozen=True)
class Project:
    """Checked data with their split.

    Attributes
    ----------
    dataset, roles
        Images with their annotation, classes and problems; "training", "validation" or "test" for each image (n,).
    split
        Table file, sha256, group, role, annotation (checksum or class) as written to split.csv.
    folder
        Where the model will lie.
    folds, fold
        Where all images are tested in turn: the part (n,), from 1, that each image is tested in; and, of a model that
        is trained for the test of one part only, the number of this part, else 0. See `utils.tasks.cross_validation`.
    rounds_in_turn
        Rounds of training of a model that tests a part, by those of the model that is kept, where time is short.
    kept
        Of a model for the test of one part: the training images of the model that is kept, else 0.
    in_turn
        Why all images are tested in turn, or why not, in words.
    measured
        See `measure`.
    """

    dataset: Dataset | CropSet
    roles: np.ndarray
    split: pd.DataFrame
    folder: Path
    folds: np.ndarray | None = None
    fold: int = 0
    rounds_in_turn: float = 1.0
    kept: int = 0
    in_turn: str = ""
    measured: dict = field(default_factory=dict, repr=False, compare=False)

    def examples(self, role: str) -> list[Example] | list[Crop]:
        """Images with the given role."""
        return [example for example, its in zip(self.dataset.examples, self.roles, strict=True) if its == role]

    @property
    def number_learned(self) -> int:
        """Number of training images by which is decided whether they are few.

        Of a model for the test of one part it is that of the model that is kept, which must be trained the same way.
        """
        return self.kept or int((self.roles == "training").sum())

    @property
    def uses(self) -> np.ndarray:
        """What each image is used for, in words (n,): its role, or the part in which it is tested."""
        return self.roles if self.folds is None else np.array([f"part {number}" for number in self.folds])

    def measure(self, what: Hashable, how: Callable[[], Any], of_images: bool = True) -> Any:
        """Result of `how()`, worked out only the first time it is asked for.

        `of_images`: it depends on the images and their present roles; else it is the same for all parts of a test in
        turn, which share what was measured.
        """
        key = self.roles.tobytes() if of_images else b"", what
        if key not in self.measured:
            self.measured[key] = how()
        return self.measured[key]


def open_project(data: Mapping, seed: int = 0, annotation: str = "classes") -> Project:
    """Read, check and split the training data.

    Parameters
    ----------
    data, seed
        Values of the form `data`, and the seed of the split. The test images of a bundled sample lie in a folder of
        their own: nothing is set aside then.
    annotation
        "classes" or "objects", see `utils.data.examples.load_examples`.

    Raises
    ------
    DataError
        Every error found in the folders, together; `MasksInDoubt` where there is something to look at.
    """
    folder = folder_of(data["model_path"], data["model_name"])
    dataset = load_examples(
        _place(data["training_source"]),
        _place(data["training_target"]),
        data["axes"],
        data["mask_type"],
        data["group_rule"],
        annotation=annotation,
        class_table=_place(data.get("class_table")),
        pixel_size_um=data.get("pixel_size", 0),
        ignore_value=data.get("ignore_value", ""),
    )
    _raise_errors(dataset)
    name_classes(dataset.classes, data.get("class_names", ""))
    groups = [example.group for example in dataset.examples]
    held = contents(dataset.examples, dataset.classes, annotation)
    roles = split(groups, _percentage_test(data), percentage_of_validation(data, len(groups)), seed, held.to_numpy())
    check_roles(held, groups, roles, [example.name for example in dataset.examples])
    return _project(
        dataset, groups, roles, [annotation_sha256(example, dataset.classes) for example in dataset.examples], folder
    )


def _raise_errors(dataset: Dataset) -> None:
    """`raise_errors`, with masks to look at where they may mean something else than they seem."""
    try:
        raise_errors(dataset.problems)
    except DataError as error:
        if not dataset.shown:
            raise
        raise MasksInDoubt(str(error), dataset.shown, dataset.readings) from error


def open_crops(data: Mapping, seed: int = 0) -> Project:
    """Read, check and split images that show one class each; see `open_project`. A sample has its own broad classes."""
    folder = folder_of(data["model_path"], data["model_name"])
    sample = sample_of(data["training_source"])
    class_groups = data["class_groups"] or (CLASSIFICATION[sample]["class_groups"] if sample else "")
    source = _place(data["training_source"])
    pixel_size = data.get("pixel_size", 0)
    crops = load_crops(source, data["axes"], data["group_rule"], class_groups, pixel_size_um=pixel_size)
    if data["label_review"] and not any(one.severity == "error" for one in crops.problems):
        crops = read_review(resolve(data["label_review"]), crops)
    raise_errors(crops.problems)
    groups, ids = [one.group for one in crops.examples], [one.class_id for one in crops.examples]
    roles = stratified_split(groups, ids, _percentage_test(data), percentage_of_validation(data, len(ids)), seed)
    names = [crops.classes[one]["name"] for one in ids]
    return _project(crops, groups, roles, names, folder)


def _place(text: str | None) -> Path | None:
    """Path that is typed into a field, None where nothing is."""
    return resolve(text) if text and text.strip() else None


def _percentage_test(data: Mapping) -> int:
    return 0 if sample_of(data["training_source"]) else data["percentage_test"]


def _project(dataset, groups, roles, annotation, folder) -> Project:
    table = split_table([example.image.path for example in dataset.examples], groups, roles)
    return Project(dataset, roles, table.assign(annotation=annotation), folder)


def annotation_sha256(example: Example, classes: list[dict]) -> str:
    """SHA-256 of the mask and of the classes of its objects: a training with a corrected annotation is another one."""
    sha256 = file_sha256(example.mask_path)
    if example.object_classes is None:
        return sha256
    names = sorted((label, classes[class_id]["name"]) for label, class_id in example.object_classes.items())
    return hashlib.sha256(f"{sha256} {names}".encode()).hexdigest()


def describe_images(project: Project) -> dict:
    """What model.json says of the images and classes that a network is trained on, whatever the network."""
    sizes = {example.image.pixel_size_um for example in project.dataset.examples}
    channels = project.dataset.examples[0].image.array.shape[-1]
    return {
        "axes": "YXC",
        "channels": ["red", "green", "blue"] if channels == 3 else [f"channel {i + 1}" for i in range(channels)],
        "classes": project.dataset.classes,
        "normalisation": NORMALISATION,
        "pixel_size_um": sizes.pop() if len(sizes) == 1 else None,
    }


def described_masks(dataset: Dataset) -> dict:
    """What model.json says of how the masks are read, whatever the network: mask_type, ignore_value."""
    return {"mask_type": dataset.mask_type, "ignore_value": dataset.ignore_value}


def name_classes(classes: list[dict], names: str) -> None:
    """Give the classes the names that the user wrote, separated by commas, in order of mask value, background first."""
    given = [name.strip() for name in names.split(",") if name.strip()]
    if not given:
        return
    if len(given) != len(classes) or len(set(given)) != len(given):
        values = ", ".join(str(one["value"]) for one in classes)
        raise DataError(
            f"The field class_names lists {len(given)} names, but the masks hold {len(classes)} values ({values}). "
            "Write one different name for each value, in this order, background first, or leave this field blank."
        )
    for one, name in zip(classes, given, strict=True):
        one["name"] = name
