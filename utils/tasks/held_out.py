"""The images that a model is judged on: seen by neither training nor any choice of a threshold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from utils.data.crop_files import listing
from utils.data.problems import raise_errors
from utils.data.review import read_review
from utils.data.splits import FOLD, read_split
from utils.errors import DataError, ModelError
from utils.files import file_sha256, meaningful, write_csv, write_json
from utils.groups import ASK, Grouping, alike, groupings, named_groups
from utils.paths import resolve
from utils.samples import CLASSIFICATION, EXTRA, REAL, SAMPLES, sample_of
from utils.tasks.cross_validation import evaluation_in_turn
from utils.tasks.results import check_channels
from utils.tasks.task import Evaluation, Task, TestSet
from utils.training.model_folder import (
    DESCRIPTION,
    NO_RESULT,
    PARAMETERS,
    SPLIT,
    alone,
    no_result,
    read_model,
)

SECONDS_TO_WAIT = 10  # for another page that writes its scores


def find_test_set(
    task: Task, folder: Path, test_source: str = "", test_target: str = "", class_table: str = ""
) -> TestSet:
    """Images to test a model on.

    Parameters
    ----------
    task
        Of the model.
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
    known = read_split(folder / SPLIT), _data_parameters(folder), read_model(folder, task.name)
    if not test_source and FOLD in known[0]:
        found = _in_turn(task, *known)
    else:
        found = choose_test_set(task, *known, test_source, test_target, class_table)
    return _doubted_where_started(found, known[1]["starting_model"])


def _doubted_where_started(test_set: TestSet, starting_model: str) -> TestSet:
    """The test set, not called independent where the model that the training started from has learned from it."""
    split = resolve(starting_model) / SPLIT if starting_model else None
    if split is None or not split.is_file():
        return test_set
    table = read_split(split)
    seen = set(table.loc[table["role"] != "test", "sha256"])
    names = [one.name for one in test_set.examples if file_sha256(one.image.path) in seen]
    if not names:
        return test_set
    doubt = f"The starting model {starting_model} has learned from {len(names)} of the test images"
    return replace(test_set, independent=False, doubt=f"{doubt} ({listing(names)}): the score may be too good.")


