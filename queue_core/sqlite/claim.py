"""Claim: hand out what may run now, counted over all processes, in one transaction.

Queues take turns (the one that was served longest ago is next); within a queue the order is priority,
then first in, first out. Every step goes through a partial index, so that a claim costs the same at a
thousand and at a million waiting jobs.
"""

from __future__ import annotations

from queue_core.fastjson import loads
from queue_core.jobs import Lease
from queue_core.sqlite import audit, locks, quotas, readiness, reads

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any

    from queue_core.store import MayRun

DUE_BATCH = 500

_PROMOTE = (
    "UPDATE jobs SET state = 'available', ready_at = due_at WHERE id IN"
    f" (SELECT id FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ? LIMIT {DUE_BATCH})"
)
# Whether jobs are due, and rests are to be looked at; how many may start in a minute, and run here; how many run here.
_STANDING = (
    "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_scheduled WHERE state = 'scheduled' AND due_at <= ?),"
    " EXISTS (SELECT 1 FROM queues INDEXED BY queues_resting WHERE rests_until IS NOT NULL),"
    " (SELECT value FROM meta WHERE name = 'starts_per_minute'),"
    " (SELECT value FROM meta WHERE name = 'max_running'),"
    " (SELECT count(*) FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND host = ?)"
)
MOST_PARKED = 500  # jobs set aside in one transaction, while others wait to write
PAGE = 64  # queues looked at in one go
_READY = (
    f"SELECT turn, name, running, ready, handled, slots, starts_per_minute FROM {readiness.READY}"
    " AND (turn, name) > (?, ?) ORDER BY turn, name LIMIT ?"
)
_HEAD_COLUMNS = "SELECT id, sequential, locks, caller, priority FROM jobs"
_HEAD = (
    f"{_HEAD_COLUMNS} INDEXED BY jobs_available WHERE queue = ? AND state = 'available' AND parked IS NULL"
    " AND handler IS NULL ORDER BY priority, id LIMIT ?"
)
_HANDLED_HEAD = (
    f"{_HEAD_COLUMNS} INDEXED BY jobs_handled WHERE handler = ? AND queue = ? AND parked IS NULL"
    " AND state = 'available' ORDER BY priority, id LIMIT 1"
)
_FIRST_BARRIER = (
    f"{_HEAD_COLUMNS} INDEXED BY jobs_barriers WHERE queue = ? AND state = 'available'"
    " AND parked IS NULL AND sequential = 1 AND (handler IS NOT NULL OR ?) ORDER BY priority, id LIMIT 1"
)
_FIRST_HANDLED = (
    f"{_HEAD_COLUMNS} INDEXED BY jobs_handled_order WHERE queue = ?"
    " AND state = 'available' AND parked IS NULL AND handler IS NOT NULL ORDER BY priority, id LIMIT 1"
)
_RUNS_COMMANDS = "SELECT 1 FROM workers WHERE claiming = 1 AND keeper <> '' LIMIT 1"
_LEASE_COLUMNS = (
    "claim, queue, argv, program, executable, cwd, env, caller, approved_at, stdin_path, timeout, session, project,"
    " attempt, handler, arguments, escalated_from, (SELECT stdin FROM inputs WHERE job = jobs.id)"
)
_HEADS = _HEAD.replace(_HEAD_COLUMNS, f"SELECT id, {_LEASE_COLUMNS}, sequential, locks FROM jobs")
_CLAIM = (
    "UPDATE jobs SET state = 'running', claim = claim + 1, attempt = attempt + 1, lease_token = ?, worker = ?,"
    " keeper = iif(handler IS NULL, ?, ''), host = ?, started_at = ?, reason = NULL WHERE id = ?"
    " AND state = 'available'"
)
_CLAIM_ONE = f"{_CLAIM} RETURNING id, {_LEASE_COLUMNS}"
# A queue that was served last has the last turn already, and stays there.
_END_TURN = (
    "UPDATE queues SET turn = (SELECT max(turn) + 1 FROM queues)"
    " WHERE name = ?1 AND turn <= (SELECT coalesce(max(turn), 0) FROM queues WHERE name <> ?1)"
)


class Claimant:
    """Who claims: a worker with its keeper, what it can run, and where its randomness comes from."""

    def __init__(
        self,
        *,
        worker: str,
        keeper: str,
        host: str,
        tokens: Callable[[], str],
        handlers: Collection[str] = (),
        commands: bool = True,
    ) -> None:
        self.worker, self.keeper, self.host, self.tokens = worker, keeper, host, tokens
        self.handlers, self.commands = tuple(handlers), commands
        self.may_park = MOST_PARKED  # how many more in this transaction
        self.more_is_due = False  # than one transaction takes in

    @property
    def is_through(self) -> bool:
        """Whether the last claim has looked at all; if not, there may be more than it has set aside or taken in."""
        return self.may_park > 0 and not self.more_is_due


