"""What is written of a cohort: right areas, files that open, nothing twice, nothing stopped by one bad slide."""

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile

from utils.data.splits import write_split
from utils.errors import DataError
from utils.files import write_json
from utils.images.annotations import read_annotations
from utils.images.slides import open_slide
from utils.images.stains import PICROSIRIUS_RED
from utils.tasks.registry import UNET
from utils.tasks.slides import results
from utils.tasks.slides.cohort import Member, read_cohort
from utils.tasks.slides.compute import Colour, FromModel, FromStain
from utils.tasks.slides.measure import Share
from utils.tasks.slides.results import Order, measure_cohort
from utils.tasks.slides.tiles import NOT_TISSUE, Grid, TileStore

YELLOW, RED = (235, 200, 90), (150, 40, 60)  # picric acid and Sirius red
COLLAGEN = "collagen [% of tissue]"


@pytest.fixture(autouse=True)
def _several_tiles(monkeypatch):
    monkeypatch.setattr(Colour, "side", 160)


def picture(red):
    """800 x 800 um of glass, in it 480 x 560 um of tissue with a square of collagen of `red` pixels of 2 um."""
    array = np.full((400, 400, 3), 245, np.uint8)
    array[80:320, 60:340] = YELLOW
    array[120 : 120 + red, 100 : 100 + red] = RED
    grain = np.random.default_rng(0).integers(-9, 10, (400, 400, 1))  # what has none is out of focus
    return np.clip(array + grain, 0, 255).astype(np.uint8)


@pytest.fixture
def slides(slide_of, tmp_path):
    """Two slides of one patient, one of another, and one without tissue."""
    for name, red in (("P1_a", 80), ("P1_b", 40), ("P2_a", 160)):
        slide_of(picture(red), f"{name}.tif", um_per_pixel=2)
    slide_of(np.full((400, 400, 3), 245, np.uint8), "P3_a.tif", um_per_pixel=2)
    return tmp_path


def by_colour(**more):
    classes = [{"id": i, "name": name} for i, name in enumerate(Colour.names)]
    share = Share("collagen", (2,), (1, 2))
    return Order(FromStain(PICROSIRIUS_RED), share, classes, 2.0, stain=PICROSIRIUS_RED, **more)


def measure(slides, order, folder, **more):
    return measure_cohort(read_cohort(slides, None, "{group}_*").members, order, folder, **more)


def test_tables_by_hand(slides, tmp_path):
    found = measure(slides, by_colour(), tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "slides.csv").set_index("slide")
    whole = 240 * 280
    for name, red in (("P1_a", 80), ("P1_b", 40), ("P2_a", 160)):
        assert table.loc[name, COLLAGEN] == pytest.approx(100 * red**2 / whole, rel=0.02)
        assert table.loc[name, "collagen [mm2]"] == pytest.approx(red**2 * 4e-6, rel=1e-3)
    patients = pd.read_csv(tmp_path / "out" / "patients.csv").set_index("patient")
    assert patients.loc["P1", COLLAGEN] == pytest.approx(100 * (80**2 + 40**2) / (2 * whole), rel=0.02)
    assert patients["slides"].tolist() == [2, 1, 1]
    assert np.isnan(table.loc["P3_a", COLLAGEN])
    assert found.warnings == [f"{slides / 'P3_a.tif'}: no tissue was found on it, so that it has no share."]


