"""Sentences reach the page as they are, and the console where there is no page."""

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from utils import notes

TEXT = "Images: /a folder/<b> & c\nsecond line"


def test_a_note_is_text_and_html_of_the_same_lines(monkeypatch):
    monkeypatch.setattr(notes, "get_ipython", InteractiveShell.instance)
    with capture_output() as captured:
        notes.note(TEXT)
    (output,) = captured.outputs
    assert output.data["text/plain"] == TEXT
    assert "&lt;b&gt; &amp; c</div>" in output.data["text/html"]
    assert output.data["text/html"].count("<div") == 2
    InteractiveShell.clear_instance()


def test_without_a_page_it_is_printed(capsys):
    notes.note(TEXT)
    assert capsys.readouterr().out == TEXT + "\n"
