"""A progress bar that is text on the page, not a widget: its end is seen in a page opened later, too."""

import html
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython
from IPython.display import display
from tqdm.std import tqdm

from utils.pages import corner

STEPS = "{desc}{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {remaining} left{postfix}"
BAR = "{desc} {percentage:3.0f} % {bar} {remaining} left{postfix}"  # of rounds of training
SEARCH = "{desc}: {percentage:3.0f} % {bar} {n_fmt} steps, {remaining} left"
BLOCKS = 30  # of the bar where only plain text can be shown
SECONDS = 0.5  # between two drawings
_HERE = "\0"  # where the bar stands in the text
_one: dict[str, str | None] = {"bar": None}  # what a bar that tells of all the others is about


@contextmanager
def one_bar(about: str = "") -> Iterator[None]:
    """Show none of the bars that are begun meanwhile: the one that is there already tells of all.

    `about` says where that is, before what is `doing`.
    """
    before, _one["bar"] = _one["bar"], about
    try:
        yield
    finally:
        _one["bar"] = before


def doing(text: str) -> None:
    """Say in the corner of the window what is done, until a bar moves; for what takes long and has none."""
    corner.now().doing(f"{_one['bar']}: {text}" if _one["bar"] else text)


@contextmanager
def stretch(begin: float, end: float) -> Iterator[None]:
    """Let bars that are begun meanwhile be a part of the whole, from 0 to 1; not those that one bar tells of."""
    if _one["bar"] is not None:
        yield
        return
    with corner.now().stretch(begin, end):
        yield


def go_on_from(share: float) -> None:
    """Let bars from now on, in this cell, be what comes after that share of the whole; see `stretch`."""
    if _one["bar"] is None:
        corner.now().go_on_from(share)


def progress_bar(items: Iterable | None = None, **options: Any) -> tqdm:
    """Bar over `items`, or one that is moved by `update`; options are those of `tqdm`.

    On a page it is a `PageBar`, in a terminal that of tqdm.
    """
    options |= {"disable": True} if _one["bar"] is not None else {}
    on_page = getattr(get_ipython(), "kernel", None) is not None
    return (PageBar if on_page else tqdm)(items, **{"mininterval": SECONDS, "bar_format": STEPS, **options})


@contextmanager
def search_bar(total: int, desc: str, **options: Any) -> Iterator[tqdm]:
    """Bar of a search that takes at most `total` steps; it is full when the search is over, however few it took."""
    with progress_bar(total=total, desc=desc, bar_format=SEARCH, **options) as moved:
        yield moved
        moved.total = moved.n
        moved.refresh()


class PageBar(tqdm):
    """Bar of tqdm that is drawn into an output of the page, and drawn anew there."""

    def __init__(self, *given: Any, **options: Any):
        self._handle, self._over = None, False
        super().__init__(*given, **options | {"file": io.StringIO()})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar; called by tqdm, with an empty text where it would erase it."""
        if msg == "":
            return
        if self._handle is None:
            self._handle = display(self._bundle(), raw=True, display_id=True)
        else:
            self._handle.update(self._bundle(), raw=True)
        ends = " ..." if self._over else ""  # the cell goes on, or says itself that it is done
        corner.now().tell(f"{self._said()}{ends}", self._share(), self.n > self.initial)

    def close(self) -> None:
        """End the bar: its last drawing stays."""
        self._over = True
        super().close()

    def _share(self) -> float:
        return min(1.0, self.n / self.total) if self.total else 0.0

    def _said(self) -> str:
        """What the corner says: what is done, how far it is, and what is left."""
        before, after = (part.replace("{", "{{").replace("}", "}}") for part in self._parts())
        left, whole = re.search(r"[\d:?]+ left", after), corner.now().is_whole
        before = re.sub(r"(?<=\d) +(?=\d+ %$)", ": ", before)  # else it reads "part 1 of 5 7 %"
        before = re.sub(r"\d+ %$", "{share}", before)
        return f"{before}{f', {left[0]}' if left else ''}{' of this step' * (bool(left) and not whole)}"

    def _parts(self) -> tuple[str, str]:
        """Text before the bar and after it."""
        told, done = self.format_dict, bool(self.total) and self.n >= self.total
        wanted = (told["bar_format"] or STEPS).replace("{bar}", _HERE)
        told["bar_format"] = (
            wanted.replace(", {remaining} left", "").replace("{remaining} left", "") if done else wanted
        )
        before, _, after = (part.strip(" ,") for part in self.format_meter(**told).partition(_HERE))
        return before, after

    def _bundle(self) -> dict[str, str]:
        (before, after), share = self._parts(), self._share()
        filled = round(BLOCKS * share)
        line = f"{before} {'█' * filled}{'░' * (BLOCKS - filled)} {after}".strip()
        style = "display: flex; flex-wrap: wrap; gap: 0 8px; align-items: center"
        meter = f'<progress value="{share:.4f}" max="1" style="width: 240px"></progress>'
        page = f'<div style="{style}"><span>{html.escape(before)}</span>{meter}<span>{html.escape(after)}</span></div>'
        return {"text/plain": line, "text/html": page}
