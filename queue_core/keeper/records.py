"""What the keeper leaves on disk for a claim: `record` and `output` in the claim's own directory.

The record has its final size from the beginning, so that a full disk can refuse a start but never an
end. It has three fixed parts, each JSON behind a checksum and written once: `start` before the command
is spawned, `process` (pid and start ticks) after it, `end` when it is over. A part that is torn or not
written reads as absent. Nothing is fsynced: records are for crashes of processes, and after a crash of
the machine the boot id decides.

The command is of the same user as all this, and may remove or replace what lies here. The keeper has the
last word: at the end it puts back a record that is not its own any more.

The claim's lock is a flock on the record, held through a read-only descriptor of its own that the
command inherits as number 198 (scripts use the low ones). The keeper keeps its copy until the end is
written. So the lock is held while the command lives, with or without keeper, and while its end is not
on disk; it may be held longer, by what the command left behind: a complete record comes first.
"""

from __future__ import annotations

import errno
import os
import stat
from binascii import crc32

from queue_core import fastjson
from queue_core.keeper import locks, processes
from queue_core.value import Frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from queue_core.keeper.processes import Lock

LOCK_FD = processes.LOCK_FD
RECORD, OUTPUT = "record", "output"

# Where the parts lie: first byte, length.
_START, _PROCESS, _END = (0, 1536), (1536, 512), (2048, 2048)
_SIZE = 4096
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Start(Frozen):
    """What is known before the command runs; `pid` and `ticks` (clock ticks since boot) once it does."""

    job: int
    claim: int
    keeper: str
    boot_id: str
    pid_namespace: int
    started_at: float  # Unix time
    pid: int | None = None
    ticks: int | None = None


class End(Frozen):
    """How it ended. `status` is the raw wait status, None if it was never spawned (then `error` says why)."""

    status: int | None = None
    reason: str | None = None  # timed_out, cancelled or interrupted, if that began before it exited by itself
    error: str | None = None
    ended_at: float = 0.0  # Unix time
    user_seconds: float = 0.0
    system_seconds: float = 0.0
    max_rss: int = 0  # KiB
    output_bytes: int = 0  # as the command wrote them
    cut_bytes: int = 0  # of those, dropped by the cap


class Record(Frozen):
    """A record as far as it is complete; one without `start` belongs to a claim that never started."""

    start: Start | None = None
    end: End | None = None


