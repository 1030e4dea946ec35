"""Queues: made when they are first named, paused one by one or all together."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

_ENSURE = (
    "INSERT INTO queues (name, slots, paused) VALUES (?,"
    " coalesce((SELECT value FROM meta WHERE name = 'parallelism'), ?),"
    " coalesce((SELECT value FROM meta WHERE name = 'paused'), 0)) ON CONFLICT DO NOTHING"
)


def ensure(tx: sqlite3.Connection, name: str, parallelism: int) -> None:
    """Make a queue if there is none of this name; `parallelism` is its own until a worker has stored a limit."""
    tx.execute(_ENSURE, (name, parallelism))


def pause(tx: sqlite3.Connection, queue: str | None, *, paused: bool, parallelism: int) -> list[str]:
    """Stop or go on handing out one queue's jobs, or all queues' and those of queues that are yet to come.

    The names of the queues that it concerned.
    """
    if queue is not None:
        ensure(tx, queue, parallelism)
        tx.execute("UPDATE queues SET paused = ? WHERE name = ?", (paused, queue))
        return [queue]
    tx.execute("INSERT INTO meta VALUES ('paused', ?1) ON CONFLICT DO UPDATE SET value = ?1", (int(paused),))
    if not tx.execute("SELECT 1 FROM queues LIMIT 1").fetchone():
        ensure(tx, "default", parallelism)  # so that there is something to name
    tx.execute("UPDATE queues SET paused = ?", (paused,))
    return [name for (name,) in tx.execute("SELECT name FROM queues ORDER BY name").fetchall()]
