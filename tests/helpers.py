"""What tests of every part share."""

import fcntl
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from queue_core.keeper import processes

T = TypeVar("T")


class HasFileno(Protocol):
    def fileno(self) -> int: ...


POLL_SECONDS = 0.01
PATIENCE = 60  # seconds for what takes milliseconds on an idle machine; only a test that fails waits for so long
# For commands that have to be up when their time is over: a busy machine may miss the shorter ones.
TIME_OUTS = (0.5, 3.0, 20.0)
MEMORY = "/dev/shm"  # where there is one


def rung(bell: HasFileno | int) -> bool:
    """Whether somebody has rung."""
    return bool(select.select([bell], [], [], 0)[0])


def wait_until(predicate: Callable[[], T], description: str, timeout: float = PATIENCE) -> T:
    """Poll until `predicate()` is true and return what it gave; after `timeout` seconds fail by that name."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {description}")
        time.sleep(POLL_SECONDS)
    return value


def stop(pid: int, lock: str) -> None:
    """SIGSTOP, but not while this process holds a lock that others need."""

    def is_stopped_without_it() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(map(processes.stopped, _threads(pid))), f"{pid} is stopped")
        if not _is_held(lock):
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_until(is_stopped_without_it, f"{pid} is stopped and holds up nobody")


def _threads(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def _is_held(lock: str) -> bool:
    with open(lock, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open: it may open and close more meanwhile, which is left out."""
    found: dict[int, str] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def remove(folder: Path) -> None:
    """Remove a folder from which a worker or a keeper that leaves may be removing files just now."""

    def gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(gone, f"{folder} is gone")


@contextmanager
def short_folder() -> Generator[Path]:
    """An empty folder, gone afterwards. Not tmp_path: the path of a keeper's socket has to be short, and in memory the
    disk costs nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="runq-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        yield folder
    finally:
        remove(folder)
