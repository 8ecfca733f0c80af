"""Sentences on the page."""

import html

from IPython import get_ipython
from IPython.display import display

from utils.errors import with_labels


def note(text: str) -> None:
    """Show a plain text, line by line, or print it where no page can be shown.

    Printed text would be broken in the middle of words, which makes paths unreadable.
    """
    text = with_labels(text)
    if get_ipython() is None:
        print(text)
        return
    lines = "".join(f'<div style="overflow-wrap: anywhere">{html.escape(line)}</div>' for line in text.splitlines())
    display({"text/plain": text, "text/html": lines}, raw=True)
