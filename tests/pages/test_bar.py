"""Bars on the page: the last drawing stays and says how far it came, whatever ended it."""

import json
import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell

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
    monkeypatch.setitem(corner._cell, "corner", corner.Corner())
    monkeypatch.setattr(
        corner.Corner, "_show", lambda one, **news: (one._news.update(news), said.append({**one._news}))
    )
    return said


def test_the_corner_of_the_window_says_how_far_a_bar_is(told):
    moved = PageBar(total=4, bar_format=EPOCHS, mininterval=0)
    moved.set_description_str("Epoch <1> of {2}", refresh=False)
    moved.update(1)
    assert told[-1]["share"] == 0.25
    assert re.fullmatch(r"Epoch <1> of \{2\} +25 %, [\d:?]+ left", told[-1]["text"])
    moved.update(3)
    moved.close()
    assert told[-1] == {"text": "Epoch <1> of {2} 100 % ...", "share": 1}, "that it is done the cell says itself"


def test_a_share_stands_apart_from_a_number_before_it(told):
    moved = PageBar(total=4, bar_format=EPOCHS, mininterval=0)
    moved.set_description_str("Epoch 2 of 5", refresh=False)
    moved.update(1)
    assert re.match(r"Epoch 2 of 5: 25 %", told[-1]["text"])


def test_bars_are_parts_of_a_whole(told, drawings):
    with bar.stretch(0.2, 0.6), bar.stretch(0.5, 1):
        list(PageBar(range(4), desc="Trials ", bar_format=bar.STEPS, mininterval=0))
        assert [round(one["share"], 3) for one in told][:-1] == [0.4, 0.45, 0.5, 0.55, 0.6]
        assert re.match(r"Trials +45 %, ", told[1]["text"])
        assert told[1]["text"].endswith(" left of this step")
        with bar.one_bar("Part 1"), bar.stretch(0.5, 0.6):
            bar.go_on_from(0.9)
            drawings.clear()
            PageBar(total=4, initial=2, bar_format=bar.STEPS)
            assert told[-1]["share"] == 0.5, "what is within one bar is no part of its own"
    bar.go_on_from(0.6)
    drawings.clear()
    PageBar(total=4, initial=2, bar_format=bar.STEPS)
    assert told[-1]["share"] == pytest.approx(0.8)


def test_what_is_done_before_a_bar_moves_is_said_at_once(told, monkeypatch):
    monkeypatch.setattr(corner, "SECONDS", 1000)
    bar.doing("Preparing: {x}")
    assert told == [{"text": "Preparing: {x}", "share": 0.0}]
    monkeypatch.setattr(corner, "SECONDS", -1)
    moved = PageBar(total=4, initial=1, bar_format=EPOCHS, mininterval=0)
    assert told[-1] == {"text": "Preparing: {x}", "share": 0.25}, "a bar that stands says nothing"
    moved.update(1)
    assert told[-1]["text"].strip().startswith("50 %")
    with bar.one_bar("Part 2 of 5"):
        bar.doing("looking")
    assert told[-1]["text"] == "Part 2 of 5: looking"


@pytest.mark.parametrize("total", [0, None])
def test_the_corner_with_nothing_to_count(told, total):
    PageBar(total=total, bar_format=bar.STEPS).close()
    assert told[-1]["share"] == 0


@pytest.fixture
def shown(monkeypatch):
    """Bundles that the corner displays."""
    drawn = []
    monkeypatch.setattr(corner, "on_page", lambda: True)
    monkeypatch.setattr(corner, "display", lambda data, raw, display_id: (drawn.append(data), Handle(drawn))[1])
    return drawn


class Handle:
    def __init__(self, drawn):
        self.drawn = drawn

    def update(self, data, raw):
        self.drawn.append(data)


def news_of(bundle):
    script = bundle["application/javascript"]
    return json.loads(script[script.rindex("({") + 1 : -2])


def test_a_short_cell_has_no_corner(shown):
    one = corner.Corner()
    one.tell("Images", 0.5)
    one.end(complete=True)
    assert shown == []


def test_a_cell_that_trains_has_one_at_once_and_says_how_long_the_whole_took(shown):
    one = corner.Corner()
    one._began -= 125
    one.doing("Preparing")
    assert news_of(shown[0])["took"] == 125
    one.end(complete=True)
    assert news_of(shown[-2]) | {"sent": 0} == news_of(shown[-2]) | {
        "sent": 0,
        "text": "Done after 2 min 5 s",
        "share": 1,
        "over": True,
    }
    assert shown[-1] == {"text/plain": ""}, "nothing of it stays in the notebook"
    one.doing("later")
    assert len(shown) == 3, "a button that is pressed later has no corner"


def test_the_corner_is_taken_away_where_a_cell_is_stopped(shown):
    one = corner.Corner()
    one.doing("Preparing")
    one.end(complete=False)
    assert news_of(shown[-2])["share"] is None


def test_signs_of_life_come_while_the_cell_runs_and_no_longer(shown, monkeypatch):
    monkeypatch.setattr(corner, "BEAT", 0.01)
    one, arrived = corner.Corner(), threading.Event()
    monkeypatch.setattr(Handle, "update", lambda its, data, raw: (its.drawn.append(data), arrived.set()))
    one.doing("Preparing")
    assert arrived.wait(20)
    one.end(complete=True)
    count = len(shown)
    time.sleep(0.1)
    assert len(shown) == count
    assert [news_of(each)["text"] for each in shown[:2]] == ["Preparing"] * 2


def test_each_cell_has_its_own_corner(shown):
    shell = InteractiveShell()
    before = corner.now()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corner, "get_ipython", lambda: shell)
        corner.watch()
        corner.watch()
    shell.user_ns["corner"] = corner
    shell.run_cell("first = corner.now(); first.doing('Preparing')")
    shell.run_cell("second = corner.now(); second.doing('Preparing'); 1 / 0")
    first, second = shell.user_ns["first"], shell.user_ns["second"]
    assert len({before, first, second}) == 3
    over = [news_of(one) for one in shown if "application/javascript" in one]
    assert [one["share"] for one in over if one["over"]] == [1, None]


@pytest.mark.parametrize("colab", [True, False])
def test_in_colab_and_without_a_page_there_is_no_corner(monkeypatch, colab):
    drawn, kernel = [], object() if colab else None
    monkeypatch.setattr(corner, "display", lambda *given, **more: drawn.append(given))
    monkeypatch.setattr(corner, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setitem(sys.modules, "google.colab", object())
    one = corner.Corner()
    one.doing("Preparing")
    one.end(complete=True)
    assert drawn == []


def test_what_is_told_cannot_end_the_script(shown):
    one = corner.Corner()
    one.doing('</script><b> "a" \\ \u2028')
    one.end(complete=False)
    assert "</script>" not in shown[0]["application/javascript"]
    news = news_of(shown[0])
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
