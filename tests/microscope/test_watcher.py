"""What is an event, and what is none."""

import json

import numpy as np
import pytest

from tests.microscope.fake_finder import CLASSES, HERE, NAMES, THERE, FakeFinder, protocol, survey
from utils.errors import ModelError
from utils.microscope.watcher import REST, Watcher

CYCLE = ["interphase"] * 3 + ["prophase"] * 3 + ["prometaphase"] * 3 + ["metaphase"] * 3
REST_OF_CYCLE = ["earlyana", "lateana", "telophase", "telophase", "telophase", "interphase", "interphase", "interphase"]


def watched(surveys, known=CLASSES, **event):
    """Events of each survey of one position."""
    watcher = Watcher(protocol(**event), FakeFinder(surveys, known))
    return watcher, [watcher.look(survey(i)) for i in range(len(surveys))]


def test_a_cell_that_enters_mitosis_is_one_event():
    _, events = watched([[(50, 50, phase)] for phase in CYCLE + REST_OF_CYCLE])
    told = [i for i, found in enumerate(events) for _ in found]
    assert len(told) == 1
    assert 3 < told[0] <= 5
    (event,) = events[told[0]]
    assert (event.cell, event.y_px, event.x_px, event.name, event.position) == (1, 100.0, 100.0, "prophase", HERE)
    assert event.probability >= 0.5
    assert event.time_s == 300.0 * told[0]


def test_a_single_misclassified_frame_is_no_event():
    phases = ["interphase"] * 4 + ["metaphase"] + ["interphase"] * 3 + ["prophase"] + ["interphase"] * 3
    assert not any(watched([[(50, 50, phase)] for phase in phases])[1])


def test_broad_classes_can_be_waited_for():
    _, events = watched([[(50, 50, phase)] for phase in CYCLE + REST_OF_CYCLE])
    _, broad = watched([[(50, 50, phase)] for phase in CYCLE + REST_OF_CYCLE], classes=("BA",))
    assert events == broad


def test_it_must_last_as_long_as_asked():
    told = []
    for n in (1, 2, 4):
        _, events = watched([[(50, 50, phase)] for phase in CYCLE], n_frames=n)
        told += [i for i, found in enumerate(events) if found]
    assert np.diff(told).tolist() == [1, 2]


def test_cells_of_other_sizes_do_not_count():
    surveys = [[(50, 50, phase, 20.0)] for phase in CYCLE]
    assert any(watched(surveys)[1])
    assert not any(watched(surveys, size_um2=(30.0, 500.0))[1])
    assert not any(watched(surveys, size_um2=(0.0, 10.0))[1])


def test_daughters_are_no_events_of_their_own():
    before = [
        [(50, 50, phase)] for phase in ["interphase", "metaphase", "metaphase", "metaphase", "earlyana", "earlyana"]
    ]
    after = [
        [(50, 44, phase, 50.0), (50, 56, phase, 50.0)] for phase in ["lateana", "lateana", "telophase", "interphase"]
    ]
    watcher, events = watched([*before, *after], classes=("earlyana", "lateana"))
    assert len([one for found in events for one in found]) == 1
    assert watcher.cells["parent"].tolist() == [0, 0]
    assert watcher.cells["track"].tolist() == [2, 3]


def test_a_cell_may_divide_again_much_later():
    phases = CYCLE + ["interphase"] * (REST + 3) + CYCLE
    assert len([one for found in watched([[(50, 50, phase)] for phase in phases])[1] for one in found]) == 2


def test_the_surest_event_comes_first_and_an_event_in_every_cell_is_told_of_each():
    weak = np.full(len(NAMES), 0.4 / 7)
    weak[NAMES.index("prophase")] = 0.6
    rows = [(50, 50, weak), *[(50, 100 + 40 * i, "prophase") for i in range(30)]]
    _, events = watched([rows] * 6)
    assert sum(map(len, events)) == 31
    for found in events:
        assert [one.probability for one in found] == sorted((one.probability for one in found), reverse=True)


