"""The starting models that come with the project: python -m tests.benchmarks.starting_models

A U-Net and a StarDist model of the synthetic sample `nuclei`, trained with "Quick on a CPU" and stronger changes of
size and brightness than usual, since real nuclei are to be learned from there. Takes about 15 minutes on two cores.
Kernels are kept in half precision, which is what makes them small; they differ by less than 0.1 % from what was
trained.
"""

import json
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np

from tests.notebook_forms import default_values
from utils.files import file_sha256, write_json
from utils.paths import ROOT
from utils.samples import SAMPLES, STARTING
from utils.tasks.registry import STARDIST, UNET
from utils.training.model_folder import DESCRIPTION

NETWORK = {"unet": {"half_resolution": True, "pooling_steps": 2}, "stardist": {"n_rays": 32, "grid": 2}}
CHANGES = {"zoom": 50, "intensity": 50}
LEFT_OUT = ("split.csv", "parameters.json", "history.csv", "automatic.json")  # of no use to who starts from it


def make(task, folder: Path) -> None:
    """Train one model and put what is needed to start from it into `folder`."""
    places = SAMPLES["nuclei"]
    with tempfile.TemporaryDirectory() as place:
        given = {
            "data": {name: places[name] for name in ("training_source", "training_target")}
            | {"percentage_test": 0, "model_path": place, "model_name": "model", "starting_model": ""},
            "training": {"preset": "Quick on a CPU", **NETWORK[task.name]},
            "augmentation": CHANGES,
        }
        forms = default_values(task.notebook, given)
        project = task.open(forms["data"], forms["training"]["seed"])
        task.train(project, {"overrides": forms})
        shrink(project.folder)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))


def shrink(folder: Path) -> None:
    """Rewrite the weights of a model folder with kernels in half precision, compressed."""
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    for name in description["sha256"]:
        if name.endswith(".h5"):
            _halve(folder / name)
        description["sha256"][name] = file_sha256(folder / name)
    write_json(folder / DESCRIPTION, description)


def _halve(path: Path) -> None:
    small = path.with_suffix(".small")
    with h5py.File(path) as source, h5py.File(small, "w") as target:
        target.attrs.update(source.attrs)

        def copy(name: str, node: h5py.Group | h5py.Dataset) -> None:
            if isinstance(node, h5py.Group):
                target.require_group(name).attrs.update(node.attrs)
            elif node.ndim > 1:
                target.create_dataset(name, data=node[()].astype(np.float16), compression="gzip")
            else:
                target.create_dataset(name, data=node[()])

        source.visititems(copy)
    small.replace(path)


if __name__ == "__main__":
    for each in (UNET, STARDIST):
        make(each, ROOT / STARTING[each.name])
