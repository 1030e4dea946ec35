"""What people and agents do to jobs that are there: cancel, approve, reject, replay, discard, pin, pause, prune."""

from __future__ import annotations

from queue_core.errors import NotAllowed, QueueError, UnknownJob
from queue_core.fastjson import loads
from queue_core.lifecycle import entry_state, next_state
from queue_core.model import LIVE, WAITING
from queue_core.sqlite import audit, locks
from queue_core.sqlite.reads import has_successor_in
from queue_core.sqlite.settle import forget_needs, next_end, tell_dependents

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queue_core.model import JobState, Origin


def cancel(tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, now: float) -> list[tuple[int, JobState]]:
    """End waiting jobs and mark running ones to be stopped; each with the state it was found in.

    Jobs that have ended already stay as they are. UnknownJob (and nothing changed) for an id that is none.
    """
    found: list[tuple[int, JobState]] = []
    for job_id in ids:
        state = _state(tx, job_id)
        found.append((job_id, state))
        if state in WAITING:
            _cancel_waiting(tx, job_id, state, now)
        elif state == "running":
            tx.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
    audit.note_jobs(tx, "cancelled", [job_id for job_id, state in found if state in LIVE], by, now)
    return found


def _cancel_waiting(tx: sqlite3.Connection, job_id: int, state: JobState, now: float) -> None:
    next_state(state, "cancel", job_id=job_id)
    _end_waiting(tx, job_id, "cancelled", now)


def _end_waiting(tx: sqlite3.Connection, job_id: int, reason: str, now: float) -> None:
    queue, lock_list = tx.execute(
        "UPDATE jobs SET state = 'cancelled', parked = NULL, unmet = 0, finished_at = ?, ended = ?, reason = ?"
        " WHERE id = ? RETURNING queue, locks",
        (now, next_end(tx), reason, job_id),
    ).fetchone()
    forget_needs(tx, job_id)
    if lock_list:
        locks.pass_on(tx, loads(lock_list), queue)
    tell_dependents(tx, job_id, "cancelled", now)


def set_aside(tx: sqlite3.Connection, job_id: int, *, by: Origin, now: float) -> None:
    """Cancel a held job whose unique key somebody else's job needs."""
    next_state("held", "cancel", job_id=job_id)
    _end_waiting(tx, job_id, f"a {by.caller}'s job has taken its unique key", now)
    audit.note_jobs(tx, "cancelled", [job_id], by, now)


def approve(
    tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, now: float, folders: Mapping[int, str] | None = None
) -> list[tuple[int, JobState]]:
    """Let held jobs go on to whatever else they wait for; `folders` are where they run, as they were shown."""
    moved: list[tuple[int, JobState]] = []
    for job_id in ids:
        state = _state(tx, job_id)
        unmet, due_at = tx.execute("SELECT unmet, due_at FROM jobs WHERE id = ?", (job_id,)).fetchone()
        after = entry_state(held=False, unmet=unmet, due_at=due_at, now=now)
        target = next_state(state, "approve", after, job_id=job_id)
        tx.execute(
            "UPDATE jobs SET state = ?, approved_at = ?, ready_at = ?, reason = NULL WHERE id = ?",
            (target, now, now if target == "available" else None, job_id),
        )
        moved.append((job_id, target))
    tx.executemany("UPDATE jobs SET cwd = ? WHERE id = ?", [(path, job_id) for job_id, path in (folders or {}).items()])
    audit.note_jobs(tx, "approved", ids, by, now)
    return moved


def reject(tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, now: float) -> list[tuple[int, JobState]]:
    """Refuse held jobs for good."""
    for job_id in ids:
        next_state(_state(tx, job_id), "reject", job_id=job_id)
        _end_waiting(tx, job_id, "rejected by a person", now)
        tx.execute("UPDATE jobs SET rejected_at = ? WHERE id = ?", (now, job_id))
    audit.note_jobs(tx, "rejected", ids, by, now)
    return [(job_id, "cancelled") for job_id in ids]


def replay(
    tx: sqlite3.Connection, ids: Sequence[int], *, held: dict[int, str], by: Origin, now: float
) -> list[tuple[int, JobState]]:
    """Run ended jobs again, with a fresh allowance of retries; their attempts so far are kept.

    `held` names those that must wait for approval first, with the reason. Where an agent asks, a person's word
    on an earlier run no longer counts: this one, and what it may hand over to, are judged as they come. Of
    several with one unique key only the first is run again; the others stay as they are, and are returned so.
    """
    moved: dict[int, JobState] = {}
    for job_id in ids:
        state = _state(tx, job_id)
        next_state(state, "replay", job_id=job_id)
        live = _live_of_same_key(tx, job_id)
        if live is not None and live not in moved:
            raise QueueError(
                f"job {job_id} was not replayed: job {live} with the same unique key is live; "
                "wait for it or cancel it first"
            )
        moved[job_id] = state if live is not None else _replay_one(tx, job_id, held.get(job_id), now)
        if live is None:
            audit.note(tx, "replayed", by, now, job=job_id)
            if by.caller == "agent":
                tx.execute("UPDATE jobs SET approved_at = NULL WHERE id = ?", (job_id,))
    return list(moved.items())


def _replay_one(tx: sqlite3.Connection, job_id: int, held: str | None, now: float) -> JobState:
    tx.execute(
        "UPDATE jobs SET state = 'available', failures = 0, attempts_before = attempt, finished_at = NULL,"
        " ended = NULL, due_at = NULL, ready_at = ?, reason = NULL WHERE id = ?",
        (now, job_id),
    )
    if held is None:
        tx.execute("UPDATE jobs SET rejected_at = NULL WHERE id = ?", (job_id,))
        return "available"
    # Its handler may be one that no worker has: then it has just been parked, which only an available job can be.
    tx.execute("UPDATE jobs SET state = 'held', parked = NULL, reason = ? WHERE id = ?", (held, job_id))
    return "held"


