"""Housekeeping beside a worker's loop: what was left behind, what is old, what has no owner."""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel

from queue_core import changes, checkup, safekeeping, spool
from queue_core.errors import QueueError
from queue_core.jobs import Filter
from queue_core.keeper import protocol
from queue_core.liveness import forget_worker, worker_lives
from queue_core.sqlite import ballast
from queue_core.worker.threads import OwnThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.jobs import Orphan
    from queue_core.recovery import Found
    from queue_core.service import Queue

log = logging.getLogger("runq.janitor")

T = TypeVar("T")

ROUND = 5.0  # seconds between looks at what dead workers left
BACKUP_RETRY = 300.0  # seconds after a backup that failed
SNAPSHOT_REST = 100  # times as long as a snapshot took: that much later at the earliest comes the next
LEFT = 3600.0  # seconds after which an unfinished file in the spool is nobody's any more
REST = 12  # rounds after which it is looked what is due, although nobody has changed anything
PRUNE_EVERY = 3600.0  # seconds, counted over all workers: many live for a minute only


class Janitor:
    """Recovers, ingests, prunes, backs up. Several of them, one a worker, do no harm to each other."""

    def __init__(self, queue: Queue, adopt: Callable[[Sequence[Orphan]], None]) -> None:
        self._queue = queue
        self._adopt = adopt
        self._thread = OwnThread("runq-janitor")
        self._seen_dead: set[str] = set()  # keepers, in the last round
        self._says_spent = False  # that the ballast is: it is said once
        self._backups_from = self._snapshots_from = 0.0  # monotonic: none before
        self._seen: object = None  # the store's version when it was last looked what is due
        self._rested = 0  # rounds since

    async def run(self) -> None:
        """Make a round every few seconds, until cancelled."""
        await self._do(self._back_up_if_due)  # at once: many workers live for less than a round
        await self._do(self._check_if_due)
        while True:
            await anyio.sleep(ROUND)
            if self._pass_on(await self._do(self._make_whole_round)):
                await self._do(self._do_what_is_due)

    async def round(self) -> None:
        """One round; what fails now is tried again in the next, and keeps nothing else from being done."""
        self._pass_on(await self._do(self._make_round))

    def _pass_on(self, found: Found | None) -> bool:
        """Whether there is anything to be adopted: that does not wait for anything else."""
        if not found or not found.orphans:
            return False
        self._adopt(found.orphans)
        return True

    def close(self) -> None:
        """There will be no more rounds."""
        self._thread.close()

    async def _do(self, step: Callable[[], T]) -> T | None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        return await self._thread.do(lambda: _attempt(step))

    def _make_round(self) -> Found | None:
        _attempt(self._queue.ingest_spool)
        found = _attempt(self._queue.recover)
        _attempt(self._tidy)
        _attempt(lambda: safekeeping.tidy(self._queue.home))
        return found

    def _make_whole_round(self) -> Found | None:
        """Mostly there is nothing to adopt: one way to the thread and back is enough."""
        found = self._make_round()
        if not (found and found.orphans):
            self._do_what_is_due()
        return found

    def _do_what_is_due(self) -> None:
        """Where nobody has changed anything, only time makes something due, which need not be seen to at once."""
        before, self._seen = self._seen, _attempt(self._queue.store.version)
        self._rested += 1
        if before == self._seen is not None and self._rested < REST:
            return
        self._rested = 0
        _attempt(self._prune_if_due)
        _attempt(self._back_up_if_due)

    def _tidy(self) -> None:
        spool.keep_ballast(self._queue.home)
        spool.remove_unfinished(self._queue.home, before=time.time() - LEFT)
        self._lay_ballast()
        self._queue.store.leave_tidy()
        self._forget_dead_workers()
        self._remove_dead_keepers()

    def _lay_ballast(self) -> None:
        """While it is spent nothing is claimed, so that it is said, and whoever waits for it is woken."""
        home, spent = self._queue.home, ballast.spent(self._queue.home)
        if ballast.lay(home) and spent:
            log.info("there is room again: the ballast is laid")
            changes.ring(home, "work", "watch")
        elif spent and not self._says_spent:
            log.warning("%s", ballast.SPENT.format(home.data))
        self._says_spent = ballast.spent(home)

    def _check_if_due(self) -> None:
        if found := checkup.look_if_due(self._queue.home, self._queue.clock()):
            log.error("%s", found)

    def _prune_if_due(self) -> None:
        home, now = self._queue.home, self._queue.clock()
        stamp = home.path("pruned")
        if 0 <= now - _written(stamp) < PRUNE_EVERY:
            return
        os.close(os.open(stamp, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.utime(stamp, (now, now))  # first, so that of several workers one prunes
        gone = self._queue.prune()
        log.log(logging.INFO if gone else logging.DEBUG, "pruned %d jobs", gone)

    def _back_up_if_due(self) -> None:
        """Take the backups that are due; `runq health` tells of one that failed, until one has not."""
        queue, began = self._queue, time.monotonic()
        if began < self._backups_from:
            return
        snapshots = began >= self._snapshots_from
        try:
            taken = safekeeping.take_due(
                queue.home, queue.settings, queue.clock, self._completions, snapshots=snapshots
            )
        except Exception as error:
            self._backups_from = time.monotonic() + BACKUP_RETRY
            safekeeping.note_failure(queue.home, str(error) or type(error).__name__)
            raise
        if taken:
            safekeeping.note_failure(queue.home, None)
            log.info("backed up: %s", ", ".join(one.backup.name for one in taken))
        if any(one.backup.kind == "snapshot" for one in taken):
            self._snapshots_from = time.monotonic() + SNAPSHOT_REST * (time.monotonic() - began)

    def _completions(self) -> int:
        """How many jobs have ended, ever: what cursors over completions are."""
        return self._queue.store.jobs(Filter(limit=0)).cursor

    def _forget_dead_workers(self) -> None:
        """Rows of workers that are gone and whose claims are all settled or taken over."""
        store, home = self._queue.store, self._queue.home
        rows = [worker.id for worker in store.workers()]
        dead = [worker for worker in rows if not worker_lives(home, worker)]
        owners = {claim.worker for claim in store.running()} if dead else set[str]()
        gone = [worker for worker in dead if worker not in owners]
        if gone:
            store.forget_workers(gone)
            for worker in gone:
                forget_worker(home, worker)

    def _remove_dead_keepers(self) -> None:
        """Folders of keepers that are gone and that no running claim names (their boot id would be missed).

        Only what was dead in the last round too: a claim for a keeper that has just died may be about to commit.
        """
        home = self._queue.home
        dead = {name for name in _names(home.path("keepers")) if _is_dead(home.keeper(name))}
        needed = {claim.keeper for claim in self._queue.store.running()} if dead else set[str]()
        for name in (dead & self._seen_dead) - needed:
            shutil.rmtree(home.keeper(name), ignore_errors=True)
        self._seen_dead = dead


def _attempt(step: Callable[[], T]) -> T | None:
    """Do a step; None, and a line in the log, when it fails."""
    try:
        return step()
    except Exception as error:  # whatever it is, housekeeping ends no work
        log.warning("%s", error, exc_info=not isinstance(error, (QueueError, OSError)))
        return None


def _is_dead(keeper_dir: str) -> bool:
    """Whether a keeper has been up (it notes the boot when it has its lock) and is no more."""
    return os.path.exists(os.path.join(keeper_dir, protocol.BOOT)) and not protocol.alive(keeper_dir)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _written(path: str) -> float:
    """When a file was written, in seconds since the epoch; 0 if there is none."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
