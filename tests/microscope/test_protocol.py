"""From the forms of the notebook to a protocol, and what a microscope lacks for it."""

from dataclasses import replace

import pytest

from tests.notebook_forms import default_values
from utils.errors import FormError
from utils.microscope.protocol import (
    CLEAR,
    Acting,
    Channel,
    Limits,
    Looking,
    Position,
    Protocol,
    grid,
    lacking,
    positions_of,
    protocol_of,
)

FIELD = (300.0, 400.0)
CHANNELS = ["H2B", "Cytoplasm"]
USUAL = Protocol(
    Looking((Channel("H2B", 20.0),), 300.0, (Position("A1", 0.0, 0.0),)),
    action=Acting((Channel("H2B", 100.0),), 10, 30.0, 3, 1.0),
    limits=Limits(x_um=(-500, 500), y_um=(-500, 500), z_um=(-10, 10)),
)


def asked(**overrides) -> Protocol:
    return protocol_of(default_values("smart_microscopy", overrides), CHANNELS, FIELD)


def test_the_usual_protocol_waits_for_mitosis():
    protocol = asked()
    assert protocol.event.classes == CLEAR
    assert [one.name for one in protocol.survey.channels] == ["H2B"] == [one.name for one in protocol.action.channels]
    assert protocol.action.frames > 0
    assert lacking(protocol, CHANNELS) == []


def test_presets():
    assert asked(event={"preset": "anaphase"}).event.classes == ("earlyana", "lateana")
    counted = asked(event={"preset": "count only"})
    assert (counted.event.classes, counted.action.frames) == ((), 0)


def test_values_of_the_forms():
    protocol = asked(
        survey={"survey_channels": "Cytoplasm, H2B", "survey_interval": 2, "grid_rows": 2, "grid_columns": 2},
        action={"burst_channels": "H2B", "burst_exposure": 50},
        limits={"duration": 8, "light_per_field": 0, "disk": 100},
        event={"smallest_area": 20, "largest_area": 400},
        microscope={"stage_range": 250, "focus_range": 5},
    )
    assert [one.name for one in protocol.survey.channels] == ["Cytoplasm", "H2B"]
    assert protocol.survey.interval_s == 120
    assert protocol.action.channels == (Channel("H2B", 50),)
    assert protocol.event.size_um2 == (20, 400)
    limits = protocol.limits
    assert (limits.duration_s, limits.dose_ms, limits.disk_mb) == (28800, float("inf"), 100)
    assert (limits.x_um, limits.z_um) == ((-250, 250), (-5, 5))
    assert len(protocol.survey.positions) == 4


@pytest.mark.parametrize("text", ["0", "1, 2, 3, 4", "a, b", "0, nan", "0 0"])
def test_positions_that_cannot_be_read(text):
    with pytest.raises(FormError, match="needs x, y in um"):
        positions_of(text)
    with pytest.raises(FormError):
        asked(survey={"positions": text})


def test_positions_of_a_text_go_before_the_grid():
    assert positions_of(" 0, 0 ;; 5, -6.5, 2;") == (Position("1", 0, 0), Position("2", 5, -6.5, 2))
    assert asked(survey={"positions": "5, 6", "grid_rows": 3}).survey.positions == (Position("1", 5, 6),)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (3, 2), (30, 2)])
def test_a_grid_lies_around_the_middle_without_gaps(rows, columns):
    places = grid(rows, columns, FIELD)
    assert len({one.name for one in places}) == rows * columns
    assert sum(one.x_um for one in places) == pytest.approx(0)
    assert sum(one.y_um for one in places) == pytest.approx(0)
    for one, after in zip(places, places[1:], strict=False):  # each step goes to a neighbour
        assert sorted([abs(one.x_um - after.x_um), abs(one.y_um - after.y_um)]) in ([0, 300], [0, 400])


def test_areas_that_contradict_each_other():
    with pytest.raises(FormError, match="largest_area"):
        asked(event={"smallest_area": 100, "largest_area": 50})


def test_what_is_missing_is_said_before_anything_moves():
    other = replace(USUAL, survey=replace(USUAL.survey, channels=(Channel("GFP", 20.0),)))
    (said,) = lacking(other, CHANNELS)
    assert "no channel 'GFP'" in said
    assert "H2B, Cytoplasm" in said
    far = replace(USUAL, survey=replace(USUAL.survey, positions=(Position("B7", 0.0, 900.0),)))
    assert "Position B7 lies at y = 900 um, outside the limits -500 to 500 um" in lacking(far, CHANNELS)[0]
    deep = replace(USUAL, action=replace(USUAL.action, z_slices=41))
    assert "reach 20 um" in lacking(deep, CHANNELS)[0]
    slow = replace(USUAL, action=replace(USUAL.action, interval_s=0.1))
    assert "takes 0.3 s of light" in lacking(slow, CHANNELS)[0]
    two = replace(USUAL, survey=replace(USUAL.survey, positions=grid(1, 2, FIELD)))
    assert lacking(two, CHANNELS) == []
    assert "one place only" in lacking(two, CHANNELS, moves=False)[0]
    assert lacking(USUAL, CHANNELS) == []
