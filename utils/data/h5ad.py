"""AnnData files (.h5ad), the tables of scanpy: what is needed of them, read and written through h5py.

The package anndata itself asks for another pandas on Python 3.11 than the notebooks have; the format is laid down in
its documentation ("On-disk format", version 0.1.0 of the file, 0.2.0 of tables and arrays).
"""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.sparse import csc_array, csr_array

from utils.errors import DataError
from utils.files import atomic

INDEX = "_index"
ARRAY, TEXTS = "array", "string-array"


def read_h5ad(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read what was measured, and what is known of the rows.

    Returns
    -------
    values
        Table X (n_obs, n_vars) by the names of both, float64.
    about
        Table obs (n_obs, columns) by the same names of rows; columns of a kind that is not known here are left out.

    Raises
    ------
    DataError
        The file cannot be read, or holds no AnnData.
    """
    try:
        with h5py.File(path) as file:
            about, variables = _table(file["obs"]), _table(file["var"])
            values = _matrix(file["X"]) if "X" in file else np.empty((len(about), 0))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} could not be read as AnnData ({error}). Write it again from scanpy.") from error
    columns = variables.index if values.shape[1] else []
    return pd.DataFrame(values, index=about.index, columns=columns), about


def _table(group: h5py.Group) -> pd.DataFrame:
    columns = {str(name): _column(group[name]) for name in group.attrs["column-order"]}
    index = pd.Index(_column(group[group.attrs[INDEX]]).astype(str))
    return pd.DataFrame({name: one for name, one in columns.items() if one is not None}, index=index)


def _column(stored: h5py.Dataset | h5py.Group) -> np.ndarray | None:
    """Values (n,) of a column; None of a kind that is not known here."""
    kind = stored.attrs.get("encoding-type", ARRAY)
    if isinstance(stored, h5py.Dataset):
        return stored.asstr()[:].astype(object) if h5py.check_string_dtype(stored.dtype) else stored[:]
    if kind == "categorical":
        codes, categories = stored["codes"][:], _column(stored["categories"])
        return np.append(categories.astype(object), np.nan)[codes]  # -1 is "not known"
    if kind.startswith("nullable"):
        missing = np.nan if kind != "nullable-string-array" else None
        return np.where(stored["mask"][:], missing, _column(stored["values"]))
    return None


def _matrix(stored: h5py.Dataset | h5py.Group) -> np.ndarray:
    """Values (n_obs, n_vars) as float64."""
    if isinstance(stored, h5py.Dataset):
        return stored[:].astype(np.float64)
    sparse = {"csr_matrix": csr_array, "csc_matrix": csc_array}[stored.attrs["encoding-type"]]
    parts = stored["data"][:], stored["indices"][:], stored["indptr"][:]
    return sparse(parts, shape=tuple(stored.attrs["shape"])).toarray().astype(np.float64)


def write_h5ad(path: Path, values: pd.DataFrame, about: pd.DataFrame) -> None:
    """Write a table of measurements (rows are what was measured on) and what is known of its rows, whole or not at all.

    `about` has the same index; numbers and texts are kept as such. DataError where it cannot be written.
    """
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        _mark(file, "anndata", "0.1.0")
        _write_array(file, "X", values.to_numpy(np.float64))
        _write_table(file, "obs", about)
        _write_table(file, "var", pd.DataFrame(index=values.columns))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _mark(file.create_group(name), "dict", "0.1.0")


def _mark(stored: h5py.HLObject, kind: str, version: str = "0.2.0") -> None:
    stored.attrs["encoding-type"], stored.attrs["encoding-version"] = kind, version


def _write_table(file: h5py.File, name: str, table: pd.DataFrame) -> None:
    group = file.create_group(name)
    _mark(group, "dataframe")
    group.attrs[INDEX] = INDEX
    group.attrs["column-order"] = np.array(table.columns, h5py.string_dtype())
    _write_array(group, INDEX, table.index.to_numpy(object))
    for column in table.columns:
        _write_array(group, column, table[column].to_numpy())


def _write_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    if values.dtype.kind in "biuf":
        _mark(group.create_dataset(name, data=values), ARRAY)
    else:
        texts = ["" if pd.isna(one) else str(one) for one in values]
        _mark(group.create_dataset(name, data=texts, dtype=h5py.string_dtype()), TEXTS)
