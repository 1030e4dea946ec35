"""What stands before everything that is served over HTTP: who may come in, and with how much.

An ASGI application of its own rather than settings of the SDK, which checks neither a health check nor an unknown
path, and by itself lets every origin on this machine through. Each check is exact: what is not known is refused.
"""

from __future__ import annotations

import hmac
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from mcp_server.rewording import STATUSES, reworded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIB = 1024 * 1024
ENDPOINT = "/mcp"
HEALTH = "/healthz"
SINGLE = (b"host", b"authorization", b"origin", b"content-length", b"content-type", b"mcp-session-id")


@dataclass(frozen=True)
class Limits:
    """How much one server takes on. Times in seconds."""

    head_bytes: int = 16 * 1024
    body_bytes: int = 4 * MIB
    body_seconds: float = 30.0
    requests: int = 128  # at once, streams that stay open among them
    sessions: int = 64  # of clients of the handshake era
    session_idle: float = 1800.0
    connections: int = 512
    head_seconds: float = 10.0  # between a connection's requests, too


@dataclass(frozen=True)
class Reply:
    """A short answer of the guard's own."""

    status: int
    content: dict[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send) -> None:
        body = json.dumps(self.content).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _refusal(status: int, sentence: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, {"error": sentence}, headers)


TWICE = _refusal(400, "a header that must be unique was sent twice")
BAD_LENGTH = _refusal(400, "the Content-Length is no number of bytes")
UNKNOWN_CLIENT = _refusal(
    401, "send the server's token as `Authorization: Bearer TOKEN`", (b"www-authenticate", b"Bearer")
)
FOREIGN_ORIGIN = _refusal(403, "requests of other origins are not served")
UNKNOWN_PATH = _refusal(404, f"there is nothing here; the server's endpoint is {ENDPOINT}")
ONLY_READ = _refusal(405, "a health check is a GET", (b"allow", b"GET, HEAD"))
TOO_SLOW = _refusal(408, "the request's body took too long to arrive", (b"connection", b"close"))
TOO_LARGE = _refusal(413, "the request's body is too large")
FOREIGN_HOST = _refusal(421, "the request names another host than this server's")
LONG_HEAD = _refusal(431, "the request's headers are too large")
TOO_MANY = _refusal(503, "too many requests at once; try again in a moment", (b"retry-after", b"1"))
LEAVING = _refusal(503, "the server is leaving", (b"retry-after", b"5"), (b"connection", b"close"))


class Guard:
    """Lets through to the application what comes to its endpoint with the token, and answers the rest itself."""

    def __init__(
        self,
        application: ASGIApp,
        *,
        port: int,
        token: str,
        healthy: Callable[[], Awaitable[bool]],
        limits: Limits | None = None,
    ) -> None:
        """`healthy` tells in a bounded time whether the queue can be used."""
        self._application = application
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}
        self._token = token.encode()
        self._healthy = healthy
        self._limits = limits or Limits()
        self._served: set[anyio.CancelScope] = set()
        self._leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        refusal = self._stranger(headers)
        if refusal is None and scope["path"] == HEALTH:
            refusal = await self._health(scope["method"])
        reply = refusal or self._not_served(scope["path"], headers)
        if reply is not None:
            await reply.send(send)
        else:
            await self._serve(scope, receive, send)

    def end(self) -> None:
        """End everything that is being served, open streams too; what comes later is refused."""
        self._leaving = True
        for request in self._served:
            request.cancel()

    # who comes in

    def _stranger(self, headers: list[tuple[bytes, bytes]]) -> Reply | None:
        """What a web page in the user's browser, or a name that was pointed here, would be told."""
        if sum(len(name) + len(value) for name, value in headers) > self._limits.head_bytes:
            return LONG_HEAD
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in SINGLE):
            return TWICE
        given = dict(headers)
        if given.get(b"host") not in self._hosts:
            return FOREIGN_HOST
        if given.get(b"origin", next(iter(self._origins))) not in self._origins:
            return FOREIGN_ORIGIN
        return None

    async def _health(self, method: str) -> Reply:
        if method not in ("GET", "HEAD"):
            return ONLY_READ
        return Reply(200, {"status": "ok"}) if await self._healthy() else Reply(503, {"status": "unavailable"})

    def _not_served(self, path: str, headers: list[tuple[bytes, bytes]]) -> Reply | None:
        given = dict(headers)
        if not self._is_known(given.get(b"authorization", b"")):
            return UNKNOWN_CLIENT
        if path != ENDPOINT:
            return UNKNOWN_PATH
        if self._leaving:
            return LEAVING
        if len(self._served) >= self._limits.requests:
            return TOO_MANY
        return self._bad_length(given.get(b"content-length"))

    def _is_known(self, authorization: bytes) -> bool:
        scheme, _, given = authorization.partition(b" ")
        return hmac.compare_digest(given.strip(b" "), self._token) and scheme.lower() == b"bearer"

    def _bad_length(self, given: bytes | None) -> Reply | None:
        if given is None:
            return None
        if not given.isdigit() or len(given) > 20:
            return BAD_LENGTH
        return TOO_LARGE if int(given) > self._limits.body_bytes else None

    # with how much

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        with anyio.CancelScope() as request:
            self._served.add(request)
            try:
                arrived = await self._whole(receive)
                if isinstance(arrived, Reply):
                    await arrived.send(answer)
                else:
                    answer.asked = arrived.get("body", b"")
                    await self._application(scope, _after(arrived, receive), answer)
            finally:
                self._served.discard(request)
        if request.cancelled_caught:
            await answer.cut_short()

    async def _whole(self, receive: Receive) -> Reply | Message:
        """The body as one message (or the client's going away), so that whoever dawdles costs nothing more."""
        parts: list[bytes] = []
        size = 0
        with anyio.move_on_after(self._limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self._limits.body_bytes:
                    return TOO_LARGE
                if not message.get("more_body", False):
                    return {"type": "http.request", "body": b"".join(parts), "more_body": False}
        return TOO_SLOW


def _after(first: Message, receive: Receive) -> Receive:
    """The client's messages, the first of which has been taken already."""
    waiting = deque([first])

    async def following() -> Message:
        return waiting.popleft() if waiting else await receive()

    return following


class _Answer:
    """Passes an answer on and knows how far it is. A refusal that comes whole is put into better words."""

    asked = b""  # the request's body

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = self._done = False
        self._refusal: Message | None = None  # its start, kept back until it is whole

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in STATUSES and self.asked:
            self._refusal = message
            return
        begun, self._refusal = self._refusal, None
        if begun is not None:
            better = None if message.get("more_body", False) else reworded(self.asked, message.get("body", b""))
            if better is not None:
                self._begun = self._done = True
                await Reply(begun["status"], better).send(self._send)
                return
            self._begun = True
            await self._send(begun)
        await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
        elif message["type"] == "http.response.body":
            self._done = not message.get("more_body", False)
        await self._send(message)

    async def cut_short(self) -> None:
        """End an answer that nothing more is coming for."""
        if not self._begun:
            await LEAVING.send(self)
        elif not self._done:
            await self({"type": "http.response.body", "body": b""})
