"""Drawing a form with what ipywidgets 7.7.1 (Colab) and 8 share; the form itself holds the state."""

import html
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipywidgets import HTML, Accordion, Button, Checkbox, DOMWidget, Dropdown, HBox, Layout, Text, VBox
from traitlets import Bool, Enum, Float, Int, TraitType

from utils.errors import FormError, label, with_labels
from utils.forms.chooser import MUTED, RED, Unfolding, styled
from utils.forms.fields import AUTOMATIC, Automatic, GroupRule, to_text
from utils.forms.going_on import Offer, models, offers
from utils.forms.possible import note_possible, reason_against
from utils.forms.settings import from_first_page, read_settings
from utils.forms.state import (
    Form,
    fill_all,
    group_choices,
    note_beside,
    note_groups,
    note_images_of,
    note_preset,
    remembered,
)
from utils.forms.taken import note_taken
from utils.paths import resolve
from utils.samples import can_be_made

MADE = ("result_folder", "model_path")  # fields with folders that are written into
FIRST = "data"  # the form of a page that offers to go on where one stopped
YES_NO = {True: "yes", False: "no"}
_picked = {"model": "models"}  # where "Load the settings of a model" starts; lives as long as the kernel


def in_words(value: Any) -> str:
    """A value as a person would say it."""
    return YES_NO[value] if isinstance(value, bool) else to_text(value)


def notes_on(form: Form, name: str) -> list[str]:
    """What is to be noted below the field `name`: where it comes from, what was chosen, which path is meant."""
    text, trait = form.shown[name], form.fields[name]
    notes = ["set by overrides"] if name in form.overridden else []
    given = from_first_page(form.form_name) if name in remembered(form) else {}
    notes += ["filled in from the first page"] * (name in given and text == to_text(given[name]))
    notes += note_beside(form, name) + note_groups(form, name) + note_preset(form, name) + note_taken(form, name)
    notes += note_images_of(form, name) + note_possible(form, name)
    if text == AUTOMATIC and name in form.settled:
        value, reason = form.settled[name]
        notes.append(f"{in_words(value)}: {reason}" if value != "" else reason)
    if trait.metadata.get("path") and text and text not in trait.metadata.get("names", ()) and "://" not in text:
        path = resolve(text)
        notes.append(f"{path} ({'found' if os.path.exists(path) else _missing(name, path)})")
    return notes


def _missing(name: str, path: Path) -> str:
    """What to say of a path where nothing is."""
    if can_be_made(path):
        return "a sample, made when it is needed"
    return "does not exist yet, and is made" if name in MADE else "does not exist: correct it, or press Choose ..."


def in_order(form: Form) -> tuple[list[str], list[str]]:
    """Names of the plain fields and of the folded-away ones, as they stand on the page."""
    folded = [name for name, trait in form.fields.items() if trait.metadata.get("advanced")]
    return [name for name in form.fields if name not in folded], folded


def as_table(form: Form) -> str:
    """The form as an HTML table for pages that cannot draw widgets: label, value and notes of each field."""
    plain, folded = in_order(form)
    rows = [_table_row(form, name) for name in plain]
    if folded:
        rows += ['<tr><th colspan="3" style="text-align: left">Advanced</th></tr>']
        rows += [_table_row(form, name) for name in folded]
    return f"<table>{''.join(rows)}</table>"


def _table_row(form: Form, name: str) -> str:
    text, style = form.shown[name], "text-align: left; vertical-align: top; overflow-wrap: break-word"
    shown = {"True": "yes", "False": "no", "": "(empty)"}.get(text, text)
    said = form.wrong.get(name) or "; ".join(note for note in notes_on(form, name) if note != "set by overrides")
    cells = (f"<b>{html.escape(label(name))}</b>", html.escape(shown), html.escape(said))
    return "<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"


