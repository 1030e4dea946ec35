"""Queue: the only verbs that the command line and the MCP server know.

Each method does one thing to the store, rings the bell, and returns values or views. They block for
as long as the store's patience at most, and are safe to call from several threads.
"""

from __future__ import annotations

import os
import time

from queue_core import changes, intake, settings
from queue_core.errors import NotAllowed, QueueError, QueueFull, StoreBusy, StoreError, StoreFull, UnknownJob
from queue_core.home import locate
from queue_core.sqlite.store import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queue_core.home import Home
    from queue_core.jobs import Filter, Job
    from queue_core.model import Admission, Caller, JobState, NewJob, Origin, Receipt
    from queue_core.outcomes import OutputFile
    from queue_core.recovery import Found
    from queue_core.settings import Settings
    from queue_core.store import Moved, Store
    from queue_core.views import View


class Queue:
    """One queue, as its home and settings define it."""

    def __init__(
        self,
        store: Store,
        home: Home,
        chosen: Settings,
        environ: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Put a queue together; `clock` gives seconds since the epoch, `chance` a number in 0..1."""
        self.store = store
        self.home = home
        self.settings = chosen
        self.environ = environ
        self.clock = clock
        self.chance = chance or _chance
        self.host = os.uname().nodename

    @classmethod
    def open(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        patience: float = 10.0,
        group_commit: bool = False,
        **flags: object,
    ) -> Queue:
        """The queue that the environment names, made if it does not exist yet.

        `patience` is how many seconds a write may wait for others. QueueError says what is wrong.
        """
        environ = os.environ if environ is None else environ
        home = locate(environ)
        chosen = settings.load(home, environ, **flags)
        store = SqliteStore(home, patience=patience, group_commit=group_commit)
        return cls(store, home, chosen, environ)

    def close(self) -> None:
        """Let go of the store; nothing is pending."""
        self.store.close()

    # enqueue

    def enqueue(
        self,
        jobs: Sequence[NewJob],
        origin: Origin,
        *,
        folder: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> list[Receipt]:
        """Store jobs, all or none; durable when it returns. InvalidJob, Denied or QueueFull leave nothing."""
        from queue_core.admission import prepare

        if origin.caller == "agent":
            intake.refuse_when_full(self.store.waiting(), jobs, self.settings)
        admissions = prepare(
            jobs,
            origin,
            settings=self.settings,
            home=self.home,
            environ=self.environ if environ is None else environ,
            folder=folder or os.getcwd(),
            now=self.clock(),
        )
        return self.admit(admissions)

    def admit(self, admissions: Sequence[Admission]) -> list[Receipt]:
        """Store jobs that have been prepared already, all or none; durable when it returns."""
        return intake.admit(self.store, self.home, self.settings, admissions, self.clock())

    def ingest_spool(self) -> int:
        """Take in what hooks had to leave in the spool; how many jobs that were. Each is taken in once."""
        from queue_core import spool

        taken = 0
        for path in spool.pending(self.home):
            try:
                admissions = spool.read(path)
                if admissions is None:
                    continue
                self.store.enqueue(
                    admissions,
                    now=self.clock(),
                    capacity=self.settings.capacity * 10,  # accepted is accepted: a full queue cannot undo it
                    parallelism=self.settings.parallelism,
                )
            except (QueueFull, StoreBusy, StoreFull):
                break  # it keeps in the spool until there is room
            except StoreError:
                raise
            except QueueError:  # broken, or what it waits for is gone: it must not hold the others up
                spool.set_aside(path)
                continue
            spool.remove(path)
            taken += len(admissions)
        if taken:
            changes.ring(self.home, "work", "watch")
        return taken

    # look

    def job(self, job_id: int) -> Job:
        """One job with its attempts; UnknownJob."""
        found = self.store.job(job_id)
        if found is None:
            raise UnknownJob(job_id)
        return found

    def job_view(self, job_id: int) -> View:
        """One job as everybody is shown it, with what it waits for in words."""
        from queue_core import outcomes, views

        it = self.job(job_id)
        if it.state != "running":
            return views.job(it, waiting_for=self._waiting_for(it))
        run_dir = self.home.run(it.id, it.claim)
        return views.job(it, output_tail=outcomes.tail_of(run_dir), progress=outcomes.progress_of(run_dir))

    def _waiting_for(self, it: Job) -> str | None:
        from queue_core import views

        if it.state not in ("held", "blocked", "scheduled", "available"):
            return None
        queues = self.store.queues()
        limit = self.store.limits().get("max_running", self.settings.max_running)
        return views.waiting_for(
            it,
            now=self.clock(),
            queue=next((queue for queue in queues if queue.name == it.queue), None),
            needs=self.store.dependencies(it.id) if it.state == "blocked" else (),
            barrier=self.store.barrier_ahead(it) if it.state == "available" else None,
            host_is_full=len(self.store.running(self.host)) >= limit,
            workers=len(self.live_workers()),
        )

    def output(self, job_id: int, *, attempt: int | None = None) -> OutputFile:
        """What an attempt wrote: the latest (also of a running one), or the `attempt`-th, 1 being the first."""
        from queue_core.outcomes import OutputFile

        it = self.job(job_id)
        claim, tail = it.claim, it.attempts[-1].tail if it.attempts else b""
        if attempt is not None:
            if not 0 < attempt <= len(it.attempts):
                raise QueueError(f"job {job_id} has no attempt {attempt}; it has made {len(it.attempts)}")
            claim, tail = it.attempts[attempt - 1].claim, it.attempts[attempt - 1].tail
        path = self.home.run(job_id, claim) + "/output"
        return OutputFile(path) if os.path.isfile(path) else OutputFile(None, tail)

    def list_view(self, wanted: Filter) -> View:
        """Jobs as lines of a list, with the cursor for what ends later."""
        from queue_core import views

        page = self.store.jobs(wanted)
        return {"jobs": [views.summary(job) for job in page.jobs], "cursor": str(page.cursor)}

    def ids(self, wanted: Filter) -> list[int]:
        """The ids of all jobs that are meant, oldest first, whatever the filter's limit."""
        return self.store.ids(wanted)

    def states_of(self, ids: Sequence[int]) -> dict[int, JobState]:
        """The states of these jobs; ids that are none (or pruned) are left out."""
        return self.store.states_of(ids)

    def status_view(self) -> View:
        """Counts by state, the queues, the workers, the health."""
        from queue_core import views

        queues = self.store.queues()
        return views.status(queues, self.worker_view(), self._health(views.counts(queues)))

    def health_view(self) -> View:
        """How full the queue is, and everything else that a person should know."""
        from queue_core import views

        return self._health(views.counts(self.store.queues()))

    def _health(self, by_state: dict[str, int]) -> View:
        from queue_core import problems, views

        found = problems.found(self, by_state)
        return views.health_of(by_state, capacity=self.settings.capacity, problems=found)

    def worker_view(self) -> View:
        """Whether workers are off, idle or busy, and their pids."""
        live = self.live_workers()
        if not live:
            return {"state": "off", "pids": []}
        busy = any(claim.worker in live for claim in self.store.running())
        return {"state": "busy" if busy else "idle", "pids": list(live.values())}

    def live_workers(self, *, claiming: bool = False) -> dict[str, int]:
        """The pids of the workers that live, by their ids; with `claiming`, only of those that start jobs."""
        from queue_core.liveness import worker_lives

        return {
            worker.id: worker.pid
            for worker in self.store.workers()
            if (worker.claiming or not claiming) and worker_lives(self.home, worker.id)
        }

    def has_backlog(self) -> bool:
        """Whether a worker would find something to do: claimable, adoptable or spooled."""
        from queue_core import recovery, spool

        return (
            self.store.claimable(self.clock())
            or bool(recovery.orphans(self.store, self.home))
            or bool(spool.pending(self.home))
        )

    # change

    def cancel(self, ids: Sequence[int]) -> Moved:
        """Cancel waiting jobs, stop running ones with all their processes; the state each was found in.

        A running job is marked, and its end is begun at once where its keeper can be reached; the
        state follows when it has ended.
        """
        found = self.store.cancel(ids, now=self.clock())
        running = [job_id for job_id, state in found if state == "running"]
        if running:
            from queue_core.stopping import stop_claims

            stop_claims(self, running)
        changes.ring(self.home, "work", "watch")
        return found

    def approve(self, ids: Sequence[int], caller: Caller) -> Moved:
        """Let held jobs run: a person's alone."""
        _persons_alone(caller, "approve jobs")
        return self._changed(self.store.approve(ids, now=self.clock()))

    def reject(self, ids: Sequence[int], caller: Caller) -> Moved:
        """Refuse held jobs: a person's alone."""
        _persons_alone(caller, "reject jobs")
        return self._changed(self.store.reject(ids, now=self.clock()))

    def replay(self, ids: Sequence[int], origin: Origin) -> Moved:
        """Run ended jobs again with a fresh allowance; an agent's wish goes through policy again."""
        held: dict[int, str] = {}
        if origin.caller == "agent":
            from queue_core.judge import Judge

            judge = Judge(self.home, self.settings)
            held = {job_id: reason for job_id in ids if (reason := judge.job(self.job(job_id), project=origin.project))}
        return self._changed(self.store.replay(ids, held=held, now=self.clock()))

    def discard(self, ids: Sequence[int]) -> Moved:
        """Give dead letters up; what waited for them is cancelled."""
        return self._changed(self.store.discard(ids, now=self.clock()))

    def pin(self, ids: Sequence[int], *, pinned: bool) -> Moved:
        """Spare jobs from pruning, or no longer."""
        return self._changed(self.store.pin(ids, by="person" if pinned else None))

    def pause(self, queue: str | None, *, paused: bool) -> list[str]:
        """Hand out nothing of a queue (or of all) until it is resumed; the queues that it concerned."""
        from queue_core.admission import check_queue

        if queue is not None:
            check_queue(queue)
        names = self.store.pause(queue, paused=paused, parallelism=self.settings.parallelism)
        changes.ring(self.home, "work", "watch")
        return names

    def prune(self, *, older_than_days: float | None = None, keep: int | None = None) -> int:
        """Forget ended jobs by age and count, and their output; how many went. Pinned ones stay."""
        from queue_core.pruning import prune

        days = self.settings.keep_days if older_than_days is None else older_than_days
        count = self.settings.keep_count if keep is None else keep
        return prune(self.store, self.home, before=self.clock() - days * 86400, keep=count)

    def recover(self) -> Found:
        """Settle what a dead worker left behind, where it is certain how it ended."""
        from queue_core.recovery import recover

        found = recover(
            self.store,
            self.home,
            now=self.clock(),
            chance=self.chance,
            permanent_exit_codes=self.settings.permanent_exit_codes,
        )
        if found.settled:
            changes.ring(self.home, "work", "watch")
        return found

    def _changed(self, moved: list[tuple[int, JobState]]) -> Moved:
        changes.ring(self.home, "work", "watch")
        return moved


def _chance() -> float:
    """Randomness for the jitter; `import random` would cost the hook path 3 ms."""
    return int.from_bytes(os.urandom(7), "big") / 2**56


def _persons_alone(caller: Caller, what: str) -> None:
    if caller != "person":
        raise NotAllowed(f"only a person may {what}, from a terminal of their own; ask the user to do it")
