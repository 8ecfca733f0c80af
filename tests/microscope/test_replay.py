"""A film in place of a microscope: what files are films, what they say of time and size, and how they are shown."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from tests.microscope.tiny_core import Fires
from utils.errors import DataError, FormError
from utils.microscope.clock import FakeClock
from utils.microscope.files import ExperimentFolder, Taken
from utils.microscope.opening import open_microscope
from utils.microscope.protocol import Acting, Channel, Limits, Looking, Position, Protocol
from utils.microscope.replay import Replay
from utils.microscope.run import run
from utils.microscope.scope import FrameError, StageError

HERE = Position("film", 0, 0)
FRAMES = np.random.default_rng(0).integers(32_768, 34_000, (5, 20, 30), np.uint16)


def imagej(path, frames, axes, **metadata):
    tifffile.imwrite(path, frames, imagej=True, resolution=(2, 2), metadata={"axes": axes, "unit": "um"} | metadata)


def ome(path, frames, axes, **metadata):
    tifffile.imwrite(
        path, frames, ome=True, metadata={"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} | metadata
    )


FILMS = {
    "ImageJ, in seconds": lambda path: imagej(path, FRAMES, "TYX", finterval=120.0, tunit="sec"),
    "ImageJ, in minutes": lambda path: imagej(path, FRAMES, "TYX", finterval=2.0, tunit="min"),
    "ImageJ, two channels": lambda path: imagej(path, np.stack([FRAMES, FRAMES - 9], 1), "TCYX", finterval=120.0),
    "ImageJ, with slices": lambda path: imagej(
        path, np.stack([FRAMES + 3, FRAMES, FRAMES + 1], 1), "TZYX", finterval=120.0
    ),
    "OME": lambda path: ome(path, FRAMES, "TYX", TimeIncrement=120, TimeIncrementUnit="s"),
    "OME, in minutes": lambda path: ome(path, FRAMES, "TYX", TimeIncrement=2, TimeIncrementUnit="min"),
    "OME, planes with times": lambda path: ome(path, FRAMES, "TYX", Plane={"DeltaT": [120.0 * i for i in range(5)]}),
}


@pytest.mark.parametrize("kind", FILMS)
def test_a_film_says_its_step_and_size_and_is_shown_by_the_clock(kind, tmp_path):
    FILMS[kind](tmp_path / "film.tif")
    film, now = Replay(tmp_path / "film.tif"), [0.0]
    film.begin(lambda: now[0])
    assert (film.frames, film.step_s, film.shape, film.pixel_size_um) == (5, 120.0, (20, 30), 0.5)
    for now[0], number in ((0, 0), (119, 0), (120, 1), (361, 3), (10_000, 4)):
        assert np.array_equal(film.snap(Channel(film.channels[0], 50)), FRAMES[number]), now
    assert [film.is_over(time_s) for time_s in (0, 599, 600)] == [False, False, True]
    assert film.dark()


def test_two_channels_are_two(tmp_path):
    FILMS["ImageJ, two channels"](tmp_path / "film.tif")
    film = Replay(tmp_path / "film.tif")
    assert film.channels == ["channel 1", "channel 2"]
    assert np.array_equal(film.snap(Channel("channel 2", 1)), FRAMES[0] - 9)
    with pytest.raises(FormError, match="no channel GFP. It has channel 1, channel 2"):
        film.snap(Channel("GFP", 1))


def test_a_folder_is_a_film_in_the_order_of_numbers(tmp_path):
    for number in (10, 2, 1, 9, 3):
        tifffile.imwrite(tmp_path / f"t{number}.tif", FRAMES[[1, 2, 3, 9, 10].index(number)])
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FormError, match="how much time lies between"):
        Replay(tmp_path)
    film, now = Replay(tmp_path, 60, 0.3), [0.0]
    film.begin(lambda: now[0])
    assert film.pixel_size_um == 0.3
    for now[0] in range(0, 300, 60):
        assert np.array_equal(film.snap(Channel("recorded", 1)), FRAMES[now[0] // 60])


def test_a_stack_that_does_not_say_what_it_stacks_is_a_film(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", FRAMES)
    assert open_microscope(str(tmp_path / "plain.tif"), step_s=60).frames == 5
    imagej(tmp_path / "slices.tif", FRAMES, "ZYX")
    assert Replay(tmp_path / "slices.tif", 60).frames == 5


BAD = {
    "one image": (lambda path: tifffile.imwrite(path, FRAMES[0]), "single image"),
    "no image": (lambda path: path.write_bytes(b"no film"), "film.tif"),
    "cut off": (lambda path: (imagej(path, FRAMES, "TYX"), path.write_bytes(path.read_bytes()[:900])), "film.tif"),
    "nothing": (lambda path: path.mkdir(), "holds no image"),
    "five dimensions": (lambda path: tifffile.imwrite(path, FRAMES.reshape(5, 2, 2, 5, 30)), "film.tif"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_film_is_said(kind, tmp_path):
    make, says = BAD[kind]
    make(tmp_path / "film.tif")
    with pytest.raises((DataError, FrameError), match=says):
        Replay(tmp_path / "film.tif", 60).snap(Channel("recorded", 1))


def test_a_film_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no film"):
        Replay(tmp_path / "nowhere.tif")


def test_frames_of_another_size_are_noted_when_they_come(tmp_path):
    tifffile.imwrite(tmp_path / "t1.tif", FRAMES[0])
    tifffile.imwrite(tmp_path / "t2.tif", FRAMES[1][:10])
    film = Replay(tmp_path, 60)
    film.begin(lambda: 60.0)
    with pytest.raises(FrameError, match="Frame 2 of .* another size"):
        film.snap(Channel("recorded", 1))


def test_a_film_shows_one_place(tmp_path):
    FILMS["OME"](tmp_path / "film.tif")
    film = Replay(tmp_path / "film.tif")
    film.move(HERE)
    with pytest.raises(StageError, match="one place"):
        film.move(Position("B", 5, 0))
    assert dict(film.describe().to_numpy())["Film"] == "film.tif, 5 frames, one in 120 s"


def test_an_experiment_on_a_film_ends_with_it_and_its_bursts_are_recorded_frames(tmp_path):
    FILMS["OME"](tmp_path / "film.tif")
    film, moments = Replay(tmp_path / "film.tif"), []
    protocol = Protocol(
        Looking((Channel("recorded", 10),), 30.0, (HERE,)),
        action=Acting((Channel("recorded", 10),), 2, 10.0, 5, 1.0, True),
        limits=Limits(duration_s=36_000),
    )
    run(film, protocol, Fires((1,)), tmp_path / "e", FakeClock(), moments.append)
    surveys, events = (pd.read_csv(tmp_path / "e" / name) for name in ("surveys.csv", "events.csv"))
    assert len(surveys) == 5
    assert moments[-1].text == "The film is at its end."
    burst = tifffile.imread(tmp_path / "e" / events.file[0])
    assert np.array_equal(burst, FRAMES[1:3])


def test_a_burst_of_an_experiment_is_itself_a_film(tmp_path):
    folder, taken = (
        ExperimentFolder(tmp_path),
        Taken(0.0, HERE, (Channel("green", 5), Channel("red", 5)), 0.5, 1.0, 20.0),
    )
    folder.begin_burst("bursts/b.ome.tif", taken)
    for number in range(3):
        folder.frame("bursts/b.ome.tif", number, np.full((1, 2, 20, 30), number, np.uint16), taken)
    assert folder.join("bursts/b.ome.tif") == 3
    film = Replay(tmp_path / "bursts" / "b.ome.tif")
    assert (film.frames, film.step_s, film.pixel_size_um) == (3, 20.0, 0.5)
