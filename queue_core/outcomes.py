"""From what the keeper recorded to what the store settles: raw wait statuses become outcomes."""

from __future__ import annotations

import os

from queue_core.jobs import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.keeper.records import End, Record
    from queue_core.model import OutcomeKind

PROGRESS = 512  # bytes at the end of a progress file that are looked at
TAIL = 8192  # bytes of an attempt's output that stand in the database
_BY_REASON: dict[str, OutcomeKind] = {
    "timed_out": "timed_out",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}
NEVER_STARTED = Outcome(kind="never_started")


def of_end(end: End, *, started_at: float | None, tail: bytes) -> Outcome:
    """The outcome that a recorded end means."""
    if end.status is None:
        return Outcome(kind="spawn_failed", error=end.error, started_at=started_at, finished_at=end.ended_at)
    signal = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else None
    kind: OutcomeKind = _BY_REASON.get(end.reason or "") or ("exited" if signal is None else "signalled")
    return Outcome(
        kind=kind,
        exit_code=os.WEXITSTATUS(end.status) if signal is None else None,
        signal=signal,
        started_at=started_at,
        finished_at=end.ended_at,
        user_seconds=end.user_seconds,
        system_seconds=end.system_seconds,
        max_rss_kib=end.max_rss,
        output_bytes=end.output_bytes,
        cut_bytes=end.cut_bytes,
        tail=tail,
    )


def lost(record: Record | None, *, tail: bytes, now: float) -> Outcome:
    """Nobody knows how it ended: its keeper or the machine died while it ran."""
    started_at = record.start.started_at if record and record.start else None
    return Outcome(kind="lost", started_at=started_at, finished_at=now, tail=tail)


def tail_of(run_dir: str, size: int = TAIL) -> bytes:
    """The last bytes of a claim's output; empty if there is none."""
    return _end_of(run_dir + "/output", size)


def progress_of(run_dir: str) -> str | None:
    """The last line that a command has written to the file named in `RUNQ_PROGRESS`; None if there is none."""
    lines = _end_of(run_dir + "/progress", PROGRESS).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def _end_of(path: str, size: int) -> bytes:
    """The last bytes of a file that a command may have put something else in the place of: never waits for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        length = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, max(0, length - size))
    except OSError:  # no regular file
        return b""
    finally:
        os.close(descriptor)


class OutputFile:
    """What an attempt wrote: the file on disk, or the tail that the database has kept of it."""

    def __init__(self, path: str | None, tail: bytes = b"") -> None:
        self._path = path
        self._tail = tail
        self.size = os.path.getsize(path) if path is not None else len(tail)

    def read(self, offset: int, length: int) -> bytes:
        """A piece of it; shorter at the end."""
        if self._path is None:
            return self._tail[offset : offset + length]
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
