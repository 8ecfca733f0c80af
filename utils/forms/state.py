"""What a form holds: a parameter is declared once, as a trait, and that draws, checks, keeps and saves its field.

    class Training(Form):
        number_of_epochs = Int(100, min=1, max=5000, help="rounds of training")

    training = Training(**overrides.get("training", {}))
    training                      # shows the form
    training.number_of_epochs     # the value shown, or FormError while it is not valid

A value comes from, in this order: overrides (given to the form), typed (kept per form name while the kernel lives),
preset, default. What is shown is what runs: the texts shown are the form's only state, every value is read from them.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from traitlets import TraitError, Unicode

from utils import runtime
from utils.errors import FormError
from utils.forms.fields import AUTOMATIC, Declaration, GroupRule, parse, refusal, rule, to_text
from utils.forms.folders import annotations_beside, groupings_in, image_folder
from utils.forms.going_on import Offer, choose, taken
from utils.forms.settings import forget_first_page, from_first_page, model_values, read_settings
from utils.groups import ALONE, ASK, FOLDER, Grouping
from utils.paths import resolve
from utils.samples import can_be_made


class Form(Declaration):
    """Base of all forms; a subclass declares its fields as traits Bool, Enum, Int, Float, Unicode or Automatic.

    ``help=`` is the text beside the field, ``.tag(advanced=True)`` folds it away. ``.tag(path=True)`` shows the path
    that is meant and offers to choose a folder (``path="file"``: a file, ``path="folder or file"``: either;
    ``names=("2D_demo",)``: what may stand there too and is no path);
    ``GroupRule`` with ``.tag(of="training_source")`` offers what the names of the images in that folder look like.
    ``.tag(path=True, beside="training_source")`` is filled in with the annotations found beside that folder.
    ``.tag(of="model_folder", unless=reasons)`` greys a tick out where `reasons` has something against it, see
    `utils.forms.possible`.
    A rule between fields is a `traitlets.validate` method whose TraitError says "must ...".
    A field ``preset`` with the class attribute ``presets = {name: {field: value}}`` fills other fields; with
    ``.tag(by_machine=True)`` it stands at the one that suits the machine, unless values are given, see `start_texts`.
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
    settled : dict of str to (value, str)
        What was chosen from the data and why, see `settle`.
    suitable : str
        The preset that suits this machine; the usual one for forms that do not ask.
    filled : str
        Sentences on values of `fill_all` that do not fit here.
    meant : dict of str to str
        What a field stands for while it is empty, see `empty_means`.

    Raises
    ------
    FormError
        If an override is unknown or not valid.
    """

    def __init__(self, **overrides: Any) -> None:
        super().__init__()
        self.headless = bool(overrides)
        by_machine = "preset" in self.fields and self.fields["preset"].metadata.get("by_machine")
        self.suitable = runtime.suitable_preset() if by_machine else self.usual_preset()
        self.shown: dict[str, str] = {}
        self.wrong: dict[str, str] = {}
        self.settled: dict[str, tuple[Any, str]] = {}
        self.meant: dict[str, str] = {}
        self._redraws: list[Callable[[], None]] = []
        self._callbacks: list[Callable[[], None]] = []
        self._overridden = {name: self.text_of(name, value) for name, value in overrides.items()}
        texts = self._first_texts()
        again = found_again(self, texts)
        remember(self, again, found=True)
        self._show(texts | again)
        values = {} if self.headless else taken(self.form_name)
        if not self.headless and not remembered(self):
            values = values or from_first_page(self.form_name)
        self.filled = self._fill(values) if values else ""
        _newest[self.form_name] = self
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

    def asked(self) -> dict[str, Any]:
        """All values as entered, in order of declaration: `AUTOMATIC` where the choice is left to the data.

        Raises
        ------
        FormError
            If a field shows something that is not valid; the message names each such field, its text and its rule.
        """
        if self.wrong:
            raise refusal(self.form_name, self.shown, self.wrong)
        return {name: getattr(self, name) for name in self.fields}

    def values(self) -> dict[str, Any]:
        """Values like `asked`, but with what was chosen from the data (see `settle`) in place of `AUTOMATIC`."""
        return {
            name: self.settled[name][0] if value == AUTOMATIC and name in self.settled else value
            for name, value in self.asked().items()
        }

    def settle(self, chosen: Mapping[str, tuple[Any, str]]) -> None:
        """Take what was chosen from the data, value and reason by field; shown beside fields that say `AUTOMATIC`."""
        self.settled = dict(chosen)
        for redraw in self._redraws:
            redraw()

    def empty_means(self, **folders: Path | None) -> None:
        """Say which folder a field stands for while it is empty; None where there is none yet."""
        self.meant = {name: os.fspath(folder) for name, folder in folders.items() if folder is not None}
        for redraw in self._redraws:
            redraw()

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
        """Whether the form itself filled in, or emptied, the field `name`, see `utils.forms.state`."""
        typed = remembered(self).get(name)
        return typed is not None and typed.found and name not in self._overridden and typed.text == self.shown[name]

    def load(self) -> str:
        """Fill in the values last saved for this form in this notebook.

        Returns what was done, naming saved values that no longer fit; those fields are left as they are. FormError if
        nothing was saved for this form or the file is damaged.
        """
        saved = read_settings().get(self.form_name)
        if saved is None:
            raise FormError("No settings of this form were saved yet.")
        return "Your last settings are filled in." + self._fill(saved)

    def load_model(self, folder: str | os.PathLike) -> str:
        """Fill in the values that the model in `folder` was trained with; its name and place stay those of the form.

        Returns what was done, naming values that do not fit here and fields that only one side knows. FormError if
        `folder` is no model folder, or the model was made by another notebook or says nothing about this form.
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
        later = [name for name in texts if "of" in self.fields[name].metadata]  # than what they tell of
        texts |= {name: texts.pop(name) for name in later}
        self._overridden = {name: text for name, text in self._overridden.items() if name not in texts}
        remember(self, texts)
        beside = {name: annotations_beside(texts.get(self.beside(name), "")) for name in texts}
        remember(self, {name: text for name, text in texts.items() if text and text == beside[name]}, found=True)
        self._show(texts)
        return refused

    def back_to_defaults(self) -> None:
        """Show in all fields what a new form shows, and forget what was typed."""
        remembered(self).clear()
        from_first_page(self.form_name).clear()
        self._overridden = {}
        self._show(self.start_texts(self.suitable))

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after each change of a value, while the whole form is valid."""
        self._callbacks.append(callback)

    def on_redraw(self, redraw: Callable[[], None]) -> None:
        """Call `redraw()` whenever a text shown, or why it is refused, may have changed."""
        self._redraws.append(redraw)

    def _first_texts(self) -> dict[str, str]:
        kept = remembered_texts(self)
        # A script must not run otherwise on another machine.
        suitable = self.usual_preset() if self.headless else self.suitable
        preset = (kept | self._overridden).get("preset", suitable)
        return self.start_texts(preset) | kept | self._overridden

    def _show(self, texts: dict[str, str]) -> None:
        before = None if self.wrong else self.asked()
        self.shown |= texts
        self._check()
        for redraw in self._redraws:
            redraw()
        if not self.wrong and self.asked() != before:
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

    def __str__(self) -> str:
        """One line "name = value" for each field; a refused one says why."""
        reasons = {name: f"   ({reason})" for name, reason in self.wrong.items()}
        return "\n".join(f"{name} = {text}{reasons.get(name, '')}" for name, text in self.shown.items())


_newest: dict[str, Form] = {}


def fill_all(offer: Offer) -> str:
    """Fill in all forms, those that are there and those that will appear; says what was done and what did not fit."""
    for form in _newest.values():
        if form.form_name not in offer.values and not form.headless:
            _empty_first_page(form)
    forget_first_page()
    choose(offer)
    refused = "".join(form._fill(taken(name)) for name, form in _newest.items() if not form.headless)
    return f"{offer.done}{refused}"


def _empty_first_page(form: Form) -> None:
    """Let fields show their defaults again that still show what the first page said, of other images."""
    texts, _ = form.fitting(from_first_page(form.form_name))
    start = form.start_texts(form.suitable)
    for name in (same := [name for name, text in texts.items() if form.shown[name] == text]):
        remembered(form).pop(name, None)
    form._show({name: start[name] for name in same})


class Typed(NamedTuple):
    """What a field was given: the text, the field's rule then, and whether the form found the text by itself."""

    text: str
    rule: str
    found: bool = False


