"""Batches for StarDist: the same patches as for every segmentation, with StarDist's own targets."""

from collections.abc import Mapping, Sequence

import numpy as np
from stardist.models import Config2D, StarDistData2D

from utils.batches import TrainingPatches, ValidationPatches


class _WithTargets:
    """Gives StarDist's targets in place of masks; the arguments `patches` are those of the class it is mixed with.

    Parameters
    ----------
    config
        Of the StarDist model: rays, grid, classes.
    object_classes
        Class id of each label of each source (label -> 1 .. n_classes); None where objects have no classes.
    """

    def __init__(self, config: Config2D, object_classes: Sequence[Mapping[int, int] | None], **patches):
        super().__init__(**patches)
        self.config, self.object_classes = config, object_classes

    def __getitem__(self, step: int) -> tuple[tuple, tuple]:
        """Batch `step` as `targets` gives it."""
        chosen, images, labels = self.draw(step)
        return targets(images, labels, self.config, [self.object_classes[i] for i in chosen])


class TrainingObjects(_WithTargets, TrainingPatches):
    """Random augmented patches with their targets; those of epoch e depend only on (seed, e).

    The masks of the sources are label images. Arguments: config and object_classes of the StarDist model (rays, grid;
    label -> class id of each source, or None), then those of `utils.batches.TrainingPatches` by name.
    """


class ValidationObjects(_WithTargets, ValidationPatches):
    """Patches on a grid over the validation images with their targets, never augmented; see `TrainingObjects`."""


class _InOrder(StarDistData2D):
    """StarDist's batches without their shuffling."""

    def batch(self, i: int) -> np.ndarray:
        return np.arange(self.batch_size)


def targets(
    images: np.ndarray,
    labels: np.ndarray,
    config: Config2D,
    object_classes: Sequence[Mapping[int, int] | None],
) -> tuple[tuple, tuple]:
    """What a StarDist network is given and what it should answer.

    Parameters
    ----------
    images
        float32 (batch, Y, X, C), normalised.
    labels
        uint16 (batch, Y, X).
    config
        Of the StarDist model.
    object_classes
        Per patch, label -> class id; ignored where config.n_classes is None.

    Returns
    -------
    inputs, outputs
        (images,) and (object probability (batch, Y/grid, X/grid, 1), distances and their weight
        (..., n_rays + 1), with classes also class probability (..., n_classes + 1)), float32.
    """
    whole = _InOrder(
        X=list(images),
        Y=list(labels),
        batch_size=len(images),
        length=1,
        n_rays=config.n_rays,
        grid=config.grid,
        n_classes=config.n_classes,
        classes=list(object_classes) if config.n_classes else None,
        patch_size=labels.shape[1:],
    )
    return whole[0]
