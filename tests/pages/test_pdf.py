"""Reports as PDF: printed by a browser that is there, else said how; no run ever fails of it."""

import re
import stat
import sys
import zlib

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.pages.test_report import write
from utils.pages import pdf

pytestmark = pytest.mark.prints
POINTS = (595, 842)  # A4
FAKE = """#!{python}
import pathlib, sys, time
arguments = dict(one.lstrip("-").partition("=")[::2] for one in sys.argv[1:])
{do}
pathlib.Path(arguments["print-to-pdf"]).write_bytes(b"%PDF " + sys.argv[-1].encode())
"""


@pytest.fixture
def browser(tmp_path, monkeypatch):
    """Return a function that puts a program that does something, and then prints, in the place of a browser."""

    def put(do=""):
        program = tmp_path / "a browser"
        program.write_text(FAKE.format(python=sys.executable, do=do))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(pdf, "browser", lambda: str(program))
        monkeypatch.setattr(pdf, "PATIENCE", 30)

    return put


@pytest.fixture
def page(tmp_path):
    (tmp_path / "report.html").write_text("page")
    return tmp_path / "report.html"


def test_a_browser_prints(browser, page):
    browser()
    assert pdf.print_page(page, page.with_suffix(".pdf")) == "report.pdf, to print or to send, lies beside it."
    assert page.with_suffix(".pdf").read_bytes() == b"%PDF " + page.as_uri().encode()


@pytest.mark.parametrize("name", ["a b", "ä ö", "100 % #1", "it's", "(x) [y] & z", "日本", "a+b=c", "-x", "a;b$c`d"])
def test_any_folder_will_do(browser, tmp_path, name):
    browser()
    (tmp_path / name).mkdir()
    page = tmp_path / name / "report.html"
    page.write_text("page")
    assert "lies beside it" in pdf.print_page(page, page.with_suffix(".pdf"))
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.pdf"]


@pytest.mark.parametrize(
    "do", ["sys.exit(1)", "sys.exit(0)", "raise SystemError", "arguments['print-to-pdf'] = '/x/y'"]
)
def test_a_browser_that_cannot_print_is_no_failure(browser, page, do):
    browser(do)
    page.with_suffix(".pdf").write_bytes(b"of an earlier report")
    assert pdf.print_page(page, page.with_suffix(".pdf")) == pdf.HOW
    assert not page.with_suffix(".pdf").exists()


def test_without_a_browser_it_is_said_how(page, monkeypatch):
    for found in (None, "/no/such/browser", str(page), str(page.parent)):
        monkeypatch.setattr(pdf, "browser", lambda found=found: found)
        assert pdf.print_page(page, page.with_suffix(".pdf")) == pdf.HOW
    assert pdf.print_page(page.with_name("gone.html"), page.with_suffix(".pdf")) == pdf.HOW


def test_a_slow_browser_is_not_waited_for(browser, page, monkeypatch):
    browser(f"while not pathlib.Path({str(page.with_name('go on'))!r}).exists(): time.sleep(0.01)")
    monkeypatch.setattr(pdf, "PATIENCE", 0.01)
    assert pdf.print_page(page, page.with_suffix(".pdf")) == (
        "report.pdf, to print or to send, will lie beside it in a moment."
    )
    page.write_text("written anew, and printed by another")
    page.with_name("go on").touch()
    for thread in pdf.threading.enumerate():
        if thread is not pdf.threading.current_thread() and thread.name.endswith("(_print)"):
            thread.join()
    assert not page.with_suffix(".pdf").exists()


def test_browsers_are_looked_for_where_they_usually_are(monkeypatch):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    for system, place in (("darwin", "/Applications/Chromium.app/Contents/MacOS/Chromium"), ("win32", "msedge.exe")):
        monkeypatch.setattr(pdf.sys, "platform", system)
        monkeypatch.setattr(pdf.os.path, "isfile", lambda path, place=place: path.endswith(place))
        assert pdf.browser().endswith(place)
    monkeypatch.setattr(pdf.sys, "platform", "linux")
    assert pdf.browser() is None


