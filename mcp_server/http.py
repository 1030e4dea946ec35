"""Serves an MCPServer over HTTP on this machine alone, to whoever holds the token, until it is told to leave.

The SDK's streamable HTTP behind `guard`, on uvicorn. The server's lifespan is entered once, before the first client
and for all of them: one look at the backlog, one watch on the queue, however many sessions come and go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NoReturn

import anyio
import anyio.to_thread
import uvicorn
from anyio.abc import TaskStatus
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from mcp_server.address import HOST
from mcp_server.guard import ENDPOINT, Guard, Limits
from mcp_server.leaving import LEAVE_SIGNALS, leave, start_watchdog
from mcp_server.logs import log_to_home_too
from mcp_server.server import make_server
from mcp_server.session import Session
from queue_core import settings
from queue_core.errors import QueueError
from queue_core.home import locate

log = logging.getLogger("runq.server")

WATCHDOG_SECONDS: Final = 0.9
"""After this the process ends, whatever still runs: every durable fact is on the disk before it is told."""
HEALTH_SECONDS: Final = 2.0
"""How long a health check may take: a queue that is busy for longer cannot be used."""
HEALTH_FRESH: Final = 1.0
"""For so long an answer stands: who may ask without a token shall not make work."""
NOWHERE: Final = (
    "started in /, there is no project, so agents' commands are refused in every folder;"
    " start it in the project's folder, or set `roots` in config.toml"
)


def run_http(listener: socket.socket, secret: str, kept_in: str) -> NoReturn:
    """Serve until a signal, then end the process: 0, or 1 if serving crashed.

    `secret` is what clients have to show, `kept_in` the file to get it from.
    """
    session = Session(on_open=log_to_home_too, asks=False)
    server = HttpServer(session, listener, secret, on_leaving=partial(start_watchdog, WATCHDOG_SECONDS))
    url = f"http://{HOST}:{server.port}{ENDPOINT}"
    if _is_nowhere(session):
        _tell(f"runq-mcp: {NOWHERE}\n")
    try:
        anyio.run(server.serve, lambda: _tell(f"runq-mcp: serving {url}; the token is in {kept_in}\n"))
    except BaseException:
        log.exception("serving over HTTP crashed")
        leave(1)
    leave(0)


def _is_nowhere(session: Session) -> bool:
    """Whether no command of an agent's may run in any folder."""
    try:
        return session.folder == "/" and not settings.load(locate(session.environ), session.environ).roots
    except QueueError:  # which every request will be told
        return False


class HttpServer:
    """One queue for many clients."""

    def __init__(
        self,
        session: Session,
        listener: socket.socket,
        secret: str,
        *,
        limits: Limits | None = None,
        on_leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_leaving` is called once, in the event loop, when the end begins."""
        limits = limits or Limits()
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._on_leaving = on_leaving
        self._leaving = False
        server, _ = make_server(session)
        self._sessions = _sessions(server, self.port, limits)
        self._guard = Guard(
            self._sessions.handle_request,
            port=self.port,
            token=secret,
            healthy=Health(session),
            limits=limits,
        )
        self._web = _Web(_configuration(self._guard, limits))

    async def serve(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `leave` or a signal; returns after the lifespan exit. `on_ready` when clients may come."""
        self._web.on_ready = on_ready
        async with self._sessions.run(), anyio.create_task_group() as tasks:
            await tasks.start(self._watch_signals)
            await self._web.serve(sockets=[self._listener])
            tasks.cancel_scope.cancel()

    def leave(self) -> None:
        """End everything that is open, streams too."""
        if not self._leaving:
            self._leaving = True
            self._on_leaving()
            self._guard.end()
            self._web.should_exit = True

    async def _watch_signals(self, *, task_status: TaskStatus[None]) -> None:
        """What was ignored by whoever started the server (`nohup`) stays ignored."""
        heeded = [one for one in LEAVE_SIGNALS if signal.getsignal(one) != signal.SIG_IGN]
        with anyio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for number in signals:
                log.info("leaving: %s", signal.Signals(number).name)
                self.leave()


def _sessions(server: MCPServer[Any], port: int, limits: Limits) -> StreamableHTTPSessionManager:
    """The SDK's own end of the protocol. Its checks of host and origin stand behind the guard's."""
    hosts = [f"{HOST}:{port}", f"localhost:{port}"]
    server.middleware.insert(0, _no_subscriptions_by_session)
    server.streamable_http_app(
        streamable_http_path=ENDPOINT,
        transport_security=TransportSecuritySettings(
            allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts]
        ),
        max_request_body_size=limits.body_bytes,
        max_sessions=limits.sessions,
        session_idle_timeout=limits.session_idle,
    )
    return server.session_manager


async def _no_subscriptions_by_session(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Clients of the handshake era are not offered them here: what one client forgets would be another's loss."""
    if ctx.method in ("resources/subscribe", "resources/unsubscribe"):
        raise MCPError(METHOD_NOT_FOUND, "Method not found", ctx.method)
    return await call_next(ctx)


class Health:
    """Whether the queue can be used, asked of the queue at most once in a while, by one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turn = anyio.Lock()
        self._asked = float("-inf")
        self._good = False

    async def __call__(self) -> bool:
        async with self._turn:
            if anyio.current_time() - self._asked > HEALTH_FRESH:
                self._good = await self._look()
                self._asked = anyio.current_time()
            return self._good

    async def _look(self) -> bool:
        with anyio.move_on_after(HEALTH_SECONDS):
            try:
                await anyio.to_thread.run_sync(self._use, abandon_on_cancel=True)
                return True
            except (QueueError, OSError, sqlite3.Error) as error:
                log.info("not healthy: %s", error)
        return False

    def _use(self) -> None:
        self._session.queue.store.limits()


def _configuration(guard: Guard, limits: Limits) -> uvicorn.Config:
    """Nothing of uvicorn's own says more than it must, to the client or on the terminal."""
    for name in ("uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what it warns of is what clients send
    connection = type("Connection", (_Connection,), {"limits": limits})
    return uvicorn.Config(
        guard,
        loop="asyncio",
        http=connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_graceful_shutdown=1,
    )


class _Web(uvicorn.Server):
    """uvicorn without its signal handlers, which would raise the signal anew in the end."""

    on_ready: Callable[[], None]

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()


class _Connection(H11Protocol):
    """One of a bounded number of connections, each of which must bring a request in a bounded time."""

    limits: Limits
    _patience: asyncio.TimerHandle | None = None
    _seen: RequestResponseCycle | bool | None = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._patience:
            self._patience.cancel()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.limits.head_seconds, self._look)

    def _look(self) -> None:
        """End it if it has been without a request at the last look, too: whoever sends a byte a second."""
        idle = self._is_idle()
        if idle and self._seen is self.cycle:
            self.transport.abort()
            return
        self._seen = self.cycle if idle else False
        self._wait()

    def _is_idle(self) -> bool:
        return not self.cycle or self.cycle.response_complete


def _tell(line: str) -> None:
    try:
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:  # started without a stderr
        pass
