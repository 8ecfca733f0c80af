"""What a person sees while a training runs: a bar with the remaining time and a curve that grows."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import keras
import pandas as pd
from IPython.display import display
from tqdm.std import tqdm

from utils.pages.bar import BAR, doing, progress_bar
from utils.pages.figures import as_image
from utils.pages.score_figures import learning_curves

SECONDS_BETWEEN_DRAWINGS = 5
SHARE_OF_TIME = 0.01  # drawing may take this share of the training's time


def with_progress(train: Callable[..., str], *given: Any) -> str:
    """Result of `train(*given, callbacks)`, which is seen on the page from the first moment on."""
    doing("Preparing: images and settings are looked at")
    with closing(LiveProgress()) as progress:
        return train(*given, [progress])


class LiveProgress(keras.callbacks.Callback):
    """Progress bar over all epochs and live curves of the losses, those of earlier sessions included.

    `utils.training.fit.fit` sets the attribute `state`. A training in stages has a bar for each stage.
    """

    def __init__(self):
        super().__init__()
        self.picture, self.bar, self.state = None, None, None
        self.history, self.earlier = [], []  # all epochs; those of stages that are over
        self.next_drawing = time.monotonic() + SECONDS_BETWEEN_DRAWINGS

    def on_epoch_begin(self, epoch, logs=None):
        """Make the bar, for all epochs, and name the one that begins."""
        if self.bar is None:
            steps = self.params["steps"]
            total, done = self.params["epochs"] * steps, epoch * steps
            self.bar = progress_bar(total=total, initial=done, bar_format=BAR, smoothing=0)
            self.first = True
        self.bar.set_description_str(f"Epoch {epoch + 1} of {self.params['epochs']}", refresh=False)

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar; the first step, in which the network is compiled, says nothing on the time that is left."""
        self.bar.update()
        if self.first:
            self.bar.initial, self.first = self.bar.n, False
            self.bar.start_t = self.bar.last_print_t = time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Show the losses and, from time to time, the curves."""
        own = [row | {"epoch": len(self.earlier) + row["epoch"]} for row in self.state.history]
        self.history = [*self.earlier, *own]
        self.bar.set_postfix_str(f"loss {logs['loss']:.3f}, validation loss {logs['val_loss']:.3f}", refresh=False)
        if time.monotonic() >= self.next_drawing:
            self._draw()

    def on_train_end(self, logs=None):
        """End the bar: a further stage has its own."""
        self.earlier = self.history
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def close(self) -> None:
        """Draw the final curves and stop the bar; also after an interruption."""
        if self.bar is not None:
            self.bar.close()
        if self.history:
            self._draw()

    def _draw(self) -> None:
        start = time.monotonic()
        picture = as_image(learning_curves(pd.DataFrame(self.history)))
        if self.picture is None:
            self.picture = display(picture, display_id=True)
        elif self.picture:
            self.picture.update(picture)
        cost = time.monotonic() - start
        self.next_drawing = time.monotonic() + max(SECONDS_BETWEEN_DRAWINGS, cost / SHARE_OF_TIME)


class Rounds(keras.callbacks.Callback):
    """Moves a bar, which may be that of several trainings, by one after each epoch."""

    def __init__(self, bar: tqdm):
        super().__init__()
        self.bar = bar

    def on_epoch_end(self, epoch, logs=None):
        """Move the bar."""
        self.bar.update()
