"""A microscope: what is found, limits before anything moves, light only while the camera exposes, faults in words."""

import _thread
import math
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.microscope.tiny_core import COLUMNS, ROWS, TinyCore, raised_by, tiny_microscope
from utils.errors import MicroscopeError
from utils.microscope import scope
from utils.microscope.opening import DEMO, SIMULATED, open_microscope
from utils.microscope.protocol import Channel, Limits, Position
from utils.microscope.scope import FrameError, LightError, Microscope, StageError
from utils.paths import ROOT

GREEN = Channel("green", 10)


def found(microscope):
    return dict(microscope.describe().to_numpy())


def test_the_simulated_culture_is_a_microscope_like_any_other():
    with open_microscope(SIMULATED, seed=2, size_um=300) as microscope:
        parts = found(microscope)
        assert parts["Camera"] == "Camera, 1024 x 1024 pixels"
        assert parts["Pixel size"] == "0.36 um"
        assert parts["Channels"] == "Cytoplasm, H2B"
        assert parts["Light"] == "Lamp"
        microscope.move(Position("A", 10, -5, 1))
        frame = microscope.snap(Channel("H2B", 50))
        assert (frame.shape, frame.dtype, microscope.dark()) == ((1024, 1024), np.uint16, True)
        assert microscope.culture.cells["dose"].max() == 50
        microscope.begin(lambda: 7200.0)
        assert np.corrcoef(frame.ravel(), microscope.snap(Channel("H2B", 50)).ravel())[0, 1] < 0.95
        assert microscope.truth().time_s.max() == pytest.approx(7200, abs=600)
        with pytest.raises(FrameError, match="is saturated"):
            microscope.snap(Channel("H2B", 1e6))
        assert microscope.dark()


def test_micro_managers_demo_is_one_too():
    with open_microscope(DEMO) as microscope:
        parts = found(microscope)
        assert parts["Channels"] == "Cy5, DAPI, FITC, Rhodamine"
        assert "White Light Shutter" in parts["Light"]
        assert microscope.snap(Channel("FITC", 5)).shape == microscope.shape == (512, 512)
        assert microscope.dark()
        microscope.move(Position("A", 3, 4, 0.5))
        assert np.allclose(np.subtract(microscope.stands(), microscope.origin), (3, 4, 0.5), atol=0.05)


def test_a_dark_frame_of_the_simulated_camera_counts_no_light():
    microscope = open_microscope(SIMULATED, size_um=300)
    microscope.core.snapImage()  # the lamp is off
    assert microscope.core.getImage().max() < 130
    assert microscope.culture.cells["dose"].max() == 0


@pytest.mark.parametrize("error", [RuntimeError("sensor"), MemoryError(), KeyboardInterrupt()])
def test_a_simulated_camera_that_fails_leaves_its_lamp_off(error, monkeypatch):
    microscope = open_microscope(SIMULATED, size_um=100)

    def fails(*_):
        assert microscope.eye.lamp.on
        raise error

    monkeypatch.setattr(microscope.culture, "image", fails)
    with pytest.raises(FrameError):
        microscope.snap(Channel("H2B", 5))
    assert not microscope.eye.lamp.on


CONFIGURATIONS = {
    "adapter that is not there": "Device,Camera,NoSuchAdapter,DCam\nProperty,Core,Initialize,1\n",
    "device that is not there": "Device,Camera,DemoCamera,NoSuchDevice\nProperty,Core,Initialize,1\n",
    "property that is not there": "Device,Eye,DemoCamera,DCam\nProperty,Core,Initialize,1\nProperty,Eye,Wings,2\n",
    "half a line": "Device,Camera\n",
    "no text": b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x00",
    "nothing": "",
    "no camera": "Device,XY,DemoCamera,DXYStage\nProperty,Core,Initialize,1\nProperty,Core,XYStage,XY\n",
    "another file": "name,value\nexposure,10\n",
}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_configuration_that_does_not_load_is_one_sentence(kind, tmp_path):
    text = CONFIGURATIONS[kind]
    path = tmp_path / "mine.cfg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MicroscopeError, match="mine.cfg (could not be loaded|has no camera)"):
        open_microscope(str(path))


@pytest.mark.parametrize("name", ["nowhere.cfg", "folder.cfg", "nowhere"])
def test_a_configuration_that_is_not_there(name, tmp_path):
    (tmp_path / "folder.cfg").mkdir()
    with pytest.raises(MicroscopeError, match="There is n(o|either a) configuration file"):
        open_microscope(str(tmp_path / name))


