"""Figure and table of the learning curve show the numbers that were given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from utils.fine_tuning.page import curve_figure, curve_table
from utils.fine_tuning.power_law import fit_law
from utils.pages.figures import png

SIZES = [2, 5, 10, 20]


def curve(strategies=("two stages", "from scratch"), sizes=SIZES, repeats=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (one, n, repeat, 0.9 - (0.3 + 0.2 * i) * n**-0.5 + 0.01 * rng.normal())
        for i, one in enumerate(strategies)
        for n in sizes
        for repeat in range(repeats)
    ]
    return pd.DataFrame(
        rng.permutation(np.array(rows, object)), columns=["strategy", "size", "repeat", "score"]
    ).astype({"size": int, "repeat": int, "score": float})


def laws_of(table):
    return {one: fit_law(rows["size"], rows["score"], draws=30) for one, rows in table.groupby("strategy")}


def draw(table, laws=None, unchanged=0.6, target=0.8):
    laws = laws_of(table) if laws is None else laws
    return curve_figure(table, laws, unchanged, "balanced accuracy", "labelled images of each class", target)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_table_worked_by_hand():
    rows = [
        ("two stages", 5, 0, 0.8),
        ("two stages", 2, 0, 0.5),
        ("two stages", 2, 1, 0.7),
        ("from scratch", 2, 0, 0.4),
    ]
    table = curve_table(pd.DataFrame(rows, columns=["strategy", "size", "repeat", "score"]))
    expected = {
        "size": [2, 5],
        "two stages: mean": [0.6, 0.8],
        "two stages: sd": [np.sqrt(0.02), np.nan],
        "two stages: models": [2, 1],
        "from scratch: mean": [0.4, np.nan],
        "from scratch: sd": [np.nan, np.nan],
        "from scratch: models": [1, 0],
        "two stages minus from scratch": [0.2, np.nan],
    }
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)


@pytest.mark.parametrize("seed", range(5))
def test_table_agrees_with_the_scores_one_by_one(seed):
    rows = curve(("last layer", "everything", "from scratch"), repeats=seed + 2, seed=seed)
    table = curve_table(rows).set_index("size")
    assert table.index.tolist() == SIZES
    for (strategy, size), scores in rows.groupby(["strategy", "size"])["score"]:
        assert table.loc[size, f"{strategy}: mean"] == pytest.approx(scores.mean())
        assert table.loc[size, f"{strategy}: sd"] == pytest.approx(np.std(scores, ddof=1))
        assert table.loc[size, f"{strategy}: models"] == seed + 2
    gain = table["everything: mean"] - table["from scratch: mean"]
    assert table["everything minus from scratch"].tolist() == pytest.approx(gain.tolist())
    assert "from scratch minus from scratch" not in table


def test_a_missing_score_counts_as_no_model():
    rows = curve(repeats=2)
    rows.loc[(rows["strategy"] == "two stages") & (rows["size"] == 5), "score"] = np.nan
    table = curve_table(rows).set_index("size")
    assert table.loc[5, "two stages: models"] == 0
    assert np.isnan(table.loc[5, "two stages: mean"])
    assert png(draw(rows))[:4] == b"\x89PNG"


def test_no_difference_without_both():
    assert not [column for column in curve_table(curve(("everything",))) if "minus" in column]


def test_every_model_is_a_dot_and_every_mean_a_marker_beside_its_size():
    table = curve()
    ax = draw(table).axes[0]
    offsets = [np.asarray(collection.get_offsets()) for collection in ax.collections]
    dots = np.vstack([points for points in offsets if len(points) == 12])
    assert np.sort(dots[:, 1]) == pytest.approx(np.sort(table["score"]))
    assert np.abs(np.log(np.sort(dots[:, 0]) / np.sort(table["size"]))).max() < 0.06
    means = [bars.lines[0] for bars in ax.containers]
    for line, strategy in zip(means, table["strategy"].unique(), strict=True):
        assert line.get_ydata() == pytest.approx(curve_table(table)[f"{strategy}: mean"].to_numpy())
        assert np.asarray(line.get_xdata()) == pytest.approx(SIZES, rel=0.06)
    assert len({to_hex(line.get_color()) for line in means}) == len({line.get_marker() for line in means}) == 2


def test_error_bars_are_the_standard_deviation():
    table = curve(("everything",))
    bars = draw(table).axes[0].containers[0].lines[2][0].get_segments()
    sd = curve_table(table)["everything: sd"]
    assert [segment[1, 1] - segment[0, 1] for segment in bars] == pytest.approx((2 * sd).tolist())


def test_laws_are_dashed_where_measured_and_dotted_beyond_up_to_twice_the_largest_size():
    table = curve(("everything",))
    laws = laws_of(table)
    lines = {line.get_linestyle(): line for line in draw(table, laws).axes[0].lines}
    for style, ends in (("--", (2, 20)), (":", (20, 40))):
        x, y = np.asarray(lines[style].get_xdata()), np.asarray(lines[style].get_ydata())
        assert (x[0], x[-1]) == pytest.approx(ends)
        assert y == pytest.approx(laws["everything"].score(x))


def test_axes_and_texts():
    figure = draw(curve())
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "5", "10", "20", "40"]
    assert ax.get_xlim()[1] >= 40
    assert ax.get_xlabel() == "labelled images of each class"
    assert ax.get_ylabel() == "Balanced accuracy on the test images"
    assert "beyond what was measured" in [text.get_text() for text in ax.texts]
    assert {"model unchanged: 0.60", "score asked for: 0.8", "one trained model"} < set(legend(figure))
    levels = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert levels == [0.6, 0.8]
    assert ax.get_ylim()[1] <= 1.02


def test_no_legend_covers_the_data():
    figure = draw(curve(("last layer", "two stages", "everything", "from scratch")))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert not box.overlaps(figure.axes[0].get_tightbbox())
    assert figure.bbox.containsx(box.x0)
    assert figure.bbox.containsx(box.x1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_a_curve_that_has_just_begun_can_be_drawn(rows):
    table = curve().sort_values(["size", "repeat"], kind="stable").iloc[:rows]
    figure = draw(table, laws={"two stages": None}, unchanged=None, target=None)
    assert png(figure)[:4] == b"\x89PNG"
    assert not [text for text in legend(figure) if "unchanged" in text or "asked" in text or "law" in text]


@pytest.mark.filterwarnings("error")
def test_the_interval_is_explained_only_where_there_is_one():
    single = curve(("everything",), sizes=[2, 5, 10], repeats=1)
    assert "fitted power law" in legend(draw(single))
    assert "everything: one model of each size" in legend(draw(single))
    assert "fitted power law, 95 % interval shaded" in legend(draw(curve()))
