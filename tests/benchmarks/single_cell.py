"""Latency of classifying one cell, and time per cell in batches, from array to (class, probability).

    python -m tests.benchmarks.single_cell [MODEL_FOLDER] [--side 64] [--channels 1] [--calls 500]

Without a folder: an untrained small CNN for 8 classes, which costs what a trained one does. Wall time, as a microscope
waits for it: measure on an idle machine. The crops are random 16-bit images with sides of --side pixels.
"""

import argparse
import tempfile
import time
from pathlib import Path

from utils.runtime import load_tensorflow

BATCHES = (1, 16, 64, 256)


def write_untrained(folder: Path, channels: int, side: int, per: str = "image") -> None:
    """Write the model folder of an untrained small CNN for 8 classes."""
    import pandas as pd

    from utils.training import model_folder, networks

    arguments = {"channels": channels, "classes": 8, "network": networks.SMALL, "filters": 16, "levels": 4}
    arguments["half_resolution"] = True  # as "Quick on a CPU" makes it
    normalisation = {"kind": "percentile", "low": 1, "high": 99.8, "per": per, "channels": "separate"}
    if per == "training set":
        normalisation["range"] = [[0.0] * channels, [40000.0] * channels]
    description = {
        "task": "classification",
        "network": arguments,
        "channels": [f"channel {i + 1}" for i in range(channels)],
        "classes": [{"id": i, "name": f"phase {i}", "value": f"phase {i}", "group": None} for i in range(8)],
        "normalisation": normalisation,
        "temperature": 1.5,
        "input": {"size": [side, side], "fit": "pad"},
        "pixel_size_um": None,
    }
    history = pd.DataFrame({"epoch": [1], "loss": [2.0], "val_loss": [2.0], "learning_rate": [1e-3]})
    model_folder.save_model(folder, networks.classifier(**arguments), description, history)


def measure(folder: Path, side: int, channels: int, calls: int) -> None:
    """Print median and 95th percentile of single calls, and milliseconds per cell in batches."""
    import numpy as np

    from utils.tasks.classes.single_cell import SingleCell

    start = time.perf_counter()
    classify = SingleCell(folder)
    print(f"loading and warming up: {time.perf_counter() - start:.1f} s")
    crops = list(np.random.default_rng(0).integers(0, 60000, (calls, side, side, channels)).astype(np.uint16))
    durations = [_duration(lambda crop=crop: classify(crop)) for crop in crops]
    median, late = 1e3 * np.percentile(durations, [50, 95])
    print(f"one cell: median {median:.2f} ms, 95 % within {late:.2f} ms, first call {1e3 * durations[0]:.1f} ms")
    for n in BATCHES:
        repeats = max(3, calls // n // 4)
        block = (crops * (n // calls + 1))[:n]
        per_cell = np.median([_duration(lambda block=block: classify.many(block)) / n for _ in range(repeats)])
        print(f"batch of {n:3}: {1e3 * per_cell:.3f} ms per cell")


def _duration(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--per", choices=["image", "training set"], default="image", help="normalisation, untrained")
    given = parser.parse_args()
    load_tensorflow()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "model"
        if not given.folder:
            write_untrained(folder, given.channels, given.side, given.per)
        measure(folder, given.side, given.channels, given.calls)


if __name__ == "__main__":
    main()
