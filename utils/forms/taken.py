"""What is to be said at once of a name for a model that is taken: by what, and what will become of it."""

import csv
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from utils.errors import FormError, UserError, label
from utils.forms.fields import AUTOMATIC, RENAME, Declaration, FolderName
from utils.forms.settings import made_by, read_model_settings
from utils.locks import holder_of, in_words
from utils.paths import DESCRIPTION, IN_TURN, SPLIT, STATE, TRAINING, folder_of

# Of this form, but not of the model, or understood when the images are read.
NOT_COMPARED = {"model_name", "model_path", "if_model_exists", "training_source", "training_target", "group_rule"}
FOLD = "fold"  # column of the split: the part in which an image is tested in turn
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
APART = ("trials", "rates", IN_TURN)  # below the checkpoints: trainings before the real one


def note_taken(form: Declaration, name: str) -> list[str]:
    """What is to be noted below the field `name` for the name of a model; nothing where that is free."""
    if not isinstance(form.fields[name], FolderName) or not {"model_name", "model_path"} <= form.fields.keys():
        return []
    try:
        folder = folder_of(form.shown["model_path"], form.shown["model_name"])
        if holder := holder_of(folder):
            return [f"this model is being written at the moment by {holder}: wait for that, or choose another name"]
        if not os.path.isdir(folder) or not os.listdir(folder):
            return [f"{folder} is a file: choose another name"] if os.path.isfile(folder) else []
        saved = read_model_settings(folder)
    except FormError:
        return ["taken by a folder that holds no model: choose another name"]
    except (OSError, ValueError, UserError):  # told beside the field, or when it is used
        return []
    return [f"taken: {_about(folder, saved)}. {_what_follows(form, folder, saved)}"]


def _about(folder: Path, saved: Mapping[str, Mapping[str, Any]]) -> str:
    """What the model in `folder` was trained on, when, where and how far."""
    source, count = saved.get("data", {}).get("training_source", ""), _number_of_images(folder)
    images = f" ({count} images)" if count else ""
    notebook = made_by(folder, dict(saved))
    by = f" by the page {notebook}" if notebook else ""
    return f"a model trained on {source or 'unknown images'}{images}{by}, {_how_far(folder, saved)}"


def _how_far(folder: Path, saved: Mapping[str, Mapping[str, Any]]) -> str:
    if not (folder / TRAINING).is_dir():
        done = folder / DESCRIPTION
        return f"finished on {_changed(done)}" if done.is_file() else "incomplete"
    when = in_words(max(map(_changed_at, own_states(folder) or [folder / TRAINING])))
    return f"{_stopped(folder, saved)}, on {when}"


def _stopped(folder: Path, saved: Mapping[str, Mapping[str, Any]]) -> str:
    try:
        return f"stopped {where_stopped(folder, saved)}"
    except DAMAGED:
        return "stopped"


def where_stopped(folder: Path, saved: Mapping[str, Mapping[str, Any]]) -> str:
    """Where the unfinished training in `folder` stopped: "in epoch 3 of 12", "in part 2 of 5 of the test ...".

    `saved` are the values of its forms. Raises one of `DAMAGED` where what was written of it cannot be read.
    """
    if part := part_in_test(folder):
        return f"in {part}"
    done = sum(int(json.loads(path.read_text(encoding="utf-8"))["epoch"]) for path in own_states(folder))
    total = saved.get("training", {}).get("number_of_epochs")
    if not isinstance(total, int) or not total:
        return f"in epoch {done + 1}"
    return f"in epoch {done + 1} of {total}" if done < total else "after its last epoch"


def own_states(folder: Path) -> list[Path]:
    """Files that say how far an unfinished training is, one for each stage; not those of trainings before it."""
    checkpoints = folder / TRAINING
    found = checkpoints.rglob(STATE)
    return [path for path in found if path.relative_to(checkpoints).parts[0] not in APART]


def part_in_test(folder: Path) -> str:
    """Where an unfinished training stopped in the test on all images in turn, in words; empty where it did not."""
    try:
        with (folder / SPLIT).open(encoding="utf-8", newline="") as file:
            parts = {row[FOLD] for row in csv.DictReader(file)}
    except (OSError, ValueError, LookupError, csv.Error):
        return ""
    done = sum(1 for _ in (folder / IN_TURN).glob("part_*.npz"))
    return f"part {done + 1} of {len(parts)} of the test on all images in turn" if done < len(parts) else ""


def _what_follows(form: Declaration, folder: Path, saved: Mapping[str, Mapping[str, Any]]) -> str:
    """What becomes of it when section 4 is run, and which choices there are."""
    goes_on = "the training goes on" if (folder / TRAINING).is_dir() else "it is used as it is"
    renamed = form.shown.get("if_model_exists") == RENAME
    others = "it is renamed, and a new one is trained" if renamed else "nothing is trained"
    choices = "" if renamed else f'. For a new model choose another name, or "{RENAME}" under Advanced'
    if different := _different(form, saved.get(form.form_name, {})):
        return f"It was made with other values of {', '.join(different)}: {others}{choices}"
    return f"With the same data and settings {goes_on}; with others {others}{choices}"


def _different(form: Declaration, saved: Mapping[str, Any]) -> list[str]:
    """Labels of the fields of `form` that show another value than the model was made with."""
    known = {name: saved[name] for name in form.fields if name in saved and name not in NOT_COMPARED}
    texts, _ = form.fitting(known)
    return [f'"{label(name)}"' for name in known if form.shown[name] not in (texts.get(name), AUTOMATIC)]


def _number_of_images(folder: Path) -> int:
    try:
        with (folder / SPLIT).open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return 0


def _changed_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime)
    except OSError:  # removed in this moment
        return datetime.now()


def _changed(path: Path) -> str:
    return in_words(_changed_at(path))
