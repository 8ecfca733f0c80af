"""The values that a model was trained with, from its folder: parameters.json, {"overrides": {form: {field: value}}}."""

import json
import os
from pathlib import Path
from typing import Any

from utils.errors import FormError
from utils.form_declaration import Declaration
from utils.form_settings import are_settings

PARAMETERS = "parameters.json"


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


def model_values(form: Declaration, folder: Path) -> tuple[dict[str, Any], str]:
    """What the model in `folder` says about `form`.

    Returns
    -------
    values : dict
        Value by field.
    differences : str
        Sentences that name the fields that only the model or only the form has; empty where there are none.

    Raises
    ------
    FormError
        If `folder` is no model folder, or the model was made by a notebook without this form.
    """
    saved = read_model_settings(folder)
    if form.form_name not in saved:
        raise FormError(
            f'The model {folder} says nothing about the form "{form.form_name}": it was made by another notebook, '
            f"or this form plays no part in training. It knows these forms: {', '.join(saved) or 'none'}."
        )
    values = saved[form.form_name]
    left_out = ", ".join(name for name in values if name not in form.fields)
    stay = ", ".join(name for name in form.fields if name not in values)
    differences = f" Not in this form, so left out: {left_out}." if left_out else ""
    differences += f" The model says nothing about these, so they stay: {stay}." if stay else ""
    return values, differences
