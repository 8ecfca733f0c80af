"""How often 95 % intervals of few images hold the true score: python -m tests.benchmarks.intervals.

Test sets are drawn from distributions whose true score is known; printed is the share of them, in percent, whose
interval holds it, by the number of images (or of patients) and the true score. At a true score of 1 every interval
holds it, and the lower end says how much is left open.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.stats import beta, norm

from utils.metrics.intervals import difference, estimate, mean_of

NUMBERS, SCORES = (5, 12, 30), (0.5, 0.9, 1.0)
Draw = Callable[[np.random.Generator, int, float], tuple[float, float]]


def _ratio(sums: np.ndarray) -> np.ndarray:
    missing = np.full(sums.shape[:-1], np.nan)
    return np.divide(sums[..., 0], sums[..., 1], out=missing, where=sums[..., 1] > 0)


def _one(found: np.ndarray, number: np.ndarray | float = 1.0) -> tuple[float, float]:
    low, high = estimate(np.column_stack([found, np.broadcast_to(number, found.shape)]), _ratio).ends
    return float(low[0]), float(high[0])


def _graded(rng: np.random.Generator, n: int, score: float, likeness: float) -> np.ndarray:
    """Scores of n images: beta distribution, the less alike the smaller `likeness` (the sum of its parameters)."""
    return np.ones(n) if score == 1 else rng.beta(score * likeness, (1 - score) * likeness, n)


def accuracy(rng: np.random.Generator, n: int, score: float) -> tuple[float, float]:
    """Share of images that are right."""
    return _one(rng.random(n) < score)


def balanced(*weights: int) -> Draw:
    """Balanced accuracy where the classes have images in these proportions."""

    def draw(rng: np.random.Generator, n: int, score: float) -> tuple[float, float]:
        ends = np.round(np.cumsum(weights) / sum(weights) * (n - len(weights))).astype(int) + np.arange(len(weights))
        y = np.searchsorted(ends, np.arange(n))  # at least one image of each class
        answers = np.zeros((n, len(weights), 2))
        answers[np.arange(n), y] = np.column_stack([rng.random(n) < score, np.ones(n)])
        low, high = mean_of(estimate(answers, _ratio)).ends
        return float(low[0]), float(high[0])

    return draw


def per_image(likeness: float) -> Draw:
    """Mean of the images' scores, such as IoU."""
    return lambda rng, n, score: _one(_graded(rng, n, score, likeness))


def pooled(fewest: int, most: int, likeness: float) -> Draw:
    """Share of all objects of all images, or of all images of all patients, that are right."""

    def draw(rng: np.random.Generator, n: int, score: float) -> tuple[float, float]:
        number = rng.integers(fewest, most + 1, n)
        return _one(rng.binomial(number, _graded(rng, n, score, likeness)), number)

    return draw


def paired(likeness: float | None, correlation: float = 0.5) -> Draw:
    """Difference of two models that are alike good on the same images (plus the score, so that this is the truth)."""

    def draw(rng: np.random.Generator, n: int, score: float) -> tuple[float, float]:
        noise = np.sqrt(correlation) * rng.normal(size=n) + np.sqrt(1 - correlation) * rng.normal(size=(2, n))
        found = norm.cdf(noise)
        if likeness is None or score == 1:
            found = found < score
        else:
            found = beta.ppf(found, score * likeness, (1 - score) * likeness)
        low, high = difference(*(estimate(np.column_stack([one, np.ones(n)]), _ratio) for one in found))
        return score + float(low[0]), score + float(high[0])

    return draw


CASES: dict[str, Draw] = {
    "share of images that are right (accuracy)": accuracy,
    "balanced accuracy, 2 classes, images 2 : 1": balanced(2, 1),
    "balanced accuracy, 4 classes, images 6 : 3 : 2 : 1": balanced(6, 3, 2, 1),
    "mean of the images' IoU, standard deviation 0.07 at 0.9": per_image(20),
    "mean of the images' IoU, standard deviation 0.12 at 0.9": per_image(5),
    "5 to 60 objects an image, pooled, standard deviation 0.07 at 0.9": pooled(5, 60, 20),
    "1 to 10 images a patient, patients differ by 0.13 at 0.9": pooled(1, 10, 4),
    "mean of the images' IoU, standard deviation 0.17 at 0.9": per_image(2),
    "5 to 60 objects an image, pooled, one image in ten fails": pooled(5, 60, 1),
    "difference of two models, images right or wrong": paired(None),
    "difference of two models, IoU": paired(10),
}


def intervals(draw: Draw, n: int, score: float, draws: int, seed: int = 0) -> np.ndarray:
    """Ends (draws, 2) of the intervals of test sets of n images."""
    rng = np.random.default_rng((seed, n, int(100 * score)))
    return np.array([draw(rng, n, score) for _ in range(draws)])


def coverage(case: str, n: int, score: float, draws: int, seed: int = 0) -> float:
    """Share of the intervals of test sets of n images that hold the true score."""
    low, high = intervals(CASES[case], n, score, draws, seed).T
    return float(((low <= score + 1e-9) & (high >= score - 1e-9)).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    columns = [f"{score:g}, n = {n}" for score in SCORES[:2] for n in NUMBERS]
    print("|".join(["", "score", *columns, *(f"low end at 1, n = {n}" for n in NUMBERS), ""]))
    print("|---" * (2 + len(columns) + len(NUMBERS) - 1) + "|")
    for case, draw in CASES.items():
        held = [f"{100 * coverage(case, n, score, draws):.1f}" for score in SCORES[:2] for n in NUMBERS]
        lowest = [f"{intervals(draw, n, 1.0, 1)[0, 0]:+.2f}".lstrip("+") for n in NUMBERS]
        print("|".join(["", case, *held, *lowest, ""]), flush=True)


if __name__ == "__main__":
    main()
