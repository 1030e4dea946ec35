"""Schedules in the store: their next time moves in the very transaction that queues their jobs."""

from __future__ import annotations

from queue_core.errors import QueueFull
from queue_core.jobs import ScheduleRow
from queue_core.recurrence import GRACE
from queue_core.sqlite import audit
from queue_core.sqlite.admit import admit
from queue_core.sqlite.queues import PAUSES, PERSONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from queue_core.model import Admission, Origin, Receipt
    from queue_core.quotas import Quotas
    from queue_core.sqlite.reads import Read

_NAMES = (
    *("name", "cron", "every", "zone", "missed", "job", "created_at", "caller"),
    *("next_at", "decided_at", "last_at", "last_job", "paused", "trouble", "retry_at"),
)
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"INSERT INTO schedules ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT DO NOTHING"
_IS_DUE = "next_at <= ?1 AND (retry_at IS NULL OR retry_at <= ?1)"
# What was decided from a row holds for that very row, if it is still due for the same time.
_SAME = "name = ? AND created_at = ?"
_STILL_DUE = f"{_SAME} AND next_at = ? AND paused = 0"
# Who may change a schedule depends on whether a person has paused it.
_AS_SEEN = f"{_SAME} AND (paused = {PERSONS}) = ?"


def add(
    tx: sqlite3.Connection, row: ScheduleRow, *, by: Origin, replacing: ScheduleRow | None, most: int | None
) -> bool:
    """Store a schedule, in the place of `replacing` if that is given; False if it is not as the caller saw it.

    QueueFull if its caller has `most` of them already.
    """
    if replacing is not None and not _removed(tx, [replacing]):
        return False
    if most is not None:
        _refuse_more(tx, row, most)
    values: dict[str, object] = {**row.__dict__, "paused": PAUSES.index(row.paused_by)}
    if not tx.execute(_INSERT, tuple(values[name] for name in _NAMES)).rowcount:
        return False
    audit.note(tx, "scheduled", by, row.created_at, about=row.name)
    return True


def _refuse_more(tx: sqlite3.Connection, row: ScheduleRow, most: int) -> None:
    there = tx.execute("SELECT count(*) FROM schedules WHERE caller = ?", (row.caller,)).fetchone()[0]
    if there >= most:
        raise QueueFull(
            f"{row.caller}s have {there} schedules, which is as many as they may; nothing was stored."
            " Remove one that is needed no longer, or ask the user to add this one"
        )


def remove(tx: sqlite3.Connection, rows: Sequence[ScheduleRow], *, by: Origin, now: float) -> bool:
    """Forget these schedules; their jobs stay. False, and none is removed, if one is not as the caller saw it."""
    if not _removed(tx, rows):
        return False
    for row in rows:
        audit.note(tx, "unscheduled", by, now, about=row.name)
    return True


def _removed(tx: sqlite3.Connection, rows: Sequence[ScheduleRow]) -> bool:
    if not _are_as_seen(tx, rows):
        return False
    tx.executemany("DELETE FROM schedules WHERE name = ?", [(row.name,) for row in rows])
    return True


def _are_as_seen(tx: sqlite3.Connection, rows: Sequence[ScheduleRow]) -> bool:
    sql = f"SELECT 1 FROM schedules WHERE {_AS_SEEN}"
    seen = [(row.name, row.created_at, row.paused_by == "person") for row in rows]
    return all(tx.execute(sql, values).fetchone() for values in seen)


