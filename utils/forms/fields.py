"""What is typed into a field of a form: text <-> value, and the field's rule in plain words."""

import difflib
import math
import numbers
import os
import re
from functools import singledispatch
from typing import Any, ClassVar

from traitlets import Bool, Enum, Float, HasTraits, Int, TraitError, TraitType, Undefined, Unicode

from utils.errors import DataError, FormError, declare
from utils.groups import ASK, RULE, check_group_rule
from utils.paths import FOLDER_NAME, FOLDER_NAME_RULE

# "1,000" may be meant as one or as a thousand; "0,001" and "1,5" can only be decimals.
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
AUTOMATIC = "automatic"
STOP, RENAME = "stop and tell me", "rename the old model, adding today's date"
EARLIER = {"ask": STOP, "replace": RENAME}  # what this was called in earlier forms
FEWEST = 2  # one image cannot be both trained on and watched over
SIZES_RULE = f"must be whole numbers of at least {FEWEST} with commas between them, such as 2, 5, 10, 20, 40"


class Sizes(Unicode):
    """A field for sizes of a learning curve, see `parse_sizes`; empty: no curve, `AUTOMATIC`: those that fit."""

    def validate(self, obj: Any, value: Any) -> str:
        """Refuse, by a TraitError, what is no list of sizes."""
        try:
            parse_sizes(str(FEWEST) if value in ("", AUTOMATIC) else value)
        except FormError:
            raise TraitError(SIZES_RULE) from None
        return super().validate(obj, value)


class FolderName(Unicode):
    """A field for the name of one folder, see `utils.paths.FOLDER_NAME`."""

    def validate(self, obj: Any, value: Any) -> str:
        """Refuse, by a TraitError, what no folder can be called."""
        value = super().validate(obj, value)
        if not FOLDER_NAME.fullmatch(value):
            raise TraitError(FOLDER_NAME_RULE)
        return value


class IfTaken(Enum):
    """A field for what is done where a model of other data or settings has the name; programs may say `EARLIER`."""

    def __init__(self, **more: Any):
        super().__init__([STOP, RENAME], **more)


class GroupRule(Unicode):
    """A field for which images belong together, see `utils.groups.group_of`.

    ``.tag(of="training_source")`` names the field of the images' folder: what their names look like can be chosen.
    """

    default_value = ASK

    def validate(self, obj: Any, value: Any) -> str:
        """Refuse, by a TraitError, what is no rule."""
        value = super().validate(obj, value)
        try:
            check_group_rule(value)
        except DataError:
            raise TraitError(f"must be a rule: {RULE}") from None
        return value


class Automatic(TraitType):
    """A field that is chosen from the data, and says so by `AUTOMATIC`, unless a person overrules it.

    Parameters
    ----------
    inner
        Bool, Enum, Int or Float: what a person may enter instead.
    """

    default_value = AUTOMATIC

    def __init__(self, inner: TraitType, **more: Any):
        super().__init__(**more)
        self.inner = inner

    def validate(self, obj: Any, value: Any) -> Any:
        """Refuse, by a TraitError, what neither is `AUTOMATIC` nor fits the inner field."""
        return value if value == AUTOMATIC else self.inner.validate(None, value)


def to_text(value: Any) -> str:
    """Text that a field shows for `value`; `parse` gives the value back exactly.

    ValueError if `value` is neither text, number, truth value nor path.
    """
    if isinstance(value, (str, numbers.Number)):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ValueError("must be a text, a number, or yes or no")


def parse(trait: TraitType, text: str) -> Any:
    """Value of the typed `text`; spaces around it do not count.

    ValueError, whose message is the field's own rule, if the text breaks that. Rules between fields are not asked here.
    """
    try:
        return trait.validate(None, _read(trait, text.strip()))
    except (TraitError, ValueError):
        raise ValueError(rule(trait)) from None


@singledispatch
def _read(trait: TraitType, text: str) -> Any:
    raise TypeError(f"A form field is a Bool, Enum, Int, Float or Unicode of traitlets, not {type(trait).__name__}")


@_read.register(Unicode)
def _(trait: Unicode, text: str) -> str:
    # File managers copy a path with quotes around it.
    quoted = re.fullmatch(r"""(["'])(.*)\1""", text) if trait.metadata.get("path") else None
    return quoted[2].strip() if quoted else text


