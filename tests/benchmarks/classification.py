"""CPU time and scores of the classification notebook's engine.

    python -m tests.benchmarks.classification DATA [--preset "Quick on a CPU"] [--seeds 0 1 2 3 4] [--tune]

DATA holds train/ and test/ with a folder for each class (imaging flow cytometry of Jurkat cells, 7 phases of the cell
cycle: 682 and 228 images), or is the sample data_samples/mitosis. A tenth of train/ is for validation. `--tune` scores
on a fifth of train/ that is set aside (another fifth for each seed) and leaves test/ alone: for choosing settings.
Every field that the data can choose is left to them, unless --training or --augmentation names it.
Each seed runs in a process of its own. CPU-seconds are user and system time of all its processes, of fingerprint,
training and forest.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import cpu_seconds, peak_megabytes
from tests.notebook_forms import default_values

KEYS = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "groups",
    "network",
    "network_accuracy",
    "forest",
    "forest_accuracy",
)
KEYS += ("share_of_network", "train_cpu_s", "train_wall_s", "peak_mb")


def run(given: argparse.Namespace, seed: int) -> dict:
    """Train and score once; returns the measurements."""
    import tensorflow  # noqa: F401  imported before the clock starts: a notebook pays for it in its set-up

    from utils.tasks.held_out import evaluate, find_test_set
    from utils.tasks.registry import CLASSIFIER

    with tempfile.TemporaryDirectory() as name:
        forms = default_values(
            "classification",
            {
                "data": {
                    "training_source": str(given.data / "train"),
                    "percentage_test": 20 if given.tune else 0,
                    "model_path": name,
                },
                "training": {"preset": given.preset, "seed": seed, **given.training},
                "augmentation": given.augmentation,
            },
        )
        project = CLASSIFIER.open(forms["data"], seed)
        start, wall = cpu_seconds(), time.monotonic()
        parameters = {"overrides": {form: forms[form] for form in ("data", "augmentation", "training")}}
        CLASSIFIER.train(project, parameters)
        trained, elapsed = cpu_seconds() - start, time.monotonic() - wall
        test_set = find_test_set(CLASSIFIER, project.folder, "" if given.tune else str(given.data / "test"))
        result = evaluate(CLASSIFIER, project.folder, test_set)
        totals = result.table[result.table["class"] == ""].set_index(["level", "score"])["value"]
        parts = {"network": result.network, "forest": result.forest}
        return {
            "seed": seed,
            **{key: totals["classes", key] for key in KEYS[:3]},
            "groups": totals.get(("broad classes", "balanced_accuracy"), np.nan),
            **{key: np.nan if part is None else value_of(part, KEYS[0]) for key, part in parts.items()},
            **{f"{key}_accuracy": np.nan if part is None else value_of(part, KEYS[1]) for key, part in parts.items()},
            "share_of_network": result.predictor.share,
            "train_cpu_s": trained,
            "train_wall_s": elapsed,
            "peak_mb": peak_megabytes(),
        }


def value_of(scores, name: str) -> float:
    """Score of all classes together."""
    return scores.table.set_index(["level", "score", "class"])["value"]["classes", name, ""]


def main() -> None:
    """Run every seed in a fresh process and print rows, mean and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="Quick on a CPU")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
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
    command = [sys.executable, "-m", "tests.benchmarks.classification", str(given.data), "--seeds", str(seed)]
    command += ["--preset", given.preset, "--training", json.dumps(given.training)]
    command += ["--augmentation", json.dumps(given.augmentation)]
    command += ["--tune"] * given.tune
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    print(line, flush=True)
    return json.loads(line)


if __name__ == "__main__":
    main()
