"""Tiles computed here, or by the workers of dask.distributed: the same work, the same answers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from utils.errors import SetupError
from utils.runtime import ensure
from utils.tasks.slides.compute import Answer, Job, answers

if TYPE_CHECKING:
    from distributed import Client

NEEDED = {"distributed": "distributed"}
BATCH = 4  # tiles that a worker is given at once
IN_FLIGHT = 2  # batches for each worker that are asked for at a time: what waits for its turn stays few
ALIKE = ("distributed", "keras", "numpy", "tiffslide")  # packages; another version may answer otherwise, or not at all
PATIENCE = "10s"  # for a scheduler to answer
HERE, LOCAL = "", "local"


@contextmanager
def connected(address: str, n_workers: int | None = None) -> Iterator["Client | None"]:
    """Give a way to the workers.

    Parameters
    ----------
    address
        `HERE`: None is given, and everything is computed in this process. `LOCAL`: workers on this computer, each with
        one core. Else the address of a scheduler that runs already, such as tcp://10.0.0.1:8786.
    n_workers
        Of `LOCAL`; None for one for each core.

    Raises
    ------
    SetupError
        The scheduler does not answer, has no workers, or other versions of the software.
    """
    if address == HERE:
        yield None
        return
    ensure(NEEDED)
    from distributed import Client, LocalCluster

    if address == LOCAL:
        one_core = {"threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(n_workers=n_workers, **one_core) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"No scheduler answers at {address} ({error}). Check the address, and that this computer may reach it; or "
            "leave the field empty to compute here."
        ) from error
    with client:
        _check(client, address)
        yield client


def _check(client: "Client", address: str) -> None:
    """Refuse a scheduler without workers, or whose software is another one, by a SetupError."""
    if not client.scheduler_info()["workers"]:
        raise SetupError(f"The scheduler at {address} has no workers. Start some, then run the cell again.")
    scheduler = {"distributed": {client.run_on_scheduler(version, "distributed")}}
    workers = {name: set(map(str, client.run(version, name, on_error="return").values())) for name in ALIKE}
    own = _own()
    told = [
        f"{name} {', '.join(sorted(there - {own[name]}))} (here {own[name]})"
        for found in (scheduler, workers)
        for name, there in found.items()
        if there != {own[name]}
    ]
    if told:
        raise SetupError(
            f"The scheduler at {address}, or a worker of it, has other versions of the software: "
            f"{', '.join(dict.fromkeys(told))}. Install the same requirements.txt there."
        )


def _own() -> dict[str, str]:
    """Versions here of what must be the same everywhere."""
    return {name: version(name) for name in ALIKE}


def all_answers(job: Job, numbers: Sequence[int], client: "Client | None") -> Iterator[Answer]:
    """Answers of `utils.tasks.slides.compute.answers`, in the order in which they are ready.

    Batches of a worker that dies are computed by another.
    """
    if client is None:
        yield from answers(job, numbers)
        return
    from distributed import as_completed

    batches = [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]
    at_once = IN_FLIGHT * len(client.scheduler_info()["workers"])
    running = as_completed(_submitted(client, job, one) for one in batches[:at_once])
    following = iter(batches[at_once:])
    for done in running:
        if (batch := next(following, None)) is not None:
            running.add(_submitted(client, job, batch))
        yield from _given(done)


def _submitted(client: "Client", job: Job, numbers: Sequence[int]):
    return client.submit(compute, job, numbers, pure=False)


def _given(done) -> list[Answer]:
    try:
        return done.result()
    except ModuleNotFoundError as error:
        raise SetupError(
            f"A worker does not find the software ({error}). Start the workers in the folder of the project, by "
            "python -m distributed.cli.dask_worker ADDRESS."
        ) from error


def compute(job: Job, numbers: Sequence[int]) -> list[Answer]:
    """A batch of `answers`, on a worker."""
    return list(answers(job, numbers))
