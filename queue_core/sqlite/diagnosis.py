"""What a look at the database file tells without changing it: for `runq doctor`."""

from __future__ import annotations

import os

from queue_core.errors import StoreBusy
from queue_core.sqlite.backup import fault
from queue_core.sqlite.engine import APPLICATION_ID, SCHEMA_VERSION, connect, sqlite3
from queue_core.sqlite.flock import locked
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home

SQLITE_VERSION: str = sqlite3.sqlite_version


class Diagnosis(Frozen):
    """What was found. `error` is what stands in the way of using the file, in words."""

    exists: bool
    schema: int = 0
    newest_schema: int = SCHEMA_VERSION
    size: int = 0  # bytes
    error: str | None = None


def diagnose(home: Home) -> Diagnosis:
    """Look at the file: is it ours, of a version that this runq knows, sound (`quick_check`) and whole?"""
    if not os.path.exists(home.database):
        return Diagnosis(exists=False)
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
