"""Who lives: a flock that is held for life tells it, whatever clocks, sleeps and pids may say."""

from __future__ import annotations

import fcntl
import os

from queue_core.home import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home


def worker_lives(home: Home, worker: str) -> bool:
    """Whether the worker of this id holds its lock. A stopped (SIGSTOP) worker lives."""
    try:
        descriptor = os.open(home.worker_lock(worker), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class LifeLock:
    """A worker's own proof of life, held until the process ends."""

    def __init__(self, home: Home, worker: str) -> None:
        make_folder(home.path("workers"))
        self._path = home.worker_lock(worker)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Stop living: only after nothing is this worker's any more."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        os.close(self._descriptor)
