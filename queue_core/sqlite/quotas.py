"""Quotas in the store: waiting jobs counted as new ones are admitted, starts as jobs are claimed.

A queue that has used up its starts rests: it leaves the indexes of what is claimable until the oldest start
that counts is a minute old, so that it costs a claim nothing and is no backlog. Every claim is a start,
whatever becomes of it: a command that was interrupted did run, and one that never started counts for a
minute too much at worst.
"""

from __future__ import annotations

from queue_core.quotas import WINDOW, refuse_excess

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queue_core.jobs import Lease
    from queue_core.model import Origin
    from queue_core.quotas import Quotas

ALL = ""  # under this name the starts of all queues together are counted

_WAITING = "(state = 'held' OR state = 'blocked' OR state = 'scheduled' OR state = 'available')"
_WAIT_IN_PROJECT = f"SELECT count(*) FROM jobs INDEXED BY jobs_project WHERE project = ? AND {_WAITING}"
_WAIT_IN_SESSION = f"SELECT count(*) FROM jobs INDEXED BY jobs_session WHERE session = ? AND {_WAITING}"

_RESTS = "SELECT 1 FROM queues INDEXED BY queues_resting WHERE rests_until IS NOT NULL LIMIT 1"
_END_RESTS = (
    f"UPDATE queues INDEXED BY queues_resting SET rests_until = iif(rests_until > ?1, ?1 + {WINDOW}, NULL)"
    f" WHERE rests_until IS NOT NULL AND (rests_until <= ?1 OR rests_until > ?1 + {WINDOW})"
)
_IN_META = "(SELECT value FROM meta WHERE name = '%s')"
_LIMIT_OF_ALL = f"SELECT {_IN_META % 'starts_per_minute'}, {_IN_META % 'rests_until'}"
# Whether a start counts is asked in the same words everywhere: `at > now - 60` is rounded otherwise. The other
# bounds only let the index be used.
_COUNTED = f"SELECT count(*) FROM starts WHERE queue = ?1 AND at > ?2 - {WINDOW + 1} AND at + {WINDOW} > ?2"
_FORGET = f"DELETE FROM starts WHERE queue = ?1 AND at < ?2 - {WINDOW - 1} AND at + {WINDOW} <= ?2"
_FROM_THE_FUTURE = "UPDATE starts SET at = ?2 WHERE queue = ?1 AND at > ?2"
_ALL_FROM_THE_FUTURE = "UPDATE starts SET at = ?1 WHERE at > ?1"
_NTH_NEWEST = "SELECT at FROM starts WHERE queue = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
_SET = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_REST = "UPDATE queues SET rests_until = ? WHERE name = ?"


def refuse_beyond(tx: sqlite3.Connection, origin: Origin, new: int, quotas: Quotas) -> None:
    """QuotaFull if so many more jobs from there are more than its project or its session may have waiting."""
    asked = (
        ("session", origin.session, quotas.session, _WAIT_IN_SESSION),
        ("project", origin.project, quotas.project, _WAIT_IN_PROJECT),
    )
    for what, name, quota, count in asked:
        if name is not None and quota is not None:
            waiting = tx.execute(count, (name,)).fetchone()[0]
            refuse_excess(what, f"{what}_capacity", waiting=waiting, new=new, quota=quota)


def end_rests(tx: sqlite3.Connection, now: float) -> None:
    """Queues whose rest is over hand out again; one that would rest for more than a minute is held to that.

    (The clock was set back: what it puts into the future counts as started now.)
    """
    if tx.execute(_RESTS).fetchone() and tx.execute(_END_RESTS, (now,)).rowcount:
        tx.execute(_ALL_FROM_THE_FUTURE, (now,))


