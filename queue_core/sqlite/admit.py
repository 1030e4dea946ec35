"""Enqueue: the one way into the table of jobs."""

from __future__ import annotations

from queue_core import errors
from queue_core.fastjson import dumps
from queue_core.health import limit_for, refuse_overflow
from queue_core.lifecycle import dependency, entry_state
from queue_core.model import PRIORITIES, Receipt
from queue_core.sqlite import audit, queues

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from queue_core.model import Admission, Condition, JobState, NewJob
    from queue_core.quotas import Quotas

_COLUMNS = (
    "state, queue, priority, sequential, due_at, unmet, argv, program, executable, cwd, env, own_env, stdin_path,"
    " timeout, retry, retries, locks, escalated_from, name, unique_key, meta, caller, session, project,"
    " client, created_at, reason, handler, arguments, schedule, ready_at, parked"
)
_INSERT = f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * (_COLUMNS.count(',') + 1))}) ON CONFLICT DO NOTHING"
_ARGV = _COLUMNS.split(", ").index("argv")
_LIVE_OF_KEY = (
    "SELECT id, state, project FROM jobs INDEXED BY jobs_unique WHERE unique_key = ?"
    " AND state IN ('held', 'blocked', 'scheduled', 'available', 'running')"
)


def admit(
    tx: sqlite3.Connection,
    admissions: Sequence[Admission],
    *,
    now: float,
    capacity: int,
    parallelism: int,
    quotas: Quotas | None = None,
    within: str | None = None,
) -> Sequence[Receipt]:
    """Store these jobs, all or none. QueueFull, QuotaFull or InvalidJob leave nothing behind.

    With `within`, jobs of other projects than this one can neither be waited for nor be found by their unique keys.
    """
    if not admissions:
        return []
    pending, caller = waiting(tx), admissions[0].origin.caller
    if pending + len(admissions) > limit_for(caller, capacity):
        refuse_overflow(pending, caller, _truly_new(tx, admissions), capacity)
    if quotas is not None:
        _refuse_beyond(tx, admissions, quotas)
    if len(admissions) == 1:
        return [_admit_one(tx, admissions[0], {}, now, parallelism, within)]
    return _admit_many(tx, admissions, now, parallelism, within)


def _admit_many(
    tx: sqlite3.Connection, admissions: Sequence[Admission], now: float, parallelism: int, within: str | None
) -> Sequence[Receipt]:
    from queue_core.alike import Alike, receipt_like
    from queue_core.sqlite import bulk  # a hook has one job

    refs: dict[str, int] = {}
    stored: list[bulk.Stretch[Receipt]] = []
    for run in bulk.runs(admissions):
        alone = bulk.alone(run)
        if alone is None:
            receipts = bulk.store(tx, run, now, parallelism)
        else:
            receipt = _admit_one(tx, alone, refs, now, parallelism, within)
            receipts = [(receipt, (receipt.id,))]
        for (admission, _), (_, ids) in zip(run, receipts, strict=True):
            if admission.job.ref is not None:
                refs[admission.job.ref] = ids[-1]
        stored += receipts
    return Alike(receipt_like, stored)


def waiting(tx: sqlite3.Connection) -> int:
    """How many jobs wait, over all queues."""
    return tx.execute("SELECT coalesce(sum(held + blocked + scheduled + available), 0) FROM queues").fetchone()[0]


def _truly_new(tx: sqlite3.Connection, admissions: Sequence[Admission]) -> int:
    """How many of these are not there already, as live jobs of the same unique key."""
    keys = [admission.job.unique for admission in admissions]
    named = {key for key in keys if key is not None}
    return keys.count(None) + sum(tx.execute(_LIVE_OF_KEY, (key,)).fetchone() is None for key in named)


def _refuse_beyond(tx: sqlite3.Connection, admissions: Sequence[Admission], quotas: Quotas) -> None:
    """Quotas are for what is asked for now, and for what agents' schedules bring, or these would be a way around them.

    What others' schedules, escalations or the spool bring has been accepted before.
    """
    from queue_core.sqlite.quotas import refuse_beyond  # only where there are any

    asked = [one for one in admissions if one.escalated_from is None and one.spool_id is None]
    asked = [one for one in asked if one.schedule is None or one.origin.caller == "agent"]
    if asked:
        refuse_beyond(tx, asked[0].origin, _truly_new(tx, asked), quotas)


def _admit_one(
    tx: sqlite3.Connection,
    admission: Admission,
    refs: dict[str, int],
    now: float,
    parallelism: int,
    within: str | None,
) -> Receipt:
    if admission.spool_id is not None:
        known = tx.execute("SELECT job FROM spooled WHERE id = ?", (admission.spool_id,)).fetchone()
        if known:
            return Receipt(id=known[0], state="available", existing=True)
    queues.ensure(tx, admission.job.queue, parallelism)
    needs = _needs(tx, admission.job, refs, within)
    unmet = sum(not met for _, _, met in needs)
    state = entry_state(held=admission.held is not None, unmet=unmet, due_at=admission.due_at, now=now)
    row = _row(tx, admission, state, unmet, now)
    cursor = tx.execute(_INSERT, row)
    if cursor.rowcount == 0 and _gives_way(tx, admission, now):  # and what this one waits for may have ended with it
        return _admit_one(tx, admission, refs, now, parallelism, within)
    if cursor.rowcount == 0:
        receipt = _existing(tx, admission.job, within)
    else:
        receipt = Receipt(id=cursor.lastrowid or 0, state=state)
        _store_parts(tx, admission, receipt.id, needs)
        what = "held" if admission.held is not None else "queued"
        audit.note(
            tx,
            what,
            admission.origin,
            now,
            job=receipt.id,
            about=admission.job.handler or audit.command(admission.job.argv, row[_ARGV]),
        )
    if admission.spool_id is not None:
        tx.execute("INSERT INTO spooled VALUES (?, ?)", (admission.spool_id, receipt.id))
    return receipt


