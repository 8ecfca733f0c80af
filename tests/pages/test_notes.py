"""Sentences reach the page as they are, and the console where there is no page."""

import html
import json
import sys

from bs4 import BeautifulSoup

from utils.pages import notes
from utils.paths import ROOT

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


def test_paths_in_a_note_are_links(monkeypatch):
    shown = []
    monkeypatch.setattr(notes, "get_ipython", object)
    monkeypatch.setattr(notes, "display", lambda data, raw: shown.append(data))
    monkeypatch.chdir(ROOT / "notebooks")
    report, folder = ROOT / "models" / "my & model" / "report.html", ROOT / "data_samples" / "nuclei"
    notes.note(f"A page: {report}\nAll is in {folder}; look.", report, folder)
    page = BeautifulSoup(shown[0]["text/html"], "html.parser")
    file, place = page.find_all("a")
    assert file["href"] == "../models/my%20%26%20model/report.html"
    assert file.get_text() == str(report)
    assert json.loads(place["data-commandlinker-args"]) == {"path": "data_samples/nuclei"}
    assert place.get_text() == str(folder)
    assert page.get_text() == f"A page: {report}All is in {folder}; look."
    assert shown[0]["text/plain"] == f"A page: {report}\nAll is in {folder}; look."


def test_what_jupyterlab_cannot_open_stays_text(tmp_path):
    assert notes.link(tmp_path / "a & b.html") == html.escape(str(tmp_path / "a & b.html"))


def test_colab_opens_no_files(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    assert notes.link(ROOT / "README.md") == str(ROOT / "README.md")
