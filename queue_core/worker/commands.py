"""The commands of one worker: leases come in, ends go out.

Most run under the worker's own keeper; some were taken over and run under a dead worker's, or alone.
Nothing here waits for a command, and nothing decides what is claimed: that is the loop's.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from queue_core import outcomes
from queue_core.environment import Environments
from queue_core.errors import QueueError
from queue_core.jobs import Outcome, Settlement
from queue_core.keeper import boot as keeper_boot
from queue_core.keeper import records
from queue_core.logs import say_each
from queue_core.worker.link import KeeperLink
from queue_core.worker.requests import spawn_request
from queue_core.worker.sealing import Sealer
from queue_core.worker.strays import Strays
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from queue_core.jobs import Lease, Orphan
    from queue_core.keeper.protocol import Claim, Message
    from queue_core.service import Queue

log = logging.getLogger("runq.worker")

FAREWELL = 2.0  # seconds that a leaving worker waits for a keeper with nothing to do


class Commands:
    """Every claim that is this worker's, from its lease to its end. `wake` is called when one has ended."""

    def __init__(
        self, queue: Queue, ended: list[Settlement], *, wake: Callable[[], None], refused: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._environments = Environments(queue.environ, queue.settings.pass_env)
        self._wake = wake
        self._refused = refused  # called when a command could not be started through no fault of its own
        self._leases: dict[Claim, str] = {}  # with their lease tokens
        self._without_input: set[Claim] = set()  # of those that were started here: nothing lies on disk for them
        self._disowned: set[Claim] = set()  # of those: not this worker's any more, and being ended
        self._ended = ended  # where the ends go
        self._sealer = Sealer(queue)
        self._strays = Strays(queue, self._leases, self._sealer)
        self._own: KeeperLink | None = None
        self._keepers: dict[int, str] = {}  # the folders of the keepers that this process started, by pid

    # what the loop wants to know

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def keeper(self) -> str:
        """The id of the keeper that new claims are for; empty if there is none."""
        return self._own.keeper if self._own and self._own.open else ""

    @property
    def to_look_at(self) -> bool:
        """Whether there are claims whose fate nobody will tell by himself."""
        return self._strays.any

    @property
    def patience(self) -> float:
        """Seconds until the next look is due."""
        return self._strays.patience()

    def waited_for(self, *, alone: bool) -> bool:
        """Whether anything has still to end; `alone`: what has no keeper any more counts too."""
        return bool(self._leases.keys() - (set[Any]() if alone else self._strays.alone))

    # keepers

    def open(self, tasks: TaskGroup) -> None:
        """Begin. A keeper there is once `renew_keeper` was called."""
        self._tasks = tasks
        self._sealer.open(tasks)
        self._strays.begin(tasks, self._attend_to)

    async def renew_keeper(self) -> None:
        """Start a keeper unless there is one. KeeperError if it does not start."""
        if self.keeper:
            return
        if self._own is not None:
            log.warning("the keeper %s is gone; starting another", self._own.keeper)
        keeper = os.urandom(6).hex()
        folder = self._queue.home.keeper(keeper)
        started = await on_thread(keeper_boot.start, folder)
        self._keepers[started.pid] = folder
        self._own = await KeeperLink.over(keeper, started.socket)
        self._attend_to(self._own)
        self._reap()

    def _reap(self) -> None:
        """Take the exit statuses of keepers that have left."""
        for pid in list(self._keepers):
            if _has_exited(pid):
                del self._keepers[pid]

    async def dismiss(self) -> None:
        """The links are closed: wait for keepers that have nothing to do, and leave nothing of them behind."""
        for pid, folder in self._keepers.items():
            if self._leases:
                _has_exited(pid)
                continue
            if await on_thread(_exits_within, pid, FAREWELL):
                shutil.rmtree(folder, ignore_errors=True)

    def _attend_to(self, link: KeeperLink) -> None:
        self._tasks.start_soon(self._attend, link)

    async def _attend(self, link: KeeperLink) -> None:
        """Hear one keeper out; when it is gone, its claims are strays."""
        await link.serve(self._heard)
        self._cut_off(link)

    def _cut_off(self, link: KeeperLink) -> None:
        claims = [claim for claim in link.claims if claim in self._leases]
        link.claims.clear()
        self._strays.add(claims, link.keeper)
        self._wake()

    # claims come in

    def start(self, leases: Sequence[Lease]) -> None:
        """Have the keeper start what was claimed."""
        requests: list[dict[str, Any]] = []
        for lease in leases:
            self._leases[lease.job, lease.claim] = lease.token
            self._sealer.expect((lease.job, lease.claim), lease.env)
            if lease.stdin is None:
                self._without_input.add((lease.job, lease.claim))
            try:
                requests.append(spawn_request(lease, self._queue.home, self._queue.settings, self._environments))
            except records.InTheWay as error:  # the job's own trouble, which no other job has to wait for
                why = Outcome(kind="spawn_failed", error=records.in_the_way(error), finished_at=self._queue.clock())
                self._end((lease.job, lease.claim), why)
            except (OSError, QueueError) as error:
                self._not_started((lease.job, lease.claim), str(error))
        link = self._own
        if requests and link:
            link.spawn(requests)
            if not link.open:  # it left while these were claimed, and nobody listens to it any more
                self._cut_off(link)
        # A command is not to wait for the log.
        say_each(log, "job %d claim %d starts: %s", [(lease.job, lease.claim, lease.program) for lease in leases])

    def tidy(self, claim: Claim) -> None:
        """A claim is settled: remove the file of its input, if it can have one."""
        if claim in self._without_input:
            self._without_input.discard(claim)
        else:
            self._queue.home.remove_input(*claim)

    def adopt(self, orphans: Iterable[Orphan]) -> None:
        """These are this worker's now, whatever has become of them."""
        for one in orphans:
            self._leases[one.job, one.claim] = one.token
            self._strays.add([(one.job, one.claim)], one.keeper)

    def recall(self, mine: Iterable[Orphan]) -> None:
        """What the store holds for this worker's: claims that are missing here came with an answer that was lost."""
        self.adopt(one for one in mine if (one.job, one.claim) not in self._leases)

    def disown(self, held: Mapping[Claim, str]) -> list[Claim]:
        """End what the store does not hold with this token; nobody is told how it ends."""
        lost = [claim for claim, token in self._leases.items() if held.get(claim) != token]
        self._disowned.update(lost)
        self.end(lost, "interrupted")
        return lost

    # ends

    async def look(self, cancelled: Collection[Claim]) -> None:
        """Look once at every claim that no keeper will tell of; end those of them that are to be cancelled."""
        await self._strays.look(self._end, {*cancelled, *self._disowned})
        self.end(self._disowned, "interrupted")  # under the keepers that were found just now

    def end(self, claims: Iterable[Claim], reason: str) -> None:
        """Begin the end of these, where a keeper can be asked for it."""
        wanted = set(claims)
        for link in (self._own, *self._strays.links):
            if link is not None:
                for claim in wanted & link.claims:
                    link.end(claim, reason)

    def end_all(self, reason: str) -> None:
        """Begin the end of everything that a keeper can be asked for."""
        self.end(self._leases, reason)

    def _heard(self, link: KeeperLink, message: Message) -> None:
        op = message["op"]
        if op == "watching":
            unknown = {(job, claim) for job, claim in message["unknown"]}
            link.claims -= unknown
            self._strays.add_promised(unknown & self._leases.keys(), link.keeper)
        elif op in ("ended", "refused"):
            self._over(link, (message["job"], message["claim"]), message)
        elif op == "error":
            log.error("keeper %s: %s", link.keeper, message["error"])
        else:
            return
        if link is not self._own and not link.claims:
            link.let_go()  # a dead worker's keeper has nothing else to live for
        self._wake()

    def _over(self, link: KeeperLink, claim: Claim, message: Message) -> None:
        if claim not in link.claims:
            return
        link.over_with(claim)
        if message["op"] == "refused":
            self._not_started(claim, message["error"])
            return
        end = records.end_of(message["end"])
        if end.status is None:  # it never ran: what lies there is not its output
            self._end(claim, outcomes.of_end(end, started_at=None, tail=b""))
            return
        self._sealer.seal(claim, lambda tail: self._end(claim, outcomes.of_end(end, started_at=None, tail=tail)))

    def _not_started(self, claim: Claim, why: str) -> None:
        """Put it back: what is wrong here is not the job."""
        log.warning("job %d was not started: %s", claim[0], why)
        self._end(claim, outcomes.NEVER_STARTED)
        self._refused()

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        token = self._leases.pop(claim, None)
        self._sealer.forget(claim)
        if claim in self._disowned:
            self._disowned.discard(claim)
            self._without_input.discard(claim)  # it is settled by somebody else
        elif token is not None:
            self._ended.append(Settlement(job=claim[0], claim=claim[1], token=token, outcome=outcome))
            self._wake()


def _exits_within(pid: int, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while not (exited := _has_exited(pid)) and time.monotonic() < give_up:
        time.sleep(0.005)
    return exited


def _has_exited(pid: int) -> bool:
    """Whether this child is gone (its exit status is taken); one that lives on outlives this process."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody else reaps this process's children
        return True
