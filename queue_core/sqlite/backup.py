"""Copies of the database: complete, self-contained, checked before anybody relies on them.

SQLite's backup API copies all pages in one step, so that a busy writer cannot make it begin again for
ever, and without the write lock, so that nobody waits: to the others it is a long read.
"""

from __future__ import annotations

import os
import re
import stat
import time

from queue_core.errors import QueueError, StoreBusy, StoreError, StoreFull
from queue_core.home import sync
from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.engine import APPLICATION_ID, SCHEMA_VERSION, connect, uri
from queue_core.sqlite.flock import locked
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queue_core.home import Home

PART = ".part"  # how the names of unfinished copies end
PATIENCE = 30.0  # seconds that a foreign program may lock one of the two files
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)
_HEADER = b"SQLite format 3\0"
_BESIDE = ("-journal", "-wal", "-shm")
_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
_CANNOT_READ = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ")


class NotSound(StoreError):
    """A database that is damaged, or is none of runq's: a copy of it would be of no use."""


class Checked(Frozen):
    """What a look into a backup found; with an `error`, in words, it cannot be restored."""

    version: int = 0
    jobs: int | None = None
    error: str | None = None

    @property
    def too_new(self) -> bool:
        """Sound, but of a newer runq."""
        return self.version > SCHEMA_VERSION


class Numbers(Frozen):
    """What a database has counted up to: its ids, and its completions. In one home they never go back."""

    last_id: int = 0
    ended: int = 0


def numbers(connection: sqlite3.Connection) -> Numbers | None:
    """How far a database has counted; None if that cannot be read any more."""
    try:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        ended = connection.execute("SELECT value FROM meta WHERE name = 'ended'").fetchone()
        return Numbers(last_id=int(row[0]) if row else 0, ended=int(ended[0]) if ended else 0)
    except (sqlite3.Error, ValueError):
        return None


def save(home: Home, path: str) -> Checked:
    """Copy the queue's database to a new file, while others go on. NotSound, StoreFull or StoreError: no file."""
    source = connect(home)
    try:
        return copy(source, path)
    finally:
        close(home, source)


def close(home: Home, connection: sqlite3.Connection) -> None:
    """Under the lock, since closing the last connection checkpoints; who holds it has a connection as well."""
    try:
        with locked(home.write_lock, PATIENCE):
            connection.close()
    except StoreBusy:
        connection.close()


def copy(source: sqlite3.Connection, path: str) -> Checked:
    """Copy a database to a new file: whole, checked and on the disk under this name, or not there at all."""
    folder = os.path.dirname(path)
    part = f"{folder}/.{os.path.basename(path)}.{os.urandom(4).hex()}{PART}"
    try:
        try:
            _create(part)
            _fill(source, part)
            checked = check(part)
            if checked.error:
                raise NotSound(f"the database cannot be backed up: {checked.error}")
            sync(part)
            _publish(part, path)
            sync(folder)
        finally:
            remove(part)
    except (OSError, sqlite3.DatabaseError) as error:
        raise _explained(error, folder) from error
    return checked


