"""Forgetting ended jobs: rows first, then their files, in slow chunks.

A file that is created where many were just deleted costs thirty times as much (measured on ext4), so
what hooks and workers do next must not suffer from a great clean-up.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.home import Home
    from queue_core.store import Store

CHUNK = 200


def prune(store: Store, home: Home, *, before: float, keep: int) -> int:
    """Forget jobs that ended before a time, and those beyond the `keep` newest; how many went."""
    newest_kept = store.nth_newest_end(keep)
    horizon = before if newest_kept is None else max(before, newest_kept + 1e-6)
    total = 0
    while gone := store.prune(before=horizon, limit=CHUNK):
        for job_id, _ in gone:
            remove_runs(home, job_id)
        total += len(gone)
    return total


def sweep(store: Store, home: Home, *, before: float) -> int:
    """Remove files of jobs that are not known any more: of those pruned just before a kill, or undone by a restore.

    Only what nobody has touched since `before`, in seconds since the epoch; how many folders went.
    """
    runs = os.path.join(home.data, "runs")
    try:
        ids = [int(name) for name in os.listdir(runs) if name.isdigit()]
    except OSError:
        return 0
    gone = 0
    for begin in range(0, len(ids), CHUNK):
        chunk = ids[begin : begin + CHUNK]
        known = store.states_of(chunk)
        for job_id in chunk:
            if job_id not in known and _untouched(os.path.join(runs, str(job_id)), before):
                remove_runs(home, job_id)
                gone += 1
    return gone


def _untouched(path: str, before: float) -> bool:
    try:
        return os.lstat(path).st_mtime < before
    except OSError:
        return False


def remove_runs(home: Home, job_id: int) -> None:
    """Remove a job's files; what cannot be removed is left for the next time."""
    import shutil

    path = os.path.join(home.data, "runs", str(job_id))
    if os.path.islink(path):  # a command has put it there: what it leads to is not ours
        os.unlink(path)
    shutil.rmtree(path, ignore_errors=True)
