"""Tables of patients as people have them."""

import gzip

import numpy as np
import pandas as pd
import pytest

from utils.data.h5ad import write_h5ad
from utils.errors import DataError
from utils.tasks.slides.patient_table import once_a_gene, read_patients

PATIENTS = ["P1", "P2", "P3"]


def read(tmp_path, text, patients=PATIENTS, name="table.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return read_patients(tmp_path / name, patients)


def test_patients_in_lines(tmp_path):
    found = read(tmp_path, "patient,COL1A1,site\nP1,1.5,A\nP2,2,B\nP4,7,B\n")
    assert found.numbers.to_dict("index") == {"P1": {"COL1A1": 1.5}, "P2": {"COL1A1": 2}}
    assert found.words["site"].tolist() == ["A", "B"]
    assert found.notes[:3] == [
        "Each line of table.csv is a patient. Of the slides' 3 patients 2 stand in it.",
        "Patients with slides who are not in table.csv, left out here: P3.",
        "Patients in table.csv without slides, left out: P4.",
    ]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_patients_in_columns(tmp_path, separator):
    text = "gene,P2,P1,P3\nCOL1A1,2,1,3\nsite,B,A,B\nACTA2,5,4,6\n".replace(",", separator)
    found = read(tmp_path, text)
    assert found.numbers.loc[PATIENTS].to_numpy().tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found.words.loc[PATIENTS, "site"].tolist() == ["A", "B", "B"]
    assert found.notes[0].startswith("Each column of table.csv is a patient.")


def test_names_as_other_programs_spell_them(tmp_path):
    patients = ["TCGA-A1-A0SB", "TCGA-A2-A04T", "p_7"]
    found = read(tmp_path, "gene,TCGA.A1.A0SB.01A.11R,tcga-a2-a04t-01,P-007\nX,1,2,3\n", patients)
    assert found.numbers["X"].to_dict() == dict(zip(patients, [1, 2, 3], strict=True))


def test_decimal_commas_of_a_german_spreadsheet(tmp_path):
    found = read(tmp_path, "patient;age;site\r\nP1;1,5;A\r\nP2;n.d.;A\r\nP3;2,5;B\r\n", encoding="utf-8-sig")
    assert found.numbers["age"].tolist()[::2] == [1.5, 2.5]
    assert np.isnan(found.numbers["age"].iloc[1])
    assert "What is no number in age was left out." in found.notes


def test_names_of_lines_without_a_name_above_them(tmp_path):
    """R writes a first line that is one shorter than the others."""
    found = read(tmp_path, "a\tb\nP1\t1\t2\nP2\t3\t4\n", name="r.tsv")
    assert found.numbers.to_numpy().tolist() == [[1, 2], [3, 4]]
    assert found.numbers.columns.tolist() == ["a", "b"]


def test_compressed_and_anndata_tables_are_the_same(tmp_path):
    expected = pd.DataFrame({"X": [1.0, 2], "Y": [3.0, 4]}, ["P1", "P2"])
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        expected.to_csv(file)
    write_h5ad(tmp_path / "t.h5ad", expected, pd.DataFrame({"site": ["A", "B"]}, expected.index))
    for name in ("t.csv.gz", "t.h5ad"):
        found = read_patients(tmp_path / name, PATIENTS)
        pd.testing.assert_frame_equal(found.numbers, expected, check_index_type=False, check_column_type=False)
    assert found.words["site"].tolist() == ["A", "B"]


@pytest.mark.parametrize(
    ("name", "gene"),
    [
        ("1-Mar", "MARCH1 (now MARCHF1)"),
        ("Sep-02", "SEPT2 (now SEPTIN2)"),
        ("2024-03-05 00:00:00", "MARCH5"),
        ("11.09.2023", "SEPT11"),
        ("1-Dec", "DEC1"),
        ("1-Mar (2)", "MARC1"),
    ],
)
def test_genes_that_a_spreadsheet_made_dates_of_are_named(name, gene):
    assert gene in once_a_gene(name)


@pytest.mark.parametrize("name", ["MARCH1", "COL1A1", "HLA-A", "7-Jul", "1-2", "2024"])
def test_other_names_are_no_dates(name):
    assert once_a_gene(name) == ""


def test_genes_that_stand_twice_are_kept_apart(tmp_path):
    found = read(tmp_path, "gene,P1,P2,P3\n1-Mar,1,2,3\n1-Mar,4,5,6\n")
    assert found.numbers.loc["P1"].to_dict() == {"1-Mar": 1, "1-Mar (2)": 4}
    assert sum("MARCH1" in one for one in found.notes) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("patient,X\nP1,1\nP01,2\n", "1 patient of .*stand in it several times, such as P1 .P1, P01."),
        ("gene,P1,P1\nX,1,2\n", "several times"),
        ("patient,X\nA,1\nB,2\n", "No patient of the slides .P1, P2, P3. stands"),
        ("", "could not be read as a table"),
        ("patient,X\nP1,1,2,3\nP2,1\n", "could not be read as a table|No patient"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError, match="none.csv could not be read"):
        read_patients(tmp_path / "none.csv", PATIENTS)
