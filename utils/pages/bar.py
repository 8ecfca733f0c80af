"""A progress bar that is text on the page, not a widget: its end is seen in a page opened later, too."""

import html
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython
from IPython.display import display
from tqdm.std import tqdm

STEPS = "{desc}{percentage:3.0f} % {bar} {n_fmt} of {total_fmt}, {remaining} left{postfix}"
BLOCKS = 30  # of the bar where only plain text can be shown
SECONDS = 0.5  # between two drawings
_HERE = "\0"  # where the bar stands in the text
_one = {"bar": False}


@contextmanager
def one_bar() -> Iterator[None]:
    """Show none of the bars that are begun meanwhile: the one that is there already tells of all."""
    before, _one["bar"] = _one["bar"], True
    try:
        yield
    finally:
        _one["bar"] = before


def progress_bar(items: Iterable | None = None, **options: Any) -> tqdm:
    """Bar over `items`, or one that is moved by `update`; options are those of `tqdm`.

    On a page it is a `PageBar`, in a terminal that of tqdm.
    """
    options |= {"disable": True} if _one["bar"] else {}
    on_page = getattr(get_ipython(), "kernel", None) is not None
    return (PageBar if on_page else tqdm)(items, **{"mininterval": SECONDS, "bar_format": STEPS, **options})


class PageBar(tqdm):
    """Bar of tqdm that is drawn into an output of the page, and drawn anew there."""

    def __init__(self, *given: Any, **options: Any):
        self._handle = None
        super().__init__(*given, **options | {"file": io.StringIO()})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar; called by tqdm, with an empty text where it would erase it."""
        if msg == "":
            return
        if self._handle is None:
            self._handle = display(self._bundle(), raw=True, display_id=True)
        else:
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        told, done = self.format_dict, bool(self.total) and self.n >= self.total
        wanted = (told["bar_format"] or STEPS).replace("{bar}", _HERE)
        told["bar_format"] = (
            wanted.replace(", {remaining} left", "").replace("{remaining} left", "") if done else wanted
        )
        before, _, after = (part.strip(" ,") for part in self.format_meter(**told).partition(_HERE))
        share = min(1.0, self.n / self.total) if self.total else 0.0
        filled = round(BLOCKS * share)
        line = f"{before} {'█' * filled}{'░' * (BLOCKS - filled)} {after}".strip()
        style = "display: flex; flex-wrap: wrap; gap: 0 8px; align-items: center"
        meter = f'<progress value="{share:.4f}" max="1" style="width: 240px"></progress>'
        page = f'<div style="{style}"><span>{html.escape(before)}</span>{meter}<span>{html.escape(after)}</span></div>'
        return {"text/plain": line, "text/html": page}
