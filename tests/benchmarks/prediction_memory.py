"""Peak memory and CPU time of segmenting one image that grows from 1 to 64 megapixels.

    python -m tests.benchmarks.prediction_memory [--sides 1024 8192] [--channels 1] [--dtype uint8] [--probabilities]

An untrained unet(half_resolution=True) costs what a trained one does. Each image is an uncompressed TIFF in a temporary
folder, predicted by `Task.predict` in a process of its own. The last line is the growth of
the peak from the first to the last image per pixel and channel, which must stay below 4 bytes. The peak counts the
pages of the image's file that were read (it is mapped into memory), which the system can take back at any time.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from utils.runtime import load_tensorflow


def prepare(folder: Path, side: int, channels: int, dtype: str) -> None:
    """Write an untrained model and one image of noise, in a process of its own: a child's peak includes its parent."""
    load_tensorflow()
    import numpy as np
    import tifffile

    from tests.conftest import save_untrained

    save_untrained(folder / "model", channels=channels, filters=16, pooling_steps=2, half_resolution=True)
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rgb = channels == 3
    kind = {"photometric": "rgb"} if rgb else {"photometric": "minisblack", "metadata": {"axes": "CYX"}}
    image = rng.integers(0, 256, (side, side, 3) if rgb else (channels, side, side), np.uint8).astype(dtype)
    tifffile.imwrite(folder / "images" / "noise.tif", image, **kind)


def segment(folder: Path, probabilities: bool) -> dict:
    """Predict the image; peak in bytes and CPU-seconds without the start of TensorFlow."""
    load_tensorflow()
    from utils.tasks.registry import UNET

    before = time.process_time()
    UNET.predict(folder / "model", folder / "images", folder / "result", save_probabilities=probabilities)
    seconds = time.process_time() - before
    return {"peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "cpu_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--dtype", default="uint8")
    parser.add_argument("--probabilities", action="store_true")
    parser.add_argument("--step", choices=["prepare", "segment"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "prepare":
        prepare(given.folder, given.sides[0], given.channels, given.dtype)
    elif given.step == "segment":
        print(json.dumps(segment(given.folder, given.probabilities)))
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Run each size in processes of its own and print the table."""
    peaks = []
    for side in given.sides:
        with tempfile.TemporaryDirectory() as folder:
            options = ["--folder", folder, "--sides", str(side), "--channels", str(given.channels)]
            options += ["--dtype", given.dtype, *(["--probabilities"] if given.probabilities else [])]
            command = [sys.executable, "-m", "tests.benchmarks.prediction_memory", *options, "--step"]
            subprocess.run([*command, "prepare"], check=True)
            output = subprocess.run([*command, "segment"], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        peaks.append(found["peak"])
        megapixels = side**2 / 1e6
        per_megapixel = found["cpu_seconds"] / megapixels
        print(
            f"{megapixels:6.1f} megapixels: peak {found['peak'] / 1e6:6.0f} MB, {per_megapixel:.2f} CPU-s per megapixel"
        )
    if len(peaks) > 1:
        values = given.channels * (given.sides[-1] ** 2 - given.sides[0] ** 2)
        print(f"growth: {(peaks[-1] - peaks[0]) / values:.2f} bytes per pixel and channel")


if __name__ == "__main__":
    main()
