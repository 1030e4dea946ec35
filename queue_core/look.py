"""What can be asked of a queue: jobs, lists, status, health, workers. Changes nothing."""

from __future__ import annotations

import os

from queue_core.errors import NotAllowed, QueueError, UnknownJob, UnknownTask
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal

    from queue_core.home import Home
    from queue_core.jobs import DeedFilter, Filter, Job, Task, Totals
    from queue_core.model import JobState, Origin
    from queue_core.outcomes import OutputFile
    from queue_core.settings import Settings
    from queue_core.store import Store
    from queue_core.views import View


class Look:
    """The reading half of `Queue`."""

    store: Store
    home: Home
    settings: Settings
    clock: Callable[[], float]
    host: str
    scope: str | None  # the project whose jobs alone may be seen (see `callers.scope_of`); None: all

    def job(self, job_id: int) -> Job:
        """One job with its attempts; UnknownJob."""
        found = self.store.job(job_id)
        if found is None or not self.may_see(found.project):
            raise UnknownJob(job_id)
        return found

    def task(self, task_id: str) -> Task:
        """What an MCP client's task stands for; UnknownTask."""
        found = self.store.task(task_id)
        if found is None or not self.may_see(self.store.projects_of([found.job]).get(found.job)):
            raise UnknownTask()
        return found

    def may_see(self, project: str | None) -> bool:
        """Whether what belongs to this project may be seen here."""
        return self.scope is None or project == self.scope

    def refuse_others(self, ids: Sequence[int]) -> None:
        """UnknownJob for the first of these that may not be seen here; ids that are none are for others to find."""
        if self.scope is None:
            return
        for job_id, project in self.store.projects_of(ids).items():
            if not self.may_see(project):
                raise UnknownJob(job_id)

    def within(self, wanted: Filter) -> Filter:
        """The same, of the jobs alone that may be seen here."""
        return wanted if self.scope is None else replace(wanted, within=self.scope)

    def job_view(self, job_id: int) -> View:
        """One job as everybody is shown it, with what it waits for in words."""
        return self.view_of(self.job(job_id))

    def view_of(self, it: Job) -> View:
        """The same of a job that has been read already."""
        from queue_core import outcomes, views

        chain = self.store.chain(it.id) if it.escalated_from or it.escalated_to else ()
        secrets = outcomes.secrets_of(it.env, self.settings)
        if it.state != "running":
            tail = outcomes.OutputFile(None, it.attempts[-1].tail if it.attempts else b"", secrets=secrets).read()
            return views.job(it, chain=chain, output_tail=tail, waiting_for=self._waiting_for(it))
        run_dir = self.home.run(it.id, it.claim)
        tail = outcomes.tail_of(run_dir, secrets=secrets)
        progress = outcomes.progress_of(run_dir, secrets=secrets)
        return views.job(it, chain=chain, output_tail=tail, progress=progress)

    def _waiting_for(self, it: Job) -> str | None:
        from queue_core import views

        if it.state not in ("held", "blocked", "scheduled", "available"):
            return None
        found = self.store.queues(it.queue)
        limits = self.store.limits()
        needs = self.store.dependencies(it.id) if it.state == "blocked" else ()
        return views.waiting_for(
            it,
            now=self.clock(),
            queue=found[0] if found else None,
            needs=needs,
            successors={
                one: chain[-1] for one, _, _ in needs if (chain := self.store.chain(one))[-1:] and chain[-1].id != one
            },
            barrier=self.store.barrier_ahead(it) if it.state == "available" else None,
            host_is_full=len(self.store.running(self.host)) >= limits.get("max_running", self.settings.max_running),
            starts_per_minute=limits.get("starts_per_minute"),
            all_rest_until=self.store.rest_of_all(),
            workers=len(self.live_workers()),
        )

    def request_view(self, job_id: int, by: Origin) -> View:
        """All that a person is to know who decides on a held job, the values of its own variables included.

        NotAllowed for everybody else.
        """
        from queue_core import views

        if by.caller != "person":
            raise NotAllowed("only a person may see what is asked for in full; ask the user to do it")
        it = self.job(job_id)
        return views.request(replace(it, cwd=os.path.realpath(it.cwd)), self.store.input(job_id))

    def output(self, job_id: int, *, attempt: int | None = None) -> OutputFile:
        """What an attempt wrote: the latest (also of a running one), or the `attempt`-th, 1 being the first."""
        from queue_core.outcomes import OutputFile, output_size, secrets_of

        it = self.job(job_id)
        claim, tail = it.claim, it.attempts[-1].tail if it.attempts else b""
        if attempt is not None:
            if not 0 < attempt <= len(it.attempts):
                raise QueueError(f"job {job_id} has no attempt {attempt}; it has made {len(it.attempts)}")
            claim, tail = it.attempts[attempt - 1].claim, it.attempts[attempt - 1].tail
        run_dir = self.home.run(job_id, claim)
        path = run_dir + "/output" if output_size(run_dir) is not None else None
        growing = it.state == "running" and claim == it.claim
        return OutputFile(path, tail, secrets=secrets_of(it.env, self.settings), growing=growing)

    def result(self, job_id: int) -> Any:
        """What a handler's job has returned. QueueError if it has not succeeded, or is a command's."""
        from queue_core import views

        it = self.job(job_id)
        if it.handler is None:
            raise QueueError(f"job {job_id} is a command's, which has output and no result; see `runq output {job_id}`")
        if it.state != "succeeded":
            raise QueueError(f"job {job_id} is {it.state}, so it has no result; `runq status {job_id}` tells more")
        return views.result(it)

    def list_view(self, wanted: Filter) -> View:
        """Jobs as lines of a list, with the cursor for what ends later."""
        from queue_core import views

        page = self.store.jobs(self.within(wanted))
        return {"jobs": [views.summary(job) for job in page.jobs], "cursor": str(page.cursor)}

    def ids(self, wanted: Filter) -> list[int]:
        """The ids of all jobs that are meant, oldest first, whatever the filter's limit."""
        return self.store.ids(self.within(wanted))

    def dead_letters(self, wanted: Filter, what: Literal["retry", "discard"]) -> tuple[list[int], int]:
        """The ids that a bulk is for, and how many it leaves out because other jobs have taken them over."""
        from queue_core.escalation import TAKEN_OVER

        ids = self.ids(replace(wanted, no_successor_in=TAKEN_OVER[what]))
        return ids, len(self.ids(wanted)) - len(ids)

    def states_of(self, ids: Sequence[int]) -> dict[int, JobState]:
        """The states of these jobs; ids that are none (or pruned) are left out."""
        states = self.store.states_of(ids)
        if self.scope is None:
            return states
        projects = self.store.projects_of(ids)
        return {job_id: state for job_id, state in states.items() if self.may_see(projects.get(job_id))}

    def standings(self, ids: Sequence[int]) -> dict[int, JobState]:
        """How they stand for those who wait for them: one that was handed over, as its successors do."""
        self.refuse_others(ids)
        return self.store.standings(ids)

    def audit(self, wanted: DeedFilter) -> list[View]:
        """Who did what, newest first."""
        from queue_core import views

        mine = wanted if self.scope is None else replace(wanted, within=self.scope)
        return [views.deed(one) for one in self.store.deeds(mine)]

    def status_view(self) -> View:
        """Counts by state, the queues, the workers, the health."""
        from queue_core import views

        found = self.store.overview()
        return views.status(found, self.worker_view(), self._health(found.totals))

    def health_view(self) -> View:
        """How full the queue is, and everything else that a person should know."""
        return self._health(self.store.totals())

    def _health(self, totals: Totals) -> View:
        from queue_core import problems, views

        found = problems.found(self, totals)
        return views.health_of(totals.counts, capacity=self.settings.capacity, problems=found)

    def stats(self, *, since: float | str = "24h", queue: str | None = None) -> View:
        """Figures of a window of time that ends now, of one queue or of all: see `figures.report`.

        `since` is where it begins: seconds since the epoch, a time as text, or a span such as 24h. UsageError.
        """
        from queue_core import figures

        if self.scope is not None:
            raise NotAllowed('figures are of all projects, and the user keeps them apart (isolation = "project")')
        now, chosen = self.clock(), self.settings
        begin = figures.beginning(since, now)
        found = self.store.figures(since=begin, until=now, queue=queue, most_timed=figures.MOST_TIMED)
        kept = figures.Kept(since=now - chosen.keep_days * figures.DAY, count=chosen.keep_count)
        return figures.report(found, since=begin, until=now, queue=queue, kept=kept)

    def worker_view(self) -> View:
        """Whether workers are off, idle or busy, and their pids."""
        live = self.live_workers()
        if not live:
            return {"state": "off", "pids": []}
        busy = any(claim.worker in live for claim in self.store.running())
        return {"state": "busy" if busy else "idle", "pids": list(live.values())}

    def live_workers(self, *, claiming: bool = False) -> dict[str, int]:
        """The pids of the workers that live, by their ids; with `claiming`, only of those that start commands."""
        from queue_core.liveness import worker_lives

        return {
            worker.id: worker.pid
            for worker in self.store.workers()
            if ((worker.claiming and worker.keeper) or not claiming) and worker_lives(self.home, worker.id)
        }

    def has_backlog(self) -> bool:
        """Whether a worker would find something to do: claimable, adoptable, spooled, or due by a schedule."""
        from queue_core import recovery, spool

        return (
            self.store.claimable(self.clock())
            or bool(recovery.orphans(self.store, self.home))
            or bool(spool.pending(self.home))
            or bool(self.store.due_schedules(self.clock(), limit=1))
        )
