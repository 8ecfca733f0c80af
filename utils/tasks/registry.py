"""The one list of tasks."""

from pathlib import Path

from utils.errors import ModelError
from utils.tasks.classes.task import TunedClasses
from utils.tasks.objects.task import TunedObjects
from utils.tasks.pixels.task import TunedPixels
from utils.tasks.task import Task
from utils.training import model_folder

TASKS: dict[str, Task] = {task.name: task for task in (TunedClasses(), TunedPixels(), TunedObjects())}


def read_task(folder: Path) -> tuple[Task, dict]:
    """Task and model.json of a model folder; ModelError where there is no model of a known task."""
    description = model_folder.read_model(folder)
    if description["task"] not in TASKS:
        raise ModelError(
            f"{folder / model_folder.DESCRIPTION} is of the task {description['task']!r}, which these notebooks do not "
            f"know. Choose a model of {', '.join(TASKS)}."
        )
    return TASKS[description["task"]], description
