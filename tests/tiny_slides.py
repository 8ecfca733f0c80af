"""A cohort of slides small enough to go through the notebook within seconds."""

from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from tests.tasks.slides.conftest import write_slide
from utils.images.geojson import ANNOTATION, feature, write_geojson

PATIENTS, ANNOTATED, SIDE = 6, 4, 640
AREAS = {"Background": (0, 0, 100, 640), "Tissue": (150, 150, 400, 500), "Fibrosis": (200, 200, 300, 300)}


def write_cohort(folder: Path, um_per_pixel: float = 1.0) -> Path:
    """Write slides of patients P1, P2 ... below folder/slides, of which the first are annotated, and genes.csv."""
    rng = np.random.default_rng(0)
    (folder / "slides").mkdir(parents=True)
    for i in range(1, PATIENTS + 1):
        array = np.full((SIDE, SIDE, 3), 245, np.uint8)
        array[130:520, 130:500] = (200, 130, 180)
        array[200:300, 200:300] = array[400 : 400 + 15 * i, 150:480] = (230, 150, 200)
        array = np.clip(array + rng.integers(-9, 10, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8)
        write_slide(folder / "slides" / f"P{i}_a.tif", array, um_per_pixel)
        drawn = [
            feature(shapely.MultiPolygon([shapely.box(*box)]), ANNOTATION, f"{i} {name}", name, (1, 0, 0))
            for name, box in AREAS.items()
        ]
        if i <= ANNOTATED:
            write_geojson(folder / "slides" / f"P{i}_a.geojson", drawn)
    table = pd.DataFrame({"up": range(PATIENTS), "noise": rng.normal(size=PATIENTS)})
    table.set_axis([f"P{i}" for i in range(1, PATIENTS + 1)]).to_csv(folder / "genes.csv")
    return folder
