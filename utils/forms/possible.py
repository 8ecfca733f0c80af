"""Fields that cannot be used with what another field names: a tick is greyed out, with the reason."""

from collections.abc import Callable, Mapping
from pathlib import Path

from utils.errors import UserError
from utils.forms.fields import Declaration
from utils.paths import resolve

Reasons = Callable[[Path | None, tuple[str, ...]], Mapping[str, str]]


def reason_against(form: Declaration, name: str) -> str:
    """Why the field `name` cannot be used, a phrase; "" where it can.

    ``.tag(of="model_folder", unless=reasons)`` on a field asks `reasons(folder, tasks)`, which answers by field: of the
    folder that the field "model_folder" shows, else of the one it stands for while it is empty, else of None; tasks are
    those of the models which that field offers.
    """
    told = form.fields[name].metadata
    if "unless" not in told:
        return ""
    text = form.shown[told["of"]].strip() or form.meant.get(told["of"], "")
    try:
        folder = resolve(text) if text else None
    except (OSError, ValueError, UserError):  # told beside the field of the folder
        return ""
    if folder is not None and not folder.is_dir():
        return ""
    return told["unless"](folder, form.fields[told["of"]].metadata.get("models", ())).get(name, "")


def note_possible(form: Declaration, name: str) -> list[str]:
    """What is to be noted below the field `name`: why it cannot be used."""
    why = reason_against(form, name)
    return [f"not for this model: {why}"] if why else []
