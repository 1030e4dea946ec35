"""The reading half of the Store on SQLite: each question is one function of a sibling module in one snapshot."""

from __future__ import annotations

import _thread

from queue_core.errors import UsageError
from queue_core.sqlite.engine import Database, connect, explain, identity, sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import TypeVar

    from queue_core.figures import Counts
    from queue_core.home import Home
    from queue_core.jobs import (
        Deed,
        DeedFilter,
        Filter,
        Job,
        Link,
        Orphan,
        Overview,
        Page,
        QueueRow,
        ScheduleRow,
        Task,
        Totals,
        WorkerRow,
    )
    from queue_core.model import Caller, JobState
    from queue_core.sqlite.reads import Read

    T = TypeVar("T")


class Reading:
    """Reads over one connection of their own, from any thread."""

    def __init__(self, home: Home, database: Database, look: Callable[[], None]) -> None:
        """`look` does what a write does before it begins: it refuses a file that is not to be gone on with."""
        self._home = home
        self._reader: sqlite3.Connection | None = None
        self._reading = _thread.allocate_lock()
        self._read_database = database
        self._look = look
        self._file = database.file  # the one that is read

    def _stop_reading(self) -> None:
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _read(self, read: Read[T]) -> T:
        from queue_core.sqlite.reads import run

        if identity(self._home.database) != self._file:
            self._follow()
        with self._reading:
            if self._reader is None:
                self._reader = connect(self._home)
            try:
                return run(self._reader, read)
            except UnicodeEncodeError:
                raise UsageError("what was asked for is no valid UTF-8 text, as all that is stored is") from None
            except Exception as error:
                explained = explain(error, self._reader, self._home)
                if explained is None:
                    raise
                raise explained from error

    def _follow(self) -> None:
        """Read from the file that has taken the place of the old one, if that is one to be written to as well."""
        self._look()
        self._stop_reading()
        self._file = self._read_database.file

    def deeds(self, wanted: DeedFilter) -> list[Deed]:
        from queue_core.sqlite import audit

        return self._read(audit.deeds(wanted))

    def task(self, task_id: str) -> Task | None:
        from queue_core.sqlite import reads

        return self._read(reads.task(task_id))

    def input(self, job_id: int) -> bytes | None:
        from queue_core.sqlite import reads

        return self._read(reads.given_input(job_id))

    def projects_of(self, ids: Sequence[int]) -> dict[int, str | None]:
        from queue_core.sqlite import reads

        return self._read(reads.projects_of(tuple(ids)))

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

    def queues(self, name: str | None = None) -> list[QueueRow]:
        from queue_core.sqlite import reads

        return self._read(reads.queues(name))

    def overview(self) -> Overview:
        from queue_core.sqlite import reads

        return self._read(reads.overview())

    def totals(self) -> Totals:
        from queue_core.sqlite import reads

        return self._read(reads.totals())

    def workers(self) -> list[WorkerRow]:
        from queue_core.sqlite import reads

        return self._read(reads.workers())

    def waiting(self) -> int:
        from queue_core.sqlite import reads

        return self._read(reads.waiting())

    def version(self) -> tuple[object, int]:
        from queue_core.sqlite import reads

        number = self._read(reads.version())
        return self._file, number

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
