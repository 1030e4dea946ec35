"""What statistics are made from, read in one snapshot and by index: nothing outside the window is looked at.

Counts are exact; of single attempts only the newest are read, so that a report takes the same memory
whatever there is.
"""

from __future__ import annotations

from queue_core.figures import Attempted, Counts, Timed, Work
from queue_core.model import STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.sqlite.reads import Read

_WORK = "queue, program, handler"
_ADDED = (
    f"SELECT {_WORK}, count(*) FROM jobs WHERE id >= ?1 AND created_at BETWEEN ?2 AND ?3"
    " AND (?4 IS NULL OR queue = ?4) GROUP BY 1, 2, 3"
)
_ENDED = (
    f"SELECT {_WORK}, state, count(*) FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL"
    " AND finished_at BETWEEN ?1 AND ?2 AND (?3 IS NULL OR queue = ?3) GROUP BY 1, 2, 3, 4"
)
# CROSS JOIN keeps SQLite from beginning with the jobs.
_OF_ATTEMPTS = (
    " FROM attempts a INDEXED BY attempts_ended CROSS JOIN jobs ON jobs.id = a.job"
    " WHERE a.finished_at BETWEEN ?1 AND ?2 AND (?3 IS NULL OR queue = ?3)"
)
_RAN = (
    "iif(a.outcome IN ('spawn_failed', 'lost') OR a.started_at IS NULL, NULL, max(0.0, a.finished_at - a.started_at))"
)
_FAILED = "a.outcome NOT IN ('cancelled', 'interrupted') AND NOT (a.outcome = 'exited' AND a.exit_code = 0)"
_RETRY = (
    "EXISTS (SELECT 1 FROM attempts before WHERE before.job = a.job AND before.claim < a.claim"
    " AND before.outcome <> 'interrupted')"
)
_ATTEMPTED = (
    f"SELECT {_WORK}, a.outcome, {_FAILED}, count(*), sum({_RETRY}), coalesce(sum({_RAN}), 0.0)"
    f"{_OF_ATTEMPTS} GROUP BY 1, 2, 3, 4, 5"
)
_TIMED = f"SELECT {_WORK}, a.waited, {_RAN}{_OF_ATTEMPTS} ORDER BY a.finished_at DESC LIMIT ?4"
_NOW = f"SELECT {', '.join(f'coalesce(sum({state}), 0)' for state in STATES)} FROM queues WHERE ?1 IS NULL OR name = ?1"


def counts(*, since: float, until: float, queue: str | None, most_timed: int) -> Read[Counts]:
    """What was added and what ended from `since` to `until` (seconds since the epoch), of one queue or of all."""
    first = yield from first_added(since)
    added = yield _ADDED, (first, since, until, queue)
    ended = yield _ENDED, (since, until, queue)
    attempted = yield _ATTEMPTED, (since, until, queue)
    timed = yield _TIMED, (since, until, queue, most_timed)
    now = yield _NOW, (queue,)
    kept = yield "SELECT coalesce(sum(succeeded + dead + cancelled), 0) FROM queues", ()
    return Counts(
        added=[(_work(*row[:3]), row[3]) for row in added],
        ended=[(_work(*row[:3]), row[3], row[4]) for row in ended],
        attempted=[
            Attempted(
                work=_work(*row[:3]), outcome=row[3], failed=bool(row[4]), count=row[5], retries=row[6], seconds=row[7]
            )
            for row in attempted
        ],
        timed=[Timed(work=_work(*row[:3]), waited=row[3], ran=row[4]) for row in timed],
        now=dict(zip(STATES, now[0], strict=True)),
        kept_ended=kept[0][0],
    )


def _work(queue: str, program: str, handler: str | None) -> Work:
    return Work(queue=queue, program=program, handler=handler)


def first_added(since: float) -> Read[int]:
    """The id from which on jobs were added since then: ids grow with time, so it is found by halving.

    (A clock that was set back in between can hide the jobs of that stretch.)
    """
    rows = yield "SELECT coalesce((SELECT min(id) FROM jobs), 1), coalesce((SELECT max(id) FROM jobs), 0) + 1", ()
    first, beyond = rows[0]
    while first < beyond:
        middle = (first + beyond) // 2
        ((found, created_at),) = yield "SELECT id, created_at FROM jobs WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
        if created_at < since:
            first = found + 1
        else:
            beyond = middle
    return first