_typed: dict[str, dict[str, Typed]] = {}


def remembered(form: Declaration) -> dict[str, Typed]:
    """What was typed into `form`, by field."""
    return _typed.setdefault(form.form_name, {})


def typed(form_name: str) -> dict[str, str]:
    """Texts by field that were typed in this session into a form, which may stand further down on the page.

    Where nothing was, those that the first page filled in.
    """
    texts = {name: one.text for name, one in _typed.get(form_name, {}).items()}
    return texts or {name: str(value) for name, value in from_first_page(form_name).items()}


def remember(form: Declaration, texts: dict[str, str], found: bool = False) -> None:
    """Keep `texts` by field, the last one at the end; `found`: the form filled them in by itself."""
    for name, text in texts.items():
        remembered(form).pop(name, None)
        remembered(form)[name] = Typed(text, rule(form.fields[name]), found)


def remembered_texts(form: Declaration) -> dict[str, str]:
    """Texts to be shown again: a wrong one only while its rule is the one that the user was told."""
    return {name: one.text for name, one in remembered(form).items() if _may_stay(form, name, one)}


def _may_stay(form: Declaration, name: str, typed: Typed) -> bool:
    if name not in form.fields:
        return False
    try:
        parse(form.fields[name], typed.text)
    except ValueError as error:
        return str(error) == typed.rule
    return True


