"""The sample `slides`: whole slides of synthetic liver with annotations, the truth, and an expression table.

`python -m data_samples.slides FOLDER` writes it; it is made when needed and never shipped.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from joblib import Parallel, delayed
from PIL import Image

from data_samples import slide_artefacts
from data_samples.lobules import draw_plan
from data_samples.slide_annotations import draw_annotations
from data_samples.slide_expression import write_expression
from data_samples.slide_tissue import ARTEFACT, FIBROSIS, TISSUE, Look, Painting, draw_look
from data_samples.staining import Protocol, draw_patient
from utils import runtime

SEED = 20_261
SIZE = (5000, 6000)  # height and width in pixels
UM_PER_PIXEL = 0.5
LEVELS = (1, 4, 16)
AT_ONCE = 2  # slides that are drawn: each needs half a gigabyte
PATIENTS = 8
TWICE = (1, 2, 3, 4)  # patients with a second slide, which nobody annotated
PROTOCOL = Protocol(spread=0.10)
# What spoils a slide, by the numbers of patient and slide.
SPOILT: dict[tuple[int, int], tuple[str, ...]] = {
    (1, 1): ("blue",),
    (1, 2): ("blur",),
    (2, 1): ("fold",),
    (3, 1): ("green", "blur"),
    (4, 1): ("fold", "fold"),
    (4, 2): ("black",),
    (5, 1): ("blur",),
    (6, 1): ("black", "fold"),
    (7, 1): ("red",),
    (8, 1): ("blur", "fold"),
}


@dataclass(frozen=True)
class DrawnSlide:
    """One slide: its picture (Y, X, 3) uint8, class of each pixel (Y, X) uint8, and annotations, None where none."""

    name: str
    patient: str
    rgb: np.ndarray
    classes: np.ndarray
    annotations: dict | None

    @property
    def fibrosis_percent(self) -> float:
        """Fibrosis as a percentage of tissue and fibrosis together, without what is spoilt."""
        return 100 * float((self.classes == FIBROSIS).sum() / np.isin(self.classes, (TISSUE, FIBROSIS)).sum())


def shares(seed: int = SEED) -> dict[tuple[int, int], float]:
    """Wanted share of fibrosis (0 to 1) by patient and slide: 2 to 40 %, both slides of a patient alike."""
    rng = np.random.default_rng([seed, 0])
    by_patient = rng.permutation(np.geomspace(0.023, 0.41, PATIENTS))
    found = {(number, 1): float(share) for number, share in enumerate(by_patient, start=1)}
    seconds = {(n, 2): float(np.clip(found[n, 1] * rng.uniform(0.8, 1.25), 0.023, 0.41)) for n in TWICE}
    return dict(sorted((found | seconds).items()))


def draw_slides(seed: int = SEED, size: tuple[int, int] = SIZE) -> Iterator[DrawnSlide]:
    """Draw the slides one after the other; `size` is height and width."""
    for patient in range(1, PATIENTS + 1):
        yield from draw_slides_of(patient, seed, size)


def draw_slides_of(patient: int, seed: int = SEED, size: tuple[int, int] = SIZE) -> Iterator[DrawnSlide]:
    """Draw the slides of a patient, given by its number, the same each time; one patient in four has little fat."""
    stains = draw_patient(np.random.default_rng([seed, 3, patient]), PROTOCOL)
    look = draw_look(np.random.default_rng([seed, 1, patient]), stains)
    for (number, slide), share in shares(seed).items():
        if number == patient:
            yield _draw_slide((number, slide), share, look, seed, size)


def _draw_slide(which: tuple[int, int], share: float, look: Look, seed: int, size: tuple[int, int]) -> DrawnSlide:
    number, slide = which
    rng = np.random.default_rng([seed, 2, number, slide])
    painting = Painting(rng, draw_plan(rng, size, share), look, size)
    spoilt = SPOILT.get(which, ())
    for _ in range(spoilt.count("fold")):
        slide_artefacts.draw_fold(rng, painting)
    rgb = slide_artefacts.colours(look.patient, painting)
    for one in spoilt:
        if one == "blur":
            slide_artefacts.draw_blur(rng, painting, rgb)
        elif one != "fold":
            slide_artefacts.draw_pen(rng, painting, rgb, one)
    name = f"patient{number:02d}_slide{slide}"
    drawn = draw_annotations(rng, painting, name) if slide == 1 else None
    return DrawnSlide(name, f"patient{number:02d}", rgb, painting.classes, drawn)


def write_slide(path: Path, rgb: np.ndarray, um_per_pixel: float = UM_PER_PIXEL) -> None:
    """Write a slide (Y, X, 3) uint8 as Aperio's scanners do: JPEG tiles at several sizes, and a thumbnail.

    Written as "rgb": as "ycbcr" readers show wrong colours.
    """
    picture, (height, width) = Image.fromarray(rgb), rgb.shape[:2]
    note = f"Aperio Image Library v12.0\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=85|AppMag = 20"
    jpeg = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 85}, "metadata": None}
    with tifffile.TiffWriter(path) as file:
        for number, factor in enumerate(LEVELS):
            level = rgb if factor == 1 else np.asarray(picture.reduce(factor))
            about = f"{note}|MPP = {um_per_pixel}" if number == 0 else note
            file.write(level, tile=(256, 256), description=about, **jpeg)
            if number == 0:
                file.write(np.asarray(picture.reduce(8)), rowsperstrip=16, description=f"{note}|thumbnail", **jpeg)


def make_slides(folder: Path, seed: int = SEED, size: tuple[int, int] = SIZE) -> None:
    """Write the sample into `folder`: slides/*.svs, annotations/*.geojson, truth/*.tif, truth.csv, expression.csv ...

    truth/*.tif hold the class of each pixel (see `data_samples.slide_tissue`); truth.csv has a row for each slide; of
    the table of expression see `data_samples.slide_expression`.
    """
    for part in ("slides", "annotations", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    drawn = (delayed(_make_slides_of)(number, folder, seed, size) for number in range(1, PATIENTS + 1))
    table = pd.DataFrame(chain.from_iterable(Parallel(AT_ONCE)(drawn)))
    table["fibrosis_percent"] = 100 * table["fibrosis_mm2"] / (table["tissue_mm2"] + table["fibrosis_mm2"])
    table.round(4).to_csv(folder / "truth.csv", index=False, lineterminator="\n")
    patients = table.groupby("patient")[["tissue_mm2", "fibrosis_mm2"]].sum()
    write_expression(folder, patients["fibrosis_mm2"] / patients.sum(axis=1), seed)


def _make_slides_of(patient: int, folder: Path, seed: int, size: tuple[int, int]) -> list[dict]:
    runtime.reuse_memory()
    return [_write(folder, one) for one in draw_slides_of(patient, seed, size)]


def _write(folder: Path, one: DrawnSlide) -> dict:
    """Write the files of a slide; its row of truth.csv."""
    write_slide(folder / "slides" / f"{one.name}.svs", one.rgb)
    tifffile.imwrite(folder / "truth" / f"{one.name}.tif", one.classes, tile=(512, 512), compression="zlib")
    if one.annotations:
        text = json.dumps(one.annotations)
        (folder / "annotations" / f"{one.name}.geojson").write_text(text, encoding="utf-8")
    mm2 = {kind: (one.classes == kind).sum() * UM_PER_PIXEL**2 / 1e6 for kind in (TISSUE, FIBROSIS, ARTEFACT)}
    areas = {"tissue_mm2": mm2[TISSUE], "fibrosis_mm2": mm2[FIBROSIS], "artefact_mm2": mm2[ARTEFACT]}
    return {"slide": f"{one.name}.svs", "patient": one.patient} | areas


def main() -> None:
    """Read the command line and write the sample."""
    parser = argparse.ArgumentParser(description="Write whole slides of synthetic liver.")
    parser.add_argument("folder", type=Path, help="where to")
    make_slides(parser.parse_args().folder)


if __name__ == "__main__":
    main()