class FieldRow:
    """One field: label, control, help, and below them what is to be noted, in red where the text is refused."""

    def __init__(self, form: Form, name: str) -> None:
        self.form, self.name, self.trait = form, name, form.fields[name]
        self._showing = False
        self.control = _control(self.trait, form.shown[name])
        self.control.observe(self._entered, names="value")
        self.own: Text | None = None
        if isinstance(self.trait, GroupRule):
            self.own = Text(placeholder="or a rule of your own", continuous_update=False, layout=Layout(width="180px"))
            self.own.observe(self._entered, names="value")
        self.known: Dropdown | None = None
        if tasks := self.trait.metadata.get("models"):
            self.known = _known_models(tasks)
            self.known.observe(self._picked_model, names="value")
        self.note = HTML()
        self.note.add_class("note")
        self.unfolding: Unfolding | None = None
        below = []
        if kind := self.trait.metadata.get("path"):
            kind = "folder" if kind is True else kind
            self.unfolding = Unfolding("Choose ...", "choose", kind, self._chosen, lambda: form.shown[name])
            below = [self.unfolding.box]
        right = VBox([self._field(), self.note, *below], layout=Layout(flex="1 1 300px", min_width="0"))
        title = HTML(styled(label(name), "font-weight: 600; padding: 5px 0"), layout=Layout(flex="0 0 180px"))
        self.box = HBox([title, right], layout=Layout(width="100%", overflow="visible"))
        self.box.add_class(f"field-{name}")
        self.refresh()

    def _field(self) -> DOMWidget:
        """The control with its help: below a path, which needs the width, beside anything else."""
        if self.unfolding:
            line = HBox([self.control, self.unfolding.button], layout=Layout(width="auto"))
            known = [self.known] if self.known else []
            return VBox([line, *known, HTML(styled(self.trait.help, MUTED))], layout=Layout(overflow="visible"))
        beside = HTML(styled(self.trait.help, f"{MUTED}; padding: 5px 8px"), layout=Layout(flex="1 1 260px"))
        own = [self.own] if self.own else []
        return HBox([self.control, *own, beside], layout=Layout(flex_flow="row wrap", align_items="flex-start"))

    def refresh(self) -> None:
        """Show what the form holds."""
        text, wrong = self.form.shown[self.name], self.form.wrong.get(self.name)
        self._showing = True  # new options are no choice of a person
        if self.own:
            self.control.options = group_choices(self.form, self.name)
            self.own.value = ""
        self.control.value = text == "True" if isinstance(self.trait, Bool) else text
        # What is ticked already can be taken back.
        self.control.disabled = text != "True" and bool(reason_against(self.form, self.name))
        if self.known:
            self.known.value = text if text in dict(self.known.options).values() else ""
        self._showing = False
        self.control.layout.border = f"2px solid {RED}" if wrong else None
        self.note.value = styled(wrong, f"color: {RED}") if wrong else self._info()
        self.note.layout.display = None if self.note.value else "none"

    def _info(self) -> str:
        notes = notes_on(self.form, self.name)
        return styled("; ".join(notes), f"{MUTED}; overflow-wrap: anywhere") if notes else ""

    def _entered(self, change: Any) -> None:
        text = to_text(change["new"])
        cleared = change["owner"] is self.own and not text
        if text != self.form.shown[self.name] and not cleared and not self._showing:
            self.form.enter(self.name, text)

    def _chosen(self, text: str) -> None:
        self.form.enter(self.name, text)

    def _picked_model(self, change: Any) -> None:
        if change["new"] and not self._showing:
            self.form.enter(self.name, change["new"])


