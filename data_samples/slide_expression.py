"""Expression of genes for the patients of the sample `slides`: some follow fibrosis, most nothing, some a batch."""

from pathlib import Path

import numpy as np
import pandas as pd

RISING = ("COL1A1", "COL1A2", "COL3A1", "TIMP1", "LOXL2", "THBS2", "ACTA2", "PDGFRB")
FALLING = ("CYP3A4", "ALB", "HNF4A", "CYP2C9")
EMPTY = tuple(f"GENE{number:02d}" for number in range(1, 21))
BATCH = ("XIST", "RPS4Y1", "HBB", "HBA1", "MT-CO1")
SPREAD = 0.12  # of genes that follow fibrosis, in units of the step from the least to the most fibrosis
FOLLOWS = {"fibrosis": (*RISING, *FALLING), "nothing": EMPTY, "site": BATCH}


def draw_expression(rng: np.random.Generator, shares: pd.Series) -> pd.DataFrame:
    """Expression (log2 of counts per million) of all genes, one row per patient, with the site they come from.

    Parameters
    ----------
    rng
        Source of the numbers.
    shares
        Share of fibrosis (0 to 1) by patient.

    Returns
    -------
    pandas.DataFrame
        patient, site ("A" or "B"), and a column for each gene of `FOLLOWS`. Genes that follow fibrosis rise or fall
        with its logarithm; those of a batch differ between the sites, which have nothing to do with fibrosis.
    """
    n = len(shares)
    log = np.log(shares.to_numpy(dtype=float).clip(0.005))
    extent = (log - log.mean()) / max(float(np.ptp(log)), 1e-9)
    site = rng.permutation(np.arange(n) % 2)
    columns = {}
    for gene in FOLLOWS["fibrosis"]:
        sign = 1 if gene in RISING else -1
        columns[gene] = 3 * (sign * extent + rng.normal(0, SPREAD, n) / 2)
    columns |= {gene: rng.normal(0, 0.8, n) for gene in EMPTY}
    columns |= {gene: rng.choice([-1, 1]) * 2.0 * site + rng.normal(0, 0.4, n) for gene in BATCH}
    table = pd.DataFrame({gene: rng.uniform(3, 9) + values for gene, values in columns.items()})
    table.insert(0, "site", np.where(site, "B", "A"))
    table.insert(0, "patient", list(shares.index))
    return table


def write_expression(folder: Path, shares: pd.Series, seed: int) -> None:
    """Write expression.csv, and expression_truth.csv (gene, follows), for patients and one who has no slide."""
    rng = np.random.default_rng([seed, 4])
    without = pd.Series({f"patient{len(shares) + 1:02d}": float(shares.median())})
    table = draw_expression(rng, pd.concat([shares, without]))
    table.round(3).to_csv(folder / "expression.csv", index=False, lineterminator="\n")
    truth = [(gene, follows) for follows, genes in FOLLOWS.items() for gene in genes]
    truth_table = pd.DataFrame(truth, columns=["gene", "follows"])
    truth_table.to_csv(folder / "expression_truth.csv", index=False, lineterminator="\n")
