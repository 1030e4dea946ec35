"""The Store on SQLite: each verb is one function of a sibling module in one transaction."""

from __future__ import annotations

import _thread

from queue_core.errors import InvalidJob, StoreFull
from queue_core.sqlite.engine import BUSY_TIMEOUT, Database, sqlite3
from queue_core.sqlite.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

    from queue_core.home import Home
    from queue_core.jobs import Lease, Orphan, ScheduleRow, Settlement
    from queue_core.model import Admission, JobState, Origin, Receipt
    from queue_core.quotas import QueueLimits, Quotas
    from queue_core.store import MayRun, Moved

    T = TypeVar("T")
    P = ParamSpec("P")

    class Writer(Protocol):
        """Runs a change in a transaction: at once (`Inline`), or with those that wait beside it (`GroupCommit`)."""

        def write(
            self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
        ) -> T: ...
        def finish(
            self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
        ) -> T:
            """The same for what ends something: it is given room that nothing else has."""
            ...

        def shorten_wal(self) -> bool: ...
        def close(self) -> None: ...


MOST_CLAIMS = 16  # in an exchange that has nothing to tell yet: orders have to be heard as well


class Inline:
    """Each change in a transaction of its own, on the caller's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = _thread.allocate_lock()

    def write(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._one_at_a_time:
            return self._database.write(change, *args, **kwargs)

    def finish(self, change: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._one_at_a_time:
            return self._database.finish(change, *args, **kwargs)

    def shorten_wal(self) -> bool:
        return self._database.shorten_wal()

    def close(self) -> None:
        self._database.close()


class SqliteStore(Reading):
    """A queue in one file. Safe to use from several threads; its methods block, for at most `patience` seconds."""

    def __init__(self, home: Home, *, patience: float = BUSY_TIMEOUT, group_commit: bool = False) -> None:
        """Open or make the database. With `group_commit`, writes that wait together share a transaction."""
        self._database = database = Database(home, patience=patience)
        database.stays = True
        super().__init__(home, database, lambda: self._writer.write(lambda _: None))
        if group_commit:
            from queue_core.sqlite.group_commit import GroupCommit

            self._writer: Writer = GroupCommit(database)
        else:
            self._writer = Inline(database)

    @property
    def patience(self) -> float:
        """How many seconds a write waits for others."""
        return self._database.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self._database.patience = seconds

    def close(self) -> None:
        """Let go of the file. Nothing is pending: every write was durable when it returned."""
        self._stop_reading()
        self._writer.close()

    def leave_tidy(self) -> None:
        """For a process that came for one write and finds itself alone, and for one that stays, now and then."""
        self._writer.shorten_wal()

    # writes

    def enqueue(
        self,
        admissions: Sequence[Admission],
        *,
        now: float,
        capacity: int,
        parallelism: int,
        quotas: Quotas | None = None,
        within: str | None = None,
    ) -> list[Receipt]:
        from queue_core.sqlite.admit import admit

        try:
            receipts = self._writer.write(
                admit, admissions, now=now, capacity=capacity, parallelism=parallelism, quotas=quotas, within=within
            )
            return list(receipts)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
            if not isinstance(error, sqlite3.IntegrityError) and "binding" not in str(error):
                raise
            raise InvalidJob(f"the job has a value that cannot be stored ({error})") from None

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
        from queue_core.sqlite import ballast
        from queue_core.sqlite.claim import Claimant, claim
        from queue_core.sqlite.settle import settle

        how: dict[str, Any] = {"now": now, "chance": chance, "permanent_exit_codes": permanent_exit_codes}
        if want <= 0 or ballast.spent(self._home):  # what room there is belongs to what runs
            return self.settle(settlements, **how) if settlements else [], []
        claimant = Claimant(
            worker=worker, keeper=keeper, host=host, tokens=tokens, handlers=handlers, commands=commands
        )

        def claim_more(tx: sqlite3.Connection, wanted: int) -> list[Lease]:
            return claim(tx, claimant, want=wanted, max_running=max_running, now=now, may_run=may_run)

        def settle_and_claim(tx: sqlite3.Connection) -> tuple[list[JobState | None], list[Lease]]:
            return settle(tx, settlements, **how), claim_more(tx, want)

        try:
            states, leases = self._writer.write(settle_and_claim)
        except StoreFull:
            if not settlements:
                raise
            return self.settle(settlements, **how), []
        for _ in range(MOST_CLAIMS):
            if states or leases or claimant.is_through:
                break
            leases = self._writer.write(claim_more, want)
        if len(leases) < want and not claimant.is_through:
            on_more()  # what was done is done: the caller has to hear of it first
        return states, leases

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        now: float,
        chance: Callable[[], float],
        permanent_exit_codes: Collection[int] = (),
    ) -> list[JobState | None]:
        from queue_core.sqlite.settle import settle

        return self._writer.finish(
            settle, settlements, now=now, chance=chance, permanent_exit_codes=permanent_exit_codes
        )

    def cancel(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved:
        return self._end("cancel", ids, by=by, now=now)

    def approve(self, ids: Sequence[int], *, by: Origin, now: float, folders: Mapping[int, str] | None = None) -> Moved:
        return self._control("approve", ids, by=by, now=now, folders=folders)

    def reject(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved:
        return self._end("reject", ids, by=by, now=now)

    def replay(self, ids: Sequence[int], *, held: Mapping[int, str], by: Origin, now: float) -> Moved:
        return self._control("replay", ids, held=held, by=by, now=now)

    def discard(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved:
        return self._end("discard", ids, by=by, now=now)

    def pin(self, ids: Sequence[int], *, by: Origin, cap: int, now: float) -> tuple[Moved, list[int]]:
        return self._control("pin", ids, by=by, cap=cap, now=now)

    def unpin(self, ids: Sequence[int], *, by: Origin, now: float) -> Moved:
        return self._control("unpin", ids, by=by, now=now)

    def pause(self, queue: str | None, *, paused: bool, parallelism: int, by: Origin, now: float) -> list[str]:
        from queue_core.sqlite import queues

        return self._writer.write(queues.pause, queue, paused=paused, parallelism=parallelism, by=by, now=now)

    def prune(self, *, before: float, limit: int) -> list[tuple[int, int]]:
        return self._end("prune", before=before, limit=limit)

    def nth_newest_end(self, keep: int) -> float | None:
        return self._control("nth_newest_end", keep)

    def _control(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import control

        return self._writer.write(getattr(control, verb), *args, **kwargs)

    def _end(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import control

        return self._writer.finish(getattr(control, verb), *args, **kwargs)

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

        return self._writer.finish(getattr(workers, verb), *args, **kwargs)

    def add_schedule(
        self, row: ScheduleRow, *, by: Origin, replacing: ScheduleRow | None = None, most: int | None = None
    ) -> bool:
        return self._schedule("add", row, by=by, replacing=replacing, most=most)

    def remove_schedules(self, rows: Sequence[ScheduleRow], *, by: Origin, now: float) -> bool:
        return self._schedule("remove", rows, by=by, now=now)

    def pause_schedules(
        self, rows: Sequence[ScheduleRow], *, paused: bool, by: Origin, now: float
    ) -> list[ScheduleRow] | None:
        return self._schedule("pause", rows, paused=paused, by=by, now=now)

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
        limits = {"capacity": capacity, "parallelism": parallelism, "quotas": quotas, "within": within}
        return self._schedule("fire", row, admissions, next_at=next_at, now=now, **limits)

    def trouble_schedule(self, row: ScheduleRow, why: str, *, now: float, retry_at: float) -> None:
        self._schedule("trouble", row, why, now=now, retry_at=retry_at)

    def _schedule(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import schedules

        return self._writer.write(getattr(schedules, verb), *args, **kwargs)

    def note(self, what: str, *, by: Origin, now: float, about: str | None = None) -> None:
        self._audit("note", what, by, now, about=about)

    def forget_deeds(self, *, before: float) -> int:
        return self._audit("forget", before=before)

    def answer_task(self, task_id: str, *, answers: int, dismissed: bool) -> bool:
        from queue_core.sqlite import tasks

        return self._writer.write(tasks.answer, task_id, answers=answers, dismissed=dismissed)

    def _audit(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        from queue_core.sqlite import audit

        return self._writer.write(getattr(audit, verb), *args, **kwargs)
