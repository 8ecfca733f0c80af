"""Whoever writes a folder or a file holds it, so that two pages cannot write it at once.

A lock is one of the operating system on a small hidden file beside what is held, ``.my_unet.lock``: it ends with the
process that took it, however that ends. Where the disk knows no locks (some network drives), or only among the programs
of one computer (Google Drive in Colab), the time of that file is a sign of life which its holder renews. Where no such
file can be written the work goes on without: a lock must never stop what would have worked.
"""

import errno
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

SIGN, SILENCE = 30, 120  # seconds between signs of life, and without one after which a holder is taken for dead
PATIENCE = 1.0  # seconds in which another may only be looking, see `holder_of`
FAR = 2**30  # Windows lets nobody read a byte that is locked: one beyond all that is written
TAKEN = {errno.EAGAIN, errno.EACCES, errno.EDEADLK, errno.EWOULDBLOCK}
SIZE = 1000  # bytes of what the holder writes, so that nothing of an earlier, longer one is left
ATTEMPTS = 20  # to lock a file that others remove just then
_here = {"page": ""}


@dataclass(frozen=True)
class Holder:
    """Who holds something: the page (notebook), its process and computer, and since when (ISO, to the minute)."""

    page: str = ""
    process: int = 0
    machine: str = ""
    since: str = ""

    def __str__(self) -> str:
        """'the page unet_segmentation (process 4711 on the computer lab3), since 26 November 2026, 12:40'."""
        page = f"the page {self.page}" if self.page else "another page or program"
        where = f" (process {self.process} on the computer {self.machine})" if self.process else ""
        return f"{page}{where}{f', since {in_words(self.since)}' if self.since else ''}"


@dataclass
class _Lock:
    """A lock of this process: how often it was taken, whether the system grants it, and what ends its signs of life."""

    file: Path
    descriptor: int
    granted: bool
    count: int = 0
    made: list[Path] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


_held: dict[str, _Lock] = {}


def introduce(page: str) -> None:
    """Say once which page this is: another one is told so where it wants what this one holds."""
    _here["page"] = page[:100]


def this_page() -> str:
    """Name of this page, empty where it was not introduced."""
    return _here["page"]


def in_words(moment: str | datetime) -> str:
    """A moment for a person: ``26 November 2026, 12:40``."""
    try:
        one = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return str(moment)
    return f"{one.day} {one:%B %Y, %H:%M}"


@contextmanager
def hold(path: Path, refuse: Callable[[Holder], Exception] | None = None, wait: float = PATIENCE) -> Iterator[bool]:
    """Hold `path`, a folder or file that need not exist, while the block runs; this process may hold it several times.

    Parameters
    ----------
    path
        What is written.
    refuse
        Makes the error that is raised where another holds it after `wait` seconds; None: the block runs all the same.
    wait
        Seconds to wait for another.

    Yields
    ------
    bool
        Whether it is held; False where the disk allows no lock, or another holds it and `refuse` is None.
    """
    key = _key(path)
    lock = _held.get(key) or _taken(Path(key), refuse, wait)
    if lock is None:
        yield False
        return
    _held[key] = lock
    lock.count += 1
    try:
        yield True
    finally:
        lock.count -= 1
        if not lock.count:
            del _held[key]
            _release(lock)


def holds(path: Path) -> bool:
    """Whether this process, and surely no other, holds `path` or a folder around it."""
    place = Path(_key(path))
    return any((one := _held.get(str(folder))) is not None and one.granted for folder in (place, *place.parents))


def holder_of(path: Path) -> Holder | None:
    """The other process that holds `path` now, None where there is none, or nothing to be learned."""
    key = _key(path)
    file = _file(Path(key))
    if key in _held or not os.path.exists(file):
        return None
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return None
    try:
        return _other(descriptor, _try_to_lock(descriptor))
    finally:
        os.close(descriptor)


