"""How many images are required? Models trained on more and more of the labelled images, scored on the same test images.

The labelled images of a point are all that its model may use: those that watch over its training are among them, as
they would be for a person who has no more.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from utils import power_law
from utils.checks import Example
from utils.crops import Crop
from utils.errors import DataError
from utils.files import file_sha256, write_csv
from utils.fine_tuning import Tuning, train_part
from utils.power_law import PowerLaw
from utils.progress import BAR, Rounds
from utils.projects import Project, annotation_sha256
from utils.stages import SCRATCH
from utils.subsets import check_sizes, nested_orders, parse_sizes, subset

FILE, FOLDER = "curve.csv", "curve"  # in the model folder
KEYS = ["strategy", "size", "repeat"]
COLUMNS = dict.fromkeys(["strategy", "test"], "str") | {"score": "float"}
COLUMNS |= dict.fromkeys(["size", "repeat", "training images", "validation images"], "int")


@dataclass(frozen=True)
class Point:
    """One model of the curve: its strategy, the number of labelled images (of each class), and which repeat it is."""

    strategy: str
    size: int
    repeat: int

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.strategy.replace(' ', '_')}_{self.size}_{self.repeat}"


def _pool(tuning: Tuning) -> np.ndarray:
    """Indices of the labelled images: all that are not set aside for testing."""
    return np.flatnonzero(tuning.project.roles != "test")


def _groups_and_classes(tuning: Tuning) -> tuple[list[str], list[int] | None]:
    """Group and class of each image of the pool."""
    pool, examples, ids = _pool(tuning), tuning.project.dataset.examples, tuning.task.class_ids(tuning.project)
    return [examples[i].group for i in pool], None if ids is None else [ids[i] for i in pool]


def sizes_of(tuning: Tuning, curve: Mapping) -> list[int]:
    """Sizes that the form `curve` asks for, none where the field is empty.

    Raises
    ------
    FormError
        They are no numbers.
    DataError
        There are not so many labelled images, or no test images that the models of the curve have not seen.
    """
    if not curve["sizes"].strip():
        return []
    if not tuning.test_set.independent:
        raise DataError(
            "A learning curve needs test images that no model was trained on, and there are none. Set percentage_test "
            "above 0, name a folder in test_source, or leave the field sizes empty for no curve."
        )
    sizes = parse_sizes(curve["sizes"])
    groups, ids = _groups_and_classes(tuning)
    check_sizes(sizes, groups, ids, None if ids is None else [one["name"] for one in tuning.classes])
    return sizes


def points_of(tuning: Tuning, curve: Mapping) -> list[Point]:
    """Models to train, one repeat after the other, so that the whole curve is soon seen."""
    strategies, sizes = list(dict.fromkeys([tuning.strategy, SCRATCH])), sizes_of(tuning, curve)
    return [Point(one, size, repeat) for repeat in range(curve["repeats"]) for size in sizes for one in strategies]


def project_of(tuning: Tuning, point: Point) -> Project:
    """The images of a point, split into training and validation; subsets of one repeat are nested in each other."""
    whole, pool = tuning.project, _pool(tuning)
    seed = tuning.settings["seed"] + point.repeat
    groups, ids = _groups_and_classes(tuning)
    chosen = pool[subset(nested_orders(groups, ids, seed), point.size)]
    percentage = tuning.parameters["overrides"]["data"]["percentage_validation"]
    roles = tuning.task.split(whole, chosen, percentage, seed)
    table = whole.split.iloc[chosen].assign(role=roles).reset_index(drop=True)
    return Project(whole.dataset.only(chosen), roles, table, whole.folder / FOLDER / point.folder)


def read_curve(tuning: Tuning) -> pd.DataFrame:
    """Models trained so far: strategy, size, repeat, score, training and validation images, test (which images)."""
    path = tuning.project.folder / FILE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    table = pd.read_csv(path, dtype={"test": str, "strategy": str})
    return table[table["test"] == _fingerprint(tuning)]


def _fingerprint(tuning: Tuning) -> str:
    """What tells these test images and their annotation from others."""
    sums = sorted(f"{file_sha256(one.image.path)} {_annotation(one, tuning)}" for one in tuning.test_set.examples)
    return f"{len(sums)} images, {hashlib.sha256(' '.join(sums).encode()).hexdigest()[:16]}"


def _annotation(one: Crop | Example, tuning: Tuning) -> str:
    return tuning.classes[one.class_id]["name"] if isinstance(one, Crop) else annotation_sha256(one, tuning.classes)


def run_curve(
    tuning: Tuning, curve: Mapping, on_point: Callable[[pd.DataFrame], None] = lambda table: None
) -> pd.DataFrame:
    """Train and score the models of the curve that are not there yet.

    Parameters
    ----------
    tuning
        After `fine_tuning.tune`: the curve is kept in that model's folder.
    curve
        Values of the form `curve`.
    on_point
        Called with the table so far after each model, and with the whole at the end, for display.

    Returns
    -------
    DataFrame
        Rows of `read_curve` that the form asks for.

    Raises
    ------
    TrainingStopped
        The user stopped it; it goes on where it stopped when called again.
    """
    points, table = points_of(tuning, curve), read_curve(tuning)
    done = set(table[KEYS].itertuples(index=False, name=None))
    epochs = tuning.settings["number_of_epochs"]
    with tqdm(total=len(points) * epochs, desc="Learning curve", bar_format=BAR, mininterval=0.5, smoothing=0) as bar:
        for i, point in enumerate(points, 1):
            bar.set_description_str(f"Model {i} of {len(points)}: {point.strategy}, {point.size} images", refresh=False)
            if (point.strategy, point.size, point.repeat) not in done:
                row = trained(tuning, point, [Rounds(bar)])
                table = pd.DataFrame([*table.to_dict("records"), row])
                write_csv(tuning.project.folder / FILE, table)
                on_point(asked(table, points))
            bar.update(i * epochs - bar.n)
    shutil.rmtree(tuning.project.folder / FOLDER, ignore_errors=True)
    table = asked(table, points)
    on_point(table)
    return table


def asked(table: pd.DataFrame, points: Sequence[Point]) -> pd.DataFrame:
    """Rows of the points that the form asks for."""
    wanted = {(one.strategy, one.size, one.repeat) for one in points}
    return table[[key in wanted for key in table[KEYS].itertuples(index=False, name=None)]].reset_index(drop=True)


def trained(tuning: Tuning, point: Point, callbacks: Sequence[keras.callbacks.Callback] = ()) -> dict:
    """Train and score one model, of which the row of the table is kept and nothing else."""
    project = project_of(tuning, point)
    train_part(tuning, project, point.strategy, callbacks, seed=tuning.settings["seed"] + point.repeat)
    score = tuning.judge(tuning.task.load(project.folder)).value
    shutil.rmtree(project.folder)
    keras.backend.clear_session()  # thirty networks would fill the memory
    counts = pd.Series(project.roles).value_counts()
    images = {f"{role} images": int(counts.get(role, 0)) for role in ("training", "validation")}
    return {**vars(point), "score": score, **images, "test": _fingerprint(tuning)}


def laws_of(table: pd.DataFrame) -> dict[str, PowerLaw]:
    """Fitted power law of each strategy that has enough sizes."""
    laws = {one: power_law.fit(rows["size"], rows["score"]) for one, rows in table.groupby("strategy", sort=False)}
    return {one: law for one, law in laws.items() if law is not None}
