"""From what a claim has left on disk to what the store settles and people are shown: its end, its output.

Raw wait statuses become outcomes; in outputs secrets are masked, on disk before the end is settled (`seal`), and
in memory for whoever reads one.
"""

from __future__ import annotations

import errno
import os
import stat

from queue_core.jobs import Outcome
from queue_core.keeper import records
from queue_core.secret_shapes import CONTEXT, mask, own_secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from queue_core.keeper.records import End, Record
    from queue_core.model import OutcomeKind
    from queue_core.settings import Settings

PROGRESS = 512  # bytes at the end of a progress file that are looked at
TAIL = 8192  # bytes of an attempt's output that stand in the database
WINDOW = 256 * 1024  # bytes of an output that are looked through at once
PAGE = 4096  # bytes of which something is masked that are written again
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


# What is to be masked in an output besides tokens of known shapes; None where the user wants it kept as it is.
Secrets = tuple[bytes, ...] | None


def secrets_of(env: Mapping[str, str], settings: Settings) -> Secrets:
    """What is to be masked in the output of a job with these variables."""
    return own_secrets(env) if settings.output_secrets == "mask" else None


def output_size(run_dir: str) -> int | None:
    """How many bytes a claim's output has; None if there is no such file, or something else in its place."""
    try:
        found = os.lstat(run_dir + "/output")
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def seal(run_dir: str, secrets: Secrets) -> bytes:
    """Mask the secrets in the output of a claim that is over, where it lies; its last bytes, for the database.

    To be done before the end is settled. Doing it again changes nothing, so that whoever was killed half
    way leaves the rest to the next. What cannot be written is masked in the tail alone, and by whoever reads it.
    """
    path = run_dir + "/output"
    if secrets is None:
        return _end_of(path, TAIL, None)
    descriptor = _open(path, os.O_RDWR)
    writable = descriptor is not None and os.fstat(descriptor).st_nlink == 1  # else it is somebody's file as well
    descriptor = _open(path, os.O_RDONLY) if descriptor is None else descriptor
    if descriptor is None:
        return b""
    try:
        return _masked_in_place(descriptor, secrets, writable=writable)[-TAIL:]
    except OSError:  # a failing disk
        return _end_of(path, TAIL, secrets)
    finally:
        os.close(descriptor)


def _masked_in_place(descriptor: int, secrets: tuple[bytes, ...], *, writable: bool) -> bytes:
    """Window by window, overlapping by more than a secret is long; the last one as it is now."""
    size, at, now = os.fstat(descriptor).st_size, 0, b""
    while (at := _next_data(descriptor, at, size)) < size:
        was = os.pread(descriptor, WINDOW, at)
        now = mask(was, secrets)
        if writable and now != was:
            _write_pages(descriptor, at, was, now)
        if at + len(was) >= size or len(was) <= CONTEXT:
            break
        at += len(was) - CONTEXT
    return now


def _next_data(descriptor: int, at: int, size: int) -> int:
    """Where the file goes on that is no hole: what a keeper had cut, and died before it closed it up."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA) if at < size else size
    except AttributeError:
        return at
    except OSError as error:
        return size if error.errno == errno.ENXIO else at


def _write_pages(descriptor: int, at: int, was: bytes, now: bytes) -> None:
    for page in range(0, len(now), PAGE):
        if now[page : page + PAGE] != was[page : page + PAGE]:
            os.pwrite(descriptor, now[page : page + PAGE], at + page)


def tail_of(run_dir: str, size: int = TAIL, *, secrets: Secrets = ()) -> bytes:
    """The last bytes of a running claim's output, as they may be shown; empty if there is none."""
    return _end_of(run_dir + "/output", size, secrets, growing=True)


def progress_of(run_dir: str, *, secrets: Secrets = ()) -> str | None:
    """The last line that a command has written to the file named in `RUNQ_PROGRESS`; None if there is none."""
    lines = _end_of(run_dir + "/progress", PROGRESS, secrets, growing=True).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def open_output(path: str) -> int | None:
    """An output, to be read. A command may have put something else in its place: never waits for it, nor follows it."""
    return _open(path, os.O_RDONLY)


def _open(path: str, how: int) -> int | None:
    if not records.is_own_folder(os.path.dirname(path)):
        return None
    try:
        descriptor = os.open(path, how | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _end_of(path: str, size: int, secrets: Secrets, *, growing: bool = False) -> bytes:
    """The last bytes of a file, as they may be shown."""
    descriptor = open_output(path)
    if descriptor is None:
        return b""
    try:
        length = os.fstat(descriptor).st_size
        return piece(descriptor, max(0, length - size), size, secrets, growing=growing)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def piece(descriptor: int, offset: int, length: int, secrets: Secrets, *, growing: bool = False) -> bytes:
    """Bytes of an output as they may be shown, shorter at the end; what lies around them tells what is a secret.

    `growing`: the command may be in the middle of writing one.
    """
    if secrets is None:
        return os.pread(descriptor, length, offset)
    begin = max(0, offset - CONTEXT)
    wanted = offset - begin + length + CONTEXT
    around = os.pread(descriptor, wanted, begin)
    masked = mask(around, secrets, growing=growing and len(around) < wanted) if around else b""
    return masked[offset - begin : offset - begin + length]


class OutputFile:
    """What an attempt wrote, as it may be shown: the file on disk, or the tail that the database has kept of it."""

    def __init__(self, path: str | None, tail: bytes = b"", *, secrets: Secrets = (), growing: bool = False) -> None:
        self._path = path
        self._tail = tail if secrets is None else mask(tail, secrets)
        self._secrets = secrets
        self._growing = growing
        self.size = os.lstat(path).st_size if path is not None else len(tail)

    def read(self, offset: int = 0, length: int = TAIL) -> bytes:
        """A piece of it; shorter at the end. FileNotFoundError if it has been removed."""
        if self._path is None:
            return self._tail[offset : offset + length]
        descriptor = open_output(self._path)
        if descriptor is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._path)
        try:
            return piece(descriptor, offset, length, self._secrets, growing=self._growing)
        finally:
            os.close(descriptor)
