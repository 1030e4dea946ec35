"""The worker's loop: settle what ended, claim what may start, have the keeper run it, wait.

Everything that can wake it (a keeper's message, the bell, a signal, the end of its session, a due
time) only sets `_wake`; all decisions are made in one place, `_turn`.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import anyio

from queue_core import changes
from queue_core.errors import KeeperError, QueueError, StoreBusy, StoreFull
from queue_core.liveness import LifeLock
from queue_core.logs import say_each
from queue_core.sqlite import ballast
from queue_core.worker.claims import Claims
from queue_core.worker.groups import task_group
from queue_core.worker.janitor import Janitor
from queue_core.worker.options import Options, Settled
from queue_core.worker.registration import register
from queue_core.worker.requested import look
from queue_core.worker.rest import POLL, Rest
from queue_core.worker.ringing import Ringer
from queue_core.worker.ruling import Ruling
from queue_core.worker.settling import settle_each
from queue_core.worker.sleep import Awakening
from queue_core.worker.threads import OwnThread, on_thread
from queue_core.worker.waking import Wake, whenever_readable
from queue_core.worker.whole import import_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from queue_core.jobs import Lease, Orphan, Settlement
    from queue_core.model import JobState
    from queue_core.service import Queue
    from queue_core.worker.options import Mode
    from queue_core.worker.requested import Requested

log = logging.getLogger("runq.worker")

MOST_AT_ONCE = 64  # a worker's own cap, where none is given; the queues' limits are what counts
STORE_PAUSE = 0.5  # seconds after the store could not be written to
REFUSED_PAUSE = 5.0  # seconds without claims after the keeper could not start one (a full disk)


class Worker:
    """One worker in one event loop. `run` returns when it has left."""

    def __init__(
        self,
        queue: Queue,
        options: Options | None = None,
        *,
        on_settled: Callable[[Settled], None] = lambda _: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = queue
        self.options = options or Options()
        self.id = os.urandom(8).hex()
        self.mode: Mode = "work"
        self.on_settled = on_settled
        self._on_ready = on_ready
        self._wake = Wake()
        self._jobs = Claims(queue, commands=self.options.commands, wake=self.wake, refused=self._pause_claims)
        self._awakening = Awakening(queue, self._jobs)
        self._store_thread = OwnThread(f"runq-store-{self.id}")
        self._rest = Rest(queue, self.id, self._store_thread)
        self._janitor = Janitor(queue, self._adopt)
        self._ruling = Ruling(queue)
        self._found: Sequence[Orphan] = ()  # what dead workers left, to be taken over
        self._claims_from = 0.0  # monotonic: no claims before
        self._idle_since = time.monotonic()
        self._due: float | None = None  # when the next scheduled job is due
        self._look_around = True  # something was rung for: cancellations, due times
        self._more_is_due = False  # schedules had more than a batch
        self._more_to_claim = False  # the last claim was not through
        self._trouble = ""  # what the store said last, so that it is logged once
        self._bell: changes.Bell | None = None
        self._registered = False
        self._stopped_claiming = False

    # from outside

    def change_mode(self, mode: Mode) -> None:
        """finish: claim nothing more; drain: empty the backlog first; stop: end commands, put jobs back."""
        order: tuple[Mode, ...] = ("work", "drain", "finish", "stop")
        if order.index(mode) > order.index(self.mode):
            log.info("worker %s will %s", self.id, mode)
            self.mode = mode
            self._idle_since = time.monotonic()
            self.wake()

    def wake(self) -> None:
        """Have the loop look again."""
        self._wake.set()

    @property
    def left_behind(self) -> bool:
        """Whether functions go on in threads although this worker has left."""
        return self._jobs.left_behind

    @property
    def running(self) -> int:
        """How many jobs are this worker's now."""
        return len(self._jobs)

    @property
    def _claims(self) -> bool:
        """Whether this worker takes in anything more."""
        return self.mode in ("work", "drain")

    @property
    def _has_nothing(self) -> bool:
        """Whether nothing runs here, and nothing has still to be settled."""
        return not (self.running or self._jobs.waited_for(alone=True))

    # life

    async def run(self) -> None:
        """Register, work, leave. QueueError if it cannot start, or can go on no more."""
        life = LifeLock(self.queue.home, self.id)
        try:
            async with task_group() as tasks:
                await self._come_up(tasks)
                await self._work()
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave(life)

    async def _come_up(self, tasks: TaskGroup) -> None:
        await on_thread(import_whole)
        await self._jobs.open(tasks)
        self._bell = changes.Bell(self.queue.home, "work")
        self._ringer = Ringer(self.queue.home, self._bell)
        tasks.start_soon(self._listen, self._bell)
        await register(self.queue, self.id, self._jobs, booted_by=self.options.booted_by)
        self._registered = True
        self._on_ready()
        await self._janitor.round()
        tasks.start_soon(self._janitor.run)

    async def _leave(self, life: LifeLock) -> None:
        if self._bell:
            self._bell.close()
        await self._settle_what_was_torn_off()
        if self._registered:
            await self._deregister()
        if self._jobs.left_behind:  # functions that do not stop: as long as they run, nobody may run their jobs
            log.warning("worker %s leaves with %d functions still running", self.id, self.running)
            self._jobs.when_gone(life.release)
        else:
            life.release()
        changes.ring(self.queue.home, "work", "watch")
        self._store_thread.close()
        self._janitor.close()
        await self._jobs.dismiss()
        log.info("worker %s left", self.id)

    async def _settle_what_was_torn_off(self) -> None:
        """Functions that ended with the event loop around them: nobody else could tell how."""
        lost = await settle_each(self.queue, self._jobs.take_ended(), self._report)
        if lost:
            log.warning("%d jobs count as lost: how they ended could not be recorded", len(lost))

    async def _deregister(self) -> None:
        try:
            await self._in_store(self.queue.store.deregister, self.id)
        except QueueError as error:
            log.warning("worker %s is still listed: %s", self.id, error)  # its lock tells that it is gone

    # work

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._turn()
                if await self._may_leave():
                    return
                self._trouble = ""
            except (StoreBusy, StoreFull) as error:
                await self._bear(error)
                continue
            if await self._rest.until_woken(self._wake, self._patience, POLL, idle=self._has_nothing):
                self._look_around = True

    async def _bear(self, error: QueueError) -> None:
        """The store will take writes again some time; until then the commands run on and their ends keep."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning("%s; trying until it works", error)
        self._look_around = True
        if isinstance(error, StoreFull):  # whatever it was that had no room: for ends some is kept
            self._jobs.put_back(await settle_each(self.queue, self._jobs.take_ended(), self._report))
        await anyio.sleep(STORE_PAUSE)

    async def _turn(self) -> None:
        """One exchange with the store, then whatever else is asked of this worker: who has rung waits for a claim."""
        if await self._awakening.verify():
            self._look_around = True
        begun = self.queue.clock()
        if self._trouble:  # orders can be read all the same, and the store may let itself be waited for
            await self._follow_requests(begun, fire=False)
            self._look_around = True
        await self._take_and_give()
        due = self._more_is_due or (self._due is not None and self._due <= begun)
        if self._look_around or due or self._jobs.to_look_at or self.mode == "stop":
            await self._follow_requests(begun, fire=self._claims)

    async def _take_and_give(self) -> None:
        if self._claims:
            await self._take_over()
            await self._renew_keeper()
        elif not self._stopped_claiming:
            await self._stop_claiming()
        ended = self._jobs.take_ended()
        want = self._want()
        if ended or want:
            await self._exchange(ended, want)

    def _want(self) -> int:
        room = (self.options.parallelism or MOST_AT_ONCE) - self.running
        return max(0, room) if self._claims and (self._can_run_commands or self._jobs.handlers) else 0

    @property
    def _can_run_commands(self) -> bool:
        return bool(self.options.commands and self._jobs.keeper) and time.monotonic() >= self._claims_from

    async def _renew_keeper(self) -> None:
        """Without a keeper nothing is claimed, but what has ended can be settled."""
        try:
            await self._jobs.renew_keeper()
        except KeeperError as error:
            log.warning("%s", error)
            self._pause_claims()

    def _pause_claims(self) -> None:
        """What is wrong here (a full disk) would be wrong for the next job too."""
        self._claims_from = time.monotonic() + REFUSED_PAUSE

    async def _exchange(self, ended: Sequence[Settlement], want: int) -> None:
        try:
            states, leases = await self._store_thread.do(lambda: self._settle_and_claim(ended, want))
        except Exception as error:
            if isinstance(error, QueueError):
                self._jobs.put_back(ended)
                raise
            log.exception("%d ends could not be recorded together", len(ended))  # a fault of ours, or an odd one
            self._jobs.put_back(await settle_each(self.queue, ended, self._report))
            return
        except BaseException:  # this worker is being torn down
            self._jobs.put_back(ended)
            raise
        self._jobs.start(leases)
        if self._more_to_claim:
            self._more_to_claim = False
            self.wake()
        if ended or leases:
            self._idle_since = time.monotonic()
        if leases and self.queue.settings.limits_starts:
            self._look_around = True  # a queue may have begun to rest: until when?
        self._report_all(list(zip(ended, states, strict=True)))
        if ended:
            # Room that this worker has no use for (its own cap, its last commands) may be another's.
            topics: tuple[changes.Topic, ...] = ("watch",) if len(leases) < want else ("work", "watch")
            self._ringer.ring(*topics)

    def _settle_and_claim(self, ended: Sequence[Settlement], want: int) -> tuple[list[JobState | None], list[Lease]]:
        queue = self.queue
        return queue.store.exchange(
            ended,
            worker=self.id,
            keeper=self._jobs.keeper,
            host=queue.host,
            want=want,
            max_running=queue.settings.max_running,
            now=queue.clock(),
            tokens=lambda: os.urandom(12).hex(),
            chance=queue.chance,
            permanent_exit_codes=queue.settings.permanent_exit_codes,
            may_run=self._ruling.now().at_claim,
            handlers=self._jobs.handlers,
            commands=self._can_run_commands,
            on_more=self._expect_more,
        )

    def _expect_more(self) -> None:
        self._more_to_claim = True

    def _report(self, one: Settlement, state: JobState | None) -> None:
        self._report_all([(one, state)])

    def _report_all(self, settled: Sequence[tuple[Settlement, JobState | None]]) -> None:
        ends = [(one.job, one.claim, one.outcome.kind, state) for one, state in settled if state is not None]
        say_each(log, "job %d claim %d %s: %s", ends)
        for one, state in settled:
            self._jobs.tidy((one.job, one.claim))
            if state is None:
                log.warning("job %d: the lease of claim %d was lost; its result was not recorded", one.job, one.claim)
            self._look_around = self._look_around or state == "scheduled"
            self.on_settled(Settled(job=one.job, outcome=one.outcome.kind, state=state))

    async def _follow_requests(self, begun: float, *, fire: bool) -> None:
        """Queue what schedules have due, cancel what somebody wants cancelled, do what is asked of this worker."""
        self._look_around = False
        found: Requested = await self._in_store(look, self.queue, self.id, begun, fire)
        self._more_is_due, self._due, mine = found.more_is_due, found.due, found.mine
        if self._more_is_due:
            self.wake()
        self._jobs.recall(mine)
        cancelled = [(one.job, one.claim) for one in mine if one.cancel_requested]
        if found.asked:
            self.change_mode(found.asked)
        await self._jobs.look(cancelled)
        self._jobs.end(cancelled, "cancelled")
        if self.mode == "stop":
            self._jobs.end_all("interrupted")
        if found.trouble is not None:
            raise found.trouble

    # what dead workers left

    def _adopt(self, orphans: Sequence[Orphan]) -> None:
        self._found = orphans
        self.wake()

    async def _take_over(self) -> None:
        """Make dead workers' claims this one's: those that no other worker was quicker to take."""
        found, self._found = self._found, ()
        if found and self.options.commands:
            taken = set(await self._in_store(self.queue.store.take_over, found, self.id))
            self._jobs.adopt(one for one in found if (one.job, one.claim) in taken)
            self._look_around = True

    # leaving

    async def _stop_claiming(self) -> None:
        """From here on another worker may be booted beside this one."""
        await self._in_store(self.queue.store.stop_claiming, self.id)
        self._stopped_claiming = True
        changes.ring(self.queue.home, "work", "watch")

    async def _may_leave(self) -> bool:
        if self._wake.is_set() or self._jobs.waited_for(alone=self.mode != "stop"):
            return False
        if not self._claims:
            return True
        idle = time.monotonic() - self._idle_since
        if self.options.until_empty:  # it waits for no backoff, and for no room on the disk
            return (not self.running and ballast.spent(self.queue.home)) or await self._deregister_if_idle()
        if self.mode == "drain":
            return idle >= self.queue.settings.linger and await self._deregister_if_idle()
        if self.options.booted_by is None or idle < self.queue.settings.idle:
            return False
        return await self._deregister_if_idle()

    async def _deregister_if_idle(self) -> bool:
        """Leaves in the very transaction that proves that a claim would bring nothing."""
        what = {"handlers": self._jobs.handlers, "commands": self.options.commands}
        left = await self._in_store(self.queue.store.leave_if_idle, self.id, now=self.queue.clock(), **what)
        self._registered = not left
        return left

    def _patience(self) -> float:
        """Seconds until something is due by itself."""
        waits = [POLL, self._jobs.patience]
        if self._due is not None:
            waits.append(self._due - self.queue.clock())
        for until in (self._claims_from, self._idle_since + self._idle_allowance()):
            if until > time.monotonic():
                waits.append(until - time.monotonic())
        return max(0.001, min(waits))

    def _idle_allowance(self) -> float:
        """Seconds that this worker stays with nothing to do."""
        return self.queue.settings.linger if self.mode == "drain" else self.queue.settings.idle

    # around it

    async def _in_store(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The store blocks; the loop must not."""
        return await self._store_thread.do(lambda: verb(*args, **kwargs))

    async def _listen(self, bell: changes.Bell) -> None:
        def rung() -> bool:
            bell.clear()
            self._look_around = True
            self.wake()
            return True

        await whenever_readable(bell, rung)
