"""The worker as a process: signals, the pipe to the server that booted it, the log."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio

from queue_core.errors import QueueError
from queue_core.logs import log_to_home
from queue_core.service import Queue
from queue_core.worker.groups import task_group
from queue_core.worker.loop import Worker
from queue_core.worker.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.worker.options import Mode

READY = b"ready\n"

log = logging.getLogger("runq.worker")


async def run(worker: Worker, pipe: int | None = None, *, on_signal: Callable[[Mode], None] = lambda _: None) -> None:
    """Run a worker until it leaves, obeying signals and the end of the session that booted it.

    `on_signal` is told what a signal has changed.
    """
    async with task_group() as tasks:
        tasks.start_soon(_obey_signals, worker, on_signal)
        if pipe is not None:
            tasks.start_soon(_watch_session, worker, pipe)
        await worker.run()


async def _obey_signals(worker: Worker, on_signal: Callable[[Mode], None]) -> None:
    """TERM and a first INT: finish what runs. QUIT and a second INT: end it and put it back."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP) as signals:
        async for number in signals:
            again = number == signal.SIGINT and worker.mode == "finish"
            before = worker.mode
            worker.change_mode("stop" if number == signal.SIGQUIT or again else "finish")
            if worker.mode != before:
                on_signal(worker.mode)


async def _watch_session(worker: Worker, pipe: int) -> None:
    """The server holds the other end for as long as it lives; nobody ever writes."""
    await anyio.wait_readable(pipe)
    after: Mode = worker.queue.settings.after_session
    worker.change_mode(after)


def main() -> None:
    """A worker that a server has booted: `main(pipe to the server, pipe to say ready on, who booted it)`."""
    pipe, booted_by = int(sys.argv[1]), sys.argv[3]
    server = _Server(int(sys.argv[2]))
    try:
        queue = Queue.open()
        log_to_home(queue.home, queue.settings.log_level)
        worker = Worker(queue, Options(booted_by=booted_by), on_ready=lambda: server.hear(READY))
        anyio.run(run, worker, pipe)
    except QueueError as error:
        log.error("%s", error)
        server.hear(str(error).encode() + b"\n")
        os._exit(1)
    except BaseException:
        log.exception("the worker has failed")
        os._exit(1)
    os._exit(0)


class _Server:
    """Whoever waits to hear how the start went: told once, since the descriptor's number is used again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def hear(self, text: bytes) -> None:
        """Say this, unless something was said before."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            os.write(descriptor, text)
        except OSError:  # the server has gone already
            pass
        os.close(descriptor)
