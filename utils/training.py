"""From arrays to a trained network: patches as a Keras data set, and a fit that survives interruptions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from utils.augmentation import Augmentation, draw_patch
from utils.checkpoints import TrainingState, load_state, load_weights, restore, save_state
from utils.errors import UserError
from utils.patching import grid_positions

SCHEDULES = ["constant", "reduce on plateau", "cosine"]
VALIDATION_PATCHES = 64  # enough for a steady validation loss, a few percent of the training's cost


class TrainingStopped(UserError):
    """The training was interrupted by the user; everything up to the last finished epoch is saved in `state`."""

    title = "Training stopped"

    def __init__(self, message: str, state: TrainingState):
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Source:
    """An image that patches are drawn from: (Y, X, C) as read, (Y, X) class ids, (C,) values that become 0 and 1."""

    image: np.ndarray
    mask: np.ndarray
    low: np.ndarray
    high: np.ndarray


class TrainingPatches(keras.utils.PyDataset):
    """Random augmented patches, drawn when they are needed; those of epoch e depend only on (seed, e).

    Parameters
    ----------
    sources
        Training images. One is drawn with probability proportional to the square root of its number of pixels:
        large images give more patches, but do not drown the small ones.
    patch
        (height, width) in pixels.
    batch_size, steps
        Patches per batch and batches per epoch.
    min_fraction
        Smallest share of foreground of a patch.
    augmentation
        Random changes.
    seed
        Of everything that is drawn.
    """

    def __init__(self, sources: Sequence[Source], patch, batch_size, steps, min_fraction, augmentation, seed):
        super().__init__()
        self.sources, self.patch, self.batch_size, self.steps = list(sources), patch, batch_size, steps
        self.min_fraction, self.augmentation, self.seed = min_fraction, augmentation, seed
        area = np.sqrt([source.mask.size for source in self.sources])
        self.probability = area / area.sum()
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `step`: float32 (batch, Y, X, C) and class ids (batch, Y, X)."""
        rng = np.random.default_rng((self.seed, self.epoch, step))
        chosen = rng.choice(len(self.sources), self.batch_size, p=self.probability)
        patches = [self._draw(self.sources[i], rng) for i in chosen]
        return np.stack([image for image, _ in patches]), np.stack([mask for _, mask in patches])

    def _draw(self, source, rng):
        return draw_patch(
            source.image, source.mask, source.low, source.high, self.patch, self.min_fraction, self.augmentation, rng
        )


