"""What could start now, what will be able to and when, and what stands in its way: the reads of workers and servers."""

from __future__ import annotations

from queue_core.quotas import WINDOW, rest_end
from queue_core.sqlite.reads import marks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.sqlite.reads import Read, Statement

# A rest that is over; or it would last for more than a minute, since the clock was set back: a claim shortens it.
_RESTED = f"(rests_until <= ? OR rests_until > ? + {WINDOW})"

# The jobs that have been due for longest. If none of them could start (their queues may be paused), and there are
# more, it is left to a claim to find out: it makes them all available, so that nobody walks past them again.
MOST_DUE = 500
_DUE = (
    "SELECT queue, handler FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ?"
    f" ORDER BY due_at LIMIT {MOST_DUE}"
)
_MORE_DUE = (
    "SELECT 1 FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ?"
    f" ORDER BY due_at LIMIT 1 OFFSET {MOST_DUE}"
)
# Whether any of them could be in a queue that hands out anything.
_MAY_START = (
    "SELECT 1 FROM queues WHERE paused = 0 AND barred = 0 AND scheduled > 0 AND running < slots"
    f" AND (rests_until IS NULL OR {_RESTED}) LIMIT 1"
)
# The queues in which commands can start.
READY = (
    "queues INDEXED BY queues_ready"
    " WHERE paused = 0 AND barred = 0 AND ready > 0 AND running < slots AND rests_until IS NULL"
)


def _has_handled(handlers: tuple[str, ...]) -> str:
    """A condition on queues: there is a job for one of these handlers, which are its parameters."""
    return (
        "EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_handled WHERE jobs.queue = queues.name AND parked IS NULL"
        f" AND state = 'available' AND jobs.handler IN ({marks(handlers)}))"
    )


def claimable(now: float, handlers: tuple[str, ...] = (), *, commands: bool = True) -> Read[bool]:
    """Whether a worker with these handlers would find something to start now (not in a paused or resting queue)."""
    return (yield from _something_to_claim(now, handlers, commands=commands)) and not (yield from _all_rest(now))


def _something_to_claim(now: float, handlers: tuple[str, ...], *, commands: bool) -> Read[bool]:
    if commands:
        ready = yield f"SELECT 1 FROM {READY} LIMIT 1", ()
        if ready:
            return True
    if handlers and (yield handled_queues(handlers, 1)):
        return True
    if (yield _rested_queues(now, handlers, commands=commands)):
        return True
    kinds = [f"jobs.handler IN ({marks(handlers)})"] if handlers else []
    kinds += ["jobs.handler IS NULL"] if commands else []
    due = yield (
        f"SELECT 1 FROM ({_DUE}) jobs CROSS JOIN queues ON queues.name = jobs.queue"
        f" WHERE queues.paused = 0 AND ({' OR '.join(kinds) or 'false'})"
        " AND queues.barred = 0 AND queues.running < queues.slots"
        f" AND (queues.rests_until IS NULL OR {_RESTED}) LIMIT 1",
        (now, *handlers, now, now),
    )
    return bool(due or ((yield _MORE_DUE, (now,)) and (yield _MAY_START, (now, now))))


def _rested_queues(now: float, handlers: tuple[str, ...], *, commands: bool) -> Statement:
    """A queue in which something could be claimed now that its rest is over."""
    kinds = ["ready > 0"] if commands else []
    if handlers:
        kinds.append(f"handled > 0 AND {_has_handled(handlers)}")
    return (
        "SELECT 1 FROM queues INDEXED BY queues_resting WHERE rests_until IS NOT NULL"
        f" AND {_RESTED} AND paused = 0 AND barred = 0 AND running < slots"
        f" AND ({' OR '.join(kinds) or 'false'}) LIMIT 1",
        (now, now, *handlers),
    )


def _all_rest(now: float) -> Read[bool]:
    """Whether all queues together have used up their starts for now."""
    until = yield from rest_of_all()
    return until is not None and now < until <= now + WINDOW


def rest_of_all() -> Read[float | None]:
    """Until when nothing starts, since all queues together have used up their starts; None if they have not."""
    rows = yield "SELECT value FROM meta WHERE name = 'rests_until'", ()
    return rows[0][0] if rows else None


def handled_queues(handlers: tuple[str, ...], limit: int, after: tuple[int, str] = (-1, "")) -> Statement:
    """The queues in which a job for one of these handlers could be claimed, in the order of their turns."""
    return (
        "SELECT turn, name, running, ready, handled, slots, starts_per_minute FROM queues INDEXED BY queues_handled"
        " WHERE paused = 0 AND barred = 0 AND handled > 0 AND running < slots AND rests_until IS NULL"
        " AND (turn, name) > (?, ?)"
        f" AND {_has_handled(handlers)} ORDER BY turn, name LIMIT ?",
        (*after, *handlers, limit),
    )


def unmanned() -> Read[list[str]]:
    """The handlers that jobs wait for and no claiming worker has: their jobs are parked under "@" and the name."""
    found: list[str] = []
    after = "@"
    while True:
        rows = yield (
            "SELECT min(parked) FROM jobs INDEXED BY jobs_parked WHERE parked > ? AND parked < 'A'",
            (after,),
        )
        if rows[0][0] is None:
            return found
        after = rows[0][0]
        found.append(after[1:])


def next_due(after: float) -> Read[float | None]:
    """When the next scheduled job is due, or the next schedule, or a queue has rested; None if none is."""
    jobs_due = yield (
        "SELECT due_at FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at > ?"
        " ORDER BY due_at LIMIT 1",
        (after,),
    )
    schedules_due = yield (
        "SELECT min(max(next_at, coalesce(retry_at, next_at))) FROM schedules"
        " WHERE paused = 0 AND max(next_at, coalesce(retry_at, next_at)) > ?",
        (after,),
    )
    rests = yield "SELECT rests_until FROM queues INDEXED BY queues_resting WHERE rests_until IS NOT NULL", ()
    rest_ends = [rest_end(until, after) for until in ((yield from rest_of_all()), *(row[0] for row in rests))]
    due = [row[0] for row in (*jobs_due, *schedules_due)]
    return min((time for time in (*due, *rest_ends) if time is not None), default=None)


def barrier_ahead(job_id: int, queue: str, priority: int) -> Read[int | None]:
    """The sequential job that has to end before this one of the same queue may start, if there is one."""
    running = yield (
        "SELECT id FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND queue = ? AND sequential = 1",
        (queue,),
    )
    if running:
        return running[0][0]
    ahead = yield (
        "SELECT id FROM jobs INDEXED BY jobs_barriers WHERE queue = ? AND state = 'available' AND parked IS NULL"
        " AND sequential = 1 AND (priority, id) < (?, ?) ORDER BY priority, id LIMIT 1",
        (queue, priority, job_id),
    )
    return ahead[0][0] if ahead else None
