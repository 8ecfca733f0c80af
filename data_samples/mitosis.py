"""The samples `mitosis` and `mitosis_new_marker`: crops of single cells, one folder per class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator

from data_samples.chromatin import PHASES
from data_samples.clouds import Cloud
from data_samples.microscope import SIZE, Microscope, photograph, write_crop
from data_samples.mitosis_new_marker import g2, not_g2

CLASSES = pd.DataFrame(
    [
        ("earlyana", "AA", "early anaphase: two parallel plates close together", 20, 8),
        ("lateana", "AA", "late anaphase: two bent plates further apart", 30, 12),
        ("telophase", "AA", "telophase: two small round daughter nuclei", 30, 12),
        ("prophase", "BA", "prophase: chromatin in threads, nuclear outline still there", 26, 12),
        ("prometaphase", "BA", "prometaphase: irregular clump or ring of chromosomes", 26, 12),
        ("metaphase", "BA", "metaphase: one plate", 28, 8),
        ("interphase", "I", "interphase: nucleus with soft texture and nucleoli", 80, 32),
        ("apoptosis", "J", "apoptosis: bright round fragments", 80, 32),
    ],
    columns=["class", "group", "meaning", "train", "test"],
)

WIDEFIELD = Microscope(
    pixel_size=0.36,
    blur=(0.22, 0.5),
    peak=(60, 200),
    background=(8, 28),
    gradient=14,
    haze=(0.05, 0.3),
    read_noise=1.6,
    photon_noise=0.3,
    neighbours=2,
    neighbour_share=(0.4, 1.2),
)

SCREENING = Microscope(
    pixel_size=0.5,
    blur=(0.4, 0.75),
    peak=(35, 115),
    background=(25, 60),
    gradient=24,
    haze=(0.15, 0.4),
    read_noise=2.5,
    photon_noise=0.4,
    neighbours=4,
    neighbour_share=(0.5, 1.8),
)


def placed(rng: Generator, cell: Cloud) -> Cloud:
    """Return the cell turned at random, a little smaller or larger, near the middle of the crop."""
    return cell.scaled(rng.uniform(0.9, 1.1)).turned(rng.uniform(0, 2 * np.pi)).moved(*rng.normal(0, 0.6, 2))


def beside(rng: Generator, cell: Cloud, field: float) -> Cloud:
    """Return the cell turned at random, its centre on or outside the border of a crop of `field` um."""
    across, along = rng.uniform(0.5, 0.66) * field, rng.uniform(-0.6, 0.6) * field
    turns = rng.integers(4) * np.pi / 2
    return cell.turned(rng.uniform(0, 2 * np.pi)).moved(along, across).turned(turns)


def scene(rng: Generator, cell: Cloud, other: Callable[[Generator], Cloud], scope: Microscope) -> list[Cloud]:
    """Return the cell in the middle and up to scope.neighbours others drawn by `other`."""
    neighbours = [beside(rng, other(rng), SIZE * scope.pixel_size) for _ in range(rng.integers(scope.neighbours + 1))]
    return [placed(rng, cell), *neighbours]


def any_phase(rng: Generator) -> Cloud:
    """Cell of any phase, in half of the cases surely in interphase."""
    phase = rng.choice(list(PHASES)) if rng.uniform() < 0.5 else "interphase"
    return PHASES[phase](rng)


def any_stage(rng: Generator) -> Cloud:
    """Cell in G2 or not."""
    return (g2, not_g2)[rng.integers(2)](rng)


def write_class(
    folder: Path,
    rng: Generator,
    count: int,
    draw: Callable[[Generator], Cloud],
    other: Callable[[Generator], Cloud],
    scope: Microscope,
) -> None:
    """Write `count` crops of cells from `draw` among cells from `other` to folder/<folder name>_0001.tif and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        crop = photograph(rng, scene(rng, draw(rng), other, scope), scope)
        write_crop(folder / f"{folder.name}_{number:04d}.tif", crop, scope.pixel_size)


def make_mitosis(folder: Path) -> None:
    """Write the sample `mitosis` to folder/{train,test}/<class>/ and its table of classes to folder/classes.csv."""
    for index, row in CLASSES.iterrows():
        for part, role in enumerate(("train", "test")):
            rng = np.random.default_rng([1, index, part])
            write_class(folder / role / row["class"], rng, row[role], PHASES[row["class"]], any_phase, WIDEFIELD)
    CLASSES.to_csv(folder / "classes.csv", index=False, lineterminator="\n")


def make_mitosis_new_marker(folder: Path) -> None:
    """Write the sample `mitosis_new_marker` to folder/{train,test}/{G2,not_G2}/, 40 crops each."""
    for index, (name, draw) in enumerate({"G2": g2, "not_G2": not_g2}.items()):
        for part, role in enumerate(("train", "test")):
            rng = np.random.default_rng([2, index, part])
            write_class(folder / role / name, rng, 40, draw, any_stage, SCREENING)
