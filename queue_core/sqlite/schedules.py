"""Schedules in the store: their next time moves in the very transaction that queues their jobs."""

from __future__ import annotations

from queue_core.jobs import ScheduleRow
from queue_core.sqlite.admit import admit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from queue_core.model import Admission, Receipt
    from queue_core.sqlite.reads import Read

_NAMES = (
    *("name", "cron", "every", "zone", "missed", "job", "created_at"),
    *("next_at", "last_at", "last_job", "paused", "trouble", "retry_at"),
)
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"INSERT INTO schedules ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT DO NOTHING"
_IS_DUE = "paused = 0 AND next_at <= ?1 AND (retry_at IS NULL OR retry_at <= ?1)"
# What was decided from a row holds for that very row, if it is still due for the same time.
_SAME = "name = ? AND created_at = ?"
_STILL_DUE = f"{_SAME} AND next_at = ? AND paused = 0"


def add(tx: sqlite3.Connection, row: ScheduleRow, *, replacing: ScheduleRow | None) -> bool:
    """Store a schedule, in the place of `replacing` if that is given; False if it is not as the caller saw it."""
    if replacing is not None and not remove(tx, [replacing]):
        return False
    return tx.execute(_INSERT, tuple(row.__dict__[name] for name in _NAMES)).rowcount == 1


def remove(tx: sqlite3.Connection, rows: Sequence[ScheduleRow]) -> list[str]:
    """Forget these schedules; the names of those that were still there. Their jobs stay."""
    sql = f"DELETE FROM schedules WHERE {_SAME}"
    return [row.name for row in rows if tx.execute(sql, (row.name, row.created_at)).rowcount]


def pause(tx: sqlite3.Connection, rows: Sequence[ScheduleRow], *, paused: bool) -> list[str]:
    """Let schedules rest, or go on with the `next_at` of these rows; the names of those that are still there."""
    found: list[str] = []
    for row in rows:
        known = tx.execute(f"SELECT paused FROM schedules WHERE {_SAME}", (row.name, row.created_at)).fetchone()
        if known and paused:
            tx.execute(f"UPDATE schedules SET paused = 1 WHERE {_SAME}", (row.name, row.created_at))
        elif known and known[0]:
            tx.execute(
                f"UPDATE schedules SET paused = 0, next_at = ?, trouble = NULL, retry_at = NULL WHERE {_SAME}",
                (row.next_at, row.name, row.created_at),
            )
        found += [row.name] if known else []
    return found


def fire(
    tx: sqlite3.Connection,
    row: ScheduleRow,
    admissions: Sequence[Admission],
    *,
    next_at: float | None,
    now: float,
    capacity: int,
    parallelism: int,
) -> list[Receipt] | None:
    """Move a schedule on and queue its jobs, or neither; None if it is no longer due as the caller saw it."""
    key = (row.name, row.created_at, row.next_at)
    if not tx.execute(
        f"UPDATE schedules SET next_at = ?, retry_at = NULL WHERE {_STILL_DUE}", (next_at, *key)
    ).rowcount:
        return None
    receipts = admit(tx, admissions, now=now, capacity=capacity, parallelism=parallelism)
    if receipts:
        tx.execute("UPDATE schedules SET trouble = NULL WHERE name = ?", (row.name,))
    new = [receipt.id for receipt in receipts if not receipt.existing]
    if new:
        tx.execute("UPDATE schedules SET last_at = ?, last_job = ? WHERE name = ?", (now, new[-1], row.name))
    return receipts


def trouble(tx: sqlite3.Connection, row: ScheduleRow, why: str, *, retry_at: float) -> None:
    """Note why a schedule cannot queue its job; it stays due."""
    tx.execute(
        f"UPDATE schedules SET trouble = ?, retry_at = ? WHERE {_STILL_DUE}",
        (why, retry_at, row.name, row.created_at, row.next_at),
    )


def every() -> Read[list[ScheduleRow]]:
    """All schedules, by name."""
    rows = yield f"SELECT {_COLUMNS} FROM schedules ORDER BY name", ()
    return [_row(row) for row in rows]


def due(now: float, limit: int) -> Read[list[ScheduleRow]]:
    """Schedules that are due, those that have been so for longest first."""
    rows = yield (
        f"SELECT {_COLUMNS} FROM schedules INDEXED BY schedules_due WHERE {_IS_DUE} ORDER BY next_at, name LIMIT ?2",
        (now, limit),
    )
    return [_row(row) for row in rows]


def _row(values: tuple[object, ...]) -> ScheduleRow:
    found: dict[str, object] = dict(zip(_NAMES, values, strict=True))
    return ScheduleRow(**{**found, "paused": bool(found["paused"])})  # pyright: ignore[reportArgumentType]
