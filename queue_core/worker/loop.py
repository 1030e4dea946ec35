"""The worker's loop: settle what ended, claim what may start, have the keeper run it, wait.

Everything that can wake it (a keeper's message, the bell, a signal, the end of its session, a due
time) only sets `_wake`; all decisions are made in one place, `_turn`.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.to_thread

from queue_core import changes, outcomes
from queue_core.errors import QueueError, StoreTooNew
from queue_core.judge import Judge
from queue_core.keeper import boot as keeper_boot
from queue_core.keeper import records
from queue_core.liveness import LifeLock
from queue_core.model import Settlement
from queue_core.value import Frozen
from queue_core.version import VERSION
from queue_core.worker.janitor import Janitor
from queue_core.worker.link import KeeperLink
from queue_core.worker.requests import spawn_request, stdin_file
from queue_core.worker.strays import Strays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.keeper.protocol import Claim, Message
    from queue_core.model import JobState, Lease, Orphan, Outcome
    from queue_core.service import Queue

    Mode = Literal["work", "finish", "drain", "stop"]

log = logging.getLogger("runq.worker")

POLL = 5.0  # seconds: behind the bell, for what nobody rang for
MOST_AT_ONCE = 64  # a worker's own cap, where none is given; the queues' limits are what counts
STORE_PAUSE = 0.5  # seconds after the store could not be written to
REFUSED_PAUSE = 5.0  # seconds without claims after the keeper could not start one (a full disk)


class Options(Frozen):
    """What kind of worker this is."""

    parallelism: int | None = None  # this worker's own cap
    until_empty: bool = False  # leave when nothing is claimable or running, wait for no backoff
    booted_by: str | None = None  # the server that booted it: then it leaves when idle, or as its session ends


class Settled(Frozen):
    """One attempt's end, for whoever watches the worker (the progress bar, the tests)."""

    job: int
    outcome: str
    state: str | None


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
        self._wake = anyio.Event()
        self._leases: dict[Claim, str] = {}  # every claim that is this worker's, with its lease token
        self._ended: list[Settlement] = []
        self._claims_from = 0.0  # monotonic: no claims before
        self._idle_since = time.monotonic()
        self._due: float | None = None  # when the next scheduled job is due
        self._look_around = True  # something was rung for: cancellations, due times
        self._strays = Strays(queue, self._attend_to)
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
    def running(self) -> int:
        """How many commands are this worker's now."""
        return len(self._leases)

    # life

    async def run(self) -> None:
        """Register, work, leave. QueueError if it cannot start."""
        life = LifeLock(self.queue.home, self.id)
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._link = await self._start_keeper()
            bell = changes.Bell(self.queue.home, "work")
            try:
                await self._register()
                tasks.start_soon(self._listen, bell)
                janitor = Janitor(self.queue, self._adopt)
                await janitor.round()
                tasks.start_soon(janitor.run)
                self._on_ready()
                await self._work()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._leave(life)
                bell.close()
                tasks.cancel_scope.cancel()

    async def _start_keeper(self) -> KeeperLink:
        keeper = os.urandom(6).hex()
        started = await anyio.to_thread.run_sync(keeper_boot.start, self.queue.home.keeper(keeper))
        self._keeper_pid = started.pid
        link = await KeeperLink.over(keeper, started.socket)
        self._tasks.start_soon(self._attend, link)
        return link

    async def _register(self) -> None:
        queue, chosen = self.queue, self.queue.settings
        alone = not queue.live_workers(claiming=True)
        names = [name for name in ("parallelism", "max_running") if alone or name in chosen.explicit]
        await self._in_store(
            queue.store.register,
            self.id,
            pid=os.getpid(),
            host=queue.host,
            keeper=self._link.keeper,
            booted_by=self.options.booted_by,
            version=VERSION,
            now=queue.clock(),
            limits={name: getattr(chosen, name) for name in names},
            queues=dict(chosen.queues),
        )
        self._registered = True
        log.info("worker %s up (pid %d, keeper %s)", self.id, os.getpid(), self._link.keeper)

    async def _leave(self, life: LifeLock) -> None:
        await self._link.close()
        await self._strays.close()
        if self._registered:
            await self._deregister()
        life.release()
        await anyio.to_thread.run_sync(_reap, self._keeper_pid)
        changes.ring(self.queue.home, "work", "watch")
        log.info("worker %s left", self.id)

    async def _deregister(self) -> None:
        try:
            await self._in_store(self.queue.store.deregister, self.id)
        except QueueError as error:
            log.warning("worker %s is still listed: %s", self.id, error)  # its lock tells that it is gone

    # work

    async def _work(self) -> None:
        while True:
            self._wake = anyio.Event()
            await self._turn()
            if await self._may_leave():
                return
            with anyio.move_on_after(await self._patience()) as waited:
                await self._wake.wait()
            if waited.cancelled_caught:
                self._look_around = True

    async def _turn(self) -> None:
        """One exchange with the store, and whatever else is asked of this worker."""
        if not self._link.open:
            await self._replace_keeper()
        if self.mode in ("finish", "stop") and not self._stopped_claiming:
            await self._stop_claiming()
        ended, self._ended = self._ended, []
        want = self._want(len(ended))
        if ended or want:
            await self._exchange(ended, want)
        if self._look_around or self._strays.any or self.mode == "stop":
            await self._follow_requests()

    def _want(self, ended: int) -> int:
        if self.mode in ("finish", "stop") or time.monotonic() < self._claims_from:
            return 0
        return max(0, (self.options.parallelism or MOST_AT_ONCE) - len(self._leases) + ended)

    async def _exchange(self, ended: Sequence[Settlement], want: int) -> None:
        try:
            states, leases = await self._in_store(self._settle_and_claim, ended, want)
        except QueueError as error:
            self._ended = [*ended, *self._ended]
            if isinstance(error, StoreTooNew):
                raise
            log.warning("%s; trying again", error)
            self._claims_from = time.monotonic() + STORE_PAUSE
            await anyio.sleep(STORE_PAUSE)
            self.wake()
            return
        self._forget(ended, states)
        await self._start(leases)
        if ended:
            changes.ring(self.queue.home, "watch")

    def _settle_and_claim(self, ended: Sequence[Settlement], want: int) -> tuple[list[JobState | None], list[Lease]]:
        queue = self.queue
        return queue.store.exchange(
            ended,
            worker=self.id,
            keeper=self._link.keeper,
            host=queue.host,
            want=want,
            max_running=queue.store.limits().get("max_running", queue.settings.max_running),
            now=queue.clock(),
            tokens=_token,
            chance=queue.chance,
            permanent_exit_codes=queue.settings.permanent_exit_codes,
            may_run=Judge(queue.home, queue.settings).job,
        )

    def _forget(self, ended: Sequence[Settlement], states: Sequence[JobState | None]) -> None:
        for one, state in zip(ended, states, strict=True):
            self._leases.pop((one.job, one.claim), None)
            _remove(stdin_file(self.queue.home, one.job, one.claim))
            if state is None:
                log.warning("job %d: the lease of claim %d was lost; its result was not recorded", one.job, one.claim)
            else:
                log.info("job %d claim %d %s: %s", one.job, one.claim, one.outcome.kind, state)
            self._look_around = self._look_around or state == "scheduled"
            self.on_settled(Settled(job=one.job, outcome=one.outcome.kind, state=state))
        if ended:
            self._idle_since = time.monotonic()

    async def _start(self, leases: Sequence[Lease]) -> None:
        requests: list[dict[str, Any]] = []
        for lease in leases:
            self._leases[lease.job, lease.claim] = lease.token
            log.info("job %d claim %d starts: %s", lease.job, lease.claim, lease.program)
            try:
                requests.append(spawn_request(lease, self.queue.home, self.queue.settings, self.queue.environ))
            except (OSError, QueueError) as error:
                self._not_started((lease.job, lease.claim), str(error))
        if requests:
            self._idle_since = time.monotonic()
            await self._link.spawn(requests)

    def _not_started(self, claim: Claim, why: str) -> None:
        """Put it back, and claim nothing for a while: what is wrong here is not the job."""
        log.warning("job %d was not started: %s", claim[0], why)
        self._claims_from = time.monotonic() + REFUSED_PAUSE
        self._end(claim, outcomes.NEVER_STARTED)

    async def _follow_requests(self) -> None:
        """Cancel what somebody wants cancelled, end what the mode says; see to what was left behind."""
        self._look_around = False
        self._due = await self._in_store(self.queue.store.next_due, self.queue.clock())
        cancelled: list[Claim] = []
        if self._leases:
            running = await self._in_store(self.queue.store.running, self.queue.host)
            cancelled = [(one.job, one.claim) for one in running if one.cancel_requested and one.worker == self.id]
        await self._strays.look(self._end, cancelled)
        await self._end_all(cancelled, "cancelled")
        if self.mode == "stop":
            await self._end_all([claim for claim in self._leases if claim not in cancelled], "interrupted")

    async def _end_all(self, claims: Sequence[Claim], reason: str) -> None:
        for claim in claims:
            for link in (self._link, *self._strays.links):
                if claim in link.claims:
                    await link.end(claim, reason)

    # leaving

    async def _stop_claiming(self) -> None:
        """From here on another worker may be booted beside this one."""
        self._stopped_claiming = True
        await self._in_store(self.queue.store.stop_claiming, self.id)
        changes.ring(self.queue.home, "work", "watch")

    async def _may_leave(self) -> bool:
        left_alone = self._strays.alone if self.mode == "stop" else set[Any]()
        if self._ended or self._wake.is_set() or set(self._leases) - left_alone:
            return False
        if self.mode in ("finish", "stop"):
            return True
        idle = time.monotonic() - self._idle_since
        if self.options.until_empty:
            return not await self._in_store(self.queue.store.claimable, self.queue.clock())
        if self.mode == "drain":
            return idle >= self.queue.settings.linger and await self._deregister_if_idle()
        if self.options.booted_by is None or idle < self.queue.settings.idle:
            return False
        return await self._deregister_if_idle()

    async def _deregister_if_idle(self) -> bool:
        """Leaves in the very transaction that proves that nothing is claimable."""
        left = await self._in_store(self.queue.store.leave_if_idle, self.id, now=self.queue.clock())
        self._registered = not left
        return left

    async def _patience(self) -> float:
        """Seconds until something is due by itself."""
        waits = [POLL, self._strays.patience()]
        if self._due is not None:
            waits.append(self._due - self.queue.clock())
        for until in (self._claims_from, self._idle_since + self._idle_allowance()):
            if until > time.monotonic():
                waits.append(until - time.monotonic())
        return max(0.001, min(waits))

    def _idle_allowance(self) -> float:
        """Seconds that this worker stays with nothing to do."""
        return self.queue.settings.linger if self.mode == "drain" else self.queue.settings.idle

    # keepers

    def _attend_to(self, link: KeeperLink) -> None:
        self._tasks.start_soon(self._attend, link)

    async def _attend(self, link: KeeperLink) -> None:
        """Hear one keeper out; when it is gone, its claims are strays."""
        await link.receive(self._heard)
        self._strays.add({claim: link.keeper for claim in link.claims if claim in self._leases})
        self.wake()

    def _heard(self, link: KeeperLink, message: Message) -> None:
        op = message["op"]
        if op == "watching":
            unknown = {(job, claim) for job, claim in message["unknown"]}
            link.claims -= unknown
            self._strays.add_promised(unknown & set(self._leases))
        elif op in ("ended", "refused"):
            self._over(link, (message["job"], message["claim"]), message)
        else:
            return
        self.wake()

    def _over(self, link: KeeperLink, claim: Claim, message: Message) -> None:
        if claim not in link.claims:
            return
        link.claims.discard(claim)
        if message["op"] == "refused":
            self._not_started(claim, message["error"])
            return
        tail = outcomes.tail_of(self.queue.home.run(*claim))
        self._end(claim, outcomes.of_end(records.end_of(message["end"]), started_at=None, tail=tail))

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        token = self._leases.get(claim)
        if token is not None:
            self._ended.append(Settlement(job=claim[0], claim=claim[1], token=token, outcome=outcome))

    async def _adopt(self, orphans: Sequence[Orphan]) -> None:
        """Make a dead worker's claims this one's, whatever has become of them."""
        claims = [(one.job, one.claim, one.token) for one in orphans]
        taken = set(await self._in_store(self.queue.store.take_over, claims, self.id))
        for one in orphans:
            if (one.job, one.claim) in taken:
                self._leases[one.job, one.claim] = one.token
                self._strays.add({(one.job, one.claim): one.keeper})
        self._look_around = True
        self.wake()

    async def _replace_keeper(self) -> None:
        log.warning("the keeper %s is gone; starting another", self._link.keeper)
        _reap(self._keeper_pid)
        self._link = await self._start_keeper()

    async def _in_store(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The store blocks; the loop must not."""
        return await anyio.to_thread.run_sync(lambda: verb(*args, **kwargs))

    async def _listen(self, bell: changes.Bell) -> None:
        while True:
            await anyio.wait_readable(bell)
            bell.clear()
            self._look_around = True
            self.wake()


def _token() -> str:
    return os.urandom(12).hex()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _reap(pid: int) -> None:
    """Take a keeper's exit status if it has left by now; if not, it outlives this process."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
