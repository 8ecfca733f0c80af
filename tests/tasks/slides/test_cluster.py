"""Who computes the tiles, and who dies meanwhile, changes nothing."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from distributed import Client

from tests.tasks.slides.test_compute import job_of, whole
from utils.errors import SetupError
from utils.paths import ROOT
from utils.tasks.slides.cluster import HERE, LOCAL, _check, _found, all_answers, connected
from utils.tasks.slides.predict import compute_slide

RNG = np.random.default_rng(0)


def test_a_scheduler_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("utils.tasks.slides.cluster.PATIENCE", "1s")
    with pytest.raises(SetupError, match="No scheduler answers at tcp://127.0.0.1:1 "), connected("tcp://127.0.0.1:1"):
        pass
    with pytest.raises(SetupError, match="No scheduler answers at somewhere"), connected("somewhere"):
        pass


@pytest.mark.parametrize("address", ["somewhere", "tcp://127.0.0.1:1"])
def test_an_address_that_failed_leaves_nothing_that_the_next_try_could_wait_for(address, monkeypatch):
    """A client that was not closed stopped its loop when it was collected: in a lock that the next one held by then."""
    monkeypatch.setattr("utils.tasks.slides.cluster.PATIENCE", "1s")
    with pytest.raises(SetupError), connected(address):
        pass
    assert not [one for one in gc.get_objects() if isinstance(one, Client)]


def test_a_scheduler_without_workers_is_said():
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None, processes=False) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(SetupError, match="has no workers"), connected(address):
            pass


@pytest.mark.slow
def test_workers_give_the_same_map_though_one_is_killed(slide_of, slide_model):
    array = RNG.integers(0, 256, (400, 500, 3), dtype=np.uint8)
    job = job_of(slide_of(array), slide_model(), 32)
    with connected(HERE) as client:
        expected = whole(job, all_answers(job, range(len(job.grid)), client))
    with connected(LOCAL, 2) as client:
        answers = all_answers(job, range(len(job.grid)), client)
        first = next(answers)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        found = whole(job, [first, *answers])
    np.testing.assert_array_equal(found, expected)


def python(*arguments, **more):
    """A process of its own, in the folder of the project, without what tells this one how many threads to use."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_NUM", "OMP_"))}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, **more)


@pytest.fixture
def scheduler(tmp_path):
    """Function that starts a scheduler and workers as the README says, and gives processes and address."""
    running = []

    def start(n_workers, cwd=ROOT):
        file, quiet = tmp_path / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        place = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        running.append(python("-m", "distributed.cli.dask_scheduler", *place, **quiet))
        address = json.loads(wait_for(lambda: file.exists() and file.read_text(encoding="utf-8")))["address"]
        for _ in range(n_workers):
            more = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
            running.append(python("-m", "distributed.cli.dask_worker", address, *more, **quiet))
        with Client(address) as client:
            client.wait_for_workers(n_workers, timeout=60)
        return running, address

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_for(answer, seconds=60):
    """What a function answers, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := answer()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def interrupted(after, end):
    """Progress that calls `end` once so many tiles were asked for."""

    def items_of(items):
        for i, one in enumerate(items):
            if i == after:
                end()
            yield one

    return items_of


@pytest.mark.slow
def test_a_scheduler_in_another_process_and_a_worker_that_is_killed_change_nothing(
    slide_of, slide_model, scheduler, tmp_path
):
    array = RNG.integers(0, 256, (320, 480, 3), dtype=np.uint8)
    job = job_of(slide_of(array), slide_model(), 32)
    expected, numbers = compute_slide(job, tmp_path / "here")
    processes, address = scheduler(2)
    with connected(address) as client:
        pids = list(client.run(os.getpid).values())
        killing = interrupted(9, lambda: os.kill(pids[0], signal.SIGKILL))
        found, _ = compute_slide(job, tmp_path / "there", client, killing)
        assert not found.open_tiles(numbers)
        np.testing.assert_array_equal(found.map(), expected.map())
        np.testing.assert_allclose(found.counts, expected.counts, rtol=1e-4, atol=1e-6)
    with pytest.raises(SetupError, match="no longer answers"), connected(address) as client:
        compute_slide(job, tmp_path / "ended", client, interrupted(9, processes[0].kill))
    asked = []
    compute_slide(job, tmp_path / "ended", progress=lambda items: asked.extend(items) or items)
    assert len(asked) <= len(job.grid) - 9


class Told:
    """A client that says what it is told."""

    def __init__(self, here=None, scheduler=None, worker=None, libraries=None):
        known = {"python": "3.11.7.final.0", "dask": "2026.8.0", "distributed": "2026.8.0", "msgpack": "1.2.4"}
        self.told = {
            "client": {"packages": known | (here or {})},
            "scheduler": {"packages": known | (scheduler or {})},
            "workers": {"tcp://10.0.0.2:1": {"packages": known | (worker or {})}},
        }
        self.libraries = libraries or {}

    def get_versions(self):
        return self.told

    def scheduler_info(self):
        return {"workers": {"tcp://10.0.0.2:1": {}}}

    def run(self, asked):
        return {"tcp://10.0.0.2:1": asked() | self.libraries}


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (Told(scheduler={"distributed": "2024.1.0"}), r"distributed 2024.1.0 \(scheduler\), 2026.8.0 here"),
        (Told(worker={"msgpack": "1.0.0"}), r"msgpack 1.0.0 \(worker tcp://10.0.0.2:1\), 1.2.4 here"),
        (Told(worker={"python": "3.12.1.final.0"}), r"python 3.12.1.final.0 \(worker"),
        (Told(worker={"dask": None}), r"dask None \(worker"),
        (Told(libraries={"tensorflow": "2.15.0"}), r"tensorflow 2.15.0 \(worker tcp://10.0.0.2:1\), "),
    ],
)
def test_other_versions_are_said(client, said):
    with pytest.raises(SetupError, match=said) as error:
        _check(client, "tcp://10.0.0.1:8786")
    assert "Install the same requirements.txt there" in str(error.value)
    assert len(str(error.value)) < 400


def test_the_same_versions_and_a_later_patch_of_python_are_fine():
    _check(Told(), "tcp://10.0.0.1:8786")
    _check(Told(worker={"python": "3.11.9.final.0"}, scheduler={"numpy": None}), "tcp://10.0.0.1:8786")


def test_what_ends_on_workers_is_a_sentence():
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    def raising(error):
        raise error

    for error, said in (
        (ModuleNotFoundError("No module named 'utils'"), "Start the workers in the folder of the project"),
        (KilledWorker("compute", None, 3), "too little memory"),
        (CancelledError(), "no longer answers"),
        (CommClosedError("Connection reset by peer"), "no longer answers"),
    ):
        with pytest.raises(SetupError, match=said):
            _found(lambda one=error: raising(one))
