"""The one list of tasks."""

from pathlib import Path

from utils.errors import ModelError
from utils.tasks.classes.task import Classification
from utils.tasks.objects.task import StarDist
from utils.tasks.pixels.task import UNet
from utils.tasks.task import Task
from utils.training.model_folder import DESCRIPTION, read_model

CLASSIFIER, UNET, STARDIST = Classification(), UNet(), StarDist()
TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFIER, UNET, STARDIST)}


def read_task(folder: Path) -> tuple[Task, dict]:
    """Task and model.json of a model folder; ModelError where there is no model of a known task."""
    description = read_model(folder)
    if description["task"] not in TASKS:
        raise ModelError(
            f"{folder / DESCRIPTION} is of the task {description['task']!r}, which these notebooks do not know. Choose "
            f"a model of {', '.join(TASKS)}."
        )
    return TASKS[description["task"]], description