class ValidationPatches(keras.utils.PyDataset):
    """Patches on a grid over the validation images, never augmented; at most `VALIDATION_PATCHES`, evenly chosen."""

    def __init__(self, sources: Sequence[Source], patch: tuple[int, int], batch_size: int):
        super().__init__()
        places = [(source, y, x) for source in sources for y, x in grid_positions(source.mask.shape, patch)]
        keep = np.linspace(0, len(places) - 1, min(len(places), VALIDATION_PATCHES)).round().astype(int)
        self.places, self.patch, self.batch_size = [places[i] for i in keep], patch, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.places) / self.batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `step`, like `TrainingPatches`."""
        places = self.places[step * self.batch_size : (step + 1) * self.batch_size]
        patches = [self._cut(*place) for place in places]
        return np.stack([image for image, _ in patches]), np.stack([mask for _, mask in patches])

    def _cut(self, source, y, x):
        window = np.s_[y : y + self.patch[0], x : x + self.patch[1]]
        nothing = Augmentation()
        rng = np.random.default_rng(0)
        low, high = source.low, source.high
        return draw_patch(source.image[window], source.mask[window], low, high, self.patch, 0, nothing, rng)


def automatic_steps(sources: Sequence[Source], patch: tuple[int, int], batch_size: int) -> int:
    """Steps per epoch with which an epoch sees about as many pixels as the training images have, 50 to 200.

    Few images need no fewer steps to learn from, and a large set must not make a round of training endless.
    """
    pixels = sum(source.mask.size for source in sources)
    return min(max(50, math.ceil(pixels / (patch[0] * patch[1] * batch_size))), 200)


class _Bookkeeping(keras.callbacks.Callback):
    """Learning rate, best weights, early stopping and checkpoints, all kept in one `TrainingState`."""

    def __init__(self, state, folder, data, epochs, steps, rate, schedule, patience):
        super().__init__()
        self.state, self.folder, self.data = state, folder, data
        self.epochs, self.steps, self.rate, self.schedule, self.patience = epochs, steps, rate, schedule, patience

    def on_epoch_begin(self, epoch, logs=None):
        if hasattr(self.data, "epoch"):
            self.data.epoch = epoch
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        done = self.epoch * self.steps + batch
        self.model.optimizer.learning_rate = self.state.plateau_factor * learning_rate(
            done, self.epochs * self.steps, self.rate, self.schedule
        )

    def on_epoch_end(self, epoch, logs=None):
        state, logs = self.state, {key: float(value) for key, value in logs.items()}
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            raise UserError(
                f"The loss became {logs['loss']} (training) and {logs['val_loss']} (validation) in epoch {epoch + 1}: "
                "choose a lower initial_learning_rate."
            )
        state.epoch = epoch + 1
        state.history.append({"epoch": state.epoch, **logs, "learning_rate": rate})
        if state.best_score is None or logs["val_loss"] < state.best_score:
            state.best_score, state.best_epoch = logs["val_loss"], state.epoch
            state.waited = state.plateau_waited = 0
        else:
            state.waited += 1
            state.plateau_waited += 1
        if self.schedule == "reduce on plateau" and state.plateau_waited >= max(2, (self.patience or 20) // 3):
            state.plateau_factor, state.plateau_waited = state.plateau_factor / 2, 0
        save_state(self.folder, self.model, state)
        if self.patience and state.waited >= self.patience:
            self.model.stop_training = True


def learning_rate(step: int, total: int, rate: float, schedule: str) -> float:
    """Learning rate of a step: linear rise over the first 3 % (at most 100 steps), then constant or half a cosine to 0.

    Parameters
    ----------
    step, total
        Steps done and steps in all.
    rate
        Highest value.
    schedule
        One of `SCHEDULES`; "reduce on plateau" is constant here and lowered between epochs.
    """
    warm_up = min(1.0, (step + 1) / min(100, max(1, 0.03 * total)))
    decay = 0.5 * (1 + math.cos(math.pi * min(step / total, 1))) if schedule == "cosine" else 1.0
    return rate * warm_up * decay


def fit(
    model: keras.Model,
    training_data: keras.utils.PyDataset,
    validation_data: keras.utils.PyDataset,
    folder: Path,
    *,
    number_of_epochs: int,
    initial_learning_rate: float,
    learning_rate_schedule: str = "constant",
    patience: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainingState:
    """Train a compiled model, going on where a training was begun in `folder`; ends with the best weights loaded.

    Parameters
    ----------
    model
        Compiled with optimiser and loss.
    training_data, validation_data
        Batches; a `training_data.epoch` is set to the epoch that begins.
    folder
        For checkpoints, the model folder's `training`; made where missing.
    number_of_epochs
        Epochs in all, those of an earlier session included.
    initial_learning_rate, learning_rate_schedule
        See `learning_rate`.
    patience
        Epochs without a lower validation loss after which training ends; 0 = never.
    callbacks
        More Keras callbacks, for display.

    Returns
    -------
    TrainingState
        Counters and history.

    Raises
    ------
    TrainingStopped
        After Jupyter's stop button (KeyboardInterrupt), with the best weights so far loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = load_state(folder) or TrainingState()
    if state.epoch:
        restore(folder, model, state)
    book = _Bookkeeping(
        state,
        folder,
        training_data,
        number_of_epochs,
        len(training_data),
        initial_learning_rate,
        learning_rate_schedule,
        patience,
    )
    stopped = bool(patience) and state.waited >= patience
    interrupted = False
    try:
        if not stopped and state.epoch < number_of_epochs:
            model.fit(
                training_data,
                validation_data=validation_data,
                epochs=number_of_epochs,
                initial_epoch=state.epoch,
                callbacks=[book, *callbacks],
                shuffle=False,  # batches are random already; Keras's shuffling would not be the same after a resume
                verbose=0,
            )
    except KeyboardInterrupt:
        interrupted = True
        state = load_state(folder) or TrainingState()  # it may have come while a checkpoint was written
    if state.epoch:
        load_weights(model, folder / state.files["best"])
    if interrupted:
        raise TrainingStopped(
            f"You stopped the training in epoch {state.epoch + 1} of {number_of_epochs}. The {state.epoch} finished "
            "epochs are saved: run this cell again to go on.",
            state,
        )
    return state


def history_table(state: TrainingState) -> pd.DataFrame:
    """One row per epoch: epoch, loss, val_loss, learning_rate and the other metrics."""
    return pd.DataFrame(state.history)
