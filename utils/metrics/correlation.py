"""How one measurement of patients goes with many others: rank correlations with intervals and corrected p values.

References
----------
Interval of Spearman's coefficient: Bonett DG, Wright TA (2000) Psychometrika 65:23, doi:10.1007/BF02294183. False
discovery rate: Benjamini Y, Hochberg Y (1995) J R Stat Soc B 57:289, doi:10.1111/j.2517-6161.1995.tb02031.x. Partial
correlation with dummy variables for the parts: degrees of freedom as in Kim S (2015) Commun Stat Appl Methods 22:665,
doi:10.5351/CSAM.2015.22.6.665.
"""

from itertools import permutations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm, rankdata, t

FEWEST = 5  # patients, below which not even a perfect order would be told from chance
EXACT = 9  # patients up to which all orders are counted; Student's t is good enough above
Z = float(norm.ppf(0.975))
AT_ONCE = 1 << 22  # values ranked at once: memory stays flat
NOTHING = 1e-9  # differences of coefficients below this are rounding


def rank_correlations(measured: pd.Series, table: pd.DataFrame, constant: pd.Series | None = None) -> pd.DataFrame:
    """Spearman's correlation of one measurement with each column of a table.

    Parameters
    ----------
    measured
        Number of each patient (n,).
    table
        Numbers (n, n_columns) of the same patients, in the same order; NaN where one is not known.
    constant
        What is held constant, for example the hospital: text (n,), whose values are parts of their own, or numbers,
        whose ranks are; None for nothing.

    Returns
    -------
    DataFrame
        A row for each column, in their order: column, n (patients with both numbers), rho (-1 to 1), low and high (95 %
        interval), p (two-sided: of all orders of the patients for few patients, of Student's t for more), q (p
        corrected for the number of columns after Benjamini and Hochberg). NaN where a column has fewer than `FEWEST`
        patients, or is the same for all.
    """
    known = measured.notna().to_numpy() & (True if constant is None else constant.notna().to_numpy())
    found = pd.DataFrame({"column": table.columns, "n": 0, "rho": np.nan, "low": np.nan, "high": np.nan, "p": np.nan})
    values = table.to_numpy(np.float64)
    for columns, rows in _alike(np.isfinite(values) & known[:, np.newaxis]):
        held = None if constant is None else _parts(constant[rows])
        for part in np.array_split(columns, -(-len(columns) * len(rows) // AT_ONCE) or 1):
            given = _of(measured.to_numpy(np.float64)[rows], values[np.ix_(rows, part)], held)
            found.loc[part, ["n", "rho", "low", "high", "p"]] = given
    found["n"] = found["n"].astype(int)
    tested = found["p"].notna()
    found.loc[tested, "q"] = false_discovery_control(found.loc[tested, "p"]) if tested.any() else np.nan
    return found


def _alike(known: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns (their places) whose numbers are known of the same patients, and the places of these."""
    _, first, which = np.unique(np.packbits(known, axis=0), axis=1, return_index=True, return_inverse=True)
    which = which.ravel()
    return [(np.flatnonzero(which == i), np.flatnonzero(known[:, one])) for i, one in enumerate(first)]


def _parts(constant: pd.Series) -> np.ndarray:
    """What is held constant as numbers (n, n_parts), each column without its mean."""
    if pd.api.types.is_numeric_dtype(constant):
        parts = rankdata(constant.to_numpy())[:, np.newaxis]
    else:
        parts = pd.get_dummies(constant.astype(str), drop_first=True).to_numpy(np.float64)
    return parts - parts.mean(0)


def _of(measured: np.ndarray, values: np.ndarray, held: np.ndarray | None) -> np.ndarray:
    """n, rho, low, high, p of each column (n_columns, 5)."""
    n, n_columns = values.shape
    taken = 0 if held is None else np.linalg.matrix_rank(held)
    result = np.full((n_columns, 5), np.nan)
    result[:, 0] = n
    if n - taken < FEWEST:
        return result
    x, y = rankdata(measured)[:, np.newaxis], rankdata(values, axis=0)
    x, y = x - x.mean(), y - y.mean(0)
    if held is not None:
        basis = np.linalg.svd(held, full_matrices=False)[0][:, :taken]
        x, y = x - basis @ (basis.T @ x), y - basis @ (basis.T @ y)
    lengths = np.linalg.norm(x) * np.linalg.norm(y, axis=0)
    varies = lengths > NOTHING * n
    rho = np.clip((x[:, 0] @ y[:, varies]) / lengths[varies], -1, 1)
    if taken or n > EXACT:
        p = _of_students_t(rho, n - 2 - taken)
    else:
        p = _of_all_orders(x[:, 0], y[:, varies], np.abs(rho))
    result[varies, 1:] = np.stack([rho, *interval(rho, n - taken), p], -1)
    return result


def interval(rho: np.ndarray, n: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the 95 % interval of Spearman's coefficient in n patients.

    A perfect order, of which the formula would say that nothing is uncertain, counts as half an exchange of two
    neighbours away from it: the coefficient goes in steps of 12 / (n (n^2 - 1)).
    """
    most = 1 - 6 / (n * (n**2 - 1))
    inside = np.clip(rho, -most, most)
    half = Z * np.sqrt((1 + inside**2 / 2) / (n - 3))
    ends = np.tanh(np.arctanh(inside) - half), np.tanh(np.arctanh(inside) + half)
    return np.minimum(ends[0], rho), np.maximum(ends[1], rho)


def _of_students_t(rho: np.ndarray, freedom: int) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a perfect order
        return 2 * t.sf(np.abs(rho) * np.sqrt(freedom / (1 - rho**2)), freedom)


def _of_all_orders(x: np.ndarray, y: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Share of all orders of the patients in which the coefficient is at least as far from 0.

    Columns whose ranks are the same numbers in another order, which are most, share what is counted.
    """
    orders = x[np.array(list(permutations(range(len(x)))))]
    patterns, which = np.unique(np.sort(y, axis=0).round(1), axis=1, return_inverse=True)
    p = np.empty(len(rho))
    for i, pattern in enumerate(patterns.T):
        chance = np.sort(np.abs(orders @ pattern) / (np.linalg.norm(x) * np.linalg.norm(pattern)))
        here = which.ravel() == i
        p[here] = 1 - np.searchsorted(chance, rho[here] - NOTHING) / len(chance)
    return p
