"""Few images are tested in turn: divided into parts, each tested by a model that was trained on the other parts."""

import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import keras
import numpy as np
import pandas as pd

from utils.data.splits import FOLD, folds, percentage_of_validation, with_copies
from utils.errors import DataError, ModelError, how_many
from utils.files import atomic, file_sha256
from utils.forms.fields import AUTOMATIC, EARLIER, RENAME
from utils.groups import named_groups
from utils.pages.bar import BAR, doing, one_bar, progress_bar
from utils.paths import IN_TURN
from utils.samples import sample_of
from utils.tasks.automatic import FOR_TRIALS, Choice, Effort
from utils.tasks.opponents import answering
from utils.training.model_folder import HISTORY, TRY_OUT, UNFINISHED, was_split_so

if TYPE_CHECKING:
    from utils.data.project import Project

FIELD = "test_in_turn"  # of the form data
ENOUGH = 30  # images (or groups, where there are groups) from which on those set aside say enough
FEWEST = 3  # one to test on, one to learn from, one to watch over the training
# Presets by which a model that tests a part is trained for fewer rounds: of U-Nets for 12 stained images, half of them
# cost 0.005 of the IoU, a fifth 0.04.
SHORT = ("Quick on a CPU", TRY_OUT)
ARRAYS = "arrays"


def share_of_rounds(project: "Project", preset: str) -> float:
    """Rounds of training of a model that tests a part, by those of the model that is kept, where nobody types them."""
    return project.rounds_in_turn if preset in SHORT else 1.0


def effort(project: "Project", preset: str, pace: float, seconds: tuple[float, float]) -> Effort:
    """What all trainings of a project take.

    Parameters
    ----------
    pace
        Seconds of a step.
    seconds
        What each training takes besides: in any case, and for each million pixels of all images.
    """
    in_turn = project.folds is not None and not project.fold
    area = sum(np.prod(one.image.array.shape[:2]) for one in project.dataset.examples) / 1e6
    parts = int(project.folds.max()) if in_turn else 0
    return Effort(pace, seconds[0] + seconds[1] * float(area), parts, share_of_rounds(project, preset))


def shares(project: "Project", preset: str, trials: bool) -> tuple[float, float]:
    """Shares of the whole, roughly, at which `trials` (are there any?) and the test in turn are done, from 0 to 1."""
    in_turn = project.folds is not None and not project.fold
    taken = FOR_TRIALS * trials, share_of_rounds(project, preset) * int(project.folds.max()) if in_turn else 0.0
    return taken[0] / (1 + sum(taken)), sum(taken) / (1 + sum(taken))


def in_turn(task: Any, project: "Project", data: Mapping, seed: int, preset: str, named: str) -> "Project":
    """Decide whether all images are tested in turn.

    Parameters
    ----------
    task, project
        What was opened.
    data, seed, preset
        Values of the form data; seed and preset of the form training.
    named
        Folder of test images that the form evaluation names, "" without one.

    Returns
    -------
    Project
        Where that is so, all images are for training and validation, and `folds` says who is tested when; else as
        given. `in_turn` says why, in words.

    Raises
    ------
    DataError
        The form asks for it, but what is to be learned is in too few images, or groups.
    """
    asked = data.get(FIELD, False)
    if asked is False:
        return project
    if sample_of(data["training_source"]) or named:
        place = "the sample has" if not named else "section 5 names a folder of"
        return replace(project, in_turn=f"Not needed: {place} test images{' of its own' * (not named)}.")
    if asked == AUTOMATIC and (why_not := _why_not(project, data, preset)):
        return replace(project, in_turn=why_not)
    try:
        return _divided(task, project, data, seed)
    except DataError as error:
        if asked != AUTOMATIC:
            raise
        return replace(project, in_turn=f"Not possible: {error}")


def _units(project: "Project") -> tuple[int, str]:
    """Number of groups, where somebody defined any, else of images, and what they are called."""
    groups = project.split["group"]
    return groups.nunique(), "groups" if named_groups(project.split["file"], groups) else "images"