def found_beside(form: Form, name: str, text: str) -> tuple[str, dict[str, str]]:
    """What follows from `text` being typed into the field `name` of `form`.

    The first answer is what the field shall show: another text where the folder typed has its images in a sub-folder.
    The second are texts of the fields whose annotations lie beside that folder; empty for those that had some and no
    longer do.
    """
    fields = [field for field in form.fields if form.beside(field) == name]
    if not fields or (value := parse(form.fields[name], text)) == parse(form.fields[name], form.shown[name]):
        return text, {}
    images = image_folder(value)
    annotations = annotations_beside(images)
    found = {field: annotations for field in fields if form.may_be_found(field) and form.shown[field] != annotations}
    return text if images == value else images, found


def found_again(form: Form, texts: dict[str, str]) -> dict[str, str]:
    """Texts of the fields that the form once found or emptied, looked for again beside the folders in `texts`."""
    beside = {name: form.beside(name) for name in form.fields if form.beside(name) and name not in form.overridden}
    found = [name for name, typed in remembered(form).items() if typed.found and name in beside]
    return {name: annotations_beside(texts[beside[name]]) for name in found}


def group_choices(form: Form, name: str) -> list[tuple[str, str]]:
    """What can be chosen in the field `name` for which images belong together: words and text of each choice.

    First that nobody answered yet, then what the names of the images look like, then that every image stands alone.
    """
    found = _groupings(form, name)
    first = "please choose" if found else "no groups seen in the file names"
    choices = [(first, ASK), *((_by(one), one.rule) for one in found), ("every image stands alone", ALONE)]
    known, text = {rule for _, rule in choices}, form.shown[name]
    return choices if text in known else [*choices, (text, text)]


def _by(found: Grouping) -> str:
    return f"{found}{' (sub-folders)' if found.rule == FOLDER else ''}"


def _groupings(form: Form, name: str) -> list[Grouping]:
    """Groups that the names of the images look like; without a folder of masks, each class has a folder."""
    source = form.shown.get(form.fields[name].metadata.get("of", ""), "")
    return groupings_in(source, in_classes=not form.shown.get("training_target", "").strip())


def note_preset(form: Form, name: str) -> list[str]:
    """What is to be noted below the field `name` if it is the preset: whether it suits this machine."""
    if name != "preset" or not form.fields[name].metadata.get("by_machine") or name in form.overridden:
        return []
    card = "a" if form.suitable == "Default" else "no"
    if form.shown[name] == form.suitable:
        return [f"suits this computer, which has {card} graphics card to use"]
    if form.shown[name] == "Default":
        return [f"takes hours on this computer, which has no graphics card to use; {form.suitable} suits it"]
    return []


def note_groups(form: Form, name: str) -> list[str]:
    """What is to be asked below the field `name` for which images belong together."""
    found = _groupings(form, name) if isinstance(form.fields[name], GroupRule) and form.shown[name] == ASK else []
    return [f"These look like {found[0]}. Do the images of each belong together? Please choose"] if found else []


def note_beside(form: Form, name: str) -> list[str]:
    """What is to be noted below the field `name`, whose folder lies beside the images, or does not."""
    images, text = form.shown.get(form.beside(name), ""), form.shown[name]
    if not images.strip():
        return []
    if not form.found(name):
        return _not_beside(images, text) if text and _outlived(form, name, form.beside(name)) else []
    if not text:
        return ["emptied: no folder such as masks or labels, with files of the same names, lies beside the images"]
    return ["found beside the images"] if os.path.isdir(resolve(text)) or can_be_made(resolve(text)) else []


def note_images_of(form: Form, name: str) -> list[str]:
    """What is to be asked below the field `name` that tells something of the images of another one, named before."""
    images = form.fields[name].metadata.get("of", "")
    if not images or isinstance(form.fields[name], GroupRule) or not form.shown[name].strip():
        return []
    return ["typed before these images were chosen: is it true of them?"] if _outlived(form, name, images) else []


def _outlived(form: Form, name: str, images: str) -> bool:
    """Whether the text of the field `name` was typed before that of the field `images` and stayed."""
    order = [field for field in remembered(form) if field in (name, images)]
    return name not in form.overridden and order == [name, images]


def _not_beside(images: str, text: str) -> list[str]:
    if resolve(text).parent == resolve(images).parent:
        return []
    beside = annotations_beside(images)
    return ["not beside the images" + f"; beside them lies {Path(beside).name}" * bool(beside)]
