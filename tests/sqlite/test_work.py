"""What a statement costs does not grow with the queue: counted in SQLite's own steps, which no machine's load changes.

Each shape of a queue is made at two sizes. What workers, hooks, servers and people ask for again and again may take a
few steps more at the greater one, for deeper trees; a scan or a sort would take thousands.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.jobs import Filter
from queue_core.service import Queue
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import FAILURE, PERSON, SUCCESS, Bench, admission, settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZES = (300, 6000)
MORE = 1.05  # times the steps of the smaller size
PLENTY = 10**9


def waiting(bench: Bench) -> int:
    return bench.add()


def future(bench: Bench) -> int:
    return bench.add(due_at=bench.now + 1e6, priority="critical")


def blocked(bench: Bench) -> int:
    return bench.add(after=(bench.add(due_at=bench.now + 1e6),))


def held(bench: Bench) -> int:
    return bench.add(held="ask", caller="agent")


def finished(bench: Bench) -> int:
    return bench.added_and_run(SUCCESS)


def dead(bench: Bench) -> int:
    return bench.added_and_run(FAILURE)


def paused(bench: Bench) -> int:
    bench.pause("paused")
    return bench.add(queue="paused")


def parked(bench: Bench) -> int:
    bench.add(queue="locked", locks=(("gpu", 1),))
    last = bench.add(queue="locked", locks=(("gpu", 1),))
    bench.claim()
    return last


SHAPES = (waiting, future, blocked, held, finished, dead, paused, parked)


def grow(database: str, template: int, count: int) -> None:
    """Copies of a job with its attempts and what it waits for, without the time that adding them would take."""
    with closing(sqlite3.connect(database)) as connection:
        copy(connection, "jobs", "id", template, count)
        copy(connection, "attempts", "job", template, count)
        copy(connection, "dependencies", "job", template, count)
        connection.commit()


def copy(connection: sqlite3.Connection, table: str, key: str, template: int, count: int) -> None:
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        if name == "jobs_enter":  # jobs begin in few states; the counters are to be kept
            connection.execute(f"DROP TRIGGER {name}")
    columns: list[str] = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    changed: dict[str, str] = {key: f"{template} + x", "ended": "iif(ended IS NULL, NULL, ended + x)"}
    taken = ", ".join([changed.get(column, column) for column in columns])
    connection.execute(
        f"WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count})"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {taken} FROM n CROSS JOIN {table} WHERE {key} = {template}"
    )
    if table == "jobs":
        connection.execute("UPDATE meta SET value = value + ? WHERE name = 'ended'", (count,))
    for name, sql in triggers:
        if name == "jobs_enter":
            connection.execute(sql)


class Counted:
    """A queue of one shape and size, and how many steps SQLite takes for what is asked of it."""

    def __init__(self, folder: Path, shape: Callable[[Bench], int], size: int) -> None:
        folder.mkdir(mode=0o700)
        self.home = Home(data=str(folder), config=str(folder))
        store = SqliteStore(self.home)
        bench = Bench(store)
        bench.add(queue="mine")  # so that tables and statements are there before the jobs are copied
        template = shape(bench)
        store.close()
        if size:
            grow(self.home.database, template, size)
        self.queue = Queue.open({"RUNQ_HOME": str(folder)})
        self.queue.clock = lambda: bench.now
        self.bench = bench
        bench.store = self.queue.store
        bench.submit(*[admission(queue="mine") for _ in range(20)], capacity=PLENTY)
        self.leases: list[Any] = bench.claim(2)

    def exchange(self) -> None:
        """One end and one start, as a busy worker has them."""
        one = self.leases.pop(0)
        states, leases = self.bench.exchange(settlement(one, SUCCESS), want=1)
        assert states == ["succeeded"]
        assert len(leases) == 1
        self.leases += leases

    def steps(self, call: Callable[[], object]) -> int:
        store: Any = self.queue.store
        store.waiting()
        connections = (store._writer._database.connection, store._reader)
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        for connection in connections:
            connection.set_progress_handler(count, 1)
        call()
        for connection in connections:
            connection.set_progress_handler(None, 1)
        return steps


def asked(counted: Counted) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is asked of a queue again and again."""
    queue, bench, store = counted.queue, counted.bench, counted.queue.store
    later = bench.add(due_at=bench.now + 50)
    yield "enqueue", lambda: bench.submit(admission(), capacity=PLENTY)
    yield "exchange", counted.exchange
    yield "exchange with nothing to settle", lambda: counted.leases.extend(bench.claim(1))
    yield "cancel", lambda: store.cancel([later], by=PERSON, now=bench.now)
    yield "status", queue.status_view
    yield "health", queue.health_view
    yield "backlog", queue.has_backlog
    yield "claimable", lambda: store.claimable(bench.now)
    yield "claimable by handlers", lambda: store.claimable(bench.now, handlers=("none",), commands=False)
    yield "next due", lambda: store.next_due(bench.now)
    yield "running", store.running
    yield "workers", store.workers
    yield "unmanned", store.unmanned
    yield "handed over", store.handed_over
    yield "due schedules", lambda: store.due_schedules(bench.now, limit=1)
    yield "one job", lambda: store.job(later)
    yield "newest jobs", lambda: store.jobs(Filter(limit=20))
    yield "jobs that ended since", lambda: store.jobs(Filter(limit=20, since=0))
    for state in ("held", "blocked", "dead", "running"):
        yield f"{state} jobs", lambda state=state: store.jobs(Filter(limit=20, states=(state,)))
    yield "nothing to prune", lambda: store.prune(before=0.0, limit=100)
    yield "idle worker's farewell", lambda: store.leave_if_idle("nobody", now=bench.now)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_it_costs_the_same_however_much_there_is(tmp_path: Path, shape: Callable[[Bench], int]) -> None:
    measured: list[dict[str, int]] = []
    for size in SIZES:
        counted = Counted(tmp_path / str(size), shape, size)
        measured.append({name: counted.steps(call) for name, call in asked(counted)})
        counted.queue.close()
    small, large = measured
    assert min(small.values()) > 0, "nothing was counted"
    assert small["exchange"] > 100
    grown = {name: (small[name], large[name]) for name in small if large[name] > small[name] * MORE + 10}
    assert grown == {}


