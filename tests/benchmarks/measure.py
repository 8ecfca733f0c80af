"""What the benchmarks measure with, and how they lay out their data."""

import json
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path


def cpu_seconds() -> float:
    """User and system time of this process and its finished children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_megabytes() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def file_names(folder: Path) -> list[str]:
    """Sorted names of the files of a folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def copy(source: Path, target: Path, names: list[str]) -> None:
    """Copy pairs of images and masks."""
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
        for name in names:
            shutil.copy(source / kind / name, target / kind / name)


def scale_epochs(task, project, parameters: dict, factor: float) -> None:
    """Write so many times the rounds of training that the data choose into `parameters`; 1 leaves them open."""
    from utils.tasks.automatic import settled

    forms = parameters["overrides"]
    if factor != 1:
        epochs = settled(forms, task.choices(project, forms))["training"]["number_of_epochs"]
        forms["training"]["number_of_epochs"] = round(factor * epochs)


def epochs_of(folder: Path) -> int:
    """Rounds of training that the model in `folder` was given."""
    parameters = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    return parameters["overrides"]["training"]["number_of_epochs"]


def classical_scores(task, evaluation, training: Sequence, seed: int) -> dict[str, float]:
    """Name -> score of the methods from before deep learning, on the images of an evaluation."""
    beside = task.evaluation(evaluation.predictor, evaluation.test_set, training, seed).classical
    return dict(zip(beside["method"], beside["value"], strict=True))
