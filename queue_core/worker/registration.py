"""A worker's entry in the store: who it is, what it can run, and which limits it sets."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from queue_core import checkup
from queue_core.version import VERSION
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from queue_core.service import Queue
    from queue_core.worker.claims import Claims

log = logging.getLogger("runq.worker")

_SHARED = ("parallelism", "max_running", "starts_per_minute")  # limits that all workers obey


async def register(queue: Queue, worker: str, jobs: Claims, *, booted_by: str | None) -> None:
    """Enter a worker. Limits that all obey are set by the first one, and by whoever was told them explicitly."""
    await on_thread(checkup.look_again, queue.home)  # nothing could be written while the note stands
    chosen = queue.settings
    alone = not await on_thread(lambda: queue.live_workers(claiming=True))
    limits = {name: getattr(chosen, name) for name in _SHARED if alone or name in chosen.explicit}

    def enter() -> None:
        queue.store.register(
            worker,
            pid=os.getpid(),
            host=queue.host,
            keeper=jobs.keeper,
            booted_by=booted_by,
            version=VERSION,
            now=queue.clock(),
            limits=limits,
            queues=dict(chosen.queues),
            handlers=jobs.handlers,
        )

    await on_thread(enter)
    keeper = f", keeper {jobs.keeper}" if jobs.keeper else ""  # one that only has handlers needs none
    log.info("worker %s up (pid %d%s)", worker, os.getpid(), keeper)
