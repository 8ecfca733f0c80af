"""What is said of a network beside other methods: every case, with the numbers of the table."""

import threading

import numpy as np
import pytest

from utils.metrics.intervals import Judgement
from utils.tasks.opponents import DIFFERENCE, answering, compare_methods, difference_verdict, shown_methods, worth_it


def judged(values, name="Mean foreground IoU", groups=None):
    """A mean of one score for each image; NaN where there is no image with a score."""
    values = np.asarray(values, float)
    exists = np.isfinite(values)
    mean = float(values[exists].mean()) if exists.any() else np.nan
    groups = groups or [str(i) for i in range(len(values))]
    sums = np.column_stack([np.nan_to_num(values), exists])
    headline = {"name": name, "value": mean, "low": mean, "high": mean, "meaning": ""}
    return Judgement(headline, sums, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1e-9), groups)


def compared(network, **others):
    others = {name.replace("_", " "): judged(values) for name, values in others.items()}
    return compare_methods(judged(network), others)


def test_differences_are_those_of_the_same_images():
    network, otsu = [0.9, 0.8, 0.7, 0.8], [0.8, 0.7, 0.6, 0.7]
    table = compared(network, Otsu_threshold=otsu)
    assert table["method"].tolist() == ["network", "Otsu threshold"]
    np.testing.assert_allclose(table["value"], [0.8, 0.7])
    assert np.isnan(table.loc[0, ["difference", "low", "high"]].astype(float)).all()
    difference, low, high = table.loc[1, ["difference", "low", "high"]].astype(float)
    assert difference == pytest.approx(0.1)  # 0.1 on every image
    assert 0 < low < difference < high < 0.2
    with pytest.raises(ValueError, match="same test images"):
        compare_methods(judged(network), {"other": judged(otsu, groups=["a"] * 4)})


def test_the_table_of_the_page_has_the_difference_in_one_column():
    shown = shown_methods(compared([0.9, 0.8, 0.7], Otsu_threshold=[0.8, 0.7, 0.6], pixel_forest=[np.nan] * 3))
    assert shown.columns.tolist() == ["method", "Mean foreground IoU", DIFFERENCE]
    assert shown[DIFFERENCE].tolist() == ["", "+0.10 (-0.06 to +0.24)", "unknown"]
    assert shown_methods(compared([0.9], Otsu_threshold=[0.8]))[DIFFERENCE].tolist() == ["", "+0.10"]
    assert shown_methods(None).empty


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (
            (0.1, 0.05, 0.15),
            ["+10 percentage points (95 % interval +5 to +15)", "The network is better than the forest"],
        ),
        ((-0.1, -0.15, -0.05), ["-10 percentage points", "The forest is better: use it, or give the network more"]),
        ((0.1, -0.05, 0.15), ["may be chance"]),
        ((0.0, 0.0, 0.0), ["may be chance"]),
        ((0.1, np.nan, np.nan), ["+10 percentage points. There are too few test images"]),
        ((np.nan, np.nan, np.nan), ["nothing to compare"]),
    ],
)
def test_every_verdict(difference, said):
    text = difference_verdict("IoU", ("network", "forest"), (0.8, 0.7), difference)
    assert text.startswith("IoU ")
    assert all(part in text for part in said)


def test_the_network_is_held_against_the_best_of_the_others():
    network = [0.8, 0.82, 0.78, 0.8]
    (text,) = worth_it(compared(network, Otsu_threshold=[0.5, 0.51, 0.5, 0.49], pixel_forest=[0.9, 0.91, 0.89, 0.9]))
    assert "of the pixel forest 0.90" in text
    assert "The pixel forest is better: use it (ilastik, or Fiji" in text
    (text,) = worth_it(compared(network, Otsu_threshold=[0.5, 0.51, 0.5, 0.49], pixel_forest=[np.nan] * 4))
    assert "The network is better than the Otsu threshold" in text
    assert worth_it(None) == []


def test_nothing_is_less_than_nothing():
    text = difference_verdict("IoU", ("network", "forest"), (0.5, 0.5), (-0.001, -0.004, 0.02))
    assert "+0 percentage points (95 % interval +0 to +2)" in text


def test_opponents_answer_while_the_network_works():
    network_works = threading.Event()

    def answers(number, stopped):
        assert network_works.wait(60)
        return number, stopped()

    with answering(answers, 3) as found:
        network_works.set()
        assert found.result(60) == (3, False)


def test_who_leaves_early_need_not_wait_for_opponents():
    told, left = threading.Event(), threading.Event()

    def answers(stopped):
        assert left.wait(60)
        if stopped():
            told.set()

    with pytest.raises(KeyboardInterrupt), answering(answers):
        raise KeyboardInterrupt
    left.set()
    assert told.wait(60)
