"""Queues: made when they are first named, paused one by one or all together, by a person (2) or another (1)."""

from __future__ import annotations

from queue_core import errors
from queue_core.sqlite import audit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from queue_core.jobs import By
    from queue_core.model import Origin

PAUSES: tuple[By | None, ...] = (None, "automatic", "person")  # stored as 0, 1, 2; indexes ask for `paused = 0`
PERSONS = PAUSES.index("person")
ALL = ""  # no queue's name
_IS_MEANT = f"?1 IN (name, '{ALL}')"

_ENSURE = (
    "INSERT INTO queues (name, slots, paused) VALUES (?,"
    " coalesce((SELECT value FROM meta WHERE name = 'parallelism'), ?),"
    " coalesce((SELECT value FROM meta WHERE name = 'paused'), 0)) ON CONFLICT DO NOTHING"
)
# A person's pause stays a person's when others pause as well.
_PAUSE_NEW_ONES = "INSERT INTO meta VALUES ('paused', ?1) ON CONFLICT DO UPDATE SET value = max(value, ?1)"


def ensure(tx: sqlite3.Connection, name: str, parallelism: int) -> None:
    """Make a queue if there is none of this name; `parallelism` is its own until a worker has stored a limit."""
    if tx.execute("SELECT 1 FROM queues WHERE name = ?", (name,)).fetchone() is None:
        tx.execute(_ENSURE, (name, parallelism))


def pause(
    tx: sqlite3.Connection, queue: str | None, *, paused: bool, parallelism: int, by: Origin, now: float
) -> list[str]:
    """Stop or go on handing out one queue's jobs, or all queues' and those of queues that are yet to come.

    The names of the queues that it concerned. NotAllowed, and nothing is changed, if a person has paused one that
    somebody else wants to resume.
    """
    name = queue or ALL
    if queue is not None:
        ensure(tx, queue, parallelism)
    elif not tx.execute("SELECT 1 FROM queues LIMIT 1").fetchone():
        ensure(tx, "default", parallelism)  # so that there is something to name
    if paused:
        _pause(tx, name, by.will)
    else:
        _resume(tx, name, by.will)
    audit.note(tx, "paused" if paused else "resumed", by, now, about=queue)
    return [
        row[0] for row in tx.execute(f"SELECT name FROM queues WHERE {_IS_MEANT} ORDER BY name", (name,)).fetchall()
    ]


def _pause(tx: sqlite3.Connection, name: str, by: By) -> None:
    if name == ALL:
        tx.execute(_PAUSE_NEW_ONES, (PAUSES.index(by),))
    tx.execute(f"UPDATE queues SET paused = max(paused, ?2) WHERE {_IS_MEANT}", (name, PAUSES.index(by)))


def _resume(tx: sqlite3.Connection, name: str, by: By) -> None:
    if by != "person":
        _refuse_persons_pauses(tx, name)
    if name == ALL:
        tx.execute("DELETE FROM meta WHERE name = 'paused'")
    tx.execute(f"UPDATE queues SET paused = 0 WHERE {_IS_MEANT}", (name,))


def _refuse_persons_pauses(tx: sqlite3.Connection, name: str) -> None:
    if name == ALL and tx.execute("SELECT 1 FROM meta WHERE name = 'paused' AND value = ?", (PERSONS,)).fetchone():
        raise errors.NotAllowed("all queues were paused by a person, who alone may resume them; ask the user to do it")
    sql = f"SELECT name FROM queues WHERE {_IS_MEANT} AND paused = ?2 ORDER BY name LIMIT 1"
    found = tx.execute(sql, (name, PERSONS)).fetchone()
    if found:
        raise errors.NotAllowed(
            f"the queue {found[0]} was paused by a person, who alone may resume it; ask the user to do it"
        )
