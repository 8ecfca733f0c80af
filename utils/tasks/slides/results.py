"""What is written of a cohort of slides: tables of slides and patients, class maps, heat maps, outlines for QuPath."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from utils.data.splits import read_split
from utils.errors import DataError
from utils.files import atomic, meaningful, write_csv
from utils.images.geojson import ANNOTATION, feature, write_geojson
from utils.images.slides import Slide
from utils.images.stains import H_AND_E
from utils.images.tissue import TISSUE, Tissue, find_tissue
from utils.pages.colours import class_colours
from utils.pages.figures import png
from utils.tasks.slides.cohort import Member, named, shown_by
from utils.tasks.slides.compute import FromModel, FromStain, Job, Where
from utils.tasks.slides.figures import heat_map
from utils.tasks.slides.measure import Share, blocks, tables
from utils.tasks.slides.outlines import class_outline
from utils.tasks.slides.predict import compute_slide
from utils.tasks.slides.tiles import NOT_TISSUE, TileStore, write_class_map
from utils.tasks.slides.unlike import FILE as LOOKS
from utils.tasks.slides.unlike import Known, read_known
from utils.training.model_folder import DESCRIPTION, SPLIT

if TYPE_CHECKING:
    from distributed import Client

SLIDES, PATIENTS = "slides.csv", "patients.csv"
MAPS, HEAT, OUTLINES, DONE, UNFINISHED = "class_maps", "heat_maps", "qupath", "measured", "unfinished"
MUCH = 0.2  # share of tiles that are unlike those of the training, from which a slide is doubted
LEAST_TISSUE = 0.2  # share of a tile that must be tissue for it to be called unlike
SQUARE = 50.0  # um: side of the squares that a heat map is made of
SEEN = 16  # every so many pixels of a class map are counted for it, down and across; sides of tiles are multiples of it
UNLIKE = "unlike the training [% of tiles]"
LEARNED, YES, RELATED, NO = "in training", "yes", "its patient", "no"  # a column, and what stands in it


@dataclass(frozen=True)
class Order:
    """What is to be measured, and how.

    Attributes
    ----------
    source
        What makes the engine.
    share
        What is measured.
    classes
        Class table of the engine: id, name.
    um_per_pixel
        Of the class maps.
    stain
        One of `utils.images.stains.STAINS`, for finding tissue.
    tolerance_um
        By how much outlines for QuPath may be simplified.
    pixel_size
        Width of the slides' pixels in um, 0: as the files say.
    """

    source: FromModel | FromStain
    share: Share
    classes: Sequence[Mapping]
    um_per_pixel: float
    stain: str = H_AND_E
    tolerance_um: float = 2.0
    pixel_size: float = 0

    def job(self, member: Member, tissue: Tissue) -> Job:
        """What is needed to compute a tile of a slide."""
        where = Where(tissue.classes == TISSUE, tissue.downsample)
        return Job(member.slide.path, self.pixel_size, self.source, self.um_per_pixel, where)

    def key(self, member: Member, weights: str) -> str:
        """What tells the results of this order from those of another: a slide, a model or a field that was changed."""
        about = member.slide.path.stat()
        told = [str(member.slide.path), about.st_size, about.st_mtime_ns, weights, self.um_per_pixel, self.stain]
        told += [self.pixel_size, repr(self.source), repr(self.share), self.tolerance_um]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


@dataclass
class Measured:
    """Tables of slides and of patients, and what is to be said of them."""

    slides: pd.DataFrame
    patients: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _OfSlide:
    """What is kept of a slide: numbers of its tiles with tissue (n_tiles, ...), their squares, share of unlike ones."""

    counts: np.ndarray
    groups: list[str]
    unlike: float


def measure_cohort(
    members: Sequence[Member],
    order: Order,
    folder: Path,
    client: "Client | None" = None,
    progress: Callable[..., Iterable] = iter,
) -> Measured:
    """Measure slides, one after the other, and write what is found into a folder.

    A slide that was measured before, with the same model and settings, is not measured again; of one that was not
    finished only the tiles that are missing are. A slide that cannot be measured is told and stops no other.

    Parameters
    ----------
    progress
        Wraps the list of tiles of each slide.
    client
        See `utils.tasks.slides.cluster.connected`.
    """
    weights = _weights(order.source)
    known = read_known(order.source.model) if isinstance(order.source, FromModel) else None
    rows, warnings, unlike = [], [], {}
    if known is None and isinstance(order.source, FromModel):
        warnings.append(
            f"{order.source.model} does not know what it has learned from looks like ({LOOKS} is missing), so that no "
            "slide that is unlike that can be named. Train it on the page slide_fibrosis."
        )
    given = {"order": order, "weights": weights, "folder": folder, "known": known}
    for member, own in _measured(members, partial(_begin, **given, client=client, progress=progress)):
        if isinstance(own, DataError):
            warnings.append(f"Left out: {own}")
            continue
        rows.append((member.name, member.patient, own.counts, own.groups))
        unlike[member.name] = own.unlike
        warnings += _doubts(member, own)
    with suppress(OSError):  # it is not there, or holds tiles of a slide that could not be finished
        (folder / UNFINISHED).rmdir()
    if not rows:
        raise DataError(f"No slide could be measured. {' '.join(warnings[:3])}")
    names = [str(one["name"]) for one in order.classes]
    slides, patients = tables(rows, names, order.share, order.um_per_pixel)
    slides[UNLIKE] = [100 * unlike[name] for name in slides["slide"]]
    slides[LEARNED] = _learned(order.source, list(zip(slides["patient"], slides["slide"], strict=True)))
    write_csv(folder / SLIDES, meaningful(slides))
    write_csv(folder / PATIENTS, meaningful(patients))
    return Measured(slides, patients, warnings)


def _weights(source: FromModel | FromStain) -> str:
    if isinstance(source, FromStain):
        return ""
    return json.dumps(json.loads((source.model / DESCRIPTION).read_text(encoding="utf-8")).get("sha256", {}))


def _learned(source: FromModel | FromStain, slides: Sequence[tuple[str, str]]) -> list[str]:
    """Whether the model has seen each slide, told by patient and slide, or another one of its patient, in training.

    "" where nobody knows: a model that was made on another page, or whose table of the split is missing.
    """
    if isinstance(source, FromStain):
        return [NO] * len(slides)
    try:
        split = read_split(source.model / SPLIT)
    except DataError:
        return [""] * len(slides)
    seen = {shown_by(file) for file in split.loc[split["role"] != "test", "file"]}
    if ("", "") in seen:
        return [""] * len(slides)
    patients = {patient for patient, _ in seen}
    slides = [named(*one) for one in slides]
    return [YES if one in seen else RELATED if one[0] in patients else NO for one in slides]


def _doubts(member: Member, own: _OfSlide) -> list[str]:
    if not len(own.counts):
        return [f"{member.slide.path}: no tissue was found on it, so that it has no share."]
    if own.unlike <= MUCH:
        return []
    return [
        f"{member.slide.path}: {own.unlike:.0%} of its tiles look unlike those that the model has learned from "
        "(another stain, tissue or scanner, or an artefact). Look at its heat map before you use its share."
    ]


def _measured(
    members: Sequence[Member], begin: Callable[[Member], Callable[[], _OfSlide]]
) -> Iterator[tuple[Member, _OfSlide | DataError]]:
    """Each slide with its numbers, or why it has none: its files are written while the next slide is computed."""

    def begun(member: Member) -> Future:
        try:
            return writer.submit(begin(member))
        except DataError as error:
            failed = Future()
            failed.set_exception(error)
            return failed

    with ThreadPoolExecutor(1) as writer:
        following = pairwise(chain(map(begun, members), [None]))
        for member, (written, _) in zip(members, following, strict=True):
            error = written.exception()
            yield member, error if isinstance(error, DataError) else written.result()


def _begin(member, *, order, weights, folder, known, client, progress) -> Callable[[], _OfSlide]:
    """Compute a slide; what is returned writes its files and tells its numbers, those of an earlier run where done."""
    key, done = order.key(member, weights), folder / DONE / f"{member.name}.npz"
    if done.exists() and all(path.exists() for path in _files(folder, member)):
        with np.load(done) as found:
            if str(found["key"]) == key:
                own = _OfSlide(found["counts"], found["groups"].tolist(), float(found["unlike"]))
                return lambda: own
    tissue = find_tissue(member.slide, order.stain)
    job, tiles = order.job(member, tissue), folder / UNFINISHED / f"{member.name}_{key}"
    store, numbers = compute_slide(job, tiles, client, progress)
    n_counts = len(job.engine.names) + 1
    everything = store.counts[numbers]
    apart = _unlike(everything, n_counts, known, job.grid.side)
    groups = blocks(job.grid, numbers, order.um_per_pixel)
    own = _OfSlide(everything[:, :n_counts], groups, float(np.nanmean(apart)) if np.isfinite(apart).any() else 0.0)

    def finish() -> _OfSlide:
        store = TileStore(tiles, job.grid, everything.shape[1])  # an own one, which is closed before it is removed
        _write(member, order, folder, job, store, numbers, tissue, apart)
        with atomic(done) as temporary:
            np.savez(temporary, key=key, counts=own.counts, groups=np.array(own.groups, str), unlike=own.unlike)
        del store
        shutil.rmtree(tiles, ignore_errors=True)
        return own

    return finish


def _unlike(numbers: np.ndarray, n_counts: int, known: Known | None, side: int) -> np.ndarray:
    """Whether each tile is unlike those of the training: 1, 0, or NaN where that cannot be told."""
    if known is None or not len(numbers):
        return np.full(len(numbers), np.nan)
    apart = (known.distances(numbers[:, n_counts:]) > known.limit).astype(float)
    apart[numbers[:, : n_counts - 1].sum(axis=1) < LEAST_TISSUE * side**2] = np.nan
    return apart


def _files(folder: Path, member: Member) -> tuple[Path, Path, Path]:
    """Class map, outlines and heat map of a slide."""
    endings = {MAPS: ".ome.tif", OUTLINES: ".geojson", HEAT: ".png"}
    return tuple(folder / part / f"{member.name}{ending}" for part, ending in endings.items())


def _write(member, order, folder, job, store, numbers, tissue, apart) -> None:
    """Class map, outlines and heat map of a slide."""
    names = [str(one["name"]) for one in order.classes]
    colours = class_colours(order.classes)
    class_map, geojson, picture = _files(folder, member)
    write_class_map(class_map, store, order.um_per_pixel, _table(colours), names)
    write_geojson(geojson, outlines(member, order, job, store, colours))
    unlike = np.asarray(numbers, int)[np.nan_to_num(apart) > 0]
    shares, side = squares(store, order.share, order.um_per_pixel, len(names))
    figure = heat_map(tissue, job, shares, side * job.downsample, unlike, order.share.column, member.name)
    with atomic(picture) as temporary:
        temporary.write_bytes(png(figure))


def squares(store: TileStore, share: Share, um_per_pixel: float, n_classes: int) -> tuple[np.ndarray, int]:
    """Share (rows, columns), 0 to 1, in squares of a class map of about `SQUARE`, NaN without tissue; their side."""
    small, n = store.map(SEEN), max(1, round(SQUARE / um_per_pixel / SEEN))
    rows, columns = (-(-length // n) for length in small.shape)
    padded = np.full((rows * n, columns * n), NOT_TISSUE, np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small
    parts = padded.reshape(rows, n, columns, n)
    counts = np.stack([(parts == one).sum(axis=(1, 3)) for one in range(n_classes)], axis=-1)
    return share.of(counts), n * SEEN


def _table(colours: Mapping[int, tuple]) -> np.ndarray:
    """Colour table (3, 256), uint16; what is not measured is black."""
    table = np.zeros((3, 256), np.uint16)
    for number, colour in colours.items():
        table[:, number] = np.multiply(colour, 65535).astype(np.uint16)
    return table


def _on_slide(points: np.ndarray, step: int, downsample: float, slide: Slide) -> np.ndarray:
    """Points (n, 2), x then y, of every `step`-th pixel of a class map in full pixels: each is the first of `step`."""
    whole = (slide.width, slide.height)
    return np.clip((points * step - (step - 1) / 2) * downsample, 0, whole)


def outlines(member: Member, order: Order, job: Job, store: TileStore, colours: Mapping[int, tuple]) -> Iterable[dict]:
    """Annotation of each class of a slide but the first, as QuPath reads it, with what was measured of it."""
    step = 1
    while 2 * step * order.um_per_pixel <= order.tolerance_um and store.grid.side % (2 * step) == 0:
        step *= 2
    tolerance = order.tolerance_um / order.um_per_pixel / step
    counts = np.nansum(store.counts[:, : len(order.classes)], axis=0)
    area = (order.um_per_pixel / 1000) ** 2
    for one in order.classes[1:]:
        number, name = one["id"], str(one["name"])
        found = class_outline(store, number, step, tolerance)
        if found.is_empty:
            continue
        moved = shapely.transform(found, lambda points: _on_slide(points, step, job.downsample, member.slide))
        measured = {f"{name} [mm2]": counts[number] * area}
        if name == order.share.name:
            measured[order.share.column] = 100 * float(order.share.of(counts))
        yield feature(moved, ANNOTATION, f"{member.name} {name}", name, colours[number], measured)
