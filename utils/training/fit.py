"""A fit that survives interruptions: schedule, best weights, early stopping and checkpoints."""

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from utils.errors import Interrupted, UserError
from utils.pages.bar import doing
from utils.training.checkpoints import TrainingState, load_state, load_weights, restore, save_state

SCHEDULES = ["constant", "reduce on plateau", "cosine"]


class TrainingStopped(Interrupted):
    """The training was interrupted by the user; everything up to the last finished epoch is saved in `state`."""

    title = "Training stopped"

    def __init__(self, number_of_epochs: int, state: TrainingState):
        super().__init__(
            f"You stopped the training in epoch {state.epoch + 1} of {number_of_epochs}. {_saved(state.epoch)}: "
            "run this cell again to go on."
        )
        self.state = state


def _saved(epochs: int) -> str:
    """What a training that was stopped leaves, as the beginning of a sentence."""
    if epochs < 2:
        return "The finished epoch is saved" if epochs else "No epoch was finished"
    return f"The {epochs} finished epochs are saved"


class _Bookkeeping(keras.callbacks.Callback):
    """Learning rate, best weights, early stopping and checkpoints, all kept in one `TrainingState`."""

    def __init__(self, state, folder, data, epochs, steps, rate, schedule, patience):
        super().__init__()
        self.state, self.folder, self.data = state, folder, data
        self.epochs, self.steps, self.rate, self.schedule, self.patience = epochs, steps, rate, schedule, patience

    def on_epoch_begin(self, epoch, logs=None):
        if hasattr(self.data, "epoch"):
            self.data.epoch = epoch
        self.epoch, self.began = epoch, time.perf_counter()
        restart_dropout(self.model, epoch)

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
        state.epoch, state.seconds = epoch + 1, state.seconds + time.perf_counter() - self.began
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


class _StopButton(keras.callbacks.Callback):
    """Stops the training where the stop button was pressed, once the batch is done; a second press stops at once.

    Python drops the KeyboardInterrupt of the button where it arrives while an object is being destroyed. The button is
    a signal, which only the main thread gets; where something else listens to it that is left alone.
    """

    pressed = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the button while the block runs."""
        before, main = signal.getsignal(signal.SIGINT), threading.current_thread() is threading.main_thread()
        if not main or before is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _press(self, number, frame) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def _stop(self, batch, logs=None) -> None:
        if self.pressed:
            raise KeyboardInterrupt

    on_train_batch_end = on_test_batch_end = _stop


def restart_dropout(model: keras.Model, epoch: int) -> None:
    """Let dropout draw what depends on layer and epoch only: its counters are neither weights nor optimiser."""
    states = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    for number, state in enumerate(states):
        state.assign([number, epoch << 20])  # the second number counts draws


def learning_rate(step: int, total: int, rate: float, schedule: str) -> float:
    """Learning rate of a step: linear rise over the first 3 % (at most 100 steps), then constant or half a cosine to 0.

    `step` are those done, `rate` is the highest value; "reduce on plateau" is constant here and lowered between epochs.
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
    keep_last: bool = False,
) -> TrainingState:
    """Train a compiled model, going on where a training was begun in `folder`; ends with the best weights loaded.

    Parameters
    ----------
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
        More Keras callbacks, for display; the `TrainingState` is set as their attribute `state`.
    keep_last
        End with the weights of the last epoch, where that was reached, in place of the best.

    Raises
    ------
    TrainingStopped
        After Jupyter's stop button (KeyboardInterrupt), with the best weights so far loaded.
    UserError
        The loss is no longer finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = load_state(folder) or TrainingState()
    model.optimizer.build(model.trainable_variables)  # TensorFlow traces a step twice if that step makes variables
    if state.epoch:
        restore(folder, model, state)
    schedule = (number_of_epochs, len(training_data), initial_learning_rate, learning_rate_schedule, patience)
    book = _Bookkeeping(state, folder, training_data, *schedule)
    for callback in callbacks:
        callback.state = state
    interrupted = _run(model, training_data, validation_data, book, callbacks)
    if interrupted:
        state = load_state(folder) or TrainingState()  # it may have come while a checkpoint was written
    if state.epoch and not (keep_last and state.epoch >= number_of_epochs):
        load_weights(model, folder / state.files["best"])
    if interrupted:
        raise TrainingStopped(number_of_epochs, state)
    return state


def _run(model, training_data, validation_data, book: _Bookkeeping, callbacks) -> bool:
    """Train for the epochs that are left, if any; returns whether the user interrupted it."""
    stopped_early = bool(book.patience) and book.state.waited >= book.patience
    if stopped_early or book.state.epoch >= book.epochs:
        return False
    button = _StopButton()
    doing("Preparing: the network is made ready for this computer")
    try:
        with button.listening():
            model.fit(
                training_data,
                validation_data=validation_data,
                epochs=book.epochs,
                initial_epoch=book.state.epoch,
                callbacks=[book, *callbacks, button],
                shuffle=False,  # batches are random already; Keras's shuffling would not be the same after a resume
                verbose=0,
            )
    except KeyboardInterrupt:
        return True
    return button.pressed  # while the last checkpoint was written


def joined(states: Sequence[TrainingState]) -> TrainingState:
    """Counters of a training in stages, as if it had been one: epochs are counted on, the best of all is the best."""
    whole = TrainingState()
    for state in states:
        whole.history += [row | {"epoch": whole.epoch + row["epoch"]} for row in state.history]
        if whole.best_score is None or (state.best_score is not None and state.best_score < whole.best_score):
            whole.best_score, whole.best_epoch = state.best_score, whole.epoch + state.best_epoch
        whole.epoch, whole.seconds = whole.epoch + state.epoch, whole.seconds + state.seconds
    return whole


def history_table(state: TrainingState) -> pd.DataFrame:
    """One row per epoch: epoch, loss, val_loss, learning_rate and the other metrics."""
    return pd.DataFrame(state.history)
