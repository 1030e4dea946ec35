"""Handlers: functions of a Python program that run jobs in the process itself, instead of commands.

A job names its handler and carries JSON arguments; only a worker of a program that has declared the
handler claims it. `Context` is what the function is given: how it tells of its progress, and how it
learns that it is to stop.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from queue_core.errors import InvalidJob, QueueError
from queue_core.home import make_folder
from queue_core.value import Frozen

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping
    from typing import Concatenate, Literal, ParamSpec, TypeVar

    from queue_core.jobs import Lease
    from queue_core.service import Queue

    P = ParamSpec("P")
    T = TypeVar("T")
    Function = Callable[Concatenate["Context", P], T]
    Reason = Literal["cancelled", "timed_out", "interrupted"]


TEMPORARY = "/scratch"  # in the claim's folder
LONGEST_PROGRESS = 400  # characters of one line
MOST_PROGRESS = 64 * 1024  # characters after which the file begins anew


class GiveUp(QueueError):
    """Raised by a handler: no retry can cure what is wrong, so the job is a dead letter at once."""


class Stopped(QueueError):
    """Raised in a handler by `Context.check`: the job is to stop."""


class Handler(Frozen):
    """A declared function. `timeout` and `heartbeat` are seconds; None sets no limit."""

    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    is_coroutine: bool
    timeout: float | None = None
    heartbeat: float | None = None

    def misfit(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the function cannot be called with these, in words; None if it can."""
        try:
            self.signature.bind(None, **arguments)
        except TypeError as error:
            return f"the arguments do not fit the handler {self.name}: {error}"
        return None


def declare(
    table: dict[str, Handler], name: str, *, timeout: float | None, heartbeat: float | None
) -> Callable[[Function[P, T]], Function[P, T]]:
    """The decorator behind `Queue.handler`; InvalidJob for a name that is taken or could not be typed."""
    from queue_core.admission import check_handler

    check_handler(name)
    if name in table:
        raise InvalidJob(f"there is a handler {name} already; give this one another name")

    def decorate(function: Function[P, T]) -> Function[P, T]:
        import inspect

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidJob(f"the handler {name} is a generator, whose body nobody would run; use a plain function")
        table[name] = Handler(
            name=name,
            function=function,
            signature=inspect.signature(function),
            is_coroutine=inspect.iscoroutinefunction(function),
            timeout=timeout,
            heartbeat=heartbeat,
        )
        return function

    return decorate


class Context:
    """What a handler is given as its first argument. Safe to use from the thread that the function runs in."""

    def __init__(self, queue: Queue, lease: Lease) -> None:
        self.queue = queue
        self.job = lease.job
        self.attempt = lease.attempt
        self._dir = queue.home.run(lease.job, lease.claim)
        self._room = queue.settings.output_cap
        self._stop = threading.Event()
        self.stop_reason: Reason | None = None
        self.told = False  # the function has learnt that it is to stop
        self.last_sign = time.monotonic()
        self.output_bytes = 0
        self.cut_bytes = 0
        self._progress_bytes = 0
        self._has_dir = False

    # what the function tells

    def progress(self, text: object) -> None:
        """Say how far it is: `runq status ID` shows the latest. Counts as a heartbeat."""
        self.heartbeat()
        line = " ".join(str(text).split())[:LONGEST_PROGRESS] + "\n"
        self._progress_bytes += len(line)
        anew = self._progress_bytes > MOST_PROGRESS  # only the last line is ever read
        self._progress_bytes = len(line) if anew else self._progress_bytes
        self._append("progress", line, anew=anew)

    def heartbeat(self) -> None:
        """Say that it is still at work, for a handler that was declared with `heartbeat`."""
        self.last_sign = time.monotonic()

    def log(self, text: object) -> None:
        """Write a line to the job's output: `runq output ID` shows it."""
        line = f"{text}\n".encode("utf-8", "replace")
        if self.output_bytes + len(line) > self._room:
            self.cut_bytes += len(line)
            return
        self.output_bytes += len(line)
        self._append("output", line.decode())

    # what the function is told

    @property
    def stopped(self) -> bool:
        """Whether the job is to stop (it was cancelled, took too long, or its worker is to leave at once).

        A function that has seen this and returns nothing has stopped; if it returns a result, that counts.
        """
        self.told = self._stop.is_set()
        return self.told

    def check(self) -> None:
        """Raise `Stopped` if the job is to stop: for loops in plain functions, which nothing else can end."""
        if self.stopped:
            raise Stopped(f"job {self.job} is to stop: {self.stop_reason}")

    def sleep(self, seconds: float) -> None:
        """Wait in a plain function, for as long as the job is not to stop; `Stopped` if it is."""
        self._stop.wait(seconds)
        self.check()

    # what the function works in

    @property
    def folder(self) -> str:
        """A folder for temporary files, made on first use, gone when the attempt is over, however it ends."""
        return make_folder(self._make_dir() + TEMPORARY)

    # for the worker

    def stop(self, reason: Reason) -> None:
        """Have the function stop; the first reason counts."""
        if not self._stop.is_set():
            self.stop_reason = reason
            self._stop.set()

    def _make_dir(self) -> str:
        if not self._has_dir:
            home = self.queue.home
            make_folder(home.path("runs"))
            make_folder(home.path("runs", str(self.job)))
            make_folder(self._dir)
            self._has_dir = True
        return self._dir

    def _append(self, name: str, text: str, *, anew: bool = False) -> None:
        path = f"{self._make_dir()}/{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if anew else 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def remove_temporary(run_dir: str) -> None:
    """Remove what an attempt has left in its `Context.folder`."""
    import shutil

    shutil.rmtree(run_dir + TEMPORARY, ignore_errors=True)
