"""What a look at the database file tells without changing it: for `runq doctor`."""

from __future__ import annotations

import os
import time

from queue_core.errors import StoreBusy, StoreError
from queue_core.sqlite.backup import fault
from queue_core.sqlite.engine import APPLICATION_ID, SCHEMA_VERSION, connect, sqlite3
from queue_core.sqlite.flock import locked
from queue_core.sqlite.wording import in_words
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

SQLITE_VERSION: str = sqlite3.sqlite_version
_UNREAD = ("unable to get the page", "failed to get page")  # a read that failed, in SQLite's list of what is damaged


class Diagnosis(Frozen):
    """What was found. `error` is what stands in the way of using the file, in words."""

    exists: bool
    schema: int = 0
    newest_schema: int = SCHEMA_VERSION
    size: int = 0  # bytes
    error: str | None = None


def diagnose(home: Home) -> Diagnosis:
    """Look at the file: is it ours, of a version that this runq knows, sound (`quick_check`) and whole?"""
    if not os.path.lexists(home.database):
        return Diagnosis(exists=False)
    if not os.path.isfile(home.database):
        return Diagnosis(exists=True, error="it is no file; move it away")
    size = os.path.getsize(home.database)
    connection = connect(home, patience=1.0)
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        schema = connection.execute("PRAGMA user_version").fetchone()[0]
        wrong = _error(connection, application, schema)
    except sqlite3.DatabaseError as error:
        return Diagnosis(exists=True, size=size, error=f"it cannot be read as a SQLite database ({error})")
    finally:
        _close(home, connection)
    return Diagnosis(exists=True, schema=schema, size=size, error=wrong)


def quick_check(home: Home, *, seconds: float) -> str | None:
    """Read every page, for so long or a little longer: the damage, in words; None if there is none.

    StoreError if it cannot be told.
    """
    connection = connect(home, patience=1.0)
    give_up = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > give_up, 10_000)
    try:
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return str(error)
        raise _untold(home, str(error)) from error
    finally:
        connection.set_progress_handler(None, 0)
        _close(home, connection)
    if any(unread in found for unread in _UNREAD):
        raise _untold(home, in_words(found))
    return None if found == "ok" else in_words(found)


def _untold(home: Home, why: str) -> StoreError:
    return StoreError(f"it could not be looked whether {home.database} is sound ({why}); it is tried later")


def _close(home: Home, connection: sqlite3.Connection) -> None:
    """Under the lock, since closing the last connection checkpoints; who holds it has a connection as well."""
    try:
        with locked(home.write_lock, 1.0):
            connection.close()
    except StoreBusy:
        connection.close()


def _error(connection: sqlite3.Connection, application: int, schema: int) -> str | None:
    if application != APPLICATION_ID:
        return "it is not runq's database"
    if schema > SCHEMA_VERSION:
        return f"a newer runq has written it (schema {schema}, this one knows {SCHEMA_VERSION})"
    return fault(connection, schema)
