"""Who writes something holds it: told to others, given back whatever ends the holder, and never in the way."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from utils import locks
from utils.locks import Holder, hold, holder_of, holds
from utils.paths import ROOT

HOLD = """
import sys
from pathlib import Path
from utils.locks import hold, introduce
introduce("the_other")
with hold(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(path: Path):
    """Another process that holds `path` while the block runs."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "True\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def refuse(holder: Holder) -> Exception:
    return PermissionError(str(holder))


def test_another_is_told_who_holds_it_and_since_when(tmp_path):
    path = tmp_path / "models" / "m"
    with another(path) as process:
        holder = holder_of(path)
        assert (holder.page, holder.process) == ("the_other", process.pid)
        with (
            pytest.raises(
                PermissionError, match=rf"the page the_other \(process {process.pid} on .*since \d+ \w+ \d+, "
            ),
            hold(path, refuse, wait=0),
        ):
            raise AssertionError
        with hold(path, wait=0) as held:  # nothing is refused: it only knows
            assert not held
            assert not holds(path)
        with hold(tmp_path / "models" / "n", refuse, wait=0) as held:
            assert held
    assert holder_of(path) is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_end_of_the_holder_ends_the_lock_at_once(how, tmp_path):
    path = tmp_path / "m"
    with another(path) as process:
        if how:
            process.send_signal(how)
        else:
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait()
        assert (tmp_path / ".m.lock").exists() == bool(how)  # left behind by a kill, and in nobody's way
        assert holder_of(path) is None
        with hold(path, refuse, wait=0) as held:
            assert held
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("how", [KeyboardInterrupt, ValueError, SystemExit, GeneratorExit, None])
def test_whatever_ends_the_block_gives_it_back(how, tmp_path):
    path = tmp_path / "new" / "folder" / "m"
    with pytest.raises(how) if how else nullcontext(), hold(path, refuse):
        assert holds(path)
        assert holds(path / "training" / "head")
        assert not holds(path.parent)
        if how:
            raise how
    assert not holds(path)
    assert os.listdir(tmp_path) == []  # folders made for the lock alone are gone, too


def test_a_process_may_hold_the_same_several_times(tmp_path):
    path = tmp_path / "m"
    with hold(path, refuse):
        with hold(tmp_path / "x" / ".." / "m", refuse), hold(path, refuse), hold(path / "fold_1", refuse):
            assert holds(path)
            path.mkdir(exist_ok=True)
        with another(path / "fold_1"):
            pass  # given back, while the outer one is held
        assert holds(path)
        path.rename(tmp_path / "m.2026-01-31")  # what is held may be moved away
        assert holds(path)
    assert not holds(path)
    assert os.listdir(tmp_path) == ["m.2026-01-31"]


def test_a_folder_by_another_way_is_the_same(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to("m")
    with another(tmp_path / "link"):
        assert holder_of(tmp_path / "m").page == "the_other"


def test_one_that_only_looks_is_in_nobodys_way(tmp_path):
    with another(tmp_path / "m"), hold(tmp_path / "m", wait=0) as held:
        assert not held
    for _ in range(20):
        with hold(tmp_path / "m", refuse, wait=0) as held:
            assert held
        assert holder_of(tmp_path / "m") is None


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.ENAMETOOLONG])
def test_a_disk_that_takes_no_such_file_is_in_nobodys_way(code, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.os, "open", refused)
    with hold(tmp_path / "m", refuse) as held:
        assert not held
    assert holder_of(tmp_path / "m") is None


def test_a_file_where_the_folder_should_be_is_in_nobodys_way(tmp_path):
    (tmp_path / "models").write_text("mine")
    with hold(tmp_path / "models" / "m", refuse) as held:
        assert not held
    assert (tmp_path / "models").read_text() == "mine"


@pytest.fixture(params=["no locks", "locks of one computer"])
def odd_disk(request, monkeypatch):
    """A disk that knows no locks, or grants what another computer holds."""
    monkeypatch.setattr(locks, "_try_to_lock", lambda _: None if request.param == "no locks" else True)
    return request.param


def signed(path: Path, age: float, **who) -> None:
    holder = {"page": "far", "process": os.getppid(), "machine": "elsewhere", "since": "2026-01-31T12:40"} | who
    path.write_text(json.dumps(holder))
    os.utime(path, (time.time() - age,) * 2)


@pytest.mark.parametrize(("age", "alive"), [(0, True), (60, True), (130, False), (-60, True), (1e6, False)])
def test_signs_of_life_where_the_system_cannot_tell(odd_disk, age, alive, tmp_path):
    signed(tmp_path / ".m.lock", age)
    assert (holder_of(tmp_path / "m") is not None) == alive
    if alive:
        with (
            pytest.raises(PermissionError, match="page far .* on the computer elsewhere.*since 31 January 2026, 12:40"),
            hold(tmp_path / "m", refuse, wait=0),
        ):
            raise AssertionError
    else:
        with hold(tmp_path / "m", refuse, wait=0) as held:
            assert held
            assert json.loads((tmp_path / ".m.lock").read_text())["process"] == os.getpid()


def test_the_holder_gives_signs_of_life(odd_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "SIGN", 0.01)
    with hold(tmp_path / "m", refuse):
        os.utime(tmp_path / ".m.lock", (0, 0))
        end = time.monotonic() + 5
        while (tmp_path / ".m.lock").stat().st_mtime == 0:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert holds(tmp_path / "m") == (odd_disk != "no locks")


def test_a_process_of_this_computer_that_has_ended_needs_no_silence(odd_disk, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    signed(tmp_path / ".m.lock", 0, machine=locks.platform.node(), process=ended.pid)
    with hold(tmp_path / "m", refuse, wait=0) as held:
        assert held


def test_what_another_took_over_is_not_taken_from_it(odd_disk, tmp_path):
    with hold(tmp_path / "m", refuse):
        signed(tmp_path / ".m.lock", 0)  # this computer slept for long
    assert json.loads((tmp_path / ".m.lock").read_text())["page"] == "far"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"page": 1, "more": 2}', "\x00" * 50, "x" * 5000])
def test_a_damaged_file_of_a_lock_is_in_nobodys_way(text, tmp_path):
    (tmp_path / ".m.lock").write_text(text)
    assert holder_of(tmp_path / "m") is None
    with hold(tmp_path / "m", refuse, wait=0) as held:
        assert held
        assert json.loads((tmp_path / ".m.lock").read_text()[: locks.SIZE])["process"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_a_file_removed_while_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """Whoever gives a lock back removes its file: one opened just before is nobody's any more."""
    original, calls = locks._try_to_lock, []

    def slow(descriptor):
        calls.append(1)
        if len(calls) == 1:
            (tmp_path / ".m.lock").unlink()
        return original(descriptor)

    monkeypatch.setattr(locks, "_try_to_lock", slow)
    with hold(tmp_path / "m", refuse), another_is_refused(tmp_path / "m"):
        assert len(calls) == 2


@contextmanager
def another_is_refused(path: Path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom utils.locks import holder_of\nprint(holder_of(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"process {os.getpid()}" in done.stdout
    yield


RACE = """
import sys, time
from pathlib import Path
from utils.locks import hold
path, rounds = Path(sys.argv[1]), int(sys.argv[2])
counter = path.parent / "counter"
for _ in range(rounds):
    with hold(path, lambda holder: RuntimeError(str(holder)), wait=30) as held:
        assert held
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_many_at_once_lose_nothing(tmp_path):
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", RACE, str(tmp_path / "m"), "20"]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "60"
    assert os.listdir(tmp_path) == ["counter"]
