"""StarDist networks: built from arguments, read from and written to model folders, or taken from the published ones."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import pandas as pd
from csbdeep.models.pretrained import get_model_details, get_model_folder
from csbdeep.utils import load_json
from stardist.models import Config2D, StarDist2D

from utils import models
from utils.checkpoints import make_room
from utils.errors import ModelError
from utils.paths import ROOT

CONFIG, THRESHOLDS, WEIGHTS = "config.json", "thresholds.json", "weights_best.h5"  # names that StarDist itself uses
PUBLISHED = ("2D_versatile_fluo", "2D_versatile_he", "2D_paper_dsb2018", "2D_demo")
PLACED = ROOT / "models" / "published"  # where a person may put the files of a published model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what StarDist prints and warns about its own files off the page."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build(network: Mapping) -> StarDist2D:
    """Untrained StarDist network in float32 that writes nothing by itself.

    Parameters
    ----------
    network
        Arguments of `stardist.models.Config2D`, as in model.json.
    """
    with quiet():
        return StarDist2D(Config2D(train_tensorboard=False, **network), basedir=None)


def save(folder: Path, model: StarDist2D, description: Mapping, history: pd.DataFrame) -> None:
    """Write a model folder that `StarDist2D(None, name, basedir)` of any StarDist program opens, too.

    Parameters
    ----------
    folder
        Made ready by `models.open_folder`.
    model
        With its weights and thresholds.
    description
        Content of model.json, see `models.save_model`.
    history
        One row per epoch.
    """
    files = {CONFIG: vars(model.config), THRESHOLDS: model.thresholds._asdict()}
    models.save_model(folder, model.keras_model, description, history, WEIGHTS, files, _save_weights)


def _save_weights(network: keras.Model, path: Path) -> None:
    """Write weights in the older HDF5 format, which every version of StarDist reads."""
    make_room(network, path)
    network.save_weights(path)


def load(folder: Path) -> StarDist2D:
    """Read a checked StarDist model folder (`models.read_model`), or the folder of a published model.

    Raises
    ------
    ModelError
        Files are missing or damaged.
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
