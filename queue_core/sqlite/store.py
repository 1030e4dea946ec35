"""The Store on SQLite: each verb is one function of a sibling module in one transaction."""

from __future__ import annotations

import _thread

from queue_core.errors import StoreError, UsageError
from queue_core.sqlite.engine import BUSY_TIMEOUT, Database, connect, identity, sqlite3, translate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

    from queue_core.figures import Counts
    from queue_core.home import Home
    from queue_core.jobs import By, Filter, Job, Lease, Link, Orphan, Page, QueueRow, ScheduleRow, Settlement, WorkerRow
    from queue_core.model import Admission, Caller, JobState, Receipt
    from queue_core.quotas import QueueLimits, Quotas
    from queue_core.sqlite.reads import Read
    from queue_core.store import MayRun, Moved

    T = TypeVar("T")
    P = ParamSpec("P")

    class Writer(Protocol):
        """Runs a change in a transaction: at once (`Inline`), or with those that wait beside it (`GroupCommit`)."""

        def write(
            self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
        ) -> T: ...
        def shorten_wal(self) -> None: ...
        def close(self) -> None: ...


class Inline:
    """Each change in a transaction of its own, on the caller's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = _thread.allocate_lock()

    def write(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._one_at_a_time:
            return self._database.write(change, *args, **kwargs)

    def shorten_wal(self) -> None:
        self._database.shorten_wal()

    def close(self) -> None:
        self._database.close()


class SqliteStore:
    """A queue in one file. Safe to use from several threads; its methods block, for at most `patience` seconds."""

    def __init__(self, home: Home, *, patience: float = BUSY_TIMEOUT, group_commit: bool = False) -> None:
        """Open or make the database. With `group_commit`, writes that wait together share a transaction."""
        self._home = home
        self._reader: sqlite3.Connection | None = None
        self._reading = _thread.allocate_lock()
        self._database = database = Database(home, patience=patience)
        self._file = database.file  # the one that is read
        if group_commit:
            from queue_core.sqlite.group_commit import GroupCommit

            self._writer: Writer = GroupCommit(database)
        else:
            self._writer = Inline(database)

    def close(self) -> None:
        """Let go of the file. Nothing is pending: every write was durable when it returned."""
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self._writer.close()

    def leave_tidy(self) -> None:
        """For a process that came for one write and finds itself alone."""
        self._writer.shorten_wal()

    def _read(self, read: Read[T]) -> T:
        from queue_core.sqlite.reads import run

        if identity(self._home.database) != self._file:
            self._follow()
        with self._reading:
            if self._reader is None:
                self._reader = connect(self._home)
            try:
                return run(self._reader, read)
            except sqlite3.DatabaseError as error:
                raise translate(error, self._home) or StoreError(f"the queue could not be read ({error})") from error
            except UnicodeEncodeError:
                raise UsageError("what was asked for is no valid UTF-8 text, as all that is stored is") from None

    def _follow(self) -> None:
        """Read from the file that has taken the place of the old one, if that is one to be written to as well."""
        self._writer.write(lambda _: None)  # looks at whatever a write looks at before it begins
        with self._reading:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._file = None, self._database.file

    # writes

    def enqueue(
        self,
        admissions: Sequence[Admission],
        *,
        now: float,
        capacity: int,
        parallelism: int,
        quotas: Quotas | None = None,
    ) -> list[Receipt]:
        from queue_core.sqlite.admit import admit

        return self._writer.write(admit, admissions, now=now, capacity=capacity, parallelism=parallelism, quotas=quotas)

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
        from queue_core.sqlite.claim import Claimant, claim
        from queue_core.sqlite.settle import settle

        claimant = Claimant(
            worker=worker, keeper=keeper, host=host, tokens=tokens, handlers=handlers, commands=commands
        )

        def settle_and_claim(tx: sqlite3.Connection) -> tuple[list[JobState | None], list[Lease]]:
            states = settle(tx, settlements, now=now, chance=chance, permanent_exit_codes=permanent_exit_codes)
            if want <= 0:
                return states, []
            return states, claim(tx, claimant, want=want, max_running=max_running, now=now, may_run=may_run)

        return self._writer.write(settle_and_claim)

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        now: float,
        chance: Callable[[], float],
        permanent_exit_codes: Collection[int] = (),
    ) -> list[JobState | None]:
        from queue_core.sqlite.settle import settle

        return self._writer.write(
            settle, settlements, now=now, chance=chance, permanent_exit_codes=permanent_exit_codes
        )

    def cancel(self, ids: Sequence[int], *, now: float) -> Moved:
        return self._control("cancel", ids, now=now)

    def approve(self, ids: Sequence[int], *, now: float) -> Moved:
        return self._control("approve", ids, now=now)

    def reject(self, ids: Sequence[int], *, now: float) -> Moved:
        return self._control("reject", ids, now=now)

    def replay(self, ids: Sequence[int], *, held: Mapping[int, str], now: float, approved: bool = True) -> Moved:
        return self._control("replay", ids, held=held, now=now, approved=approved)

    def discard(self, ids: Sequence[int], *, now: float) -> Moved:
        return self._control("discard", ids, now=now)

    def pin(
        self, ids: Sequence[int], *, by: Literal["person", "automatic"], cap: int, now: float
    ) -> tuple[Moved, list[int]]:
        return self._control("pin", ids, by=by, cap=cap, now=now)

    def unpin(self, ids: Sequence[int], *, by: Literal["person", "automatic"]) -> Moved:
        return self._control("unpin", ids, by=by)

    def pause(self, queue: str | None, *, paused: bool, parallelism: int, by: By) -> list[str]:
        from queue_core.sqlite import queues

        return self._writer.write(queues.pause, queue, paused=paused, parallelism=parallelism, by=by)

    def prune(self, *, before: float, limit: int) -> list[tuple[int, int]]:
        return self._control("prune", before=before, limit=limit)

    def nth_newest_end(self, keep: int) -> float | None:
        return self._control("nth_newest_end", keep)

    def _control(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import control

        return self._writer.write(getattr(control, verb), *args, **kwargs)

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
        from queue_core.sqlite import workers

        def enter(tx: sqlite3.Connection) -> None:
            workers.configure(tx, limits, queues, now=now)
            workers.register(
                tx, worker, pid=pid, host=host, keeper=keeper, booted_by=booted_by, version=version, now=now
            )
            workers.man(tx, worker, handlers)

        self._database.follows = False  # another file would know neither this worker nor its claims
        self._writer.write(enter)

    def stop_claiming(self, worker: str) -> None:
        self._worker("stop_claiming", worker)

    def deregister(self, worker: str) -> None:
        self._worker("deregister", worker)

    def leave_if_idle(self, worker: str, *, now: float, handlers: Collection[str] = (), commands: bool = True) -> bool:
        return self._worker("leave_if_idle", worker, now=now, handlers=handlers, commands=commands)

    def forget_workers(self, workers: Sequence[str]) -> None:
        self._worker("forget", workers)

    def take_over(self, orphans: Sequence[Orphan], worker: str) -> list[tuple[int, int]]:
        return self._worker("take_over", orphans, worker)

    def _worker(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import workers

        return self._writer.write(getattr(workers, verb), *args, **kwargs)

    def add_schedule(self, row: ScheduleRow, *, replacing: ScheduleRow | None = None, most: int | None = None) -> bool:
        return self._schedule("add", row, replacing=replacing, most=most)

    def remove_schedules(self, rows: Sequence[ScheduleRow]) -> bool:
        return self._schedule("remove", rows)

    def pause_schedules(self, rows: Sequence[ScheduleRow], *, paused: bool, by: By) -> list[ScheduleRow] | None:
        return self._schedule("pause", rows, paused=paused, by=by)

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
    ) -> list[Receipt] | None:
        limits = {"capacity": capacity, "parallelism": parallelism, "quotas": quotas}
        return self._schedule("fire", row, admissions, next_at=next_at, now=now, **limits)

    def trouble_schedule(self, row: ScheduleRow, why: str, *, now: float, retry_at: float) -> None:
        self._schedule("trouble", row, why, now=now, retry_at=retry_at)

    def _schedule(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import schedules

        return self._writer.write(getattr(schedules, verb), *args, **kwargs)

    # reads

    def schedules(self) -> list[ScheduleRow]:
        from queue_core.sqlite import schedules

        return self._read(schedules.every())

    def due_schedules(self, now: float, *, limit: int) -> list[ScheduleRow]:
        from queue_core.sqlite import schedules

        return self._read(schedules.due(now, limit))

    def job(self, job_id: int) -> Job | None:
        from queue_core.sqlite import reads

        return self._read(reads.job(job_id))

    def chain(self, job_id: int) -> list[Link]:
        from queue_core.sqlite import reads

        return self._read(reads.chain(job_id))

    def jobs(self, wanted: Filter) -> Page:
        from queue_core.sqlite import reads

        return self._read(reads.jobs(wanted))

    def ids(self, wanted: Filter) -> list[int]:
        from queue_core.sqlite import reads

        return self._read(reads.ids(wanted))

    def queues(self) -> list[QueueRow]:
        from queue_core.sqlite import reads

        return self._read(reads.queues())

    def workers(self) -> list[WorkerRow]:
        from queue_core.sqlite import reads

        return self._read(reads.workers())

    def waiting(self) -> int:
        from queue_core.sqlite import reads

        return self._read(reads.waiting())

    def running(self, host: str | None = None) -> list[Orphan]:
        from queue_core.sqlite import reads

        return self._read(reads.running(host))

    def claimable(self, now: float, *, handlers: Collection[str] = (), commands: bool = True) -> bool:
        from queue_core.sqlite import readiness

        return self._read(readiness.claimable(now, tuple(handlers), commands=commands))

    def unmanned(self) -> list[str]:
        from queue_core.sqlite import readiness

        return self._read(readiness.unmanned())

    def next_due(self, after: float) -> float | None:
        from queue_core.sqlite import readiness

        return self._read(readiness.next_due(after))

    def figures(self, *, since: float, until: float, queue: str | None, most_timed: int) -> Counts:
        from queue_core.sqlite import figures

        return self._read(figures.counts(since=since, until=until, queue=queue, most_timed=most_timed))

    def rest_of_all(self) -> float | None:
        from queue_core.sqlite import readiness

        return self._read(readiness.rest_of_all())

    def limits(self) -> dict[str, int]:
        from queue_core.sqlite import reads

        return self._read(reads.limits())

    def dependencies(self, job_id: int) -> list[tuple[int, str, str | None]]:
        from queue_core.sqlite import reads

        return self._read(reads.dependencies(job_id))

    def barrier_ahead(self, job: Job) -> int | None:
        from queue_core.model import PRIORITIES
        from queue_core.sqlite import readiness

        return self._read(readiness.barrier_ahead(job.id, job.queue, PRIORITIES.index(job.priority)))

    def caller_of(self, job_id: int) -> Caller | None:
        from queue_core.sqlite import reads

        return self._read(reads.caller_of(job_id))  # pyright: ignore[reportReturnType]

    def states_of(self, ids: Sequence[int]) -> dict[int, JobState]:
        from queue_core.sqlite import reads

        return self._read(reads.states_of(tuple(ids)))  # pyright: ignore[reportReturnType]

    def standings(self, ids: Sequence[int]) -> dict[int, JobState]:
        from queue_core.sqlite import reads

        return self._read(reads.standings(tuple(ids)))  # pyright: ignore[reportReturnType]

    def handed_over(self) -> int:
        from queue_core.sqlite import reads

        return self._read(reads.handed_over())
