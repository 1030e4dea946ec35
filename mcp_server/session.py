"""What one server process works on: the queue, who asks, and the loop's own way to read and to wait."""

from __future__ import annotations

import functools
import logging
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite
import anyio
import anyio.to_thread

from queue_core import changes, checkup, told
from queue_core.callers import caller_of, origin_of
from queue_core.errors import QueueError, StoreBusy, StoreError
from queue_core.model import Origin
from queue_core.service import Queue
from queue_core.sqlite.engine import identity, translate, uri
from queue_core.sqlite.reads import run_async
from queue_core.value import replace
from queue_core.worker.boot import Booter

if TYPE_CHECKING:
    from queue_core.sqlite.reads import Read

log = logging.getLogger("runq.server")

T = TypeVar("T")

POLL = 1.0  # seconds between looks at the database's own change counter, behind the bell
QUIET = 0.02  # seconds between two announcements: a burst of changes is told once
PATIENCE = 10.0  # seconds that a write may wait for other processes
RETRY = 5.0  # seconds until what has failed in the background is tried again
CLOSING = 0.1  # seconds that the end may wait for the reader: clients kill after half a second


class Session:
    """The queue as this server has it open. Tools run on threads and use `queue`; waiting is the loop's."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        asks: bool = True,
        on_open: Callable[[Queue], None] = lambda _: None,
    ) -> None:
        """`asks`: whether the client's answers count as its user's. `on_open` is called once, on a thread."""
        self.environ = os.environ if environ is None else environ
        self._asks = asks
        self.folder = self.environ.get("CLAUDE_PROJECT_DIR") or _working_folder()
        self.changes = 0  # how many have been seen; for `changed`
        self._on_open = on_open
        self._queue: Queue | None = None
        self._opening = threading.Lock()
        self._reader: aiosqlite.Connection | None = None
        self._file: tuple[int, int] | None = None  # the one that it reads
        self._reading = anyio.Lock()
        self._changed = anyio.Event()

    @property
    def queue(self) -> Queue:
        """The queue, opened when it is first needed: that blocks, so never ask on the loop.

        QueueError says why it cannot be opened, each time it is asked.
        """
        if self._queue is None:
            self._open()
        assert self._queue is not None
        return self._queue

    def _open(self) -> None:
        if not self._opening.acquire(timeout=PATIENCE):
            raise StoreBusy("the queue is still being opened; try again in a moment")
        try:
            if self._queue is None:
                opened = Queue.open(self.environ, patience=PATIENCE, group_commit=True)
                opened.confine(self.origin(None))
                self._on_open(opened)
                self._queue = opened
        finally:
            self._opening.release()

    def close(self) -> None:
        """Let go of the queue, for whoever goes on living after the lifespan (the process itself need not)."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def origin(self, client: str | None) -> Origin:
        """Everything that comes in here comes from an agent."""
        project = self.folder if self.folder != "/" else None
        return replace(origin_of(self.environ, "agent"), client=client, project=project)

    def told(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """This session's agent has been given these jobs: `runq digest` need not tell it how those that ended did.

        Some microseconds of a disk's time: not for the loop. Never an error.
        """
        session = self.environ.get("CLAUDE_CODE_SESSION_ID")
        if session and self._queue is not None:
            ends = [(job["id"], job.get("finished_at")) for job in jobs]
            told.mark(self._queue.home, session, self.folder, ends)

    @property
    def may_ask(self) -> bool:
        """Whether whoever answers a question can only be the user. May open the queue, which blocks.

        Where an agent's own shell or a queued job has started this server, a program may sit at the other end.
        """
        if not self._asks or self.environ.get("RUNQ_JOB_ID"):
            return False
        started_by = caller_of(self.environ, hook_verb=False, caller_of_job=lambda _: None)
        return started_by != "agent" and self.queue.settings.agents != "allow"

    # life

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncGenerator[Session]:
        """Open the queue, take in the spool, watch, boot a worker when there is a backlog.

        All of it beside the client: a queue that is busy, broken or too new delays no answer but a tool's.
        """
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve)
                yield self
                tasks.cancel_scope.cancel()
        finally:
            await self._close_reader()

    async def _serve(self) -> None:
        await self._lasting(self._open_off_the_loop)
        booter = Booter(self.queue, booted_by=self.environ.get("CLAUDE_CODE_SESSION_ID") or str(os.getpid()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lasting, self._ingest)  # beside the others: what cannot be read stops none of them
            tasks.start_soon(self._lasting, self._watch)
            tasks.start_soon(self._lasting, booter.run)
            tasks.start_soon(self._lasting, self._check)

    async def _open_off_the_loop(self) -> None:
        await anyio.to_thread.run_sync(lambda: self.queue, abandon_on_cancel=True)

    async def _ingest(self) -> None:
        await anyio.to_thread.run_sync(self.queue.ingest_spool, abandon_on_cancel=True)

    async def _check(self) -> None:
        """Look once, off the loop, whether the database is sound; `status` tells of what is found as well."""
        queue = self.queue
        look = functools.partial(checkup.look_if_due, queue.home, queue.clock())
        if found := await anyio.to_thread.run_sync(look, abandon_on_cancel=True):
            log.error("%s", found)

    async def _lasting(self, task: Callable[[], Awaitable[None]]) -> None:
        """Nothing that goes wrong in the background ends the server: it is said, and tried again."""
        said = ""
        while True:
            try:
                await task()
                return
            except Exception as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("%s", said, exc_info=not isinstance(error, (QueueError, OSError)))
            await anyio.sleep(RETRY)

    # reading

    async def read(self, read: Read[T]) -> T:
        """A read on the loop's own connection, in one snapshot: one at a time, and never left half done."""
        async with self._reading:
            with anyio.CancelScope(shield=True):
                return await self._read(read)
        raise AssertionError("a shielded read is not cancelled")

    async def _read(self, read: Read[T]) -> T:
        try:
            return await run_async(await self._connection(), read)
        except sqlite3.Error as error:
            await self._close_reader()  # the next one starts anew
            translated = translate(error, self.queue.home)
            raise translated or StoreError(f"the queue could not be read ({error})") from error

    async def _connection(self) -> aiosqlite.Connection:
        if self._reader is None or identity(self.queue.home.database) != self._file:
            await self._close_reader()
            queue = await anyio.to_thread.run_sync(lambda: self.queue)
            await anyio.to_thread.run_sync(queue.store.limits)  # refuses a file that is not to be gone on with
            self._file = identity(queue.home.database)
            self._reader = await aiosqlite.connect(uri(queue.home.database, "ro"), uri=True, isolation_level=None)
        return self._reader

    async def _close_reader(self) -> None:
        """Its thread would keep the process alive, and the loop must still run to hear it end."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with anyio.move_on_after(CLOSING, shield=True):
                await reader.close()

    # waiting

    async def changed(self, since: int, timeout: float) -> bool:  # noqa: ASYNC109 - no change is no error
        """Wait until `changes` is no longer `since`, for `timeout` seconds at most; whether it is.

        Who looks at the queue takes `changes` before, so that nothing happens unseen in between.
        """
        with anyio.move_on_after(timeout):
            while self.changes == since:
                await self._changed.wait()
        return self.changes != since

    async def _watch(self) -> None:
        """Wake those who wait, on every ring and whenever the database's change counter moves."""
        bell = changes.Bell(self.queue.home, "watch")
        seen = await self.read(_data_version())
        self._announce()  # whoever has looked before this watch began must look once more
        try:
            while True:
                with anyio.move_on_after(POLL) as quiet:
                    await anyio.wait_readable(bell)
                bell.clear()
                now = await self.read(_data_version())
                if now != seen or not quiet.cancelled_caught:
                    seen = now
                    self._announce()
                    await anyio.sleep(QUIET)
        finally:
            bell.close()

    def _announce(self) -> None:
        self.changes += 1
        self._changed.set()
        self._changed = anyio.Event()


def _data_version() -> Read[Any]:
    """SQLite's own count of what other connections have committed."""
    rows = yield "PRAGMA data_version", ()
    return rows[0][0]


def _working_folder() -> str:
    """Where the client started the server; its home if that folder has been removed since."""
    try:
        return os.getcwd()
    except OSError:
        return os.path.expanduser("~")