def read(run_dir: str) -> Record | None:
    """The record in a claim's directory, None if there is none (or something else). OSError if it can't be read."""
    if not is_own_folder(run_dir):
        return None
    try:
        # Without waiting: a command may have put something else in its place.
        fd = os.open(_readable(run_dir), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in locks.NO_FILE:
            return None
        raise
    try:
        content = os.read(fd, _SIZE) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    start, process, end = (_unpack(content[at : at + length]) for at, length in (_START, _PROCESS, _END))
    return Record(
        start=Start(**_known(Start, start | (process or {}))) if start else None,
        end=end_of(end) if end else None,
    )


def read_own(run_dir: str, keeper: str) -> Record | None:
    """The same, None also if it is another claim's, which a command has put there."""
    record = read(run_dir)
    start = record.start if record else None
    if start and (start.job, start.claim, start.keeper) != (*claim_of(run_dir), keeper):
        return None
    return record


def claim_of(run_dir: str) -> tuple[int, int]:
    """The job and the claim whose directory this is."""
    above, claim = os.path.split(run_dir)
    return int(os.path.basename(above)), int(claim)


def is_own_folder(run_dir: str) -> bool:
    """Is this a claim's folder in its job's folder, neither of them a link that a command has put in its place?"""
    try:
        above = stat.S_ISDIR(os.lstat(os.path.dirname(run_dir)).st_mode)
        return above and stat.S_ISDIR(os.lstat(run_dir).st_mode)
    except OSError:
        return False


def locked(run_dir: str) -> bool:
    """Is the claim's lock held?"""
    return is_own_folder(run_dir) and locks.held(_readable(run_dir))


def _readable(run_dir: str) -> str:
    """The path of the record, which its user can read: a command may have taken that right away."""
    path = os.path.join(run_dir, RECORD)
    try:
        for at, kind, rights in ((run_dir, stat.S_ISDIR, 0o700), (path, stat.S_ISREG, 0o600)):
            mode = os.lstat(at).st_mode
            if kind(mode) and mode & rights != rights:
                os.chmod(at, rights)
    except OSError:  # who opens it learns what is wrong
        return path
    return path


def lock_of(run_dir: str) -> Lock | None:
    """What names the claim's lock, wherever it was inherited; None if its record is gone."""
    try:
        found = os.lstat(f"{run_dir}/{RECORD}")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def process_alive(start: Start | None) -> bool:
    """Does the recorded process live, and is it surely the same one?"""
    if start is None or start.pid is None or start.ticks is None:
        return False
    return same_place(start) and processes.start_ticks(start.pid) == start.ticks


def same_place(start: Start) -> bool:
    """Do this process and the recorded one count their pids alike: same boot, same pid namespace?"""
    return start.boot_id == processes.boot_id() and start.pid_namespace == processes.pid_namespace()


def end_of(values: dict[str, Any]) -> End:
    """The end in a message or record; what a newer keeper may have added is left out."""
    return End(**_known(End, values))


class InTheWay(OSError):
    """The claim's folder is somebody's already: an earlier attempt's command has put something in its place."""


def in_the_way(error: OSError) -> str:
    """The same in words, with what to do."""
    path = os.fsdecode(error.filename or "")
    return (
        f"{path} is in the way ({error.strerror}): a command of this job has left something where runq keeps its own"
        " files; look at it, remove it, and replay the job"
    )


class ClaimFiles:
    """The open files of a claim that the keeper runs."""

    def __init__(self, run_dir: str, start: Start) -> None:
        """Make the claim's directory, its record with the start in it, its lock and its output file.

        OSError if anything of that fails, InTheWay if the directory was there before; what was made
        until then is removed again. The start is written under the lock, before any spawn.
        """
        self.run_dir = run_dir
        self._open: list[int] = []
        self._start = start
        _make_folder(run_dir)
        try:
            path = f"{run_dir}/{RECORD}"
            self.record = self._keep(os.open(path, os.O_WRONLY | _CREATE, 0o600))
            self.lock = self._keep(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
            locks.take(self.lock)
            self._write_start(self.record)
            path = f"{run_dir}/{OUTPUT}"
            self.output = self._keep(os.open(path, os.O_RDWR | _CREATE, 0o600))
            # The command appends; for the keeper, who moves bytes about, append mode would be in the way.
            self.append = self._keep(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError:
            self.remove()
            raise

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def _write_start(self, record: int) -> None:
        _write(record, _pack(self._start.__dict__, _START[1]).ljust(_SIZE, b"\n"), 0)

    @property
    def lock_id(self) -> Lock:
        """What names the claim's lock, wherever it was inherited."""
        found = os.fstat(self.lock)
        return found.st_dev, found.st_ino

    def spawned(self, pid: int, ticks: int | None) -> None:
        """Add the process to the start; the command has its output now. OSError if the disk fails."""
        self._open.remove(self.append)
        os.close(self.append)
        _write(self.record, _pack({"pid": pid, "ticks": ticks}, _PROCESS[1]), _PROCESS[0])

    def write_end(self, end: str) -> None:
        """Write an end, as `text_of` gives it. OSError if the disk fails."""
        packed = _packed(end, _END[1])
        _write(self.record, packed, _END[0])
        if lock_of(self.run_dir) != self.lock_id or not is_own_folder(self.run_dir):
            self._put_back(packed)

    def _put_back(self, end: bytes) -> None:
        """The command has removed or replaced its record: have the true one where others look for it."""
        _clear_way(os.path.dirname(self.run_dir))
        _clear_way(self.run_dir)
        path = os.path.join(self.run_dir, RECORD)
        fresh = path + f".{os.getpid()}"
        record = os.open(fresh, os.O_WRONLY | _CREATE, 0o600)
        try:
            self._write_start(record)
            _write(record, end, _END[0])
        finally:
            os.close(record)
        if os.path.isdir(path) and not os.path.islink(path):
            os.rename(path, fresh + ".was")
        os.rename(fresh, path)

    def close(self) -> None:
        """Close the files; the lock stays held while the command has its copy."""
        while self._open:
            os.close(self._open.pop())

    def remove(self) -> None:
        """Undo the creation of a claim that was not spawned."""
        self.close()
        for name in (OUTPUT, RECORD):
            try:
                os.unlink(os.path.join(self.run_dir, name))
            except OSError:
                continue  # not made yet, or the disk refuses that as well: an empty record is no start
        try:
            os.rmdir(self.run_dir)
        except OSError:
            return


# What a folder's making fails with where a command has left something else, or taken away the right to.
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOENT, errno.EACCES, errno.EPERM)


def _make_folder(run_dir: str) -> None:
    """Make a claim's folder, in its job's own: never through a link. InTheWay if that can't be, OSError."""
    job_dir = os.path.dirname(run_dir)
    try:
        if _make_parent(job_dir) or stat.S_ISDIR(os.lstat(job_dir).st_mode):
            return os.mkdir(run_dir, 0o700)
    except OSError as error:
        if error.errno not in _IN_THE_WAY or not os.path.lexists(job_dir):
            raise
        raise InTheWay(error.errno, error.strerror, error.filename) from None
    raise InTheWay(errno.ENOTDIR, os.strerror(errno.ENOTDIR), job_dir)


def _make_parent(path: str) -> bool:
    """Have something there, and what is above it; tells whether it is a new folder."""
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        _make_parent(os.path.dirname(path))
        return _make_parent(path)
    except FileExistsError:  # of an earlier attempt, or another keeper made it at the same time
        return False
    return True


def _clear_way(path: str) -> None:
    """Have a folder of our own at this path, with all rights: what is none, a link included, gives way."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.unlink(path)
    _make_parent(path)
    os.chmod(path, 0o700)


def text_of(end: End) -> str:
    """An end as JSON, its error text cut, if need be, to what a record has room for."""
    text = fastjson.dumps(end.__dict__)
    while end.error and len(text) > _END[1] - 10:
        end = replace(end, error=end.error[: len(end.error) * 3 // 4])
        text = fastjson.dumps(end.__dict__)
    return text


def _pack(values: dict[str, Any], length: int) -> bytes:
    return _packed(fastjson.dumps(values), length)


def _packed(json: str, length: int) -> bytes:
    text = json.encode("ascii")
    packed = (b"%08x " % crc32(text) + text).ljust(length - 1) + b"\n"
    if len(packed) != length:
        raise OSError("the record has no room for its start: the keeper's name is too long")
    return packed


def _unpack(part: bytes) -> dict[str, Any] | None:
    checksum, _, text = part.strip().partition(b" ")
    if not text or checksum != b"%08x" % crc32(text):
        return None
    return fastjson.loads(text.decode("ascii"))


def _known(kind: type[Frozen], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in kind._fields}  # pyright: ignore[reportPrivateUsage]


def _write(fd: int, content: bytes, at: int) -> None:
    """Write all or raise: a disk that fills up takes a part first."""
    if os.pwrite(fd, content, at) != len(content):
        raise OSError("the disk took only a part of the record: is it full?")
