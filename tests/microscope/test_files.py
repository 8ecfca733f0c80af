"""The folder of an experiment: images that other programs read, names that are safe, tables that are whole."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile

from tests.microscope.tiny_core import Fires, tiny_microscope, tiny_protocol
from utils.errors import DataError, MicroscopeError
from utils.images.image import read_image
from utils.microscope import files
from utils.microscope.clock import FakeClock
from utils.microscope.files import EVENTS, NOTES, DiskFull, ExperimentFolder, Taken
from utils.microscope.protocol import Channel, Event, Looking, Position
from utils.microscope.run import run

GREEN, RED = Channel("green", 10), Channel("red", 5)
HERE = Position("A1", 1, 2, 3)
PIXELS = np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30)


@pytest.fixture
def folder(tmp_path):
    made = ExperimentFolder(tmp_path / "e")
    made.begin(tiny_protocol())
    return made


def test_a_survey_is_read_by_the_other_notebooks_with_its_pixel_size(folder):
    images = {"green": PIXELS[0], "red": PIXELS[1]}
    name = folder.survey(3, Taken(7.5, HERE, (GREEN, RED), 0.25), images, 30)
    assert name == "surveys/r0003_A1.ome.tif"
    image = read_image(folder.path / name)
    assert (image.axes, image.pixel_size_um) == ("CYX", 0.25)
    assert np.array_equal(np.moveaxis(image.array, -1, 0), PIXELS)
    with tifffile.TiffFile(folder.path / name) as file:
        about = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        assert file.pages[0].predictor == 1  # ImageJ 1.53 shows noise where it is another
    plane = about["Pixels"]["Plane"][1]
    assert (plane["DeltaT"], plane["ExposureTime"], plane["PositionX"], plane["PositionZ"]) == (7.5, 5, 1, 3)
    assert [one["Name"] for one in about["Pixels"]["Channel"]] == ["green", "red"]
    folder.save({})
    row = pd.read_csv(folder.path / "surveys.csv").iloc[0]
    assert (row.survey, row.position, row.dose_ms, row.file) == (3, "A1", 30, name)


def test_without_a_pixel_size_none_is_said(folder):
    name = folder.survey(0, Taken(0, HERE, (GREEN,), 0.0), {"green": PIXELS[0]}, 0)
    image = read_image(folder.path / name)
    assert image.pixel_size_um is None
    assert np.array_equal(image.array[..., 0], PIXELS[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_stay_as_they_are(folder, dtype):
    pixels = np.random.default_rng(0).uniform(0, 250, (20, 30)).astype(dtype)
    name = folder.survey(0, Taken(0, HERE, (GREEN,), 0.5), {"green": pixels}, 0)
    stored = tifffile.imread(folder.path / name)
    assert stored.dtype == dtype
    assert np.array_equal(stored, pixels)


@pytest.mark.parametrize(
    "names", [("A 1", "A-1", "A/1"), ("..", "."), ("Ä" * 200, "Ä" * 199), ("", " "), ("a", "A\\..\\x")]
)
def test_odd_names_of_positions_are_files_of_their_own_in_the_folder(tmp_path, names):
    places = tuple(Position(name, i, 0) for i, name in enumerate(names))
    protocol = tiny_protocol(survey=Looking((GREEN,), 60.0, places))
    microscope, _ = tiny_microscope(limits=protocol.limits)
    run(microscope, protocol, Fires((1,)), tmp_path / "e", FakeClock())
    inside = sorted(path.relative_to(tmp_path / "e").parts[0] for path in tmp_path.rglob("*.tif"))
    assert set(inside) == {"surveys", "bursts"}
    assert len(list((tmp_path / "e" / "surveys").iterdir())) == 10 * len(names)
    assert len(list((tmp_path / "e" / "bursts").iterdir())) == pd.read_csv(tmp_path / "e" / "events.csv").file.nunique()


def test_two_positions_of_one_name_are_refused(tmp_path):
    protocol = tiny_protocol(survey=Looking((GREEN,), 60.0, (HERE, Position("A1", 9, 9))))
    with pytest.raises(MicroscopeError, match="Several positions are called A1"):
        ExperimentFolder(tmp_path).begin(protocol)


def test_a_row_is_added_once_and_changed_later(folder):
    event = Event(1, 5.0, HERE, 7, 1.0, 2.0, "metaphase", 0.9)
    folder.event(event, {"complete": "partly"})
    folder.event(event, {"complete": "yes", "frames": 3})
    folder.event(Event(2, 9.0, HERE, 7, 1.0, 2.0, "metaphase", 0.8), {"complete": "no"})
    folder.note(1.5, "A1", 'a "quoted", note\nof two lines')
    folder.save({"round": 2})
    again = ExperimentFolder(folder.path)
    for one in (folder, again):
        assert one.table(EVENTS)[["event", "survey", "complete"]].to_numpy().tolist() == [[1, 1, "yes"], [2, 2, "no"]]
        assert one.table(NOTES).what.tolist() == ['a "quoted", note\nof two lines']
    again.event(event, {"complete": "lost"})
    assert again.table(EVENTS).complete.tolist() == ["lost", "no"]
    assert again.begin(tiny_protocol()) == {"round": 2}


def test_frames_of_a_burst_that_was_never_joined_are_found(folder):
    taken = Taken(0.0, HERE, (GREEN, RED), 0.5, 1.0, 20.0)
    folder.begin_burst("bursts/b0007_A1_cell3.ome.tif", taken)
    assert folder.unfinished() == ["bursts/b0007_A1_cell3.ome.tif"]
    assert folder.join("bursts/b0007_A1_cell3.ome.tif") == 0
    assert not (folder.path / "bursts" / "b0007_A1_cell3").exists()
    assert folder.unfinished() == []


def test_a_full_disk_leaves_nothing_half_written(folder, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e6})())
    with pytest.raises(DiskFull, match="the disk is full. Free some space"):
        folder.survey(0, Taken(0, HERE, (GREEN,), 0.5), {"green": PIXELS[0]}, 0)
    assert not list(folder.path.rglob("*.tif"))


def test_what_is_there_counts_for_the_limit(tmp_path):
    made = ExperimentFolder(tmp_path, 0.01)
    made.begin(tiny_protocol())
    taken, images = Taken(0, HERE, (GREEN, RED), 0.5), {"green": PIXELS[0], "red": PIXELS[1]}
    with pytest.raises(DiskFull, match="more than 0.01 MB"):
        [made.survey(number, taken, images, 0) for number in range(99)]
    assert 0 < len(list(tmp_path.rglob("*.tif"))) < 10
    with pytest.raises(DiskFull):
        ExperimentFolder(tmp_path, 0.01).image("a.ome.tif", PIXELS, "CYX", taken)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "e").write_text("a file")
    with pytest.raises(DataError):
        ExperimentFolder(tmp_path / "e").begin(tiny_protocol())


def test_the_protocol_is_written_as_it_was_asked_for(folder):
    written = json.loads((folder.path / "protocol.json").read_text())
    assert written["survey"]["positions"][0]["name"] == "A1"
    assert written["limits"]["dose_ms"] is None  # no limit
