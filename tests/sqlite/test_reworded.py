"""Constraints in quicker words: the same rules, on every way to the newest schema, and where SQLite lets nobody."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.sqlite import migrations
from queue_core.sqlite.diagnosis import diagnose
from queue_core.sqlite.engine import APPLICATION_ID
from queue_core.sqlite.migrations import STEPS, migrate
from queue_core.sqlite.schema.fifth import CHECKS
from queue_core.sqlite.store import SqliteStore
from tests.sqlite import earlier
from tests.sqlite.conftest import raw

if TYPE_CHECKING:
    from pathlib import Path


class Protected(sqlite3.Connection):
    """A connection of a SQLite that lets nobody edit its schema."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql.startswith("UPDATE sqlite_master"):
            raise sqlite3.OperationalError("table sqlite_master may not be modified")
        return super().execute(sql, *values)


def tables(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL"))


def lists_of_values(connection: sqlite3.Connection, sql: str) -> int:
    """How many b-trees SQLite makes to run a statement: for lists of values, and for what it returns."""
    return sum(row[1] == "OpenEphemeral" for row in connection.execute("EXPLAIN " + sql))


@pytest.mark.parametrize("version", earlier.DUMPS)
def test_an_upgrade_keeps_every_row_and_every_rule(version: int, tmp_path: Path) -> None:
    home = Home(data=str(tmp_path), config=str(tmp_path))
    tmp_path.chmod(0o700)
    earlier.write(version, tmp_path / "runq.db")
    before = raw(home, "SELECT id, state, queue, caller FROM jobs ORDER BY id")
    assert len({state for _, state, _, _ in before}) == 8
    SqliteStore(home).close()
    assert raw(home, "SELECT id, state, queue, caller FROM jobs ORDER BY id") == before
    assert raw(home, "PRAGMA integrity_check") == [("ok",)]
    assert diagnose(home).error is None
    with closing(sqlite3.connect(home.database)) as connection:
        now = tables(connection)
        assert all(after in now[table] and old not in now[table] for table, old, after in CHECKS)
        for wrong in ("state = 'lost'", "caller = 'robot'", "finished_at = NULL, ended = NULL"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"UPDATE jobs SET {wrong} WHERE state = 'succeeded'")


def test_an_attempt_that_is_recorded_makes_sqlite_build_no_list() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, 1)
        insert = "INSERT INTO attempts (job, claim, outcome, finished_at) VALUES (1, 1, 'lost', 1)"
        assert lists_of_values(connection, insert) == 0


def test_a_deed_that_is_noted_makes_sqlite_build_no_list() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, 1)
        insert = "INSERT INTO audit (at, what, caller) VALUES (1, '{}', '{}')"
        assert lists_of_values(connection, insert.format("queued", "hook")) == 0
        for wrong in (("done", "hook"), ("queued", "robot")):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(insert.format(*wrong))


def test_where_the_schema_is_protected_the_rules_stay_in_their_earlier_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home = Home(data=str(tmp_path), config=str(tmp_path))
    with closing(sqlite3.connect(home.database, isolation_level=None, factory=Protected)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, APPLICATION_ID)
        now = tables(connection)
        assert all(before in now[table] for table, before, _ in CHECKS)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    (tmp_path / "runq.db").chmod(0o600)
    assert diagnose(home).error is None
    SqliteStore(home).close()


def test_an_upgrade_that_is_taken_back_leaves_the_schema_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with monkeypatch.context() as earlier_runq:
            earlier_runq.setattr(migrations, "STEPS", STEPS[:4])
            earlier_runq.setattr(migrations, "_reword_checks", lambda connection: None)  # pyright: ignore
            migrate(connection, 1)
        before = tables(connection)
        connection.execute("BEGIN")
        migrate(connection, 1)
        assert tables(connection) != before
        connection.execute("ROLLBACK")
        assert tables(connection) == before
        assert connection.execute("PRAGMA user_version").fetchone() == (4,)
        migrate(connection, 1)
        assert tables(connection) != before
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
