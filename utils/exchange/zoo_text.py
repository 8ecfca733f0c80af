"""What a package of the BioImage Model Zoo says of a model in words."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bioimageio.spec._internal._generated_spdx_license_literals import LicenseId
from bioimageio.spec.model import v0_5 as spec

from utils.data.splits import read_split
from utils.files import write_text
from utils.paths import SCORES, SPLIT
from utils.tasks.portable import Portable
from utils.training import origin
from utils.training.model_folder import no_result

METHOD = {  # what to cite of a method, with its DOI
    "unet": (
        "Ronneberger et al., U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015",
        "10.1007/978-3-319-24574-4_28",
    ),
    "stardist": (
        "Schmidt et al., Cell detection with star-convex polygons, MICCAI 2018",
        "10.1007/978-3-030-00934-2_30",
    ),
}
KIND = {
    "unet": "U-Net that says what each pixel is",
    "stardist": "StarDist model that finds objects",
    "classification": "classifier of images of one object",
}
TAGS = {
    "unet": ["unet", "semantic-segmentation"],
    "stardist": ["stardist", "instance-segmentation", "object-detection"],
    "classification": ["image-classification"],
}
TILES = (
    "Images may be cut into tiles. Near the border of an image, as far as the halo, programs mirror the image and the "
    "notebook does not: answers may differ there."
)
KINDS = (
    "The class of an object is, background aside, the one with the highest value of `prob_class` in the pixel that the "
    "non-maximum suppression has kept for it (StarDist's `points`), not the one that is found most often inside of it."
)
OUTPUT, MASK = "output", "output_mask"  # of StarDist with classes of objects there are others
DOI = re.compile(r"10\.\d{4,9}/[^\s,;\"<>]+[^\s,;.\"<>)]")
LETTERS = re.compile(r"[^A-Za-z0-9_+\- ()]")  # a name in the Zoo has no others


def about(given: Mapping[str, str], model: Portable, place: Path) -> dict:
    """Fields of the package that say what it is: name, description, authors, licence, what to cite, tags.

    Parameters
    ----------
    given
        What is known of the model: title, authors, licence, description, cite.
    model
        The network.
    place
        Folder for a licence that is none of SPDX's list.
    """
    task = model.description["task"]
    told = given.get("description") or f"{KIND[task]}."
    authors = given.get("authors") or ""
    parts = re.split(r"[;\n]|\band\b" if ";" in authors else r"[,\n]|\band\b", authors)
    return {
        "name": name(given["title"], task),
        "description": short(told, 1024),
        "authors": [spec.Author(name=one.strip().replace("/", " ")) for one in parts if one.strip()],
        "license": _licence(given.get("licence") or "", place),
        "cite": _cite(given.get("cite") or "", task),
        "tags": [*TAGS[task], "2d", "tensorflow"],
    }


def name(title: str, task: str) -> str:
    """Title in the letters that the Zoo knows, of at least 5."""
    text = re.sub(r" +", " ", LETTERS.sub(" ", title)).strip()
    return text[:64].strip() if len(text) >= 5 else f"{text} ({KIND[task].partition(' ')[0]} model)".strip()


def file_name(title: str, task: str) -> str:
    """Name of the zip file, which tells packages apart where they are kept."""
    return f"{re.sub(r'[^A-Za-z0-9_+-]+', '_', name(title, task)).strip('_')}.zip"


def short(text: str, most: int) -> str:
    """Text of at most so many letters."""
    return text if len(text) <= most else f"{text[: most - 4].rsplit(' ', 1)[0]} ..."


def licence_id(text: str) -> str | None:
    """Name in SPDX's list of a licence as people write it, such as CC BY 4.0; None where it is not there."""
    known = {_plain(one): one for one in get_args(LicenseId)}
    more = {"bsd3clause": "BSD-3-Clause", "cc0": "CC0-1.0", "apache2": "Apache-2.0", "publicdomain": "CC0-1.0"}
    return known.get(_plain(text)) or more.get(_plain(text)) or known.get(_plain(f"{text} 4.0"))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", re.sub(r"licen[cs]e|version", "", text.lower()))


def _licence(text: str, place: Path) -> spec.LicenseId | spec.FileDescr | None:
    if not text:
        return None
    if known := licence_id(text):
        return spec.LicenseId(known)
    write_text(place / "LICENSE.txt", f"{text}\n")
    return spec.FileDescr(source=place / "LICENSE.txt")


def _cite(text: str, task: str) -> list[spec.CiteEntry]:
    """What is to be cited, as far as it has an address: without one the Zoo takes it in the documentation only."""
    found = [spec.CiteEntry(text=text, doi=spec.Doi(match[0]))] if (match := DOI.search(text)) else []
    method = [METHOD[task]] if task in METHOD else []
    return found + [spec.CiteEntry(text=words, doi=spec.Doi(doi)) for words, doi in method]


def whole_images(scaled_outside: bool, multiples: str) -> str:
    """Say that images are not to be cut into tiles.

    `scaled_outside`: the program scales them, not the network; `multiples` of pixels are the sides it takes.
    """
    if scaled_outside:
        why = (
            "Where a program cuts images into tiles, answers differ near their borders. An image of which less than 2 "
            "pixels in 1000 stand out is scaled otherwise in the notebook."
        )
    else:
        why = (
            "The network brings each image to a common range of brightness by itself: where a program cuts images into "
            "tiles, each tile would be brightened for itself and the answer would be another."
        )
    return (
        f"**Give it whole images.** {why} Choose a tile as large as the image. Sides that are multiples of {multiples} "
        'are best, others are padded. A model trained with "all images together" in the field *Normalisation* may be '
        "tiled."
    )


