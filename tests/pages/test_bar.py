"""Bars on the page: the last drawing stays and says how far it came, whatever ended it."""

import re

import pytest

from utils.pages import bar
from utils.pages.bar import PageBar, progress_bar


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
    moved = PageBar(total=20, initial=5, bar_format="{desc} {percentage:3.0f} % {bar} {remaining} left{postfix}")
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


def test_bars_within_another_are_not_shown(capsys):
    with bar.progress_bar(total=2, mininterval=0) as whole, bar.one_bar():
        for _ in bar.progress_bar(range(3), desc="within", disable=False):
            pass
        whole.update()
    assert "within" not in capsys.readouterr().err
    for _ in bar.progress_bar(range(3), desc="alone"):
        pass
    assert "alone" in capsys.readouterr().err
