"""Serves an MCPServer over stdin and stdout, in both protocol eras, until its client is gone.

The SDK's own stdio transport reads stdin in a thread that can't be interrupted: on SIGTERM the process dies
without its lifespan exit, on SIGINT it hangs until the client closes stdin. Clients do send signals without
closing stdin, and kill after half a second. So this transport waits for the descriptors in the event loop:
anything that means "the client is gone" (end of file, a signal, a new parent, a broken stdout) ends the
stream of frames, the SDK sees an ordinary end of input and runs the lifespan exit. It is faster, too: no
thread has to be woken for a message.
"""

import fcntl
import logging
import os
import select
import signal
from collections.abc import Callable, Generator
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.mcpserver import MCPServer
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)
from mcp.shared.message import SessionMessage
from mcp_types import (
    EmptyResult,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    NotificationParams,
    RequestId,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from mcp_server import frames
from mcp_server.leaving import LEAVE_SIGNALS, leave, start_watchdog

__all__ = ["run_stdio", "serve_stdio"]

logger = logging.getLogger(__name__)

PARENT_POLL_SECONDS: Final = 1.0
LAST_ANSWERS_SECONDS: Final = 0.1
"""How long requests that came in before the end of file may still be answered (`printf ... | runq-mcp`)."""
UNREAD_FRAME_SECONDS: Final = 0.1
"""How long a client that does not read its answers may hold up the end."""
WATCHDOG_SECONDS: Final = 0.25
"""After this the process ends, whatever still runs: clients kill after about half a second anyway."""
MOST_REFUSALS: Final = 10_000
"""How many answers to malformed requests may wait for a client that reads none; the rest are dropped."""


def run_stdio(server: MCPServer[Any], *, changes: SubscriptionBus | None = None) -> NoReturn:
    """Serve until the client is gone, then end the process: 0, or 1 if serving crashed."""

    async def serve_and_leave() -> None:
        await serve_stdio(server, changes=changes, on_leaving=partial(start_watchdog, WATCHDOG_SECONDS))
        leave(0)

    try:
        anyio.run(serve_and_leave)
    except KeyboardInterrupt:
        leave(0)
    except BaseException:
        logger.exception("serving over stdio crashed")
    leave(1)


async def serve_stdio(
    server: MCPServer[Any],
    *,
    changes: SubscriptionBus | None = None,
    on_leaving: Callable[[], None] | None = None,
) -> None:
    """Serve one client over the process's stdin and stdout; returns after the lifespan exit.

    `changes` is the bus that was given to `MCPServer(subscriptions=...)`. With it, clients of the handshake
    era are told of changes too (and the capabilities say so); the SDK serves it to modern clients only.
    `on_leaving` is called once, in the event loop, when the end begins.
    """
    # Private, and without a public way: `MCPServer.run()` can't be given streams, and tells clients of the
    # handshake era that nothing ever changes. One reason why pyproject.toml caps the SDK's version.
    lowlevel: Server[Any] = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    legacy = _LegacyChanges(lowlevel, changes) if changes else None
    options = lowlevel.create_initialization_options(NotificationOptions(*[legacy is not None] * 3))
    with _wire() as (stdin, stdout):
        client = _Client(stdin, stdout, on_leaving)
        async with anyio.create_task_group() as tasks:
            await tasks.start(client.watch_signals)
            tasks.start_soon(client.watch_parent)
            tasks.start_soon(client.read)
            tasks.start_soon(client.refuse)
            if legacy:
                tasks.start_soon(legacy.pump)
            await lowlevel.run(client.frames, client, options)
            tasks.cancel_scope.cancel()


class _Client:
    """The one client at the other end: the frames it sends, and (as the SDK's write stream) those it gets."""

    def __init__(self, stdin: int, stdout: int, on_leaving: Callable[[], None] | None) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._on_leaving = on_leaving
        self._incoming: MemoryObjectSendStream[SessionMessage | Exception]
        self.frames: MemoryObjectReceiveStream[SessionMessage | Exception]
        self._incoming, self.frames = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._refusals, self._refused = anyio.create_memory_object_stream[JSONRPCError](MOST_REFUSALS)
        self._reading = anyio.CancelScope()
        self._unanswered: set[RequestId | None] = set()
        self._answered = anyio.Event()
        self._turn = anyio.Lock(fast_acquire=True)
        self._writing: anyio.CancelScope | None = None
        self._write_deadline = float("inf")
        self._writable = select.poll()
        self._writable.register(stdout, select.POLLOUT)
        self._broken = False
        self._leaving = False

    # -- the end -----------------------------------------------------------------------------------

    async def watch_signals(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*LEAVE_SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                self.hang_up(signal.Signals(number).name)

    async def watch_parent(self) -> None:
        """A killed wrapper (`uv run`, `npx`) may leave stdin open behind it."""
        parent = os.getppid()
        while os.getppid() == parent:  # noqa: ASYNC110 - no system tells it by an event alike
            await anyio.sleep(PARENT_POLL_SECONDS)
        self.hang_up("the parent process is gone")

    def hang_up(self, reason: str) -> None:
        """End the stream of frames now. What is running is cancelled by the SDK."""
        self._begin_leaving(reason)
        self._reading.cancel()
        self._hurry_writing()

    def _begin_leaving(self, reason: str) -> None:
        if self._leaving:
            return
        self._leaving = True
        logger.info("leaving: %s", reason)
        if self._on_leaving:
            self._on_leaving()

    # -- reading -----------------------------------------------------------------------------------

    async def read(self) -> None:
        """Hand over frames until the end; closing the stream is what tells the SDK of it."""
        async with self._incoming:
            with self._reading:
                async with aclosing(frames.lines(self._stdin)) as lines:
                    async for line in lines:
                        await self._receive(line)
                self._begin_leaving("end of input")
                await self._last_answers()
        self._hurry_writing()

    async def _receive(self, line: bytes) -> None:
        message = frames.parse(line)
        if isinstance(message, frames.Refused):
            self._note_refusals(message.answers)
        elif message is not None:
            self._expect_answer(message)
            await self._incoming.send(SessionMessage(message))

    def _note_refusals(self, answers: list[JSONRPCError]) -> None:
        for answer in answers:
            with suppress(anyio.WouldBlock):
                self._refusals.send_nowait(answer)
                self._unanswered.add(answer.id)

    async def refuse(self) -> None:
        """Answer malformed requests; beside the reader, which must not wait for a client that reads no answers."""
        with suppress(anyio.BrokenResourceError):
            async for answer in self._refused:
                await self.send(SessionMessage(answer))

    def _expect_answer(self, message: JSONRPCMessage) -> None:
        # A subscription is answered when it ends, a cancelled request never: the end waits for neither.
        if isinstance(message, JSONRPCRequest) and message.method != "subscriptions/listen":
            self._unanswered.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))

    async def _last_answers(self) -> None:
        with anyio.move_on_after(LAST_ANSWERS_SECONDS):
            while self._unanswered:
                self._answered = anyio.Event()
                await self._answered.wait()

    def _settle(self, request_id: object) -> None:
        if isinstance(request_id, int | str):
            self._unanswered.discard(request_id)
            self._answered.set()

    # -- writing: the SDK's WriteStream ------------------------------------------------------------

    async def send(self, item: SessionMessage, /) -> None:
        frame = frames.encode(item.message)
        async with self._turn:
            await self._write_whole(frame)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._settle(item.message.id)

    async def _write_whole(self, frame: bytes) -> None:
        """Shielded, since a call that is cancelled must not leave half a frame on the wire."""
        if self._broken:
            raise anyio.BrokenResourceError
        try:
            with anyio.CancelScope(shield=True, deadline=self._write_deadline) as self._writing:
                await self._write(memoryview(frame))
                return
        except OSError as error:
            self.hang_up(f"stdout is gone ({error.strerror})")
        finally:
            self._writing = None
        self._broken = True
        raise anyio.BrokenResourceError

    async def _write(self, rest: memoryview) -> None:
        # The descriptor stays blocking: O_NONBLOCK would reach whoever shares it, a terminal for one. What is
        # ready takes at least PIPE_BUF bytes without blocking.
        while rest:
            if not self._writable.poll(0):
                await anyio.wait_writable(self._stdout)
            rest = rest[os.write(self._stdout, rest[: select.PIPE_BUF]) :]

    def _hurry_writing(self) -> None:
        self._write_deadline = min(self._write_deadline, anyio.current_time() + UNREAD_FRAME_SECONDS)
        if self._writing:
            self._writing.deadline = self._write_deadline

    async def aclose(self) -> None:
        self._broken = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class _LegacyChanges:
    """Tells a client of the handshake era what the bus says: what modern clients get by subscriptions/listen.

    Lists that changed are told unasked, a resource's update only after resources/subscribe. Events only say
    "look again", so equal ones that pile up behind a slow client are told once.
    """

    def __init__(self, server: Server[Any], bus: SubscriptionBus) -> None:
        self._session: ServerSession | None = None
        self._uris: set[str] = set()
        self._pending: dict[ServerEvent, None] = {}
        self._rung = anyio.Event()
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)
        server.add_notification_handler("notifications/initialized", NotificationParams, self._initialized)
        bus.subscribe(self._note)

    async def _initialized(self, ctx: ServerRequestContext[Any, Any], _: NotificationParams) -> None:
        self._session = ctx.session

    async def _subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        self._session = ctx.session
        self._uris.add(str(params.uri))
        return EmptyResult()

    async def _unsubscribe(self, _: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        self._uris.discard(str(params.uri))
        return EmptyResult()

    def _note(self, event: ServerEvent) -> None:
        if self._session is None or (isinstance(event, ResourceUpdated) and event.uri not in self._uris):
            return
        self._pending[event] = None
        self._rung.set()

    async def pump(self) -> None:
        while True:
            await self._rung.wait()
            self._rung = anyio.Event()
            events, self._pending = self._pending, {}
            for event in events:
                await self._tell(event)

    async def _tell(self, event: ServerEvent) -> None:
        if (session := self._session) is None:
            return
        match event:
            case ToolsListChanged():
                await session.send_tool_list_changed()
            case PromptsListChanged():
                await session.send_prompt_list_changed()
            case ResourcesListChanged():
                await session.send_resource_list_changed()
            case ResourceUpdated(uri=uri):
                await session.send_resource_updated(uri)


@contextmanager
def _wire() -> Generator[tuple[int, int]]:
    """Own stdin and stdout: yields private copies, with the null device and stderr in their places meanwhile.

    So a stray `print`, or a child that inherits them, can neither eat a frame nor write one.
    """
    stdin, stdout = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        os.dup2(null, 1)
    os.close(null)
    try:
        yield stdin, stdout
    finally:
        for private, public in ((stdin, 0), (stdout, 1)):
            os.dup2(private, public)
            os.close(private)
