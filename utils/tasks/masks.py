"""Fine-tuning of models of images with masks: U-Net (classes of pixels) and StarDist (objects)."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import pandas as pd

from utils.data.copies import duplicates
from utils.data.problems import Problem, problem_table
from utils.data.project import Project, name_classes, open_project
from utils.data.splits import split
from utils.data.uneven import image_features, outliers
from utils.errors import DataError
from utils.tasks.held_out import TestSet
from utils.tasks.report import lookalikes, warnings_of, with_roles
from utils.tasks.task import LOOKALIKES, Checks, Source, Task

PATCH = ("patch_height", "patch_width")


class TunedMasks(Task):
    """What U-Net and StarDist have in common."""

    unit = "labelled images"
    needs_masks = True
    annotation: str

    def open_project(self, data: Mapping, seed: int, source: Source) -> Project:
        """See `Task`; masks with the same values as the old ones mean the same classes, unless they are named."""
        project = open_project(data, seed, self.annotation)
        old, new = source.description["classes"], project.dataset.classes
        if not data["class_names"] and [one["value"] for one in old] == [one["value"] for one in new]:
            name_classes(new, ", ".join(str(one["name"]) for one in old))
        return project

    def describe(self, project: Project, settings: Mapping, source: Source) -> dict:
        """See `Task`; a patch size of 0 is the starting model's, or what the images allow where that does not fit."""
        if not any(settings[name] for name in PATCH):
            patch = source.description["input"]["patch"]
            try:
                return self._describe(project, {**settings, **dict(zip(PATCH, patch, strict=True))})
            except DataError:
                pass
        return self._describe(project, settings)

    @abstractmethod
    def _describe(self, project: Project, settings: Mapping) -> dict:
        """Content of model.json."""

    def checks(self, project: Project, settings: Mapping, test_set: TestSet) -> Checks:
        """See `Task`."""
        examples, problems = project.dataset.examples, self._problems(project, settings)
        uneven, copies = outliers(image_features(examples)), duplicates(examples)
        tables = {
            "Problems": problem_table(problems),
            "Uneven images": uneven,
            "Duplicates": with_roles(copies, project),
            LOOKALIKES: lookalikes(project, test_set),
        }
        return Checks(tables, warnings_of(problems, uneven, pd.concat([copies, tables[LOOKALIKES]])))

    @abstractmethod
    def _problems(self, project: Project, settings: Mapping) -> list[Problem]:
        """Everything odd about images and masks."""

    def split(self, project: Project, chosen: np.ndarray, percentage_validation: float, seed: int) -> np.ndarray:
        """See `Task`."""
        return split([project.dataset.examples[i].group for i in chosen], 0, percentage_validation, seed)
