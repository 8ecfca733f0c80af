"""Slides of a cohort with what was drawn on them: whose they are, what the classes mean, and pieces to learn from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from utils.data.crops import parse_class_groups
from utils.data.problems import Problem, problem_of, remarked
from utils.errors import DataError
from utils.files import write_csv
from utils.groups import ALONE, ASK, BARCODE, group_of, groupings
from utils.images.annotations import SUFFIXES as OUTLINES
from utils.images.annotations import (
    Annotations,
    check_place,
    class_mask,
    class_table,
    is_ignored_class,
    paired,
    read_annotations,
)
from utils.images.masks import IGNORED
from utils.images.slides import SUFFIXES, Slide, open_slide
from utils.images.writing import write_tiff
from utils.paths import is_system

PIECE = 256  # pixels of the side of a piece: of larger ones most was not annotated
MOST = 100  # pieces of a slide
LEAST = 0.05  # share of a piece that must be annotated
BETWEEN = "__"  # what stands behind the patient in the name of a piece
UNSET = 255  # in masks of pieces: not annotated
PIECES = "pieces.csv"
BACKGROUND = {"background", "glass", "whitespace"}  # names of classes that stand first


@dataclass(frozen=True)
class Member:
    """A slide of the cohort; `annotations` is None where nobody drew on it."""

    slide: Slide
    patient: str
    annotations: Annotations | None = None

    @property
    def name(self) -> str:
        """Name of the slide without its ending."""
        return _name(self.slide.path)


@dataclass(frozen=True)
class Cohort:
    """Slides that can be read, what was wrong or is to be said of files, and how patients were found, in a sentence."""

    members: list[Member]
    problems: list[Problem]
    patients_told: str = ""

    @property
    def class_names(self) -> list[str]:
        """Names of the classes that were drawn, in the order of the slides; those that QuPath ignores are not among."""
        names = (name for one in self.annotated for name in one.annotations.class_names)
        return [name for name in dict.fromkeys(names) if not is_ignored_class(name)]

    @property
    def annotated(self) -> list[Member]:
        """Slides that somebody drew on."""
        return [one for one in self.members if one.annotations]

    def table(self) -> pd.DataFrame:
        """What was drawn: slide, patient, class, annotations, area; a row for each class of a slide."""
        rows = []
        for one in self.annotated:
            drawn = class_table(one.annotations, one.slide.um_per_pixel)
            rows.append(drawn.assign(slide=one.name, patient=one.patient))
        if not rows:
            return pd.DataFrame(columns=["slide", "patient", "class", "annotations"])
        table = pd.concat(rows, ignore_index=True)
        return table[["slide", "patient", *(name for name in table if name not in ("slide", "patient"))]]


def read_cohort(folder: Path, outlines: Path | None, group_rule: str = "", pixel_size: float = 0) -> Cohort:
    """Open the slides of a folder, and read what was drawn on them.

    Parameters
    ----------
    folder, outlines
        Folder of the slides, and of the GeoJSON files of the same names; None: beside the slides.
    group_rule
        How the patient is found in a name, see `utils.groups.group_of`; "ask": as the names look like. Of names of TCGA
        it is the first 12 characters.
    pixel_size
        Width of the slides' pixels in um, 0: as the files say.

    Raises
    ------
    DataError
        No slide in the folder could be opened.
    """
    paths = _slides(folder)
    outlines = outlines or folder
    group_rule, told = _rule_of(paths, group_rule)
    drawn = paired(paths, sorted(outlines.iterdir()) if outlines.is_dir() else [])
    members, problems = [], []
    for path in paths:
        try:
            _refuse_twice(path, paths)
            slide = open_slide(path, pixel_size)
            problems += remarked([(path, slide.remarks)])
            own = _annotations(drawn.get(path), slide, problems)
            members.append(Member(slide, patient_of(path, group_rule, folder), own))
        except DataError as error:
            problems.append(problem_of(str(path), error))
    if not members:
        raise DataError(f"No slide in {folder} could be opened. {'; '.join(map(str, problems[:3]))}")
    return Cohort(members, [*problems, *_without_slide(outlines, drawn)], told)


def _rule_of(paths: Sequence[Path], rule: str) -> tuple[str, str]:
    """Rule that tells patients, and a sentence on it where the names of the slides had to tell."""
    names = [path.name for path in paths]
    if rule != ASK or all(BARCODE.match(name) for name in names):
        return rule, ""
    if found := next(iter(groupings(names)), None):
        return found.rule, (
            f"The names of the slides look like {found}, which are taken for the patients. If they are not, choose in "
            "the field group_rule what is."
        )
    return ALONE, "Each slide is taken for a patient of its own. If some belong together, fill in the field group_rule."


def _refuse_twice(path: Path, paths: Sequence[Path]) -> None:
    first = next(one for one in paths if _name(one) == _name(path))
    if first != path:
        raise DataError(f"{path} has the same name as {first.name}, so that results would be mixed up. Rename one.")


def _name(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def _slides(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Check its name for a typing error.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not is_system(path.name))
    if not found:
        raise DataError(f"There is no slide in {folder} ({', '.join(SUFFIXES)}). Choose the folder of the slides.")
    return found


def _annotations(path: Path | None, slide: Slide, problems: list[Problem]) -> Annotations | None:
    """What was drawn on a slide; a file that cannot be used is a problem, and the slide is measured all the same."""
    if path is None:
        return None
    try:
        own = read_annotations(path)
        problems += remarked([(path, [*own.remarks, *check_place(own, slide.width, slide.height)])])
    except DataError as error:
        problems.append(problem_of(str(path), error))
        return None
    return own


def _without_slide(folder: Path, drawn: Mapping[Path, Path]) -> list[Problem]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    alone = [one for one in files if one.suffix.lower() == OUTLINES[0] and one not in drawn.values()]
    remedy = "Give it the name of its slide, with the ending .geojson."
    return [Problem("warning", str(one), "belongs to no slide by its name and is not used", remedy) for one in alone]


def patient_of(path: Path, rule: str, folder: Path) -> str:
    """Patient of a slide: of names of TCGA the first 12 characters, else as the rule says, see `group_of`."""
    barcode = BARCODE.match(path.name)
    return barcode.group().upper() if barcode else group_of(path, rule, folder, strict=False)


def classes_of(cohort: Cohort, class_groups: str) -> tuple[dict[str, int], list[str]]:
    """Number of each class that was drawn, and the names of the classes to learn by their numbers.

    Classes that QuPath ignores, and those that `class_groups` (see `utils.data.crops.parse_class_groups`) puts into a
    broad class "ignore", have the number `IGNORED`. Those called background or glass stand first. DataError where fewer
    than two are left.
    """
    drawn = cohort.class_names
    broad = parse_class_groups(class_groups, drawn) or {name: name for name in drawn}
    wanted = [name for name in dict.fromkeys(broad.values()) if name.casefold() != "ignore"]
    names = sorted(wanted, key=lambda name: name.casefold() not in BACKGROUND)
    if len(names) < 2:
        raise DataError(
            f"What was drawn has no two classes to tell apart ({', '.join(names) or 'none'}). Draw some tissue of "
            "another class, too."
        )
    every = (name for one in cohort.annotated for name in one.annotations.class_names)
    ids = {name: names.index(broad[name]) if broad.get(name) in names else IGNORED for name in every}
    return ids, [name.replace(",", " ") for name in names]


def cut_pieces(
    cohort: Cohort,
    ids: Mapping[str, int],
    um_per_pixel: float,
    folder: Path,
    progress: Callable[[Iterable], Iterable] = iter,
) -> pd.DataFrame:
    """Write pieces of the slides around what was drawn as images and masks, as the U-Net learns from them.

    Parameters
    ----------
    ids
        Of `classes_of`.
    um_per_pixel
        Of the pieces.
    folder
        Gets ``images``, ``masks`` (pixels that nobody annotated are `UNSET`) and a table of the pieces; names begin
        with the patient.
    progress
        Wraps the list of slides.

    Returns
    -------
    DataFrame
        A row for each piece: file, slide, patient, x, y (upper left, full pixels), and pixels of each class.
    """
    rows = []
    for member in progress(cohort.annotated):
        downsample = um_per_pixel / member.slide.um
        for x, y in chosen_places(member, ids, downsample):
            mask = class_mask(member.annotations, ids, (PIECE, PIECE), downsample, (x, y))
            name = f"{BETWEEN.join(named(member.patient, member.name))}_{x:.0f}_{y:.0f}.tif"
            image = member.slide.read(x, y, PIECE, PIECE, um_per_pixel)
            write_tiff(folder / "images" / name, image, um_per_pixel)
            write_tiff(folder / "masks" / name, np.where(mask == IGNORED, UNSET, mask).astype(np.uint8), um_per_pixel)
            counts = np.bincount(mask[mask != IGNORED], minlength=max(ids.values()) + 1)
            rows.append({"file": name, "slide": member.name, "patient": member.patient, "x": x, "y": y})
            rows[-1] |= {f"class {i} [px]": int(n) for i, n in enumerate(counts)}
    table = pd.DataFrame(rows)
    write_csv(folder / PIECES, table)
    return table


def named(patient: str, slide: str) -> tuple[str, str]:
    """Patient and slide as they are called in the name of a piece."""
    return patient.replace(BETWEEN, "_"), slide


def shown_by(piece: str) -> tuple[str, str]:
    """Patient and slide, see `named`, that the file of a piece shows; both "" where it has another kind of name."""
    patient, between, rest = Path(piece).stem.partition(BETWEEN)
    return (patient, rest.rsplit("_", 2)[0]) if between else ("", "")


def chosen_places(member: Member, ids: Mapping[str, int], downsample: float) -> list[tuple[float, float]]:
    """Corners (x, y), in full pixels, of pieces of a slide: `MOST`, those with most of each class in turn."""
    side = PIECE * downsample
    areas = [(area.geometry, ids[area.class_name]) for area in member.annotations.areas if area.class_name in ids]
    tree = shapely.STRtree([geometry for geometry, _ in areas])
    places = _grid(areas, side)
    shares = np.zeros((len(places), max(ids.values()) + 1))
    for share, (x, y) in zip(shares, places, strict=True):
        box = shapely.box(x, y, x + side, y + side)
        for i in tree.query(box, "intersects"):
            geometry, number = areas[i]
            if number != IGNORED:
                share[number] += shapely.clip_by_rect(geometry, *box.bounds).area / side**2
    shares[shares.sum(axis=1) < LEAST] = 0
    return _in_turn(places, shares)


def _grid(areas: Sequence[tuple[shapely.Geometry, int]], side: float) -> list[tuple[float, float]]:
    """Corners of squares that cover each annotation that counts, none of them twice."""
    corners = set()
    for geometry, number in areas:
        if number != IGNORED:
            x0, y0, x1, y1 = np.floor(np.array(geometry.bounds) / side).astype(int)
            corners |= {(column, row) for row in range(y0, y1 + 1) for column in range(x0, x1 + 1)}
    return [(float(column * side), float(row * side)) for column, row in sorted(corners)]


def _in_turn(places: Sequence[tuple[float, float]], shares: np.ndarray) -> list[tuple[float, float]]:
    """Places with most of class 0, 1, ... (shares: (n, n_classes)) in turn, so that a rare class is not drowned."""
    orders = [[i for i in np.argsort(-one, kind="stable") if one[i] > 0] for one in shares.T]
    turns = (i for turn in zip_longest(*orders) for i in turn if i is not None)
    return [places[i] for i in dict.fromkeys(turns)][:MOST]