def test_a_configuration_with_a_camera_alone_is_enough(tmp_path):
    path = tmp_path / "camera.cfg"
    path.write_text("Device,Eye,DemoCamera,DCam\nProperty,Core,Initialize,1\nProperty,Core,Camera,Eye\n")
    with open_microscope(str(path)) as microscope:
        parts = found(microscope)
        assert parts["Stage"].startswith("none")
        assert "cannot switch the light off" in parts["Light"]
        assert microscope.channels == [scope.ONLY]
        assert microscope.snap(Channel(scope.ONLY, 5)).ndim == 2
        microscope.move(Position("here", 0, 0))
        with pytest.raises(StageError, match="no stage"):
            microscope.move(Position("there", 5, 0))
        with pytest.raises(StageError, match="no motor"):
            microscope.move(Position("up", 0, 0, 2))


@pytest.mark.parametrize("axis", ["x_um", "y_um", "z_um"])
@pytest.mark.parametrize("value", [-11, 11, math.nan, math.inf])
def test_nothing_moves_beyond_the_limits(axis, value):
    microscope, core = tiny_microscope(limits=Limits(x_um=(-10, 10), y_um=(-10, 10), z_um=(-10, 10)))
    place = {"x_um": 1.0, "y_um": 1.0, "z_um": 1.0, axis: value}
    with pytest.raises(StageError, match="outside the limits"):
        microscope.move(Position("far", **place))
    assert core.visited == []
    microscope.move(Position("edge", 10, -10, 10))
    assert core.visited[-1] == (510.0, -210.0, 40.0)  # counted from where it stood


def test_a_stage_that_stops_on_its_way_has_refused():
    microscope, core = tiny_microscope()
    core.setXYPosition = lambda device, x, y: None
    with pytest.raises(StageError, match=r"stopped 25 um away"):
        microscope.move(Position("A", 25, 0))


def test_a_stage_that_says_no_has_refused():
    def fault(name, _):
        if name == "setPosition":
            raise RuntimeError("Limit switch")

    microscope, _ = tiny_microscope(fault)
    with pytest.raises(StageError, match="Limit switch"):
        microscope.move(Position("A", 0, 0, 1))


