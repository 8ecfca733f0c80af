"""What is there already: models and results of earlier work, the models and samples that come with the project."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from utils.forms.settings import EARLIER
from utils.forms.taken import DAMAGED, where_stopped
from utils.metrics.intervals import in_words
from utils.paths import DESCRIPTION, PARAMETERS, ROOT, SCORES, TRAINING
from utils.samples import STARTING, all_samples

REPORT = "report.html"
TABLES = ("measurements.csv", "counts.csv", "predictions.csv", "object_classes.csv")  # one of them in each result
NOUNS = {"unet": "U-Net", "stardist": "StarDist", "classification": "classifier"}
FIRST_PAGE = "start_here"
MOST = 8  # of each that are shown


class Model(NamedTuple):
    """A model folder; `score` is "" where none is known, `unfinished` says where its training stopped."""

    folder: Path
    task: str
    notebook: str
    changed: datetime
    channels: int = 0
    score: str = ""
    unfinished: str = ""

    @property
    def noun(self) -> str:
        """What such a model is called."""
        return NOUNS.get(self.task, "model")


class Result(NamedTuple):
    """A folder of predictions, or the page of a run without a browser."""

    path: Path
    what: str
    changed: datetime


def models(most: int = MOST) -> list[Model]:
    """Models of this project, the newest first; folders that cannot be read are left out."""
    folders = [*_folders(ROOT / "models"), *(one / "model" for one in _folders(ROOT / "results"))]
    return sorted(filter(None, map(read_model, folders)), key=lambda one: one.changed, reverse=True)[:most]


def read_model(folder: Path) -> Model | None:
    """Model in a folder, from its small files alone; None where there is none."""
    description, unfinished = _json(folder / DESCRIPTION), (folder / TRAINING).is_dir()
    if not description and not unfinished:
        return None
    task = str(description.get("task", ""))
    notebook = description.get("notebook") or EARLIER.get(task, "")
    changed = _changed(folder / DESCRIPTION if description else folder / TRAINING)
    channels = description.get("channels")
    number = len(channels) if isinstance(channels, list) else 0
    return Model(folder, task, str(notebook), changed, number, _score(folder), _stopped(folder) if unfinished else "")


def _stopped(folder: Path) -> str:
    """Where an unfinished training stopped, in words."""
    try:
        return f"stopped {where_stopped(folder, _json(folder / PARAMETERS).get('overrides', {}))}"
    except DAMAGED:
        return "not finished"


def starting_models() -> list[Model]:
    """The models that come with the project."""
    return list(filter(None, (read_model(ROOT / place) for place in STARTING.values())))


def newest(task: str, channels: int) -> Model | None:
    """The newest finished model of a task for images of so many channels, else the project's own; None without one."""
    finished = [one for one in models(most=100) if not one.unfinished]
    fitting = (one for one in [*finished, *starting_models()] if one.task == task and one.channels == channels)
    return next(fitting, None)


def results(most: int = MOST) -> list[Result]:
    """Results of this project, the newest first."""
    found = []
    for notebook in (one for one in _folders(ROOT / "results") if one.name != FIRST_PAGE):
        page = notebook / f"{notebook.name}.html"
        if page.is_file():
            found.append(Result(page, "page of a run on the sample", _changed(page)))
        places = [one for folder in _folders(notebook) if folder.name != "model" for one in (folder, *_folders(folder))]
        found += [Result(one, _what(one), _changed(one)) for one in places if _what(one)]
    return sorted(found, key=lambda one: one.changed, reverse=True)[:most]


def samples() -> Iterator[tuple[str, str]]:
    """Name and description of each sample."""
    return ((name, places["about"]) for name, places in all_samples().items())


def _what(folder: Path) -> str:
    """What a folder of results tells of: "predictions for 12 images"; "" where it is none."""
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is None:
        return ""
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            rows = sum(1 for _ in file) - 1
    except OSError:
        return ""
    return f"predictions, {rows:,} rows in {table.name}"


def _score(folder: Path) -> str:
    """The score of a model in words; "" where it is not known."""
    headline = _json(folder / SCORES).get("headline")
    if not isinstance(headline, dict) or not isinstance(headline.get("value"), int | float):
        return ""
    return f"{headline.get('name', 'score')} {in_words(headline['value'])}"


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _folders(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name[0] != "." and (folder / name).is_dir()]
    except OSError:
        return []


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime)
