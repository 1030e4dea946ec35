"""A worker's connection to one keeper: requests out, ends in, and nothing remembered but whose claims."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from queue_core.errors import KeeperError
from queue_core.keeper import protocol
from queue_core.worker.groups import task_group
from queue_core.worker.waking import whenever_readable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from queue_core.keeper.protocol import Claim, Message

log = logging.getLogger("runq.worker")

AT_ONCE = 256 * 1024  # bytes read in one go


class KeeperLink:
    """One keeper as a worker sees it. `claims` are those of this worker's that run under it.

    Asking never waits: what a stopped keeper does not read is kept here, so that it holds up nobody else. The socket
    is written to as something is asked; only what it does not take is left to a task.
    """

    def __init__(self, keeper: str, connection: socket.socket) -> None:
        self.keeper = keeper
        self.claims: set[Claim] = set()
        self.open = True
        self._socket = connection
        self._scope = anyio.CancelScope()
        self._unsent = bytearray()
        self._more = anyio.Event()
        self._told_to_end: set[Claim] = set()

    @classmethod
    async def over(cls, keeper: str, connection: socket.socket) -> KeeperLink:
        """A link over a connected socket, which becomes its own."""
        connection.setblocking(False)
        return cls(keeper, connection)

    def spawn(self, requests: Sequence[dict[str, Any]]) -> None:
        """Ask for commands. One message each: a keeper refuses a line that is too long with all that is in it."""
        self.claims.update((request["job"], request["claim"]) for request in requests)
        self._send(*(protocol.spawn([request]) for request in requests))

    def watch(self, claims: Sequence[Claim]) -> None:
        """Ask to be told the ends of claims that another worker started."""
        self.claims.update(claims)
        self._send(protocol.watch(claims))

    def end(self, claim: Claim, reason: str) -> None:
        """Begin the end of a running command: TERM, CONT, grace, KILL. Once is enough."""
        if claim not in self._told_to_end:
            self._told_to_end.add(claim)
            self._send(protocol.end(claim, reason))

    def over_with(self, claim: Claim) -> None:
        """Nothing more is to be said of this claim."""
        self.claims.discard(claim)
        self._told_to_end.discard(claim)

    def let_go(self) -> None:
        """Hang up: the keeper leaves when its last command has ended."""
        self._scope.cancel()

    def _send(self, *messages: Message) -> None:
        waiting = bool(self._unsent)
        for message in messages:
            self._unsent += protocol.encode(message)
        if not waiting:
            self._flush()
            if self._unsent:
                self._more.set()

    def _flush(self) -> None:
        """Write what the socket takes now."""
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it is gone, or was not told all that it should have been: its records say what became of it
            self._unsent.clear()
            self._scope.cancel()

    async def serve(self, heard: Callable[[KeeperLink, Message], None]) -> None:
        """Send what is asked and hand every message to `heard`, until the keeper is gone or let go."""
        try:
            with self._scope:
                async with task_group() as tasks:
                    tasks.start_soon(self._write)
                    await self._read(heard)
        finally:
            self.open = False
            self._socket.close()

    async def _read(self, heard: Callable[[KeeperLink, Message], None]) -> None:
        lines = protocol.Lines()

        def read() -> bool:
            data = self._received()
            for message in lines.feed(data or b""):
                heard(self, message)
            return data != b""

        try:
            await whenever_readable(self._socket, read)
        except KeeperError as error:
            log.warning("keeper %s speaks nonsense: %s", self.keeper, error)

    def _received(self) -> bytes | None:
        """What the keeper has said; None if it was nothing, and nothing at all (b"") when it is gone."""
        try:
            return self._socket.recv(AT_ONCE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def _write(self) -> None:
        """Send what the socket did not take at once."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            while self._unsent:
                await anyio.wait_writable(self._socket)
                self._flush()
