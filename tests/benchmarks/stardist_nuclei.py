"""What a StarDist model trained on the synthetic sample `nuclei` gets on its own test images and on a real image.

    python -m tests.benchmarks.stardist_nuclei [--preset "Quick on a CPU"] [--seeds 0 1 2]

The real image (512 x 512 pixels, 2018 Data Science Bowl, in the stardist package) is never trained on. Prints AP at
IoU 0.5 and 0.7, pooled, and CPU-seconds of training and choice of thresholds, for each seed.
"""

import argparse
import json
import tempfile
from pathlib import Path

from tests.benchmarks.measure import cpu_seconds
from tests.notebook_forms import default_values


def run(preset: str, seed: int) -> dict:
    """Train and score once."""
    from utils.data import sample_makers
    from utils.tasks.held_out import evaluate, find_test_set
    from utils.tasks.registry import STARDIST

    whole = sample_makers.prepare("nuclei_whole")
    with tempfile.TemporaryDirectory() as name:
        given = {"data": {"model_path": name}, "training": {"preset": preset, "seed": seed}}
        forms = default_values("stardist_segmentation", given)
        parameters = {"overrides": {form: forms[form] for form in ("data", "augmentation", "training")}}
        project = STARDIST.open(forms["data"], seed)
        start = cpu_seconds()
        STARDIST.train(project, parameters)
        spent = cpu_seconds() - start
        row = {"seed": seed, "train_cpu_s": round(spent)}
        for what, places in (("synthetic", ("", "")), ("real", (whole["test_source"], whole["test_target"]))):
            test_set = find_test_set(STARDIST, Path(project.folder), *places)
            table = evaluate(STARDIST, project.folder, test_set).table
            row |= {f"{what} AP50": round(table["AP"][0], 3), f"{what} AP70": round(table["AP"][4], 3)}
    return row


def main() -> None:
    """Print a row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="Quick on a CPU")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    for seed in given.seeds:
        print(json.dumps(run(given.preset, seed)), flush=True)


if __name__ == "__main__":
    main()
