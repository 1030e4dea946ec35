"""The seam between the queue and its engine: what a store can do, and in which words.

Everything above speaks to this protocol; everything below (SQLite here, PostgreSQL beside it) keeps
it, and one conformance suite holds every engine to it. A write is durable when its method returns.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Protocol

    from queue_core.figures import Counts
    from queue_core.jobs import (
        Deed,
        DeedFilter,
        Filter,
        Job,
        Lease,
        Link,
        Orphan,
        Overview,
        Page,
        QueueRow,
        ScheduleRow,
        Settlement,
        Task,
        Totals,
        WorkerRow,
    )
    from queue_core.model import Admission, Caller, JobState, Origin, Receipt
    from queue_core.quotas import QueueLimits, Quotas

    Moved = list[tuple[int, JobState]]
    MayRun = Callable[[Job], str | None]  # why a job may not run after all, or None

    class Inlet(Protocol):
        """The part of a store through which jobs go in."""

        def enqueue(
            self,
            admissions: Sequence[Admission],
            *,
            now: float,
            capacity: int,
            parallelism: int,
            quotas: Quotas | None = None,
            within: str | None = None,
        ) -> Sequence[Receipt]:
            """Store jobs, all or none.

            With `within`, jobs of other projects than this one can neither be waited for nor be found by their
            unique keys. Quotas are for what callers ask for, and for agents' schedules: they do not count against
            others' schedules, escalations and the spool.
            """
            ...

        def leave_tidy(self) -> None:
            """Whatever is worth doing after a write when nobody else is there."""
            ...

    class Store(Inlet, Protocol):
        """Times are seconds since the epoch and are given, never read."""

        @property
        def patience(self) -> float:
            """How many seconds a write waits for others."""
            ...

        @patience.setter
        def patience(self, seconds: float) -> None: ...

        # writes
        def exchange(
            self,
            settlements: Sequence[Settlement],
            *,
            worker: str,
            keeper: str,
            host: str,
            want: int,
            max_running: int,
            now: float,
            tokens: Callable[[], str],
            chance: Callable[[], float],
            permanent_exit_codes: Collection[int] = (),
            may_run: MayRun | None = None,
            handlers: Collection[str] = (),
            commands: bool = True,
            on_more: Callable[[], None] = lambda: None,
        ) -> tuple[list[JobState | None], list[Lease]]:
            """Settle what ended and claim what may start, in one transaction.

            Claimed are commands, if wanted, and the jobs of these handlers. `max_running` is how many may run on
            this host where no worker has stored another limit (`register`). `on_more` is called if a claim that comes
            at once may bring more: so much had to be set aside that it was handed out before all was looked at.
            """
            ...

        def settle(
            self,
            settlements: Sequence[Settlement],
            *,
            now: float,
            chance: Callable[[], float],
            permanent_exit_codes: Collection[int] = (),
        ) -> list[JobState | None]: ...
        # (who does it is noted in the audit trail, in the same transaction)
        def cancel(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved: ...
        def approve(
            self, ids: Sequence[int], *, by: Origin, now: float, folders: Mapping[int, str] | None = None
        ) -> Moved:
            """Let held jobs go on; `folders` are where they run from now on, as the person was shown them."""
            ...

        def reject(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved: ...
        def replay(self, ids: Sequence[int], *, held: Mapping[int, str], by: Origin, now: float) -> Moved:
            """Run ended jobs again; where an agent asks, a person's approval of an earlier run no longer counts."""
            ...

        def discard(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved: ...
        def pin(self, ids: Sequence[int], *, by: Origin, cap: int, now: float) -> tuple[Moved, list[int]]:
            """Spare jobs from pruning; and the jobs whose automatic pins gave way to that.

            Beyond `cap` pins of both kinds, the oldest automatic ones go, but none of those just set.
            """
            ...

        def unpin(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved:
            """Take pins off: a person all, others automatic ones alone (NotAllowed, and nothing is changed)."""
            ...

        def pause(self, queue: str | None, *, paused: bool, parallelism: int, by: Origin, now: float) -> list[str]:
            """Pause or resume a queue, or all: the names of those it concerned.

            What a person has paused, a person alone resumes (NotAllowed, and nothing is changed).
            """
            ...

        def prune(self, *, before: float, limit: int) -> list[tuple[int, int]]: ...
        def register(
            self,
            worker: str,
            *,
            pid: int,
            host: str,
            keeper: str,
            booted_by: str | None,
            version: str,
            now: float,
            limits: Mapping[str, int | None],
            queues: Mapping[str, QueueLimits],
            handlers: Collection[str] = (),
        ) -> None:
            """List a worker, and store the limits that it brings: those of `limits`, and of these queues.

            `parallelism` in `limits` replaces all queues' own, `starts_per_minute` (None: no limit) all theirs.
            """
            ...

        def stop_claiming(self, worker: str) -> None: ...
        def deregister(self, worker: str) -> None: ...
        def leave_if_idle(
            self, worker: str, *, now: float, handlers: Collection[str] = (), commands: bool = True
        ) -> bool:
            """Deregister, if in this very transaction a claim would bring nothing."""
            ...

        def forget_workers(self, workers: Sequence[str]) -> None: ...
        def add_schedule(
            self, row: ScheduleRow, *, by: Origin, replacing: ScheduleRow | None = None, most: int | None = None
        ) -> bool:
            """Whether it was stored: not if its name is taken, or what it replaces is no longer as given.

            QueueFull if its caller has `most` schedules already.
            """
            ...

        def remove_schedules(self, rows: Sequence[ScheduleRow], *, by: Origin, now: float) -> bool:
            """Whether they were removed: all of them, or none if one is no longer as given."""
            ...

        def pause_schedules(
            self, rows: Sequence[ScheduleRow], *, paused: bool, by: Origin, now: float
        ) -> list[ScheduleRow] | None:
            """Those schedules as they are now; None, and nothing is changed, if one is no longer as given.

            Those that go on do so at the `next_at` of these rows. A person's pause replaces another's, not the reverse.
            """
            ...

        def fire_schedule(
            self,
            row: ScheduleRow,
            admissions: Sequence[Admission],
            *,
            next_at: float | None,
            now: float,
            capacity: int,
            parallelism: int,
            quotas: Quotas | None = None,
            within: str | None = None,
        ) -> list[Receipt] | None:
            """Move a schedule on and queue its jobs, in one transaction; None if it is not due as `row` says.

            It is in trouble if others' jobs have the unique key, and no longer if its jobs were queued.
            """
            ...

        def trouble_schedule(self, row: ScheduleRow, why: str, *, now: float, retry_at: float) -> None: ...
        def take_over(self, orphans: Sequence[Orphan], worker: str) -> list[tuple[int, int]]:
            """Make dead workers' claims this worker's, unless another took them first; those that it got."""
            ...

        def note(self, what: str, *, by: Origin, now: float, about: str | None = None) -> None:
            """Note in the audit trail what changes nothing in the store: a rule that was written, a refusal."""
            ...

        def forget_deeds(self, *, before: float) -> int:
            """Shorten the audit trail: what was noted before this time goes; how much that was."""
            ...

        def answer_task(self, task_id: str, *, answers: int, dismissed: bool) -> bool:
            """Note that a question about a task's job was answered, or `dismissed`; False if it is not the next one.

            `answers` is how many had been answered when it was put: of two that answer it, one is heard.
            """
            ...

        # reads
        def task(self, task_id: str) -> Task | None: ...
        def deeds(self, wanted: DeedFilter) -> list[Deed]:
            """The audit trail, newest first."""
            ...

        def input(self, job_id: int) -> bytes | None:
            """What was given to a job to read, where the store keeps it."""
            ...

        def projects_of(self, ids: Sequence[int]) -> dict[int, str | None]: ...
        def job(self, job_id: int) -> Job | None: ...
        def handed_over(self) -> int:
            """How many dead letters another job has taken over, whatever became of that one."""
            ...

        def chain(self, job_id: int) -> list[Link]:
            """The jobs that took over from one another, this one among them, first to last; of several, the newest."""
            ...

        def jobs(self, wanted: Filter) -> Page: ...
        def ids(self, wanted: Filter) -> list[int]: ...
        def queues(self, name: str | None = None) -> list[QueueRow]:
            """All queues by their names, or that of this name alone."""
            ...

        def overview(self) -> Overview:
            """The same of all queues in columns, with their totals: what a glance at a thousand needs."""
            ...

        def totals(self) -> Totals:
            """What all queues hold together: costs less than all of them."""
            ...

        def workers(self) -> list[WorkerRow]: ...
        def waiting(self) -> int:
            """How many jobs wait, over all queues."""
            ...

        def version(self) -> object:
            """Equal to what it was before only if nobody has changed anything since; it costs less than any look."""
            ...

        def running(self, host: str | None = None) -> list[Orphan]: ...
        def claimable(self, now: float, *, handlers: Collection[str] = (), commands: bool = True) -> bool: ...
        def unmanned(self) -> list[str]:
            """The handlers that jobs wait for and no claiming worker has."""
            ...

        def next_due(self, after: float) -> float | None:
            """When the next scheduled job, or the next schedule, is due."""
            ...

        def schedules(self) -> list[ScheduleRow]: ...
        def due_schedules(self, now: float, *, limit: int) -> list[ScheduleRow]:
            """Those that are due, and those whose next time was decided under a clock that was set back since."""
            ...

        def rest_of_all(self) -> float | None:
            """Until when nothing starts, since all queues together have used up their starts; None if never yet."""
            ...

        def limits(self) -> dict[str, int]: ...
        def dependencies(self, job_id: int) -> list[tuple[int, str, str | None]]: ...
        def barrier_ahead(self, job: Job) -> int | None: ...
        def caller_of(self, job_id: int) -> Caller | None: ...
        def states_of(self, ids: Sequence[int]) -> dict[int, JobState]: ...
        def standings(self, ids: Sequence[int]) -> dict[int, JobState]:
            """How they stand for those who wait for them: one that was handed over, as its successors do."""
            ...

        def figures(self, *, since: float, until: float, queue: str | None, most_timed: int) -> Counts:
            """What statistics are made from, of one moment: all from `since` to `until`, of one queue or of all.

            Of the single attempts only the newest, at most `most_timed`.
            """
            ...

        def nth_newest_end(self, keep: int) -> float | None: ...
        def close(self) -> None: ...
