"""How far a long cell is stands in the corner of the window and in the title of the tab, wherever the page stands."""

import re

import nbformat
import pytest

from tests.browser.lab import missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

SET_UP = """import sys, time
from pathlib import Path
sys.path.insert(0, str(Path.cwd().parent))
from utils.locks import introduce
from utils.pages import corner
from utils.pages.bar import doing, progress_bar
corner.watch()
introduce("my_page")"""
LONG = """for _ in progress_bar(range({}), desc="Images: "):
    time.sleep(0.25)"""


def write_page(project, name, cells):
    """Write a notebook beside those of the project."""
    page = nbformat.v4.new_notebook(cells=cells)
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(page, project / "notebooks" / f"{name}.ipynb")


@pytest.fixture
def long_page(project, visit):
    """A page whose first cells run for seconds, far above its end."""
    cells = [nbformat.v4.new_code_cell(one) for one in (SET_UP, LONG.format(40), LONG.format(400))]
    cells += [nbformat.v4.new_markdown_cell("# Heading\n\n" + "text\n\n" * 20) for _ in range(12)]
    write_page(project, "long", [*cells, nbformat.v4.new_code_cell("print('the end')")])
    with visit("long") as notebook:
        yield notebook


def test_the_corner_of_the_window_and_the_title_say_how_far_a_cell_is_and_that_it_is_done(long_page):
    page, box = long_page.page, long_page.page.locator("#nocode-corner")
    title = page.title()
    long_page.run_all()
    box.get_by_text(re.compile(r"Images: +\d+ %, \d+:\d+ left")).wait_for(timeout=30_000)
    at_the_end = "document.elementFromPoint(640, 500).textContent"
    assert "Images" not in page.evaluate(at_the_end)  # the bar itself is out of sight
    assert re.fullmatch(r"\d+ % my_page", page.title())
    long_page.screenshot("corner")
    corner, window = box.bounding_box(), page.viewport_size
    assert corner["x"] + corner["width"] <= window["width"]
    assert corner["y"] + corner["height"] <= window["height"]
    assert page.evaluate("b => document.elementFromPoint(b.x + 5, b.y + 5).id", corner) == "nocode-corner"
    box.get_by_text(re.compile(r"running for 0:\d\d")).wait_for()
    box.get_by_text(re.compile(r"Done after 1\d s$")).wait_for(timeout=30_000)  # the whole cell
    assert page.title() == "✓ my_page"
    box.get_by_text(re.compile(r"Images: +\d+ %, \d+:\d+ left")).wait_for(timeout=30_000)  # that of the next cell
    box.click()
    page.wait_for_timeout(500)
    seen = page.locator(".jp-OutputArea progress").last.bounding_box()
    assert 0 < seen["y"] < window["height"]
    long_page.interrupt()
    long_page.wait()
    assert box.count() == 0
    assert page.title() == title


QUIET = """corner.SILENCE, corner.BEAT = 4, 1
doing("Preparing: a network")
time.sleep(8)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)"""


@pytest.fixture
def quiet_page(project, visit):
    """A page with a cell that says nothing for a while, and whose kernel then dies."""
    write_page(project, "quiet", [nbformat.v4.new_code_cell(one) for one in (SET_UP, QUIET)])
    with visit("quiet") as notebook:
        yield notebook


def test_a_training_is_told_at_once_with_a_clock_that_goes_on_and_so_is_a_kernel_that_died(quiet_page):
    page, box = quiet_page.page, quiet_page.page.locator("#nocode-corner")
    title = page.title()
    quiet_page.run_all()
    box.get_by_text("my_page: Preparing: a network").wait_for(timeout=30_000)
    for second in (2, 4, 6):  # longer than the silence that is allowed
        box.get_by_text(f"running for 0:0{second}").wait_for(timeout=5_000)
    assert page.title() == "0 % my_page"
    quiet_page.screenshot("corner_preparing")
    box.get_by_text(re.compile("no sign of life for 4 seconds")).wait_for(timeout=20_000)
    assert page.title() == title
    quiet_page.screenshot("corner_silent")
    for button in page.locator(".jp-Dialog button.jp-mod-accept").all():  # JupyterLab says that it died, too
        button.click()
    box.click()
    assert box.count() == 0
