"""What the sections of the notebook of slides show and do."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import Image, display

from utils.data.problems import each_once, problem_table
from utils.data.sample_makers import make_missing
from utils.errors import DataError, NotYet
from utils.files import write_json
from utils.images.tissue import find_tissue
from utils.pages.bar import progress_bar
from utils.pages.figures import show
from utils.pages.notes import note
from utils.pages.page import show_tables
from utils.paths import resolve, shown_path
from utils.tasks.choices import chosen_model, name_of_folder
from utils.tasks.slides.cluster import connected
from utils.tasks.slides.cohort import (
    BACKGROUND,
    BETWEEN,
    MOST,
    PIECE,
    PIECES,
    UNSET,
    Cohort,
    classes_of,
    cut_pieces,
    read_cohort,
)
from utils.tasks.slides.compute import Colour, FromModel, FromStain
from utils.tasks.slides.figures import scatter_plots, tissue_figure, volcano
from utils.tasks.slides.measure import Share
from utils.tasks.slides.omics import beside_omics, write_beside
from utils.tasks.slides.results import HEAT, PATIENTS, Measured, Order, measure_cohort
from utils.tasks.slides.task import load_slide_model
from utils.training.model_folder import no_result, read_model

SHOWN = 6  # slides of which a picture is shown
DONE = "pieces.json"  # what the pieces in a folder were cut with
COLOUR = "colour threshold"  # how slides are measured without a network
UM_OF_COLOUR = 0.5  # um per pixel, at which thin fibres are seen
NO_TISSUE = BACKGROUND | {"vessel", "vessels", "artefact", "artefacts", "artifact", "artifacts", "other"}


def open_cohort(slides: Mapping) -> Cohort:
    """Open slides and annotations, by values of the form `slides` or `prediction`, and show what was found."""
    if not slides["slide_folder"]:
        raise NotYet("Choose the folder of your slides in the field slide_folder, then run this cell.")
    outlines = resolve(slides["annotation_folder"]) if slides.get("annotation_folder") else None
    for folder in (resolve(slides["slide_folder"]), outlines):
        if folder:
            make_missing(folder)
    cohort = read_cohort(resolve(slides["slide_folder"]), outlines, slides["group_rule"], slides["slide_pixel_size"])
    show_tables({"Problems": problem_table(each_once(cohort.problems))}, counted=True)
    patients = {one.patient for one in cohort.members}
    drawn = f"; {len(cohort.annotated)} slides are annotated" if "annotation_folder" in slides else ""
    note(f"{len(cohort.members)} slides of {len(patients)} patients{drawn}.")
    if cohort.patients_told:
        note(cohort.patients_told)
    return cohort


def show_cohort(cohort: Cohort, stain: str) -> None:
    """Section 3.2: what was drawn, and where tissue was found."""
    show_tables({"What was drawn: number of annotations, and their area": _drawn(cohort)})
    show(tissue_figure([(one.name, find_tissue(one.slide, stain)) for one in cohort.members[:SHOWN]]))


def _drawn(cohort: Cohort) -> pd.DataFrame:
    """A row for each slide, a column for each class."""
    table = cohort.table()
    area = next((name for name in table if name.startswith("area [")), None)
    if area is None:
        return table
    unit = area.removeprefix("area [").removesuffix("]").replace("mm2", "mm²")
    told = [f"{n}: {size:.2g} {unit}" for n, size in zip(table["annotations"], table[area], strict=True)]
    wide = table.assign(told=told).pivot(index=["slide", "patient"], columns="class", values="told")
    return wide[list(dict.fromkeys(table["class"]))].fillna("").reset_index().rename_axis(columns=None)


def cut(cohort: Cohort, slides: Mapping, folder: Path) -> dict[str, str]:
    """Section 3.2: cut the annotated pieces of the slides into `folder`, unless they are there.

    Returns values of the form `data` by field: where the pieces lie, and how they are to be read. DataError where
    nothing was drawn that can be learned, or the class that is to be measured is not among it.
    """
    if not cohort.annotated:
        raise DataError(
            "No slide has annotations. Draw some in QuPath, export them as GeoJSON under the names of the slides, and "
            "name their folder in the field annotation_folder."
        )
    ids, names = classes_of(cohort, slides["class_groups"])
    if slides["measured_class"] not in names:
        raise DataError(
            f"The field measured_class is {slides['measured_class']!r}, but the classes are {', '.join(names)}. Write "
            "one of them."
        )
    table = _cut_once(cohort, ids, slides["um_per_pixel"], folder)
    note(f"{len(table)} pieces of the slides show {', '.join(names)}. They lie in {folder}", folder)
    _show_pieces(table, names, (slides["um_per_pixel"] / 1000) ** 2)
    return {
        "training_source": shown_path(folder / "images"),
        "training_target": shown_path(folder / "masks"),
        "group_rule": f"{{group}}{BETWEEN}*",
        "mask_type": "classes",
        "ignore_value": str(UNSET),
        "class_names": ", ".join(names),
    }


def _show_pieces(table: pd.DataFrame, names: Sequence[str], area: float) -> None:
    """What the pieces show, by slide; `area` is that of a pixel in mm2."""
    counts = table.set_index(["patient", "slide"])[[name for name in table if name.endswith("[px]")]]
    counts = counts.set_axis(list(names), axis=1)
    by_slide = counts.groupby(level=[0, 1])
    shown = (by_slide.sum() * area).add_suffix(" [mm2]")
    shown.insert(0, "pieces", by_slide.size())
    show_tables({"What is learned from": shown.reset_index()}, precision=4)  # vessels are small
    drawn = counts.groupby(level=0).sum() > 0
    if hidden := [name for name in names if not drawn[name].any()]:
        raise DataError(
            f"{', '.join(hidden)} was drawn, but other annotations that were drawn later lie over all of it. Draw some "
            "of it where nothing else is, or leave the class out in the field class_groups (ignore: names)."
        )
    for name in names:
        if drawn[name].sum() == 1:
            note(
                f"{name} was drawn on slides of one patient only ({drawn.index[drawn[name]][0]}): it can be learned or "
                "tested, not both. Draw it on slides of others, or put it into another class in the field class_groups."
            )


def _cut_once(cohort: Cohort, ids: Mapping[str, int], um_per_pixel: float, folder: Path) -> pd.DataFrame:
    """Table of the pieces, which are cut where those in the folder were cut from something else."""
    files = [path for one in cohort.annotated for path in (one.slide.path, one.annotations.path)]
    told = {
        "files": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "patients": [one.patient for one in cohort.annotated],
        "classes": dict(ids),
        "um_per_pixel": um_per_pixel,
        "pieces": [PIECE, MOST],
    }
    done = folder / DONE
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == told:
        return pd.read_csv(folder / PIECES)
    done.unlink(missing_ok=True)
    for kind in ("images", "masks"):
        for path in (folder / kind).glob(f"*{BETWEEN}*.tif"):
            path.unlink()
    table = cut_pieces(cohort, ids, um_per_pixel, folder, progress_bar)
    write_json(done, told)
    return table


def measure(prediction: Mapping, trained: Path | None) -> tuple[Measured, Order, Path]:
    """Section 6: measure all slides of a folder, by values of the form `prediction`, and show what was found."""
    order, cohort = _order(prediction, trained), open_cohort(prediction)
    name = order.source.model.name if isinstance(order.source, FromModel) else "colour_threshold"
    slides = resolve(prediction["slide_folder"])
    default = f"results/slide_fibrosis/predictions_of_{name}/{name_of_folder(slides)}"
    folder = resolve(prediction["result_folder"] or default)
    remark = no_result(order.source.model) if isinstance(order.source, FromModel) else ""
    with connected(prediction["cluster"]) as client:
        found = measure_cohort(cohort.members, order, folder, client, progress_bar)
    for sentence in [*found.warnings, *([remark] if remark else [])]:
        note(sentence)
    show_tables({"Patients": found.patients, "Slides": found.slides})
    for path in sorted((folder / HEAT).glob("*.png"))[:SHOWN]:
        display(Image(path.read_bytes(), format="png", width=900))
    note(f"Everything is in {folder}; {PATIENTS} has a row for each patient.", folder)
    return found, order, folder


def _order(prediction: Mapping, trained: Path | None) -> Order:
    """What is to be measured, and how."""
    given = {"um_per_pixel": prediction["um_per_pixel"], "tolerance_um": prediction["tolerance"]}
    given["pixel_size"] = prediction["slide_pixel_size"]
    if prediction["method"] == COLOUR:
        classes = [{"id": i, "name": name} for i, name in enumerate(Colour.names)]
        source = FromStain(prediction["stain"], prediction["threshold"] or None)
        given["um_per_pixel"] = given["um_per_pixel"] or UM_OF_COLOUR
        return Order(source, Share("collagen", (2,), (1, 2)), classes, stain=prediction["stain"], **given)
    model = chosen_model(prediction["model_folder"], trained)
    description = read_model(model, "unet")
    given["um_per_pixel"] = given["um_per_pixel"] or description["pixel_size_um"]
    if not given["um_per_pixel"]:
        raise DataError(
            f"{model} does not say how large the pixels were that it has learned from. Write that in micrometres into "
            "the field um_per_pixel."
        )
    share = _share(description, prediction["measured_class"], prediction["no_tissue"])
    stain = description.get("stain", prediction["stain"])
    return Order(FromModel(load_slide_model, model), share, description["classes"], stain=stain, **given)


def _share(description: Mapping, measured: str, no_tissue: str) -> Share:
    """What is measured: the class named in the form, else that of the model, among those that are tissue."""
    names = [str(one["name"]) for one in description["classes"]]
    wanted = measured or description.get("measured", "")
    if wanted not in names:
        raise DataError(
            f"The model knows {', '.join(names)}, not {wanted!r}. Write one of these into the field measured_class."
        )
    left_out = {one.strip().casefold() for one in no_tissue.split(",") if one.strip()} or NO_TISSUE
    whole = [i for i, name in enumerate(names) if name.casefold() not in left_out or name == wanted]
    return Share(wanted, (names.index(wanted),), tuple(whole))


def show_omics(omics: Mapping, found: Measured, order: Order, folder: Path) -> None:
    """Section 6.2: what goes with the share, by values of the form `omics`."""
    if not omics["patient_table"]:
        note("No table is named in the form above, so nothing is compared.")
        return
    shares = found.patients.set_index("patient")
    beside = beside_omics(shares[order.share.column], resolve(omics["patient_table"]), omics["hold_constant"])
    write_beside(folder, shares, beside, order.share.column)
    for sentence in beside.notes:
        note(sentence)
    first = beside.table.head(20)
    small = {name: first[name].map("{:.2g}".format).replace("nan", "") for name in ("p", "q")}  # 0.00 would say nothing
    show_tables({"What goes with the share, the surest first": first.assign(**small)})
    show(volcano(beside.table, order.share.column))
    show(scatter_plots(beside.table, beside.patients.numbers, shares[order.share.column]))
    note(f"All columns, the picture, and an AnnData file for scanpy are in {folder}", folder)
