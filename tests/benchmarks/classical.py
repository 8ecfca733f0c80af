"""Scores and CPU time of the methods that the networks must beat, without any network.

    python -m tests.benchmarks.classical DATA [--most 40] [--seeds 0 1 2]

DATA holds train/ and test/, each with images/ and masks/ of the same stems. For pixels `--most` of the training images
are used, as in tests.benchmarks.unet_segmentation (RandomState(42).permutation of the sorted names; 0: all). For
objects, where masks are label images, all are.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.measure import cpu_seconds


def examples_of(data: Path, part: str, annotation: str) -> tuple[list, list[dict], str]:
    """Images of a part of the data, the classes of their masks, and the type of these."""
    from utils.data.examples import load_examples

    found = load_examples(data / part / "images", data / part / "masks", annotation=annotation)
    return found.examples, found.classes, found.mask_type


def timed(work: Callable) -> tuple:
    """What `work` returns, and the CPU-seconds that it took."""
    start = cpu_seconds()
    return work(), cpu_seconds() - start


def measured(fit: Callable, score: Callable, test: list) -> dict:
    """Scores of one method, CPU-seconds of its fit and, per megapixel, of its prediction."""
    predictor, spent = timed(fit)
    scores, predicting = timed(lambda: score(predictor))
    return {
        **scores,
        "fit_cpu_s": spent,
        "predict_cpu_s_per_mpx": predicting / sum(one.mask.size for one in test) * 1e6,
    }


def run(data: Path, most: int, seed: int) -> dict:
    """Scores of each method on the test images."""
    from utils.tasks.objects.classical import fit_watershed
    from utils.tasks.otsu import fit_otsu
    from utils.tasks.pixels.classical import fit_pixel_forest
    from utils.tasks.registry import STARDIST, UNET

    training, classes, mask_type = examples_of(data, "train", "classes")
    test = examples_of(data, "test", "classes")[0]
    training = sorted(training, key=lambda one: one.name)
    if most:
        training = [training[i] for i in np.random.RandomState(42).permutation(len(training))[:most]]

    def of_pixels(predictor) -> dict:
        totals = UNET.scores(predictor, test, classes).totals
        return {name: totals[name] for name in ("mean_foreground_iou", "mean_dice")}

    methods = {"otsu": fit_otsu} if len(classes) == 2 else {}
    methods |= {"pixel_forest": fit_pixel_forest}
    found = {
        name: measured(lambda fit=fit: fit(training, classes, seed), of_pixels, test) for name, fit in methods.items()
    }
    if mask_type == "instance labels":
        labelled, kinds, _ = examples_of(data, "train", "objects")
        wanted = examples_of(data, "test", "objects")[0]

        def of_objects(predictor) -> dict:
            ap = STARDIST.score_table(STARDIST.scores(predictor, wanted, kinds))["AP"]
            return {"AP50": ap[0], "AP70": ap[4]}

        found["watershed"] = measured(lambda: fit_watershed(labelled, kinds, seed), of_objects, wanted)
    return found


def main() -> None:
    """Print one line for each seed and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    for seed in given.seeds:
        for name, scores in run(given.data, given.most, seed).items():
            row = {"seed": seed, "method": name} | {key: round(float(value), 4) for key, value in scores.items()}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