class FormView:
    """All fields of a form, the advanced ones folded away, and the buttons."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.rows = {name: FieldRow(form, name) for name in form.fields}
        self.load = _button("Load my last settings", "load-last", self._load)
        self.model = Unfolding(
            "Load the settings of a model", "load-model", "folder", self._load_model, lambda: _picked["model"]
        )
        self.defaults = _button("Back to defaults", "defaults", self._back)
        self.message = HTML()
        self.message.add_class("message")
        shown = [self.load, self.model.button, self.defaults] if form.is_kept else []
        buttons = HBox(shown, layout=Layout(flex_flow="row wrap"))
        self.advanced = Accordion(layout=Layout(width="auto"))
        fields = self._fields()
        layout = Layout(width="100%", max_width="1100px", overflow="visible")
        self.going_on = VBox([], layout=Layout(overflow="visible"))
        self.box = VBox([self.going_on, *fields, buttons, self.model.box, self.message], layout=layout)
        self.box.add_class(f"form-{form.form_name}")
        if form.form_name == FIRST and not form.headless:
            self.going_on.children = [self._offer(one) for one in offers()]
        if form.filled:
            self._say(form.filled)
        self.refresh()

    def _offer(self, offer: Offer) -> DOMWidget:
        """A line with a button that fills all forms."""
        button = _button(offer.title, "go-on", lambda button: self._go_on(offer))
        button.button_style = "primary"
        about = HTML(styled(offer.about, "padding: 5px 8px"))
        return HBox([button, about], layout=Layout(flex_flow="row wrap", overflow="visible"))

    def _go_on(self, offer: Offer) -> None:
        self._say(fill_all(offer))
        self.going_on.children = [HTML(styled(offer.done, "padding: 5px 0"))]

    def _fields(self) -> list[DOMWidget]:
        """Rows of the plain fields, then the folded-away ones, if any."""
        plain, folded = ([self.rows[name].box for name in names] for names in in_order(self.form))
        if not folded:
            return plain
        self.advanced.children = [VBox(folded)]
        self.advanced.set_title(0, "Advanced")
        self.advanced.selected_index = None
        return [*plain, self.advanced]

    def refresh(self) -> None:
        """Show what the form holds; an advanced field to be corrected is unfolded."""
        for row in self.rows.values():
            row.refresh()
        if any(self.form.fields[name].metadata.get("advanced") for name in self.form.wrong):
            self.advanced.selected_index = 0
        self.load.disabled = not self._has_settings()

    def _has_settings(self) -> bool:
        try:
            return self.form.form_name in read_settings()
        except FormError as error:
            self._say(error)
            return False

    def _load(self, button: Button) -> None:
        try:
            self._say(self.form.load())
        except FormError as error:
            self._say(error)

    def _load_model(self, text: str) -> None:
        _picked["model"] = text
        try:
            self._say(self.form.load_model(text))
        except FormError as error:
            self._say(error)

    def _back(self, button: Button) -> None:
        self.form.back_to_defaults()
        self._say("All fields show their defaults.")

    def _say(self, message: object) -> None:
        self.message.value = styled(with_labels(str(message)))


def _control(trait: TraitType, text: str) -> DOMWidget:
    """Widget for the kind of field; numbers are plain text fields, because bounded ones change a value silently."""
    if isinstance(trait, Bool):
        return Checkbox(value=text == "True", indent=False, layout=Layout(width="28px", flex="0 0 28px"))
    if isinstance(trait, Automatic) and isinstance(trait.inner, (Bool, Enum)):
        values = trait.inner.values if isinstance(trait.inner, Enum) else (True, False)
        options = [(in_words(one), str(one)) for one in values]
        layout = Layout(width="max-content", min_width="200px")
        return Dropdown(options=[(AUTOMATIC, AUTOMATIC), *options], value=text, layout=layout)
    if isinstance(trait, GroupRule):
        return Dropdown(options=[(text, text)], value=text, layout=Layout(width="max-content", min_width="200px"))
    if isinstance(trait, Enum):
        layout = Layout(width="max-content", min_width="200px")
        return Dropdown(options=[str(option) for option in trait.values], value=text, layout=layout)
    if trait.metadata.get("path"):
        layout = Layout(width="auto", flex="1 1 200px", min_width="0")
    else:
        words = "320px" if trait.metadata.get("wide") else "240px"
        layout = Layout(width="120px" if isinstance(trait, (Int, Float, Automatic)) else words)
    # Sent on Enter or on leaving the field: a half-typed number is no mistake yet.
    return Text(value=text, continuous_update=False, layout=layout)


def _known_models(tasks: tuple[str, ...]) -> Dropdown:
    """The trained models that are there, to choose one from."""
    found = models(tasks)
    first = f"choose from {len(found)} trained models ..." if len(found) > 1 else "choose the trained model ..."
    layout = Layout(width="auto", max_width="100%", display=None if found else "none")
    dropdown = Dropdown(options=[(first, ""), *found], layout=layout)
    dropdown.add_class("known-models")
    return dropdown


def _button(title: str, name: str, click: Callable[[Button], None]) -> Button:
    button = Button(description=title, layout=Layout(width="auto"))
    button.add_class(name)
    button.on_click(click)
    return button
