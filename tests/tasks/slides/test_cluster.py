"""Who computes the tiles, and who dies meanwhile, changes nothing."""

import os
import signal

import numpy as np
import pytest

from tests.tasks.slides.test_compute import job_of, whole
from utils.errors import SetupError
from utils.tasks.slides import cluster
from utils.tasks.slides.cluster import HERE, LOCAL, all_answers, connected

RNG = np.random.default_rng(0)


def test_a_scheduler_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("utils.tasks.slides.cluster.PATIENCE", "1s")
    with pytest.raises(SetupError, match="No scheduler answers at tcp://127.0.0.1:1 "), connected("tcp://127.0.0.1:1"):
        pass
    with pytest.raises(SetupError, match="No scheduler answers at somewhere"), connected("somewhere"):
        pass


def test_a_scheduler_without_workers_is_said():
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None, processes=False) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(SetupError, match="has no workers"), connected(address):
            pass


def test_a_scheduler_with_other_versions_is_refused(monkeypatch):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, dashboard_address=None, processes=False) as cluster_here:
        with connected(cluster_here.scheduler_address) as client:
            assert client is not None
        here = cluster._own()
        monkeypatch.setattr(cluster, "_own", lambda: here | {"keras": "0.1"})
        told = rf"other versions of the software: keras {here['keras']} \(here 0.1\). Install the same"
        with pytest.raises(SetupError, match=told), connected(cluster_here.scheduler_address):
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
