"""What was typed into the forms, by form name; it lasts as long as the kernel, however often a cell is run again."""

from typing import NamedTuple

from utils.form_declaration import Declaration
from utils.form_fields import parse, rule


class Typed(NamedTuple):
    """What a field was given: the text, the field's rule then, and whether the form found the text by itself."""

    text: str
    rule: str
    found: bool = False


_typed: dict[str, dict[str, Typed]] = {}


def remembered(form: Declaration) -> dict[str, Typed]:
    """What was typed into `form`, by field."""
    return _typed.setdefault(form.form_name, {})


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
