"""Flat combining: threads that add jobs at the same time have one of them check and store them all.

A group commit shares the fsync; this shares the rest: the look for the program, at the disk and for whom to wake,
and the statement. Whoever comes first leads; who comes meanwhile is in the next batch, led by one of them.
What cannot be stored together is left to each alone, so that one that is refused takes nobody with it.
"""

from __future__ import annotations

import _thread

from queue_core.errors import QueueError, StoreBusy, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.model import NewJob, Receipt

BATCH = 500  # jobs at once at the most, so that one that is added alone does not wait long
LONGEST_BATCH = 70.0  # seconds that one that is being stored is waited for: the store gives up before
MARGIN = 1.0  # seconds beyond the store's own patience
UNKNOWN = "it is not known whether this was stored, since its storing was cut short; look before repeating it"


class _Waiting:
    """One thread's job, and what became of it."""

    def __init__(self, job: NewJob) -> None:
        self.job = job
        self.leads = False
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None
        self.called = _thread.allocate_lock()  # let go when there is an answer, or when it is to lead
        self.called.acquire()


class Combining:
    """Where threads meet that add jobs."""

    def __init__(self, store: Callable[[Sequence[NewJob]], list[Receipt]], patience: Callable[[], float]) -> None:
        """`store` stores jobs, all or none; a QueueError that is no StoreError says that they have to go alone."""
        self._store = store
        self._patience = patience
        self._lock = _thread.allocate_lock()
        self._waiting: list[_Waiting] = []
        self._led = False

    def enqueue(self, job: NewJob) -> Receipt | None:
        """Store a job with those of other threads; durable when it returns. None: not stored, it has to go alone."""
        if job.ref is not None or job.after or job.after_any or job.after_failure:
            return None  # names of one call's jobs mean nothing in another's
        mine = _Waiting(job)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._led = not self._led, True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return mine.receipt

    def _wait(self, mine: _Waiting) -> None:
        """Until there is an answer, or the lead has come to this one."""
        try:
            if mine.called.acquire(timeout=self._patience() + MARGIN):
                return
        except BaseException:
            self._withdraw(mine)
            raise
        if self._withdraw(mine):
            raise StoreBusy("the queue is busy: its database did not answer in time; try again in a moment")
        if not mine.called.acquire(timeout=LONGEST_BATCH):
            raise StoreError(UNKNOWN)

    def _withdraw(self, mine: _Waiting) -> bool:
        """Take a job back, and hand on the lead if it has come to it; False if it is being stored."""
        with self._lock:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
        if mine.leads:
            self._hand_on()
        return True

    def _lead(self, mine: _Waiting) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        try:
            self._store_all(batch)
        finally:
            for one in batch:
                if one is not mine:
                    one.called.release()
            self._hand_on()

    def _store_all(self, batch: Sequence[_Waiting]) -> None:
        for one in batch:
            one.error = StoreError(UNKNOWN)  # should this thread be interrupted
        receipts: Sequence[Receipt | None] = [None] * len(batch)
        error: Exception | None = None
        try:
            receipts = self._store([one.job for one in batch])
        except QueueError as refused:  # the store's concerns all; what one of them is refused for, each finds out alone
            error = refused if isinstance(refused, StoreError) else None
        except Exception as broken:
            error = broken
        for one, receipt in zip(batch, receipts, strict=True):
            one.receipt, one.error = receipt, error

    def _hand_on(self) -> None:
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._led = heir is not None
            if heir is not None:
                heir.leads = True
        if heir is not None:
            heir.called.release()
