"""Tables of predicted classes: what is uncertain, what to look at first, what a person has corrected."""

import numpy as np
import pandas as pd
import pytest

from tests.tiny_classifier import CLASSES, NAMES
from utils.class_tables import check_tables, class_table, earlier_classes, is_corrected, keep_corrected, review_table
from utils.errors import DataError
from utils.files import write_csv


def probabilities(rng, n=50):
    return rng.dirichlet(np.full(len(CLASSES), 0.7), n).astype(np.float32)


def test_columns_and_values():
    table = class_table({"file": ["a", "b"]}, np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], np.float32), CLASSES)
    assert list(table) == ["file", "class", "group", "uncertain", *(f"p_{name}" for name in NAMES)]
    assert table["class"].tolist() == ["prophase", "early, anaphase"]
    assert table["group"].tolist() == ["B", "A"]
    assert table["p_prophase"].tolist() == pytest.approx([0.7, 0.1])


@pytest.mark.parametrize(
    ("p", "uncertain"),
    [
        ((0.52, 0.44, 0.04), True),  # less than 0.1 apart
        ((0.55, 0.42, 0.03), False),
        ((0.49, 0.26, 0.25), True),  # below 0.5
        ((0.51, 0.25, 0.24), False),
        ((0.03, 0.44, 0.53), True),
        ((0, 1, 0), False),
    ],
)
def test_uncertain(p, uncertain):
    assert class_table({"file": ["a"]}, np.array([p], np.float32), CLASSES)["uncertain"].tolist() == [uncertain]


def test_no_rows_keep_the_columns():
    table = class_table({"file": [], "label": []}, np.zeros((0, 3), np.float32), CLASSES)
    assert len(table) == 0
    assert list(table)[:5] == ["file", "label", "class", "group", "uncertain"]


@pytest.mark.parametrize("seed", range(5))
def test_review_has_all_rows_the_most_uncertain_first(seed):
    p = probabilities(np.random.default_rng(seed))
    table = class_table({"file": [f"{i}.tif" for i in range(len(p))]}, p, CLASSES)
    review = review_table(table)
    assert "group" not in review  # would be read as patient where the list is trained on
    assert sorted(review["file"]) == sorted(table["file"])
    assert review["uncertain"].is_monotonic_decreasing
    first = np.sort(review[[f"p_{name}" for name in NAMES]].to_numpy(), axis=1)
    lead = first[:, -1] - first[:, -2]
    for one in (True, False):
        assert (np.diff(lead[review["uncertain"] == one]) >= 0).all()
    assert 0 < review["uncertain"].sum() < len(review)


@pytest.mark.parametrize("seed", range(3))
def test_only_a_changed_class_is_a_correction(tmp_path, seed):
    p = probabilities(np.random.default_rng(seed))
    p[0] = (0.4, 0.4, 0.2)  # a tie
    table = class_table({"file": ["NA"] * len(p)}, p, CLASSES)
    path = tmp_path / "predictions.csv"
    table.to_csv(path, index=False, float_format="%.7g")
    assert not is_corrected(path)
    assert earlier_classes(path) == list(NAMES)
    for wrong in ("remove", NAMES[(p[3].argmax() + 1) % 3], ""):
        changed = table.copy()
        changed.loc[3, "class"] = wrong
        write_csv(path, changed)
        assert is_corrected(path)
    path.write_text(table.to_csv(index=False).replace("0.", "x"), encoding="utf-8")
    assert is_corrected(path)  # cannot be read: better kept


def test_a_corrected_table_is_kept_under_a_free_name(tmp_path):
    table = class_table({"file": ["a"]}, np.array([[0.1, 0.2, 0.7]]), CLASSES)
    write_csv(tmp_path / "review.csv", table)
    assert keep_corrected(tmp_path, ["review.csv", "absent.csv"]) == []
    for i in range(2):
        write_csv(tmp_path / "review.csv", table.assign(**{"class": NAMES[i]}))
        (told,) = keep_corrected(tmp_path, ["review.csv"])
        assert "corrected by hand" in told
        assert not (tmp_path / "review.csv").exists()
    kept = sorted(tmp_path.iterdir())
    assert {pd.read_csv(path)["class"][0] for path in kept} == set(NAMES[:2])
    assert all(path.name in "review.csv" or path.name.startswith("review.2") for path in kept)


def test_tables_of_others_are_refused(tmp_path):
    check_tables(tmp_path, {"t.csv": ("file", "class")})
    write_csv(tmp_path / "t.csv", pd.DataFrame(columns=["file", "class", "more"]))
    check_tables(tmp_path, {"t.csv": ("file", "class")})
    for content in ("file;class\n", "", "class,file\n"):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(DataError, match=r"t\.csv exists and was not written by a prediction"):
            check_tables(tmp_path, {"t.csv": ("file", "class")})


def test_without_an_earlier_table_there_are_no_earlier_classes(tmp_path):
    assert earlier_classes(tmp_path / "absent.csv") == []
