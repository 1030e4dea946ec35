"""What is wrong with the database, worded for whoever asked; a `runq add` that goes well needs none of it."""

from __future__ import annotations

from queue_core import errors
from queue_core.sqlite.driver import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

_FULL, _IO_ERROR = "database or disk is full", "disk I/O error"


def translate(error: BaseException, home: Home) -> errors.StoreError | None:
    """SQLite's error as one of ours, worded for the caller; None if it is not SQLite's."""
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    text = str(error)
    if "locked" in text or "busy" in text:
        return errors.StoreBusy("the queue is busy: another program holds its database locked; try again in a moment")
    if _FULL in text:
        return errors.StoreFull(f"the disk that holds {home.data} is full; free some space and try again")
    if _IO_ERROR in text:  # which a full disk can be as well
        return errors.StoreFull(
            f"the disk that holds {home.data} is full or fails ({text}); free some space, or look into it"
        )
    if "readonly" in text or "unable to open" in text:
        refused = errors.StoreReadOnly if "readonly" in text else errors.StoreError
        return refused(
            f"{home.database} cannot be written to; make {home.data} writable or set RUNQ_HOME to another folder"
        )
    if "malformed" in text or "not a database" in text:
        return damaged(home, text)
    return None


def explain(error: BaseException, connection: sqlite3.Connection, home: Home) -> errors.StoreError | None:
    """`translate`, and a second look where rows made no sense: damage may look like anything to whoever reads them."""
    translated = translate(error, home)
    if translated or not isinstance(error, (sqlite3.DatabaseError, LookupError, TypeError, ValueError)):
        return translated
    try:
        if newer := _newer(connection, home):  # of which this one's statements know no better
            return newer
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as second:
        return translate(second, home)
    if found != "ok":
        return damaged(home, in_words(found))
    if isinstance(error, sqlite3.OperationalError):
        return errors.StoreError(f"{home.database} cannot be used ({error}); `runq doctor` tells what is wrong with it")
    return None


def in_words(found: str) -> str:
    """The first thing that a check has found, without what SQLite says of every one."""
    return found.removeprefix("*** in database main ***\n").partition("\n")[0]


def damaged(home: Home, what: str) -> errors.StoreError:
    """What is wrong with a file that is no sound database, and the way out."""
    return errors.StoreError(f"{home.database} is damaged or no SQLite database ({what}); {_way_out(home)}")


def _way_out(home: Home) -> str:
    import time

    from queue_core.backups import there, worth_restoring
    from queue_core.sqlite.backup import check

    # At a glance only: a hook has no time, each was checked when it was taken, and a restore reads all of it.
    found = worth_restoring(there(home), now=time.time())
    good = (one.name for one in found if not check(one.path, thorough=False).error)
    newest = next(good, None)
    if newest is None:
        return "there is no backup of it in the home: move the file away to start anew"
    return f"`runq backup restore` brings back the newest good backup, {newest}"


def replaced(home: Home) -> errors.StoreError:
    """Writes to a file that was unlinked or replaced would vanish without a word."""
    return errors.StoreError(
        f"{home.database} was removed or replaced while it was in use; nothing was written. "
        "Restore a backup if the file is gone (`runq backup restore`), and restart this process if it says so still"
    )


def _newer(connection: sqlite3.Connection, home: Home) -> errors.StoreTooNew | None:
    from queue_core.sqlite.engine import SCHEMA_VERSION

    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return too_new(home, version, SCHEMA_VERSION) if version > SCHEMA_VERSION else None


def too_new(home: Home, version: int, known: int) -> errors.StoreTooNew:
    """A newer runq has migrated the database."""
    return errors.StoreTooNew(
        f"{home.database} was written by a newer runq (schema {version}, this one knows {known}); "
        "upgrade this installation: nothing was changed"
    )
