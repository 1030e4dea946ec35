"""The real server as a process of its own, with its pipes in the test's hands."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, Self

from tests.mcp.places import Place

ANSWER_SECONDS = 240  # for a whole test: a server that says nothing must fail it, not hang it
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "by hand", "version": "1"},
}


class Server:
    """`runq-mcp` on a place, spoken to in frames made by hand."""

    def __init__(
        self, place: Place, *, wrapper: tuple[str, ...] = (), stderr: int = subprocess.DEVNULL, **environ: str
    ):
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "mcp_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**place.environ, **environ},
            cwd=place.project,
            start_new_session=True,  # so that whatever is left of it can be killed together
        )
        self._ids = iter(range(1, 1_000_000))
        self._notifications: list[dict[str, Any]] = []
        self._limit = threading.Timer(ANSWER_SECONDS, self.process.kill)
        self._limit.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin
        return self.process.stdin

    def send(self, **frame: Any) -> None:
        self.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n")
        self.stdin.flush()

    def shake_hands(self) -> None:
        self.ask("initialize", **HELLO)
        self.send(method="notifications/initialized")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one request; what is told meanwhile is kept for `notification`."""
        number = next(self._ids)
        self.send(id=number, method=method, params=params)
        for frame in self._frames():
            if frame.get("id") == number:
                return frame["result"]
            self._notifications.append(frame)
        raise AssertionError(f"the server ended without an answer to {method}")

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool replies."""
        result = self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return result["structuredContent"]

    def notification(self, method: str) -> dict[str, Any]:
        """The parameters of the next notification of a kind."""
        while True:
            for frame in self._notifications:
                if frame.get("method") == method:
                    self._notifications.remove(frame)
                    return frame["params"]
            self._notifications.append(next(self._frames()))

    def _frames(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout
        for line in self.process.stdout:
            yield json.loads(line)