def choose_test_set(
    task: Task,
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
        Content of model.json; used are classes, mask_type and channels.
    task, test_source, test_target, class_table
        See `find_test_set`, which also says what is raised.
    """
    if task.needs_masks and bool(test_source) != bool(test_target):
        raise DataError("Fill in both test_source and test_target, the folder of images and that of masks, or neither.")
    origin = f"the folder {test_source}"
    if not test_source and (sample := sample_of(data["training_source"])):
        places = (SAMPLES | CLASSIFICATION)[sample]
        test_source, test_target = places["test_source"], places.get("test_target", "")
        origin = f"the test images of the sample {sample}"
    if test_source:
        _check_origin(data["training_source"], test_source)
        elsewhere = {**data, "pixel_size": 0}  # what the form says is true of the training images
        examples = _read(task, (test_source, test_target, class_table), elsewhere, description).examples
        return _doubted(task, TestSet(_unseen(examples, split), origin, independent=True), split, data)
    role = "test" if (split["role"] == "test").any() else "validation"
    examples = _own(task, data, description, set(split.loc[split["role"] == role, "sha256"]), role)
    if role == "test":
        set_aside = TestSet(_unseen(examples, split), "images set aside before training", independent=True)
        return _doubted(task, set_aside, split, data)
    origin = "the validation images: there is no independent test, so these figures are optimistic"
    return TestSet(examples, origin, independent=False)


def _in_turn(task: Task, split: pd.DataFrame, data: Mapping, description: Mapping) -> TestSet:
    """All images of a model, each of which was tested by another model that had not seen it."""
    fold_of = dict(zip(split["sha256"], split[FOLD].astype(int), strict=True))
    examples = _own(task, data, description, set(fold_of), "test")
    numbers = np.array([fold_of[file_sha256(one.image.path)] for one in examples])
    origin = "all of them in turn, each by a model that was trained without it"
    found = TestSet(examples, origin, independent=True, folds=numbers)
    if named_groups(split["file"], split["group"]):
        return replace(found, origin=f"{origin} and its group")
    seems = _groups_not_asked(task, split["file"], data)
    doubt = (
        f"The file names look like {seems}. The field group_rule does not say whether their images belong together, so "
        "that an image may have been tested by a model that knew others of its group: this test cannot be called "
        "independent."
    )
    return replace(found, independent=False, doubt=doubt) if seems else found


def _groups_not_asked(task: Task, files: Sequence[str], data: Mapping) -> Grouping | None:
    """Groups that file names look like, where the form does not say which images belong together."""
    if data["group_rule"] != ASK:
        return None
    classes = None if task.needs_masks else [file.partition("/")[0] for file in files]
    return next(iter(groupings(list(files), classes)), None)


def _doubted(task: Task, test_set: TestSet, split: pd.DataFrame, data: Mapping) -> TestSet:
    """The test set, not called independent where its images seem to be of the same groups as those trained on."""
    seen, names = split[split["role"] != "test"], [one.name for one in test_set.examples]
    tested = named_groups(names, [one.group for one in test_set.examples])
    trained = named_groups(seen["file"], seen["group"])
    if shared := sorted(trained & tested):
        doubt = f"The groups {listing(shared)} have images both in training and among the test images"
        return replace(test_set, independent=False, doubt=f"{doubt}: the score may be too good.")
    if not trained and (found := _groups_not_asked(task, [*seen["file"], *names], data)):
        before, after = (set(map(alike, part)) for part in (found.group[: len(seen)], found.group[len(seen) :]))
        if before & after:
            doubt = (
                f"The file names look like {found}. Of {len(before & after)} of them there are images both in training "
                "and among the test images, and the field group_rule does not say whether they belong together: this "
                "test cannot be called independent."
            )
            return replace(test_set, independent=False, doubt=doubt)
    return test_set


def _own(task: Task, data: Mapping, description: Mapping, chosen: set[str], role: str) -> list:
    """Images of the model's own data with the checksums `chosen`."""
    places = data["training_source"], data.get("training_target", ""), data.get("class_table", "")
    review = "" if task.needs_masks else data.get("label_review", "")  # classes of whole images only
    dataset = _read(task, places, data, description, review)
    examples = [one for one in dataset.examples if file_sha256(one.image.path) in chosen]
    if len(examples) < len(chosen):
        raise DataError(
            f"{len(chosen) - len(examples)} of the {role} images are no longer in {data['training_source']}, or were "
            "changed. Put them back, or name a test_source."
        )
    return examples


def _read(task: Task, places: Sequence[str], data: Mapping, description: Mapping, review: str = "") -> Any:
    """Images and their annotation with the classes of a model; DataError where they do not fit."""
    source, target, class_table = (resolve(place) if place else None for place in places)
    dataset = task.read(source, target, data, description, class_table)
    dataset = read_review(resolve(review), dataset) if review else dataset
    raise_errors(dataset.problems)
    for one in dataset.examples:
        check_channels(one.image.array, one.image.path, description)
    return dataset


def _check_origin(training_source: str, test_source: str) -> None:
    """Refuse the uncut image as a test for a model that was trained on pieces of it: no checksum would tell."""
    whole = resolve(EXTRA["nuclei_whole"]["test_source"])
    if sample_of(training_source) == REAL and resolve(test_source).resolve() == whole.resolve():
        raise DataError(
            "The model was trained on pieces of this very image (the sample nuclei_real): its score would be "
            "meaningless. Leave test_source empty, or train on the sample nuclei."
        )


def _data_parameters(folder: Path) -> dict:
    needed = ("training_source", "axes", "group_rule")
    optional = ("training_target", "class_table", "label_review", "starting_model")
    try:
        data = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"]["data"]
        given = {name: data[name] for name in needed} | {name: data.get(name, "") for name in optional}
        return given | {"pixel_size": data.get("pixel_size", 0)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / PARAMETERS} is missing or damaged. Copy the model folder again.") from error


def _unseen(examples: Sequence, split: pd.DataFrame) -> list:
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


def evaluate(task: Task, folder: Path, test_set: TestSet, **beside: Any) -> Evaluation:
    """Score a model and write evaluation.csv (a row for each test image) and scores.json into its folder.

    Parameters
    ----------
    task
        Of the model.
    folder
        Model folder.
    test_set
        From `find_test_set`.
    beside
        Further arguments of `Task.evaluation`; not needed for images tested in turn, whose models are gone.
    """
    in_turn, per_image = test_set.folds is not None, {}
    if in_turn:
        evaluation, per_image = evaluation_in_turn(task, folder, test_set), {FOLD: test_set.folds}
    else:
        evaluation = task.evaluation(task.load(folder), test_set, **beside)
    remark = {"remark": NO_RESULT} if no_result(folder) else {}
    origin = {"test_images": test_set.origin, "independent": test_set.independent}
    if in_turn:
        origin |= {"whose": evaluation.whose, "folds": evaluation.folds.to_dict("records")}
    counted = {"number_of_images": len(test_set.examples)}
    further = task.further_scores(evaluation)
    if evaluation.classical is not None:
        further = {**further, "classical": evaluation.classical.to_dict("records")}
    with alone(folder, wait=SECONDS_TO_WAIT):
        _check_unchanged(folder, evaluation.predictor)
        table = evaluation.scores.per_image.assign(**per_image)
        write_csv(folder / "evaluation.csv", meaningful(table).assign(**remark))
        write_json(folder / "scores.json", {"headline": evaluation.headline, **remark, **origin, **counted, **further})
    return evaluation


def _check_unchanged(folder: Path, predictor: Any) -> None:
    """Refuse, by a ModelError, to write scores beside other weights than those that were scored."""
    sums = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["sha256"]
    if sums != getattr(predictor, "description", {}).get("sha256", sums):
        raise ModelError(f"The model {folder.name} was trained again in the meantime. Run this cell again.")
