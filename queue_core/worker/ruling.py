"""The user's rules as a worker applies them: as they stand at each exchange, and read only where they are asked.

Rules are for agents' jobs. Where the last exchange came upon one, they are read before the next one begins, so that
nobody waits for a file to be read under the store's lock; where it did not, when the first of them is met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queue_core.judge import Judge

if TYPE_CHECKING:
    from queue_core.jobs import Job
    from queue_core.service import Queue


class Ruling:
    """Makes a judge for each exchange."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._latest: _AsAsked | None = None

    def now(self) -> _AsAsked:
        """The rules as they stand now, or when they are first asked during this exchange."""
        expected = self._latest is not None and self._latest.was_asked
        self._latest = _AsAsked(self._queue)
        if expected:
            self._latest.read()
        return self._latest


class _AsAsked:
    """One exchange's judge."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._judge: Judge | None = None
        self.was_asked = False

    def read(self) -> Judge:
        """Read the rules, once."""
        if self._judge is None:
            self._judge = Judge(self._queue.home, self._queue.settings)
        return self._judge

    def at_claim(self, it: Job) -> str | None:
        """Why an agent's job may not run now, or None (`Judge.at_claim`)."""
        self.was_asked = True
        return self.read().at_claim(it)