def pause(
    tx: sqlite3.Connection, rows: Sequence[ScheduleRow], *, paused: bool, by: Origin, now: float
) -> list[ScheduleRow] | None:
    """Let schedules rest, or go on with the `next_at` of these rows; as they are now.

    None, and none is changed, if one is not as the caller saw it.
    """
    if not _are_as_seen(tx, rows):
        return None
    for row in rows:
        if paused:  # a person's pause stays a person's when others pause as well
            tx.execute("UPDATE schedules SET paused = max(paused, ?) WHERE name = ?", (PAUSES.index(by.will), row.name))
        else:
            tx.execute(
                "UPDATE schedules SET paused = 0, next_at = ?, decided_at = ?, trouble = NULL, retry_at = NULL"
                " WHERE name = ? AND paused <> 0",
                (row.next_at, row.decided_at, row.name),
            )
        audit.note(tx, "paused" if paused else "resumed", by, now, about=f"schedule {row.name}")
    sql = f"SELECT {_COLUMNS} FROM schedules WHERE name = ?"
    return [_row(tx.execute(sql, (row.name,)).fetchone()) for row in rows]


def fire(
    tx: sqlite3.Connection,
    row: ScheduleRow,
    admissions: Sequence[Admission],
    *,
    next_at: float | None,
    now: float,
    capacity: int,
    parallelism: int,
    quotas: Quotas | None,
    within: str | None,
) -> list[Receipt] | None:
    """Move a schedule on and queue its jobs, or neither; None if it is no longer due as the caller saw it."""
    key = (row.name, row.created_at, row.next_at)
    if not tx.execute(
        f"UPDATE schedules SET next_at = ?, decided_at = ?, retry_at = NULL WHERE {_STILL_DUE}", (next_at, now, *key)
    ).rowcount:
        return None
    receipts = list(
        admit(tx, admissions, now=now, capacity=capacity, parallelism=parallelism, quotas=quotas, within=within)
    )
    if receipts:
        why = _in_its_way(tx, row.name, receipts[0], admissions[0].job.unique)
        tx.execute("UPDATE schedules SET trouble = ? WHERE name = ?", (why, row.name))
    new = [receipt.id for receipt in receipts if not receipt.existing]
    if new:
        tx.execute("UPDATE schedules SET last_at = ?, last_job = ? WHERE name = ?", (now, new[-1], row.name))
    return receipts


def _in_its_way(tx: sqlite3.Connection, name: str, receipt: Receipt, key: str | None) -> str | None:
    """That its unique key is taken by a job that is no run of its own, if it is."""
    if (
        not receipt.existing
        or tx.execute("SELECT 1 FROM jobs WHERE id = ? AND schedule = ?", (receipt.id, name)).fetchone()
    ):
        return None
    return f"job {receipt.id} ({receipt.state}) has its unique key `{key}`"


def trouble(tx: sqlite3.Connection, row: ScheduleRow, why: str, *, now: float, retry_at: float) -> None:
    """Note why a schedule cannot queue its job; it stays due."""
    tx.execute(
        f"UPDATE schedules SET trouble = ?, decided_at = ?, retry_at = ? WHERE {_STILL_DUE}",
        (why, now, retry_at, row.name, row.created_at, row.next_at),
    )


def every() -> Read[list[ScheduleRow]]:
    """All schedules, by name."""
    rows = yield f"SELECT {_COLUMNS} FROM schedules ORDER BY name", ()
    return [_row(row) for row in rows]


def due(now: float, limit: int) -> Read[list[ScheduleRow]]:
    """Schedules that are due, those that have been so for longest first; then those that an earlier clock put off.

    Their next time was decided later than now, by more than a clock that is corrected a little explains.
    """
    rows = yield (
        f"SELECT {_COLUMNS} FROM schedules INDEXED BY schedules_due WHERE paused = 0 AND {_IS_DUE}"
        " ORDER BY next_at, name LIMIT ?2",
        (now, limit),
    )
    put_off = yield (
        f"SELECT {_COLUMNS} FROM schedules INDEXED BY schedules_decided WHERE paused = 0 AND next_at IS NOT NULL"
        f" AND decided_at > ?1 + {GRACE} AND NOT ({_IS_DUE}) ORDER BY decided_at, name LIMIT ?2",
        (now, limit - len(rows)),
    )
    return [_row(row) for row in (*rows, *put_off)]


def _row(values: tuple[object, ...]) -> ScheduleRow:
    found: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
    paused: int = found.pop("paused")
    return ScheduleRow(paused_by=PAUSES[paused], **found)