def test_the_class_map_is_a_pyramid_of_what_was_seen(slides, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tasks.slides.tiles.SEEN_WHOLE", 100)
    measure(slides, by_colour(), tmp_path / "out")
    with tifffile.TiffFile(tmp_path / "out" / "class_maps" / "P1_a.ome.tif") as file:
        first, *smaller = file.series[0].levels
        assert [one.shape for one in (first, *smaller)][:2] == [(400, 400), (200, 200)]
        whole = first.asarray()
        np.testing.assert_array_equal(smaller[0].asarray(), whole[::2, ::2])
        assert 'PhysicalSizeX="2.0"' in file.ome_metadata
    expected = np.zeros((400, 400), bool)
    expected[120:200, 100:180] = True
    np.testing.assert_array_equal(whole == 2, expected)
    assert set(np.unique(whole)) <= {0, 1, 2, NOT_TISSUE}


def test_outlines_are_read_again_with_what_was_measured(slides, tmp_path):
    measure(slides, by_colour(), tmp_path / "out")
    drawn = read_annotations(tmp_path / "out" / "qupath" / "P1_a.geojson")
    area = {name: sum(one.geometry.area for one in drawn.areas if one.class_name == name) for name in drawn.class_names}
    assert area["collagen"] == pytest.approx(80**2, rel=0.02)
    assert area["tissue"] == pytest.approx(240 * 280 - 80**2, rel=0.02)
    text = (tmp_path / "out" / "qupath" / "P1_a.geojson").read_text(encoding="utf-8")
    assert '"collagen [mm2]"' in text
    assert f'"{COLLAGEN}"' in text


def test_a_second_call_computes_nothing_and_another_order_does(slides, tmp_path, monkeypatch):
    calls = []
    plain = results.compute_slide
    monkeypatch.setattr(results, "compute_slide", lambda *given: calls.append(given[0].slide.name) or plain(*given))
    first = measure(slides, by_colour(), tmp_path / "out")
    assert len(calls) == 4
    again = measure(slides, by_colour(), tmp_path / "out")
    assert len(calls) == 4
    pd.testing.assert_frame_equal(first.slides, again.slides)
    (tmp_path / "out" / "heat_maps" / "P2_a.png").unlink()
    measure(slides, by_colour(), tmp_path / "out")
    assert calls[4:] == ["P2_a.tif"]
    measure(slides, by_colour(tolerance_um=20.0), tmp_path / "out")
    assert len(calls) == 9
    assert not (tmp_path / "out" / "unfinished").exists()


def test_files_of_a_slide_are_written_while_the_next_one_is_computed(slides, tmp_path, monkeypatch):
    """And a slide whose files cannot be written stops no other."""
    next_is_computed, begun = threading.Event(), []
    compute, write = results.compute_slide, results._write

    def computed(*given):
        begun.append(given[0].slide.name)
        if len(begun) == 2:
            next_is_computed.set()
        return compute(*given)

    def written(member, *given):
        assert next_is_computed.wait(60)
        if member.name == "P1_b":
            raise DataError("The disk is full.")
        write(member, *given)

    monkeypatch.setattr(results, "compute_slide", computed)
    monkeypatch.setattr(results, "_write", written)
    found = measure(slides, by_colour(), tmp_path / "out")
    assert begun == ["P1_a.tif", "P1_b.tif", "P2_a.tif", "P3_a.tif"]
    assert found.slides["slide"].tolist() == ["P1_a", "P2_a", "P3_a"]
    assert found.warnings[0] == "Left out: The disk is full."
    monkeypatch.setattr(results, "_write", write)
    assert len(measure(slides, by_colour(), tmp_path / "out").slides) == 4
    assert begun[4:] == ["P1_b.tif"]


def test_another_model_computes_anew_and_names_what_it_does_not_know(slides, tmp_path, slide_model):
    folder = slide_model()
    order = Order(FromModel(UNET.load, folder), Share("class 2", (2,), (0, 1, 2)), classes_of(folder), 2.0)
    members = read_cohort(slides, None, "{group}_*").members[:1]
    one = measure_cohort(members, order, tmp_path / "out")
    assert "looks.json is missing" in one.warnings[0]
    counted = []
    measure_cohort(members, order, tmp_path / "out", progress=lambda tiles: counted.extend(tiles) or tiles)
    assert counted == []
    described = results.json.loads((folder / "model.json").read_text(encoding="utf-8"))
    write_json(folder / "model.json", described | {"sha256": {"weights.h5": "another"}})
    measure_cohort(members, order, tmp_path / "out", progress=lambda tiles: counted.extend(tiles) or tiles)
    assert counted


def test_slides_that_were_learned_from_are_told_from_others(slides, tmp_path, slide_model):
    """What another slide of the same patient gives is no honest test either; slides of the same name are told apart."""
    folder, roles = slide_model(), {"P1__P1_a_0_512": "training", "P2__P2_b_0_0": "validation", "P3__P3_a_0_0": "test"}
    split = pd.DataFrame({"file": [f"{one}.tif" for one in roles], "sha256": "", "group": "", "role": roles.values()})
    order = Order(FromModel(UNET.load, folder), Share("class 2", (2,), (0, 1, 2)), classes_of(folder), 2.0)
    members = read_cohort(slides, None, "{group}_*").members
    for table, expected in (
        (None, ["", "", "", ""]),
        (split, ["yes", "its patient", "its patient", "no"]),
        (split.replace({"file": {"P1__": "P9__"}}, regex=True), ["no", "no", "its patient", "no"]),
        (split.assign(file="image.tif"), ["", "", "", ""]),
    ):
        if table is not None:
            write_split(folder / "split.csv", table)
        found = measure_cohort(members, order, tmp_path / "out")
        assert found.slides["in training"].tolist() == expected
        table = pd.read_csv(tmp_path / "out" / "slides.csv", keep_default_na=False)
        assert table["in training"].tolist() == expected
    assert measure(slides, by_colour(), tmp_path / "colour").slides["in training"].tolist() == ["no"] * 4


def test_what_tells_a_result_from_others_is_the_same_in_another_session(slides, tmp_path):
    member = read_cohort(slides, None).members[0]
    sources = [FromModel(load, tmp_path) for load in (UNET.load, lambda folder: UNET.load(folder))]  # loaded elsewhere
    keys = {Order(one, Share("x", (1,), (1,)), [], 2.0).key(member, "") for one in sources}
    assert len(keys) == 1


def test_outlines_of_every_so_many_pixels_are_not_moved(slides, tmp_path):
    """Of squares at all places against the pixels that are looked at, the centres lie where they are on average."""
    store = TileStore(tmp_path / "tiles", Grid((256, 256), 256), 4)
    off = []
    for shift in range(4):
        ids = np.zeros((256, 256), np.uint8)
        ids[100 + shift : 164 + shift, 40 + shift : 104 + shift] = 2
        store.put(0, ids, [0, 0, 64 * 64, 0])
        order, job = by_colour(tolerance_um=8.0), SimpleNamespace(downsample=2.0)
        member = read_cohort(slides, None).members[0]
        drawn = list(results.outlines(member, order, job, store, {0: (0,), 1: (0,), 2: (0, 0, 0)}))
        centre = drawn[0]["geometry"]["coordinates"].centroid
        off.append((centre.x / 2 - (72 + shift), centre.y / 2 - (132 + shift)))
    np.testing.assert_allclose(np.mean(off, axis=0), 0, atol=1e-6)


def classes_of(folder):
    return results.json.loads((folder / "model.json").read_text(encoding="utf-8"))["classes"]


def test_a_slide_that_breaks_is_told_and_stops_nothing(slides, tmp_path):
    members = read_cohort(slides, None, "{group}_*").members
    path = slides / "P1_b.tif"
    content = bytearray(path.read_bytes())
    unknown = Member(open_slide(slides / "P2_a.tif"), "P2")
    unknown.slide.um_per_pixel = None
    path.write_bytes(content[: len(content) // 2])
    found = measure_cohort([members[0], members[1], unknown], by_colour(), tmp_path / "out")
    assert found.slides["slide"].tolist() == ["P1_a"]
    assert [one.startswith("Left out: ") for one in found.warnings] == [True, True]
    assert "into the field slide_pixel_size" in found.warnings[1]
    with pytest.raises(DataError, match="No slide could be measured. Left out: "):
        measure_cohort([unknown], by_colour(), tmp_path / "none")


def test_a_heat_map_has_the_share_of_each_square(tmp_path):
    store = TileStore(tmp_path, Grid((128, 256), 128), 4)
    left = np.full((128, 128), NOT_TISSUE, np.uint8)
    left[:64, :64], left[64:, :64] = 1, 2
    store.put(0, left, [0, 64 * 64, 64 * 64, 0])
    shares, side = results.squares(store, Share("x", (2,), (1, 2)), 50 / 64, 3)
    assert side == 64
    np.testing.assert_array_equal(shares, [[0, np.nan, np.nan, np.nan], [1, np.nan, np.nan, np.nan]])
