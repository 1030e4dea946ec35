"""Workers in the store: who claims, whose claims are whose, and the limits that all count alike."""

from __future__ import annotations

from queue_core.fastjson import loads
from queue_core.settings import Settings
from queue_core.sqlite import locks, quotas
from queue_core.sqlite.claim import Claimant, claim
from queue_core.sqlite.queues import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from queue_core.jobs import Orphan
    from queue_core.quotas import QueueLimits


def register(
    tx: sqlite3.Connection,
    worker: str,
    *,
    pid: int,
    host: str,
    keeper: str,
    booted_by: str | None,
    version: str,
    now: float,
) -> None:
    """A worker that is about to claim says so."""
    tx.execute(
        "INSERT INTO workers (id, pid, host, keeper, booted_by, version, started_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (worker, pid, host, keeper, booted_by, version, now),
    )


def stop_claiming(tx: sqlite3.Connection, worker: str) -> None:
    """From here on this worker only ends what it has; a server may boot another beside it."""
    tx.execute("UPDATE workers SET claiming = 0 WHERE id = ?", (worker,))
    _unman(tx, worker)


def deregister(tx: sqlite3.Connection, worker: str) -> None:
    """The worker is gone, whatever there is to do."""
    tx.execute("DELETE FROM workers WHERE id = ?", (worker,))
    _unman(tx, worker)


def man(tx: sqlite3.Connection, worker: str, handlers: Collection[str]) -> None:
    """This worker has these handlers: jobs that waited for anybody who has them may go on."""
    for handler in handlers:
        tx.execute("INSERT OR IGNORE INTO worker_handlers VALUES (?, ?)", (handler, worker))
        tx.execute("UPDATE jobs SET parked = NULL WHERE parked = '@' || ?", (handler,))


def _unman(tx: sqlite3.Connection, worker: str) -> None:
    """A worker's handlers are gone with it: jobs for those that nobody else has wait, and hold up nobody."""
    rows = tx.execute("SELECT handler FROM worker_handlers WHERE worker = ?", (worker,)).fetchall()
    tx.execute("DELETE FROM worker_handlers WHERE worker = ?", (worker,))
    for (handler,) in rows:
        if not tx.execute("SELECT 1 FROM worker_handlers WHERE handler = ?", (handler,)).fetchone():
            _park_jobs_of(tx, handler)


def _park_jobs_of(tx: sqlite3.Connection, handler: str) -> None:
    freed = tx.execute(
        "SELECT DISTINCT queue, locks FROM jobs INDEXED BY jobs_handled"
        " WHERE handler = ? AND state = 'available' AND locks IS NOT NULL",
        (handler,),
    ).fetchall()
    tx.execute("UPDATE jobs SET parked = '@' || handler WHERE handler = ? AND state = 'available'", (handler,))
    for queue, lock_list in freed:
        locks.pass_on(tx, loads(lock_list), queue)


def leave_if_idle(
    tx: sqlite3.Connection, worker: str, *, now: float, handlers: Collection[str] = (), commands: bool = True
) -> bool:
    """Deregister, but only if nothing is claimable in this very transaction.

    A job that arrives a moment later finds no worker registered, and its server boots one.
    """
    if _could_claim(tx, worker, now, handlers, commands=commands):
        return False
    deregister(tx, worker)
    return True


def _could_claim(tx: sqlite3.Connection, worker: str, now: float, handlers: Collection[str], *, commands: bool) -> bool:
    """Whether a claim would bring anything, or might when it has been made more often: it is made, and taken back."""
    claimant = Claimant(worker=worker, keeper="", host="", tokens=lambda: "", handlers=handlers, commands=commands)
    tx.execute("SAVEPOINT attempt")
    leases = claim(tx, claimant, want=1, max_running=1, now=now)
    tx.execute("ROLLBACK TO attempt")
    tx.execute("RELEASE attempt")
    return bool(leases) or not claimant.is_through


def configure(
    tx: sqlite3.Connection, limits: Mapping[str, int | None], queues: Mapping[str, QueueLimits], *, now: float
) -> None:
    """Store limits that hold over all processes: parallelism, max_running, starts, and single queues' own."""
    for name in ("parallelism", "max_running"):
        if name in limits:
            value = (name, limits[name])
            tx.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", value)
    if "parallelism" in limits:
        tx.execute("UPDATE queues SET slots = ?, own_slots = 0", (limits["parallelism"],))
    if "starts_per_minute" in limits:
        quotas.set_limit_of_all(tx, limits["starts_per_minute"])
    for queue, own in queues.items():
        ensure(tx, queue, own.parallelism or Settings.parallelism)
        if own.parallelism is not None:
            tx.execute("UPDATE queues SET slots = ?, own_slots = 1 WHERE name = ?", (own.parallelism, queue))
        tx.execute("UPDATE queues SET starts_per_minute = ? WHERE name = ?", (own.starts_per_minute, queue))
    quotas.apply_limits(tx, now)


def limit(tx: sqlite3.Connection, name: str, default: int) -> int:
    """A stored limit, or the default while no worker has stored any."""
    row = tx.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return row[0] if row else default


def forget(tx: sqlite3.Connection, workers: Sequence[str]) -> None:
    """Workers that are known to be dead (their lock is free)."""
    for worker in workers:
        deregister(tx, worker)


def take_over(tx: sqlite3.Connection, orphans: Sequence[Orphan], worker: str) -> list[tuple[int, int]]:
    """Make these claims this worker's; those that have ended, or that another worker took first, are left out."""
    taken: list[tuple[int, int]] = []
    for one in orphans:
        cursor = tx.execute(
            "UPDATE jobs SET worker = ?"
            " WHERE id = ? AND claim = ? AND lease_token = ? AND worker = ? AND state = 'running'",
            (worker, one.job, one.claim, one.token, one.worker),
        )
        if cursor.rowcount:
            taken.append((one.job, one.claim))
    return taken