def claim(
    tx: sqlite3.Connection,
    claimant: Claimant,
    *,
    want: int,
    max_running: int,
    now: float,
    may_run: MayRun | None = None,
) -> list[Lease]:
    """Up to `want` leases. `may_run` is asked about agents' jobs: a reason sends one back to held.

    There may be more to claim, in another transaction, if the claimant is not `is_through` then.
    """
    claimant.may_park, claimant.more_is_due = MOST_PARKED, False
    due, rests, limit, most_here, running_here = tx.execute(_STANDING, (now, claimant.host)).fetchone()
    if due:  # in the claim itself, so that 1 s is 1 s
        claimant.more_is_due = tx.execute(_PROMOTE, (now,)).rowcount == DUE_BATCH
    if rests:
        quotas.end_rests(tx, now)
    starts_left = None if limit is None else quotas.left_of_all(tx, now)
    room = (max_running if most_here is None else most_here) - running_here  # what a worker has stored, all obey
    want = min(want, room, want if starts_left is None else starts_left)
    leases = _serve_only_queue(tx, claimant, want, now) if want > 0 else []
    while len(leases) < want and claimant.may_park:
        served = _serve_each_queue_once(tx, claimant, want - len(leases), now, may_run)
        if not served:
            break
        leases += served
    if leases and starts_left is not None:
        quotas.count_for_all(tx, leases, now)
    return leases


def _serve_only_queue(tx: sqlite3.Connection, claimant: Claimant, want: int, now: float) -> list[Lease]:
    """The short way where nobody else has a turn: the next commands of the only queue in which anything is ready.

    It ends before the first that may have to wait, or to be asked about; the others are served with more care.
    """
    if claimant.handlers or not claimant.commands:
        return []
    found = tx.execute(_READY, (-1, "", 2)).fetchall()
    if len(found) != 1:
        return []
    queue = _Queue(*found[0])
    if queue.handled or queue.starts_per_minute is not None:
        return []
    claimed: list[tuple[Any, ...]] = []
    for head in tx.execute(_HEADS, (queue.name, min(want, queue.slots - queue.running))).fetchall():
        *_, sequential, lock_list = head
        if sequential or lock_list or head[8] == "agent":
            break
        claimed.append((claimant.tokens(), head[0], head[1] + 1, *head[2:14], head[14] + 1, *head[15:19]))
    if claimed:
        by = (claimant.worker, claimant.keeper, claimant.host, now)
        tx.executemany(_CLAIM, [(token, *by, job_id) for token, job_id, *_ in claimed])
        _end_turn(tx, queue.name)
    return [_lease(token, row) for token, *row in claimed]


def _serve_each_queue_once(
    tx: sqlite3.Connection,
    claimant: Claimant,
    want: int,
    now: float,
    may_run: MayRun | None,
) -> list[Lease]:
    leases: list[Lease] = []
    for queue in _queues_in_turn(tx, claimant):
        head = _startable_head(tx, claimant, queue, may_run, now)
        if head is not None:
            leases.append(_claim_one(tx, claimant, head, now))
            _end_turn(tx, queue.name)
            if queue.starts_per_minute is not None:
                quotas.count_for_queue(tx, queue.name, queue.starts_per_minute, leases[-1], now)
        if len(leases) == want or not claimant.may_park:
            break
    return leases


class _Queue:
    """A queue in which there is something that a worker can run, as it stood when it was looked up."""

    def __init__(
        self, turn: int, name: str, running: int, ready: int, handled: int, slots: int, starts_per_minute: int | None
    ) -> None:
        self.turn, self.name, self.running, self.ready, self.handled = turn, name, running, ready, handled
        self.slots, self.starts_per_minute = slots, starts_per_minute


def _queues_in_turn(tx: sqlite3.Connection, claimant: Claimant) -> Iterator[_Queue]:
    """Where there is something that this worker can run, in the order of turns, a page at a time.

    A queue whose head has to wait (a barrier, a job for another worker) stays in front: it must not hide the others.
    """
    after = (-1, "")
    while True:
        rows: list[tuple[Any, ...]] = []
        if claimant.commands:
            rows += tx.execute(_READY, (*after, PAGE)).fetchall()
        if claimant.handlers:
            rows += tx.execute(*readiness.handled_queues(claimant.handlers, PAGE, after)).fetchall()
        page = sorted(set(rows), key=_turn)[:PAGE]
        yield from (_Queue(*row) for row in page)
        if len(page) < PAGE:
            return
        after = (page[-1][0], page[-1][1])


def _turn(row: tuple[Any, ...]) -> tuple[int, str]:
    return row[0], row[1]


def _startable_head(
    tx: sqlite3.Connection, claimant: Claimant, queue: _Queue, may_run: MayRun | None, now: float
) -> int | None:
    """The first job of the queue if it may start now. What cannot run at all is set aside on the way."""
    # Without jobs of other kinds the first that this worker can run is the queue's first.
    mixed = bool(queue.handled or (queue.ready and not claimant.commands))
    while claimant.may_park:
        row = _head(tx, claimant, queue.name)
        if row is None:
            return None
        job_id, sequential, lock_list, caller, priority = row
        if caller == "agent" and may_run and _hold(tx, job_id, queue.name, lock_list, may_run, now):
            claimant.may_park -= 1
            mixed = True  # a lock that it could have taken may have woken a job of another kind
            continue
        wanted: list[str] = loads(lock_list) if lock_list else []
        if _is_parked(tx, claimant, job_id, queue.name, wanted):
            mixed = True
            continue
        if sequential and queue.running:
            return None  # a barrier: nothing of this queue starts before it
        if mixed and _others_come_first(tx, claimant, queue.name, sequential=sequential, place=(priority, job_id)):
            return None
        locks.take(tx, wanted)
        return job_id
    return None


