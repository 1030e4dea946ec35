"""Everything that is claimed by one worker, commands and functions alike, from the lease to its end.

Where the two differ is in `commands` (a keeper runs them, and they outlive this process) and in
`handlers` (they run in this process). The loop that claims and settles need not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from queue_core.worker.commands import Commands
from queue_core.worker.handlers import Handlers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from queue_core.handlers import Reason
    from queue_core.jobs import Lease, Orphan, Settlement
    from queue_core.keeper.protocol import Claim
    from queue_core.service import Queue


class Claims:
    """The claims of one worker. `wake` is called when one has ended, `refused` when none can be started."""

    def __init__(self, queue: Queue, *, commands: bool, wake: Callable[[], None], refused: Callable[[], None]) -> None:
        self._runs_commands = commands
        self._ended: list[Settlement] = []
        self._commands = Commands(queue, self._ended, wake=wake, refused=refused)
        self._handlers = Handlers(queue, self._ended, wake=wake)

    async def open(self, tasks: TaskGroup) -> None:
        """Begin; with a keeper, if there are to be commands. KeeperError if it does not start."""
        self._commands.open(tasks)
        self._handlers.open(tasks)
        await self.renew_keeper()

    # what the loop wants to know

    def __len__(self) -> int:
        return len(self._commands) + len(self._handlers)

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of the handlers that this worker has."""
        return self._handlers.names

    @property
    def left_behind(self) -> bool:
        """Whether functions go on in threads although this worker has to leave."""
        return self._handlers.left_behind

    def when_gone(self, let_go: Callable[[], None]) -> None:
        """Call this when the last function that was left behind has returned."""
        self._handlers.when_gone(let_go)

    @property
    def keeper(self) -> str:
        """The id of the keeper that new commands are for; empty if there is none."""
        return self._commands.keeper

    @property
    def to_look_at(self) -> bool:
        """Whether there are claims whose fate nobody will tell by himself."""
        return self._commands.to_look_at

    @property
    def patience(self) -> float:
        """Seconds until the next look is due."""
        return self._commands.patience

    def waited_for(self, *, alone: bool) -> bool:
        """Whether anything has still to end or to be settled; `alone`: what has no keeper any more counts too."""
        return bool(self._ended or len(self._handlers) or self._commands.waited_for(alone=alone))

    def take_ended(self) -> list[Settlement]:
        """What has ended since it was last asked: the caller's to settle."""
        ended = list(self._ended)
        self._ended.clear()
        return ended

    def put_back(self, ended: Sequence[Settlement]) -> None:
        """They could not be settled: they stand at the front again."""
        self._ended[:0] = ended

    # what comes in, what goes out

    async def renew_keeper(self) -> None:
        """Start a keeper unless there is one, or none is wanted. KeeperError if it does not start."""
        if self._runs_commands:
            await self._commands.renew_keeper()

    async def dismiss(self) -> None:
        """Wait for keepers that have nothing to do, and leave nothing of them behind."""
        await self._commands.dismiss()

    def start(self, leases: Sequence[Lease]) -> None:
        """Run what was claimed."""
        self._commands.start([lease for lease in leases if lease.handler is None])
        self._handlers.start([lease for lease in leases if lease.handler is not None])

    def tidy(self, claim: Claim) -> None:
        """Remove what was only there for a command to read: it is settled."""
        self._commands.tidy(claim)

    def adopt(self, orphans: Iterable[Orphan]) -> None:
        """These commands are this worker's now, whatever has become of them."""
        self._commands.adopt(orphans)

    def recall(self, mine: Sequence[Orphan]) -> None:
        """What the store holds for this worker's: claims that are missing here came with an answer that was lost."""
        ended = {(one.job, one.claim) for one in self._ended}
        missing = [one for one in mine if (one.job, one.claim) not in ended]
        self._commands.recall(one for one in missing if not one.handler)
        self._handlers.recall(one for one in missing if one.handler)

    def disown(self, held: Mapping[Claim, str]) -> list[Claim]:
        """Let go of every claim that the store does not hold with this token, and begin its end; which ones."""
        return self._commands.disown(held) + self._handlers.disown(held)

    async def look(self, cancelled: Collection[Claim]) -> None:
        """Look once at every claim that nobody will tell of; end those of them that are to be cancelled."""
        await self._commands.look(cancelled)

    def end(self, claims: Collection[Claim], reason: Reason) -> None:
        """Begin the end of these."""
        self._commands.end(claims, reason)
        self._handlers.end(claims, reason)

    def end_all(self, reason: Reason) -> None:
        """Begin the end of everything."""
        self._commands.end_all(reason)
        self._handlers.end_all(reason)
