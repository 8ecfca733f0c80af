"""What a field for a model may name: a model folder, a published model, or a package of others."""

import re
from collections.abc import Mapping
from pathlib import Path

from utils.errors import ModelError
from utils.exchange import packages
from utils.exchange.packages import NAMES, description_file, is_package, read_description, unpack
from utils.paths import DESCRIPTION, resolve
from utils.samples import PUBLISHED, PUBLISHED_PLACE
from utils.tasks.choices import Chosen
from utils.tasks.choices import choose as choose_folders
from utils.training.origin import about

LONGEST = 60  # letters of a title that become a part of a folder's name


def find_model(name: str | Path) -> Path:
    """Folder of the model that a text names: of a model, of a package, or where a published model has its place.

    A package is unpacked, or downloaded; it is not yet checked. ModelError where that fails.
    """
    if str(name).strip() in PUBLISHED:
        return PUBLISHED_PLACE / str(name).strip()
    if not is_package(name):
        return resolve(name)
    folder = unpack(name)
    if not (folder / DESCRIPTION).is_file() and description_file(folder) is None:
        raise ModelError(
            f"{name} holds no model: neither {NAMES[0]}, as packages of the BioImage Model Zoo have, nor "
            f"{DESCRIPTION}, as models of these notebooks have. Choose the zip file as it was published."
        )
    return folder


def choose(prediction: Mapping, notebook: str, trained: Path | None, training_source: str | None) -> Chosen:
    """Read the form `prediction` as `utils.tasks.choices.choose` does; its model may be any that `find_model` knows."""
    if not prediction["model_folder"]:
        return choose_folders(prediction, notebook, trained, training_source)
    folder = find_model(prediction["model_folder"])
    asked = {**prediction, "model_folder": str(folder)}
    return choose_folders(asked, notebook, trained, training_source, title_of(folder))


def title_of(folder: Path) -> str:
    """What a model is called, in letters that a folder may have; "" but for one that was unpacked or downloaded.

    The names of their folders also tell versions apart, which says nothing to a person.
    """
    if not folder.is_relative_to(packages.PLACE):
        return ""
    own = (folder / DESCRIPTION).is_file()
    title = about(folder).get("title") if own else read_description(folder).get("name")
    return re.sub(r"[^\w+-]+", "_", str(title or "")).strip("_")[:LONGEST]


def holds_package(folder: Path) -> bool:
    """Whether a folder holds a package, and no model of these notebooks; ModelError where it is a broken one."""
    if (folder / DESCRIPTION).is_file() or not is_package(folder):
        return False
    return bool(read_description(folder))
