"""What U-Net and StarDist have in common: images with masks."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.data.contents import check_roles, contents, lacking
from utils.data.copies import duplicates
from utils.data.examples import Dataset, Example, load_examples
from utils.data.mask_checks import MasksInDoubt, Stored
from utils.data.problems import Problem, problem_table, questions
from utils.data.project import Project, name_classes, open_project
from utils.data.splits import split
from utils.data.uneven import image_features, outliers
from utils.errors import DataError
from utils.images.mask_types import Reading
from utils.images.masks import (
    all_values,
    ignored_values,
    mark_ignored,
    table_of_classes,
    to_class_ids,
    to_objects,
    two_values,
)
from utils.images.normalise import EACH_IMAGE, NORMALISATION, normalisation_of
from utils.metrics.intervals import Judgement
from utils.pages.figures import show_masks
from utils.pages.page import in_groups
from utils.pages.pictures import label_overlay, overlay
from utils.paths import resolve
from utils.samples import STARTING, sample_of
from utils.tasks.automatic import Choice, Progressively
from utils.tasks.cross_validation import turn_choice
from utils.tasks.fingerprint import fingerprint_table, measured
from utils.tasks.opponents import NETWORK, answering, compare_methods
from utils.tasks.rules import augmentation_choices, normalisation_choice, validation_choice
from utils.tasks.task import Checks, Evaluation, NetworkTask, Start, TestSet, warnings_of
from utils.training.model_folder import DESCRIPTION, read_model

PATCH = ("patch_height", "patch_width")
LARGE_PATCH = 512  # pixels
FEW_IMAGES = 10
ENOUGH_FOR_A_TRIAL = 20  # training images, a fifth of which judge: one or two of them were misled


class Masks(NetworkTask):
    """Images with masks; `annotation` says what the masks mean, "classes" or "objects"."""

    unit = "labelled images"
    needs_masks = True
    annotation: str

    def open(self, data: Mapping, seed: int = 0, start: Start | None = None) -> Project:
        """See `Task`; masks with the same values as the old ones mean the same classes, unless they are named."""
        project = open_project(data, seed, self.annotation)
        old, new = start.description["classes"] if start else [], project.dataset.classes
        if not data.get("class_names") and [one["value"] for one in old] == [one["value"] for one in new]:
            name_classes(new, ", ".join(str(one["name"]) for one in old))
        return project

    def read(
        self, source: Path, target: Path | None, data: Mapping, description: Mapping, class_table: Path | None = None
    ) -> Dataset:
        """See `Task`."""
        return load_examples(
            source,
            target,
            data["axes"],
            description["mask_type"],
            data["group_rule"],
            description["classes"],
            annotation=self.annotation,
            class_table=class_table,
            pixel_size_um=data.get("pixel_size", 0),
            ignore_value=description.get("ignore_value", ""),
        )

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`; both roles hold foreground, or objects, and training, where it can be, every class."""
        examples = [project.dataset.examples[i] for i in chosen]
        held, groups = self.contents(project, examples), [one.group for one in examples]
        for table in (held, held.iloc[:, :1]):  # of few images, not every class can be in training
            roles = split(groups, 0, percentage_validation, seed, table.to_numpy())
            if set(roles[held.iloc[:, 0] > 0]) == {"training", "validation"}:
                break
        check_roles(held.iloc[:, :1], groups, roles, [one.name for one in examples])
        return roles

    def holding(self, project: Project) -> np.ndarray:
        """See `NetworkTask`."""
        return self.contents(project, project.dataset.examples).iloc[:, 0].to_numpy() > 0

    def held(self, project: Project) -> np.ndarray:
        """See `NetworkTask`."""
        return self.contents(project, project.dataset.examples).to_numpy()

    def contents(self, project: Project, examples: Sequence[Example]) -> pd.DataFrame:
        """What images hold, see `utils.data.contents.contents`."""
        return contents(examples, project.dataset.classes, self.annotation)

    @abstractmethod
    def patch_size(self, project: Project, training: Mapping) -> tuple[int, int]:
        """Height and width of the training patches: as in the form, or the largest that fits where it says 0."""

    def fingerprint(self, project: Project) -> dict:
        """See `NetworkTask`."""
        examples, objects = project.examples("training"), self.annotation == "objects"
        return project.measure("fingerprint", lambda: measured(examples, objects))

    def fingerprint_table(self, project: Project) -> pd.DataFrame:
        """See `NetworkTask`."""
        return fingerprint_table(self.fingerprint(project))

    def choices(self, project: Project, forms: Mapping) -> list[Choice]:
        """See `NetworkTask`."""
        fingerprint, values = self.fingerprint(project), Progressively(forms["training"])
        values.add(validation_choice(len(project.dataset.examples)), normalisation_choice(fingerprint))
        no_class = project.dataset.mask_type != "classes" or project.dataset.classes[0]["value"] == 0
        own_range = values["normalisation"] == EACH_IMAGE
        values.add(*augmentation_choices(fingerprint, no_class and own_range))
        self.add_network(project, values, fingerprint)
        return [*values.choices, self._start_choice(project, forms, values, fingerprint), turn_choice(project)]

    def _start_choice(self, project: Project, forms: Mapping, training: Mapping, fingerprint: Mapping) -> Choice:
        """Start from the project's own model of nuclei where images are like it, and none of its own."""
        where, folder = ("data", "starting_model"), resolve(STARTING[self.name])
        if not (folder / DESCRIPTION).is_file():
            return Choice(*where, "", "From scratch: the project's own models are not here.")
        if fingerprint["channels"] > 1 or fingerprint["brightfield"] or len(project.dataset.classes) > 2:
            return Choice(*where, "", "From scratch: the project's own model knows bright nuclei on dark ground only.")
        if sample_of(forms["data"]["training_source"]) == "nuclei":
            return Choice(*where, "", "From scratch: the project's own model was made of these very images.")
        if self.other_network(read_model(folder, self.name)["network"], self.describe(project, training)["network"]):
            return Choice(*where, "", "From scratch: the project's own model has another network.")
        why = "The project's own model of nuclei knows bright objects on dark ground"
        if project.number_learned < ENOUGH_FOR_A_TRIAL:
            return Choice(*where, STARTING[self.name], f"{why}: with few images it helps much.")
        return Choice(*where, STARTING[self.name], f"{why}; a short trial must agree.", (STARTING[self.name], ""))

    @abstractmethod
    def other_network(self, old: Mapping, new: Mapping) -> bool:
        """Whether the weights of a network of the arguments `old` do not fit into one of `new`."""

    @abstractmethod
    def add_network(self, project: Project, values: Progressively, fingerprint: Mapping) -> None:
        """Add what the rules choose for the network and the length of its training."""

    def normalisation(self, project: Project, training: Mapping) -> dict:
        """What model.json says of it; colours share one range, which leaves them as they are.

        A form without this field, that of an earlier model, means percentiles of each image.
        """
        if "normalisation" not in training:
            return NORMALISATION
        arrays = [one.image.array for one in project.examples("training")]
        return normalisation_of(arrays, training["normalisation"], joint=arrays[0].shape[-1] == 3)

    def describe_tuned(self, project: Project, settings: Mapping, start: Start) -> dict:
        """See `NetworkTask`; images are normalised as the starting model knows them."""
        before, description = start.description["normalisation"], self._with_patch(project, settings, start)
        return description | ({"normalisation": before} if before["per"] == "image" else {})

    def _with_patch(self, project: Project, settings: Mapping, start: Start) -> dict:
        """`describe` with the starting model's patch where its size is 0, or the largest where that does not fit."""
        if not any(settings[name] for name in PATCH):
            patch = start.description["input"]["patch"]
            try:
                return self.describe(project, {**settings, **dict(zip(PATCH, patch, strict=True))})
            except DataError:
                pass
        return self.describe(project, settings)

    def overview(self, project: Project, training: Mapping) -> str:
        """See `Task`."""
        patch = self.patch_size(project, training)
        roles = {role: int((project.roles == role).sum()) for role in ("training", "validation", "test")}
        dataset, names = project.dataset, ", ".join(one["name"] for one in project.dataset.classes)
        groups = in_groups(project.split)
        lines = [
            f"**{len(dataset.examples)} images**: {roles['training']} for training, {roles['validation']} for "
            f"validation, {roles['test']} set aside for testing{groups}.",
            f"**Masks: {dataset.mask_type}.** {dataset.why} {dataset.pairing} Classes: {names}.",
            *questions(dataset.problems),
            f"**Patches** of {patch[0]} x {patch[1]} pixels (height x width) are cut from the images at random.",
        ]
        if max(patch) > LARGE_PATCH:
            lines.append(
                f"**Warning:** patches above {LARGE_PATCH} pixels are slow and need much memory; 128 to 512 do as well."
            )
        if roles["training"] < FEW_IMAGES:
            are = "image is" if roles["training"] == 1 else "images are"
            lines.append(
                f"**Warning:** {roles['training']} training {are} few. Expect a score that depends on chance; "
                "annotate more images, those that differ most from each other first."
            )
        return "\n\n".join(lines)

    def show_understood(self, project: Project) -> Figure | None:
        """See `Task`."""
        dataset = project.dataset
        if not dataset.shown:
            return None
        reading = Reading("mask_type", dataset.mask_type, "as they were understood")
        return masks_figure(dataset.shown, [reading], self.annotation, dataset.ignore_value)

    def show_doubt(self, doubt: MasksInDoubt, ignore_value: str = "") -> Figure:
        """Masks of which it was not decided what they mean, and what they may mean."""
        return masks_figure(doubt.examples, doubt.readings, self.annotation, ignore_value)

    @abstractmethod
    def problems(self, project: Project, training: Mapping) -> list[Problem]:
        """Everything odd about images and masks."""

    def checks(self, project: Project, training: Mapping, test_set: TestSet | None = None) -> Checks:
        """See `Task`."""
        examples = project.dataset.examples
        problems = [*self.problems(project, training), *lacking(self.contents(project, examples), project.roles)]
        uneven, copies = outliers(image_features(examples)), duplicates(examples)
        tables = {
            "Problems": problem_table(problems),
            "Uneven images": uneven,
            "Duplicates": with_roles(copies, project),
        }
        return Checks(tables, warnings_of(problems, uneven, copies))

    @abstractmethod
    def opponents(self, training: Sequence[Example], classes: Sequence[dict], seed: int) -> Mapping[str, Any]:
        """Name -> predictor of each method from before deep learning, all they choose chosen on `training` only."""

    @abstractmethod
    def answer(self, predictor: Any, example: Example) -> dict[str, np.ndarray]:
        """What a predictor, or an opponent, finds in an image, as arrays by name; anything where nothing counts."""

    @abstractmethod
    def recall(self, predictor: Any, known: Mapping[int, Mapping]) -> Any:
        """What gives the `known` answers, by the `id` of an image's array, in place of a predictor."""

    def answers(
        self, predictor: Any, examples: Sequence[Example], training: Sequence[Example], seed: int
    ) -> dict[str, list[dict]]:
        """See `NetworkTask`."""
        return {NETWORK: [self.answer(predictor, one) for one in examples]}

    def answers_of_opponents(
        self,
        classes: Sequence[dict],
        examples: Sequence[Example],
        training: Sequence[Example],
        seed: int,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, list[dict]]:
        """See `NetworkTask`."""
        rivals = self.opponents(training, classes, seed)

        def answer(rival: Any, example: Example) -> dict[str, np.ndarray]:
            return {} if stopped() else self.answer(rival, example)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # an opponent uses one core, a network all
            return {name: list(pool.map(partial(answer, one), examples)) for name, one in rivals.items()}

    def recalled(
        self, predictor: Any, examples: Sequence[Example], found: Mapping[str, Sequence[Mapping]]
    ) -> dict[str, Any]:
        """See `NetworkTask`."""
        keys = [id(one.image.array) for one in examples]
        return {name: self.recall(predictor, dict(zip(keys, answers, strict=True))) for name, answers in found.items()}

    def evaluation_of(self, recalled: Mapping[str, Any], test_set: TestSet) -> Evaluation:
        """See `NetworkTask`."""
        rivals = {name: one for name, one in recalled.items() if name != NETWORK}
        return self._beside(self.evaluation(recalled[NETWORK], test_set), rivals)

    def evaluation(
        self, predictor: Any, test_set: TestSet, training: Sequence[Example] = (), seed: int = 0
    ) -> Evaluation:
        """See `Task`.

        Parameters
        ----------
        predictor, test_set
            As in `Task`.
        training
            The images that the network was trained on: the `opponents` learn from the same ones and are scored on the
            same test images. Empty: no opponents.
        seed
            Of the opponents.
        """
        if not len(training):
            return self._alone(predictor, test_set)
        given = predictor.classes, test_set.examples, training, seed
        with answering(self.answers_of_opponents, *given) as found:
            plain = self._alone(predictor, test_set)
            return self._beside(plain, self.recalled(predictor, test_set.examples, found.result()))

    def _alone(self, predictor: Any, test_set: TestSet) -> Evaluation:
        """An evaluation without opponents."""
        plain = super().evaluation(predictor, test_set)
        return replace(plain, headline=_as_known(plain.headline, test_set.examples))

    def _beside(self, plain: Evaluation, rivals: Mapping[str, Any]) -> Evaluation:
        """An evaluation with the scores of opponents on the same test images."""
        examples, classes = plain.test_set.examples, plain.predictor.classes
        judged = {name: self.judge(rival, examples, classes) for name, rival in rivals.items()}
        return replace(plain, classical=compare_methods(self.judgement(plain.scores), judged))

    def judge(self, predictor: Any, examples: Sequence[Example], classes: Sequence[dict]) -> Judgement:
        """See `NetworkTask`."""
        judged = super().judge(predictor, examples, classes)
        return replace(judged, headline=_as_known(judged.headline, examples))

    def cautions(self, evaluation: Evaluation) -> list[str]:
        """See `Task`: what no test image holds."""
        table = contents(evaluation.test_set.examples, evaluation.predictor.classes, self.annotation)
        missing = [name for name in table if name != "background" and not table[name].any()]
        missing = missing[:1] if missing[:1] == list(table)[:1] else missing
        return [f"No test image holds {' or '.join(missing)}: how well it is found is unknown."] if missing else []

    @abstractmethod
    def quality(self, scores) -> np.ndarray:
        """How good each test image is, NaN where there is nothing to find and nothing was found."""

    def worst(self, evaluation: Evaluation, n: int = 3) -> list[Example]:
        """Test images with the lowest `quality`, lowest first."""
        order = np.argsort(self.quality(evaluation.scores), kind="stable")  # NaN last
        return [evaluation.test_set.examples[i] for i in order[:n]]


