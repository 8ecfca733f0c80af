"""What a model can become for other programs, told from its model.json alone: quick enough to be said in a form."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.paths import DESCRIPTION

QUPATH_MULTIPLE = 64  # QuPath's StarDist makes its tiles a multiple of it


@dataclass(frozen=True)
class Target:
    """A form in which a model leaves the house.

    Attributes
    ----------
    title
        What it is for, as the form says it.
    tasks
        Names of the tasks whose models it can hold.
    other
        Why it holds no models of other tasks.
    against
        Content of model.json -> why it cannot hold that model of one of its tasks; "" where it can.
    """

    title: str
    tasks: Sequence[str]
    other: str = ""
    against: Callable[[Mapping], str] = lambda description: ""


def _not_in_qupath(description: Mapping) -> str:
    if description["task"] != "stardist":
        return ""
    rays, classes = description["network"]["n_rays"], description["network"].get("n_classes") or 0
    if rays <= classes + 1:
        return f"QuPath takes {rays} directions to the border for classes, of which there are {classes} and background"
    multiple = description["input"]["multiple_of"]
    if QUPATH_MULTIPLE % multiple:
        return f"its network needs multiples of {multiple} pixels, and QuPath makes tiles of multiples of 64"
    return ""


ALL = ("unet", "stardist", "classification")
TARGETS = {
    "qupath": Target(
        "QuPath",
        ("unet", "stardist"),
        "a classifier says what a crop shows; QuPath is given models that find objects or classify pixels",
        _not_in_qupath,
    ),
    "fiji": Target(
        "Fiji",
        ("unet", "stardist"),
        "a classifier says what a crop shows; Fiji's plugins take models that find objects or classify pixels",
    ),
    "zoo": Target("the BioImage Model Zoo and deepImageJ", ALL),
    "onnx": Target("any program that runs ONNX", ALL),
}


def reasons(folder: Path | None, tasks: Sequence[str] = ()) -> dict[str, str]:
    """Why a model cannot become something, a phrase by name of the target; "" where it can.

    Parameters
    ----------
    folder
        Model folder; None where it is not known yet.
    tasks
        What the model may be of where its folder is not known.
    """
    if folder is None:
        fits = {name: not tasks or bool({*tasks} & {*target.tasks}) for name, target in TARGETS.items()}
        return {name: "" if fits[name] else target.other for name, target in TARGETS.items()}
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        return {name: _reason(description, target) for name, target in TARGETS.items()}
    except OSError:
        why = "there is no finished model in that folder"
    except (ValueError, LookupError, TypeError, AttributeError):
        why = f"{DESCRIPTION} in that folder is damaged: take the folder from a backup or train again"
    return dict.fromkeys(TARGETS, why)


def _reason(description: Mapping, target: Target) -> str:
    if description["task"] not in ALL:
        return "these notebooks do not know models of that kind"
    if description["task"] not in target.tasks:
        return target.other
    if description.get("decides", {}).get("network", 1) < 1:
        return (
            "a random forest decides, alone or along with the network, and other programs cannot compute what it "
            'measures. To export a model, train it with "network" in the field "Decides", under Advanced'
        )
    return target.against(description)
