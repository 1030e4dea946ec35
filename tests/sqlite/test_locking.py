"""One writer at a time: the flock, patience with it, and commits in groups."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.errors import InvalidJob, StoreBusy, StoreError
from queue_core.sqlite import group_commit
from queue_core.sqlite.engine import Database
from queue_core.sqlite.group_commit import GroupCommit
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import START, Bench, admission
from tests.helpers import wait_until
from tests.sqlite.conftest import lock_held, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.home import Home

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) SELECT count(*) FROM n"


class TestPatience:
    @pytest.mark.parametrize("grouped", [False, True])
    def test_who_does_not_get_the_lock_in_time_is_told_that_the_queue_is_busy(self, home: Home, grouped: bool) -> None:
        store = SqliteStore(home, patience=0.05, group_commit=grouped)
        bench = Bench(store)
        with lock_held(home), pytest.raises(StoreBusy, match="try again"):
            bench.add()
        assert bench.everything() == []
        store.close()

    def test_a_wait_that_was_given_up_keeps_the_lock_from_nobody(self, home: Home) -> None:
        impatient = SqliteStore(home, patience=0.01)
        patient = SqliteStore(home)
        with lock_held(home):
            for _ in range(3):
                with pytest.raises(StoreBusy):
                    Bench(impatient).add()
        for _ in range(3):
            Bench(patient).add()
            Bench(impatient).add()
        impatient.close()
        patient.close()

    def test_whoever_waits_gets_it_when_it_is_free(self, home: Home, store: SqliteStore) -> None:
        with ThreadPoolExecutor() as threads:
            with lock_held(home):
                waiting = [threads.submit(Bench(store).add) for _ in range(4)]
                assert not any(one.done() for one in waiting)
            assert sorted(one.result() for one in waiting) == [1, 2, 3, 4]

    def test_reads_do_not_wait_for_writers(self, home: Home, store: SqliteStore) -> None:
        job = Bench(store).add()
        with lock_held(home):
            assert Bench(store).state(job) == "available"

    def test_a_foreign_program_that_locks_the_file_is_told_as_busy(self, home: Home) -> None:
        import sqlite3

        store = SqliteStore(home, patience=0.05)
        other = sqlite3.connect(home.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another program"):
            Bench(store).add()
        other.execute("ROLLBACK")
        other.close()
        assert Bench(store).add() == 1
        store.close()

    def test_an_error_in_a_change_rolls_it_back_and_frees_the_lock(self, home: Home, store: SqliteStore) -> None:
        bench = Bench(store)
        with pytest.raises(InvalidJob):
            bench.submit(admission(), admission(after=(99,)))
        with lock_held(home):
            pass
        assert bench.add() > 0
        assert len(bench.everything()) == 1


class TestGroupCommit:
    @pytest.fixture
    def grouped(self, home: Home) -> Iterator[SqliteStore]:
        store = SqliteStore(home, group_commit=True)
        yield store
        store.close()

    def test_a_change_that_fails_takes_nobody_with_it(self, home: Home, grouped: SqliteStore) -> None:
        def submit(number: int) -> int | None:
            wrong: dict[str, Any] = {"after": (999,)} if number % 3 == 0 else {}
            try:
                return Bench(grouped).add(str(number), **wrong)
            except InvalidJob:
                return None

        with ThreadPoolExecutor(30) as threads:
            with lock_held(home):  # so that they have to wait, and so share transactions
                waiting = [threads.submit(submit, number) for number in range(30)]
            ids = [one.result() for one in waiting]
        assert [number for number, job in enumerate(ids) if job is None] == list(range(0, 30, 3))
        stored = {job.id: int(job.argv[0]) for job in Bench(grouped).everything()}
        assert stored == {job: number for number, job in enumerate(ids) if job is not None}

    def test_they_share_a_transaction(self, home: Home) -> None:
        store = SqliteStore(home)
        store.close()
        commits: list[str] = []
        database = Database(home)
        database.connection.close()
        writer = GroupCommit(database)
        database.connection = __import__("sqlite3").connect(
            home.database, isolation_level=None, check_same_thread=False
        )
        database.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        with ThreadPoolExecutor(20) as threads:
            with lock_held(home):
                first = threads.submit(writer.write, lambda tx: 0)
                wait_until(lambda: not writer._waiting, "the first is being written")  # pyright: ignore[reportPrivateUsage]
                others = [threads.submit(writer.write, lambda tx, n=n: n) for n in range(19)]
                wait_until(lambda: len(writer._waiting) == 19, "the others wait")  # pyright: ignore[reportPrivateUsage]
            assert [first.result(), *[one.result() for one in others]] == [0, *range(19)]
        assert len(commits) == 2
        writer.close()

    def test_whoever_is_told_that_the_queue_is_busy_can_be_sure_that_nothing_was_stored(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_commit, "MARGIN", 0.0)
        SqliteStore(home).close()
        database = Database(home, patience=0.01)
        writer = GroupCommit(database)
        wrote = threading.Event()

        def slow(tx: Any, name: str) -> str:
            tx.execute(SLOW).fetchall()
            tx.execute("INSERT INTO meta VALUES (?, 1)", (name,))
            wrote.set()
            return name

        with ThreadPoolExecutor(8) as threads:
            waiting = {name: threads.submit(writer.write, slow, name) for name in "abcdefgh"}
        done = {name for name, one in waiting.items() if one.exception() is None}
        assert all(isinstance(one.exception(), StoreBusy) for name, one in waiting.items() if name not in done)

        def had_a_turn() -> bool:
            if not wrote.is_set():  # the machine was so busy that none of them had its turn in time
                with suppress(StoreBusy):
                    done.add(writer.write(slow, "one more"))
            return wrote.is_set()

        wait_until(had_a_turn, "one of them had its turn")
        writer.close()
        assert {name for (name,) in raw(home, "SELECT name FROM meta WHERE value = 1")} == done

    def test_sqlites_errors_are_told_in_our_words(self, home: Home) -> None:
        SqliteStore(home).close()
        writer = GroupCommit(Database(home))

        def full(tx: Any) -> None:
            pages = tx.execute("PRAGMA page_count").fetchone()[0]
            tx.execute(f"PRAGMA max_page_count = {pages}")
            tx.execute("INSERT INTO meta VALUES ('x', zeroblob(100000))")

        with pytest.raises(StoreError, match="is full"):
            writer.write(full)
        writer.close()

    def test_when_it_is_closed_what_waits_is_finished_and_nothing_more_is_taken(self, home: Home) -> None:
        store = SqliteStore(home, group_commit=True)
        with ThreadPoolExecutor() as threads:
            with lock_held(home):
                waiting = threads.submit(Bench(store).add)
                closing = threads.submit(store.close)
            closing.result()
            if waiting.exception() is None:
                assert raw(home, "SELECT count(*) FROM jobs") == [(1,)]
        with pytest.raises(StoreError, match="closed"):
            Bench(store).enter("w1")


def test_a_change_sees_the_time_that_it_was_given_and_no_other(store: SqliteStore) -> None:
    assert Bench(store).job(Bench(store).add()).created_at == START
