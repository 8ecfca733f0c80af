"""One JupyterLab and one browser for all tests here; a fresh kernel and page for each notebook opened.

They end with this folder's tests: while playwright runs, no test elsewhere can use asyncio, as nbclient does.
"""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import lab
from tests.browser.page import HEIGHT, WIDTH, NotebookPage
from tests.tiny import write_data


@pytest.fixture(scope="package")
def project():
    """Copy of the project with images of one's own in my_data/images and my_data/masks."""
    with tempfile.TemporaryDirectory() as folder:  # a short path: it is to be seen in the screenshots
        project = lab.copy_project(Path(folder) / "NoCodeDL4Bio")
        write_data(project / "my_data", 6)
        yield project


@pytest.fixture(scope="package")
def address(project, tmp_path_factory):
    with lab.serve(project, tmp_path_factory.mktemp("private")) as address:
        yield address


@pytest.fixture(scope="package")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=lab.chromium(), args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def visit(browser, address):
    """Return a context manager: arguments of `NotebookPage` after the address -> it; its kernel ends with it."""

    @contextmanager
    def opened(name: str, by_hand: bool = False):
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        notebook = NotebookPage(context.new_page(), address, name, by_hand)
        try:
            yield notebook
        finally:
            notebook.end()
            context.close()

    return opened
