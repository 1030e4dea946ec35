"""Every hot statement goes through the index that was made for it, at any size of the table."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.jobs import Filter, Outcome
from queue_core.model import Origin
from queue_core.quotas import Quotas
from queue_core.service import Queue
from queue_core.sqlite import admit, claim, control, escalate, locks, news, readiness, reads, schedules, settle
from tests.conformance.builders import FAILURE, PERSON, START, SUCCESS, Bench, admission, exited, settlement
from tests.sqlite.conftest import raw

if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.jobs import Lease
    from queue_core.sqlite.store import SqliteStore

PRIVATE = {
    "ready": claim._READY,  # pyright: ignore[reportPrivateUsage]
    "head": claim._HEAD,  # pyright: ignore[reportPrivateUsage]
    "heads": claim._HEADS,  # pyright: ignore[reportPrivateUsage]
    "standing": claim._STANDING,  # pyright: ignore[reportPrivateUsage]
    "end of turn": claim._END_TURN,  # pyright: ignore[reportPrivateUsage]
    "handled head": claim._HANDLED_HEAD,  # pyright: ignore[reportPrivateUsage]
    "first barrier": claim._FIRST_BARRIER,  # pyright: ignore[reportPrivateUsage]
    "first handled": claim._FIRST_HANDLED,  # pyright: ignore[reportPrivateUsage]
    "promote": claim._PROMOTE,  # pyright: ignore[reportPrivateUsage]
    "open dependents": settle._OPEN_DEPENDENTS,  # pyright: ignore[reportPrivateUsage]
    "successors": reads.SUCCESSORS,
    "predecessors": escalate._PREDECESSORS,  # pyright: ignore[reportPrivateUsage]
    "prunable": control._PRUNABLE,  # pyright: ignore[reportPrivateUsage]
    "unpark": locks._UNPARK,  # pyright: ignore[reportPrivateUsage]
    "queues parked": locks._QUEUES_PARKED,  # pyright: ignore[reportPrivateUsage]
}
INDEXES = {
    "ready": ("queues_ready",),
    "head": ("jobs_available",),
    "heads": ("jobs_available",),
    "standing": ("jobs_scheduled", "queues_resting", "jobs_running"),
    "end of turn": ("queues_turn",),
    "handled head": ("jobs_handled",),
    "first barrier": ("jobs_barriers",),
    "first handled": ("jobs_handled_order",),
    "promote": ("jobs_scheduled",),
    "open dependents": ("dependencies_open",),
    "successors": ("jobs_successors",),
    "predecessors": (),
    "prunable": ("jobs_ended", "dependencies_open", "jobs_successors"),
    "unpark": ("jobs_parked",),
    "queues parked": ("jobs_parked",),
}


def plan(home: Home, sql: str) -> list[str]:
    values = [0] * sql.count("?") if "?1" not in sql else [0]
    return [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]


def bad_steps(steps: list[str]) -> list[str]:
    """Steps that read a whole table that grows, or sort one."""
    growing = ("jobs", "attempts", "dependencies", "inputs", "spooled", "audit", "j", "d", "a", "s", "mine", "other")
    scans = [step for step in steps if step.startswith("SCAN ") and "INDEX" not in step and step.split()[1] in growing]
    return scans + [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.usefixtures("store")
class TestNamedStatements:
    @pytest.mark.parametrize("name", PRIVATE)
    def test_it_uses_its_index_and_reads_no_table_whole(self, home: Home, name: str) -> None:
        steps = plan(home, PRIVATE[name])
        assert bad_steps(steps) == []
        for index in INDEXES[name]:
            assert any(f"INDEX {index}" in step for step in steps), steps

    @pytest.mark.parametrize(
        ("read", "index"),
        [
            (lambda: reads.running("here"), "jobs_running"),
            (lambda: reads.running(None), "jobs_running"),
            (lambda: readiness.next_due(1.0), "jobs_scheduled"),
            (lambda: readiness.claimable(1.0), "queues_ready"),
            (lambda: reads.job(1), "INTEGER PRIMARY KEY"),
            (lambda: reads.job(1), "jobs_successors"),
            (lambda: reads.chain(1), "jobs_successors"),
            (lambda: reads.states_of((1, 2)), "INTEGER PRIMARY KEY"),
            (lambda: reads.caller_of(1), "INTEGER PRIMARY KEY"),
            (reads.handed_over, "COVERING INDEX jobs_successors"),
            (lambda: reads.dependencies(1), "PRIMARY KEY"),
            (lambda: schedules.due(1.0, 1), "schedules_due"),
        ],
        ids=[
            "running here",
            "running",
            "next due",
            "claimable",
            "job",
            "successor",
            "chain",
            "states",
            "caller",
            "handed over",
            "dependencies",
            "due schedules",
        ],
    )
    def test_so_does_a_read(self, home: Home, read, index: str) -> None:
        sql, values = next(read())
        steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]
        assert bad_steps(steps) == []
        assert any(index in step for step in steps), steps

    @pytest.mark.parametrize(
        ("statement", "indexes"),
        [
            (news._AFTER, ["jobs_completions (ended>?)"]),  # pyright: ignore[reportPrivateUsage]
            (news._SINCE, ["jobs_ended (finished_at>?)"]),  # pyright: ignore[reportPrivateUsage]
            (news._NEWEST.replace("?", ":after"), ["jobs_completions (ended=?)"]),  # pyright: ignore[reportPrivateUsage]
            (news._HELD, ["jobs_waiting (state=?)"]),  # pyright: ignore[reportPrivateUsage]
            (news._RUNNING, ["jobs_running"]),  # pyright: ignore[reportPrivateUsage]
            (news._WAITING, ["jobs_project (project=?)", "jobs_session (session=?)"]),  # pyright: ignore[reportPrivateUsage]
            (news._ITEMS.format(":after"), ["INTEGER PRIMARY KEY", "jobs_successors (escalated_from=?)"]),  # pyright: ignore[reportPrivateUsage]
        ],
        ids=["after", "since", "newest", "held", "running", "waiting", "items"],
    )
    def test_a_digest_looks_at_nothing_but_what_has_happened(
        self, home: Home, statement: str, indexes: list[str]
    ) -> None:
        whose = {"project": "/p", "real": "/r", "session": "s", "after": 0}
        with sqlite3.connect(home.database) as connection:
            steps = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, whose)]
        connection.close()
        assert bad_steps(steps) == []
        for index in indexes:
            assert any(f"INDEX {index}" in step or f"USING {index}" in step for step in steps), steps

    def test_schedules_that_an_earlier_clock_put_off_are_found_by_their_index(self, home: Home) -> None:
        read = schedules.due(1.0, 5)
        next(read)
        sql, values = read.send([])
        steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]
        assert any("schedules_decided (decided_at>?)" in step for step in steps), steps
        assert bad_steps(steps) == []

    def test_completions_after_a_cursor_come_in_the_order_of_their_index(self, home: Home) -> None:
        read = reads.jobs(Filter(since=5))
        next(read)
        sql, values = read.send([(9,)])
        steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]
        assert steps[0] == "SEARCH jobs USING INDEX jobs_completions (ended>?)"
        assert bad_steps(steps) == []

    def test_the_newest_jobs_are_read_from_the_end(self, home: Home) -> None:
        read = reads.jobs(Filter())
        next(read)
        sql, values = read.send([(9,)])
        steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]
        assert not any("TEMP B-TREE" in step for step in steps)


def test_no_statement_of_a_jobs_whole_life_reads_a_table_whole(home: Home, store: SqliteStore) -> None:
    """Whatever is really sent to the database while jobs come, run, wait, fail, and go."""
    sent: set[str] = set()
    connection = store._writer._database.connection  # pyright: ignore
    connection.set_trace_callback(lambda sql: sent.add(sql) if not sql.startswith("--") else None)
    bench = Bench(store)
    live(bench)
    connection.set_trace_callback(None)
    words = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")
    looked_at = [sql for sql in sent if sql.lstrip().startswith(words)]
    assert len(looked_at) > 50
    found = {sql: bad_steps([row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql)]) for sql in looked_at}
    assert {sql: steps for sql, steps in found.items() if steps} == {}


def live(bench: Bench) -> None:
    """One of everything that a worker, a hook and the janitor do."""
    first = bench.add(unique="k", locks=(("gpu", 1),), stdin=b"x", retries=1, on_dead=(("echo",),))
    bench.add(unique="k", spool_id="s#0")
    second = bench.add(locks=(("gpu", 1),), after=(first,))
    bench.add(queue="other", sequential=True, after_any=(first,), due_at=START + 5)
    bench.add(locks=(("gpu", 1),), priority="low")
    held = bench.add(held="ask", caller="agent")
    bench.configure(parallelism=3, max_running=4, queues={"own": 2})
    lease = bench.claim_one(first)
    bench.settle(settlement(lease, FAILURE))
    bench.tick(10)
    lease = bench.claim_one(first)
    bench.store.take_over(bench.store.running(), "w2")
    bench.end(lease, exited(64), permanent=[64])
    bench.replay(first)
    bench.run(first)
    bench.run(second, Outcome(kind="interrupted"))
    bench.run(second, SUCCESS)
    bench.approve(held)
    bench.cancel(held)
    bench.pause("other")
    bench.pin(second)
    bench.store.stop_claiming("w1")
    bench.store.leave_if_idle("w1", now=bench.now)
    bench.store.forget_workers(["w2"])
    bench.tick(1)
    bench.store.nth_newest_end(1)
    bench.prune()


def test_the_barrier_ahead_is_found_without_reading_all_jobs(home: Home, store: SqliteStore) -> None:
    del store
    read = readiness.barrier_ahead(1, "q", 2)
    for index, (sql, values) in zip(("jobs_running", "jobs_barriers"), (next(read), read.send([])), strict=True):
        steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql, *values)]
        assert bad_steps(steps) == []
        assert any(index in step for step in steps)


def test_the_unique_key_is_looked_up_in_its_index(home: Home, store: SqliteStore) -> None:
    sent: list[str] = []
    bench = Bench(store)
    bench.add(unique="k")
    store._writer._database.connection.set_trace_callback(sent.append)  # pyright: ignore
    bench.add(unique="k")
    lookup, *_ = [sql for sql in sent if sql.startswith("SELECT id, state, project FROM jobs")]
    steps = [row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + lookup)]
    assert steps == ["SEARCH jobs USING INDEX jobs_unique (unique_key=?)"]
    assert admit.waiting(store._writer._database.connection) == 1  # pyright: ignore


# Statements that read or sort more than an index holds ready for them, each with the reason.
ALLOWED = (
    "FROM jobs INDEXED BY jobs_running WHERE state IN ('running')",  # a page of what runs: bounded by `max_running`
    "FROM jobs WHERE 1 ORDER BY id DESC LIMIT",  # a page of the newest, read from the table's end
    "FROM workers ORDER BY started_at",  # a handful
)


def spied(connection: sqlite3.Connection, sent: set[str]) -> None:
    connection.set_trace_callback(lambda sql: sent.add(sql) if not sql.startswith("--") else None)


def asked(queue: Queue, bench: Bench, leases: list[Lease]) -> None:
    """What hooks, workers, servers and people ask for again and again."""
    store, agent = queue.store, Origin(caller="agent", session="s", project="/p")
    bench.submit(admission(unique="k"))
    bench.submit(*[admission(queue=f"queue-{n % 2}", locks=(("gpu", 1),)) for n in range(40)])
    held = bench.submit(admission(held="ask", origin=agent), quotas=Quotas(project=9, session=9))[0].id
    bench.exchange(settlement(leases[0], SUCCESS), settlement(leases[1], FAILURE), want=2)
    later = bench.add(due_at=bench.now + 50, after=(leases[2].job,))
    queue.status_view()
    queue.health_view()
    queue.has_backlog()
    for one in (held, later, leases[0].job, leases[1].job):
        queue.job_view(one)
    store.next_due(bench.now)
    store.claimable(bench.now, handlers=("none",))
    store.leave_if_idle("nobody", now=bench.now, handlers=("none",))
    store.due_schedules(bench.now, limit=1)
    store.running("here")
    store.standings([leases[1].job])
    for wanted in (Filter(limit=20), Filter(limit=20, since=0)):
        queue.list_view(wanted)
    for state in ("held", "blocked", "dead", "running"):
        queue.list_view(Filter(limit=20, states=(state,)))
    store.cancel([later], by=PERSON, now=bench.now)


def test_nothing_that_is_asked_again_and_again_reads_or_sorts_a_table_that_grows(home: Home) -> None:
    """Whatever is really sent to both connections. The digest's statements are looked at above, one by one."""
    queue = Queue.open({"RUNQ_HOME": home.data})
    store: Any = queue.store
    bench = Bench(queue.store)
    queue.clock = lambda: bench.now
    bench.submit(*[admission() for _ in range(3)])
    leases = bench.claim()
    written: set[str] = set()
    read: set[str] = set()
    store.waiting()  # so that the reader is there
    spied(store._writer._database.connection, written)
    spied(store._reader, read)
    asked(queue, bench, leases)
    queue.close()
    words = ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")
    looked_at = [sql for sql in written | read if sql.lstrip().startswith(words)]
    assert len([sql for sql in read if sql.startswith(words)]) > 20 and len(looked_at) > 50
    found = {sql: bad_steps([row[3] for row in raw(home, "EXPLAIN QUERY PLAN " + sql)]) for sql in looked_at}
    bad = {sql: steps for sql, steps in found.items() if steps}
    assert {sql: steps for sql, steps in bad.items() if not any(one in sql for one in ALLOWED)} == {}
    assert all(any(one in sql for sql in bad) for one in ALLOWED), "an exception that is none any more"
