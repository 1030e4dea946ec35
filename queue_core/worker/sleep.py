"""Noticing that the machine has slept: whatever a worker believed before may be false now.

Two clocks tell it: one that stands still while the machine sleeps and one that does not. Neither is the wall
clock, which anybody may set.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.service import Queue
    from queue_core.worker.claims import Claims

log = logging.getLogger("runq.worker")

SHORTEST = 2.0  # seconds of sleep that count


def boottime() -> float:
    """Seconds since the machine started, those that it slept included; as `time.monotonic` where nobody tells."""
    # macOS: its CLOCK_MONOTONIC goes on in sleep, and Python's `time.monotonic` is another one.
    clock = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    return time.clock_gettime(getattr(time, clock)) if hasattr(time, clock) else time.monotonic()


class Watch:
    """Looks for sleep between two looks; both time sources are arguments."""

    def __init__(self, awake: Callable[[], float] | None = None, always: Callable[[], float] | None = None) -> None:
        self._awake = awake or time.monotonic
        self._always = always or boottime
        self._slept_until_now = self._slept()

    def _slept(self) -> float:
        return self._always() - self._awake()

    def slept(self) -> float:
        """Seconds that the machine has slept since `woken` was last called; 0 if it hardly has."""
        seconds = self._slept() - self._slept_until_now
        return seconds if seconds > SHORTEST else 0.0

    def woken(self) -> None:
        """What had to be done after the sleep is done."""
        self._slept_until_now = self._slept()


class Awakening:
    """What a worker does first when it wakes: ask the store which claims are still its own, and end the others."""

    def __init__(self, queue: Queue, jobs: Claims, watch: Watch | None = None) -> None:
        self._queue = queue
        self._jobs = jobs
        self._watch = watch or Watch()

    async def verify(self) -> bool:
        """To be done before anything is settled or claimed; whether the machine had slept.

        QueueError if the store cannot tell: then it is still to be done.
        """
        seconds = self._watch.slept()
        if not seconds:
            return False
        running = await on_thread(self._queue.store.running)
        lost = self._jobs.disown({(one.job, one.claim): one.token for one in running})
        log.info(
            "the machine slept for %.0f s; %d claims are still this worker's", seconds, len(self._jobs) - len(lost)
        )
        for job, claim in lost:
            log.warning("job %d: claim %d is not this worker's any more; its command is ended", job, claim)
        self._watch.woken()
        return True
