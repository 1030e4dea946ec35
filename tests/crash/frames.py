"""One MCP server of a storm, spoken to in raw JSON-RPC lines, without ever waiting for it."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import PIPE
from typing import Any

from tests.crash.world import Process, World

# What the server says to questions that are open when its stdin is closed: they may have been done, or not.
CLOSED = "Connection closed"
Answered = Callable[[dict[str, Any] | None], None]  # the frame, or None if none will come
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "storm", "version": "1"}}
PART = 1 << 16


class Server:
    """A server process with what is still to be sent to it and who waits for its answers."""

    def __init__(self, world: World, *, armed: str = "") -> None:
        self.process: Process = world.start("server", (), armed=armed, stdin=PIPE)
        popen = self.process.popen
        assert popen.stdin
        assert popen.stdout
        self._in, self._out = popen.stdin.fileno(), popen.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._unsent = bytearray()
        self._read = bytearray()
        self._waiting: dict[int, tuple[float, Answered]] = {}
        self._ids = iter(range(1, 1 << 30))
        self.ready = self.spoilt = self.closing = False
        self.ask("initialize", HELLO, self._greeted)

    def _greeted(self, frame: dict[str, Any] | None) -> None:
        if frame is not None:
            self.ready = True
            self._send({"method": "notifications/initialized"})

    def _send(self, frame: dict[str, Any]) -> None:
        self._unsent += json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n"

    def ask(self, method: str, params: dict[str, Any], answered: Answered) -> None:
        """Ask something; `answered` is called by a later `look`."""
        number = next(self._ids)
        self._waiting[number] = (time.monotonic(), answered)
        self._send({"id": number, "method": method, "params": params})

    def call(self, tool: str, arguments: dict[str, Any], answered: Answered) -> None:
        self.ask("tools/call", {"name": tool, "arguments": arguments}, answered)

    def spoil(self, garbage: bytes, *, close: bool) -> None:
        """Send what is no frame; then perhaps nothing more, ever."""
        self.spoilt = True
        self._unsent += garbage
        self.closing = close

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def longest_wait(self) -> float:
        """Seconds that the oldest question waits for its answer."""
        return time.monotonic() - min((since for since, _ in self._waiting.values()), default=time.monotonic())

    def look(self) -> bool:
        """Send and hear what can be; whether the server is still there."""
        with suppress(BlockingIOError, BrokenPipeError):
            while self._unsent:
                sent = os.write(self._in, self._unsent[:PART])
                del self._unsent[:sent]
        if self.closing and not self._unsent:
            self.close_stdin()
        over = self.process.over  # before the last read
        with suppress(BlockingIOError, OSError):
            while data := os.read(self._out, PART):
                self._read += data
        while (end := self._read.find(b"\n")) >= 0:
            line = bytes(self._read[:end])
            del self._read[: end + 1]
            self._hear(json.loads(line))
        if over:
            self._nobody_answers()
        return not over

    def _hear(self, frame: dict[str, Any]) -> None:
        if "method" not in frame and (found := self._waiting.pop(frame.get("id", 0), None)):
            found[1](frame)

    def _nobody_answers(self) -> None:
        for _, answered in self._waiting.values():
            answered(None)
        self._waiting.clear()
        self.close()

    def close_stdin(self) -> None:
        """End the session."""
        self.closing = False
        if self.process.popen.stdin:
            with suppress(OSError):
                self.process.popen.stdin.close()

    def close(self) -> None:
        """Let go of the pipes."""
        self.close_stdin()
        if self.process.popen.stdout:
            self.process.popen.stdout.close()


def reply_of(frame: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """What a tool has replied, or why it has not."""
    if "error" in frame:
        return None, str(frame["error"].get("message"))
    result = frame["result"]
    if result.get("isError"):
        return None, " ".join(part.get("text", "") for part in result.get("content", ()))
    return result.get("structuredContent"), ""
