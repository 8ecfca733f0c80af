"""The model folder, the contract between notebooks: everything needed to use, judge or continue a model."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import keras
import pandas as pd

from utils.errors import ModelError
from utils.files import atomic, file_sha256, write_csv, write_json
from utils.forms.fields import AUTOMATIC, EARLIER, RENAME, STOP
from utils.locks import Holder, hold
from utils.paths import CHOSEN, DESCRIPTION, PARAMETERS, SCORES, SPLIT, TRAINING, dated_name
from utils.runtime import versions
from utils.training import origin
from utils.training.checkpoints import chosen_before, save_weights

FORMAT = 1
WEIGHTS, HISTORY = "weights.h5", "history.csv"
UNFINISHED = TRAINING
DONE = ".training.done"
REPORT, REPORT_PDF, CITE = "report.html", "report.pdf", "cite.bib"
JUDGED = ("evaluation.csv", SCORES, REPORT, REPORT_PDF, CITE)  # made from the weights, worthless beside other weights
# Fields that say where a model lies or what to do with an old one, not how it is trained; which images belong together
# matters by the split only, which is compared itself, as does whether all images are tested in turn. Whose images they
# are changes nothing.
PLACES = {"model_name", "model_path", "if_model_exists", "training_source", "training_target"}
NOT_COMPARED = {"data": PLACES | {"group_rule", "test_in_turn", *origin.FIELDS.values()}}
# Fields that earlier versions did not have, with the value that does what they did.
ADDED = {"data": {"pixel_size": 0}, "augmentation": {"empty": AUTOMATIC}}
SAME = ["sha256", "annotation", "role", "fold"]  # columns of two splits that are the same
COMPARED_FORMS = ("data", "augmentation", "training", "strategy")
TRY_OUT = "Try out"  # preset whose models are for looking, not for use
NO_RESULT = f"{TRY_OUT}: this is no result"  # column "remark" of tables


def no_result(folder: Path) -> str:
    """Say that the model in `folder` was made to try out how everything works; "" where it was not, or none is known.

    To be said wherever something of the model is used: beside its score and beside all that it predicts.
    """
    try:
        preset = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"]["training"]["preset"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if preset != TRY_OUT:
        return ""
    return (
        f'Made with the preset "{TRY_OUT}", to see how everything works: this is no result. Train with another preset.'
    )


def alone(folder: Path, wait: float = 1.0) -> AbstractContextManager[bool]:
    """Hold the model folder while something is written into it, see `utils.locks.hold`; ModelError where another does.

    A kernel that ends, or is killed, holds nothing any more.
    """

    def refuse(holder: Holder) -> ModelError:
        return ModelError(
            f"The model {folder.name} in {folder.parent} is being written at the moment, by {holder}. Wait until that "
            "has ended, or stop it there, and run this cell again; or write another model_name."
        )

    return hold(folder, refuse, wait)


def open_folder(folder: Path, parameters: Mapping, split: pd.DataFrame, if_model_exists: str = STOP) -> str:
    """Make the model folder ready for a training, or say that its training is already done.

    "new", "unfinished" (same parameters and data: the training goes on) or "finished" (same: use it). `parameters` are
    {"overrides": {form: {field: value}}}, `split` is the split table (file, sha256, group, role) of this run. Where the
    folder holds something else, a model with other parameters or data, or files that are no model, `if_model_exists`
    `STOP` refuses by a ModelError, `RENAME` moves it to <name>.<date>. Nothing is ever deleted.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        differences = _differences(folder, parameters, split)
        if not differences:
            _take_group_rule(folder, parameters, split)
            _take_origin(folder, parameters)
            if (folder / UNFINISHED).is_dir():
                return "unfinished"
            _remove_leftovers(folder)
            return "finished"
        if EARLIER.get(if_model_exists, if_model_exists) != RENAME:
            raise ModelError(
                f"The folder {folder} already holds something else: {'; '.join(differences)}. Choose another "
                f'model_name, or choose "{RENAME}" in the field if_model_exists (folded away under Advanced).'
            )
    _begin(folder, parameters, split)
    return "new"


