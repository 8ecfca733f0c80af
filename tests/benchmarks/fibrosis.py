"""The page of whole slides, default run: classes and shares against the truth of slides it has never seen.

    python -m tests.benchmarks.fibrosis [--seed 200] [--training '{"seed": 1}'] [--genes] [--folder FOLDER]

The model is trained that the page keeps with "Quick on a CPU" and everything untouched, not those that test a part
each. It measures the slides of new patients, the sample of another `--seed`, as section 6 does: Dice (to reach: 0.85),
precision and recall of each class over all pixels but spoilt ones (what is not measured is background), error of the
share (2 percentage points) and Pearson's r (0.95) over patients. The pixel forest and the colour threshold stand beside
it, all on some windows of these slides. `--genes`: of the genes that follow fibrosis, nothing or the site, how many are
found (Benjamini-Hochberg, 5 %), on average over ten tables.

Seed 200 is for choosing settings. Seed 100 is scored ONCE for a configuration that was chosen, never to choose one.
With `--folder` everything is kept there, and not made, trained or measured again.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from scipy.stats import pearsonr

from data_samples.slide_annotations import NAMES
from data_samples.slide_expression import FOLLOWS, write_expression
from data_samples.slide_tissue import ARTEFACT, BACKGROUND, FIBROSIS, TISSUE
from data_samples.slides import SEED, make_slides
from tests.benchmarks.measure import cpu_seconds
from tests.notebook_forms import default_values
from utils.data.project import Project
from utils.metrics.confusion import confusion_matrix, scores_from_confusion
from utils.runtime import load_tensorflow
from utils.tasks import page
from utils.tasks.slides import page as slide_page
from utils.tasks.slides.omics import LEVEL, beside_omics
from utils.tasks.slides.results import Measured, Order
from utils.tasks.slides.task import SlideUNet

CLASSES = [NAMES[one] for one in range(ARTEFACT)]
WINDOWS, SIDE = 2, 512  # of each slide, for the opponents; pixels
TABLES, SHARE = 10, "Fibrosis [% of tissue]"


def main() -> None:
    """Print what is found, a line of JSON for each method, and one for genes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=200, help="of the slides that are scored")
    parser.add_argument("--training", type=json.loads, default={}, help="fields of that form, in place of the defaults")
    parser.add_argument("--genes", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    load_tensorflow()  # which lets arrays have memory again, as on the page
    with nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given)


def run(folder: Path, given: argparse.Namespace) -> None:
    """Make, train, measure, score."""
    train, test = made(folder, SEED), made(folder, given.seed)
    before = cpu_seconds()
    with redirect_stdout(StringIO()):  # what the page would show
        task, project, forms = opened(train, folder / "models", given.training)
        task.train(project, {"overrides": forms})
        trained = cpu_seconds() - before
        found, order, results = measured(forms, project.folder, test)
    names, slides = [str(one["name"]) for one in order.classes], truths(test)
    maps = [class_map(results / "class_maps" / f"{path.stem}.ome.tif", names) for path in slides]
    told = {"trained, CPU-s": round(trained), "measured, CPU-s": round(cpu_seconds() - before - trained)}
    everywhere = np.array([confusion(tifffile.imread(path), one) for path, one in zip(slides, maps, strict=True)])
    print(json.dumps({"U-Net": {**told, **scores(everywhere), **errors(*patients(found, test))}}), flush=True)
    if given.genes:
        print(json.dumps(genes(found, test)), flush=True)
    for method, counts in beside(task, project, test, maps).items():
        print(json.dumps({f"{method}, windows": {**scores(counts), **errors(*shares(counts))}}), flush=True)


def made(folder: Path, seed: int) -> Path:
    """Folder of the sample of a seed."""
    place = folder / f"sample_{seed}"
    if not place.exists():
        make_slides(folder / "unfinished", seed)
        (folder / "unfinished").rename(place)
    return place


def truths(sample: Path) -> list[Path]:
    """Files of the true classes."""
    return sorted((sample / "truth").glob("*.tif"))


def opened(sample: Path, models: Path, training: Mapping) -> tuple[SlideUNet, Project, dict]:
    """Task and project of section 3.2, of the model that is kept, and the values of all forms."""
    places = {"slide_folder": str(sample / "slides"), "annotation_folder": str(sample / "annotations")}
    given = {"slides": places, "data": {"model_path": str(models)}}
    forms = default_values("slide_fibrosis", {**given, "training": {"preset": "Quick on a CPU", **training}})
    slides, data = forms["slides"], forms["data"]
    cohort = slide_page.open_cohort(slides)
    data |= slide_page.cut(cohort, slides, models / "pieces")
    task = SlideUNet(slides["stain"], slides["measured_class"])
    project = page.open_project(task, data, forms["training"]["seed"], forms["training"]["preset"])
    return task, replace(project, folds=None), forms


