"""The images that a model is judged on: seen by neither training nor any choice of a threshold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from utils.data.crops import Crop, CropSet, load_crops
from utils.data.examples import Dataset, Example, load_examples
from utils.data.problems import raise_errors
from utils.data.project import Project
from utils.data.review import read_review
from utils.data.splits import read_split
from utils.errors import DataError, ModelError
from utils.files import file_sha256, write_csv, write_json
from utils.paths import resolve
from utils.samples import CLASSIFICATION, EXTRA, REAL, SAMPLES, sample_of
from utils.tasks.results import check_channels
from utils.training import model_folder

ANNOTATION = {"unet": "classes", "stardist": "objects"}  # what the masks of a task's images mean


@dataclass(frozen=True)
class TestSet:
    """Images to score a model on, and a sentence on where they come from (a warning where not independent)."""

    __test__ = False  # not a class of tests

    examples: list[Example] | list[Crop]
    origin: str
    independent: bool


def find_test_set(folder: Path, test_source: str = "", test_target: str = "", class_table: str = "") -> TestSet:
    """Images to test a model on.

    Parameters
    ----------
    folder
        Model folder.
    test_source, test_target
        Folders of images and masks, both or neither. "" means: the test folder of the bundled sample that the model was
        trained on, else the images set aside before training, else the validation images, which is said.
    class_table
        CSV with the class of each object in the test images, for a StarDist model that knows classes.

    Raises
    ------
    DataError
        Bad test data, or a test image that the model was trained on.
    """
    known = read_split(folder / model_folder.SPLIT), _data_parameters(folder), model_folder.read_model(folder)
    return choose_test_set(*known, test_source, test_target, class_table)


def choose_test_set(
    split: pd.DataFrame,
    data: Mapping,
    description: Mapping,
    test_source: str = "",
    test_target: str = "",
    class_table: str = "",
) -> TestSet:
    """Images to test a model on that need not be trained yet.

    Parameters
    ----------
    split
        Table of the split.
    data
        Values of the form `data`.
    description
        Content of model.json; used are task, classes, mask_type and channels.
    test_source, test_target, class_table
        See `find_test_set`, which also says what is raised.
    """
    if description["task"] != "classification" and bool(test_source) != bool(test_target):
        raise DataError("Fill in both test_source and test_target, the folder of images and that of masks, or neither.")
    origin = f"the folder {test_source}"
    if not test_source and (sample := sample_of(data["training_source"])):
        places = (SAMPLES | CLASSIFICATION)[sample]
        test_source, test_target = places["test_source"], places.get("test_target", "")
        origin = f"the test images of the sample {sample}"
    if test_source:
        _check_origin(data["training_source"], test_source)
        given = _load(description, data, test_source, test_target, class_table)
        return TestSet(_unseen(given.examples, split), origin, independent=True)
    role = "test" if (split["role"] == "test").any() else "validation"
    chosen = set(split.loc[split["role"] == role, "sha256"])
    own = data["training_source"], data["training_target"], data.get("class_table", "")
    given = _load(description, data, *own, reviewed=True)
    examples = [one for one in given.examples if file_sha256(one.image.path) in chosen]
    if len(examples) < len(chosen):
        raise DataError(
            f"{len(chosen) - len(examples)} of the {role} images are no longer in {data['training_source']}, or were "
            "changed. Put them back, or name a test_source."
        )
    origin = (
        "images set aside before training"
        if role == "test"
        else "the validation images: there is no independent test, so these figures are optimistic"
    )
    return TestSet(_unseen(examples, split) if role == "test" else examples, origin, independent=role == "test")


def sample_test_crops(project: Project, training_source: str) -> TestSet | None:
    """Test images of the sample for classification that a project is made of; None for one's own images."""
    sample = sample_of(training_source)
    if sample not in CLASSIFICATION:
        return None
    crops = load_crops(CLASSIFICATION[sample]["test_source"], classes=project.dataset.classes)
    raise_errors(crops.problems)
    return TestSet(crops.examples, f"the test images of the sample {sample}", independent=True)


def _check_origin(training_source: str, test_source: str) -> None:
    """Refuse the uncut image as a test for a model that was trained on pieces of it: no checksum would tell."""
    whole = resolve(EXTRA["nuclei_whole"]["test_source"])
    if sample_of(training_source) == REAL and resolve(test_source).resolve() == whole.resolve():
        raise DataError(
            "The model was trained on pieces of this very image (the sample nuclei_real): its score would be "
            "meaningless. Leave test_source empty, or train on the sample nuclei."
        )


def _load(
    description: Mapping, data: Mapping, source: str, target: str, class_table: str = "", reviewed: bool = False
) -> Dataset | CropSet:
    """Read images and their annotation with the classes of a model; DataError where they do not fit."""
    if description["task"] == "classification":
        dataset = load_crops(source, data["axes"], data["group_rule"], classes=description["classes"])
        review = data.get("label_review", "") if reviewed else ""
        dataset = read_review(review, dataset) if review else dataset
    else:
        dataset = load_examples(
            source,
            target,
            data["axes"],
            description["mask_type"],
            data["group_rule"],
            description["classes"],
            annotation=ANNOTATION[description["task"]],
            class_table=class_table,
        )
    raise_errors(dataset.problems)
    for one in dataset.examples:
        check_channels(one.image.array, one.image.path, description)
    return dataset


def _data_parameters(folder: Path) -> dict:
    needed, optional = ("training_source", "axes", "group_rule"), ("training_target", "class_table", "label_review")
    try:
        data = json.loads((folder / model_folder.PARAMETERS).read_text(encoding="utf-8"))["overrides"]["data"]
        return {name: data[name] for name in needed} | {name: data.get(name, "") for name in optional}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / model_folder.PARAMETERS} is missing or damaged. Copy the model folder again."
        ) from error


def _unseen(examples: Sequence[Example], split: pd.DataFrame) -> list[Example]:
    """Return the examples, none of which may be a training or validation image (same file content)."""
    seen = set(split.loc[split["role"] != "test", "sha256"])
    copies = [one.name for one in examples if file_sha256(one.image.path) in seen]
    if copies:
        raise DataError(
            f"The test images {', '.join(copies[:5])}, or exact copies of them, were used in training: their score "
            "would be meaningless. Take them out of the test folder; if they were set aside, remove the copies "
            "and train again."
        )
    return list(examples)


def write_scores(folder: Path, test_set: TestSet, headline: dict, per_image: pd.DataFrame, **more) -> None:
    """Write evaluation.csv and scores.json into a model folder.

    Parameters
    ----------
    folder
        Model folder.
    test_set
        What the model was scored on.
    headline
        The one score shown big: name, value, low, high, meaning.
    per_image
        One row for each test image.
    more
        Further content of scores.json.
    """
    write_csv(folder / "evaluation.csv", per_image)
    origin = {"test_images": test_set.origin, "independent": test_set.independent}
    counted = {"number_of_images": len(test_set.examples)}
    write_json(folder / "scores.json", {"headline": headline, **origin, **counted, **more})
