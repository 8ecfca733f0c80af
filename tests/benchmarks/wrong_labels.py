"""How well wrong labels and near-duplicates are found that were planted, and at what cost.

    python -m tests.benchmarks.wrong_labels DATA [--flipped 0.1] [--seed 0] [--one-range]
    python -m tests.benchmarks.wrong_labels DATA --copies

DATA holds a folder for each class: data_samples/mitosis/train, or the Jurkat cells (with --one-range: their brightness
tells phases apart, so all images share one range). `--flipped` is the share of the images that get another class.
`--copies` plants copies of 60 images instead (flipped, turned, rescaled by 0.6 to 1.6, brightness changed) and looks
for them. CPU-seconds are user and system time of all processes.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.transform import resize

from tests.benchmarks.measure import cpu_seconds

COPIES = 60


def description(crop_set, one_range: bool) -> dict:
    """What `label_issues.suspects` needs of model.json."""
    from utils.images.normalise import NORMALISATION, percentiles
    from utils.tasks.classes.checks import usual_size

    normalisation = dict(NORMALISATION)
    if one_range:
        pixels = [one.image.array.reshape(-1, 1, one.image.array.shape[-1]) for one in crop_set.crops]
        low, high = percentiles(np.concatenate(pixels), 1, 99.8)
        normalisation |= {"per": "training set", "range": [low.tolist(), high.tolist()]}
    size = usual_size([one.image.array.shape[:2] for one in crop_set.crops])
    return {"classes": crop_set.classes, "normalisation": normalisation, "input": {"size": list(size), "fit": "pad"}}


def wrong_labels(crop_set, share: float, seed: int, one_range: bool) -> None:
    """Flip labels, look for them, print precision, recall and cost."""
    from utils.tasks.classes.wrong_labels import suspects

    rng, n_classes = np.random.default_rng(seed), len(crop_set.classes)
    chosen = set(rng.choice(len(crop_set.crops), round(share * len(crop_set.crops)), replace=False).tolist())
    crops = [
        replace(one, class_id=int((one.class_id + rng.integers(1, n_classes)) % n_classes)) if i in chosen else one
        for i, one in enumerate(crop_set.crops)
    ]
    flipped = {crop_set.crops[i].name for i in chosen}
    start, wall = cpu_seconds(), time.monotonic()
    found = set(suspects(crops, description(crop_set, one_range), seed)["file"])
    spent = f"{cpu_seconds() - start:.0f} CPU-s, {time.monotonic() - wall:.0f} s"
    hits = len(found & flipped)
    rates = f"precision {hits / max(len(found), 1):.2f}, recall {hits / len(flipped):.2f}" if flipped else ""
    share_found = f"{100 * len(found) / len(crops):.1f} % of {len(crops)} images suspected"
    print(f"flipped {len(flipped)}: {share_found}; {rates}; {spent}")


def copies(crop_set, seed: int) -> None:
    """Plant copies, look for them, print how many were found and how many other images were named."""
    from utils.data.copies import near_duplicates

    rng, planted = np.random.default_rng(seed), []
    for i in rng.choice(len(crop_set.crops), COPIES, replace=False):
        one = crop_set.crops[i]
        array = np.rot90(one.image.array.astype(np.float32), int(rng.integers(4)))
        array = array[:, ::-1] if rng.random() < 0.5 else array
        size = np.round(np.array(array.shape[:2]) * rng.uniform(0.6, 1.6)).astype(int)
        array = (resize(array, size, preserve_range=True) * rng.uniform(0.6, 1.5)).astype(np.float32)
        planted.append(replace(one, name=f"copy of {one.name}", image=replace(one.image, array=array)))
    start = cpu_seconds()
    pairs = near_duplicates([*crop_set.crops, *planted])
    spent = cpu_seconds() - start
    wanted = {(one.name.removeprefix("copy of "), one.name) for one in planted}
    found = {
        tuple(sorted(pair, key=lambda name: name.startswith("copy of ")))
        for pair in zip(pairs.file_a, pairs.file_b, strict=True)
    }
    others = {name for pair in found - wanted for name in pair}
    print(
        f"{len(found & wanted)} of {COPIES} copies found, {len(others)} of {len(crop_set.crops)} other images named; "
        f"{spent:.1f} CPU-s"
    )


def main() -> None:
    """Read the images and measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--flipped", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-range", action="store_true")
    parser.add_argument("--copies", action="store_true")
    given = parser.parse_args()
    from utils.data.crops import load_crops

    crop_set = load_crops(given.data.resolve())
    if given.copies:
        copies(crop_set, given.seed)
    else:
        wrong_labels(crop_set, given.flipped, given.seed, given.one_range)


if __name__ == "__main__":
    main()
