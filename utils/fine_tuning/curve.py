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

from utils.data.crops import Crop
from utils.data.examples import Example
from utils.data.project import Project, annotation_sha256
from utils.errors import DataError
from utils.files import file_sha256, write_csv
from utils.fine_tuning.power_law import PowerLaw, fit_law
from utils.fine_tuning.tuning import Tuning, train_part
from utils.forms.fields import AUTOMATIC, FEWEST, parse_sizes
from utils.pages.bar import BAR, one_bar, progress_bar
from utils.training.model_folder import alone
from utils.training.progress import Rounds
from utils.training.stages import SCRATCH

FILE, FOLDER = "curve.csv", "curve"  # in the model folder
KEYS = ["strategy", "size", "repeat"]
USUAL_SIZES = (2, 5, 10, 20, 40)  # that a curve has where nobody asks for others
FEW_SIZES = 3  # a fitted law needs as many
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
    """Sizes that the form `curve` asks for, none where the field is empty; those of `fitting_sizes` where automatic.

    Raises
    ------
    FormError
        They are no numbers.
    DataError
        There are not so many labelled images, or no test images that the models of the curve have not seen.
    """
    if not curve["sizes"].strip():
        return []
    if curve["sizes"] == AUTOMATIC:
        return fitting_sizes(tuning)[0]
    if not (tuning.test_set.independent or tuning.test_set.doubt):
        raise DataError(
            "A learning curve needs test images that no model was trained on, and there are none. Set percentage_test "
            "above 0, name a folder in test_source, or leave the field sizes empty for no curve."
        )
    sizes = parse_sizes(curve["sizes"])
    groups, ids = _groups_and_classes(tuning)
    check_sizes(sizes, groups, ids, None if ids is None else [one["name"] for one in tuning.classes])
    return sizes


def fitting_sizes(tuning: Tuning) -> tuple[list[int], str]:
    """Sizes that the labelled images suffice for, and why these, in a sentence; none where there can be no curve."""
    groups, ids = _groups_and_classes(tuning)
    names = None if ids is None else [one["name"] for one in tuning.classes]
    try:
        sizes_of(tuning, {"sizes": str(FEWEST)})
    except DataError as error:
        return [], f"There is no learning curve: {error}"
    most = len(groups) if names is None else min(ids.count(i) for i in range(len(names)))
    of = "labelled images" if names is None else "labelled images of the rarest class"
    return sizes_up_to(most), f"There are {most} {of} besides those set aside for testing."


def sizes_up_to(most: int) -> list[int]:
    """Sizes of a learning curve of at most `most` images, ascending: the usual ones that fit, and `most` itself.

    Examples
    --------
    >>> sizes_up_to(100), sizes_up_to(18), sizes_up_to(11), sizes_up_to(6), sizes_up_to(3)
    ([2, 5, 10, 20, 40], [2, 5, 10, 18], [2, 5, 11], [2, 3, 6], [2, 3])
    """
    if most > USUAL_SIZES[-1]:
        return list(USUAL_SIZES)
    fitting = [size for size in USUAL_SIZES if 1.3 * size <= most] + [most]  # two that are nearly alike tell one thing
    spread = [round(FEWEST * (most / FEWEST) ** share) for share in (0, 0.5, 1)]
    return sorted({*(spread if len(fitting) < FEW_SIZES else fitting)})


def points_of(tuning: Tuning, curve: Mapping) -> list[Point]:
    """Models to train, one repeat after the other, so that the whole curve is soon seen."""
    strategies, sizes = list(dict.fromkeys([tuning.strategy, SCRATCH])), sizes_of(tuning, curve)
    return [Point(one, size, repeat) for repeat in range(curve["repeats"]) for size in sizes for one in strategies]


def project_of(tuning: Tuning, point: Point) -> Project:
    """The images of a point, split into training and validation; subsets of one repeat are nested in each other."""
    whole, pool = tuning.project, _pool(tuning)
    seed = tuning.settings["seed"] + point.repeat
    groups, ids = _groups_and_classes(tuning)
    holding = tuning.task.holding(whole)
    orders = nested_orders(groups, ids, seed, None if holding is None else holding[pool])
    chosen = pool[subset(orders, point.size)]
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
    """Train and score the models of the curve that are not there yet; the rows of `read_curve` that the form asks for.

    Parameters
    ----------
    tuning
        After `tune`: the curve is kept in that model's folder.
    curve
        Values of the form `curve`.
    on_point
        Called with the table so far after each model, and with the whole at the end, for display.

    Raises
    ------
    TrainingStopped
        The user stopped it; it goes on where it stopped when called again.
    """
    with alone(tuning.project.folder):
        return _run_curve(tuning, curve, on_point)


