"""Waiting until jobs have ended: look, sleep until something rings, look again."""

from __future__ import annotations

import select
import time

from queue_core.changes import Bell
from queue_core.errors import UnknownJob
from queue_core.jobs import Filter
from queue_core.model import ENDED, LIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from queue_core.service import Queue
    from queue_core.views import View

POLL = 1.0  # seconds: behind the bell
CHUNK = 10_000  # ids in one question to the store
GONE = "gone"  # the state of a job that was pruned while it was waited for


def wait_for(queue: Queue, ids: Sequence[int], timeout: float | None) -> dict[int, str]:
    """Wait until these jobs (none named: all that wait or run now) have ended; how they stand then. UnknownJob."""
    check_known(queue, ids)
    waited = Waited(queue, ids or queue.ids(Filter(states=LIVE)))
    wait(queue, waited, timeout, lambda _: None)
    return waited.states


def check_known(queue: Queue, ids: Sequence[int]) -> None:
    """UnknownJob for the first of these that is none."""
    for begin in range(0, len(ids), CHUNK):
        asked = ids[begin : begin + CHUNK]
        known = queue.states_of(asked)
        unknown = [one for one in asked if one not in known]
        if unknown:
            raise UnknownJob(unknown[0])


class Waited:
    """The jobs that are waited for, and what became of them."""

    def __init__(self, queue: Queue, ids: Sequence[int]) -> None:
        self._queue = queue
        self.ids = ids
        self.pending = list(ids)
        self.states: dict[int, str] = {}  # at the last look; of a job that was handed over, its successors'

    def look(self) -> Iterator[int]:
        """The jobs that have ended since the last look."""
        for begin in range(0, len(self.pending), CHUNK):
            asked = self.pending[begin : begin + CHUNK]
            found = self._queue.standings(asked)
            self.states.update({one: found.get(one, GONE) for one in asked})
        yield from (one for one in self.pending if self._has_ended(one))
        self.pending = [one for one in self.pending if not self._has_ended(one)]

    def _has_ended(self, one: int) -> bool:
        return self.states[one] in (*ENDED, GONE)

    @property
    def all_succeeded(self) -> bool:
        return all(state == "succeeded" for state in self.states.values())

    def view(self, one: int) -> View:
        """A job as a line of a list; of one that is gone only its id."""
        try:
            return self._queue.job_view(one)
        except UnknownJob:
            return {"id": one, "state": GONE, "outcome": None, "exit_code": None, "signal": None}

    def views(self) -> list[View]:
        """All that were waited for, in the order they were asked for."""
        return [self.view(one) for one in self.ids]


def wait(queue: Queue, waited: Waited, timeout: float | None, show: Callable[[View], None]) -> bool:
    """Look, show, sleep until something rings; False when the time is over."""
    give_up = None if timeout is None else time.monotonic() + timeout
    bell = Bell(queue.home, "watch")
    poll = select.poll()  # `select.select` knows no descriptor above 1023
    poll.register(bell, select.POLLIN)
    recover_at = 0.0
    try:
        while True:
            bell.clear()
            if time.monotonic() >= recover_at:
                queue.settle_leftovers()
                recover_at = time.monotonic() + POLL
            for ended in waited.look():
                show(waited.view(ended))
            left = POLL if give_up is None else min(POLL, give_up - time.monotonic())
            if not waited.pending:
                return True
            if left <= 0:
                return False
            poll.poll(left * 1000)
    finally:
        bell.close()
