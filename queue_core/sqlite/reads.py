"""Every read, as a generator of statements: it yields (SQL, parameters) and is sent the rows.

So one text serves both drivers, the plain connection of the CLI and the worker (`run`) and the
server's asynchronous one (`run_async`), and all statements of a read see one snapshot.
"""

from __future__ import annotations

from queue_core.fastjson import loads
from queue_core.jobs import Attempt, Job, Link, Orphan, Overview, Page, QueueRow, Task, Totals, WorkerRow
from queue_core.lifecycle import standing
from queue_core.model import PRIORITIES, STATES, WAITING, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator, Iterable
    from typing import Any, TypeVar

    import aiosqlite

    from queue_core.jobs import Filter

    T = TypeVar("T")
    Statement = tuple[str, tuple[object, ...]]
    Rows = list[tuple[Any, ...]]
    Read = Generator[Statement, Rows, T]

_JOB_COLUMNS = (
    "id, state, queue, priority, sequential, due_at, unmet, parked, argv, handler, arguments, program, executable,"
    " cwd, env, own_env, stdin_path, timeout, retries, locks, on_dead, escalated_from, schedule, name, unique_key,"
    " meta, caller, session, project, approved_at, rejected_at, pinned, created_at,"
    " ready_at, started_at, finished_at, claim, attempt, failures,"
    " attempts_before, worker, keeper, host, cancel_requested, outcome, exit_code, signal, reason,"
    " EXISTS (SELECT 1 FROM inputs WHERE inputs.job = jobs.id) AS has_input,"
    " (SELECT max(s.id) FROM jobs s WHERE s.escalated_from = jobs.id) AS escalated_to"
)
_JOB_NAMES = tuple(column.rpartition(" AS ")[2] for column in _JOB_COLUMNS.split(", "))
_ATTEMPT_COLUMNS = (
    "claim, outcome, exit_code, signal, error, host, started_at, finished_at, user_seconds, system_seconds,"
    " max_rss_kib, output_bytes, cut_bytes, tail, waited, result"
)
_ATTEMPT_NAMES = tuple(_ATTEMPT_COLUMNS.split(", "))
# A path, or its last part. LIKE would ignore case, and read `_` and `%` in a name as wildcards.
_IS_PROGRAM = "program = ? OR substr(program, -length(?) - 1) = '/' || ?"
_IS_EXECUTABLE = _IS_PROGRAM.replace("program", "executable")
# The states of all that took over from a job, and from those, and so on.
SUCCESSORS = """
WITH RECURSIVE later (id, state) AS (
  SELECT id, state FROM jobs INDEXED BY jobs_successors WHERE escalated_from = ?
  UNION ALL
  SELECT j.id, j.state FROM later JOIN jobs j INDEXED BY jobs_successors ON j.escalated_from = later.id)
SELECT state FROM later"""
_COUNTERS = ", ".join(STATES)
_QUEUE_COLUMNS = f"name, paused, slots, barred, starts_per_minute, rests_until, {_COUNTERS}"
_SPECIAL = (
    "SELECT name, paused, starts_per_minute, rests_until FROM queues"
    " WHERE paused > 0 OR starts_per_minute IS NOT NULL ORDER BY name"
)
_QUEUES = f"SELECT {_QUEUE_COLUMNS} FROM queues ORDER BY name"
_QUEUE = f"SELECT {_QUEUE_COLUMNS} FROM queues WHERE name = ?"
_WAIT = " + ".join(WAITING)
# The states whose jobs an index holds, in the index's own words: SQLite does not see it in placeholders.
_WAITING_INDEX = "jobs_waiting", "(state = 'held' OR state = 'blocked' OR state = 'dead')"
_STATE_INDEXES = {
    "running": ("jobs_running", "state = 'running'"),
    **dict.fromkeys(("held", "blocked", "dead"), _WAITING_INDEX),
}
_CHAIN = """
WITH RECURSIVE
  earlier (id) AS (
    SELECT escalated_from FROM jobs WHERE id = ? AND escalated_from IS NOT NULL
    UNION ALL
    SELECT j.escalated_from FROM earlier JOIN jobs j ON j.id = earlier.id WHERE j.escalated_from IS NOT NULL),
  later (id) AS (
    SELECT ?
    UNION ALL
    SELECT (SELECT max(j.id) FROM jobs j WHERE j.escalated_from = later.id) FROM later WHERE later.id IS NOT NULL)
SELECT id, state, argv, handler FROM jobs
WHERE id IN (SELECT id FROM earlier UNION ALL SELECT id FROM later WHERE id IS NOT NULL) ORDER BY id"""


