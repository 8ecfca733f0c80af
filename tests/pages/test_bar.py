"""Bars on the page: the last drawing stays and says how far it came, whatever ended it."""

import json
import re
import sys
import time

import pytest

from utils.pages import bar, corner
from utils.pages.bar import PageBar, progress_bar, search_bar

EPOCHS = "{desc} {percentage:3.0f} % {bar} {remaining} left{postfix}"


@pytest.fixture
def drawings(monkeypatch):
    """What is drawn, in order: all go into one output."""
    drawn = []

    class Handle:
        def update(self, data, raw):
            drawn.append(data)

    def display(data, raw, display_id):
        assert not drawn
        drawn.append(data)
        return Handle()

    monkeypatch.setattr(bar, "display", display)
    return drawn


def words(data):
    return " ".join(re.sub(r"<[^>]+>", " ", data["text/html"]).split())


@pytest.mark.parametrize("n", [1, 3, 40])
def test_the_end_stands_on_the_page(drawings, n):
    assert list(PageBar(range(n), desc="Images ", bar_format=bar.STEPS)) == list(range(n))
    assert words(drawings[0]).startswith("Images 0 %")
    assert words(drawings[-1]) == f"Images 100 % {n} of {n}"
    assert 'value="1.0000"' in drawings[-1]["text/html"]
    assert drawings[-1]["text/plain"] == f"Images 100 % {'█' * bar.BLOCKS} {n} of {n}"


def test_one_that_is_stopped_stays_where_it_was(drawings):
    moved = PageBar(range(10), bar_format=bar.STEPS, mininterval=0)
    next(one for one in moved if one == 4)
    moved.close()
    assert words(drawings[-1]).startswith("40 % 4 of 10")


def test_text_of_a_training_is_shown_as_text(drawings):
    moved = PageBar(total=20, initial=5, bar_format=EPOCHS)
    moved.set_description_str("Epoch <2> of 4", refresh=False)
    moved.set_postfix_str("loss 0.123", refresh=False)
    moved.update(5)
    assert "Epoch &lt;2&gt; of 4" in drawings[-1]["text/html"] or moved.n == 10
    moved.update(10)
    moved.close()
    assert "Epoch &lt;2&gt; of 4" in drawings[-1]["text/html"]
    assert drawings[-1]["text/plain"].endswith("loss 0.123")
    assert "left" not in drawings[-1]["text/plain"]


@pytest.mark.parametrize("total", [0, None])
def test_nothing_to_count(drawings, total):
    PageBar(total=total, bar_format=bar.STEPS).close()
    assert "nan" not in drawings[-1]["text/html"]


def test_in_a_terminal_it_is_one_of_tqdm(capsys):
    assert list(progress_bar(range(3))) == [0, 1, 2]
    assert "3 of 3" in capsys.readouterr().err


@pytest.fixture
def told(drawings, monkeypatch):
    """What the corner is told, in order, from the first moment on."""
    said = []
    monkeypatch.setattr(corner, "SECONDS", -1)
    monkeypatch.setattr(
        corner.Corner, "_show", lambda one, **news: (said.append(news), setattr(one, "_handle", Handle([])))
    )
    return said


def test_the_corner_of_the_window_says_how_far_it_is_and_that_it_is_done(told):
    moved = PageBar(total=4, bar_format=EPOCHS, mininterval=0)
    moved.set_description_str("Epoch <1> of 2", refresh=False)
    moved.update(1)
    assert told[-1]["share"] == 0.25
    assert re.fullmatch(r"Epoch <1> of 2 +25 %, [\d:?]+ left", told[-1]["text"])
    moved.update(3)
    moved.close()
    assert told[-1] | {"text": ""} == {"text": "", "share": 1, "over": True}
    assert re.fullmatch(r"Done after \d+ s: Epoch <1> of 2 100 %", told[-1]["text"])
    assert [one["over"] for one in told].count(True) == 1


def test_the_corner_is_taken_away_where_a_bar_is_stopped(told):
    with PageBar(total=4, bar_format=bar.STEPS, mininterval=0) as moved:
        moved.update(1)
    assert told[-1]["share"] is None


@pytest.mark.parametrize("total", [0, None])
def test_the_corner_with_nothing_to_count(told, total):
    PageBar(total=total, bar_format=bar.STEPS).close()
    assert told[-1]["share"] is None


@pytest.fixture
def shown(monkeypatch):
    """Bundles that the corner displays."""
    drawn = []
    monkeypatch.setattr(corner, "display", lambda data, raw, display_id: (drawn.append(data), Handle(drawn))[1])
    return drawn


class Handle:
    def __init__(self, drawn):
        self.drawn = drawn

    def update(self, data, raw):
        self.drawn.append(data)


def test_a_short_cell_has_no_corner(shown):
    one = corner.Corner()
    one.tell("Images", 0.5)
    one.end("Images", complete=True)
    assert shown == []


def test_nothing_of_it_stays_in_the_notebook(shown, monkeypatch):
    monkeypatch.setattr(corner, "SECONDS", -1)
    one = corner.Corner()
    one.tell("Images", 0.5)
    one.end("Images", complete=True)
    assert ["application/javascript" in bundle for bundle in shown] == [True, True, False]


def test_in_colab_there_is_no_corner(shown, monkeypatch):
    monkeypatch.setattr(corner, "SECONDS", -1)
    monkeypatch.setitem(sys.modules, "google.colab", object())
    one = corner.Corner()
    one.tell("Images", 0.5)
    one.end("Images", complete=True)
    assert shown == []


def test_what_is_told_cannot_end_the_script(shown, monkeypatch):
    monkeypatch.setattr(corner, "SECONDS", -1)
    corner.Corner().tell('</script><b> "a" \\ \u2028', 0.5)
    (script,) = (one["application/javascript"] for one in shown)
    assert "</script>" not in script
    news = json.loads(script[script.rindex("({") + 1 : -2])
    assert news["text"] == '</script><b> "a" \\ \u2028'
    assert abs(news["sent"] / 1000 - time.time()) < 60


@pytest.mark.parametrize("steps", [1, 14, 20])
def test_a_search_that_ends_early_is_done_all_the_same(drawings, monkeypatch, steps):
    monkeypatch.setattr(bar, "progress_bar", lambda **options: PageBar(**options))
    with search_bar(20, "Choosing thresholds, overlap 0.3") as moved:
        for _ in range(steps):
            moved.update()
    assert words(drawings[-1]) == f"Choosing thresholds, overlap 0.3: 100 % {steps} steps"
    assert 'value="1.0000"' in drawings[-1]["text/html"]


def test_a_search_that_fails_stays_where_it_was(drawings, monkeypatch):
    monkeypatch.setattr(bar, "progress_bar", lambda **options: PageBar(**options))
    with pytest.raises(KeyboardInterrupt), search_bar(20, "Search") as moved:
        _stopped(moved)
    assert 'value="1.0000"' not in drawings[-1]["text/html"]


def _stopped(moved):
    moved.update(5)
    raise KeyboardInterrupt


def test_bars_within_another_are_not_shown(capsys):
    with bar.progress_bar(total=2, mininterval=0) as whole, bar.one_bar():
        for _ in bar.progress_bar(range(3), desc="within", disable=False):
            pass
        whole.update()
    assert "within" not in capsys.readouterr().err
    for _ in bar.progress_bar(range(3), desc="alone"):
        pass
    assert "alone" in capsys.readouterr().err
