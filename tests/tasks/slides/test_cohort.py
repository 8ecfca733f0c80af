"""Slides, what was drawn on them, and the pieces that are cut from them."""

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile

from utils.errors import DataError
from utils.images.geojson import ANNOTATION, feature, write_geojson
from utils.images.masks import IGNORED
from utils.tasks.slides import cohort
from utils.tasks.slides.cohort import UNSET, classes_of, cut_pieces, read_cohort

RNG = np.random.default_rng(0)


def draw(path, *areas):
    """GeoJSON of (class, x0, y0, x1, y1)."""
    features = [
        feature(shapely.MultiPolygon([shapely.box(*box)]), ANNOTATION, f"{path} {i}", name, (1, 0, 0))
        for i, (name, *box) in enumerate(areas)
    ]
    write_geojson(path, features)


@pytest.fixture
def folder(tmp_path, slide_of):
    """Three slides of two patients, two of them with annotations."""
    for i, name in enumerate(["P1_a", "P1_b", "P2_a"]):
        slide_of(RNG.integers(0, 256, (200, 300, 3), dtype=np.uint8), f"{name}.tif")
        if i != 1:
            draw(tmp_path / f"{name}.geojson", ("Tissue", 10, 10, 90, 90), ("Fibrosis", 40, 40, 60, 60))
    return tmp_path


def test_slides_of_a_patient_stay_together(folder):
    found = read_cohort(folder, None, "{group}_*")
    assert [(one.name, one.patient, bool(one.annotations)) for one in found.members] == [
        ("P1_a", "P1", True),
        ("P1_b", "P1", False),
        ("P2_a", "P2", True),
    ]
    assert found.problems == []
    table = found.table()
    assert table["class"].tolist() == ["Tissue", "Fibrosis"] * 2
    assert table["area [mm2]"].tolist()[:2] == pytest.approx([80 * 80 / 4e6, 20 * 20 / 4e6])


def test_names_tell_patients_where_nobody_did(folder, slide_of):
    found = read_cohort(folder, None, "ask")
    assert [one.patient for one in found.members] == ["P1", "P1", "P2"]
    assert "look like 2 patients: P1, P2, which are taken for the patients" in found.patients_told
    for path in folder.glob("P1_b.*"):
        path.unlink()
    found = read_cohort(folder, None, "ask")
    assert [one.patient for one in found.members] == ["P1_a", "P2_a"]
    assert found.patients_told.startswith("Each slide is taken for a patient of its own.")


def test_two_slides_of_one_name_do_not_overwrite_each_other(folder, slide_of):
    slide_of(np.zeros((64, 64, 3), np.uint8), "P1_a.ome.tif")
    found = read_cohort(folder, None, "ask")
    assert len(found.members) == 3
    assert "has the same name as P1_a.ome.tif" in str(found.problems[-1])


def test_a_barcode_says_the_patient_whatever_the_rule(tmp_path, slide_of):
    slide_of(np.zeros((64, 64, 3), np.uint8), "TCGA-A1-A0SB-01Z-00-DX1.tif")
    assert read_cohort(tmp_path, None, "{group}_*").members[0].patient == "TCGA-A1-A0SB"


def test_what_cannot_be_used_is_told_and_stops_nothing(folder):
    (folder / "broken.svs").write_bytes(b"II*\0 this is no slide")
    (folder / "P1_b.geojson").write_text("no GeoJSON", encoding="utf-8")
    draw(folder / "alone.geojson", ("Tissue", 0, 0, 10, 10))
    draw(folder / "P2_a.geojson", ("Tissue", 5000, 5000, 5100, 5100))
    found = read_cohort(folder, None)
    assert len(found.members) == 3
    told = {problem.file.rsplit("/", 1)[-1]: str(problem) for problem in found.problems}
    assert set(told) == {"broken.svs", "P1_b.geojson", "alone.geojson", "P2_a.geojson"}
    assert "is not GeoJSON" in told["P1_b.geojson"]
    assert "belongs to no slide" in told["alone.geojson"]
    assert "was drawn on another image" in told["P2_a.geojson"]


