"""The queue for Python programs: one queue and one worker a process, made when they are first needed.

from queue_core import enqueue, process_queue
enqueue(["git", "fetch"])
enqueue("my-notes add", kwargs={"title": "Today", "draft": True})
process_queue()
"""

from __future__ import annotations

import _thread
import os
import sys

from queue_core import callers
from queue_core.errors import WorkerError
from queue_core.service import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from anyio.from_thread import BlockingPortal

    from queue_core.handlers import Function, Handler, P, T
    from queue_core.model import Receipt
    from queue_core.views import View
    from queue_core.worker.loop import Worker

START_TIMEOUT = 30.0  # seconds for a worker to say that it is ready

_opening = _thread.allocate_lock()
_starting = _thread.allocate_lock()
_queue: Queue | None = None
_running: _RunningWorker | None = None
_handlers: dict[str, Handler] = {}  # what the program has declared; they outlive the queue


def get_queue() -> Queue:
    """This process's queue, opened when it is first asked for."""
    global _queue
    with _opening:  # a second queue would commit beside the first, not with it
        if _queue is None or _queue.closed:
            _queue = Queue.open(group_commit=True)
            _queue.handlers = _handlers
        return _queue


def enqueue(command: str | Sequence[str] | None = None, *, silent: bool | None = None, **fields: Any) -> Receipt:
    """Queue one job; durable when this returns.

    `command` is an argv, or a text that is split as a shell would; `fields` are those of a job (handler and
    arguments instead of a command; queue, priority, kwargs, delay, retries, …: see `submission.KEYS`). Says what
    it did on a terminal; `silent` None finds out by itself whether it runs under a hook. InvalidJob, QueueFull,
    StoreError say why not.
    """
    queue = get_queue()
    receipt = queue.submit(command, **fields)
    quiet = callers.under_hook(os.environ) if silent is None else silent
    if not quiet and sys.stderr.isatty():
        from shlex import join

        job = queue.job(receipt.id)
        sys.stderr.write(f"Queued job {receipt.id} ({receipt.state}): {job.handler or join(job.argv)}\n")
    return receipt


def handler(
    name: str, *, timeout: float | None = None, heartbeat: float | None = None
) -> Callable[[Function[P, T]], Function[P, T]]:
    """Declare a function that runs jobs in this process's workers; see `Queue.handler`. Opens nothing."""
    from queue_core.handlers import declare

    return declare(_handlers, name, timeout=timeout, heartbeat=heartbeat)


def wait(*ids: int, timeout: float | None = None) -> dict[int, str]:
    """Wait until these jobs (none named: all that wait or run now) have ended, `timeout` seconds at most.

    How they stand then: those that have not ended in time are in one of the states before, and one that has died
    and was handed over stands as its successors do. UnknownJob.
    """
    from queue_core import waiting

    return waiting.wait_for(get_queue(), ids, timeout)


def get_result(job_id: int) -> Any:
    """What a handler's job has returned; QueueError unless it has succeeded."""
    return get_queue().result(job_id)


def get_status(job_id: int | None = None) -> View:
    """The whole queue (counts, queues, worker, health), or one job in full. UnknownJob."""
    return get_queue().status_view() if job_id is None else get_queue().job_view(job_id)


def process_queue(*, parallelism: int | None = None) -> View:
    """Run what is there in this process, then return the status: waits for no backoff. Blocks: not for coroutines."""
    import asyncio

    import anyio

    if asyncio._get_running_loop() is not None:  # pyright: ignore[reportPrivateUsage]
        raise WorkerError("process_queue() would block this event loop; call it in a thread, or use start_worker()")
    from queue_core.worker.loop import Worker
    from queue_core.worker.options import Options

    worker = Worker(get_queue(), Options(parallelism=parallelism, until_empty=True))
    anyio.run(worker.run)
    return get_status()


def start_worker(*, parallelism: int | None = None, threshold: int = 1) -> bool:
    """Start a worker in a thread of this process if at least `threshold` jobs wait; whether one runs now.

    It claims until `stop_worker`; other processes' workers share the queue with it.
    """
    global _running
    queue = get_queue()
    with _starting:
        if _running is not None and _running.lives():
            return True
        if _work_waiting(queue) < threshold:
            return False
        _running = _RunningWorker(queue, parallelism)
        return True


def _work_waiting(queue: Queue) -> int:
    """Jobs that wait, in the queue or in the spool, schedules that are due, and commands that a dead worker left."""
    from queue_core import recovery, spool

    left = recovery.orphans(queue.store, queue.home)
    due = queue.store.due_schedules(queue.clock(), limit=1000)
    return queue.store.waiting() + len(spool.pending(queue.home)) + len(due) + len(left)


def stop_worker(*, now: bool = False, timeout: float = 60.0) -> bool:
    """Let running commands end and stop; with `now`, end them and put their jobs back.

    Whether the worker has left within `timeout` seconds (True if there was none).
    """
    global _running
    if _running is None:
        return True
    if not _running.stop(now=now, timeout=timeout):
        return False
    _running = None
    return True


def get_worker() -> Worker | None:
    """The worker that `start_worker` started, while it lives."""
    return _running.worker if _running is not None and _running.lives() else None


def reset() -> None:
    """Stop the worker at once and forget the queue: for tests. What was accepted stays in its home."""
    global _queue
    if not stop_worker(now=True):
        raise WorkerError("the worker does not leave: a command, a keeper or a function does not stop; end it first")
    if _queue is not None:
        _queue.close()
        _queue = None


def _forget_in_fork() -> None:
    """Nothing of the parent's is the child's: neither the open database nor the worker's thread."""
    global _queue, _running, _opening, _starting
    _queue, _running = None, None
    _opening, _starting = _thread.allocate_lock(), _thread.allocate_lock()


os.register_at_fork(after_in_child=_forget_in_fork)


class _RunningWorker:
    """A worker in a thread with an event loop of its own. The program's end does not wait for it."""

    def __init__(self, queue: Queue, parallelism: int | None) -> None:
        import threading

        from queue_core.worker.loop import Worker
        from queue_core.worker.options import Options

        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._portal: BlockingPortal | None = None
        self.worker = Worker(queue, Options(parallelism=parallelism), on_ready=self._ready.set)
        self._thread = threading.Thread(target=self._run, name="runq-worker", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT):
            raise WorkerError(f"the worker did not start within {START_TIMEOUT:g} s")
        if self._error is not None:
            raise WorkerError(f"the worker did not start: {self._error}") from self._error

    def _run(self) -> None:
        import logging

        import anyio

        try:
            anyio.run(self._work)
        except Exception as error:
            self._error = error
            logging.getLogger("runq.worker").error("%s", error)
        finally:
            self._ready.set()

    async def _work(self) -> None:
        from anyio.from_thread import BlockingPortal

        async with BlockingPortal() as self._portal:
            await self.worker.run()

    def lives(self) -> bool:
        """Whether the worker still works."""
        return self._thread.is_alive()

    def stop(self, *, now: bool, timeout: float) -> bool:
        """Have it leave; whether it has within `timeout` seconds."""
        if self._portal is not None:
            try:
                self._portal.call(self.worker.change_mode, "stop" if now else "finish")
            except RuntimeError:  # it has just left by itself
                pass
        self._thread.join(timeout)
        return not self.lives()
