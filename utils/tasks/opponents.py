"""Whether a network is worth it: the same test images by methods from before deep learning, compared in pairs."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from utils.metrics.intervals import UNKNOWN, Judgement, paired_difference

NETWORK = "network"
COMPARED = "Network and classical methods on the same test images"  # caption of a table
DIFFERENCE = "network minus method (95 % interval)"
ELSEWHERE = {  # where a biologist finds a method
    "Otsu threshold": "Fiji: Image > Adjust > Threshold",
    "pixel forest": "ilastik, or Fiji: Plugins > Segmentation > Labkit",
    "colour threshold": "section 6, or Fiji: Image > Color > Colour Deconvolution, then Image > Adjust > Threshold",
    "watershed": "Fiji: Image > Adjust > Threshold, then Process > Binary > Watershed",
}


@contextmanager
def answering(answers: Callable[..., Any], *given: Any) -> Iterator[Future]:
    """What opponents answer, found while the block runs: a network leaves some of the processor idle.

    `answers` is a task's `answers_of_opponents`; whoever leaves the block early need not wait for it.
    """
    stop, aside = threading.Event(), ThreadPoolExecutor(1)
    try:
        yield aside.submit(answers, *given, stop.is_set)
    finally:
        stop.set()
        aside.shutdown(wait=False)


def compare_methods(network: Judgement, others: Mapping[str, Judgement]) -> pd.DataFrame:
    """Compare a network with other methods on the same test images.

    Parameters
    ----------
    network, others
        By the same score, of the same images in the same order; the others by the name of the method.

    Returns
    -------
    pandas.DataFrame
        A row for the network, then one for each method: method, score (its name), value, difference (network minus
        method), low, high (its 95 % interval, NaN for fewer than three images or groups). The network's own difference
        is NaN.
    """
    rows = [(NETWORK, network.value, np.nan, np.nan, np.nan)]
    rows += [(name, one.value, *paired_difference(network, one)) for name, one in others.items()]
    table = pd.DataFrame(rows, columns=["method", "value", "difference", "low", "high"])
    table.insert(1, "score", network.headline["name"])
    return table


def shown_methods(table: pd.DataFrame | None) -> pd.DataFrame:
    """Table of `compare_methods` for a page: method, the score, and "difference (low to high)"; empty without one."""
    if table is None:
        return pd.DataFrame()
    signed = ["", *(_signed(*row) for row in table[["difference", "low", "high"]].to_numpy()[1:])]  # first, the network
    score = str(table["score"].iloc[0])
    return pd.DataFrame({"method": table["method"], score: table["value"], DIFFERENCE: signed})


def _signed(difference: float, low: float, high: float) -> str:
    if np.isnan(difference):
        return UNKNOWN
    difference, low, high = (round(float(one), 2) + 0.0 for one in (difference, low, high))  # no "-0.00"
    return f"{difference:+.2f}" + ("" if np.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def worth_it(compared: pd.DataFrame | None) -> list[str]:
    """Markdown on whether the network is worth it, beside the best of the other methods; none without a comparison.

    `compared` as of `compare_methods`.
    """
    if compared is None:
        return []
    network, *others = compared.to_dict("records")
    best = max(others, key=lambda one: np.nan_to_num(one["value"], nan=-1.0))
    values, difference = (network["value"], best["value"]), [best[name] for name in ("difference", "low", "high")]
    return [f"**Is it worth it?** {difference_verdict(best['score'], (NETWORK, best['method']), values, difference)}"]


def difference_verdict(score: str, names: Sequence[str], values: Sequence[float], difference: Sequence[float]) -> str:
    """Say in plain words whether the first of two methods is worth it.

    Parameters
    ----------
    score
        Its name.
    names, values
        Of the two.
    difference
        First minus second, and the ends of its 95 % interval, NaN where there is none.
    """
    (one, other), (points, low, high) = names, (100 * float(value) for value in difference)
    if np.isnan(points):
        return f"{score} has no value for the {one} or the {other}: there is nothing to compare."
    text = (
        f"{score} of the {one} is {values[0]:.2f}, of the {other} {values[1]:.2f}: a difference of {_percent(points)} "
        "percentage points"
    )
    if np.isnan(low):
        return f"{text}. There are too few test images to say whether that is chance."
    text += f" (95 % interval {_percent(low)} to {_percent(high)})."
    if low > 0:
        return f"{text} The {one} is better than the {other}."
    if high < 0:
        place = f" ({ELSEWHERE[other]})" if other in ELSEWHERE else ""
        return (
            f"{text} The {other} is better: use it{place}, or give the {one} more training images or longer training."
        )
    return f"{text} That may be chance: these test images do not show that one of them is better."


def _percent(points: float) -> str:
    """Signed whole number, never "-0"."""
    return f"{np.round(points) + 0.0:+.0f}"