def _key(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _file(path: Path) -> Path:
    """The lock's file: beside `path`, since a folder may be renamed; in it where it is a whole disk."""
    return path.with_name(f".{path.name}.lock") if path.name else path / ".lock"


def _taken(path: Path, refuse: Callable[[Holder], Exception] | None, wait: float) -> _Lock | None:
    """The lock on `path`; None where there is none to be had, or another has it and nothing is refused."""
    end = time.monotonic() + wait
    while isinstance(found := _take(_file(path)), Holder):
        if time.monotonic() >= end:
            if refuse is None:
                return None
            raise refuse(found)
        time.sleep(0.05)
    return found


def _take(file: Path) -> _Lock | Holder | None:
    """The lock of `file`, who else has it, or None where the disk takes no such file."""
    missing = [folder for folder in file.parents if not folder.exists()]
    for _ in range(ATTEMPTS):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        granted = _try_to_lock(descriptor)
        other = _other(descriptor, granted)
        if other is None and _is_there(file, descriptor):
            return _begun(_Lock(file, descriptor, bool(granted), made=missing))
        os.close(descriptor)
        if other is not None:
            return other
    return None


def _begun(lock: _Lock) -> _Lock | None:
    """The lock with its holder written into the file, and signs of life from now on; None where that is refused."""
    now = datetime.now().isoformat(timespec="minutes")
    mine = json.dumps(asdict(Holder(_here["page"], os.getpid(), platform.node(), now)))
    try:
        os.lseek(lock.descriptor, 0, os.SEEK_SET)
        os.write(lock.descriptor, mine.ljust(SIZE).encode())
    except OSError:  # the disk is full: that is told where it matters
        _release(lock)
        return None
    threading.Thread(target=_give_signs, args=(lock.file, lock.over), daemon=True).start()
    return lock


def _give_signs(file: Path, over: threading.Event) -> None:
    while not over.wait(SIGN):
        with suppress(OSError):
            os.utime(file)


def _release(lock: _Lock) -> None:
    """Give the lock back; its file, and folders that were made for it and stayed empty, go."""
    lock.over.set()
    own = _read(lock.descriptor).process in (0, os.getpid())  # another may have taken it for dead
    if os.name == "nt":  # which removes no open file
        os.close(lock.descriptor)
    if own:
        with suppress(OSError):
            lock.file.unlink()
    if os.name != "nt":
        os.close(lock.descriptor)
    for folder in lock.made:
        with suppress(OSError):
            folder.rmdir()


def _try_to_lock(descriptor: int) -> bool | None:
    """Whether the system locks the open file for this process; None where the disk knows no locks."""
    try:
        if os.name == "nt":
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in TAKEN else None
    return True


def _other(descriptor: int, granted: bool | None) -> Holder | None:
    """Who else has the lock: the system said so, or could not know and there are signs of life."""
    holder, here = _read(descriptor), platform.node()
    if granted is False:
        return holder
    if not holder.process or (holder.machine == here and (granted or _has_ended(holder.process))):
        return None
    silent = abs(time.time() - os.fstat(descriptor).st_mtime) > SILENCE
    return None if silent else holder


def _has_ended(process: int) -> bool:
    """Whether a process of this computer, which had a lock that the disk does not know of, runs no more."""
    if process == os.getpid():
        return True  # one of that number before this one
    if os.name == "nt":  # which has no harmless signal
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _read(descriptor: int) -> Holder:
    """What the holder wrote into the lock's file; an empty `Holder` where nothing can be read.

    The file is not opened a second time: on network drives closing it would end the lock.
    """
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return Holder(**json.loads(os.read(descriptor, 2 * SIZE)))
    except (OSError, ValueError, TypeError):
        return Holder()


def _is_there(file: Path, descriptor: int) -> bool:
    """Whether the open file still has its name: whoever gave the lock back has removed it."""
    if os.name == "nt":  # which removes no open file
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False