def _row(tx: sqlite3.Connection, admission: Admission, state: JobState, unmet: int, now: float) -> tuple[Any, ...]:
    job, origin, retry = admission.job, admission.origin, admission.retry
    return (
        state,
        job.queue,
        PRIORITIES.index(job.priority),
        job.sequential,
        admission.due_at,
        unmet,
        dumps(job.argv),
        admission.program,
        admission.executable,
        admission.cwd,
        dumps(dict(admission.env)),
        dumps([*job.env, *job.pass_env]) if job.env or job.pass_env else None,
        job.stdin_path,
        admission.timeout,
        dumps([retry.backoff, retry.base, retry.cap, retry.jitter]),
        retry.retries,
        dumps(list(dict(job.locks))) if job.locks else None,
        admission.escalated_from,
        job.name,
        job.unique,
        dumps(dict(job.meta)) if job.meta else None,
        origin.caller,
        origin.session,
        origin.project,
        origin.client,
        now,
        admission.held,
        job.handler,
        dumps(dict(job.arguments)) if job.handler is not None else None,
        admission.schedule,
        now if state == "available" else None,
        place_of(tx, job.handler) if job.handler is not None and state == "available" else None,
    )


def place_of(tx: sqlite3.Connection, handler: str) -> str | None:
    """Where an available job of this handler is parked, or None where a claiming worker has it.

    The schema takes no other: a trigger that parked it would be compiled for whoever adds a command, too.
    """
    manned = tx.execute("SELECT 1 FROM worker_handlers WHERE handler = ?", (handler,)).fetchone()
    return None if manned else "@" + handler


def _gives_way(tx: sqlite3.Connection, admission: Admission, now: float) -> bool:
    """Whether the live job of the same key has been set aside for this one.

    An agent's that waits for approval may never run, so it stands in for nobody's but an agent's.
    """
    if admission.origin.caller == "agent":
        return False
    sql = f"{_LIVE_OF_KEY} AND state = 'held' AND caller = 'agent'"
    found = tx.execute(sql, (admission.job.unique,)).fetchone()
    if found is None:
        return False
    from queue_core.sqlite.control import set_aside  # seldom

    set_aside(tx, found[0], by=admission.origin, now=now)
    return True


def _existing(tx: sqlite3.Connection, job: NewJob, within: str | None) -> Receipt:
    """The live job with the same unique key, which the index would not let in twice."""
    row = tx.execute(_LIVE_OF_KEY, (job.unique,)).fetchone()
    if within is not None and row[2] != within:
        raise errors.InvalidJob(
            f"the unique key {job.unique!r} is taken by a job of another project; choose another key"
        )
    return Receipt(id=row[0], state=row[1], existing=True)


def _store_parts(
    tx: sqlite3.Connection, admission: Admission, job_id: int, needs: list[tuple[int, Condition, bool]]
) -> None:
    job = admission.job
    for needed, condition, met in needs:
        tx.execute("INSERT OR IGNORE INTO dependencies VALUES (?, ?, ?, ?)", (job_id, needed, condition, met))
    if job.locks:
        from queue_core.sqlite import locks

        for name, lock_capacity in job.locks:
            locks.set_capacity(tx, name, lock_capacity)
    if admission.on_dead:
        from queue_core.sqlite import escalate

        escalate.store(tx, job_id, admission.on_dead)
    if job.stdin is not None:
        tx.execute("INSERT INTO inputs VALUES (?, ?)", (job_id, job.stdin))
    if admission.task is not None:
        from queue_core.sqlite import tasks

        tasks.name(tx, admission.task, job_id)


def _needs(
    tx: sqlite3.Connection, job: NewJob, refs: dict[str, int], within: str | None
) -> list[tuple[int, Condition, bool]]:
    """What the job waits for: each needed id with its condition and whether it is met already."""
    found: dict[tuple[int, Condition], bool] = {}
    asked: tuple[tuple[Condition, tuple[int | str, ...]], ...] = (
        ("success", job.after),
        ("any", job.after_any),
        ("failure", job.after_failure),
    )
    for condition, ids in asked:
        for needed in ids:
            job_id = _resolve(needed, refs)
            found[job_id, condition] = _is_met(tx, job_id, condition, within)
    return [(needed, condition, met) for (needed, condition), met in found.items()]


def _resolve(needed: int | str, refs: dict[str, int]) -> int:
    if isinstance(needed, int):
        return needed
    if needed in refs:
        return refs[needed]
    raise errors.InvalidJob(f"`after` names {needed!r}, which is no job's id and no `ref` of an earlier line")


def _is_met(tx: sqlite3.Connection, needed: int, condition: Condition, within: str | None) -> bool:
    row = tx.execute("SELECT state, project FROM jobs WHERE id = ?", (needed,)).fetchone()
    if row is None or (within is not None and row[1] != within):
        raise errors.InvalidJob(
            f"job {needed}, which this one is to wait for, does not exist; `runq list` shows the ids"
        )
    verdict = dependency(condition, row[0], _successors(tx, needed) if condition == "success" else ())
    if verdict == "never":
        raise errors.InvalidJob(f"job {needed} is {row[0]}, so a job that waits for its {condition} could never run")
    return verdict == "met"


def _successors(tx: sqlite3.Connection, needed: int) -> list[JobState]:
    from queue_core.sqlite.escalate import successors  # only jobs that wait need this

    return successors(tx, needed)