def _begin(folder: Path, parameters: Mapping, split: pd.DataFrame) -> None:
    """Put a folder with parameters and split, written elsewhere first, in the place of `folder`, which moves away."""
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        (fresh / UNFINISHED).mkdir(parents=True, exist_ok=True)
        write_json(fresh / PARAMETERS, parameters)
        write_csv(fresh / SPLIT, split)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        elif folder.exists():
            folder.rename(dated_name(folder))
        fresh.rename(folder)
    except OSError as error:
        raise ModelError(
            f"The model folder {folder} could not be made ({error.strerror or error}). Free some space, close programs "
            "that use the folder, or choose another model_path."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _take_group_rule(folder: Path, parameters: Mapping, split: pd.DataFrame) -> None:
    """Write a later answer to which images belong together into a folder whose split is the same with it."""
    kept = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    data, new = kept["overrides"].get("data", {}), parameters["overrides"].get("data", {})
    if "group_rule" in new and data.get("group_rule") != new["group_rule"]:
        kept["overrides"]["data"] = {**data, "group_rule": new["group_rule"]}
        write_json(folder / PARAMETERS, kept)
        write_csv(folder / SPLIT, split)


def _take_origin(folder: Path, parameters: Mapping) -> None:
    """Write a later answer to whose images these are into a folder; an empty one takes nothing away."""
    new = parameters["overrides"].get("data", {})
    told = {field: new[field] for field in origin.FIELDS.values() if new.get(field)}
    kept = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    data = kept["overrides"].get("data", {})
    if data | told != data:
        kept["overrides"]["data"] = data | told
        write_json(folder / PARAMETERS, kept)
        if (folder / DESCRIPTION).is_file():
            origin.remember(folder, {entry: told.get(field) for entry, field in origin.FIELDS.items()})


def keep_choices(folder: Path, parameters: Mapping, chosen: Sequence[Mapping]) -> None:
    """Write what was chosen for fields that say "automatic" (form, field, value, reason), and what is run with it."""
    write_json(folder / CHOSEN, chosen)
    write_json(folder / PARAMETERS, parameters)


def _differences(folder: Path, parameters: Mapping, split: pd.DataFrame) -> list[str]:
    """What differs between the run that wrote `folder` and this one, in words; empty where nothing does."""
    try:
        old = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"]
        chosen = {(one["form"], one["field"]) for one in chosen_before(folder)}
        differences = _changed_fields(old, json.loads(json.dumps(parameters["overrides"])), chosen)
        same_split = _same_split(folder, split)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ["it was not written by these notebooks, or is incomplete"]
    if not ((folder / UNFINISHED).is_dir() or (folder / DESCRIPTION).is_file()):
        return ["it is incomplete"]
    if not same_split:
        differences.append("it was trained on other images, masks or another split")
    return differences


def was_split_so(folder: Path, split: pd.DataFrame) -> bool:
    """Whether the run that wrote `folder` had these images and masks in these roles; False where there was none."""
    try:
        return _same_split(folder, split)
    except (OSError, ValueError, LookupError):
        return False


def _same_split(folder: Path, split: pd.DataFrame) -> bool:
    old = pd.read_csv(folder / SPLIT, dtype=str, keep_default_na=False)
    if not set(SAME[:3]) <= set(old):
        raise ValueError(f"{folder / SPLIT} is no split of these notebooks")
    old, new = (one.reindex(columns=SAME, fill_value="").astype(str) for one in (old, split))
    return sorted(map(tuple, old.values)) == sorted(map(tuple, new.values))


def _changed_fields(old: Mapping, new: Mapping, chosen: set[tuple[str, str]]) -> list[str]:
    """Fields {form: {field: value}} that differ, in words; the `chosen` ones only from what is no longer automatic.

    A field that an earlier form did not have yet is an empty one.
    """
    differences = []
    for form in COMPARED_FORMS:
        before, after = (ADDED.get(form, {}) | one.get(form, {}) for one in (old, new))
        for field in sorted((before.keys() | after.keys()) - NOT_COMPARED.get(form, set())):
            left_open = after.get(field) == AUTOMATIC and (form, field) in chosen
            if before.get(field, "") != after.get(field, "") and not left_open:
                differences.append(f"{form}.{field} was {before.get(field)!r} and is now {after.get(field)!r}")
    return differences


def save_model(
    folder: Path,
    network: keras.Model,
    description: Mapping,
    history: pd.DataFrame,
    weights: str = WEIGHTS,
    files: Mapping[str, Mapping | Callable[[Path], None]] | None = None,
    save: Callable[[keras.Model, Path], None] | None = None,
) -> None:
    """Write weights, history and, last of all, model.json, which makes the folder a model; all of them or none.

    Scores and report of earlier weights are removed.

    Parameters
    ----------
    folder
        Made ready by `open_folder`.
    network
        Float32 Keras model with the weights to keep.
    description
        The content of model.json without format, versions, sha256 and about (see `utils.training.origin`), which are
        added here.
    history
        One row per epoch.
    weights, save
        Name of the file of weights, and what writes those of a network to a path; None: as Keras weights.
    files
        More files that the model needs: name -> content of a JSON file, or what writes the file to a path.
    """
    with ExitStack() as stack:
        last, second, first = (stack.enter_context(atomic(folder / name)) for name in (DESCRIPTION, HISTORY, weights))
        (save or save_weights)(network, first)
        written = {weights: first}
        for name, content in (files or {}).items():
            written[name] = stack.enter_context(atomic(folder / name))
            content(written[name]) if callable(content) else write_json(written[name], content)
        write_csv(second, history)
        sums = {name: file_sha256(path) for name, path in written.items()}
        known = origin.to_keep(folder, description)
        more = {"versions": versions(), "sha256": sums} | ({origin.ABOUT: known} if known else {})
        write_json(last, {"format": FORMAT, **description, **more})
        for name in JUDGED:
            (folder / name).unlink(missing_ok=True)


def note_run(folder: Path, run: Mapping) -> None:
    """Add to a model.json, where there is one, how the training went: entry run, see `utils.training.run`."""
    if not (folder / DESCRIPTION).is_file():
        return
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    write_json(folder / DESCRIPTION, {**description, "run": run})


def finish(folder: Path) -> None:
    """Remove the checkpoints: the training is complete."""
    (folder / UNFINISHED).rename(folder / DONE)  # at once, so that a kill cannot leave half a checkpoint to go on from
    _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a kill left behind: checkpoints of a finished training, temporary files of `utils.files.atomic`."""
    shutil.rmtree(folder / DONE, ignore_errors=True)
    for path in folder.glob(".*"):
        if re.match(r"\.\d+\.", path.name):
            path.unlink(missing_ok=True)


def read_model(folder: Path, task: str | None = None) -> dict:
    """Read and check model.json of a model folder; with about (see `utils.training.origin`) as far as known.

    Parameters
    ----------
    task
        "unet", "stardist" or "classification" to insist on that task.

    Raises
    ------
    ModelError
        No model there, a newer format, another task, or files that are missing or changed (checksum).
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a model folder (no {DESCRIPTION} in it). Choose the folder of a trained model, "
            "for example models/my_model."
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        form, kind, sums = description["format"], description["task"], description["sha256"]
        sums, newer = dict(sums), int(form) > FORMAT
        if not sums:
            raise ValueError("no checksums")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}). Take the model folder from a backup or train again.") from error
    if newer:
        raise ModelError(
            f"{path} was written by a newer version of these notebooks (format {form}). Get the newest ones."
        )
    if task and kind != task:
        raise ModelError(f"{folder} holds a model for {kind!r}, this notebook needs one for {task!r}. Choose another.")
    for name, checksum in sums.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing. Copy the whole model folder again or train again.")
        if file_sha256(folder / name) != checksum:
            raise ModelError(
                f"{folder / name} was changed or damaged since it was saved. Copy the whole model folder "
                "again or train again."
            )
    known = origin.about(folder, description)
    description.pop(origin.ABOUT, None)
    return description | ({origin.ABOUT: known} if known else {})
