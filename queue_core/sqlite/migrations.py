"""Bringing a database to the newest schema. A step and the record of it (`user_version`) commit together."""

from __future__ import annotations

from queue_core.sqlite.schema import fifth, first, fourth, second, third

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

# Append steps; never edit one that was released.
STEPS: tuple[str, ...] = (first.SQL, second.SQL, third.SQL, fourth.SQL, fifth.SQL)


def migrate(connection: sqlite3.Connection, application_id: int) -> None:
    """Bring the database to the newest version, inside the caller's write transaction."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version >= len(STEPS):
        return  # another process was faster
    for number in range(version, len(STEPS)):
        for statement in statements(STEPS[number]):
            connection.execute(statement)
    _reword_checks(connection)
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")
    connection.execute(f"PRAGMA application_id = {application_id}")


def _reword_checks(connection: sqlite3.Connection) -> None:
    """Constraints of tables in quicker words; no row changes, and the rules are the same (sqlite.org/lang_altertable).

    A SQLite that protects its schema, as Apple's does, refuses: then they stay as they are. Both are a whole queue.
    """
    from queue_core.sqlite.driver import sqlite3

    connection.execute("PRAGMA writable_schema = ON")
    try:
        for table, before, after in fifth.CHECKS:
            connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = ?",
                (before, after, table),
            )
    except sqlite3.OperationalError as error:
        if "may not be modified" not in str(error):
            raise
    finally:
        connection.execute("PRAGMA writable_schema = RESET")


def statements(script: str) -> list[str]:
    """A script's statements one by one: `executescript` would commit in between."""
    import sqlite3

    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