def _live_of_same_key(tx: sqlite3.Connection, job_id: int) -> int | None:
    row = tx.execute(
        "SELECT other.id FROM jobs mine JOIN jobs other INDEXED BY jobs_unique"
        " ON other.unique_key = mine.unique_key"
        " AND other.state IN ('held', 'blocked', 'scheduled', 'available', 'running')"
        " WHERE mine.id = ? AND mine.unique_key IS NOT NULL",
        (job_id,),
    ).fetchone()
    return row[0] if row else None


def discard(tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, now: float) -> list[tuple[int, JobState]]:
    """Give dead jobs up; what waited for their success is cancelled."""
    for job_id in ids:
        state = next_state(_state(tx, job_id), "discard", job_id=job_id)
        tx.execute("UPDATE jobs SET state = ?, reason = 'discarded' WHERE id = ?", (state, job_id))
        tell_dependents(tx, job_id, state, now)
    audit.note_jobs(tx, "discarded", ids, by, now)
    return [(job_id, "cancelled") for job_id in ids]


def pin(
    tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, cap: int, now: float
) -> tuple[list[tuple[int, JobState]], list[int]]:
    """Pinned jobs are spared by pruning. Returns the jobs, and those whose automatic pins gave way.

    An automatic pin never replaces a person's. Beyond `cap` pins of both kinds the oldest automatic ones
    give way; those that this call has set, and persons' own, never do.
    """
    found: list[tuple[int, JobState]] = [(job_id, _state(tx, job_id)) for job_id in ids]
    tx.executemany(
        "UPDATE jobs SET pinned = ?1, pinned_at = ?2 WHERE id = ?3 AND (?1 = 'person' OR pinned IS NOT 'person')",
        [(by.will, now, job_id) for job_id in ids],
    )
    audit.note_jobs(tx, "pinned", ids, by, now)
    pins = tx.execute("SELECT count(*) FROM jobs INDEXED BY jobs_pinned WHERE pinned IS NOT NULL").fetchone()[0]
    automatic = tx.execute(
        "SELECT id FROM jobs INDEXED BY jobs_pinned WHERE pinned = 'automatic' ORDER BY pinned_at, id"
    ).fetchall()
    just_set = set(ids)
    gave_way: list[int] = [job_id for (job_id,) in automatic if job_id not in just_set][: max(0, pins - cap)]
    _take_pins_off(tx, gave_way)
    audit.note_jobs(tx, "unpinned", gave_way, by, now)
    return found, gave_way


def unpin(tx: sqlite3.Connection, ids: Sequence[int], *, by: Origin, now: float) -> list[tuple[int, JobState]]:
    """Let pruning have jobs again. NotAllowed, and nothing is changed, if one is a person's pin and `by` is none."""
    found: list[tuple[int, JobState]] = [(job_id, _state(tx, job_id)) for job_id in ids]
    if by.will != "person":
        _refuse_persons_pins(tx, ids)
    _take_pins_off(tx, ids)
    audit.note_jobs(tx, "unpinned", ids, by, now)
    return found


def _refuse_persons_pins(tx: sqlite3.Connection, ids: Sequence[int]) -> None:
    for job_id in ids:
        if tx.execute("SELECT 1 FROM jobs WHERE id = ? AND pinned = 'person'", (job_id,)).fetchone():
            raise NotAllowed(f"job {job_id} was pinned by a person, who alone may unpin it; nothing was changed")


def _take_pins_off(tx: sqlite3.Connection, ids: Sequence[int]) -> None:
    tx.executemany("UPDATE jobs SET pinned = NULL, pinned_at = NULL WHERE id = ?", [(job_id,) for job_id in ids])


_MADE_GOOD = has_successor_in("'succeeded'")
_PRUNABLE = (
    "SELECT id, claim FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL AND finished_at < ?"
    f" AND (state <> 'dead' OR {_MADE_GOOD}) AND pinned IS NULL AND NOT EXISTS (SELECT 1 FROM jobs"
    " other WHERE other.id = jobs.escalated_from)"
    " AND NOT EXISTS (SELECT 1 FROM dependencies d INDEXED BY dependencies_open"
    " WHERE d.needs = jobs.id AND d.met = 0) ORDER BY finished_at LIMIT ?"
)


def prune(tx: sqlite3.Connection, *, before: float, limit: int) -> list[tuple[int, int]]:
    """Forget ended jobs that ended before `before` (seconds since the epoch), oldest first.

    Returns each with its last claim's number. Pinned jobs stay, and so do those that others wait for, and
    dead letters: they wait for somebody to retry or discard them. One that a successor has made good goes, and
    a chain goes from its head on: as long as a job is there, what became of it can be told.
    """
    gone: list[tuple[int, int]] = tx.execute(_PRUNABLE, (before, limit)).fetchall()
    tx.executemany("DELETE FROM jobs WHERE id = ?", [(job_id,) for job_id, _ in gone])
    return gone


def nth_newest_end(tx: sqlite3.Connection, keep: int) -> float | None:
    """When the job ended that is the first beyond the `keep` newest; None if there are fewer."""
    row = tx.execute(
        "SELECT finished_at FROM jobs INDEXED BY jobs_ended WHERE finished_at IS NOT NULL"
        " ORDER BY finished_at DESC LIMIT 1 OFFSET ?",
        (keep,),
    ).fetchone()
    return row[0] if row else None


def _state(tx: sqlite3.Connection, job_id: int) -> JobState:
    row = tx.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise UnknownJob(job_id)
    return row[0]
