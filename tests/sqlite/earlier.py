"""Databases of earlier schemas: as they were written then, and a database of today taken back to one of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from queue_core.sqlite.engine import APPLICATION_ID
from queue_core.sqlite.migrations import STEPS, statements

DUMPS = {version: Path(__file__).parent / f"schema_{version}.sql" for version in range(1, len(STEPS))}


def write(version: int, path: Path) -> None:
    """A database as the runq of that schema has left it, with jobs in every state."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(DUMPS[version].read_text(encoding="utf-8"))
    path.chmod(0o600)


def take_back(path: Path, version: int) -> None:
    """Put what a database of today holds into one of an earlier schema, in its place."""
    old = path.with_name("earlier.db")
    with closing(sqlite3.connect(old, isolation_level=None)) as database:
        for step in STEPS[:version]:
            for statement in statements(step):
                database.execute(statement)
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("ATTACH ? AS now", (str(path),))
        tables = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            known = [row[1] for row in database.execute(f"PRAGMA now.table_info({table})")]
            columns = ", ".join(
                row[1] for row in database.execute(f"PRAGMA main.table_info({table})") if row[1] in known
            )
            database.execute(f"DELETE FROM main.{table}")
            database.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table}")
        for _, sql in triggers:
            database.execute(sql)
        database.execute("DETACH now")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {version}")
    old.chmod(0o600)
    for end in ("-wal", "-shm"):
        Path(str(path) + end).unlink(missing_ok=True)
    old.replace(path)
