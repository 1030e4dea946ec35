"""Many jobs at once: those that are nothing but a row of their own share a statement, not only a transaction.

A statement has costs of its own (a savepoint with copies of the pages it touches, the sequence of ids, starting
the program and its triggers) that are more than those of a row. And what jobs have in common (`alike.py`) is handed
over once a statement. One by one a job takes SQLite 37 µs, in sixties 14, and alike 9 (measured).
"""

from __future__ import annotations

from itertools import chain, islice

from queue_core.alike import Alike, admission_like, own
from queue_core.fastjson import dumps
from queue_core.lifecycle import entry_state
from queue_core.model import PRIORITIES, Receipt
from queue_core.sqlite import audit, queues
from queue_core.sqlite.admit import place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from queue_core.alike import Stretch
    from queue_core.model import Admission

    Run = list[Stretch[Admission]]

MOST = 2000  # jobs at once: their texts are made for no more
ROWS = (64, 32, 16, 8, 4, 2, 1)  # rows a statement: few different ones, so that each is compiled once
LONGEST = 4 * 1024 * 1024  # characters that are handed over as one text
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


def runs(admissions: Sequence[Admission]) -> Iterator[Run]:
    """These in their order: as many as can be stored together, or one alone."""
    run: Run = []
    count = 0
    for like, owns, plain in _pieces(admissions):
        if run and not (plain and count + len(owns) <= MOST and _are_alike(run[0][0], like)):
            yield run
            run, count = [], 0
        run.append((like, owns))
        count += len(owns)
        if not plain:
            yield run
            run, count = [], 0
    if run:
        yield run


def _pieces(admissions: Sequence[Admission]) -> Iterator[tuple[Admission, Sequence[Any], bool]]:
    """Stretches that are not too long, and whether they are plain; those that are not, job by job."""
    if not isinstance(admissions, Alike):
        for one in admissions:
            yield one, (own(one.job),), _is_plain(one)
        return
    for like, owns in admissions.stretches:
        plain = _is_plain(like)
        size = MOST if plain else 1
        for begin in range(0, len(owns), size):
            yield like, owns[begin : begin + size], plain


def alone(run: Run) -> Admission | None:
    """The job of a run of one."""
    (like, owns) = run[0]
    return admission_like(like, owns[0]) if len(run) == len(owns) == 1 else None


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
    """Whether they have the same values in what is long or written as JSON. Mostly they are the same objects."""
    return (
        (one.env is other.env or one.env == other.env)
        and (one.retry is other.retry or one.retry == other.retry)
        and (one.origin is other.origin or one.origin == other.origin)
    )


def store(tx: sqlite3.Connection, run: Run, now: float, parallelism: int) -> list[Stretch[Receipt]]:
    """Store one of the `runs`; nobody else adds jobs meanwhile, so what their ids will be is known beforehand."""
    for queue in dict.fromkeys([like.job.queue for like, _ in run]):
        queues.ensure(tx, queue, parallelism)
    first: int = tx.execute(_NEXT_ID).fetchone()[0]
    rows = _rows(tx, run, now)
    argvs, arguments = _texts(run)
    shared, own = _columns(run, rows)
    written: dict[str, list[Any]] = {"argv": argvs, "arguments": arguments}
    for name, texts in written.items():
        if texts.count(texts[0]) == len(texts):
            shared[name] = texts[0]
        else:
            own[name] = texts
    _insert(tx, first, shared, own, len(argvs))
    _note(tx, first, run, argvs, now)
    return _receipts(first, run, rows)


def _receipts(first: int, run: Run, rows: Sequence[dict[str, Any]]) -> list[Stretch[Receipt]]:
    found: list[Stretch[Receipt]] = []
    for (_, owns), row in zip(run, rows, strict=True):
        found.append((Receipt(id=first, state=row["state"], existing=False), range(first, first + len(owns))))
        first += len(owns)
    return found


def _rows(tx: sqlite3.Connection, run: Run, now: float) -> list[dict[str, Any]]:
    """What is the same in all jobs of a stretch, stretch by stretch."""
    one = run[0][0]
    parks = _parks(tx, [like.job.handler for like, _ in run])
    whole = {
        "env": dumps(dict(one.env)),
        "retry": dumps([one.retry.backoff, one.retry.base, one.retry.cap, one.retry.jitter]),
        "retries": one.retry.retries,
        **{name: getattr(one.origin, name) for name in ("caller", "session", "project", "client")},
        "created_at": now,
    }
    return [{**whole, **_row(like, parks, now)} for like, _ in run]