def left_of_all(tx: sqlite3.Connection, now: float) -> int | None:
    """How many jobs may start now as far as the limit over all queues goes; None if there is no such limit."""
    limit, until = tx.execute(_LIMIT_OF_ALL).fetchone()
    if limit is None:
        return None
    if until is not None and until > now:
        if until > now + WINDOW:
            tx.execute(_ALL_FROM_THE_FUTURE, (now,))
            _rest(tx, ALL, now + WINDOW)
        return 0
    tx.execute(_FROM_THE_FUTURE, (ALL, now))
    left = limit - tx.execute(_COUNTED, (ALL, now)).fetchone()[0]
    if left <= 0:  # only if the clock was set back over the end of a rest: others are to see it as well
        _rest(tx, ALL, _rest_end(tx, ALL, limit, now))
    return max(0, left)


def count_for_all(tx: sqlite3.Connection, leases: Sequence[Lease], now: float) -> None:
    """Count these starts against the limit over all queues."""
    _note(tx, ALL, leases, now)
    limit = tx.execute(_LIMIT_OF_ALL).fetchone()[0]
    _rest(tx, ALL, _rest_end(tx, ALL, limit, now))


def count_for_queue(tx: sqlite3.Connection, queue: str, limit: int, lease: Lease, now: float) -> None:
    """Count one start against its queue's limit; the queue rests if that was the last that it may have now."""
    _note(tx, queue, (lease,), now)
    _rest(tx, queue, _rest_end(tx, queue, limit, now))


def _note(tx: sqlite3.Connection, name: str, leases: Sequence[Lease], now: float) -> None:
    """Remember starts. Those that lie in the future, since the clock was set back, count as of now."""
    tx.execute(_FORGET, (name, now))
    tx.execute(_FROM_THE_FUTURE, (name, now))
    rows = [(name, now, lease.job, lease.claim) for lease in leases]
    tx.executemany("INSERT INTO starts (queue, at, job, claim) VALUES (?, ?, ?, ?)", rows)


def _rest_end(tx: sqlite3.Connection, name: str, limit: int, now: float) -> float | None:
    """When the next job may start; None if one may now."""
    row = tx.execute(_NTH_NEWEST, (name, limit - 1)).fetchone()
    return row[0] + WINDOW if row and row[0] + WINDOW > now else None


def set_limit_of_all(tx: sqlite3.Connection, limit: int | None) -> None:
    """Limit the starts of all queues together, and let no queue have a limit of its own any more."""
    _store(tx, "starts_per_minute", limit)
    tx.execute("UPDATE queues SET starts_per_minute = NULL WHERE starts_per_minute IS NOT NULL")


def apply_limits(tx: sqlite3.Connection, now: float) -> None:
    """Whoever rests, and until when, follows from the limits as they are now and from what was started."""
    limit = tx.execute(_LIMIT_OF_ALL).fetchone()[0]
    limits = dict(tx.execute("SELECT name, starts_per_minute FROM queues WHERE starts_per_minute IS NOT NULL"))
    counted = {ALL: limit, **limits} if limit is not None else limits
    for (name,) in tx.execute("SELECT DISTINCT queue FROM starts").fetchall():
        if name not in counted:
            tx.execute("DELETE FROM starts WHERE queue = ?", (name,))
    tx.execute("UPDATE queues SET rests_until = NULL WHERE rests_until IS NOT NULL")
    _rest(tx, ALL, None)
    for name, most in counted.items():
        tx.execute(_FROM_THE_FUTURE, (name, now))
        _rest(tx, name, _rest_end(tx, name, most, now))


def _rest(tx: sqlite3.Connection, name: str, until: float | None) -> None:
    """Hand out nothing of a queue, or of all, until then."""
    if name == ALL:
        _store(tx, "rests_until", until)
    elif until is not None:
        tx.execute(_REST, (until, name))


def _store(tx: sqlite3.Connection, name: str, value: float | None) -> None:
    if value is None:
        tx.execute("DELETE FROM meta WHERE name = ?", (name,))
    else:
        tx.execute(_SET, (name, value))
