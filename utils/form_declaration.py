"""What a form declares: its fields in order, their defaults, and its presets; checked when the class is made."""

import difflib
from typing import Any, ClassVar

from traitlets import Enum, HasTraits, TraitType, Undefined

from utils.errors import FormError
from utils.form_fields import parse, to_text


class Declaration(HasTraits):
    """Fields and presets of a form class; `utils.forms.Form` says how to write one.

    Attributes
    ----------
    presets : dict of str to dict
        Values by preset and field; "Default" is not among them, it always stands for the defaults.
    fields : dict of str to traitlets.TraitType
        The fields in order of declaration, those of a parent class first.
    form_name : str
        Name of the class in lower case: the key of the form in overrides and settings.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    fields: ClassVar[dict[str, TraitType]] = {}
    form_name: ClassVar[str] = "form"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.form_name = cls.__name__.lower()
        # HasTraits.traits() is alphabetical; class dictionaries keep the order of declaration.
        declared = {name: trait for base in reversed(cls.__mro__) for name, trait in vars(base).items()}
        cls.fields = {name: trait for name, trait in declared.items() if isinstance(trait, TraitType)}
        cls._check_names()
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
        if "preset" in cls.fields and {"Default", *cls.presets} != set(cls.fields["preset"].values):
            raise TypeError(f"{cls.__name__}: the field preset must offer Default and the names in presets")
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

        Raises
        ------
        FormError
            If there is no such field (the known ones are listed) or the value breaks the field's own rule.
        """
        if name not in cls.fields:
            close = difflib.get_close_matches(name, cls.fields, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            known = ", ".join(cls.fields)
            raise FormError(f'The form "{cls.form_name}" has no field "{name}".{hint} Its fields are: {known}.')
        try:
            return to_text(parse(cls.fields[name], to_text(value)))
        except ValueError as error:
            raise refusal(cls.form_name, {name: value}, {name: str(error)}) from None

    @classmethod
    def preset_texts(cls, preset: str) -> dict[str, str]:
        """Texts that `preset` puts into fields; none for "Default"."""
        return {name: cls.text_of(name, value) for name, value in cls.presets.get(preset, {}).items()}

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
