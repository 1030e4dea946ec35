"""Which process is which: boot, pid namespace, start time, and the members of a command's tree.

A pid alone means nothing: it is used again, and another container counts its own. A process is named
by its pid and start ticks, under one boot id and one pid namespace. Systems without /proc (macOS) have
no start ticks here; there a process is never taken for alive by its pid, and a tree is its first group.
"""

from __future__ import annotations

import errno
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    Lock = tuple[int, int]  # device and inode of a claim's record, which is its lock

TOKEN_VARIABLE = "RUNQ_CLAIM_TOKEN"
LOCK_FD = 198  # at which a command finds its claim's lock: scripts use the low numbers
HAVE_PROC = os.path.exists("/proc/self/stat")

# Places in /proc/PID/stat, counted from the field behind the parenthesised name.
_STATE, _SESSION, _THREADS, _START_TICKS = 0, 3, 17, 19


def boot_id() -> str:
    """What changes when the machine starts again; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return _boot_session_of_macos() if sys.platform == "darwin" else ""


def _boot_session_of_macos() -> str:
    import ctypes

    size = ctypes.c_size_t(64)
    text = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0)
    return text.value.decode("ascii", "replace")


def pid_namespace() -> int:
    """The inode of this process's pid namespace; 0 where there are none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def start_ticks(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot; None if it is gone or a zombie."""
    fields = _stat(pid)
    return int(fields[_START_TICKS]) if fields else None


class Births:
    """The start ticks of children, by the clock where that is as sure: /proc takes as long as much of a spawn.

    A child that was spawned between two looks at the clock within one tick started in that tick. Only if the first
    ones were in /proc what the clock says of them, and one in so many after them: another system may count otherwise,
    or begin to (a container that was frozen and thawed elsewhere has another time namespace).
    """

    COMPARED_FIRST, COMPARED_AGAIN = 3, 64

    def __init__(self) -> None:
        self._clock = getattr(time, "CLOCK_BOOTTIME", None) if HAVE_PROC else None
        self._tick, rest = divmod(10**9, os.sysconf("SC_CLK_TCK"))  # nanoseconds
        if rest:
            self._clock = None
        self._trusted_for = 0  # how many more
        self._alike = 0  # how many were, until it is trusted

    def now(self) -> int | None:
        """The tick that it is; None if there is no clock to trust."""
        return None if self._clock is None else time.clock_gettime_ns(self._clock) // self._tick

    def ticks(self, pid: int, born: int | None) -> int | None:
        """The start ticks of a child; `born` is what `now` was both before and after its spawn, None if it differed.

        None if it has ended unseen. OSError if the system has no descriptors left to look with.
        """
        if born is None or self._clock is None:
            return start_ticks(pid)
        if self._trusted_for:
            self._trusted_for -= 1
            return born
        seen = start_ticks(pid)
        if seen is not None:
            self._clock = self._clock if seen == born else None
            self._alike += 1
            self._trusted_for = self.COMPARED_AGAIN if self._alike >= self.COMPARED_FIRST else 0
        return seen


def stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP, Ctrl-Z); False where the system does not tell."""
    return _stat(pid)[_STATE : _STATE + 1] == [b"T"]


def members(session: int, token: str | None, lock: Lock | None = None) -> list[int]:
    """Living processes of a session, and those that carry the claim's token in their environment, or its lock.

    The numbers are what `os.kill` takes: without /proc it is the session's first process group,
    as a negative number, if it still exists. A session of 0 stands for none. OSError if the system has no
    descriptors left to look with.
    """
    if not HAVE_PROC:
        return _group_of(session)
    mark = f"\0{TOKEN_VARIABLE}={token}\0".encode() if token else b""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if _belongs(pid, session, mark, lock)]


def _belongs(pid: int, session: int, mark: bytes, lock: Lock | None) -> bool:
    fields = _stat(pid)
    if not fields or pid == os.getpid():
        return False
    if session and int(fields[_SESSION]) == session:
        return True
    if mark and mark in b"\0" + _read(f"/proc/{pid}/environ"):
        return True
    return lock is not None and _has_lock(pid, lock)


def _has_lock(pid: int, lock: Lock) -> bool:
    """Whether it has inherited this lock: who cleans the environment seldom closes all descriptors as well."""
    try:
        found = os.stat(f"/proc/{pid}/fd/{LOCK_FD}")
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == lock


def _group_of(session: int) -> list[int]:
    try:
        os.killpg(session, 0) if session else None
    except OSError:
        return []
    return [-session] if session else []


def _stat(pid: int) -> list[bytes]:
    """The fields behind the name; none for a process that is gone or a zombie: it can do nothing more.

    One whose first thread alone has ended looks like a zombie, but for the number of its threads.
    """
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    dead = not fields or (fields[_STATE] in (b"Z", b"X") and int(fields[_THREADS]) < 2)
    return [] if dead else fields


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = piece = os.read(fd, 65536)
            while piece:
                piece = os.read(fd, 65536)
                content += piece
            return content
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # that says nothing of the process
        return b""  # gone in the meantime, or somebody else's
