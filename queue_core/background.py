"""The queue inside an application: a worker in its event loop, and an `enqueue` that nobody waits for.

    background = Background()

    @background.handler("score")
    def score(context, memory_id): ...

    app = Starlette(routes=..., lifespan=background.lifespan)
    background.enqueue("score", {"memory_id": 7})  # on the request path: returns at once

Nothing that goes wrong here reaches the application: it is logged.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from queue_core.errors import QueueError, StoreBusy, StoreError, StoreFull
from queue_core.handlers import declare
from queue_core.service import Queue
from queue_core.submission import new_job
from queue_core.worker.threads import on_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from queue_core.handlers import Function, Handler, P, T
    from queue_core.model import NewJob, Receipt
    from queue_core.worker.loop import Worker
    from queue_core.worker.options import Mode

log = logging.getLogger("runq.background")

PATIENCE = 10.0  # seconds that the application's end waits for running functions
LAST_PATIENCE = 1.0  # and, when they have been told to stop
AGAIN = 5.0  # seconds until a worker that failed is started again
BATCH = 500  # jobs that are stored in one transaction at the most


class Background:
    """A queue, its handlers and a worker for them, for as long as an application runs.

    With `enabled=False` (for tests) nothing is opened, stored or run, and handlers stay plain functions.
    """

    def __init__(
        self,
        open_queue: Callable[[], Queue] | None = None,
        *,
        enabled: bool = True,
        parallelism: int | None = None,
        commands: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """`open_queue` opens the queue when it is first needed; `parallelism` is this worker's own cap.

        `commands` lets the worker run commands as well as handlers; `patience` is how many seconds the
        application's end waits for functions that run. Then they are told to stop, and have one more: those that
        are left count as lost, and are run again.
        """
        self.enabled = enabled
        self._open_queue = open_queue or (lambda: Queue.open(group_commit=True))
        self._parallelism = parallelism
        self._commands = commands
        self._patience = patience
        self._handlers: dict[str, Handler] = {}
        self._queue: Queue | None = None
        self._opening = threading.Lock()
        self._inbox = _Inbox(self._store)
        self._worker: Worker | None = None
        self._left = anyio.Event()  # the worker has left
        self._ending = False
        self._left_behind = False
        self._has_warned = False
        _forget_after_fork(self)

    def handler(
        self, name: str, *, timeout: float | None = None, heartbeat: float | None = None
    ) -> Callable[[Function[P, T]], Function[P, T]]:
        """Declare a function that runs jobs; see `Queue.handler`."""
        return declare(self._handlers, name, timeout=timeout, heartbeat=heartbeat)

    @property
    def queue(self) -> Queue:
        """The queue, opened when it is first asked for. QueueError if it cannot be."""
        with self._opening:
            if self._queue is None:
                self._queue = self._open_queue()
                self._queue.handlers = self._handlers  # one table: also for what is declared later
            return self._queue

    @property
    def worker(self) -> Worker | None:
        """The worker, while it lives."""
        return self._worker

    # on the request path

    def enqueue(self, handler: str, arguments: Mapping[str, Any] | None = None, /, **options: Any) -> Future[Receipt]:
        """Have a job stored, and return at once; never raises. From any thread.

        `options` are those of a job (queue, delay, retries, unique, …). The future holds the receipt once the
        job is durable, or why it could not be stored (which is logged too); it is cancelled if not `enabled`.
        With StoreBusy and StoreFull the job lies in the spool, if that has room: it is queued later.
        """
        answer: Future[Receipt] = Future()
        if not self.enabled:
            answer.cancel()
            return answer
        try:
            job = new_job({"handler": handler, "arguments": {**(arguments or {})}, **options})
        except Exception as error:
            _refuse(answer, error)
            return answer
        answer.set_running_or_notify_cancel()  # on its way to the store, and no longer to be called back
        self._inbox.put(job, answer)
        return answer

    def _store(self, jobs: list[NewJob]) -> list[Receipt]:
        try:
            queue = self.queue
        except StoreError as error:  # StoreBusy would say that the jobs lie in the spool
            raise QueueError(f"the queue could not be opened: {error}") from error
        origin = queue.origin()
        try:
            receipts = queue.enqueue(jobs, origin)
        except (StoreBusy, StoreFull):
            queue.spool(jobs, origin)
            raise
        self._warn_of_held(receipts)
        return receipts

    def _warn_of_held(self, receipts: list[Receipt]) -> None:
        if not self._has_warned and any(receipt.state == "held" for receipt in receipts):
            self._has_warned = True
            log.warning(
                "the jobs of this application wait for approval: it was started from an agent's shell, and counts as"
                ' the agent; start it from a terminal of your own, or set agents = "allow" in config.toml'
            )

    # beside it

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """For Starlette's and FastAPI's `lifespan=`: the worker runs while the block does.

        At the end what was handed in is stored, running functions may end within `patience`, and what waits
        stays in the queue for the next start.
        """
        del app
        if not self.enabled:
            yield
            return
        self._ending = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_working)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end()
                tasks.cancel_scope.cancel()
        await on_thread(self._close)

    async def _keep_working(self) -> None:
        """A worker, and another one if it fails: the application has nothing to do with it."""
        while not self._ending:
            try:
                await self._work()
            except Exception:
                log.exception("the worker in this application has failed; starting another in %g s", AGAIN)
            if not self._ending:
                await anyio.sleep(AGAIN)

    async def _work(self) -> None:
        from queue_core.worker.loop import Worker
        from queue_core.worker.options import Options

        queue = await on_thread(lambda: self.queue)
        self._worker = Worker(queue, Options(parallelism=self._parallelism, commands=self._commands))
        self._left = anyio.Event()
        try:
            if not self._ending:
                await self._worker.run()
        finally:
            self._left_behind = self._left_behind or self._worker.left_behind
            self._worker = None
            self._left.set()

    async def _end(self) -> None:
        self._ending = True
        await on_thread(self._inbox.flush)
        steps: tuple[tuple[Mode, float], ...] = (("finish", self._patience), ("stop", LAST_PATIENCE))
        for mode, patience in steps:
            if self._worker is None:
                return
            self._worker.change_mode(mode)
            with anyio.move_on_after(patience):
                await self._left.wait()

    def _close(self) -> None:
        with self._opening:
            queue, self._queue = self._queue, None
        if queue is not None and not self._left_behind:  # functions that go on will have their end recorded
            queue.close()

    def _forget(self) -> None:
        """In a fork of the process: nothing of the parent's is this one's, neither its queue nor its threads."""
        self._queue, self._worker = None, None
        self._opening = threading.Lock()
        self._inbox = _Inbox(self._store)


def _forget_after_fork(background: Background) -> None:
    kept = weakref.ref(background)

    def forget() -> None:
        found = kept()
        if found is not None:
            found._forget()  # pyright: ignore[reportPrivateUsage]

    os.register_at_fork(after_in_child=forget)


class _Inbox:
    """Jobs on their way to the store, and the thread that takes them there, all that wait at once."""

    def __init__(self, store: Callable[[list[NewJob]], list[Receipt]]) -> None:
        self._store = store
        self._waiting: deque[tuple[NewJob, Future[Receipt]]] = deque()
        self._changed = threading.Condition()
        self._storing = False

    def put(self, job: NewJob, answer: Future[Receipt]) -> None:
        """Leave a job here. Costs microseconds; a thread is there while there is something to store."""
        with self._changed:
            self._waiting.append((job, answer))
            if self._storing:
                return
            self._storing = True
        try:
            threading.Thread(target=self._run, name="runq-enqueue").start()  # no daemon: the program's end waits for it
        except RuntimeError:  # no more threads, or the program is ending: then whoever asks has to wait
            self._run()

    def flush(self) -> None:
        """Wait until everything that was left here has been stored or refused."""
        with self._changed:
            self._changed.wait_for(lambda: not self._storing)

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                if not batch:
                    self._storing = False
                    self._changed.notify_all()
                    return
            self._store_batch(batch)

    def _store_batch(self, batch: list[tuple[NewJob, Future[Receipt]]]) -> None:
        try:
            receipts = self._store([job for job, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StoreError):
                for _, answer in batch:
                    _refuse(answer, error)
            else:  # one of them must not keep the others out
                for one in batch:
                    self._store_batch([one])
            return
        for (_, answer), receipt in zip(batch, receipts, strict=True):
            answer.set_result(receipt)


def _refuse(answer: Future[Receipt], error: Exception) -> None:
    log.error("a job was not queued: %s", error, exc_info=None if isinstance(error, QueueError) else error)
    answer.set_exception(error)
