"""The handlers of one worker at work: leases come in, ends go out, as `commands` does it for commands.

Coroutines run on the worker's event loop, plain functions in threads of their own. A coroutine can be
ended; a thread cannot, so a plain function that is to stop is told so and waited for: as long as it
has not returned, its job counts as running, and is run nowhere else. Where even the worker has to go
before that, the worker's proof of life stays, and the function's own thread settles how it ended.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from queue_core import changes
from queue_core.jobs import Outcome, Settlement
from queue_core.outcomes import NEVER_STARTED
from queue_core.worker.calls import Call, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anyio.abc import TaskGroup

    from queue_core.handlers import Reason
    from queue_core.jobs import Lease, Orphan
    from queue_core.keeper.protocol import Claim
    from queue_core.service import Queue

log = logging.getLogger("runq.handlers")


class Handlers:
    """Every claim of this worker's that a function runs. `wake` is called when one has ended."""

    def __init__(self, queue: Queue, ended: list[Settlement], *, wake: Callable[[], None]) -> None:
        self._queue = queue
        self._wake = wake
        self._table = dict(queue.handlers)  # what this worker registers is what it can run
        self._calls: dict[Claim, Call] = {}
        self._ended = ended  # where the ends go
        self._tasks: TaskGroup | None = None
        self._leaving = threading.Lock()
        self._let_go: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def left_behind(self) -> bool:
        """Whether functions go on in threads although this worker has to leave."""
        return bool(self._calls)

    @property
    def names(self) -> tuple[str, ...]:
        """What this worker can run besides commands."""
        return tuple(self._table)

    def open(self, tasks: TaskGroup) -> None:
        """Begin."""
        self._tasks = tasks

    def start(self, leases: Sequence[Lease]) -> None:
        """Run the functions that were claimed."""
        assert self._tasks is not None
        for lease in leases:
            handler = self._table[lease.handler or ""]
            call = Call(self._queue, handler, lease)
            self._calls[lease.job, lease.claim] = call
            log.info("job %d claim %d starts: handler %s", lease.job, lease.claim, handler.name)
            self._tasks.start_soon(self._run, call)

    def end(self, claims: Iterable[Claim], reason: Reason) -> None:
        """Have these stop, if they are here."""
        for claim in claims:
            call = self._calls.get(claim)
            if call is not None:
                call.stop(reason)

    def end_all(self, reason: Reason) -> None:
        """Have all of them stop."""
        self.end(list(self._calls), reason)

    def disown(self, held: Mapping[Claim, str]) -> list[Claim]:
        """Stop the functions whose claims the store does not hold with this token; what they return is refused."""
        lost = [claim for claim, call in self._calls.items() if held.get(claim) != call.lease.token]
        self.end(lost, "interrupted")
        return lost

    def recall(self, mine: Iterable[Orphan]) -> None:
        """What the store holds for this worker's and was never begun here: the answer that gave it was lost."""
        for one in mine:
            if (one.job, one.claim) not in self._calls:
                self._over(one.job, one.claim, one.token, NEVER_STARTED)

    async def _run(self, call: Call) -> None:
        try:
            outcome = await call.run()
        except Exception as error:
            log.exception("job %d: its handler's end could not be noted", call.lease.job)
            outcome = Outcome(kind="exited", exit_code=1, error=in_words(error), started_at=call.started_at)
        except BaseException:  # this worker is being torn down, by whoever runs its event loop
            if call.runs_on:  # nobody may say that it has ended
                call.when_returned(self._settle_late)
            else:
                self._finish(call, Outcome(kind="interrupted", started_at=call.started_at))
            raise
        self._finish(call, outcome)

    def when_gone(self, let_go: Callable[[], None]) -> None:
        """Call this when the last function that was left behind has returned."""
        with self._leaving:
            self._let_go = let_go
            gone = not self._calls
        if gone:
            let_go()

    def _settle_late(self, call: Call, outcome: Outcome) -> None:
        """In the thread of a function that this worker had to leave behind: it has returned now."""
        queue, lease = self._queue, call.lease
        log.info("job %d claim %d %s after its worker had left", lease.job, lease.claim, outcome.kind)
        one = Settlement(job=lease.job, claim=lease.claim, token=lease.token, outcome=outcome)
        try:
            queue.store.settle([one], now=queue.clock(), chance=queue.chance)
            changes.ring(queue.home, "work", "watch")
        except Exception:
            log.exception("job %d: how it ended could not be recorded", lease.job)
        with self._leaving:
            del self._calls[lease.job, lease.claim]
            let_go = self._let_go if not self._calls else None
        if let_go is not None:
            let_go()

    def _finish(self, call: Call, outcome: Outcome) -> None:
        lease = call.lease
        del self._calls[lease.job, lease.claim]
        self._over(lease.job, lease.claim, lease.token, outcome)

    def _over(self, job: int, claim: int, token: str, outcome: Outcome) -> None:
        self._ended.append(Settlement(job=job, claim=claim, token=token, outcome=outcome))
        self._wake()
