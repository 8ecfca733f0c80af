"""What the sections of the notebook do, on a small film of bright and dim discs, without a trained model."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.ndimage import gaussian_filter

from tests.microscope.fake_finder import CLASSES, NAMES
from tests.microscope.test_find import FakeClassifier
from tests.notebook_forms import default_values
from utils.errors import DataError, FormError, ModelError
from utils.microscope import figures, page
from utils.microscope.files import EVENT_COLUMNS, SURVEYS
from utils.microscope.find import Finder
from utils.microscope.protocol import Position, Survey
from utils.microscope.scope import Scope
from utils.microscope.tracks import TRACKS, append_rows, read_tracks

FRAMES, SIDE, PIXEL = 10, 128, 0.5


class Bright(FakeClassifier):
    """Bright cells are in metaphase, sure enough for one survey."""

    def probabilities(self, crops):
        return 0.995 * super().probabilities(crops) + 0.005 / len(NAMES)


def film(folder, dividing=True):
    """Film of four cells; one is bright from the fifth frame on."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    frames = np.full((FRAMES, SIDE, SIDE), 100.0)
    for i, (y, x) in enumerate([(30, 30), (30, 95), (95, 30), (95, 95)]):
        for t in range(FRAMES):
            light = 2000 if dividing and i == 3 and t >= 4 else 300
            frames[t] += light * (np.hypot(rows - y - 0.3 * t, columns - x) < 10)
    noise = np.random.default_rng(0).normal(0, 4, frames.shape)
    frames = np.clip(gaussian_filter(frames, (0, 1, 1)) + noise, 0, None).astype(np.uint16)
    metadata = {"axes": "TYX", "finterval": 300.0, "tunit": "s", "unit": "um"}
    path = folder / "film.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata=metadata, resolution=(1 / PIXEL, 1 / PIXEL))
    return path


@pytest.fixture
def shown(monkeypatch):
    """Captions of the tables that are shown."""
    captions = []
    monkeypatch.setattr(page, "show_tables", lambda tables, **_: captions.extend(tables))
    return captions


@pytest.fixture
def asked(tmp_path):
    """Values of all forms for the film."""
    return values(tmp_path)


def values(tmp_path):
    overrides = {
        "microscope": {"microscope": str(film(tmp_path))},
        "event": {"event_classes": "metaphase", "n_frames": 2},
        "action": {"burst_frames": 3, "burst_interval": 300, "z_slices": 1, "centre": False},
    }
    return default_values("smart_microscopy", overrides)


def opened(asked):
    scope = page.open_scope(asked["microscope"])
    protocol = page.plan(scope, asked)
    finder = Finder(scope.channels[0], Bright(PIXEL), diameter_um=10)
    return scope, protocol, finder


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """An experiment that is over: forms, microscope, protocol, watcher and folder."""
    folder = tmp_path_factory.mktemp("film")
    asked = values(folder)
    scope, protocol, finder = opened(asked)
    watcher = page.dry_run(scope, protocol, finder, 20.0, True, folder / "experiment")
    assert not (folder / "experiment").exists()
    page.observe(scope, protocol, watcher, folder / "experiment", "stop")
    return asked, scope, protocol, watcher, folder / "experiment"


def test_an_experiment_from_the_forms_to_the_report(ran, shown, capsys):
    asked, scope, protocol, watcher, folder = ran
    events = pd.read_csv(folder / "events.csv")
    assert events["class"].tolist() == ["metaphase"]
    assert events["time_s"].iloc[0] >= 4 * 300
    assert tifffile.imread(folder / events["file"][0]).shape[-2:] == (SIDE, SIDE)
    report = page.conclude(scope, protocol, watcher, folder, "", asked).read_text(encoding="utf-8")
    assert "by your marks" not in report  # nobody has looked yet
    report = page.conclude(scope, protocol, watcher, folder, "none", asked).read_text(encoding="utf-8")
    assert "1 of 1" in report
    assert "A film was replayed" in report
    said = " ".join(capsys.readouterr().out.split())
    assert "1 event and 0 divisions in 0 h" in said
    assert "light was neither spent nor saved" in said
    page.list_files(folder, watcher)
    tracks = pd.read_csv(folder / "tracks.csv")
    assert len(tracks) == 4 * tracks["survey"].nunique()
    assert set(tracks["class_of_track"]) == {"interphase", "metaphase"}
    assert any(caption.startswith("Files in") for caption in shown)


def test_light_is_told_up_to_the_end(ran):
    folder = ran[-1]
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    (light_ms, whole_ms), until_s = page._light(folder)
    assert light_ms == sum(state["dose_ms"].values()) <= whole_ms
    assert until_s == pytest.approx(FRAMES * 300, abs=1)


