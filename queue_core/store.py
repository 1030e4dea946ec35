"""The seam between the queue and its engine: what a store can do, and in which words.

Everything above speaks to this protocol; everything below (SQLite here, PostgreSQL beside it) keeps
it, and one conformance suite holds every engine to it. A write is durable when its method returns.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Protocol

    from queue_core.jobs import Filter, Job, Lease, Orphan, Page, QueueRow, Settlement, WorkerRow
    from queue_core.model import Admission, Caller, JobState, Receipt

    Moved = list[tuple[int, JobState]]
    MayRun = Callable[[Job], str | None]  # why a job may not run after all, or None

    class Inlet(Protocol):
        """The part of a store through which jobs go in."""

        def enqueue(
            self, admissions: Sequence[Admission], *, now: float, capacity: int, parallelism: int
        ) -> list[Receipt]: ...
        def leave_tidy(self) -> None:
            """Whatever is worth doing after a write when nobody else is there."""
            ...

    class Store(Inlet, Protocol):
        """Times are seconds since the epoch and are given, never read."""

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
        ) -> tuple[list[JobState | None], list[Lease]]:
            """Settle what ended and claim what may start, in one transaction.

            Claimed are commands, if wanted, and the jobs of these handlers.
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
        def cancel(self, ids: Sequence[int], *, now: float) -> Moved: ...
        def approve(self, ids: Sequence[int], *, now: float) -> Moved: ...
        def reject(self, ids: Sequence[int], *, now: float) -> Moved: ...
        def replay(self, ids: Sequence[int], *, held: Mapping[int, str], now: float) -> Moved: ...
        def discard(self, ids: Sequence[int], *, now: float) -> Moved: ...
        def pin(self, ids: Sequence[int], *, by: str | None) -> Moved: ...
        def pause(self, queue: str | None, *, paused: bool, parallelism: int) -> list[str]: ...
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
            limits: Mapping[str, int],
            queues: Mapping[str, int],
            handlers: Collection[str] = (),
        ) -> None: ...
        def stop_claiming(self, worker: str) -> None: ...
        def deregister(self, worker: str) -> None: ...
        def leave_if_idle(self, worker: str, *, now: float, handlers: Collection[str] = ()) -> bool: ...
        def forget_workers(self, workers: Sequence[str]) -> None: ...
        def take_over(self, orphans: Sequence[Orphan], worker: str) -> list[tuple[int, int]]:
            """Make dead workers' claims this worker's, unless another took them first; those that it got."""
            ...

        # reads
        def job(self, job_id: int) -> Job | None: ...
        def jobs(self, wanted: Filter) -> Page: ...
        def ids(self, wanted: Filter) -> list[int]: ...
        def queues(self) -> list[QueueRow]: ...
        def workers(self) -> list[WorkerRow]: ...
        def waiting(self) -> int:
            """How many jobs wait, over all queues."""
            ...

        def running(self, host: str | None = None) -> list[Orphan]: ...
        def claimable(self, now: float, *, handlers: Collection[str] = (), commands: bool = True) -> bool: ...
        def unmanned(self) -> list[str]:
            """The handlers that jobs wait for and no claiming worker has."""
            ...

        def next_due(self, after: float) -> float | None: ...
        def limits(self) -> dict[str, int]: ...
        def dependencies(self, job_id: int) -> list[tuple[int, str, str | None]]: ...
        def barrier_ahead(self, job: Job) -> int | None: ...
        def caller_of(self, job_id: int) -> Caller | None: ...
        def states_of(self, ids: Sequence[int]) -> dict[int, JobState]: ...
        def nth_newest_end(self, keep: int) -> float | None: ...
        def close(self) -> None: ...
