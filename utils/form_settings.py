"""The values last used in a notebook: settings/<notebook>.json, {form name: {field: value}}."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import FormError, wrapped
from utils.paths import ROOT

if TYPE_CHECKING:
    from utils.forms import Form

SETTINGS = ROOT / "settings"
_notebook = {"name": ""}


def notebook(name: str) -> None:
    """Say once, in the set-up cell, which notebook this is: its settings lie in ``settings/<name>.json``."""
    _notebook["name"] = name


def notebook_name() -> str:
    """Name of this notebook; empty before the set-up cell named it."""
    return _notebook["name"]


def settings_file() -> Path:
    """Path of this notebook's settings; FormError where the set-up cell did not name the notebook."""
    if not _notebook["name"]:
        raise FormError("The settings have no place yet: please run the set-up cell first.")
    return SETTINGS / f"{_notebook['name']}.json"


def read_settings() -> dict[str, dict[str, Any]]:
    """Settings of this notebook by form; empty where nothing was saved, FormError where the file is damaged."""
    if not _notebook["name"]:
        return {}
    path = settings_file()
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FormError(f"{path} cannot be read ({error}). Nothing was changed; please mend or delete it.") from error
    if not are_settings(saved):
        raise FormError(f"{path} does not hold settings. Nothing was changed; please mend or delete it.")
    return saved


def are_settings(saved: Any) -> bool:
    """Whether `saved` has the shape {form name: {field: value}}."""
    return isinstance(saved, dict) and all(isinstance(values, dict) for values in saved.values())


def save_settings(*forms: "Form") -> Path | None:
    """Keep the values of `forms` for "Load my last settings"; call it where they are used, such as before training.

    Settings of other forms in the same file stay. Nothing is saved if one of the forms was given overrides: a run
    without a person must not replace a person's settings. A damaged file is moved to ``<name>.json.damaged``.
    A folder that cannot be written to gives a sentence on the page, because the work itself can go on.

    Returns
    -------
    pathlib.Path or None
        The file written, None where nothing was saved.

    Raises
    ------
    FormError
        If a form shows something that is not valid, or `notebook` was not called.
    """
    values = {form.form_name: form.values() for form in forms}
    path = settings_file()
    if any(form.headless for form in forms):
        return None
    try:
        return _write(path, _undamaged(path) | values)
    except OSError as error:
        reason = error.strerror or error
        print(*wrapped(f"Your settings could not be saved to {path} ({reason}); the work goes on without."), sep="\n")
        return None


def _undamaged(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return read_settings()
    except FormError:
        os.replace(path, path.with_suffix(".json.damaged"))
        return {}


def _write(path: Path, settings: dict[str, dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