def run(connection: sqlite3.Connection, read: Read[T]) -> T:
    """Drive a read on a plain connection."""
    with_snapshot = not connection.in_transaction
    if with_snapshot:
        connection.execute("BEGIN")
    try:
        sql, parameters = next(read)
        while True:
            sql, parameters = read.send(connection.execute(sql, parameters).fetchall())
    except StopIteration as done:
        return done.value
    finally:
        if with_snapshot:
            connection.execute("ROLLBACK")


async def run_async(connection: aiosqlite.Connection, read: Read[T]) -> T:
    """Drive a read on the server's connection; rows are fetched to the end, so no cursor holds the WAL."""
    await connection.execute("BEGIN")
    try:
        sql, parameters = next(read)
        while True:
            rows: Any = await connection.execute_fetchall(sql, parameters)
            sql, parameters = read.send(list(rows))
    except StopIteration as done:
        return done.value
    finally:
        await connection.execute("ROLLBACK")


def job(job_id: int) -> Read[Job | None]:
    """One job with its attempts, oldest first."""
    rows = yield f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)
    if not rows:
        return None
    attempts = yield f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE job = ? ORDER BY claim", (job_id,)
    return _job(rows[0], tuple(Attempt(**dict(zip(_ATTEMPT_NAMES, row, strict=True))) for row in attempts))


def _job(row: tuple[Any, ...], attempts: tuple[Attempt, ...] = ()) -> Job:
    found: dict[str, Any] = dict(zip(_JOB_NAMES, row, strict=True))
    found["priority"] = PRIORITIES[found["priority"]]
    found["sequential"] = bool(found["sequential"])
    found["cancel_requested"] = bool(found["cancel_requested"])
    found["has_input"] = bool(found["has_input"])
    found["argv"] = tuple(loads(found["argv"]))
    found["arguments"] = loads(found["arguments"]) if found["arguments"] else {}
    found["env"] = loads(found["env"])
    found["own_env"] = tuple(loads(found["own_env"])) if found["own_env"] else ()
    found["locks"] = tuple(loads(found["locks"])) if found["locks"] else ()
    found["on_dead"] = tuple(_step(*step) for step in loads(found["on_dead"])) if found["on_dead"] else ()
    found["meta"] = loads(found["meta"]) if found["meta"] else {}
    return Job(**found, attempts=attempts)


def _step(after: int | None, executable: str, *argv: str) -> Step:
    return Step(argv=argv, executable=executable, after=after)


def chain(job_id: int) -> Read[list[Link]]:
    """The jobs that took over from one another, this one among them, first to last; of several, the newest."""
    rows = yield _CHAIN, (job_id, job_id)
    return [Link(id=row[0], state=row[1], argv=tuple(loads(row[2])), handler=row[3]) for row in rows]


def jobs(wanted: Filter) -> Read[Page]:
    """A page of jobs, newest first; with `since`, completions after that cursor, oldest first."""
    cursor = (yield "SELECT value FROM meta WHERE name = 'ended'", ())[0][0]
    source, parameters = _source(wanted)
    order = "id DESC" if wanted.since is None else "ended"
    rows = yield f"SELECT {_JOB_COLUMNS}, ended {source} ORDER BY {order} LIMIT ?", (*parameters, wanted.limit)
    if wanted.since is not None and len(rows) == wanted.limit:
        cursor = rows[-1][-1]  # there may be more
    return Page(jobs=tuple(_job(row[:-1]) for row in rows), cursor=cursor)


def ids(wanted: Filter) -> Read[list[int]]:
    """The ids of all jobs that are meant, oldest first, whatever the limit."""
    source, parameters = _source(wanted)
    rows = yield f"SELECT id {source} ORDER BY id", tuple(parameters)
    return [row[0] for row in rows]