def _why_not(project: "Project", data: Mapping, preset: str) -> str:
    """Why images are rather set aside, in words; empty where they are better tested in turn."""
    n, unit = _units(project)
    if n >= ENOUGH:
        return f"Not needed: there are {n} {unit}, of which enough can be set aside."
    if preset == TRY_OUT:
        why = "which only shows how everything works; with the others all are tested in turn"
        return f'Some images are set aside with the preset "{preset}", {why}.'
    existing = data["if_model_exists"]
    if EARLIER.get(existing, existing) != RENAME and was_split_so(project.folder, project.split):
        return "The model of this name was trained with these images set aside for its test."
    return ""


def _divided(task: Any, project: "Project", data: Mapping, seed: int) -> "Project":
    """The project with parts in which all images are tested; DataError where they cannot be."""
    joined = with_copies(project.split["group"], project.split["sha256"])
    held, (n, unit) = task.held(project), _units(project)
    if len(set(joined)) < FEWEST:
        raise DataError(
            f"To test on all {unit} in turn there must be at least {FEWEST} different ones, but there are "
            f"{len(set(joined))}. Add {unit}, or set test_in_turn to no."
        )
    numbers = folds(joined, held, min(task.parts, len(set(joined))), seed)
    k = numbers.max()
    few = "only " if n < ENOUGH else ""
    why = f"There are {few}{n} {unit}: all are tested, in {k} parts, each by a model trained without them."
    whole = replace(project, folds=numbers, in_turn=why, rounds_in_turn=task.rounds_in_turn)
    for fold in range(1, k + 1):
        inner = of_fold(task, whole, data, seed, fold)
        if (held.any(axis=0) > held[inner.roles == "training"].any(axis=0)).any():
            raise DataError(
                f"What is to be learned is in too few {unit} to test on all of them in turn: without those of one part "
                "some class, or all foreground, would be missing from the training. Add images that hold it, or set "
                "test_in_turn to no."
            )
    return _with_roles(task, whole, np.arange(len(numbers)), data, seed)


def of_fold(task: Any, project: "Project", data: Mapping, seed: int, fold: int) -> "Project":
    """A project of its own, which lies among the checkpoints, to test one part with what is learned from the others."""
    chosen = np.flatnonzero(project.folds != fold)
    place = project.folder / UNFINISHED / IN_TURN / str(fold)
    return replace(_with_roles(task, project, chosen, data, seed), folder=place, fold=fold, kept=project.number_learned)


def _with_roles(task: Any, project: "Project", chosen: np.ndarray, data: Mapping, seed: int) -> "Project":
    """The project with the `chosen` images for training and validation, the others for the test."""
    roles = np.full(len(project.roles), "test", dtype="<U10")
    roles[chosen] = task.split(project, chosen, percentage_of_validation(data, len(chosen)), seed)
    split = project.split.assign(role=roles, **{FOLD: project.folds})
    return replace(project, roles=roles, split=split)


def turn_choice(project: "Project") -> Choice:
    """What `in_turn` decided, for the form."""
    why = project.in_turn or "Images are set aside for the test."
    return Choice("data", FIELD, project.folds is not None, why)


def turn_note(project: "Project", preset: str) -> str:
    """Markdown on what the model will be tested, and what that costs; empty where nobody asked."""
    if project.folds is None:
        return f"**Test on all images in turn: no.** {project.in_turn}" if project.in_turn else ""
    k = project.folds.max()
    share = share_of_rounds(project, preset)
    times = 1 + share * k
    less = f" of {share:.0%} of the rounds" if share < 1 else ""
    return (
        f"**Test on all images in turn.** {project.in_turn} That is {k} trainings{less} before that of your model, "
        f"which learns from all images: together about {times:g} times as long as one training (the minutes stand "
        "beside the field number_of_epochs). To test on images set aside instead, set the field test_in_turn to no."
    )


# --- training


