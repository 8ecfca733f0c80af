"""Probabilities that mean what they say: of the images called with 80 %, about 80 % should be right.

Reference: Guo C, Pleiss G, Sun Y, Weinberger KQ (2017) On calibration of modern neural networks, ICML,
https://proceedings.mlr.press/v70/guo17a.html.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from scipy.stats import binomtest

from utils.metrics.confusion import ratio

BINS = 10
PRIOR_SD = 1.0  # of log(temperature): seven times sharper or flatter is hardly believed
LARGEST_LOG = 5.0  # the temperature is looked for between exp(-5) and exp(5)
FEWEST_IMAGES = 30  # validation images from which a temperature helps: tests/benchmarks/README.md
CHANCES = 400  # draws of what chance makes of probabilities that are right


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Temperature T that makes softmax(logits / T) fit the classes best; it never changes which class is largest.

    Give it validation images only: fitted on training images it says that the network may be sure of itself, fitted on
    test images it makes their probabilities look better than they are. The negative log-likelihood of Guo et al. is
    minimised together with a weak prior, log(T) normal about 0: a handful of validation images that are all right would
    otherwise make every probability 0 or 1. With hundreds of images the prior does not matter. T is above 0, and above
    1 it makes probabilities less sure; it is 1 where there is no image.

    Parameters
    ----------
    logits, y
        Scores before softmax (n, n_classes), and true class ids (n,).

    Raises
    ------
    ValueError
        If there is not one class id per row, or a logit is not finite.
    """
    logits, y = np.asarray(logits, dtype=np.float64), np.asarray(y)
    if logits.ndim != 2 or y.shape != logits.shape[:1] or not np.isfinite(logits).all():
        raise ValueError(f"logits must be finite, one row per class id; they are {logits.shape}, class ids {y.shape}")
    true = np.take_along_axis(logits, y[:, None], axis=1)[:, 0]

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        return float((logsumexp(scale * logits, axis=1) - scale * true).sum() + 0.5 * (log_t / PRIOR_SD) ** 2)

    best = minimize_scalar(loss, bounds=(-LARGEST_LOG, LARGEST_LOG), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x)) if len(y) else 1.0


def apply(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Calibrated probabilities (n, n_classes), float32: softmax(logits / temperature).

    ValueError unless the temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, not {temperature}")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1).astype(np.float32)


def undone(p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, n_classes) as they were before `apply` with this temperature."""
    return softmax(temperature * np.log(np.maximum(p, np.finfo(np.float32).tiny)), axis=1)


def calibration_curve(y: np.ndarray, p: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """How often the predicted class is right, by the probability that it was given.

    Parameters
    ----------
    y, p
        True class ids (n,) and probabilities (n, n_classes).
    bins
        Bins of equal width: (0, 1 / bins], ..., (1 - 1 / bins, 1].

    Returns
    -------
    DataFrame
        One row per bin that holds an image: from, to (its borders), images, probability (mean of the predicted
        class's), accuracy (share that is right), low, high (95 % Wilson interval of the accuracy: Wilson EB (1927) J Am
        Stat Assoc 22:209, doi:10.1080/01621459.1927.10502953).
    """
    sure = np.asarray(p, dtype=np.float64).max(axis=1)
    right = np.argmax(p, axis=1) == y
    number = np.clip(np.ceil(bins * sure).astype(int) - 1, 0, bins - 1)
    images, hits, total = (np.bincount(number, weights, bins) for weights in (None, right, sure))
    curve = pd.DataFrame({"from": np.arange(bins) / bins, "to": np.arange(1, bins + 1) / bins, "images": images})
    curve = curve.assign(probability=ratio(total, images), accuracy=ratio(hits, images))[images > 0]
    wilson = [binomtest(int(k), int(m)).proportion_ci(method="wilson") for k, m in zip(hits, images, strict=True) if m]
    return curve.assign(low=[one.low for one in wilson], high=[one.high for one in wilson]).reset_index(drop=True)


def expected_calibration_error(y: np.ndarray, p: np.ndarray, bins: int = BINS) -> float:
    """Mean distance between probability and accuracy, weighed by the images of each bin (Guo et al., equation 3).

    0 (perfect) to 1; NaN without any image. With few images it is above 0 by chance alone. Arguments as in
    `calibration_curve`.
    """
    curve = calibration_curve(y, p, bins)
    off = np.abs(curve["accuracy"] - curve["probability"])
    return float(ratio((curve["images"] * off).sum(), curve["images"].sum()))


def error_by_chance(p: np.ndarray, bins: int = BINS, seed: int = 0) -> tuple[float, float]:
    """Expected calibration error that probabilities (n, n_classes) have by chance where they are right.

    Mean, and the value that is passed in 5 % of draws: of few images it is far above 0. NaN without any image.
    """
    if not len(p):
        return np.nan, np.nan
    sure = np.asarray(p, dtype=np.float64).max(axis=1)
    number = np.clip(np.ceil(bins * sure).astype(int) - 1, 0, bins - 1)
    right = np.random.default_rng(seed).random((CHANCES, len(sure))) < sure
    off = np.stack([(right - sure) @ (number == one) for one in np.unique(number)])
    errors = np.abs(off).sum(axis=0) / len(sure)
    return float(errors.mean()), float(np.quantile(errors, 0.95))


def brier(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Half the squared distance (n,) of probabilities (n, n_classes) from what is true, 0 (right and sure) to 1.

    Brier GW (1950) Mon Weather Rev 78:1, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    return ((np.asarray(p, dtype=np.float64) - np.eye(p.shape[1])[y]) ** 2).sum(axis=1) / 2
