"""Housekeeping beside a worker's loop: what was left behind, what is old, what has no owner."""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from queue_core import spool
from queue_core.errors import QueueError
from queue_core.keeper import protocol
from queue_core.liveness import worker_lives

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from queue_core.model import Orphan
    from queue_core.service import Queue

log = logging.getLogger("runq.janitor")

ROUND = 5.0  # seconds between looks at what dead workers left
PRUNE_EVERY = 3600.0  # seconds


class Janitor:
    """Recovers, ingests, prunes. Several of them, one a worker, do no harm to each other."""

    def __init__(self, queue: Queue, adopt: Callable[[Sequence[Orphan]], Awaitable[None]]) -> None:
        self._queue = queue
        self._adopt = adopt
        self._pruned_at = time.monotonic()

    async def run(self) -> None:
        """Make a round every few seconds, until cancelled."""
        while True:
            await anyio.sleep(ROUND)
            await self.round()

    async def round(self) -> None:
        """One round; what fails now is tried again in the next."""
        try:
            await anyio.to_thread.run_sync(self._queue.ingest_spool)
            found = await anyio.to_thread.run_sync(self._queue.recover)
            if found.adoptable or found.alone:
                await self._adopt([*found.adoptable, *found.alone])
            await anyio.to_thread.run_sync(self._tidy)
        except QueueError as error:
            log.warning("%s", error)

    def _tidy(self) -> None:
        self._forget_dead_workers()
        self._remove_dead_keepers()
        if time.monotonic() - self._pruned_at > PRUNE_EVERY:
            self._pruned_at = time.monotonic()
            gone = self._queue.prune()
            log.info("pruned %d jobs", gone)
            spool.keep_ballast(self._queue.home)

    def _forget_dead_workers(self) -> None:
        """Rows of workers that are gone and whose claims are all settled or taken over."""
        store, home = self._queue.store, self._queue.home
        owners = {claim.worker for claim in store.running()}
        gone = [
            worker.id
            for worker in store.workers()
            if worker.host == self._queue.host and worker.id not in owners and not worker_lives(home, worker.id)
        ]
        if gone:
            store.forget_workers(gone)
            for worker in gone:
                _unlink(home.worker_lock(worker))

    def _remove_dead_keepers(self) -> None:
        """Folders of keepers that are gone and that no running claim names (its boot id would be missed)."""
        home = self._queue.home
        needed = {claim.keeper for claim in self._queue.store.running()}
        for name in _names(home.path("keepers")):
            folder = home.keeper(name)
            settled_in = os.path.exists(os.path.join(folder, protocol.LOCK))
            if name not in needed and settled_in and not protocol.alive(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