class _Share(keras.callbacks.Callback):
    """Moves a bar over all parts; of each, compiling and testing take their share of the time, too."""

    def __init__(self, bar: Any, done: int):
        super().__init__()
        self.bar, self.done, self.batches = bar, done, 0
        self.began = self.compiled = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar to the share of this part that is done; the first batch says nothing of how long the next take.

        What comes after the training is taken to last as long as what came before.
        """
        now, self.batches = time.monotonic(), self.batches + 1
        if self.batches == 1:
            self.compiled = now
            return
        left = self.params["epochs"] * self.params["steps"] - self.epoch * self.params["steps"] - batch - 1
        rest = left * (now - self.compiled) / (self.batches - 1) + self.compiled - self.began
        self._move((now - self.began) / max(now - self.began + rest, 1e-9))

    def on_epoch_begin(self, epoch, logs=None):
        """Mind where this is."""
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        """Move the bar by what a short training has learned."""
        if self.batches < 2:
            self._move((epoch + 1) / (self.params["epochs"] + 1))

    def _move(self, share: float) -> None:
        self.bar.update(max(0.0, self.done + share - self.bar.n))


def answer_parts(task: Any, project: "Project", asked: Mapping, forms: Mapping) -> None:
    """Train a model for each part that was not tested yet, and keep what it and its opponents find there.

    Parameters
    ----------
    task, project
        With `folds`; its folder was opened.
    asked
        {form: {field: value}} with `AUTOMATIC` where it is left to the data: all is chosen anew for each part, from
        the images that its model learns from.
    forms
        The same with what was chosen for the model that is kept: of it, the rounds that there is time for.

    Raises
    ------
    TrainingStopped, DataError, ModelError
        As `NetworkTask.train`; parts that are finished stay so.
    """
    asked, numbers = _with_rounds(project, asked, forms), range(1, project.folds.max() + 1)
    done = [fold for fold in numbers if _place(project.folder, fold).is_file()]
    if len(done) == len(numbers):
        return
    options = {"total": len(numbers), "initial": len(done), "bar_format": BAR, "smoothing": 0}
    k = len(numbers)
    with progress_bar(desc=f"Testing on all images in turn ({k} parts)", **options) as bar:
        for fold in (one for one in numbers if one not in done):
            bar.set_description_str(f"Testing on all images in turn, part {fold} of {k}", refresh=False)
            with one_bar(f"Testing on all images in turn, part {fold} of {k}"):
                _answer_part(task, project, asked, fold, _Share(bar, len(done)))
            done.append(fold)
            bar.update(len(done) - bar.n)


def _with_rounds(project: "Project", asked: Mapping, forms: Mapping) -> dict:
    """What is asked of the models that test a part: as many rounds for each, whatever else the computer does.

    Where a person gave the time, that of all of them, their rounds have as many batches, too.
    """
    training, n = asked["training"], forms["training"]["number_of_epochs"]
    if training["number_of_epochs"] == AUTOMATIC:
        training = {**training, "number_of_epochs": max(1, round(share_of_rounds(project, training["preset"]) * n))}
    timed = training.get("time_for_training", AUTOMATIC) != AUTOMATIC
    if timed and training.get("number_of_steps") == AUTOMATIC:
        training = {**training, "number_of_steps": forms["training"]["number_of_steps"]}
    data = {**asked["data"], "if_model_exists": RENAME, FIELD: False}  # the folder they lie in was asked for already
    return {**asked, "data": data, "training": training}


def _answer_part(task: Any, project: "Project", asked: Mapping, fold: int, callback: keras.callbacks.Callback) -> None:
    seed = asked["training"]["seed"]
    inner = of_fold(task, project, asked["data"], seed, fold)
    images = inner.examples("test"), inner.examples("training"), seed
    with answering(task.answers_of_opponents, inner.dataset.classes, *images) as opponents:
        task.train(inner, {"overrides": asked}, [callback])
        doing("looking at the images that are tested")
        found = task.answers(task.load(inner.folder), *images) | opponents.result()
    tested = inner.split.loc[inner.roles == "test", "sha256"]
    _keep(_place(project.folder, fold), found, tested, len(pd.read_csv(inner.folder / HISTORY)))
    shutil.rmtree(inner.folder)


def _place(folder: Path, fold: int) -> Path:
    return folder / IN_TURN / f"part_{fold}.npz"


def _keep(path: Path, found: Mapping[str, Sequence[Mapping]], sha256: Sequence[str], epochs: int) -> None:
    """Write what each method finds in each image of a part, arrays by name, whole or not at all."""
    arrays = {
        f"{ARRAYS}/{method}/{name}/{place}": array
        for method, answers in found.items()
        for place, answer in zip(sha256, answers, strict=True)
        for name, array in answer.items()
    }
    path.parent.mkdir(exist_ok=True)
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, epochs=epochs, **arrays)


# --- scores


class Answers(NamedTuple):
    """What was found by models that had not seen an image: method -> array by name, for each image; and their epochs.

    `epochs` (n,) are those of the model that answered.
    """

    found: dict[str, list[dict[str, np.ndarray]]]
    epochs: np.ndarray


def read_answers(folder: Path, test_set: Any) -> Answers:
    """What `answer_parts` kept of the images of a test set; ModelError where it is missing or damaged."""
    found: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    epochs = np.zeros(len(test_set.examples), int)
    sha256 = [file_sha256(one.image.path) for one in test_set.examples]
    try:
        for fold in sorted(set(test_set.folds.tolist())):
            with np.load(_place(folder, fold)) as kept:
                epochs[test_set.folds == fold] = int(kept["epochs"])
                for key in (key for key in kept.files if key.startswith(ARRAYS)):
                    _, method, name, place = key.split("/")
                    found.setdefault(method, {}).setdefault(place, {})[name] = kept[key]
        return Answers({method: [by_image[one] for one in sha256] for method, by_image in found.items()}, epochs)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise ModelError(
            f"{folder / IN_TURN}, which holds what was found in the images tested in turn, is missing or damaged. Copy "
            "the whole model folder again, name test images in test_source, or train again."
        ) from error


def evaluation_in_turn(task: Any, folder: Path, test_set: Any) -> Any:
    """Score what models found in images that they had not seen, of all parts together, and of each part."""
    predictor, kept = task.load(folder), read_answers(folder, test_set)
    recalled = task.recalled(predictor, test_set.examples, kept.found)
    table = _fold_table(task, recalled, predictor.classes, test_set, kept.epochs)
    whose = _whose(table, len(pd.read_csv(folder / HISTORY)))
    return replace(task.evaluation_of(recalled, test_set), folds=table, whose=whose)


def _fold_table(
    task: Any, recalled: Mapping[str, Any], classes: Sequence[dict], test_set: Any, epochs: np.ndarray
) -> pd.DataFrame:
    """A row for each part: fold, images, epochs, and the headline score of each method."""
    rows = []
    for fold in sorted(set(test_set.folds.tolist())):
        chosen = np.flatnonzero(test_set.folds == fold)
        examples = [test_set.examples[i] for i in chosen]
        scores = {name: task.judge(one, examples, classes).value for name, one in recalled.items()}
        rows.append({FOLD: fold, "images": len(chosen), "epochs": epochs[chosen[0]], **scores})
    return pd.DataFrame(rows)


def _whose(table: pd.DataFrame, epochs: int) -> str:
    """Sentence on whose score that of all parts together is; `epochs` are those of the model that is kept."""
    few, most = table["epochs"].min(), table["epochs"].max()
    rounds = how_many(most, "epoch") if few == most else f"{few} to {how_many(most, 'epoch')}"
    return (
        f"This is the score of {len(table)} models like this one, each trained on the other images only, for {rounds}; "
        f"the model that you keep was trained on all images, for {how_many(epochs, 'epoch')}, and was itself not "
        "tested."
    )


def fold_tables(evaluation: Any) -> dict[str, pd.DataFrame]:
    """Caption -> table of the parts, for page and report; none where images were set aside."""
    if evaluation.folds is None:
        return {}
    name = evaluation.headline["name"]
    return {f"{name} of each part (fold), by models that were trained on the other parts": evaluation.folds}