def _is_parked(tx: sqlite3.Connection, claimant: Claimant, job_id: int, queue: str, wanted: Sequence[str]) -> bool:
    """Set a job aside if a lock that it wants is full."""
    full = locks.first_full(tx, wanted)
    if full is None:
        return False
    locks.park(tx, job_id, queue, full, wanted)
    claimant.may_park -= 1
    return True


def _head(tx: sqlite3.Connection, claimant: Claimant, queue: str) -> tuple[Any, ...] | None:
    """The first job of the queue that this worker can run."""
    rows = [tx.execute(_HEAD, (queue, 1)).fetchone()] if claimant.commands else []
    rows += [tx.execute(_HANDLED_HEAD, (handler, queue)).fetchone() for handler in claimant.handlers]
    return _first(rows)


def _first(rows: Sequence[tuple[Any, ...] | None]) -> tuple[Any, ...] | None:
    """The one of these heads that comes first in its queue."""
    return min((row for row in rows if row is not None), key=_place, default=None)


def _place(head: tuple[Any, ...]) -> tuple[int, int]:
    return head[4], head[0]


def _others_come_first(
    tx: sqlite3.Connection, claimant: Claimant, queue: str, *, sequential: bool, place: tuple[int, int]
) -> bool:
    """Whether a job that only other workers can run keeps this one back: one of the two is a barrier.

    What waits for a lock is set aside, as its own worker would, and what nobody runs holds nobody up.
    """
    commands = claimant.commands or tx.execute(_RUNS_COMMANDS).fetchone() is not None
    while claimant.may_park:
        first = _first_of_others(tx, queue, commands=commands, barriers_only=not sequential)
        if first is None or _place(first) >= place:
            return False
        if not _is_parked(tx, claimant, first[0], queue, loads(first[2]) if first[2] else []):
            return True
    return True


def _first_of_others(
    tx: sqlite3.Connection, queue: str, *, commands: bool, barriers_only: bool
) -> tuple[Any, ...] | None:
    """The first job of the queue, of whatever kind, that another one may have to wait for."""
    rows = [tx.execute(_FIRST_BARRIER, (queue, commands)).fetchone()]
    if not barriers_only:
        rows.append(tx.execute(_FIRST_HANDLED, (queue,)).fetchone())
        if commands:
            rows.append(tx.execute(_HEAD, (queue, 1)).fetchone())
    return _first(rows)


def _hold(tx: sqlite3.Connection, job_id: int, queue: str, lock_list: str | None, may_run: MayRun, now: float) -> bool:
    """Policy is checked again when a job is about to run; what it no longer covers waits for a person."""
    found = reads.run(tx, reads.job(job_id))
    reason = may_run(found) if found else None
    if reason is None:
        return False
    tx.execute("UPDATE jobs SET state = 'held', reason = ? WHERE id = ?", (reason, job_id))
    audit.note_taken_back(tx, job_id, now)
    if lock_list:
        locks.pass_on(tx, loads(lock_list), queue)
    return True


def _claim_one(tx: sqlite3.Connection, claimant: Claimant, job_id: int, now: float) -> Lease:
    token = claimant.tokens()
    values = (token, claimant.worker, claimant.keeper, claimant.host, now, job_id)
    return _lease(token, tx.execute(_CLAIM_ONE, values).fetchone())


def _lease(token: str, row: Sequence[Any]) -> Lease:
    """The lease of a job: its id, and `_LEASE_COLUMNS` as they are now that it is claimed."""
    return Lease(
        job=row[0],
        claim=row[1],
        token=token,
        queue=row[2],
        argv=tuple(loads(row[3])),
        program=row[4],
        executable=row[5],
        cwd=row[6],
        env=_environments(row[7]),
        caller=row[8],
        approved=row[9] is not None,
        stdin=row[18],
        stdin_path=row[10],
        timeout=row[11],
        session=row[12],
        project=row[13],
        attempt=row[14],
        handler=row[15],
        arguments=loads(row[16]) if row[16] else {},
        escalated_from=row[17],
    )


class _Environments:
    """What the latest stored environment says: jobs that were added together have the same, a kilobyte of JSON."""

    def __init__(self) -> None:
        self._latest: tuple[str, dict[str, str]] = ("{}", {})

    def __call__(self, text: str) -> dict[str, str]:
        latest = self._latest  # one look: there may be several threads
        if latest[0] != text:
            self._latest = latest = (text, loads(text))
        return latest[1]


_environments = _Environments()


def _end_turn(tx: sqlite3.Connection, queue: str) -> None:
    """The other queues are next."""
    tx.execute(_END_TURN, (queue,))
