"""From how many validation images a temperature helps: python -m tests.benchmarks.calibration.

Networks whose right temperature is known are calibrated on few simulated validation images. Printed is by how many
percentage points their probabilities are off on fresh images (expected calibration error), mean of many draws, and in
brackets the share of draws, in percent, in which the fitted temperature made them worse by more than one point.
"""

import argparse

import numpy as np
from scipy.special import softmax

from utils.metrics.calibration import apply, expected_calibration_error, fit_temperature

NUMBERS = (4, 8, 12, 20, 30, 50, 100, 200)
RIGHT = (0.7, 1.0, 1.5, 2.5)  # above 1: the network is surer than it should be
CLASSES = (2, 4, 8)
FRESH = 5000
SPREAD = 2.5  # of the honest logits: about 85 % of the images are right, of two classes as of eight


def images(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Honest logits (n, classes) and true classes (n,) drawn from the probabilities that they stand for."""
    main = rng.integers(classes, size=n)
    honest = rng.normal(0, 1, (n, classes)) + SPREAD * rng.gamma(2, 0.6, (n, 1)) * np.eye(classes)[main]
    y = (softmax(honest, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return honest, np.minimum(y, classes - 1)


def off(logits: np.ndarray, y: np.ndarray, temperature: float) -> float:
    """Expected calibration error in percentage points."""
    return 100 * expected_calibration_error(y, apply(logits, temperature))


def draws_of(rng: np.random.Generator, right: float, classes: int, n: int, draws: int) -> tuple[float, float, float]:
    """Points off without and with a temperature fitted on n images, and the share of draws that it made worse."""
    honest, y = images(rng, FRESH, classes)
    before, after = off(right * honest, y, 1.0), []
    for _ in range(draws):
        seen, truth = images(rng, n, classes)
        after.append(off(right * honest, y, fit_temperature(right * seen, truth)))
    return before, float(np.mean(after)), float(np.mean(np.array(after) > before + 1))


def main() -> None:
    """Print a table for each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    draws, rng = parser.parse_args().draws, np.random.default_rng(0)
    print("|".join(["", "classes", "right temperature", "without", *(f"n = {n}" for n in NUMBERS), ""]))
    print("|---" * (3 + len(NUMBERS)) + "|")
    for classes in CLASSES:
        for right in RIGHT:
            rows = [draws_of(rng, right, classes, n, draws) for n in NUMBERS]
            cells = [f"{after:.1f} ({100 * worse:.0f})" for _, after, worse in rows]
            print("|".join(["", str(classes), f"{right:g}", f"{rows[0][0]:.1f}", *cells, ""]), flush=True)


if __name__ == "__main__":
    main()