def _run_curve(tuning: Tuning, curve: Mapping, on_point: Callable[[pd.DataFrame], None]) -> pd.DataFrame:
    """See `run_curve`; nobody else writes the model folder."""
    points, table = points_of(tuning, curve), read_curve(tuning)
    done = set(table[KEYS].itertuples(index=False, name=None))
    epochs = tuning.settings["number_of_epochs"]
    options = {"desc": "Learning curve", "bar_format": BAR, "smoothing": 0}
    with progress_bar(total=len(points) * epochs, **options) as bar, one_bar("Learning curve"):
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
    laws = {one: fit_law(rows["size"], rows["score"]) for one, rows in table.groupby("strategy", sort=False)}
    return {one: law for one, law in laws.items() if law is not None}


def nested_orders(
    groups: Sequence[str], class_ids: Sequence[int] | None, seed: int, holding: np.ndarray | None = None
) -> list[np.ndarray]:
    """Random order of the images of each class, such that the first ones are of as many groups as possible.

    The subset of size n is the first n of every array (`subset`): it holds all smaller ones, n images of each class,
    and of each class min(n, number of groups) groups. So only the number of images changes along the learning curve,
    neither the share of the classes nor, more than must be, the patients or days.

    The same seed gives the same orders. Indices of the images, by ascending class id; one array where `class_ids` is
    None (segmentation: all images are one class). Of these, `holding` (n,) says which hold something to find: two such
    images, of two groups, come first, one to learn from and one to watch over the training.
    """
    rng, groups = np.random.default_rng(seed), np.asarray(groups, dtype=str)
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    orders = [_round_robin(np.flatnonzero(ids == one), groups, rng) for one in np.unique(ids)]
    return orders if holding is None else [_two_first(order, groups, holding) for order in orders]


def _two_first(order: np.ndarray, groups: np.ndarray, holding: np.ndarray) -> np.ndarray:
    """`order` with the first two images of different groups that hold something at its beginning."""
    held = order[holding[order]]
    first = [held[0], *held[groups[held] != groups[held[0]]][:1]] if len(held) else []
    return np.array([*first, *order[~np.isin(order, first)]], int)


def _round_robin(images: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order of `images`: one of each group, then a second one of each that has two, and so on; groups in one order."""
    images = rng.permutation(images)
    group = np.unique(groups[images], return_inverse=True)[1]
    place = rng.permutation(group.max(initial=-1) + 1)[group]
    earlier = pd.Series(group).groupby(group).cumcount()  # images of the same group before it
    return images[np.lexsort((place, earlier))]


def subset(orders: Sequence[np.ndarray], n: int) -> np.ndarray:
    """Images of the subset with `n` of each class, of `nested_orders`: ascending indices."""
    return np.sort(np.concatenate([order[:n] for order in orders]))


def check_sizes(
    sizes: Sequence[int], groups: Sequence[str], class_ids: Sequence[int] | None, names: Sequence[str] | None
) -> None:
    """Refuse sizes that the labelled images do not suffice for; groups and class ids as in `nested_orders`.

    `names` are those of the classes by id (0, 1, ...), None for segmentation, where there are only images. DataError
    where a class has no image, one image or images of one group only, or fewer images than the largest size.
    """
    groups = np.asarray(groups, dtype=str)
    ids = np.zeros(len(groups), int) if class_ids is None else np.asarray(class_ids)
    held = [groups[ids == i] for i in range(1 if names is None else len(names))]
    things = ["labelled images"] if names is None else [f'labelled images of the class "{name}"' for name in names]
    for images, of in zip(held, things, strict=True):
        _check_two(images, of)
    fewest = int(np.argmin([len(images) for images in held]))
    most, wanted = len(held[fewest]), max(sizes)
    if wanted > most:
        each = "" if names is None else " of each class"
        raise DataError(
            f"The field sizes asks for {wanted} labelled images{each}, but there are only {most} {things[fewest]} "
            f"besides those set aside for testing. Write sizes up to {most}, or add images."
        )


def _check_two(images: np.ndarray, of: str) -> None:
    """Refuse `images` (their groups) of which nothing is left to watch over training when one part is learned from."""
    remedy = "A learning curve needs at least two: one to learn from, and one to watch over training."
    if len(images) < FEWEST:
        count = "only one" if len(images) else "none"
        raise DataError(f"Of the {of} there is {count} besides those set aside for testing. {remedy} Please add some.")
    if len(set(images)) == 1:
        raise DataError(
            f"All {len(images)} {of} besides those set aside for testing are of one group ({images[0]}). {remedy} "
            "Whole groups are kept together, so please add images of another group, or change the field group_rule."
        )