@pytest.mark.slow
@pytest.mark.skipif(pdf.browser() is None, reason="no Chromium, Chrome or Edge here")
def test_a_report_is_printed_whole(tmp_path, monkeypatch):
    """On A4; all rows of long and wide tables are there, and figures larger than a page are shrunk to one."""
    monkeypatch.setattr(pdf, "PATIENCE", 100)
    rows = [f"row-{i}" for i in range(150)]
    wide = pd.DataFrame({f"a_long_name_of_column_{i}": [f"cell-{i}"] for i in range(14)})
    figures = {"tall": Figure(figsize=(5, 30)), "wide": Figure(figsize=(40, 4)), "usual": Figure(figsize=(11, 8))}
    for name, figure in figures.items():
        figure.text(0.5, 0.5, name)
    tables = {"Long": pd.DataFrame({"file": rows}), "Wide": wide}
    methods = [f"It was done in {i} steps. " * 30 for i in range(3)]
    write(tmp_path / "report.html", tables=tables, figures=figures, methods=methods, cite=["Someone (2020)."])
    assert "lies beside it" in pdf.print_page(tmp_path / "report.html", tmp_path / "report.pdf")

    content = (tmp_path / "report.pdf").read_bytes()

    boxes = re.findall(rb"/MediaBox \[([\d. ]+)\]", content)
    assert {tuple(round(float(one)) for one in box.split()[2:]) for box in boxes} == {POINTS}
    assert 6 <= len(re.findall(rb"/Type /Page\b", content)) <= 12
    text = text_of(content)
    for word in (*rows, *(f"cell-{i}" for i in range(14)), "Someone (2020)."):
        assert word.replace(" ", "") in text, word


def text_of(content: bytes) -> str:
    """Letters of a PDF by Chromium, without spaces: glyphs of each font by its table of Unicode."""
    objects = {int(number): body for number, body in re.findall(rb"(?s)(\d+) 0 obj\n(.*?)endobj", content)}
    streams = {}
    for number, body in objects.items():
        head, found, rest = body.partition(b"stream\n")
        if found:
            data = rest.rpartition(b"\nendstream")[0]
            streams[number] = zlib.decompress(data) if b"FlateDecode" in head else data
    fonts = {}
    for number, body in objects.items():
        if to_unicode := re.search(rb"/ToUnicode (\d+) 0 R", body):
            fonts[number] = glyphs(streams[int(to_unicode[1])])
    text = ""
    for body in objects.values():
        if re.search(rb"/Type /Page\b", body):
            own = dict(re.findall(rb"/(F\d+) (\d+) 0 R", body))
            page = b"\n".join(streams[int(one)] for one in re.findall(rb"/Contents (\d+) 0 R", body))
            table = {}
            for font, hexed in re.findall(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>", page):
                if font:
                    table = fonts.get(int(own.get(font, b"0")), {})
                else:
                    text += "".join(table.get(int(hexed[i : i + 4], 16), "") for i in range(0, len(hexed), 4))
    return text.replace(" ", "")


def glyphs(table: bytes) -> dict[int, str]:
    """Glyph number -> letters, of a table of Unicode (CMap)."""
    found = {}
    for part in re.findall(rb"(?s)beginbfchar(.*?)endbfchar", table):
        for glyph, letters in re.findall(rb"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)>", part):
            found[int(glyph, 16)] = bytes.fromhex(letters.decode()).decode("utf-16-be")
    for part in re.findall(rb"(?s)beginbfrange(.*?)endbfrange", table):
        for first, last, letter in re.findall(rb"<([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)> <([0-9A-Fa-f]+)>", part):
            low, high, start = (int(one, 16) for one in (first, last, letter))
            found |= {glyph: chr(start + glyph - low) for glyph in range(low, high + 1)}
    return found
