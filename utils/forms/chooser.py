"""A folder or a file chosen by clicking: what unfolds below a path field; it only hands over the text of a path."""

import html
import os
from collections.abc import Callable
from pathlib import Path

from ipywidgets import HTML, Button, Combobox, Dropdown, HBox, Layout, Select, VBox

from utils.forms.folders import Listing, contents, list_folder, meant, path_text
from utils.forms.places import completions, keep_chosen, places
from utils.paths import ROOT, resolve

MOST = 500  # entries shown: a browser becomes slow with very long lists
GO_TO = "Go to ..."
RED = "#e53935"  # legible on white and on black
MUTED = "opacity: 0.8"  # of the theme's own colour, light or dark


class Chooser:
    """Widgets that go through the folders of this computer; `here` is the folder shown.

    `choose` is called with the text of the path when a folder, or a file, is chosen; `close` is called before that, and
    on "Cancel". `kind`, what can be chosen, is "folder", "file" or "folder or file".
    """

    def __init__(self, choose: Callable[[str], None], close: Callable[[], None], kind: str = "folder") -> None:
        self.choose, self.close, self.kind = choose, close, kind
        self.here, self._showing, self._typing = ROOT, False, False
        self.places = Dropdown(layout=Layout(width="auto", min_width="160px"))
        self.up = Button(description="Up", icon="arrow-up", layout=Layout(width="auto"))
        self.typed = Combobox(placeholder="or type or paste a path", layout=Layout(width="auto", flex="1 1 220px"))
        self.folder, self.message = HTML(), HTML()
        self.entries = Select(rows=10, layout=Layout(width="100%", margin="4px 0"))
        self.use = Button(description="Use this folder", button_style="primary", layout=Layout(width="auto"))
        self.use.layout.display = "none" if kind == "file" else None
        self.cancel = Button(description="Cancel", layout=Layout(width="auto"))
        self.box = self._laid_out()
        self.places.observe(self._to_place, names="value")
        self.entries.observe(self._clicked, names="value")
        self.typed.observe(self._to_typed, names="value")
        self.up.on_click(lambda button: self.go(self.here.parent))
        self.use.on_click(lambda button: self._choose_folder())
        self.cancel.on_click(lambda button: self.close())

    def _laid_out(self) -> VBox:
        names = {
            "places": self.places,
            "up": self.up,
            "typed": self.typed,
            "here": self.folder,
            "entries": self.entries,
        }
        for name, widget in (names | {"use": self.use, "cancel": self.cancel}).items():
            widget.add_class(name)
        border = "1px solid var(--jp-border-color1, #9e9e9e)"
        layout = Layout(border=border, padding="6px", margin="2px 2px 8px 2px", overflow="visible")
        wrap = Layout(flex_flow="row wrap", overflow="visible")
        top, bottom = HBox([self.places, self.up, self.typed], layout=wrap), HBox([self.use, self.cancel], layout=wrap)
        box = VBox([top, self.folder, self.entries, self.message, bottom], layout=layout)
        box.add_class("chooser")
        return box

    def open(self, text: str) -> None:
        """Show the folder that `text` names, else the nearest one above it that exists, else the project's."""
        path = resolve(text) if text.strip() else ROOT
        named = path if os.path.isdir(path) else path.parent if os.path.isfile(path) else None
        self.places.options = [(GO_TO, ""), *places(named if text.strip() else None)]
        self.places.index = 0
        self.go(named or path, complain=False)

    def go(self, folder: Path, complain: bool = True) -> None:
        """Show `folder`; where it cannot be read, say so and show the nearest folder above it that can be."""
        reason = ""
        for candidate in (folder, *folder.parents):
            try:
                listing = list_folder(candidate)
                break
            except (OSError, ValueError) as error:  # ValueError: a character that no path can hold
                reason = reason or _reason(folder, error)
        else:
            candidate, listing = ROOT, Listing([], [])
        self._show(candidate, listing, reason if complain else "")

    def _show(self, folder: Path, listing: Listing, reason: str) -> None:
        self.here = folder
        self.folder.value = styled(str(folder), "font-weight: 600; overflow-wrap: anywhere; padding: 2px 0")
        options = [(name + "/" * (self.kind != "folder"), str(folder / name)) for name in listing.folders]
        options += [(name, str(folder / name)) for name in listing.files if self.kind != "folder"]
        self._list(options[:MOST])
        self.up.disabled = folder.parent == folder
        more = len(options) - MOST
        rest = f" {more} more are not listed: type the path of such a one into the field." if more > 0 else ""
        rest += "" if listing.folders else " No folders in here: press Up to look elsewhere."
        self.say(f"{reason} In this folder: {contents(listing)}.{rest}".strip())

    def _list(self, options: list[tuple[str, str]]) -> None:
        """Put in new entries; the widget then picks the first by itself, which must not count as a click."""
        self._showing = True
        self.typed.value = self.typed.value if self._typing else ""
        self.entries.options = options
        self.entries.index = None
        self._showing = False

    def say(self, message: str) -> None:
        """Show one line below the list."""
        self.message.value = styled(message, f"{MUTED}; overflow-wrap: anywhere")

    def _to_typed(self, change: dict) -> None:
        """Offer what the typed path may go on with, and show its folder as soon as it is one."""
        text, path = change["new"], meant(change["new"])
        if self._showing or path is None:
            return
        if os.path.isdir(path) and path != self.here:
            self._typing = True
            self.go(path)
            self._typing = False
        found = completions(text) + completions(f"{path}/" if path == self.here else "")
        self.typed.options = list(dict.fromkeys(found))

    def _to_place(self, change: dict) -> None:
        if change["new"]:
            self.places.index = 0
            self.go(Path(change["new"]))

    def _clicked(self, change: dict) -> None:
        if change["new"] is None or self._showing:
            return
        path = Path(change["new"])
        if self.kind != "folder" and os.path.isfile(path):
            self._hand_over(path)
        else:
            self.go(path)

    def _choose_folder(self) -> None:
        try:
            list_folder(self.here)
        except OSError:
            self.go(self.here)
        else:
            self._hand_over(self.here)

    def _hand_over(self, path: Path) -> None:
        text = path_text(path)
        if text is None:
            self.say(f"{path} begins or ends with a space or a quotation mark. Please rename it, then choose it.")
            return
        self.close()
        keep_chosen(path if os.path.isdir(path) else path.parent)
        self.choose(text)


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{folder} is no longer there."
    return f"{folder} cannot be opened ({getattr(error, 'strerror', None) or error})."


class Unfolding:
    """A button and, in `box` while it is unfolded, the chooser of a folder or file, made when it is first needed."""

    def __init__(
        self, title: str, name: str, kind: str, choose: Callable[[str], None], start: Callable[[], str]
    ) -> None:
        self.choose, self.kind, self.start = choose, kind, start
        self.chooser: Chooser | None = None
        self.button = Button(description=title, layout=Layout(width="auto", flex="0 0 auto"))
        self.button.add_class(name)
        self.button.on_click(lambda button: self.close() if self.box.children else self.open())
        self.box = VBox([], layout=Layout(overflow="visible"))

    def open(self) -> None:
        """Unfold the chooser."""
        self.chooser = self.chooser or Chooser(self.choose, self.close, self.kind)
        self.chooser.open(self.start())
        self.box.children = [self.chooser.box]

    def close(self) -> None:
        """Fold it away."""
        self.box.children = []


def styled(text: str, style: str = "") -> str:
    """HTML of a plain `text`, with `style` as further CSS."""
    return f'<div style="line-height: 1.3; {style}">{html.escape(text)}</div>'
