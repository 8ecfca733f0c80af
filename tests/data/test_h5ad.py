"""AnnData files: what is written is read again; files as anndata writes them."""

import h5py
import numpy as np
import pandas as pd
import pytest

from utils.data.h5ad import read_h5ad, write_h5ad
from utils.errors import DataError


def test_what_is_written_is_read_again(tmp_path):
    values = pd.DataFrame([[1.5, 0], [2, np.nan], [0, 3]], ["P1", "Pü", "P3"], ["COL1A1", "a gene"])
    about = pd.DataFrame({"share [%]": [1.0, 2, np.nan], "slides": [1, 2, 3], "site": ["A", None, "B"]}, values.index)
    write_h5ad(tmp_path / "a.h5ad", values, about)
    again, known = read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(again, values, check_index_type=False, check_column_type=False)
    assert known["site"].tolist() == ["A", "", "B"]
    np.testing.assert_array_equal(known["share [%]"], about["share [%]"])
    assert known["slides"].tolist() == [1, 2, 3]


def as_anndata_writes(path):
    """As anndata 0.13.4 writes a sparse X, categories, numbers that may be missing, and texts with a mask."""

    def put(group, name, values, kind="array"):
        texts = np.asarray(values).dtype.kind in "OU"
        stored = group.create_dataset(name, data=values, dtype=h5py.string_dtype() if texts else None)
        stored.attrs["encoding-type"] = "string-array" if texts else kind

    def make(group, name, kind, **members):
        made = group.create_group(name)
        made.attrs["encoding-type"] = kind
        for member, values in members.items():
            put(made, member, values)
        return made

    def frame(file, name, index, order):
        table = file.create_group(name)
        table.attrs["_index"] = "_index"
        table.attrs["column-order"] = np.array(order, h5py.string_dtype()) if order else np.array([])
        make(table, "_index", "nullable-string-array", values=index, mask=np.zeros(len(index), bool))
        return table

    with h5py.File(path, "w") as file:
        sparse = make(
            file,
            "X",
            "csr_matrix",
            data=np.float32([1, 2, 3]),
            indices=np.int32([1, 2, 0]),
            indptr=np.int32([0, 2, 3]),
        )
        sparse.attrs["shape"] = [2, 3]
        obs = frame(file, "obs", ["P1", "P2"], ["site", "age", "odd"])
        make(obs, "site", "categorical", codes=np.int8([1, -1]), categories=["A", "B"])
        make(obs, "age", "nullable-integer", values=[51, 0], mask=[False, True])
        make(obs, "odd", "something new")
        frame(file, "var", ["g1", "g2", "g3"], [])


def test_a_file_of_anndata(tmp_path):
    as_anndata_writes(tmp_path / "a.h5ad")
    values, about = read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(values, [[0, 1, 2], [3, 0, 0]])
    assert (values.index.tolist(), values.columns.tolist()) == (["P1", "P2"], ["g1", "g2", "g3"])
    assert about.columns.tolist() == ["site", "age"]
    assert about["site"].tolist()[0] == "B"
    assert about.isna().iloc[1].all()
    assert about["age"].iloc[0] == 51


@pytest.mark.parametrize("content", [b"", b"P1,2\n"])
def test_what_is_no_such_file_is_said(tmp_path, content):
    (tmp_path / "a.h5ad").write_bytes(content)
    with pytest.raises(DataError, match="a.h5ad could not be read as AnnData"):
        read_h5ad(tmp_path / "a.h5ad")


def test_a_table_of_another_program_is_said(tmp_path):
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file["weights"] = [1, 2]
    with pytest.raises(DataError, match="could not be read as AnnData"):
        read_h5ad(tmp_path / "a.h5ad")
