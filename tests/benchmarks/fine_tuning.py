"""Scores and CPU time of fine-tuning beside training from scratch, by number of labelled images.

    python -m tests.benchmarks.fine_tuning STARTING_MODEL SOURCE [TARGET] [--test SOURCE [TARGET]] --sizes 2,5,10

STARTING_MODEL is a model folder, SOURCE and TARGET the new images and their masks (no TARGET for a classifier), --test
the test images ("" as in the notebook: those of a sample, else a fifth set aside). --sizes are labelled images (of each
class), --repeats models of each size with other images and another seed. Prints a row for each model, then a table of
means and spread. CPU-seconds are user and system time of the whole process for training and scoring one model.
"""

import argparse
import json
import tempfile

from tests.benchmarks.measure import cpu_seconds
from tests.notebook_forms import default_values


def main() -> None:
    """Train every model of the curve and print what it scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("starting_model")
    parser.add_argument("data", nargs="+", help="folder of images, and that of masks")
    parser.add_argument("--test", nargs="+", default=["", ""])
    parser.add_argument("--sizes", default="2,5,10,20,40")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--preset", default="Quick on a CPU")
    parser.add_argument("--strategies", nargs="+", default=["two stages", "from scratch"])
    parser.add_argument("--training", type=json.loads, default={}, help="changed fields of the form, as JSON")
    parser.add_argument("--augmentation", type=json.loads, default={}, help="changed fields of the form, as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(given, folder)


def forms_of(given: argparse.Namespace, folder: str) -> dict:
    """Values of the notebook's forms."""
    source, target = [*given.data, ""][:2]
    test_source, test_target = [*given.test, ""][:2]
    values = default_values(
        "fine_tuning",
        {
            "data": {
                "training_source": source,
                "training_target": target,
                "model_path": folder,
                "percentage_test": 0 if test_source else 20,
            },
            "training": {"preset": given.preset, **given.training},
            "augmentation": given.augmentation,
            "curve": {"sizes": given.sizes, "repeats": given.repeats},
            "evaluation": {"test_source": test_source, "test_target": test_target},
        },
    )
    return {name: form for name, form in values.items() if name != "prediction"}


def measure(given: argparse.Namespace, folder: str) -> None:
    """Print a row for each model and a summary."""
    import pandas as pd

    from utils.fine_tuning.curve import Point, sizes_of, trained
    from utils.fine_tuning.page import curve_table
    from utils.fine_tuning.start import open_start
    from utils.fine_tuning.tuning import open_tuning, rate_from_scratch

    tuning = open_tuning(*open_start(given.starting_model), {"overrides": forms_of(given, folder)})
    unchanged = tuning.judge_unchanged()
    print("unchanged:", "cannot be asked" if unchanged is None else f"{unchanged.value:.3f}", flush=True)
    if "from scratch" in given.strategies:
        start = cpu_seconds()
        rate = rate_from_scratch(tuning)
        print(f"learning rate from scratch: {rate:.2e} ({cpu_seconds() - start:.0f} CPU-s)", flush=True)
    rows, curve = [], tuning.parameters["overrides"]["curve"]
    for repeat in range(given.repeats):
        for size in sizes_of(tuning, curve):
            for strategy in given.strategies:
                start = cpu_seconds()
                row = trained(tuning, Point(strategy, size, repeat))
                rows.append(row | {"cpu_s": round(cpu_seconds() - start, 1)})
                print(json.dumps({key: value for key, value in rows[-1].items() if key != "test"}), flush=True)
    table = pd.DataFrame(rows)
    print(curve_table(table).round(3).to_string(index=False))
    print(table.groupby("strategy")["cpu_s"].mean().round(1).to_string())


if __name__ == "__main__":
    main()
