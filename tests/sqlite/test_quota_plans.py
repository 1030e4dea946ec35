"""Quotas and statistics cost what lies in the window, or waits in the project, and nothing where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queue_core.model import Origin
from queue_core.quotas import QueueLimits, Quotas
from queue_core.sqlite import figures, quotas
from tests.conformance.builders import Bench, admission
from tests.sqlite.conftest import raw
from tests.sqlite.test_plans import bad_steps

if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.sqlite.store import SqliteStore

HOT: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "jobs of a project": (quotas._WAIT_IN_PROJECT, ("/p",), "INDEX jobs_project"),  # pyright: ignore[reportPrivateUsage]
    "jobs of a session": (quotas._WAIT_IN_SESSION, ("s",), "INDEX jobs_session"),  # pyright: ignore[reportPrivateUsage]
    "rests that end": (quotas._END_RESTS, (1.0,), "INDEX queues_resting"),  # pyright: ignore[reportPrivateUsage]
    "starts that count": (quotas._COUNTED, ("q", 1.0), "PRIMARY KEY (queue=? AND at>?)"),  # pyright: ignore[reportPrivateUsage]
    "starts to forget": (quotas._FORGET, ("q", 1.0), "PRIMARY KEY (queue=? AND at<?)"),  # pyright: ignore[reportPrivateUsage]
    "starts to correct": (quotas._FROM_THE_FUTURE, ("q", 1.0), "PRIMARY KEY (queue=? AND at>?)"),  # pyright: ignore[reportPrivateUsage]
    "the oldest of the last starts": (quotas._NTH_NEWEST, ("q", 3), "PRIMARY KEY (queue=?)"),  # pyright: ignore[reportPrivateUsage]
}
WINDOW: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "added": (figures._ADDED, (5, 1.0, 2.0, None), "SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)"),  # pyright: ignore[reportPrivateUsage]
    "ended": (figures._ENDED, (1.0, 2.0, None), "INDEX jobs_ended (finished_at>? AND finished_at<?)"),  # pyright: ignore[reportPrivateUsage]
    "attempted": (figures._ATTEMPTED, (1.0, 2.0, None), "COVERING INDEX attempts_ended (finished_at>?"),  # pyright: ignore[reportPrivateUsage]
    "timed": (figures._TIMED, (1.0, 2.0, None, 9), "COVERING INDEX attempts_ended (finished_at>?"),  # pyright: ignore[reportPrivateUsage]
}


def steps_of(home: Home, sql: str, values: tuple[Any, ...]) -> list[str]:
    return [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]


@pytest.mark.usefixtures("store")
class TestPlans:
    @pytest.mark.parametrize("name", HOT)
    def test_a_statement_of_every_add_or_claim_goes_by_its_index(self, home: Home, name: str) -> None:
        sql, values, index = HOT[name]
        steps = steps_of(home, sql, values)
        assert bad_steps(steps) == []
        assert any(index in step for step in steps), steps

    @pytest.mark.parametrize("name", WINDOW)
    def test_statistics_begin_with_the_window(self, home: Home, name: str) -> None:
        sql, values, index = WINDOW[name]
        steps = steps_of(home, sql, values)
        assert index in steps[0], steps
        assert not any(step.startswith("SCAN") for step in steps), steps

    def test_the_newest_attempts_are_read_from_the_end_of_their_index(self, home: Home) -> None:
        sql, values, _ = WINDOW["timed"]
        assert bad_steps(steps_of(home, sql, values)) == []


def test_the_first_job_of_a_window_is_found_in_a_few_steps(store: SqliteStore) -> None:
    bench = Bench(store)
    for _ in range(10):
        bench.submit(*[admission()] * 100)
        bench.tick(10)
    read = figures.first_added(bench.now - 35)
    rows, sent = [(1, 1001)], 0
    next(read)
    try:
        while True:
            sql, values = read.send(rows)
            rows = store._writer._database.connection.execute(sql, values).fetchall()  # pyright: ignore
            sent += 1
    except StopIteration as done:
        assert done.value == 701
    assert sent <= 11


def sent_by(store: SqliteStore, bench: Bench, **how: Any) -> list[str]:
    """What one `add` by an agent sends to the database."""
    sent: list[str] = []
    connection = store._writer._database.connection  # pyright: ignore
    connection.set_trace_callback(sent.append)
    bench.submit(admission(origin=Origin(caller="agent", session="s", project="/p")), **how)
    connection.set_trace_callback(None)
    return sent


def test_an_add_without_quotas_sends_nothing_for_their_sake(store: SqliteStore) -> None:
    bench = Bench(store)
    bench.add()
    without = sent_by(store, bench)
    assert not any("count(*)" in sql for sql in without)
    assert len(sent_by(store, bench, quotas=Quotas(project=9, session=9))) == len(without) + 2


def test_a_claim_without_limits_writes_no_starts(store: SqliteStore, home: Home) -> None:
    bench = Bench(store)
    bench.add()
    bench.claim()
    assert raw(home, "SELECT * FROM starts") == []


def test_starts_that_no_longer_count_are_forgotten(store: SqliteStore, home: Home) -> None:
    bench = Bench(store)
    bench.configure(starts_per_minute=1000, queues={"api": QueueLimits(starts_per_minute=500)})
    for _ in range(5):
        bench.add(queue="api")
        bench.claim()
        bench.tick(30)
    assert raw(home, "SELECT queue, count(*) FROM starts GROUP BY queue") == [("", 2), ("api", 2)]
    bench.configure(starts_per_minute=None)
    assert raw(home, "SELECT * FROM starts") == []
