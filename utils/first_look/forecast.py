"""How long a training takes on this computer and how much memory it needs: estimated, without training anything."""

import os
import time
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import psutil

from utils.first_look.headers import Header
from utils.runtime import in_words

PRESETS = ("Try out", "Quick on a CPU", "Default")
DEFAULT = PRESETS[-1]
# Pixels that a network learns from in all, as the rules of the tasks say; "Default" has 100 rounds of all images.
WORK = {
    "unet_segmentation": {"Quick on a CPU": 150e6, "Try out": 16e6},
    "stardist_segmentation": {"Quick on a CPU": 500e6, "Try out": 40e6},
}
ROUNDS = {"Try out": 15, "Quick on a CPU": 120, DEFAULT: 100}  # of a classifier
UNLIMITED, FEWEST_STEPS, MOST_STEPS = 100, 50, 200  # rounds of "Default", and batches of each
QUICK_STEPS, QUICK_BATCH = (8, 30), 32  # of a round of a classifier
FEWEST_BATCHES, LARGE_BATCH, SMALL_BATCH, FEW = 30, 16, 8, 16  # of its other rounds; images of a batch; few images
QUICK_PIXELS = 480e6
LARGEST_CROP = 128  # pixels: larger images are made smaller
BATCH, PATCH = 4, 256  # of "Default" where images are large enough
# Seconds of one core, as fast as `REFERENCE`, for a million pixels that are learned from: figures of the README, and
# what larger networks take more.
SECONDS = {
    "unet_segmentation": {"quick": 0.8, DEFAULT: 1.8},
    "stardist_segmentation": {"quick": 1.2, DEFAULT: 3.6},
    "classification": {"quick": 0.25, DEFAULT: 0.7},
}
REFERENCE = 100e9  # floating-point operations a second of one core, in products of small matrices
FASTEST = 2.5  # times as fast: some computers multiply matrices on special hardware, which training does not use
TOGETHER = 0.8  # exponent: two cores are 1.7 times as fast as one, eight 5 times
BEFORE = 25  # seconds for loading the software, reading and looking at the images
MEMORY = {"unet_segmentation": 1.0, "stardist_segmentation": 1.3, "classification": 1.0}  # gigabytes without images
MASK_BYTES, FLOAT_BYTES = 2, 4
SMALL, PRODUCTS, REPEATED = 64, 1000, 5  # side of the matrices, products that are timed at once, how often


class Forecast(NamedTuple):
    """What a training with a preset takes: seconds ("Default" may stop earlier), and gigabytes of memory."""

    preset: str
    seconds: float
    gigabytes: float

    @property
    def time(self) -> str:
        """The time in words, such as "about 4 minutes"."""
        words = in_words(self.seconds)
        return f"up to {words}" if self.preset == DEFAULT else words


def forecasts(notebook: str, headers: Sequence[Header], n: int, fast: float) -> list[Forecast]:
    """What each preset takes in a notebook that trains; empty for others.

    Parameters
    ----------
    headers
        Of some of the images.
    n
        Number of images in all.
    fast
        How many times as fast as the reference the computer is, see `speed`.
    """
    if notebook not in SECONDS or not headers or not n:
        return []
    gigabytes = MEMORY[notebook] + _gigabytes_of_images(headers, n)
    seconds = [BEFORE + _seconds(notebook, one, headers, n) / fast for one in PRESETS]
    seconds[-1] = max(seconds)  # it is said how long "Default" may take at most: no less than the quick ones
    return [Forecast(preset, one, gigabytes) for preset, one in zip(PRESETS, seconds, strict=True)]


def _seconds(notebook: str, preset: str, headers: Sequence[Header], n: int) -> float:
    """Seconds of training on one core of the reference."""
    area = float(np.mean([one.height * one.width for one in headers]))
    pace = SECONDS[notebook]["quick" if preset != DEFAULT else DEFAULT] / 1e6
    if notebook == "classification":
        return pace * _looked_at(preset, min(area, LARGEST_CROP**2), n)
    if preset != DEFAULT:
        return pace * WORK[notebook][preset]
    patch = min(PATCH**2, area)
    return pace * UNLIMITED * float(np.clip(n * area, FEWEST_STEPS * BATCH * patch, MOST_STEPS * BATCH * patch))


def _looked_at(preset: str, area: float, n: int) -> float:
    """Pixels that a classifier learns from in all."""
    if preset != "Quick on a CPU":
        batch = SMALL_BATCH if n < FEW else LARGE_BATCH if preset == DEFAULT else QUICK_BATCH
        return ROUNDS[preset] * max(n, FEWEST_BATCHES * min(batch, max(SMALL_BATCH, n))) * area
    steps = np.clip(QUICK_PIXELS / (area * QUICK_BATCH * ROUNDS[preset]), *QUICK_STEPS)
    return float(ROUNDS[preset] * steps * QUICK_BATCH * area)


def _gigabytes_of_images(headers: Sequence[Header], n: int) -> float:
    """Memory for all images with their masks, as they are and as numbers for the network."""
    each = [one.height * one.width * (one.channels * (one.bits / 8 + FLOAT_BYTES) + MASK_BYTES) for one in headers]
    return n * float(np.mean(each)) / 1e9


@cache
def speed() -> float:
    """How many times as fast as one core of the reference this computer is; other programs that run play no part."""
    matrix, product = np.ones((2, SMALL, SMALL), np.float32)  # so small that one core multiplies them
    taken = []
    for _ in range(REPEATED):
        start = time.thread_time()
        for _ in range(PRODUCTS):
            np.matmul(matrix, matrix, product)
        taken.append(time.thread_time() - start)
    of_core = 2 * SMALL**3 * PRODUCTS / max(min(taken), 1e-6)
    return min(of_core / REFERENCE, FASTEST) * _cores() ** TOGETHER


def _cores() -> int:
    """Cores that this program may use; two threads of one core are one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def free_gigabytes() -> float:
    """Memory that is free now."""
    return psutil.virtual_memory().available / 1e9
