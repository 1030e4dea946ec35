"""What an agent's command cannot do: gain rights that its user has not (sudo, set-user-ID), or simply leave a core.

NO_NEW_PRIVS belongs to a thread, goes on to what that spawns, and is never taken back. So the spawn is
done by a thread of its own: what persons and hooks have queued is not concerned.
"""

from __future__ import annotations

import _thread
import errno
import os
import sys

from queue_core.errors import SpawnFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SET_NO_NEW_PRIVS = 38
_prctl: Any = None


def confined(spawn: Callable[[], int]) -> int:
    """Call `spawn` where what it spawns is confined; returns and raises what it does.

    SpawnFailed on a Linux where that is not possible; other systems have nothing of the kind.
    """
    if not sys.platform.startswith("linux"):
        return _without_core(spawn)
    _load()
    return _without_core(lambda: _in_own_thread(lambda: _without_new_privileges(spawn)))


def _load() -> None:
    """Only keepers that run agents' commands pay for it."""
    global _prctl
    if _prctl is None:
        try:
            import ctypes

            loaded = ctypes.CDLL(None, use_errno=True).prctl
        except (ImportError, AttributeError) as error:
            raise _impossible(str(error)) from None
        loaded.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
        _prctl = loaded


def _without_new_privileges(spawn: Callable[[], int]) -> int:
    if _prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        import ctypes

        raise _impossible(os.strerror(ctypes.get_errno()))
    return spawn()


def _impossible(why: str) -> SpawnFailed:
    return SpawnFailed(
        f"An agent's command can't be kept from gaining rights here (NO_NEW_PRIVS: {why}); a person may queue it."
    )


class _Spawner:
    """A thread that makes calls one by one, for as long as the process lives.

    It must not end before what it has spawned: to a command that wants to die with its parent (PDEATHSIG) the
    parent is this thread.
    """

    def __init__(self) -> None:
        self._call: Callable[[], int] | None = None
        self._returned = 0
        self._raised: BaseException | None = None
        self._wanted, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._wanted.acquire()
        self._done.acquire()
        try:
            _thread.start_new_thread(self._serve, ())
        except RuntimeError as error:  # the system's trouble, which passes
            raise OSError(errno.EAGAIN, str(error)) from None

    def run(self, call: Callable[[], int]) -> int:
        """What the call returns or raises. Signals still come to the main thread, which waits here for milliseconds."""
        self._call, self._raised = call, None
        self._wanted.release()
        self._done.acquire()
        if self._raised:
            raise self._raised
        return self._returned

    def _serve(self) -> None:
        while True:
            self._wanted.acquire()
            try:
                self._returned = self._call() if self._call else 0
            except BaseException as error:
                self._raised = error
            self._call = None
            self._done.release()


_spawner: _Spawner | None = None


def _in_own_thread(call: Callable[[], int]) -> int:
    global _spawner
    if _spawner is None:
        _spawner = _Spawner()
    return _spawner.run(call)


def _without_core(call: Callable[[], int]) -> int:
    """With no core file to be written: one would hold what the command had in memory."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        return call()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