@dataclass(frozen=True)
class Output:
    """An output of a package, of the size of the image.

    Attributes
    ----------
    channels
        Their names.
    means
        What it says, in words.
    threshold
        Where programs make a mask of it: the value above which a pixel is 1 in it, and not 0.
    """

    channels: Sequence[str]
    means: str
    threshold: float | None = None


def outputs(model: Portable) -> dict[str, Output]:
    """Outputs of a package by their names.

    A mask has an output of its own: what is made of an output after the network is all that programs show of it, and
    the probabilities are wanted, too. The probability and the distances of StarDist are one output, as in StarDist's
    own packages, unless there are classes of objects, which programs would take for further distances.
    """
    description = model.description
    names = [str(one["name"]) for one in description["classes"]]
    if description["task"] == "stardist":
        rays = [f"distance {i + 1}" for i in range(description["network"]["n_rays"])]
        probability, distance, *kinds = model.outputs.values()
        if not kinds:
            return {OUTPUT: Output(["probability", *rays], f"{probability}; {distance}")}
        parts = [(["probability"], probability), (rays, distance), (names, kinds[0])]
        return {name: Output(*one) for name, one in zip(model.outputs, parts, strict=True)}
    found = {OUTPUT: Output(names, "; ".join(model.outputs.values()))}
    if description["task"] == "unet" and len(names) == 2:
        threshold = float(description["threshold"])
        means = f"mask: 1 where the probability of {names[1]} is above {threshold:g}, 0 elsewhere"
        found[MASK] = Output([f"mask of {names[1]}"], means, threshold)
    return found


def documentation(model: Portable, given: Mapping[str, str], source: Path, tiles: str) -> str:
    """README.md of the package: what it is, made from what, how good, how to use it.

    `source` is the model folder, `given` what is known of the model, `tiles` what is to be said about tiles.
    """
    task = model.description["task"]
    parts = [f"# {given['title']}", f"{KIND[task]}, made with NoCodeDL4Bio."]
    parts += [remark] if (remark := no_result(source)) else []
    labels = {"description": "", "authors": "Authors: ", "licence": "Licence: ", "cite": "Please cite: "}
    parts += [f"{label}{given[key]}" for key, label in labels.items() if given.get(key)]
    parts += ["## Input and output", *_use(model, tiles), "## Training data", _training_data(model, source)]
    return "\n\n".join([*parts, "## Validation", *_scores(source)]) + "\n"


def _use(model: Portable, tiles: str) -> list[str]:
    description = model.description
    channels_in = ", ".join(str(one) for one in description["channels"])
    size = f" of {model.size[1]} x {model.size[0]} pixels, one object in its middle" if model.size else ""
    pixel = description.get("pixel_size_um")
    told = [
        f"Input: an image{size} as it was recorded, not normalised, with the channels {channels_in}"
        f"{f', of about {pixel:g} um per pixel' if pixel else ''}."
    ]
    told += [tiles] if tiles else []
    told += [f"Output `{name}`: {one.means}." for name, one in outputs(model).items()]
    return [*told, *_after(model)]


def _after(model: Portable) -> list[str]:
    """What the notebook makes of the answer."""
    description = model.description
    if description["task"] == "stardist":
        told = (
            "Objects are found by StarDist's non-maximum suppression with the thresholds in `config.stardist`. "
            "With a grid, the probability stands in the first pixel of each cell and is 0 in the others: give StarDist "
            "every such pixel and the grid, as in `output[::2, ::2]`, to have what the notebook finds at the border."
        )
        return [told, *([KINDS] if "prob_class" in model.outputs else [])]
    return model.decision


def _training_data(model: Portable, source: Path) -> str:
    told = origin.lines(model.description)
    if (source / SPLIT).is_file():
        counts = read_split(source / SPLIT)["role"].value_counts()
        told.append(f"Images: {', '.join(f'{counts[role]} for {role}' for role in counts.index)}.")
    return " ".join(told)


def _scores(source: Path) -> list[str]:
    try:
        scores = json.loads((source / SCORES).read_text(encoding="utf-8"))
        headline = scores["headline"]
        value, limits = headline["value"], (headline.get("low"), headline.get("high"))
    except (OSError, ValueError, LookupError, TypeError):
        return ["The model was not scored. Compare its results with annotated images that it has not learned from."]
    interval = f" (95% interval {limits[0]:.3f} to {limits[1]:.3f})" if None not in limits else ""
    number = scores.get("number_of_images")
    where = f"{scores.get('test_images', 'test images')}{f', {number} images' if number else ''}"
    doubt = "" if scores.get("independent", True) else " This is no independent test: the figure may be too good."
    return [
        f"{headline['name']}: {value:.3f}{interval}, on {where}.{doubt}",
        *([headline["meaning"]] if headline.get("meaning") else []),
        "To validate it on your data, compare its results with annotated images that it has not learned from.",
    ]
