"""A notebook in JupyterLab as a person uses it: run, read, stop, look."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.form import KERNEL_IS_IDLE, SESSION, FormOnPage
from utils.paths import ROOT

SCREENSHOTS = ROOT / "results" / "screenshots"
WIDTH, HEIGHT = 1300, 1000  # pixels of a small laptop
MARGIN = 220  # pixels that JupyterLab's bars take above and below the notebook
TALLEST = 4000  # pixels of a screenshot
PATIENCE = 600  # seconds, for what takes one minute: machines that run tests may be very slow for a while
CELLS = "window.jupyterapp.shell.currentWidget.content.widgets"


class NotebookPage:
    """One notebook, opened in a page of the browser.

    Parameters
    ----------
    page : playwright.sync_api.Page
        Fresh.
    address : str
        Of the server.
    name : str
        Name of the notebook, without folder and ending.
    by_hand : bool
        Open it by a double click in the list of files, not by its address.
    """

    def __init__(self, page, address: str, name: str, by_hand: bool = False) -> None:
        self.page, self.name = page, name
        where = f"/{name}.ipynb" * (not by_hand)
        page.goto(f"{address}/lab/tree/notebooks{where}?reset", wait_until="domcontentloaded")
        if by_hand:
            page.locator(".jp-DirListing-item", has_text=f"{name}.ipynb").dblclick()
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.get_by_text("| Idle").wait_for(timeout=60_000)  # before, Run All would ask which kernel to use
        self.sections = list(self._sections())

    def _sections(self) -> Iterator[str]:
        """Number of the section that each cell belongs to, such as 3.1; empty before the first."""
        section = ""
        for source in self.page.evaluate(f"{CELLS}.map(c => c.model.sharedModel.getSource())"):
            if found := re.findall(r"^#{2,3} (\d(?:\.\d)?)", source, re.MULTILINE):
                section = found[-1]
            yield section

    # running

    def run_all(self) -> None:
        """Menu Run, Run All Cells."""
        self.menu_run("Run All Cells")

    def menu_run(self, item: str) -> None:
        """An item of the menu Run."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{item}$")).click()

    def click_heading(self, section: str) -> None:
        """Click on the heading of a section, which selects its cell."""
        self.page.locator(".jp-MarkdownCell h2, .jp-MarkdownCell h3", has_text=re.compile(rf"^{section}\b")).click()

    def run_section(self, *sections: str) -> None:
        """Run the code of sections, cell by cell; what comes after them does not run."""
        kinds = self.page.evaluate(f"{CELLS}.map(c => c.model.type)")
        for i, (kind, section) in enumerate(zip(kinds, self.sections, strict=True)):
            if kind == "code" and section in sections:
                self.run_cell(i)

    def run_cell(self, i: int) -> None:
        """Go to cell i and press the toolbar's button to run it."""
        self.page.evaluate("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }", i)
        self.page.locator('[data-command="notebook:run-cell-and-select-next"]').first.click()

    def interrupt(self) -> None:
        """Press the stop button of the toolbar."""
        self.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()

    def end(self) -> None:
        """End the notebook's kernel, so that the next test begins with a fresh one."""
        self.page.evaluate(f"() => {SESSION}.shutdown()")

    def wait(self) -> None:
        """Wait until nothing runs any more."""
        at_rest = f"{CELLS}.every(c => !['running', 'scheduled'].includes(c.model.executionState))"
        self.page.wait_for_timeout(300)  # until the click has arrived
        self.page.wait_for_function(f"() => {KERNEL_IS_IDLE} && {at_rest}", timeout=1000 * PATIENCE)

    # reading

    def form(self, name: str) -> FormOnPage:
        """The form of that name."""
        return FormOnPage(self.page, name)

    def forms(self) -> list[str]:
        """Names of the forms that are there, from top to bottom."""
        classes = " ".join(self.page.locator("[class*=form-]").evaluate_all("all => all.map(e => e.className)"))
        return list(dict.fromkeys(re.findall(r"(?<!\S)form-(\w+)", classes)))

    def output(self, *sections: str):
        """Everything that the cells of these sections show."""
        numbers = [i for i, section in enumerate(self.sections) if section in sections]
        chosen = ", ".join(f'.jp-Cell[data-windowed-list-index="{i}"] .jp-Cell-outputArea' for i in numbers)
        return self.page.locator(chosen)

    def text(self, *sections: str) -> str:
        """Text of these outputs."""
        return "\n".join(self.output(*sections).all_inner_texts())

    def wait_for_text(self, pattern: str, section: str) -> None:
        """Wait until the last output of a section holds what the pattern describes, else say what it holds."""
        from playwright.sync_api import TimeoutError as TooLate  # here, as tests are collected without playwright, too

        found = self.output(section).last.get_by_text(re.compile(pattern)).first
        try:
            found.wait_for(state="attached", timeout=1000 * PATIENCE)
        except TooLate as error:
            raise AssertionError(f"No {pattern} after {PATIENCE} s, but: {self.text(section)}") from error

    def errors(self) -> list[str]:
        """Text of every error on the page."""
        return [" ".join(one["traceback"]) for one in self._outputs() if one["output_type"] == "error"]

    def warnings(self) -> list[str]:
        """What libraries wrote beside the results."""
        return [one["text"] for one in self._outputs() if one.get("name") == "stderr"]

    def _outputs(self) -> list[dict]:
        outputs = self.page.evaluate(f"{CELLS}.map(c => c.model.outputs ? c.model.outputs.toJSON() : [])")
        return [one for cell in outputs for one in cell]

    def code_in_sight(self) -> list[str]:
        """What is to be seen of the source of code cells; of a hidden one, the first line, which may be a title."""
        seen = []
        for i in range(len(self.sections)):
            self.page.evaluate(f"i => {CELLS}[i].node.scrollIntoView()", i)
            wrapper = self.page.locator(f'.jp-CodeCell[data-windowed-list-index="{i}"] .jp-Cell-inputWrapper')
            seen += wrapper.all_inner_texts()
        return [source for source in seen if not re.fullmatch(r"\s*(#[^\n]*)?\s*", source)]

    # looking

    def theme(self, name: str) -> None:
        """Change to the theme "Light" or "Dark" of JupyterLab."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", f"JupyterLab {name}"
        )
        self.page.wait_for_selector(f'body[data-jp-theme-light="{str(name == "Light").lower()}"]', state="attached")

    def show(self, section: str) -> None:
        """Scroll to the last output of a section."""
        self.output(section).last.scroll_into_view_if_needed()

    def screenshot(self, name: str, part=None) -> Path:
        """Write results/screenshots/<name>.png of a part of the page, or of the window as it is."""
        path = SCREENSHOTS / f"{name}.png"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.mouse.move(0, 0)  # what lies below the pointer looks different
        if part is None:
            self.page.screenshot(path=path)
            return path
        with self._tall_enough(part):
            part.screenshot(path=path)
        return path

    def screenshot_of_outputs(self, *sections: str) -> None:
        """One screenshot for each cell of these sections that shows something: <notebook>_<section>_<number>.png."""
        for section in sections:
            shown = [one for one in self.output(section).all() if one.locator(".jp-OutputArea-child").count()]
            for number, one in enumerate(shown, 1):
                self.screenshot(f"{self.name}_{section}_{number}", one)

    @contextmanager
    def _tall_enough(self, part) -> Iterator[None]:
        """Make the window as tall as the part, because JupyterLab clips what is scrolled out of it."""
        tall = min(part.bounding_box()["height"] + MARGIN, TALLEST)
        self.page.set_viewport_size({"width": WIDTH, "height": int(max(HEIGHT, tall))})
        try:
            yield
        finally:
            self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
