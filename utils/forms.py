"""Forms: a parameter is declared once, as a trait, and that draws, checks, keeps and saves its field.

    class Training(Form):
        number_of_epochs = Int(100, min=1, max=5000, help="rounds of training")

    training = Training(**overrides.get("training", {}))
    training                      # shows the form
    training.number_of_epochs     # the value shown, or FormError while it is not valid

A value comes from, in this order: overrides (given to the form), typed (kept per form name while the kernel lives),
preset, default. What is shown is what runs: the texts shown are the form's only state, every value is read from them.
"""

import os
from collections.abc import Callable
from typing import Any

from traitlets import TraitError, Unicode

from utils.errors import FormError
from utils.form_beside import annotations_beside, found_again, found_beside
from utils.form_declaration import Declaration, refusal
from utils.form_fields import parse, to_text
from utils.form_memory import remember, remembered, remembered_texts
from utils.form_models import model_values
from utils.form_settings import notebook, read_settings, save_settings
from utils.form_widgets import FormView
from utils.paths import resolve

__all__ = ["Form", "notebook", "parameters", "save_settings"]


class Form(Declaration):
    """Base of all forms; a subclass declares its fields as traits Bool, Enum, Int, Float or Unicode.

    ``help=`` is the text beside the field, ``.tag(advanced=True)`` folds it away. ``.tag(path=True)`` shows the path
    that is meant and offers to choose a folder (``path="file"``: a file, ``path="folder or file"``: either;
    ``names=("2D_demo",)``: what may stand there too and is no path);
    ``.tag(path=True, beside="training_source")`` is filled in with the annotations found beside that folder.
    A rule between fields is a `traitlets.validate` method whose TraitError says "must ...".
    A field ``preset`` with the class attribute ``presets = {name: {field: value}}`` fills other fields.
    Setting an attribute counts as typing.

    Parameters
    ----------
    **overrides
        Values by field name; they go before anything typed earlier and before the preset.

    Attributes
    ----------
    headless : bool
        Whether overrides were given.
    shown, wrong : dict of str to str
        Text of each field; why it is refused, for those that are.

    Raises
    ------
    FormError
        If an override is unknown or not valid.
    """

    def __init__(self, **overrides: Any) -> None:
        super().__init__()
        self.headless = bool(overrides)
        self.shown: dict[str, str] = {}
        self.wrong: dict[str, str] = {}
        self._view: FormView | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._overridden = {name: self.text_of(name, value) for name, value in overrides.items()}
        texts = self._first_texts()
        again = found_again(self, texts)
        remember(self, again, found=True)
        self._show(texts | again)
        if refused := {name: reason for name, reason in self.wrong.items() if name in self._overridden}:
            raise refusal(self.form_name, self.shown, refused)

    def __getattribute__(self, name: str) -> Any:
        if name in type(self).fields and name in (wrong := self.__dict__.get("wrong", {})):
            raise refusal(self.form_name, self.shown, {name: wrong[name]})
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).fields:
            self.enter(name, self.text_of(name, value))
        else:
            super().__setattr__(name, value)

    @property
    def overridden(self) -> set[str]:
        """Fields whose value was given as an override and has not been changed in the form since."""
        return set(self._overridden)

    def values(self) -> dict[str, Any]:
        """All values in order of declaration.

        Raises
        ------
        FormError
            If a field shows something that is not valid; the message names each such field, its text and its rule.
        """
        if self.wrong:
            raise refusal(self.form_name, self.shown, self.wrong)
        return {name: getattr(self, name) for name in self.fields}

    def enter(self, name: str, text: str) -> None:
        """Take `text` into the field `name` as typed; wrong text stays shown and is refused when values are asked for.

        A preset fills every field that any preset names, except overridden ones, and what was typed there is forgotten.
        """
        self._overridden.pop(name, None)
        filled = self.governed_texts(text) if name == "preset" else {}
        filled = {field: one for field, one in filled.items() if field not in self._overridden}
        text, found = found_beside(self, name, text)
        for field in filled:
            remembered(self).pop(field, None)
        remember(self, found, found=True)
        remember(self, {name: text})
        self._show(filled | found | {name: text})

    def may_be_found(self, name: str) -> bool:
        """Whether the form may fill in the field `name` by itself: not over what a person or an override gave."""
        typed = remembered(self).get(name)
        return name not in self._overridden and (typed is None or typed.found or not self.shown[name])

    def found(self, name: str) -> bool:
        """Whether the form itself filled in, or emptied, the field `name`, see `utils.form_beside`."""
        typed = remembered(self).get(name)
        return typed is not None and typed.found and name not in self._overridden and typed.text == self.shown[name]

    def load(self) -> str:
        """Fill in the values last saved for this form in this notebook.

        Returns
        -------
        str
            What was done, naming saved values that no longer fit; those fields are left as they are.

        Raises
        ------
        FormError
            If nothing was saved for this form or the file is damaged.
        """
        saved = read_settings().get(self.form_name)
        if saved is None:
            raise FormError("No settings of this form were saved yet.")
        return "Your last settings are filled in." + self._fill(saved)

    def load_model(self, folder: str | os.PathLike) -> str:
        """Fill in the values that the model in `folder` was trained with; its name and place stay those of the form.

        Returns
        -------
        str
            What was done, naming values that do not fit here and fields that only one side knows.

        Raises
        ------
        FormError
            If `folder` is no model folder, or the model was made by another notebook or says nothing about this form.
        """
        text = parse(Unicode().tag(path=True), os.fspath(folder))
        if not text:
            raise FormError("No folder was named. Please choose the folder of a trained model.")
        folder = resolve(text)
        values, differences = model_values(self, folder)
        done = f'The settings of this form ("{self.form_name}") of the model {folder.name} are filled in; '
        return done + "do the same in the other forms." + self._fill(values) + differences

    def _fill(self, saved: dict[str, Any]) -> str:
        """Take `saved` values as typed; returns sentences on those that no longer fit."""
        texts, refused = self.fitting(saved)
        self._overridden = {name: text for name, text in self._overridden.items() if name not in texts}
        remember(self, texts)
        beside = {name: annotations_beside(texts.get(self.beside(name), "")) for name in texts}
        remember(self, {name: text for name, text in texts.items() if text and text == beside[name]}, found=True)
        self._show(texts)
        return refused

    def back_to_defaults(self) -> None:
        """Show the declared defaults in all fields and forget what was typed."""
        remembered(self).clear()
        self._overridden = {}
        self._show(self.default_texts())

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after each change of a value, while the whole form is valid."""
        self._callbacks.append(callback)

    def _first_texts(self) -> dict[str, str]:
        kept = remembered_texts(self)
        preset = (self.default_texts() | kept | self._overridden).get("preset", "Default")
        return self.default_texts() | self.preset_texts(preset) | kept | self._overridden

    def _show(self, texts: dict[str, str]) -> None:
        before = None if self.wrong else self.values()
        self.shown |= texts
        self._check()
        if self._view:
            self._view.refresh()
        if not self.wrong and self.values() != before:
            for callback in self._callbacks:
                callback()

    def _check(self) -> None:
        """Read every text shown: first each field alone, then the rules between fields."""
        self.wrong, values = {}, {}
        for name, trait in self.fields.items():
            try:
                values[name] = parse(trait, self.shown[name])
            except ValueError as error:
                self.wrong[name] = str(error)
        with self.cross_validation_lock:
            for name, value in values.items():
                self.set_trait(name, value)
        for name, value in values.items():
            try:
                self.set_trait(name, value)
                self.shown[name] = to_text(getattr(self, name))
            except TraitError as error:
                self.wrong[name] = str(error)
            except FormError:
                self.wrong[name] = "can only be checked when the other marked field is corrected"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The form as a widget, and as plain text where no widget can be shown."""
        self._view = self._view or FormView(self)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._view.box.model_id}
        return {"text/plain": str(self), "application/vnd.jupyter.widget-view+json": view}

    def __str__(self) -> str:
        """One line "name = value" for each field; a refused one says why."""
        reasons = {name: f"   ({reason})" for name, reason in self.wrong.items()}
        return "\n".join(f"{name} = {text}{reasons.get(name, '')}" for name, text in self.shown.items())


def parameters(*forms: Form) -> dict[str, dict[str, dict[str, Any]]]:
    """Content of parameters.json: ``papermill -f parameters.json`` repeats the run with the values of `forms`."""
    return {"overrides": {form.form_name: form.values() for form in forms}}
