"""CPU time, memory and accuracy of the U-Net notebook's engine on real nuclei.

    python -m tests.benchmarks.unet_segmentation DATA [--preset "Quick on a CPU"] [--seeds 0 1 2] [--epochs-factor 1]

DATA holds train/ and test/, each with images/ and masks/ of the same file names (DSB2018 fluorescence: 80 and 20
images).
The 40 training images are RandomState(42).permutation(80)[:40] of the sorted names; `--tune` instead trains on 30 of
the other
40 and scores on the last 10 of them, for choosing settings. Each seed runs in a process of its own; CPU-seconds are
user
and system time of all its processes from calling train to its return.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import classical_scores, copy, cpu_seconds, epochs_of, peak_megabytes, scale_epochs


def lay_out(data: Path, tune: bool, seed: int, folder: Path) -> Path:
    """Copy the training images of this benchmark to folder/train; returns the folder with the test images."""
    names = sorted(path.name for path in (data / "train" / "images").iterdir() if not path.name.startswith("."))
    order = np.random.RandomState(42).permutation(len(names))
    chosen = [names[i] for i in order[:40]]
    test = data / "test"
    if tune:
        rest = [names[i] for i in np.random.RandomState(100 + seed).permutation(order[40:])]
        chosen, test = rest[:30], folder / "test"
        copy(data / "train", test, rest[30:])
    copy(data / "train", folder / "train", chosen)
    return test


def forms(folder: Path, preset: str, changes: dict, seed: int) -> dict:
    """Values of the notebook's forms for this run."""
    from tests.notebook_forms import default_values

    given = {
        "data": {
            "training_source": str(folder / "train" / "images"),
            "training_target": str(folder / "train" / "masks"),
            "percentage_test": 0,
            "model_path": str(folder),
            "model_name": "model",
        },
        "training": {"preset": preset, "seed": seed, **changes},
    }
    return {"overrides": default_values("unet_segmentation", given)}


def run(data: Path, preset: str, seed: int, tune: bool, factor: float, changes: dict, augmentation: dict) -> dict:
    """Train and score once; returns the measurements."""
    import tensorflow  # noqa: F401  imported before the clock starts: a notebook pays for it in its set-up

    from utils.tasks.held_out import evaluate, find_test_set
    from utils.tasks.registry import UNET
    from utils.training.progress import LiveProgress

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test = lay_out(data, tune, seed, folder)
        parameters = forms(folder, preset, changes, seed)
        parameters["overrides"]["augmentation"].update(augmentation)
        project = UNET.open(parameters["overrides"]["data"], seed)
        scale_epochs(UNET, project, parameters, factor)
        progress = LiveProgress()
        start, wall = cpu_seconds(), time.monotonic()
        UNET.train(project, parameters, [progress])
        progress.close()
        trained, elapsed = cpu_seconds() - start, time.monotonic() - wall
        test_set = find_test_set(UNET, project.folder, str(test / "images"), str(test / "masks"))
        start = cpu_seconds()
        result = evaluate(UNET, project.folder, test_set)
        predicted, pixels = cpu_seconds() - start, sum(one.mask.size for one in test_set.examples)
        beside = classical_scores(UNET, result, project.examples("training"), seed)
        return {
            "seed": seed,
            "foreground_iou": result.headline["value"],
            "train_cpu_s": trained,
            "train_wall_s": elapsed,
            "otsu": beside["Otsu threshold"],
            "pixel_forest": beside["pixel forest"],
            "predict_cpu_s_per_mpx": predicted / pixels * 1e6,
            "peak_mb": peak_megabytes(),
            "epochs": epochs_of(project.folder),
            "threshold": json.loads((project.folder / "model.json").read_text())["threshold"],
        }


def main() -> None:
    """Run every seed in a fresh process and print rows, mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="Quick on a CPU")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs-factor", type=float, default=1)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--training", type=json.loads, default={}, help="changed fields of the form, as JSON")
    parser.add_argument("--augmentation", type=json.loads, default={}, help="changed fields of the form, as JSON")
    given = parser.parse_args()
    if len(given.seeds) == 1:
        factor, changes = given.epochs_factor, given.training
        row = run(given.data, given.preset, given.seeds[0], given.tune, factor, changes, given.augmentation)
        print(json.dumps({key: round(value, 4) for key, value in row.items()}))
        return
    rows = [one_seed(given, seed) for seed in given.seeds]
    for key in (
        "foreground_iou",
        "otsu",
        "pixel_forest",
        "train_cpu_s",
        "train_wall_s",
        "predict_cpu_s_per_mpx",
        "peak_mb",
    ):
        values = [row[key] for row in rows]
        print(f"{key:24} mean {np.mean(values):8.3f}   standard deviation {np.std(values, ddof=1):7.3f}")


def one_seed(given: argparse.Namespace, seed: int) -> dict:
    """Measure one seed in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.unet_segmentation", str(given.data), "--seeds", str(seed)]
    command += ["--preset", given.preset, "--epochs-factor", str(given.epochs_factor)]
    command += ["--training", json.dumps(given.training), "--augmentation", json.dumps(given.augmentation)]
    command += ["--tune"] * given.tune
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    print(line, flush=True)
    return json.loads(line)


if __name__ == "__main__":
    main()
