"""A blocking flock with a bound: fair between processes, and nobody waits for ever.

Polling a lock starves beside others that block for it, so the wait blocks too, in a thread of its own
that is only started when the lock is not free at once. A thread that gets the lock after its caller
has given up lets go of it again.
"""

from __future__ import annotations

import _thread
import fcntl
import os

from queue_core import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class locked:
    """Hold the exclusive lock on a file for a block; StoreBusy when it is not had within `patience` seconds."""

    def __init__(self, path: str, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._descriptor = -1

    def __enter__(self) -> None:
        descriptor = _open(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _Wait(descriptor).bounded(self._patience)
        self._descriptor = descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class _Wait:
    """One caller's wait in a thread of its own, which the caller may abandon."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._decided = _thread.allocate_lock()  # whoever takes it first says what becomes of the lock
        self._had = _thread.allocate_lock()
        self._had.acquire()

    def bounded(self, patience: float) -> None:
        _thread.start_new_thread(self._block, ())
        if self._had.acquire(timeout=patience) or not self._decided.acquire(blocking=False):
            return
        raise errors.StoreBusy(
            "the queue is busy: another process has held its lock for too long; try again in a moment"
        )

    def _block(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        if self._decided.acquire(blocking=False):
            self._had.release()
        else:
            os.close(self._descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        from errno import EROFS

        refused = errors.StoreReadOnly if error.errno == EROFS else errors.StoreError
        raise refused(
            f"{path} cannot be opened ({error.strerror}); make its folder writable or set RUNQ_HOME to another one"
        ) from None
