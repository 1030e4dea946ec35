"""What one server process works on: the queue, who asks, and the loop's own way to read and to wait."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import aiosqlite
import anyio
import anyio.to_thread

from queue_core import changes
from queue_core.callers import origin_of
from queue_core.errors import QueueError
from queue_core.logs import log_to_home
from queue_core.model import Origin
from queue_core.service import Queue
from queue_core.sqlite.reads import run_async
from queue_core.value import replace
from queue_core.worker.boot import Booter

if TYPE_CHECKING:
    from queue_core.sqlite.reads import Read

log = logging.getLogger("runq.server")

T = TypeVar("T")

POLL = 1.0  # seconds between looks at the database's own change counter, behind the bell
PATIENCE = 10.0  # seconds that a write may wait for other processes


class Session:
    """The queue as this server has it open. Tools run on threads and use `queue`; waiting is the loop's."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        self.folder = self.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd()
        self._queue: Queue | None = None
        self._reader: aiosqlite.Connection | None = None
        self._reading = anyio.Lock()
        self._changed = anyio.Event()

    @property
    def queue(self) -> Queue:
        """The queue, opened when it is first needed; QueueError says why it cannot be, and is said again."""
        if self._queue is None:
            self._queue = Queue.open(self.environ, patience=PATIENCE, group_commit=True)
        return self._queue

    def origin(self, client: str | None) -> Origin:
        """Everything that comes in here comes from an agent."""
        origin = origin_of(self.environ, "agent")
        return replace(origin, client=client, project=self.environ.get("CLAUDE_PROJECT_DIR") or self.folder)

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncGenerator[Session]:
        """Open the queue, take in the spool, watch, boot a worker when there is a backlog."""
        async with anyio.create_task_group() as tasks:
            if await self._try_open():
                tasks.start_soon(self._watch)
                booter = Booter(self.queue, booted_by=self.environ.get("CLAUDE_CODE_SESSION_ID") or str(os.getpid()))
                tasks.start_soon(booter.run)
            yield self
            tasks.cancel_scope.cancel()

    async def _try_open(self) -> bool:
        """A queue that cannot be opened does not end the server: every tool says what is wrong with it."""
        try:
            queue = await anyio.to_thread.run_sync(lambda: self.queue)
            log_to_home(queue.home, queue.settings.log_level)
            await anyio.to_thread.run_sync(queue.ingest_spool)
        except QueueError as error:
            log.error("%s", error)
            return False
        return True

    async def read(self, read: Read[T]) -> T:
        """A read on the loop's own connection, in one snapshot: one at a time, and never left half done."""
        async with self._reading:
            with anyio.CancelScope(shield=True):
                found = await run_async(await self._connection(), read)
        return found

    async def _connection(self) -> aiosqlite.Connection:
        if self._reader is None:
            uri = f"file:{self.queue.home.database.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=ro"
            self._reader = await aiosqlite.connect(uri, uri=True, isolation_level=None)
        return self._reader

    async def _watch(self) -> None:
        """Wake those who wait, on every ring and whenever the database's change counter moves."""
        bell = changes.Bell(self.queue.home, "watch")
        seen = await self._data_version()
        try:
            while True:
                with anyio.move_on_after(POLL) as quiet:
                    await anyio.wait_readable(bell)
                bell.clear()
                now = await self._data_version()
                if now != seen or not quiet.cancelled_caught:
                    seen = now
                    self._announce()
        finally:
            bell.close()

    async def _data_version(self) -> int:
        async with self._reading:
            rows: Any = await (await self._connection()).execute_fetchall("PRAGMA data_version")
        return rows[0][0]

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self, timeout: float) -> bool:
        """Wait for the next change in the queue, for `timeout` seconds at most; whether there was one."""
        with anyio.move_on_after(timeout) as waited:
            await self._changed.wait()
        return not waited.cancelled_caught
