"""Who lives: a flock that is held for life tells it, whatever clocks, sleeps and pids may say."""

from __future__ import annotations

import fcntl
import os

from queue_core.home import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from queue_core.home import Home


def worker_lives(home: Home, worker: str) -> bool:
    """Whether the worker of this id holds its lock. A stopped (SIGSTOP) worker lives."""
    try:
        descriptor = os.open(home.worker_lock(worker), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:  # any other error says nothing of the worker
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def living_workers(home: Home) -> set[str]:
    """The ids of all workers that live, as their locks alone tell."""
    try:
        names = os.listdir(home.path("workers"))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    ids = (name.removesuffix(".lock") for name in names if name.endswith(".lock"))
    return {worker for worker in ids if worker_lives(home, worker)}


def ask_to_leave(home: Home, worker: str, *, now: bool) -> None:
    """Have a worker leave when it next looks: a file says it, since its pid may be that of somebody's program.

    What is asked is added to what was asked before, so that a second, stronger wish is never half of both.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(_request(home, worker), flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"stop" if now else b"finish")


def asked_to_leave(home: Home, worker: str) -> Literal["finish", "stop"] | None:
    """The most that somebody has asked this worker to do."""
    try:
        descriptor = os.open(_request(home, worker), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return "stop" if b"stop" in file.read() else "finish"
    except FileNotFoundError:
        return None


def forget_worker(home: Home, worker: str) -> None:
    """Remove what a dead worker left in the home."""
    for path in (_request(home, worker), home.worker_lock(worker)):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def _request(home: Home, worker: str) -> str:
    return home.path("workers", worker + ".leave")


class LifeLock:
    """A worker's own proof of life, held until the process ends."""

    def __init__(self, home: Home, worker: str) -> None:
        make_folder(home.path("workers"))
        self._home, self._worker = home, worker
        self._descriptor = os.open(home.worker_lock(worker), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        # A fork of a program that has a worker inside is not the worker, and must not look like it.
        os.register_at_fork(after_in_child=self._let_go)

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Stop living: only after nothing is this worker's any more."""
        forget_worker(self._home, self._worker)
        self._let_go()
