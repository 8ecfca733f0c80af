"""The class of one cell, within milliseconds: for a microscope that decides on what it sees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import DataError
from utils.tasks.classes.predict import Classifier, load_classifier


class SingleCell:
    """A trained classifier, compiled and warm, as a function: crop -> (class, probability).

    Parameters
    ----------
    model_folder
        Folder of a classification model; nothing else is needed.

    Raises
    ------
    ModelError
        No classification model there.

    Examples
    --------
    >>> classify = SingleCell("models/my_classifier")  # once, takes seconds  # doctest: +SKIP
    >>> name, probability = classify(crop)  # crop: numpy array (Y, X) or (Y, X, C)  # doctest: +SKIP
    """

    def __init__(self, model_folder: str | Path):
        self._classifier: Classifier = load_classifier(Path(model_folder))
        self.names = [one["name"] for one in self._classifier.classes]
        self.channels = len(self._classifier.description["channels"])
        blank = np.zeros((*self._classifier.description["input"]["size"], self.channels), np.uint8)
        for n in (1, 2):  # the first call compiles; a batch takes other paths than one cell
            self._classifier.probabilities([blank] * n)

    def __call__(self, crop: np.ndarray) -> tuple[str, float]:
        """Classify one crop.

        Parameters
        ----------
        crop
            (Y, X) or (Y, X, C) of any size and dtype, with the channels of the training images.

        Returns
        -------
        name, probability
            Likeliest class and its probability, 0 to 1.

        Raises
        ------
        DataError
            Another number of channels.
        """
        return self._named(self._classifier.probabilities([self._checked(crop)]))[0]

    def many(self, crops: Sequence[np.ndarray]) -> list[tuple[str, float]]:
        """Classify several crops, faster per cell than one after the other; they may differ in size."""
        return self._named(self._classifier.probabilities([self._checked(crop) for crop in crops]))

    def _checked(self, crop: np.ndarray) -> np.ndarray:
        """Crop as (Y, X, C)."""
        crop = np.asarray(crop)
        crop = crop[..., None] if crop.ndim == 2 else crop
        if crop.ndim != 3 or crop.shape[-1] != self.channels or not crop.size:
            raise DataError(
                f"The crop has the shape {crop.shape}, but the model needs (Y, X, {self.channels}): height, width and "
                "the channels of the training images."
            )
        return crop

    def _named(self, probabilities: np.ndarray) -> list[tuple[str, float]]:
        """Likeliest class of each row (n, classes)."""
        best = probabilities.argmax(axis=1)
        return [(self.names[i], float(row[i])) for i, row in zip(best, probabilities, strict=True)]
