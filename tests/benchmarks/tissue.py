"""The tissue sample with "Quick on a CPU": Dice per class, error of the fibrosis proportion, on the test patients.

    python -m tests.benchmarks.tissue [--seeds 0 1 2] [--training '{"number_of_epochs": 60}'] [--validation]

With `--validation` the validation patients are scored in place of the test patients, for choosing settings.
"""

import argparse
import json
import tempfile
import time

import numpy as np

from tests.notebook_forms import default_values
from utils.samples import SAMPLES


def main() -> None:
    """Print one row per seed and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--training", type=json.loads, default={})
    parser.add_argument("--augmentation", type=json.loads, default={})
    parser.add_argument("--validation", action="store_true")
    given = parser.parse_args()
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(folder, seed, given)), flush=True)


def run(folder: str, seed: int, given: argparse.Namespace) -> dict:
    """Train and score once."""
    from utils.tasks.held_out import evaluate, find_test_set  # loads TensorFlow
    from utils.tasks.registry import UNET
    from utils.tasks.task import TestSet

    sample = SAMPLES["tissue"]
    data = {name: sample[name] for name in ("training_source", "training_target")}
    data |= {"class_names": "glass, tissue, fibrosis", "group_rule": "{group}_*", "model_path": folder}
    values = {
        "data": data,
        "training": {"preset": "Quick on a CPU", "seed": seed, **given.training},
        "augmentation": given.augmentation,
    }
    forms = default_values("unet_segmentation", values)
    start = time.monotonic()
    project = UNET.open(forms["data"], seed)
    UNET.train(project, {"overrides": forms})
    trained = time.monotonic() - start
    test_set = find_test_set(UNET, project.folder)
    if given.validation:
        test_set = TestSet(project.examples("validation"), "validation", independent=False)
    result = evaluate(UNET, project.folder, test_set)
    confusions = result.scores.confusions
    true, predicted = (confusions.sum(axis=axis)[:, 1:] for axis in (2, 1))
    share = 100 * np.abs(true[:, 1] / true.sum(axis=1) - predicted[:, 1] / predicted.sum(axis=1))
    totals = {name: round(value, 3) for name, value in result.scores.totals.items() if "iou" not in name}
    return {"seed": seed, "seconds": round(trained), "fibrosis_of_tissue_mae": round(float(share.mean()), 2), **totals}


if __name__ == "__main__":
    main()
