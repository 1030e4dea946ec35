"""The schema refuses what the rules do not explain; and it is made once, however many come at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from queue_core.model import Step
from queue_core.sqlite.engine import APPLICATION_ID
from queue_core.sqlite.migrations import STEPS, migrate, statements
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import FAILURE, Bench, settlement
from tests.sqlite.conftest import raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queue_core.home import Home

JOB = {
    "state": "'available'",
    "queue": "'q'",
    "priority": "2",
    "argv": "'[]'",
    "program": "'/p'",
    "executable": "'/p'",
    "cwd": "'/'",
    "env": "'{}'",
    "retry": "'[]'",
    "retries": "0",
    "caller": "'person'",
    "created_at": "0",
}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, 1)
        yield connection


def insert(database: sqlite3.Connection, **columns: str) -> int:
    row = {**JOB, **columns}
    sql = f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(row.values())}) RETURNING id"
    return database.execute(sql).fetchone()[0]


class TestConstraints:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"state": "'lost'"},
            {"priority": "4"},
            {"priority": "-1"},
            {"retries": "-1"},
            {"caller": "'robot'"},
            {"pinned": "'me'"},
            {"unmet": "-1"},
            {"lease_token": "'t'"},
            {"worker": "'w'"},
            {"finished_at": "1"},
            {"ended": "1"},
            {"finished_at": "1", "ended": "1"},
            {"state": "'scheduled'"},
            {"state": "'blocked'"},
            {"state": "'held'", "parked": "'gpu'"},
            {"cancel_requested": "1"},
            {"argv": "NULL"},
            {"queue": "NULL"},
        ],
    )
    def test_a_job_that_the_rules_do_not_explain_is_refused(
        self, database: sqlite3.Connection, wrong: dict[str, str]
    ) -> None:
        insert(database)
        with pytest.raises(sqlite3.IntegrityError):
            insert(database, **wrong)

    @pytest.mark.parametrize(
        "change",
        [
            "state = 'running'",
            "state = 'running', lease_token = 't'",
            "state = 'running', worker = 'w'",
            "state = 'cancelled'",
            "state = 'cancelled', finished_at = 1",
            "state = 'cancelled', ended = 1",
            "finished_at = 1, ended = 1",
        ],
    )
    def test_so_is_a_change_that_goes_half_the_way(self, database: sqlite3.Connection, change: str) -> None:
        job = insert(database)
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(f"UPDATE jobs SET {change} WHERE id = ?", (job,))

    def test_a_job_for_a_handler_comes_in_parked_unless_a_worker_has_it(self, database: sqlite3.Connection) -> None:
        handled = {"handler": "'resize'", "arguments": "'{}'"}
        with pytest.raises(sqlite3.IntegrityError, match="is parked"):
            insert(database, **handled)
        insert(database, **handled, parked="'@resize'")
        insert(database, **handled, state="'held'")
        database.execute("INSERT INTO worker_handlers VALUES ('resize', 'w')")
        insert(database, **handled)
        states = database.execute("SELECT state, parked FROM jobs ORDER BY id").fetchall()
        assert states == [("available", "@resize"), ("held", None), ("available", None)]

    def test_two_completions_cannot_have_one_number(self, database: sqlite3.Connection) -> None:
        jobs = [insert(database), insert(database)]
        end = "UPDATE jobs SET state = 'cancelled', finished_at = 1, ended = 5 WHERE id = ?"
        database.execute(end, (jobs[0],))
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(end, (jobs[1],))

    def test_two_live_jobs_cannot_have_one_key(self, database: sqlite3.Connection) -> None:
        insert(database, unique_key="'k'")
        with pytest.raises(sqlite3.IntegrityError):
            insert(database, unique_key="'k'")

    def test_a_result_is_recorded_once(self, database: sqlite3.Connection) -> None:
        job = insert(database)
        record = "INSERT INTO attempts (job, claim, outcome, exit_code, finished_at) VALUES (?, 1, 'exited', 0, 1)"
        database.execute(record, (job,))
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(record, (job,))

    @pytest.mark.parametrize(
        ("outcome", "detail"), [("exited", "NULL, NULL"), ("signalled", "1, NULL"), ("gone", "1, 1")]
    )
    def test_an_attempt_says_how_it_ended(self, database: sqlite3.Connection, outcome: str, detail: str) -> None:
        job = insert(database)
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(
                "INSERT INTO attempts (job, claim, outcome, exit_code, signal, finished_at)"
                f" VALUES ({job}, 1, '{outcome}', {detail}, 1)"
            )

    def test_a_lock_is_never_given_back_more_often_than_taken(self, database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO locks (name, capacity) VALUES ('gpu', 1)")
        with pytest.raises(sqlite3.IntegrityError):
            database.execute("UPDATE locks SET used = used - 1")

    def test_ids_are_not_used_again(self, database: sqlite3.Connection) -> None:
        first = insert(database)
        database.execute("DELETE FROM jobs")
        assert insert(database) > first


class TestMigration:
    def test_it_is_made_of_whole_statements(self) -> None:
        for step in STEPS:
            found = statements(step)
            assert "".join(found).strip() == step.strip()
            assert all(sqlite3.complete_statement(one) for one in found)

    def test_a_step_that_fails_leaves_nothing_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from queue_core.sqlite import migrations

        monkeypatch.setattr(migrations, "STEPS", (*STEPS, "CREATE TABLE later (x);\nCREATE TABLE later (x);\n"))
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("BEGIN")
            with pytest.raises(sqlite3.OperationalError):
                migrate(connection, 1)
            connection.execute("ROLLBACK")
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
            assert connection.execute("PRAGMA user_version").fetchone() == (0,)

    def test_a_database_that_is_up_to_date_is_left_as_it_is(self, database: sqlite3.Connection) -> None:
        job = insert(database)
        migrate(database, 1)
        assert database.execute("SELECT id FROM jobs").fetchall() == [(job,)]

    def test_a_pause_of_the_first_schema_is_taken_for_a_persons(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            with monkeypatch.context() as first:
                first.setattr("queue_core.sqlite.migrations.STEPS", STEPS[:1])
                migrate(connection, 1)
            connection.execute("INSERT INTO queues (name, slots, paused) VALUES ('a', 1, 1), ('b', 1, 0)")
            connection.execute("INSERT INTO meta VALUES ('paused', 1)")
            migrate(connection, 1)
            assert connection.execute("SELECT name, paused FROM queues").fetchall() == [("a", 2), ("b", 0)]
            assert connection.execute("SELECT value FROM meta WHERE name = 'paused'").fetchone() == (2,)

    def test_a_job_of_the_first_schema_still_hands_over_to_its_one_command(self, home: Home) -> None:
        with closing(sqlite3.connect(home.database, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in statements(STEPS[0]):
                connection.execute(statement)
            connection.execute("INSERT INTO queues (name, slots) VALUES ('q', 4)")
            old = insert(connection, on_dead="""'["/bin/echo","echo","a \\"b\\" ]"]'""", retry="""'["linear",1,1,0]'""")
            other = insert(connection, retry="""'["linear",1,1,0]'""")
            connection.execute("PRAGMA user_version = 1")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        bench = Bench(SqliteStore(home))
        assert bench.job(old).on_dead == (Step(argv=("echo", 'a "b" ]'), executable="/bin/echo"),)
        leases = bench.claim()
        bench.settle(*(settlement(lease, FAILURE) for lease in leases))
        new = bench.job(bench.job(old).escalated_to or 0)
        assert (new.argv, new.state, bench.job(other).escalated_to) == (("echo", 'a "b" ]'), "available", None)
        bench.store.close()

    @pytest.mark.claim("migration")
    def test_eight_processes_that_start_at_once_make_one_queue(self, tmp_path: Path) -> None:
        from queue_core.home import Home

        home = Home(data=str(tmp_path / "home"), config=str(tmp_path / "home"))
        script = (
            "import sys\n"
            "from queue_core.home import Home\n"
            "from queue_core.sqlite.store import SqliteStore\n"
            "from tests.conformance.builders import admission\n"
            "sys.stdin.read(1)\n"
            f"store = SqliteStore(Home(data={home.data!r}, config={home.data!r}))\n"
            "store.enqueue([admission()], now=1.0, capacity=99, parallelism=4)\n"
        )
        read_end, write_end = os.pipe()
        started = [
            subprocess.Popen([sys.executable, "-c", script], stdin=read_end, stderr=subprocess.PIPE) for _ in range(8)
        ]
        os.close(read_end)
        os.write(write_end, b"12345678")  # the signal to start: a byte for each
        os.close(write_end)
        errors = [process.communicate()[1] for process in started]
        assert errors == [b""] * 8
        assert raw(home, "SELECT count(*) FROM jobs") == [(8,)]
