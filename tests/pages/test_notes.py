"""Sentences reach the page as they are, and the console where there is no page."""

from utils.pages import notes

TEXT = "Images: /a folder/<b> & c\nsecond line"


def test_a_note_is_text_and_html_of_the_same_lines(monkeypatch):
    shown = []
    monkeypatch.setattr(notes, "get_ipython", object)
    monkeypatch.setattr(notes, "display", lambda data, raw: shown.append((data, raw)))
    notes.note(TEXT)
    ((data, raw),) = shown
    assert raw
    assert data["text/plain"] == TEXT
    assert "&lt;b&gt; &amp; c</div>" in data["text/html"]
    assert data["text/html"].count("<div") == 2


def test_without_a_page_it_is_printed(capsys):
    notes.note(TEXT)
    assert capsys.readouterr().out == TEXT + "\n"