def _create(path: str) -> None:
    """Ourselves, for its user alone and never through a link: SQLite would make it as the umask says."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def remove_unfinished(folder: str, *, before: float) -> None:
    """Remove what killed processes have left half-made in a folder that anybody may use, and nothing else.

    Whatever was written to after `before` (seconds since the epoch) may be at work: no lock tells it on
    every file system that a person may choose.
    """
    for name in os.listdir(folder):
        if _PART.fullmatch(name):
            try:
                _remove_if_left(f"{folder}/{name}", before)
            except OSError:
                continue  # somebody else's, or gone by now


def _remove_if_left(part: str, before: float) -> None:
    descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        left = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mtime < before
        left = left and _is_ours(os.pread(descriptor, 72, 0))
    finally:
        os.close(descriptor)
    if left:
        remove(part)


def _is_ours(header: bytes) -> bool:
    """Whether a file begins as our databases do, or has not begun."""
    return not header or (header.startswith(_HEADER) and header[68:72] == APPLICATION_ID.to_bytes(4, "big"))


def _fill(source: sqlite3.Connection, path: str) -> None:
    target = sqlite3.connect(uri(path, "rw"), isolation_level=None, uri=True)
    try:
        # Nothing reads it before it is finished: no journal to roll back, no file beside it, one sync at the end.
        for pragma in ("locking_mode = EXCLUSIVE", "synchronous = OFF", "journal_mode = MEMORY"):
            target.execute(f"PRAGMA {pragma}").fetchall()
        source.backup(target, progress=patiently())
        # The pages say "WAL" now, as in the queue; a copy without a WAL is one file.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        target.close()


def patiently() -> Callable[[int, int, int], None]:
    """What a copy is told of its steps: it would try a locked file for ever."""
    give_up = time.monotonic() + PATIENCE

    def look(status: int, _remaining: int, _total: int) -> None:
        if status in _BUSY and time.monotonic() > give_up:
            raise StoreBusy("another program holds a database locked; close it and try again")

    return look


def _publish(part: str, path: str) -> None:
    """Give it its name, never over a file that is there."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise QueueError(f"{path} is there already, and is left as it is; give another name") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise QueueError(f"{path} is there already, and is left as it is; give another name") from None
        os.rename(part, path)


def _explained(error: OSError | sqlite3.DatabaseError, folder: str) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_CANNOT_READ):
        return NotSound(f"the database cannot be backed up: it is damaged ({error})")
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    if name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR") or reason in _no_room():
        return StoreFull(f"there is no room for a backup in {folder} ({reason}); free some space and try again")
    return StoreError(f"no backup can be written to {folder} ({reason}); make it a folder that you can write to")


def _no_room() -> Iterator[str]:
    import errno

    return (os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


def remove(path: str) -> None:
    """Remove a database file with what SQLite may have left beside it."""
    for name in (path, *(path + end for end in _BESIDE)):
        try:
            os.unlink(name)
        except FileNotFoundError:
            continue


def check(path: str, *, thorough: bool = True) -> Checked:
    """Look into a copy without touching it: is it runq's, sound (if `thorough`, every page), how many jobs?"""
    if os.path.exists(path + "-wal") and os.path.getsize(path + "-wal"):
        return Checked(error="a WAL lies beside it: it is a database in use, or what was left of one")
    try:
        # Immutable: nothing is made beside it, and a folder that cannot be written to is no hindrance.
        connection = sqlite3.connect(uri(path, "ro") + "&immutable=1", uri=True)
    except sqlite3.Error as error:
        return Checked(error=f"it cannot be opened ({error})")
    try:
        return examine(connection, thorough=thorough)
    except sqlite3.Error as error:
        return Checked(error=f"it is damaged or no SQLite database ({error})")
    finally:
        connection.close()


def examine(connection: sqlite3.Connection, *, thorough: bool = True) -> Checked:
    """Look into a database through a connection; sqlite3.Error when it cannot be read."""
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or version < 1:
        return Checked(error="it is not runq's database")
    error = fault(connection, version) if thorough else None
    jobs = None if error else connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    return Checked(version=version, jobs=jobs, error=error)


def fault(connection: sqlite3.Connection, version: int) -> str | None:
    """What is wrong with runq's database, in words: every page is looked at, and everything that the schema makes."""
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        return f"it is damaged ({found})"
    if version > SCHEMA_VERSION:
        return None  # only a newer runq knows how it is made
    from queue_core.sqlite import wholeness

    return wholeness.fault(connection, version)


def numbers_in(path: str) -> Numbers | None:
    """How far the database in a file has counted; None if it does not tell."""
    try:
        connection = sqlite3.connect(uri(path, "ro") + "&immutable=1", uri=True)
    except sqlite3.Error:
        return None
    try:
        return numbers(connection)
    finally:
        connection.close()