@_read.register(Int)
def _(trait: Int, text: str) -> int:
    return int(_number(text))


@_read.register(Float)
def _(trait: Float, text: str) -> float:
    if THOUSANDS.fullmatch(text):
        raise ValueError(text)
    value = float(_number(text.replace(",", ".")))
    if not math.isfinite(value):
        raise ValueError(text)
    return value


@_read.register(Bool)
def _(trait: Bool, text: str) -> bool:
    return {"True": True, "False": False}.get(text.capitalize(), text)


@_read.register(Enum)
def _(trait: Enum, text: str) -> Any:
    return {str(option): option for option in trait.values}.get(text, text)


@_read.register(IfTaken)
def _(trait: IfTaken, text: str) -> str:
    return EARLIER.get(text, text)


@_read.register(Automatic)
def _(trait: Automatic, text: str) -> Any:
    earlier = text == "0" and (getattr(trait.inner, "min", None) or 0) > 0  # what it was called in earlier forms
    return AUTOMATIC if text.lower() in ("", AUTOMATIC) or earlier else _read(trait.inner, text)


def _number(text: str) -> str:
    """`text`, unless it holds an underscore, which only Python reads as a number."""
    if "_" in text:
        raise ValueError(text)
    return text


@singledispatch
def rule(trait: TraitType) -> str:
    """What the field accepts, as the end of a sentence: "must be a whole number between 1 and 5000"."""
    return "must be text"


@rule.register(Sizes)
def _(trait: Sizes) -> str:
    return SIZES_RULE


@rule.register(FolderName)
def _(trait: FolderName) -> str:
    return FOLDER_NAME_RULE


@rule.register(GroupRule)
def _(trait: GroupRule) -> str:
    return f"must be a rule: {RULE}"


@rule.register(Int)
def _(trait: Int) -> str:
    return "must be a whole number" + _bounds(trait)


@rule.register(Float)
def _(trait: Float) -> str:
    return "must be a number" + _bounds(trait) + ", written with a decimal point"


@rule.register(Bool)
def _(trait: Bool) -> str:
    return "must be yes or no (true or false)"


@rule.register(Enum)
def _(trait: Enum) -> str:
    return "must be one of: " + ", ".join(map(str, trait.values))


@rule.register(Automatic)
def _(trait: Automatic) -> str:
    return f"{rule(trait.inner)}, or {AUTOMATIC}"


def _bounds(trait: Int | Float) -> str:
    low, high = (None if bound is None or math.isinf(bound) else f"{bound:.10g}" for bound in (trait.min, trait.max))
    if low is not None and high is not None:
        return f" between {low} and {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""


