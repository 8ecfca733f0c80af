"""The machine under the notebook: packages, processor, quiet start."""

import contextlib
import ctypes
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from utils.errors import SetupError

# Modules that the notebooks import -> packages that bring them.
NEEDED = {
    "tensorflow": "tensorflow",
    "stardist": "stardist",
    "csbdeep": "csbdeep",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "tifffile": "tifffile",
    "imagecodecs": "imagecodecs",
    "shapely": "shapely",
    "cleanlab": "cleanlab",
    "ipywidgets": "ipywidgets",
    "tqdm": "tqdm",
    "jinja2": "jinja2",
}

# How libraries compute, which they ask for once, when they are loaded.
LIBRARIES = {"KERAS_BACKEND": "tensorflow"}  # bioimageio.core, once it is loaded, writes another one there
if platform.machine().lower() in ("x86_64", "amd64"):
    # TensorFlow by itself leaves oneDNN aside on processors without AVX-512; there, too, training takes half the time
    # with it. Not tried on ARM.
    LIBRARIES["TF_ENABLE_ONEDNN_OPTS"] = "1"
MALLOPT = {-3: 32 << 20, -1: 64 << 20}  # by its number in mallopt(3): size from which memory is mapped, and given back

_REMEDY = ' (remedy: install "tensorflow[and-cuda]" as the README says under "A graphics card")'


def prepare() -> None:
    """Keep the libraries' own messages off the page; install what is missing, leaving installed versions alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of fonts that it looks for
    ensure(NEEDED)


def ensure(needed: Mapping[str, str]) -> None:
    """Install what is missing of the packages, which stand beside the modules that they bring; see `install`."""
    tell_libraries()
    missing = [package for module, package in needed.items() if not _is_there(module)]
    if missing:
        print(f"Installing {', '.join(missing)} (needed once per session) ...")
        install(missing)


def tell_libraries() -> None:
    """Say how libraries compute, before they are loaded, unless a person has said otherwise."""
    for name, value in LIBRARIES.items():
        os.environ.setdefault(name, value)


def _is_there(module: str) -> bool:
    """Whether a module could be imported, one in a package that is not there included."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is a part of
        return False


def install(packages: list[str]) -> None:
    """Install packages with all present versions as constraints, so that nothing that is there is replaced.

    SetupError, with the reason in pip's words, where that fails.
    """
    present = "".join(f"{constraint}\n" for constraint in _present())
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(present, encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *packages]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            reasons = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [error.stderr.strip()]
            raise SetupError(
                f"{', '.join(packages)} could not be installed. Check the internet connection and run this cell again; "
                f"if it fails again, somebody who knows Python can read the reason: {' '.join(reasons)[-600:]}"
            ) from error
    importlib.invalidate_caches()


def _present() -> list[str]:
    """One constraint per installed package: pip refuses all for a version it cannot read, or two of one package."""
    found = {}
    for one in distributions():
        try:
            Version(one.version)
            found.setdefault(canonicalize_name(one.name), f"{one.name}=={one.version}")  # the first copy is imported
        except (InvalidVersion, TypeError, AttributeError):  # from a Linux distribution; no version; no name
            continue
    return list(found.values())


def versions() -> dict[str, str]:
    """Versions of the libraries that a model's numbers depend on; "unknown" for one that comes under another name."""
    names = ("tensorflow", "keras", "numpy", "scikit-image", "stardist", "csbdeep")
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    for package in (name, f"{name}-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:  # another variant: no reason to fail while a trained model is being saved
            continue
    return "unknown"


def load_tensorflow():
    """Import TensorFlow, seconds of work, without the lines that its libraries write before they can be told not to."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.get_logger().setLevel("ERROR")  # it warns of each size of image, which it compiles anew
            _make_data_set(tensorflow)
            reuse_memory()
            return tensorflow
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _make_data_set(tensorflow) -> None:
    """Make the first data set by a generator, with which TensorFlow undoes what `reuse_memory` does.

    Its `ApplyPython311MemoryPatch` has each array of more than 128 kB made of fresh pages: that took half the time of a
    random forest.
    """
    list(tensorflow.data.Dataset.from_generator(lambda: iter(()), output_signature=tensorflow.TensorSpec(())))


def reuse_memory() -> None:
    """Let arrays have memory that others gave back; nothing on other systems than Linux.

    For arrays of some megabytes the C library comes to that by itself, but it gives too much back to the system.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        for number, size in MALLOPT.items():
            library.mallopt(number, size)


def processor() -> str:
    """Name of the processor as far as the system tells it, and its number of cores."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    name = next(filter(None, names), platform.processor() or platform.machine())
    return f"{name} ({os.cpu_count()} cores)"


def graphics_card() -> str | None:
    """Name of the NVIDIA graphics card that the driver knows, asked without loading TensorFlow; None without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return ", ".join(sorted(set(answer.split("\n")) - {""})) or None


def card_is_usable() -> bool:
    """Whether TensorFlow could use a card of NVIDIA, asked without loading it: not on Windows, nor without cuDNN."""
    if sys.platform == "win32":
        return False
    try:
        if importlib.util.find_spec("nvidia.cudnn"):
            return True
    except ModuleNotFoundError:  # no package "nvidia" at all
        pass
    try:
        ctypes.CDLL("libcudnn.so.9")
    except OSError:
        return False
    return True


def suitable_preset() -> str:
    """Preset that suits this machine: "Default" takes hours without a graphics card."""
    return "Default" if graphics_card() and card_is_usable() else "Quick on a CPU"


def describe(trains: bool = True) -> str:
    """One sentence on the processor that will be used, one on the preset that follows from it if the page `trains`."""
    card = graphics_card()
    if card and card_is_usable():
        used = "Training will use" if trains else "Models will use"
        return f"{used} the graphics card ({card}){', in mixed precision' if trains else ''}."
    found = f"The graphics card ({card}) cannot be used{_REMEDY}" if card else "No graphics card was found"
    if not trains:
        return f"{found}: models will use the processor ({os.cpu_count()} cores)."
    return (
        f"{found}: training will use the processor ({os.cpu_count()} cores). "
        'The field "Preset" therefore stands at "Quick on a CPU", until you choose another.'
    )


def in_words(seconds: float) -> str:
    """Seconds in words, such as "about 4 minutes"."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} seconds"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.0f} hours"


def start() -> None:
    """Load TensorFlow without its start-up lines; say so where there is a graphics card that it cannot use."""
    if load_tensorflow().config.list_physical_devices("GPU"):
        return
    if card := graphics_card():
        print(f"There is a graphics card ({card}), but TensorFlow cannot use it{_REMEDY}, so the processor is used.")
