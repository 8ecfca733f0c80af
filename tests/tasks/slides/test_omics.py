"""Genes that follow a share are found, others are not."""

import numpy as np
import pandas as pd
import pytest

from utils.data.h5ad import read_h5ad
from utils.errors import DataError
from utils.tasks.slides.figures import scatter_plots, volcano
from utils.tasks.slides.omics import beside_omics, write_beside


def cohort(path, seed, n=24):
    """Table in which two genes follow the share, 20 nothing, and two the hospital, which goes with the share."""
    rng = np.random.default_rng(seed)
    names = [f"P{i + 1}" for i in range(n)]
    hospital = np.array(["A", "B"] * (n // 2))
    share = rng.uniform(2, 20, n) + 15 * (hospital == "B")
    table = pd.DataFrame({"hospital": hospital}, names)
    for i in range(2):
        table[f"follows{i}"] = share * (1 - 2 * i) + rng.normal(0, 3, n)
        table[f"batch{i}"] = 5 * (hospital == "B") + rng.normal(0, 0.5, n)
    for i in range(20):
        table[f"nothing{i}"] = rng.normal(size=n)
    table.to_csv(path)
    return pd.Series(share, names, name="Fibrosis [%]")


def found_in(beside):
    return beside.table["column"][beside.table["q"] < 0.05].tolist()


def test_genes_that_follow_are_found_and_others_are_not(tmp_path):
    wrong = []
    for seed in range(10):
        share = cohort(tmp_path / "t.csv", seed)
        found = found_in(beside_omics(share, tmp_path / "t.csv", "hospital"))
        assert {"follows0", "follows1"} <= set(found)
        assert not {"batch0", "batch1"} & set(found)
        wrong.append(sum(one.startswith("nothing") for one in found))
    assert max(wrong) <= 2
    assert np.mean(wrong) <= 1


def test_a_batch_misleads_where_it_is_not_held_constant(tmp_path):
    share = cohort(tmp_path / "t.csv", 0)
    assert {"batch0", "batch1"} & set(found_in(beside_omics(share, tmp_path / "t.csv")))


def test_batches_that_are_called_by_numbers_are_told(tmp_path):
    share = cohort(tmp_path / "t.csv", 0)
    table = pd.read_csv(tmp_path / "t.csv", index_col=0)
    table.assign(batch=table["hospital"].map({"A": 2, "B": 1})).to_csv(tmp_path / "t.csv")
    told = " ".join(beside_omics(share, tmp_path / "t.csv", "batch").notes)
    assert "batch holds numbers, whose order was held constant" in told
    assert "whose order" not in " ".join(beside_omics(share, tmp_path / "t.csv", "hospital").notes)


def test_what_is_written_opens_again(tmp_path):
    share = cohort(tmp_path / "t.csv", 1)
    beside = beside_omics(share, tmp_path / "t.csv")
    write_beside(tmp_path / "out", share.to_frame(), beside, share.name)
    table = pd.read_csv(tmp_path / "out" / "correlations.csv")
    assert table.columns.tolist() == ["column", "n", "rho", "low", "high", "p", "q"]
    values, about = read_h5ad(tmp_path / "out" / "patients.h5ad")
    np.testing.assert_allclose(about["Fibrosis [%]"], share)
    assert about["hospital"].tolist()[:2] == ["A", "B"]
    assert values.shape == (24, 24)
    assert (tmp_path / "out" / "correlations.png").stat().st_size > 5000
    assert len(scatter_plots(beside.table, beside.patients.numbers, share).axes) == 6


def test_names_of_equal_measurements_stand_side_by_side():
    found = pd.DataFrame({"column": ["UP", "TOO", "DOWN", "NOT"], "rho": [0.9, 0.9, -0.8, 0.1]})
    found = found.assign(p=[1e-4, 1e-4, 1e-3, 0.7], q=[1e-3, 1e-3, 0.01, 0.7])
    assert {one.get_text() for one in volcano(found, "Fibrosis [%]").axes[0].texts} == {"UP, TOO", "DOWN"}


def test_few_patients_and_unknown_columns_are_said(tmp_path):
    share = cohort(tmp_path / "t.csv", 2)
    with pytest.raises(DataError, match="have 4 patients in common. At least 5"):
        beside_omics(share.iloc[:4], tmp_path / "t.csv")
    with pytest.raises(DataError, match="no column 'site' to hold constant. It has hospital, follows0"):
        beside_omics(share, tmp_path / "t.csv", "site")


def test_measurements_that_tell_nothing_are_counted(tmp_path):
    share = pd.Series(range(6), [f"P{i}" for i in range(6)], name="share")
    pd.DataFrame({"same": 1, "goes": range(6)}, share.index).to_csv(tmp_path / "t.csv")
    beside = beside_omics(share, tmp_path / "t.csv")
    assert beside.table["column"].tolist() == ["goes", "same"]
    assert "1 are the same for all patients" in beside.notes[-1]
