"""CPU time and accuracy of the StarDist notebook's engine on real nuclei.

    python -m tests.benchmarks.stardist_segmentation DATA
        [--preset "Quick on a CPU"] [--seeds 0 1 2] [--epochs-factor 4]

DATA holds train/ and test/, each with images/ and masks/ of the same file names (DSB2018 fluorescence: 80 and 20
images). All training images are used, a tenth of them for validation; `--tune` instead sets 16 of them aside (others
for each seed) and scores on these, for choosing settings. Each seed runs in a process of its own. CPU-seconds are user
and system time of all its processes, of the training and of the choice of thresholds apart. The prediction's ratio is
CPU time of this project's prediction, divided by that of StarDist's own predict_instances with csbdeep's
normalisation, on the same images in the same run, in turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import (
    classical_scores,
    copy,
    cpu_seconds,
    epochs_of,
    file_names,
    peak_megabytes,
    scale_epochs,
)

HELD_OUT = 16
KEYS = (
    "AP50",
    "AP70",
    "watershed",
    "train_cpu_s",
    "train_wall_s",
    "threshold_cpu_s",
    "predict_ratio",
    "predict_cpu_s_per_mpx",
)
KEYS += ("peak_mb",)


def lay_out(data: Path, tune: bool, seed: int, folder: Path) -> tuple[Path, Path]:
    """Folders of training and of test images; with `tune` copies of parts of the training images."""
    if not tune:
        return data / "train", data / "test"
    names = file_names(data / "train" / "images")
    order = np.random.default_rng(100 + seed).permutation(names).tolist()
    copy(data / "train", folder / "train", order[HELD_OUT:])
    copy(data / "train", folder / "test", order[:HELD_OUT])
    return folder / "train", folder / "test"


def forms(train: Path, folder: Path, given: argparse.Namespace, seed: int) -> dict:
    """Values of the notebook's forms for this run."""
    from tests.notebook_forms import default_values

    values = default_values(
        "stardist_segmentation",
        {
            "data": {
                "training_source": str(train / "images"),
                "training_target": str(train / "masks"),
                "percentage_test": 0,
                "model_path": str(folder),
                "model_name": "model",
            },
            "training": {"preset": given.preset, "seed": seed, **given.training},
            "augmentation": given.augmentation,
        },
    )
    return {"overrides": {form: values[form] for form in ("data", "augmentation", "training")}}


def run(given: argparse.Namespace, seed: int) -> dict:
    """Train and score once; returns the measurements."""
    import stardist.models  # noqa: F401  imported before the clock starts: a notebook pays for it in its set-up

    from utils.tasks.held_out import evaluate, find_test_set
    from utils.tasks.registry import STARDIST
    from utils.training.progress import LiveProgress

    spent = timed_thresholds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = lay_out(given.data, given.tune, seed, folder)
        parameters = forms(train, folder, given, seed)
        project = STARDIST.open(parameters["overrides"]["data"], seed)
        scale_epochs(STARDIST, project, parameters, given.epochs_factor)
        progress = LiveProgress()
        start, wall = cpu_seconds(), time.monotonic()
        STARDIST.train(project, parameters, [progress])
        progress.close()
        trained, elapsed = cpu_seconds() - start - spent[0], time.monotonic() - wall
        test_set = find_test_set(STARDIST, project.folder, str(test / "images"), str(test / "masks"))
        result = evaluate(STARDIST, project.folder, test_set)
        beside = classical_scores(STARDIST, result, project.examples("training"), seed)
        ours, theirs = prediction(result.predictor, test_set.examples)
        return {
            "seed": seed,
            "AP50": result.table["AP"][0],
            "AP70": result.table["AP"][4],
            "watershed": beside["watershed"],
            "AP_per_image": result.scores.per_image["AP"].mean(),
            "train_cpu_s": trained,
            "train_wall_s": elapsed,
            "threshold_cpu_s": spent[0],
            "predict_ratio": ours / theirs,
            "predict_cpu_s_per_mpx": ours / sum(one.mask.size for one in test_set.examples) * 1e6,
            "peak_mb": peak_megabytes(),
            "epochs": epochs_of(project.folder),
        }


def timed_thresholds() -> list[float]:
    """CPU-seconds of each choice of thresholds from now on, which are appended to the list that is returned."""
    from utils.tasks.objects import train as stardist_training

    spent, choose = [], stardist_training.optimise_thresholds

    def timed(*arguments) -> None:
        start = cpu_seconds()
        choose(*arguments)
        spent.append(cpu_seconds() - start)

    stardist_training.optimise_thresholds = timed
    return spent


def prediction(segmenter, examples) -> tuple[float, float]:
    """CPU-seconds of this project's prediction and of StarDist's own, image by image in turns, everything compiled."""
    from csbdeep.utils import normalize

    def ours(image):
        segmenter.find(image)

    def theirs(image):
        segmenter.model.predict_instances(normalize(image, 1, 99.8, axis=(0, 1)), axes="YXC")

    for one in examples:
        theirs(one.image.array)  # Keras compiles for each new size of image
    spent = {ours: 0.0, theirs: 0.0}
    for one in examples:
        for predict in spent:
            start = cpu_seconds()
            predict(one.image.array)
            spent[predict] += cpu_seconds() - start
    return spent[ours], spent[theirs]


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
        print(json.dumps({key: round(float(value), 4) for key, value in run(given, given.seeds[0]).items()}))
        return
    rows = [one_seed(given, seed) for seed in given.seeds]
    for key in KEYS:
        values = [row[key] for row in rows]
        print(f"{key:24} mean {np.mean(values):8.3f}   standard deviation {np.std(values, ddof=1):7.3f}")


def one_seed(given: argparse.Namespace, seed: int) -> dict:
    """Measure one seed in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.stardist_segmentation", str(given.data), "--seeds", str(seed)]
    command += ["--preset", given.preset, "--epochs-factor", str(given.epochs_factor)]
    command += ["--training", json.dumps(given.training), "--augmentation", json.dumps(given.augmentation)]
    command += ["--tune"] * given.tune
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    print(line, flush=True)
    return json.loads(line)


if __name__ == "__main__":
    main()
