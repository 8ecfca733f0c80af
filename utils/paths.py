"""Where the project lies, and how a path typed by the user is read."""

import os
import re
from datetime import datetime
from pathlib import Path

from utils.errors import DataError, FormError

# Of one folder, on any system: Windows knows no such signs, and no point or space at an end.
FOLDER_NAME = re.compile(r"[^.\s/\\:*?\"<>|]([^/\\:*?\"<>|]*[^.\s/\\:*?\"<>|])?")
FOLDER_NAME_RULE = 'must be the name of a folder: letters, digits, spaces, - and _, but none of / \\ : * ? " < > |'
EMPTY = "A path is empty: please fill in a folder or a file."
ROOT: Path = Path(__file__).resolve().parent.parent
# In a model folder; the forms, which load no TensorFlow, look at the same files as the training that writes them.
DESCRIPTION, PARAMETERS, SPLIT = "model.json", "parameters.json", "split.csv"
SCORES, CHOSEN = "scores.json", "automatic.json"  # chosen: what, for fields that said so
TRAINING, STATE = "training", "state.json"  # a folder that is there until it is trained, and how far that is
IN_TURN = "cross_validation"  # what was found in images that were tested in turn
JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
IMAGE_SUFFIXES = {".tif", ".tiff", ".png", ".bmp", ".gif"} | JPEG_SUFFIXES
MASK_SUFFIXES = {"_seg.npy"}  # more that masks may end in: Cellpose's own
# Files of microscopes, of one image or of many, that are not read: they must be exported.
MICROSCOPE_NAMES = (
    "czi zvi lsm lif lof xlef nd2 nd oib oif oir poir vsi ets svs ndpi mrxs scn bif qptiff ims dv r3d stk flex mvd2 "
    "sld sldy cxd ids ics lei mrc dm3 dm4 ser c01 xdce tnb fdf al3d obf msr"
)
MICROSCOPE_SUFFIXES = {f".{name}" for name in MICROSCOPE_NAMES.split()}
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
MASK_ENDING = re.compile(
    r"[ _.-]?(masks?|labels?|annotations?|segmentation)$|[ _.-](cp[ _.-]masks?|simple[ _.-]segmentation|seg)$",
    re.IGNORECASE,
)


def resolve(path: str | os.PathLike) -> Path:
    """Absolute path of what was typed, links not followed; the working directory plays no part.

    A relative path is taken from `ROOT`; ``~`` is the home folder; ``..`` is worked out. It need not exist. DataError
    if the text is empty.
    """
    text = os.fspath(path).strip()
    if not text:
        raise DataError(EMPTY)
    return Path(os.path.normpath(ROOT / os.path.expanduser(text)))


def dated_name(path: Path, keep_suffix: bool = False) -> Path:
    """Free name beside `path` with today's date, and a number where that is taken: ``m`` -> ``m.2026-01-31``.

    With `keep_suffix` the ending stays the last part, so that a table remains a table: ``t.2026-01-31.csv``.
    """
    suffix = path.suffix * keep_suffix
    name = f"{path.name.removesuffix(suffix)}.{datetime.now():%Y-%m-%d}"
    names = (path.with_name(name + (f".{i}" if i else "") + suffix) for i in range(10_000))
    return next(free for free in names if not free.exists())


def is_system(name: str) -> bool:
    """Whether a file or folder is one that an operating system or Jupyter puts there by itself."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def shown_path(path: str | Path) -> str:
    """Path relative to the project's root where it lies inside, so that a moved project still finds it."""
    path = resolve(path)
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


def set_aside(path: Path) -> Path:
    """Rename a file to a free name with today's date, which is returned."""
    return path.rename(dated_name(path, keep_suffix=True))


def folder_of(model_path: str, model_name: str) -> Path:
    """Folder of the model called `model_name`; FormError where the name is none for a folder."""
    if not FOLDER_NAME.fullmatch(model_name):
        raise FormError(
            f"The field model_name is {model_name!r}, but {FOLDER_NAME_RULE}. The folder that models lie in goes into "
            "the field model_path."
        )
    return resolve(model_path) / model_name
