"""Queues of a million jobs, made in seconds: one job is queued for real, and copied by SQL.

The indexes are made anew after the copying, and counters are multiplied. The store itself judges the result: it is
opened, claims and settles as any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from queue_core import Queue
from queue_core.home import locate

FUTURE = 4_000_000_000.0  # seconds since the epoch: in the year 2096
WAITING = 1_000  # jobs that can be claimed in each population, at least
PERIOD = 1_000  # jobs after which a population repeats itself


@dataclass(frozen=True)
class Population:
    """Who fills the queue besides those that can be claimed."""

    name: str
    fill: Callable[[sqlite3.Connection, int, int], None]  # connection, the template's id, how many


def make(env: dict[str, str], population: Population | None, size: int) -> Queue:
    """A queue with so many jobs of a population, and WAITING that can be claimed."""
    queue = Queue.open(env)
    template = queue.submit(("true",)).id
    path = locate(env).database
    queue.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as tx:
        for quick in ("synchronous = OFF", "cache_size = -262144", "ignore_check_constraints = ON"):
            tx.execute(f"PRAGMA {quick}")
        tx.execute("BEGIN IMMEDIATE")
        made = tx.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
        for name, _ in made:
            tx.execute(f"DROP INDEX {name}")
        copy(tx, template, WAITING - 1)
        if population is not None:
            population.fill(tx, template, size)
        for _, sql in made:
            tx.execute(sql)
        tx.execute("COMMIT")
        tx.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Queue.open(env)


def copy(tx: sqlite3.Connection, template: int, count: int, **changed: str) -> None:
    """So many more jobs like this one; `changed` are SQL expressions, in which `n` counts from 1.

    Triggers count the first thousand of them; what has come of that is multiplied for the rest, which repeats it.
    """
    before = _counters(tx)
    _insert(tx, template, 1, min(count, PERIOD), changed)
    rest = count - PERIOD
    if rest <= 0:
        return
    assert rest % PERIOD == 0, f"{count} jobs cannot be made in thousands"
    after = _counters(tx)
    triggers = _without_triggers(tx, "sql LIKE '% INSERT ON jobs%'")
    _insert(tx, template, PERIOD + 1, count, changed)
    for sql in triggers:
        tx.execute(sql)
    for queue, counted in after.items():
        earlier = before.get(queue, {})
        grown = {name: value - earlier.get(name, 0) for name, value in counted.items() if value != earlier.get(name, 0)}
        for name, value in grown.items():
            tx.execute(f"UPDATE queues SET {name} = {name} + ? WHERE name = ?", (value * rest // PERIOD, queue))


def _insert(tx: sqlite3.Connection, template: int, first: int, last: int, changed: dict[str, str]) -> None:
    columns = [row[1] for row in tx.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
    values = ", ".join(changed.get(name, f"template.{name}") for name in columns)
    tx.execute("DROP TABLE IF EXISTS temp.template")  # one of its own: from the very table, all would be stored twice
    tx.execute("CREATE TEMP TABLE template AS SELECT * FROM jobs WHERE id = ?", (template,))
    tx.execute(
        f"WITH RECURSIVE counted(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM counted WHERE n < {last})"
        f" INSERT INTO jobs ({', '.join(columns)}) SELECT {values} FROM counted, template"
    )


def _counters(tx: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """What triggers count, by queue."""
    names = [row[1] for row in tx.execute("PRAGMA table_info(queues)") if row[2] == "INTEGER" and row[4] == "0"]
    rows = tx.execute(f"SELECT name, {', '.join(names)} FROM queues").fetchall()
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


def _without_triggers(tx: sqlite3.Connection, which: str) -> list[str]:
    """Take these triggers away; their texts, to be put back."""
    found = tx.execute(f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND {which}").fetchall()
    for name, _ in found:
        tx.execute(f"DROP TRIGGER {name}")
    return [sql for _, sql in found]


def waiting(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They could all be claimed."""
    copy(tx, template, count)


def future(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They are due in the year 2096."""
    copy(tx, template, count, state="'scheduled'", due_at=f"{FUTURE} + n")


def blocked(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They wait for a job that is not due before 2096."""
    copy(tx, template, 1, state="'scheduled'", due_at=str(FUTURE))
    needed = tx.execute("SELECT max(id) FROM jobs").fetchone()[0]
    copy(tx, template, count, state="'blocked'", unmet="1")
    tx.execute(
        "INSERT INTO dependencies (job, needs, condition) SELECT id, ?, 'success' FROM jobs WHERE state = 'blocked'",
        (needed,),
    )


def finished(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They have succeeded, each at its first attempt. (They enter as what they became later: no job can begin so.)"""
    triggers = _without_triggers(tx, "name = 'jobs_enter'")
    copy(
        tx,
        template,
        count,
        state="'succeeded'",
        started_at="template.created_at - 10",
        finished_at="template.created_at - 10 + n / 1e6",
        ended="n",
        claim="1",
        attempt="1",
        outcome="'exited'",
        exit_code="0",
    )
    tx.execute("UPDATE meta SET value = ? WHERE name = 'ended'", (count,))
    tx.execute(
        "INSERT INTO attempts (job, claim, outcome, exit_code, host, started_at, finished_at, waited)"
        " SELECT id, 1, 'exited', 0, 'here', started_at, finished_at, 0 FROM jobs WHERE state = 'succeeded'"
    )
    for sql in triggers:
        tx.execute(sql)


def in_queues(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They wait in 1,000 queues."""
    columns = [row[1] for row in tx.execute("PRAGMA table_info(queues)") if row[1] in ("slots", "own_slots")]
    named = ", ".join(columns)
    tx.execute(
        "WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < 999)"
        f" INSERT INTO queues (name, {named}) SELECT 'queue-' || n, {named} FROM counted, queues"
        " WHERE queues.name = 'default'"
    )
    copy(tx, template, count, queue="'queue-' || (n % 1000)")


def with_locks(tx: sqlite3.Connection, template: int, count: int) -> None:
    """They wait, and each will want one of 1,000 locks."""
    tx.execute(
        "WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < 999)"
        " INSERT INTO locks (name, capacity) SELECT 'lock-' || n, 1 FROM counted"
    )
    copy(tx, template, count, locks="'[\"lock-' || (n % 1000) || '\"]'", priority="1")  # before those without


POPULATIONS = (
    Population("waiting", waiting),
    Population("due in the future", future),
    Population("blocked", blocked),
    Population("finished", finished),
    Population("waiting in 1,000 queues", in_queues),
    Population("waiting, 1,000 locks", with_locks),
)
