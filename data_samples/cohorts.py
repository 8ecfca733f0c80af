"""The samples `tissue` and `tissue_new_stain`: tiles of liver from the patients of two laboratories."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from data_samples.drawing import write_pair
from data_samples.staining import TRICHROME, Protocol, draw_patient
from data_samples.tissue import FIBROSIS, GLASS, tissue_tile

PIXEL_SIZE_UM = 1.0
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Cohort:
    """Patients of a laboratory: `patients` are their numbers, `tiles` how many each gives, both for train and test."""

    seed: int
    patients: dict[str, range]
    tiles: dict[str, int]
    protocol: Protocol = field(default_factory=Protocol)


TISSUE = Cohort(20_242, {"train": range(1, 9), "test": range(9, 13)}, {"train": 3, "test": 2})
TISSUE_NEW_STAIN = Cohort(20_243, {"train": range(13, 21), "test": range(21, 25)}, {"train": 2, "test": 2}, TRICHROME)


def shares(cohort: Cohort, split: str) -> np.ndarray:
    """Share of fibrosis of each tile, (patients, tiles): evenly spaced from 2 to 40 %, mild and severe ones."""
    rng = np.random.default_rng([cohort.seed, 0, SPLITS.index(split)])
    tiles = cohort.tiles[split]
    grid = np.linspace(0.02, 0.40, len(cohort.patients[split]) * tiles).reshape(tiles, -1)
    return np.stack([rng.permutation(row) for row in grid], axis=1)


def tiles(cohort: Cohort, split: str) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Make the tiles of a split one after the other: yields file name, patient name, image, mask."""
    for number, row in zip(cohort.patients[split], shares(cohort, split), strict=True):
        patient = draw_patient(np.random.default_rng([cohort.seed, 1, number]), cohort.protocol)
        for tile, share in enumerate(row, start=1):
            rng = np.random.default_rng([cohort.seed, 2, number, tile])
            name = f"patient{number:02d}"
            yield f"{name}_tile{tile}.tif", name, *tissue_tile(rng, patient, share)


def fibrosis_share(mask: np.ndarray) -> float:
    """Fibrosis as a percentage of tissue and fibrosis together."""
    return 100 * float((mask == FIBROSIS).sum() / (mask != GLASS).sum())


def write_cohort(folder: Path, cohort: Cohort) -> None:
    """Write the tiles of a laboratory into `folder`: {train,test}/{images,masks}/patient01_tile1.tif ...

    Also writes proportions.csv: file, split, patient, fibrosis_share_percent (three decimals).
    """
    rows = []
    for split in SPLITS:
        for name, patient, image, mask in tiles(cohort, split):
            write_pair(folder, split, name, image, mask, PIXEL_SIZE_UM)
            rows.append((name, split, patient, round(fibrosis_share(mask), 3)))
    table = pd.DataFrame(rows, columns=["file", "split", "patient", "fibrosis_share_percent"])
    table.to_csv(folder / "proportions.csv", index=False, lineterminator="\n")


def make_tissue(folder: Path) -> None:
    """Write the sample `tissue`, stained with hematoxylin and eosin, into `folder`."""
    write_cohort(folder, TISSUE)


def make_tissue_new_stain(folder: Path) -> None:
    """Write the sample `tissue_new_stain`, other patients stained with a trichrome, into `folder`."""
    write_cohort(folder, TISSUE_NEW_STAIN)
