"""What a person sees who starts the notebooks by a double click: the first page, and a list of notebooks alone."""

import os
import re
import time

import pytest

from tests.browser import lab
from tests.browser.lab import missing
from utils.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Folder of a copy with an odd name, started in an empty home; its address, and what was printed."""
    folder = lab.copy_project(tmp_path_factory.mktemp("Größe (1) & mehr") / "my project")
    private = tmp_path_factory.mktemp("private")
    os.utime(folder / "requirements.txt", (0, 0))  # what runs the tests is installed
    with lab.serve(folder, private, by_script=True) as address:
        end = time.monotonic() + 10  # it looks three times a second whether JupyterLab is there
        while (
            "/lab/tree" not in (printed := (private / "lab.log").read_text(encoding="utf-8")) and time.monotonic() < end
        ):
            time.sleep(0.2)
        yield address, printed


def test_the_window_says_what_it_does_in_a_few_lines(started):
    address, printed = started
    assert "Keep this window open" in printed
    assert f"{address}/lab/tree/notebooks" in printed.replace("localhost", "127.0.0.1")
    assert len(printed.splitlines()) <= 4
    assert max(map(len, printed.splitlines())) <= 110


def test_the_list_shows_the_notebooks_with_their_whole_names(started, browser):
    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    first = re.search(r"/lab/tree/\S+", started[1]).group()
    page.goto(f"{started[0]}{first.partition('?')[0]}?reset", wait_until="domcontentloaded")
    page.locator(".jp-DirListing-item", has_text="unet_segmentation").wait_for(timeout=60_000)
    cut_off = "e => [e.innerText, e.scrollWidth - e.clientWidth]"
    shown = page.evaluate(f"[...document.querySelectorAll('.jp-DirListing-itemText')].map({cut_off})")
    assert shown == [[name, 0] for name in NOTEBOOKS]
    page.context.close()
