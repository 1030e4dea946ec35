"""Many jobs at once: those that are nothing but a row of their own share a statement, not only a transaction.

A statement has costs of its own (a savepoint with copies of the pages it touches, the sequence of ids, starting
the program and its triggers) that are more than those of a row: 37 µs a job one by one, 17 in sixties (measured).
"""

from __future__ import annotations

from queue_core.fastjson import dumps
from queue_core.lifecycle import entry_state
from queue_core.model import PRIORITIES, Receipt
from queue_core.sqlite import audit, queues

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from typing import Any

    from queue_core.model import Admission

ROWS = (60, 10, 1)  # rows a statement: few different ones, so that each is compiled once
_SHARED = ("env", "retry", "retries", "caller", "session", "project", "client", "created_at")
_OWN = (
    *("id", "state", "queue", "priority", "sequential", "due_at", "argv", "program", "executable", "cwd"),
    *("timeout", "name", "meta", "reason", "handler", "arguments", "ready_at"),
)
_SHARED_DEED = ("at", "caller", "client", "session", "project")
_OWN_DEED = ("what", "job", "about")
_NEXT_ID = (
    "SELECT 1 + max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0),"
    " coalesce((SELECT max(id) FROM jobs), 0))"
)


def runs(admissions: Sequence[Admission]) -> Iterator[Sequence[Admission]]:
    """These in their order: as many as can be stored together, or one alone."""
    run: list[Admission] = []
    for admission in admissions:
        plain = _is_plain(admission)
        if run and not (plain and _are_alike(run[0], admission)):
            yield run
            run = []
        run.append(admission)
        if not plain:
            yield run
            run = []
    if run:
        yield run


def _is_plain(admission: Admission) -> bool:
    """Whether it is a row of its own and nothing else: no other job, lock, input or name is concerned."""
    job = admission.job
    return not (
        job.unique is not None
        or job.after
        or job.after_any
        or job.after_failure
        or job.locks
        or job.stdin is not None
        or job.stdin_path is not None
        or job.env
        or job.pass_env
        or admission.on_dead
        or admission.escalated_from is not None
        or admission.schedule is not None
        or admission.spool_id is not None
        or admission.task is not None
    )


def _are_alike(one: Admission, other: Admission) -> bool:
    """Whether they have the same values in all columns that a statement says once. Mostly they are the same objects."""
    return (
        (one.env is other.env or one.env == other.env)
        and (one.retry is other.retry or one.retry == other.retry)
        and (one.origin is other.origin or one.origin == other.origin)
    )


def store(tx: sqlite3.Connection, run: Sequence[Admission], now: float, parallelism: int) -> list[Receipt]:
    """Store one of the `runs`; nobody else adds jobs meanwhile, so what their ids will be is known beforehand."""
    for queue in dict.fromkeys([admission.job.queue for admission in run]):
        queues.ensure(tx, queue, parallelism)
    first: int = tx.execute(_NEXT_ID).fetchone()[0]
    rows = [_row(admission, job_id, now) for job_id, admission in enumerate(run, first)]
    retry, origin = run[0].retry, run[0].origin
    shared = (
        dumps(dict(run[0].env)),
        dumps([retry.backoff, retry.base, retry.cap, retry.jitter]),
        retry.retries,
        *(origin.caller, origin.session, origin.project, origin.client),
        now,
    )
    _insert(tx, "jobs", (_SHARED, _OWN), shared, rows)
    deeds = [_deed(admission, row) for admission, row in zip(run, rows, strict=True)]
    by = (now, origin.caller, origin.client, origin.session, origin.project)
    _insert(tx, "audit", (_SHARED_DEED, _OWN_DEED), by, deeds)
    return [Receipt(id=row[0], state=row[1]) for row in rows]


def _row(admission: Admission, job_id: int, now: float) -> tuple[Any, ...]:
    """The values of `_OWN`."""
    job = admission.job
    state = entry_state(held=admission.held is not None, unmet=0, due_at=admission.due_at, now=now)
    return (
        job_id,
        state,
        job.queue,
        PRIORITIES.index(job.priority),
        job.sequential,
        admission.due_at,
        dumps(job.argv),
        admission.program,
        admission.executable,
        admission.cwd,
        admission.timeout,
        job.name,
        dumps(dict(job.meta)) if job.meta else None,
        admission.held,
        job.handler,
        dumps(dict(job.arguments)) if job.handler is not None else None,
        now if state == "available" else None,
    )


def _deed(admission: Admission, row: tuple[Any, ...]) -> tuple[str, int, str]:
    """The values of `_OWN_DEED`."""
    job = admission.job
    what = "queued" if admission.held is None else "held"
    return what, row[0], job.handler or audit.command(job.argv, row[_OWN.index("argv")])


def _insert(
    tx: sqlite3.Connection,
    table: str,
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    shared: tuple[Any, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert rows that have the values of the first `columns` in common."""
    done = 0
    for size in ROWS:
        if len(rows) - done < size:
            continue
        statement = _statement(table, *columns, size)
        for start in range(done, len(rows) - size + 1, size):
            values = list(shared)
            for row in rows[start : start + size]:
                values += row
            tx.execute(statement, values)
            done = start + size


def _statement(table: str, shared: tuple[str, ...], own: tuple[str, ...], size: int) -> str:
    row = f"({', '.join('?' * len(own))})"
    return (
        f"INSERT INTO {table} ({', '.join((*shared, *own))})"
        f" SELECT {', '.join('?' * len(shared))}, own.* FROM (VALUES {', '.join([row] * size)}) AS own"
    )
