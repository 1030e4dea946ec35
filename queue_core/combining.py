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
        self.answered = False
        self.receipt: Receipt | None = None
        self.error: Exception | None = None
        self.called = _thread.allocate_lock()  # let go when there is an answer, or when it is to lead
        self.called.acquire()


class Combining:
    """Where threads meet that add jobs.

    Who leads is one field, so that whoever is interrupted (Ctrl-C) finds out at any moment whether it led.
    """

    def __init__(self, store: Callable[[Sequence[NewJob]], Sequence[Receipt]], patience: Callable[[], float]) -> None:
        """`store` stores jobs, all or none; a QueueError that is no StoreError says that they have to go alone."""
        self._store = store
        self._patience = patience
        self._lock = _thread.allocate_lock()
        self._waiting: list[_Waiting] = []
        self._leader: _Waiting | None = None

    def enqueue(self, job: NewJob) -> Receipt | None:
        """Store a job with those of other threads; durable when it returns. None: not stored, it has to go alone."""
        if job.ref is not None or job.after or job.after_any or job.after_failure:
            return None  # names of one call's jobs mean nothing in another's
        mine = _Waiting(job)
        try:
            with self._lock:
                self._waiting.append(mine)
                if self._leader is None:
                    self._leader = mine
            if self._leader is not mine:
                self._wait(mine)
            if self._leader is mine:
                self._lead(mine)
        except BaseException:
            self._withdraw(mine)
            raise
        if not mine.answered:
            raise StoreError(UNKNOWN)  # who led was interrupted
        if mine.error is not None:
            raise mine.error
        return mine.receipt

    def _wait(self, mine: _Waiting) -> None:
        """Until there is an answer, or the lead has come to this one."""
        if mine.called.acquire(timeout=self._patience() + MARGIN):
            return
        if self._withdraw(mine):
            raise StoreBusy("the queue is busy: its database did not answer in time; try again in a moment")
        if not mine.called.acquire(timeout=LONGEST_BATCH):
            raise StoreError(UNKNOWN)

    def _withdraw(self, mine: _Waiting) -> bool:
        """Take a job back, and hand on the lead if it has come to it; False if it is being stored."""
        with self._lock:
            waited = mine in self._waiting
            if waited:
                self._waiting.remove(mine)
        self._hand_on(mine)
        return waited

    def _lead(self, mine: _Waiting) -> None:
        batch: list[_Waiting] = []
        try:
            with self._lock:
                batch += self._waiting[:BATCH]
                del self._waiting[: len(batch)]
            self._store_all(batch)
        finally:
            try:
                self._call(batch)
            except BaseException:
                self._call(batch)
                raise
            self._hand_on(mine)

    def _store_all(self, batch: Sequence[_Waiting]) -> None:
        receipts: Sequence[Receipt | None] = [None] * len(batch)
        error: Exception | None = None
        try:
            receipts = self._store([one.job for one in batch])
        except QueueError as refused:  # the store's concerns all; what one of them is refused for, each finds out alone
            error = refused if isinstance(refused, StoreError) else None
        except Exception as broken:
            if len(batch) > 1:
                self._store_each(batch)
                return
            error = broken
        self._answer(batch, receipts, error)

    def _store_each(self, batch: Sequence[_Waiting]) -> None:
        """Whatever is the matter with one of them, it must not keep the others out; what the store cannot do, it does
        for none."""
        for place, one in enumerate(batch):
            self._store_all([one])
            if isinstance(one.error, StoreError):
                rest = batch[place + 1 :]
                self._answer(rest, [None] * len(rest), one.error)
                return

    @staticmethod
    def _answer(batch: Sequence[_Waiting], receipts: Sequence[Receipt | None], error: Exception | None) -> None:
        for one, receipt in zip(batch, receipts, strict=True):
            one.receipt, one.error, one.answered = receipt, error, True

    def _call(self, batch: Sequence[_Waiting]) -> None:
        """Wake whoever has an answer now, or never will have one. Harmless when it is repeated."""
        with self._lock:
            if self._waiting and self._waiting[0] in batch:  # interrupted while they were taken
                self._waiting = [one for one in self._waiting if one not in batch]
            for one in batch:
                if one.called.locked():
                    one.called.release()

    def _hand_on(self, mine: _Waiting) -> None:
        """The lead, if this one has it, goes to whoever has waited longest. Harmless when it is repeated."""
        with self._lock:
            if self._leader is mine:
                self._leader = self._waiting[0] if self._waiting else None
            heir = self._leader
            if heir is not None and heir in self._waiting and heir.called.locked():
                heir.called.release()
