"""Booting a worker when there is a backlog, and only then: what the MCP server does beside answering."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, ClassVar

import anyio

from queue_core import changes
from queue_core.errors import QueueError, WorkerError
from queue_core.keeper import processes
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queue_core.service import Queue

log = logging.getLogger("runq.boot")

FIRST_LOOK = 0.25  # seconds after the start, when the handshake has been answered
POLL = 5.0  # seconds at the latest until the next look
START_TIMEOUT = 15.0  # seconds for a worker to say that it is ready
STOPPED_FOR = 5.0  # seconds after which workers that are all stopped (SIGSTOP, Ctrl-Z) keep nobody from booting one
FAILED_PAUSE = (1.0, 60.0)  # seconds before the next try, first and longest

# What makes a command part of a job is not for a worker that the command's own server boots.
_NOT_INHERITED = ("RUNQ_JOB_ID", "RUNQ_CLAIM", "RUNQ_CLAIM_TOKEN", "RUNQ_PROGRESS")
# The package comes last on the path, for when it is run from a checkout that is not installed.
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CODE = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from queue_core.worker.no_tls import leave_tls_out; leave_tls_out();"
    " from queue_core.worker.main import main; main()"
)


class Booted:
    """A worker process and the pipe that tells it that this process lives."""

    _outlived: ClassVar[set[subprocess.Popen[bytes]]] = set()  # let go while they lived; still to be reaped

    def __init__(self, process: subprocess.Popen[bytes], pipe: int) -> None:
        self._process = process
        self._pipe = pipe
        for other in [other for other in self._outlived if other.poll() is not None]:
            self._outlived.discard(other)

    @property
    def pid(self) -> int:
        return self._process.pid

    def lives(self) -> bool:
        """Whether the process is still there (and reaps it when it is not)."""
        return self._process.poll() is None

    def let_go(self) -> None:
        """End the session: the worker does what `after_session` says."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self.lives():
            self._outlived.add(self._process)

    def give_up(self) -> None:
        """End a worker that did not come up; what it may have begun is whole all the same."""
        self._process.kill()
        self._process.wait()
        self.let_go()

    def failed(self) -> bool:
        """Whether it ended with an error of its own; one that was killed has not failed."""
        return (self._process.poll() or 0) > 0


def boot(environ: Mapping[str, str], *, booted_by: str) -> Booted:
    """Start a worker in a session of its own and wait until it claims; WorkerError says why it did not."""
    theirs, ours = os.pipe()
    heard, say = os.pipe()
    try:
        process = launch(environ, theirs, say, booted_by)
    except OSError as error:
        _close(theirs, ours, heard, say)
        raise WorkerError(f"a worker could not be started with {sys.executable} ({error.strerror})") from None
    _close(theirs, say)
    booted = Booted(process, ours)
    answer = _first_words(heard)
    if answer != "ready":
        booted.give_up()
        raise WorkerError(f"the worker did not start: {answer or 'it said nothing; see `runq logs`'}")
    return booted


def launch(environ: Mapping[str, str], pipe: int, ready: int, booted_by: str) -> subprocess.Popen[bytes]:
    """The process itself. It gets nothing of this one but two pipes: no client's stdin, stdout or stderr."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, _ROOT, str(pipe), str(ready), booted_by],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(pipe, ready),
        start_new_session=True,
        cwd="/",
        env={name: value for name, value in environ.items() if name not in _NOT_INHERITED},
    )


def _first_words(descriptor: int) -> str:
    import select

    poll = select.poll()  # `select.select` knows no descriptor above 1023
    poll.register(descriptor, select.POLLIN)
    try:
        spoke = poll.poll(START_TIMEOUT * 1000)
        return os.read(descriptor, 4096).decode("utf-8", "replace").strip() if spoke else ""
    finally:
        os.close(descriptor)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Booter:
    """Looks for a backlog on every change, at the next due time and every few seconds, and boots a worker."""

    def __init__(self, queue: Queue, *, booted_by: str) -> None:
        self._queue = queue
        self._booted_by = booted_by
        self._booted: list[Booted] = []
        self._failures = 0
        self._all_stopped_since = math.inf  # monotonic

    async def run(self) -> None:
        """Look until cancelled. Nothing that goes wrong here ends the server."""
        await anyio.sleep(FIRST_LOOK)
        try:
            while True:
                try:
                    await self._keep_looking()
                except (QueueError, OSError) as error:
                    log.warning("%s", error)
                    # No ring cuts this short: a worker that fails rings as it leaves.
                    await anyio.sleep(self._pause())
        finally:
            for booted in self._booted:
                booted.let_go()

    async def _keep_looking(self) -> None:
        """Look, boot a worker if one is needed, wait for a reason to look again; until something goes wrong."""
        bell = changes.Bell(self._queue.home, "work")
        try:
            while True:
                bell.clear()
                begun = self._queue.clock()
                if await on_thread(self._is_needed):
                    self._booted.append(await self._boot())
                with anyio.move_on_after(await on_thread(self._until_due, begun)):
                    await anyio.wait_readable(bell)
        finally:
            bell.close()

    def _pause(self) -> float:
        first, longest = FAILED_PAUSE
        self._failures += 1
        return min(first * 2 ** min(self._failures - 1, 10), longest)

    async def _boot(self) -> Booted:
        # Not abandoned when the server is told to leave: what has been started must not lose its pipe unseen.
        booted = await on_thread(lambda: boot(self._queue.environ, booted_by=self._booted_by))
        log.info("booted a worker (pid %d): there is a backlog", booted.pid)
        return booted

    def _is_needed(self) -> bool:
        ended = [booted for booted in self._booted if not booted.lives()]
        self._booted = [booted for booted in self._booted if booted not in ended]
        for booted in ended:
            booted.let_go()  # its end of the pipe is gone, ours is a descriptor that would stay
        if any(booted.failed() for booted in ended):
            raise WorkerError("a worker has failed; `runq logs` says why")
        if ended or self._booted:
            self._failures = 0
        return not self._is_manned() and self._queue.has_backlog()

    def _is_manned(self) -> bool:
        """Whether some worker claims. Those that are stopped for longer than a moment do not, though they live.

        What they run stays theirs, and the limits of the queues count it: one more worker can do no harm. Where that
        one is stopped too, and the next, it must not go on for ever: two stopped ones of this booter's are the most.
        """
        pids = self._queue.live_workers(claiming=True).values()
        if not pids or not all(processes.stopped(pid) for pid in pids):
            self._all_stopped_since = math.inf
            return bool(pids)
        now = time.monotonic()
        self._all_stopped_since = min(self._all_stopped_since, now)
        ours = sum(processes.stopped(booted.pid) for booted in self._booted)
        return now - self._all_stopped_since < STOPPED_FOR or ours > 1

    def _until_due(self, begun: float) -> float:
        """Seconds until something is due that was not when the look began: nothing falls between the two."""
        due = self._queue.store.next_due(begun)
        return POLL if due is None else min(POLL, max(0.01, due - self._queue.clock()))
