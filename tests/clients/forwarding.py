"""A loopback server before the real one, for clients that can send no header of one's own: it adds the token."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

LIMIT = 60  # seconds that a connection may be quiet
Rewrite = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def forwarding(port: int, token: str, rewrite: Rewrite = lambda message: message) -> Iterator[int]:
    """The port of a server that passes each request on to another one, with its token; one a connection.

    `rewrite` may put another JSON-RPC message in a request's place.
    """

    class Handler(socketserver.StreamRequestHandler):
        timeout = LIMIT
        rbufsize = 65536

        def handle(self) -> None:
            with suppress(OSError, ValueError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as there:
                there.sendall(_request(self.rfile, server.server_address[1], port, token, rewrite))
                while part := there.recv(65536):
                    self.wfile.write(part)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _request(client: BinaryIO, here: int, there: int, token: str, rewrite: Rewrite) -> bytes:
    """One request as the real server is to have it: its own port as Host and Origin, everything else as it came."""
    first = client.readline()
    headers: dict[str, str] = {}
    while (line := client.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
        headers[name.lower()] = value.strip()
    body = client.read(int(headers.get("content-length", "0")))
    with suppress(ValueError):
        asked = json.loads(body)
        if isinstance(asked, dict) and (passed_on := rewrite(asked)) is not asked:
            body = json.dumps(passed_on).encode()
            if "mcp-name" in headers:
                headers["mcp-name"] = passed_on["params"]["name"]
    for name in ("host", "origin"):
        if name in headers:
            headers[name] = headers[name].replace(f":{here}", f":{there}")
    headers |= {"authorization": f"Bearer {token}", "connection": "close"}
    if body:
        headers["content-length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return first + lines.encode("latin-1") + b"\r\n" + body
