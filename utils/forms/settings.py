"""The values last used in a notebook: settings/<notebook>.json, {form name: {field: value}}."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from IPython import get_ipython

from utils.errors import DataError, FormError
from utils.files import write_json
from utils.forms.fields import Declaration
from utils.locks import introduce
from utils.paths import DESCRIPTION, PARAMETERS, ROOT

SETTINGS = ROOT / "settings"
_notebook = {"name": ""}
FIRST_PAGE = "from_first_page.json"  # what the first page fills in elsewhere: {notebook: {form: {field: value}}}
FRESH = 12 * 3600  # seconds that it counts: whoever opens a notebook on another day may want something else
_from_first_page: dict[str, dict[str, Any]] = {}  # by form, of this notebook, as it was when the kernel began
# Models made before model.json named the notebook.
EARLIER = {"unet": "unet_segmentation", "stardist": "stardist_segmentation", "classification": "classification"}
FORMS = {"strategy": "fine_tuning", "slides": "slide_fibrosis"}  # that only this notebook has
# A field of the form training that only this notebook has: of a training that wrote no model.json yet.
ONLY = {"stardist_segmentation": "n_rays", "classification": "decides", "unet_segmentation": "pooling_steps"}
OWN = ("model_name", "model_path", "if_model_exists")  # taken over, they could move the old model out of the way


def notebook(name: str) -> None:
    """Say once, in the set-up cell, which notebook this is: its settings lie in ``settings/<name>.json``."""
    if _notebook["name"] != name:
        _notebook["name"] = name
        introduce(name)
        _from_first_page.clear()
        _from_first_page.update(_read_first_page().get(name, {}))


def notebook_name() -> str:
    """Name of this notebook, empty where the set-up cell did not say it."""
    return _notebook["name"]


def hand_over(values: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> bool:
    """Let the forms of other notebooks show `values`, {notebook: {form: {field: value}}}, when these are opened next.

    They replace those of an earlier call, and are looked at for `FRESH` seconds. False where they cannot be kept.
    """
    try:
        write_json(SETTINGS / FIRST_PAGE, {"written": time.time(), "values": values})
    except (DataError, OSError):
        return False
    return True


def from_first_page(form_name: str) -> dict[str, Any]:
    """Value by field that the first page filled in for a form of this notebook; empty where it did not."""
    return _from_first_page.get(form_name, {})


def forget_first_page() -> None:
    """Let no form that appears from now on show what the first page filled in: something else was chosen."""
    _from_first_page.clear()


def _read_first_page() -> dict[str, dict[str, dict[str, Any]]]:
    """What was handed over lately; nothing for a run without a person, which says itself what it works on."""
    shell = get_ipython()
    if shell is not None and shell.user_ns.get("overrides"):
        return {}
    try:
        kept = json.loads((SETTINGS / FIRST_PAGE).read_text(encoding="utf-8"))
        fresh, values = 0 <= time.time() - kept["written"] < FRESH, kept["values"]
        return {name: one for name, one in values.items() if are_settings(one)} if fresh else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # none, or no file of ours
        return {}


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


def read_model_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """Settings by form of the model in `folder`; FormError where it is no model folder or its file is damaged."""
    path = folder / PARAMETERS
    if not os.path.isdir(folder):
        raise FormError(f"There is no folder {folder}. Please choose the folder of a trained model.")
    if not os.path.exists(path):
        raise FormError(f"{folder} holds no {PARAMETERS}: it is no model. Please choose the folder of a model.")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormError(f"{path} cannot be read ({error}). Please choose another model.") from error
    if not isinstance(saved, dict) or not are_settings(saved.get("overrides")):
        raise FormError(f"{path} does not hold the settings of a model. Please choose another one.")
    return saved["overrides"]


def made_by(folder: Path, saved: dict[str, dict[str, Any]]) -> str:
    """Name of the notebook that trained the model in `folder` with the settings `saved`; empty where unknown."""
    for form, name in FORMS.items():
        if form in saved:
            return name
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        name = description["notebook"] if "notebook" in description else EARLIER[description["task"]]
        return name if isinstance(name, str) else ""
    except (OSError, ValueError, LookupError, TypeError):  # not finished, or no model.json of ours
        fields = saved.get("training", {})
        return next((name for name, field in ONLY.items() if field in fields), "")


def _check_notebook(folder: Path, saved: dict[str, dict[str, Any]]) -> None:
    made, here = made_by(folder, saved), _notebook["name"]
    if made and here and made != here:
        raise FormError(f"The model {folder} was made in the notebook {made}: open that one to load its settings.")


def model_values(form: Declaration, folder: Path) -> tuple[dict[str, Any], str]:
    """What the model in `folder` says about `form`: value by field, without those of `OWN`, and the differences.

    These are sentences that name the fields that only the model or only the form has, and those of `OWN`; empty where
    there are none. FormError if `folder` is no model folder, or the model was made by another notebook or says nothing
    about this form.
    """
    saved = read_model_settings(folder)
    _check_notebook(folder, saved)
    if form.form_name not in saved:
        raise FormError(
            f'The model {folder} says nothing about the form "{form.form_name}": it was made by another notebook, '
            f"or this form plays no part in training. It knows these forms: {', '.join(saved) or 'none'}."
        )
    values = {name: value for name, value in saved[form.form_name].items() if name not in OWN}
    left_out = ", ".join(name for name in values if name not in form.fields)
    stay = ", ".join(name for name in form.fields if name not in values and name not in OWN)
    own = ", ".join(name for name in form.fields if name in OWN)
    differences = f" Not in this form, so left out: {left_out}." if left_out else ""
    differences += f" The model says nothing about these, so they stay: {stay}." if stay else ""
    differences += f" These stay too, so that nothing happens to that model: {own}." if own else ""
    return values, differences
