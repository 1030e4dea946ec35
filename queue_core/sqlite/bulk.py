"""Many jobs at once: those that are nothing but a row of their own share a statement, not only a transaction.

A statement has costs of its own (a savepoint with copies of the pages it touches, the sequence of ids, starting
the program and its triggers) that are more than those of a row: 37 µs a job one by one, 17 in sixties (measured).
"""

from __future__ import annotations

from itertools import chain

from queue_core.fastjson import dumps
from queue_core.lifecycle import entry_state
from queue_core.model import PRIORITIES, Receipt
from queue_core.sqlite import audit, queues

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from queue_core.model import Admission

ROWS = (64, 32, 16, 8, 4, 2, 1)  # rows a statement: few different ones, so that each is compiled once
_NEXT_ID = (
    "SELECT 1 + max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0),"
    " coalesce((SELECT max(id) FROM jobs), 0))"
)
# From the rows, which are there already: nothing has to be handed over a second time.
_NOTE = (
    "INSERT INTO audit (at, what, job, about, caller, client, session, project)"
    " SELECT created_at, iif(state = 'held', 'held', 'queued'), id, coalesce(handler, argv),"
    " caller, client, session, project FROM jobs WHERE id BETWEEN ? AND ? ORDER BY id"
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
    columns = _columns(tx, run, now)
    _insert(tx, first, columns, len(run))
    _note(tx, first, run, columns["argv"], now)
    return [Receipt(id=job_id, state=state, existing=False) for job_id, state in enumerate(columns["state"], first)]


def _columns(tx: sqlite3.Connection, run: Sequence[Admission], now: float) -> dict[str, list[Any]]:
    """The values of each column but the id, job by job."""
    jobs, one, count = [admission.job for admission in run], run[0], len(run)
    held, due_at, handlers = [it.held for it in run], [it.due_at for it in run], [job.handler for job in jobs]
    states = [
        entry_state(held=why is not None, unmet=0, due_at=due, now=now) for why, due in zip(held, due_at, strict=True)
    ]
    parks = _parks(tx, handlers)
    retry = one.retry
    return {
        "state": states,
        "queue": [job.queue for job in jobs],
        "priority": [PRIORITIES.index(job.priority) for job in jobs],
        "sequential": [job.sequential for job in jobs],
        "due_at": due_at,
        "parked": [
            parks.get(handler) if state == "available" else None
            for handler, state in zip(handlers, states, strict=True)
        ],
        "argv": [dumps(job.argv) for job in jobs],
        "program": [it.program for it in run],
        "executable": [it.executable for it in run],
        "cwd": [it.cwd for it in run],
        "env": [dumps(dict(one.env))] * count,
        "timeout": [it.timeout for it in run],
        "retry": [dumps([retry.backoff, retry.base, retry.cap, retry.jitter])] * count,
        "retries": [retry.retries] * count,
        "name": [job.name for job in jobs],
        "meta": [dumps(dict(job.meta)) if job.meta else None for job in jobs],
        **{name: [getattr(one.origin, name)] * count for name in ("caller", "session", "project", "client")},
        "created_at": [now] * count,
        "reason": held,
        "handler": handlers,
        "arguments": [None if job.handler is None else dumps(dict(job.arguments)) for job in jobs],
        "ready_at": [now if state == "available" else None for state in states],
    }


def _parks(tx: sqlite3.Connection, handlers: Sequence[str | None]) -> dict[str | None, str]:
    """Where jobs are parked whose handler no claiming worker has, by handler.

    A trigger sees to that in any case, but only when the row is there: a second change, and a second count, a row.
    """
    named = {handler for handler in handlers if handler is not None}
    sql = "SELECT 1 FROM worker_handlers WHERE handler = ?"
    return {handler: "@" + handler for handler in named if tx.execute(sql, (handler,)).fetchone() is None}


def _insert(tx: sqlite3.Connection, first: int, columns: dict[str, list[Any]], count: int) -> None:
    """Insert the rows; what all of them have in common is handed over once a statement."""
    shared = {name: values[0] for name, values in columns.items() if values.count(values[0]) == count}
    own: dict[str, Sequence[Any]] = {"id": range(first, first + count)}
    own.update({name: values for name, values in columns.items() if name not in shared})
    rows, common, done = list(zip(*own.values(), strict=True)), tuple(shared.values()), 0
    for size in ROWS:
        if count - done < size:
            continue
        statement = _statement(shared, own, size)
        while count - done >= size:
            tx.execute(statement, (*common, *chain.from_iterable(rows[done : done + size])))
            done += size


def _statement(shared: Iterable[str], own: Collection[str], size: int) -> str:
    row = f"({', '.join('?' * len(own))})"
    common = [*shared]
    return (
        f"INSERT INTO jobs ({', '.join((*common, *own))})"
        f" SELECT {', '.join('?' * len(common))}, own.* FROM (VALUES {', '.join([row] * size)}) AS own"
    )


def _note(tx: sqlite3.Connection, first: int, run: Sequence[Admission], written: Sequence[str], now: float) -> None:
    """Note who has queued them; commands that are too long for the trail one by one."""
    noted = 0
    for place, text in enumerate(written):
        if len(text) > audit.LONGEST:
            tx.execute(_NOTE, (first + noted, first + place - 1))
            one = run[place]
            what = "queued" if one.held is None else "held"
            audit.note(tx, what, one.origin, now, job=first + place, about=audit.command(one.job.argv, text))
            noted = place + 1
    tx.execute(_NOTE, (first + noted, first + len(run) - 1))
