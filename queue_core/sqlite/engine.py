"""The database file: opening it safely, and writing to it one whole function at a time.

Every write transaction and every checkpoint runs under one flock on a file beside the database. That
keeps several processes fair (longest wait 0.18 s instead of 12.2 s with SQLite's busy handler) and
avoids the WAL-reset corruption of SQLite 3.7.0 to 3.51.2 (15 of 29 rounds without, 0 of 29 with it).
"""

from __future__ import annotations

import os
import sys

from queue_core import errors
from queue_core.home import Home, prepare, refuse_network_file_system
from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.flock import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate, ParamSpec, TypeVar

    T = TypeVar("T")
    P = ParamSpec("P")

APPLICATION_ID = 0x72756E71  # "runq"
SCHEMA_VERSION = 5
# Whoever finds nobody else connected reads the whole WAL first and forgets what of it was checkpointed, so
# where processes only come and go, as hooks do, it would grow for ever and cost each of them more.
VISITORS_WAL = 512 * 1024  # bytes
LONG_WAL = 8 * 1024 * 1024  # bytes
READERS = 0.1  # seconds that emptying the WAL waits for readers, under the lock
BUSY_TIMEOUT = 10.0  # seconds; behind the flock only a foreign program can make anybody wait


class Database:
    """One connection to the queue's database. Not for two threads at once."""

    def __init__(self, home: Home, *, patience: float = BUSY_TIMEOUT) -> None:
        """Open the database, making or migrating it as needed; StoreError says what is wrong with it."""
        self.home = home
        self.patience = patience
        prepare(home)
        fresh = _create_if_missing(home)
        self.connection = connect(home, patience=patience)
        self.stays = False  # whether it writes again and again, and so has to keep the WAL short
        self._wal_from = LONG_WAL  # the WAL is looked at when it is longer
        self.follows = True  # whether it goes on with a file that has been put in this one's place
        self.file = identity(home.database)
        try:
            self._make_current(fresh)
            _keep_temporaries_in_memory(self.connection)
            self._wal = identity(home.database + "-wal")
        except BaseException:
            self.connection.close()
            raise

    def _make_current(self, fresh: bool) -> None:
        version = self._version()
        if fresh or version < SCHEMA_VERSION:
            self._migrate()
        elif version > SCHEMA_VERSION:
            raise self._too_new(version)

    def write(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one function in one durable transaction; when this returns, the change survives power loss."""
        try:
            return self._write(change, *args, **kwargs)
        except BaseException as error:  # the lock is let go: a second look at the file takes a while
            explained = explain(error, self.connection, self.home)
            if explained is None:
                raise
            raise explained from error

    def _write(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with locked(self.home.write_lock, self.patience):
            if identity(self.home.database) != self.file:
                self._follow()
            refuse_damaged(self.home)
            try:
                begin(self.connection)
                self._verify_version()
                result = change(self.connection, *args, **kwargs)
                self.connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error) and "disk I/O error" in str(error):
                    self._void()
                raise
            if self.stays:
                self._bound_wal()
        return result

    def finish(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`write` for what ends something: on a full disk it has the ballast's room, and then the WAL's."""
        try:
            return self.write(change, *args, **kwargs)
        except errors.StoreReadOnly:
            raise
        except errors.StoreFull:
            from queue_core.sqlite import ballast

            if ballast.give_up(self.home):
                return self.finish(change, *args, **kwargs)
            if not self.shorten_wal(beyond=0):
                raise
            return self.write(change, *args, **kwargs)

    def shorten_wal(self, beyond: int = VISITORS_WAL) -> bool:
        """Empty a WAL of more bytes than this, if nobody reads from it; whether that was done.

        It comes after writes that are durable: nothing that is in its way is an error of theirs.
        """
        try:
            if os.stat(self.home.database + "-wal").st_size <= beyond:
                return False
            with locked(self.home.write_lock, min(self.patience, READERS)):
                return self._checkpoint()
        except (OSError, errors.StoreError, sqlite3.Error):
            return False

    def _bound_wal(self) -> None:
        """SQLite begins its WAL anew when nobody reads from it at that moment, which among many readers never comes.

        One that does not end is waited for only once in so many bytes.
        """
        try:
            length = os.stat(self.home.database + "-wal").st_size
            if length > self._wal_from:
                self._wal_from = LONG_WAL if self._checkpoint() else length + LONG_WAL
        except (OSError, sqlite3.Error):  # the change is durable, whatever this is
            pass

    def _checkpoint(self) -> bool:
        """Readers of runq's own are done within milliseconds; a foreign one may read for hours."""
        usual: int = self.connection.execute("PRAGMA busy_timeout").fetchone()[0]
        self.connection.execute(f"PRAGMA busy_timeout = {READERS * 1000:.0f}")
        try:
            return self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {usual}")

    def close(self) -> None:
        """Close under the flock: closing the last connection checkpoints."""
        with locked(self.home.write_lock, self.patience):
            self.connection.close()

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def _void(self) -> None:
        """Have what a commit that failed has written taken for nothing, by writing something harmless in its place.

        Its frames may lie whole in the WAL although they could not be synced. SQLite says that it failed, so a hook
        leaves its job in the spool; whoever opens the database next would find them, and have the job twice.
        """
        try:
            begin(self.connection)
            version: int = self.connection.execute("PRAGMA user_version").fetchone()[0]  # a newer runq's, maybe
            self.connection.execute(f"PRAGMA user_version = {version}")
            self.connection.execute("COMMIT")
        except sqlite3.Error:  # the sync fails again, but the frames are overwritten
            self._roll_back()

    def _version(self) -> int:
        try:
            application, version, filled = _identify(self.connection)
        except sqlite3.DatabaseError as error:
            raise translate(error, self.home) or errors.StoreError(str(error)) from None
        short = not version and 0 < os.path.getsize(self.home.database) < 512  # SQLite takes that for an empty one
        if short or (application != APPLICATION_ID and (application or version or filled)):
            raise errors.StoreError(
                f"{self.home.database} is not runq's database; move it away or set RUNQ_HOME to another folder"
            )
        return version

    def _verify_version(self) -> None:
        """An upgrade under this process's feet: too old means hands off."""
        version: int = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise self._too_new(version)

    def _follow(self) -> None:
        """Go on with what a restore has put in the file's place, under the lock that it holds for that.

        Writes to a file that was unlinked or replaced would vanish without a word. What is there now must be a
        whole queue with a WAL of its own: the old one's, beside a file that was put there by hand, would spoil it.
        """
        now, wal = identity(self.home.database), identity(self.home.database + "-wal")
        if not self.follows or now is None or (wal is not None and wal == self._wal):
            raise self._replaced()
        from queue_core.sqlite.backup import examine

        connection = connect(self.home, patience=self.patience)
        try:
            found = examine(connection)
            if found.error or found.version != SCHEMA_VERSION:
                raise self._replaced()
            _keep_temporaries_in_memory(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise self._replaced() from error
            raise
        self.connection.close()  # SQLite sees that its file was moved, and leaves the new one's WAL alone
        self.connection, self.file, self._wal = connection, now, identity(self.home.database + "-wal")

    def _replaced(self) -> errors.StoreError:
        from queue_core.sqlite import wording

        return wording.replaced(self.home)

    def _too_new(self, version: int) -> errors.StoreError:
        from queue_core.sqlite import wording

        return wording.too_new(self.home, version, SCHEMA_VERSION)

    def _migrate(self) -> None:
        from queue_core.sqlite.migrations import migrate

        with locked(self.home.write_lock, self.patience):
            refuse_damaged(self.home)
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
                begin(self.connection)
                empty = not self.connection.execute("PRAGMA user_version").fetchone()[0]
                migrate(self.connection, APPLICATION_ID)
                if empty:
                    _begin_after_leftovers(self.connection, self.home)
                self.connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                translated = translate(error, self.home)
                if translated is None:
                    raise
                raise translated from error


def connect(home: Home, *, patience: float = BUSY_TIMEOUT, check_thread: bool = False) -> sqlite3.Connection:
    """A connection with the pragmas that every one of them needs. Transactions are begun by hand."""
    try:
        connection = sqlite3.connect(
            uri(home.database, "rw"), timeout=patience, isolation_level=None, check_same_thread=check_thread, uri=True
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        if sys.platform == "darwin":  # there, fsync alone does not reach the disk
            connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error as error:
        raise translate(error, home) or errors.StoreError(str(error)) from None
    return connection


def _keep_temporaries_in_memory(connection: sqlite3.Connection) -> None:
    """For every constant `IN` list of a CHECK or a trigger SQLite makes a temporary table, six for a job that comes in.

    One that could become a file gets a page cache of 90 KB each time: 107 page faults of a hook's 1350. For whoever
    writes, not for those who read or migrate: what they sort may be larger than the memory.
    """
    connection.execute("PRAGMA temp_store = MEMORY")


def uri(path: str, mode: str) -> str:
    """The path as a URI for reading (ro) or writing (rw) that never makes a file.

    One that was removed must not come back empty.
    """
    return "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=" + mode


def begin(connection: sqlite3.Connection) -> None:
    """IMMEDIATE: a read that turns into a write fails at once in spite of any timeout."""
    connection.execute("BEGIN IMMEDIATE")


def translate(error: BaseException, home: Home) -> errors.StoreError | None:
    """SQLite's error as one of ours, worded for the caller; None if it is not SQLite's."""
    from queue_core.sqlite import wording

    return wording.translate(error, home)


def explain(error: BaseException, connection: sqlite3.Connection, home: Home) -> errors.StoreError | None:
    """`translate`, and a second look where rows made no sense: damage may look like anything to whoever reads them."""
    from queue_core.sqlite import wording

    return wording.explain(error, connection, home)


def refuse_damaged(home: Home) -> None:
    """StoreError for a database that was found damaged: a write could make it worse, and would be lost with it."""
    if os.path.exists(home.damaged):
        from queue_core.sqlite.damage import refusal

        if refused := refusal(home):
            raise refused


def _begin_after_leftovers(tx: sqlite3.Connection, home: Home) -> None:
    """A database that was lost has left the files of its commands: no job that is new may be taken for theirs."""
    try:
        names = os.listdir(home.path("runs"))
    except OSError:
        return
    newest = max((int(name) for name in names if name.isdigit() and len(name) < 19), default=0)
    if newest:
        tx.execute("INSERT INTO sqlite_sequence VALUES ('jobs', ?)", (newest,))


def _create_if_missing(home: Home) -> bool:
    """Make the file ourselves, 0600 and never through a link: WAL and SHM inherit its mode."""
    if os.path.isfile(home.database):
        return False
    if not os.path.exists(home.database):
        refuse_network_file_system(home.data)
    try:
        descriptor = os.open(home.database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if not os.path.isfile(home.database):
            raise errors.StoreError(
                f"{home.database} is no file; move it away or set RUNQ_HOME to another folder"
            ) from None
        return False
    except OSError as error:
        from errno import EDQUOT, ENOSPC

        if error.errno in (ENOSPC, EDQUOT):
            raise errors.StoreFull(f"the disk that holds {home.data} is full; free some space and try again") from None
        raise errors.StoreError(
            f"{home.database} could not be made ({error.strerror}); "
            f"make {home.data} writable or set RUNQ_HOME to another folder"
        ) from None
    os.close(descriptor)
    if os.path.exists(home.damaged):  # said of one that was removed, whose inode this one may have been given
        from queue_core.sqlite import damage

        damage.forget(home)
    return True


def identity(path: str) -> tuple[int, int] | None:
    """Which file is at a path; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identify(connection: sqlite3.Connection) -> tuple[int, int, bool]:
    """Application id, version, whether there are tables without either: of one moment, as others may be migrating."""
    connection.execute("BEGIN")
    try:
        application: int = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        blank = not application and not version
        filled = blank and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    finally:
        connection.execute("ROLLBACK")
    return application, version, filled
