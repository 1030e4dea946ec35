"""A worker's claims whose keeper it is not connected to: taken over from a dead worker, or cut off.

Each is looked at until its fate is certain: a complete record is settled, a living keeper is asked,
a command that lives on alone is waited for (nothing else runs for that job until it has ended).
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio.to_thread

from queue_core import recovery
from queue_core.errors import KeeperError
from queue_core.keeper import protocol, verdict
from queue_core.worker.link import KeeperLink

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from queue_core.keeper.protocol import Claim
    from queue_core.keeper.records import Record
    from queue_core.model import Outcome
    from queue_core.service import Queue

log = logging.getLogger("runq.worker")

LOOK_AGAIN = 0.25  # seconds between looks at a command that lives on alone


class Strays:
    """The strays of one worker, and the links to keepers that were found for some of them."""

    def __init__(self, queue: Queue, attend: Callable[[KeeperLink], Any]) -> None:
        self._queue = queue
        self._attend = attend
        self._keepers: dict[Claim, str] = {}
        self._promised: set[Claim] = set()  # a keeper has promised never to start these
        self.links: list[KeeperLink] = []
        self.alone: set[Claim] = set()

    def add(self, claims: Mapping[Claim, str]) -> None:
        """Claims and their keepers' ids, to be looked at."""
        self._keepers.update(claims)

    def add_promised(self, claims: Collection[Claim]) -> None:
        """Claims that their keeper knows nothing of: unless a record says otherwise, they never started."""
        self._promised.update(claims)

    @property
    def any(self) -> bool:
        """Whether there is something to look at."""
        return bool(self._keepers or self._promised)

    def patience(self) -> float:
        """Seconds until the next look is due."""
        return LOOK_AGAIN if self.any else math.inf

    async def look(self, end: Callable[[Claim, Outcome], None], cancelled: Collection[Claim]) -> None:
        """Look at every stray once; `end` takes those whose fate is certain."""
        self.links = [link for link in self.links if link.open]
        for claim in list(self._promised):
            self._promised.discard(claim)
            await self._look_at_promised(claim, end)
        to_ask: dict[str, list[Claim]] = {}
        for claim, keeper in list(self._keepers.items()):
            what = await self._look_at(claim, keeper, end)
            if what == verdict.ASK_KEEPER:
                to_ask.setdefault(keeper, []).append(claim)
            elif what == verdict.ALONE and claim in cancelled:
                await self._end_alone(claim, keeper)
        for keeper, claims in to_ask.items():
            await self._ask(keeper, claims)

    async def _look_at(self, claim: Claim, keeper: str, end: Callable[[Claim, Outcome], None]) -> str:
        run_dir = self._queue.home.run(*claim)
        what, record = await anyio.to_thread.run_sync(verdict.look, run_dir, self._queue.home.keeper(keeper))
        outcome = recovery.outcome_of(what, record, run_dir, self._queue.clock())
        if outcome is not None:
            self._settle(claim, outcome, end)
        elif what == verdict.ALONE:
            self.alone.add(claim)
        return what

    async def _look_at_promised(self, claim: Claim, end: Callable[[Claim, Outcome], None]) -> None:
        from queue_core.keeper import records

        run_dir = self._queue.home.run(*claim)
        record: Record | None = await anyio.to_thread.run_sync(records.read, run_dir)
        what = verdict.SETTLE if record and record.end else verdict.NEVER_STARTED
        outcome = recovery.outcome_of(what, record, run_dir, self._queue.clock())
        if outcome is not None:
            self._settle(claim, outcome, end)

    def _settle(self, claim: Claim, outcome: Outcome, end: Callable[[Claim, Outcome], None]) -> None:
        log.info("job %d claim %d, left behind: %s", *claim, outcome.kind)
        self._keepers.pop(claim, None)
        self.alone.discard(claim)
        end(claim, outcome)

    async def _ask(self, keeper: str, claims: list[Claim]) -> None:
        """Connect to a living keeper and watch; one that is stopped is asked again later."""
        try:
            connection = await anyio.to_thread.run_sync(protocol.connect, self._queue.home.keeper(keeper), 1.0)
        except KeeperError:
            return
        link = await KeeperLink.over(keeper, connection)
        for claim in claims:
            del self._keepers[claim]
        self.links.append(link)
        self._attend(link)
        await link.watch(claims)
        log.info("adopted %d commands of keeper %s", len(claims), keeper)

    async def _end_alone(self, claim: Claim, keeper: str) -> None:
        from queue_core.stopping import end_alone

        await anyio.to_thread.run_sync(end_alone, self._queue, claim, keeper)

    async def close(self) -> None:
        """Let the keepers go."""
        for link in self.links:
            await link.close()
