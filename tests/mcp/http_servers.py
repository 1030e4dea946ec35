"""The real HTTP server, as a process or in the test's own loop, and requests to it made by hand."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from mcp_server.address import listen
from mcp_server.guard import Limits
from mcp_server.http import HttpServer
from mcp_server.session import Session
from tests.helpers import descriptors, wait_until
from tests.mcp.places import Place
from tests.mcp.servers import HELLO

LIMIT = 240  # seconds for anything: what hangs must fail its test
MODULE_LIMIT = 900  # seconds for all the tests of a module
TOKEN = "runq_" + "t" * 43
ACCEPT = "Accept: application/json, text/event-stream"
JSON = "Content-Type: application/json"
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}).encode()


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def request(method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request with these headers and no others but the body's length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = [f"{method} {path} HTTP/{version}", *headers, *length, "Connection: close"]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def staying(raw: bytes) -> bytes:
    """The request on a connection that stays open: one that is closed on a sender of much is reset."""
    return raw.replace(b"Connection: close\r\n", b"")


def reply_in(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def exchange(port: int, raw: bytes | Sequence[bytes], address: str = "127.0.0.1") -> Reply:
    """Send it, and read until the answer is whole or the server closes the connection."""
    with socket.create_connection((address, port), timeout=LIMIT) as connection:
        for part in [raw] if isinstance(raw, bytes) else raw:
            connection.sendall(part)
        answer = bytearray()
        while not _is_whole(answer) and (chunk := connection.recv(65536)):
            answer += chunk
    return reply_in(bytes(answer))


def _is_whole(answer: bytearray) -> bool:
    """Whether this is an answer that tells its length, with all of it."""
    if b"\r\n\r\n" not in answer:
        return False
    length = reply_in(bytes(answer)).headers.get("content-length")
    return length is not None and len(answer.partition(b"\r\n\r\n")[2]) >= int(length)


@asynccontextmanager
async def client_of(port: int, token: str, mode: Any = "auto", **options: Any) -> AsyncGenerator[Client]:
    """The SDK's own client, which is told no more than a URL and a header."""
    with anyio.fail_after(LIMIT):
        async with create_mcp_http_client({"Authorization": f"Bearer {token}"}) as http:
            transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mcp_server", *arguments]


class Served:
    """`runq-mcp --http --port 0` on a place."""

    def __init__(self, place: Place, *, folder: str | None = None, limit: float = LIMIT, **environ: str) -> None:
        self.place = place
        self._stderr = place.home.parent / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command("--http", "--port", "0"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**place.environ, **environ, **({"CLAUDE_PROJECT_DIR": folder} if folder else {})},
                cwd=folder or place.project,
            )
        self._limit = threading.Timer(limit, self.process.kill)
        self._limit.start()

    def __enter__(self) -> Self:
        try:
            self._listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listens(self) -> None:
        told = wait_until(lambda: re.search(r"http://127\.0\.0\.1:(\d+)/mcp", self.said()), "the port is told")
        self.port = int(told[1])
        self.token = token_file(self.place).read_text().strip()

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()

    def said(self) -> str:
        """What it has written on stderr."""
        return self._stderr.read_text()

    def request(self, method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
        """The same as `request`; `{port}` and `{token}` stand for this server's."""
        filled = [header.replace("{port}", str(self.port)).replace("{token}", self.token) for header in headers]
        return request(method, path, *filled, body=body, version=version)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"", version: str = "1.1") -> Reply:
        """One request on a connection of its own."""
        return exchange(self.port, self.request(method, path, *headers, body=body, version=version))

    def end(self, number: int = signal.SIGTERM) -> tuple[int, bytes]:
        """Its exit code and what it wrote on stdout."""
        self.process.send_signal(number)
        stdout, _ = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, stdout

    @asynccontextmanager
    async def client(self, mode: Any = "auto") -> AsyncGenerator[Client]:
        async with client_of(self.port, self.token, mode) as client:
            yield client


def token_file(place: Place) -> Path:
    return place.home / "http-token"


@asynccontextmanager
async def limited(place: Place, **limits: Any) -> AsyncGenerator[int]:
    """The port of a server in this loop, with limits that a test can reach; its token is TOKEN."""
    session = Session(place.environ, asks=False)
    server = HttpServer(session, listen(0), TOKEN, limits=Limits(**limits))
    ready = anyio.Event()
    try:
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, ready.set)
                await ready.wait()
                yield server.port
                server.leave()
    finally:
        session.close()


def known(port: int, *more: str) -> list[str]:
    """The headers of a request that is let in."""
    return [f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {TOKEN}", *more]


async def exchange_here(port: int, *parts: bytes) -> Reply:
    """The same as `exchange`, for a server in this loop."""
    return await anyio.to_thread.run_sync(exchange, port, parts)


@contextmanager
def open_connection(port: int, raw: bytes) -> Iterator[socket.socket]:
    """A connection on which this much has been sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as connection:
        connection.sendall(raw)
        yield connection


def listening_addresses(pid: int) -> set[str]:
    """Where a process listens, from the kernel (Linux): addresses in hexadecimal, as they stand there."""
    sockets = set(descriptors(pid).values())
    found: set[str] = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found