def measured(forms: Mapping, model: Path, sample: Path) -> tuple[Measured, Order, Path]:
    """Section 6."""
    results = sample.parent / f"results_{sample.name}"
    places = {"slide_folder": str(sample / "slides"), "result_folder": str(results)}
    return slide_page.measure({**forms["prediction"], **places}, model)


def class_map(path: Path, names: list[str]) -> np.ndarray:
    """Class of each pixel in the numbers of the truth; what was not measured is background."""
    table = np.full(256, BACKGROUND, np.uint8)
    table[: len(names)] = [CLASSES.index(name) for name in names]
    return table[tifffile.imread(path, level=0)]


def confusion(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Pixels by true and found class, without those that are spoilt."""
    known = truth != ARTEFACT
    return confusion_matrix(truth[known], found[known], len(CLASSES))


def scores(counts: np.ndarray) -> dict:
    """Dice, precision and recall of each class over all slides, of which `confusion` was counted (n, 4, 4)."""
    found = scores_from_confusion(counts.sum(axis=0))
    rows = {name: getattr(found, name).round(3).tolist() for name in ("dice", "precision", "recall")}
    return {name: dict(zip(CLASSES, values, strict=True)) for name, values in rows.items()}


def shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and found fibrosis in % of the tissue, from the counts of each slide (n, 4, 4)."""
    pixels = counts.sum(axis=2), counts.sum(axis=1)
    return tuple(100 * one[:, FIBROSIS] / (one[:, TISSUE] + one[:, FIBROSIS]) for one in pixels)


def patients(found: Measured, sample: Path) -> tuple[np.ndarray, np.ndarray]:
    """True and measured fibrosis of each patient, in % of the tissue."""
    truth = pd.read_csv(sample / "truth.csv").groupby("patient")[["tissue_mm2", "fibrosis_mm2"]].sum()
    share = 100 * truth["fibrosis_mm2"] / truth.sum(axis=1)
    return share.to_numpy(), found.patients.set_index("patient").loc[share.index, SHARE].to_numpy()


def errors(true: np.ndarray, found: np.ndarray) -> dict:
    """How far shares are off, and how well they go together, with Fisher's interval."""
    r, off = pearsonr(true, found), found - true
    ends = [r.statistic, *r.confidence_interval()]
    means = {"mean absolute error, points": np.abs(off).mean(), "with its sign": off.mean()}
    return {name: round(float(one), 2) for name, one in means.items()} | {"r, low, high": np.round(ends, 4).tolist()}


def genes(found: Measured, sample: Path) -> dict:
    """Genes found of each kind, as they are and with the site held constant."""
    own, rows = found.patients.set_index("patient")[SHARE].sort_index(), {"": [], "site": []}
    truth = pd.Series(patients(found, sample)[0] / 100, own.index)
    for seed in range(TABLES):
        with tempfile.TemporaryDirectory() as folder:
            write_expression(Path(folder), truth, seed)
            for constant, counts in rows.items():
                table = beside_omics(own, Path(folder) / "expression.csv", constant).table
                hits = set(table["column"][table["q"] < LEVEL])
                counts.append([len(hits & set(one)) for one in FOLLOWS.values()])
    of = {kind: len(one) for kind, one in FOLLOWS.items()}
    means = {f"held constant: {name or 'nothing'}": np.mean(one, axis=0).tolist() for name, one in rows.items()}
    return {"genes found, mean of tables": {"of": of, **means}}


def beside(task: SlideUNet, project: Project, sample: Path, maps: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Counts of each slide (n, 4, 4) by method, on windows of the slides."""
    classes = project.dataset.classes
    others = task.opponents(project.examples("training"), classes, 0)
    table = np.array([CLASSES.index(str(one["name"])) for one in classes], np.uint8)
    counts = {name: np.zeros((len(maps), len(CLASSES), len(CLASSES)), np.int64) for name in ("U-Net", *others)}
    rng = np.random.default_rng(0)
    for number, (path, own) in enumerate(zip(truths(sample), maps, strict=True)):
        truth, slide = tifffile.imread(path), tifffile.imread(sample / "slides" / f"{path.stem}.svs", level=0)
        for place in windows(truth, rng):
            found = {name: table[one.class_ids(slide[place])] for name, one in others.items()}
            for name, one in {"U-Net": own[place], **found}.items():
                counts[name][number] += confusion(truth[place], one)
    return counts


def windows(truth: np.ndarray, rng: np.random.Generator) -> list[tuple[slice, slice]]:
    """Random places of a slide that are mostly tissue."""
    found = []
    while len(found) < WINDOWS:
        y, x = (int(rng.integers(0, side - SIDE)) for side in truth.shape)
        place = np.s_[y : y + SIDE, x : x + SIDE]
        if (truth[place] != BACKGROUND).mean() > 0.8:
            found.append(place)
    return found


if __name__ == "__main__":
    main()