def _as_known(headline: dict, examples: Sequence[Example]) -> dict:
    """The headline score, unknown where no image holds anything to find."""
    if any((one.mask > 0).any() for one in examples):
        return headline
    meaning = "No test image holds anything to find: how well it is found is unknown. Add test images that do."
    return headline | {"value": float("nan"), "low": float("nan"), "high": float("nan"), "meaning": meaning}


def masks_figure(
    examples: Sequence[Stored], readings: Sequence[Reading], annotation: str, ignore_value: str = ""
) -> Figure:
    """Figure of `show_masks`: images, their masks as stored, and a row for each reading that these examples allow.

    `annotation` is that of `Masks`, `ignore_value` the field's, which a reading may replace.
    """
    rows = {}
    for one in readings:
        try:
            rows[f"{one.value}: {one.when}"] = _read_so(examples, one, annotation, ignore_value)
        except DataError:  # such as objects of which there are too many
            continue
    ignored = bool(ignore_value) or any(one.field == "ignore_value" for one in readings)
    images = [(one.name, one.image.array) for one in examples]
    return show_masks(images, [one.mask for one in examples], rows, ignored)


def _read_so(examples: Sequence[Stored], reading: Reading, annotation: str, ignore_value: str) -> list[np.ndarray]:
    """The images with their masks, understood by `reading`, painted over; DataError where they cannot be."""
    ignore = ignored_values(reading.value if reading.field == "ignore_value" else ignore_value)
    masks = [mark_ignored(one.mask, ignore) for one in examples]
    kind = reading.value
    if reading.field != "mask_type":
        kind = "classes" if annotation == "classes" else "instance labels"
    if annotation == "objects" and kind != "classes":
        pair = two_values(all_values(masks), kind)
        labels = [to_objects(mask, kind, *pair)[0] for mask in masks]
        return [label_overlay(one.image.array, mask) for one, mask in zip(examples, labels, strict=True)]
    classes = table_of_classes(masks, kind)
    ids = [to_class_ids(mask, classes, kind) for mask in masks]
    return [overlay(one.image.array, mask, classes) for one, mask in zip(examples, ids, strict=True)]


def with_roles(copies: pd.DataFrame, project: Project) -> pd.DataFrame:
    """Table of duplicates with what each image is used for, those across roles first: they make the score too good."""
    role = dict(zip((one.name for one in project.dataset.examples), project.uses, strict=True))
    table = copies.assign(role_a=copies["file_a"].map(role), role_b=copies["file_b"].map(role))
    across = (table["role_a"] != table["role_b"]).sort_values(ascending=False, kind="stable").index
    return table.loc[across]
