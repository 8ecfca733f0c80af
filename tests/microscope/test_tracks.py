"""Cells followed from survey to survey."""

import json
from itertools import count

import numpy as np
import pandas as pd

from tests.microscope.fake_finder import survey
from utils.microscope.tracks import Tracks, append_tracks, read_tracks


def cells(places, area=100.0):
    places = np.array(places, float).reshape(-1, 2)
    return pd.DataFrame({"y_um": places[:, 0], "x_um": places[:, 1], "area_um2": area})


def followed(tracks, *surveys):
    numbers = count(1)
    return [tracks.link(one, i, numbers) for i, one in enumerate(surveys)]


def test_cells_that_move_keep_their_numbers():
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[np.arange(8) * 40.0] * 2), axis=-1).reshape(-1, 2)
    tracks, numbers, order = Tracks(), count(1), np.arange(len(places))
    expected = tracks.link(cells(places), 0, numbers)["track"].to_numpy()
    for i in range(1, 20):
        places = places + rng.normal(0, 2, places.shape)
        order = rng.permutation(len(places))
        found = tracks.link(cells(places[order]), i, numbers)
        np.testing.assert_array_equal(found["track"], expected[order])
        assert (found["parent"] == 0).all()


def test_a_division_ends_the_mother():
    _, found = followed(Tracks(), cells([(50, 50), (90, 90)]), cells([(50, 44), (50, 56), (90, 91)], [60, 55, 100]))
    assert found["parent"].tolist() == [1, 1, 0]
    assert found["track"].tolist() == [3, 4, 2]


def test_a_cell_that_comes_beside_another_is_no_daughter():
    _, larger = followed(Tracks(), cells([(50, 50)]), cells([(50, 50), (50, 62)], [90, 90]))
    assert larger["parent"].tolist() == [0, 0]
    assert larger["track"].tolist() == [1, 2]
    assert larger["beside"].tolist() == [0, 1]
    _, aside = followed(Tracks(), cells([(50, 50)]), cells([(50, 50), (50, 60)], [60, 60]))
    assert aside["parent"].tolist() == [0, 0]
    _, cut = followed(Tracks(), cells([(50, 50)]), cells([(50, 46), (50, 54)], [50, 50]))
    assert cut["parent"].tolist() == [0, 0]
    _, crumb = followed(Tracks(), cells([(50, 50)]), cells([(50, 45), (50, 55)], [80, 10]))
    assert crumb["parent"].tolist() == [0, 0]


def test_a_cell_that_is_missed_is_found_again():
    none = cells([])
    assert followed(Tracks(), cells([(5, 5)]), none, none, cells([(6, 5)]))[-1]["track"].tolist() == [1]
    assert followed(Tracks(), cells([(5, 5)]), none, none, none, cells([(6, 5)]))[-1]["track"].tolist() == [2]


def test_far_is_another_cell():
    assert followed(Tracks(most_um=15), cells([(5, 5)]), cells([(5, 21)]))[-1]["track"].tolist() == [2]
    assert followed(Tracks(most_um=20), cells([(5, 5)]), cells([(5, 21)]))[-1]["track"].tolist() == [1]


def test_no_cell_at_all():
    assert len(followed(Tracks(), cells([]), cells([]))[-1]) == 0


def test_it_goes_on_from_what_was_written_down():
    one, other, numbers = Tracks(), Tracks(), count(1)
    one.link(cells([(5, 5), (40, 40)]), 0, numbers)
    other.restore(json.loads(json.dumps(one.state())))
    assert other.active == one.active
    assert other.link(cells([(41, 40)]), 1, numbers)["track"].tolist() == [2]


def test_memory_does_not_grow():
    rng, tracks, numbers = np.random.default_rng(0), Tracks(), count(1)
    for i in range(50):
        tracks.link(cells(rng.uniform(0, 1000, (10, 2))), i, numbers)
    assert len(tracks.active) <= 30


def test_a_survey_that_was_looked_at_again_counts_as_it_was_last(tmp_path):
    path = tmp_path / "tracks.csv"
    for places in ([(5, 5), (40, 40), (80, 80)], [(5, 6)]):
        one = cells(places).assign(label=range(1, len(places) + 1))
        append_tracks(path, survey(0), Tracks().link(one, 0, count(1)))
    assert len(read_tracks(path)) == 1
    assert read_tracks(path)["x_um"].tolist() == [6]


def test_the_table_of_tracks_survives_a_crash(tmp_path):
    path, tracks, numbers = tmp_path / "tracks.csv", Tracks(), count(1)
    first = cells([(5, 5), (40, 40)]).assign(label=[1, 2], **{"class": "interphase", "p_interphase": 1 / 3})
    append_tracks(path, survey(0), tracks.link(first, 0, numbers))
    second = tracks.link(first, 1, numbers)
    append_tracks(path, survey(1), second)
    with open(path, "a") as file:
        file.write("2,600.0,A,1")  # torn
    append_tracks(path, survey(1), second)
    table = read_tracks(path)
    assert table[["survey", "track", "label"]].to_numpy().tolist()[:3] == [[0, 1, 1], [0, 2, 2], [1, 1, 1]]
    assert len(table) == 4
    assert table.loc[0, "p_interphase"] == 0.3333
    assert list(table)[:6] == ["survey", "time_s", "position", "track", "parent", "beside"]
