"""Write a model as what other programs open, and read it back with another reader before saying that it works."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
from packaging.version import Version

from utils import runtime
from utils.errors import DataError, ModelError
from utils.exchange.targets import TARGETS, Target, reasons
from utils.files import write_text
from utils.pages.notes import note
from utils.tasks.choices import chosen_model
from utils.tasks.held_out import find_test_set
from utils.tasks.portable import Portable, difference
from utils.tasks.registry import read_task
from utils.training import origin
from utils.training.model_folder import no_result

FOLDER, README = "export", "README.md"
IMAGES = 3  # test images that an export is compared on
LIMIT = 1e-5  # difference to the notebook's answer, as a share of its largest value where that is above 1
ONNX = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
# Modules that nothing else needs -> packages; bioimageio.core cannot be loaded with the pydantic that came after 2.13.
NEEDED_FOR = {
    "qupath": ONNX | {"cv2": "opencv-python-headless<5"},
    "fiji": {},
    "zoo": ONNX | {"bioimageio.core": "bioimageio.core", "pydantic": "pydantic<2.14"},
    "onnx": ONNX,
}
FIELDS = origin.SAID


@dataclass(frozen=True)
class Exported:
    """What became of one target: its folder, the largest difference found, and a sentence where it was not written."""

    target: str
    folder: Path
    difference: float = np.nan
    problem: str = ""


def _room(target: str) -> ModuleType:
    """Module with `write`, `read`, `expected` and `how`, imported late: it may need what was installed a moment ago."""
    if target == "zoo":
        _check_pydantic()
        from utils.exchange import zoo as room
    elif target == "qupath":
        from utils.exchange import qupath as room
    elif target == "fiji":
        from utils.exchange import saved_model as room
    else:
        from utils.exchange import any_program as room
    return room


def _check_pydantic() -> None:
    """Say in words what bioimageio.core fails by: it can be replaced by a person only, other programs may need it."""
    found = version("pydantic")
    if Version(found) >= Version("2.14"):
        raise ModelError(
            f"A package of the BioImage Model Zoo cannot be written with pydantic {found}, which is installed here. "
            'Install an earlier one (pip install "pydantic<2.14"), restart the kernel, and run the cells again.'
        )


def export(folder: Path, targets: Iterable[str], about: Mapping[str, str] | None = None) -> list[Exported]:
    """Write a model for other programs, each into a folder of its own below the model's ``export``.

    Parameters
    ----------
    folder
        Model folder; nothing else is needed but its test images, on which each file is compared.
    targets
        Names in `TARGETS`.
    about
        Values of `FIELDS`, kept in model.json for the next time; those that are missing are as kept there.

    Returns
    -------
    list of Exported
        One for each target; one that this model cannot become, or whose file does not answer as the notebook does, is
        told and not there.

    Raises
    ------
    ModelError
        `folder` is no model folder.
    DataError
        A folder of an export holds other files, or cannot be written.
    """
    targets = list(targets)
    runtime.ensure({module: package for one in targets for module, package in NEEDED_FOR[one].items()})
    task, _ = read_task(folder)
    about = _remember(folder, about or {})
    against = {one: reasons(folder)[one] for one in targets}
    if all(against.values()):
        return [_refused(folder, one, why) for one, why in against.items()]
    try:
        model = task.portable(folder)
    except ModelError as error:
        return [Exported(one, folder / FOLDER / one, problem=str(error)) for one in targets]
    images = _images(task, folder, model)
    return [
        _refused(folder, one, why) if why else _export(folder, one, model, about, images)
        for one, why in against.items()
    ]


def _refused(folder: Path, target: str, why: str) -> Exported:
    told = f"Nothing was written for {TARGETS[target].title}: {why}."
    return Exported(target, folder / FOLDER / target, problem=told)


def _remember(folder: Path, about: Mapping[str, str]) -> dict:
    """What is known of a model, with what is new of it, which is written to its model.json; it has a title."""
    return {"title": folder.name} | origin.remember(folder, {name: about.get(name) for name in FIELDS})


def _images(task, folder: Path, model: Portable) -> list[np.ndarray]:
    """Some test images of a model (Y, X, C) as read, of sides that its network takes; noise where they are gone."""
    try:
        arrays = [one.image.array for one in find_test_set(task, folder).examples[:IMAGES]]
    except (DataError, ModelError):
        rng = np.random.default_rng(0)
        side = model.size or (model.LARGEST // 2, model.LARGEST // 2)
        arrays = [rng.integers(0, 4096, (*side, len(model.description["channels"]))).astype(np.uint16)]
    return [one if model.size else _whole_multiples(one, model) for one in arrays]


def _whole_multiples(array: np.ndarray, model: Portable) -> np.ndarray:
    """The upper left of an image, its sides multiples of what the network needs; a small image is mirrored first."""
    missing = [(0, max(0, step - side)) for side, step in zip(array.shape, model.multiple, strict=False)]
    array = np.pad(array, [*missing, (0, 0)], mode="symmetric")
    height, width = (
        min(side, model.LARGEST) // step * step for side, step in zip(array.shape, model.multiple, strict=False)
    )
    return array[:height, :width]


def _export(folder: Path, name: str, model: Portable, about: Mapping, images: Sequence[np.ndarray]) -> Exported:
    """Write, read back, compare; a folder of that name is replaced at the end, if an export wrote it."""
    target, place = TARGETS[name], folder / FOLDER / name
    if place.exists() and not (place / README).is_file():
        raise DataError(f"{place} exists and was not written by an export. Move it away, then run the cell again.")
    fresh = place.with_name(f".{name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        room, limit = _room(name), LIMIT
        if name == "zoo":  # which holds test images, what is known of the model, and the model folder
            difference, limit = room.export(fresh, model, about, images, folder), room.LIMIT
        else:
            room.write(fresh, model, about["title"])
            difference = largest_difference(room.read(fresh), room.expected, model, images)
        if not difference <= limit:  # also where it is no number
            told = (
                f"What was written for {target.title} does not answer as the notebook does (difference {difference:.2g}"
            )
            return Exported(name, place, difference, f"{told}, limit {limit:g}), so it was removed.")
        write_text(fresh / README, "\n\n".join(_about(folder, about, target, difference) + [*room.how(model)]) + "\n")
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)
    except ModelError as error:
        return Exported(name, place, problem=str(error))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{place} could not be written ({reason}). Free some space, or check permissions.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Exported(name, place, difference)


def _about(folder: Path, about: Mapping, target: Target, difference: float) -> list[str]:
    """Beginning of the README of an export, a paragraph each: whose model it is, what it was made from, how alike."""
    given = "; ".join(f"{name}: {about[name]}" for name in FIELDS[1:] if about.get(name))
    told = f"Written for {target.title}; its answers differ from the notebook's by at most {decimal(difference)}."
    remarks = [no_result(folder), given, *origin.lines({origin.ABOUT: about}), origin.clash(about)]
    return [f"# {about['title']}", *filter(None, remarks), told]


def decimal(difference: float) -> str:
    """A small number with one digit, as people write it: 0.000001, not 1e-06."""
    return np.format_float_positional(float(f"{difference:.1g}"), trim="-")


def largest_difference(
    answer: Callable[[np.ndarray], Mapping[str, np.ndarray]],
    expected: Callable[[Portable, np.ndarray], Mapping[str, np.ndarray]],
    model: Portable,
    images: Iterable[np.ndarray],
) -> float:
    """Largest `difference` of a reader's answer to the expected one, over outputs and images (Y, X, C) as read."""
    differences = []
    for array in images:
        given, wanted = answer(model.prepare(array)), expected(model, array)
        for name, values in wanted.items():
            differences.append(difference(given[name], values))
    return float(np.max(differences))


def show_exports(form: Mapping, trained: Path | None) -> None:
    """Section 7: write what is ticked in the form `export`, and say where it is or why it is not.

    `trained` is the folder of the model trained in this session, None without one.
    """
    targets = [name for name in TARGETS if form.get(name)]
    if not targets:
        note("Nothing is ticked in the form above, so nothing was written.")
        return
    told, folder = set(), chosen_model(form["model_folder"], trained)
    for one in export(folder, targets, {name: form[name] for name in FIELDS}):
        if one.problem and one.problem not in told:  # of the model, it is the same for each program
            note(one.problem)
            told.add(one.problem)
        elif not one.problem:
            about = f"its answers differ from the notebook's by at most {decimal(one.difference)}"
            note(f"For {TARGETS[one.target].title}: {one.folder} ({about}). README.md says how to open it.", one.folder)
    if against := origin.clash(origin.about(folder)):
        note(against)