FRAMES = {
    "black": (np.zeros((ROWS, COLUMNS), np.uint16), "is black: all pixels are 0"),
    "even": (np.full((ROWS, COLUMNS), 104, np.uint16), "is black: all pixels are 104"),
    "full": (np.full((ROWS, COLUMNS), 65535, np.uint16), r"is saturated \(100 %"),
    "colour": (np.ones((ROWS, COLUMNS, 3), np.uint8), "no grey image"),
    "empty": (np.ones((0, 0), np.uint16), "no grey image"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_that_shows_nothing_is_refused_with_the_light_off(kind):
    frame, says = FRAMES[kind]
    microscope, core = tiny_microscope()
    core.picture = lambda _: frame
    with pytest.raises(FrameError, match=says):
        microscope.snap(GREEN)
    assert microscope.dark()


def test_some_saturated_pixels_are_told():
    microscope, core = tiny_microscope()
    good = core.picture(core)
    microscope.snap(GREEN)
    assert microscope.remark == ""
    core.picture = lambda _: np.where(good > 800, 65535, good).astype(np.uint16)
    microscope.snap(GREEN)
    assert "% saturated pixels: expose for a shorter time" in microscope.remark


def test_a_camera_that_does_not_answer_is_left_and_the_light_is_off(monkeypatch):
    monkeypatch.setattr(scope, "ANSWER_S", 0.05)
    microscope, core = tiny_microscope()
    answers = threading.Event()
    core.snapImage = lambda: answers.wait(20)
    with pytest.raises(FrameError, match="did not answer"):
        microscope.snap(GREEN)
    assert not core.lit
    with pytest.raises(FrameError, match="still does not answer"):
        microscope.snap(GREEN)
    answers.set()
    microscope._waiting.join()
    assert not core.lit
    core.snapImage = lambda: None
    assert microscope.snap(GREEN).shape == (ROWS, COLUMNS)


def test_an_exposure_that_was_given_up_lights_nothing_later(monkeypatch):
    """A wheel of filters hangs, is taken for dead, and comes to life while the stage is elsewhere."""
    monkeypatch.setattr(scope, "ANSWER_S", 0.05)
    microscope, core = tiny_microscope()
    turns, switched, plain = threading.Event(), [], core.setShutterOpen
    core.waitForConfig = lambda *_: turns.wait(20)
    core.setShutterOpen = lambda device, on: switched.append(on) or plain(device, on)
    with pytest.raises(FrameError, match="did not answer"):
        microscope.snap(GREEN)
    turns.set()
    microscope._waiting.join()
    assert True not in switched
    assert microscope.snap(GREEN).shape == (ROWS, COLUMNS)
    assert not core.lit


@pytest.mark.parametrize("channel", [Channel("blue", 10), Channel("green", 0), Channel("green", math.nan)])
def test_what_cannot_be_exposed_is_refused_before_the_light_is_on(channel):
    microscope, core = tiny_microscope()
    with pytest.raises(MicroscopeError):
        microscope.snap(channel)
    assert core.exposed == 0


@pytest.mark.parametrize("error", [RuntimeError("cable"), KeyboardInterrupt(), SystemExit(), MemoryError()])
def test_the_light_is_off_whatever_fails_at_any_call(error):
    calls = [0]

    def fault(name, number):
        if number == calls[0]:
            raise error

    for calls[0] in range(1, 40):
        microscope, core = tiny_microscope(fault)
        raised = raised_by(lambda: (microscope.move(Position("A", 1, 2, 3)), microscope.snap(GREEN)))  # noqa: B023
        assert not isinstance(raised, AssertionError), raised
        done = core.calls
        assert not core.lit, calls[0]
    assert done < 40  # every call was one that failed


def test_a_shutter_that_does_not_close_is_said():
    microscope, core = tiny_microscope()
    real = core.setShutterOpen
    core.setShutterOpen = lambda device, on: real(device, True)
    with pytest.raises(LightError, match="Switch the lamp off by hand"):
        microscope.snap(GREEN)
    core.setShutterOpen = real
    microscope.darken()


def test_a_shutter_that_closes_at_the_second_try_is_closed():
    microscope, core = tiny_microscope()
    real, tries = core.setShutterOpen, []

    def stubborn(device, on):
        tries.append(on)
        if len(tries) in (2, 3):
            raise RuntimeError("busy")
        real(device, on)

    core.setShutterOpen = stubborn
    with pytest.raises(FrameError):  # closing failed after the exposure, then it went well
        microscope.snap(GREEN)
    assert not core.lit


def test_the_stop_button_in_mid_exposure_waits_for_its_end():
    microscope, core = tiny_microscope()
    core.snapImage = lambda: time.sleep(0.3)
    threading.Timer(0.1, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        microscope.snap(GREEN)
    assert not core.lit
    assert not microscope._waiting.is_alive()


def test_a_closed_microscope_lights_nothing_more():
    microscope, core = tiny_microscope()
    with microscope:
        pass
    with pytest.raises(MicroscopeError, match="was closed"):
        microscope.snap(GREEN)
    assert core.exposed == 0


def test_a_lamp_that_was_left_on_is_switched_off_at_the_start(tmp_path):
    lamp = tmp_path / "lamp.txt"
    lamp.write_text("on")
    Microscope(TinyCore(lamp=lamp), Limits(), "tiny")
    assert lamp.read_text() == "off"


def test_the_end_of_the_program_switches_the_light_off(tmp_path):
    code = (
        "import sys, threading, time; from pathlib import Path; from tests.microscope.tiny_core import *;"
        f"m, core = tiny_microscope(lamp=Path({str(tmp_path / 'lamp.txt')!r}));"
        "core.snapImage = lambda: time.sleep(60);"
        "threading.Thread(target=lambda: m.snap(Channel('green', 60000)), daemon=True).start(); time.sleep(0.5);"
        "assert core.getShutterOpen('Lamp'); sys.exit()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert (tmp_path / "lamp.txt").read_text() == "off"


def test_doses_count_the_power_of_a_channel():
    microscope = Microscope(TinyCore(), Limits(), "tiny", power={"green": 0.25})
    assert microscope.dose(GREEN) == 2.5
    assert microscope.dose(Channel("red", 10)) == 10


def test_nothing_of_micro_manager_is_loaded_before_it_is_needed():
    code = "import sys, utils.microscope.run, utils.microscope.opening; sys.exit('pymmcore_plus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