class Declaration(HasTraits):
    """Fields and presets of a form class; `utils.forms.state.Form` says how to write one.

    `presets` are values by preset and field; the default of the field `preset`, usually "Default", is not among them,
    it always stands for the defaults. `fields` are in order of declaration, those of a parent class first. `is_kept`:
    whether its values are kept with settings and models, and so can be loaded from there. `form_name` is the name of
    the class in lower case: the key of the form in overrides and settings.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    fields: ClassVar[dict[str, TraitType]] = {}
    is_kept: ClassVar[bool] = True
    form_name: ClassVar[str] = "form"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.form_name = cls.__name__.lower()
        # HasTraits.traits() is alphabetical; class dictionaries keep the order of declaration.
        declared = {name: trait for base in reversed(cls.__mro__) for name, trait in vars(base).items()}
        cls.fields = {name: trait for name, trait in declared.items() if isinstance(trait, TraitType)}
        cls._check_names()
        declare(cls.form_name, list(cls.fields))
        for trait in cls.fields.values():
            if isinstance(trait, Enum) and trait.default_value is Undefined:
                trait.default_value = trait.values[0]
        cls._check_presets()
        cls._check_beside()

    @classmethod
    def _check_names(cls) -> None:
        for name in set(cls.fields) & set(vars(cls)):
            if any(hasattr(base, name) and not isinstance(getattr(base, name), TraitType) for base in cls.__bases__):
                raise TypeError(f"{cls.__name__}: {name} cannot be a field, the form uses this name itself")

    @classmethod
    def _check_presets(cls) -> None:
        usual = cls.usual_preset()
        if "preset" in cls.fields and {usual, *cls.presets} != set(cls.fields["preset"].values):
            raise TypeError(f"{cls.__name__}: the field preset must offer {usual} and the names in presets")
        for preset in cls.presets:
            cls.preset_texts(preset)

    @classmethod
    def _check_beside(cls) -> None:
        for name in cls.fields:
            beside = cls.beside(name)
            if beside and not (cls.fields.get(beside) and cls.fields[beside].metadata.get("path")):
                raise TypeError(f"{cls.__name__}: {name} lies beside {beside}, which is no path field of this form")

    @classmethod
    def beside(cls, name: str) -> str:
        """The field whose folder the folder of `name` is looked for beside, "" where there is none."""
        return cls.fields[name].metadata.get("beside", "")

    @classmethod
    def text_of(cls, name: str, value: Any) -> str:
        """Text of the field `name` for a value given by a program.

        FormError if there is no such field (the known ones are listed) or the value breaks the field's own rule.
        """
        if name not in cls.fields:
            close = difflib.get_close_matches(name, cls.fields, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            known = ", ".join(f'"{field}"' for field in cls.fields)  # in quotation marks: a program needs these names
            raise FormError(f'The form "{cls.form_name}" has no field "{name}".{hint} Its fields are: {known}.')
        try:
            return to_text(parse(cls.fields[name], to_text(value)))
        except ValueError as error:
            raise refusal(cls.form_name, {name: value}, {name: str(error)}) from None

    @classmethod
    def usual_preset(cls) -> str:
        """The preset that stands for the defaults."""
        return cls.fields["preset"].default_value if "preset" in cls.fields else "Default"

    @classmethod
    def preset_texts(cls, preset: str) -> dict[str, str]:
        """Texts that `preset` puts into fields; none for `usual_preset`."""
        return {name: cls.text_of(name, value) for name, value in cls.presets.get(preset, {}).items()}

    def start_texts(self, preset: str) -> dict[str, str]:
        """Texts of all fields before anything is typed: the declared defaults and what `preset` says."""
        texts = self.default_texts() | self.preset_texts(preset)
        return texts | {"preset": preset} if "preset" in texts else texts

    def governed_texts(self, preset: str) -> dict[str, str]:
        """Texts that choosing `preset` puts into all fields that any preset names."""
        names = {name for values in self.presets.values() for name in values}
        return {
            name: text for name, text in (self.default_texts() | self.preset_texts(preset)).items() if name in names
        }

    @classmethod
    def fitting(cls, saved: dict[str, Any]) -> tuple[dict[str, str], str]:
        """Texts of those `saved` values that the fields accept, and a sentence for each of the others."""
        texts, refused = {}, ""
        for name in [name for name in cls.fields if name in saved]:
            try:
                texts[name] = cls.text_of(name, saved[name])
            except FormError as error:
                refused += f" Left as it was: {error}"
        return texts, refused

    def default_texts(self) -> dict[str, str]:
        """Texts of the declared defaults."""
        return {name: to_text(self.trait_defaults(name)) for name in self.fields}


def refusal(form_name: str, texts: dict[str, Any], reasons: dict[str, str]) -> FormError:
    """Error that names the form and, for each refused field, its text and its rule."""
    problems = "; ".join(f'{name} is "{texts[name]}" but {reason}' for name, reason in reasons.items())
    return FormError(f'In the form "{form_name}", {problems}.')


def parse_sizes(text: str) -> list[int]:
    """Read the field sizes: how many labelled images (of each class) the models of the learning curve get.

    Parameters
    ----------
    text
        Whole numbers of at least 2, with commas (or semicolons) between them, in any order.

    Returns
    -------
    list of int
        Ascending, each once.

    Raises
    ------
    FormError
        Where anything else is written. `SIZES_RULE` is the rule alone, for a form's own sentence.

    Examples
    --------
    >>> parse_sizes("10, 2,5, 5")
    [2, 5, 10]
    """
    parts = [part.strip() for part in re.split("[,;]", text)]
    if not all(re.fullmatch("[0-9]{1,9}", part) and int(part) >= FEWEST for part in parts):
        raise FormError(f'The field sizes is "{text}" but {SIZES_RULE}.')
    return sorted({int(part) for part in parts})
