"""StarDist networks: built from arguments, read from and written to model folders, or taken from the published ones."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from csbdeep.models.pretrained import get_model_details, get_model_folder
from csbdeep.utils import load_json
from stardist.models import Config2D, StarDist2D, StarDistData2D

from utils.data.object_classes import object_class_table
from utils.errors import ModelError
from utils.images.normalise import NORMALISATION
from utils.patching.batches import Source, TrainingPatches, ValidationPatches, sources
from utils.paths import resolve
from utils.samples import PUBLISHED, PUBLISHED_PLACE
from utils.training import model_folder
from utils.training.checkpoints import make_room
from utils.training.networks import compiled

CONFIG, THRESHOLDS, WEIGHTS = "config.json", "thresholds.json", "weights_best.h5"  # names that StarDist itself uses
PLACED = PUBLISHED_PLACE  # where a person may put the files of a published model
NETWORK = ("n_rays", "grid", "n_channel_in", "n_classes", "net_conv_after_unet", "train_patch_size", "train_batch_size")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what StarDist prints and warns about its own files off the page."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build(network: Mapping) -> StarDist2D:
    """Untrained StarDist network in float32 that writes nothing by itself.

    `network` are arguments of `stardist.models.Config2D`, as in model.json.
    """
    with quiet():
        return StarDist2D(Config2D(train_tensorboard=False, **network), basedir=None)


def save(folder: Path, model: StarDist2D, description: Mapping, history: pd.DataFrame) -> None:
    """Write a model folder that `StarDist2D(None, name, basedir)` of any StarDist program opens, too.

    `folder` was made ready by `model_folder.open_folder`, `model` has its weights and thresholds, `description` is the
    content of model.json (see `model_folder.save_model`), `history` has a row per epoch.
    """
    files = {CONFIG: vars(model.config), THRESHOLDS: model.thresholds._asdict()}
    model_folder.save_model(folder, model.keras_model, description, history, WEIGHTS, files, _save_weights)


def _save_weights(network: keras.Model, path: Path) -> None:
    """Write weights in the older HDF5 format, which every version of StarDist reads."""
    make_room(network, path)
    network.save_weights(path)


def load(folder: Path) -> StarDist2D:
    """Read a checked StarDist model folder (`model_folder.read_model`), or the folder of a published model.

    ModelError where files are missing or damaged.
    """
    try:
        config = Config2D(**Config2D.update_loaded_config(load_json(str(folder / CONFIG))))
        with quiet():
            model = StarDist2D(config, basedir=None)
            model.keras_model.load_weights(folder / WEIGHTS)
        model.thresholds = load_json(str(folder / THRESHOLDS))
    except Exception as error:  # json, h5py, Keras and StarDist raise errors of many kinds for the same trouble
        raise ModelError(
            f"The StarDist model in {folder} could not be loaded: {CONFIG}, {THRESHOLDS} or {WEIGHTS} is missing, "
            "damaged, or belongs to another network. Copy the whole folder again."
        ) from error
    return answering(model)


def answering(model: StarDist2D) -> StarDist2D:
    """The model, whose network learns no more, and answers by a compiled function wherever StarDist asks `predict`."""
    network = model.keras_model

    @cache
    def once() -> Callable[[tf.Tensor], list[tf.Tensor]]:
        return compiled(lambda x: network([x], training=False), tf.TensorSpec(network.input_shape, tf.float32))

    def predict(x: np.ndarray, **_) -> list[np.ndarray]:
        return [one.numpy() for one in once()(tf.constant(x, tf.float32))]

    network.predict = predict
    return model


def published(name: str) -> StarDist2D:
    """One of the models that the authors of StarDist publish: placed by hand in `PLACED`, else downloaded.

    Raises
    ------
    ModelError
        It is not there and cannot be downloaded; the message says how to place it.
    """
    if (PLACED / name).is_dir():
        return load(PLACED / name)
    try:
        with quiet():
            folder = get_model_folder(StarDist2D, name)
    except Exception as error:  # urllib, ssl and Keras raise errors of many kinds for the same trouble
        with quiet():
            address = get_model_details(StarDist2D, name)[2]["url"]
        raise ModelError(
            f"The published model {name} could not be downloaded. Download {address} on a computer with internet, "
            f"unpack it, and put {CONFIG}, {THRESHOLDS} and {WEIGHTS} into {PLACED / name}; then run the cell again."
        ) from error
    return load(folder)


def is_published(folder: Path) -> bool:
    """Whether a folder is that of a published model, whether or not its files were placed there."""
    return folder.parent == PLACED and folder.name in PUBLISHED


def described(config: Mapping, normalisation: Mapping = NORMALISATION) -> dict:
    """What corresponds to model.json where somebody else trained a model; `config` is that of StarDist."""
    network = {key: value for key, value in config.items() if key in NETWORK or key.startswith("unet_")}
    patch = list(network["train_patch_size"])
    kinds = [f"kind {i + 1}" for i in range(network.get("n_classes") or 0)]
    return {
        "task": "stardist",
        "network": network,
        "channels": [f"channel {i + 1}" for i in range(network["n_channel_in"])],
        "classes": object_class_table(kinds or ("object",)),
        "normalisation": dict(normalisation),
        "pixel_size_um": None,
        "input": {"patch": patch, "largest_object": min(patch) / 2},
    }


def open_network(name: str) -> StarDist2D:
    """A published model by its name, or that of a StarDist model folder; ModelError where it is not there."""
    if name in PUBLISHED:
        return published(name)
    model_folder.read_model(resolve(name), "stardist")
    return load(resolve(name))


class _WithTargets:
    """Gives StarDist's targets in place of masks; the arguments `patches` are those of the class it is mixed with.

    `config` is that of the StarDist model (rays, grid, classes), `object_classes` holds the class id of each label of
    each source (label -> 1 .. n_classes), None where objects have no classes.
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
    label -> class id of each source, or None), then those of `utils.patching.batches.TrainingPatches` by name.
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
    """What a StarDist network is given and what it should answer, float32.

    `images` are float32 (batch, Y, X, C), normalised, `labels` uint16 (batch, Y, X); `object_classes` has label ->
    class id of each patch and is ignored where config.n_classes is None. Returns (images,) and (object probability
    (batch, Y/grid, X/grid, 1), distances and their weight (..., n_rays + 1), with classes also class probability
    (..., n_classes + 1)).
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


def object_sources(examples: Sequence, patch: tuple[int, int], normalisation: Mapping) -> list[Source]:
    """Images with labels and percentiles; those smaller than the patch are mirrored at their border up to its size."""
    return [_padded(source, patch) for source in sources(examples, normalisation)]


def _padded(source: Source, patch: tuple[int, int]) -> Source:
    missing = [(0, max(0, wanted - size)) for wanted, size in zip(patch, source.mask.shape, strict=True)]
    if not np.any(missing):
        return source
    return replace(
        source,
        image=np.pad(source.image, [*missing, (0, 0)], mode="symmetric"),
        mask=np.pad(source.mask, missing, mode="symmetric"),
    )


def field_of_view(description: Mapping) -> tuple[int, int]:
    """Pixels (height, width) to either side that an untrained network of `description` sees around each pixel.

    StarDist compares the median size of objects with this number.
    """
    y, x = build(description["network"])._axes_tile_overlap("YX")
    return int(y), int(x)