def _row(like: Admission, parks: dict[str | None, str | None], now: float) -> dict[str, Any]:
    job = like.job
    state = entry_state(held=like.held is not None, unmet=0, due_at=like.due_at, now=now)
    available = state == "available"
    return {
        "state": state,
        "queue": job.queue,
        "priority": PRIORITIES.index(job.priority),
        "sequential": job.sequential,
        "due_at": like.due_at,
        "parked": parks.get(job.handler) if available else None,
        "program": like.program,
        "executable": like.executable,
        "cwd": like.cwd,
        "timeout": like.timeout,
        "name": job.name,
        "meta": dumps(dict(job.meta)) if job.meta else None,
        "reason": like.held,
        "handler": job.handler,
        "ready_at": now if available else None,
    }


def _parks(tx: sqlite3.Connection, handlers: Sequence[str | None]) -> dict[str | None, str | None]:
    """Where available jobs are parked, by handler."""
    return {handler: place_of(tx, handler) for handler in set(handlers) if handler is not None}


def _texts(run: Run) -> tuple[list[str], list[str | None]]:
    """Argv and arguments, job by job."""
    argvs: list[str] = []
    arguments: list[str | None] = []
    for like, owns in run:
        if like.job.handler is None:
            argvs += map(dumps, owns)
            arguments += [None] * len(owns)
        else:
            argvs += ["[]"] * len(owns)
            arguments += map(dumps, map(dict, owns))
    return argvs, arguments


def _columns(run: Run, rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Sequence[Any]]]:
    """The columns in which all jobs have the same, and the others job by job."""
    shared = dict(rows[0])
    own: dict[str, Sequence[Any]] = {}
    if len(rows) > 1:
        for name in rows[0]:
            values = [row[name] for row in rows]
            if values.count(values[0]) < len(values):
                del shared[name]
                own[name] = [value for value, (_, owns) in zip(values, run, strict=True) for _ in owns]
    return shared, own


def _insert(
    tx: sqlite3.Connection, first: int, shared: dict[str, Any], own: dict[str, Sequence[Any]], count: int
) -> None:
    """Insert the rows; what all of them have in common is handed over once a statement."""
    common = tuple(shared.values())
    if len(own) == 1:
        ((name, texts),) = own.items()
        if name in ("argv", "arguments") and sum(map(len, texts)) < LONGEST:
            tx.execute(_statement_of_one(name, shared), (*common, first, dumps(texts)))
            return
    own = {"id": range(first, first + count), **own}
    rows = zip(*own.values(), strict=True)
    for size in ROWS:
        statement = _statement(shared, own, size) if count >= size else ""
        while count >= size:
            tx.execute(statement, (*common, *chain.from_iterable(islice(rows, size))))
            count -= size


def _statement(shared: Iterable[str], own: Collection[str], size: int) -> str:
    row = f"({', '.join('?' * len(own))})"
    common = [*shared]
    return (
        f"INSERT INTO jobs ({', '.join((*common, *own))})"
        f" SELECT {', '.join('?' * len(common))}, own.* FROM (VALUES {', '.join([row] * size)}) AS own"
    )


def _statement_of_one(name: str, shared: Iterable[str]) -> str:
    """For jobs that differ in one text only: a list of these texts, written as JSON, is a single value to hand over."""
    common = [*shared]
    return (
        f"INSERT INTO jobs ({', '.join((*common, 'id', name))})"
        f" SELECT {', '.join('?' * len(common))}, ? + own.key, own.value FROM json_each(?) AS own"
    )


def _note(tx: sqlite3.Connection, first: int, run: Run, written: Sequence[str], now: float) -> None:
    """Note who has queued them; commands that are too long for the trail one by one."""
    noted = first
    if max(map(len, written)) > audit.LONGEST:
        for job, (one, argv) in enumerate(((like, argv) for like, owns in run for argv in owns), first):
            text = written[job - first]
            if len(text) > audit.LONGEST:
                tx.execute(_NOTE, (noted, job - 1))
                what = "queued" if one.held is None else "held"
                audit.note(tx, what, one.origin, now, job=job, about=audit.command(argv, text))
                noted = job + 1
    tx.execute(_NOTE, (noted, first + len(written) - 1))
