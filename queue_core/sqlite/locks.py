"""Named locks with a capacity, counted when a job is claimed.

A job that finds a lock full is *parked*: it leaves the index of claimable jobs until the lock is let
go, so that a hundred thousand jobs that wait for one lock hold nobody up and cost a claim nothing.
What keeps parked jobs from being forgotten: whenever a lock has room and a queue has jobs parked on
it, at least that many jobs of the queue *and of the same kind* that want it are not parked. Commands are
one kind and each handler is one, since a job may wait long for a worker that can run its kind.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_QUEUES_PARKED = """
WITH RECURSIVE found(name) AS (
  SELECT min(queue) FROM jobs INDEXED BY jobs_parked WHERE parked = ?1
  UNION ALL
  SELECT (SELECT min(queue) FROM jobs INDEXED BY jobs_parked WHERE parked = ?1 AND queue > found.name)
  FROM found WHERE found.name IS NOT NULL
) SELECT name FROM found WHERE name IS NOT NULL"""
_SET_CAPACITY = (
    "INSERT INTO locks (name, capacity) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET capacity = excluded.capacity WHERE capacity <> excluded.capacity"
)
_UNPARK = (
    "UPDATE jobs SET parked = NULL WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_parked"
    " WHERE parked = ? AND queue = ? AND handler IS ? ORDER BY priority, id LIMIT ?)"
)


def first_full(tx: sqlite3.Connection, names: Sequence[str]) -> str | None:
    """The first of these locks that has no room; None if all have."""
    for name in names:
        if _room(tx, name) <= 0:
            return name
    return None


def take(tx: sqlite3.Connection, names: Sequence[str]) -> None:
    """Count a job that starts against each of its locks."""
    for name in names:
        tx.execute("UPDATE locks SET used = used + 1 WHERE name = ?", (name,))


def park(tx: sqlite3.Connection, job_id: int, queue: str, lock: str, wanted: Sequence[str]) -> None:
    """Set a job aside until `lock` has room; others may have the locks it wanted besides."""
    tx.execute("UPDATE jobs SET parked = ? WHERE id = ?", (lock, job_id))
    pass_on(tx, [name for name in wanted if name != lock], queue)


def release(tx: sqlite3.Connection, names: Sequence[str]) -> None:
    """A job that held these locks has ended: let one waiting job of every queue try."""
    for name in names:
        tx.execute("UPDATE locks SET used = used - 1 WHERE name = ?", (name,))
        _wake(tx, name)


def set_capacity(tx: sqlite3.Connection, name: str, capacity: int | None) -> None:
    """The latest word on how many may hold a lock at once counts; more room wakes who waits for it.

    None says nothing: a lock that is new then has room for one.
    """
    if capacity is None:
        tx.execute("INSERT INTO locks (name, capacity) VALUES (?, 1) ON CONFLICT DO NOTHING", (name,))
        return
    if tx.execute(_SET_CAPACITY, (name, capacity)).rowcount:
        _wake(tx, name)


def pass_on(tx: sqlite3.Connection, names: Sequence[str], queue: str) -> None:
    """A job that could have taken these locks no longer will: let the next of its queue try."""
    for name in names:
        _unpark(tx, name, queue)


def _wake(tx: sqlite3.Connection, name: str) -> None:
    for (queue,) in tx.execute(_QUEUES_PARKED, (name,)).fetchall():
        _unpark(tx, name, queue)


def _unpark(tx: sqlite3.Connection, name: str, queue: str) -> None:
    room = _room(tx, name)
    if room <= 0:
        return
    tx.execute(_UNPARK, (name, queue, None, room))
    for (handler,) in tx.execute("SELECT DISTINCT handler FROM worker_handlers").fetchall():
        tx.execute(_UNPARK, (name, queue, handler, room))


def _room(tx: sqlite3.Connection, name: str) -> int:
    row = tx.execute("SELECT capacity - used FROM locks WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 1
