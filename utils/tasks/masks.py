"""What U-Net and StarDist have in common: images with masks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.copies import duplicates
from utils.data.examples import Dataset, Example, load_examples
from utils.data.problems import Problem, problem_table
from utils.data.project import Project, name_classes, open_project
from utils.data.splits import split
from utils.data.uneven import image_features, outliers
from utils.errors import DataError
from utils.tasks import report
from utils.tasks.task import Checks, Evaluation, Start, TestSet, Tunable

PATCH = ("patch_height", "patch_width")


class Masks(Tunable):
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
        )

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`."""
        return split([project.dataset.examples[i].group for i in chosen], 0, percentage_validation, seed)

    @abstractmethod
    def patch_size(self, project: Project, training: Mapping) -> tuple[int, int]:
        """Height and width of the training patches: as in the form, or the largest that fits where it says 0."""

    def describe_tuned(self, project: Project, settings: Mapping, start: Start) -> dict:
        """See `Tunable`; a patch size of 0 is the starting model's, or the largest where that does not fit."""
        if not any(settings[name] for name in PATCH):
            patch = start.description["input"]["patch"]
            try:
                return self.describe(project, {**settings, **dict(zip(PATCH, patch, strict=True))})
            except DataError:
                pass
        return self.describe(project, settings)

    def overview(self, project: Project, training: Mapping) -> str:
        """See `Task`."""
        return report.overview(project, self.patch_size(project, training))

    @abstractmethod
    def problems(self, project: Project, training: Mapping) -> list[Problem]:
        """Everything odd about images and masks."""

    def checks(self, project: Project, training: Mapping, test_set: TestSet | None = None) -> Checks:
        """See `Task`."""
        examples, problems = project.dataset.examples, self.problems(project, training)
        uneven, copies = outliers(image_features(examples)), duplicates(examples)
        tables = {
            "Problems": problem_table(problems),
            "Uneven images": uneven,
            "Duplicates": report.with_roles(copies, project),
        }
        return Checks(tables, report.warnings_of(problems, uneven, copies))

    def lookalikes(self, project: Project, test_set: TestSet) -> pd.DataFrame:
        """See `Task`."""
        return report.lookalikes(project, test_set)

    @abstractmethod
    def quality(self, scores) -> np.ndarray:
        """How good each test image is, NaN where there is nothing to find and nothing was found."""

    def worst(self, evaluation: Evaluation, n: int = 3) -> list[Example]:
        """Test images with the lowest `quality`, lowest first."""
        order = np.argsort(self.quality(evaluation.scores), kind="stable")  # NaN last
        return [evaluation.test_set.examples[i] for i in order[:n]]

    @abstractmethod
    def disagreement(self, folder: Path, examples: Sequence[Example], roles: Sequence[str]) -> pd.DataFrame:
        """Images whose annotation disagrees most with the model: candidates for a faulty annotation.

        Parameters
        ----------
        folder
            Model folder.
        examples, roles
            Annotated images and what each was used for; the model has seen training images, so that a disagreement
            there is the stronger hint.

        Returns
        -------
        pandas.DataFrame
            Begins with the columns file and role; the worst first.
        """
