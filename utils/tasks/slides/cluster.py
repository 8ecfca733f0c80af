"""Tiles computed here, or by the workers of dask.distributed: the same work, the same answers."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from utils.errors import SetupError
from utils.runtime import ensure, versions
from utils.tasks.slides.compute import Answer, Job, answers

if TYPE_CHECKING:
    from distributed import Client

NEEDED = {"distributed": "distributed"}
BATCH = 4  # tiles that a worker is given at once
IN_FLIGHT = 2  # batches for each worker that are asked for at a time: what waits for its turn stays few
PATIENCE = "10s"  # for a scheduler to answer
HERE, LOCAL = "", "local"
TALK_WITH = ("python", "dask", "distributed", "msgpack", "cloudpickle", "tornado")


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
    if address == LOCAL:
        from distributed import Client, LocalCluster

        one_core = {"threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(n_workers=n_workers, **one_core) as cluster, Client(cluster) as client:
            yield client
        return
    with _client(address) as client:
        _check(client, address)
        yield client


def _client(address: str) -> "Client":
    """A way to the scheduler at an address; SetupError where none answers."""
    from distributed import Client

    try:
        return Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        told = str(error)
    gc.collect()  # now one that failed closes itself; while another starts, both would wait for each other for ever
    raise SetupError(
        f"No scheduler answers at {address} ({told}). Check the address, and that this computer may reach it; or "
        "leave the field empty to compute here."
    )


def _check(client: "Client", address: str) -> None:
    """Refuse a scheduler without workers, or whose software is another one, by a SetupError."""
    if not client.scheduler_info()["workers"]:
        raise SetupError(f"The scheduler at {address} has no workers. Start some, then run the cell again.")
    if told := [*_other_versions(client.get_versions()), *_other_libraries(client)]:
        raise SetupError(
            f"The scheduler at {address} or its workers have other versions of the software: {'; '.join(told[:3])}. "
            "Install the same requirements.txt there, and start them again."
        )


def _other_versions(found: Mapping) -> Iterator[str]:
    """What differs between this process, the scheduler and the workers, of the packages that they talk with."""
    here, workers = found["client"]["packages"], {f"worker {one}": told for one, told in found["workers"].items()}
    for who, told in {"scheduler": found["scheduler"], **workers}.items():
        for package in TALK_WITH:
            one, other = (str(each["packages"].get(package)) for each in (found["client"], told))
            if _release(package, one) != _release(package, other):
                yield f"{package} {other} ({who}), {here[package]} here"


def _release(package: str, version: str) -> str:
    """What of a version must be the same: of Python not the last number."""
    return ".".join(version.split(".")[:2]) if package == "python" else version


def _other_libraries(client: "Client") -> Iterator[str]:
    """What differs between this process and the workers, of the libraries that numbers depend on."""
    here = versions()
    for who, told in _found(lambda: client.run(versions)).items():
        for name, other in told.items():
            if other != here[name]:
                yield f"{name} {other} (worker {who}), {here[name]} here"


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
        yield from _found(done.result)


def _submitted(client: "Client", job: Job, numbers: Sequence[int]):
    return client.submit(compute, job, numbers, pure=False)


def _found(ask: Callable[[], Any]) -> Any:
    """What workers answer; SetupError where they cannot."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        return ask()
    except ModuleNotFoundError as error:
        raise SetupError(
            f"A worker does not find the software ({error}). Start the workers in the folder of the project, by "
            "python -m distributed.cli.dask_worker ADDRESS."
        ) from error
    except KilledWorker as error:
        raise SetupError(
            "The same tiles ended several workers, one after the other: they may have too little memory, 2 GB for each "
            "are enough. Start workers with more, then run the cell again: what is done is kept."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise SetupError(
            "The scheduler no longer answers. Start it and its workers again, then run the cell again: what is done is "
            "kept."
        ) from error


def compute(job: Job, numbers: Sequence[int]) -> list[Answer]:
    """A batch of `answers`, on a worker, with as many threads as it was given."""
    from distributed import get_worker

    with suppress(RuntimeError):  # they were set before: TensorFlow has started
        tf.config.threading.set_intra_op_parallelism_threads(get_worker().state.nthreads)
        tf.config.threading.set_inter_op_parallelism_threads(get_worker().state.nthreads)
    return list(answers(job, numbers))
