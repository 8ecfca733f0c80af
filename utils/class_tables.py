"""Tables of predicted classes: of images or of objects, with how sure the model is, and what a person corrected."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.object_tables import is_own_table, set_aside
from utils.results import foreign_file

LIKELY = 0.5  # probability below which the likeliest class is doubted
CLEAR = 0.1  # lead over the second likeliest class below which it is doubted
UNCERTAIN = (
    f"Uncertain means: the likeliest class has a probability below {LIKELY}, or leads the second likeliest by less "
    f"than {CLEAR}."
)
PREFIX = "p_"
ROUNDING = 1e-6  # of the probabilities in a file


def class_table(places: Mapping[str, Sequence], probabilities: np.ndarray, classes: Sequence[dict]) -> pd.DataFrame:
    """Table of predictions.

    Parameters
    ----------
    places
        First columns of the table, n values each: what was classified.
    probabilities
        (n, classes), rows sum to 1.
    classes
        Class table as in model.json, ids 0, 1, ...

    Returns
    -------
    DataFrame
        The columns of `places`; class, the likeliest one; group, that of the class or None; uncertain (bool, see
        `UNCERTAIN`); and p_<class> of each class.
    """
    best = probabilities.argmax(axis=1)
    columns = {name: list(values) for name, values in places.items()}
    columns |= {name: [classes[i][key] for i in best] for name, key in (("class", "name"), ("group", "group"))}
    columns["uncertain"] = (probabilities.max(axis=1) < LIKELY) | (lead(probabilities) < CLEAR)
    return pd.DataFrame(columns | {PREFIX + one["name"]: probabilities[:, one["id"]] for one in classes})


def lead(probabilities: np.ndarray) -> np.ndarray:
    """By how much the likeliest class is likelier than the second: (n, classes) -> (n,), 0 to 1."""
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return first - second


def probability_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns of a table of predictions that hold probabilities."""
    return [name for name in table if name.startswith(PREFIX)]


def review_table(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions in the order in which a person should look at them: the uncertain ones, then by growing `lead`.

    The column group is left out: in a table to train with, that name means patient, slide or day.
    """
    certainty = lead(table[probability_columns(table)].to_numpy())
    order = np.lexsort((certainty, ~table["uncertain"].to_numpy()))
    return table.drop(columns="group").iloc[order].reset_index(drop=True)


def check_tables(folder: Path, first_columns: Mapping[str, Sequence[str]]) -> None:
    """Refuse to write over tables that no prediction has written.

    Parameters
    ----------
    folder
        Result folder.
    first_columns
        Name of each table that will be written -> its first columns.

    Raises
    ------
    DataError
        There is such a file with other columns.
    """
    for name, columns in first_columns.items():
        if (folder / name).exists() and not is_own_table(folder / name, columns):
            raise foreign_file(folder / name)


def keep_corrected(folder: Path, names: Iterable[str]) -> list[str]:
    """Rename tables of an earlier prediction in which a person has corrected classes.

    Returns
    -------
    list of str
        A sentence that says so, or nothing.
    """
    corrected = [folder / name for name in names if (folder / name).exists() and is_corrected(folder / name)]
    return [
        f"{path} holds classes that were corrected by hand. They were kept as {set_aside(path).name}."
        for path in corrected
    ]


def is_corrected(path: Path) -> bool:
    """Whether a row of a table of predictions has another class than the likeliest one, or can no longer be read."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        columns = probability_columns(table)
        probabilities = table[columns].to_numpy(float)
        given = pd.Index(columns).get_indexer(PREFIX + table["class"])
    except (ValueError, KeyError):
        return True
    likely = probabilities >= probabilities.max(axis=1, keepdims=True) - ROUNDING  # a tie may be lost by rounding
    return bool((given < 0).any() or not likely[np.arange(len(given)), given].all())


def earlier_classes(path: Path) -> list[str]:
    """Names of the classes in a table of predictions; empty where there is no such file."""
    if not path.exists():
        return []
    return [name.removeprefix(PREFIX) for name in probability_columns(pd.read_csv(path, nrows=0))]
