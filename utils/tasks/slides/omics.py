"""The share of a tissue beside what else was measured of the same patients, such as genes."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from utils.data.h5ad import write_h5ad
from utils.errors import DataError
from utils.files import write_csv
from utils.metrics.correlation import FEWEST, rank_correlations
from utils.pages.figures import png
from utils.tasks.slides.figures import volcano
from utils.tasks.slides.patient_table import PatientTable, read_patients

CORRELATIONS, PICTURE, ANNDATA = "correlations.csv", "correlations.png", "patients.h5ad"
LEVEL = 0.05  # share of false ones among those that are called found


@dataclass(frozen=True)
class Beside:
    """What goes with the share.

    Attributes
    ----------
    table
        Of `rank_correlations`, strongest first.
    patients
        What was read, its rows being the patients compared.
    notes
        What a reader must know, in sentences.
    """

    table: pd.DataFrame
    patients: PatientTable
    notes: list[str]


def beside_omics(shares: pd.Series, path: Path, constant: str = "") -> Beside:
    """Compare the share of each patient with each column of a table of patients.

    Parameters
    ----------
    shares
        Share by the name of the patient, in %; its name is what it is called.
    path
        Table of patients, see `read_patients`.
    constant
        Column that is held constant, a batch or hospital; "" for none.

    Raises
    ------
    DataError
        The table cannot be used, fewer than five patients are in both, or there is no such column.
    """
    shares = shares.dropna()
    patients = read_patients(path, list(shares.index))
    if len(patients.numbers) < FEWEST:
        raise DataError(
            f"{path} and the slides have {len(patients.numbers)} patients in common. At least {FEWEST} are needed to "
            "tell anything; check how the patients are called in both."
        )
    held = _column(patients, constant, path) if constant else None
    tested = patients.numbers.drop(columns=constant, errors="ignore")
    found = rank_correlations(shares.loc[tested.index].reset_index(drop=True), tested, _same_index(held))
    found = found.sort_values(["p", "column"], kind="stable", ignore_index=True)
    ordered = constant in patients.numbers
    return Beside(found, patients, [*patients.notes, *_notes(found, constant), *([_by_order(constant)] * ordered)])


def _by_order(constant: str) -> str:
    return (
        f"{constant} holds numbers, whose order was held constant. If they are names of parts, such as batches, write "
        "them with a letter (b1, b2)."
    )


def _same_index(held: pd.Series | None) -> pd.Series | None:
    return None if held is None else held.reset_index(drop=True)


def _column(patients: PatientTable, name: str, path: Path) -> pd.Series:
    for table in (patients.numbers, patients.words):
        if name in table:
            return table[name]
    known = [*patients.words, *patients.numbers][:8]
    raise DataError(f"{path} has no column {name!r} to hold constant. It has {', '.join(known)}.")


def _notes(found: pd.DataFrame, constant: str) -> list[str]:
    """What the numbers bear, in words."""
    n_tested, n_found = found["p"].notna().sum(), (found["q"] < LEVEL).sum()
    held = f", with {constant} held constant" if constant else ""
    notes = [
        f"{n_found} of {n_tested} measurements go with the share{held} at a false discovery rate of {LEVEL:.0%}: among "
        "those called found, one in twenty is expected to be chance. That they go together does not say which one is "
        "the cause, or whether there is another one of both."
    ]
    untested = len(found) - n_tested
    if untested:
        notes.append(f"{untested} are the same for all patients, or known of fewer than {FEWEST}, and were not tested.")
    return notes


def write_beside(folder: Path, shares: pd.DataFrame, beside: Beside, share: str) -> None:
    """Write what was found as a table, a picture and an AnnData file for scanpy.

    Parameters
    ----------
    shares
        What was measured on the slides, a row for each patient by its name; all of it goes into ``.obs``.
    share
        Column of `shares` that was compared.
    """
    write_csv(folder / CORRELATIONS, beside.table)
    (folder / PICTURE).write_bytes(png(volcano(beside.table, share)))
    numbers = beside.patients.numbers
    words = beside.patients.words.rename(columns=lambda name: f"{name} (table)" if name in shares else name)
    write_h5ad(folder / ANNDATA, numbers, shares.loc[numbers.index].join(words))
