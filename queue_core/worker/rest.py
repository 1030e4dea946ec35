"""Rest: a worker with nothing to do looks at nothing that cannot have changed.

Behind the bell it looks around every few seconds, in case a ring was lost. What that look could find stands in the
database, in three files and in the clock; whether any of these has changed takes a quarter of the look itself.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from queue_core.errors import QueueError
from queue_core.liveness import asked_to_leave
from queue_core.sqlite import ballast

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.service import Queue
    from queue_core.worker.threads import OwnThread
    from queue_core.worker.waking import Wake

POLL = 5.0  # seconds: behind the bell, for what nobody rang for
LONGEST = 12  # looks in a row of which but one is left out, whatever this module may have overlooked
JUMP = 1.0  # seconds by which the clock was set, or the machine slept


class Rest:
    """What a worker waits for between two turns."""

    def __init__(self, queue: Queue, worker: str, thread: OwnThread) -> None:
        self._queue, self._worker, self._thread = queue, worker, thread
        self._found: object = None  # by the latest look
        self._offset = 0.0  # of the clock, seen from the one that nobody sets
        self._left_out = 0

    async def until_woken(self, wake: Wake, patience: Callable[[], float], poll: float, *, idle: bool) -> bool:
        """Wait until somebody wakes this worker, or time is up; then, whether it has to look around.

        `patience` is in seconds; as much as `poll` means that nothing is due. An `idle` worker sleeps on for as long as
        all is as it was before its last look.
        """
        while not await wake.wait(seconds := patience()):
            if seconds < poll or not idle or await self._thread.do(self._has_changed):
                return True
        return False

    def _has_changed(self) -> bool:
        """Asked before a look, so that nothing falls between the two."""
        before, self._found = self._found, self._standing()
        earlier, self._offset = self._offset, self._queue.clock() - time.monotonic()
        self._left_out += 1
        if before == self._found is not None and abs(self._offset - earlier) < JUMP and self._left_out < LONGEST:
            return False
        self._left_out = 0
        return True

    def _standing(self) -> object:
        home = self._queue.home
        try:
            version = self._queue.store.version()
            return version, ballast.spent(home), os.path.exists(home.damaged), asked_to_leave(home, self._worker)
        except (QueueError, OSError):  # whoever looks will be told
            return None
