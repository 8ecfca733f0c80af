"""What a stranger needs to know of a model: who made it, from whose images and weights, and what may be done with it.

All of it is the entry "about" of model.json: title, authors, licence, description and cite as section 7 asks for them;
data and data_licence, the training images; start, the same of the model that the training started from, with its name.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.files import write_json
from utils.paths import DESCRIPTION, PARAMETERS, resolve
from utils.samples import CC0, DATA_SCIENCE_BOWL, ORIGINS, sample_of

ABOUT = "about"
EARLIER = "about.json"  # where earlier versions kept what section 7 asks for
SAID = ("title", "authors", "licence", "description", "cite")
DATA = ("data", "data_licence")
FIELDS = dict(zip(DATA, ("data_origin", "data_licence"), strict=True))  # of the form data, which ask for them
LONGEST_CHAIN = 20  # models that started from each other; more are a circle
NO_NAMES = ("", "automatic")  # of a starting model, of which there is none, or none was chosen yet
FROM_SCRATCH = "from scratch"

_STARDIST = {"authors": "Uwe Schmidt, Martin Weigert", "licence": "BSD 3-Clause"}
_BOWL = {"data": f"a subset of the {DATA_SCIENCE_BOWL}", "data_licence": CC0}
# Models that others publish; what they learned from: README of stardist.
PUBLISHED: dict[str, dict[str, str]] = {
    **{name: _STARDIST | _BOWL for name in ("2D_versatile_fluo", "2D_paper_dsb2018", "2D_demo")},
    "2D_versatile_he": _STARDIST
    | {
        "data": "the training images of the MoNuSeg 2018 challenge (doi:10.1109/TMI.2019.2947628) and the TNBC images "
        "of Naylor et al. (doi:10.1109/TMI.2018.2865709)",
        "data_licence": "CC BY-NC-SA 4.0 (MoNuSeg), CC BY 4.0 (TNBC)",
    },
}
IMAGENET = {
    "data": "ImageNet (doi:10.1109/CVPR.2009.5206848)",
    "data_licence": "for non-commercial research and education",
}
AUTHORS = "as its authors' repository says"  # Keras itself states none for its copies
BACKBONES = {  # licence of the weights: github.com/tensorflow/models, tensorflow/tpu, KaimingHe/deep-residual-networks
    "MobileNetV2": f"Apache 2.0, {AUTHORS}",
    "EfficientNetB0": f"Apache 2.0, {AUTHORS}",
    "ResNet50": f"MIT, {AUTHORS}",
}
TERMS = {  # what a licence asks for -> how such licences are called
    "not for commercial use": r"(?<![a-z])nc(?![a-z])|non.?commercial|academic use only",
    "to be passed on under the same licence only": r"(?<![a-z])sa(?![a-z])|share.?alike|[al]?gpl(?![a-z])|copyleft",
    "not to be changed": r"(?<![a-z])nd(?![a-z])|no.?deriv",
    "not to be passed on": r"all rights reserved|confidential|not public|unpublished",
}


def about(folder: Path, description: Mapping | None = None) -> dict:
    """What is known of the model in a folder; whatever it was written by, nothing is refused.

    Parameters
    ----------
    folder
        Model folder.
    description
        Content of its model.json, where that was read already or is about to be written.

    Returns
    -------
    dict
        Those of title, authors, licence, description, cite, data, data_licence and start that are known.
    """
    return _known(folder, _json(folder / DESCRIPTION) if description is None else description, 0)


def _known(folder: Path, description: Mapping, depth: int) -> dict:
    """See `about`; `depth` is the number of models that were started from this one in turn."""
    kept = description.get(ABOUT)
    made = made_from(folder, description, depth) if depth <= LONGEST_CHAIN else {}
    return made | _json(folder / EARLIER) | (kept if isinstance(kept, dict) else {})


def to_keep(folder: Path, description: Mapping) -> dict:
    """What a new model.json says, `description` is the rest of it: where the folder held this model, as told before."""
    told = _json(folder / DESCRIPTION).get(ABOUT)
    told = {key: text for key, text in told.items() if key in SAID} if isinstance(told, dict) else {}
    return made_from(folder, description) | told


def made_from(folder: Path, description: Mapping, depth: int = 0) -> dict:
    """What the forms say of the images and weights that a model was made from: data, data_licence, start."""
    forms = _json(folder / PARAMETERS).get("overrides")
    forms = forms if isinstance(forms, dict) else {}
    data = forms.get("data") if isinstance(forms.get("data"), dict) else {}
    found = {entry: str(data[field]) for entry, field in FIELDS.items() if data.get(field)}
    sample = sample_of(str(data["training_source"])) if data.get("training_source") else None
    if sample in ORIGINS and "data" not in found:
        found = dict(zip(DATA, ORIGINS[sample], strict=True)) | found
    start = _start(forms, data, description, depth)
    return found | ({"start": start} if start else {})


def _start(forms: Mapping, data: Mapping, description: Mapping, depth: int) -> dict:
    """The same of what the training started from; empty where that was random numbers."""
    strategy = forms.get("strategy")
    if isinstance(strategy, dict) and strategy.get("strategy") == FROM_SCRATCH:
        return {}
    started = description.get("starting_model")
    name = started.get("name") if isinstance(started, dict) else data.get("starting_model")
    if name and name not in NO_NAMES:
        return started_from(str(name), depth)
    network = description.get("network")
    backbone = network.get("network") if isinstance(network, dict) else None
    if backbone in BACKBONES:
        return {"name": f"{backbone} of keras.applications", "licence": BACKBONES[backbone], **IMAGENET}
    return {}


def started_from(name: str, depth: int = 0) -> dict:
    """What is known of a model that a training starts from, its name first; `name` as in the form."""
    if name in PUBLISHED:
        return {"name": f"{name} of StarDist", **PUBLISHED[name]}
    folder = resolve(name)
    known = _known(folder, _json(folder / DESCRIPTION), depth + 1)
    return {"name": folder.name} | {key: value for key, value in known.items() if key != "description"}


def remember(folder: Path, told: Mapping[str, object]) -> dict:
    """What is known of a model, and what is `told` newly, which is written to its model.json; empty texts tell nothing.

    DataError where the file cannot be written.
    """
    description = _json(folder / DESCRIPTION)
    known = about(folder, description) | {key: text for key, text in told.items() if text}
    if description and known != description.get(ABOUT):
        write_json(folder / DESCRIPTION, {**description, ABOUT: known})
    return known


def lines(description: Mapping) -> list[str]:
    """Sentences on origin and licence of the training images and of the weights that the training started from.

    `description` is the content of model.json, as of `utils.training.model_folder.read_model`. The first is on the
    model's own images, then there is one for each model that it descends from, the nearest first.
    """
    known = description.get(ABOUT) or {}
    told = [f"Training images: {_with_licence(known, *DATA) or 'their origin is not said'}."]
    for one in _chain(known):
        weights = _with_licence({"name": _named(one), "licence": one.get("licence")}, "name", "licence")
        images = _with_licence(one, *DATA) or "of unknown origin"
        told.append(f"Started from the weights of {weights}; its training images: {images}.")
    return told


def clash(known: Mapping) -> str:
    """Say in a sentence what forbids the licence that was chosen for a model; "" where nothing is known to.

    `known` is the entry "about" of model.json.
    """
    chosen = str(known.get("licence") or "")
    if not chosen:
        return ""
    sources = [("the training images", known.get("data_licence"))]
    for one in _chain(known):
        name = _named(one)
        sources += [(f"the starting model {name}", one.get("licence"))]
        sources += [(f"the training images of the starting model {name}", one.get("data_licence"))]
    for what, licence in sources:
        if lacking := [term for term in terms(licence) if term not in terms(chosen)]:
            return (
                f'The licence "{chosen}" allows more than that of {what} ("{licence}": {", ".join(lacking)}): choose '
                "one that keeps this, or ask whoever made them."
            )
    return ""


def terms(licence: object) -> list[str]:
    """What a licence asks for, of `TERMS`, read from its name; none for one that is unknown."""
    return [term for term, names in TERMS.items() if re.search(names, str(licence or "").lower())]


def _chain(known: Mapping) -> Iterator[Mapping]:
    """The model that a training started from, that which it started from, and so on."""
    start = known.get("start")
    while isinstance(start, dict) and start:
        yield start
        start = start.get("start")


def _named(start: Mapping) -> str:
    title = start.get("title") or start.get("name", "a model")
    return f"{title} by {start['authors']}" if start.get("authors") else str(title)


def _with_licence(known: Mapping, what: str, licence: str) -> str:
    """What it is with its licence behind; "" where nothing is known."""
    if not known.get(what) and not known.get(licence):
        return ""
    return f"{known.get(what) or 'of unknown origin'} (licence: {known.get(licence) or 'not said'})"


def _json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