def test_no_cell_at_all():
    watcher, events = watched([[], [], [(50, 50, "interphase")], []])
    assert not any(events)
    assert len(watcher.cells) == 0


def test_positions_have_cells_of_their_own():
    watcher = Watcher(protocol(), FakeFinder([[(50, 50, "interphase")]] * 2))
    watcher.look(survey(0, HERE))
    first = watcher.cells["track"].tolist()
    watcher.look(survey(0, THERE))
    assert first + watcher.cells["track"].tolist() == [1, 2]


def test_counting_only_takes_no_classifier():
    watcher, events = watched([[(50, 50, "interphase")]] * 2, known=[], classes=())
    assert not any(events)
    assert watcher.cells["track"].tolist() == [1]


def test_a_class_that_the_model_does_not_know():
    with pytest.raises(ModelError, match="'spindle'.*apoptosis, earlyana"):
        Watcher(protocol(classes=("spindle",)), FakeFinder([]))
    with pytest.raises(ModelError, match="count only"):
        Watcher(protocol(), FakeFinder([], classes=[]))


@pytest.mark.parametrize("stop", range(0, 16, 3))
def test_it_goes_on_from_what_was_written_down(stop):
    """Stopped at any survey and restored from JSON: the same events, cell by cell."""
    surveys = [[(50, 50, phase), (90, 90, CYCLE[i % 5])] for i, phase in enumerate(CYCLE + REST_OF_CYCLE)]
    whole, expected = watched(surveys)
    one = Watcher(protocol(), FakeFinder(surveys))
    found = [one.look(survey(i)) for i in range(stop)]
    other = Watcher(protocol(), FakeFinder(surveys))
    other.restore(json.loads(json.dumps(one.state())))
    found += [other.look(survey(i)) for i in range(stop, len(surveys))]
    assert found == expected
    assert other.state() == whole.state()


def test_beliefs_of_a_classifier_with_other_classes_are_not_gone_on_with():
    one = Watcher(protocol(), FakeFinder([[(50, 50, "metaphase")]]))
    one.look(survey(0))
    other = Watcher(protocol(), FakeFinder([], list(reversed(CLASSES))))
    with pytest.raises(ModelError, match="begun with a classifier of other classes"):
        other.restore(json.loads(json.dumps(one.state())))


def test_a_dry_run_remembers_nothing():
    surveys = [[(50, 50, "metaphase"), (90, 90, "interphase")]] * 3
    watcher = Watcher(protocol(n_frames=3), FakeFinder(surveys))
    before = watcher.state()
    events, cells, _ = watcher.preview(survey(0))
    assert [one.name for one in events] == ["metaphase"]
    assert len(cells) == 2
    assert watcher.state() == before
    assert not watcher.look(survey(0))


def test_memory_does_not_grow():
    rng = np.random.default_rng(0)
    surveys = [[(*rng.uniform(0, 900, 2), NAMES[rng.integers(8)]) for _ in range(5)] for _ in range(60)]
    watcher, _ = watched(surveys)
    assert len(watcher.state()["belief"]) <= 15
    assert len(watcher.state()["streak"]) <= 15


def test_a_division_that_is_seen_too_early_starts_no_film_of_a_daughter():
    """Halves that still touch are no division yet; the new one is believed to be what the cell was."""
    before = [[(50, 50, phase)] for phase in ["interphase"] * 3 + ["metaphase"] * 3]
    halves = [[(50, 48, "earlyana", 90.0), (50, 53, "earlyana", 90.0)]]
    after = [[(50, 42, "metaphase", 50.0), (50, 58, "metaphase", 50.0)] for _ in range(4)]  # small, round, bright
    watcher, events = watched(before + halves + after)
    assert sum(map(len, events)) == 1
    assert watcher.cells["track"].tolist() == [1, 2]


def test_a_cell_that_the_edge_of_the_image_cuts_is_no_event():
    assert not any(watched([[(50, 5, phase)] for phase in CYCLE])[1])
    assert any(watched([[(50, 8, phase)] for phase in CYCLE])[1])
