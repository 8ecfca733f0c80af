"""Sentences on the page, and links in them to files and folders."""

import html
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

from IPython import get_ipython
from IPython.display import display

from utils.errors import with_labels
from utils.paths import ROOT

LINE = '<div style="overflow-wrap: anywhere">{}</div>'
OPEN_FOLDER = "filebrowser:open-path"  # a command of JupyterLab


def note(text: str, *links: Path, section: str = "") -> None:
    """Show a plain text, line by line, or print it where no page can be shown; `links` are paths in it to click on.

    `section` is a heading of the notebook in the text, to click on, too. Printed text would be broken in the middle of
    words, which makes paths unreadable.
    """
    text = with_labels(text)
    if get_ipython() is None:
        print(text)
        return
    page = "".join(LINE.format(html.escape(line)) for line in text.splitlines())
    for path in links:
        page = page.replace(html.escape(str(path)), link(path))
    if section:
        page = page.replace(html.escape(section), section_link(section))
    display({"text/plain": text, "text/html": page}, raw=True)


def section_link(heading: str) -> str:
    """HTML of the heading of a section of this notebook that goes there when clicked on; in Colab it stays text."""
    text = html.escape(heading)
    if "google.colab" in sys.modules:
        return text
    return f'<a href="#{quote(heading.replace(" ", "-"))}">{text}</a>'


def link(path: Path, text: str = "") -> str:
    """HTML of a path that opens when clicked on: a file in JupyterLab or the browser, a folder in the list of files.

    `text` is what is shown in place of the path.

    JupyterLab takes a relative address as seen from the notebook, which is where its kernel works; to it, a folder is
    no document, so that its list of files is asked to go there. What lies outside of the project it cannot show, and
    Colab opens no files: there it stays text.
    """
    text = html.escape(text or str(path))
    if not path.is_relative_to(ROOT) or "google.colab" in sys.modules:
        return text
    if not path.is_dir():
        address = quote(Path(os.path.relpath(path, Path.cwd())).as_posix())
        return f'<a href="{address}" target="_blank">{text}</a>'
    arguments = html.escape(json.dumps({"path": path.relative_to(ROOT).as_posix()}))
    command = f'data-commandlinker-command="{OPEN_FOLDER}" data-commandlinker-args="{arguments}"'
    return f'<a href="{path.as_uri()}" {command}>{text}</a>'
