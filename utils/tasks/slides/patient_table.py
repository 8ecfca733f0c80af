"""A table of patients (expression of genes, clinical values), matched to the patients of the slides."""

import gzip
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from utils.data.h5ad import read_h5ad
from utils.errors import DataError, how_many
from utils.groups import BARCODE, alike

# What spreadsheets made dates of, by the month: the symbol that a gene had, and its name since 2020 (HGNC).
ONCE_GENES = {
    3: "MARCH{0} (now MARCHF{0}) or MARC{0} (now MTARC{0})",
    9: "SEPT{0} (now SEPTIN{0})",
    10: "OCT{0} (POU5F1 and others)",
    12: "DEC{0}",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<day>\d{{1,2}})-(?P<name>{'|'.join(MONTHS)})",
        rf"(?P<name>{'|'.join(MONTHS)})-(?P<day>\d{{1,2}})",
        r"\d{4}-(?P<month>\d\d)-(?P<day>\d\d)( 00:00:00)?",
        r"(?P<day>\d{1,2})[./](?P<month>\d{1,2})[./]\d{4}",
    )
)
FEW = 4
NUMBERS = 0.5  # share of values that are numbers, from which a column is one of numbers


@dataclass(frozen=True)
class PatientTable:
    """What is known of the patients of the slides.

    Attributes
    ----------
    numbers
        A row for each patient that has slides and stands in the table, by the slides' name of it; a column for each
        measurement, NaN where it is not known.
    words
        Columns that are no numbers, of the same rows: hospital, batch, sex.
    notes
        What was understood, and what was left out, in sentences.
    """

    numbers: pd.DataFrame
    words: pd.DataFrame
    notes: list[str]


def read_patients(path: Path, patients: Sequence[str]) -> PatientTable:
    """Read a table of patients; whether these are its lines or its columns is found by their names.

    Parameters
    ----------
    path
        CSV or TSV (also .gz), or AnnData (.h5ad).
    patients
        Names of the patients of the slides. Capital letters, zeros before numbers and what stands between parts of a
        name may differ; of TCGA's barcodes the first 12 characters count.

    Raises
    ------
    DataError
        It cannot be read; no patient of the slides is in it; one of them stands in it several times.
    """
    table = _read(path)
    in_lines, in_columns = (_places(names, patients) for names in (table.index, table.columns))
    if not in_lines and not in_columns:
        raise DataError(
            f"No patient of the slides ({_few(patients)}) stands in the first column ({_few(table.index)}) or in the "
            f"first line ({_few(table.columns)}) of {path}. Write their names there as the slides have them, or "
            "choose in the field group_rule what part of a slide's name is the patient."
        )
    found, what = (in_lines, "line") if len(in_lines) >= len(in_columns) else (in_columns, "column")
    table = table if what == "line" else table.T
    _refuse_several(path, table.index, found)
    kept = [places[0] for places in found.values()]
    others = [name for i, name in enumerate(table.index) if i not in set(kept)]
    missing = [name for name in patients if name not in found]
    numbers, words, notes = _by_kind(table.iloc[kept].set_axis(list(found)))
    notes = [
        f"Each {what} of {path.name} is a patient. Of the slides' {how_many(len(patients), 'patient')} "
        f"{len(found)} stand in it.",
        *([f"Patients with slides who are not in {path.name}, left out here: {_few(missing)}."] if missing else []),
        *([f"Patients in {path.name} without slides, left out: {_few(others)}."] if others else []),
        *notes,
    ]
    return PatientTable(numbers, words, notes)


def _few(names: Iterable[object]) -> str:
    names = [str(one) for one in names]
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" if len(names) > FEW else "")


def _read(path: Path) -> pd.DataFrame:
    """The table as it stands in the file, with the names of its lines and columns as text."""
    if path.suffix.lower() == ".h5ad":
        values, about = read_h5ad(path)
        return pd.concat([about, values], axis=1)
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt", encoding="utf-8-sig") as file:
            separator = max("\t;,", key=file.readline().count)
        options = {"sep": separator, "decimal": "," if separator == ";" else ".", "encoding": "utf-8-sig"}
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **options).iloc[0].tolist()
        table = pd.read_csv(path, index_col=0, low_memory=False, **options)
        if separator == ";":  # numbers in columns that hold words, too
            table = table.replace(r"^\s*(-?\d+),(\d+)\s*$", r"\1.\2", regex=True)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(
            f"{path} could not be read as a table ({error}). Save it as CSV UTF-8, with the names of the patients in "
            "the first column or in the first line."
        ) from error
    table.columns = names[len(names) - table.shape[1] :]  # pandas numbers those that stand twice
    return table.set_axis([str(name) for name in table.index])


def _key(name: str) -> str:
    """Name of a patient without what differs between a table and files: R writes points for hyphens."""
    plain = re.sub(r"[\W_]+", "-", str(name))
    barcode = BARCODE.search(plain)
    return alike(barcode.group() if barcode else plain)


def _places(names: Iterable[str], patients: Sequence[str]) -> dict[str, list[int]]:
    """Of each patient that is there: where in `names` it stands."""
    by_key: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        by_key.setdefault(_key(name), []).append(i)
    return {patient: by_key[_key(patient)] for patient in patients if _key(patient) in by_key}


def _refuse_several(path: Path, names: Sequence[str], found: dict[str, list[int]]) -> None:
    several = {patient: places for patient, places in found.items() if len(places) > 1}
    if several:
        patient, places = next(iter(several.items()))
        raise DataError(
            f"{how_many(len(several), 'patient')} of {path} stand in it several times, such as {patient} "
            f"({_few(names[i] for i in places)}). Keep one of each: of tumour and normal tissue, for example, the one "
            "that the slides show."
        )


def _by_kind(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Columns of numbers, columns of words, and what is to be said of them."""
    names, notes = _told_apart(table.columns)
    numbers, words, strange = {}, {}, []
    for i, name in enumerate(names):
        given = table.iloc[:, i]
        if given.isna().all():
            continue
        read = given if is_numeric_dtype(given) else pd.to_numeric(given.astype(object), errors="coerce")
        if read.notna().sum() < NUMBERS * given.notna().sum():
            words[name] = given.astype(object).where(given.notna(), None)
            continue
        numbers[name] = read.astype(np.float64)
        strange += [name] * bool((read.isna() & given.notna()).any())
    if strange:
        notes.append(f"What is no number in {_few(strange)} was left out.")
    if words:
        notes.append(f"Words are not tested, but one such column can be held constant: {_few(words)}.")
    notes += [told for name in names if (told := once_a_gene(name))]
    return pd.DataFrame(numbers, index=table.index), pd.DataFrame(words, index=table.index), notes


def _told_apart(columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of columns, those that stand several times with a number, and a sentence on these."""
    counts: Counter[str] = Counter()
    names = []
    for name in map(str, columns):
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    twice = [name for name, count in counts.items() if count > 1]
    return names, [f"{_few(twice)} stand several times; each is tested by itself."] if twice else []


def once_a_gene(name: str) -> str:
    """Sentence on a name that a spreadsheet made a date of, "" for others (1-Mar was MARCH1, Sep-02 was SEPT2)."""
    for date in DATES:
        if match := date.fullmatch(name.partition(" (")[0]):
            parts = match.groupdict()
            month = MONTHS.index(parts["name"].lower()) + 1 if parts.get("name") else int(parts["month"])
            if month in ONCE_GENES:
                gene = ONCE_GENES[month].format(int(parts["day"]))
                return f"{name} was {gene} before a spreadsheet made a date of it: mend the name in the table."
    return ""