def _source(wanted: Filter) -> tuple[str, list[object]]:
    """FROM and WHERE with their parameters, by the index of the one state that is wanted, if it has one."""
    conditions, parameters = _conditions(wanted)
    index = ""
    if len(wanted.states) == 1 and wanted.states[0] in _STATE_INDEXES and not wanted.ids and wanted.since is None:
        name, condition = _STATE_INDEXES[wanted.states[0]]
        index = f" INDEXED BY {name}"
        conditions.append(condition)
    return f"FROM jobs{index} WHERE {' AND '.join(conditions) or '1'}", parameters


def _conditions(wanted: Filter) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []

    def narrow(condition: str, *values: object) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if wanted.ids:
        narrow(f"id IN ({marks(wanted.ids)})", *wanted.ids)
    if wanted.states:
        narrow(f"state IN ({marks(wanted.states)})", *wanted.states)
    for column in ("queue", "caller", "session", "project", "handler", "schedule"):
        value: str | None = getattr(wanted, column)
        if value is not None:
            narrow(f"{column} = ?", value)
    if wanted.within is not None:
        narrow("project = ?", wanted.within)
    if wanted.program is not None:
        narrow(f"({_IS_PROGRAM} OR {_IS_EXECUTABLE})", *[wanted.program] * 6)
    for key, value in wanted.meta.items():
        narrow("EXISTS (SELECT 1 FROM json_each(jobs.meta) WHERE key = ? AND value = ?)", key, value)
    if wanted.no_successor_in:
        narrow(f"NOT {has_successor_in(marks(wanted.no_successor_in))}", *wanted.no_successor_in)
    if wanted.older_than is not None:
        narrow("finished_at < ?", wanted.older_than)
    if wanted.since is not None:
        narrow("ended > ?", wanted.since)
    return conditions, parameters


def has_successor_in(states: str) -> str:
    """A condition on jobs: handed over to one in these states (SQL), directly or by way of others."""
    return f"""EXISTS (
WITH RECURSIVE later (id, state) AS (
  SELECT s.id, s.state FROM jobs s WHERE s.escalated_from = jobs.id
  UNION ALL
  SELECT s.id, s.state FROM later JOIN jobs s ON s.escalated_from = later.id)
SELECT 1 FROM later WHERE later.state IN ({states}))"""


def marks(values: Iterable[object]) -> str:
    """Placeholders for so many values."""
    return ", ".join("?" for _ in values)


def queues(name: str | None = None) -> Read[list[QueueRow]]:
    """All queues with their counters, or one."""
    rows = yield (_QUEUES, ()) if name is None else (_QUEUE, (name,))
    return [
        QueueRow(
            name=row[0],
            paused=bool(row[1]),
            slots=row[2],
            barred=bool(row[3]),
            starts_per_minute=row[4],
            rests_until=row[5],
            counts=dict(zip(STATES, row[6:], strict=True)),
        )
        for row in rows
    ]


def overview() -> Read[Overview]:
    """All queues at a glance. What there is nothing of is not asked for: each value of a row costs 0.1 µs."""
    found = yield from totals()
    states = [state for state in STATES if found.counts[state]]
    rows = yield f"SELECT {', '.join(('name', 'slots', *states))} FROM queues ORDER BY name", ()
    special: Any = yield _SPECIAL, ()
    names, slots, *counts = zip(*rows, strict=True) if rows else ((), ())
    return Overview(
        totals=found, names=names, slots=slots, counts=dict(zip(states, counts, strict=True)), special=special
    )


def totals() -> Read[Totals]:
    """What all queues hold together, summed up by SQLite: a thousand rows need not be made for that."""
    rows = yield f"SELECT {', '.join(f'coalesce(sum({state}), 0)' for state in STATES)} FROM queues", ()
    paused = yield f"SELECT name, {_WAIT} AS wait FROM queues WHERE paused > 0 AND wait > 0 ORDER BY name", ()
    return Totals(counts=dict(zip(STATES, rows[0], strict=True)), paused=dict(paused))


def workers() -> Read[list[WorkerRow]]:
    """The registered workers, oldest first."""
    rows = yield (
        "SELECT id, pid, host, keeper, claiming, version, started_at FROM workers ORDER BY started_at",
        (),
    )
    names = ("id", "pid", "host", "keeper", "claiming", "version", "started_at")
    return [WorkerRow(**dict(zip(names, row, strict=True))) for row in rows]