def test_a_film_is_followed_at_its_own_pace(asked):
    asked["microscope"]["time_step"], asked["survey"]["survey_interval"] = 12.0, 3.0
    _, protocol, _ = opened(asked)
    assert protocol.survey.interval_s == 720  # phases may have passed between two frames
    asked["survey"]["survey_interval"] = 24.0
    assert opened(asked)[1].survey.interval_s == 1440


def test_what_counts_as_mitosis_entry_and_what_does_not():
    before = ["prophase", "prometaphase", "metaphase"]
    assert list(page.phases_meant(["prometaphase", "metaphase"])) == before
    assert list(page.phases_meant(before)) == before
    for others in (["metaphase"], ["earlyana", "lateana"], ["metaphase", "earlyana"]):
        assert list(page.phases_meant(others)) == others


def test_no_event_no_burst(tmp_path):
    nothing = pd.DataFrame(columns=EVENT_COLUMNS)
    assert figures.shown_bursts(tmp_path, nothing)["event"].tolist() == []
    assert "no burst" in str([one.get_text() for one in figures.burst_montage(tmp_path, nothing).texts])


def test_divisions_are_cells_that_are_parents_however_often_their_daughters_were_seen(tmp_path):
    assert page._divided(tmp_path) == 0
    parents = [0, 0, 0, 1, 1, 1, 1, 2]
    rows = pd.DataFrame({"parent": parents, "track": [1, 2, 3, 4, 5, 4, 5, 6], "label": [1, 2, 3, 1, 2, 1, 2, 3]})
    survey = [0, 0, 0, 1, 1, 2, 2, 2]
    append_rows(tmp_path / TRACKS, rows.assign(survey=survey, time_s=0.0, position="A", beside=0))
    assert page._divided(tmp_path) == 2


def test_cells_are_counted_also_where_there_were_none(tmp_path):
    looked = [(0, "1"), (0, "B"), (1, "1"), (1, "B"), (2, "1")]
    pd.DataFrame(looked, columns=["survey", "position"]).to_csv(tmp_path / SURVEYS, index=False)
    assert page._counted(tmp_path, ["1", "B", "C"])["most"].tolist() == [0, 0]
    rows = pd.DataFrame({"survey": [0, 0, 2], "position": "1", "track": [1, 2, 1], "label": [1, 2, 1]})
    append_rows(tmp_path / TRACKS, rows.assign(time_s=0.0, parent=0, beside=0))
    assert page._counted(tmp_path, ["1", "B", "C"]).to_numpy().tolist() == [["1", 3, 2, 1, 0, 2], ["B", 2, 0, 0, 0, 0]]


def test_marks_say_which_bursts_are_wrong(ran, shown):
    asked, scope, protocol, watcher, folder = ran
    page.conclude(scope, protocol, watcher, folder, "1", asked)
    assert "0 of 1" in (folder / "report.html").read_text(encoding="utf-8")
    for wrong in ("7", "one"):
        with pytest.raises(DataError, match="no number of an event"):
            page.conclude(scope, protocol, watcher, folder, wrong, asked)


def test_running_the_cell_again_goes_on_and_changes_nothing(ran, capsys):
    _, scope, protocol, watcher, folder = ran
    events, tracks = (folder / "events.csv").read_bytes(), read_tracks(folder / TRACKS)
    page.observe(scope, protocol, watcher, folder, "stop")
    assert (folder / "events.csv").read_bytes() == events
    pd.testing.assert_frame_equal(read_tracks(folder / TRACKS), tracks)
    assert "The film is at its end" in capsys.readouterr().out


def test_a_dry_run_without_light(ran, shown, capsys, monkeypatch, tmp_path):
    _, scope, protocol, watcher, folder = ran
    monkeypatch.setattr(scope, "snap", None)  # it would be called
    page.dry_run(scope, protocol, watcher.finder, 20.0, False, tmp_path)
    assert "no survey yet, and nothing was lit" in " ".join(capsys.readouterr().out.split())
    page.dry_run(scope, protocol, watcher.finder, 20.0, False, folder)
    assert shown == ["How many cells would be filmed, by the least probability that is asked for"]


def test_counting_only_takes_no_model(asked, tmp_path, shown):
    asked["event"]["event_classes"] = ""
    scope, protocol, _ = opened(asked)
    finder = page.find_with(scope, protocol, asked["event"] | {"cell_diameter": 10.0})
    watcher = page.dry_run(scope, protocol, finder, 20.0, True, tmp_path / "none")
    folder = page.observe(scope, protocol, watcher, tmp_path / "counted", "stop")
    tracks = read_tracks(folder / TRACKS)
    assert len(tracks) == 4 * tracks["survey"].nunique() >= 4 * FRAMES
    page.conclude(scope, protocol, watcher, folder, "", asked)
    page.list_files(folder, watcher)
    assert {"How many cells were found", "How many cells were counted"} <= set(shown)


