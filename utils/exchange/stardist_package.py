"""A StarDist package of the BioImage Model Zoo as a model folder, to predict with and to start a training from."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import ModelError
from utils.exchange import packages
from utils.exchange.packages import description_file, listed, needed_file
from utils.files import atomic, file_sha256, write_json
from utils.images.normalise import NORMALISATION
from utils.paths import DESCRIPTION
from utils.training.model_folder import FORMAT, read_model

CONFIG, THRESHOLDS, WEIGHTS = "config.json", "thresholds.json", "weights_best.h5"  # names that StarDist itself uses
ENTRIES = ("config", "thresholds", "weights")  # that StarDist writes into the packages that it makes
HDF5 = b"\x89HDF\r\n\x1a\n"


def is_stardist(described: Mapping) -> bool:
    """Whether a package holds all that StarDist itself makes of a model: network, thresholds and weights."""
    return all(_entry(described, name) for name in ENTRIES) and _normalisation(described) is not None


def as_model_folder(folder: Path, task: Any, described: Mapping) -> Path:
    """Model folder made from the StarDist package in `folder`; made once, the package stays as it is.

    `task` is that of StarDist in `utils.tasks.registry`, `described` what `packages.check` returned for the folder.

    Raises
    ------
    ModelError
        The package is incomplete, or its model is for stacks.
    """
    if _entry(described, "config").get("n_dim", 2) != 2:
        raise ModelError(f"The package {folder} is of a StarDist model for stacks. Choose one for 2-D images.")
    weights = needed_file(folder, _entry(described, "weights"))
    if weights.read_bytes()[:8] != HDF5:
        raise ModelError(f"{weights} is no file of weights (HDF5). Download the package again.")
    key = file_sha256(weights)[:8] + file_sha256(description_file(folder))[:8]
    target = packages.PLACE / f"{folder.name}.stardist.{key}"
    if not (target / DESCRIPTION).is_file():
        _write(target, folder, task, described, weights)
    read_model(target, task.name)
    return target


def _write(target: Path, folder: Path, task: Any, described: Mapping, weights: Path) -> None:
    config, thresholds = dict(_entry(described, "config")), dict(_entry(described, "thresholds"))
    try:
        model = task.describe_foreign(config, _normalisation(described))
        write_json(target / CONFIG, config)
        write_json(target / THRESHOLDS, {name: float(thresholds[name]) for name in ("prob", "nms")})
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"The package {folder} describes its StarDist model in a way that is not known here ({error!r}). Choose "
            "another package."
        ) from error
    with atomic(target / WEIGHTS) as temporary:
        shutil.copyfile(weights, temporary)
    sums = {name: file_sha256(target / name) for name in (CONFIG, THRESHOLDS, WEIGHTS)}
    more = {"axes": "YXC", "mask_type": "instance labels", "notebook": task.notebook, "versions": {}}
    write_json(target / DESCRIPTION, {"format": FORMAT, **more, **model, "about": origin(described), "sha256": sums})


def origin(described: Mapping) -> dict[str, str]:
    """Whose model a package holds and what may be done with it, as far as it says: title, authors, licence, cite."""
    people = [one.get("name") for one in listed(described, "authors")]
    papers = [one.get("doi") or one.get("text") or one.get("url") for one in listed(described, "cite")]
    found = {
        "title": described.get("name"),
        "authors": ", ".join(map(str, filter(None, people))),
        "licence": described.get("license"),
        "cite": "; ".join(map(str, filter(None, papers))),
    }
    return {name: str(text) for name, text in found.items() if text}


def _entry(described: Mapping, name: str) -> Any:
    config = described.get("config")
    told = config.get("stardist") if isinstance(config, dict) else None
    found = told.get(name) if isinstance(told, dict) else None
    wanted = str if name == "weights" else dict
    return found if isinstance(found, wanted) else None


def _normalisation(described: Mapping) -> dict | None:
    """What the package does to an image as model.json says it; None where it does anything else."""
    inputs = listed(described, "inputs")
    steps = [one for tensor in inputs for one in listed(tensor, "preprocessing")]
    scaling = [one for one in steps if (one.get("name") or one.get("id")) != "ensure_dtype"]
    if len(inputs) != 1 or len(scaling) != 1 or (scaling[0].get("name") or scaling[0].get("id")) != "scale_range":
        return None
    told = scaling[0].get("kwargs")
    told = told if isinstance(told, dict) else {}
    axes = told.get("axes") or ("channel", "y", "x")  # said by nobody: all of them together
    if told.get("mode", "per_sample") != "per_sample" or "batch" in axes or not {"y", "x"} <= set(axes):
        return None
    joint = "channel" in axes or (isinstance(axes, str) and "c" in axes)
    low, high = (told.get(name, usual) for name, usual in (("min_percentile", 0), ("max_percentile", 100)))
    return NORMALISATION | {"low": float(low), "high": float(high), "channels": "joint" if joint else "separate"}
