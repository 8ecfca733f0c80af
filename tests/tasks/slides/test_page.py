"""What the page of slides shows and asks for, with values of its own forms."""

import json

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile

from tests.notebook_forms import default_values
from utils.errors import DataError, NotYet, SetupError, with_labels
from utils.images.geojson import ANNOTATION, feature, write_geojson
from utils.images.stains import PICROSIRIUS_RED
from utils.tasks.slides import cohort as cohorts
from utils.tasks.slides import page

RNG = np.random.default_rng(0)
AREAS = {  # boxes (x0, y0, x1, y1) in pixels
    "Background": (0, 0, 60, 400),
    "Tissue": (80, 80, 200, 320),
    "Fibrosis": (120, 120, 180, 180),
    "Vessel": (205, 205, 240, 240),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Small pieces, and no pictures on the page but what a test looks for."""
    monkeypatch.setattr(cohorts, "PIECE", 128)
    monkeypatch.setattr(page, "show_tables", lambda tables, **more: None)


@pytest.fixture
def said(monkeypatch):
    """Sentences on the page."""
    sentences = []
    monkeypatch.setattr(page, "note", lambda text, *paths: sentences.append(text))
    return sentences


def draw(path, names):
    features = [
        feature(shapely.MultiPolygon([shapely.box(*AREAS[name])]), ANNOTATION, f"{path} {name}", name, (1, 0, 0))
        for name in names
    ]
    write_geojson(path, features)


@pytest.fixture
def slides(slide_of, tmp_path):
    """Six patients, one with a second slide; the first three are annotated, the first of them with vessels."""
    for i in range(1, 7):
        for part in "ab" if i == 1 else "a":
            array = np.full((400, 400, 3), 245, np.uint8)
            array[80:320, 80:340] = (235, 200, 90)
            array[120:180, 120 : 120 + 20 * i] = (150, 40, 60)
            array = np.clip(array + RNG.integers(-9, 10, (400, 400, 1)), 0, 255).astype(np.uint8)
            slide_of(array, f"P{i}_{part}.tif", um_per_pixel=1.0)
    for i in range(1, 4):
        draw(tmp_path / f"P{i}_a.geojson", ["Background", "Tissue", "Fibrosis", *["Vessel"] * (i == 1)])
    return tmp_path


def form(slides, name="slides", **given):
    given = {"slide_folder": str(slides), "group_rule": "{group}_*", **given}
    if name == "slides":
        given = {"annotation_folder": "", "um_per_pixel": 1.0} | given
    return default_values("slide_fibrosis", {name: given})[name]


def test_pieces_are_cut_once_and_a_class_of_one_patient_is_named(slides, tmp_path, said):
    values, folder = form(slides), tmp_path / "pieces"
    found = page.open_cohort(values)
    assert "7 slides of 6 patients; 3 slides are annotated." in said
    data = page.cut(found, values, folder)
    assert data["class_names"] == "Background, Tissue, Fibrosis, Vessel"
    assert [one for one in said if one.startswith("Vessel was drawn on slides of one patient only (P1)")]
    assert not [one for one in said if one.startswith("Tissue was drawn on slides of one")]
    table = pd.read_csv(folder / "pieces.csv")
    assert len(table) == len(list((folder / "images").iterdir()))
    mask = tifffile.imread(folder / "masks" / table["file"][0])
    assert set(np.unique(mask)) <= {0, 1, 2, 3, 255}
    made = {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    page.cut(found, values, folder)
    assert made == {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    page.cut(
        page.open_cohort(values),
        form(slides, class_groups="Tissue: Tissue, Vessel; Fibrosis: Fibrosis; Background: Background"),
        folder,
    )
    assert {255} >= set(np.unique(tifffile.imread(folder / "masks" / table["file"][0]))) - {0, 1, 2}


def test_what_is_missing_is_asked_for_in_one_sentence(slides, tmp_path, said):
    with pytest.raises(NotYet, match="slide_folder"):
        page.open_cohort(form(slides, slide_folder=""))
    values = form(slides)
    found = page.open_cohort(values)
    with pytest.raises(DataError, match="'Scar', but the classes are Background, Tissue, Fibrosis, Vessel. Write one"):
        page.cut(found, values | {"measured_class": "Scar"}, tmp_path / "pieces")
    for path in slides.glob("*.geojson"):
        path.unlink()
    with pytest.raises(DataError, match="No slide has annotations"):
        page.cut(page.open_cohort(values), values, tmp_path / "pieces")


def test_a_class_that_lies_below_others_is_named(slides, tmp_path, said):
    for path in slides.glob("*.geojson"):
        draw(path, ["Background", "Fibrosis", "Tissue"])  # later ones are drawn over earlier ones
    values = form(slides)
    with pytest.raises(DataError, match="Fibrosis was drawn, but other annotations .* lie over all of it"):
        page.cut(page.open_cohort(values), values, tmp_path / "pieces")


def test_a_slide_that_does_not_say_its_pixels_asks_for_the_field_of_the_form(slides, tmp_path, said):
    tifffile.imwrite(slides / "P9_a.tif", np.zeros((256, 256, 3), np.uint8), photometric="rgb", tile=(64, 64))
    values = form(slides, "prediction", method="colour threshold", stain=PICROSIRIUS_RED)
    found, *_ = page.measure(values | {"result_folder": str(tmp_path / "out"), "um_per_pixel": 1.0}, None)
    assert said[0].endswith("patients.")  # nobody asks what was drawn where slides are measured
    assert "P9_a" not in set(found.slides["slide"])
    assert "does not say how large its pixels are" in found.warnings[0]
    assert 'into the field "Slide pixel size"' in with_labels(found.warnings[0])
    told = page.open_cohort(values | {"slide_pixel_size": 1.0}).members[-1]
    assert told.slide.um == 1.0


def test_a_cohort_is_measured_by_colour_and_set_beside_a_table(slides, tmp_path, said, monkeypatch):
    drawn = []
    monkeypatch.setattr(page, "show", drawn.append)
    values = form(slides, "prediction", method="colour threshold", stain=PICROSIRIUS_RED)
    out = tmp_path / "out"
    measured = page.measure(values | {"result_folder": str(out), "um_per_pixel": 1.0}, None)
    shares = pd.read_csv(out / "patients.csv").set_index("patient")["collagen [% of tissue]"]
    expected = [100 * 60 * 20 * i / (240 * 260) for i in range(1, 7)]
    np.testing.assert_allclose(shares, expected, rtol=0.03)
    genes = pd.DataFrame({"up": range(7), "down": range(7, 0, -1)}, [f"p0{i}" for i in range(1, 7)] + ["P77"])
    genes.to_csv(tmp_path / "genes.csv")
    omics = default_values("slide_fibrosis", {"omics": {"patient_table": str(tmp_path / "genes.csv")}})["omics"]
    page.show_omics(omics, *measured)
    table = pd.read_csv(out / "correlations.csv").set_index("column")
    assert table["rho"].to_dict() == {"up": 1.0, "down": -1.0}
    assert any(one == "Patients in genes.csv without slides, left out: P77." for one in said)
    assert len(drawn) == 2
    genes.iloc[1:].to_csv(tmp_path / "genes.csv")
    page.show_omics(omics, *measured)
    assert any(one == "Patients with slides who are not in genes.csv, left out here: P1." for one in said)
    page.show_omics(omics | {"patient_table": ""}, *measured)
    assert said[-1].startswith("No table is named")


def test_a_scheduler_that_does_not_answer_is_said_before_anything_is_measured(slides, tmp_path, said, monkeypatch):
    monkeypatch.setattr("utils.tasks.slides.cluster.PATIENCE", "1s")
    values = form(slides, "prediction", method="colour threshold", stain=PICROSIRIUS_RED)
    with pytest.raises(SetupError, match="No scheduler answers at tcp://127.0.0.1:1 "):
        page.measure(values | {"result_folder": str(tmp_path / "out"), "cluster": "tcp://127.0.0.1:1"}, None)
    assert not (tmp_path / "out").exists()


def test_a_model_without_size_of_pixels_and_classes_that_it_does_not_know_are_said(slides, tmp_path, slide_model):
    model = slide_model()
    values = form(slides, "prediction", model_folder=str(model))
    with pytest.raises(DataError, match="into the field um_per_pixel"):
        page.measure(values, None)
    with pytest.raises(DataError, match="The model knows background, class 1, class 2, not ''"):
        page.measure(values | {"um_per_pixel": 1.0}, None)
    described = json.loads((model / "model.json").read_text(encoding="utf-8"))
    share = page._share(described | {"measured": "class 2"}, "", "class 1")
    assert (share.part, share.whole) == ((2,), (0, 2))
    share = page._share(described, "class 2", "")
    assert (share.part, share.whole) == ((2,), (1, 2))