def running(host: str | None = None) -> Read[list[Orphan]]:
    """All claims that are running (on one host), as somebody else would have to judge them."""
    sql = (
        "SELECT id, claim, lease_token, worker, keeper, host, cancel_requested, handler"
        " FROM jobs INDEXED BY jobs_running"
        " WHERE state = 'running'"
    )
    rows = yield (sql + " AND host = ?", (host,)) if host is not None else (sql, ())
    names = ("job", "claim", "token", "worker", "keeper", "host", "cancel_requested", "handler")
    return [Orphan(**dict(zip(names, row, strict=True))) for row in rows]


def version() -> Read[int]:
    """A number that another one follows when anybody has committed anything, as this connection sees it."""
    rows = yield "PRAGMA data_version", ()
    return rows[0][0]


def limits() -> Read[dict[str, int]]:
    """The limits that are stored (parallelism, max_running, starts_per_minute), where any worker has stored them."""
    rows = yield "SELECT name, value FROM meta WHERE name IN ('parallelism', 'max_running', 'starts_per_minute')", ()
    return dict(rows)


def dependencies(job_id: int) -> Read[list[tuple[int, str, str | None]]]:
    """What a job still waits for: id, condition, and the state the needed job is in."""
    rows = yield (
        "SELECT d.needs, d.condition, j.state FROM dependencies d LEFT JOIN jobs j ON j.id = d.needs"
        " WHERE d.job = ? AND d.met = 0 ORDER BY d.needs",
        (job_id,),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def caller_of(job_id: int) -> Read[str | None]:
    """Who queued a job."""
    rows = yield "SELECT caller FROM jobs WHERE id = ?", (job_id,)
    return rows[0][0] if rows else None


def states_of(wanted: tuple[int, ...]) -> Read[dict[int, str]]:
    """The states of these jobs; unknown ids are left out."""
    rows = yield f"SELECT id, state FROM jobs WHERE id IN ({marks(wanted)})", wanted
    return dict(rows)


def given_input(job_id: int) -> Read[bytes | None]:
    """What was given to a job to read, where the database keeps it."""
    rows = yield "SELECT stdin FROM inputs WHERE job = ?", (job_id,)
    return rows[0][0] if rows else None


def task(task_id: str) -> Read[Task | None]:
    """What an MCP client's task stands for."""
    rows = yield "SELECT id, job, answers, dismissed FROM tasks WHERE id = ?", (task_id,)
    return Task(id=rows[0][0], job=rows[0][1], answers=rows[0][2], dismissed=bool(rows[0][3])) if rows else None


def projects_of(wanted: tuple[int, ...]) -> Read[dict[int, str | None]]:
    """The projects that these jobs belong to; unknown ids are left out."""
    rows = yield f"SELECT id, project FROM jobs WHERE id IN ({marks(wanted)})", wanted
    return dict(rows)


def handed_over() -> Read[int]:
    """How many dead letters another job has taken over: only jobs that took over from one are looked at."""
    rows = yield (  # CROSS JOIN keeps SQLite from beginning with all jobs
        "SELECT count(*) FROM (SELECT DISTINCT later.escalated_from FROM jobs later INDEXED BY jobs_successors"
        " CROSS JOIN jobs dead ON dead.id = later.escalated_from AND dead.state = 'dead'"
        " WHERE later.escalated_from IS NOT NULL AND later.state <> 'cancelled')",
        (),
    )
    return rows[0][0]


def standings(wanted: tuple[int, ...]) -> Read[dict[int, str]]:
    """How these jobs stand for those who wait for them (see `lifecycle.standing`); unknown ids are left out."""
    states = yield from states_of(wanted)
    for job_id in [job_id for job_id, state in states.items() if state == "dead"]:
        later = yield SUCCESSORS, (job_id,)
        states[job_id] = standing("dead", [row[0] for row in later])
    return states


def waiting() -> Read[int]:
    """How many jobs wait, over all queues."""
    rows = yield f"SELECT coalesce(sum({_WAIT}), 0) FROM queues", ()
    return rows[0][0]