def test_what_the_film_lacks_is_said_before_anything_is_looked_at(asked):
    scope = page.open_scope(asked["microscope"])
    asked["survey"] |= {"survey_channels": "GFP", "grid_columns": 2}
    with pytest.raises(FormError, match="no channel 'GFP'.*one place only"):
        page.plan(scope, asked)


def test_that_films_light_the_next_field_too_is_said(asked):
    _, protocol, _ = opened(asked)

    def told(centre, positions):
        action, limits = replace(protocol.action, centre=centre), replace(protocol.limits, dose_ms=20_000.0)
        survey = replace(protocol.survey, positions=protocol.survey.positions * positions)
        words = page._in_words(replace(protocol, survey=survey, action=action, limits=limits)).set_index("what")
        return words.loc["Light on a field", "how"]

    assert told(False, 2) == told(True, 1) == "20 s"
    assert "20 s, plus what films centred on cells" in told(True, 2)


def test_nuclei_are_looked_at_where_no_channel_is_chosen():
    assert page._nuclei_first(["Cytoplasm", "H2B"]) == ["H2B", "Cytoplasm"]
    assert page._nuclei_first(["Cy5", "DAPI", "FITC"])[0] == "DAPI"
    assert page._nuclei_first(["recorded"]) == ["recorded"]


def test_a_model_without_the_class_that_is_waited_for(asked, tmp_path):
    asked["event"]["event_classes"] = "spindle"
    scope, protocol, finder = opened(asked)
    with pytest.raises(ModelError, match="'spindle'"):
        page.dry_run(scope, protocol, finder, 20.0, True, tmp_path)


def test_a_film_whose_pixels_nobody_knows(tmp_path, asked):
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, np.zeros((3, 32, 32), np.uint16), imagej=True, metadata={"axes": "TYX", "finterval": 60.0})
    with pytest.raises(FormError, match="pixel_size"):
        page.open_scope(asked["microscope"] | {"microscope": str(path)})
    assert page.open_scope(asked["microscope"] | {"microscope": str(path), "pixel_size": 0.5}).pixel_size_um == 0.5


def test_the_legend_of_a_survey_with_every_class_lies_within_the_figure():
    labels = np.arange(1, 101).repeat(64).reshape(80, 80)
    cells = pd.DataFrame({"label": np.arange(1, 101), "smoothed_class": np.resize(NAMES, 100)})
    image = np.random.default_rng(0).integers(0, 999, (80, 80)).astype(np.uint16)
    survey = Survey(0, 0.0, Position("A", 0, 0), PIXEL, {"H2B": image})
    figure = figures.survey_figure(survey, cells, labels, CLASSES)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert len(legend.get_texts()) == len(NAMES)
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert 0 <= box.y0 < box.y1 < figure.axes[0].get_window_extent().y0


def test_the_width_of_a_pixel_that_is_typed_is_that_of_the_microscope_but_not_of_the_culture(asked, monkeypatch, shown):
    class Told(Scope):
        def describe(self):
            return pd.DataFrame()

    monkeypatch.setattr(page, "open_microscope", lambda *_, **__: Told())
    values = asked["microscope"] | {"microscope": "Micro-Manager demo"}
    for says, typed, expected in ((1.0, 0.0, 1.0), (1.0, 0.5, 0.5), (0.0, 0.5, 0.5)):
        monkeypatch.setattr(Told, "pixel_size_um", says)
        assert page.open_scope(values | {"pixel_size": typed}).pixel_size_um == expected
    monkeypatch.setattr(Told, "pixel_size_um", 0.36)
    assert page.open_scope(values | {"microscope": "", "pixel_size": 0.5}).pixel_size_um == 0.36


def test_bursts_are_cut_around_the_cell(tmp_path):
    """The stage stood at x 100, y 50 um; the cell 10 um to the right of it."""
    frames = np.zeros((3, 2, 1, 100, 120), np.uint16)
    frames[..., 50, 80] = 7  # 20 pixels of 0.5 um right of the middle
    name = tmp_path / "b.ome.tif"
    planes = {"PositionX": [100.0] * 6, "PositionY": [50.0] * 6}
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Plane": planes}
    tifffile.imwrite(name, frames, metadata=metadata)
    crops = figures.burst_crops(name, 110.0, 50.0)
    assert [crop.shape for crop in crops] == [(60, 60)] * 3
    assert np.argwhere(crops[0] == 7).tolist() == [[30, 30]]
    events = pd.DataFrame(
        {"event": [1, 2], "frames": [3, 0], "file": ["b.ome.tif", None], "class": "metaphase", "probability": 0.9}
    ).assign(x_um=110.0, y_um=50.0)
    assert len(figures.burst_montage(tmp_path, events, {1: "really: metaphase"}).axes) == 3
    assert len(figures.burst_montage(tmp_path, events.iloc[1:]).axes) == 0
