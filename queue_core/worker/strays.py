"""A worker's claims whose keeper it is not connected to: taken over from a dead worker, or cut off.

Each is looked at until its fate is certain: a complete record is settled, a living keeper is asked,
a command that lives on alone is waited for (nothing else runs for that job until it has ended).
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from queue_core import recovery
from queue_core.errors import KeeperError
from queue_core.keeper import protocol, verdict
from queue_core.stopping import end_alone
from queue_core.worker.link import KeeperLink
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from anyio.abc import TaskGroup

    from queue_core.jobs import Outcome
    from queue_core.keeper.protocol import Claim
    from queue_core.keeper.records import Record
    from queue_core.service import Queue
    from queue_core.worker.sealing import Sealer

    End = Callable[[Claim, Outcome], None]

log = logging.getLogger("runq.worker")

LOOK_AGAIN = 0.25  # seconds between looks at a command that lives on alone
ENDED_AT_ONCE = 8  # commands; the threads of a worker are for its store in the first place


class Strays:
    """The strays of one worker, and the links to keepers that were found for some of them."""

    def __init__(self, queue: Queue, leases: Mapping[Claim, str], sealer: Sealer) -> None:
        self._queue = queue
        self._sealer = sealer
        self._leases = leases  # the worker's, with their tokens
        self._keepers: dict[Claim, str] = {}
        self._promised: dict[Claim, str] = {}  # their keeper has promised never to start these
        self._complained: set[Claim] = set()  # of these, that they cannot be looked at
        self._ending: set[Claim] = set()  # alone, and being ended by hand
        self.links: list[KeeperLink] = []
        self.alone: set[Claim] = set()

    def begin(self, tasks: TaskGroup, attend: Callable[[KeeperLink], Any]) -> None:
        """Where to work, and who hears the keepers that are found."""
        self._tasks = tasks
        self._attend = attend
        self._limiter = anyio.CapacityLimiter(ENDED_AT_ONCE)

    def add(self, claims: Collection[Claim], keeper: str) -> None:
        """Claims of one keeper, to be looked at."""
        self._keepers.update(dict.fromkeys(claims, keeper))

    def add_promised(self, claims: Collection[Claim], keeper: str) -> None:
        """Claims that their keeper knows nothing of: unless record or notes say otherwise, they never started."""
        self._promised.update(dict.fromkeys(claims, keeper))

    @property
    def any(self) -> bool:
        """Whether there is something to look at."""
        return bool(self._keepers or self._promised)

    def patience(self) -> float:
        """Seconds until the next look is due."""
        return LOOK_AGAIN if self.any else math.inf

    async def look(self, end: End, cancelled: Collection[Claim]) -> None:
        """Look at every stray once; `end` takes those whose fate is certain."""
        self.links = [link for link in self.links if link.open]
        for claim, keeper in list(self._promised.items()):
            await self._look_at_promised(claim, keeper, end)
        to_ask: dict[str, list[Claim]] = {}
        for claim, keeper in list(self._keepers.items()):
            what = await self._look_at(claim, keeper, end)
            if what == verdict.ASK_KEEPER:
                to_ask.setdefault(keeper, []).append(claim)
            elif what == verdict.ALONE and claim in cancelled:
                self._begin_end(claim, keeper)
        for keeper, claims in to_ask.items():
            await self._ask(keeper, claims)

    async def _look_at(self, claim: Claim, keeper: str, end: End) -> str | None:
        run_dir = self._queue.home.run(*claim)
        try:
            folder, token = self._queue.home.keeper(keeper), self._leases.get(claim)
            what, record = await on_thread(verdict.look, run_dir, folder, token)
        except OSError as error:
            self._complain(claim, error)
            return None
        if what in recovery.SETTLED_BY:
            self._settle(claim, what, record, end)
        elif what == verdict.ALONE:
            self.alone.add(claim)
        return what

    async def _look_at_promised(self, claim: Claim, keeper: str, end: End) -> None:
        home = self._queue.home
        try:
            what, record = await on_thread(verdict.look_at_promised, home.run(*claim), home.keeper(keeper))
        except OSError as error:
            self._complain(claim, error)
            return
        del self._promised[claim]
        self._settle(claim, what, record, end)

    def _complain(self, claim: Claim, error: OSError) -> None:
        """Once: the next look is due in a moment."""
        if claim not in self._complained:
            self._complained.add(claim)
            log.warning("job %d claim %d cannot be looked at: %s; trying until it can", *claim, error)

    def _settle(self, claim: Claim, what: str, record: Record | None, end: End) -> None:
        """It is over: nothing more is to be looked at, but its output is to be sealed, if there can be any."""
        now = self._queue.clock()

        def settle(tail: bytes) -> None:
            outcome = recovery.outcome_of(what, record, now, tail=tail)
            log.info("job %d claim %d, left behind: %s", *claim, outcome.kind)
            end(claim, outcome)

        self._keepers.pop(claim, None)
        self._complained.discard(claim)
        self.alone.discard(claim)
        if what == verdict.NEVER_STARTED:
            settle(b"")
        else:
            self._sealer.seal(claim, settle)

    async def _ask(self, keeper: str, claims: list[Claim]) -> None:
        """Connect to a living keeper and watch; one that cannot be reached is asked again later."""
        try:
            connection = await on_thread(protocol.connect, self._queue.home.keeper(keeper), 1.0)
        except KeeperError:
            return
        link = await KeeperLink.over(keeper, connection)
        for claim in claims:
            self._keepers.pop(claim, None)
        self.links.append(link)
        link.watch(claims)
        self._attend(link)
        log.info("adopted %d commands of keeper %s", len(claims), keeper)

    def _begin_end(self, claim: Claim, keeper: str) -> None:
        if claim not in self._ending:
            self._ending.add(claim)
            self._tasks.start_soon(self._end_alone, claim, keeper)

    async def _end_alone(self, claim: Claim, keeper: str) -> None:
        """TERM, grace, KILL by hand take seconds, in which the worker has other things to do."""
        token = self._leases.get(claim)
        try:
            await anyio.to_thread.run_sync(end_alone, self._queue, claim, keeper, token, limiter=self._limiter)
        except OSError as error:
            log.warning("job %d claim %d could not be ended: %s", *claim, error)
        finally:
            self._ending.discard(claim)
