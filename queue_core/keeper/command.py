"""One command that the keeper runs, from its record to its end."""

from __future__ import annotations

import os
import sys
import time

from queue_core.errors import SpawnFailed
from queue_core.keeper import processes, records
from queue_core.keeper.ending import Ending, Tree
from queue_core.keeper.output import Output
from queue_core.keeper.records import ClaimFiles, End, Start
from queue_core.keeper.spawn import Request, launch
from queue_core.keeper.started import Started
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage

    from queue_core.keeper.connections import Connection
    from queue_core.keeper.protocol import Claim

NEVER = float("inf")
_RSS_UNIT = 1024 if sys.platform == "darwin" else 1  # macOS counts bytes, all others KiB


class Place:
    """What every record of one keeper has in common: who wrote it, and where its pids mean something."""

    def __init__(self, keeper: str, home: int) -> None:
        self.keeper = keeper
        self.home = home  # a descriptor of the keeper's own directory
        self.boot_id = processes.boot_id()
        self.pid_namespace = processes.pid_namespace()
        self.started = Started(home)
        self.births = processes.Births()

    def start_of(self, request: Request) -> Start:
        """The start of a claim's record."""
        return Start(
            job=request.job,
            claim=request.claim,
            keeper=self.keeper,
            boot_id=self.boot_id,
            pid_namespace=self.pid_namespace,
            started_at=time.time(),
        )


class Command:
    """A claim between its record's start and its record's end."""

    def __init__(self, request: Request, place: Place) -> None:
        """Make its record, lock and output. OSError if they can't be made; then nothing is left."""
        self.claim: Claim = (request.job, request.claim)
        self.listeners: set[Connection] = set()
        self.pid = 0  # until it is spawned
        self._request = request
        self._place = place
        self._start = place.start_of(request)
        self._files = ClaimFiles(request.dir, self._start)
        self._output = Output(self._files.output, request.cap)
        self._ticks: int | None = None
        self._born: int | None = None  # the tick in which it was spawned, as the clock has it
        self._deadline = NEVER
        self._ending: Ending | None = None
        self._exit: tuple[int, struct_rusage] | None = None

    def spawn(self, home: int) -> None:
        """Note it and start it, and its time-out. SpawnFailed or OSError as `launch` says; then it does not run."""
        self._place.started.note(self._start)
        before = self._place.births.now()
        self.pid = launch(self._request, self._files, home)
        self._born = before if before == self._place.births.now() else None  # nothing may fail from here on: it runs
        if self._request.timeout is not None:
            self._deadline = time.monotonic() + self._request.timeout

    def note_process(self) -> None:
        """Write pid and start ticks into the record, and note them. OSError if the disk or the look at /proc fails."""
        self._ticks = self._place.births.ticks(self.pid, self._born)
        try:
            self._place.started.note(replace(self._start, pid=self.pid, ticks=self._ticks))
        finally:
            self._files.spawned(self.pid, self._ticks)

    def exited(self, status: int, usage: struct_rusage) -> None:
        """Its process was reaped."""
        self._exit = (status, usage)

    def stop(self, reason: str, now: float) -> None:
        """Begin its termination, unless one is under way or it ended by itself."""
        if self._ending is None and self._exit is None:
            tree = Tree(self.pid, self._ticks, self._request.token, self._files.lock_id)
            self._ending = Ending(tree, reason, self._request.grace, now)

    @property
    def capped(self) -> bool:
        """Has its output to be watched?"""
        return self._request.cap is not None

    def trim(self) -> bool:
        """Keep its output near the cap; tells whether it has grown."""
        try:
            return self._output.trim()
        except (OSError, ImportError):  # a failing disk, no descriptors: must not end the keeper
            return False

    def due(self) -> float:
        """When `over` has something to do next, in monotonic seconds."""
        if self._ending:
            return self._ending.due
        return self._deadline

    def over(self, now: float) -> bool:
        """Do what is due; is it over, with all that had to end?"""
        if self._ending is None and now >= self._deadline:
            self.stop("timed_out", now)
        if self._ending is None:  # what a command leaves behind that ends by itself is none of our business
            return self._exit is not None
        return self._ending.step(now, reaped=self._exit is not None)

    def finish(self) -> str:
        """Close up the output and write the end of a command that is over; returns it as `records.text_of`.

        If the disk refuses the end, it is told to the worker all the same.
        """
        status, usage = self._exit or (None, None)
        try:
            output_bytes, cut_bytes = self._output.close_up()
        except OSError:
            output_bytes, cut_bytes = 0, 0
        return self._write(
            End(
                status=status,
                reason=self._ending.reason if self._ending else None,
                ended_at=time.time(),
                user_seconds=usage.ru_utime if usage else 0.0,
                system_seconds=usage.ru_stime if usage else 0.0,
                max_rss=usage.ru_maxrss // _RSS_UNIT if usage else 0,
                output_bytes=output_bytes,
                cut_bytes=cut_bytes,
            )
        )

    def fail(self, why: SpawnFailed) -> str:
        """The same: write the end of a command that can't be started as it stands."""
        return self._write(End(error=str(why), ended_at=time.time()))

    def _write(self, end: End) -> str:
        text = records.text_of(end)
        try:
            self._files.write_end(text)
            self._place.started.ended(self.claim)
        except OSError as error:
            log(f"The end of claim {self.claim} could not be recorded: {error}")
        self._files.close()
        return text

    def forget(self) -> None:
        """Undo a claim whose command was not spawned through no fault of its own."""
        self._files.remove()
        try:
            self._place.started.never(self._start)
        except OSError as error:  # if nobody is left to hear that it was refused, it counts as lost
            log(f"That claim {self.claim} was not started could not be noted: {error}")


def log(text: str) -> None:
    """A line for the keeper's log; a full disk must not end the keeper."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n"
    try:
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:
        return