def test_classes_are_put_together_or_do_not_count(folder):
    draw(folder / "P1_b.geojson", ("Ignore*", 0, 0, 9, 9), ("Septum", 0, 0, 9, 9), ("Pen", 0, 0, 9, 9))
    found = read_cohort(folder, None)
    assert found.class_names == ["Tissue", "Fibrosis", "Septum", "Pen"]
    assert classes_of(found, "")[0] == {"Tissue": 0, "Fibrosis": 1, "Ignore*": IGNORED, "Septum": 2, "Pen": 3}
    given, names = classes_of(found, "fibrosis: Fibrosis, Septum; ignore: Pen")
    assert given == {"Tissue": 0, "Fibrosis": 1, "Septum": 1, "Ignore*": IGNORED, "Pen": IGNORED}
    assert names == ["Tissue", "fibrosis"]
    assert classes_of(found, "glass: Pen")[1] == ["glass", "Tissue", "Fibrosis", "Septum"]
    with pytest.raises(DataError, match="no two classes to tell apart .all."):
        classes_of(found, "all: Tissue, Fibrosis, Septum; ignore: Pen")


@pytest.mark.parametrize("um_per_pixel", [0.5, 1.0])
def test_pieces_show_what_was_drawn_and_nothing_else_counts(folder, tmp_path, monkeypatch, um_per_pixel):
    monkeypatch.setattr(cohort, "PIECE", 32)
    found = read_cohort(folder, None, "{group}_*")
    table = cut_pieces(found, classes_of(found, "")[0], um_per_pixel, tmp_path / "out")
    assert set(table["patient"]) == {"P1", "P2"}
    factor, canvas = int(um_per_pixel / 0.5), np.full((200, 300), UNSET)
    canvas[10:90, 10:90], canvas[40:60, 40:60] = 0, 1
    seen = np.zeros(canvas.shape, bool)
    for row in table[table["patient"] == "P1"].itertuples():
        assert row.file.startswith("P1__P1_a_")
        mask, image = (tifffile.imread(tmp_path / "out" / kind / row.file) for kind in ("masks", "images"))
        x, y = int(row.x), int(row.y)
        place = slice(y, y + 32 * factor), slice(x, x + 32 * factor)
        shown = canvas[place][factor // 2 :: factor, factor // 2 :: factor]
        np.testing.assert_array_equal(mask[: shown.shape[0], : shown.shape[1]], shown)
        np.testing.assert_array_equal(image, found.members[0].slide.read(x, y, 32, 32, um_per_pixel))
        seen[place] = True
    assert seen[canvas != UNSET].mean() > 0.9  # slivers at the edge of what was drawn are left out
    counts = table[["class 0 [px]", "class 1 [px]"]].sum()
    assert counts["class 1 [px]"] == 2 * (20 // factor) ** 2
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "pieces.csv"), table)


def test_of_many_pieces_those_of_rare_classes_are_kept(folder, monkeypatch):
    monkeypatch.setattr(cohort, "PIECE", 16)
    monkeypatch.setattr(cohort, "MOST", 4)
    draw(folder / "P1_a.geojson", ("Tissue", 0, 0, 300, 200), ("Fibrosis", 165, 165, 170, 170))
    found = read_cohort(folder, None)
    places = cohort.chosen_places(found.members[0], classes_of(found, "")[0], 1.0)
    assert len(places) == 4
    assert (160, 160) in places


def test_a_folder_without_slides_is_said(tmp_path):
    with pytest.raises(DataError, match="There is no slide in"):
        read_cohort(tmp_path, None)
    with pytest.raises(DataError, match="There is no folder"):
        read_cohort(tmp_path / "none", None)
    (tmp_path / "a.svs").write_bytes(b"nothing")
    with pytest.raises(DataError, match="No slide in .* could be opened"):
        read_cohort(tmp_path, None)
