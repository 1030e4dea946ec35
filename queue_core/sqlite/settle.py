"""Settle: the one exit from "running", fenced by the claim's number and lease token.

A result that names a claim which is no longer the job's touches nothing and says so: whoever held it
has lost the lease, and somebody else's word stands.
"""

from __future__ import annotations

from queue_core.fastjson import loads
from queue_core.lifecycle import ENDED, SUCCEEDED, decide, dependency, describe, entry_state, next_state
from queue_core.model import Retry
from queue_core.sqlite import escalate, locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from queue_core.jobs import Outcome, Settlement
    from queue_core.lifecycle import Decision
    from queue_core.model import Condition, JobState

_FENCE = "id = ? AND claim = ? AND lease_token = ? AND state = 'running'"
_HELD_BY = f"SELECT failures, retry, retries, cancel_requested, on_dead, handler FROM jobs WHERE {_FENCE}"
_LATEST = ", outcome = ?, exit_code = ?, signal = ?"
# One statement a job says who held it, ends that, and tells what has to follow: who holds a lock, who waits.
_LEAVE = (
    "UPDATE jobs SET state = ?, due_at = ?, finished_at = ?, ended = ?, reason = ?, failures = failures + ?,"
    " attempt = attempt - ?, cancel_requested = 0, lease_token = NULL, worker = NULL, keeper = NULL"
    f"{_LATEST} WHERE {_FENCE}"
    " RETURNING host, started_at, ready_at, locks, escalated_from IS NOT NULL OR EXISTS"
    " (SELECT 1 FROM dependencies INDEXED BY dependencies_open WHERE needs = jobs.id AND met = 0)"
)
_READY_AGAIN = "UPDATE jobs SET ready_at = ? WHERE id = ?"
_RECORD = (
    "INSERT INTO attempts (job, claim, outcome, exit_code, signal, error, host, started_at, finished_at,"
    " user_seconds, system_seconds, max_rss_kib, output_bytes, cut_bytes, tail, waited, result)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_OPEN_DEPENDENTS = (
    "SELECT d.job, d.condition FROM dependencies d INDEXED BY dependencies_open"
    " JOIN jobs j ON j.id = d.job WHERE d.needs = ? AND d.met = 0"
    " AND j.state IN ('blocked', 'held')"
)


def settle(
    tx: sqlite3.Connection,
    settlements: Sequence[Settlement],
    *,
    now: float,
    chance: Callable[[], float],
    permanent_exit_codes: Collection[int] = (),
) -> list[JobState | None]:
    """Record how these attempts ended. None stands for one whose lease was lost: nothing was written."""
    ends = _Ends(tx)
    states: list[JobState | None] = []
    for one in settlements:
        states.append(_settle_one(tx, one, ends, now, chance, permanent_exit_codes))
    ends.write_back()
    return states


def _settle_one(
    tx: sqlite3.Connection,
    one: Settlement,
    ends: _Ends,
    now: float,
    chance: Callable[[], float],
    permanent: Collection[int],
) -> JobState | None:
    decision: Decision = SUCCEEDED
    chain: Sequence[Sequence[Any]] = ()
    if not one.outcome.success:  # what follows from a success is the same for every job
        row = tx.execute(_HELD_BY, (one.job, one.claim, one.token)).fetchone()
        if row is None:
            return None
        chain = loads(row[4]) if row[4] else ()
        decision = _decide(one.outcome, row, chain, now, chance(), permanent)
    left = _leave_running(tx, one, decision, ends, now)
    if left is None:
        return None
    host, started_at, ready_at, lock_list, waited_for = left
    if one.outcome.kind != "never_started":
        _record(tx, one, host, started_at, ready_at, now)
    if decision.state == "available":
        tx.execute(_READY_AGAIN, (now, one.job))
    if lock_list:
        locks.release(tx, loads(lock_list))
    if waited_for and decision.state in ENDED:
        ends.write_back()
        tell_dependents(tx, one.job, decision.state, now)
    if decision.state == "dead" and chain:
        escalate.hand_over(tx, one.job, chain, now)
    return decision.state


def _decide(
    outcome: Outcome,
    row: tuple[Any, ...],
    chain: Sequence[Sequence[Any]],
    now: float,
    chance: float,
    permanent: Collection[int],
) -> Decision:
    """What follows from an attempt that was no success."""
    failures, retry, retries, cancel_requested, _, handler = row
    backoff, base, cap, jitter = loads(retry)
    return decide(
        outcome,
        failures=failures,
        retry=Retry(retries=retries, backoff=backoff, base=base, cap=cap, jitter=jitter),
        cancel_requested=bool(cancel_requested),
        now=now,
        chance=chance,
        permanent_exit_codes=permanent if handler is None else (),  # a function has no exit code of its own
        escalate_after=chain[0][0] if chain else None,
    )


def _leave_running(
    tx: sqlite3.Connection, one: Settlement, decision: Decision, ends: _Ends, now: float
) -> tuple[Any, ...] | None:
    """What `_LEAVE` returns; None if the lease was lost."""
    outcome, state = one.outcome, next_state("running", decision.event, decision.state)
    ended = state in ENDED
    finished_at = (outcome.finished_at or now) if ended else None
    failed = decision.counted and decision.event in ("fail", "exhaust")
    recorded = outcome.kind != "never_started"
    latest = (outcome.kind, outcome.exit_code, outcome.signal) if recorded else ()
    left = tx.execute(
        _LEAVE if recorded else _LEAVE.replace(_LATEST, ""),
        (
            *(state, decision.due_at, finished_at, ends.following if ended else None, decision.reason),
            *(failed, not decision.counted, *latest, one.job, one.claim, one.token),
        ),
    ).fetchone()
    if left is not None and ended:
        ends.take()
    return left


