"""What is typed into a field of a form: text <-> value, and the field's rule in plain words."""

import math
import numbers
import os
import re
from functools import singledispatch
from typing import Any

from traitlets import Bool, Enum, Float, Int, TraitError, TraitType, Unicode

from utils.errors import FormError
from utils.paths import FOLDER_NAME, FOLDER_NAME_RULE
from utils.subsets import FEWEST, SIZES_RULE, parse_sizes


class Sizes(Unicode):
    """A field for sizes of a learning curve, see `utils.subsets.parse_sizes`; it may be empty."""

    def validate(self, obj: Any, value: Any) -> str:
        """Refuse, by a TraitError, what is no list of sizes."""
        try:
            parse_sizes(value or str(FEWEST))
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


# "1,000" may be meant as one or as a thousand; "0,001" and "1,5" can only be decimals.
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def label(name: str) -> str:
    """Name of a field as the form shows it: ``number_of_epochs`` -> ``Number of epochs``."""
    return name.replace("_", " ").capitalize()


def to_text(value: Any) -> str:
    """Text that a field shows for `value`; `parse` gives the value back exactly.

    Raises
    ------
    ValueError
        If `value` is neither text, number, truth value nor path.
    """
    if isinstance(value, (str, numbers.Number)):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ValueError("must be a text, a number, or yes or no")


def parse(trait: TraitType, text: str) -> Any:
    """Value of the typed `text`; spaces around it do not count.

    Raises
    ------
    ValueError
        If the text breaks the field's own rule; its message is that rule. Rules between fields are not asked here.
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


def _bounds(trait: Int | Float) -> str:
    low, high = (None if bound is None or math.isinf(bound) else f"{bound:.10g}" for bound in (trait.min, trait.max))
    if low is not None and high is not None:
        return f" between {low} and {high}"
    if low is not None:
        return f" of at least {low}"
    return f" of at most {high}" if high is not None else ""
