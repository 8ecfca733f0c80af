"""Forms: a parameter is declared once, as a trait, and that draws, checks, keeps and saves its field.

    class Training(Form):
        number_of_epochs = Int(100, min=1, max=5000, help="rounds of training")

    training = Training(**overrides.get("training", {}))
    training                      # shows the form
    training.number_of_epochs     # the value shown, or FormError while it is not valid

A value comes from, in this order: overrides (given to the form), typed (kept per form name while the kernel lives),
preset, default. What is shown is what runs: the texts shown are the form's only state, every value is read from them.
"""

from collections.abc import Callable
from typing import Any

from traitlets import TraitError

from utils.errors import FormError
from utils.form_declaration import Declaration, refusal
from utils.form_fields import parse, rule, to_text
from utils.form_settings import notebook, read_settings, save_settings
from utils.form_widgets import FormView

__all__ = ["Form", "notebook", "parameters", "save_settings"]

# Form name -> field -> (text, the field's rule when it was typed); lives as long as the kernel.
_typed: dict[str, dict[str, tuple[str, str]]] = {}


class Form(Declaration):
    """Base of all forms; a subclass declares its fields as traits Bool, Enum, Int, Float or Unicode.

    ``help=`` is the text beside the field, ``.tag(advanced=True)`` folds it away, ``.tag(path=True)`` shows the path
    that is meant. A rule between fields is a `traitlets.validate` method whose TraitError says "must ...".
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
        self._show(self._first_texts())
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
        filled = self._governed(text) if name == "preset" else {}
        kept = _typed.setdefault(self.form_name, {})
        for field in filled:
            kept.pop(field, None)
        kept[name] = (text, rule(self.fields[name]))
        self._show(filled | {name: text})

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
        texts, refused = {}, []
        for name in [name for name in self.fields if name in saved]:
            try:
                texts[name] = self.text_of(name, saved[name])
            except FormError as error:
                refused.append(f" Left as it was: {error}")
        self._overridden = {name: text for name, text in self._overridden.items() if name not in texts}
        kept = {name: (text, rule(self.fields[name])) for name, text in texts.items()}
        _typed[self.form_name] = _typed.get(self.form_name, {}) | kept
        self._show(texts)
        return "Your last settings are filled in." + "".join(refused)

    def back_to_defaults(self) -> None:
        """Show the declared defaults in all fields and forget what was typed."""
        _typed.pop(self.form_name, None)
        self._overridden = {}
        self._show(self.default_texts())

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after each change of a value, while the whole form is valid."""
        self._callbacks.append(callback)

    def _first_texts(self) -> dict[str, str]:
        typed = _typed.get(self.form_name, {})
        kept = {name: text for name, (text, told) in typed.items() if self._may_stay(name, text, told)}
        preset = (self.default_texts() | kept | self._overridden).get("preset", "Default")
        return self.default_texts() | self.preset_texts(preset) | kept | self._overridden

    def _may_stay(self, name: str, text: str, told: str) -> bool:
        """Whether a kept text is still shown: a wrong one only while its rule is the one that the user was told."""
        if name not in self.fields:
            return False
        try:
            parse(self.fields[name], text)
        except ValueError as error:
            return str(error) == told
        return True

    def _governed(self, preset: str) -> dict[str, str]:
        """Texts that choosing `preset` puts into all fields that any preset names, except overridden ones."""
        filled = self.default_texts() | self.preset_texts(preset)
        names = {name for values in self.presets.values() for name in values}
        return {name: text for name, text in filled.items() if name in names - self.overridden}

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
