"""Which notebook fits what was found, why, what is missing for the others, and what their forms are filled in with."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utils.first_look.content import Content
from utils.first_look.headers import CROP
from utils.first_look.shelf import Model, newest
from utils.first_look.survey import TRAINING, Found, described
from utils.forms.folders import path_text
from utils.forms.settings import EARLIER
from utils.paths import FOLDER_NAME, ROOT

FITS, ALSO, TRAINED, NOT = range(4)  # how well a notebook fits; `TRAINED`: with a trained model, in its section 6
UNET, STARDIST, CLASSIFICATION, TUNING = "unet_segmentation", "stardist_segmentation", "classification", "fine_tuning"
TASK_OF = {notebook: task for task, notebook in EARLIER.items()}
PUBLISHED = "2D_versatile_he"  # StarDist's own model of stained tissue
FEW, SOME, TUNABLE = 10, 20, 60  # annotated images: too few to train, of each class a good start, fine-tuning may do
NOT_NAMES = ("images", "image", *TRAINING)  # of folders that say nothing about what is in them
Values = Mapping[str, Mapping[str, Any]]  # {form: {field: value}}


class Advice(NamedTuple):
    """About one notebook: how well it fits, why (or what is missing), and values for its forms."""

    notebook: str
    fit: int
    why: str
    values: Values = {}


def advise(found: Found, content: Content) -> list[Advice]:
    """What fits images, that which fits best first."""
    of_kind = {"pairs": _about_pairs, "images": _about_images, "classes": _about_classes}
    return sorted(of_kind[found.kind](found, content), key=lambda one: one.fit)


def advise_model(model: Model, folder: Path) -> list[Advice]:
    """What can be done with a model."""
    place = path_text(folder)
    if place is None or not model.notebook or model.unfinished:
        return []
    known = f" Its score: {model.score}." if model.score else ""
    use = f"This is a trained model ({model.noun}): section 6 uses it on new images, and section 5 scores it.{known}"
    again = "Trains the model further on a few images of yours, and measures how many are needed."
    own = EARLIER.get(model.task, model.notebook)
    return [
        Advice(own, FITS, use, {"prediction": {"model_folder": place}, "evaluation": {"model_folder": place}}),
        Advice(TUNING, ALSO, again, {"data": {"starting_model": place}}),
    ]


def _about_pairs(found: Found, content: Content) -> list[Advice]:
    """Images with masks: U-Net or StarDist by what the masks mean."""
    values, kind = _training_values(found), content.mask_type
    objects = "In the masks every object has a number of its own"
    pixels = "The masks say of every pixel what it is"
    unclear = "What the masks mean is not clear: see above what looks wrong."
    few = _too_few(len(found.images), "images with masks")
    if kind == "instance labels":
        ways = [
            Advice(STARDIST, FITS, f"{objects}: StarDist learns to find and count single objects.{few}", values),
            Advice(UNET, ALSO, f"If only the area matters, not single objects.{few}", values),
        ]
    elif kind == "classes":
        ways = [
            Advice(UNET, FITS, f"{pixels}, in several classes: U-Net learns to find each of them.{few}", values),
            Advice(STARDIST, NOT, "Needs a number for each object; these masks hold classes of pixels."),
        ]
    elif kind:
        together = (
            "If you want to count single objects. Those that touch count as one, as these masks do not part them."
        )
        ways = [
            Advice(UNET, FITS, f"The masks mark an area: U-Net learns to find it.{few}", values),
            Advice(STARDIST, ALSO, f"{together}{few}", values),
        ]
    else:
        ways = [Advice(UNET, ALSO, f"For areas. {unclear}{few}", values)]
        ways.append(Advice(STARDIST, ALSO, f"For single objects. {unclear}{few}", values))
    folders = "Needs small images of single cells, in a folder for each class; these have masks instead."
    return [*ways, _tuning(found, content, ways[0].notebook), Advice(CLASSIFICATION, NOT, folders)]


def _about_images(found: Found, content: Content) -> list[Advice]:
    """Images alone: they can be looked at by a trained model, or annotated."""
    folder = path_text(found.source)
    advice = []
    for notebook, task, what in ((STARDIST, "stardist", "finds single objects"), (UNET, "unet", "finds areas")):
        model = newest(task, content.headers[0].channels if content.headers else 0)
        draw = "To train, draw masks for 10 to 20 of the images and put them into a folder masks beside the images."
        if model is None or (notebook == UNET and content.are_stacks) or folder is None:
            why = "U-Net takes no stacks" if model and content.are_stacks else "there is no model for such images yet"
            advice.append(Advice(notebook, NOT, f"No masks were found, and {why}. {draw}"))
            continue
        own = f"the model {model.folder.name}"
        whose = (
            "the project's own model of fluorescent nuclei" if model.folder.parent.name == "starting_models" else own
        )
        values = {"prediction": {"data_folder": folder, "model_folder": path_text(model.folder) or ""}}
        told = f"No masks were found: nothing can be trained. But section 6 {what} with a trained model; {whose} is"
        other = "filled in, choose another one if it does not fit."
        advice.append(Advice(notebook, TRAINED, f"{told} {other} {draw}", values))
    return [*advice, _sorting(found, content, folder), Advice(TUNING, NOT, "Needs masks or classes of some images.")]


def _sorting(found: Found, content: Content, folder: str | None) -> Advice:
    """About a classifier for images without classes."""
    model = newest("classification", content.headers[0].channels if content.headers else 0)
    crops = 0 < content.side <= CROP
    sort = "Sort the images into a folder for each class, 20 or more of each, to train a classifier."
    why = (
        f"The images are small, as those of single cells are. {sort}"
        if crops
        else f"Needs a class for each image. {sort}"
    )
    if not (crops and model and folder):
        return Advice(CLASSIFICATION, NOT, why)
    values = {"prediction": {"data_folder": folder, "model_folder": path_text(model.folder) or ""}}
    told = (
        f"Section 6 says the class of each image with your classifier {model.folder.name}, which is filled in. {sort}"
    )
    return Advice(CLASSIFICATION, TRAINED, told, values)


def _about_classes(found: Found, content: Content) -> list[Advice]:
    """Images of classes, which large images in sub-folders may not be."""
    smallest = min(found.classes.values())
    few = f" The rarest class has {smallest} images, {SOME} are a good start." if smallest < SOME else ""
    doubt = " If the sub-folders are patients, days or experiments and no classes, choose one of them below."
    large = content.side > CROP and found.source.is_dir()
    names = ", ".join(list(found.classes)[:6]) + (", ..." if len(found.classes) > 6 else "")
    why = f"The images are sorted into {len(found.classes)} classes ({names}): a classifier learns to tell them apart."
    fit = ALSO if large or len(found.classes) < 2 or smallest < 2 else FITS
    first = Advice(CLASSIFICATION, fit, f"{why}{few}{doubt * large}", _training_values(found))
    none = "No masks were found. To segment, draw masks for 10 to 20 images, in a folder masks beside them."
    return [first, _tuning(found, content, CLASSIFICATION), Advice(UNET, NOT, none), Advice(STARDIST, NOT, none)]


def _tuning(found: Found, content: Content, notebook: str) -> Advice:
    """About fine-tuning a model of the same kind, which needs fewer images."""
    model = newest(TASK_OF[notebook], content.headers[0].channels if content.headers else 0)
    start = path_text(model.folder) if model else None
    if start is None and notebook == STARDIST and content.headers and content.headers[0].channels == 3:
        start = PUBLISHED
    if start is None:
        return Advice(TUNING, NOT, "There is no model for such images yet from which the training could start.")
    values = {form: dict(one) for form, one in _training_values(found).items()}
    values.setdefault("data", {})["starting_model"] = start
    if "model_name" in values["data"]:
        values["data"]["model_name"] = free_name(f"{values['data']['model_name']}_fine_tuned")
    why = f"Starts from a trained model ({start} is filled in) and measures how many of your images are needed."
    return Advice(TUNING, ALSO if len(found.images) <= TUNABLE or found.kind == "classes" else TRAINED, why, values)


def _too_few(n: int, what: str) -> str:
    return f" {n} {what} are few: 10 to 20 that differ from each other are a good start." if n < FEW else ""


def _training_values(found: Found) -> dict[str, dict[str, Any]]:
    """Values for the forms data, evaluation and prediction; empty where a path cannot be written into a field."""
    places = {"training_source": found.source, "training_target": found.target}
    data = {name: path_text(path) for name, path in places.items() if path is not None}
    if None in data.values():
        return {}
    if name := free_name(name_of(found)):
        data["model_name"] = name
    values = {"data": data}
    if found.test:
        places = {"test_source": found.test.source, "test_target": found.test.target}
        values["evaluation"] = {name: path_text(path) or "" for name, path in places.items() if path is not None}
    if found.new and (new := path_text(found.new)):
        values["prediction"] = {"data_folder": new}
    return values


def name_of(found: Found) -> str:
    """Name for a model of these images, from the name of their folder; "" where that says nothing."""
    folder = found.source.parent if found.source.is_file() else found.source
    while folder.name.casefold() in NOT_NAMES and folder.parent != folder:
        folder = folder.parent
    name = re.sub(r"[^\w-]+", "_", folder.name).strip("_.")
    return name if FOLDER_NAME.fullmatch(name) else ""


def free_name(name: str) -> str:
    """`name`, with a number where there is a model of that name."""
    names = [name, *(f"{name}_{number}" for number in range(2, 1000))] if name else [""]
    return next((one for one in names if not one or not (ROOT / "models" / one).exists()), "")


def summary(found: Found) -> str:
    """What was found in a sentence."""
    if found.test is None:
        return f"{described(found)}."
    return f"{described(found)} to train on, and {len(found.test.images):,} in another folder for the test."