class _Ends:
    """The numbers of the completions of one batch: the last one is read once, and written back once."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self._tx = tx
        self._last: int | None = None

    @property
    def following(self) -> int:
        """The number of the next completion."""
        last = self._last
        if last is None:
            self._last = last = int(self._tx.execute("SELECT value FROM meta WHERE name = 'ended'").fetchone()[0])
        return last + 1

    def take(self) -> None:
        """It has been given to a job."""
        self._last = self.following

    def write_back(self) -> None:
        """Before anybody else asks for a number (`next_end`), and when all are settled."""
        if self._last is not None:
            self._tx.execute("UPDATE meta SET value = ? WHERE name = 'ended'", (self._last,))
            self._last = None


def next_end(tx: sqlite3.Connection) -> int:
    """The number of the next completion: cursors over completions are these."""
    return tx.execute("UPDATE meta SET value = value + 1 WHERE name = 'ended' RETURNING value").fetchone()[0]


def _record(
    tx: sqlite3.Connection, one: Settlement, host: str, claimed_at: float, ready_at: float | None, now: float
) -> None:
    outcome = one.outcome
    started_at = outcome.started_at or claimed_at
    error = outcome.error if outcome.kind in ("exited", "signalled", "cancelled", "interrupted") else describe(outcome)
    tx.execute(
        _RECORD,
        (
            one.job,
            one.claim,
            outcome.kind,
            outcome.exit_code,
            outcome.signal,
            error,
            host,
            started_at,
            outcome.finished_at or now,
            outcome.user_seconds,
            outcome.system_seconds,
            outcome.max_rss_kib,
            outcome.output_bytes,
            outcome.cut_bytes,
            outcome.tail,
            None if ready_at is None else max(0.0, started_at - ready_at),
            outcome.result,
        ),
    )


def tell_dependents(tx: sqlite3.Connection, job_id: int, state: JobState, now: float) -> None:
    """A job has ended: those that waited for it go on, wait on, or are cancelled with it (and theirs).

    Who waits for the success of a job that was handed over waits for its successors as well.
    """
    ended: list[tuple[int, JobState]] = [(job_id, state)]
    while ended:
        this, became = ended.pop()
        ended += _tell(tx, this, became, ("success", "any", "failure"), now)
        for earlier, its_state in escalate.predecessors(tx, this):
            ended += _tell(tx, earlier, its_state, ("success",), now)


def _tell(
    tx: sqlite3.Connection, needed: int, became: JobState, conditions: tuple[Condition, ...], now: float
) -> list[tuple[int, JobState]]:
    """Tell those that wait for this job under these conditions; the ones that were cancelled for it."""
    abandoned: list[tuple[int, JobState]] = []
    for dependent, condition in tx.execute(_OPEN_DEPENDENTS, (needed,)).fetchall():
        if condition not in conditions:
            continue
        successors = escalate.successors(tx, needed) if condition == "success" and became != "succeeded" else ()
        verdict = dependency(condition, became, successors)
        if verdict == "met":
            _meet(tx, dependent, needed, condition, now)
        elif verdict == "never" and _abandon(
            tx, dependent, f"job {needed}, whose {condition} it waited for, {_became(became)}", now
        ):
            abandoned.append((dependent, "cancelled"))
    return abandoned


def _became(state: JobState) -> str:
    return {"cancelled": "was cancelled", "succeeded": "succeeded"}.get(state, f"is {state}")


def _meet(tx: sqlite3.Connection, job_id: int, needed: int, condition: str, now: float) -> None:
    tx.execute(
        "UPDATE dependencies SET met = 1 WHERE job = ? AND needs = ? AND condition = ?",
        (job_id, needed, condition),
    )
    state, unmet, due_at = tx.execute("SELECT state, unmet - 1, due_at FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if state not in ("blocked", "held"):
        return  # a second condition on the same job has just cancelled it
    after = entry_state(held=state == "held", unmet=unmet, due_at=due_at, now=now)
    if after != state:
        next_state("blocked", "unblock", after)
    ready_at = now if after == "available" else None
    tx.execute("UPDATE jobs SET unmet = ?, state = ?, ready_at = ? WHERE id = ?", (unmet, after, ready_at, job_id))


def _abandon(tx: sqlite3.Connection, job_id: int, reason: str, now: float) -> bool:
    """Cancel a job whose wait cannot end; False if it no longer waits."""
    state = tx.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
    if state not in ("blocked", "held"):
        return False
    tx.execute(
        "UPDATE jobs SET state = ?, unmet = 0, reason = ?, finished_at = ?, ended = ? WHERE id = ?",
        (next_state(state, "abandon"), reason, now, next_end(tx), job_id),
    )
    forget_needs(tx, job_id)
    return True


def forget_needs(tx: sqlite3.Connection, job_id: int) -> None:
    """A cancelled job waits for nobody: not when it is replayed, and it keeps nobody from being pruned."""
    tx.execute("DELETE FROM dependencies WHERE job = ? AND met = 0", (job_id,))
