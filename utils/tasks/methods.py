"""The "Methods" of a paper: how a model was made and judged, each number from what the run wrote."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from utils.data.splits import FOLD, read_split
from utils.errors import how_many, label
from utils.groups import named_groups
from utils.images.normalise import BACKGROUND, DENSE, LEAST_RANGE, PER, SIGNAL, STANDS_OUT
from utils.metrics.intervals import in_words
from utils.paths import PARAMETERS, SCORES, SPLIT
from utils.tasks.bibliography import cited
from utils.training import origin

HISTORY, PER_IMAGE, FROM_SCRATCH = "history.csv", "evaluation.csv", "from_scratch"
ROLES = ("training", "validation", "test")
SCHEDULES = {
    "constant": "constant afterwards",
    "cosine": "then lowered to 0 along half a cosine ({loshchilov2017})",
    "reduce on plateau": "then halved whenever the validation loss had not improved for {waited} epochs",
}
AUGMENTATIONS = {  # field of the form -> words, for a value that changes something
    "flip": "mirroring",
    "rotate_90": "turns by multiples of {turn}°",
    "rotation": "rotation by up to {}°",
    "zoom": "change of size by up to {} %",
    "shift": "shifts by up to {} % of the size",
    "intensity": "change of contrast by up to {} % and of brightness by up to {half} % of the range",
    "blur": "Gaussian blur with a standard deviation of up to {} pixels",
    "noise": "Gaussian noise with a standard deviation of up to {} % of the range",
    "stain": "change of the amount of each stain by up to {} % ({tellez2018})",
    "empty": "noise without any object in place of {} % of the patches",
}
SETTINGS = {  # field of a form that may say automatic -> what a reader of a paper calls it
    "batch_size": "the size of the batches",
    "class_weights": "the weights of the classes",
    "decides": "whether network or random forest decide",
    "fit": "how images were brought to one size",
    "grid": "the grid",
    "half_resolution": "the resolution at which the network works",
    "initial_learning_rate": "the learning rate",
    "levels": "the number of levels",
    "n_rays": "the number of directions",
    "normalisation": "how the brightness was scaled",
    "number_of_epochs": "the number of epochs",
    "number_of_steps": "the number of batches in an epoch",
    "patch_height": "the size of the {shown}",
    "patch_width": "the size of the {shown}",
    "percentage_validation": "the share of validation images",
    "pooling_steps": "the number of pooling steps",
    "starting_model": "the weights at the start",
    "test_in_turn": "whether to test by cross-validation",
    "time_for_training": "the time for training",
    **dict.fromkeys([*AUGMENTATIONS, "augmentation"], "the augmentation"),
}
OPTIMISERS = {  # name in model.json -> words, and what to cite; Adam takes the other weights
    "Adam": ("Adam ({kingma2015})", ()),
    "Muon": ("Muon ({jordan2024}; {liu2025}) for kernels and Adam ({kingma2015})", ("jordan2024", "liu2025")),
}
RIVALS = {  # name in scores.json -> words, and what to cite
    "Otsu threshold": ("Otsu's threshold", ("otsu1979",)),
    "watershed": ("Otsu's threshold followed by a watershed", ("otsu1979", "vincent1991")),
    "pixel forest": ("a random forest on filtered pixels", ("breiman2001", "pedregosa2011")),
    "random forest": ("a forest of extremely randomized trees on measured features", ("geurts2006", "pedregosa2011")),
}


@dataclass(frozen=True)
class Run:
    """What a run wrote into a model folder.

    Attributes
    ----------
    description, scores
        Content of model.json and scores.json, the latter empty where nothing was scored.
    forms
        {form: {field: value}} of parameters.json.
    split, history, tested
        Tables split.csv, history.csv and evaluation.csv, the last one empty where nothing was scored.
    scratch
        scores.json of the model that was trained from scratch for comparison; empty without one.
    """

    description: Mapping
    forms: Mapping[str, Mapping]
    split: pd.DataFrame
    history: pd.DataFrame
    scores: Mapping = field(default_factory=dict)
    tested: pd.DataFrame = field(default_factory=pd.DataFrame)
    scratch: Mapping = field(default_factory=dict)

    @property
    def run(self) -> Mapping:
        """How the training went; empty for models of earlier versions, which did not write it."""
        return self.description.get("run", {})

    @property
    def training(self) -> Mapping:
        """Values of the form training; of a fine-tuned model those that its form does not ask for, too."""
        return {**self.forms.get("training", {}), **self.description.get("training", {})}

    @property
    def square(self) -> bool:
        """Whether what the network was shown had sides of one length."""
        given = self.description.get("input", {})
        return len({*(given.get("patch") or given.get("size") or ())}) < 2

    @property
    def stained(self) -> bool:
        """Whether the field stain of the form changed anything: patches of colour images only, no whole images."""
        changed = self.forms.get("augmentation", {}).get("stain")
        return bool(changed) and len(self.description["channels"]) == 3 and "patch" in self.description.get("input", {})

    def images(self, role: str) -> int:
        """Number of images that had a role."""
        return int((self.split["role"] == role).sum())


@dataclass(frozen=True)
class Words:
    """What only a task can say, in sentences.

    Attributes
    ----------
    network, input, loss
        What was trained, what it was shown, in the plural, and the loss, as parts of sentences.
    decision
        How its output becomes an answer.
    score
        Definition of the headline score.
    cited
        Keys of `utils.tasks.bibliography.ENTRIES`.
    """

    network: str = "The model"
    input: str = "images"
    loss: str = ""
    decision: str = ""
    score: str = ""
    cited: Sequence[str] = ()


def read_run(folder: Path, description: Mapping) -> Run:
    """What a run wrote into a model folder; `description` is the content of its model.json."""
    scores, scratch = (_json(place / SCORES) for place in (folder, folder / FROM_SCRATCH))
    path = folder / PER_IMAGE
    tested = pd.read_csv(path, dtype={"file": str, "group": str}, keep_default_na=False) if path.is_file() else None
    return Run(
        description,
        json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))["overrides"],
        read_split(folder / SPLIT),
        pd.read_csv(folder / HISTORY),
        scores,
        pd.DataFrame() if tested is None else tested,
        scratch,
    )


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def paragraphs(run: Run, words: Words) -> list[str]:
    """The section "Methods": images, training, evaluation, a paragraph each."""
    told = [
        [*_images(run), *_normalisation(run), *_augmentation(run)],
        [*_network(run, words), *_training(run, words), *_automatic(run), *_machine(run), words.decision],
        _evaluation(run, words),
    ]
    return [" ".join(filter(None, sentences)) for sentences in told if any(sentences)]


# --- images


def _images(run: Run) -> list[str]:
    files, groups = run.split["file"], run.split["group"]
    named, about = named_groups(files, groups), run.description.get(origin.ABOUT) or {}
    source = f" of {groups.nunique()} groups (such as patients, slides or days)" if named else ""
    told = [f"{len(files)} annotated images{source} were used."]
    if about.get("data"):
        told.append(f"Their origin was: {about['data']} (licence: {about.get('data_licence') or 'not said'}).")
    counts = [f"{run.images(role)} for {role}" for role in ROLES if run.images(role)]
    if FOLD in run.split:
        folds = run.split[FOLD].astype(str).nunique()
        told.append(
            f"For testing, all of them were divided into {folds} parts (cross-validation); of the final model, "
            f"{_listed([one.replace(' for ', ' were for ') for one in counts])}."
        )
    else:
        told.append(f"They were divided at random into {_listed(counts)}.")
    if named:
        told.append("Images of one group were never divided between these sets.")
    size, channels = run.description.get("pixel_size_um"), len(run.description["channels"])
    told.append(f"Images had {how_many(channels, 'channel')}" + (f" and pixels of {size:.3g} µm." if size else "."))
    classes = [str(one["name"]) for one in run.description["classes"]]
    return [*told, f"The {len(classes)} classes were {_listed(classes)}."]


def _normalisation(run: Run) -> list[str]:
    how = run.description["normalisation"]
    low, high, joint = how["low"], how["high"], how.get("channels") == "joint"
    each = "All channels together" if joint else "Each channel"
    if how["per"] == "image" and how["kind"] == SIGNAL:
        return [
            f"{each} of an image was scaled linearly so that percentile {low:g} became 0 and percentile {high:g} "
            f"became 1; where less than {100 * DENSE:g} % of the pixels were brighter than percentile {BACKGROUND} by "
            "more "
            f"than {STANDS_OUT} standard deviations of the noise, the upper percentile was moved towards the maximum, "
            f"and the range was at least {LEAST_RANGE} standard deviations of the noise."
        ]
    if how["per"] == "image":
        why = f"({cited('weigert2018')})"
        return [
            f"{each} of an image was scaled linearly so that percentile {low:g} became 0 and {high:g} became 1 {why}."
        ]
    ends = "; ".join(dict.fromkeys(f"{a:.4g} to {b:.4g}" for a, b in zip(*how["range"], strict=True)))
    both_ends = f"percentiles {low:g} and {high:g} of the training images"
    if joint:  # the same for all colours
        both_ends = f"the smallest percentile {low:g} and the largest {high:g} of any channel of the training images"
    told = f"The images were scaled linearly by one range for all of them, {both_ends} ({ends}), which became 0 and 1."
    both = " A second copy of each channel, scaled by the percentiles of each image, was shown beside it."
    return [told + both * (how["per"] == PER["both"])]


def _augmentation(run: Run) -> list[str]:
    values = run.forms.get("augmentation", {})
    words = {"turn": 90 if run.square else 180, "tellez2018": cited("tellez2018")}
    told = [
        text.format(f"{values[name]:g}", half=f"{values[name] / 2:g}", **words)
        for name, text in AUGMENTATIONS.items()
        if values.get(name) and (name != "stain" or run.stained) and not isinstance(values[name], str)
    ]
    if not told:
        return ["The training images were not augmented."]
    return [f"The training images were augmented at random: {_listed(told)}."]


# --- training


def _network(run: Run, words: Words) -> list[str]:
    count = run.run.get("parameters")
    told = [words.network + (f" ({count:,} parameters)." if count else ".")]
    start = (run.description.get(origin.ABOUT) or {}).get("start")
    if not start:
        return [*told, "It was trained from random weights."]
    _, nearest, *further = (line[:1].lower() + line[1:] for line in origin.lines(run.description))
    return [*told, f"Its training {nearest}", *(f"The training of that model {line}" for line in further)]


def _training(run: Run, words: Words) -> list[str]:
    how, training = run.run, run.training
    epochs = how.get("epochs", len(run.history))
    size = how.get("batch_size") or training.get("batch_size")
    batches = f" of {how['steps']} batches" if how.get("steps") else " in batches"
    shown = f"{batches} of {size} {words.input}" if size else f" of {words.input}"
    rates = [one["rate"] for one in how.get("stages", [])] or [training.get("initial_learning_rate")]
    rate = _listed([f"{one:.3g}" for one in dict.fromkeys(rates) if isinstance(one, int | float)])
    loss = f" and {words.loss}" if words.loss else ""
    optimiser, more = _optimiser(run)
    optimiser = optimiser.format(**{key: cited(key) for key in ("kingma2015", *more)})
    told = [f"The training took {how_many(epochs, 'epoch')}{shown}, with the optimiser {optimiser}{loss}."]
    if rate:
        schedule = SCHEDULES[training.get("learning_rate_schedule", "constant")]
        waited = max(2, (training.get("patience") or 20) // 3)
        schedule = schedule.format(waited=waited, loshchilov2017=cited("loshchilov2017"))
        told.append(f"The learning rate rose linearly to {rate} during the first steps and was {schedule}.")
    return [*told, *_stages(how), *_kept(run, epochs)]


def _optimiser(run: Run) -> tuple[str, tuple[str, ...]]:
    return OPTIMISERS[run.description.get("optimiser", "Adam")]


def _stages(how: Mapping) -> list[str]:
    """Of a training in stages, what learned when."""
    stages = how.get("stages", [])
    if len(stages) < 2 and not any(one["last_layer"] for one in stages):
        return []
    told = [
        f"{'the last layers' if one['last_layer'] else 'all layers'} for up to {how_many(one['epochs'], 'epoch')} "
        f"(learning rate {one['rate']:.3g})"
        for one in stages
    ]
    return [f"In this order {', then '.join(told)} were trained."]


def _kept(run: Run, epochs: int) -> list[str]:
    """Whose weights were kept, and whether the training ended early."""
    planned, patience = sum(one["epochs"] for one in run.run.get("stages", [])), run.training.get("patience")
    early = f"The training was planned for {planned} epochs and ended early" if planned > epochs else ""
    kept, losses = run.run.get("kept_epoch"), run.history.get("val_loss", pd.Series(dtype=float)).to_numpy()
    lowest = int(losses.argmin()) + 1 if len(losses) else 0
    if early and patience and len(losses) - lowest >= patience:
        early += f", after {patience} epochs without a smaller validation loss"
    early += "." * bool(early)
    if not kept or kept > len(losses):
        return [early]
    loss, best = f"{losses[kept - 1]:.3g}", kept == lowest
    why = "smallest validation loss" if best else "last epoch, validation loss"
    return [early, f"The weights of epoch {kept} were kept ({why} {loss})."]


def _automatic(run: Run) -> list[str]:
    chosen = run.description.get("automatic", [])
    if not chosen:
        return []
    shown = "patches" if "patch" in run.description.get("input", {}) else "images"
    names = (SETTINGS.get(one["field"], label(one["field"]).lower()).format(shown=shown) for one in chosen)
    told = [f"Derived from the training images by fixed rules were {_listed([*dict.fromkeys(names)])}."]
    minutes = run.training.get("time_for_training")
    if isinstance(minutes, int | float) and any(one["field"] == "number_of_epochs" for one in chosen):
        told.append(f"The number of epochs was bounded by a time of {minutes:g} min that was given for all training.")
    trials = next((one["trials"] for one in chosen if one.get("trials")), [])
    return told + [f"Where these left doubt, {len(trials)} short trainings on training images decided."] * bool(trials)


def _machine(run: Run) -> list[str]:
    how, versions = run.run, run.description.get("versions", {})
    names = {"tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy"}
    used = _listed([f"{names.get(name, name)} {number}" for name, number in versions.items()])
    keys = ["abadi2016", "chollet2015", *(["vanderwalt2014"] if "scikit-image" in versions else [])]
    sources = "; ".join(map(cited, keys))
    software = f"Software: NoCodeDL4Bio, with {used} ({sources})." if used else "Software: NoCodeDL4Bio."
    if not how.get("seconds"):
        return [software]
    where = how.get("graphics_card") or how.get("processor", "")
    seconds = how["seconds"]
    time = f"{seconds / 60:.3g} minutes" if seconds >= 60 else f"{seconds:.3g} seconds"
    return [f"The epochs took {time}" + (f" on {where}." if where else "."), software]


# --- evaluation


def _evaluation(run: Run, words: Words) -> list[str]:
    scores = run.scores
    if not scores:
        return []
    headline, tested = scores["headline"], scores["number_of_images"]
    what = "Models of the same kind were" if scores.get("folds") else "The model was"
    told = [f"{what} tested on {how_many(tested, 'image')}: {scores['test_images']}."]
    if not scores.get("independent", True):
        told.append("This test was not independent of the training.")
    if scores.get("folds"):
        epochs = [one["epochs"] for one in scores["folds"]]
        rounds = f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"
        told.append(
            f"There were {len(epochs)} such models, each trained on the other parts for {rounds} epochs; the "
            "final model was trained on all images and was itself not tested."
        )
    told.append(f"{headline['name']} was {_value(headline, 'value')}{_interval(headline)}. {words.score}")
    return [*told, *_intervals(run), *_rivals(run), *_scratch(run)]


def _interval(one: Mapping, sign: str = "") -> str:
    if not _known(one, "low", "high"):
        return ""
    return f" (95 % confidence interval {one['low']:{sign}.2f} to {one['high']:{sign}.2f})"


def _intervals(run: Run) -> list[str]:
    """What the interval was worked out from."""
    if not _known(run.scores["headline"], "low", "high"):
        return []
    groups = run.tested["group"].nunique() if "group" in run.tested else run.scores["number_of_images"]
    unit = "images" if groups == run.scores["number_of_images"] else "groups of images"
    return [
        f"Confidence intervals were computed from the {groups} {unit} by Wilson's method ({cited('wilson1927')}) for "
        "the effective number of independent ones, which follows from the influence of each on the score, with "
        "Student's t "
        f"({cited('korn1998')}); the more of what was lost or right fell on few {unit}, the closer that number was "
        f"brought to the {groups}."
    ]


def _rivals(run: Run) -> list[str]:
    """Methods from before deep learning on the same images, with the difference to the network."""
    told = []
    for one in rivals(run.scores):
        name, sources = RIVALS.get(one["method"], (one["method"], ()))
        by = "; ".join(map(cited, sources))
        alone = _known(one, "network") and _value(one, "network") != _value(run.scores["headline"], "value")
        text = "On the same images " + (f"the network alone reached {_value(one, 'network')} and " if alone else "")
        text += f"{name}{f' ({by})' * bool(by)} reached {_value(one, 'value')}"
        if _known(one, "difference"):
            text += f", a difference (network minus this) of {one['difference']:+.2f}"
            text += _interval(one, "+")
        told.append(f"{text}.")
    if any(_known(one, "low") for one in rivals(run.scores)):
        told.append(f"Intervals of differences took account of the same images being used ({cited('newcombe1998')}).")
    return told


def rivals(scores: Mapping) -> list[dict]:
    """Rows on other methods in scores.json: method, value, difference, low, high."""
    found = [one for one in scores.get("classical") or [] if one["method"] != "network"]
    for one in scores.get("random_forest") or []:
        if (one["level"], one["score"]) == ("classes", "balanced_accuracy"):
            found.append({"method": "random forest", "value": one["random forest"], **one})
    return found


def _scratch(run: Run) -> list[str]:
    if not run.scratch:
        return []
    one = run.scratch["headline"]
    return [
        f"A network of the same kind that was trained from random weights on the same images reached "
        f"{_value(one, 'value')}{_interval(one)}."
    ]


def _known(one: Mapping, *names: str) -> bool:
    """Whether all these numbers are there; JSON has null for what is none."""
    return all(isinstance(one.get(name), int | float) and np.isfinite(one[name]) for name in names)


def _value(one: Mapping, name: str) -> str:
    return in_words(float(one[name]) if _known(one, name) else float("nan"))


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""


def references(run: Run, words: Words) -> list[str]:
    """Keys of what to cite: only what the run used, in the order of the alphabet."""
    keys = {"abadi2016", "chollet2015", "kingma2015", *_optimiser(run)[1], *words.cited}
    own_range = run.description["normalisation"]
    keys |= {"weigert2018"} if (own_range["per"], own_range.get("kind")) == ("image", "percentile") else set()
    keys |= {"loshchilov2017"} if run.training.get("learning_rate_schedule") == "cosine" else set()
    keys |= {"tellez2018"} if run.stained else set()
    keys |= {"northcutt2021"} if run.forms.get("data", {}).get("label_review") else set()
    keys |= {"wilson1927", "korn1998"} if _known(run.scores.get("headline", {}), "low", "high") else set()
    for one in rivals(run.scores):
        keys |= {*RIVALS.get(one["method"], ("", ()))[1]}
        keys |= {"newcombe1998"} if _known(one, "low") else set()
    return sorted(keys)


def origins(run: Run) -> list[str]:
    """What is said of the origin of the images, those of the models before it included."""
    found, about = [], run.description.get(origin.ABOUT) or {}
    while isinstance(about, Mapping) and about:
        found.append(str(about.get("data") or ""))
        about = about.get("start")
    return [text for text in found if text]
