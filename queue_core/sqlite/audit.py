"""The audit trail: who did what, written in the very transaction that did it."""

from __future__ import annotations

from queue_core.jobs import Deed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from queue_core.jobs import DeedFilter
    from queue_core.model import Origin
    from queue_core.sqlite.reads import Read

_NAMES = ("id", "at", "what", "job", "about", "caller", "client", "session", "project")
_COLUMNS = ", ".join(_NAMES)
_INSERT = "INSERT INTO audit (at, what, job, about, caller, client, session, project) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def note(
    tx: sqlite3.Connection, what: str, by: Origin, now: float, *, job: int | None = None, about: str | None = None
) -> None:
    """Note one deed: `what` is one of the schema's words, `about` a command as JSON or the name of something."""
    tx.execute(_INSERT, (now, what, job, about, by.caller, by.client, by.session, by.project))


def note_jobs(tx: sqlite3.Connection, what: str, jobs: Iterable[int], by: Origin, now: float) -> None:
    """Note the same deed for several jobs."""
    who = (by.caller, by.client, by.session, by.project)
    tx.executemany(_INSERT, [(now, what, job, None, *who) for job in jobs])


def note_handed_over(tx: sqlite3.Connection, job: int, now: float) -> None:
    """Note a job that took over from another: it was queued by whoever had queued that one."""
    tx.execute(
        "INSERT INTO audit (at, what, job, about, caller, client, session, project)"
        " SELECT ?, 'queued', id, argv, caller, client, session, project FROM jobs WHERE id = ?",
        (now, job),
    )


def forget(tx: sqlite3.Connection, *, before: float) -> int:
    """Forget what was noted before a time (seconds since the epoch); how many deeds went.

    By their numbers: a clock that was set back meanwhile keeps a few of them longer.
    """
    last = tx.execute("SELECT min(id) FROM audit WHERE at >= ?", (before,)).fetchone()[0]
    if last is None:
        return tx.execute("DELETE FROM audit WHERE at < ?", (before,)).rowcount
    return tx.execute("DELETE FROM audit WHERE id < ? AND at < ?", (last, before)).rowcount


def deeds(wanted: DeedFilter) -> Read[list[Deed]]:
    """What was done, newest first."""
    conditions: list[str] = []
    parameters: list[object] = []
    for column in ("job", "what", "caller", "project", "session"):
        value: object = getattr(wanted, column)
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    if wanted.since is not None:
        conditions.append("at >= ?")
        parameters.append(wanted.since)
    where = " AND ".join(conditions) or "1"
    rows = yield f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?", (*parameters, wanted.limit)
    return [Deed(**dict(zip(_NAMES, row, strict=True))) for row in rows]
