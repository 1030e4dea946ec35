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


def remove_runs(home: Home, job_id: int) -> None:
    """Remove a job's files; what cannot be removed is left for the next time."""
    import shutil

    shutil.rmtree(os.path.join(home.data, "runs", str(job_id)), ignore_errors=True)
