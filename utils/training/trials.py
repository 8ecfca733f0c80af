"""Short trials: which of a few settings suits the data, tried on a part of the training images."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from utils.files import write_json
from utils.training.fit import fit
from utils.training.run import Ingredients

TRIALS = "trials.json"
LARGEST_SHARE = 0.2  # of the time of the training, for all trials together
COLUMNS = ["candidate", "score", "CPU-s"]


@dataclass(frozen=True)
class Tried:
    """Candidates (changed fields each) with their scores, the best of them, and the table for the page."""

    best: Mapping
    table: pd.DataFrame


def share_of_each(n: int) -> float:
    """Share of the training's steps that each of `n` candidates may take."""
    return LARGEST_SHARE / max(n, 1)


def run_trials(
    folder: Path,
    candidates: Sequence[Mapping],
    attempt: Callable[[Mapping, int], float],
    seed: int = 0,
    progress: Callable[[Iterable], Iterator] = iter,
    lead: float = 0.0,
) -> Tried:
    """Score each candidate, or go on with that where it was interrupted.

    Parameters
    ----------
    folder
        The model folder's `training`: finished trials are kept in its file trials.json, and used again only for the
        same candidate and seed.
    candidates
        Changed fields {"form.field": value} of each; the first is what rules say.
    attempt
        Trains for a short time on a part of the training images (see `share_of_each`) and returns the score, larger is
        better, on the others: whole groups. It gets the candidate and the seed, on which alone it depends.
    seed
        Of the trials.
    progress
        Wraps the list of candidates, for a progress bar.
    lead
        By how much the score of another must be larger than that of the first: short trials are left to chance.

    Raises
    ------
    ValueError
        There is no candidate.
    """
    if not candidates:
        raise ValueError("there is no candidate to try")
    done = _finished(folder / TRIALS)
    for candidate in progress(list(candidates)):
        key = _key(candidate, seed)
        if key not in done:
            start = time.process_time()
            score = float(attempt(candidate, seed))
            done[key] = {"score": score, "cpu_s": round(time.process_time() - start, 1)}
            write_json(folder / TRIALS, done)
    found = [done[_key(one, seed)] for one in candidates]
    rows = [(described(one), its["score"], its["cpu_s"]) for one, its in zip(candidates, found, strict=True)]
    scores = [one["score"] - lead * (i > 0) for i, one in enumerate(found)]
    best = scores.index(max(scores))
    return Tried(candidates[best], pd.DataFrame(rows, columns=COLUMNS))


def short_training(ready: Ingredients, folder: Path, training: Mapping, share: float) -> float:
    """Score of a training of `share` of the epochs: minus the smallest loss on its validation images.

    `ready` is new, `training` are values of that form; what a crash leaves in `folder` is gone on with.
    """
    ready.compile()
    state = fit(
        ready.model,
        ready.training_data,
        ready.validation_data,
        folder,
        number_of_epochs=max(1, round(share * training["number_of_epochs"])),
        initial_learning_rate=training["initial_learning_rate"],
        learning_rate_schedule="cosine",
    )
    return -state.best_score


def described(candidate: Mapping) -> str:
    """A candidate in words, such as "normalisation: each image, zoom: 0"."""
    return ", ".join(f"{name.rpartition('.')[2]}: {value}" for name, value in candidate.items())


def _key(candidate: Mapping, seed: int) -> str:
    return json.dumps([dict(candidate), seed], sort_keys=True)


def _finished(path: Path) -> dict:
    """Trials that an earlier session finished; none where the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: one for key, one in found.items() if isinstance(one["score"], int | float)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
