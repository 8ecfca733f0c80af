"""Events caught, missed and false, by hand-made truths."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from utils.microscope.judge import cells_at, judge, marked, share, spans
from utils.microscope.light import Light
from utils.microscope.protocol import Acting, Channel, Looking, Position, Protocol
from utils.microscope.scope import Scope

BEFORE = ("prophase", "prometaphase", "metaphase")
HERE = Position("A", 100.0, 200.0)
PROTOCOL = Protocol(
    Looking((Channel("H2B", 20.0),), 300.0, (HERE,)), action=Acting((Channel("H2B", 100.0),), 10, 60.0, z_slices=3)
)
FIELD = (300.0, 300.0)


def cell(number, start, x=100.0, y=200.0, parent=-1, end=None):
    """A cell that divides: prophase at `start` s, anaphase 2,700 s later."""
    times = [0, start, start + 600, start + 1500, start + 2700, start + 3000, start + 3300]
    phases = ["interphase", *BEFORE, "earlyana", "lateana", "telophase"]
    columns = {
        "cell": number,
        "parent": parent,
        "time_s": np.array(times, float),
        "x_um": x,
        "y_um": y,
        "phase": phases,
    }
    return pd.DataFrame(columns)


def quiet(number, x, y=200.0):
    return pd.DataFrame(
        {"cell": number, "parent": -1, "time_s": [0.0, 20000.0], "x_um": x, "y_um": y, "phase": "interphase"}
    )


def events(*rows):
    columns = ["event", "cell", "time_s", "position", "x_um", "y_um", "burst_start_s", "frames"]
    return pd.DataFrame([(i + 1, 50 + i, *row) for i, row in enumerate(rows)], columns=columns)


def judged(truth, told, until=20000.0, phases=BEFORE):
    return judge(PROTOCOL, phases, pd.concat(truth), told, until, FIELD)


def test_caught_missed_and_false():
    truth = [cell(1, 1000), cell(2, 2000, x=150), cell(3, 3000, x=50), quiet(4, 20)]
    told = events(
        (1300, "A", 102, 199, 1310, 10),  # in time
        (4500, "A", 150, 200, 4800, 10),  # seen in time, filmed too late: anaphase began at 4,700
        (5000, "A", 20, 200, 5000, 10),  # interphase
        (5000, "A", 200, 20, 5000, 10),  # no cell
    )
    found = judged(truth, told)
    assert found.true["outcome"].tolist() == ["caught", "missed", "missed"]
    assert found.told["right"].tolist() == [True, True, False, False]
    assert found.told["late"].tolist() == [False, True, False, False]
    assert found.told["phase"].tolist() == ["prophase", "metaphase", "interphase", "no cell"]
    assert found.delay_min.tolist() == pytest.approx([310 / 60])
    table = found.table()
    assert table["counts"].tolist() == ["1 of 3", "1 of 4", "1 of 4"]
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()


def test_precision_is_that_of_what_was_filmed():
    truth = [cell(1, 1000), cell(2, 1000, x=150), quiet(4, 20)]
    told = events(
        (1300, "A", 100, 200, 1310, 10),
        (1300, "A", 150, 200, np.nan, np.nan),  # no burst: a limit of light
        (5000, "A", 20, 200, 5000, 10),
    )
    assert judged(truth, told).table()["counts"].tolist() == ["1 of 2", "1 of 2", "0 of 2"]


def test_a_burst_of_an_event_that_had_begun_before_or_goes_on_is_not_late():
    truth = [cell(1, 0).iloc[1:], cell(2, 2000, x=150).iloc[:4], quiet(3, 20)]
    told = events((100, "A", 100, 200, 900, 10), (3000, "A", 150, 200, 9000, 10), (2650, "A", 100, 200, 2710, 10))
    found = judged(truth, told)
    assert found.told["late"].tolist() == [False, False, True]
    assert found.table()["counts"].tolist() == ["0 of 0", "2 of 3", "1 of 3"]


def test_what_was_not_in_view_or_not_in_time_does_not_count():
    outside, before = cell(1, 1000, x=260), cell(2, 0)
    late, at_the_border = cell(3, 18000), cell(4, 1000, x=249)
    found = judged([outside, before[before["phase"] != "interphase"], late, at_the_border, quiet(9, 10)], events())
    assert len(found.true) == 0
    assert found.table()["value"].isna().all()


def test_other_events_can_be_waited_for():
    truth = [cell(1, 1000)]
    told = events((3800, "A", 100, 200, 3850, 5))
    assert judged(truth, told, phases=("earlyana", "lateana")).true["outcome"].tolist() == ["caught"]
    assert judged(truth, told).told["right"].tolist() == [False]


def test_an_event_that_could_not_be_filmed_is_missed():
    found = judged([cell(1, 1000)], events((1300, "A", 100, 200, np.nan, 0)))
    assert found.true["outcome"].tolist() == ["missed"]
    assert found.told["right"].tolist() == [True]


def test_cells_move_between_the_rows_and_end_with_their_daughters():
    mother = cell(1, 1000)
    mother.loc[1, "x_um"] = 110.0
    daughter = quiet(2, 90).assign(parent=1, time_s=[5000.0, 20000.0])
    truth = pd.concat([mother, daughter])
    assert cells_at(truth, 500.0).loc[1, "x_um"] == pytest.approx(105)
    assert cells_at(truth, 4900.0).index.tolist() == [1]
    assert cells_at(truth, 5000.0).index.tolist() == [2]


def test_a_cell_that_is_gone_is_nowhere():
    truth = pd.DataFrame(
        {"cell": 1, "parent": -1, "time_s": [0.0, 10.0], "x_um": 0.0, "y_um": 0.0, "phase": ["apoptosis", "gone"]}
    )
    assert len(cells_at(truth, 5.0)) == 1
    assert len(cells_at(truth, 10.0)) == 0


def test_spans_join_phases_that_follow_each_other():
    found = spans(cell(7, 1000), BEFORE)
    assert found[["cell", "start_s", "end_s"]].to_numpy().tolist() == [[7, 1000, 3700]]
    assert spans(cell(7, 1000).iloc[:3], BEFORE)["end_s"].isna().all()
    assert len(spans(quiet(1, 0), BEFORE)) == 0


def test_marks_of_a_person():
    told = events((1, "A", 0, 0, 1, 5), (2, "A", 0, 0, 2, 5), (3, "A", 0, 0, np.nan, 0), (4, "A", 0, 0, 4, 5))
    assert marked(told, [2]).loc[0, "counts"] == "2 of 3"
    assert marked(told, []).loc[0, "value"] == 1
    assert marked(events(), []).loc[0, "counts"] == "0 of 0"
    assert marked(told, [2], shown=[1, 2]).loc[0, "counts"] == "1 of 2"  # nobody looked at the others
    assert marked(told, [4], shown=[1, 2]).loc[0, "counts"] == "2 of 3"  # somebody did, elsewhere


def test_dose_of_filming_everything():
    scope = Scope()
    scope.moves = True
    assert Light(PROTOCOL, scope, {}).reference(600.0) == 11 * 3 * 100
    scope.power = {"H2B": 0.5}
    assert Light(PROTOCOL, scope, {}).reference(600.0) == 11 * 3 * 50
    assert np.isnan(share("x", 0, 0)["low"])


def test_filming_everything_takes_no_more_exposures_than_fit_into_the_time():
    """300 fields of three slices of 100 ms take 90 s, although a frame is due after 60 s."""
    scope = Scope()
    scope.moves = True
    survey = replace(PROTOCOL.survey, positions=tuple(Position(str(i), 0, 0) for i in range(300)))
    for ran_s, frames in ((0.0, 1), (89.0, 1), (90.0, 2), (900.0, 11)):
        assert Light(replace(PROTOCOL, survey=survey), scope, {}).reference(ran_s) == frames * 300 * 3 * 100