def many_queues(bench: Bench, count: int) -> int:
    """Each with a job that waits."""
    return bench.submit(*[admission(queue=f"queue-{n}") for n in range(count)])[-1].id


def many_empty_queues(bench: Bench, count: int) -> int:
    later = [admission(queue=f"queue-{n}", due_at=bench.now + 1e6) for n in range(count)]
    ids = [receipt.id for receipt in bench.submit(*later)]
    bench.cancel(*ids)
    return ids[-1]


def many_locks(bench: Bench, count: int) -> int:
    """Each wanted by a job that waits, and that comes before all others."""
    bench.configure(queues={"locked": 1000})
    wanting = [admission(queue="locked", locks=((f"lock-{n}", 1),), priority="critical") for n in range(count)]
    return bench.submit(*wanting)[-1].id


def many_locks_that_are_held(bench: Bench, count: int) -> int:
    """Each by a job that runs, while another waits for it."""
    last = many_locks(bench, count)
    assert len(bench.claim(1000)) > count
    many_locks(bench, count)
    bench.claim(1000)
    return last


FEW, MANY = 80, 400  # both more than the queues that a claim looks at in one go
BY_QUEUE = {"status": 80, "health": 60, "enqueue": 15}  # steps that one queue more may cost at most
BY_JOB_THAT_RUNS = {  # they are counted in their index by a claim, and listed or sorted by the others
    "exchange": 5,
    "exchange with nothing to settle": 5,
    "idle worker's farewell": 5,
    "status": 40,
    "backlog": 40,
    "running": 40,
    "running jobs": 100,
}


@pytest.mark.parametrize(
    ("crowd", "dearer"),
    [
        (many_queues, BY_QUEUE),
        (many_empty_queues, BY_QUEUE),
        (many_locks, {}),
        (many_locks_that_are_held, BY_JOB_THAT_RUNS),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_neither_do_many_queues_and_locks_make_it_dearer(
    tmp_path: Path, crowd: Callable[[Bench, int], int], dearer: dict[str, int]
) -> None:
    """What reads every queue, or every job that runs, costs a few steps for each."""
    measured: list[dict[str, int]] = []
    for count in (FEW, MANY):
        counted = Counted(tmp_path / str(count), lambda bench, count=count: crowd(bench, count), 0)
        measured.append({name: counted.steps(call) for name, call in asked(counted)})
        counted.queue.close()
    few, many = measured
    most = {name: few[name] * MORE + 10 + dearer.get(name, 0) * (MANY - FEW) for name in few}
    assert {name: (few[name], many[name]) for name in few if many[name] > most[name]} == {}


def test_jobs_that_are_due_in_a_paused_queue_are_not_all_walked_past(tmp_path: Path) -> None:
    """A claim makes them available; until there is one, some are looked at, if another queue's may be among them."""

    def due(bench: Bench) -> int:
        return bench.add(queue="paused", due_at=bench.now + 1)

    measured: list[int] = []
    for size in (1000, 6000):
        counted = Counted(tmp_path / str(size), due, size)
        store, now = counted.queue.store, counted.bench.now + 2
        for queue in ("paused", "mine"):
            counted.bench.pause(queue)
        assert not store.claimable(now)
        counted.bench.add(queue="open", due_at=now + 1000)
        assert store.claimable(now)  # so that a worker comes up and promotes them
        measured.append(counted.steps(lambda store=store, now=now: store.claimable(now)))
        counted.queue.close()
    assert measured[1] <= measured[0] * MORE + 10
