"""Class maps of slides, tile by tile; a crash loses nothing, and memory does not grow with the slide."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from utils.tasks.slides.cluster import all_answers
from utils.tasks.slides.compute import Job
from utils.tasks.slides.tiles import TileStore

if TYPE_CHECKING:
    from distributed import Client


def compute_slide(
    job: Job, folder: Path, client: "Client | None" = None, progress: Callable[[Iterable], Iterable] = iter
) -> tuple[TileStore, list[int]]:
    """Compute the tiles of a slide in which there is tissue, those that an earlier run did not.

    Parameters
    ----------
    folder
        Of the tiles; may hold those of an earlier run of the same job.
    client
        See `utils.tasks.slides.cluster.connected`.
    progress
        Wraps the list of tiles still to be computed.

    Returns
    -------
    store, numbers
        All tiles, and the numbers of those with tissue.
    """
    engine = job.engine
    store = TileStore(folder, job.grid, len(engine.names) + 1 + engine.n_features)
    numbers = [number for number in range(len(job.grid)) if job.tissue_of(number).any()]
    missing = store.open_tiles(numbers)
    for _, answer in zip(progress(missing), all_answers(job, missing, client), strict=True):
        store.put(answer.number, answer.ids, answer.numbers)
    return store, numbers
